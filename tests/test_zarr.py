"""features into a zarr store: what is in it, who goes on with it, what cannot be.

In test_cluster_store.py many fill it.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import PATIENCE
from commands import here, ran, refused
from filling import BAD, BLOBS, files, fill_at_once, limit_files, network, write_folder
from fork_server import CONTEXT

from caffe_viz import InputError, RunError, features
from caffe_viz.extraction import Extraction, begin, store
from caffe_viz.extraction.store import Store, need_names
from caffe_viz.images import ImageCollection
from caffe_viz.streaming import OnImages

zarr: Any = pytest.importorskip("zarr", reason="zarr is not installed")
IMAGES = 70  # chunks of 32, the last one of 6
GOOD = [n for n in range(IMAGES) if n not in BAD]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("original")
    write_folder(made, IMAGES)
    return made


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path


def words(folder: Path, *more: object) -> list[str]:
    given = ["features", folder / "deploy.prototxt", folder / "net.caffemodel", "--image", folder / "photos"]
    return list(map(str, [*given, "--blob", "fc", "--blob", "in/conv", "-o", folder / "a.zarr", *more]))


def test_rows_are_those_of_the_other_formats(folder: Path, engine: str) -> None:
    code, said, errors = ran(*words(folder, "--engine", engine))
    assert code == 0, errors
    assert "fc 70 5" in " ".join(said.split())
    assert said.splitlines()[-2:] == ["images skipped: 2", str(folder / "a.zarr")]
    found, expected = (
        zarr.open(str(folder / "a.zarr"), mode="r"),
        features(network(folder, engine), folder / "photos", BLOBS),
    )
    status = found["status"][:]
    assert status.tolist() == [2 if n in BAD else 1 for n in range(IMAGES)]
    for blob in BLOBS:
        assert (found[blob].shape[0], found[blob].chunks[0], found[blob].dtype) == (IMAGES, 32, np.float32)
        np.testing.assert_array_equal(found[blob][:][status == 1], expected[blob])
        assert np.isnan(found[blob][:][[*BAD]]).all()
    assert [Path(name).name for name in found["names"][:]] == [f"{n}.png" for n in range(IMAGES)]
    reasons = found["reasons"][:].tolist()
    assert [n for n, reason in enumerate(reasons) if reason] == [*BAD]
    assert all(f"skipped: {reasons[n]}" in errors for n in BAD)


def test_a_finished_store_is_left_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(here(*words(folder, "--json")))
    assert (first["images"], first["rows"], first["blobs"]["fc"]["shape"]) == (70, 68, [70, 5])
    monkeypatch.setattr(Store, "put", None)
    code, said, errors = ran(*words(folder, "--json"))
    assert code == 0, errors
    assert f"{folder / 'a.zarr'}: all 70 images are there\n" in errors
    assert json.loads(said) == first


def test_interrupted_between_rows_and_status_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the second piece, which is done again, and the first is not; cut as it was begun, whatever is usual now."""
    whole = folder / "whole.zarr"
    features(network(folder), folder / "photos", BLOBS, output=whole)
    texts, put, begun, puts = store._texts, Store.put, list[int](), list[int]()

    def then_ctrl_c(given: Any) -> Any:
        if len(begun) == 2:
            signal.raise_signal(signal.SIGINT)
        return texts(given)

    def noted(self: Store, first: int, *more: Any) -> None:
        begun.append(first)
        put(self, first, *more)
        puts.append(first)

    monkeypatch.setattr(Store, "put", noted)
    monkeypatch.setattr(store, "_texts", then_ctrl_c)
    code, _, said = ran(*words(folder))
    assert code == 130
    assert (
        f"interrupted after 32 of 70 images: run the same command again to resume from {folder / 'a.zarr'}"
        in said
    )
    found = zarr.open(str(folder / "a.zarr"), mode="r")
    assert found["status"][:].tolist() == [2 if n == 7 else 1 for n in range(32)] + [0] * 38
    assert not np.isnan(found["fc"][32:64]).any()  # rows are there that do not count
    monkeypatch.setattr(OnImages, "piece", lambda *_: 64)
    code, _, said = ran(*words(folder))
    assert (code, puts) == (0, [0, 32, 64])
    assert f"{folder / 'a.zarr'}: resuming after 32 images\n" in said
    assert files(folder / "a.zarr") == files(whole)


