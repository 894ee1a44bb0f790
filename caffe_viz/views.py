"""What a user sees in IPython: one function per question; each returns values that know how to show themselves.

Nothing here prints, writes a file or opens a window. A result holds the arrays (copies), and a
``_repr_png_`` or ``_repr_html_`` that notebooks pick up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz import backend, figures, netdef, probe, tables
from caffe_viz.ascent import Ascent, Progress, ascend
from caffe_viz.errors import InputError, near
from caffe_viz.figures import Picture
from caffe_viz.geometry import Geometry, measure
from caffe_viz.images import Preprocess, load_image

Array = NDArray[np.float32]
PathLike = str | Path
ACTIVATION_TYPES = ("ReLU", "PReLU", "ELU", "Sigmoid", "TanH", "ReLU6", "HardSigmoid", "HardSwish")


@dataclass(frozen=True)
class Network:
    """The two files as messages, and how images get in; the engine is loaded when it is first needed."""

    message: netdef.NetParameter
    weights: PathLike | None
    preprocess: Preprocess
    engine: str = "auto"
    allow_code: bool = False
    source: PathLike | None = None

    @classmethod
    def open(
        cls,
        prototxt: PathLike,
        weights: PathLike | None = None,
        *,
        preprocess: Preprocess | PathLike | None = None,
        engine: str = "auto",
        allow_code: bool = False,
    ) -> Network:
        """Read `prototxt`; `preprocess` is a value, a TOML file, or by default preprocess.toml beside it."""
        if preprocess is None:
            preprocess = Preprocess.near(prototxt)
        elif not isinstance(preprocess, Preprocess):
            preprocess = Preprocess.from_toml(preprocess)
        message = netdef.for_phase(netdef.read_net(prototxt))
        return cls(message, weights, preprocess, engine, allow_code, prototxt)

    @cached_property
    def geometry(self) -> Geometry:
        return measure(self.message, batch=1)

    @cached_property
    def data(self) -> str:
        """The blob that takes the image: the only input of four axes."""
        images = [name for name in self.geometry.inputs if len(self.geometry.blobs[name]) == 4]
        if len(images) != 1:
            raise InputError(
                f"{self.source}: {len(images)} inputs could take an image ({', '.join(images) or 'none of 4 axes'}); "
                "one is needed. Cut the net to one image input."
            )
        return images[0]

    def load(self, *, force_backward: bool = False) -> Any:
        """A `caffe.Net` of batch 1 with the weights; `force_backward` as the prototxt field."""
        message = with_batch(self.message, self.data, 1)
        message.force_backward = force_backward
        if self.source is not None:
            from caffe_viz.check import check

            check(
                Path(self.source), self.weights and Path(self.weights), allow_code=self.allow_code
            ).raise_for_errors()
        return backend.load_net(message, self.weights, engine=self.engine, checked=False)

    def pixels(self, image: PathLike | Array) -> Array:
        """(1, C, H, W) in Caffe units, from a file or an (H, W, 3) RGB array in 0..1."""
        rgb = load_image(image) if isinstance(image, str | Path) else np.asarray(image, np.float32)
        _, *chw = self.geometry.blobs[self.data]
        return self.preprocess.to_caffe(rgb, (chw[0], chw[1], chw[2]))[None]


def with_batch(net: netdef.NetParameter, blob: str, batch: int) -> netdef.NetParameter:
    """A copy of `net` whose input `blob` has `batch` images."""
    out = netdef.NetParameter()
    out.CopyFrom(net)
    for layer in out.layer:
        if layer.type == "Input" and blob in layer.top:
            shapes = layer.input_param.shape
            shapes[list(layer.top).index(blob) if len(shapes) > 1 else 0].dim[0] = batch
    return out


# --- shapes ------------------------------------------------------------------------


@dataclass(frozen=True)
class Shapes:
    """The tables of a network: blobs, parameters, layers, totals."""

    geometry: Geometry

    @property
    def tables(self) -> tuple[tables.Table, ...]:
        g = self.geometry
        return tables.blob_table(g), tables.parameter_table(g), tables.layer_table(g), tables.totals(g)

    def to_json(self) -> dict[str, Any]:
        return {table.title: table.to_json() for table in self.tables}

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)


def shapes(
    net: Network | PathLike | netdef.NetParameter,
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
) -> Shapes:
    """Shapes, parameters, multiply-adds and receptive fields of every layer; needs no weights, no engine."""
    if isinstance(net, Network):
        net = net.message
    message = net if isinstance(net, netdef.NetParameter) else netdef.read_net(net)
    return Shapes(measure(message, batch=batch, size=size))


# --- weights -----------------------------------------------------------------------


def kernels(weights: PathLike | netdef.NetParameter, layer: str) -> Array:
    """The (O, I, kH, kW) or (O, I) weights of `layer`, from a caffemodel."""
    message = weights if isinstance(weights, netdef.NetParameter) else netdef.read_weights(weights)
    found = {one.name: one for one in message.layer if len(one.blobs)}
    if layer not in found:
        raise InputError(f"no weights of a layer {layer!r}.{near(layer, found)}")
    return netdef.blob_array(found[layer].blobs[0])


def show_weights(
    net: Any, layer: str, filters: Sequence[int] | None = None, *, channel_order: str = "BGR"
) -> Picture:
    """The kernels of `layer` as one picture; `net` is a caffe.Net, a Network, or a caffemodel.

    Colour where a kernel sees 3 channels, else one tile per filter and channel.
    """
    if isinstance(net, Network):
        if net.weights is None:
            raise InputError("weights: a caffemodel is needed to draw kernels; give it after the prototxt.")
        return show_weights(net.weights, layer, filters, channel_order=net.preprocess.channel_order)
    if isinstance(net, str | Path | netdef.NetParameter):
        array = kernels(net, layer)
    elif layer in net.params:
        array = np.array(net.params[layer][0].data)
    else:
        raise InputError(f"no parameters of a layer {layer!r}.{near(layer, net.params)}")
    if array.ndim != 4:
        raise InputError(
            f"layer {layer!r} has weights of shape {array.shape}; kernels have 4 axes (O, I, H, W)."
        )
    chosen = list(range(len(array))) if filters is None else list(filters)
    return figures.kernel_tiles(array[chosen], channel_order=channel_order, filters=chosen)


# --- activations -------------------------------------------------------------------


def relu_state(message: netdef.NetParameter, blob: str) -> str:
    """'post-ReLU (relu1, in place)', 'pre-ReLU (before relu1)' or '' where no activation function touches `blob`."""
    for layer in message.layer:
        if layer.type in ACTIVATION_TYPES and blob in layer.top:
            return f"post-{layer.type} ({layer.name}{', in place' if blob in layer.bottom else ''})"
    for layer in message.layer:
        if layer.type in ACTIVATION_TYPES and blob in layer.bottom:
            return f"pre-{layer.type} (before {layer.name})"
    return ""


@dataclass(frozen=True)
class Activations:
    """What an image made of each blob: arrays without the batch axis, and what state they are in."""

    arrays: Mapping[str, Array]
    states: Mapping[str, str]
    labels: tuple[str, ...]
    engine: str

    def picture(self, blob: str, first: int | None = None) -> Picture:
        """Maps as tiles (the first `first` of them), vectors as line and histogram, probabilities with labels."""
        array = self.arrays[blob]
        if array.ndim == 3 and array.shape[1:] != (1, 1):
            return figures.map_tiles(array[:first])
        vector = array.ravel()
        if len(self.labels) == len(vector) and np.isclose(vector.sum(), 1, atol=1e-3) and vector.min() >= 0:
            return figures.prob_plot(vector, self.labels)
        return figures.vector_plot(vector, f"{blob}  {self.states[blob]}".strip())

    @property
    def table(self) -> tables.Table:
        rows = tuple(statistics(name, array, self.states[name]) for name, array in self.arrays.items())
        return tables.Table(f"activations ({self.engine})", (*STATISTICS, "state"), rows)

    def top(self, count: int = 5) -> list[tuple[int, str, float]]:
        """The `count` largest entries of the last blob: (index, label, value)."""
        values = list(self.arrays.values())[-1].ravel()
        names = self.labels if len(self.labels) == len(values) else [""] * len(values)
        return [(int(i), names[i], float(values[i])) for i in np.argsort(-values, kind="stable")[:count]]

    def __repr__(self) -> str:
        return str(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


STATISTICS = ("blob", "shape", "min", "mean", "max", "rms", "non-zero")


def statistics(name: str, array: Array, *more: str) -> tuple[Any, ...]:
    shape = " ".join(map(str, array.shape))
    flat = array.astype(np.float64).ravel()
    numbers = (flat.min(), flat.mean(), flat.max(), np.sqrt(np.mean(flat**2)), np.mean(flat != 0))
    return (name, shape, *(float(f"{v:.6g}") for v in numbers), *more)


def show_activations(
    net: Network, image: PathLike | Array | None = None, blobs: Sequence[str] | None = None
) -> Activations:
    """Run `image` (grey noise without one) through the net; the activations of `blobs`, by default of all."""
    names = [n for n in blobs or net.geometry.blobs if "_split_" not in n]
    for name in names:
        net.geometry.blob(name)
    engine = net.load()
    arrays = probe.forward(engine, {net.data: start_image(net, image)}, names)
    return Activations(
        {name: arrays[name][0] if arrays[name].ndim > 1 else arrays[name] for name in names},
        {name: relu_state(net.message, name) for name in names},
        net.preprocess.labels,
        backend.engine_name(engine),
    )


def start_image(net: Network, image: PathLike | Array | None) -> Array:
    if image is not None:
        return net.pixels(image)
    _, *chw = net.geometry.blobs[net.data]
    return np.random.default_rng(0).normal(0, 10 * net.preprocess.scale, (1, *chw)).astype(np.float32)


# --- gradients ---------------------------------------------------------------------


@dataclass(frozen=True)
class Gradients:
    """The two streams of one backward pass: of blobs (without the batch axis) and of parameters."""

    target: str
    blobs: Mapping[str, Array]
    params: Mapping[str, Array]
    engine: str

    @property
    def table(self) -> tables.Table:
        rows = [statistics(name, array, "blob") for name, array in self.blobs.items()]
        rows += [statistics(name, array, "parameter") for name, array in self.params.items()]
        return tables.Table(
            f"gradient of {self.target} ({self.engine})", (*STATISTICS, "stream"), tuple(rows)
        )

    def picture(self, blob: str) -> Picture:
        array = self.blobs[blob]
        return figures.map_tiles(array if array.ndim == 3 else array.reshape(-1, 1, 1))

    def __repr__(self) -> str:
        return str(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def default_target(net: Network) -> str:
    """The blob whose largest value is explained: the last one that is no probability."""
    last = net.message.layer[-1]
    return str(last.bottom[0] if last.type == "Softmax" else last.top[0])


def show_gradients(
    net: Network,
    blobs: Iterable[str] | None = None,
    *,
    image: PathLike | Array | None = None,
    target: str | None = None,
    index: int | None = None,
) -> Gradients:
    """The gradient of one filter or class with respect to `blobs` and to every parameter below it.

    `target` is a blob (default: the scores before the softmax), `index` its filter (default: the
    strongest for this image); the loss is the filter's sum. As ``net.backward(diffs=[...])``.
    """
    target = target or default_target(net)
    shape = net.geometry.blob(target)
    names = list(blobs or [net.data])
    for name in names:
        net.geometry.blob(name)
    engine = net.load(force_backward=True)
    pixels = start_image(net, image)
    if index is None:
        values = probe.forward(engine, {net.data: pixels}, [target])[target]
        index = int(values.reshape(values.shape[0], values.shape[1], -1).sum(2)[0].argmax())
    if not 0 <= index < shape[1]:
        raise InputError(f"blob {target!r} has filters 0 to {shape[1] - 1}, not {index}.")
    seed = np.zeros((1, *shape[1:]), np.float32)
    seed[:, index] = 1
    result = probe.gradient(engine, {net.data: pixels}, target, seed, names)
    return Gradients(
        f"{target}[{index}]",
        {name: result.blobs[name][0] for name in names},
        result.params,
        backend.engine_name(engine),
    )


# --- ascent ------------------------------------------------------------------------


@dataclass(frozen=True)
class Maximized:
    """Inputs that maximise filters, with how their objective rose."""

    ascent: Ascent
    preprocess: Preprocess

    @property
    def alive(self) -> list[int]:
        return [k for k, f in enumerate(self.ascent.filters) if f not in self.ascent.dead]

    def pictures(self) -> dict[int, Picture]:
        """Filter number -> its picture; dead filters have none."""
        return {int(self.ascent.filters[k]): Picture(self.rgb(self.ascent.images[k])) for k in self.alive}

    def rgb(self, image: Array) -> Array:
        """(C, H, W) -> (H, W, 3): colours as they are when they fit; else tiles or stretched contrast."""
        if image.shape[0] not in (1, 3):
            return figures.map_tiles(image).rgb
        return self.preprocess.to_display(image)

    @cached_property
    def sheet(self) -> Picture:
        titles = [f"{self.ascent.layer} {f}" for f in self.pictures()]
        if not titles:
            raise InputError(
                f"every chosen filter of {self.ascent.layer!r} is dead: there is nothing to draw."
            )
        return figures.contact_sheet([p.rgb for p in self.pictures().values()], titles)

    def _repr_png_(self) -> bytes:
        return self.sheet._repr_png_()


def maximize(
    net: Network,
    layer: str,
    filters: Sequence[int] | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Maximized:
    """Pictures of the inputs that maximise `filters` of `layer`; `options` are those of `ascent.ascend`.

    An interrupt (Ctrl-C) ends the ascent early and keeps the best images so far.
    """
    steps = ascend(net.message, net.weights, layer, filters, preprocess=net.preprocess, **options)
    for progress in steps:
        if on_progress is not None:
            on_progress(progress)
    return Maximized(steps.result, net.preprocess)
