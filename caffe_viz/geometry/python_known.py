"""Public layers of type Python, by module and layer, rewritten so that no user code runs: settings, shapes.

Settings that the original code reads from its own configuration are those of its repository, for TEST.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from caffe_viz.errors import InputError
from caffe_viz.geometry.receptive_fields import SAME, LayoutEffect
from caffe_viz.geometry.regions import REGION, of_regions
from caffe_viz.geometry.table import Out, Shapes, four_axes, legacy, need, text
from caffe_viz.netdef import LayerParameter

SHAPES: dict[tuple[str, str], Callable[[LayerParameter, Shapes], Out]] = {}
Rule = Callable[[LayerParameter, Shapes], Out]
TEXT_HEIGHTS = (11, 16, 23, 33, 48, 68, 97, 139, 198, 283)  # CTPN's anchors, all 16 wide


def known(*names: tuple[str, str]) -> Callable[[Rule], Rule]:
    def enter(function: Rule) -> Rule:
        SHAPES.update(dict.fromkeys(names, function))
        return function

    return enter


def settings(layer: LayerParameter) -> dict[str, Any]:
    """Parse param_str, in YAML or as a Python literal: a mapping, or lines `key: value`.

    Raises:
        InputError: It is neither.
    """
    string = layer.python_param.param_str.strip()
    plain = string if string.startswith("{") else f"{{{', '.join(map(_line, string.splitlines()))}}}"
    for attempt in (plain, re.sub(r"!!python/\w+", "", plain), _quoted(plain)):
        try:
            found = ast.literal_eval(attempt)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    raise InputError(f"param_str {string!r} is not a mapping such as \"'feat_stride': 16\"")


def _line(line: str) -> str:
    """One line of YAML as an item of a mapping: what is neither number nor list nor quoted is a text."""
    key, _, value = (part.strip() for part in re.sub(r"!!python/\w+", "", line).partition(":"))
    bare = not re.fullmatch(r"[-+.\deE]+|[\[({'\"].*", value)
    return f"{key if key[:1] in ('', *QUOTES) else repr(key)}: {value!r}" if bare else f"{key}: {value}"


QUOTES = ("'", '"')
_WORDS = {"true": "True", "false": "False", "null": "None"}


def _quoted(string: str) -> str:
    """With quotes around words that have none, as YAML allows."""
    words = r"""('[^']*'|"[^"]*")|!!python/\w+|\b([A-Za-z_]\w*)\b"""

    def quote(found: re.Match[str]) -> str:
        return found[1] or (_WORDS.get(found[2].lower()) or repr(found[2]) if found[2] else "")

    return re.sub(words, quote, string)


@dataclass(frozen=True)
class Proposals:
    """How a layer turns anchors into regions; `strides` has one for each pair of feature maps.

    Without `overlap` none is suppressed.
    """

    strides: tuple[int, ...]
    base: int | None  # the side of the smallest anchor; None: the stride
    ratios: tuple[float, ...]
    scales: tuple[float, ...]
    before: int = 6000
    after: int = 300
    overlap: float | None = 0.7
    least: float = 16  # side, in pixels of the unscaled image

    @property
    def anchors(self) -> int:
        return len(self.ratios) * len(self.scales)


def proposals(layer: LayerParameter) -> Proposals:
    """Return the settings of a ProposalLayer: py-faster-rcnn's, FPN's with several strides, or SSH's."""
    given = settings(layer)
    stride = given.get("feat_stride", "")
    try:
        strides = tuple(int(part) for part in (stride.split(",") if isinstance(stride, str) else [stride]))
        ratios = tuple(map(float, given.get("ratios", (0.5, 1, 2))))
        scales = tuple(map(float, given.get("scales", (8, 16, 32) if len(strides) == 1 else (16, 32))))
        base = int(given.get("base_size", 16))
    except (TypeError, ValueError):
        string = layer.python_param.param_str
        raise InputError(f"param_str {string!r} needs feat_stride, and lists of ratios and scales") from None
    good = min(*strides, base, *ratios, *scales) > 0 and ratios and scales
    need(good, "feat_stride, base_size, ratios and scales must be above 0")
    if len(strides) > 1:
        return Proposals(strides, None, ratios, scales, after=1000)
    if layer.python_param.module.startswith("SSH."):
        return Proposals(strides, base, ratios, scales, before=1000, after=1000, overlap=None, least=0)
    return Proposals(strides, base, ratios, scales)


