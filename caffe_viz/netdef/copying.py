"""Copy parts of messages by field name."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from caffe_viz.netdef.net_pb2 import LayerParameter, NetParameter


def assign(message: Message, field: str, value: Any) -> None:
    """Set `field` of `message`: a scalar, a message, or a repeated field, to which one value is added."""
    current = getattr(message, field)
    if hasattr(current, "extend"):
        current.extend(value if hasattr(value, "extend") else [value])
    elif hasattr(current, "CopyFrom"):
        current.CopyFrom(value)
    else:
        setattr(message, field, value)


def without_layers(net: NetParameter) -> NetParameter:
    """Copy everything except the layers, whose weights would take most of the time and memory."""
    out = NetParameter()
    for field, value in net.ListFields():
        if field.name not in ("layers", "layer"):
            assign(out, field.name, value)
    return out


def without_blobs(layer: LayerParameter) -> LayerParameter:
    """Copy everything except the weights."""
    out = LayerParameter()
    for field, value in layer.ListFields():
        if field.name != "blobs":
            assign(out, field.name, value)
    return out
