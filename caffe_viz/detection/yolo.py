"""YOLO networks that end in the convolutions of their grids: versions 2, 3 and 4, as darknet reads them.

H x W cells, A anchors, K classes; the channels of one anchor are x, y, width, height, objectness, classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from caffe_viz.answers import ends
from caffe_viz.detection.anchors import KNOWN, Anchors, anchors_in, read_anchors
from caffe_viz.detection.boxes import Array, Found, Values, corners
from caffe_viz.detection.decoder import Classes, Decoder, input_size, maker
from caffe_viz.errors import InputError
from caffe_viz.netdef import LayerParameter
from caffe_viz.network import Network

STRIDES = (8, 16, 32, 64)  # input pixels between cells
COARSE = (16, 32, 64)  # where there is but one grid
LONE, EACH = 5, 3  # anchors of a grid that is the only one, and of one of several


@dataclass(frozen=True)
class Grid:
    """One output of `shape` (N, A (5 + K), H, W), whose cells are `stride` input pixels wide."""

    blob: str
    shape: tuple[int, ...]
    stride: int


def yolo_grids(network: Network, anchors: str | None = None) -> Decoder | None:
    """Nets whose outputs are all convolutions of grids, or a Region layer behind one.

    Raises:
        InputError: The number of `anchors` does not match the outputs.
    """
    grids, own = _grids(network)
    chosen = read_anchors(anchors) if anchors is not None else own or _default(network, grids)
    if not grids or chosen is None:
        return None
    each, rest = divmod(len(chosen.pairs), len(grids))
    channels = grids[0].shape[1]
    if rest or channels % each or channels // each <= 5:
        raise InputError(
            f"{len(chosen.pairs)} anchors ({chosen.said}) do not fit {len(grids)} outputs of {channels} "
            f"channels each: an output has A x (5 + K) channels for A anchors and K classes."
        )
    said = f"YOLO's {', '.join(repr(grid.blob) for grid in grids)}, anchors: {chosen.said}"
    decode = partial(_decode, grids, chosen, each, input_size(network))
    return Decoder(said, tuple(grid.blob for grid in grids), Classes(channels // each - 5), decode)


def _grids(network: Network) -> tuple[list[Grid], Anchors | None]:
    """The grids of a net, the finest first, and the anchors that it has itself."""
    if not network.has_image or len(network.shape) != 3:
        return [], None
    found, own = list[Grid](), None
    for blob in ends(network.message):
        made = maker(network, blob)
        if made is not None and made.type == "Region" and made.bottom:
            own = _of_region(made)
            blob = made.bottom[0]
            made = maker(network, blob)
        shape = network.geometry.blobs.get(blob, ())
        if made is None or made.type != "Convolution" or len(shape) != 4:
            return [], None
        stride = network.shape[1] // max(shape[2], 1)
        if stride not in STRIDES or network.shape[2] // max(shape[3], 1) != stride:
            return [], None
        found.append(Grid(blob, shape, stride))
    found.sort(key=lambda grid: grid.stride)
    alike = len({grid.shape[1] for grid in found}) == 1 and len({grid.stride for grid in found}) == len(found)
    return (found if alike else []), own


def _of_region(layer: LayerParameter) -> Anchors | None:
    """The anchors that a Region layer holds for other programs, as text or as biases."""
    unknown = [one for one in layer.unknown if one.path == "region_param"]
    texts = [one.text.partition(":")[2] for one in unknown if one.name in ("anchors", "biases")]
    words = " ".join(texts).replace('"', " ")
    return anchors_in(words, f"those of {layer.name!r}") if texts else None


def _default(network: Network, grids: list[Grid]) -> Anchors | None:
    """The anchors of the public network with that many outputs, and classes if they matter; else None."""
    each, strides = (LONE, COARSE) if len(grids) == 1 else (EACH, STRIDES)
    channels = grids[0].shape[1] if grids else 0
    if not channels or grids[-1].stride not in strides or channels % each or channels <= 5 * each:
        return None
    mish = any(layer.type == "Mish" for layer in network.message.layer)
    known = {1: "yolov2-voc" if channels == LONE * 25 else "yolov2", 2: "yolov3-tiny"}
    name = known.get(len(grids), "yolov4" if mish else "yolov3")
    return KNOWN[name] if len(KNOWN[name].pairs) == each * len(grids) else None


def _decode(grids: list[Grid], anchors: Anchors, each: int, size: tuple[int, int], values: Values) -> Found:
    height, width = size
    found = []
    for n, grid in enumerate(grids):
        pairs = np.array(anchors.pairs[n * each : (n + 1) * each], np.float32)
        # Of a single grid they are in cells.
        scale = grid.stride if len(grids) == 1 else 1
        fractions = pairs * scale / np.array([width, height], np.float32)
        stretch = anchors.stretch[n] if n < len(anchors.stretch) else 1.0
        squash = _softmax if len(grids) == 1 else _sigmoid
        found.append(read_grid(values[grid.blob][0], fractions, squash, stretch))
    labels, scores, boxes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Found.of(labels, scores, boxes)


def read_grid(
    values: Array, sides: Array, squash: Callable[[Array], Array], stretch: float = 1.0
) -> tuple[Array, Array, Array]:
    """Return labels, scores and corners of every anchor and class of one grid (A (5 + K), H, W).

    `sides` (A, 2) are widths and heights as fractions of the input. A score is objectness times class.
    """
    _, height, width = values.shape
    parts = values.reshape(len(sides), -1, height, width).transpose(2, 3, 0, 1)
    y, x = np.mgrid[:height, :width]
    cells = np.stack([x, y], -1)[:, :, None]
    inside = stretch * _sigmoid(parts[..., :2]) - (stretch - 1) / 2
    centres = (inside + cells) / np.array([width, height], np.float32)
    boxes = corners(centres, np.exp(np.minimum(parts[..., 2:4], 50)) * sides)
    scores = _sigmoid(parts[..., 4:5]) * squash(parts[..., 5:])
    classes = scores.shape[-1]
    labels = np.broadcast_to(np.arange(classes), scores.shape)
    every = np.broadcast_to(boxes[..., None, :], (*scores.shape, 4))
    return labels.reshape(-1), scores.reshape(-1), every.reshape(-1, 4)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -80, 80))), np.float32)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)
