"""Check the layers and their connections, before any shape is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from google.protobuf.message import Message

from caffe_viz.checking import layers as known
from caffe_viz.checking.in_place import in_place_findings
from caffe_viz.checking.report import Finding, where
from caffe_viz.errors import InputError, near
from caffe_viz.geometry.batch_norms import mixes_images
from caffe_viz.geometry.custom import ENTERED
from caffe_viz.geometry.rules import TABLE
from caffe_viz.netdef import LayerParameter, NetParameter, in_other_states, phase_of
from caffe_viz.surgery.in_place import SHARE, holds

CUDNN = 2  # of every layer's enum Engine


def structure_findings(net: NetParameter, engine: str) -> Iterator[Finding]:
    """Find defects in the layers of `net`, which are those of one state."""
    if not net.layer:
        yield Finding("error", "", _none_left(net))
    yield from _connections(net)
    yield from in_place_findings(net, engine)
    for layer in net.layer:
        for message in (*_type(layer, engine), *_options(layer, engine)):
            yield Finding("error", where(layer), message)
        if engine == "caffe":
            yield from _of_running(net, layer)
        for message in (
            *_batch_statistics(net, layer),
            *(_unknown_fillers(layer) if engine == "torch" else ()),
        ):
            yield Finding("warning", where(layer), message)
    for name, times in Counter(layer.name for layer in net.layer).items():
        if times > 1:
            yield Finding(
                "warning", f"layer {name!r}", f"{times} layers have this name; weights reach only one."
            )


def _batch_statistics(net: NetParameter, layer: LayerParameter) -> Iterator[str]:
    if phase_of(net) == "TEST" and mixes_images(layer):
        yield (
            "takes the statistics of the batch that it is given, so that an image's answer depends on the "
            "others: commands run one image at a time (use_global_stats: true takes what training measured)."
        )


# --- one layer -------------------------------------------------------------------------


def _type(layer: LayerParameter, engine: str) -> Iterator[str]:
    """Why an engine cannot make a layer of this type; what no engine knows, the embedded one leaves out."""
    embedded = engine == "torch"
    if layer.type in ENTERED:
        if not embedded:
            yield f"its type is registered by {ENTERED[layer.type]}, which only the engine torch computes."
    elif layer.type in known.UNUSABLE and not (embedded and layer.type in known.EMBEDDED):
        only = " Only the engine torch computes it." if layer.type in known.EMBEDDED else ""
        yield f"cannot be used: {known.UNUSABLE[layer.type]}.{only}"
    elif embedded:
        return
    elif layer.type not in TABLE:
        alike = near(layer.type, TABLE) if get_close_matches(layer.type, TABLE) else ""
        yield f"unknown layer type {layer.type!r}.{alike}"
    elif TABLE[layer.type].fork:
        yield "its type is of a fork: real Caffe as built by `make caffe` has no such type."


def need_no_abort(net: NetParameter, engine: str) -> None:
    """Raise InputError if real Caffe would abort when all of `net` runs forward and backward."""
    for layer in net.layer if engine == "caffe" else ():
        for finding in _of_running(net, layer):
            raise InputError(str(finding))


def need_way_back(net: NetParameter, engine: str) -> None:
    """Raise InputError if real Caffe would abort when all gradients are computed."""
    for layer in net.layer if engine == "caffe" else ():
        for finding in _without_gradient(net, layer):
            raise InputError(str(finding))


def _of_running(net: NetParameter, layer: LayerParameter) -> Iterator[Finding]:
    """What real Caffe loads, but aborts on if it is run in one way or another."""
    if layer.type == "MemoryData":
        message = "forward aborts unless net.set_input_arrays(data, labels) was called before."
        yield Finding("warning", where(layer), message)
    yield from _without_gradient(net, layer)


def _without_gradient(net: NetParameter, layer: LayerParameter) -> Iterator[Finding]:
    if net.force_backward and layer.type in known.NO_BACKWARD:
        message = (
            "has no gradient, and force_backward asks for one: a backward() through it aborts, though "
            "forward() and a backward from a layer before it are fine."
        )
        yield Finding("warning", where(layer), message)


def _options(layer: LayerParameter, engine: str) -> Iterator[str]:
    """Options that the CPU build refuses, whatever the shapes are."""
    asked = known.ENGINES.get(layer.type)
    if engine == "caffe" and asked and getattr(layer, asked).engine == CUDNN:
        yield "engine: CUDNN is not in a CPU build of Caffe, which aborts: remove the line."
    if engine == "caffe" and layer.type == "SoftmaxWithLoss" and len(layer.top) > 1:
        # Its inner Softmax inherits the loss weights, whose number then fits neither of the two layers.
        yield "with two tops this Caffe aborts: take the probabilities from a Softmax layer beside it."
    if layer.type == "Pooling" and layer.pooling_param.pool == layer.pooling_param.STOCHASTIC:
        yield "STOCHASTIC pooling has no CPU code in Caffe: forward aborts. Use MAX or AVE."
    if not layer.blobs:
        unknown = _unknown_fillers(layer) if engine == "caffe" else ()
        yield from (*unknown, *(text for filler, name in _fillers(layer) for text in _filler(filler, name)))


def _unknown_fillers(layer: LayerParameter) -> Iterator[str]:
    for filler, name in _fillers(layer):
        if filler.type not in known.FILLERS:
            advice = "what it makes is not known, so the values must come from a caffemodel"
            yield f"{name}: unknown filler {filler.type!r}; {advice}.{near(filler.type, known.FILLERS)}"


def _fillers(message: Message, path: str = "") -> Iterator[tuple[Any, str]]:
    """Fillers by their path: each runs as soon as Caffe makes the net, even where weights are loaded then."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.name == "blobs":
            continue
        if descriptor.name == "bias_filler" and not getattr(message, "bias_term", True):
            continue
        name = f"{path}.{descriptor.name}" if path else descriptor.name
        parts: Iterable[Any] = [value] if isinstance(value, Message) else value
        for part in parts:
            if descriptor.message_type.name == "FillerParameter":
                yield part, name
            else:
                yield from _fillers(part, name)


