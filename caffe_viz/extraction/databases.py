"""LMDB databases of Datums, with the keys and values that Caffe's tools/extract_features.cpp writes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, RunError
from caffe_viz.extraction.extraction import Rows, Shape
from caffe_viz.files import safe_name
from caffe_viz.netdef.net_pb2 import Datum

PAGE = 4096
NAMES = "names.txt"  # beside the database: the image of each key, line by line
COMMIT = 2**24  # bytes of a transaction, which is in memory until then
FLOAT_DATA = 6 << 3 | 5  # in front of each value: field 6, 32 bits


def check(path: Path, shapes: Mapping[str, Shape]) -> None:
    """Raise InputError or RunError if rows of `shapes` cannot become databases at `path`."""
    _library()
    if path.exists():
        raise InputError(f"{path} exists: remove it, or give another name.")
    for blob, shape in shapes.items():
        if len(shape) > 3:
            raise InputError(
                f"blob {blob!r} is {shape} for an image, and a Datum has three axes: pool, or write another "
                f"format."
            )
    folders = list(map(safe_name, shapes))
    if len({name.lower() for name in folders}) < len(folders):
        raise InputError(f"{path}: blobs {', '.join(shapes)} would be in one folder: write another format.")


def write(path: Path, rows: Rows) -> None:
    """Write one database at `path`, or for several blobs, one each in a folder there."""
    path.mkdir()
    for blob, shape in rows.shapes.items():
        _database(path if len(rows.shapes) == 1 else path / safe_name(blob), blob, shape, rows)
    (path / NAMES).write_text("".join(f"{name}\n" for name in rows.names), encoding="utf-8")


def _database(folder: Path, blob: str, shape: Shape, rows: Rows) -> None:
    lmdb = _library()
    head = _head(shape)
    size = len(head) + 5 * int(np.prod(shape)) + 64
    # An upper bound: of a value's pages one may be nearly empty, and so may half of the tree's above them.
    room = 2 * len(rows.names) * (size + PAGE) + 2**20
    keys = count()
    try:
        with lmdb.open(str(folder), map_size=room) as database:
            for part in rows.parts(blob):
                step = max(1, COMMIT // size)
                for first in range(0, len(part), step):
                    with database.begin(write=True) as transaction:
                        for row in part[first : first + step]:
                            transaction.put(b"%010d" % next(keys), head + _values(row), append=True)
    except lmdb.Error as error:
        raise OSError(str(error).removeprefix("mdb_").strip()) from None


def _head(shape: Shape) -> bytes:
    channels, height, width = (*shape, 1, 1)[:3]
    return Datum(channels=channels, height=height, width=width).SerializeToString()


def _values(row: NDArray[np.float32]) -> bytes:
    """`float_data`, as protobuf writes it: not packed."""
    out = np.empty((row.size, 5), np.uint8)
    out[:, 0] = FLOAT_DATA
    out[:, 1:] = row.astype("<f4").reshape(-1, 1).view(np.uint8)
    return out.tobytes()


def _library() -> Any:
    try:
        import lmdb
    except ImportError:
        raise RunError("LMDB needs a library: pip install 'caffe-viz[lmdb]'.") from None
    return lmdb
