"""What is wrong with the shapes: impossible, too large for the memory, or read past their end."""

from __future__ import annotations

import os
from collections.abc import Iterator

from caffe_viz.checking.report import Finding, where
from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, measure
from caffe_viz.netdef import NetParameter


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def size_findings(net: NetParameter, *, files: bool) -> tuple[Geometry | None, tuple[Finding, ...]]:
    """The geometry of `net` (None where a shape is impossible), and what is wrong with it.

    `files` permits to read those that data layers name.
    """
    try:
        geometry = measure(net, files=files)
    except InputError as error:
        return None, (Finding("error", "", str(error)),)
    return geometry, (*_too_large(geometry), *_empty_windows(net, geometry))


def _too_large(geometry: Geometry) -> Iterator[Finding]:
    """Caffe allocates when a blob is first used, and the system then kills the process."""
    needed, there = geometry.blob_bytes + geometry.param_bytes, machine_memory()
    if needed > there:
        blobs = geometry.blob_bytes / 1e9
        message = (
            f"needs {needed / 1e9:.3g} GB of memory ({blobs:.3g} GB of it for blobs), this machine "
            f"has {there / 1e9:.3g} GB: make the batch or the input smaller."
        )
        yield Finding("error", "", message)


def _empty_windows(net: NetParameter, geometry: Geometry) -> Iterator[Finding]:
    """Poolings with a window wholly outside the input: rubbish forward, stray writes backward."""
    measured = {layer.name: layer for layer in geometry.layers}
    for layer in net.layer:
        p = layer.pooling_param
        if layer.type != "Pooling" or p.global_pooling or p.pad or p.pad_h or p.pad_w:
            continue
        strides = (p.stride_h or p.stride, p.stride_w or p.stride)
        (bottom, *_), (top, *_) = measured[layer.name].bottom_shapes, measured[layer.name].top_shapes
        if bottom is None or top is None:
            continue
        bottom, top = bottom[2:], top[2:]
        if any((n - 1) * stride >= size for n, stride, size in zip(top, strides, bottom, strict=True)):
            message = (
                f"its last window starts outside the input (stride {strides} over {bottom}): Caffe writes "
                "outside its memory on backward. Use a stride of at most the kernel."
            )
            yield Finding("error", where(layer), message)
