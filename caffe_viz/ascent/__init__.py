"""Inputs that maximise filters, by gradient ascent on the auxiliary net in worker processes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.ascent.climb import METHODS, Recipe, Tick
from caffe_viz.ascent.crew import Crew, Death
from caffe_viz.ascent.worker import Job
from caffe_viz.backend import announce
from caffe_viz.backend import chosen as chosen_engine
from caffe_viz.checking import check_messages, raise_for
from caffe_viz.errors import InputError, near
from caffe_viz.files import write_whole
from caffe_viz.geometry.python_layers import permits_of
from caffe_viz.images import Preprocess
from caffe_viz.layers_file import loaded_files
from caffe_viz.netdef import NetParameter, read_weights
from caffe_viz.surgery import Auxiliary, auxiliary_net

__all__ = ["METHODS", "Ascending", "Ascent", "Progress", "ascend", "canvas_size"]

BATCH = 4  # images a worker climbs at once; more gains nothing, as Caffe convolves one image after another
GREY, NOISE, RATE = 128.0, 10.0, 8.0  # of pixels 0..255
DATA_UNIT = 1 / 64  # what counts as a pixel step where the input is no picture: pixels deviate by about 64


@dataclass(frozen=True)
class Progress:
    """Steps of filters taken, of how many; `note` says what the user should know: a worker died."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class Ascent:
    """K filters of a layer: `images` (K, C, H, W) in units of the input blob, objective `curve` (K, steps+1).

    `values` (K,) is the objective of each image, the highest of its curve. `dead` filters had no gradient at
    any start and are in none of the arrays; nor are those that an interrupt left unstarted. `frames`
    (T, K, C, H, W) is empty unless asked for.
    """

    layer: str
    filters: tuple[int, ...]
    dead: tuple[int, ...]
    images: NDArray[np.float32]
    curve: NDArray[np.float32]
    frames: NDArray[np.float16]
    method: str
    seed: int
    engine: str

    @property
    def values(self) -> NDArray[np.float32]:
        return np.asarray(np.nanmax(self.curve, axis=1))

    def save(self, path: str | Path) -> None:
        """Write all but the frames as npz: filters, dead, images, curve, layer, method, seed, engine."""
        stream = io.BytesIO()
        np.savez_compressed(
            stream, layer=self.layer, filters=self.filters, dead=self.dead, images=self.images,
            curve=self.curve, method=self.method, seed=self.seed, engine=self.engine,
        )  # fmt: skip
        write_whole(path, stream.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Ascent:
        """What `save` wrote; the frames are empty.

        Raises:
            InputError: the file is missing or is none of these.
        """
        try:
            with np.load(path, allow_pickle=False) as saved:
                return cls(
                    str(saved["layer"]), tuple(saved["filters"].tolist()), tuple(saved["dead"].tolist()),
                    saved["images"], saved["curve"], np.empty(0, np.float16), str(saved["method"]),
                    int(saved["seed"]), str(saved["engine"]),
                )  # fmt: skip
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is no saved ascent: {error}.") from None


@dataclass
class Ascending:
    """An ascent under way: iterate for its `Progress`; `result` is the best so far, at any time."""

    job: Job
    batches: tuple[tuple[int, ...], ...]
    jobs: int
    method: str
    pids: tuple[int, ...] = ()
    _ticks: dict[tuple[int, ...], Tick] = field(default_factory=dict)
    _frames: dict[tuple[int, ...], list[Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Progress]:
        with Crew(self.job, self.jobs) as crew:
            for event in crew.run(self.batches):
                self.pids = crew.pids
                yield self._progress(event)
        self.pids = ()

    def _progress(self, event: Tick | Death) -> Progress:
        note = ""
        if isinstance(event, Death):
            self._ticks.pop(event.filters, None)
            self._frames.pop(event.filters, None)
            names = ", ".join(map(str, event.filters))
            note = f"a worker died ({event.reason}); another takes over filters {names}"
        else:
            self._ticks[event.filters] = event
            if event.frame is not None:
                self._frames.setdefault(event.filters, []).append(event.frame)
        steps = self.job.recipe.steps + 1
        done = sum(len(t.filters) * t.curve.shape[1] for t in self._ticks.values())
        return Progress(done, steps * sum(map(len, self.batches)), note)

    @property
    def result(self) -> Ascent:
        """The best images so far."""
        ticks = [self._ticks[batch] for batch in self.batches if batch in self._ticks]
        shape = self.job.auxiliary.image_shape[1:]
        columns = self.job.recipe.steps + 1
        images, curves, frames, filters = [], [], [], []
        for tick in ticks:
            padded = np.full((len(tick.filters), columns), np.nan, np.float32)
            padded[:, : tick.curve.shape[1]] = tick.curve
            curves.append(padded[tick.alive])
            images.append(tick.images[tick.alive])
            filters += [f for f, lives in zip(tick.filters, tick.alive, strict=True) if lives]
            if tick.filters in self._frames:
                frames.append(np.stack(self._frames[tick.filters])[:, tick.alive])
        dead = [f for tick in ticks for f, lives in zip(tick.filters, tick.alive, strict=True) if not lives]
        count = min(map(len, frames), default=0)
        return Ascent(
            self.job.auxiliary.layer, tuple(filters), tuple(dead),
            np.concatenate([np.empty((0, *shape), np.float32), *images]),
            np.concatenate([np.empty((0, columns), np.float32), *curves]),
            np.concatenate([f[:count] for f in frames], axis=1) if frames else np.empty(0, np.float16),
            self.method, self.job.recipe.seed, self.job.engine,
        )  # fmt: skip


def ascend(
    net: NetParameter,
    weights: str | Path | NetParameter,
    layer: str,
    filters: Sequence[int] | None = None,
    *,
    method: str = "plain",
    steps: int = 40,
    rate: float = RATE,
    size: tuple[int, int] | None = None,
    neuron: tuple[int, ...] | bool = False,
    start: NDArray[np.float32] | None = None,
    seed: int = 0,
    save_every: int = 0,
    preprocess: Preprocess | None = None,
    jobs: int | None = None,
    engine: str = "auto",
    device: str = "cpu",
) -> Ascending:
    """Prepare the ascent of `filters` of `layer` (None: all): the mean of each one's map goes up.

    Each of `steps` adds the gradient with respect to the input, divided by its root mean square, times
    `rate` (pixels of 0..255); method "regularised" adds jitter, decay and blur, which makes larger and
    clearer shapes. The image begins as grey with a little noise from `seed`, or as `start` (C, H, W) in
    units of the input. Its `size` (H, W) is by default the layer's receptive field and a margin, at most the
    net's input. `neuron` climbs one neuron of the map, at a place or in the centre (True), instead of its
    mean. The same arguments give the same numbers, with any number of `jobs` (processes; None: one per core,
    or one in all on another device than the CPU).
    Without `preprocess` the input is no picture: it begins at 0, and a pixel is 1/64 of its unit.

    Source: Simonyan et al., Deep Inside Convolutional Networks, 2014 (without its L2 term when plain).

    Raises:
        InputError: layer, filter, method, size or start does not fit the net, or Caffe would abort on it.
        RunError: the engine is not installed.
    """
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown.{near(method, METHODS)}")
    if steps < 1 or not rate > 0:
        raise InputError(f"steps {steps} and rate {rate:g} must be above 0.")
    given = weights if isinstance(weights, NetParameter) else read_weights(weights)
    # Here, not in the workers, so that a missing engine is told before any of them starts.
    own = auxiliary_net(net, layer)
    runner = chosen_engine(engine, device, own.message)
    raise_for(check_messages(net, given, allow_code=True, engine=runner), f"net {net.name!r}")
    announce(own.message, runner, engine, device)
    if size is None:
        size = start.shape[-2:] if start is not None and start.ndim == 3 else canvas_size(net, layer)
    chosen = tuple(range(own.activation_shape[1])) if filters is None else tuple(dict.fromkeys(filters))
    batch = min(BATCH, len(chosen)) or 1
    auxiliary = auxiliary_net(net, layer, batch=batch, size=size, neuron=bool(neuron))
    place = None if isinstance(neuron, bool) else tuple(neuron)
    batches = tuple(chosen[i : i + batch] for i in range(0, len(chosen), batch))
    for some in batches:
        auxiliary.select(some, place)  # says which filter or neuron there is not
    unit, grey = _unit(auxiliary, preprocess)
    if start is not None and start.shape != auxiliary.image_shape[1:]:
        raise InputError(
            f"the start has the shape {start.shape}; the input takes {auxiliary.image_shape[1:]}."
        )
    recipe = Recipe(METHODS[method], steps, rate * unit, grey, NOISE * unit, seed, start, place, save_every)
    permits = permits_of(auxiliary.message)
    trained = _of_layers(given, auxiliary.message)
    job = Job(auxiliary, trained, runner, device, recipe, loaded_files(), permits)
    return Ascending(job, batches, jobs or (_cores() if device == "cpu" else 1), method)


def canvas_size(net: NetParameter, layer: str) -> tuple[int, int] | None:
    """The (H, W) on which `layer` is drawn: its receptive field and a small margin, at most the input.

    None where the net's own size is needed: the layer sees the whole input, or the input is no image.
    """
    auxiliary = auxiliary_net(net, layer)
    own, sees = auxiliary.image_shape[2:], auxiliary.field
    if sees is None or len(own) != 2 or 0 in sees.stride:
        return None
    wanted = [int(np.ceil(n)) + int(n) // 32 for n in sees.size]
    return min(wanted[0], own[0]), min(wanted[1], own[1])


def _cores() -> int:
    """Those that this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unit(auxiliary: Auxiliary, preprocess: Preprocess | None) -> tuple[float, NDArray[np.float32]]:
    """A pixel (of 0..255) in units of the input, and its grey (C,)."""
    channels = auxiliary.image_shape[1]
    if preprocess is None:
        return DATA_UNIT, np.zeros(channels, np.float32)
    mean = np.broadcast_to(np.asarray(preprocess.mean, np.float32), (channels,))
    return preprocess.scale, (GREY - mean) * np.float32(preprocess.scale)


def _of_layers(weights: NetParameter, net: NetParameter) -> NetParameter:
    """Only the weights that `net` needs: those of fully connected layers are most of many files."""
    names = {layer.name for layer in net.layer}
    out = NetParameter()
    for layer in weights.layer:
        if layer.name in names and layer.blobs:
            out.layer.add().CopyFrom(layer)
    return out
