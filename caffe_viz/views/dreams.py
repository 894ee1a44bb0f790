"""Photographs changed, or made again, by what a layer sees in them."""

from __future__ import annotations

from typing import Any

from caffe_viz.ascent import DREAM, INVERT
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.objectives import Content, Direction, Layer, Named, Objective
from caffe_viz.views.maximized import Maximized, maximize


def dream(
    net: Any,
    image: PathLike | Array,
    layer: str | Objective,
    *,
    guide: PathLike | Array | None = None,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> Maximized:
    """The photograph with more of whatever `layer` finds in it, or with more of an objective.

    From small to large, in `octaves`, so that large shapes come first. Further options are those of
    `maximize`: steps, rate, octaves, mask, seed .. With `guide`, a second photograph, what the layer sees in
    that one is brought in. `size` (H, W) is by default the net's own; a net without fully connected layers
    before `layer` takes any. Images are as of `Network.pixels`.

    Source: Mordvintsev et al., Inceptionism, 2015.

    Raises:
        InputError: no such layer or image, or a size that the net does not take.
    """
    network = Network.of(net)
    objective = layer if isinstance(layer, Objective) else Layer(layer)
    if guide is not None and isinstance(layer, str):
        objective = Direction(
            layer, Named(network.pixels(guide), "guide"), Named(network.pixels(image), "image")
        )
    size = size or network.shape[1:]  # type: ignore[assignment]
    return maximize(network, objective, start=image, size=size, **{"method": DREAM, **options})


def invert(
    net: Any,
    image: PathLike | Array,
    layer: str,
    **options: Any,
) -> Maximized:
    """An image that has the same blob as a photograph: what `layer` keeps of it.

    It begins as noise and comes near in the mean squared difference of the blob; of several `pictures` each
    begins differently. Further options are those of `maximize`.

    Source: Mahendran and Vedaldi, Understanding Deep Image Representations by Inverting Them, 2015; with the
    canvas of Olah et al., Feature Visualization, 2017, for their prior.

    Raises:
        InputError: no such layer or image.
    """
    network = Network.of(net)
    objective = Content(layer, Named(network.pixels(image), "image"))
    return maximize(network, objective, **{"method": INVERT, **options})
