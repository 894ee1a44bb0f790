"""What is wrong with the layers and their connections, before any shape is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import Message

from caffe_viz.check import layers as known
from caffe_viz.check.report import Finding
from caffe_viz.errors import near
from caffe_viz.netdef import LayerParameter, NetParameter

CUDNN = 2


def where(layer: LayerParameter) -> str:
    """How a finding names a layer."""
    return f"layer {layer.name!r} ({layer.type})"


def structure(net: NetParameter, whole: NetParameter) -> Iterator[Finding]:
    """Defects of `net`, the layers of one phase; `whole` is the net with the layers of every phase."""
    for layer in whole.layer:
        if layer.include and layer.exclude:
            yield Finding(
                "error", where(layer), "has include and exclude rules; Caffe takes only one of the two."
            )
    if not net.layer:
        yield Finding(
            "error", "", "no layers in this phase: is it a prototxt of a network (not of a solver)?"
        )
    yield from connections(net.layer, whole.layer)
    for layer in net.layer:
        for message in (*type_defects(layer), *count_defects(layer), *option_defects(layer)):
            yield Finding("error", where(layer), message)
        if net.force_backward and layer.type in known.NO_BACKWARD:
            yield Finding(
                "error", where(layer), "has no gradient, and force_backward asks for one: backward aborts."
            )
    yield from repeated_names(net.layer)


# --- types and options ---------------------------------------------------------------


def type_defects(layer: LayerParameter) -> Iterator[str]:
    if not layer.type:
        yield "has no type."
    elif layer.type in known.NOT_BUILT:
        yield f"cannot be used: {known.NOT_BUILT[layer.type]}."
    elif layer.type in known.UNUSABLE:
        yield f"cannot be used: {known.UNUSABLE[layer.type]}."
    elif layer.type not in known.COUNTS:
        yield f"unknown layer type {layer.type!r}.{near(layer.type, known.COUNTS)}"


def count_defects(layer: LayerParameter) -> Iterator[str]:
    """Numbers of bottoms, tops, loss weights and propagate_down entries that Caffe refuses."""
    bottoms, tops = len(layer.bottom), len(layer.top)
    if layer.type not in known.COUNTS:
        return
    counts = known.COUNTS[layer.type]
    if layer.type == "Pooling" and layer.pooling_param.pool != layer.pooling_param.MAX:
        counts = counts._replace(top_max=1)
    if not counts.bottom_min <= bottoms <= counts.bottom_max:
        yield f"takes {_span(counts.bottom_min, counts.bottom_max)} bottom, has {bottoms}."
    if not counts.top_min <= tops <= counts.top_max:
        yield f"makes {_span(counts.top_min, counts.top_max)} top, has {tops}."
    if layer.type in ("Convolution", "Deconvolution") and bottoms != tops:
        yield f"needs as many tops as bottoms, has {bottoms} bottoms and {tops} tops."
    if layer.type == "Filter" and tops != bottoms - 1:
        yield f"makes one top for each bottom but the last: {bottoms - 1}, has {tops}."
    if layer.loss_weight and len(layer.loss_weight) != tops and tops:
        yield f"has {len(layer.loss_weight)} loss_weight for {tops} tops: give one for each or none."
    if layer.propagate_down and len(layer.propagate_down) != bottoms:
        yield f"has {len(layer.propagate_down)} propagate_down for {bottoms} bottoms: give one for each or none."


def _span(low: int, high: int) -> str:
    if low == high:
        return f"exactly {low}"
    return f"{low} or more" if high == known.MANY else f"{low} to {high}"


def option_defects(layer: LayerParameter) -> Iterator[str]:
    """Options that the CPU build refuses, whatever the shapes are."""
    if layer.type in known.ENGINES and getattr(layer, known.ENGINES[layer.type]).engine == CUDNN:
        yield "engine: CUDNN is not in a CPU build of Caffe, which aborts: remove the line."
    if layer.type == "Pooling" and layer.pooling_param.pool == layer.pooling_param.STOCHASTIC:
        yield "STOCHASTIC pooling has no CPU code in Caffe: forward aborts."
    if layer.type == "LRN" and layer.lrn_param.local_size % 2 == 0:
        yield f"local_size {layer.lrn_param.local_size} is even; LRN takes odd sizes only."
    if not layer.blobs:
        yield from fillers(layer)


def fillers(message: Message, path: str = "") -> Iterator[str]:
    """Fillers that abort; each is used as soon as the net is made, even if weights are loaded afterwards."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.name == "blobs":
            continue
        if descriptor.name == "bias_filler" and not getattr(message, "bias_term", True):
            continue
        parts: Sequence[Message] = value if isinstance(value, Sequence) else [value]
        name = f"{path}.{descriptor.name}" if path else descriptor.name
        for part in parts:
            if descriptor.message_type.name == "FillerParameter":
                yield from _filler(part, name)
            else:
                yield from fillers(part, name)


