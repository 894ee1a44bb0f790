"""Save and load frozen results of arrays, names and numbers as npz."""

from __future__ import annotations

import io
import zipfile
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.files import write_whole

T = TypeVar("T")


def save(result: Any, path: str | Path) -> None:
    """Write the dataclass `result`, whole or not at all."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{f.name: getattr(result, f.name) for f in fields(result)})
    write_whole(path, stream.getvalue())


def load(cls: type[T], path: str | Path) -> T:
    """Read what `save` wrote of a `cls`.

    Raises:
        InputError: The file is missing or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            own = fields(cls)  # type: ignore[arg-type]  # T is a dataclass, which no bound can say
            known = [f.name for f in own if f.name in saved or f.default is MISSING]
            return cls(**{name: _value(saved[name]) for name in known})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no saved {cls.__name__.lower()}: {str(error).rstrip('.')}.") from None


def _value(array: Any) -> Any:
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if array.dtype.kind in "Ui" or not array.size else array
