"""One table: layer type -> its rule. The rules stand in the modules imported here, by what the layers do."""

from __future__ import annotations

from caffe_viz.geometry import arrange, ends, learned, windows  # noqa: F401  (importing them fills the table)
from caffe_viz.geometry.table import TABLE, Out, Rule, Shapes, checked, need, text

# Layer types of other builds of Caffe, for a message that says so.
ELSEWHERE = frozenset(
    {"BN", "Clip", "Inception", "Interp", "Python", "ROIPooling", "ShuffleChannel", "Swish"}
)
ELSEWHERE |= {"VideoData", "WindowData"}

__all__ = ["ELSEWHERE", "TABLE", "Out", "Rule", "Shapes", "checked", "need", "text"]
