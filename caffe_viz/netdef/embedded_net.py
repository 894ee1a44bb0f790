"""The net inside a caffemodel, as the prototxt from which it was made."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.text_format import ParseError

from caffe_viz.errors import InputError
from caffe_viz.netdef.blobs import blob_shape
from caffe_viz.netdef.copying import without_layers
from caffe_viz.netdef.hdf5 import is_hdf5
from caffe_viz.netdef.headers import LAYERS, blob_header, layer_headers, need_text
from caffe_viz.netdef.net_pb2 import (
    TEST,
    TRAIN,
    BlobProto,
    LayerParameter,
    NetParameter,
    Unknown,
    V1LayerParameter,
)
from caffe_viz.netdef.sniffing import describe_format, head
from caffe_viz.netdef.text import elements, is_repeated
from caffe_viz.netdef.unknown import OWN, owner_of
from caffe_viz.netdef.upgrade import upgrade
from caffe_viz.netdef.wire import LENGTH, Bytes, NotPlain, wire_fields

HEAD = 4096  # bytes of a file that tell text from a message
NO_TEXT = frozenset(range(32)) - frozenset(b"\t\n\v\f\r")
UTF16 = (b"\xff\xfe", b"\xfe\xff")
HEADER = ("name", "input", "input_dim", "input_shape", "force_backward", "debug_info")
UNNAMED = "Unknown"  # the type of an old layer whose number a fork alone can name
# The axes of first blobs that legacy shapes fill up with ones; all others have one.
AXES = {"Convolution": 4, "Deconvolution": 4, "InnerProduct": 2, "Embed": 2}


def is_binary(path: str | Path) -> bool:
    """Whether a file is a message, such as a caffemodel, or other binary data, not text."""
    begin = head(path, HEAD)
    return not begin.startswith(UTF16) and not NO_TEXT.isdisjoint(begin)


def own_weights(path: str | Path) -> Path | None:
    """Return the weights of a net given by a caffemodel: that file; None for a prototxt."""
    return Path(path) if is_binary(path) else None


def embedded_net(path: str | Path) -> NetParameter:
    """Return the net in a caffemodel of any age, as V2 without blobs; their values are not read.

    Caffe stores the layers of one phase, with the Split layers that it inserted: these are removed. The phase
    is in the net's `state`, the shapes of the layers' blobs in their `trained`. Inputs of which the file has
    only the names have no shape. Of fields of a fork, the numbers are kept.

    Raises:
        InputError: The file is not a caffemodel, or has weights but no net.
    """
    path = Path(path)
    if is_hdf5(path):
        raise InputError(f"{path} is HDF5, which holds weights and no net: give its prototxt.")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            net = _light(data)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except (NotPlain, DecodeError, ValueError):
        raise _no_net(path) from None
    need_text(net, str(path))
    names = list(net.input)
    net = upgrade(net, str(path), weights=True)
    if not any(layer.type for layer in net.layer):
        if any(layer.blobs for layer in net.layer):
            raise InputError(f"{path} holds weights by the names of layers, and no net: give its prototxt.")
        raise _no_net(path)
    out = without_layers(net)
    made = {top for layer in net.layer for top in layer.top}
    if tops := [name for name in names if name not in made]:
        out.layer.add(name="input", type="Input", top=tops)
    for layer in net.layer:
        layer.type = layer.type or UNNAMED
        for i, blob in enumerate(layer.blobs):
            layer.trained.add().dim.extend(_shape(layer.type, i, blob))
        layer.ClearField("blobs")
    out.layer.extend(_without_splits(net.layer))
    _tell_state(out)
    return out


def _no_net(path: Path) -> InputError:
    what = describe_format(path.read_bytes())
    return InputError(
        f"{path} is binary, so it is not a prototxt, and it is not a caffemodel either: {what}."
    )


def _light(data: Bytes) -> NetParameter:
    """The message in `data`, with blobs that have shapes and no values."""
    net = NetParameter()
    header = {NetParameter.DESCRIPTOR.fields_by_name[name].number for name in HEADER}
    places = []
    for field in wire_fields(data, 0, len(data)):
        if field.number in header:
            with suppress(DecodeError):  # a fork means another field by this number
                net.MergeFromString(data[field.first : field.end])
        elif field.number in LAYERS:
            places.append(field)
    for (layer, blobs), place in zip(layer_headers(data), places, strict=True):
        layer.blobs.extend(blob_header(data, blob) for blob in blobs)
        kept = [] if isinstance(layer, V1LayerParameter) else list(filter(_is_sound, layer.unknown))
        for name in OWN:
            if name in layer.DESCRIPTOR.fields_by_name:
                layer.ClearField(name)
        layer.unknown.extend([*kept, *_nameless(data, layer.DESCRIPTOR, place.start, place.end)])
        if isinstance(layer, V1LayerParameter):
            net.layers.append(layer)
        else:
            if layer.HasField("python_param"):
                layer.python_param.ClearField("permit")
            net.layer.append(layer)
    return net


def _is_sound(unknown: Unknown) -> bool:
    """Whether the text that a file of ours keeps is one field that belongs in a layer."""
    try:
        owner_of(LayerParameter(), unknown)
        found = elements(unknown.text)
    except (KeyError, AttributeError, ParseError):
        return False
    return [(x.name, x.start, x.end) for x in found] == [(unknown.name, 0, len(unknown.text))]


def _nameless(data: Bytes, schema: Any, start: int, end: int, path: str = "") -> Iterator[Unknown]:
    """The fields of a layer that only a fork knows; a message tells their numbers, and no names."""
    seen = Counter[str]()
    for field in wire_fields(data, start, end):
        known = schema.fields_by_number.get(field.number)
        if known is None:
            name = f"field {field.number}"
            yield Unknown(path=path, name=name, text=f"# {name} of a fork, which a caffemodel does not name")
        elif known.message_type is not None and known.name != "blobs" and field.kind == LENGTH:
            name = f"{known.name}[{seen[known.name]}]" if is_repeated(known) else known.name
            seen[known.name] += 1
            inner = f"{path}.{name}" if path else name
            with suppress(NotPlain):
                yield from _nameless(data, known.message_type, field.start, field.end, inner)


def _shape(kind: str, place: int, blob: BlobProto) -> tuple[int, ...]:
    """The shape of a blob, without the ones that old files fill it up with."""
    shape = blob_shape(blob)
    if blob.HasField("shape") or len(shape) != 4:
        return shape
    axes = AXES.get(kind, 1) if place == 0 else 1
    while len(shape) > axes and shape[0] == 1:
        shape = shape[1:]
    return shape


def _without_splits(layers: Sequence[LayerParameter]) -> Iterator[LayerParameter]:
    """Layers that read what Caffe's Splits copied for them, and have the loss weights that went there."""
    copied: dict[str, str] = {}
    makers: dict[str, LayerParameter] = {}
    kept = []
    for layer in layers:
        for i, bottom in enumerate(layer.bottom):
            layer.bottom[i] = copied.get(bottom, bottom)
        if not _is_inserted(layer, makers):
            makers.update(dict.fromkeys(layer.top, layer))
            kept.append(layer)
            continue
        (blob,) = layer.bottom
        copied.update(dict.fromkeys(layer.top, blob))
        if any(layer.loss_weight):
            maker = makers[blob]
            maker.loss_weight.extend([0.0] * (len(maker.top) - len(maker.loss_weight)))
            maker.loss_weight[list(maker.top).index(blob)] = layer.loss_weight[0]
    return iter(kept)


