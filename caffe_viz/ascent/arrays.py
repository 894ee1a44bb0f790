"""The array operations in which NumPy and torch differ, so that an ascent is written once for both."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-37  # a root mean square below it is zero: its inverse is no float32
REACH = 4.0  # deviations of a Gaussian that are summed
Host = NDArray[np.float32]
Pullback = Callable[[Any], Any]
"""The gradient of a result -> that of what it was made from."""


class Arrays(Protocol):
    """Operations on float32 arrays on the device where a net computes. Images are (N, C, H, W)."""

    def put(self, values: Host) -> Any:
        """Copy an array to the device."""

    def host(self, values: Any) -> Host:
        """Copy an array to the host."""

    def spectrum(self, images: Any) -> Any:
        """Real two-dimensional Fourier transform, (..., H, W) to (..., H, W // 2 + 1, 2), unnormalised."""

    def image(self, spectrum: Any, size: tuple[int, int]) -> Any:
        """Inverse of `spectrum`; components that no real image has are dropped."""

    def sigmoid(self, values: Any) -> Any:
        """1 / (1 + exp(-x))."""

    def along(self, matrix: Host, images: Any, axis: int) -> Any:
        """Multiply a matrix (D, C) with the lines along an axis of length C."""

    def resample(self, images: Any, places: Host) -> tuple[Any, Pullback]:
        """Sample images at `places` (N, 2, h, w), rows and columns, bilinearly, 0 outside."""

    def roll(self, images: Any, shift: tuple[int, int]) -> Any:
        """Shift rows and columns, around the edges."""

    def inverse_rms(self, values: Any) -> Any:
        """(N, ...) -> (N,): one over the root mean square, 0 where all are 0."""

    def sqrt(self, values: Any) -> Any:
        """Square root."""

    def where(self, condition: Any, values: Any, others: Any) -> Any:
        """Elements of `values` where the condition holds, else of `others`."""

    def stack(self, parts: list[Any], axis: int) -> Any:
        """Arrays of one shape along a new axis."""


class HostArrays:
    """`Arrays` in NumPy, for real Caffe."""

    def put(self, values: Host) -> Any:
        return np.array(values, np.float32)

    def host(self, values: Any) -> Host:
        return np.array(values, np.float32)

    def spectrum(self, images: Any) -> Any:
        from scipy import fft

        found = fft.rfft2(images)
        return np.stack([found.real, found.imag], -1)

    def image(self, spectrum: Any, size: tuple[int, int]) -> Any:
        from scipy import fft

        return fft.irfft2(spectrum[..., 0] + 1j * spectrum[..., 1], s=size)

    def sigmoid(self, values: Any) -> Any:
        from scipy.special import expit

        return expit(values)

    def along(self, matrix: Host, images: Any, axis: int) -> Any:
        # Image by image: a BLAS rounds the columns at the edges of one large product as no others.
        if axis == images.ndim - 1:
            return images @ matrix.T
        before, after = images.shape[:axis], images.shape[axis + 1 :]
        made = matrix @ images.reshape(*before, images.shape[axis], -1)
        return made.reshape(*before, len(matrix), *after)

    def resample(self, images: Any, places: Host) -> tuple[Any, Pullback]:
        maps = [_bilinear(images.shape[2:], one) for one in places]
        shape, size = images.shape, places.shape[2:]
        made = np.stack([(m @ x.reshape(len(x), -1).T).T for m, x in zip(maps, images, strict=True)])

        def pull(gradient: Any) -> Any:
            pairs = zip(maps, gradient, strict=True)
            return np.stack([(m.T @ g.reshape(len(g), -1).T).T for m, g in pairs]).reshape(shape)

        return made.reshape(*shape[:2], *size), pull

    def roll(self, images: Any, shift: tuple[int, int]) -> Any:
        return np.roll(images, shift, (-2, -1)) if any(shift) else images

    def inverse_rms(self, values: Any) -> Any:
        flat = values.reshape(len(values), -1)
        # A gradient of a mean can be 1e-30, whose square float32 does not hold.
        squares = np.einsum("ni,ni->n", flat, flat, dtype=np.float64) / flat.shape[1]
        roots = np.sqrt(squares)
        return np.divide(1, roots, out=np.zeros_like(roots), where=roots > SMALLEST).astype(np.float32)

    def sqrt(self, values: Any) -> Any:
        return np.sqrt(values)

    def where(self, condition: Any, values: Any, others: Any) -> Any:
        return np.where(condition, values, others)

    def stack(self, parts: list[Any], axis: int) -> Any:
        return np.stack(parts, axis)


def _bilinear(size: tuple[int, int], places: Host) -> Any:
    """Return the sparse matrix that samples a flat map of `size` at `places` (2, h, w)."""
    from scipy.sparse import csr_matrix

    (height, width), flat = size, places.reshape(2, -1)
    low = np.floor(flat)
    share, low = flat - low, low.astype(np.int64)
    columns, weights = [], []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y, x = low[0] + dy, low[1] + dx
        weight = (share[0] if dy else 1 - share[0]) * (share[1] if dx else 1 - share[1])
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        columns.append(np.where(inside, y * width + x, 0))
        weights.append(np.where(inside, weight, 0))
    count = flat.shape[1]
    data, indices = (np.stack(parts, 1).ravel() for parts in (weights, columns))
    rows = np.arange(0, 4 * count + 1, 4)
    return csr_matrix((data.astype(np.float32), indices, rows), shape=(count, height * width))


@lru_cache(maxsize=32)
def gaussian(size: int, sigma: float) -> Host:
    """Return the matrix (size, size) of a Gaussian filter along an axis, with the ends repeated.

    Equals scipy.ndimage.gaussian_filter1d with mode "nearest".
    """
    reach = int(REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    out = np.zeros((size, size))
    columns = np.clip(np.arange(size)[:, None] + offsets, 0, size - 1)
    np.add.at(out, (np.arange(size)[:, None], columns), weights / weights.sum())
    return out.astype(np.float32)
