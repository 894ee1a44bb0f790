"""What losses and accuracy layers read, and what replaces them in a net for use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from caffe_viz.netdef import LayerParameter

# Layers that only say how right an answer is, or end a blob.
MEASURES = frozenset({"DetectionEvaluate", "EvalDetection", "HDF5Output", "Silence"})
# Types with parameters: what they make is no label.
LEARNS = re.compile(
    r"(Convolution|Deconvolution|InnerProduct|BatchNorm)|^(BN|Bias|Embed|Inception|PReLU|RNN|Scale)$|L(STM|stm)"
)
REGIONS = re.compile(r"ROI|RoI|^Proposal")  # what of an image is looked at is no label either


@dataclass(frozen=True)
class Loss:
    """Which bottoms of a loss are answers (None: the learned ones), and the layer that replaces it.

    `label` is the bottom with which an answer is compared, if a net can have several losses for one label.
    """

    answers: tuple[int, ...] | None = None
    shown: str = ""
    label: int | None = None


_SOFTMAX, _SIGMOID = Loss((0,), "Softmax", 1), Loss((0,), "Sigmoid", 1)
# Those whose answers stand at fixed places, also of forks (docs/forks.md).
LOSSES = {
    "CTCLoss": Loss((0,)),
    "GeneralContrastiveLoss": Loss((0,)),
    "HingeLoss": Loss((0,), label=1),
    "InfogainLoss": Loss((0,), label=1),
    "MultiBoxLoss": Loss((0, 1, 2)),
    "MultinomialLogisticLoss": Loss((0,), label=1),
    "RegionLoss": Loss((0,)),
    "SigmoidCrossEntropyBalanceLoss": _SIGMOID,
    "SigmoidCrossEntropyLoss": _SIGMOID,
    "SigmoidCrossEntropyLossWeighted": _SIGMOID,
    "SmoothL1Loss": Loss((0,)),
    "SmoothL1LossOHEM": Loss((0,)),
    "SoftmaxCrossEntropyLoss": _SOFTMAX,
    "SoftmaxWithLoss": _SOFTMAX,
    "SoftmaxWithLossOHEM": _SOFTMAX,
    "WarpCTCLoss": Loss((0,)),
    "Yolov3": Loss((0,)),
}


def loss_of(layer: LayerParameter) -> Loss | None:
    """Return what is known of a loss; None if the layer is not a loss."""
    if layer.type in LOSSES:
        return LOSSES[layer.type]
    name = layer.python_param.layer if layer.type == "Python" else layer.type
    return Loss() if layer.bottom and ("Loss" in name or any(layer.loss_weight)) else None


def measures(layer: LayerParameter) -> bool:
    """Whether a layer only judges an answer, or ends a blob."""
    return bool(layer.bottom) and (layer.type in MEASURES or "Accuracy" in layer.type)


def weight(layer: LayerParameter) -> float:
    """Return the weight of a loss."""
    return layer.loss_weight[0] if layer.loss_weight else 1.0


def learned(layers: Iterable[LayerParameter]) -> set[str]:
    """Return the blobs that depend on a layer with parameters."""
    found = set[str]()
    for layer in layers:
        if LEARNS.search(layer.type) or not found.isdisjoint(layer.bottom):
            found.update(layer.top)
    return found


def compared(layers: Sequence[LayerParameter]) -> set[str]:
    """Return the blobs that depend on labels: on inputs that lead to no layer with parameters or regions."""
    leading = set[str]()
    for layer in reversed(layers):
        if LEARNS.search(layer.type) or REGIONS.search(layer.type) or not leading.isdisjoint(layer.top):
            leading.update(layer.bottom)
    found = set[str]()
    for layer in layers if leading else ():
        if not layer.bottom and layer.type not in ("Parameter", "DummyData"):
            found.update(top for top in layer.top if top not in leading)
        elif not found.isdisjoint(layer.bottom):
            found.update(layer.top)
    return found


def answers(layer: LayerParameter, loss: Loss, known: Collection[str]) -> list[str]:
    """Return the bottoms of a loss that are answers of the net; `known` are the `learned` ones."""
    if loss.answers is not None:
        return [layer.bottom[i] for i in loss.answers if i < len(layer.bottom)]
    return [name for name in layer.bottom if name in known] or list(layer.bottom[:1])


def auxiliary(losses: Sequence[LayerParameter]) -> Iterator[LayerParameter]:
    """Return losses of less weight than another of the same type on the same label, like GoogLeNet's."""
    for layer in losses:
        label = LOSSES[layer.type].label if layer.type in LOSSES else None
        if label is None or label >= len(layer.bottom):
            continue
        rivals = (x for x in losses if x.type == layer.type and x.bottom[label : label + 1])
        if any(x.bottom[label] == layer.bottom[label] and weight(x) > weight(layer) for x in rivals):
            yield layer
