"""Extract blobs of many images, as rows.

The rows are collected and then written as one file (`FileExtraction`), or written where they are computed
(`StoreExtraction`).
"""

from __future__ import annotations

import os
from pathlib import Path

from caffe_viz.errors import InputError
from caffe_viz.extraction.extraction import POOLS, Extraction, Rows
from caffe_viz.extraction.file_extraction import FileExtraction
from caffe_viz.extraction.formats import FORMATS, need_format, write
from caffe_viz.extraction.store_extraction import StoreExtraction
from caffe_viz.files import is_address, shown
from caffe_viz.network import PathLike

__all__ = [
    "FORMATS",
    "POOLS",
    "Extraction",
    "FileExtraction",
    "Rows",
    "StoreExtraction",
    "begin",
    "need_format",
    "write",
]


def begin(extraction: Extraction, output: PathLike) -> FileExtraction | StoreExtraction:
    """Start with the file `output`, or the store at that address, by its suffix; or continue it.

    Raises:
        InputError, RunError: As `FileExtraction` or `StoreExtraction`.
    """
    text = os.fspath(output)
    if text.lower().rstrip("/").endswith(".zarr"):
        return StoreExtraction(extraction, text)
    if is_address(text):
        raise InputError(
            f"{shown(text)}: files are written on this machine only; a store at an address ends in .zarr."
        )
    return FileExtraction(extraction, Path(text))
