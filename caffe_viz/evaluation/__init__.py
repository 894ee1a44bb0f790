"""Evaluate attributions: deletion and insertion curves, and a check by random weights."""

from caffe_viz.evaluation.baselines import BASELINES
from caffe_viz.evaluation.cases import Cases, cases
from caffe_viz.evaluation.curves import Curves, curves
from caffe_viz.evaluation.measures import area, rank_correlation, ssim
from caffe_viz.evaluation.sanity import RULE, Sanity, sanity

__all__ = [
    "BASELINES", "RULE", "Cases", "Curves", "Sanity", "area", "cases", "curves", "rank_correlation", "sanity",
    "ssim",
]  # fmt: skip
