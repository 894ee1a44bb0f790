"""Layers that provide data: generated, from memory, or from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caffe_viz.engine.fillers import filled
from caffe_viz.engine.table import LEFT_OUT, Call, constant, layer
from caffe_viz.errors import InputError
from caffe_viz.geometry.stored import STORED, cropped, hdf5_files, hdf5_rows, image_lines
from caffe_viz.geometry.table import TABLE, text
from caffe_viz.images.decoding import decoded
from caffe_viz.netdef import read_blob
from caffe_viz.netdef.net_pb2 import ImageDataParameter

Pixels = NDArray[np.float32]
Batch = list[Tensor]

_INPUT = "--input data=1x3x227x227 (input_shapes) or `caffe-viz deploy` makes an Input layer of it"
LEFT_OUT |= dict.fromkeys(("AnnotatedData", "Data", "WindowData"), _INPUT)
LEFT_OUT["HDF5Output"] = (
    "remove the layer, and save the data of its bottoms yourself: a network writes no files"
)


@layer("DummyData", starts=True)
def _dummy_data(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor | None]:
    """As in Caffe, constants are filled once, when the net is made, and other fillers in each forward."""
    p = call.param.dummy_data_param
    fillers = list(p.data_filler) or [constant()]
    fillers = fillers if len(fillers) > 1 else fillers * call.tops
    shapes = TABLE["DummyData"].function(call.param, ()).tops
    starts = "generator" not in call.state
    generator: torch.Generator = call.state.setdefault(
        "generator", torch.Generator().manual_seed(_seed(call))
    )
    return [
        filled(filler, shape, generator).to(call.device) if (filler.type == "constant") == starts else None
        for filler, shape in zip(fillers, shapes, strict=True)
    ]


@layer("MemoryData")
def _memory_data(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Batch:
    p = call.param.memory_data_param
    if "arrays" not in call.state:
        raise InputError(
            f"layer {call.param.name!r} (MemoryData) has no data: call net.set_input_arrays(data, labels) "
            f"first, with data (N, {p.channels}, {p.height}, {p.width}) and labels (N)."
        )
    data, labels = call.state["arrays"]
    first = call.state.get("position", 0)
    last = first + p.batch_size
    call.state["position"] = last % len(data)
    # Not the user's own memory, into which who holds the blob would write.
    batch = [a[first:last].to(call.device, copy=True) for a in (data, labels)]
    return [batch[0], batch[1].reshape(-1, 1, 1, 1)]


@layer("HDF5Data")
def _hdf5_data(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Batch:
    return _next(call, _hdf5_batches)


def _hdf5_batches(call: Call) -> Iterator[Batch]:
    size = call.param.hdf5_data_param.batch_size
    parts: list[Batch] = []
    room = size
    for data, order in _hdf5_orders(call):
        while len(order):
            parts.append([values[order[:room]] for values in data])
            order, room = order[room:], room - len(parts[-1][0])
            if not room:
                yield [torch.cat(some).to(call.device) for some in zip(*parts, strict=True)]
                parts, room = [], size


def _hdf5_orders(call: Call) -> Iterator[tuple[Batch, Tensor]]:
    """The data of one file after the other, and the order of its rows, without end."""
    files, order = hdf5_files(call.param), _order(call)
    shapes = STORED["HDF5Data"].function(call.param, ()).tops
    data: Batch = []
    while True:
        for i in order(len(files)):
            if not data or len(files) > 1:
                data = _hdf5_values(files[i], call.param.top)
            for name, values, shape in zip(call.param.top, data, shapes, strict=True):
                if values.shape[1:] != shape[1:]:
                    given, first = text(values.shape[1:]), text(shape[1:])
                    raise InputError(f"{files[i]}: rows of {name!r} are {given}, in {files[0]} {first}.")
            yield data, order(len(data[0]))


def _hdf5_values(path: str, names: Sequence[str]) -> Batch:
    with hdf5_rows(path, names) as found:
        return [torch.from_numpy(dataset.astype(np.float32)[...]) for dataset in found]


def _order(call: Call) -> Callable[[int], Tensor]:
    """Return the order of n items, shuffled if the layer shuffles."""
    if not call.param.hdf5_data_param.shuffle:
        return torch.arange
    generator = torch.Generator().manual_seed(_seed(call))
    return lambda n: torch.randperm(n, generator=generator)


@layer("ImageData")
def _image_data(call: Call, bottoms: list[Tensor], params: list[Tensor]) -> Batch:
    return _next(call, _image_batches)


def _image_batches(call: Call) -> Iterator[Batch]:
    p, rng = call.param.image_data_param, np.random.default_rng(_seed(call))
    change = _Transform(call, rng)
    images: list[Pixels] = []
    labels: list[float] = []
    for path, label in _image_order(call, rng):
        images.append(change(_image(path, p)))
        labels.append(label)
        if images[-1].shape != images[0].shape:
            raise InputError(
                f"{path} becomes {text(images[-1].shape)}, others of its batch {text(images[0].shape)}: "
                "give new_height and new_width, or crop_size."
            )
        if len(images) == p.batch_size:
            yield [torch.from_numpy(np.asarray(x, np.float32)).to(call.device) for x in (images, labels)]
            images, labels = [], []


def _image_order(call: Call, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """Path and label of one image after the other, without end."""
    p, lines = call.param.image_data_param, image_lines(call.param)
    skipped = int(rng.integers(p.rand_skip)) if p.rand_skip else 0
    if skipped >= len(lines):
        raise InputError(f"rand_skip {p.rand_skip} is more than the {len(lines)} images of {p.source}.")
    while True:
        order = rng.permutation(len(lines)) if p.shuffle else np.arange(len(lines))
        yield from (lines[i] for i in order[skipped:])
        skipped = 0


def _image(path: str, p: ImageDataParameter) -> Pixels:
    """(H, W, 3) BGR or (H, W, 1) grey in whole numbers 0..255, as OpenCV reads and resizes it."""
    found = decoded(path, _bgr if p.is_color else _grey)
    return _resized(found, p.new_height, p.new_width) if p.new_height else found


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    """cv::resize of 8 bits: bilinear, without smoothing, in whole numbers that are cut on the way."""
    first, second, a, b = _taps(image.shape[1], width)
    whole = image.astype(np.int32)
    rows = (whole[:, first] * a[:, None] + whole[:, second] * b[:, None]) >> 4
    first, second, *weights = _taps(len(image), height)
    a, b = (weight[:, None, None] for weight in weights)
    return np.asarray(((rows[first] * a >> 16) + (rows[second] * b >> 16) + 2) >> 2, np.float32)


def _taps(old: int, new: int) -> tuple[NDArray[Any], ...]:
    """For each new pixel the two old ones beside its centre, and their weights in 2048ths."""
    place = np.asarray((np.arange(new) + 0.5) * (old / new) - 0.5, np.float32)
    first = np.floor(place)
    weights = [np.rint(2048 * part).astype(np.int32) for part in (1 - (place - first), place - first)]
    return *[(first.astype(np.int64) + i).clip(0, old - 1) for i in (0, 1)], *weights


def _bgr(image: Any) -> Pixels:
    grey = _deep(image)
    return np.asarray(_upright(image, "RGB")[..., ::-1] if grey is None else grey.repeat(3, 2))


def _grey(image: Any) -> Pixels:
    grey = _deep(image)
    return _upright(image, "L")[..., None] if grey is None else grey


def _upright(image: Any, mode: str) -> Pixels:
    """Transparency is left out: the colour under it counts."""
    from PIL import ImageOps

    return np.asarray(ImageOps.exif_transpose(image).convert(mode), np.float32)


def _deep(image: Any) -> Pixels | None:
    """(H, W, 1) The upper 8 bits of an image of 16 bits, which Pillow would clip."""
    return np.asarray(image, np.float32)[..., None] // 256 if image.mode.startswith("I") else None


class _Transform:
    """transform_param on (H, W, C): mean, crop (by chance in TRAIN), mirror (by chance), scale -> (C, h, w).

    A mean_file is of the whole image, and moves with it: so Caffe has it, but not this build's path for
    images, which takes no crop with it.
    """

    def __init__(self, call: Call, rng: np.random.Generator) -> None:
        self.call, self.rng, self.p = call, rng, call.param.transform_param
        if self.p.HasField("old_resize_param") or self.p.HasField("noise_param"):
            raise NotImplementedError(
                f"layer {call.param.name!r}: the embedded engine has no old_resize_param and noise_param: "
                "prepare the images beforehand."
            )
        if self.p.mean_file and self.p.mean_value:
            raise InputError(f"layer {call.param.name!r}: give mean_file or mean_value, not both.")
        mean = (
            read_blob(self.p.mean_file)
            if self.p.mean_file
            else np.array(self.p.mean_value or [0], np.float32)
        )
        self.mean = mean.reshape(mean.shape[-3:]) if mean.ndim > 2 else mean.reshape(-1, 1, 1)

    def __call__(self, image: Pixels) -> Pixels:
        planes = image.transpose(2, 0, 1)
        fits = self.mean.shape[1:] in ((1, 1), image.shape[:2]) and len(self.mean) in (1, len(planes))
        if not fits:
            raise InputError(
                f"layer {self.call.param.name!r}: the mean is {text(self.mean.shape)}, an image "
                f"{text(planes.shape)}."
            )
        height, width = cropped(self.call.param, image.shape[:2])
        top, left = (
            int(self.rng.integers(spare + 1)) if self.call.train else spare // 2
            for spare in (image.shape[0] - height, image.shape[1] - width)
        )
        out = (planes - self.mean)[:, top : top + height, left : left + width]
        if self.p.mirror and self.rng.integers(2):
            out = out[:, :, ::-1]
        return np.asarray(out * self.p.scale, np.float32)


def _next(call: Call, batches: Callable[[Call], Iterator[Batch]]) -> Batch:
    """Return the next batch; if one fails, the next forward starts again."""
    found = call.state.pop("batches", None) or batches(call)
    batch = next(found)
    call.state["batches"] = found
    return batch


def _seed(call: Call) -> int:
    return int(torch.randint(2**62, (), generator=call.generator, device=call.generator.device))
