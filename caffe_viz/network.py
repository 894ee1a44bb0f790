"""The two files of a network as one value: what is read from them, and how images get in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz import netdef
from caffe_viz.backend import engine_name, load_net, message_with_code, preferred
from caffe_viz.checking import (
    as_file,
    caffe_is_installed,
    caffe_reads,
    check,
    check_messages,
    known_part,
    prepared,
    probe,
    raise_for,
)
from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, measure
from caffe_viz.geometry.python_layers import folders
from caffe_viz.images import Preprocess, load_image
from caffe_viz.images.album import load_array
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import NetParameter
from caffe_viz.surgery import image_input, with_batch

Array = NDArray[np.float32]
PathLike = str | Path


@dataclass(frozen=True)
class Network:
    """A prototxt and weights, paths or messages; `preprocess` is by default that beside the prototxt.

    `layers`, `allow_code`, `python_path` and `variants` are as of `load_net`.
    """

    prototxt: PathLike | NetParameter
    weights: PathLike | NetParameter | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    engine: str = "auto"
    device: str = "cpu"
    allow_code: bool = False
    python_path: PathLike | Sequence[PathLike] = ()
    layers: PathLike | Sequence[PathLike] = ()
    variants: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        load_layers(self.layers)
        folders(self.python_path)

    @classmethod
    def of(cls, net: Any, *, weights: bool = True) -> Network:
        """The network of a `caffe.Net` from `load_net`, with the parameters that it has now, or without any.

        Raises:
            InputError: the net was made without `load_net`, so that its prototxt is not known.
        """
        if isinstance(net, Network):
            return net
        if isinstance(net, str | Path | NetParameter):
            return cls(net)
        if not hasattr(net, "prototxt"):
            raise InputError(
                f"{type(net).__name__}: load the net with caffe_viz.load_net(prototxt, weights)."
            )
        trained = _parameters(net) if weights else None
        folder = net.folder
        preprocess = Preprocess() if folder is None else Preprocess.near(folder / "deploy.prototxt")
        return cls(net.prototxt, trained, preprocess, engine_name(net), str(getattr(net, "device", "cpu")))

    @cached_property
    def given(self) -> NetParameter:
        """The net of all phases, as its file has it."""
        given = self.prototxt if isinstance(self.prototxt, NetParameter) else Path(self.prototxt)
        if self.allow_code:
            given = message_with_code(given, folders(self.python_path))
        return given if isinstance(given, NetParameter) else netdef.read_net(given)

    @cached_property
    def whole(self) -> NetParameter:
        """The net of the TEST phase."""
        return prepared(netdef.for_phase(self.given), self.weights, self.variants)

    @cached_property
    def message(self) -> NetParameter:
        """What of it can be computed: without layers of unknown types, and what depends on them."""
        return known_part(self.whole)

    @cached_property
    def trained(self) -> NetParameter:
        """The weights as a message.

        Raises:
            InputError: there are none, or not of this net.
        """
        if self.weights is None:
            raise InputError(f"net {self.message.name!r}: weights are needed; give the caffemodel too.")
        return self.weights if isinstance(self.weights, NetParameter) else netdef.read_weights(self.weights)

    def check(self) -> None:
        """Raises InputError on what would make Caffe abort, or fail without a word."""
        name = preferred(self.engine, self.device, self.message)
        paths = self._paths
        if paths is not None and caffe_reads(self.given, self.message, paths[1]):
            check(
                *paths, allow_code=self.allow_code, engine=name, python_path=folders(self.python_path)
            ).raise_for_errors()
            return
        weights = None if self.weights is None else netdef.stored_layers(self.weights)
        net = netdef.without_quiet(self.message) if name == "caffe" else self.message
        found = check_messages(net, weights, allow_code=self.allow_code, engine=name)
        label = (
            f"net {self.message.name!r}" if isinstance(self.prototxt, NetParameter) else str(self.prototxt)
        )
        raise_for(found, label)
        if name == "caffe" and caffe_is_installed():
            with as_file(self.message) as path:
                raise_for(probe(path, None), label)

    @property
    def _paths(self) -> tuple[PathLike, PathLike | None] | None:
        """Prototxt and weights, where both are files."""
        net, weights = self.prototxt, self.weights
        return None if isinstance(net, NetParameter) or isinstance(weights, NetParameter) else (net, weights)

    def need_weights(self) -> None:
        """Raises InputError if the weights are none, or of a net with other layers."""
        names = {layer.name for layer in self.whole.layer}
        given = [layer.name for layer in self.trained.layer if layer.blobs]
        if names.isdisjoint(given):
            others = ", ".join(given[:8])
            raise InputError(f"net {self.whole.name!r} has none of the layers of the weights: {others}.")

    @cached_property
    def geometry(self) -> Geometry:
        """Shapes for one image."""
        return measure(with_batch(self.message, 1))

    @cached_property
    def data(self) -> str:
        """The blob that takes the image."""
        return image_input(self.message)[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the image."""
        return self.geometry.blobs[self.data][1:]

    @property
    def pictures(self) -> Preprocess | None:
        """How images get in; None where the input has other channels than an image."""
        return self.preprocess if self.shape[0] == self.preprocess.channels else None

    def load(self) -> Any:
        """A `caffe.Net` for one image."""
        self.check()
        weights = None if self.weights is None else self.trained
        return load_net(
            with_batch(self.message, 1), weights, engine=self.engine, device=self.device, checked=False
        )

    def pixels(self, image: PathLike | Array, size: tuple[int, int] | None = None) -> Array:
        """(C, H, W) in units of the input, H and W of the net or `size`.

        `image` is the file of an image, a file .npy of the blob, or an array: (h, w, 3) RGB in 0..1, or the
        blob (C, H, W) itself.

        Raises:
            InputError: the file or the shape is none of these.
        """
        shape = (self.shape[0], *(size or self.shape[1:]))
        if isinstance(image, str | Path) and Path(image).suffix.lower() == ".npy":
            image = load_array(image)
            if image.shape != shape:
                raise InputError(f"the array has the shape {image.shape}; input {self.data!r} takes {shape}.")
        if not isinstance(image, str | Path) and np.shape(image) == shape:
            return np.asarray(image, np.float32)
        if len(shape) != 3:
            raise InputError(f"input {self.data!r} takes {shape}, no image: give an array of this shape.")
        rgb = load_image(image) if isinstance(image, str | Path) else np.asarray(image)
        return self.preprocess.to_caffe(rgb, (shape[0], shape[1], shape[2]))


def _parameters(net: Any) -> NetParameter:
    out = NetParameter()
    for name, blobs in net.params.items():
        out.layer.add(name=name, blobs=[netdef.make_blob(blob.data) for blob in blobs])
    return out
