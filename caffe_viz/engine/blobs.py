"""Blobs: tensors that share memory with NumPy arrays, as pycaffe's do."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caffe_viz.errors import InputError

Array = NDArray[np.float32]


class Deferred(Protocol):
    """Work postponed until its result is needed."""

    def settle(self) -> None:
        """Do it now."""


class Memory:
    """The values of a blob, flat, on the device; as an array on the host when somebody asks for it.

    A layer's result is adopted without a copy, unless somebody still holds an array of the old values: that
    array must show the new ones. On a GPU, values move only when the other side needs them, as in Caffe's
    SyncedMemory.
    """

    def __init__(self, count: int, device: torch.device, make: Callable[[], Tensor] | None = None) -> None:
        self.count, self.device = count, device
        self.owing: dict[Deferred, None] = {}  # what still adds to these values
        self.kept = False  # work put off reads these values, so who may change them gets a copy
        self._make = make  # zeros by default
        self._tensor: Tensor | None = None
        self._host: Tensor | None = None  # of another device than the CPU
        self._host_is_newer = False
        self._array: weakref.ref[Array] | None = None

    @property
    def held(self) -> bool:
        """Whether somebody holds an array of the values."""
        return self._held() is not None

    def tensor(self) -> Tensor:
        """The values, flat, on the device."""
        self.settle()
        return self._values()

    def _values(self) -> Tensor:
        if self._tensor is None and self._host is None:
            made = self._make() if self._make else torch.zeros(self.count, device=self.device)
            self._tensor = made.reshape(-1).to(self.device)
        if self._host_is_newer and self._host is not None:
            self._tensor = self._host.to(self.device)
            self._host_is_newer = self.held  # who holds the array may write into it again
        assert self._tensor is not None
        return self._tensor

    def array(self) -> Array:
        """The values, flat, as a writable array."""
        self.settle()
        held = self._held()
        if self.device.type != "cpu":
            return self._downloaded(held)
        if held is not None:
            return held
        tensor = self.tensor()
        if self.kept:
            self._tensor = tensor = tensor.clone()
            self.kept = False
        return self._shown(tensor)

    def adopt(self, values: Tensor) -> None:
        """Adopt `values` (contiguous, on the device, owned by nobody else)."""
        flat, held = values.reshape(-1), self._held()
        if held is not None and self.device.type == "cpu" and held.size >= flat.numel():
            torch.from_numpy(held)[: flat.numel()].copy_(flat)
            return
        if self.device.type == "cpu":
            self._array = None
        self._tensor, self._host_is_newer, self.kept = flat, False, False
        self.count = flat.numel()

    def changed(self) -> None:
        """Note that `tensor` was changed in place, so that arrays on the host are outdated."""
        self._host_is_newer = False

    def add(self, values: Tensor) -> None:
        """Add `values` (contiguous, on the device, owned by nobody else)."""
        blank = self._tensor is None and self._host is None and self._make is None
        self.adopt(values if blank else self._values() + values.reshape(-1))

    def renew(self, make: Callable[[], Tensor] | None = None) -> None:
        """Set new values, which are made when they are needed; zeros by default."""
        if self.held:
            self.adopt(make() if make else torch.zeros(self.count, device=self.device))
        else:
            self._make, self._tensor, self._host = make, None, None
            self._host_is_newer = self.kept = False

    def vacate(self) -> None:
        """Free the values before they are replaced, so that their memory is reused next."""
        if not self.held:
            self._make, self._tensor, self._host = None, None, None
            self._host_is_newer = False

    def settle(self) -> None:
        """Add pending values in the order in which they came: sums must not depend on who looks when."""
        while self.owing:
            next(iter(self.owing)).settle()

    def resize(self, count: int) -> None:
        """Make room for `count` values; old values are kept if there was room, as in Caffe."""
        if count > self.count:
            self.__init__(count, self.device)  # type: ignore[misc]

    def _held(self) -> Array | None:
        return None if self._array is None else self._array()

    def _shown(self, host: Tensor) -> Array:
        array: Array = host.numpy()
        self._array = weakref.ref(array)
        return array

    def _downloaded(self, held: Array | None) -> Array:
        """The array on the host of values on another device, which are older from now on."""
        if not self._host_is_newer or self._host is None:
            tensor = self.tensor()
            if held is not None and self._host is not None:
                self._host.copy_(tensor)
            else:
                self._host, held = tensor.cpu(), None
            self._host_is_newer = True
        return self._shown(self._host) if held is None else held


class Blob:
    """Data and diff of one shape; both may share memory with another blob."""

    def __init__(
        self, shape: Sequence[int], device: torch.device, make: Callable[[], Tensor] | None = None
    ) -> None:
        self._shape = tuple(shape)
        self._data, self._diff = Memory(self.count, device, make), Memory(self.count, device)

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return self._shape

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self._shape)

    @property
    def data(self) -> Array:
        """The values, writable; valid until the blob grows."""
        return self._view(self._data)

    @property
    def diff(self) -> Array:
        """The gradient, writable; valid until the blob grows."""
        return self._view(self._diff)

    num = property(lambda self: self._legacy(0), doc="First of at most four dimensions.")
    channels = property(lambda self: self._legacy(1), doc="Second of at most four dimensions.")
    height = property(lambda self: self._legacy(2), doc="Third of at most four dimensions.")
    width = property(lambda self: self._legacy(3), doc="Fourth of at most four dimensions.")

    def reshape(self, *dims: int) -> None:
        """Change the shape; values are kept if there was room."""
        if any(int(d) != d or d < 0 for d in dims):
            raise InputError(f"a blob cannot have the shape {dims}: give whole numbers from 0 on.")
        self._shape = tuple(int(d) for d in dims)
        for memory in (self._data, self._diff):
            memory.resize(self.count)

    def tensor(self) -> Tensor:
        """The values on the device, in the blob's shape; shares their memory."""
        return self._shaped(self._data.tensor())

    def gradient(self) -> Tensor:
        """The diff on the device, in the blob's shape; shares its memory."""
        return self._shaped(self._diff.tensor())

    def take(self, values: Tensor) -> None:
        """Adopt values and their shape."""
        self._shape = tuple(values.shape)
        self._data.adopt(values)
        self._diff.resize(self.count)

    def take_gradient(self, values: Tensor) -> None:
        """Adopt a diff of the blob's shape."""
        self._diff.adopt(values)

    def share(self, other: Blob, *, diff: bool = True) -> None:
        """Share the memory of `other`, in this blob's own shape."""
        self._data = other._data
        if diff:
            self._diff = other._diff

    def share_diff(self, other: Blob) -> None:
        """Share the diff of `other`."""
        self._diff = other._diff

    @property
    def memories(self) -> tuple[Memory, Memory]:
        """The memories of data and of diff."""
        return self._data, self._diff

    def _shaped(self, flat: Tensor) -> Tensor:
        return (flat if flat.numel() == self.count else flat[: self.count]).view(self._shape)

    def _view(self, memory: Memory) -> Array:
        return memory.array()[: self.count].reshape(self._shape)

    def _legacy(self, axis: int) -> int:
        if len(self._shape) > 4:
            raise InputError(f"a blob of shape {self._shape} has no num, channels, height and width.")
        return self._shape[axis] if axis < len(self._shape) else 1

    def __repr__(self) -> str:
        return f"Blob{self._shape}"
