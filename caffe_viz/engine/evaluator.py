"""An auxiliary net as a function of images, for ascents: nothing leaves the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from caffe_viz.engine.arrays import Host, TorchArrays
from caffe_viz.engine.module import NetModule
from caffe_viz.engine.net import Net
from caffe_viz.netdef import NetParameter
from caffe_viz.surgery import Auxiliary, parameter_as_input


class Evaluator:
    """Objectives (N,) of images (N, C, H, W), with the gradient.

    The image is a parameter of the auxiliary net, and an input of the module.
    """

    def __init__(self, auxiliary: Auxiliary, weights: NetParameter | None, device: str) -> None:
        self._image, self._values = auxiliary.image, auxiliary.values
        net = parameter_as_input(auxiliary.message, auxiliary.image_layer)
        loaded = Net(net, 1, weights=weights, device=device)
        self.arrays = TorchArrays(loaded.device)
        self._module = NetModule(loaded, "channels_last")
        self._settings: dict[str, Tensor] = {
            name: torch.zeros(shape, device=loaded.device)
            for name, shape in self._module.input_shapes.items() if name != self._image
        }  # fmt: skip

    def set(self, settings: Mapping[str, Host]) -> None:
        """Give the net the numbers of its objectives."""
        self._settings |= {name: self.arrays.put(values) for name, values in settings.items()}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The objectives, and the gradient of their sum."""
        leaf = images.detach().requires_grad_()
        with torch.enable_grad():
            found = self._module({self._image: leaf, **self._settings}, blobs=[self._values])
        assert isinstance(found, dict)
        values = found[self._values]
        (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
        return values.detach(), torch.zeros_like(leaf) if gradient is None else gradient.contiguous()