def _filler(filler: Message, name: str) -> Iterator[str]:
    kind, std = getattr(filler, "type"), getattr(filler, "std")  # noqa: B009 (Message has no fields of its own)
    low, high = getattr(filler, "min"), getattr(filler, "max")  # noqa: B009
    if kind not in known.FILLERS:
        yield f"{name}: unknown filler {kind!r}.{near(kind, known.FILLERS)}"
    if kind == "gaussian" and not std > 0:
        yield f"{name}: std {std:g} of a gaussian filler must be above 0."
    if kind == "uniform" and low > high:
        yield f"{name}: min {low:g} of a uniform filler is above its max {high:g}."
    if kind != "gaussian" and getattr(filler, "sparse") != -1:  # noqa: B009
        yield f"{name}: sparse belongs to gaussian fillers, not to {kind!r}."


# --- connections ---------------------------------------------------------------------


@dataclass
class _Version:
    """A blob between two layers that write it, and the layers that read it."""

    readers: list[LayerParameter] = field(default_factory=list)
    is_loss: bool = False


def connections(net: Sequence[LayerParameter], whole: Sequence[LayerParameter]) -> Iterator[Finding]:
    """Bottoms that nobody makes, tops that two layers make, in-place layers that spoil another's input."""
    blobs: dict[str, _Version] = {}
    in_place: list[tuple[LayerParameter, str, _Version]] = []
    for index, layer in enumerate(net):
        for bottom in layer.bottom:
            if bottom in blobs:
                blobs[bottom].readers.append(layer)
            else:
                yield Finding("error", where(layer), _unknown(bottom, blobs, net[index:], whole))
        for j, top in enumerate(layer.top):
            if j < len(layer.bottom) and layer.bottom[j] == top:
                if top in blobs:
                    in_place.append((layer, top, blobs[top]))
                if layer.type in known.NOT_IN_PLACE:
                    yield Finding(
                        "error",
                        where(layer),
                        f"cannot work in place: give its top a name other than {top!r}.",
                    )
            elif top in blobs:
                yield Finding(
                    "error", where(layer), f"top {top!r} is already made by another layer: rename one."
                )
            blobs[top] = _Version(is_loss=j < len(layer.loss_weight) and layer.loss_weight[j] != 0)
    for layer, top, version in in_place:
        others = [repr(r.name) for r in version.readers if r is not layer] + ["the loss"] * version.is_loss
        if others:
            yield Finding(
                "error",
                where(layer),
                f"works in place on {top!r}, which {', '.join(others)} reads too: give its top another name.",
            )


def _unknown(
    bottom: str, made: dict[str, _Version], later: Sequence[LayerParameter], whole: Sequence[LayerParameter]
) -> str:
    text = f"bottom {bottom!r} is made by no layer before it"
    for layer in later:
        if bottom in layer.top:
            return f"{text}; {layer.name!r} makes it afterwards: move that layer up."
    for layer in whole:
        if bottom in layer.top:
            return f"{text} in this phase; {layer.name!r} makes it, but its include or exclude rules leave it out."
    return f"{text}.{near(bottom, made)}"


def repeated_names(net: Sequence[LayerParameter]) -> Iterator[Finding]:
    """Layers of one name: Caffe loads the weights of both into the first, and shows only one of them."""
    count: dict[str, int] = {}
    for layer in net:
        count[layer.name] = count.get(layer.name, 0) + 1
    for name, times in count.items():
        if times > 1:
            yield Finding(
                "warning", f"layer {name!r}", f"{times} layers have this name; weights reach only the first."
            )
