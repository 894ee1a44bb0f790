"""User code in a net: what it raises becomes one line that says where."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from caffe_viz.errors import CaffeVizError, RunError

PACKAGE = Path(__file__).resolve().parent.parent


@contextmanager
def told(
    what: str, folders: Sequence[str | Path] = (), kind: type[CaffeVizError] = RunError
) -> Iterator[None]:
    """Run code of a user within; what it prints goes to stderr.

    Raises:
        kind: the code raised something; the message begins with `what`, and names the last line of a file
            in `folders` that was being run.
    """
    try:
        with redirect_stdout(sys.stderr):  # a command's output stays its own
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise kind(f"{what} {reason(error, folders)}") from error


def reason(error: BaseException, folders: Sequence[str | Path] = ()) -> str:
    """ "raised ValueError: too small (layers.py, line 12)."."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return f"is no Python {sys.version_info[0]}: {error.msg} ({error.filename}, line {error.lineno})."
    if isinstance(error, CaffeVizError):
        return f"raised: {text.rstrip('.')} ({_place(error, folders)})."
    name = type(error).__name__
    return f"raised {name}{f': {text}' if text else ''} ({_place(error, folders)})."


def _place(error: BaseException, folders: Sequence[str | Path]) -> str:
    """The deepest line of a file in `folders`, or of any file."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([f for f in frames if is_own(f.filename, folders)] or frames)[-1]
    return f"{frame.filename}, line {frame.lineno}"


def is_own(file: str | Path, folders: Sequence[str | Path]) -> bool:
    """Whether a user's code in `folders` has this file: not a package that is installed below one of them."""
    path = Path(file).resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts) or path.is_relative_to(PACKAGE)
    return not installed and any(path.is_relative_to(Path(folder).resolve()) for folder in folders)
