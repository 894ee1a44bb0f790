"""Which part of a net can be computed, on which engine, and what prevents the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from caffe_viz.checking.layers import EMBEDDED, UNUSABLE
from caffe_viz.checking.report import Finding, where
from caffe_viz.errors import InputError, near
from caffe_viz.geometry.custom import ENTERED
from caffe_viz.geometry.opaque import WAYS, why_opaque
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import (
    LayerParameter,
    NetParameter,
    StoredLayer,
    blob_shape,
    ignored,
    of_forks,
    of_this_caffe,
    stored_layers,
)
from caffe_viz.netdef.copying import without_layers
from caffe_viz.netdef.forks import PER_AXIS
from caffe_viz.netdef.net_pb2 import LeftOut, Unknown
from caffe_viz.netdef.syntax import field_advice
from caffe_viz.netdef.unknown import (
    changes_nothing,
    full_name,
    full_text,
    is_quiet,
    message_fields,
    of_template,
    owner_of,
)
from caffe_viz.surgery import ONLY_FORWARD_IN_CAFFE

# Types of forks whose shapes are known, but that no engine computes.
SHAPES_ONLY = frozenset({"EvalDetection", "GaussianYolov3", "MultiStageMeanfield", "MultiStageMeanfieldAU3"})
SHAPES_ONLY |= {"RegionLoss", "Yolov3"}
# The most bottoms and tops that real Caffe takes, where forks take more.
MOST_BOTTOMS = {"DetectionOutput": 4, "SmoothL1Loss": 2}
MOST_TOPS = {"SmoothL1Loss": 1, "SoftmaxWithLoss": 2}
# What the layer types mean whose name forks disagree on, where their fields do not say.
VARIANTS = {
    "BN": ("segnet", "pspnet", "caffe-windows"),
    "Interp": ("deeplab", "training_toolbox_caffe"),
    "Lstm": ("caffe-lstm", "CTPN"),
    "PriorBox": ("TextBoxes", "FaceBoxes", "SSTD"),
}
NAMES_SHOWN = 3


def prepared(
    net: NetParameter,
    weights: NetParameter | Path | str | Sequence[StoredLayer] | None = None,
    variants: Mapping[str, str] | None = None,
) -> NetParameter:
    """Return `net`, or a copy in which layers of forks have weight shapes and variants.

    `variants` has the meaning of layer types whose name several forks use.

    Raises:
        InputError: A variant that its type does not have, or a type that the net does not have.
    """
    chosen = variants or {}
    types = {layer.type for layer in net.layer}
    for kind, name in chosen.items():
        known = VARIANTS.get(kind, ())
        if name not in known:
            raise InputError(f"--variant {kind}={name}: {kind} has no such meaning.{near(name, known)}")
        if kind not in types:
            raise InputError(
                f"--variant {kind}={chosen[kind]}: the net has no layer of that type.{near(kind, types)}"
            )
    foreign = {kind for kind in types if kind not in TABLE or TABLE[kind].fork}
    if not chosen and (weights is None or not foreign):
        return net
    out = NetParameter()
    out.CopyFrom(net)
    read = stored_layers(weights, net) if isinstance(weights, NetParameter | Path | str) else weights or ()
    stored = {layer.name: layer.blobs for layer in read if layer.blobs}
    for layer in out.layer:
        if layer.type in chosen:
            layer.variant = chosen[layer.type]
        if layer.type in foreign and layer.name in stored and not layer.trained:
            for blob in stored[layer.name]:
                layer.trained.add().dim.extend(blob_shape(blob.proto))
    return out


def known_part(net: NetParameter) -> NetParameter:
    """Return `net` (of one phase), or a copy without layers that no engine can compute and their dependents.

    Its `left_out` says why each of those layers and blobs is missing.

    Raises:
        InputError: Nothing is left.
    """
    why: dict[str, str] = {}  # of blobs that cannot be computed
    left: list[LeftOut] = []
    out = without_layers(net)
    for layer in net.layer:
        reason = next((why[name] for name in layer.bottom if name in why), "") or _why_not(layer)
        if not reason:
            out.layer.append(layer)
            for top in layer.top:
                why.pop(top, None)
            continue
        why.update(dict.fromkeys(layer.top, reason))
        left.append(LeftOut(name=layer.name, why=reason))
        left += [LeftOut(name=top, why=reason, is_blob=True) for top in layer.top]
    if not left:
        return net
    if not out.layer:
        raise InputError(f"nothing of the net can be computed: {left[0].why}.")
    out.left_out.extend(left)
    return out


def _why_not(layer: LayerParameter) -> str:
    if layer.type in SHAPES_ONLY:
        return f"{where(layer)} is not computed here, only its shapes are known: {WAYS}"
    return why_opaque(layer)


def caffe_reads(
    given: NetParameter, part: NetParameter, weights: NetParameter | Path | str | None = None
) -> bool:
    """Whether real Caffe can read the files of a net as they are, and computes the same net.

    `given` is the whole prototxt, `part` what is computed of it. A caffemodel may contain fields of a fork.
    """
    meant = any(layer.variant for layer in part.layer)
    foreign = bool(part.left_out) or meant or any(of_forks(given))
    return not foreign and (not isinstance(weights, Path | str) or of_this_caffe(weights))


def why_embedded(net: NetParameter) -> str:
    """Say why real Caffe as built here cannot run `net`, but the embedded engine can; "" if Caffe can.

    A net whose image is a Parameter layer must also go backward.
    """
    gradient = any(layer.type == "Parameter" for layer in net.layer)
    for unknown in net.unknown:
        if not changes_nothing(net, unknown):
            return f"the net has {unknown.text}, a field of a fork"
    for layer in net.layer:
        if layer.type in ENTERED:
            return f"{where(layer)} is registered by {ENTERED[layer.type]}"
        if layer.type in TABLE and TABLE[layer.type].fork:
            return f"{where(layer)} is of a fork"
        if layer.variant:
            return f"{where(layer)} is that of {layer.variant}"
        if len(layer.bottom) > MOST_BOTTOMS.get(layer.type, len(layer.bottom)):
            return f"{where(layer)} has {len(layer.bottom)} bottoms, as in a fork"
        if len(layer.top) > MOST_TOPS.get(layer.type, len(layer.top)):
            return f"{where(layer)} has {len(layer.top)} tops, as in a fork"
        if layer.type in UNUSABLE and layer.type in EMBEDDED:
            return f"{where(layer)}: {UNUSABLE[layer.type]}"
        if gradient and layer.type in ONLY_FORWARD_IN_CAFFE:
            return f"{where(layer)} has no gradient there"
        fields = list(_loud(layer))
        if fields:
            return f"{where(layer)} has {fields[0]}, a field of a fork"
    return ""


def _loud(layer: LayerParameter) -> Iterator[str]:
    """Fields and values that real Caffe has no names for, but those that change nothing."""
    quiet = [x for x in layer.unknown if changes_nothing(layer, x)]
    texts = {full_text(x) for x in quiet}
    yield from (text for text in of_forks(layer) if text not in texts)


def ignored_fields(net: NetParameter) -> tuple[str, ...]:
    """Return one line for each field that is not understood in the computed layers of `net`."""
    layers: dict[str, list[str]] = {_passed_over(unknown): ["the net"] for unknown in ignored(net)}
    for layer in net.layer:
        for unknown in ignored(layer):
            layers.setdefault(_passed_over(unknown), []).append(layer.name)
    lines = []
    for field, names in layers.items():
        more = len(names) - NAMES_SHOWN
        shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
        verb = "have" if len(names) > 1 else "has"
        lines.append(f"{shown} {verb} {field}")
    return tuple(lines)


def _passed_over(unknown: Unknown) -> str:
    said = of_template(unknown)
    name = full_name(unknown)
    return f"{name}: {said}" if said else f"{name}, which is ignored: its fork may compute other values"


def foreign_findings(net: NetParameter, engine: str) -> Iterator[Finding]:
    """Find what real Caffe would refuse to read (errors on "caffe"), or what is ignored here (warnings)."""
    for unknown in net.unknown:
        yield from _of_field(net, "", unknown, engine)
    for layer in net.layer:
        opaque = _why_not(layer)
        if engine == "torch" and opaque:
            yield Finding("warning", "", f"{opaque}. Its tops and what depends on them are unknown.")
            continue
        for unknown in layer.unknown:
            yield from _of_field(layer, where(layer), unknown, engine)
        if engine != "caffe" or layer.type not in TABLE or TABLE[layer.type].fork:
            continue
        if layer.variant:
            message = f"is read as in {layer.variant}; real Caffe computes what BVLC's or SSD's does."
            yield Finding("error", where(layer), message)
        kept = {full_text(x) for x in layer.unknown}
        for field in of_forks(layer):
            if field not in kept:
                yield Finding("error", where(layer), f"{field} is of a fork; real Caffe refuses to read it.")


def _of_field(
    owner: NetParameter | LayerParameter, place: str, unknown: Unknown, engine: str
) -> Iterator[Finding]:
    kind = owner_of(owner, unknown)
    line = f"line {unknown.line}: " if unknown.line else ""
    # Of a known field it is the value that is unknown.
    known = unknown.name in message_fields(kind)
    name, hint = (unknown.text, "") if known else (full_name(unknown), field_advice(kind, unknown.name))
    if known and f"{kind}.{unknown.name}" in PER_AXIS and engine == "caffe":
        yield Finding("error", place, f"{line}real Caffe takes {unknown.name} once and refuses the file.")
        return
    if engine == "caffe":
        message = f"{line}real Caffe knows no {name} and refuses to read the file"
        yield Finding("error", place, f"{message}.{hint}")
    elif said := of_template(unknown):
        yield Finding("warning", place, f"{line}{name}: {said}.")
    elif not is_quiet(kind, unknown.name):
        message = f"{line}{name} is not understood and ignored: its fork may compute other values"
        yield Finding("warning", place, f"{message}.{hint}")
