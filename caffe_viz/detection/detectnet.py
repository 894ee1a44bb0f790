"""DetectNet: the boxes that its clustering layer makes."""

from __future__ import annotations

from functools import partial

import numpy as np

from caffe_viz.detection.boxes import Found, Values
from caffe_viz.detection.decoder import Classes, Decoder, last_layer
from caffe_viz.network import Network


def detectnet_clusters(network: Network) -> Decoder | None:
    """ClusterDetections: (N, B, 5) of each class, corners in pixels and the logarithm of the votes; 0 for none."""
    layer = last_layer(network, "Python")
    if layer is None or layer.python_param.layer != "ClusterDetections":
        return None
    tops = tuple(layer.top)
    decode = partial(_decode, tops, network.shape[-2:])
    return Decoder(
        f"boxes {', '.join(map(repr, tops))} of DetectNet", tops, Classes(len(tops)), decode, alone=True
    )


def _decode(tops: tuple[str, ...], size: tuple[int, int], values: Values) -> Found:
    height, width = size
    rows = [values[top][0].reshape(-1, 5) for top in tops]
    labels = np.concatenate([np.full(len(own), n) for n, own in enumerate(rows)])
    every = np.concatenate(rows)
    there = every[:, :4].any(axis=1)
    boxes = every[there, :4] / np.array([width, height, width, height])
    return Found.of(labels[there], every[there, 4], boxes)
