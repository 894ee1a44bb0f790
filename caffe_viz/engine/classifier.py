"""`caffe.Classifier`: classify images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe_viz.engine import io
from caffe_viz.engine.conversion import Array, ArrayError, Floats
from caffe_viz.engine.net import Net

Path = str | os.PathLike[str]


class Classifier(Net):
    """A net in TEST phase that takes images (H, W, K).

    `image_dims` is the size (H, W) to which images are resized before the crop, by default the input's; the
    other arguments are settings of `Transformer`.

    Raises:
        InputError: As Net and Transformer.
    """

    def __init__(
        self,
        model_file: Path,
        pretrained_file: Path,
        image_dims: io.Size | None = None,
        mean: Array | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(os.fspath(model_file), phase=1, weights=os.fspath(pretrained_file))
        self.transformer = transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(tuple(self.blobs[self.inputs[0]].shape)[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)

    def predict(self, inputs: Sequence[Array], oversample: bool = True) -> Floats:
        """Predict N images, (N, C): averaged over ten crops, or without `oversample`, for the centre crop.

        Raises:
            InputError: No images, images of another shape than (H, W, K), or a crop larger than `image_dims`.
        """
        if not len(inputs):
            raise ArrayError("no images were given: a list of arrays (H, W, K) is expected.")
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        crops = io.oversample(images, self.crop_dims) if oversample else self._centres(images)
        name = self.inputs[0]
        data = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions = self.forward_all(None, **{name: data})[self.outputs[0]]
        if not oversample:
            return predictions
        return np.asarray(predictions.reshape(len(images), 10, -1).mean(1))

    def _centres(self, images: list[Floats]) -> list[Floats]:
        """As the centres that `oversample` cuts out."""
        if any(self.image_dims < self.crop_dims):
            raise ArrayError(
                f"image_dims {self.image_dims}: {self.crop_dims}, the input's, or more are expected."
            )
        (top, left), (height, width) = (self.image_dims - self.crop_dims) // 2, self.crop_dims
        return [image[top : top + height, left : left + width] for image in images]


def transformer(
    net: Any,
    mean: Array | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> io.Transformer:
    """Make a Transformer of images (H, W, K) for the first input of a net; None leaves a setting out."""
    name = net.inputs[0]
    made = io.Transformer({name: tuple(net.blobs[name].shape)})
    made.set_transpose(name, (2, 0, 1))
    if mean is not None:
        made.set_mean(name, mean)
    if input_scale is not None:
        made.set_input_scale(name, input_scale)
    if raw_scale is not None:
        made.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        made.set_channel_swap(name, channel_swap)
    return made
