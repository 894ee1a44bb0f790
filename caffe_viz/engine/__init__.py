"""The embedded engine: pycaffe's interface on PyTorch, for where real Caffe cannot be installed.

`caffe_viz.engine.pycaffe` is what `from caffe_viz import caffe` gives there. A layer type of one's own is a
function under `layer`, with a shape rule that returns `Out`:

    @layer("Softsign")
    def softsign(call, bottoms, params):
        return bottoms[0] / (1 + bottoms[0].abs())
"""

from caffe_viz.engine.net import Net
from caffe_viz.engine.table import Call, layer
from caffe_viz.geometry.fields import SAME, Look, window
from caffe_viz.geometry.table import Out, need

__all__ = ["SAME", "Call", "Look", "Net", "Out", "layer", "need", "window"]
