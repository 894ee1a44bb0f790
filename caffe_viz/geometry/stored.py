"""Data layers whose shape is in a file that they name; it is read only if the caller allows that.

The files are those of Caffe's hdf5_data_layer.cpp and image_data_layer.cpp; paths are relative to the current
folder.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffe_viz.errors import InputError
from caffe_viz.files import h5py
from caffe_viz.geometry.data_shapes import mean_shape, told
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.geometry.table import TABLE, Out, Rule, Shapes, need, text
from caffe_viz.images import load_image
from caffe_viz.netdef import LayerParameter


def hdf5_files(layer: LayerParameter) -> list[str]:
    """Return the HDF5 files that the source of an HDF5Data layer lists, separated by white space.

    Raises:
        InputError: It cannot be read, or is empty.
    """
    return _text(layer.hdf5_data_param.source, "hdf5_data_param.source").split()


@contextmanager
def hdf5_rows(path: str, names: Sequence[str]) -> Iterator[list[Any]]:
    """Return the datasets `names` of an open HDF5 file: numbers, with the same number of rows.

    Raises:
        InputError: There are no such datasets.
        RunError: h5py is not installed.
    """
    try:
        file = h5py().File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5: {error}.") from None
    with file:
        found = [_dataset(file, path, name) for name in names]
        rows = {len(dataset) for dataset in found}
        if len(rows) > 1 or 0 in rows:
            given = ", ".join(f"{name} {text(d.shape)}" for name, d in zip(names, found, strict=True))
            raise InputError(f"{path}: datasets must have the same number of rows, at least one: {given}.")
        yield found


def image_lines(layer: LayerParameter) -> list[tuple[str, int]]:
    """Path and label of each image that the source of an ImageData layer lists.

    Raises:
        InputError: it cannot be read, is empty, or a line is not a path, a space and a whole number.
    """
    p = layer.image_data_param
    found = []
    for number, line in enumerate(_text(p.source, "image_data_param.source").splitlines(), 1):
        path, _, label = line.rstrip().rpartition(" ")
        if path and label.lstrip("+-").isdecimal():
            found.append((p.root_folder + path, int(label)))
        elif line.strip():
            raise InputError(
                f"{p.source}, line {number}: {line!r} is not a path, a space and a whole number."
            )
    return found


def cropped(layer: LayerParameter, size: Shape) -> Shape:
    """Return (H, W) of an image of `size` after the crop of transform_param.

    Raises:
        InputError: It is smaller than the crop.
    """
    t = layer.transform_param
    crop = (t.crop_size, t.crop_size) if t.crop_size else (t.crop_h, t.crop_w)
    if not all(crop):
        return size
    need(crop[0] <= size[0] and crop[1] <= size[1], f"cannot crop {text(crop)} from an image of {text(size)}")
    return crop


def _hdf5_data(layer: LayerParameter, bottoms: Shapes) -> Out:
    need(not layer.HasField("transform_param"), "does not transform its data: remove transform_param")
    with hdf5_rows(hdf5_files(layer)[0], layer.top) as found:
        return Out(tuple((layer.hdf5_data_param.batch_size, *dataset.shape[1:]) for dataset in found))


def _image_data(layer: LayerParameter, bottoms: Shapes) -> Out:
    p = layer.image_data_param
    need(bool(p.new_height) == bool(p.new_width), "give new_height and new_width both, or neither")
    first, _ = image_lines(layer)[0]
    size = (p.new_height, p.new_width) if p.new_height else load_image(Path(first)).shape[:2]
    return Out(((p.batch_size, 3 if p.is_color else 1, *cropped(layer, size)), (p.batch_size,)))


def _data(layer: LayerParameter, bottoms: Shapes) -> Out:
    found = told(layer, mean_shape(layer))
    return Out(found.whole(), remark=found.remark)


STORED = {
    "Data": Rule(_data, (0, 0), (1, 2), in_place=True, automatic=False),
    "HDF5Data": Rule(_hdf5_data, (0, 0), (1, None), in_place=True, automatic=False),
    "ImageData": Rule(_image_data, (0, 0), (2, 2), in_place=True, automatic=False),
}
FED = frozenset({"HDF5Data", "ImageData"})  # those that the embedded engine runs
WITH_FILES = ChainMap(STORED, TABLE)  # the rules of those who may read the files that a net names


def _text(path: str, field: str) -> str:
    try:
        # Names of files are bytes; those that are no UTF-8 stay what they are.
        found = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{field} {path!r} cannot be read: {error.strerror or error}.") from None
    need(found.strip(), f"{field} {path!r} lists no file.")
    return found


def _dataset(file: Any, path: str, name: str) -> Any:
    found = file.get(name)
    if found is None:
        raise InputError(
            f"{path} has no dataset {name!r}, the name of the top. There are: {', '.join(file)}."
        )
    shape = getattr(found, "shape", ())
    if not shape or found.dtype.kind not in "fiu":
        raise InputError(f"{path}: {name!r} is not an array of numbers with at least one axis.")
    return found
