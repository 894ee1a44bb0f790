"""Attribution methods (M, C, H, W) that use the gradient of the target's score at the image."""

from __future__ import annotations

import numpy as np

from caffe_viz.attribution.job import Job
from caffe_viz.attribution.steps import Steps
from caffe_viz.attribution.targets import Array


def gradient(job: Job) -> Array:
    """d score / d image. Source: Simonyan, Vedaldi, Zisserman, arXiv:1312.6034."""
    return _gradient(job, "plain")


def gradient_x_input(job: Job) -> Array:
    """The gradient times the image, as the net sees it. Source: Shrikumar and others, arXiv:1605.01713."""
    return job.images * _gradient(job, "plain")


def guided_backprop(job: Job) -> Array:
    """The gradient with both masks at each ReLU. Source: Springenberg and others, arXiv:1412.6806."""
    return _gradient(job, "guided")


def deconvnet(job: Job) -> Array:
    """The gradient with only its own mask at each ReLU; Caffe's max-pooling goes back by its switches.

    Source: Zeiler and Fergus, arXiv:1311.2901.
    """
    return _gradient(job, "deconvnet")


def _gradient(job: Job, rule: str) -> Array:
    return job.pull(job.images, job.targets, job.probe.image, rule)[1]


def smoothgrad(job: Job) -> Steps[Array]:
    """The mean gradient over noisy copies of the image. Source: Smilkov and others, arXiv:1706.03825."""
    s = job.settings
    out = np.zeros(job.images.shape, np.float64)
    for m, (image, target) in enumerate(zip(job.images, job.targets, strict=True)):
        rng = np.random.default_rng(s.seed)  # so that an image's map does not depend on those before it
        deviation = s.noise * float(np.ptp(image))
        for part in job.parts(s.samples):
            count = part.stop - part.start
            noise = rng.normal(0, deviation, (count, *image.shape)).astype(np.float32)
            found = job.pull(image + noise, [target] * count, job.probe.image)[1]
            out[m] += found.sum(0, dtype=np.float64) / s.samples
            yield (m + part.stop / s.samples) / len(job.images)
    return out.astype(np.float32)


def integrated_gradients(job: Job) -> Steps[Array]:
    """The image times the mean gradient on the way from the zero blob, the training's mean image, to it.

    Midpoints of equal steps. All values sum up to the score less that of the zero blob (completeness).
    Source: Sundararajan, Taly, Yan, arXiv:1703.01365.
    """
    steps = job.settings.steps
    way = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    out = np.zeros(job.images.shape, np.float64)
    for m, (image, target) in enumerate(zip(job.images, job.targets, strict=True)):
        for part in job.parts(steps):
            there = way[part].reshape(-1, *[1] * image.ndim) * image
            found = job.pull(there, [target] * len(there), job.probe.image)[1]
            out[m] += found.sum(0, dtype=np.float64) / steps
            yield (m + part.stop / steps) / len(job.images)
    return np.asarray(out * job.images, np.float32)
