"""The path of a gradient through the layers of a net, and what each rectifier does to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.backend import engine_name
from caffe_viz.probe.pooling import need_maxima
from caffe_viz.probe.wires import bottoms_of, tops_of, wires_of
from caffe_viz.surgery import NO_GRADIENT, ONLY_FORWARD_IN_CAFFE

Array = NDArray[np.float32]
# (gradient at the rectifier's top, what its own backward makes of it) -> gradient at its bottom; of arrays,
# and of the embedded engine's tensors.
Rule = Callable[[Any, Any], Any]

RECTIFIERS = frozenset({"ELU", "PReLU", "ReLU", "ReLU6"})
RULES: Mapping[str, Rule | None] = {
    "plain": None,
    "guided": lambda above, below: below * (above > 0),
    "deconvnet": lambda above, below: above.clip(0),
}
"""What a gradient g becomes at a rectifier f(x).

plain: f'(x) g, as the layer does it. guided (Springenberg et al., 2015): f'(x) max(g, 0), so both masks.
deconvnet (Zeiler and Fergus, 2014): max(g, 0), whatever x was. A leaky ReLU, PReLU or ELU keeps its own slope
f'(x) where x < 0 under plain and guided; sigmoid and tanh are no rectifiers and stay plain.
"""

# Their forward leaves in the diff of their bottom what their backward needs.
SCRATCH = frozenset({"HingeLoss"})
# What no backward writes, and small enough to count as zero; a NaN would pass BLAS's multiplying by zero.
UNTOUCHED = np.float32(1.17e-30)


@dataclass(frozen=True)
class Path:
    """Layers from `start` blobs back to others, last first; diffs on the way, and beside it."""

    layers: tuple[int, ...]
    start: frozenset[str]
    on: frozenset[str]
    beside: frozenset[str]


def find_path(net: Any, start: Iterable[str], wrt: Iterable[str] | None = None) -> Path:
    """The layers through which gradients of `start` reach `wrt` (None: all that they reach).

    Layers without a gradient, such as ArgMax, end it.
    """
    kinds = [layer.type for layer in net.layers]
    ends = NO_GRADIENT | (ONLY_FORWARD_IN_CAFFE if engine_name(net) == "caffe" else frozenset())
    wires = wires_of(net)
    below = set(net.blobs) if wrt is None else set(wrt)
    behind = []
    for (bottoms, tops), kind in zip(wires, kinds, strict=True):
        behind.append(kind not in ends and (wrt is None or not below.isdisjoint(bottoms)))
        if behind[-1]:
            below.update(tops)
    first, on, layers = frozenset(start), set(start), []
    for i in reversed(range(len(wires))):
        bottoms, tops = wires[i]
        if behind[i] and not on.isdisjoint(tops):
            layers.append(i)
            on.update(below.intersection(bottoms))
    every = {top for i in layers for top in wires[i][1]}
    return Path(tuple(layers), first, frozenset(on), frozenset(every - on))


def walk(
    net: Any,
    path: Path,
    seeds: Mapping[str, Array],
    change: Rule | None = None,
    changed: Collection[str] = RECTIFIERS,
) -> None:
    """Backward along `path` from `seeds`, one for each start; diffs of other paths count as zero.

    `change` is a rule for layers of the types `changed`; it needs a net without layers that work in place.

    Raises:
        RunError: as `need_maxima`.
    """
    need_maxima(net, path.layers)
    for name in path.beside:
        net.blobs[name].diff[...] = 0  # stale: an earlier pass, or a loss that kept something there
    for name in path.on:
        net.blobs[name].diff[...] = UNTOUCHED
    for name, seed in seeds.items():
        net.blobs[name].diff[...] = seed
    for first, last in _stretches(net, path, SCRATCH.union(changed if change else ())):
        if net.layers[first].type in SCRATCH:
            net._forward(first, first)
        net._backward(first, last)
        if change and net.layers[last].type in changed:
            below, above = net.blobs[bottoms_of(net, last)[0]], net.blobs[tops_of(net, last)[0]]
            below.diff[...] = change(np.array(above.diff), np.array(below.diff))


def unreached(net: Any, path: Path) -> list[str]:
    """Blobs on the path whose diffs no layer has written."""
    return [n for n in sorted(path.on - path.start) if (np.asarray(net.blobs[n].diff) == UNTOUCHED).all()]


def _stretches(net: Any, path: Path, alone: frozenset[str]) -> Iterator[tuple[int, int]]:
    """(first, last) layer of stretches without gaps; layers of a type in `alone` are one each."""
    stretch: list[int] = []
    for i in path.layers:
        single = net.layers[i].type in alone
        if stretch and (single or stretch[-1] != i + 1):
            yield stretch[0], stretch[-1]
            stretch = []
        stretch.append(i)
        if single:
            yield i, i
            stretch = []
    if stretch:
        yield stretch[0], stretch[-1]
