"""Torch tensors with the operations that an ascent uses (`caffe_viz.ascent.arrays`), on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Host = NDArray[np.float32]
SMALLEST = 1e-37  # a root mean square below it is zero: its inverse is no float32


class TorchArrays:
    """`Arrays` of tensors on `device`. `copied` counts the values that went to the host."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.copied = 0

    def put(self, values: Host) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self.device)

    def host(self, values: Tensor) -> Host:
        self.copied += values.numel()
        return np.array(values.detach().to("cpu", torch.float32).numpy())

    def spectrum(self, images: Tensor) -> Tensor:
        found: Tensor = torch.view_as_real(torch.fft.rfft2(images))
        return found

    def image(self, spectrum: Tensor, size: tuple[int, int]) -> Tensor:
        found: Tensor = torch.fft.irfft2(torch.view_as_complex(spectrum.contiguous()), s=size)
        return found

    def sigmoid(self, values: Tensor) -> Tensor:
        return values.sigmoid()

    def along(self, matrix: Host, images: Tensor, axis: int) -> Tensor:
        found: Tensor = torch.tensordot(self.put(matrix), images, ([1], [axis])).movedim(0, axis)
        return found

    def resample(self, images: Tensor, places: Host) -> tuple[Tensor, Callable[[Any], Any]]:
        size = np.array(images.shape[2:], np.float64).reshape(1, 2, 1, 1)
        # torch counts from -1 to 1 between the outer edges, columns first.
        unit = ((2 * places + 1) / size - 1)[:, ::-1].transpose(0, 2, 3, 1)
        grid, leaf = self.put(unit), images.detach().requires_grad_()
        with torch.enable_grad():
            made = F.grid_sample(leaf, grid, "bilinear", "zeros", align_corners=False)
        return made.detach(), lambda gradient: torch.autograd.grad(made, leaf, gradient)[0]

    def roll(self, images: Tensor, shift: tuple[int, int]) -> Tensor:
        return images.roll(shift, (-2, -1)) if any(shift) else images

    def inverse_rms(self, values: Tensor) -> Tensor:
        # In two steps: a gradient of a mean can be 1e-30, whose square float32 does not hold.
        flat = values.flatten(1)
        largest = flat.abs().amax(1).clamp(min=SMALLEST)
        roots = largest * (flat / largest[:, None]).square().mean(1).sqrt()
        return torch.where(roots > SMALLEST, 1 / roots, 0)

    def sqrt(self, values: Tensor) -> Tensor:
        return values.sqrt()

    def where(self, condition: Tensor, values: Any, others: Any) -> Tensor:
        return torch.where(condition, values, others)

    def stack(self, parts: list[Tensor], axis: int) -> Tensor:
        return torch.stack(parts, axis)
