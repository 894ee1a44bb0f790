"""The preprocessing of a net from the files beside it: preprocess.toml, or those of its training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from caffe_viz.deploying.pixels import ORDERS, digits_size, pixels_of
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.geometry.data_shapes import brings_data, told
from caffe_viz.images import Preprocess
from caffe_viz.images.mean import read_mean
from caffe_viz.images.pixels import RED_GREEN_BLUE
from caffe_viz.images.settings import Settings, read_toml
from caffe_viz.netdef import NetParameter, is_binary, read_net
from caffe_viz.surgery import Shape
from caffe_viz.surgery.inputs import input_shapes, likely_images

TOML = "preprocess.toml"
# Names of the file of a training, the usual first.
TRAININGS = ("train_val.prototxt", "trainval.prototxt", "train_test.prototxt", "train.prototxt")
TRAINING = "*train*.prototxt"  # where one file alone has such a name
# Names of mean files: as DIGITS has it, and as Caffe's own scripts and examples.
MEANS = ("mean.binaryproto", "imagenet_mean.binaryproto", "mean.npy", "ilsvrc_2012_mean.npy")
NOTHING = f"CaffeNet's: there is no {TOML} beside the prototxt"
SAID = ("channel_order", "mean", "scale", "resize")  # by a transform_param
ANY = (1, 3, 0, 0)  # images of a data layer that does not tell their shape


def preprocess_near(prototxt: str | Path) -> Preprocess:
    """Read the preprocessing of a net from the files beside its prototxt.

    The first of these that tells it is used: preprocess.toml; the net's own data layer; the data layer of the
    training's prototxt beside it; a mean file beside it. If none does, you get the defaults, which are
    CaffeNet's.

    Raises:
        InputError: preprocess.toml contains an error.
    """
    return Preprocess.of(settings_near(prototxt))


def settings_near(prototxt: str | Path, shapes: Mapping[str, Sequence[int]] | None = None) -> Settings:
    """Return the preprocessing settings of the net of `prototxt`, from the first source that tells them.

    The sources are preprocess.toml beside it; its own data layer; the data layer of its training's file
    beside it; a mean file beside it. CaffeVizWarnings say what of a training's file could not be kept.
    `shapes` are given shapes of inputs and data layers, by blob name.

    Raises:
        InputError: preprocess.toml contains an error.
    """
    path = Path(prototxt)
    if (path.parent / TOML).exists():
        return read_toml(path.parent / TOML)
    return _of_training(path, shapes or {}) or _of_mean(path.parent) or Settings(source=NOTHING)


def _of_training(path: Path, shapes: Mapping[str, Sequence[int]]) -> Settings | None:
    """As the data layer of the net itself says, or that of its training's file."""
    own = None
    with suppress(InputError):  # told where the net is read; a solver is none
        own = None if not path.is_file() or is_binary(path) else read_net(path)
    inputs: dict[str, Sequence[int]] = {**({} if own is None else _own_inputs(own)), **shapes}
    if own is not None and any(map(brings_data, own.layer)):
        return _of_data(own, inputs, path)
    file = _training(path)
    if file is None:
        return None
    try:
        return _of_data(read_net(file), inputs, file)
    except InputError as error:
        _warn(f"{file} is not used for the preprocessing: {error}")
        return None


def _own_inputs(net: NetParameter) -> dict[str, Shape]:
    return {name: input_shapes(net.layer)[name] for name in likely_images(list(net.layer))}


def _training(path: Path) -> Path | None:
    """The file of the training beside a deploy file."""
    named = (path.parent / name for name in TRAININGS)
    found = [file for file in named if file.is_file() and file != path]
    others = [
        file for file in path.parent.glob(TRAINING)
        if file.is_file() and file != path and "solver" not in file.name.lower()
    ]  # fmt: skip
    return found[0] if found else others[0] if len(others) == 1 else None


def _of_data(net: NetParameter, inputs: Mapping[str, Sequence[int]], file: Path) -> Settings | None:
    """As the data layer of `net` says that gives one of `inputs`, or else any blob."""
    found = pixels_of(net, inputs, file.parent)
    if not found.layer:
        found = pixels_of(net, _any_inputs(net, inputs), file.parent)
    if found.preprocess is None:
        return None
    for note in found.notes:
        _warn(f"{file}: {note}")
    said = {name: getattr(found.preprocess, name) for name in SAID}
    return Settings(said, f"{file}: the transform_param of layer {found.layer!r}")


def _any_inputs(net: NetParameter, inputs: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """The first top of each data layer, with the shape of the only one of `inputs`, or what is told of it."""
    only = next(iter(inputs.values())) if len(inputs) == 1 else None
    return {layer.top[0]: only or told(layer).shapes[0] or ANY for layer in net.layer if brings_data(layer)}


def _of_mean(folder: Path) -> Settings | None:
    """By a mean file alone, as in old archives of DIGITS: the blob has its channels, images its size."""
    file = next((folder / name for name in MEANS if (folder / name).is_file()), None)
    if file is None:
        return None
    try:
        mean = read_mean(file, RED_GREEN_BLUE["BGR"])
    except InputError as error:
        _warn(f"{error} It is not used.")
        return None
    if mean.channels not in ORDERS:
        _warn(f"{file} has {mean.channels} channels, which no image has: it is not used.")
        return None
    height, width = digits_size(folder) or mean.size or (None, None)
    size = {} if height is None else {"resize": height if height == width else None}
    return Settings(
        {"mean": mean, "channel_order": ORDERS[mean.channels], **size},
        f"{file} and no {TOML} beside the prototxt",
    )


def _warn(text: str) -> None:
    warnings.warn(" ".join(text.split()), CaffeVizWarning, stacklevel=2)
