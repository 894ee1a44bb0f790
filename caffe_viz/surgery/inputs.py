"""The inputs of a net: which one is the image, and what the others hold by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.geometry.batch_dependent import RECURRENT
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase

Array = NDArray[np.float32]
Shape = tuple[int, ...]


def with_batch(net: NetParameter, batch: int) -> NetParameter:
    """Copy `net` with `batch` as the first dimension of the image, and of inputs that share it."""
    out = NetParameter()
    out.CopyFrom(net)
    was = next((input_shapes(net.layer)[name][:1] for name in likely_images(net.layer)), ())
    shapes = [shape for layer in out.layer if layer.type == "Input" for shape in layer.input_param.shape]
    for shape in shapes:
        if shape.dim and tuple(shape.dim[:1]) == was:
            shape.dim[0] = batch
    return out


def leading_to(net: NetParameter, blobs: Iterable[str]) -> NetParameter:
    """Keep the layers of `net` that make `blobs` or work on them in place, and the inputs of these."""
    wanted, needed, kept = set(blobs), set[str](), list[LayerParameter]()
    for layer in reversed(net.layer):
        found = wanted.intersection(layer.top)
        wanted -= found
        needed |= found
        if needed.isdisjoint(layer.top):
            continue
        if layer.type == "Input":
            layer = as_input(layer, {top: shape for top, shape in _shapes(layer).items() if top in needed})
        kept.append(layer)
        needed = (needed - set(layer.top)) | set(layer.bottom)
    out = NetParameter()
    out.CopyFrom(net)
    del out.layer[:]
    out.layer.extend(reversed(kept))
    return out


def as_input(layer: LayerParameter, shapes: Mapping[str, Shape]) -> LayerParameter:
    """Make an Input layer with the name and the rules of `layer`, and the tops of `shapes`."""
    out = LayerParameter(name=layer.name, type="Input", top=list(shapes))
    out.include.extend(layer.include)
    out.exclude.extend(layer.exclude)
    for shape in shapes.values():
        out.input_param.shape.add().dim.extend(shape)
    return out


def input_shapes(layers: Iterable[LayerParameter]) -> dict[str, Shape]:
    """Return the tops of Input layers that are read, or all of them if none is."""
    given = list(layers)
    used = {bottom for layer in given for bottom in layer.bottom}
    shapes = {k: v for layer in given if layer.type == "Input" for k, v in _shapes(layer).items()}
    return {top: shape for top, shape in shapes.items() if top in used} or shapes


def _shapes(layer: LayerParameter) -> dict[str, Shape]:
    given = layer.input_param.shape
    if not given:  # as the inputs of an old caffemodel, until someone says it
        return dict.fromkeys(layer.top, ())
    return {top: tuple(given[i if len(given) > 1 else 0].dim) for i, top in enumerate(layer.top)}


def image_input(net: NetParameter, image: str | None = None) -> tuple[str, Shape]:
    """Return the blob that takes the image, and its shape, like `find_image` for the whole net."""
    whole = for_phase(net)
    return find_image(list(whole.layer), whole.name, f"layer {whole.layer[-1].name!r}", image)


def find_image(
    layers: Sequence[LayerParameter], net: str, target: str, image: str | None = None
) -> tuple[str, Shape]:
    """Return the input of `layers` that is the image, and its shape.

    It is `image`, if that is among them, or else the only candidate.

    Raises:
        InputError: Several inputs could be it, or there is none; `target` says in the message what depends
            on them.
    """
    for layer in layers:
        if not layer.bottom and layer.type not in ("Input", "Parameter", "DummyData"):
            raise InputError(
                f"layer {layer.name!r} ({layer.type}) brings its own data: give a deploy prototxt, which "
                f"`caffe-viz deploy` makes, or the shape, as "
                f"--input {layer.top[0] if layer.top else 'data'}=1x3x227x227."
            )
    shapes = input_shapes(layers)
    if image in shapes:
        return image, shapes[image]
    images = likely_images(layers)
    if len(images) != 1:
        way = "choose by its name, as --image NAME=FILE" if images else "one is needed"
        raise InputError(
            f"{target} of net {net!r} depends on {len(images)} inputs that could be the image "
            f"({', '.join(images) or 'none'}): {way}."
        )
    return images[0], shapes[images[0]]


def likely_images(layers: Sequence[LayerParameter]) -> list[str]:
    """Return the inputs that could be the image.

    Continuation marks and word numbers are never the image. Of the others, the candidates are those with four
    axes, or if there are none, those with the most axes.
    """
    shapes = input_shapes(layers)
    beside = _marks(layers) | _words(layers)
    likely = {name: shape for name, shape in shapes.items() if name not in beside} or shapes
    axes = {len(shape) for shape in likely.values()}
    most = 4 if 4 in axes else max(axes, default=0)
    return [name for name, shape in likely.items() if len(shape) == most]


def defaults(net: NetParameter) -> dict[str, Array]:
    """Return the default value of each input: 0, but continuation marks are 1 after the first step.

    So each image is one sequence that begins with it.
    """
    marks, out = _marks(net.layer), dict[str, Array]()
    for name, shape in input_shapes(net.layer).items():
        out[name] = np.zeros(shape, np.float32)
        if name in marks:
            out[name][1:] = 1
    return out


def held(
    net: NetParameter, names: Iterable[str], values: Mapping[str, Array], made: Mapping[str, str]
) -> dict[str, Array]:
    """Return what the inputs `names` hold in `net`: their `values`, or else their default.

    `made` maps them to the names of their blobs in `net`, if these differ.

    Raises:
        InputError: A value does not fit.
    """
    there = defaults(net)
    blobs = {name: made.get(name, name) for name in names}
    return {
        blob: fitted(name, values[name], there[blob].shape) if name in values else there[blob]
        for name, blob in blobs.items() if blob in there
    }  # fmt: skip


def describe_defaults(values: Mapping[str, Array]) -> str:
    """Say what inputs of `defaults` hold.

    >>> describe_defaults({"meta": np.zeros((1, 5))})
    'meta (1, 5) holds 0'
    """
    return "; ".join(
        f"{name} {values.shape} holds 0" + (" at the first step, then 1" if values.any() else "")
        for name, values in values.items()
    )


def fitted(name: str, values: Array, shape: Shape) -> Array:
    """Return the `values` of an input of `shape`: the whole of it, or one row, which is repeated in all.

    Raises:
        InputError: They are neither.
    """
    given = np.asarray(values, np.float32)
    if given.shape == shape:
        return given
    if given.shape in (shape[1:], (1, *shape[1:])):
        return np.broadcast_to(given, shape)
    if len(given) and given.shape[1:] == shape[1:] and (given == given[:1]).all():
        return np.broadcast_to(given[:1], shape)
    raise InputError(f"input {name!r} takes {shape}, not {given.shape}.")


def _marks(layers: Iterable[LayerParameter]) -> set[str]:
    """The blobs from which the second bottoms of recurrent layers come."""
    return _before(layers, lambda layer: layer.bottom[1:2] if layer.type in RECURRENT else ())


def _words(layers: Iterable[LayerParameter]) -> set[str]:
    """The blobs from which the indices of Embed layers come."""
    return _before(layers, lambda layer: layer.bottom[:1] if layer.type == "Embed" else ())


def _before(layers: Iterable[LayerParameter], read: Callable[[LayerParameter], Iterable[str]]) -> set[str]:
    """The blobs that layers `read`, and all blobs from which these are computed."""
    found = set[str]()
    for layer in reversed(list(layers)):
        if not found.isdisjoint(layer.top):
            found.update(layer.bottom)
        found.update(read(layer))
    return found
