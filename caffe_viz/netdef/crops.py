"""The offsets of old CROP layers, which had none: they crop so that both bottoms cover the same pixels.

Source: longjon/caffe, branch future: src/caffe/layers/crop_layer.cpp; what became pycaffe's coord_map.py.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from caffe_viz.netdef.net_pb2 import LayerParameter

PLACES = 2  # height and width


class AxisMap(NamedTuple):
    """Where the pixels of the input are in a blob, along one axis: `scale` * pixel + `shift`."""

    scale: float
    shift: float


Maps = tuple[AxisMap, AxisMap]
SAME: Maps = (AxisMap(1, 0), AxisMap(1, 0))


def give_offsets(layers: Sequence[LayerParameter], crops: Container[int]) -> list[int]:
    """Fill in the offsets of the layers at the indices `crops`; returns the indices where there is none."""
    maps: dict[str, Maps] = {}
    lost = []
    for place, layer in enumerate(layers):
        given = [maps.get(bottom, SAME) for bottom in layer.bottom]
        if place in crops and not _aligned(layer, given):
            lost.append(place)
        maps.update(dict.fromkeys(layer.top, _of_top(layer, given)))
    return lost


def _aligned(layer: LayerParameter, given: Sequence[Maps]) -> bool:
    """Whether there is a whole offset at which the first bottom lies over the second; it is set."""
    if len(given) != PLACES:
        return False
    offsets = [first.shift - second.shift for first, second in zip(*given, strict=True)]
    scales = [first.scale == second.scale for first, second in zip(*given, strict=True)]
    if not all(scales) or any(offset < 0 or offset != round(offset) for offset in offsets):
        return False
    layer.crop_param.axis = 2
    layer.crop_param.offset.extend(int(offset) for offset in offsets)
    return True


def _of_top(layer: LayerParameter, given: Sequence[Maps]) -> Maps:
    if not given:
        return SAME
    if layer.type == "Crop" and len(given) == PLACES:
        return given[1]
    if layer.type not in ("Convolution", "Deconvolution", "Pooling"):
        return given[0]
    pooling = layer.type == "Pooling"
    param: Any = layer.pooling_param if pooling else layer.convolution_param
    rows, columns = (
        _slid(layer.type, one, *_window(param, place), _dilation(param)) for place, one in enumerate(given[0])
    )
    return rows, columns


def _slid(kind: str, one: AxisMap, kernel: int, stride: int, pad: int, dilation: int) -> AxisMap:
    """Behind a window: its centre is the place of its value."""
    centre = dilation * (kernel - 1) / 2 - pad
    if kind == "Deconvolution":
        return AxisMap(one.scale * stride, one.shift * stride + centre)
    return AxisMap(one.scale / stride, (one.shift - centre) / stride)


def _window(param: Any, place: int) -> tuple[int, int, int]:
    return _side(param, "kernel_size", place), _side(param, "stride", place), _side(param, "pad", place)


def _side(param: Any, name: str, place: int) -> int:
    """A setting for rows (place 0) or columns; 1, or 0 of a pad, where it is not given."""
    pair = f"{name.partition('_')[0]}_{'hw'[place]}"
    if param.HasField(pair):
        return int(getattr(param, pair))
    given = getattr(param, name)
    if isinstance(given, int):
        return given if param.HasField(name) or name == "pad" else 1
    return int(given[min(place, len(given) - 1)]) if given else int(name != "pad")


def _dilation(param: Any) -> int:
    given = getattr(param, "dilation", 1)
    return given if isinstance(given, int) else int(given[0]) if given else 1
