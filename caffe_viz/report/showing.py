"""Values for JSON, and pictures large enough to see."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np

from caffe_viz.figures.blocks import visible
from caffe_viz.files import safe_name
from caffe_viz.network import Array

SIDE, THICK = 224, 24  # pixels that small images are enlarged to, and of the thin side of flat ones


def json_number(value: Any) -> float | None:
    """Round to six digits; None for NaN and infinity, which JSON does not have."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None


def plain(value: Any) -> Any:
    """Return `json_number` of a float, anything else as it is."""
    return json_number(value) if isinstance(value, float) else value


def enlarged(rgb: Any, side: int = SIDE) -> Array:
    """Enlarge a small picture (h, w, 3) to about `side`, with a block for each pixel."""
    array = np.asarray(rgb, np.float32)
    return visible(array, max(1, round(side / max(array.shape[:2]))), THICK)


def stem(path: str) -> str:
    """The name of a file without folder and ending."""
    return PurePath(path).stem


def file_name(name: str, what: str) -> str:
    """Return the name under which a picture is saved, without suffix."""
    return safe_name(f"{name}_{what}"[-100:])
