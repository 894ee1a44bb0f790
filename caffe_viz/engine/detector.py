"""`caffe.Detector`: classify windows of images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from caffe_viz.engine import io
from caffe_viz.engine.classifier import Path, transformer
from caffe_viz.engine.conversion import Array, ArrayError, Floats
from caffe_viz.engine.net import Net
from caffe_viz.errors import InputError

Window = Sequence[int]


class Detector(Net):
    """A net in TEST phase that takes windows of images, warped to its input.

    `context_pad` is the width of the input's border, in pixels, that shows the surroundings of the window;
    the other arguments are settings of `Transformer`.

    Raises:
        InputError: As Net and Transformer.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(os.fspath(model_file), phase=1, weights=os.fspath(pretrained_file))
        self.transformer = transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the width of the border around windows; outside the image, it shows the mean.

        Raises:
            InputError: Nothing is left between the borders.
        """
        name = self.inputs[0]
        shape = tuple(self.blobs[name].shape)[1:]
        if context_pad and 2 * context_pad >= min(shape[1:]):
            raise InputError(f"context_pad {context_pad} leaves nothing of an input of {shape[1:]}.")
        self.context_pad = context_pad
        self.crop_dims = np.array([*shape[1:], shape[0]])
        self.crop_mean = self.transformer.deprocess(name, np.zeros(shape, np.float32))

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Window]]]) -> list[dict[str, Any]]:
        """Classify windows (ymin, xmin, ymax, xmax) of files: `filename`, `window` and `prediction` of each.

        Raises:
            InputError: A file cannot be read, no windows, or a window outside its image.
        """
        found: list[dict[str, Any]] = []
        crops: list[Floats] = []
        name = self.inputs[0]
        for filename, windows in images_windows:
            image = io.load_image(filename)
            for window in windows:
                found.append({"window": window, "filename": filename})
                crops.append(self.transformer.preprocess(name, self.crop(image, window)))
        if not crops:
            raise ArrayError("no windows were given: (filename, [(ymin, xmin, ymax, xmax)]) is expected.")
        predictions = self.forward_all(None, **{name: np.stack(crops)})[self.outputs[0]]
        return [{**one, "prediction": values} for one, values in zip(found, predictions, strict=True)]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """Not available: it calls a program in MATLAB."""
        raise NotImplementedError("caffe_viz proposes no windows: give some to detect_windows.")

    def crop(self, im: Array, window: Window) -> Floats:
        """Cut the window (ymin, xmin, ymax, xmax) out of an image (H, W, K); with context, at input size.

        Raises:
            InputError: The window lies outside the image.
        """
        y, x, y_end, x_end = map(int, window)
        part = im[max(y, 0) : y_end, max(x, 0) : x_end]
        if not part.size:
            raise ArrayError(f"window {tuple(window)} holds nothing of an image of shape {im.shape}.")
        return self._with_context(im, np.array([[y, x], [y_end, x_end]])) if self.context_pad else part

    def _with_context(self, im: Array, window: Array) -> Floats:
        """As R-CNN: a box around the window, warped to a square input, the mean where the image ends."""
        side = int(self.crop_dims[1])
        half = (window[1] - window[0] + 1) / 2
        reach = half * side / (side - 2 * (self.context_pad or 0))
        box = np.round(window[0] + half + np.array([-reach, reach]))
        factor = side / (box[1] - box[0] + 1)
        (top, left) = pad = np.round(np.maximum(0, -box[0]) * factor).astype(int)
        box = np.clip(box, 0, im.shape[:2]).astype(int)
        height, width = np.minimum(np.round((box[1] - box[0] + 1) * factor).astype(int), side - pad)
        crop = np.array(self.crop_mean)
        seen = im[box[0, 0] : box[1, 0], box[0, 1] : box[1, 1]]
        crop[top : top + height, left : left + width] = io.resize_image(seen, (height, width))
        return crop
