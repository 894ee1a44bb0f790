"""Run a training from files: the solver, its feed, its recorder, its snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.backend import engine_name
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError, RunError
from caffe_viz.images import Preprocess
from caffe_viz.netdef import SolverParameter
from caffe_viz.recording import Recorder, Step, TestNet
from caffe_viz.recording.seen import seen_in_net
from caffe_viz.training.feeds import BatchFeed, Images, InputBlobs, examples_of
from caffe_viz.training.solvers import (
    load_solver,
    load_test_net,
    load_weights,
    read_settings,
    restore,
    warnings_of,
    with_code,
)

PathLike = str | Path
DIVERGED = 1e6  # a weight that no net of use has, and whose products do not overflow yet


class Training:
    """A training in progress: iterate for its steps, up to max_iter; a started iteration is always finished.

    `data` and `test_data` feed nets without data of their own, in the order of `seed`: images in folders of
    their classes, archives of such, or .npz files. It starts with a `snapshot` (a solverstate) or with
    `weights`. `every` is by default an epoch of the data, or else the solver's test_interval; `layers` the
    first with kernels, or with units that read maps. For these, and for `record`, see `Recorder`; for the
    rest `load_solver`. `warnings` are from `warnings_of`.

    Raises:
        InputError, RunError: As those; RunError also if the training diverges.
    """

    def __init__(
        self,
        solver: PathLike,
        *,
        record: PathLike | None = None,
        layers: Sequence[str] | str | None = None,
        every: int | str | None = None,
        snapshot: PathLike | None = None,
        weights: PathLike | None = None,
        data: PathLike | None = None,
        test_data: PathLike | None = None,
        preprocess: Preprocess | None = None,
        seed: int = 0,
        engine: str = "auto",
        allow_code: bool = False,
        python_path: PathLike | Sequence[PathLike] = (),
        output: PathLike = "out",
    ) -> None:
        if snapshot is not None and weights is not None:
            raise InputError("give a snapshot or weights, not both: a snapshot has its own weights.")
        settings = read_settings(solver, output)
        self.settings = with_code(settings, python_path) if allow_code else settings
        self.solver = load_solver(self.settings, engine=engine, allow_code=allow_code)
        self.warnings = warnings_of(self.settings, engine)
        images = preprocess or preprocess_near(solver)
        feed = None if data is None else _feed(self.solver.net, Path(data), images, seed, self.settings)
        if feed is None:
            _need_data(self.solver.net)
        test = None
        if test_data is not None:
            net = load_test_net(self.settings, engine=engine, allow_code=allow_code)
            test = _test(net, Path(test_data), images, feed)
        if snapshot is not None:
            restore(self.solver, snapshot)
        if weights is not None:
            load_weights(self.solver, weights)
        if self.solver.iter >= self.settings.max_iter:
            raise InputError(
                f"the solver is at iteration {self.solver.iter} of max_iter {self.settings.max_iter}."
            )
        kept = _first_kernels(self.solver.net) if layers is None else layers
        self.recorder = Recorder(
            self.solver, record, layers=() if record is None else kept,
            every=every or _every(feed, self.settings), feed=feed, test=test,
        )  # fmt: skip
        self._saved = -1 if snapshot is None else self.solver.iter

    def __iter__(self) -> Iterator[Step]:
        while self.solver.iter < self.settings.max_iter:
            step = self.recorder.step()
            yield step
            self._need_sane(step)

    def finish(self) -> list[Path]:
        """Finish the record, write a snapshot unless there is one, and return its files.

        Raises:
            RunError: They cannot be written.
        """
        self.recorder.close()
        iteration = self.solver.iter
        ending = ".h5" if self.settings.snapshot_format == SolverParameter.HDF5 else ""
        stem = f"{self.settings.snapshot_prefix}_iter_{iteration}"
        if (
            not (self.settings.snapshot and iteration % self.settings.snapshot == 0)
            and iteration != self._saved
        ):
            self.solver.snapshot()
        return [Path(f"{stem}.{kind}{ending}") for kind in ("caffemodel", "solverstate")]

    def _need_sane(self, step: Step) -> None:
        """Caffe's MAX pooling, of values that are all NaN, writes outside its memory on backward.

        The process then dies of it, sooner or later; so real Caffe is stopped before values overflow.
        """
        net = self.solver.net
        largest = _largest(net) if engine_name(net) == "caffe" else 0.0
        if np.isfinite(step.loss) and largest < DIVERGED:
            return
        weights = f", weights up to {largest:.1e}" if largest else ""
        raise RunError(
            f"iteration {step.iteration}: the training has diverged (loss {step.loss:g}{weights}): begin "
            f"again with a lower base_lr than {self.settings.base_lr:g}, or from an earlier snapshot."
        )


def _largest(net: Any) -> float:
    """The largest absolute value of all weights, NaN if there is one; without BatchNorm's sums."""
    blobs = [blob for layer in net.layers if layer.type != "BatchNorm" for blob in layer.blobs]
    return float(np.max([np.abs((blob.data.min(), blob.data.max())) for blob in blobs], initial=0))


def _feed(net: Any, source: Path, preprocess: Preprocess, seed: int, settings: SolverParameter) -> BatchFeed:
    slots = InputBlobs.of(net)
    return BatchFeed(net, slots, examples_of(source, preprocess, slots), seed, settings.iter_size)


def _test(net: Any, source: Path, preprocess: Preprocess, training: BatchFeed | None) -> TestNet:
    """All whole batches of `source`; images have the classes that those of the training have."""
    slots = InputBlobs.of(net)
    taught = training.examples if training is not None else None
    classes = taught.classes if isinstance(taught, Images) else ()
    feed = BatchFeed(net, slots, examples_of(source, preprocess, slots, classes))
    return TestNet(net, feed.epoch, feed)


def _need_data(net: Any) -> None:
    waiting = [layer.type for layer in net.layers if layer.type in ("Input", "MemoryData")]
    if waiting:
        raise InputError(f"the net has a layer {waiting[0]}, which waits for data: give some (--data).")


def _every(feed: BatchFeed | None, settings: SolverParameter) -> int | str:
    return "epoch" if feed is not None or not settings.test_interval else settings.test_interval


def _first_kernels(net: Any) -> list[str]:
    """The first layer with kernels, or of units that see maps."""
    kernels = [name for name, blobs in net.params.items() if blobs[0].data.ndim == 4]
    return [*kernels, *(name for name, axes in seen_in_net(net).items() if len(axes) == 3)][:1]
