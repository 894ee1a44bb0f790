"""Rules of conditional random fields, which are not computed."""

from __future__ import annotations

from caffe_viz.geometry.receptive_fields import LayoutEffect
from caffe_viz.geometry.table import Out, Shapes, legacy, rule
from caffe_viz.netdef import LayerParameter


@rule("MultiStageMeanfield", "MultiStageMeanfieldAU3", bottoms=3, fork=True)
def _meanfield(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Unary terms, a start, and the image; weights of two kernels, and how classes go together."""
    top = legacy(bottoms[0])
    own = (1, 1, top[1], top[1])
    return Out((top,), (own,) * 3, views=(LayoutEffect.WHOLE,))
