"""Whether a blob holds values before or after an activation function."""

from __future__ import annotations

from caffe_viz.netdef import NetParameter

ACTIVATION_TYPES = ("ReLU", "PReLU", "ELU", "ReLU6", "Sigmoid", "TanH", "BNLL")


def relu_state(net: NetParameter, blob: str) -> str:
    """Return what `blob` holds after a full forward: "post-ReLU (relu1, in place)", "pre-ReLU (..)" or ""."""
    for layer in reversed(net.layer):
        if layer.type in ACTIVATION_TYPES and blob in layer.top:
            return f"post-{layer.type} ({layer.name}{', in place' if blob in layer.bottom else ''})"
    before = [x for x in net.layer if x.type in ACTIVATION_TYPES and blob in x.bottom]
    return f"pre-{before[0].type} (before {before[0].name})" if before else ""
