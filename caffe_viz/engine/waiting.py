"""Wait until a net has finished its work, before a clock is read."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from caffe_viz.engine.net import Net


def wait(net: Net, index: int) -> None:
    """Return once layer `index` is done: gradients that it has put off too, and all work of the device."""
    net.layers[index].settle()
    synchronize(net.device)


def send(net: Net, blobs: Iterable[str]) -> None:
    """Move what was written into arrays of `blobs` to the device, which a layer would do otherwise."""
    for name in blobs:
        net.blobs[name].tensor()
        net.blobs[name].gradient()
    synchronize(net.device)


def synchronize(device: torch.device) -> None:
    """Wait for `device`; what it is given runs beside Python, but on the CPU."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type != "cpu":
        getattr(torch, device.type).synchronize(device)
