"""Read and write pictures; files are written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.errors import InputError
from caffe_viz.files import is_address, shown, write_whole
from caffe_viz.images.addresses import Address
from caffe_viz.images.decoding import WHITE, Limits, decoded
from caffe_viz.images.pixels import Floats, display_rgb
from caffe_viz.images.videos import one_frame

OPAQUE = frozenset({"1", "CMYK", "L", "RGB", "YCbCr"})  # Pillow's modes without transparency


def load_image(path: str | Path, data: bytes | None = None, limits: Limits | None = None) -> Floats:
    """Read any image that Pillow reads as (H, W, 3) RGB in 0..1.

    The image is turned upright, keeps its full bit depth, and transparent parts become white. Of several
    frames the first is read. Images of 32 bit floats must hold 0..1, those of integers 0..65535.

    Args:
        path: A file or an address. "a.mp4#12" is frame 12 of a video.
        data: The content of the file, if it is not on disk.
        limits: Refuse to decode images beyond these limits.

    Raises:
        InputError: No such file, a file that is not an image, or a damaged or gigantic one.
        RunError: Videos or addresses need a library that is not installed, or an address is unreachable.

    Example::

        rgb = cv.load_image("cat.png")
    """
    from PIL import ImageOps

    if data is None and is_address(path):
        path, data = shown(path), Address(str(path)).read()
    if data is None and (frame := one_frame(Path(path))) is not None:
        return frame
    return decoded(path, lambda image: _rgb(ImageOps.exif_transpose(image)), data, limits)


def _rgb(image: Any) -> Floats:
    if image.mode in WHITE:
        grey = np.asarray(image, np.float64) / WHITE[image.mode]
        if not (grey.min() >= 0 and grey.max() <= 1):  # also where they are NaN
            white = WHITE[image.mode]
            low, high = white * grey.min(), white * grey.max()
            raise ValueError(f"its pixels run from {low:g} to {high:g}, not from 0 to {white}")
        return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    if image.mode in OPAQUE and "transparency" not in image.info:
        return np.asarray(np.asarray(image.convert("RGB"), np.float32) / np.float32(255))
    rgba = np.asarray(image.convert("RGBA"), np.float32) / np.float32(255)
    alpha = rgba[..., 3:]
    return np.asarray(rgba[..., :3] * alpha + (1 - alpha), np.float32)


def shrunk(rgb: ArrayLike, side: int) -> NDArray[np.uint8]:
    """Shrink (H, W, 3) RGB in 0..1 to (h, w, 3) in 0..255, with at most `side` pixels on a side."""
    array = np.asarray(rgb)
    step = max(1, max(array.shape[:2]) // (4 * side))  # Pillow averages over what is left
    image = _pillow(array[::step, ::step])
    image.thumbnail((side, side))
    return np.asarray(image)


def png_bytes(rgb: ArrayLike, compress_level: int = 6) -> bytes:
    """Encode (H, W, 3) RGB in 0..1 as PNG, 8 bits per channel; with one channel if all is grey."""
    data, image = io.BytesIO(), _pillow(rgb)
    red, *others = image.split()
    if all(other == red for other in others):
        image = red  # a third of the size
    image.save(data, "png", compress_level=compress_level)
    return data.getvalue()


def jpeg_bytes(rgb: ArrayLike) -> bytes:
    """Encode (H, W, 3) RGB in 0..1 as JPEG, for photographs among many."""
    data = io.BytesIO()
    _pillow(rgb).save(data, "jpeg", quality=90, subsampling=0)
    return data.getvalue()


def save_png(path: str | Path, rgb: ArrayLike) -> None:
    """Write (H, W, 3) RGB in 0..1 as PNG, whole or not at all; missing folders are created.

    Raises:
        InputError: Another shape, values outside 0..1, or a name that does not end in .png.
        RunError: The file cannot be written; an old file is kept.
    """
    write_whole(_named(path, ".png"), png_bytes(rgb))


def save_gif(path: str | Path, frames: Iterable[ArrayLike], ms: int = 80) -> None:
    """Write frames (T, H, W, 3) RGB in 0..1 as an endless GIF, each shown for `ms` milliseconds.

    Raises:
        InputError, RunError: As `save_png`; also for frames of several sizes, or none.
    """
    path = _named(path, ".gif")
    images = [_pillow(frame) for frame in frames]
    if not images or len({image.size for image in images}) > 1:
        sizes = sorted({f"{image.height} x {image.width}" for image in images})
        raise InputError(f"{path}: a GIF needs frames of one size, not {', '.join(sizes) or 'none at all'}.")
    if ms < 20:
        raise InputError(f"{path}: {ms} ms per frame; viewers of GIFs show 20 ms or more.")
    data = io.BytesIO()
    images[0].save(data, "gif", save_all=True, append_images=images[1:], duration=ms, loop=0)
    write_whole(path, data.getvalue())


def _pillow(rgb: ArrayLike) -> Any:
    from PIL import Image

    array = np.asarray(rgb)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        array = np.asarray(np.rint(display_rgb(array) * 255).clip(0, 255), np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def _named(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise InputError(f"{path}: the name must end in {suffix}.")
    return path
