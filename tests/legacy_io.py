"""The Python files of real Caffe that caffe_viz has replaced, on the scikit-image and NumPy of their days."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from typing import Any

import pytest


def original_io(patch: pytest.MonkeyPatch) -> Any:
    """Caffe's own `io`, with what it expects: imread(as_grey=..), and resize without smoothing."""
    import skimage.io
    from skimage.transform import resize

    io, read = import_module("caffe.original.io"), skimage.io.imread
    patch.setattr(skimage.io, "imread", lambda path, as_grey=False: read(path, as_gray=as_grey))
    patch.setattr(io, "resize", partial(resize, anti_aliasing=False), raising=False)
    return io


def restore(caffe: Any, patch: pytest.MonkeyPatch) -> None:
    """Put Caffe's own `io`, `Classifier` and `Detector` back into its module."""
    patch.setattr(caffe, "io", original_io(patch))
    patch.setitem(sys.modules, "caffe.io", caffe.io)
    for name in ("Classifier", "Detector"):
        patch.setattr(caffe, name, getattr(import_module(f"caffe.original.{name.lower()}"), name))
