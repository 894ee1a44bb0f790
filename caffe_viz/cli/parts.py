"""Helpers of several commands: parse lists of numbers, show progress, print files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffe_viz.errors import InputError

if TYPE_CHECKING:
    from caffe_viz.images import Preprocess


def need_one_of(layer: str | None, objective: str | None) -> None:
    """Raise InputError unless exactly one of the options is given."""
    if (layer is None) == (objective is None):
        raise InputError('give either --layer or --objective, such as "conv3:16 + 0.5*conv3:40".')


def labelled(preprocess: Preprocess, given: Sequence[str] | None) -> Preprocess:
    """The settings with the labels from --labels, FILE or HEAD=FILE, if it is given."""
    from dataclasses import replace

    from caffe_viz.images import Labels, read_labels

    files = dict[str, Path]()
    for text in given or ():
        head, sign, file = text.partition("=")
        named = bool(sign) and not Path(text).exists()
        name = head if named else ""
        if name in files:
            raise InputError(
                f"--labels {text}: {files[name]} is given too; HEAD=FILE says of which answer each is."
            )
        files[name] = Path(file if named else text)
    if not files:
        return preprocess
    found = {name: read_labels(file) for name, file in files.items()}
    plain = found.pop("", Labels())
    return replace(preprocess, labels=plain.with_heads(found))


def height_width(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) for p in parts):
        raise InputError(f"--size {size!r}: give height and width, such as 227x227.")
    return int(parts[0]), int(parts[1])


def numbers(filters: str | None) -> list[int] | None:
    """Parse 0:160:10, 3,7,12 or 5; None means all."""
    if filters in (None, "all"):
        return None
    out: list[int] = []
    try:
        for part in filters.split(","):
            ends = [int(n) for n in part.split(":")]
            if min(ends) < 0 or len(ends) > 3:
                raise ValueError
            out += range(*ends) if len(ends) > 1 else ends
    except ValueError:
        raise InputError(f"--filters {filters!r}: give 0:160:10, 3,7,12 or all.") from None
    if not out:
        raise InputError(f"--filters {filters!r} chooses none.")
    return out


def print_files(paths: list[Path]) -> None:
    for path in paths:
        print(path)


def print_note(note: str) -> None:
    """Print a note about work in progress."""
    print(note, file=sys.stderr)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar with the remaining time, or only notes if there is no terminal.

    Yields a function of (done, total, note).
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns: list[Any] = [
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
    ]  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def report(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total)
            if note:
                print_note(note)

        yield report
