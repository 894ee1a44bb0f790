"""features into a zarr store that the workers of a cluster fill: the same bytes, whoever fills it, whatever dies."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clusters
import pytest
from clusters import until
from filling import BLOBS, die_before_status, files, limit_files, network, write_folder

from caffe_viz import RunError, features
from caffe_viz.extraction import Extraction, begin
from caffe_viz.images import ImageCollection
from caffe_viz.network import Network
from caffe_viz.views.featured import Features

pytest.importorskip("distributed", reason="dask is not installed")
zarr: Any = pytest.importorskip("zarr", reason="zarr is not installed")
IMAGES, CHUNK = 260, 64  # as for one worker; for two it would be 32 if it were not the same for all


grown, client = clusters.grown, clusters.client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("store")
    write_folder(made, IMAGES)
    with clusters.parcels_apart(made):
        yield made


@pytest.fixture(scope="module")
def net(folder: Path) -> Network:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    return network(folder, "torch")


@pytest.fixture(scope="module")
def whole(folder: Path, net: Network) -> dict[str, bytes]:
    """The files of a store that this process fills."""
    return files(filled(net, folder, "here.zarr"))


def filled(net: Network, folder: Path, name: str, **more: Any) -> Path:
    found: Features = features(net, folder / "photos", BLOBS, output=folder / name, **more)
    assert (len(found.names), len(found.failed)) == (IMAGES - 2, 2)
    return folder / name


def done(path: Path) -> list[int]:
    """The chunks of which the status says so."""
    status = zarr.open(str(path), mode="r")["status"][:]
    return [n for n in range(0, IMAGES, CHUNK) if status[n : n + CHUNK].all()]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_with_any_number_of_workers(
    grown: Callable[[int], Any], net: Network, folder: Path, whole: dict[str, bytes], workers: int
) -> None:
    told: list[Any] = []
    path = filled(net, folder, f"{workers}.zarr", cluster=grown(workers), on_progress=told.append)
    assert files(path) == whole
    assert [progress.done for progress in told][-1] == IMAGES
    assert sum(progress.note.count("skipped: ") for progress in told) == 2


def test_on_real_caffe(client: Any, folder: Path) -> None:
    pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
    net = network(folder, "caffe")
    path = filled(net, folder, "caffe.zarr")
    assert files(filled(net, folder, "cluster.zarr", cluster=client)) == files(path)


def test_a_worker_killed_before_it_says_that_rows_are_there(
    client: Any, net: Network, folder: Path, whole: dict[str, bytes]
) -> None:
    """Its piece is done again."""
    client.run(die_before_status, folder / "flag")
    told: list[Any] = []
    path = filled(net, folder, "killed.zarr", cluster=client, on_progress=told.append)
    assert (folder / "flag").exists()
    assert sum("a worker died" in progress.note for progress in told) == 1
    assert files(path) == whole
    until(lambda: len(client.nthreads()) == 2)


def test_a_full_disk_of_workers_keeps_what_was_finished(
    client: Any, net: Network, folder: Path, whole: dict[str, bytes]
) -> None:
    client.run(limit_files, 10_000)  # the rows of fc fit, those of in/conv do not
    try:
        with pytest.raises(RunError) as error:
            filled(net, folder, "full.zarr", cluster=client)
        assert str(error.value) == f"{folder / 'full.zarr'} cannot be written: File too large."
        assert done(folder / "full.zarr") == []
        client.run(limit_files, -1)
        told = list[Any]()

        def full(progress: Any) -> None:
            told.append(progress)
            client.run(limit_files, 10_000)

        with pytest.raises(RunError, match="cannot be written"):
            filled(net, folder, "full.zarr", cluster=client, on_progress=full)
    finally:
        client.run(limit_files, -1)
    begun = done(folder / "full.zarr")
    assert len(begun) >= len(told) > 0
    assert len(begun) < 5
    before = {n: _changed(folder, n) for n in begun}
    assert files(filled(net, folder, "full.zarr", cluster=client)) == whole
    assert {n: _changed(folder, n) for n in begun} == before  # not done again


def _changed(folder: Path, number: int) -> int:
    return (folder / "full.zarr" / "fc" / f"{number // CHUNK}.0").stat().st_mtime_ns


def test_a_store_must_be_where_the_workers_are(client: Any, net: Network, folder: Path) -> None:
    """They begin none; as where a folder is on one machine only."""
    collection = ImageCollection.of(folder / "photos")
    into = begin(Extraction(net, collection, BLOBS, cluster=client), folder / "gone.zarr")
    shutil.rmtree(folder / "gone.zarr")
    with pytest.raises(
        RunError, match=r"gone\.zarr does not exist where the net runs: give a folder that all"
    ):
        list(into)
    assert not (folder / "gone.zarr").exists()