def test_two_runs_at_once(folder: Path) -> None:
    """Both begin the store, and both do its first piece."""
    barrier, told = CONTEXT.Barrier(2, timeout=PATIENCE), CONTEXT.Queue()
    runs = [
        CONTEXT.Process(target=fill_at_once, args=(folder, folder / "a.zarr", barrier, told))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    answers = [told.get(timeout=PATIENCE) for _ in runs]
    for run in runs:
        run.join(PATIENCE)
        assert run.exitcode == 0
    for first_was_there, seen, names, notes in answers:
        assert not first_was_there
        assert (seen, [int(Path(name).stem) for name in names]) == (IMAGES, GOOD)
        assert len(notes) == len(BAD)
    features(network(folder), folder / "photos", BLOBS, output=folder / "b.zarr")
    assert files(folder / "a.zarr") == files(folder / "b.zarr")


def test_what_another_run_did_meanwhile_is_not_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [
        begin(Extraction(network(folder), ImageCollection.of(folder / "photos"), BLOBS), folder / "a.zarr")
        for _ in range(2)
    ]
    done = [progress.done for progress in runs[0]]
    monkeypatch.setattr(Store, "put", None)
    assert [progress.done for progress in runs[1]] == done == [32, 64, 70]
    assert runs[0].failed == runs[1].failed
    assert [one.number for one in runs[1].failed] == [*BAD]


def test_a_full_disk_is_one_line_and_loses_nothing(folder: Path) -> None:
    def full(progress: Any) -> None:
        limit_files(10_000)  # the rows of fc fit, those of in/conv do not

    try:
        with pytest.raises(RunError) as error:
            features(network(folder), folder / "photos", BLOBS, output=folder / "a.zarr", on_progress=full)
    finally:
        limit_files(-1)
    assert str(error.value) == f"{folder / 'a.zarr'} cannot be written: File too large."
    status = zarr.open(str(folder / "a.zarr"), mode="r")["status"][:]
    assert np.flatnonzero(status == 0).tolist() == list(range(32, IMAGES))
    assert len(features(network(folder), folder / "photos", BLOBS, output=folder / "a.zarr").names) == 68


def test_at_an_address(folder: Path) -> None:
    """Of fsspec's; memory:// is kept in this process."""
    features(network(folder), folder / "photos", BLOBS, output=f"file://{folder}/a.zarr")
    for _ in range(2):
        assert (
            len(features(network(folder), folder / "photos", BLOBS, output="memory://some/a.zarr").names)
            == 68
        )
    found = zarr.open("memory://some/a.zarr", mode="r")
    for name in (*BLOBS, "status", "names", "reasons"):
        np.testing.assert_array_equal(found[name][:], zarr.open(str(folder / "a.zarr"), mode="r")[name][:])


# --- what cannot be -----------------------------------------------------------------


def test_another_run_is_refused(folder: Path) -> None:
    here(*words(folder))
    before = files(folder / "a.zarr")
    said = refused(*words(folder, "--pool", "max")).splitlines()[-1]
    assert said.endswith(
        f"{folder / 'a.zarr'} holds features with other pool: delete it to start again, or give another output."
    )
    assert files(folder / "a.zarr") == before


def test_a_store_that_became_another_runs_is_not_written_to(folder: Path) -> None:
    """While this one goes on."""

    def changed(progress: Any) -> None:
        path = folder / "a.zarr" / ".zattrs"
        path.write_text(path.read_text().replace('"pool": null', '"pool": "max"'))

    with pytest.raises(InputError, match="holds features with other pool"):
        features(network(folder), folder / "photos", BLOBS, output=folder / "a.zarr", on_progress=changed)
    assert sorted(path.name for path in (folder / "a.zarr" / "fc").glob("[0-9]*")) == ["0.0"]


@pytest.mark.parametrize(
    "what",
    [
        "a file",
        "a folder",
        "zarr of version 3",
        "zarr of version 2",
        "damaged",
        "no JSON",
        "no JSON below",
        "other shapes",
    ],
)
def test_something_else_is_refused(folder: Path, what: str) -> None:
    path = folder / "a.zarr"
    if what == "a file":
        path.write_bytes(b"a")
    elif what == "a folder":
        path.mkdir()
        (path / "a.txt").touch()
    elif what.startswith("zarr"):
        group = zarr.open_group(
            str(path), mode="w", **({"zarr_format": int(what[-1])} if store._is_new() else {})
        )
        group.full(
            name="fc",
            shape=(3,),
            chunks=(3,),
            fill_value=0,
            **({"zarr_format": int(what[-1])} if store._is_new() else {}),
        )
    else:
        here(*words(folder))
        file, old, new = {
            "damaged": (".zattrs", '"caffe_viz"', '"other"'),
            "no JSON": (".zattrs", "{", ""),
            "no JSON below": ("fc/.zarray", "{", ""),
            "other shapes": ("fc/.zarray", "70", "71"),
        }[what]
        (path / file).write_text((path / file).read_text().replace(old, new))
    before = files(path)
    said = refused(*words(folder)).splitlines()[-1]
    assert (
        f"{path} holds something other than features: delete it to start again, or give another output."
        in said
    )
    assert files(path) == before


@pytest.mark.parametrize(
    "blobs", [["names"], ["status/a"], ["../a"], ["a//b"], [".zattrs"], ["fc", "fc/a"], ["a\nb"], ["__a"]]
)
def test_names_that_arrays_cannot_have(blobs: list[str]) -> None:
    with pytest.raises(InputError, match=r"^blob .*; write an \.npz\.$"):
        need_names("a.zarr", blobs)
    need_names("a.zarr", ["fc6", "in/conv", "in/b", "inception_3a/1x1"])


def test_addresses_that_are_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, said = ran(*words(folder, "-o", "nowhere://a/b.zarr"))
    assert (code, said.splitlines()[-1]) == (
        1,
        "caffe-viz: nowhere://a/b.zarr cannot be written: Protocol not known: nowhere.",
    )
    assert (
        "s3://a/b.npz: files are written on this machine only; a store at an address ends in .zarr."
        in refused(*words(folder, "-o", "s3://a/b.npz"))
    )
    monkeypatch.setitem(sys.modules, "s3fs", None)
    code, _, said = ran(*words(folder, "-o", "s3://a/b.zarr"))
    assert (code, said.splitlines()[-1]) == (
        1,
        "caffe-viz: s3://a/b.zarr needs a library: Install s3fs to access S3.",
    )
    monkeypatch.setitem(sys.modules, "zarr", None)
    code, _, said = ran(*words(folder))
    assert code == 1
    assert "pip install 'caffe-viz[zarr]'" in said.splitlines()[-1]


def test_damaged_images_alone_are_an_error(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=r"7\.png is not an image"):
            features(network(folder), folder / "photos" / "7.png", "fc", output=folder / "a.zarr")
