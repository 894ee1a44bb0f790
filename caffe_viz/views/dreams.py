"""Change photographs, or make them again, by what a layer sees in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.ascent import DREAM, INVERT
from caffe_viz.errors import InputError
from caffe_viz.files import safe_name
from caffe_viz.images import load_image
from caffe_viz.images.mean import Mean
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.objectives import Content, Direction, Layer, Named, Objective
from caffe_viz.views.maximized import Maximized, maximize
from caffe_viz.views.objectives import climbed
from caffe_viz.views.streams import one_given


def dream(
    net: Any,
    image: Any,
    layer: str | Objective,
    *,
    guide: PathLike | Array | None = None,
    size: tuple[int, int] | None = None,
    **options: Any,
) -> Maximized:
    """Change a photograph so that `layer`, or an objective, finds more of what it responds to (DeepDream).

    Works from small to large in `octaves`, so that large shapes come first.

    Source: Mordvintsev et al., Inceptionism, 2015.

    Args:
        net: A net from `load_net`.
        image: The photograph, as for `show_activations`.
        layer: A layer, of which all filters count, or an objective from `read_objective`.
        guide: A second photograph: what the layer sees in it is brought into the first.
        size: (H, W) of the result. Default: the net's own. A net without fully connected layers before
            `layer` takes any size.
        **options: Further options of `maximize`, such as steps, rate, octaves, mask, seed.

    Raises:
        InputError: No such layer or image, or a size that the net does not take.

    Example::

        cv.dream(net, "cat.png", "conv4", octaves=3).save("out")
    """
    whole = Network.of(net)
    objective = layer if isinstance(layer, Objective) else Layer(layer)
    network, image = one_given(climbed(whole, objective), image)
    if guide is not None and not isinstance(layer, str):
        raise InputError("a guide needs a layer in which it is seen, not an objective.")
    if guide is not None and isinstance(layer, str):
        own = _side(network)
        toward, away = (_pixels(network, x, own) for x in (guide, image))
        objective = Direction(layer, Named(toward, "guide"), Named(away, "image"))
    size = size or _side(network)
    first = _pixels(network, image, size)
    found = maximize(whole.like(network), objective, start=first, size=size, **{"method": DREAM, **options})
    return replace(found, name=_named(image, objective if guide is None else layer, "dream"))


def invert(
    net: Any,
    image: Any,
    layer: str,
    **options: Any,
) -> Maximized:
    """Make an image with the same blob as a photograph, to see what `layer` keeps of it.

    The image starts as noise and approaches the photograph in the mean squared difference of the blob. With
    several `pictures`, each starts differently.

    Source: Mahendran and Vedaldi, Understanding Deep Image Representations by Inverting Them, 2015, with the
    canvas of Olah et al., Feature Visualization, 2017, instead of their prior.

    Args:
        net: A net from `load_net`.
        image: The photograph, as for `show_activations`.
        layer: The layer whose activation is matched.
        **options: Further options of `maximize`.

    Raises:
        InputError: No such layer or image.

    Example::

        cv.invert(net, "cat.png", "conv3", steps=256).sheet
    """
    whole = Network.of(net)
    network, image = one_given(climbed(whole, layer), image)
    objective = Content(layer, Named(_pixels(network, image, _side(network)), "image"))
    found = maximize(whole.like(network), objective, **{"method": INVERT, **options})
    return replace(found, name=_named(image, layer, "invert"))


def _side(network: Network) -> tuple[int, int] | None:
    """(H, W) of the net's own input, if it is an image."""
    return (network.shape[1], network.shape[2]) if len(network.shape) == 3 else None


def _pixels(network: Network, image: PathLike | Array, size: tuple[int, int] | None) -> Array:
    """The middle of a photograph in the proportions of `size`, brought to it: (C, H, W) of the input."""
    rgb = load_image(image) if isinstance(image, str | Path) and Path(image).suffix != ".npy" else image
    if isinstance(rgb, np.ndarray) and rgb.ndim == 3 and rgb.shape[2] == 3 and size is not None:
        height, width = rgb.shape[:2]
        share = min(height / size[0], width / size[1])
        tall, wide = (max(round(n * share), 1) for n in size)
        top, left = (height - tall) // 2, (width - wide) // 2
        rgb = rgb[top : top + tall, left : left + wide]
    how = network.preprocess
    mean = how.mean if size is None else Mean.of(how.mean_at(size))  # that by which the picture is shown
    straight = replace(how, mean=mean, resize=None, antialias=True)
    return replace(network, preprocess=straight).pixels(rgb, size)


def _named(image: PathLike | Array, layer: str | Objective, method: str) -> str:
    """How the files are called: after the photograph, the layer and the method."""
    stem = Path(image).stem if isinstance(image, str | Path) else "image"
    return f"{safe_name(stem)}_{safe_name(str(layer))}_{method}"
