"""The shapes of data layers, as far as the prototxt tells them: crop, new size, batch and means.

Sources: data_layer.cpp, image_data_layer.cpp, window_data_layer.cpp and data_transformer.cpp of BVLC Caffe,
annotated_data_layer.cpp of SSD, video_data_layer.cpp of facebookarchive/C3D and yjxiong/caffe. For data
layers of unknown types, the fields are read where most forks have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from caffe_viz.errors import InputError
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef import LayerParameter, read_blob
from caffe_viz.netdef.text import is_repeated

# Layers without a bottom that bring no data of the user's.
NO_DATA = frozenset({"DummyData", "Input", "Parameter"})
# Types whose images OpenCV reads, so that they have 3 channels unless the layer says otherwise.
READ_BY_OPENCV = frozenset({"ImageData", "VideoData", "WindowData"})
# Types whose second top is one label for each image.
LABELLED = READ_BY_OPENCV | {"Data", "MemoryData"}
# Where height and width stand, the last change of an image first.
SIZES = (
    ("crop_size", "crop_size"), ("crop_h", "crop_w"), ("crop_height", "crop_width"), ("height", "width"),
    ("resize_height", "resize_width"), ("new_height", "new_width"), ("new_h", "new_w"),
)  # fmt: skip
COLOURS = 3
BOX = (1, 1, 1, 8)  # of AnnotatedData for one box; a batch has as many as its images have
FIELD = re.compile(r"(\w+)\s*:\s*\[?\s*([^\s,\]}]+)")
Facts = Mapping[str, list[str]]  # field -> its values, wherever in the layer it stands


@dataclass(frozen=True)
class DataShapes:
    """Shapes of a data layer's tops, None where the file does not tell them; `why` explains that.

    `remark` says what was assumed.
    """

    shapes: tuple[Shape | None, ...]
    why: str = ""
    remark: str = ""

    def whole(self) -> tuple[Shape, ...]:
        """All shapes; raises UnknownShapeError where the file does not tell one."""
        known = tuple(shape for shape in self.shapes if shape is not None)
        if len(known) < len(self.shapes):
            raise UnknownShapeError(self)
        return known


class UnknownShapeError(InputError):
    """A data layer whose file does not tell all shapes; `told` has those that it does."""

    def __init__(self, told: DataShapes) -> None:
        super().__init__(told.why)
        self.told = told


def brings_data(layer: LayerParameter) -> bool:
    """Whether it is a data layer, of a known type or not."""
    return not layer.bottom and bool(layer.top) and layer.type not in NO_DATA


def told(layer: LayerParameter, mean: Shape = ()) -> DataShapes:
    """Return the shapes of a data layer, from its own file and the shape (.., C, H, W) of its `mean` file."""
    facts = _facts(layer)
    batch = _number(facts, "batch_size") or _number(facts, "dim") or 1
    image, remark = _image(layer, facts, batch, mean)
    shapes = [image, *[None] * (len(layer.top) - 1)]
    if len(shapes) > 1:
        shapes[1] = label_shape(layer, batch)
        if shapes[1] == BOX:
            remark = "; ".join(filter(None, (remark, f"{layer.top[1]!r} is as for one box: batches differ")))
    missing = [top for top, shape in zip(layer.top, shapes, strict=True) if shape is None]
    name = f"layer {layer.name!r} ({layer.type})"
    return DataShapes(
        tuple(shapes),
        f"{name} does not tell in this file what shape {_listed(missing)}: {_advice(missing[0], batch)}"
        if missing else "",
        f"{name}: {remark}" if remark else "",
    )  # fmt: skip


def label_shape(layer: LayerParameter, batch: int) -> Shape | None:
    """Return the shape of a data layer's second top for `batch` images; None if its type does not tell."""
    if layer.type in LABELLED:
        return (batch, 1, 1, 1, 1) if _is_clip(layer) else (batch,)
    return BOX if layer.type == "AnnotatedData" else None


