"""Compare two caffemodels, by layer and filter; needs no engine."""

from caffe_viz.comparing.compare import compare
from caffe_viz.comparing.duplicates import SAME_DIRECTION
from caffe_viz.comparing.filters import DEAD
from caffe_viz.comparing.result import Change, Diff, FilterChange, FilterComparison, LayerDiff, Pair, Side

__all__ = [
    "DEAD",
    "SAME_DIRECTION",
    "Change",
    "Diff",
    "FilterChange",
    "FilterComparison",
    "LayerDiff",
    "Pair",
    "Side",
    "compare",
]  # fmt: skip
