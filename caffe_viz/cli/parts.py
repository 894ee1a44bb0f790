"""What several commands do: open a network, read lists of numbers, show progress, print files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caffe_viz.errors import InputError

if TYPE_CHECKING:
    from caffe_viz.images import Preprocess
    from caffe_viz.netdef import NetParameter
    from caffe_viz.network import Network


def open_network(
    prototxt: Path,
    weights: Path,
    preprocess: Path | None,
    engine: str = "auto",
    device: str = "cpu",
    allow_code: bool = False,
    python_path: Sequence[Path] | None = None,
    layers: Sequence[Path] | None = None,
    variants: Sequence[str] | None = None,
) -> Network:
    """The two files, checked, with how images get in."""
    from caffe_viz.network import Network

    network = Network(
        prototxt, weights, preprocess_of(prototxt, preprocess), engine, device, allow_code,
        python_path or (), layers or (), meanings(variants),
    )  # fmt: skip
    network.check()
    return network


def message_of(
    prototxt: Path,
    allow_code: bool = False,
    python_path: Sequence[Path] | None = None,
    layers: Sequence[Path] | None = None,
    variants: Sequence[str] | None = None,
    weights: Path | None = None,
) -> NetParameter:
    """The net as a message, for commands that only measure it."""
    from caffe_viz.backend import message_with_code
    from caffe_viz.checking import prepared
    from caffe_viz.geometry.python_layers import folders
    from caffe_viz.layers_file import load_layers
    from caffe_viz.netdef import read_net

    load_layers(layers or ())
    paths = folders(python_path or ())
    net = message_with_code(prototxt, paths) if allow_code else read_net(prototxt)
    return prepared(net, weights, meanings(variants))


def need_one_of(layer: str | None, objective: str | None) -> None:
    """Raises InputError unless exactly one of the options is given."""
    if (layer is None) == (objective is None):
        raise InputError('give either --layer or --objective, such as "conv3:16 + 0.5*conv3:40".')


def meanings(variants: Sequence[str] | None) -> dict[str, str]:
    """TYPE=NAME as a mapping; raises InputError on what is none."""
    pairs = [text.partition("=") for text in variants or ()]
    for kind, sign, name in pairs:
        if not (kind and sign and name):
            raise InputError(
                f"--variant {kind}{sign}{name}: give a layer type and its meaning, as BN=segnet."
            )
    return {kind: name for kind, _, name in pairs}


def preprocess_of(prototxt: Path, given: Path | None) -> Preprocess:
    """How images get in: by the file given, or the one beside the prototxt."""
    from caffe_viz.images import Preprocess

    return Preprocess.near(prototxt) if given is None else Preprocess.from_toml(given)


def height_width(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    parts = size.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and int(p) for p in parts):
        raise InputError(f"--size {size!r}: give height and width, as 227x227.")
    return int(parts[0]), int(parts[1])


def numbers(filters: str | None) -> list[int] | None:
    """0:160:10 and 3,7,12 and 5 as numbers; None: all."""
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
        raise InputError(f"--filters {filters!r}: give 0:160:10, or 3,7,12, or all.") from None
    if not out:
        raise InputError(f"--filters {filters!r} chooses none.")
    return out


def print_files(paths: list[Path]) -> None:
    for path in paths:
        print(path)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the remaining time on a terminal, else only notes; called with (done, total, note)."""
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
                print(note, file=sys.stderr)

        yield report