def image_size(layer: LayerParameter, *, stored: bool = False) -> Shape | None:
    """Return (H, W) of the images a data layer gives, or with `stored`, before the crop; None if unknown."""
    return _size(_facts(layer), SIZES[3:] if stored else SIZES)


def _size(facts: Facts, pairs: Iterable[tuple[str, str]] = SIZES) -> Shape | None:
    sizes = ((_number(facts, h), _number(facts, w)) for h, w in pairs)
    return next(((h, w) for h, w in sizes if h and w), None)


def _image(
    layer: LayerParameter, facts: Facts, batch: int, mean: Shape
) -> tuple[Shape | None, str]:  # its first top, and what was taken to be so
    if layer.type == "HDF5Data":
        return None, ""
    if dims := facts.get("dim"):  # MemoryData of forks
        return tuple(int(dim) for dim in dims if dim.isdecimal()), ""
    size, channels = _size(facts), _channels(layer, facts)
    if len(mean) > 2:
        size, channels = size or mean[-2:], channels or mean[-3]
    if size is None or (channels is None and layer.type == "MemoryData"):  # Caffe refuses it without channels
        return None, ""
    remark = ""
    if channels is None:
        channels = COLOURS
        remark = (
            f"assumed to give {COLOURS} channels, which this file does not tell; use "
            f"--input {layer.top[0]}={batch}x1x{size[0]}x{size[1]} if it is 1"
        )
    return (batch, channels, *([_number(facts, "new_length")] if _is_clip(layer) else []), *size), remark


def _is_clip(layer: LayerParameter) -> bool:
    """Whether it gives volumes, as in facebookarchive/C3D."""
    return bool(layer.image_data_param.new_length)


def _channels(layer: LayerParameter, facts: Facts) -> int | None:
    """None where the file does not tell them."""
    if layer.type == "VideoData" and "new_length" in facts and not _is_clip(layer):
        # In yjxiong/caffe frames and segments stand side by side.
        each = 2 if facts.get("modality") == ["FLOW"] else COLOURS
        return each * _number(facts, "new_length") * (_number(facts, "num_segments") or 1)
    if _says(facts, "force_gray") or facts.get("is_color", ["true"])[0].lower() == "false":
        return 1
    coloured = layer.type in READ_BY_OPENCV or layer.HasField("image_data_param")
    if coloured or _says(facts, "force_color") or _says(facts, "force_encoded_color"):
        return COLOURS
    if stated := _number(facts, "channels"):
        return stated
    means = len(facts.get("mean_value", ()))
    return means if means > 1 else None


def mean_shape(layer: LayerParameter) -> Shape:
    """Return the shape of a data layer's mean file, relative to the current folder; () if there is none."""
    path = layer.transform_param.mean_file
    try:
        return tuple(read_blob(path).shape) if path else ()
    except InputError:
        return ()


def _facts(layer: LayerParameter) -> Facts:
    """The fields of what a layer says about its data, those of forks too."""
    found: dict[str, list[str]] = {}
    for field, value in layer.ListFields():
        if field.name == "transform_param" or field.name.endswith("data_param"):
            for name, text in _values(value):
                found.setdefault(name, []).append(text)
    for unknown in layer.unknown:
        for name, text in FIELD.findall(re.sub(r"#[^\n]*", "", unknown.text)):
            found.setdefault(name, []).append(text.strip("\"'"))
    return found


def _values(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        for one in value if is_repeated(field) else [value]:
            if field.message_type is None:
                yield field.name, str(one)
            else:
                yield from _values(one)


def _number(facts: Facts, name: str) -> int:
    text = facts.get(name, ["0"])[0]
    return int(text) if text.isdecimal() else 0


def _says(facts: Facts, name: str) -> bool:
    return facts.get(name, [""])[0].lower() == "true"


def _listed(tops: list[str]) -> str:
    return f"{', '.join(map(repr, tops))} {'have' if len(tops) > 1 else 'has'}"


def _advice(top: str, batch: int) -> str:
    return f"give it with your own numbers, as --input {top}={batch}x3x224x224 (input_shapes)"
