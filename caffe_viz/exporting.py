"""Export a net to a file that loads without Caffe and without this package: torch's format, or ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe_viz.backend import torch_module
from caffe_viz.errors import CaffeVizWarning, InputError, near
from caffe_viz.files import need_folder, write_whole

KINDS = ("torch", "onnx")


def export(
    net: Any, path: str | Path, to: str = "onnx", *, blobs: Sequence[str] = (), batch: int | None = None
) -> Path:
    """Export a net from `load_net`, of either engine, with its current parameters; returns the path.

    Args:
        net: The net.
        path: The file to write.
        to: "torch", an exported program for `torch.export.load`, or "onnx".
        blobs: What it returns. Default: the net's outputs. Inputs and outputs have Caffe's names.
        batch: The number of images it takes. Default: any number; if a layer fixes it, the net's own number,
            with a CaffeVizWarning.

    Raises:
        InputError: No such format or blob, or a layer that cannot be exported; names it.
        RunError: The format needs a package that is not installed, or the file cannot be written.

    Example::

        from caffe_viz.exporting import export

        export(cv.load_net("deploy.prototxt", "net.caffemodel"), "net.pt2", "torch", blobs=["prob", "conv3"])
    """
    if to not in KINDS:
        raise InputError(f"format {to!r} is unknown.{near(to, KINDS)}")
    if batch is not None and batch < 1:
        raise InputError(f"a batch of {batch} images: give 1 or more.")
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file to write.")
    need_folder(path.parent)
    module = torch_module(net)
    from caffe_viz.engine import exporting as engine

    made = engine.to_torch if to == "torch" else engine.to_onnx
    data, dynamic = made(module, tuple(blobs) or module.output_names, batch)
    if batch is None and not dynamic:
        line = f"{path} takes the net's own number of images only: a layer fixes it; batch chooses another."
        warnings.warn(line, CaffeVizWarning, stacklevel=2)
    write_whole(path, data)
    return path
