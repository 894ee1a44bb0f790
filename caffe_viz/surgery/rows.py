"""Layers around a net whose image takes several rows of its input: image and activations become volumes.

Also layers behind one that ends in numbers or in time steps, which get an axis of channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from caffe_viz.netdef import NetParameter
from caffe_viz.surgery.batch_layout import BatchLayout
from caffe_viz.surgery.in_place import free
from caffe_viz.surgery.inputs import Shape


def image_of_rows(
    net: NetParameter, batch_layout: BatchLayout, names: set[str]
) -> tuple[NetParameter, str, Shape]:
    """Make all rows of the image, the first layer of `net`, one image; returns its blob and shape."""
    learns, *rest = net.layer
    blob = tuple(learns.parameter_param.shape.dim)
    shape = 1, *batch_layout.shape(blob)
    top, turned = (free(f"{learns.top[0]}_{word}", names) for word in ("image", "turned"))
    names |= {top, turned}
    out = NetParameter(name=net.name)
    image = out.layer.add(name=learns.name, type="Parameter", top=[top], param=[{"lr_mult": 1}])
    image.parameter_param.shape.dim.extend(shape)
    back = sorted(range(len(blob)), key=batch_layout.order(blob).__getitem__)
    _permute(out, top, turned, back)
    _reshape(out, turned, learns.top[0], blob)
    out.layer.extend(rest)
    return out, top, shape


def values_of_rows(
    net: NetParameter, blob: str, shape: Shape, batch_layout: BatchLayout, names: set[str]
) -> tuple[str, Shape]:
    """Add layers that turn the rows of a blob of `shape` into those of one image; returns blob and shape."""
    if shape[:1] == (1,):
        return blob, shape
    apart, turned = (free(f"{blob}_{word}", names) for word in ("apart", "turned"))
    names |= {apart, turned}
    _reshape(net, blob, apart, (1, *shape))
    _permute(net, apart, turned, batch_layout.order(shape))
    return turned, (1, *batch_layout.shape(shape))


def with_channels(
    net: NetParameter, blob: str, shape: Shape, images: int, names: set[str]
) -> tuple[str, Shape]:
    """Add layers behind a blob whose second axis is not channels; other blobs stay as they are.

    One number for each image, (N,) or (), becomes (N, 1); what one image gives in several steps, (steps,
    streams, channels), becomes a map (1, channels, steps, streams).
    """
    if images == 1 and len(shape) == 3 and shape[0] > 1:
        return values_of_rows(net, blob, shape, BatchLayout(shape[0], 1), names)
    if len(shape) > 1:
        return blob, shape
    column = free(f"{blob}_column", names)
    names |= {column}
    size = (*shape, *[1] * (2 - len(shape)))
    _reshape(net, blob, column, size)
    return column, size


def _permute(net: NetParameter, bottom: str, top: str, order: Sequence[int]) -> None:
    """Permute the axes after the first."""
    layer = net.layer.add(name=top, type="Permute", bottom=[bottom], top=[top])
    layer.permute_param.order.extend([0, *(axis + 1 for axis in order)])


def _reshape(net: NetParameter, bottom: str, top: str, shape: Shape) -> None:
    layer = net.layer.add(name=f"{top}_rows", type="Reshape", bottom=[bottom], top=[top])
    layer.reshape_param.shape.dim.extend(shape)
