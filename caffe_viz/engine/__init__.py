"""The embedded engine: pycaffe's interface on PyTorch, for where real Caffe cannot be installed.

`caffe_viz.engine.pycaffe` is what `from caffe_viz import caffe` gives there. A layer type of one's own is a
function under `layer`:

    @layer("Swish")
    def swish(call, bottoms, params):
        return bottoms[0] * bottoms[0].sigmoid()
"""

from caffe_viz.engine.net import Net
from caffe_viz.engine.table import Call, layer

__all__ = ["Call", "Net", "layer"]
