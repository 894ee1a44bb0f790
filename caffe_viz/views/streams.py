"""Show what a net makes of one image: activations and gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import backend, figures, probe, tables
from caffe_viz.answers import Head
from caffe_viz.attribution.targets import likeliest_class, target_of
from caffe_viz.classification import Guess, likeliest, which_answer
from caffe_viz.errors import CaffeVizWarning, InputError, near
from caffe_viz.figures import Picture
from caffe_viz.files import safe_name
from caffe_viz.geometry.results import shape_text
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.objectives import Channel
from caffe_viz.probe import relu_state
from caffe_viz.surgery import BatchLayout, auxiliary_net, likely_images
from caffe_viz.units import filter_unit, read_unit
from caffe_viz.views.rich import Display, Rich

STATISTICS = ("blob", "shape", "min", "mean", "max", "rms", "non-zero")


def statistics(name: str, array: Array, *more: str) -> tuple[Any, ...]:
    flat = array.astype(np.float64).ravel()
    numbers = (flat.min(), flat.mean(), flat.max(), np.sqrt(np.mean(flat**2)), np.mean(flat != 0))
    return (name, shape_text(array.shape), *(float(f"{v:.6g}") for v in numbers), *more)


def strengths(array: Array) -> Array:
    """(C, ..) -> the mean of each channel (C,)."""
    return np.asarray(array.reshape(len(array), -1).mean(1, dtype=np.float64))


LONGEST = 4096  # values in a line of a map: a longer one is drawn as a vector


def draw(array: Array, title: str, labels: Sequence[str] = (), first: int | None = None) -> Picture:
    """Maps (C, H, W) as tiles, a vector as a line and a histogram, probabilities with their labels.

    Maps may have any number of axes, see `figures.map_tiles`.
    """
    if has_maps(array):
        return figures.map_tiles(array[:first])
    vector = array.ravel()
    if vector.min() >= 0 and np.isclose(vector.sum(), 1, atol=1e-3):
        return figures.prob_plot(vector, labels if len(labels) == len(vector) else (), title)
    return figures.vector_plot(vector, title)


def has_maps(array: Array) -> bool:
    """Whether a blob (C, ..) of one image is drawn as maps: (C, H, W), (C, T) or (C, D, H, W)."""
    one_line = array.ndim == 2 and len(array) == 1  # a vector with one axis more, as LSTMs give
    return array.size > len(array) and not one_line and array.shape[-1] <= LONGEST


@dataclass(frozen=True, repr=False)
class Activations(Rich):
    """The activations of each blob for one image: `arrays` maps blobs to (C, H, W), or (K,) of a vector.

    `states` says for each blob whether it is pre- or post-ReLU. `answers` names the blobs that the net ends
    in, or the last blob if those are not vectors.
    """

    arrays: Mapping[str, Array]
    states: Mapping[str, str]
    labels: Mapping[str, Sequence[str]]  # of those whose values are of classes
    engine: str
    answers: tuple[str, ...] = ()

    def picture(self, blob: str, first: int | None = None) -> Picture:
        """Draw a blob: maps (the `first` ones) as tiles, vectors as lines, probabilities with labels.

        Raises:
            InputError: The blob is not among the arrays.
        """
        if blob not in self.arrays:
            raise InputError(f"no activations of blob {blob!r}.{near(blob, self.arrays)}")
        title = f"{blob}  {self.states[blob]}".strip()
        return draw(self.arrays[blob], title, self.labels.get(blob, ()), first)

    def save(self, folder: PathLike, first: int | None = None) -> list[Path]:
        """Write one PNG for each blob into `folder`."""
        return _save({name: self.picture(name, first) for name in self.arrays}, folder, "activations")

    @property
    def table(self) -> tables.Table:
        rows = tuple(statistics(name, array, self.states[name]) for name, array in self.arrays.items())
        return tables.Table(f"activations ({self.engine})", (*STATISTICS, "state"), rows)

    def top(self, count: int = 5, blob: str | None = None) -> list[Guess]:
        """Return the largest values of `blob` (default: the last one) as (index, label, value)."""
        name = list(self.arrays)[-1] if blob is None else blob
        return list(likeliest(self.arrays[name].ravel(), self.labels.get(name, ()), count))

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Display:
        return Display(
            [*map(self.picture, self.arrays)] if len(self.arrays) == 1 else [], tables=[self.table]
        )


def show_activations(net: Any, image: Any, blobs: Sequence[str] | None = None) -> Activations:
    """Run `image` through the net and show the activations of `blobs`.

    A `caffe.Net` is run itself, with the image in every place of its batch, so its blobs then hold the same
    values.

    Args:
        net: A net from `load_net`.
        image: The path of an image, or an array: (h, w, 3) RGB, (h, w) grey, or the blob itself (C, H, W).
            For a net with several inputs, a mapping from input name to file or array.
        blobs: Default: all, except those of hidden Split layers.

    Raises:
        InputError: No such blob or image.

    Example::

        shown = cv.show_activations(net, "cat.png", ["conv1", "conv3"])
        shown.arrays["conv3"].shape  # (C, H, W)
        shown.save("out")
    """
    whole = Network.of(net)
    names = list(blobs or whole.geometry.named_blobs)
    network, pixels = one_image(whole.part(*names), image)
    engine = network.load() if net is whole else net
    others = {} if net is whole else network.beside(network.message)
    shown = run_image(network, engine, pixels, names, others)
    ends = [head.answer for head in whole.heads[::-1] if head.answer in shown] or names[-1:]
    labels = {name: whole.labels.of(array.size) for name, array in shown.items()}
    labels |= {head.answer: whole.labels_of(head) for head in whole.heads}
    return Activations(
        shown,
        {name: relu_state(network.message, name) for name in names},
        {name: found for name, found in labels.items() if found},
        backend.engine_name(engine),
        tuple(name for name in ends if shown[name].squeeze().ndim < 2),
    )


def run_image(
    network: Network, net: Any, pixels: Array, blobs: Iterable[str], others: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """What `net`, a `caffe.Net` of `network`, makes of an image (C, H, W): blob -> (C, ..) or (K,).

    `others` are values of other inputs. Raises InputError if there is no such blob.
    """
    shape, rows = net.blobs[network.data].data.shape, network.batch_layout.rows
    batch_layout = BatchLayout(rows, shape[0] // rows)
    image = batch_layout.together(pixels[None], shape) if rows > 1 else pixels[None]
    found = probe.forward(net, {network.data: image, **(others or {})}, blobs)
    return {name: batch_layout.apart(a)[0] if a.ndim > 1 else a.ravel() for name, a in found.items()}


def one_image(network: Network, given: Any) -> tuple[Network, Array]:
    """As `one_given`, the image as pixels."""
    network, image = one_given(network, given)
    return network, network.pixels(image)


def one_given(network: Network, given: Any) -> tuple[Network, Any]:
    """The only image in `given`, and the network with what that says of other inputs.

    Raises:
        InputError: there is no image, or more than one; or as `Network.taking`.
    """
    network, images = network.taking(given)
    if len(images) != 1:
        names = " or ".join(likely_images(list(network.message.layer)))
        raise InputError(f"{len(images) or 'no'} images are given: one is needed, for input {names}.")
    return network, images[0]


@dataclass(frozen=True, repr=False)
class GradientView(Rich):
    """The gradient of one target: `blobs` maps blobs to (C, H, W), `params` layers to their parameters."""

    target: str
    blobs: Mapping[str, Array]
    params: Mapping[str, tuple[Array, ...]]
    engine: str

    @property
    def table(self) -> tables.Table:
        rows = [statistics(name, array, "data") for name, array in self.blobs.items()]
        for name, arrays in self.params.items():
            rows += [statistics(f"{name}[{i}]", a, "parameter") for i, a in enumerate(arrays)]
        return tables.Table(
            f"gradient of {self.target} ({self.engine})", (*STATISTICS, "stream"), tuple(rows)
        )

    def picture(self, blob: str) -> Picture:
        """Draw the gradient of a blob: maps as tiles, with mid-grey for zero in most; a vector as a line."""
        if blob not in self.blobs:
            raise InputError(f"no gradient of blob {blob!r}.{near(blob, self.blobs)}")
        return draw(self.blobs[blob], f"gradient of {self.target} at {blob}")

    def save(self, folder: PathLike) -> list[Path]:
        """Write one PNG for each blob into `folder`."""
        return _save({name: self.picture(name) for name in self.blobs}, folder, "gradient")

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Display:
        return Display([*map(self.picture, self.blobs)] if len(self.blobs) == 1 else [], tables=[self.table])


def show_gradients(
    net: Any,
    image: Any,
    target: int | str | None = None,
    index: int | None = None,
    blobs: Sequence[str] | None = None,
) -> GradientView:
    """Compute the gradient of a target with respect to `blobs` and to all parameters before it.

    It is what `net.backward(diffs=[...])` returns if the net ends with the target's layer. A blob with an
    in-place layer has the gradient before that layer.

    Args:
        net: A net from `load_net`.
        image: As for `show_activations`.
        target: A class by number or label, a filter such as "conv3:16" (the mean of its map), a neuron such
            as "conv3:16:3,5" (y, x), or a layer, which stands for its strongest filter. Default: the class
            with the highest score. Classes are taken before a final Softmax or Sigmoid.
        index: The filter of the layer `target`. The layer's own values are used then, even of a Softmax.
        blobs: Default: only the image.

    Raises:
        InputError: No such target, blob or image.
    """
    whole = Network.of(net)
    if target is None and index is None and (several := which_answer(whole)):
        warnings.warn(f"{several}; choose one with --target HEAD:3", CaffeVizWarning, stacklevel=2)
    if target is None:
        target = index if index is not None or len(whole.heads[0].sources) == 1 else _of_several(whole, image)
        index = None
    unit = read_unit(whole, target or 0) if index is None else filter_unit(whole, str(target), index)
    network, pixels = one_image(whole.part(*whole.geometry.layer(unit.layer).tops[:1]), image)
    auxiliary = auxiliary_net(network.message, unit.layer, learn=True, image=network.data)
    whole.check()
    engine = backend.load_net(
        auxiliary.message, network.trained, engine=network.engine, device=network.device, checked=False
    )
    inputs = {auxiliary.image: pixels[None]} | network.beside(auxiliary.message, auxiliary.made)
    values = probe.forward(engine, inputs, [auxiliary.activation])[auxiliary.activation]
    if target is None:
        unit = read_unit(whole, _strongest(whole.heads[0], values[0]))
    elif unit.channel is None:
        unit = read_unit(whole, f"{unit.layer}:{int(_means(values[0]).argmax())}")
    chosen = target_of(unit, str(unit.what), auxiliary.activation, values.shape[1:])
    seed = np.zeros_like(values)
    seed[0] = chosen.seed(values.shape[1:])
    names = {name: auxiliary.made.get(name, name) for name in blobs or [network.data]}
    found = probe.gradient(engine, auxiliary.activation, seed, list(names.values()), params=True)
    layers = {layer.name for layer in network.message.layer}
    params = {name: arrays for name, arrays in found.params.items() if name in layers}  # not the image's
    return GradientView(
        str(chosen),
        {name: network.batch_layout.apart(found.blobs[made])[0] for name, made in names.items()},
        params,
        backend.engine_name(engine),
    )


def _of_several(whole: Network, image: Any) -> int:
    """The likeliest class of an answer whose scores are in several layers."""
    network, pixels = one_image(whole.part(whole.heads[0].answer), image)
    return likeliest_class(probe.Probe(network), pixels).number


def _means(values: Array) -> Array:
    """(C, ..) -> (C,)."""
    return np.asarray(values.reshape(len(values), -1).mean(1))


def _strongest(head: Head, values: Array) -> int:
    """The class of the highest score, of the values (C, ..) that hold all of them."""
    of_maps = isinstance(head[0], Channel)
    scores = (
        _means(values)[[unit.channel for unit in head]] if of_maps else values.ravel()[head.sources[0].places]
    )
    return int(scores.argmax())


def _save(pictures: Mapping[str, Picture], folder: PathLike, what: str) -> list[Path]:
    paths: list[Path] = []
    for name, picture in pictures.items():
        stem = f"{safe_name(name)}_{what}"
        path = Path(folder) / f"{stem}.png"
        if path in paths:  # two names that differ only in what a file name cannot have
            path = Path(folder) / f"{stem}_{len(paths)}.png"
        picture.save(path)
        paths.append(path)
    return paths
