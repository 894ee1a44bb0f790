"""Ascents beside photographs, inversions and reports on a cluster: the same as without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clusters
import pytest
from climbing import here
from clusters import same

import caffe_viz as cv
from caffe_viz.images import Album
from caffe_viz.network import Network
from caffe_viz.views.colours import colours

pytest.importorskip("distributed", reason="dask is not installed")
IMAGES = 40  # of which one is no image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A toy net, photos/ of noise, the 7th no image; in here/ parcels of this process, in there/ of workers."""
    made = tmp_path_factory.mktemp("report")
    clusters.write_toy(made)
    clusters.write_noise(made / "photos", IMAGES)
    (made / "photos" / "7.png").write_bytes(b"no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(made / "here"))
        patch.setattr("caffe_viz.ascent.Crew", here)  # without a cluster
        yield made


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    with clusters.started(folder / "there") as of:
        yield of(2)


@pytest.fixture(scope="module")
def net(folder: Path) -> Network:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    return Network(folder / "deploy.prototxt", folder / "net.caffemodel", engine="torch")


def test_an_ascent_beside_photographs(client: Any, net: Network, folder: Path) -> None:
    asked: Any = {"filters": [1, 5], "steps": 4, "photos": folder / "photos"}
    alone, there = (cv.maximize(net, "conv2", **asked, **more) for more in ({}, {"cluster": client}))
    same(there.ascent, alone.ascent)
    assert alone.topmost
    assert there.topmost
    same(there.topmost.top, alone.topmost.top)
    assert alone.topmost.top.failed


def test_workers_read_the_photographs_whose_colours_are_measured(
    client: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = Album.of(folder / "photos")
    alone = colours(album)
    monkeypatch.setattr(Album, "load", None)  # in this process
    assert alone is not None
    assert colours(album, client) == alone


def test_an_inversion(client: Any, net: Network, folder: Path) -> None:
    asked: Any = {"steps": 4, "pictures": 2}
    photo = folder / "photos" / "0.png"
    alone, there = (cv.invert(net, photo, "conv2", **asked, **more) for more in ({}, {"cluster": client}))
    same(there.ascent, alone.ascent)
    assert there.name == alone.name
