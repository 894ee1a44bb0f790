"""Feed nets without data of their own: images in folders, or arrays, into Input or MemoryData layers."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, about, near
from caffe_viz.images import ImageCollection, Preprocess

Array = NDArray[np.float32]
Shape = tuple[int, ...]


class InputBlobs(NamedTuple):
    """The blobs that a feed fills, by name, and their batch size; `memory`: those of a MemoryData layer."""

    shapes: dict[str, Shape]  # of one example
    batch: int
    memory: bool

    @classmethod
    def of(cls, net: Any) -> InputBlobs:
        """Raises InputError if the net takes no arrays."""
        first = net.layers[0].type == "MemoryData"
        names = [net._blob_names[i] for i in net._top_ids(0)] if first else list(net.inputs)
        shapes = {name: tuple(map(int, net.blobs[name].data.shape)) for name in names}
        batches = {shape[0] if shape else 0 for shape in shapes.values()}
        if not shapes:
            raise InputError("the net has data of its own, and no Input or MemoryData layer that takes any.")
        if len(batches) > 1:
            raise InputError(f"the inputs have several batch sizes: {shapes}.")
        return cls({name: shape[1:] for name, shape in shapes.items()}, batches.pop(), first)

    @property
    def image(self) -> str:
        """The one blob that takes images. Raises InputError if there is none, or several."""
        found = [name for name, shape in self.shapes.items() if len(shape) == 3 and np.prod(shape) > 1]
        if len(found) != 1:
            raise InputError(f"images need one input (C, H, W); the net takes {self}. Give an .npz.")
        return found[0]

    def __str__(self) -> str:
        return ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())


class Examples(Protocol):
    """What a net learns from, by number."""

    def __len__(self) -> int: ...

    def take(self, numbers: Sequence[int]) -> Mapping[str, Array]:
        """Return the examples of these numbers by blob."""


@dataclass(frozen=True)
class Images:
    """Images, with the number of the class that each one's folder names."""

    collection: ImageCollection
    preprocess: Preprocess
    slots: InputBlobs
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls, source: Path, preprocess: Preprocess, slots: InputBlobs, classes: Sequence[str] = ()
    ) -> Images:
        """The images in the folder or archive `source`; `classes` are by default the preprocess's labels,
        and without those the names of the folders, sorted.

        Raises:
            InputError: no images, a folder of another name, or a class in two folders.
        """
        collection = ImageCollection.of(source)
        folders = sorted({_folder(collection, i) for i in range(len(collection))})
        names = [folder.name for folder in folders]
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice is not None:
            one, other, *_ = (str(folder.parent) for folder in folders if folder.name == twice)
            raise InputError(
                f"{source} has {twice!r} in {one} and in {other}: give one of them, such as {source}/"
                f"{Path(one).name}."
            )
        known = tuple(classes or preprocess.labels or names)
        for name in names:
            if name not in known:
                raise InputError(f"{source}: the image folder {name!r} is not a class.{near(name, known)}")
        return cls(collection, preprocess, slots, known)

    def __len__(self) -> int:
        return len(self.collection)

    def take(self, numbers: Sequence[int]) -> Mapping[str, Array]:
        image = self.slots.image
        labels = [self.classes.index(_folder(self.collection, i).name) for i in numbers]
        found = {image: np.stack([self._pixels(i, self.slots.shapes[image]) for i in numbers])}
        return found | {name: np.array(labels, np.float32) for name in self.slots.shapes if name != image}

    def _pixels(self, number: int, shape: Shape) -> Array:
        image = self.collection.load(number)
        if image.shape == shape:  # of a file .npy
            return np.asarray(image, np.float32)
        with about(self.collection.name(number)):
            return self.preprocess.to_caffe(image, (shape[0], shape[1], shape[2]))


