"""Trained weights as named arrays, read one at a time from any kind of file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, StoredLayer, as_text, blob_shape, parse_net, stored_layers
from caffe_viz.netdef.blobs import MESSAGE_LIMIT
from caffe_viz.netdef.embedded_net import embedded_net

PROTOTXT = "prototxt"  # the name under which a file has the text of its net


@dataclass(frozen=True)
class Tensor:
    """Blob `number` of a layer: its shape, what reads its values, and the type that `array` gives."""

    layer: str
    number: int
    shape: tuple[int, ...]
    read: Callable[[], NDArray[Any]]
    dtype: type[np.float32 | np.float16] = np.float32

    @property
    def name(self) -> str:
        """As conv1/0, what it is called in files."""
        return f"{self.layer}/{self.number}"

    @property
    def count(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    def array(self) -> NDArray[Any]:
        """The values.

        Raises:
            InputError: they cannot be read, or are beyond the largest of the type.
        """
        values = self.read()
        with np.errstate(over="ignore"):
            found = np.ascontiguousarray(values, self.dtype).reshape(self.shape)
        if self.dtype is np.float16 and np.isinf(found).sum() > np.isinf(values).sum():
            most = np.abs(values[np.isfinite(values)]).max()
            raise InputError(
                f"{self.name} has weights up to {most:.3g}, too large for {self.dtype.__name__}."
            )
        return found


@dataclass(frozen=True)
class Tensors:
    """All blobs of a file, and the net that they are of, where it is known."""

    every: Sequence[Tensor]
    net: NetParameter | None = None

    @property
    def halved(self) -> Tensors:
        """The same in float16."""
        return Tensors([replace(one, dtype=np.float16) for one in self.every], self.net)

    @property
    def text(self) -> str:
        """The net as a prototxt; "" where it is not known."""
        return "" if self.net is None else as_text(self.net)


def named(names: Sequence[str], path: Path) -> list[tuple[str, int]]:
    """Layer and number of arrays called as conv1/0.

    Raises:
        InputError: one is called otherwise, as in files of other programs; or there are none.
    """
    found = []
    for name in names:
        layer, _, number = name.rpartition("/")
        if not layer or not number.isdecimal():
            raise InputError(f"{path}: array {name[:60]!r} is not named LAYER/NUMBER, such as conv1/0.")
        found.append((layer, int(number)))
    if not found:
        raise InputError(f"{path} holds no weights.")
    return found


def in_order(found: Sequence[Tensor], net: NetParameter | None, path: Path) -> Tensors:
    """By the layers of the net, where it is known, and by number.

    Raises:
        InputError: a number is missing, or a blob is over the 2 GiB that Caffe holds.
    """
    order = {} if net is None else {layer.name: k for k, layer in enumerate(net.layer)}
    first = dict.fromkeys(one.layer for one in found)
    places = {layer: (order.get(layer, len(order)), k) for k, layer in enumerate(first)}
    every = sorted(found, key=lambda one: (places[one.layer], one.number))
    expected = 0
    for before, one in zip([None, *every], every, strict=False):
        expected = expected + 1 if before and before.layer == one.layer else 0
        if one.number != expected:
            raise InputError(f"{path}: {one.layer}/{expected} is missing, or {one.name} is there twice.")
        if min(one.shape, default=1) < 0 or 4 * one.count > MESSAGE_LIMIT:
            raise InputError(
                f"{path}: {one.name} of shape {one.shape} is over the 2 GiB of a blob of Caffe's."
            )
    return Tensors(every, net)


def net_of(text: str | None, path: Path) -> NetParameter | None:
    """The net whose text a file has.

    Raises:
        InputError: it is none.
    """
    return parse_net(text, f"{path}, {PROTOTXT}") if text else None


def of_caffe(path: Path, net: NetParameter | None) -> Tensors:
    """Read the weights of a caffemodel of any age, or of HDF5.

    Raises:
        InputError: It is neither.
    """
    layers = stored_layers(path, net)
    known = net or _net_in(path)
    return in_order(list(_tensors(layers)), known, path)


def _net_in(path: Path) -> NetParameter | None:
    try:
        return embedded_net(path)
    except InputError:
        return None


def _tensors(layers: Sequence[StoredLayer]) -> Iterator[Tensor]:
    for layer in layers:
        for number, blob in enumerate(layer.blobs):
            yield Tensor(layer.name, number, blob_shape(blob.proto), blob.array)
