"""One table: layer type -> its rule. The rules stand in the modules imported here, by what the layers do."""

from __future__ import annotations

from caffe_viz.geometry import (  # noqa: F401  (importing them fills the table)
    arrange,
    batch_norms,
    colours,
    crf,
    depthwise,
    detectnet,
    detectors,
    elementwise,
    ends,
    face_masks,
    interpolation,
    learned,
    pooling,
    priors,
    python_layers,
    rearranging,
    regions,
    resample,
    sequences,
    unpooling,
    volumes,
    windows,
)
from caffe_viz.geometry.table import TABLE, Out, Rule, Shapes, checked, need, text

__all__ = ["TABLE", "Out", "Rule", "Shapes", "checked", "need", "text"]