def _is_inserted(layer: LayerParameter, makers: dict[str, LayerParameter]) -> bool:
    """Whether Caffe has put in a Split (insert_splits.cpp), by the names that it gives."""
    if layer.type != "Split" or len(layer.bottom) != 1:
        return False
    blob = layer.bottom[0]
    maker = makers.get(blob)
    source = "input" if maker is None else maker.name
    number = layer.name.removeprefix(f"{blob}_{source}_").removesuffix("_split")
    named = number.isdecimal() and layer.name == f"{blob}_{source}_{number}_split"
    return named and list(layer.top) == [f"{layer.name}_{i}" for i in range(len(layer.top))]


def _tell_state(net: NetParameter) -> None:
    """Say in which state all layers are there: their rules were met.

    Caffe has written its phase into each layer; where no rule needs it, any phase is meant.
    """
    phases = Counter(layer.phase for layer in net.layer if layer.HasField("phase"))
    for phase, _ in phases.most_common(1):
        for layer in net.layer:
            if layer.phase == phase:
                layer.ClearField("phase")
    wanted = [rule.phase for layer in net.layer for rule in layer.include[:1] if rule.HasField("phase")]
    hated = [rule.phase for layer in net.layer for rule in layer.exclude if rule.HasField("phase")]
    if TRAIN in wanted or TEST in hated:
        net.state.phase = TRAIN
    for layer in net.layer:
        met = [x for x in layer.include if not x.HasField("phase") or x.phase == net.state.phase]
        if met and all(x.stage for x in met):
            net.state.stage.extend(stage for stage in met[0].stage if stage not in net.state.stage)
        if met and (least := min(x.min_level for x in met)) > net.state.level:
            net.state.level = least
