"""The command line itself, which the modules beside this one enter their commands into."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

import typer

from caffe_viz.errors import CaffeVizError, RunError

NO_MEMORY = ("can't allocate memory", "out of memory")  # in what torch raises, on the CPU and on a card
INTERRUPTED = 130  # the shell's exit code of what Ctrl-C ended

app = typer.Typer(
    help="Look inside Caffe networks.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, rich_markup_mode="markdown",  # rich's own markup swallows "[default: ..]"
)  # fmt: skip


def main(task: str | None = None) -> None:
    """Run the command line; `task` is the command where the program's name already says it (scripts/)."""
    arguments = [*([task] if task else []), *sys.argv[1:]]
    debug = "--debug" in arguments
    warnings.showwarning = _show_warning
    try:
        app([a for a in arguments if a != "--debug"])
    except CaffeVizError as error:
        if debug:
            raise
        print(f"caffe-viz: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (MemoryError, RuntimeError) as error:
        if debug or not (isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)):
            raise
        print("caffe-viz: there is not enough memory: make the batch or the input smaller.", file=sys.stderr)
        sys.exit(RunError.exit_code)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """One line, as an error, and not where in the code it was said."""
    print(f"caffe-viz: {' '.join(str(message).split())}", file=file or sys.stderr)
