"""DetectNet: boxes from its clustering layer, or from its two maps."""

from __future__ import annotations

from functools import partial

import numpy as np

from caffe_viz.answers import ends
from caffe_viz.detection.boxes import Found, Values
from caffe_viz.detection.decoder import Classes, Decoder, input_size, last_layer, maker
from caffe_viz.network import Network

Size = tuple[int, int]


def detectnet_clusters(network: Network) -> Decoder | None:
    """ClusterDetections: (N, B, 5) of each class, corners in pixels and the logarithm of the votes."""
    layer = last_layer(network, "Python")
    if layer is None or layer.python_param.layer != "ClusterDetections":
        return None
    tops, classes = tuple(layer.top), Classes(len(layer.top))
    decode = partial(_clusters, tops, input_size(network))
    return Decoder(f"boxes {', '.join(map(repr, tops))} of DetectNet", tops, classes, decode, alone=True)


def _clusters(tops: tuple[str, ...], size: Size, values: Values) -> Found:
    height, width = size
    rows = [values[top][0].reshape(-1, 5) for top in tops]
    labels = np.concatenate([np.full(len(own), n) for n, own in enumerate(rows)])
    every = np.concatenate(rows)
    there = every[:, :4].any(axis=1)  # the rest of the rows are 0
    boxes = every[there, :4] / np.array([width, height, width, height])
    return Found.of(labels[there], every[there, 4], boxes)


def detectnet_maps(network: Network) -> Decoder | None:
    """Coverage (N, K, H, W) by a Sigmoid and boxes (N, 4, H, W) or (N, 4 K, H, W), seen from their cells."""
    found = [(blob, network.geometry.blobs.get(blob, ())) for blob in ends(network.message)]
    if len(found) != 2 or {len(shape) for _, shape in found} != {4}:
        return None
    by_channels = sorted(found, key=lambda one: one[1][1])
    (cover, (_, classes, *cells)), (boxes, (_, sides, *same)) = by_channels
    made = maker(network, cover)
    if made is None or made.type != "Sigmoid" or sides not in (4, 4 * classes) or cells != same:
        return None
    decode = partial(_maps, cover, boxes, input_size(network))
    return Decoder(f"DetectNet's {cover!r} and {boxes!r}", (cover, boxes), Classes(classes), decode)


def _maps(cover: str, boxes: str, size: Size, values: Values) -> Found:
    odds, sides = values[cover][0], values[boxes][0]
    classes, rows, columns = odds.shape
    height, width = size
    y, x = np.mgrid[:rows, :columns]
    corner = np.stack([x * (width // columns), y * (height // rows)] * 2)
    places = np.broadcast_to(sides.reshape(-1, 4, rows, columns) + corner, (classes, 4, rows, columns))
    fractions = places.transpose(0, 2, 3, 1) / np.array([width, height, width, height])
    labels = np.broadcast_to(np.arange(classes)[:, None, None], odds.shape)
    return Found.of(labels, odds, fractions)
