"""The preprocessing that the transform_param of a data layer describes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from caffe_viz.errors import InputError
from caffe_viz.geometry.data_shapes import brings_data, image_size
from caffe_viz.geometry.table import text
from caffe_viz.images import Preprocess
from caffe_viz.images.mean import Mean, read_mean
from caffe_viz.images.pixels import RED_GREEN_BLUE
from caffe_viz.netdef import LayerParameter, NetParameter
from caffe_viz.netdef.net_pb2 import TRAIN

IMAGENET = "imagenet_mean.binaryproto"  # whose averages are the default of Preprocess
ORDERS = {1: "GRAY", 3: "BGR"}  # as OpenCV, with which Caffe reads images, has channels
# Types whose data are no images that transform_param changed.
NO_IMAGES = frozenset({"HDF5Data", "Input", "Python"})


MIN_AXES = 2  # of what can be an image, or the like; labels have one
INFO = "info.json"  # of an archive that DIGITS makes of a model


@dataclass
class Pixels:
    """The preprocessing (None: not known), and what could not be kept; `layer` is where it was found."""

    preprocess: Preprocess | None = None
    notes: list[str] = field(default_factory=list)
    layer: str = ""


def pixels_of(net: NetParameter, inputs: Mapping[str, Sequence[int]], folder: Path | None) -> Pixels:
    """Return the preprocessing of `inputs` from the data layers of `net`, TEST before TRAIN.

    Mean files are searched for in `folder`.
    """
    for layer in sorted(filter(brings_data, net.layer), key=only_trains):
        top = next((top for top in layer.top if len(inputs.get(top, ())) >= MIN_AXES), None)
        if top is not None:
            return pixels(layer, inputs[top], folder)
    return Pixels()


def only_trains(layer: LayerParameter) -> bool:
    """Whether it is not part of phase TEST."""
    return any(rule.HasField("phase") and rule.phase == TRAIN for rule in layer.include)


def mean_file(layer: LayerParameter, folder: Path | None) -> Mean | None:
    """Return the mean that a data layer names, if `folder` has a file of that name.

    Network files must not name paths: only the last part of the name counts.

    Raises:
        InputError: The file holds no mean.
    """
    name = PurePath(layer.transform_param.mean_file).name
    if not name or folder is None or not (folder / name).is_file():
        return None
    return read_mean(folder / name, RED_GREEN_BLUE["BGR"])


def pixels(layer: LayerParameter, shape: Sequence[int], folder: Path | None) -> Pixels:
    """Return the preprocessing of a data layer with images of `shape`; mean files are in `folder`."""
    channels = shape[1] if len(shape) == 4 else 0
    out, name = Pixels(layer=layer.name), f"layer {layer.name!r} ({layer.type})"
    if layer.type in NO_IMAGES:
        out.notes.append(f"{name} does not say how images are preprocessed: no preprocess.toml is written")
        return out
    if channels not in ORDERS:
        out.notes.append(f"{name} gives {text(shape)}, which is not an image: no preprocess.toml is written")
        return out
    t, mean = layer.transform_param, mean_file(layer, folder)
    used = _mean(layer, mean, out.notes)
    if used.channels not in (1, channels):
        out.notes.append(f"{name} has {used.channels} means for {channels} channels: their average is kept")
        used = used.grey
    try:
        out.preprocess = Preprocess(
            channel_order=ORDERS[channels], mean=used, scale=_short(t.scale),
            resize=_resize(layer, mean, folder, out.notes),
        )  # fmt: skip
    except InputError as error:
        out.notes.append(f"{name}: {error} No preprocess.toml is written")
    out.notes += (f"{name} has {what}, which preprocess.toml cannot say" for what in _others(layer))
    return out


def _mean(layer: LayerParameter, mean: Mean | None, notes: list[str]) -> Mean:
    t = layer.transform_param
    if t.mean_value:
        return Mean.of([*map(_short, t.mean_value)])
    if not t.mean_file:
        return Mean.of(0)
    if mean is not None:
        return mean
    name = PurePath(t.mean_file).name
    if name == IMAGENET:
        notes.append(f"{name} is not beside the net; its known averages are used")
        return Preprocess().mean
    notes.append(f"{name} is not beside the net: set the mean in preprocess.toml, which is 0 there")
    return Mean.of(0)


def _resize(layer: LayerParameter, mean: Mean | None, folder: Path | None, notes: list[str]) -> int | None:
    """The side of the square that is cropped; None where images are warped straight to the input."""
    t = layer.transform_param
    if not (t.crop_size or (t.crop_h and t.crop_w)):
        return None
    size = image_size(layer, stored=True) or (None if mean is None else mean.size) or digits_size(folder)
    if size is None:
        notes.append(
            "the size of the images before the crop is only known from their database: images are warped "
            "straight to the input; if they were 256 x 256, set resize = 256 in preprocess.toml"
        )
        return None
    if size[0] != size[1]:
        notes.append(f"images are warped straight to the input: preprocess.toml has no crop from {size}")
        return None
    return size[0]


def digits_size(folder: Path | None) -> tuple[int, int] | None:
    """Return (H, W) of the images that a DIGITS model was trained on, if its archive was unpacked here."""
    try:
        text = "{}" if folder is None else (folder / INFO).read_text(encoding="utf-8")
        height, width, *_ = json.loads(text)["image dimensions"]
        return (int(height), int(width)) if min(height, width) > 0 else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # another file of this name
        return None


def _others(layer: LayerParameter) -> Iterator[str]:
    """What else was done with images that changes their values in TEST too."""
    t = layer.transform_param
    for name in ("old_resize_param", "noise_param"):
        if t.HasField(name):
            yield name


def _short(value: float) -> float:
    """A float32 in as few digits as say it."""
    return float(str(np.float32(value)))
