"""Class activation maps (M, 1, H, W): weighted sums of the maps A (K, h, w) of a layer, resized to the image.

g = d score / d A throughout. Of sequences (C, T) and volumes (C, D, H, W) places have one axis, or three.
"""

from __future__ import annotations

import numpy as np

from caffe_viz.attribution.gradients import guided_backprop
from caffe_viz.attribution.job import Job
from caffe_viz.attribution.pooled import class_weights
from caffe_viz.attribution.targets import Array
from caffe_viz.images import resized


def cam(job: Job) -> Array:
    """sum of w A, w the weights of the linear layer behind global average pooling.

    Its mean over places is the score, but for the bias. Source: Zhou and others, arXiv:1512.04150.
    """
    maps = job.probe.forward(job.images, [job.layer])[job.layer]
    weights = np.stack([class_weights(job.probe, target) for target in job.targets])
    return to_image(job, weighted(maps, weights))


def grad_cam(job: Job) -> Array:
    """max(0, sum of w A), w the mean of g over places. Source: Selvaraju and others, arXiv:1610.02391."""
    maps, g = job.pull(job.images, job.targets, job.layer)
    return to_image(job, np.maximum(weighted(maps, g.mean(_places(g))), 0))


def grad_cam_plus_plus(job: Job) -> Array:
    """max(0, sum of w A), w = sum over places of a max(0, g), a = g^2 / (2 g^2 + g^3 sum of A).

    The derivatives of the exponential of the score, whose factor exp(score) is left out, as in the authors'
    code. Source: Chattopadhyay and others, arXiv:1710.11063, equation 19.
    """
    maps, g = job.pull(job.images, job.targets, job.layer)
    below = 2 + g * maps.sum(_places(g), keepdims=True)  # a = 1 / below where g is not 0
    weights = np.divide(np.maximum(g, 0), below, out=np.zeros_like(g), where=below != 0).sum(_places(g))
    return to_image(job, np.maximum(weighted(maps, weights), 0))


def layer_cam(job: Job) -> Array:
    """max(0, sum of max(0, g) A): each place has its own weight. Source: Jiang and others, LayerCAM, 2021."""
    maps, g = job.pull(job.images, job.targets, job.layer)
    return to_image(job, np.maximum((np.maximum(g, 0) * maps).sum(1), 0))


def guided_grad_cam(job: Job) -> Array:
    """Guided backpropagation times Grad-CAM, (M, C, H, W). Source: Selvaraju and others, arXiv:1610.02391."""
    return guided_backprop(job) * grad_cam(job)


def weighted(maps: Array, weights: Array) -> Array:
    """Maps (M, K, h, w) and weights (M, K) -> (M, h, w)."""
    return np.asarray(np.einsum("mk...,mk->m...", maps, weights, optimize=True), np.float32)


def to_image(job: Job, maps: Array) -> Array:
    """(M, h, w) -> (M, 1, H, W) of the image, linear in each direction."""
    return upsampled(maps, job.images.shape[2:])[:, None]


def upsampled(maps: Array, size: tuple[int, ...]) -> Array:
    """(M, h, w) -> (M, *size), linear in each direction."""
    return np.ascontiguousarray(np.moveaxis(resized(np.moveaxis(maps, 0, -1), size), -1, 0))


def _places(maps: Array) -> tuple[int, ...]:
    """The axes behind those of images and channels."""
    return tuple(range(2, maps.ndim))
