"""`caffe.coord_map`: how the places of two tops of a `NetSpec` correspond, and `crop`.

A map (axis, a, b) says that place x of one top is place a x + b of the other, from `axis` on, counted as
Caffe's `axis` is. If nothing moves, the axis is None, a is 1 and b is 0. a and b have a number for each axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.engine.net_spec import Function, Top, layers
from caffe_viz.errors import InputError

Numbers = NDArray[np.float64]
Map = tuple[int | None, Any, Any]
NOTHING: Map = (None, 1, 0)
STILL = {  # layers of whose tops each place is that place of the bottom
    "AbsVal", "BNLL", "BatchNorm", "Bias", "Dropout", "ELU", "Eltwise", "Exp", "LRN", "Log", "MVN", "PReLU",
    "Power", "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold",
}  # fmt: skip


class UndefinedMapException(InputError):
    """A layer whose places do not correspond to those of its bottom."""


class AxisMismatchException(InputError):
    """Maps that begin at different axes."""


class CropError(InputError, AssertionError):
    """One top does not lie within the other, pixel on pixel; pycaffe raises AssertionError."""


class ApartError(InputError, RuntimeError):
    """Two tops without a common ancestor; pycaffe raises RuntimeError."""


def coord_map(fn: Function) -> Map:
    """Return the map of one layer, from its bottom's places to its top's.

    Raises:
        UndefinedMapException: It has none.
    """
    layer = fn.message()
    if layer.type in ("Convolution", "Im2col"):
        return layer.convolution_param.axis, *_shrinking(layer.convolution_param)
    if layer.type == "Pooling":
        return 1, *_shrinking(layer.pooling_param)
    if layer.type == "Deconvolution":
        scale, shift = _shrinking(layer.convolution_param)
        return layer.convolution_param.axis, 1 / scale, -shift / scale
    if layer.type == "Crop":
        return layer.crop_param.axis - 1, 1, -np.array(layer.crop_param.offset or [0], float)
    if layer.type in STILL:
        return NOTHING
    raise UndefinedMapException(f"the places of a {layer.type} are not those of its bottom.")


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """Return the map from the places of `top_from` to those of `top_to`, by way of a common ancestor.

    Raises:
        InputError: They have none, or the axes of the layers differ.
    """
    known = dict(_ancestors(top_from))
    for top, mapped in _ancestors(top_to):
        if top in known:
            return compose(mapped, inverse(known[top]))
    raise ApartError("the two tops have no common ancestor from which layers with a layout lead to both.")


def crop(top_from: Top, top_to: Top) -> Top:
    """Make a Crop layer that cuts out of `top_from` what lies over `top_to`.

    Raises:
        InputError: As `coord_map_from_to`, or no crop makes them fit.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    if not np.all(np.equal(scale, 1)):
        raise CropError(f"crop: {scale} places of one top are one of the other, so no crop makes them fit.")
    if np.any(np.greater(shift, 0)):
        raise CropError(f"crop: the top to crop begins {shift} places after the one that it must fit.")
    if not np.all(np.equal(np.round(shift), shift)):
        raise CropError(f"crop: an offset of {-shift} places is no whole number.")
    offset = [int(n) for n in np.atleast_1d(-np.round(shift))]
    made: Top = layers.Crop(top_from, top_to, crop_param={"axis": (axis or 1) + 1, "offset": offset})
    return made


def compose(second: Map, first: Map) -> Map:
    """Apply `first`, then `second`."""
    axes = {axis for axis in (second[0], first[0]) if axis is not None}
    if len(axes) > 1:
        raise AxisMismatchException(f"layers that begin at axes {sorted(axes)} have no map in common.")
    return (axes.pop() if axes else None), second[1] * first[1], second[1] * first[2] + second[2]


def inverse(given: Map) -> Map:
    """Return the inverse map."""
    axis, scale, shift = given
    return axis, 1 / scale, -shift / scale


def _ancestors(top: Top) -> Iterator[tuple[Top, Map]]:
    """`top` and those before it, the nearest first, each with the map from its places to those of `top`."""
    found, waiting = {top: NOTHING}, [top]
    for here in waiting:  # which grows
        yield here, found[here]
        try:
            step = compose(found[here], coord_map(here.fn))
        except UndefinedMapException:
            continue
        bottoms = here.fn.inputs[:1] if here.fn.type_name == "Crop" else here.fn.inputs
        new = [bottom for bottom in bottoms if bottom not in found]
        found.update(dict.fromkeys(new, step))
        waiting += new


def _shrinking(param: Any) -> tuple[Numbers, Numbers]:
    """Scale and shift of a window that moves over its bottom."""
    kernel, stride, pad = _sides(param, "kernel", 1), _sides(param, "stride", 1), _sides(param, "pad", 0)
    dilation = np.array(getattr(param, "dilation", ()) or [1])
    return 1 / stride, (pad - dilation * (kernel - 1) / 2) / stride


def _sides(param: Any, word: str, unset: int) -> Numbers:
    pair = [f"{word}_{side}" for side in "hw"]
    if any(map(param.HasField, pair)):
        return np.array([getattr(param, name) for name in pair], float)
    given = getattr(param, "kernel_size" if word == "kernel" else word)
    return np.array([given] if isinstance(given, int) else given or [unset], float)
