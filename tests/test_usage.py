"""The command line as people know it: help, completion, --version, and lines that it cannot read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest
import typer
from commands import here, ran

import caffe_viz
from caffe_viz.attribution import METHODS
from caffe_viz.cli import usage
from caffe_viz.cli.app import app
from caffe_viz.figures import COLOURS

TASKS: dict[str, Any] = typer.main.get_command(app).commands
# Of these there is none unless it is given.
NOTHING = {
    "weights", "variant", "layers", "stage", "input", "objective", "mask", "guide", "image", "photos", "record",
    "write", "snapshot", "data", "prototxt", "beside",
}  # fmt: skip
# Either these or another option, or nothing.
ALONE = {"aux --layer", "ascend --layer", "dream --layer", "preprocess --output", "top --gradient"}
WORD = r"[A-Z]+(x[A-Z])?|[A-Za-z]+"


def parameters(flags: bool = False) -> Iterator[tuple[str, Any]]:
    """Of all commands, with what they are called."""
    for name, task in TASKS.items():
        for param in task.params:
            if getattr(param, "is_flag", False) == flags:
                yield f"{name} {param.opts[0]}", param


def test_values_are_shown_as_people_write_them() -> None:
    wrong = [
        (name, param.metavar) for name, param in parameters()
        if not re.fullmatch(rf"[A-Z]+|HxW|({WORD})([|=]({WORD}))+", param.metavar)
    ]  # fmt: skip
    assert not wrong


def test_flags_have_no_opposite() -> None:
    """--no-.. is what the absence of the flag says."""
    assert not [name for name, param in parameters(flags=True) if param.secondary_opts]


def test_every_default_is_in_the_help() -> None:
    for name, param in parameters():
        told = "[default: " in (param.help or "")
        if param.required or param.hidden or param.name in NOTHING or name in ALONE:
            continue
        assert told if param.default is None else (param.show_default and not told), name


@pytest.mark.parametrize("name", TASKS)
def test_help_shows_no_types_of_python(name: str) -> None:
    text = here(name, "--help")
    assert not re.search(r"<\w+|\{|List|PATH|TEXT|INTEGER|BOOLEAN", text)
    assert f"Usage: caffe-viz {name} [OPTIONS] " in text


def test_help_names_the_default() -> None:
    text = " ".join(here("ascend", "--help").replace("│", " ").split())
    assert "natural|regularised|plain" in text
    for words in ("[default: natural]", "[default: the method's]", "[default: out]", "[default: 0]"):
        assert words in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shapez", "there is no command 'shapez'. Did you mean 'shapes'?"),
        ("--versoin", "caffe-viz has no option --versoin. Did you mean '--version'?"),
        ("shapes", "shapes needs PROTOTXT: the network's prototxt, "),
        ("shapes net --batc 2", "shapes has no option --batc. Did you mean '--batch'?"),
        ("shapes net --time=2", "--time takes no value."),
        ("shapes net --batch", "--batch needs a value: --batch N."),
        ("shapes net -o", "shapes has no option -o."),
        ("draw net -o", "-o needs a value: --output FOLDER."),
        ("shapes net --batch two", "--batch two: give a whole number from 1 on."),
        ("shapes net --batch 0", "--batch 0: give a whole number from 1 on."),
        ("diff a b --count 21", "--count 21: give a whole number from 1 to 20."),
        ("attribute net w --image i --noise much", "--noise much: give a number from 0 on."),
        ("attribute net w --image i --noise nan", "--noise nan: give a number from 0 on."),
        ("shapes net --level 1.5", "--level 1.5: give a whole number."),
        ("shapes a b c", "shapes takes no more than PROTOTXT and WEIGHTS, not 'c'"),
        ("draw a b", "draw takes no more than PROTOTXT, not 'b'"),
        ("classify a b --image c.png d.png", "not 'd.png'; an option takes one value: repeat it for more."),
        ("export net w --to onnx", "export needs --output FILE: file to write"),
        ("train", "train needs SOLVER: the solver's prototxt."),
        ("evolution", "evolution needs FILE: a record made with train"),
        ("shapes net --engine caffee", "--engine caffee: give auto, caffe or torch."),
        ("shapes net --phase test", "--phase test: give TRAIN or TEST."),
        ("draw net --format svg --format jpg", "--format jpg: give svg, png or dot."),
        ("export net w --to pt -o x", "--to pt: give torch or onnx."),
        ("evaluate net w --image i --check sane", "--check sane: give curves or sanity."),
        ("features net w --image i --blob b --pool min", "--pool min: give mean or max."),
        ("classify caffenet_cifar10", "classify needs an image: give --image FILE, or --example."),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_one_line(line: str, said: str) -> None:
    code, out, err = ran(*line.split())
    assert (code, out) == (2, "")
    assert err.startswith("caffe-viz: ")
    assert said in err
    assert err.count("\n") == 1


def test_values_of_which_there_are_few_are_completed() -> None:
    found = set()
    for name, param in parameters():
        choices = param.metavar.split("|")
        if [
            item.value for item in param.shell_complete(typer.Context(TASKS[name.split()[0]]), "")
        ] == choices:
            found.add(param.name)
    assert {"engine", "phase", "format", "method", "colours", "check", "to", "pool", "channel_order"} <= found


def test_choices_are_those_that_there_are() -> None:
    def metavar(task: str, name: str) -> list[str]:
        return next(p.metavar for p in TASKS[task].params if p.name == name).split("|")

    assert metavar("attribute", "colours") == list(COLOURS)
    help_of_method = next(p.help for p in TASKS["attribute"].params if p.name == "method")
    assert all(f"{method}," in help_of_method for method in METHODS)


def test_version_is_told_without_loading_an_engine() -> None:
    code = "import sys; from caffe_viz.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    line = [sys.executable, "-c", code, "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    said, modules = done.stdout.splitlines()[:-1], done.stdout.splitlines()[-1].split()
    assert said[0] == f"caffe-viz {caffe_viz.__version__}"
    assert [line.split()[0] for line in said] == ["caffe-viz", "Python", "caffe", "torch"]
    assert {"torch", "caffe", "matplotlib", "skimage", "numpy", "google.protobuf"}.isdisjoint(modules)


def test_without_a_command_the_help_is_shown() -> None:
    assert here() == here("--help")


@pytest.fixture
def completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """What a shell is told for a line with the cursor at its end; a net of the reader's is there."""
    layer = 'layer { name: "conv1" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    (tmp_path / "mine.prototxt").write_text(layer)
    monkeypatch.chdir(tmp_path)

    def completing(line: str, shell: str = "bash") -> str:
        told = {
            "bash": {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))},
            "zsh": {"_TYPER_COMPLETE_ARGS": line},
            "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
        }[shell]
        for name, value in {**told, "_CAFFE_VIZ_COMPLETE": f"complete_{shell}"}.items():
            monkeypatch.setenv(name, value)
        return here()

    return completing


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("caffe-viz sha", ["shapes"]),
        ("caffe-viz shapes --bat", ["--batch"]),
        ("caffe-viz shapes caffenet_", ["caffenet_cifar10"]),
        ("caffe-viz shapes mine", []),  # a file of this name: the shell's affair
        ("caffe-viz ascend caffenet --layer fc", ["fc6", "fc7", "fc8"]),
        ("caffe-viz ascend mine.prototxt --layer conv", ["conv1"]),
        ("caffe-viz gradient lenet --blob ip", ["ip1", "ip2"]),
        ("caffe-viz ascend none.prototxt --layer conv", []),
        ("caffe-viz shapes net --engine t", ["torch"]),
    ],
)
def test_bash_is_offered(line: str, offered: list[str], completed: Callable[..., str]) -> None:
    assert completed(line).split() == offered


