"""Shape, parameters, multiply-adds and receptive field of every layer of a net, without running it.

The rules follow what the layers of real Caffe do when they reshape; the tests compare both.
"""

from __future__ import annotations

from caffe_viz.geometry.flattening import seen_by_units
from caffe_viz.geometry.measuring import measure
from caffe_viz.geometry.receptive_fields import ReceptiveField
from caffe_viz.geometry.results import Geometry, LayerGeometry
from caffe_viz.geometry.splits import own_layers, with_splits

__all__ = [
    "Geometry",
    "LayerGeometry",
    "ReceptiveField",
    "measure",
    "own_layers",
    "seen_by_units",
    "with_splits",
]
