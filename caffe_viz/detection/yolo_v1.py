"""The first YOLO: one vector for 7 x 7 cells, with K classes and two boxes each (Redmon et al. 2016)."""

from __future__ import annotations

from functools import partial

import numpy as np

from caffe_viz.answers import ends
from caffe_viz.detection.boxes import Array, Found, Values, corners
from caffe_viz.detection.decoder import Classes, Decoder, maker
from caffe_viz.network import Network

SIDE, BOXES = 7, 2
CELLS = SIDE * SIDE


def yolo_vector(network: Network) -> Decoder | None:
    """A vector of 49 (K + 10) values: classes of all cells, objectness of all boxes, then the boxes.

    A fully connected layer gives them cell by cell, as darknet has them; a convolution that a Reshape makes
    a vector gives the cells of each value in a row, as yeahkun/caffe-yolo reads them
    (src/caffe/layers/eval_detection_layer.cpp).
    """
    found = ends(network.message)
    layer = maker(network, found[-1]) if found else None
    if layer is None or layer.type not in ("Flatten", "InnerProduct", "Reshape"):
        return None
    shape = network.geometry.blobs.get(found[-1], ())
    count = int(np.prod(shape[1:]))
    classes, rest = divmod(count, CELLS)
    classes -= 5 * BOXES
    if rest or classes < 1 or count != shape[1]:
        return None
    by_cell = layer.type == "InnerProduct"
    decode = partial(_decode, found[-1], classes, by_cell)
    return Decoder(
        f"YOLO's vector {found[-1]!r}, {SIDE} x {SIDE} cells", (found[-1],), Classes(classes), decode
    )


def _decode(blob: str, classes: int, by_cell: bool, values: Values) -> Found:
    vector = values[blob][0].reshape(-1)
    kinds, objects, places = np.split(vector, [CELLS * classes, CELLS * (classes + BOXES)])
    odds, sure = _table(kinds, classes, by_cell), _table(objects, BOXES, by_cell)
    places = _table(places, 4 * BOXES, by_cell).reshape(CELLS, BOXES, 4)
    y, x = np.divmod(np.arange(CELLS), SIDE)
    centres = (places[..., :2] + np.stack([x, y], -1)[:, None]) / SIDE
    boxes = corners(centres, places[..., 2:] ** 2)  # it learns square roots
    scores = sure[:, :, None] * odds[:, None]
    labels = np.broadcast_to(np.arange(classes), scores.shape)
    every = np.broadcast_to(boxes[:, :, None], (*scores.shape, 4))
    return Found.of(labels, scores, every)


def _table(values: Array, columns: int, by_cell: bool) -> Array:
    """(CELLS, columns)"""
    return values.reshape(CELLS, columns) if by_cell else values.reshape(columns, CELLS).T
