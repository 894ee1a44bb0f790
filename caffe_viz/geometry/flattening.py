"""The axes of the inputs of a fully connected layer, before its bottom was flattened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from caffe_viz.geometry.batch_dependent import RECURRENT
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.geometry.results import LayerGeometry

# Layers of one bottom that leave each value where it is, and those that change its axes only.
KEEPING = frozenset(
    {
        "AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "ELU", "Flatten", "LRN", "MVN", "Normalize",
        "Power", "PReLU", "ReLU", "ReLU6", "Reshape", "Scale", "Sigmoid", "Split", "TanH",
    }
)  # fmt: skip
NO_UNITS = RECURRENT | {"Embed"}  # whose rows weigh no blob, or one of a sequence


def seen_by_units(layers: Sequence[LayerGeometry]) -> Iterator[tuple[str, Shape]]:
    """Map each fully connected layer to the axes, as (C, H, W), that its units read; see `seen_axes`."""
    for layer in layers:
        weights = layer.param_shapes[0] if layer.param_shapes else ()
        if len(weights) == 2 and layer.type not in NO_UNITS:
            axes = next(filter(None, (seen_axes(layers, layer, size) for size in weights[::-1])), None)
            if axes is not None:
                yield layer.name, axes


def seen_axes(layers: Sequence[LayerGeometry], layer: LayerGeometry, inputs: int) -> Shape | None:
    """Return the axes, such as (C, H, W), of the blob whose `inputs` values a unit of `layer` reads.

    If a Flatten or Reshape has made the blob a vector, its axes before that count. None: it is a vector, or
    its shape is not known.
    """
    here: LayerGeometry | None = layer
    while here is not None and here.bottoms:
        axes = _axes_of(here.bottom_shapes[0], inputs)
        if axes is None:
            return None
        if sum(size > 1 for size in axes) > 1:
            return axes
        here = _maker(layers, here)
    return None


def _axes_of(shape: Shape | None, inputs: int) -> Shape | None:
    """The last axes of a blob that together hold `inputs` values, without the first axis."""
    tails = [shape[start:] for start in range(1, len(shape))] if shape else []
    fitting = [tail for tail in tails if math.prod(tail) == inputs]
    # More than three may begin with a batch of one, as (T, 1, C, H, W) does with axis: 2.
    return next((tail for tail in fitting if tail[0] > 1 or len(tail) <= 3), None)


def _maker(layers: Sequence[LayerGeometry], layer: LayerGeometry) -> LayerGeometry | None:
    """The layer that made the first bottom of `layer`, if it kept the order of the values."""
    before = reversed(layers[: layer.index])
    found = next((one for one in before if layer.bottoms[0] in one.tops), None)
    return found if found is not None and found.type in KEEPING else None
