"""Fast and Faster R-CNN, R-FCN and relatives: regions, their classes, and box regression.

R regions, K classes, of which the first is the background.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np

from caffe_viz.answers import ends
from caffe_viz.detection.boxes import Array, Found, Values, corners
from caffe_viz.detection.decoder import Classes, Decoder, input_size, maker, rows_of
from caffe_viz.netdef import LayerParameter
from caffe_viz.network import Network
from caffe_viz.surgery import input_shapes

POOLING = frozenset(
    {
        "MultiROIPooling", "PSROIAlign", "PSROIPooling", "RegionPooling", "ROIAlign", "ROIAlignment",
        "ROIPooling", "ROIWarping",
    }
)  # fmt: skip
ALIKE = 8  # moves of the background and of things, whatever they are
REGION = 5  # the number of the image, left, top, right, bottom in pixels of the input
LARGEST = np.log(1000 / 16)  # exponents are cut there, as torchvision does, so that no side is infinite


def region_classes(network: Network) -> Decoder | None:
    """Nets with class probabilities for each region, and usually box regression."""
    pooling = [x for x in network.message.layer if x.type in POOLING and len(x.bottom) > 1]
    found = ends(network.message)[::-1]
    every = [blob for blob in found if _is_softmax(network, blob)]
    if not pooling or not every:
        return None
    # Of several stages, or levels of a pyramid, the regions of all are an answer of their own.
    together = [blob for blob in found if _columns(network, blob) == REGION and _are_regions(network, blob)]
    regions = together[0] if together else pooling[-1].bottom[1]
    pairs = [
        (one, other) for one, other in product(every, found)
        if other not in (one, regions) and _columns(network, other) in (4 * _columns(network, one), ALIKE)
    ]  # fmt: skip
    # Moves for each class say for which classes they are.
    pairs.sort(key=lambda pair: _columns(network, pair[1]) != 4 * _columns(network, pair[0]))
    odds, moves = pairs[0] if pairs else (every[0], None)
    blobs = tuple(blob for blob in (regions, odds, moves) if blob is not None)
    decode = partial(_decode, regions, odds, moves, input_size(network))
    said = f"classes {odds!r} of regions {regions!r}" + (f", moved by {moves!r}" if moves else "")
    return Decoder(said, blobs, Classes(_columns(network, odds), 0), decode, inputs=sizes(network))


def _are_regions(network: Network, blob: str) -> bool:
    made = maker(network, blob)
    return "roi" in blob.lower() or (made is not None and made.type == "DecodeBBox")


def proposals(network: Network) -> Decoder | None:
    """Nets that only propose regions with scores: the first half of Faster R-CNN."""
    found = ends(network.message)
    for boxes in found:
        for scores in found:
            same = boxes != scores and _rows(network, boxes) == _rows(network, scores) > 1
            if same and _columns(network, boxes) in (4, REGION) and _columns(network, scores) == 1:
                decode = partial(_decode_proposals, boxes, scores, input_size(network))
                said = f"regions {boxes!r} with scores {scores!r}, of one class"
                return Decoder(said, (boxes, scores), Classes(1), decode, inputs=sizes(network))
    return None


def sizes(network: Network) -> dict[str, Array]:
    """The values of im_info inputs: height and width of the input, and scales of 1."""
    _, *size = network.shape
    return {
        name: np.resize(np.array([*size, *[1] * 4], np.float32), shape)
        for name, shape in input_shapes(network.message.layer).items()
        if name == "im_info" and name not in network.input_values and 3 <= np.prod(shape[1:]) <= 6
    }


def _is_softmax(network: Network, blob: str) -> bool:
    """Whether the values of (R, K) are of a Softmax, or of several, averaged."""
    layer: LayerParameter | None = maker(network, blob)
    while layer is not None and layer.type in ("Eltwise", "Flatten", "Reshape", "Squeeze") and layer.bottom:
        layer = maker(network, layer.bottom[0])
    return layer is not None and layer.type == "Softmax" and _columns(network, blob) > 1


def _columns(network: Network, blob: str) -> int:
    """Values of each row of (R, C) or (R, C, 1, 1); 0 of other blobs."""
    shape = network.geometry.blobs.get(blob, ())
    return shape[1] if len(shape) > 1 and np.prod(shape[2:]) == 1 else 0


def _rows(network: Network, blob: str) -> int:
    return (network.geometry.blobs.get(blob) or (0,))[0]


def _decode(regions: str, odds: str, moves: str | None, size: tuple[int, int], values: Values) -> Found:
    scores = rows_of(values[odds])
    image, boxes = _regions(values[regions])
    classes = scores.shape[1]
    moved = (
        _moved(boxes, rows_of(values[moves]), classes)
        if moves
        else np.repeat(boxes[:, None], classes, axis=1)
    )
    mine = image == 0
    scores, moved = scores[mine, 1:], fractions(moved[mine, 1:], size)
    return Found.of(np.broadcast_to(np.arange(1, classes), scores.shape), scores, moved)


def _decode_proposals(regions: str, scores: str, size: tuple[int, int], values: Values) -> Found:
    image, boxes = _regions(values[regions])
    mine = image == 0
    return Found.of(np.zeros(mine.sum()), values[scores].reshape(-1)[mine], fractions(boxes[mine], size))


def _regions(values: Array) -> tuple[Array, Array]:
    """Return image numbers and corners in pixels of the input from rows (R, 5), or corners from (R, 4).

    In these files the last pixel belongs to the box; here a box ends after it.
    """
    rows = rows_of(values)
    image = np.rint(rows[:, 0]) if rows.shape[1] == REGION else np.zeros(len(rows))
    return np.asarray(image, np.float32), rows[:, -4:] + np.array([0, 0, 1, 1], np.float32)


def fractions(boxes: Array, size: tuple[int, int]) -> Array:
    """Convert corners (.., 4) in pixels of an input (H, W) to fractions of it."""
    height, width = size
    return np.asarray(boxes / np.array([width, height, width, height]), np.float32)


def _moved(boxes: Array, moves: Array, classes: int) -> Array:
    """(R, K, 4) Boxes (R, 4) after shifts and logarithms of growth (R, 4 K), or (R, 8) for all classes alike.

    rbgirshick/py-faster-rcnn: lib/fast_rcnn/bbox_transform.py
    """
    steps = moves.reshape(len(boxes), -1, 4)
    if steps.shape[1] != classes:
        steps = np.repeat(steps[:, -1:], classes, axis=1)
    low, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    centres = low + sides / 2 + steps[..., :2] * sides
    return corners(centres, np.exp(np.minimum(steps[..., 2:], LARGEST)) * sides)
