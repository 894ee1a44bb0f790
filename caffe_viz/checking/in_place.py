"""Layers in place: which types cannot work so, and where the gradient of real Caffe is wrong then."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_viz.checking.report import Finding, where
from caffe_viz.netdef import NetParameter
from caffe_viz.netdef.net_pb2 import TRAIN
from caffe_viz.surgery.in_place import Conditions, always, holds, layers_in_place, product

# Types that read their input after they overwrote it: what they compute is silently wrong.
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


def in_place_findings(net: NetParameter, engine: str) -> Iterator[Finding]:
    """Errors where layers of `net` cannot work in place; warnings where a gradient is wrong on `engine`."""
    for one in layers_in_place(net.layer, training=net.state.phase == TRAIN):
        layer, rename = one.layer, f"give its top another name than {one.top!r}."
        if holds(WRONG_VALUES, layer):
            yield Finding("error", where(layer), f"cannot work in place: {rename}")
        if engine != "caffe":
            continue
        if one.spoils_itself:
            yield Finding("warning", where(layer), f"in place its gradient is wrong in Caffe: {rename}")
        maker = one.changed
        if maker is not None and one.spoils_other:
            top = one.top if one.top in maker.top else maker.top[0]
            message = f"its gradient is wrong in Caffe, as {layer.name!r} overwrites its top {top!r} in place"
            advice = f"give the top of {layer.name!r} another name."
            yield Finding("warning", where(maker), f"{message}: {advice}")
