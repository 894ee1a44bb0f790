"""The Python layer of DetectNet, which clusters its maps into boxes: settings and shapes."""

from __future__ import annotations

from dataclasses import dataclass

from caffe_viz.errors import InputError
from caffe_viz.geometry.python_known import known
from caffe_viz.geometry.receptive_fields import LayoutEffect
from caffe_viz.geometry.table import Out, Shapes, four_axes, need, text
from caffe_viz.netdef import LayerParameter


@dataclass(frozen=True)
class Clusters:
    """The settings of ClusterDetections; lengths are in pixels."""

    width: int
    height: int
    stride: int
    coverage: float  # the least that proposes a box
    votes: int  # a box needs more of them
    likeness: float  # how far apart similar boxes may be, as a part of their sides
    least: int  # height of a box
    classes: int = 1
    most: int = 50  # boxes of an image and class


_TYPES = (int, int, int, float, int, float, int, int, int)


def clusters(layer: LayerParameter) -> Clusters:
    """Parse param_str, a list with commas.

    Raises:
        InputError: It is not such a list.
    """
    string = layer.python_param.param_str
    given = string.split(",")
    try:
        p = Clusters(*(kind(part) for kind, part in zip(_TYPES, given[:9], strict=False)))
    except (TypeError, ValueError):
        raise InputError(
            f"param_str {string!r} must list width, height, stride, coverage, votes, likeness and least "
            "height, as '1248,352,16,0.6,3,0.02,22' does"
        ) from None
    need(
        0 < p.stride <= min(p.width, p.height),
        "stride must be at least 1, and at most the sides of the image",
    )
    need(p.classes > 0 and p.most > 0, "the numbers of classes and of boxes must be at least 1")
    return p


@known(("caffe.layers.detectnet.clustering", "ClusterDetections"))
def _cluster_detections(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Boxes and confidences (N, B, 5) for each of K classes, of maps (N, K, H, W) and (N, 4, H, W)."""
    p, tops = clusters(layer), len(layer.top)
    need(len(bottoms) == 2, f"takes 2 bottoms, not {len(bottoms)}")
    n, classes, *size = four_axes(bottoms[0])
    need(
        classes == tops == p.classes,
        f"classes of param_str ({p.classes}), channels of the first bottom ({classes}) and tops ({tops}) "
        "must be equally many",
    )
    fits = four_axes(bottoms[1]) == (n, 4, *size)
    need(fits, f"the boxes must be {text((n, 4, *size))}, not {text(bottoms[1])}")
    return Out(((n, p.most, 5),) * tops, views=(LayoutEffect.LOST,))
