"""`set_mode_gpu` and `set_device` for the Caffe that `make caffe` builds, whose own end the process."""

from __future__ import annotations

from typing import NoReturn

from caffe_viz.errors import InputError


def set_mode_gpu() -> NoReturn:
    """Not available. Raises InputError."""
    raise _no_gpu()


def set_device(device: int) -> NoReturn:
    """Not available. Raises InputError."""
    raise _no_gpu()


def _no_gpu() -> InputError:
    return InputError(
        "this Caffe is built for the CPU: use caffe.set_mode_cpu(), or caffe_viz's embedded engine, "
        "python -m caffe_viz.run script.py."
    )
