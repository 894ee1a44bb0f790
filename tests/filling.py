"""What fills a store in other processes, and what happens to it there."""

from __future__ import annotations

import os
import re
import resource
import signal
from pathlib import Path
from typing import Any

from clusters import write_noise, write_toy

from caffe_viz.extraction import Extraction, begin, store
from caffe_viz.images import ImageCollection, Preprocess
from caffe_viz.network import Network

BLOBS = ("fc", "in/conv")
BAD = (7, 65)
TOML = 'channel_order = "BGR"\nmean = 100\nscale = 0.01\nresize = false\n'


def write_folder(folder: Path, images: int) -> None:
    """The toy net, in which a blob's name has a slash; photos/: 0.png, .., of which 7 and 65 are damaged."""
    write_toy(folder)
    net, photos = folder / "deploy.prototxt", folder / "photos"
    net.write_text(re.sub('(top|bottom): "conv2"', r'\1: "in/conv"', net.read_text()))
    (folder / "preprocess.toml").write_text(TOML)
    write_noise(photos, images)
    for n in BAD:
        (photos / f"{n}.png").write_bytes(b"damaged")


def files(folder: Path) -> dict[str, bytes]:
    """All of a store, by name."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".partial"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def network(folder: Path, engine: str = "auto") -> Network:
    how = Preprocess.from_toml(folder / "preprocess.toml")
    return Network(folder / "deploy.prototxt", folder / "net.caffemodel", how, engine)


def fill_at_once(folder: Path, path: Path, barrier: Any, told: Any) -> None:
    """Begin a store when the others do, and do its first piece with them; tells of the names in the end."""
    listed, has = store.Store._listed, store.Store.has
    first: list[bool] = []

    def together(self: store.Store) -> set[str]:
        found = listed(self)
        barrier.wait()
        store.Store._listed = listed
        return found

    def not_yet(self: store.Store, *numbers: int) -> bool:
        found = has(self, *numbers)
        if not first:
            barrier.wait()
        first.append(found)
        return found

    store.Store._listed, store.Store.has = together, not_yet
    into = begin(Extraction(network(folder), ImageCollection.of(folder / "photos"), BLOBS), path)
    notes = [progress.note for progress in into if progress.note]
    told.put((first[0], into.seen, into.names, notes))


def die_before_status(flag: Path, dask_worker: Any = None) -> None:
    """The process that next has the rows of a piece in the store, and not yet its status, is killed."""
    texts = store._texts

    def deadly(given: Any) -> Any:
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            return texts(given)
        os.kill(os.getpid(), signal.SIGKILL)

    store._texts = deadly


def limit_files(size: int) -> None:
    """No file can be larger from now on; -1: as large as may be. It stands for a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))
