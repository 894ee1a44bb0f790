"""What is wrong with the shapes: impossible ones, ones that no memory holds, parameters that cannot be shared."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

from caffe_viz.check.report import Finding
from caffe_viz.check.structure import where
from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, LayerGeometry, measure
from caffe_viz.netdef import LayerParameter, NetParameter

INT_MAX = 2**31 - 1  # Blob::Reshape refuses more elements
FLOAT_BYTES = 4
Pairs = list[tuple[LayerParameter, LayerGeometry]]


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def sizes(net: NetParameter) -> tuple[Geometry | None, tuple[Finding, ...]]:
    """The geometry of `net` (None where a shape is impossible), and what is wrong with it."""
    try:
        geometry = measure(net)
    except InputError as error:
        return None, (Finding("error", "", str(error)),)
    pairs = _pairs(net, geometry)
    findings = (*_too_large(geometry), *_columns(pairs), *_empty_windows(pairs), *_shared(pairs))
    return geometry, findings


def _pairs(net: NetParameter, geometry: Geometry) -> Pairs:
    """Each layer of the message beside its shapes, without the split layers that Caffe adds."""
    own = {layer.name for layer in net.layer if layer.type == "Split"}
    measured = [layer for layer in geometry.layers if layer.type != "Split" or layer.name in own]
    return list(zip(net.layer, measured, strict=True))


def _gigabytes(elements: int) -> str:
    return f"{elements * FLOAT_BYTES / 1e9:.3g} GB"


def _too_large(geometry: Geometry) -> Iterator[Finding]:
    for name, shape in geometry.blobs.items():
        count = math.prod(shape)
        if count > INT_MAX:
            yield Finding(
                "error",
                f"blob {name!r}",
                f"shape {shape} is {_gigabytes(count)}; Caffe takes at most 8.59 GB a blob.",
            )
    for layer in geometry.layers:
        for shape in layer.param_shapes:
            if math.prod(shape) > INT_MAX:
                yield Finding(
                    "error",
                    f"layer {layer.name!r} ({layer.type})",
                    f"parameters of shape {shape} are {_gigabytes(math.prod(shape))}; Caffe takes at most 8.59 GB.",
                )
    needed, there = geometry.blob_bytes + geometry.param_bytes, machine_memory()
    if needed > there:
        yield Finding(
            "error",
            "",
            f"needs {needed / 1e9:.3g} GB of memory ({geometry.blob_bytes / 1e9:.3g} GB for blobs), this machine has "
            f"{there / 1e9:.3g} GB: make the batch or the input smaller.",
        )


def _columns(pairs: Pairs) -> Iterator[Finding]:
    """Convolutions whose buffer of unrolled windows is larger than a blob may be."""
    for layer, measured in pairs:
        if layer.type != "Convolution" or not measured.param_shapes:
            continue
        group = max(1, layer.convolution_param.group)
        count = math.prod(measured.param_shapes[0][1:]) * group * math.prod(measured.top_shapes[0][2:])
        if count > INT_MAX:
            yield Finding(
                "error",
                where(layer),
                f"unrolls its input to {_gigabytes(count)} for each image; Caffe takes at most 8.59 GB.",
            )


def _empty_windows(pairs: Pairs) -> Iterator[Finding]:
    """Poolings with a window wholly outside the input: rubbish forward, a write outside the array backward."""
    for layer, measured in pairs:
        p = layer.pooling_param
        if layer.type != "Pooling" or p.global_pooling or p.pad or p.pad_h or p.pad_w:
            continue
        strides = (p.stride_h or p.stride, p.stride_w or p.stride)
        sides = zip(measured.bottom_shapes[0][2:], measured.top_shapes[0][2:], strides, strict=True)
        if any((out - 1) * stride >= size for size, out, stride in sides):
            yield Finding(
                "error",
                where(layer),
                f"its last window starts outside the input (stride {strides} over {measured.bottom_shapes[0][2:]}): "
                "Caffe then writes outside its memory on backward. Use a stride of at most the kernel.",
            )


def _shared(pairs: Pairs) -> Iterator[Finding]:
    """Too many `param` entries, and parameters shared by name that differ in shape."""
    owners: dict[str, tuple[str, tuple[int, ...]]] = {}
    for layer, measured in pairs:
        shapes = measured.param_shapes
        if len(layer.param) > len(shapes):
            yield Finding(
                "error", where(layer), f"has {len(layer.param)} param entries for {len(shapes)} parameters."
            )
        for spec, shape in zip(layer.param, shapes, strict=False):
            if not spec.name:
                continue
            owner, other = owners.setdefault(spec.name, (layer.name, tuple(shape)))
            permissive = spec.share_mode == spec.PERMISSIVE
            if math.prod(shape) != math.prod(other) if permissive else tuple(shape) != other:
                yield Finding(
                    "error",
                    where(layer),
                    f"shares parameter {spec.name!r} of layer {owner!r}, but its shape is {tuple(shape)}, there {other}.",
                )
