"""`caffe.io`: convert images to blobs, and arrays to messages.

Where real Caffe's version depends on scikit-image, this computes what it gave with releases of Caffe's days
(before 0.14): images are shrunk without smoothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caffe_viz.engine.conversion import (
    Array,
    ArrayError,
    Floats,
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
)
from caffe_viz.engine.proto import caffe_pb2
from caffe_viz.errors import InputError, near
from caffe_viz.images.decoding import LUMA, WHITE, decoded

__all__ = [
    "Transformer", "array_to_blobproto", "array_to_datum", "arraylist_to_blobprotovector_str",
    "blobproto_to_array", "blobprotovector_str_to_arraylist", "caffe_pb2", "datum_to_array", "load_image",
    "oversample", "resize_image",
]  # fmt: skip

Size = Sequence[int] | Array


class Transformer:
    """Convert images (H, W, K) to what inputs take, and back; `inputs` are their shapes (N, K, H, W)."""

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(map(int, shape)) for name, shape in inputs.items()}
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, Array] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: ArrayLike) -> Floats:
        """Resize to the input, transpose, swap channels, times raw_scale, minus mean, times input_scale.

        Unlike pycaffe's, it never changes `data`.

        Raises:
            InputError: no such input, or settings that do not fit `data`.
        """
        size = self._shape(in_)[2:]
        values = np.array(data, np.float32)
        if values.shape[:2] != size:
            values = resize_image(values, size)
        if in_ in self.transpose:
            values = values.transpose(self._order(in_, values))
        if in_ in self.channel_swap:
            values = values[self._swap(in_, values)]
        if in_ in self.raw_scale:
            values *= self.raw_scale[in_]
        if in_ in self.mean:
            values -= _fitting(self.mean[in_], values, in_)
        if in_ in self.input_scale:
            values *= self.input_scale[in_]
        return values

    def deprocess(self, in_: str, data: ArrayLike) -> Array:
        """Invert `preprocess`, except for the size: (1, K, H, W) or (K, H, W) to (H, W, K).

        Raises:
            InputError: No such input, or settings that do not fit `data`.
        """
        self._shape(in_)
        values = np.array(data, np.result_type(data, np.float32)).squeeze()
        axes = len(self.transpose.get(in_, ()))
        if values.ndim < axes:  # a side of 1, where pycaffe fails
            values = values.reshape(np.shape(data)[-axes:])
        if in_ in self.input_scale:
            values /= self.input_scale[in_]
        if in_ in self.mean:
            values += _fitting(self.mean[in_], values, in_)
        if in_ in self.raw_scale:
            values /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            values = values[np.argsort(self._swap(in_, values))]
        if in_ in self.transpose:
            values = values.transpose(np.argsort(self._order(in_, values)))
        return values

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of axes: (2, 0, 1) turns (H, W, K) into (K, H, W).

        Raises:
            InputError: No such input, or not an order of its axes.
        """
        axes = len(self._shape(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise InputError(f"transpose {tuple(order)}: an order of the {axes} axes of {in_!r} is expected.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels after the transpose: (2, 1, 0) turns RGB into BGR.

        Raises:
            InputError: No such input, or not an order of its channels.
        """
        channels = self._shape(in_)[1]
        if sorted(order) != list(range(channels)):
            raise InputError(
                f"channel swap {tuple(order)}: an order of the {channels} channels of {in_!r} is expected."
            )
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor before the mean: 255 for images in 0..1 and a net that takes 0..255.

        Raises:
            InputError: No such input.
        """
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Array) -> None:
        """Set the mean to subtract: (K), or an image (K, H, W), which is resized to the input.

        Raises:
            InputError: No such input, or a mean of another shape.
        """
        _, channels, *size = self._shape(in_)
        mean = np.asarray(mean)
        if mean.ndim == 1 and len(mean) == channels:
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim == 2:
            mean = mean[np.newaxis]
        if mean.ndim != 3 or mean.shape[0] not in (1, channels):
            raise ArrayError(
                f"a mean of shape {mean.shape}: ({channels},) or ({channels}, H, W) is expected for {in_!r}."
            )
        if mean.shape[1:] not in ((1, 1), tuple(size)):
            mean = resize_image(mean.transpose(1, 2, 0), size).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean.

        Raises:
            InputError: No such input.
        """
        self._shape(in_)
        self.input_scale[in_] = scale

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            raise InputError(f"{in_!r} is not one of the net's inputs.{near(in_, self.inputs)}")
        return self.inputs[in_]

    def _order(self, in_: str, values: Array) -> Sequence[int]:
        order = self.transpose[in_]
        if values.ndim != len(order):
            raise ArrayError(
                f"{in_!r} is transposed as {tuple(order)}; an array of shape {values.shape} cannot be."
            )
        return order

    def _swap(self, in_: str, values: Array) -> list[int]:
        order = list(self.channel_swap[in_])
        if len(values) != len(order):
            raise ArrayError(
                f"channels of {in_!r} are swapped as {tuple(order)}; those of shape {values.shape} cannot be."
            )
        return order


def _fitting(mean: Array, values: Array, in_: str) -> Array:
    try:
        if np.broadcast_shapes(mean.shape, values.shape) == values.shape:
            return mean
    except ValueError:
        pass
    raise ArrayError(f"a mean of shape {mean.shape} does not fit {in_!r}, which is {values.shape} there.")


def load_image(filename: str | os.PathLike[str] | IO[bytes], color: bool = True) -> Floats:
    """Read an image as (H, W, 3) RGB, or (H, W, 1) grey, in 0..1; alpha and EXIF rotation are ignored.

    `filename` may also be an open file, or a BytesIO.

    Raises:
        InputError: No such file, not an image, or a damaged or gigantic one.
    """
    if isinstance(filename, str | os.PathLike):
        return decoded(os.fspath(filename), lambda image: _pixels(image, color))
    return decoded("the open file", lambda image: _pixels(image, color), filename.read())


def _pixels(image: Any, color: bool) -> Floats:
    if image.mode in WHITE:
        values = np.asarray(image, np.float64) / WHITE[image.mode]
    elif image.mode in ("1", "L"):
        values = np.asarray(image.convert("L")) / 255.0
    else:
        values = np.asarray(image.convert("RGBA"))[..., :3] / 255.0
    if values.ndim == 3 and not color:
        values = values @ LUMA.astype(np.float64)
    if values.ndim == 2:
        values = np.repeat(values[..., np.newaxis], 3 if color else 1, axis=2)
    return np.asarray(values, np.float32)


def resize_image(im: Array, new_dims: Size, interp_order: int = 1) -> Floats:
    """Resize (H, W, K) to (*new_dims, K) by interpolation of order 0 to 5, without smoothing.

    With 1 or 3 channels it equals `skimage.transform.resize` before 0.14: pixels have centres, and outside
    the image is its smallest value, so borders fade a little where an image is enlarged. Otherwise it equals
    `scipy.ndimage.zoom`.

    Raises:
        InputError: Not an image, or not a size.
    """
    height, width = _size(new_dims)
    im = np.asarray(im)
    if im.ndim != 3 or not im.size:
        raise ArrayError(f"an image of shape {im.shape} was given: (H, W, K) is expected.")
    if im.shape[-1] not in (1, 3):
        from scipy.ndimage import zoom

        scale = height / im.shape[0], width / im.shape[1], 1
        return np.asarray(zoom(im, scale, order=interp_order), np.float32)
    low, high = im.min(), im.max()
    if not high > low:
        return np.full((height, width, im.shape[-1]), low, np.float32)
    # float64: scikit-image before 0.16 computed in it, and so placed its pixels.
    unit = np.asarray((im - low) / (high - low), np.float64)
    return np.asarray(_warped(unit, height, width, interp_order) * (high - low) + low, np.float32)


def _warped(unit: NDArray[np.float64], height: int, width: int, order: int) -> Array:
    """(H, W, K) in 0..1 to (height, width, K); 0 lies around it."""
    from skimage import transform

    y, x = unit.shape[0] / height, unit.shape[1] / width
    places = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    warp: Any = transform.warp
    return np.asarray(warp(unit, places, output_shape=(height, width), order=order, mode="constant"))


def oversample(images: Sequence[Array], crop_dims: Size) -> Floats:
    """Cut N images (H, W, K) into crops (10 N, h, w, K): four corners by rows, the centre, all mirrored.

    Raises:
        InputError: No images, images of several shapes, or smaller than a crop.
    """
    shapes = {np.shape(image) for image in images}
    height, width = _size(crop_dims)
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3:
        raise ArrayError("images of one shape (H, W, K) are expected, one or more.")
    if height > shape[0] or width > shape[1]:
        raise ArrayError(f"a crop of {height} x {width} does not fit into images of {shape[0]} x {shape[1]}.")
    down, right = shape[0] - height, shape[1] - width
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    crops = [[image[y : y + height, x : x + width] for y, x in corners] for image in images]
    found = [crop for five in crops for crop in (*five, *(one[:, ::-1] for one in five))]
    return np.asarray(np.stack(found), np.float32)


def _size(dims: Size) -> tuple[int, int]:
    height, width = map(int, dims)
    if height < 1 or width < 1:
        raise ArrayError(f"a size of {height} x {width}: 1 x 1 or more is expected.")
    return height, width
