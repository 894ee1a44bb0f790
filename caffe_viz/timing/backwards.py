"""Which layers to leave out backward: real Caffe would abort on some, and others have no gradient."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from caffe_viz.checking.layers import NO_BACKWARD
from caffe_viz.geometry import LayerGeometry
from caffe_viz.netdef import LayerParameter
from caffe_viz.surgery import NO_GRADIENT, ONLY_FORWARD_IN_CAFFE

WRITES = "HDF5Output"  # into a file, at each pass
# Types of which real Caffe aborts if a bottom but the first needs a gradient: labels, ends of sequences.
ONE_GRADIENT = frozenset({"HingeLoss", "InfogainLoss", "LSTM", "MultinomialLogisticLoss", "RNN"})
ONE_GRADIENT |= {"SigmoidCrossEntropyLoss", "SoftmaxWithLoss"}
IN_CAFFE = "real Caffe has no backward for it"


def not_backward(
    layers: Sequence[LayerParameter], measured: Sequence[LayerGeometry], engine: str
) -> Iterator[tuple[int, str]]:
    """(index in `net.layers`, why) of those layers; `measured` are theirs, in the same order."""
    learned: set[str] = set()  # blobs that depend on parameters, whose gradient Caffe asks for
    for layer, found in zip(layers, measured, strict=True):
        if why := _why(layer, engine, learned):
            yield found.index, why
        if found.param_shapes or not learned.isdisjoint(layer.bottom):
            learned.update(layer.top)


def _why(layer: LayerParameter, engine: str, learned: Collection[str]) -> str:
    if layer.type == WRITES:
        return "would write its file"
    if not layer.bottom:
        return "has no bottom"
    if layer.type in NO_GRADIENT:
        return "has no gradient"
    if engine == "caffe" and (
        layer.type in ONLY_FORWARD_IN_CAFFE | NO_BACKWARD
        or (layer.type in ONE_GRADIENT and any(name in learned for name in layer.bottom[1:]))
        or (layer.type == "InfogainLoss" and len(layer.bottom) > 2)  # force_backward asks for its matrix's
    ):
        return IN_CAFFE
    return ""