@dataclass(frozen=True)
class Arrays:
    """Arrays (N, ...) by blob name, from a .npz file, in the units of the blobs."""

    arrays: Mapping[str, NDArray[Any]]
    slots: InputBlobs

    @classmethod
    def of(cls, path: Path, slots: InputBlobs) -> Arrays:
        """Raises InputError: the file cannot be read, or has other arrays than the net takes."""
        try:
            with np.load(path, allow_pickle=False) as file:
                found: dict[str, NDArray[Any]] = dict(file)
        except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
            raise InputError(f"{path} cannot be read as .npz: {error}.") from None
        for name, shape in slots.shapes.items():
            if name not in found:
                raise InputError(f"{path} has no array {name!r}; the net takes {slots}.{near(name, found)}")
            if int(np.prod(found[name].shape[1:])) != int(np.prod(shape)):
                raise InputError(f"{path}: {name!r} is {found[name].shape}; the net takes (N, *{shape}).")
        if len({len(found[name]) for name in slots.shapes}) > 1:
            counts = ", ".join(f"{name} {len(found[name])}" for name in slots.shapes)
            raise InputError(f"{path}: the arrays must have equal lengths: {counts}.")
        return cls(found, slots)

    def __len__(self) -> int:
        return len(self.arrays[next(iter(self.slots.shapes))])

    def take(self, numbers: Sequence[int]) -> Mapping[str, Array]:
        return {name: np.asarray(self.arrays[name][numbers], np.float32) for name in self.slots.shapes}


class BatchFeed:
    """Puts `examples` into a net, batch by batch; the rest of an epoch that fills no batch is left out.

    The order of an epoch depends on `seed` and its number only, so a resumed training sees what it would have
    seen; without a seed, examples keep their order. An iteration takes `passes` batches (iter_size).

    Raises:
        InputError: Not enough examples, or an Input layer would show one batch in several passes.
    """

    def __init__(
        self, net: Any, slots: InputBlobs, examples: Examples, seed: int | None = None, passes: int = 1
    ) -> None:
        self._net, self._slots, self.examples, self._seed = net, slots, examples, seed
        self._size = slots.batch * passes
        self.epoch = len(examples) // self._size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        if not self.epoch:
            raise InputError(
                f"{len(examples)} examples do not fill the {self._size} of an iteration: give more, or a "
                "smaller batch."
            )
        if passes > 1 and not slots.memory:
            raise InputError(
                f"iter_size {passes} would show Input layers the same batch {passes} times: make the batch "
                f"{self._size} with iter_size 1, or take a MemoryData layer."
            )
        self._buffers = self._allocated() if slots.memory else {}

    def fill(self, iteration: int) -> None:
        """Put the batches of an iteration, from 0, into the net. Raises InputError if one cannot be read."""
        epoch, place = divmod(iteration, self.epoch)
        numbers = self._ordered(epoch)[place * self._size : (place + 1) * self._size]
        for name, values in self.examples.take(numbers.tolist()).items():
            target = self._buffers[name] if self._slots.memory else self._net.blobs[name].data
            target[...] = values.reshape(target.shape)

    def _ordered(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            count = len(self.examples)
            order = np.arange(count)
            if self._seed is not None:
                order = np.random.default_rng((self._seed, epoch)).permutation(count)
            self._order = epoch, order
        return self._order[1]

    def _allocated(self) -> dict[str, Array]:
        """One memory that the layer reads from then on: Caffe never lets go of arrays given to it."""
        (data, shape), (label, _) = self._slots.shapes.items()
        arrays = np.zeros((self._size, *shape), np.float32), np.zeros((self._size, 1, 1, 1), np.float32)
        self._net.set_input_arrays(*arrays)
        return {data: arrays[0], label: arrays[1]}


def examples_of(
    source: Path, preprocess: Preprocess, slots: InputBlobs, classes: Sequence[str] = ()
) -> Images | Arrays:
    """Read the examples in a .npz, or the images in a folder or archive. Raises InputError as those do."""
    if source.suffix.lower() == ".npz":
        return Arrays.of(source, slots)
    return Images.of(source, preprocess, slots, classes)


def _folder(collection: ImageCollection, number: int) -> Path:
    """The folder that an image lies in, inside its archive if it is in one."""
    entry = collection.entries[number]
    return Path(str(entry.file), entry.member).parent
