"""The preprocessing as users write it: the keys of preprocess.toml, which are also options of commands."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from caffe_viz.errors import InputError, near
from caffe_viz.images.label_files import read_labels
from caffe_viz.images.labels import Labels
from caffe_viz.images.mean import Mean, read_mean
from caffe_viz.images.pixels import RED_GREEN_BLUE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PIXEL_RANGE = 255


@dataclass(frozen=True)
class Settings:
    """The fields of `Preprocess` that were given, also `raw_scale`, and where; the others keep their default.

    A `mean` may still be the `File` that holds it.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def but(self, fields: Mapping[str, Any], source: str) -> Settings:
        """Return them with some fields replaced."""
        if not fields:
            return self
        return Settings({**self.fields, **fields}, f"{self.source}; {source}" if self.source else source)

    def settled(self) -> dict[str, Any]:
        """Return fields of `Preprocess`: the mean read, and all values in units of pixels 0..255.

        pycaffe's Transformer computes (pixels 0..1 * raw_scale - mean) * input_scale, thus (pixels 0..255 -
        mean * 255 / raw_scale) * input_scale * raw_scale / 255. The mean of an image file is in 0..255
        already. A mean image belongs to whole images: without `resize`, images are warped to its size.

        Raises:
            InputError: The file of a mean cannot be read, or GRAY has no mean.
        """
        out = dict(self.fields)
        order, mean = out.get("channel_order", "BGR"), out.get("mean")
        raw = out.pop("raw_scale", PIXEL_RANGE) / PIXEL_RANGE
        if isinstance(mean, File):
            out["mean"] = mean.read(RED_GREEN_BLUE.get(order, (0,)))
        if mean is not None and not (isinstance(mean, File) and mean.is_picture):
            out["mean"] = out["mean"] * (1 / raw)
        elif mean is None and order == "GRAY":
            raise InputError("mean is missing: GRAY needs one, such as mean = 0.")
        if raw != 1:
            out["scale"] = out.get("scale", 1.0) * raw
        if mean is not None and "resize" not in out and (size := out["mean"].size) is not None:
            out["resize"] = size[0] if size[0] == size[1] else None
        return out


class File(NamedTuple):
    """A file that a setting names, and where it is named, for errors."""

    path: Path
    where: str

    @property
    def is_picture(self) -> bool:
        """Whether it is an image, whose units are known."""
        return self.path.suffix.lower() not in ARRAYS

    def read(self, order: tuple[int, ...]) -> Mean:
        """Read the mean. Raises InputError, with where the file is named, if it holds none."""
        try:
            return read_mean(self.path, order)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from None


ARRAYS = (".binaryproto", ".npy")


def read_toml(path: str | Path) -> Settings:
    """Read a preprocess.toml; files that it names are relative to it.

    Raises:
        InputError: A value is wrong; names the file and the key.
    """
    path = Path(path)
    try:
        table = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {error}.") from None
    fields = {}
    for name, value in table.items():
        if name not in KEYS:
            hint = near(name, KEYS)
            meant = next(
                (f" That is {KEYS[key].expected}." for key in KEYS if hint.endswith(f"mean {key!r}?")), ""
            )
            raise InputError(f"{path}: unknown key {name!r}.{hint}{meant}")
        fields[name] = checked(name, value, f"{path}: {name} = {value!r}", path.parent)
    return Settings(fields, str(path))


def checked(name: str, value: Any, where: str, folder: Path) -> Any:
    """Return the field that the value of a key becomes; `where` it was given, and the `folder` of its files.

    Raises:
        InputError: Another kind of value is expected.
    """
    key = KEYS[name]
    if not key.fits(value):
        raise InputError(f"{where}: {key.expected} is expected.")
    return key.convert(value, where, folder)


def is_number(value: object, kind: type = Real) -> bool:
    """Whether a value is a finite number of a kind."""
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]


def _is_mean(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(is_number, value))
    return is_number(value) or (isinstance(value, str) and bool(value))


def _mean(value: Any, where: str, folder: Path) -> Mean | File:
    return File(folder / value, where) if isinstance(value, str) else Mean.of(value)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} cannot be read: it is not UTF-8 text.") from None


def _labels(value: str | Mapping[str, str], where: str, folder: Path) -> Labels:
    files = {"": value} if isinstance(value, str) else value
    for file in files.values():
        if not (folder / file).is_file():
            raise InputError(f"{where}: there is no file {folder / file}.")
    found = {head: read_labels(folder / file) for head, file in files.items()}
    return found[""] if isinstance(value, str) else Labels(heads=found)


def _is_labels(value: object) -> bool:
    files = value.values() if isinstance(value, dict) else [value]
    return bool(files) and all(isinstance(file, str) and file for file in files)


class Key(NamedTuple):
    """What a key accepts, also in words, and the conversion of its value: `convert(value, where, folder)`."""

    fits: Callable[[Any], bool]
    expected: str
    convert: Callable[[Any, str, Path], Any]


KEYS = {
    "channel_order": Key(lambda v: isinstance(v, str), '"BGR", "RGB" or "GRAY"', lambda v, *_: v),
    "mean": Key(
        _is_mean, "a number, a list of numbers or the name of a file (.binaryproto, .npy, an image)", _mean
    ),
    "scale": Key(is_number, "a number", lambda v, *_: float(v)),
    "raw_scale": Key(lambda v: is_number(v) and v != 0, "a number other than 0", lambda v, *_: float(v)),
    "resize": Key(
        lambda v: v is False or is_number(v, Integral), "a whole number or false", lambda v, *_: v or None
    ),
    "antialias": Key(lambda v: isinstance(v, bool), "true or false", lambda v, *_: v),
    "labels": Key(
        _is_labels,
        'the name of a file, or one for each answer, as { age = "ages.txt" },',
        _labels,
    ),
}
