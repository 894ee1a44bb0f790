"""In-place layers: which types cannot work in place, and where that makes real Caffe's gradient wrong."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_viz.checking.report import Finding, where
from caffe_viz.netdef import NetParameter
from caffe_viz.netdef.net_pb2 import TRAIN
from caffe_viz.surgery.in_place import Conditions, always, holds, layers_in_place, product

# Types that real Caffe computes silently wrong in place, or refuses; the embedded engine can.
WRONG_VALUES: Conditions = {
    **dict.fromkeys(
        (
            "AbsVal", "BatchReindex", "Concat", "Convolution", "Crop", "Deconvolution", "Im2col",
            "InnerProduct", "LRN", "Pad", "Permute", "Pooling", "Resize", "Slice", "Tile", "Upsample",
        ),
        always,
    ),
    "Eltwise": lambda layer: not product(layer),
}  # fmt: skip


# Why.
_LATE = "Caffe reads its input after it has written over it"
_REASONS = {
    "LRN": "Caffe's CPU code writes over its input before it multiplies by it (its GPU code does not)",
    "AbsVal": "Caffe refuses it",
}


def in_place_findings(net: NetParameter, engine: str) -> Iterator[Finding]:
    """Find in-place layers of `net` that cannot work on `engine`, or get a wrong gradient (warnings).

    What only real Caffe cannot do is a warning on the embedded engine, which computes what is meant.
    """
    for one in layers_in_place(net.layer, training=net.state.phase == TRAIN):
        layer, rename = one.layer, f"give its top another name than {one.top!r}."
        if holds(WRONG_VALUES, layer):
            reason = _REASONS.get(layer.type, _LATE)
            if engine == "caffe":
                yield Finding("error", where(layer), f"cannot work in place, {reason}: {rename}")
            else:
                message = f"works in place on {one.top!r}, which is computed as it is meant; {reason}."
                yield Finding("warning", where(layer), message)
        if engine != "caffe":
            continue
        if one.spoils_itself:
            yield Finding("warning", where(layer), f"in place its gradient is wrong in Caffe: {rename}")
        maker = one.changed
        if maker is not None and one.spoils_other:
            top = one.top if one.top in maker.top else maker.top[0]
            why = f"because {layer.name!r} overwrites its top {top!r} in place"
            advice = f"give the top of {layer.name!r} another name."
            yield Finding("warning", where(maker), f"its gradient is wrong in Caffe, {why}: {advice}")
