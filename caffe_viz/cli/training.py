"""The commands `train` and `evolution`."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe_viz.cli.app import INTERRUPTED, app
from caffe_viz.cli.options import AllowCode, Engine, Json, Layers, Output, PreprocessFile, PythonPath
from caffe_viz.cli.parts import print_files
from caffe_viz.cli.pixels import preprocess_of
from caffe_viz.errors import CaffeVizError, InputError

if TYPE_CHECKING:
    from caffe_viz.recording import Step

LINE_EVERY = 10.0  # seconds from one plain line to the next, where there is no terminal
SMOOTHED = 50  # iterations whose losses are averaged for the eye


@app.command()
def train(
    solver: Annotated[Path, typer.Argument(help="The solver's prototxt.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Images to train on, as CLASS/NAME.jpg in a folder or .zip archive, or as an .npz; for nets "
            "with Input or MemoryData layers."
        ),
    ] = None,
    test_data: Annotated[
        Path | None,
        typer.Option(help="Images to test on, in the same form. [default: those of the solver's test net]"),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="File to record kernels, gradients, norms and scores in.")
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layer whose weights are recorded in full, or all (repeatable). [default: the first with "
            "kernels]"
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="epoch|N",
            help="Length of a period of the record: epoch, or N iterations. [default: an epoch of --data]",
        ),
    ] = None,
    snapshot: Annotated[Path | None, typer.Option(help="Solverstate to resume from.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Caffemodel to start from.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the order of --data.", min=0)] = 0,
    preprocess: PreprocessFile = None,
    engine: Engine = "auto",
    allow_code: AllowCode = False,
    python_path: PythonPath = None,
    layers: Layers = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for snapshots, if the solver has no snapshot_prefix."),
    ] = Path("out"),
) -> None:
    """Train a net until the solver's max_iter, and record how it changes.

    Example: `caffe-viz train solver.prototxt --data photos.zip --record a.record`

    Ctrl-C takes a snapshot, which --snapshot resumes from.
    """
    from caffe_viz.layers_file import load_layers
    from caffe_viz.training import Training

    load_layers(layers or ())
    training = Training(
        solver, record=record, layers="all" if layer == ["all"] else layer, every=_every(every),
        snapshot=snapshot, weights=weights, data=data, test_data=test_data,
        preprocess=preprocess_of(solver, preprocess), seed=seed, engine=engine, allow_code=allow_code,
        python_path=python_path or (), output=output,
    )  # fmt: skip
    for warning in training.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    line = ProgressLine(training.solver.iter, training.settings.max_iter)
    interrupted = False
    try:
        with interruptible() as asked:
            for step in training:
                line.show(step)
                if asked:
                    interrupted = True
                    break
    except CaffeVizError:
        line.end()
        print_files(training.finish())
        raise
    line.end()
    print_files(training.finish() + ([] if record is None else [record]))
    if interrupted:
        print(
            f"interrupted after iteration {training.solver.iter}; --snapshot goes on from it", file=sys.stderr
        )
        raise typer.Exit(INTERRUPTED)


@app.command()
def evolution(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="A record made with train, several caffemodels, or logs of Caffe's own training.",
            show_default=False,
        ),
    ],
    preprocess: Annotated[
        Path | None,
        typer.Option("--preprocess", help="preprocess.toml with the channel order. [default: BGR]"),
    ] = None,
    output: Output = Path("out"),
    as_json: Json = False,
) -> None:
    """Show how a net changed while it learned.

    Example: `caffe-viz evolution a.record`

    A record gives kernels over time, gradients, updates, curves and histograms. Caffe's logs give loss,
    outputs and learning rate over iterations, as a picture and as CSV.
    """
    from caffe_viz.images import Preprocess
    from caffe_viz.recording.logs import is_log
    from caffe_viz.views.evolved import show_evolution

    if all(map(is_log, files)):
        _print_logs(files, output, as_json)
        return
    order = "BGR" if preprocess is None else Preprocess.from_toml(preprocess).channel_order
    found = show_evolution(files[0] if len(files) == 1 else files, channel_order=order)
    paths = found.save(output)
    if as_json:
        made = {"engine": found.record.head.engine, "periods": found.table.to_json()}
        print(json.dumps(made | {"files": list(map(str, paths))}))
    else:
        print(found)
        print_files(paths)
    if found.record.note:
        print(found.record.note, file=sys.stderr)


def _print_logs(files: list[Path], output: Path, as_json: bool) -> None:
    from caffe_viz.views.logged import show_log

    found = show_log(files)
    paths = found.save(output)
    if as_json:
        print(json.dumps(found.to_json() | {"files": list(map(str, paths))}))
    else:
        print(found)
        print_files(paths)
    for note in found.notes:
        print(note, file=sys.stderr)


class ProgressLine:
    """Shows loss, scores, learning rate and time left: live on a terminal, else now and then."""

    def __init__(self, start: int, end: int) -> None:
        self._start, self._end, self._begun = start, end, time.monotonic()
        self._losses: list[float] = []
        self._scores: dict[str, float] = {}
        self._shown = float("-inf")
        self._live = sys.stderr.isatty()

    def show(self, step: Step) -> None:
        """Show the step, if it is time or a period has ended."""
        self._losses = [*self._losses[1 - SMOOTHED :], step.loss]
        self._scores = step.scores or self._scores
        now = time.monotonic()
        due = now - self._shown > (0.1 if self._live else LINE_EVERY)
        if due or step.scores is not None or step.iteration == self._end:
            self._shown = now
            words = self._words(step, now)
            if self._live:  # a line that wraps could not be written over
                words = words[: shutil.get_terminal_size().columns - 1]
            print(words, end="\033[K\r" if self._live else "\n", file=sys.stderr, flush=True)
        if self._live and step.scores:
            print(file=sys.stderr)  # the line of a period stays

    def end(self) -> None:
        """Finish the line."""
        if self._live:
            print(file=sys.stderr)

    def _words(self, step: Step, now: float) -> str:
        loss = sum(self._losses) / len(self._losses)
        scores = "".join(f"  test {name} {value:.4g}" for name, value in self._scores.items())
        left = (now - self._begun) / (step.iteration - self._start) * (self._end - step.iteration)
        return (
            f"iteration {step.iteration:,} of {self._end:,}  loss {loss:.4g}{scores}  rate {step.rate:.3g}  "
            f"{_clock(left)} left"
        )


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Yield a list that notes Ctrl-C; a second Ctrl-C interrupts as usual."""
    asked: list[int] = []
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, usual)


def _every(given: str | None) -> int | str | None:
    if given is None or given == "epoch":
        return given
    if not given.isdigit() or not int(given):
        raise InputError(f"--every {given!r}: give epoch, or a number of iterations such as 500.")
    return int(given)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
