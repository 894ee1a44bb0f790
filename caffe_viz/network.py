"""The two files of a network as one value: what is read from them, and the preprocessing."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz import netdef, shipped
from caffe_viz.answers import Head, heads
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
from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import CaffeVizWarning, InputError, about, missing, near
from caffe_viz.files import is_address, shown
from caffe_viz.geometry import Geometry, measure
from caffe_viz.geometry.python_layers import folders
from caffe_viz.images import ImageCollection, Labels, Preprocess, labels_beside, load_image
from caffe_viz.images.arrays import as_picture, load_array
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import AS_FILED, NetParameter, State, StoredLayer, with_state
from caffe_viz.surgery import (
    BatchLayout,
    batch_layout_for,
    describe_defaults,
    fitted,
    held,
    image_input,
    input_shapes,
    leading_to,
    likely_images,
    with_batch,
    with_inputs,
)

Array = NDArray[np.float32]
PathLike = str | Path


@dataclass(frozen=True)
class Network:
    """A network: a prototxt and weights, as paths or messages, with its preprocessing.

    `preprocess` is CaffeNet's by default; `Network.of` reads it from the files beside the prototxt. A
    caffemodel instead of the prototxt holds both, and the name of a shipped network stands for both files.

    `layers`, `allow_code`, `python_path`, `variants` and `state` are as for `load_net`. `input_shapes` are
    shapes of inputs and of tops of data layers, by blob name, as for `surgery.with_inputs`. `image` is the
    input that takes the image, if there are several candidates; `input_values` are the values of the others,
    whole blobs or one row. If no labels are given, they are searched for in `folder`, by default the
    prototxt's.
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
    state: State = AS_FILED
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    image: str | None = None
    input_values: Mapping[str, Array] = field(default_factory=dict, compare=False)
    folder: Path | None = None
    _said: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        prototxt, weights = shipped.files(self.prototxt, self.weights)
        if weights is None and not isinstance(prototxt, NetParameter):
            weights = netdef.own_weights(prototxt)
        object.__setattr__(self, "prototxt", prototxt)
        object.__setattr__(self, "weights", weights)
        if self.folder is None and not isinstance(prototxt, NetParameter):
            object.__setattr__(self, "folder", Path(prototxt).parent)
        load_layers(self.layers)
        folders(self.python_path)

    @classmethod
    def of(cls, net: Any, *, weights: bool = True) -> Network:
        """Return the network of a `caffe.Net` from `load_net`, with its current parameters, or without any.

        Raises:
            InputError: The net was made without `load_net`, so its prototxt is not known.
        """
        if isinstance(net, Network):
            return net
        if isinstance(net, NetParameter):
            return cls(net)
        if isinstance(net, str | Path):
            made = cls(net)
            return replace(made, preprocess=preprocess_near(str(made.prototxt)))
        if not hasattr(net, "prototxt"):
            raise InputError(
                f"{type(net).__name__}: load the net with caffe_viz.load_net(prototxt, weights)."
            )
        trained = _parameters(net) if weights else None
        folder = net.folder
        preprocess = Preprocess() if folder is None else preprocess_near(folder / "deploy.prototxt")
        device = str(getattr(net, "device", "cpu"))
        values = {name: np.array(net.blobs[name].data) for name in net.inputs}
        return cls(
            net.prototxt, trained, preprocess, engine_name(net), device,
            input_shapes={name: array.shape for name, array in values.items()},
            input_values={name: array for name, array in values.items() if array.any()}, folder=folder,
        )  # fmt: skip

    @cached_property
    def given(self) -> NetParameter:
        """The net with the layers of all states, as in its file; its own `state` is the selected one."""
        given = self.prototxt if isinstance(self.prototxt, NetParameter) else Path(self.prototxt)
        if self.allow_code:
            given = message_with_code(given, folders(self.python_path))
        read = given if isinstance(given, NetParameter) else netdef.read_net(given)
        return with_inputs(with_state(read, self.state), self.input_shapes)

    @cached_property
    def whole(self) -> NetParameter:
        """The net with the layers of its state."""
        return prepared(netdef.for_phase(self.given), self.weights, self.variants)

    @cached_property
    def message(self) -> NetParameter:
        """The part of it that can be computed: without layers of unknown types, and what depends on them."""
        return known_part(self.whole)

    @cached_property
    def trained(self) -> NetParameter:
        """The weights as a message.

        Raises:
            InputError: There are none, or they are not of this net.
        """
        given = self._needed()
        return given if isinstance(given, NetParameter) else netdef.read_weights(given, self.whole)

    @cached_property
    def stored(self) -> list[StoredLayer]:
        """The layers of the weights; their values stay in the file until they are read.

        Raises:
            InputError: There are none.
        """
        return netdef.stored_layers(self._needed(), self.whole)

    def _needed(self) -> PathLike | NetParameter:
        if self.weights is None:
            how = shipped.where_weights_are(self.prototxt)
            raise InputError(f"net {self.message.name!r}: weights are needed; give the caffemodel too.{how}")
        return self.weights

    def check(self) -> None:
        """Raise InputError for anything that would make Caffe abort, or fail silently."""
        name = preferred(self.engine, self.device, self.message)
        paths = self._paths
        if paths is not None and caffe_reads(self.given, self.message, paths[1]):
            check(
                *paths,
                allow_code=self.allow_code,
                engine=name,
                python_path=folders(self.python_path),
                state=self.state,
            ).raise_for_errors()
            return
        weights = None if self.weights is None else netdef.stored_layers(self.weights, self.message)
        net = netdef.without_quiet(self.message) if name == "caffe" else self.message
        found = check_messages(net, weights, allow_code=self.allow_code, engine=name)
        label = (
            f"net {self.message.name!r}" if isinstance(self.prototxt, NetParameter) else str(self.prototxt)
        )
        raise_for(found, label)
        if name == "caffe" and caffe_is_installed():
            with as_file(self.message) as path:
                raise_for(probe(path, None, self.message.state), label)

    @property
    def _paths(self) -> tuple[PathLike, PathLike | None] | None:
        """Prototxt and weights, where both are files that real Caffe would read."""
        net, weights = self.prototxt, self.weights
        if self.input_shapes or isinstance(net, NetParameter) or isinstance(weights, NetParameter):
            return None
        return None if netdef.is_binary(net) else (net, weights)

    def need_weights(self) -> None:
        """Raise InputError if there are no weights, or those of a net with other layers."""
        names = {layer.name for layer in self.whole.layer}
        given = [layer.name for layer in self.stored if layer.blobs]
        if names.isdisjoint(given):
            others = ", ".join(given[:8])
            raise InputError(f"net {self.whole.name!r} has none of the layers of the weights: {others}.")

    def part(self, *blobs: str) -> Network:
        """Return the part of it that leads to `blobs`, with the inputs of that part only.

        Raises:
            InputError: No such blob.
        """
        for blob in blobs:
            self.geometry.blob(blob)
        out = self._like()
        vars(out)["heads"] = self.heads
        vars(out)["message"] = leading_to(self.message, blobs) if blobs else self.message
        return out

    @cached_property
    def heads(self) -> tuple[Head, ...]:
        """The answers of the whole net, the main one first."""
        shapes = {name: self.of_one(shape) for name, shape in self.geometry.blobs.items()}
        return heads(self.message, shapes)

    def of_one(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the part of a blob of `shape` for one image; without the batch if no input is the image."""
        return self.batch_layout.shape(shape) if self.has_image else shape[1:]

    @cached_property
    def labels(self) -> Labels:
        """The class names: the given ones, or those of a file with a usual name, if they fit."""
        given = self.preprocess.labels
        by_name = {name: head for head in self.heads for name in head.names}
        for name, own in given.heads.items():
            if name not in by_name:
                raise InputError(f"labels of {name!r}: the net has no such answer.{near(name, by_name)}")
            if not own.of(len(by_name[name])) and not (by_name[name].single and len(own) == 2):
                raise InputError(f"labels of {name!r}: {len(own)} for {len(by_name[name])} classes.")
        return given if given.heads else self.labels_for([len(head) for head in self.heads])

    def labels_for(self, counts: Iterable[int]) -> Labels:
        """Return the given names, or those of a file beside the net whose number is among `counts`."""
        given = self.preprocess.labels
        return given if given or self.folder is None else labels_beside(self.folder, list(counts))

    @property
    def labels_found(self) -> bool:
        """Whether the labels come from a file that nobody has named."""
        return bool(self.labels) and self.labels is not self.preprocess.labels

    def labels_of(self, head: Head) -> Labels:
        """Return the class names of an answer; none if they do not fit, or fit another answer too."""
        own = next((self.labels.heads[name] for name in head.names if name in self.labels.heads), None)
        labels = self.labels if own is None else own
        if head.single and len(labels) == 2:
            return labels.but_first
        rivals = [one for one in self.heads if one.of_classes == head.of_classes and len(one) == len(head)]
        return labels.of(len(head)) if own is not None or rivals == [head] else Labels()

    @cached_property
    def geometry(self) -> Geometry:
        """Shapes for one image, or for as many as the net takes."""
        return measure(with_batch(self.message, self._axis))

    @cached_property
    def _axis(self) -> int:
        """The size of the first axis of the image, or of the first input where several could be it."""
        if self.has_image:
            return self.batch_layout.axis
        image = next(iter(input_shapes(self.message.layer)), "")
        return batch_layout_for(self.message, image).axis if image else 1

    @cached_property
    def has_image(self) -> bool:
        """Whether it is known which input takes the image."""
        try:
            return bool(self.data)
        except InputError:  # said where an image is needed
            return False

    @cached_property
    def data(self) -> str:
        """The blob that takes the image.

        Raises:
            InputError: There are several candidates.
        """
        return image_input(self.message, self.image)[0]

    @cached_property
    def batch_layout(self) -> BatchLayout:
        """How `load` takes images."""
        return self.batch_layout_for(1)

    def batch_layout_for(self, images: int) -> BatchLayout:
        """How many go in at once, where so many should."""
        return batch_layout_for(self.message, self.data, images)

    @property
    def bytes_of_one(self) -> int:
        """The memory of all blobs for one image, at least 1."""
        return max(self.geometry.blob_bytes // self.batch_layout.images, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the image, (C, rows, H, W) where it takes several rows."""
        return self.batch_layout.shape(self.geometry.blobs[self.data])

    @property
    def pictures(self) -> Preprocess | None:
        """The preprocessing; None if the input has other channels or axes than an image."""
        return self.colours if len(self.shape) == 3 else None

    @property
    def colours(self) -> Preprocess | None:
        """The preprocessing of an image, or of frames of a volume (C, D, H, W); None without colours."""
        fits = self.shape[0] == self.preprocess.channels and self.batch_layout.rows == 1
        return self.preprocess if fits and len(self.shape) in (3, 4) else None

    def load(self) -> Any:
        """Load a `caffe.Net` for one image, or as many as the net takes; other inputs get their values."""
        self.check()
        weights = None if self.weights is None else self.trained
        message = with_batch(self.message, self._axis)
        net = load_net(message, weights, engine=self.engine, device=self.device, checked=False)
        for name, values in self.beside(message).items() if self.has_image else ():
            net.blobs[name].data[...] = values
        return net

    def beside(self, net: NetParameter, made: Mapping[str, str] | None = None) -> dict[str, Array]:
        """Return the values of the inputs besides the image in `net`, which was made of this network.

        Inputs without a value get their default, with a CaffeVizWarning. `made` maps inputs to their names in
        `net`, if these differ.

        Raises:
            InputError: A value does not fit.
        """
        names = [name for name in input_shapes(self.message.layer) if name != self.data]
        found = held(net, names, self.input_values, made or {})
        unsaid = {
            name: found[blob] for name in names
            if name not in self.input_values and (blob := (made or {}).get(name, name)) in found
        }  # fmt: skip
        new = {name: values for name, values in unsaid.items() if name not in self._said}
        self._said.update(new)
        if new:
            warnings.warn(f"inputs not given: {describe_defaults(new)}", CaffeVizWarning, stacklevel=3)
        return found

    @property
    def inputs_digest(self) -> str:
        """Distinguishes networks by which input takes the image, and by the values of the others."""
        digest = hashlib.sha256(self.data.encode())
        for name, array in sorted(self.beside(self.message).items()):
            digest.update(repr((name, array.shape)).encode() + array.tobytes())
        return digest.hexdigest()

    def taking(self, images: Any) -> tuple[Network, list[Any]]:
        """Return the images in `images`, and the network with the values given there for its inputs by name.

        `images` is one or several of: files and arrays, texts NAME=FILE, or a mapping of names to files or
        arrays. If all are given by name, the first one that could be the image is the image. Values for
        inputs that this part of the network does not need are ignored.

        Raises:
            InputError: Two values for an input that is not the image, or a value that does not fit.
        """
        plain, named = self._named(images)
        names = dict.fromkeys(name for name, _ in named)
        likely = likely_images(list(self.message.layer))
        free = [name for name in likely if name not in names]
        taken = [name for name in names if name in likely]
        if plain:
            image = free[0] if len(free) == 1 else self.image
        else:
            image = next(iter([*taken, *names]), self.image)
        own = [one for name, one in named if name == image]
        return self._with(image, [(n, one) for n, one in named if n != image]), [*plain, *own]

    def collection(
        self, images: Any, *blobs: str, root: Path | None = None
    ) -> tuple[Network, ImageCollection]:
        """The images in `images`, and the network with what is given there for inputs that `blobs` need.

        `root` is the folder of the paths in a list of images.

        Raises:
            InputError: there are none, or as `taking`.
        """
        taken, found = self.part(*blobs).taking(images)
        return self.like(taken), ImageCollection.of(*found, root=root)

    def holding(self, inputs: Any) -> Network:
        """Return the network with values for inputs by name, as for `taking`; none of them is the image.

        Raises:
            InputError: As `taking`, or a value has no name.
        """
        plain, named = self._named(inputs)
        if plain:
            inputs = ", ".join(input_shapes(self.whole.layer))
            raise InputError(f"{shown(plain[0])}: give it as NAME=FILE; the inputs are {inputs}.")
        names = {name for name, _ in named}
        free = [name for name in likely_images(list(self.message.layer)) if name not in names]
        return self._with(free[0] if len(free) == 1 else self.image, named)

    def _named(self, images: Any) -> tuple[list[Any], list[tuple[str, Any]]]:
        """Split values without a name from those with the name of an input; others are ignored."""
        own, every = input_shapes(self.message.layer), input_shapes(self.whole.layer)
        if isinstance(images, Mapping):
            for name in images:
                if name not in every:
                    raise missing(f"net {self.whole.name!r}", "input", name, every, {})
            return [], [(name, one) for name, one in images.items() if name in own]
        if isinstance(images, str | Path) or not isinstance(images, Iterable):
            images = [images]
        elif isinstance(images, np.ndarray):
            return [images], []
        plain, named = list[Any](), list[tuple[str, Any]]()
        for one in images:
            name, sign, file = str(one).partition("=") if isinstance(one, str | Path) else ("", "", "")
            if sign and name in own:
                named.append((name, file if is_address(file) else Path(file)))
            elif not (sign and name in every):
                if sign and Path(file).exists() and not Path(one).exists():
                    raise missing(f"net {self.whole.name!r}", "input", name, every, {})
                plain.append(one)
        return plain, named

    def _with(self, image: str | None, named: Sequence[tuple[str, Any]]) -> Network:
        values = dict(self.input_values)
        for n, (name, one) in enumerate(named):
            if name in [other for other, _ in named[:n]]:
                raise InputError(f"input {name!r} is not the image, but is given twice: give it once.")
            values[name] = self._value(name, one)
        return self._like(image=image, input_values=values)

    def _value(self, name: str, given: Any) -> Array:
        """The value given for an input besides the image."""
        shape = input_shapes(self.message.layer)[name]
        picture = isinstance(given, str | Path) and Path(given).suffix.lower() != ".npy"
        if not picture:
            array = load_array(given) if isinstance(given, str | Path) else np.asarray(given, np.float32)
            return fitted(name, array, shape)
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise InputError(
                f"{shown(given)}: input {name!r} takes {shape}, no image: give an array, as .npy."
            )
        how = self.preprocess
        if shape[1] == 1 and how.channels != 1:
            how = replace(how, channel_order="GRAY", mean=how.mean.grey)
        return how.to_caffe(load_image(given), (shape[1], shape[2], shape[3]))

    def like(self, part: Network) -> Network:
        """Return this network with what a part of it knows about its inputs."""
        return self._like(image=part.image, input_values=part.input_values)

    def _like(self, **changes: Any) -> Network:
        """The same files, read once, with other fields."""
        out = replace(self, **changes)
        read = ("given", "whole", "message", "trained", "stored", "heads")
        vars(out).update({name: value for name, value in vars(self).items() if name in read})
        return out

    def pixels(
        self, image: PathLike | Array, size: tuple[int, int] | None = None, *, name: str = ""
    ) -> Array:
        """Return an image in units of the input, (C, H, W), or (C, rows, H, W) of several rows.

        H and W are the net's own or `size`. `image` is the path of an image or a .npy, or an array. An array
        of the input's shape is the blob itself; others are images, (h, w, 3) RGB or (h, w) grey, as bytes or
        in 0..1. If an image takes several rows of the input, a single one is repeated. Errors call it `name`,
        by default the file.

        Raises:
            InputError: The file cannot be read, or has none of these shapes.
        """
        rows, blob = self.batch_layout.rows, self.geometry.blobs[self.data]
        shape = (*blob[1:2], *(size or blob[2:]))
        file = image if isinstance(image, str | Path) else None
        with about(name or shown(file or "")):
            array = self._as_blob(image, shape, rows)
        if rows == 1:
            return array.reshape(shape)
        if array.shape == shape:
            self._once(f"each image is repeated in all {rows} rows of input {self.data!r} {blob}")
            array = np.broadcast_to(array, (rows, *shape))
        return np.asarray(self.batch_layout.apart(array)[0])

    def _as_blob(self, image: PathLike | Array, shape: tuple[int, ...], rows: int) -> Array:
        """(C, H, W), or (rows, C, H, W) of an array that is so."""
        if isinstance(image, str | Path) and Path(image).suffix.lower() != ".npy":
            if len(shape) != 3:
                raise InputError(f"input {self.data!r} takes {shape}, no image: give an array of this shape.")
            return self.preprocess.to_caffe(load_image(image), (shape[0], shape[1], shape[2]))
        array = load_array(image) if isinstance(image, str | Path) else np.asarray(image)
        if array.shape in (shape, (rows, *shape)):
            return np.asarray(array, np.float32)
        rgb = as_picture(array) if len(shape) == 3 else None
        if rgb is None:
            raise InputError(
                f"the array has the shape {array.shape}; input {self.data!r} takes "
                f"{shape if rows == 1 else (rows, *shape)}"
                f"{', or an image (H, W, 3) or (H, W)' if len(shape) == 3 else ''}."
            )
        return self.preprocess.to_caffe(rgb, (shape[0], shape[1], shape[2]))

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, CaffeVizWarning, stacklevel=3)


def _parameters(net: Any) -> NetParameter:
    out = NetParameter()
    for name, blobs in net.params.items():
        out.layer.add(name=name, blobs=[netdef.make_blob(blob.data) for blob in blobs])
    return out
