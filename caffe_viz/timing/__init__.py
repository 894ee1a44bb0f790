"""Measure how long each layer of a net takes on this machine, forward and backward: `time_layers`."""

from caffe_viz.timing.passes import PASSES, SECONDS, Clock
from caffe_viz.timing.result import LayerTime, Timing
from caffe_viz.timing.timed import time_layers

__all__ = ["PASSES", "SECONDS", "Clock", "LayerTime", "Timing", "time_layers"]
