"""Turn paths into photographs, and these into the targets of an objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.objectives.values import (
    Array,
    Content,
    Direction,
    Leaf,
    Named,
    Objective,
    Source,
    Style,
    Target,
    leaves,
    parts_of,
    source_text,
    with_parts,
)

Read = Callable[[str], NDArray[Any]]
Run = Callable[[str, Array], NDArray[Any]]
Activation = Callable[[str, Source], NDArray[Any]]  # (C, ..) of a layer for one photograph


def gram(activation: NDArray[Any]) -> NDArray[np.float64]:
    """Gram matrices (.., C, C) of activations A (.., C, P): the mean over places p of A[i, p] A[j, p]."""
    wide = np.asarray(activation, np.float64)
    return np.asarray(wide @ np.swapaxes(wide, -1, -2) / wide.shape[-1])


def files(objective: Objective) -> tuple[str, ...]:
    """Return the paths in it that have not been read, photographs and vectors, each once."""
    found = [source for leaf in leaves(objective) for source in _sources(leaf).values()]
    return tuple(dict.fromkeys(str(source) for source in found if isinstance(source, str | Path)))


def loaded(objective: Objective, read_image: Read, read_array: Read) -> Objective:
    """Return the objective with the files read that its paths name, each once.

    `read_image(path)` returns a photograph (C, H, W) in units of the input, `read_array(path)` a vector (C,).
    """
    read: dict[tuple[bool, str], Named] = {}

    def of(leaf: Leaf) -> Leaf:
        vector = isinstance(leaf, Direction) and leaf.away is None
        new: dict[str, Any] = {}
        for name, source in _sources(leaf).items():
            if isinstance(source, str | Path):
                key = vector, str(source)
                if key not in read:
                    values = np.asarray((read_array if vector else read_image)(key[1]), np.float32)
                    read[key] = Named(values, source_text(source))
                new[name] = read[key]
        return replace(leaf, **new)

    return _with_leaves(objective, of)


def resolved(objective: Objective, run: Run) -> Objective:
    """Return the objective with targets instead of photographs, so with arrays only, as workers need it.

    `run(layer, images)` returns the activations (N, C, ..) of images (N, C, H, W) in units of the input; it
    is called with one image at a time, once for each layer. A target is an activation (C, ..) for Content,
    whose image must have the size that the net will have, a Gram matrix (C, C) for Style, and a vector (C,)
    for Direction.

    Raises:
        InputError: A photograph or a vector is still a path: call `loaded` first.
    """
    made: dict[tuple[str, int], NDArray[Any]] = {}

    def activation(layer: str, source: Source) -> NDArray[Any]:
        pixels = _values(source)
        if (layer, id(pixels)) not in made:
            made[layer, id(pixels)] = np.array(run(layer, np.asarray(pixels, np.float32)[None])[0])
        return made[layer, id(pixels)]

    return _with_leaves(objective, lambda leaf: TARGETS.get(type(leaf), _as_it_is)(leaf, activation))


def _content(leaf: Content, activation: Activation) -> Leaf:
    if isinstance(leaf.image, Target):
        return leaf
    return Content(leaf.layer, _target(activation(leaf.layer, leaf.image), source_text(leaf.image)))


def _style(leaf: Style, activation: Activation) -> Leaf:
    if isinstance(leaf.image, Target):
        return leaf
    found = activation(leaf.layer, leaf.image)
    return Style(leaf.layer, _target(gram(found.reshape(len(found), -1)), source_text(leaf.image)))


def _direction(leaf: Direction, activation: Activation) -> Leaf:
    text = source_text(leaf.toward)
    if leaf.away is None:
        return Direction(leaf.layer, _target(_values(leaf.toward), text))
    a, b = (_mean(activation(leaf.layer, source)) for source in (leaf.toward, leaf.away))
    return Direction(leaf.layer, _target(a - b, f"{text}, {source_text(leaf.away)}"))


def _as_it_is(leaf: Leaf, activation: object) -> Leaf:
    return leaf


TARGETS: dict[type[Leaf], Callable[..., Leaf]] = {Content: _content, Style: _style, Direction: _direction}


def _mean(activation: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(activation.reshape(len(activation), -1).mean(1, dtype=np.float64))


def _target(values: NDArray[Any], text: str) -> Target:
    return Target(np.ascontiguousarray(values, np.float32), text)


def _values(source: Source) -> NDArray[Any]:
    if isinstance(source, str | Path):
        raise InputError(
            f"{str(source)!r} is a path: read it first, with loaded(objective, read_image, read_array)."
        )
    return source.values if isinstance(source, Named) else source


def _sources(leaf: Leaf) -> dict[str, Source]:
    """Field -> the photograph or the array that it has."""
    given = {f.name: getattr(leaf, f.name) for f in fields(leaf)}
    return {name: given[name] for name in ("image", "toward", "away") if given.get(name) is not None}


def _with_leaves(objective: Objective, change: Callable[[Leaf], Leaf]) -> Objective:
    if isinstance(objective, Leaf):
        return change(objective)
    return with_parts(objective, tuple(_with_leaves(part, change) for part in parts_of(objective)))
