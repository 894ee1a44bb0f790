"""Extract blobs of many images, as arrays or into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz import tables
from caffe_viz.errors import InputError, near
from caffe_viz.extraction import Extraction, FileExtraction, Rows, StoreExtraction, begin, write
from caffe_viz.geometry.results import shape_text
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.probe import relu_state
from caffe_viz.streaming import Batch, Failed, Progress, joined, need_one
from caffe_viz.tasks import Ranges, WorkerDeath
from caffe_viz.views.rich import Display, Rich

MOST = 2**31  # bytes of arrays in memory


@dataclass(frozen=True, repr=False)
class Features(Rich):
    """Blobs of many images: `arrays` maps each blob to (N, ...), with a row for each image of `names`.

    Images that `failed` have no row. If the rows went into a file, `arrays` is empty, but `shapes` still
    tells their shapes. `states` says whether a blob is pre- or post-ReLU, `pool` how maps were pooled.
    """

    names: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    states: Mapping[str, str]
    failed: tuple[str, ...]
    pool: str | None
    engine: str
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def __getitem__(self, blob: str) -> Array:
        """The array of a blob; raises InputError if there is none, or it is in the file only."""
        if blob not in self.shapes:
            raise InputError(f"no features of blob {blob!r}.{near(blob, self.shapes)}")
        self._need_arrays()
        return self.arrays[blob]

    def _need_arrays(self) -> None:
        if not self.arrays:
            raise InputError("these features are in the file that they were written to, and not in memory.")

    def save(self, path: PathLike) -> Path:
        """Write the arrays and names as .npz, .h5, .csv, or as an .lmdb of Datums.

        Raises:
            InputError: Another suffix, blobs that the format cannot hold, or the rows are in a file already.
            RunError: The file cannot be written, or a library is missing.
        """
        self._need_arrays()
        shapes = {blob: array.shape[1:] for blob, array in self.arrays.items()}
        write(Path(path), Rows(self.names, shapes, lambda blob: iter([self.arrays[blob]])))
        return Path(path)

    @property
    def table(self) -> tables.Table:
        pooled = f", {self.pool} over places" if self.pool else ""
        title = f"features of {len(self.names):,} images ({self.engine}{pooled})"
        rows = tuple((blob, shape_text(shape), self.states[blob]) for blob, shape in self.shapes.items())
        return tables.Table(title, ("blob", "shape", "state"), rows)

    def to_json(self) -> dict[str, Any]:
        """Everything except the arrays and names, for JSON."""
        return {
            "engine": self.engine, "images": len(self.names) + len(self.failed), "rows": len(self.names),
            "failed": list(self.failed), "pool": self.pool,
            "blobs": {b: {"shape": list(x), "state": self.states[b]} for b, x in self.shapes.items()},
        }  # fmt: skip

    def __repr__(self) -> str:
        return str(self.table)

    def _look(self) -> Display:
        return Display(tables=[self.table])


def features(
    net: Any,
    images: PathLike | Iterable[PathLike],
    blobs: str | Sequence[str],
    *,
    pool: str | None = None,
    output: PathLike | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cluster: Any = None,
) -> Features:
    """Extract what `blobs` hold for each of `images`.

    Args:
        net: A net from `load_net`.
        images: Files, folders, .zip archives, folders in archives, videos. For a net with several inputs, a
            mapping from input name to file or array.
        blobs: The name of a blob, or several.
        pool: "mean" or "max" pools each map to one number.
        output: Write the rows to this file (.npz, .h5, .csv, .lmdb) instead of returning them. Call it again
            to continue after an interruption. With a cluster it may be a .zarr, a folder or an address such
            as s3://bucket/f.zarr, which the workers write themselves; images that failed are rows of NaN.
        on_progress: Called with each `Progress`.
        cluster: A dask client whose workers do the work.

    Raises:
        InputError: No such blob or image, or another format.
        RunError: The file cannot be written.

    Example::

        found = cv.features(net, "photos", "fc7")
        found.arrays["fc7"].shape, found.names  # (N, 4096), N names
    """
    network, extraction = extracting(Network.of(net), images, blobs, pool, cluster)
    tell = on_progress or (lambda _: None)
    if output is not None:
        return filed(network, begin(extraction, output), tell)
    return _in_memory(network, extraction, tell)


def extracting(
    network: Network, images: Any, blobs: str | Sequence[str], pool: str | None, cluster: Any = None
) -> tuple[Network, Extraction]:
    """The extraction, and the network with what `images` tells of its inputs."""
    names = [blobs] if isinstance(blobs, str) else list(blobs)
    network, collection = network.collection(images, *names)
    return network, Extraction(network, collection, names, pool=pool, cluster=cluster)


def filed(
    network: Network, into: FileExtraction | StoreExtraction, tell: Callable[[Progress], None]
) -> Features:
    """Run an extraction into its file."""
    for progress in into:
        tell(progress)
    names, failed, rows = into.names, into.failed, into.rows
    into.write()
    return _features(network, into.extraction, names, failed, rows)


def _in_memory(network: Network, extraction: Extraction, tell: Callable[[Progress], None]) -> Features:
    collection, shapes = extraction.collection, extraction.shapes
    needed = 4 * len(collection) * sum(int(np.prod(shape)) for shape in shapes.values())
    if needed > MOST:
        raise InputError(
            f"blobs of {len(collection):,} images take {needed / 2**30:.1f} GiB: give output=FILE, or pool."
        )
    batches, done = list[Batch](), 0
    for batch in extraction.batches(Ranges()):
        if isinstance(batch, WorkerDeath):
            tell(Progress(done, len(collection), str(batch)))
            continue
        batches.append(batch)
        done += batch.size
        tell(batch.progress(done, len(collection)))
    whole = joined(batches)
    need_one([one.reason for one in whole.failed], len(collection))
    names = tuple(map(collection.name, whole.numbers))
    return _features(network, extraction, names, whole.failed, len(names), whole.values)


def _features(
    network: Network, extraction: Extraction, names: tuple[str, ...], failed: Sequence[Failed], rows: int,
    arrays: Mapping[str, Array] | None = None,
) -> Features:  # fmt: skip
    return Features(
        names=names,
        shapes={blob: (rows, *shape) for blob, shape in extraction.shapes.items()},
        states={blob: relu_state(network.message, blob) for blob in extraction.blobs},
        failed=tuple(one.reason for one in failed),
        pool=extraction.pool,
        engine=extraction.engine,
        arrays=arrays or {},
    )
