"""The table of methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from caffe_viz.attribution import cams, gradients, masked
from caffe_viz.attribution.job import Job
from caffe_viz.attribution.steps import Steps
from caffe_viz.attribution.targets import Array
from caffe_viz.errors import InputError, near


class Reads(Enum):
    """What a method needs."""

    ANY = "an input of any shape"
    ROWS = "an input (C, H, W) or (C, T)"
    LAYER = "and maps of a layer, which the user may choose"
    CLASS = "and maps that global average pooling makes the classes of"


@dataclass(frozen=True)
class Method:
    """`function` returns (M, C, H, W) or (M, 1, H, W); `reduce` turns that into maps (M, H, W) or (M, ..).

    A slow `function` returns them in steps. `complete` means that its values sum up to the score minus that
    of the zero image.
    """

    function: Callable[[Job], Array | Steps[Array]]
    reads: Reads
    reduce: Callable[[Array], Array]
    complete: bool = False


def strongest(values: Array) -> Array:
    """The largest |value| of the channels, as in Simonyan and others."""
    return np.asarray(np.abs(values).max(1))


def total(values: Array) -> Array:
    """The sum over channels."""
    return np.asarray(values.sum(1))


METHODS = {
    "gradient": Method(gradients.gradient, Reads.ANY, strongest),
    "gradient-x-input": Method(gradients.gradient_x_input, Reads.ANY, total),
    "smoothgrad": Method(gradients.smoothgrad, Reads.ANY, strongest),
    "integrated-gradients": Method(gradients.integrated_gradients, Reads.ANY, total, complete=True),
    "guided-backprop": Method(gradients.guided_backprop, Reads.ANY, strongest),
    "deconvnet": Method(gradients.deconvnet, Reads.ANY, strongest),
    "cam": Method(cams.cam, Reads.CLASS, total),
    "grad-cam": Method(cams.grad_cam, Reads.LAYER, total),
    "grad-cam++": Method(cams.grad_cam_plus_plus, Reads.LAYER, total),
    "layer-cam": Method(cams.layer_cam, Reads.LAYER, total),
    "score-cam": Method(masked.score_cam, Reads.LAYER, total),
    "guided-grad-cam": Method(cams.guided_grad_cam, Reads.LAYER, strongest),
    "occlusion": Method(masked.occlusion, Reads.ROWS, total),
}


def may_not_fit(name: str, layer: str | None) -> bool:
    """Whether a method that does not fit a net may be left out when all are asked for; with this `layer`."""
    reads = METHODS[name].reads
    return reads is not Reads.ANY and (reads is not Reads.LAYER or layer is None)


def need_method(name: str) -> None:
    """Raise InputError if there is no such method."""
    if name not in METHODS:
        raise InputError(f"method {name!r} is unknown.{near(name, METHODS)}")