def _filler(filler: Any, name: str) -> Iterator[str]:
    """Settings of a known filler that abort."""
    kind = filler.type
    if kind == "gaussian" and not filler.std > 0:
        yield f"{name}: std {filler.std:g} of a gaussian filler must be above 0."
    if kind == "uniform" and filler.min > filler.max:
        yield f"{name}: min {filler.min:g} of a uniform filler is above its max {filler.max:g}."
    if kind in known.FILLERS and kind != "gaussian" and filler.sparse != -1:
        yield f"{name}: sparse belongs to gaussian fillers, not to {kind}."


# --- connections -----------------------------------------------------------------------


@dataclass
class _Version:
    """A blob between two layers that write it, the layers that read it, and those that read its memory."""

    readers: list[LayerParameter] = field(default_factory=list)
    memory: list[LayerParameter] = field(default_factory=list)
    is_loss: bool = False


def _none_left(net: NetParameter) -> str:
    text = "no layer is left by the include and exclude rules in this state"
    others = [one for one in net.other_states if not one.is_blob]
    return f"{text}; {others[0].name!r} would be {others[0].why}." if others else f"{text}."


def _connections(net: NetParameter) -> Iterator[Finding]:
    """Bottoms that nobody makes, tops that two layers make, in-place layers that spoil another's input."""
    blobs: dict[str, _Version] = {}
    in_place: list[tuple[LayerParameter, str, _Version]] = []
    for index, layer in enumerate(net.layer):
        for bottom in layer.bottom:
            if bottom in blobs:
                blobs[bottom].readers.append(layer)
                blobs[bottom].memory += [] if holds(SHARE, layer) else [layer]
            else:
                yield Finding("error", where(layer), _unknown(bottom, blobs, index, net))
        for j, top in enumerate(layer.top):
            if j < len(layer.bottom) and layer.bottom[j] == top:
                if top in blobs:
                    in_place.append((layer, top, blobs[top]))
            elif top in blobs:
                yield Finding(
                    "error", where(layer), f"another layer already makes the top {top!r}: rename one."
                )
            blobs[top] = _Version(is_loss=j < len(layer.loss_weight) and layer.loss_weight[j] != 0)
            if layer.bottom and holds(SHARE, layer) and layer.bottom[0] in blobs:
                blobs[top].memory = blobs[layer.bottom[0]].memory
    for layer, top, version in in_place:
        others = [repr(one.name) for one in version.readers if one is not layer]
        others += ["the loss"] * version.is_loss
        if others:
            message = (
                f"works in place on {top!r}, which {', '.join(others)} reads too: give its top another name."
            )
            yield Finding("error", where(layer), message)
        beside = {one.name for one in version.memory} - {one.name for one in version.readers}
        if beside:
            names = ", ".join(map(repr, sorted(beside)))
            message = (
                f"works in place on {top!r}, in memory that {names} reads too: give its top another name."
            )
            yield Finding("warning", where(layer), message)


def _unknown(bottom: str, made: dict[str, _Version], index: int, net: NetParameter) -> str:
    text = f"no layer before it makes its bottom {bottom!r}"
    for layer in net.layer[index:]:
        if bottom in layer.top:
            return f"{text}; {layer.name!r} makes it afterwards: move that layer up."
    if others := in_other_states(net, bottom):
        return f"{text}; {others}."
    return f"{text}.{near(bottom, made)}"
