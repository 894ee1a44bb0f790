"""Attribution methods (M, 1, H, W) that hide parts of the image and watch the score; no gradients."""

from __future__ import annotations

from itertools import product

import numpy as np

from caffe_viz.attribution.cams import to_image, upsampled, weighted
from caffe_viz.attribution.job import Job
from caffe_viz.attribution.steps import Steps
from caffe_viz.attribution.targets import Array, Target
from caffe_viz.errors import InputError


def score_cam(job: Job) -> Steps[Array]:
    """max(0, sum of w A), where w is the softmax over maps of the scores of the image masked by each map.

    A map, resized to the image and scaled to 0..1, multiplies it. Every mask changes the image, so all layers
    up to the target run for each; constant maps hide everything, and run once. The score of an image without
    content, which the paper subtracts, changes nothing in the softmax.
    Source: Wang and others, arXiv:1910.01279, algorithm 1.
    """
    out = []
    for m, (image, target) in enumerate(zip(job.images, job.targets, strict=True)):
        maps = job.probe.forward(image[None], [job.layer])[job.layer][0]
        scores = np.full(len(maps), job.scores(np.zeros_like(image[None]), [target])[0])
        living = np.flatnonzero(np.ptp(maps.reshape(len(maps), -1), axis=1) > 0)
        for part in job.parts(len(living)):
            k = living[part]
            masks = upsampled(maps[k], image.shape[1:])
            places = tuple(range(1, masks.ndim))
            masks -= masks.min(places, keepdims=True)
            masks /= np.maximum(masks.max(places, keepdims=True), np.finfo(np.float32).tiny)
            scores[k] = job.scores(image * masks[:, None], [target] * len(k))
            yield (m + part.stop / len(living)) / len(job.images)
        weights = np.exp(scores - scores.max())
        out.append(np.maximum(weighted(maps[None], weights[None] / weights.sum()), 0)[0])
    return to_image(job, np.stack(out))


def occlusion(job: Job) -> Steps[Array]:
    """How much the score drops when a square becomes zero, the training's mean; averaged over the squares.

    Squares extend over the border, so that every pixel is hidden; of sequences (C, T) they are stretches of
    time. Source: Zeiler and Fergus, arXiv:1311.2901.
    """
    if job.images.ndim not in (3, 4):
        raise InputError(
            f"the input is {job.images.shape[1:]}, neither an image (C, H, W) nor a sequence (C, T): "
            f"use a gradient method."
        )
    out = np.empty((len(job.images), 1, *job.images.shape[2:]), np.float32)
    for m in range(len(job.images)):
        out[m, 0] = yield from _occluded(job, m)
    return out


def _occluded(job: Job, m: int) -> Steps[Array]:
    image, target = job.images[m], job.targets[m]
    windows = _windows(job, image.shape[1:])
    whole = float(job.scores(image[None], [target])[0])
    drops, covered = np.zeros(image.shape[1:]), np.zeros(image.shape[1:])
    for part in job.parts(len(windows)):
        hidden = _hidden(image, windows[part])
        for window, score in zip(windows[part], _scores(job, hidden, target), strict=True):
            drops[window] += whole - float(score)
            covered[window] += 1
        yield (m + part.stop / len(windows)) / len(job.images)
    return np.asarray(drops / covered, np.float32)


def _scores(job: Job, images: Array, target: Target) -> Array:
    return job.scores(images, [target] * len(images))


def _hidden(image: Array, windows: list[tuple[slice, ...]]) -> Array:
    out = np.repeat(image[None], len(windows), axis=0)
    for copy, window in zip(out, windows, strict=True):
        np.moveaxis(copy, 0, -1)[window] = 0
    return out


def _windows(job: Job, size: tuple[int, ...]) -> list[tuple[slice, ...]]:
    patch = job.settings.patch or max(1, min(size) // 7)
    stride = min(job.settings.stride or max(1, patch // 2), patch)
    return list(product(*([slice(a, a + min(patch, n)) for a in _starts(n, patch, stride)] for n in size)))


def _starts(length: int, patch: int, stride: int) -> list[int]:
    last = max(0, length - patch)
    return sorted({*range(0, last, stride), last})
