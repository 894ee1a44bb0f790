"""Check the shapes: impossible ones, ones too large for the memory, and reads past their end."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from caffe_viz.checking.report import Finding, where
from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, measure, own_layers
from caffe_viz.geometry.pooling import pool_of
from caffe_viz.geometry.table import INT_MAX
from caffe_viz.netdef import NetParameter


def machine_memory() -> int:
    """Return the memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def size_findings(
    net: NetParameter, engine: str, *, files: bool
) -> tuple[Geometry | None, tuple[Finding, ...]]:
    """Return the geometry of `net` (None if a shape is impossible), and what is wrong with it on `engine`.

    `files` allows reading the files that data layers name.
    """
    try:
        geometry = measure(net, files=files)
    except InputError as error:
        return None, (Finding("error", "", str(error)),)
    findings = (*_open_inputs(geometry), *_too_large(geometry), *_empty_windows(net, geometry))
    findings += tuple(_renewed(geometry, engine))
    return geometry, (*findings, *(_column_buffers(net, geometry) if engine == "caffe" else ()))


def _open_inputs(geometry: Geometry) -> Iterator[Finding]:
    """Inputs without a shape, as those of an old caffemodel."""
    for layer in geometry.layers:
        if layer.type == "Input" and layer.unknown:
            yield Finding("error", "", layer.unknown)


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


def _renewed(geometry: Geometry, engine: str) -> Iterator[Finding]:
    """Layers in place whose top is another blob than their bottom."""
    for layer in geometry.layers:
        for name in sorted(layer.renews) if not layer.unknown else ():
            place = f"layer {layer.name!r} ({layer.type})"
            shape = " ".join(map(str, layer.shapes[layer.tops.index(name)])) or "one number"
            if engine == "caffe":
                message = f"cannot work in place, {name!r} would become {shape}: give its top another name."
                yield Finding("error", place, message)
            else:
                message = (
                    f"works in place on {name!r}, which real Caffe refuses or computes wrongly; here that "
                    f"is a new blob, {shape}."
                )
                yield Finding("warning", place, message)


def _column_buffers(net: NetParameter, geometry: Geometry) -> Iterator[Finding]:
    """Convolutions in which Caffe lays out more values beside each other than it can count."""
    for layer, found in zip(net.layer, own_layers(net, geometry), strict=True):
        if layer.type not in ("Convolution", "Deconvolution") or found.unknown:
            continue
        # The smaller side of a deconvolution is its bottom.
        side = found.bottom_shapes[0] if layer.type == "Deconvolution" else found.shapes[0]
        weights, param = found.param_shapes[0], layer.convolution_param
        columns = math.prod(weights[1:]) * param.group * math.prod((side or ())[2 - len(weights) :])
        if columns > INT_MAX:
            message = f"Caffe's column buffer would hold {columns:,} values, more than {INT_MAX:,}."
            yield Finding("error", where(layer), message)


def _empty_windows(net: NetParameter, geometry: Geometry) -> Iterator[Finding]:
    """Poolings with a window wholly outside the input: rubbish forward, stray writes backward."""
    for layer, found in zip(net.layer, own_layers(net, geometry), strict=True):
        bottom = found.bottom_shapes[0] if layer.type == "Pooling" else None
        if bottom is None:
            continue
        pool = pool_of(layer, bottom)
        strides, sizes = tuple(w.stride for w in pool.windows), bottom[pool.axis + 1 :]
        places = zip(pool.places, pool.windows, sizes, strict=True)
        if any((n - 1) * w.stride >= size + w.before for n, w, size in places):
            message = (
                f"its last window starts outside the input (stride {strides} over {sizes}): Caffe writes "
                "outside its memory on backward. Use a stride of at most the kernel."
            )
            yield Finding("error", where(layer), message)
