"""The help of each command: a sentence, an example that can be pasted, and options in whole phrases."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from commands import here

from caffe_viz.cli.app import app
from caffe_viz.cli.usage import GROUPS

REPOSITORY = Path(__file__).resolve().parent.parent
GROUP: Any = typer.main.get_command(app)
TASKS: dict[str, Any] = GROUP.commands
EXAMPLE = re.compile(r"Example: `caffe-viz ([^`]+)`")
QUICK = ["aux", "convert", "draw", "extract", "shapes", "weights"]  # they load no engine
OPTIONS = [
    (f"{name} {p.opts[0]}", p.help) for name, task in TASKS.items() for p in task.params if not p.hidden
]


def paragraphs(task: Any) -> list[str]:
    return [" ".join(text.split()) for text in str(task.help).split("\n\n")]


def example(task: Any) -> list[str]:
    """The words behind `caffe-viz`."""
    found = EXAMPLE.fullmatch(paragraphs(task)[1])
    assert found, paragraphs(task)
    return shlex.split(found[1])


@pytest.mark.parametrize("name", TASKS)
def test_help_begins_with_one_sentence_and_an_example(name: str) -> None:
    sentence = paragraphs(TASKS[name])[0]
    assert re.fullmatch(r"[A-Z][^.]*(\.\w[^.]*)*\.", sentence), "one sentence"
    words = example(TASKS[name])
    assert words[0] == name
    assert len(f" Example: caffe-viz {shlex.join(words)}") < 80
    TASKS[name].make_context(name, words[1:])  # it has these options


def test_each_command_is_in_one_group_of_the_help() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(TASKS)
    text = here("--help")
    assert all(f" {title} " in text for title in GROUPS)
    assert " Commands " not in text


def test_the_help_of_all_commands_begins_so_too() -> None:
    words = example(GROUP)
    TASKS[words[0]].make_context(words[0], words[1:])


def test_an_example_is_shown_as_it_is_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = re.sub(" +\n", "\n", here("gradient", "--help"))
    assert f"\n Example: caffe-viz {shlex.join(example(TASKS['gradient']))}\n" in shown


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from caffe_viz.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    line = [sys.executable, "-c", code, "ascend", "--help"]
    modules = subprocess.run(line, capture_output=True, text=True, check=True).stdout.split("\n")[-2].split()
    heavy = {"torch", "caffe", "matplotlib", "skimage", "numpy", "PIL", "dask", "google.protobuf"}
    assert "rich" in modules
    assert heavy.isdisjoint(modules)


@pytest.mark.parametrize("name", QUICK)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert here(*example(TASKS[name]))


def test_help_of_options_is_phrases() -> None:
    """Not "Of the noise." or "Processes [default: all].", which only the code explains."""
    riddles = []
    for option, text in OPTIONS:
        phrase, _, default = text.partition(" [default: ")
        whole = phrase.endswith((".", "..")) and len(phrase.split()) >= 3
        begins = re.match(r"(Of|As|And|Or|That|Their|The same|Again)\b", phrase)
        if not whole or begins or not (default.endswith("]") or not default):
            riddles.append((option, text))
    assert not riddles


@pytest.mark.parametrize("option", ["--engine", "--filters", "--json", "--preprocess", "--size", "--record"])
def test_shared_options_have_one_help(option: str) -> None:
    own = {"train --record", "evolution --preprocess"}
    texts = {text for name, text in OPTIONS if name.split()[1] == option and name not in own}
    assert len(texts) == 1
