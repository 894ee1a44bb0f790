"""Encode answers for the browser: JSON, PNG or JPEG, and the file with the data."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.images import jpeg_bytes, png_bytes
from caffe_viz.report.part_cache import Figure
from caffe_viz.server.messages import Answer, EncodedAnswer, Picture

FAST = 1  # how hard zlib tries: somebody waits for the picture


def encode(answer: Answer, notes: Sequence[str], *, data: bool = False) -> EncodedAnswer:
    """Encode the facts, including the `notes`, and the pictures or the `data`."""
    facts = json.dumps(_plain({**answer.facts, "notes": list(notes)}), allow_nan=False)
    ending = "html" if answer.page else "npz" if answer.arrays else ""
    if data:
        return EncodedAnswer(facts, data=answer.page or npz(answer.arrays), ending=ending)
    return EncodedAnswer(facts, tuple(map(_picture, answer.figures)), ending=ending)


def npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of a .npz with any names; it contains no time stamps."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()


def _picture(figure: Figure) -> Picture:
    rgb = np.asarray(figure.rgb)
    data = jpeg_bytes(rgb) if figure.photo else png_bytes(rgb, FAST)
    height, width = rgb.shape[:2]
    return Picture(data, "jpeg" if figure.photo else "png", width, height, figure.alt, figure.name)


def _plain(value: Any) -> Any:
    """Convert to JSON values, which include neither arrays nor NaN."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
