"""What is evaluated: images with a target each, and the methods that fit the net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from caffe_viz.attribution import METHODS, Reads, Settings, attribute
from caffe_viz.attribution.pooled import class_maps
from caffe_viz.attribution.targets import Target, find_layer, find_target, likeliest_class
from caffe_viz.errors import InputError, near
from caffe_viz.probe import Probe

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Cases:
    """R images (R, C, H, W), a target for each, all of one blob, and methods; `refused` ones do not fit."""

    probe: Probe
    images: Array
    names: tuple[str, ...]
    given: tuple[int | str, ...]
    targets: tuple[Target, ...]
    methods: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    layer: str | None = None
    settings: Settings = field(default_factory=Settings)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of images and maps."""
        return self.images.shape[2], self.images.shape[3]

    def map(self, row: int, method: str) -> Array:
        """(H, W), by the weights that the net has now."""
        layer = self.layer if METHODS[method].reads is Reads.LAYER else None
        image, target = self.images[row][None], [self.given[row]]
        made = attribute(self.probe, image, target, method, layer, settings=self.settings)
        return np.asarray(made.maps[0], np.float32)


def cases(
    probe: Probe,
    images: Array,
    targets: Sequence[int | str] | None = None,
    methods: Sequence[str] | None = None,
    layer: str | None = None,
    *,
    names: Sequence[str] = (),
    settings: Settings | None = None,
) -> Cases:
    """Each of `targets` (None: its likeliest class) in each of `images` (I, C, H, W), by `methods`.

    None takes all methods that fit the net. For targets and `layer` see `caffe_viz.attribution.attribute`;
    the targets are of one layer, so that their scores can be compared.

    Raises:
        InputError: no such method, target or layer; a named method does not fit the net; targets of several
            layers; images of another shape.
    """
    inputs = np.asarray(images, np.float32)
    if inputs.ndim > 1 and inputs.ndim != 4:
        raise InputError(
            f"the input is {inputs.shape[1:]}: an image (C, H, W) is needed, to hide its pixels."
        )
    if inputs.ndim != 4 or not len(inputs) or not np.isfinite(inputs).all():
        raise InputError(f"images of {inputs.shape}: finite numbers (N, C, H, W) are expected, one at least.")
    given = [(i, target) for i in range(len(inputs)) for target in _given(probe, inputs[i], targets)]
    found = tuple(find_target(probe, target) for _, target in given)
    blobs = list(dict.fromkeys(target.blob for target in found))
    if len(blobs) > 1:
        raise InputError(f"targets of {' and '.join(map(repr, blobs))}: evaluate one layer at a time.")
    fit, refused = _fitting(probe, methods, layer, found[0])
    return Cases(
        probe, inputs[[i for i, _ in given]], tuple(names[i] if names else str(i) for i, _ in given),
        tuple(target for _, target in given), found, fit, refused, layer, settings or Settings(),
    )  # fmt: skip


def _given(probe: Probe, image: Array, targets: Sequence[int | str] | None) -> Sequence[int | str]:
    if targets is not None:
        if not len(targets):
            raise InputError("no target is given: leave it out for each image's likeliest class.")
        return targets
    return [likeliest_class(probe, image).number]


def _fitting(
    probe: Probe, methods: Sequence[str] | None, layer: str | None, target: Target
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Methods that fit the net, and others with the reason, where none is asked for by name."""
    fit, refused = list[str](), list[tuple[str, str]]()
    for method in METHODS if methods is None else dict.fromkeys(methods):
        if method not in METHODS:
            raise InputError(f"method {method!r} is unknown.{near(method, METHODS)}")
        try:
            if METHODS[method].reads is Reads.LAYER:
                find_layer(probe, layer, target)
            elif METHODS[method].reads is Reads.CLASS:
                class_maps(probe, target)
            fit.append(method)
        except InputError as error:
            if methods is not None or (METHODS[method].reads is Reads.LAYER and layer is not None):
                raise
            refused.append((method, str(error)))
    return tuple(fit), tuple(refused)
