"""How images got into a net in its training, by the transform_param of a data layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError
from caffe_viz.geometry.table import text
from caffe_viz.geometry.told import image_size
from caffe_viz.images import Preprocess
from caffe_viz.netdef import LayerParameter, read_blob

IMAGENET = "imagenet_mean.binaryproto"  # whose averages are the default of Preprocess
ORDERS = {1: "GRAY", 3: "BGR"}  # as OpenCV, with which Caffe reads images, has channels
# Types whose data are no images that transform_param changed.
NO_IMAGES = frozenset({"HDF5Data", "Input", "Python"})


@dataclass
class Pixels:
    """The preprocessing (None: it is not known), and what could not be kept."""

    preprocess: Preprocess | None = None
    notes: list[str] = field(default_factory=list)


def mean_file(layer: LayerParameter, folder: Path | None) -> NDArray[np.float32] | None:
    """The mean (C, H, W) that a data layer names, where `folder` has a file of that name.

    A network file names no path here: only the last part of it counts.
    """
    name = PurePath(layer.transform_param.mean_file).name
    if not name or folder is None or not (folder / name).is_file():
        return None
    array = read_blob(folder / name)
    return array.reshape(array.shape[-3:]) if array.ndim >= 3 else None


def pixels(layer: LayerParameter, shape: Sequence[int], folder: Path | None) -> Pixels:
    """How the images of a data layer, `shape`, got in; its mean file is looked for in `folder`."""
    channels = shape[1] if len(shape) == 4 else 0
    out, name = Pixels(), f"layer {layer.name!r} ({layer.type})"
    if layer.type in NO_IMAGES:
        out.notes.append(f"{name} does not say how images get in: no preprocess.toml is written")
        return out
    if channels not in ORDERS:
        out.notes.append(f"{name} gives {text(shape)}, which is no image: no preprocess.toml is written")
        return out
    t, mean = layer.transform_param, mean_file(layer, folder)
    values = _mean(layer, mean, out.notes)
    if len(values) not in (1, channels):
        out.notes.append(f"{name} has {len(values)} means for {channels} channels: their average is kept")
        values = (sum(values) / len(values),)
    try:
        out.preprocess = Preprocess(
            channel_order=ORDERS[channels], mean=values, scale=_short(t.scale),
            resize=_resize(layer, mean, out.notes),
        )  # fmt: skip
    except InputError as error:
        out.notes.append(f"{name}: {error} No preprocess.toml is written")
    out.notes += (f"{name} has {what}, which preprocess.toml cannot say" for what in _others(layer))
    return out


def _mean(layer: LayerParameter, mean: NDArray[np.float32] | None, notes: list[str]) -> tuple[float, ...]:
    t = layer.transform_param
    if t.mean_value:
        return tuple(map(_short, t.mean_value))
    if not t.mean_file:
        return (0.0,)
    if mean is not None:
        notes.append(f"the mean of {t.mean_file} is one number for each channel, its average over all places")
        return tuple(_short(v) for v in mean.mean(axis=(1, 2)))
    name = PurePath(t.mean_file).name
    if name == IMAGENET:
        notes.append(f"{name} does not lie beside the net; its known averages are taken")
        return Preprocess().mean
    notes.append(f"{name} does not lie beside the net: set the mean in preprocess.toml, which is 0 there")
    return (0.0,)


def _resize(layer: LayerParameter, mean: NDArray[np.float32] | None, notes: list[str]) -> int | None:
    """The side of the square that is cropped; None where images are warped straight to the input."""
    t = layer.transform_param
    if not (t.crop_size or (t.crop_h and t.crop_w)):
        return None
    size = image_size(layer, stored=True) or (None if mean is None else tuple(mean.shape[1:]))
    if size is None:
        notes.append(
            "the size of the images before the crop stands in their database: images are warped straight to "
            "the input; if they were 256 x 256, set resize = 256 in preprocess.toml"
        )
        return None
    if size[0] != size[1]:
        notes.append(f"images are warped straight to the input: preprocess.toml has no crop from {size}")
        return None
    return size[0]


def _others(layer: LayerParameter) -> Iterator[str]:
    """What else was done with images, that changes their values in TEST too."""
    t = layer.transform_param
    for name in ("old_resize_param", "noise_param"):
        if t.HasField(name):
            yield name


def _short(value: float) -> float:
    """A float32 in as few digits as say it."""
    return float(str(np.float32(value)))
