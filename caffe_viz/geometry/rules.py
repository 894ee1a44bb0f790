"""The table of rules by layer type. The rules are in the modules imported here, by what the layers do."""

from __future__ import annotations

from caffe_viz.geometry import (  # noqa: F401  (importing them fills the table)
    batch_norms,
    colours,
    crf,
    data_and_loss,
    depthwise,
    detectnet,
    detectors,
    elementwise,
    face_masks,
    fork_reshaping,
    interpolation,
    learned,
    pooling,
    priors,
    python_layers,
    regions,
    resample,
    reshaping,
    sequences,
    unpooling,
    volumes,
    windows,
)
from caffe_viz.geometry.table import TABLE, Out, Rule, Shapes, checked, many, need, text

__all__ = ["TABLE", "Out", "Rule", "Shapes", "checked", "many", "need", "text"]