@known(
    ("rpn.proposal_layer", "ProposalLayer"),
    ("pylayer.proposal_layer", "ProposalLayer"),
    ("SSH.layers.proposal_layer", "ProposalLayer"),
)
def _proposal_layer(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Regions (R, 5) and scores (R, 1), as many as are allowed before a forward, which may find fewer."""
    p = proposals(layer)
    levels, tops = len(p.strides), len(layer.top)
    need(len(bottoms) == 2 * levels + 1, f"takes {2 * levels + 1} bottoms, not {len(bottoms)}")
    need(1 <= tops <= 2, f"takes 1 or 2 tops, not {tops}")
    scores, codes, image = maps_of(p, bottoms)
    need(math.prod(image) >= 3, "im_info must be (1, 3): height, width and scale of the image")
    for score, code in zip(scores, codes, strict=True):
        (n, have, h, w), (_, places, *size) = four_axes(score), four_axes(code)
        need(n == 1, "takes one image at a time")
        fits = places % 4 == 0 and have >= places // 2 and (levels > 1 or size == [h, w])
        need(fits, f"scores and codes must have 2 and 4 channels for each anchor, not {have} and {places}")
    return Out(((p.after, REGION), (p.after, 1))[:tops], views=(LayoutEffect.LOST,))


def maps_of(p: Proposals, bottoms: Any) -> tuple[Any, Any, Any]:
    """Scores, codes and im_info, which several strides have first, among bottoms of a ProposalLayer."""
    levels = len(p.strides)
    if levels == 1:
        return bottoms[:1], bottoms[1:2], bottoms[2]
    return bottoms[1 + levels :], bottoms[1 : 1 + levels], bottoms[0]


@known(("layers.text_proposal_layer", "ProposalLayer"))
def _text_proposal_layer(layer: LayerParameter, bottoms: Shapes) -> Out:
    """All anchors (R, 4), moved up or down, and their scores (R, 1)."""
    settings(layer)
    need((len(bottoms), len(layer.top)) == (3, 2), "takes 3 bottoms and 2 tops")
    (n, have, h, w), (_, places, *size) = four_axes(bottoms[0]), four_axes(bottoms[1])
    count = len(TEXT_HEIGHTS)
    fits = (n, have, places, size) == (1, 2 * count, 2 * count, [h, w])
    need(fits, f"takes one image, and scores and codes of {2 * count} channels: {count} anchors")
    return Out(((h * w * count, 4), (h * w * count, 1)), views=(LayoutEffect.LOST,))


@known(("rpn.as_rois", "As_roisLayer"), ("rpn.as_rois_mrcnn", "As_rois_MergeRcnnLayer"))
def _as_rois(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Regions (R, 5) sorted by size into four levels, (4 R, 5) together and (R, 5) each, with zeros."""
    need((len(bottoms), len(layer.top)) == (1, 5), "takes 1 bottom and 5 tops")
    of_regions(bottoms[0])
    count = bottoms[0][0]
    return Out(((4 * count, REGION), *(((count, REGION),) * 4)), views=(LayoutEffect.LOST,))


@known(("pylayer.mask_layer", "MaskLayer"))
def _mask_layer(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Masks (R, 1, 21, 21) of R * 441 values."""
    need((len(bottoms), len(layer.top)) == (1, 1), "takes 1 bottom and 1 top, for phase TEST")
    good = bottoms[0] and math.prod(bottoms[0][1:]) == 441
    need(good, f"the masks must be (R, 441), not {text(bottoms[0])}")
    return Out(((bottoms[0][0], 1, 21, 21),), views=(LayoutEffect.LOST,))


@known(("pylayer.stage_bridge_layer", "StageBridgeLayer"))
def _stage_bridge(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Regions (R, 5) moved by the codes (R, 4 K) of the likeliest of K classes."""
    need((len(bottoms), len(layer.top)) == (4, 1), "takes 4 bottoms and 1 top, for phase TEST")
    of_regions(bottoms[0])
    (count, codes, *_), (_, classes, *_) = legacy(bottoms[1]), legacy(bottoms[2])
    fits = codes == 4 * classes and count == bottoms[0][0]
    need(fits, f"{classes} classes need codes ({bottoms[0][0]}, {4 * classes}), not {text(bottoms[1])}")
    return Out(((count, REGION),), views=(LayoutEffect.LOST,))


@known(("norm2layer", "Norm2Layer"), ("triplet.l2norm_layer", "L2NormLayer"))
def _norm(layer: LayerParameter, bottoms: Shapes) -> Out:
    need((len(bottoms), len(layer.top)) == (1, 1), "takes 1 bottom and 1 top")
    need(len(bottoms[0]) == 2, f"takes rows of values (N, C), not {text(bottoms[0])}")
    return Out(bottoms, views=(LayoutEffect.WHOLE,))


@known(("spatial_dropout", "SpatialDropoutLayer"))
def _spatial_dropout(layer: LayerParameter, bottoms: Shapes) -> Out:
    need((len(bottoms), len(layer.top)) == (1, 1), "takes 1 bottom and 1 top")
    four_axes(bottoms[0])
    dropped(layer)
    return Out(bottoms, views=(SAME,))


def dropped(layer: LayerParameter) -> tuple[bool, float]:
    """Whether a SpatialDropoutLayer drops channels, and which part of them."""
    given = settings(layer)
    try:
        part = float(given["p"])
    except (KeyError, TypeError, ValueError):
        part = 0
    need(0 < part < 1, f"param_str {layer.python_param.param_str!r} needs p, between 0 and 1")
    return given.get("phase") == "TRAIN", part


@known(
    ("CombineRegressions", "CombineRegressionsLayer"), ("CombineRegressionsHuman", "CombineRegressionsLayer")
)
def _combine_regressions(layer: LayerParameter, bottoms: Shapes) -> Out:
    need((len(bottoms), len(layer.top)) == (4, 2), "takes 4 bottoms and 2 tops")
    n, c, h, w = four_axes(bottoms[0])
    same = all((s[0], *s[2:]) == (n, h, w) for s in map(four_axes, bottoms)) and bottoms[1] == bottoms[0]
    need(c == 1 and same, "takes two maps of places of one channel, and two of values, all of one size")
    return Out((bottoms[0],) * 2, views=(SAME,))


@known(("pyloss", "EuclideanLossLayer"))
def _euclidean_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    need((len(bottoms), len(layer.top)) == (2, 1), "takes 2 bottoms and 1 top")
    need(bottoms[0] == bottoms[1], "both bottoms must have the same shape")
    return Out(((1,),), views=(LayoutEffect.WHOLE,))


@known(("pyLayer", "DiceLoss"))
def _dice_loss(layer: LayerParameter, bottoms: Shapes) -> Out:
    need((len(bottoms), len(layer.top)) == (2, 1), "takes 2 bottoms and 1 top")
    fits = [len(s) for s in bottoms] == [3, 3] and bottoms[1] == (bottoms[0][0], 1, bottoms[0][2])
    need(fits and bottoms[0][1] >= 2, "takes probabilities (N, 2, V) and labels (N, 1, V)")
    return Out(((1,),), views=(LayoutEffect.WHOLE,))


@known(("cmap_layer", "CmapLayer"))
def _class_map(layer: LayerParameter, bottoms: Shapes) -> Out:
    need((len(bottoms), len(layer.top)) == (1, 1), "takes 1 bottom and 1 top")
    given = settings(layer)
    size: list[Any] = [given.get("height"), given.get("width")]
    good = all(isinstance(side, int) and side > 0 for side in size)
    need(good, f"param_str {layer.python_param.param_str!r} needs height and width, at least 1")
    need(len(bottoms[0]) >= 2, f"takes rows of values (N, C), not {text(bottoms[0])}")
    return Out(((*bottoms[0][:2], *size),), views=(LayoutEffect.WHOLE,))
