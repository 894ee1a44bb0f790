"""Record what happens inside a net while it learns, and read it again."""

from caffe_viz.recording.measured import Feed, TestNet
from caffe_viz.recording.periods import Head, Parameter, Period
from caffe_viz.recording.record import Frame, Record
from caffe_viz.recording.recorder import Recorder, Step

__all__ = ["Feed", "Frame", "Head", "Parameter", "Period", "Record", "Recorder", "Step", "TestNet"]
