"""How a network's training turned images into its input blob, as preprocess.toml beside it says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from caffe_viz.errors import InputError, near
from caffe_viz.files import write_whole
from caffe_viz.images.arrays import array_bytes
from caffe_viz.images.decoding import LUMA
from caffe_viz.images.labels import Labels
from caffe_viz.images.mean import Mean, Size, Values
from caffe_viz.images.pixels import RED_GREEN_BLUE, Floats, display_rgb, resized
from caffe_viz.images.settings import Settings, is_number, read_toml

IMAGENET = Mean.of((104.007, 116.669, 122.679))


@dataclass(frozen=True)
class Preprocess:
    """How images become the input blob of a network: (pixels in 0..255 - mean) * scale.

    The defaults are those of CaffeNet in the Caffe tutorial.

    Args:
        channel_order: Of the blob: "BGR", "RGB" or "GRAY".
        mean: What is subtracted, in units of 0..255: a number, a number for each channel in the blob's
            order, or an image (C, H, W).
        scale: The factor applied after the mean.
        resize: The side of the square to which an image is warped before the centre crop. None: it is warped
            to the input's size directly, without a crop.
        labels: The names of the classes.
        antialias: Smooth before shrinking, as today's libraries do; Caffe did not.
        source: Where these settings come from, in words.

    Raises:
        InputError: A value that makes no sense, by the name of its field.

    Example::

        preprocess = cv.Preprocess(channel_order="RGB", mean=(123.68, 116.78, 103.94), resize=None)
        blob = preprocess.to_caffe(cv.load_image("cat.png"), (3, 227, 227))
    """

    channel_order: str = "BGR"
    mean: Mean = IMAGENET
    scale: float = 1.0
    resize: int | None = 256
    labels: Labels = field(default_factory=Labels)
    antialias: bool = False
    source: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.channel_order not in RED_GREEN_BLUE:
            name = str(self.channel_order)
            raise InputError(f"channel_order is {name!r}.{near(name, RED_GREEN_BLUE)}")
        object.__setattr__(self, "mean", Mean.of(self.mean))
        if not isinstance(self.labels, Labels):
            object.__setattr__(self, "labels", Labels(self.labels))
        if self.mean.channels not in (1, self.channels):
            expected = "one" if self.channels == 1 else f"one or {self.channels}"
            what = "numbers" if self.mean.size is None else "channels"
            raise InputError(f"mean has {self.mean.channels} {what}; {self.channel_order} takes {expected}.")
        if not is_number(self.scale) or self.scale == 0:
            raise InputError(f"scale is {self.scale!r}: a number other than 0 is expected.")
        if self.resize is not None and not (is_number(self.resize, Integral) and self.resize > 0):
            raise InputError(f"resize is {self.resize!r}: a number of pixels, 1 or more, is expected.")

    @property
    def channels(self) -> int:
        """The number of channels of a blob in this order."""
        return len(set(RED_GREEN_BLUE[self.channel_order]))

    @classmethod
    def of(cls, settings: Settings) -> Preprocess:
        """Make it of `settings`, and the defaults for the others.

        Raises:
            InputError: A value is wrong; the message names the file or the option.
        """
        try:
            return cls(**settings.settled(), source=settings.source)
        except InputError as error:
            told = settings.source.split("; ")[-1]
            raise InputError(str(error) if not told or told in str(error) else f"{told}: {error}") from None

    @classmethod
    def from_toml(cls, path: str | Path) -> Preprocess:
        """Read a preprocess.toml.

        Its keys are channel_order, mean, scale, raw_scale, resize, antialias and labels. `mean` may name a
        file: .binaryproto, .npy or an image. `raw_scale` is that of pycaffe's Transformer. `resize = false`
        warps to the input's size directly. `labels` names a text file with one class on each line. File names
        are relative to the .toml.

        Raises:
            InputError: A value is wrong; the message names the file and the key.
        """
        return cls.of(read_toml(path))

    @classmethod
    def near(cls, prototxt: str | Path) -> Preprocess:
        """Use `caffe_viz.preprocess_near` instead; this is kept for scripts of version 0.1.0."""
        import caffe_viz

        return caffe_viz.preprocess_near(prototxt)

    def to_toml(self, folder: str | Path = ".") -> str:
        """Return the text that `from_toml` would read in `folder`; labels that are in no file are left out.

        Raises:
            InputError: The mean is an image that is in no file.
        """
        lines = {
            "channel_order": f'"{self.channel_order}"', "mean": self._mean_text(Path(folder)),
            "scale": _short(self.scale), "resize": "false" if self.resize is None else self.resize,
            "antialias": str(self.antialias).lower(),
        }  # fmt: skip
        heads = {head: labels.source for head, labels in self.labels.heads.items() if labels.source}
        if heads:
            named = (f"{_quoted(head)} = {_name(file, folder)}" for head, file in heads.items())
            lines["labels"] = f"{{ {', '.join(named)} }}"
        elif self.labels.source:
            lines["labels"] = _name(self.labels.source, folder)
        return "".join(f"{key} = {value}\n" for key, value in lines.items())

    def _mean_text(self, folder: Path) -> str:
        if self.mean.size is not None:
            if not self.mean.file:
                raise InputError("the mean is an image, which no text holds: save it with Preprocess.save.")
            return _name(self.mean.file, folder)
        numbers = [*map(_short, self.mean.average)]
        return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"

    def save(self, path: str | Path, head: str = "") -> list[Path]:
        """Write a preprocess.toml that begins with `head`, and beside it a mean image that is in no file.

        Raises:
            RunError: A file cannot be written.
        """
        path, files = Path(path), []
        if self.mean.size is not None and not self.mean.file:
            files = [path.with_name(f"{path.stem}_mean.npy")]
            write_whole(files[0], array_bytes(self.mean.values.astype(np.float32)))
            self = replace(self, mean=replace(self.mean, file=str(files[0])))
        write_whole(path, (head + self.to_toml(path.parent)).encode())
        return [path, *files]

    def frame(self, size: Size) -> Size:
        """Return the (h, w) that an image is warped to before the crop to `size`; `size` without a crop."""
        return size if self.resize is None or self.resize < max(size) else (self.resize, self.resize)

    def mean_at(self, size: Size) -> Values:
        """Return what is subtracted from a blob of `size`: (1 or C, h, w) of an image, else (1 or C, 1, 1).

        A mean image of another size is warped and cropped like the images.
        """
        return self.mean.at(size, self.frame(size), antialias=self.antialias)

    def to_caffe(self, rgb: ArrayLike, shape: tuple[int, int, int]) -> Floats:
        """Convert an image (h, w, 3), RGB in 0..1 or uint8, to a blob of `shape` (C, H, W).

        It is resized bilinearly: without smoothing, as in the pycaffe of CaffeNet's days, unless `antialias`.

        Raises:
            InputError: Another shape of image, a C that does not match the channel order, or an input larger
                than `resize`.
        """
        size = (shape[1], shape[2])
        image = self.warped(rgb, shape)
        top, left = ((whole - part) // 2 for whole, part in zip(image.shape, size, strict=False))
        return self.encoded(image[top : top + size[0], left : left + size[1]])

    def warped(self, rgb: ArrayLike, shape: tuple[int, int, int]) -> Floats:
        """Resize an image (h, w, 3), RGB in 0..1 or uint8, to the frame in 0..1 that a blob is cropped from.

        Raises:
            InputError: As `to_caffe`.
        """
        channels, *size = shape
        if channels != self.channels:
            raise InputError(
                f"the net takes {channels} channels, but an image has {self.channels} in "
                f"{self.channel_order} order: "
                f"{_ADVICE.get(channels, f'give an array of shape {shape} instead')}."
            )
        if self.resize is not None and self.resize < max(size):
            raise InputError(
                f"resize = {self.resize} is smaller than the net's input of {size[0]} x {size[1]}: set it to "
                f"{max(size)} or more, or to false for no crop, in preprocess.toml or by --resize."
            )
        return resized(display_rgb(rgb), self.frame((size[0], size[1])), antialias=self.antialias)

    def encoded(self, rgb: Floats) -> Floats:
        """Convert an image (H, W, 3), RGB in 0..1, to a blob (C, H, W) of its size; `in_rgb` inverts it."""
        if self.channel_order == "GRAY":
            image = (rgb @ LUMA)[..., None]
        else:
            image = rgb[..., list(RED_GREEN_BLUE[self.channel_order])]  # both orders are their own inverse
        pixels = image.transpose(2, 0, 1) * 255 - self.mean_at((rgb.shape[0], rgb.shape[1]))
        return np.ascontiguousarray(pixels * self.scale, np.float32)

    def to_display(self, blob: ArrayLike) -> Floats:
        """Convert a blob (..., C, H, W) back to RGB (..., H, W, 3), clipped to 0..1.

        A blob of 1 channel is shown in grey, whatever the channel order, with the average of the means.

        Raises:
            InputError: The blob has another number of channels.
        """
        array = np.asarray(blob, np.float32)
        channels = array.shape[-3] if array.ndim >= 3 else 0
        if channels not in (1, self.channels):
            raise InputError(
                f"a blob of shape {array.shape} is not an image in {self.channel_order} order: "
                f"(..., {self.channels}, H, W) is expected."
            )
        return np.asarray(np.clip(self.in_rgb(array), 0, 1), np.float32)

    def in_rgb(self, blob: ArrayLike) -> Floats:
        """Convert as `to_display` does, but without clipping or checks."""
        array = np.asarray(blob, np.float32)
        grey = array.shape[-3] == 1
        mean = self.mean_at((array.shape[-2], array.shape[-1]))
        mean = mean.mean(axis=0, keepdims=True) if grey else mean
        pixels = np.moveaxis(array / self.scale + mean, -3, -1) / 255
        order = RED_GREEN_BLUE["GRAY" if grey else self.channel_order]
        return np.asarray(pixels[..., list(order)], np.float32)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a string of JSON is one of TOML


def _name(file: str, folder: str | Path) -> str:
    """The name of a file, relative to `folder`, as TOML."""
    return _quoted(Path(os.path.relpath(file, folder)).as_posix())


def _short(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(float(value))


# Channels of a net that the order does not fit -> what to do.
_ADVICE = {
    1: 'set channel_order = "GRAY" and the mean in preprocess.toml',
    3: 'set channel_order = "BGR" or "RGB" in preprocess.toml',
}
