"""The numbers of objectives, one for each image, as arrays for the Input blobs of an auxiliary net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.objectives import Channel, Content, Direction, Leaf, Named, Neuron, Source, Style, Target
from caffe_viz.surgery.inputs import Shape
from caffe_viz.surgery.terms import Term

Array = NDArray[np.float32]
Part = tuple[float, Leaf]
Parts = Sequence[Sequence[Part]]  # of the first images of a batch; the others have no part in the objective


def fill(term: Term, parts: Parts, groups: Sequence[int]) -> dict[str, Array]:
    """Return the values of the blobs of a term, for its slot in each image's objective; 0 for other images.

    Raises:
        InputError: A channel, place, vector or target that the layer does not have.
    """
    arrays = {blob.name: np.zeros(blob.shape, np.float32) for blob in term.inputs}
    FILL[term.slot.kind](term, parts, groups, *arrays.values())
    return arrays


def _linear(term: Term, parts: Parts, groups: Sequence[int], selector: Array) -> None:
    for n, own in enumerate(parts):
        for factor, leaf in own:
            place, values = LINEAR[type(leaf)](term, leaf)
            index = (n, *place)
            if len(index) > selector.ndim:
                raise InputError(
                    f"objective {leaf}: this net has factors for whole maps; make it for an objective with "
                    f"a neuron, or with neuron=True."
                )
            selector[index] += factor * values


def _channel(term: Term, leaf: Channel) -> tuple[tuple[Any, ...], float]:
    return (_existing(term, leaf.channel),), 1 / _places(term)


def _neuron(term: Term, leaf: Neuron) -> tuple[tuple[Any, ...], float]:
    space = term.activation.shape[2:]
    place = leaf.position or tuple(n // 2 for n in space)
    if len(place) != len(space) or not all(0 <= p < n for p, n in zip(place, space, strict=True)):
        raise InputError(f"layer {leaf.layer!r} has maps of {space}; it has no neuron at {place}.")
    return (_existing(term, leaf.channel), *place), 1.0


def _direction(term: Term, leaf: Direction) -> tuple[tuple[Any, ...], NDArray[Any]]:
    if leaf.away is not None:
        raise _unresolved(leaf)
    vector = _array(leaf, leaf.toward, term.activation.shape[1:2], "a vector")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if length == 0:
        raise InputError(f"objective {leaf}: the vector is zero, so it has no direction.")
    values = vector / length / _places(term)
    return (slice(None),), values.reshape(-1, *[1] * (len(_selector(term)) - 2))


# Of a weighted sum: which factors of an image's selector a leaf adds to, and how much.
LINEAR: Mapping[type[Leaf], Callable[..., tuple[tuple[Any, ...], Any]]] = {
    Channel: _channel,
    Neuron: _neuron,
    Direction: _direction,
}


def _squares(term: Term, parts: Parts, groups: Sequence[int], factors: Array) -> None:
    factors[: len(parts)] = _factors(parts)


def _content(term: Term, parts: Parts, groups: Sequence[int], targets: Array, factors: Array) -> None:
    _target(term, parts, targets, "the activation of a photograph")
    factors[: len(parts)] = _factors(parts)


def _style(term: Term, parts: Parts, groups: Sequence[int], targets: Array, factors: Array) -> None:
    _target(term, parts, targets, "a Gram matrix")
    factors[: len(parts)] = _factors(parts)


def _diversity(term: Term, parts: Parts, groups: Sequence[int], pairs: Array) -> None:
    """Row n is minus image n's factor, distributed over the others of its group."""
    same = np.equal.outer(groups, groups) & ~np.eye(len(groups), dtype=bool)
    others = np.maximum(same.sum(1), 1)
    count = len(parts)
    pairs[:count, :count] = same * (-np.array(_factors(parts)) / others)[:, None]


FILL: Mapping[str, Callable[..., None]] = {
    "linear": _linear,
    "squares": _squares,
    "content": _content,
    "style": _style,
    "diversity": _diversity,
}


def _factors(parts: Parts) -> list[float]:
    return [sum(factor for factor, _ in own) for own in parts]


def _target(term: Term, parts: Parts, targets: Array, what: str) -> None:
    for n, own in enumerate(parts):
        for _, leaf in own:
            assert isinstance(leaf, Content | Style)
            if not isinstance(leaf.image, Target):
                raise _unresolved(leaf)
            targets[n] = _array(leaf, leaf.image, targets.shape[1:], what)


def _array(leaf: Leaf, source: Source, shape: Shape, what: str) -> NDArray[Any]:
    values = source.values if isinstance(source, Named) else source
    if not isinstance(values, np.ndarray):
        raise _unresolved(leaf)
    if values.shape != shape:
        raise InputError(
            f"objective {leaf}: {what} of {shape} is expected, not of {values.shape}; give an array or a "
            f"photograph of this net, at the size that it has here."
        )
    if not np.isfinite(values).all():
        raise InputError(f"objective {leaf}: {what} has values that are not numbers.")
    return values


def _unresolved(leaf: Leaf) -> InputError:
    return InputError(
        f"objective {leaf}: its files have not been read yet: use loaded(..), then resolved(..)."
    )


def _existing(term: Term, channel: int) -> int:
    channels = term.activation.shape[1]
    if not 0 <= channel < channels:
        raise InputError(f"layer {term.slot.layer!r} has filters 0 to {channels - 1}, not {channel}.")
    return channel


def _places(term: Term) -> int:
    return int(np.prod(term.activation.shape[2:]))


def _selector(term: Term) -> Shape:
    return term.inputs[0].shape
