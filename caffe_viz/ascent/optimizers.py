"""How parameters follow their gradient upwards, step by step, each image by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from caffe_viz.ascent.arrays import Arrays, gaussian
from caffe_viz.ascent.pixel_range import PixelRange, spread

Step = Callable[[Any, Any], Any]
"""(parameters, gradient) -> parameters; remembers what it has seen."""


class Optimizer(Protocol):
    """Makes the steps of an ascent."""

    @property
    def rate(self) -> float:
        """The size of a step."""

    def begin(self, arrays: Arrays, units: PixelRange, steps: int) -> Step:
        """Prepare the steps of one batch, `steps` in all."""


@dataclass(frozen=True)
class NormalizedSteps:
    """Steps along the gradient over its root mean square, times `rate` pixels of 0..255; then decay and blur.

    `decay` shrinks the image towards grey; `blur` is the deviation of a Gaussian, in pixels, after every
    `blur_every`-th step but the last (Yosinski et al., Deep Visualization, 2015). For a canvas of pixels.

    Simonyan et al., Deep Inside Convolutional Networks, 2014 (without its L2 term).
    """

    rate: float = 8.0
    decay: float = 0.0
    blur: float = 0.0
    blur_every: int = 1

    def begin(self, arrays: Arrays, units: PixelRange, steps: int) -> Step:
        count = 0

        def step(params: Any, gradient: Any) -> Any:
            nonlocal count
            count += 1
            params = params + self.rate * units.pixel * normalized(arrays, gradient)
            if self.decay:
                grey = arrays.put(spread(units.grey, params.ndim))
                params = grey + (1 - self.decay) * (params - grey)
            if self.blur and count % self.blur_every == 0 and count < steps:
                for axis in range(2, params.ndim):
                    params = arrays.along(gaussian(params.shape[axis], self.blur), params, axis)
            return params

        return step


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba, Adam: a method for stochastic optimization, 2015; `rate` in units of the parameters.

    Gradients are divided by the root mean square of the first one, so that their scale does not matter.
    """

    rate: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    decay: float = 0.0

    def begin(self, arrays: Arrays, units: PixelRange, steps: int) -> Step:
        count, mean, square, unit = 0, 0.0, 0.0, None
        first, second = self.betas

        def step(params: Any, gradient: Any) -> Any:
            nonlocal count, mean, square, unit
            count += 1
            unit = _spread(arrays.inverse_rms(gradient), gradient.ndim) if unit is None else unit
            gradient = gradient * unit
            mean = first * mean + (1 - first) * gradient
            square = second * square + (1 - second) * gradient * gradient
            root = arrays.sqrt(square / (1 - second**count))
            params = (1 - self.rate * self.decay) * params
            return params + self.rate / (1 - first**count) * mean / (root + self.epsilon)

        return step


def normalized(arrays: Arrays, gradient: Any) -> Any:
    """Divide (N, ...) by the root mean square of each image; zero stays zero."""
    return gradient * _spread(arrays.inverse_rms(gradient), gradient.ndim)


def _spread(values: Any, axes: int) -> Any:
    """(N,) as (N, 1, ...)."""
    return values.reshape(-1, *[1] * (axes - 1))
