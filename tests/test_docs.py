"""No example rots: every command and every Python block of README.md and docs/*.md is run as it stands."""

from __future__ import annotations

import ast
import importlib
import io
import os
import re
import shlex
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import climbing
import doc_pages
import fork_server
import numpy as np
import pytest
import typer
from commands import BUILT
from doc_pages import PAGES, REPOSITORY, Block, Command

from caffe_viz import shipped
from caffe_viz.cli import main
from caffe_viz.cli.app import app
from caffe_viz.errors import CaffeVizWarning
from caffe_viz.images import load_image, save_png
from caffe_viz.server import Server

fork_server.for_dask()
TASKS: Any = typer.main.get_command(app)
INLINE = [(page, text) for page in PAGES for text in doc_pages.inline(page)]
OWN = {*shipped.names(), "examples/train_val.prototxt"}  # of which a row of README's table can be run
RUN = [c.words for page in PAGES for b in doc_pages.blocks(page) if b.kind == "console" and not b.norun for c in b.commands]  # fmt: skip
TABLE = [
    text for page, text in INLINE if page == PAGES[0] and OWN & set(text.split()) and " download " not in text
    and not any(words[: len(text.split())] == tuple(text.split()) for words in RUN)  # with more options
]  # fmt: skip
MOST_BYTES = 120_000  # of a picture
# What README's table leaves at its defaults, which take long.
FEW = {"ascend": ["--steps", "4"], "invert": ["--steps", "4"], "activations": ["--layer", "conv1"], "attribute": ["--samples", "4", "--steps", "4", "--patch", "8", "--stride", "12"], "export": ["--blob", "pool1"], "evaluate": ["--count", "1", "--points", "4", "--method", "gradient"]}  # fmt: skip


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four images."""
    folder, cat = tmp_path_factory.mktemp("photos"), load_image(REPOSITORY / "examples" / "cat.png")
    paths = [folder / f"cat_{k}.png" for k in range(4)]
    for k, path in enumerate(paths):
        save_png(path, cat[:280, 30 * k : 280 + 30 * k])
    return paths


@pytest.fixture
def folder(tmp_path: Path, layer_types: None, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as a reader sees it, and files of their own: deploy.prototxt, net.caffemodel, photos/ .."""
    for name in ("prototxt", "examples"):
        for path in (REPOSITORY / name).rglob("*"):
            if path.is_file() and "out" not in path.relative_to(REPOSITORY).parts:
                _link(path, tmp_path / path.relative_to(REPOSITORY))
    shipped = REPOSITORY / "prototxt" / "caffenet_cifar10"
    for name in ("deploy.prototxt", "preprocess.toml", "labels.txt"):
        _link(shipped / name, tmp_path / name)
    _link(shipped / "caffenet_cifar10.caffemodel", tmp_path / "net.caffemodel")
    _link(REPOSITORY / "examples" / "cat.png", tmp_path / "cat.png")
    np.save(tmp_path / "image.npy", np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32))
    for path in photos:
        _link(path, tmp_path / "photos" / path.name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("caffe_viz.ascent.WorkerPool", climbing.here)
    monkeypatch.setattr(Server, "wait", lambda server: server.stop())  # a live view ends when it has begun
    return tmp_path


def _link(path: Path, at: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_runs_as_it_stands(page: Path, folder: Path) -> None:
    """Its blocks in their order, in one folder and one Python session."""
    names: dict[str, Any] = {}
    for block in doc_pages.blocks(page):
        where = f"{page.name}:{block.line}"
        if block.kind == "python":
            run_python(block, names, where)
        for command in block.commands if block.kind == "console" else ():
            run_command(command, block, where)


@pytest.mark.parametrize("text", TABLE)
def test_commands_of_the_table_run(text: str, folder: Path) -> None:
    words = shlex.split(text)
    parse(words[1:])
    run_command(Command((*words, *FEW.get(words[1], [])), ()), Block("console", text, "", False, 0), text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_in_sentences_have_these_options(page: Path) -> None:
    for text in (text for at, text in INLINE if at == page):
        words = shlex.split(text)[1:]
        assert words[0] in TASKS.commands or words[0].startswith("--"), text
        if len(words) > 1 or words[0].startswith("--"):
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_command_stands_where_no_test_sees_it(page: Path) -> None:
    assert not doc_pages.loose(page), "write it as ```console, `$ caffe-viz ...`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert ":" in target or (page.parent / target).exists(), f"{page.name} links {target}"


def test_each_task_has_a_page() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == "docs")
    assert {f"`{task}`" for task in TASKS.commands} <= set(re.findall(r"`[a-z]+`", index))
    assert {task for task in TASKS.commands if f"caffe-viz {task} " not in text} == set()
    pages = {page.name for page in PAGES if page.parent.name == "docs"} - {"README.md", "index.md"}
    assert pages <= set(re.findall(r"\]\(([^)#\s]+)", index))


def run_command(command: Command, block: Block, where: str) -> None:
    program, *words = command.words
    if program == "cd":
        os.chdir(words[0])
    elif words[:2] == ["-m", "caffe_viz.run"]:
        run_script(command, where)
    elif program != "caffe-viz":
        check_other(command.words, where)
    elif block.norun or (words[0] == "parity" and not _installed("caffe")):
        parse(words)
    else:
        code, printed = run_here(words)
        said = f"{where}: {' '.join(command.words)} ends with {code}\n{printed}"
        assert (code in (1, 2)) if block.fails else (code == 0), said
        compare(command, printed, where)


def compare(command: Command, printed: str, where: str) -> None:
    """Whether the lines that a page shows below a command are in what it prints, in this order."""
    rest = printed
    for line in command.shown:
        pattern = r".*?".join(re.escape(part) for part in re.split(r"\.\.+", " ".join(line.split())))
        found = re.search(pattern, rest, re.S)
        assert found, f"{where}: it does not print {line!r}, but\n{printed}"
        rest = rest[found.end() :]


def run_script(command: Command, where: str) -> None:
    """A script of pycaffe's, in a process of its own as readers have it."""
    words = command.words[1:]
    if "caffe" in words and not _installed("caffe"):
        return
    done = fork_server.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, f"{where}: {done.stderr}"
    compare(command, " ".join(done.stdout.split()), where)


def run_python(block: Block, names: dict[str, Any], where: str) -> None:
    tree = ast.parse(block.text, where)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("caffe_viz"):
            home = importlib.import_module(str(node.module))
            assert all(hasattr(home, one.name) for one in node.names), f"{where}: {ast.unparse(node)}"
    if not block.norun:
        with warnings.catch_warnings():
            # A page that asks for gradients that are not computed.
            warnings.filterwarnings("error", "backward ", CaffeVizWarning)
            exec(compile(tree, where, "exec"), names)


def check_other(words: tuple[str, ...], where: str) -> None:
    """make, pip and scripts are not run, but there they must be."""
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.M)
        assert set(words[1:]) <= set(targets), where
    elif words[0] == "pip":
        known = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
        extras = re.findall(r"\[(\w+)\]", " ".join(words))
        assert all(f"\n{extra} = [" in known for extra in extras), where
    else:
        scripts = [word for word in words if word.startswith(("scripts/", "benchmarks/"))]
        assert scripts, f"{where}: {words[0]} is no command that the test knows"
        assert all((REPOSITORY / script).is_file() for script in scripts), where


def parse(words: list[str]) -> None:
    """Fails on a task, an option or a value that there is not."""
    if words[0].startswith("--"):  # of no task
        assert words in ([option] for param in TASKS.params for option in (*param.opts, "--help"))
    else:
        TASKS.commands[words[0]].make_context(words[0], list(words[1:]))


def run_here(words: list[str]) -> tuple[int, str]:
    """Exit code of a command, run in this process, and what it prints, spaces made one."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setattr(sys, "argv", ["caffe-viz", *words])
        patch.setattr(sys, "stderr", out)
        patch.setattr(typer.main, "get_command", BUILT)
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), " ".join(out.getvalue().split())


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def test_pictures_are_made_by_the_script_shown_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed")
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    from docs_pictures import PICTURES, VIEWS, small_png

    pictures = {path.name: path for path in (REPOSITORY / "docs").glob("*.[ps][nv]g")}
    assert set(pictures) == {*PICTURES, *VIEWS}, "see scripts/docs_pictures.py"
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert {name for name in pictures if not re.search(rf"[(/]{re.escape(name)}\)", text)} == set()
    for path in pictures.values():
        data = path.read_bytes()
        assert len(data) < MOST_BYTES, path.name
        assert path.suffix == ".svg" or len(small_png(data)) <= len(data)
