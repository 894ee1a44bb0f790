"""What a report is about: the network, the images, a record of the training; and the loaded net."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.backend import chosen
from caffe_viz.checking import remarks
from caffe_viz.errors import InputError
from caffe_viz.files import sha256
from caffe_viz.geometry import LayerGeometry, seen_by_units
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.images import ImageCollection
from caffe_viz.netdef import LayerParameter, NetParameter, StoredLayer
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.probe import Probe
from caffe_viz.views import show_evolution
from caffe_viz.views.streams import run_image


@dataclass(frozen=True)
class File:
    """A file from which the report was made."""

    what: str
    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, what: str, path: PathLike) -> File:
        """Read it. Raises InputError if that fails."""
        try:
            return cls(what, str(path), Path(path).stat().st_size, sha256(path))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


@dataclass(frozen=True)
class Image:
    """One image: its name, its pixels (C, H, W) in units of the input."""

    name: str
    pixels: Array


@dataclass(frozen=True)
class ReportContext:
    """What a report is about. `photos` are searched for the places that activate each filter most."""

    network: Network
    images: tuple[Image, ...] = ()
    photos: ImageCollection | None = None
    record: Path | None = None
    files: tuple[File, ...] = ()
    _blobs: dict[int, Mapping[str, Array]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        net: Any,
        images: Sequence[PathLike] = (),
        photos: PathLike | None = None,
        record: PathLike | None = None,
    ) -> ReportContext:
        """Read and check everything, so that errors come before the long work.

        Raises:
            InputError: A file cannot be read, or Caffe would abort on the net; images without weights; the
                record of another net.
            RunError: No engine is installed.
        """
        network = Network.of(net)
        if network.weights is None and (images or photos is not None):
            raise InputError("images need a net with weights: give the caffemodel too.")
        network.check()
        if network.weights is not None:
            chosen(network.engine, network.device, network.message)
        network, collection = network.collection(images) if images else (network, None)
        numbers = range(0 if collection is None else len(collection))
        pixels = [network.pixels(collection.load(k), name=collection.name(k)) for k in numbers if collection]
        names = short_names([collection.name(k) for k in numbers if collection])
        pictures = tuple(map(Image, names, pixels))
        files = files_of(network, record)
        if record is not None:
            _check_record(record, network)
        return cls(
            network, pictures, None if photos is None else ImageCollection.of(photos),
            None if record is None else Path(record), files,
        )  # fmt: skip

    @property
    def name(self) -> str:
        return self.network.message.name or "network"

    @property
    def file_name(self) -> str:
        """The name of its report: that of the caffemodel, so that snapshots of one net have one each."""
        weights = self.network.weights
        return Path(weights).stem if isinstance(weights, str | Path) else self.name

    @property
    def runs(self) -> bool:
        """Whether there are weights, so that the net can run."""
        return self.network.weights is not None

    @property
    def engine_name(self) -> str:
        """ "caffe" or "torch", or "" if nothing is run."""
        network = self.network
        return chosen(network.engine, network.device, network.message) if self.runs else ""

    @property
    def remarks(self) -> list[str]:
        """What the numbers depend on besides the files, and what is not shown."""
        network = self.network
        return remarks(network.message, self.engine_name, network.engine, network.device)

    @property
    def layers(self) -> list[LayerGeometry]:
        """The layers in the prototxt, without hidden Split layers."""
        return [layer for layer in self.network.geometry.layers if layer.type != "Split"]

    def elsewhere(self) -> ReportContext:
        """What another process needs of it to make parts; the file of the labels may not exist there."""
        how = self.network.preprocess
        labels = how.labels if how.labels.heads else self.network.labels
        return ReportContext(replace(self.network, preprocess=replace(how, labels=labels)), self.images)

    @cached_property
    def seen(self) -> dict[str, Shape]:
        """Map fully connected layers to the axes of the blob that their units read."""
        return dict(seen_by_units(self.network.geometry.layers))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What two reports must have in common for one to continue the other."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(repr((image.name, image.pixels.shape)).encode())
            digest.update(np.ascontiguousarray(image.pixels).tobytes())
        return {
            "net": _digest(self.network.message),
            "weights": _digest(self.network.weights if self._in_memory else None),
            "files": [(file.what, file.sha256) for file in self.files],
            "preprocess": repr(self.network.preprocess),
            "engine": self.engine_name,
            "images": digest.hexdigest(),
            "inputs": self.network.inputs_digest if self.images else "",
            "photos": "" if self.photos is None else self.photos.digest,
        }

    @property
    def _in_memory(self) -> bool:
        return isinstance(self.network.weights, NetParameter)

    @cached_property
    def messages(self) -> dict[str, LayerParameter]:
        """The message of each layer in the prototxt."""
        return {layer.name: layer for layer in self.network.message.layer}

    @cached_property
    def stored(self) -> dict[str, StoredLayer]:
        """The weights by layer, read on demand."""
        layers = self.network.stored if self.network.weights is not None else []
        return {layer.name: layer for layer in layers if layer.blobs}

    @cached_property
    def probe(self) -> Probe:
        """The net without in-place layers, for gradients."""
        part = self.network.part(self.network.heads[0].answer)
        return Probe(part if part.data == self.network.data else self.network)

    def load(self) -> Any:
        """Load the net, once. Raises InputError or RunError if the engine cannot."""
        return self._net

    @cached_property
    def _net(self) -> Any:
        return self.network.load()

    def blobs(self, number: int) -> Mapping[str, Array]:
        """Return the blobs for image `number`, (C, H, W) or (K,), after in-place layers."""
        if number not in self._blobs:
            self._blobs.clear()  # one image's blobs may take much memory
            network, pixels = self.network, self.images[number].pixels
            self._blobs[number] = run_image(network, self._net, pixels, network.geometry.named_blobs)
        return self._blobs[number]


def files_of(network: Network, record: PathLike | None) -> tuple[File, ...]:
    """Return the files from which a report of `network` is made. Raises InputError if one cannot be read."""
    paths = {"prototxt": network.prototxt, "caffemodel": network.weights, "record": record}
    return tuple(File.of(what, path) for what, path in paths.items() if isinstance(path, str | Path))


def _check_record(path: PathLike, network: Network) -> None:
    """Raise InputError if it is not a record, or that of another net."""
    shapes = {
        (layer.name, k): tuple(shape)
        for layer in network.geometry.layers
        for k, shape in enumerate(layer.param_shapes)
    }
    head = show_evolution(path).record.head
    names = {name for name, _ in shapes}
    shared = [p for p in head.parameters if p.layer in names]  # nets to train have layers of their own
    if not shared or any(shapes.get((p.layer, p.blob)) != p.shape for p in shared):
        raise InputError(
            f"{path} is the record of another net, {head.net!r}: its parameters have other names or shapes."
        )


def short_names(names: Sequence[str]) -> Sequence[str]:
    """Strip folders from file names if the images can still be told apart."""
    short = [name.replace("\\", "/").rsplit("/", 1)[-1] for name in names]
    return short if len(set(short)) == len(short) else names


def _digest(message: Any) -> str:
    if not isinstance(message, NetParameter):
        return ""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