def test_zsh_and_fish_are_offered_the_same(completed: Callable[..., str]) -> None:
    line = "caffe-viz ascend lenet --layer conv"
    assert completed(line, "zsh").split() == ["_arguments", "'*:", ':(("conv1"', '"conv2"))\'']
    assert completed(line, "fish").split() == ["conv1", "conv2"]


def test_the_script_for_bash_completes(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "caffe-viz"
    program.write_text(f"#!{sys.executable}\nfrom caffe_viz.cli import main\nmain()\n")
    program.chmod(0o755)
    script = f"""
    export PATH={tmp_path}:$PATH
    source <(_CAFFE_VIZ_COMPLETE=source_bash caffe-viz)
    COMP_WORDS=(caffe-viz invert lenet --layer conv) COMP_CWORD=4
    _caffe_viz_completion caffe-viz
    echo "${{COMPREPLY[@]}}"; complete -p caffe-viz
    """
    done = subprocess.run([bash, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "conv1 conv2\ncomplete -o default -F _caffe_viz_completion caffe-viz\n", done.stderr


@pytest.mark.parametrize("columns", [30, 69, 70, 80])
def test_help_cuts_no_word_off(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("ascend", "export", "evaluate"):
        text = here(name, "--help")
        assert "…" not in text
        options = [param.opts[0] for param in TASKS[name].params if param.opts[0].startswith("--")]
        assert [option for option in options if option not in text] == []


def piped(line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell, as `program`; `more` are variables of its environment."""
    bash = shutil.which("bash") or pytest.skip("bash is not installed")
    start = f"program() {{ {sys.executable} -c 'from caffe_viz.cli import main; main()' \"$@\"; }}\n"
    found = os.environ | more
    return subprocess.run([bash, "-c", start + line], env=found, capture_output=True, text=True, check=False)


def test_a_reader_that_leaves_is_no_error() -> None:
    done = piped("program shapes resnet50 | head -1")
    assert (done.stdout, done.stderr) == ("blobs\n", "")


def test_an_output_that_is_full_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = piped("program shapes resnet50 > /dev/full")
    assert (done.returncode, done.stderr) == (1, "caffe-viz: the output: No space left on device.\n")


def test_what_the_locale_cannot_write_ends_nothing(tmp_path: Path) -> None:
    net = 'layer { name: "dé" type: "Input" top: "dé" input_param { shape { dim: 1 dim: 7 } } }'
    (tmp_path / "net.prototxt").write_text(net, encoding="utf-8")
    done = piped(
        f"program shapes {tmp_path / 'net.prototxt'}", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "d\\xe9" in done.stdout


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (ZeroDivisionError("by zero"), 1, "caffe-viz: ZeroDivisionError: by zero (a bug in caffe_viz: "),
        (PermissionError(13, "Permission denied", "net.npz"), 1, "caffe-viz: net.npz: Permission denied.\n"),
    ],
)  # fmt: skip
def test_what_no_command_foresees_is_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr("caffe_viz.geometry.measure", broken)
    ended, out, err = ran("shapes", "lenet")
    assert (ended, out) == (code, "")
    assert err.startswith(said)
    assert err.count("\n") == 1
    if isinstance(error, Exception):
        with pytest.raises(type(error)):
            ran("shapes", "lenet", "--debug")


@pytest.mark.parametrize(
    "command", ["activations lenet w --image i", "weights lenet w", "gradient lenet w --image i"]
)
def test_an_output_folder_that_is_a_file_is_said_first(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, said = ran(*command.split(), "-o", tmp_path / "file")
    assert code == 1
    assert "file is not a folder that you can write to" in said


def test_what_an_option_says_counts_inside_optional_too() -> None:
    """As Python 3.10 has it where the default is None."""

    def command(count: Optional[Annotated[int, typer.Option("--count")]] = None) -> None: ...  # noqa: UP045

    usage.describe(command)
    assert command.__annotations__["count"].__metadata__[0].metavar == "N"
