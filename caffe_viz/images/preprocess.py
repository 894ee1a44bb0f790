"""How a network's training turned images into its input blob, as preprocess.toml beside it says."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.errors import InputError, near
from caffe_viz.images.decoding import LUMA
from caffe_viz.images.pixels import Floats, display_rgb, resized

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Channel order of a blob -> the blob's channel that is red, green, blue.
RED_GREEN_BLUE = {"BGR": (2, 1, 0), "RGB": (0, 1, 2), "GRAY": (0, 0, 0)}


@dataclass(frozen=True)
class Preprocess:
    """How a network's training turned images into its input blob: (pixels 0..255 - mean) * scale.

    channel_order: "BGR", "RGB" or "GRAY", of the blob; mean: in 0..255 units, one number or one per
    channel in the blob's order; scale: applied after the mean; resize: side of the square that an image
    is warped to before the centre crop to the network's input (None: warped straight to the input);
    labels: names of the classes; antialias: smooth before shrinking, as today's libraries do and Caffe did
    not. The defaults are those of CaffeNet in the Caffe tutorial.

    Raises:
        InputError: a value that makes no sense, by the name of its field.
    """

    channel_order: str = "BGR"
    mean: tuple[float, ...] = (104.007, 116.669, 122.679)
    scale: float = 1.0
    resize: int | None = 256
    labels: tuple[str, ...] = ()
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.channel_order not in RED_GREEN_BLUE:
            name = str(self.channel_order)
            raise InputError(f"channel_order is {name!r}.{near(name, RED_GREEN_BLUE)}")
        if not all(map(_is_number, self.mean)):
            raise InputError(f"mean is {self.mean!r}: numbers in 0..255 units are expected.")
        if len(self.mean) not in (1, self.channels):
            expected = "one" if self.channels == 1 else f"one or {self.channels}"
            raise InputError(f"mean has {len(self.mean)} numbers; {self.channel_order} takes {expected}.")
        if not _is_number(self.scale) or self.scale == 0:
            raise InputError(f"scale is {self.scale!r}: a number other than 0 is expected.")
        if self.resize is not None and not (_is_number(self.resize, Integral) and self.resize > 0):
            raise InputError(f"resize is {self.resize!r}: a number of pixels, 1 or more, is expected.")

    @property
    def channels(self) -> int:
        """How many channels a blob of this order has."""
        return len(set(RED_GREEN_BLUE[self.channel_order]))

    @classmethod
    def from_toml(cls, path: str | Path) -> Preprocess:
        """Read the keys channel_order, mean, scale, resize (false: straight to the input's size), antialias
        and labels.

        `labels` names a text file, relative to this one, with the name of one class on each line.

        Raises:
            InputError: names the file and the key.
        """
        path = Path(path)
        try:
            table = tomllib.loads(_text(path))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path}: {error}.") from None
        fields = {}
        for key, value in table.items():
            if key not in _TOML:
                raise InputError(f"{path}: unknown key {key!r}.{near(key, _TOML)}")
            fits, expected, convert = _TOML[key]
            if not fits(value):
                raise InputError(f"{path}: {key} = {value!r}: {expected} is expected.")
            fields[key] = convert(value)
        if fields.get("channel_order") == "GRAY" and "mean" not in fields:
            raise InputError(f"{path}: mean is missing: GRAY needs one, such as mean = 0.")
        if "labels" in fields:
            fields["labels"] = _labels(path, fields["labels"])
        try:
            return cls(**fields)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    @classmethod
    def near(cls, prototxt: str | Path) -> Preprocess:
        """What preprocess.toml beside `prototxt` says; without that file, the defaults."""
        path = Path(prototxt).parent / "preprocess.toml"
        return cls.from_toml(path) if path.exists() else cls()

    def to_toml(self) -> str:
        """The text that `from_toml` reads; without the labels, which are a file of their own."""
        mean = self.mean[0] if len(self.mean) == 1 else list(self.mean)
        lines = {
            "channel_order": f'"{self.channel_order}"', "mean": mean, "scale": self.scale,
            "resize": "false" if self.resize is None else self.resize,
            "antialias": str(self.antialias).lower(),
        }  # fmt: skip
        return "".join(f"{key} = {value}\n" for key, value in lines.items())

    def to_caffe(self, rgb: ArrayLike, shape: tuple[int, int, int]) -> Floats:
        """(h, w, 3) RGB in 0..1 (or uint8) -> a blob of `shape` (C, H, W).

        Bilinear; unless `antialias`, without smoothing, as the pycaffe of CaffeNet's days did it.

        Raises:
            InputError: no such image, a C that does not fit the channel order, an input larger than `resize`.
        """
        channels, *size = shape
        if channels != self.channels:
            raise InputError(
                f"the net takes {channels} channels, and an image is {self.channels} in {self.channel_order} "
                f"order: {_ADVICE.get(channels, f'give an array of shape {shape} instead')}."
            )
        if self.resize is not None and self.resize < max(size):
            raise InputError(
                f"resize = {self.resize} is smaller than the net's input of {size[0]} x {size[1]}: "
                f"set it to {max(size)} or more in preprocess.toml, or to false for no crop."
            )
        square = size if self.resize is None else (self.resize, self.resize)
        image = resized(display_rgb(rgb), (square[0], square[1]), antialias=self.antialias)
        top, left = ((whole - part) // 2 for whole, part in zip(square, size, strict=True))
        image = image[top : top + size[0], left : left + size[1]]
        if self.channel_order == "GRAY":
            image = (image @ LUMA)[..., None]
        else:
            image = image[..., list(RED_GREEN_BLUE[self.channel_order])]  # both orders are their own inverse
        pixels = image.transpose(2, 0, 1) * 255 - np.reshape(np.array(self.mean), (-1, 1, 1))
        return np.ascontiguousarray(pixels * self.scale, np.float32)

    def to_display(self, blob: ArrayLike) -> Floats:
        """(..., C, H, W) of 3 or 1 channels -> (..., H, W, 3) RGB, clipped to 0..1: `to_caffe` inverted.

        A blob of 1 channel is shown grey whatever the channel order, with the average of the means.

        Raises:
            InputError: the blob has another number of channels.
        """
        array = np.asarray(blob, np.float32)
        channels = array.shape[-3] if array.ndim >= 3 else 0
        if channels not in (1, self.channels):
            raise InputError(
                f"a blob of shape {array.shape} is no image in {self.channel_order} order: "
                f"(..., {self.channels}, H, W) is expected."
            )
        return np.asarray(np.clip(self.in_rgb(array), 0, 1), np.float32)

    def in_rgb(self, blob: ArrayLike) -> Floats:
        """As `to_display` of a blob that has the right channels, but not clipped."""
        array = np.asarray(blob, np.float32)
        channels = array.shape[-3]
        mean = np.array(self.mean if channels > 1 else [np.mean(self.mean)])
        pixels = np.moveaxis(array / self.scale + mean.reshape(-1, 1, 1), -3, -1) / 255
        order = RED_GREEN_BLUE[self.channel_order if channels > 1 else "GRAY"]
        return np.asarray(pixels[..., list(order)], np.float32)


def _is_number(value: object, kind: type = Real) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)  # type: ignore[arg-type]


def _is_mean(value: object) -> bool:
    return _is_number(value) or (isinstance(value, list) and all(map(_is_number, value)))


# Key of preprocess.toml -> what it accepts, in words, and how it becomes the field of Preprocess.
_TOML: dict[str, tuple[Any, str, Any]] = {
    "channel_order": (lambda v: isinstance(v, str), '"BGR", "RGB" or "GRAY"', str),
    "mean": (_is_mean, "a number or a list of numbers", lambda v: tuple(v) if isinstance(v, list) else (v,)),
    "scale": (_is_number, "a number", float),
    "resize": (
        lambda v: v is False or _is_number(v, Integral),
        "a whole number or false",
        lambda v: v or None,
    ),
    "antialias": (lambda v: isinstance(v, bool), "true or false", bool),
    "labels": (lambda v: isinstance(v, str), "the name of a text file", str),
}
# Channels of a net that the order does not fit -> what to do.
_ADVICE = {
    1: 'set channel_order = "GRAY" and the mean in preprocess.toml',
    3: 'set channel_order = "BGR" or "RGB" in preprocess.toml',
}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} cannot be read: it is no UTF-8 text.") from None


def _labels(path: Path, name: str) -> tuple[str, ...]:
    file = path.parent / name
    if not file.is_file():
        raise InputError(f"{path}: labels = {name!r}: there is no file {file}.")
    return tuple(line.strip() for line in _text(file).strip().splitlines())
