"""What a network file would do to the machine: run code, read or write files, delete folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import reduce

from caffe_viz.checking.report import Finding, where
from caffe_viz.netdef import LayerParameter, NetParameter

_MEAN = ("transform_param.mean_file", "reads")
# Layer type -> the fields that name a file, and what Caffe does with it as soon as the net is made or run.
FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "AnnotatedData": (
        ("data_param.source", "reads"),
        ("annotated_data_param.label_map_file", "reads"),
        _MEAN,
    ),
    "Data": (("data_param.source", "reads"), _MEAN),
    "DetectionEvaluate": (("detection_evaluate_param.name_size_file", "reads"),),
    "DetectionOutput": (
        ("detection_output_param.save_output_param.output_directory", "deletes and makes again"),
        ("detection_output_param.save_output_param.label_map_file", "reads"),
        ("detection_output_param.save_output_param.name_size_file", "reads"),
        ("detection_output_param.save_file", "writes"),
    ),
    "HDF5Data": (("hdf5_data_param.source", "reads"),),
    "HDF5Output": (("hdf5_output_param.file_name", "writes"),),
    "ImageData": (("image_data_param.source", "reads"), ("image_data_param.root_folder", "reads"), _MEAN),
    "InfogainLoss": (("infogain_loss_param.source", "reads"),),
    "MemoryData": (_MEAN,),
    "VideoData": (("video_data_param.video_file", "reads"), _MEAN),
    "WindowData": (("window_data_param.source", "reads"), ("window_data_param.root_folder", "reads"), _MEAN),
}


# Fields of FILES that the embedded engine passes over: it computes the same, and saves nothing.
PASSED_OVER = ("detection_output_param.save_output_param.", "detection_output_param.save_file")


def safety_findings(net: NetParameter, engine: str, *, allow_code: bool) -> Iterator[Finding]:
    """Find layers that reach outside the process: errors unless `allow_code`; then, missing files."""
    for layer in net.layer:
        for field, verb in FILES.get(layer.type, ()):
            path = _value(layer, field)
            if path and engine == "torch" and field.startswith(PASSED_OVER):
                message = f"{field} {path!r} is ignored: the embedded engine saves no detections."
                yield Finding("warning", where(layer), message)
            elif path and not allow_code:
                yield Finding(
                    "error",
                    where(layer),
                    f"{verb} {path!r}{_outside(path)} ({field}); refused, unless code and files are allowed "
                    "(--allow-code, allow_code=True).",
                )
            elif path and verb == "reads" and not os.path.exists(path):
                yield Finding("error", where(layer), f"{field} {path!r} does not exist.")


def _value(layer: LayerParameter, field: str) -> str:
    return str(reduce(getattr, field.split("."), layer))


def _outside(path: str) -> str:
    if os.path.isabs(path) or ".." in path.replace("\\", "/").split("/"):
        return ", outside the current folder"
    return ""
