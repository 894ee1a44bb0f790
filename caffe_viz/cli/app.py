"""The typer application that the other modules register their commands with, and `main`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import TextIOWrapper
from platform import python_version
from typing import Annotated, Any, TextIO

import typer

import caffe_viz
from caffe_viz.cli.usage import GROUPS, Command, Commands, describe
from caffe_viz.cli.usage import INTERRUPTED as INTERRUPTED
from caffe_viz.errors import CaffeVizError, RunError, no_memory


class App(typer.Typer):
    """A typer application whose commands share metavars, completion and error messages."""

    def command(self, *given: Any, **named: Any) -> Callable[[Any], Any]:
        add = super().command

        def entered(function: Any) -> Any:
            describe(function)
            panel = next((title for title, names in GROUPS.items() if function.__name__ in names), None)
            return add(*given, cls=Command, rich_help_panel=panel, **named)(function)

        return entered


app = App(
    cls=Commands, pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # rich's own markup swallows "[default: ..]"
)  # fmt: skip


def _show_version(asked: bool) -> None:
    if asked:
        print(f"caffe-viz {caffe_viz.__version__}")
        print(f"Python {python_version()}")
        for engine in ("caffe", "torch"):
            print(f"{engine} {_version_of(engine)}")
        raise typer.Exit


def _version_of(module: str) -> str:
    """The version of a module, found without importing it, which takes seconds."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return "is not installed"
    try:
        return version(module)
    except PackageNotFoundError:
        return f"in {spec.origin}"


@app.callback()
def whole(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the installed versions and exit."
        ),
    ] = False,
) -> None:
    """Look inside Caffe networks.

    Example: `caffe-viz report caffenet_cifar10 --example`

    `caffe-viz COMMAND --help` shows an example and the options of each command.
    """


def main(task: str | None = None) -> None:
    """Run the command line; `task` is the command of a program that has only one (scripts/)."""
    arguments = [*([task] if task else []), *sys.argv[1:]]
    debug = "--debug" in arguments
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a label that the locale cannot write ends nothing
    try:
        app([a for a in arguments if a != "--debug"] or ["--help"], prog_name="caffe-viz")
    except CaffeVizError as error:
        if debug:
            raise
        print(f"caffe-viz: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        print(f"caffe-viz: {_unforeseen(error)}", file=sys.stderr)
        sys.exit(RunError.exit_code)


def _unforeseen(error: Exception) -> str:
    """The message for an error that no command handles."""
    if no_memory(error):
        return "there is not enough memory: make the batch or the input smaller."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the output'}: {error.strerror}."
    words = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{words} (a bug in caffe_viz: --debug shows where, for a report of it)"


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Print a warning as one line, like an error, without its place in the code."""
    print(f"caffe-viz: {' '.join(str(message).split())}", file=file or sys.stderr)
