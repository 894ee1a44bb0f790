"""A net as a function from images to objectives and gradients, on either engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from caffe_viz.ascent.arrays import Arrays, Host, HostArrays
from caffe_viz.backend import load_evaluator, load_net
from caffe_viz.netdef import NetParameter
from caffe_viz.probe import need_maxima
from caffe_viz.surgery import Auxiliary


class Evaluator(Protocol):
    """An auxiliary net with its weights; its inputs and outputs live in `arrays`."""

    @property
    def arrays(self) -> Arrays:
        """Where the net computes."""

    def set(self, settings: Mapping[str, Host]) -> None:
        """Set the numbers of the objectives in the net."""

    def __call__(self, images: Any) -> tuple[Any, Any]:
        """The objective (N,) of each image (N, C, H, W), and its gradient (N, C, H, W).

        Raises:
            RunError: as `need_maxima`.
        """


class CaffeEvaluator:
    """Real Caffe: the image is the parameter that learns."""

    def __init__(self, net: Any, auxiliary: Auxiliary) -> None:
        self.arrays = HostArrays()
        self._net, self._auxiliary = net, auxiliary
        self._image = net.params[auxiliary.image_layer][0]

    def set(self, settings: Mapping[str, Host]) -> None:
        for name, values in settings.items():
            self._net.blobs[name].data[...] = values

    def __call__(self, images: Any) -> tuple[Any, Any]:
        net = self._net
        self._image.data[...] = images
        net.forward()
        need_maxima(net, range(len(net.layers)))
        values = np.array(net.blobs[self._auxiliary.values].data, np.float32)
        if np.isfinite(values).all():
            net.backward()
        return values, np.array(self._image.diff)


def evaluator(auxiliary: Auxiliary, weights: NetParameter | None, engine: str, device: str) -> Evaluator:
    """Load the net of `auxiliary` on an engine."""
    if engine == "torch":
        found: Evaluator = load_evaluator(auxiliary, weights, device)
        return found
    return CaffeEvaluator(load_net(auxiliary.message, weights, engine=engine, checked=False), auxiliary)
