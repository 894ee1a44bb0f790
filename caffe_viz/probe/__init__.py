"""Activations and gradients of a net, as copies: forward, and backward from any blob to any blob."""

from caffe_viz.probe.passes import Gradients, forward, forward_alone, gradient, input_data, last_writer
from caffe_viz.probe.pooling import need_maxima
from caffe_viz.probe.probe import Probe
from caffe_viz.probe.remembering import RememberingProbe
from caffe_viz.probe.states import relu_state
from caffe_viz.probe.walk import RULES

__all__ = [
    "RULES",
    "Gradients",
    "Probe",
    "RememberingProbe",
    "forward",
    "forward_alone",
    "gradient",
    "input_data",
    "last_writer",
    "need_maxima",
    "relu_state",
]
