"""features: blobs of many images in one file, of every format, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import signal
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import write_noise
from commands import here, ran, refused
from input_toys import NETS

from caffe_viz import InputError, Preprocess, RunError, features, load_net, show_activations
from caffe_viz.extraction import Extraction, FileExtraction, Rows, need_format, write
from caffe_viz.extraction.spool import Spool
from caffe_viz.images import ImageCollection, load_image
from caffe_viz.netdef import parse_net, write_weights
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights
from caffe_viz.streaming import Batch, Failed
from caffe_viz.surgery import input_shapes

TOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "in/conv"
        convolution_param { num_output: 4 kernel_size: 4 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "in/conv" top: "in/conv" }
layer { name: "fc" type: "InnerProduct" bottom: "in/conv" top: "fc" inner_product_param { num_output: 6 } }
"""
TOML = 'channel_order = "RGB"\nmean = 100\nscale = 0.01\nresize = false\n'
BLOBS = ("fc", "in/conv")
IMAGES = 40  # of which 32 are in the first batch


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy net, and images/: 0.png to 39.png, of which 7 is damaged and 33 gives infinity."""
    made = tmp_path_factory.mktemp("original")
    (made / "deploy.prototxt").write_text(TOY)
    (made / "preprocess.toml").write_text(TOML)
    write_weights(seeded_weights(parse_net(TOY), 1), made / "net.caffemodel")
    write_noise(made / "images", IMAGES)
    (made / "images" / "7.png").write_bytes(b"damaged")
    (made / "images" / "33.png").unlink()
    np.save(made / "images" / "33.npy", np.full((3, 12, 12), 3e38, np.float32))
    return made


@pytest.fixture
def toy(original: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    return tmp_path


GOOD = [n for n in range(IMAGES) if n not in (7, 33)]


def network(folder: Path, engine: str = "auto") -> Network:
    how = Preprocess.from_toml(folder / "preprocess.toml")
    return Network(folder / "deploy.prototxt", folder / "net.caffemodel", how, engine)


def words(folder: Path, output: Path, *more: object) -> list[str]:
    given = [
        folder / "deploy.prototxt",
        folder / "net.caffemodel",
        "--image",
        folder / "images",
        "-o",
        output,
    ]
    return list(map(str, ["features", *given, *more]))


@pytest.fixture(scope="module")
def one_by_one(original: Path, engine: str) -> dict[str, Any]:
    """What pycaffe's own loop gives."""
    net = load_net(original / "deploy.prototxt", original / "net.caffemodel", engine=engine)
    how = Preprocess.from_toml(original / "preprocess.toml")
    rows = dict[str, list[Any]]((blob, []) for blob in BLOBS)
    for n in GOOD:
        image = load_image(original / "images" / f"{n}.png")
        net.blobs["data"].data[...] = how.to_caffe(image, (3, 12, 12))
        net.forward()
        for blob in BLOBS:
            rows[blob].append(net.blobs[blob].data[0].copy())
    return {blob: np.stack(some) for blob, some in rows.items()}


# --- reading files back, by libraries that are not ours -----------------------------


def of_npz(path: Path) -> tuple[list[str], dict[str, Any]]:
    with np.load(path) as saved:
        return list(map(str, saved["names"])), {b: saved[b] for b in saved.files if b != "names"}


def of_hdf5(path: Path) -> tuple[list[str], dict[str, Any]]:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path) as file:
        return [name.decode() for name in file["names"]], {b: file[b][...] for b in BLOBS if b in file}


def of_csv(path: Path) -> tuple[list[str], dict[str, Any]]:
    with open(path, newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    assert head[0] == "name"
    values: dict[str, Any] = {}
    for blob in BLOBS:
        columns = [i for i, name in enumerate(head) if name.startswith(f"{blob}.")]
        shape = [
            1 + max(int(head[i].split(".")[axis]) for i in columns)
            for axis in range(1, len(head[columns[0]].split(".")))
        ]
        values[blob] = np.array([[line[i] for i in columns] for line in lines], np.float32).reshape(
            -1, *shape
        )
    return [line[0] for line in lines], values


def of_lmdb(path: Path) -> tuple[list[str], dict[str, Any]]:
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed")
    from caffe_viz import caffe

    found = {}
    for blob in BLOBS:
        with (
            lmdb.open(str(path / blob.replace("/", "-")), readonly=True) as database,
            database.begin() as transaction,
        ):
            pairs = list(transaction.cursor())
        assert [key for key, _ in pairs] == [b"%010d" % n for n in range(len(pairs))]
        datums = [caffe.proto.caffe_pb2.Datum.FromString(value) for _, value in pairs]
        assert [datum.SerializeToString() for datum in datums] == [bytes(value) for _, value in pairs]
        assert not any(datum.HasField("data") or datum.HasField("label") for datum in datums)
        found[blob] = np.stack([caffe.io.datum_to_array(datum) for datum in datums])
    return (path / "names.txt").read_text(encoding="utf-8").splitlines(), found


READ: dict[str, Callable[[Path], tuple[list[str], dict[str, Any]]]] = {
    ".npz": of_npz, ".h5": of_hdf5, ".hdf5": of_hdf5, ".csv": of_csv, ".lmdb": of_lmdb,
}  # fmt: skip


@pytest.mark.parametrize("suffix", READ)
def test_rows_are_those_of_images_alone(
    toy: Path, engine: str, suffix: str, one_by_one: dict[str, Any]
) -> None:
    path = toy / "out" / f"features{suffix}"
    more = [word for blob in BLOBS for word in ("--blob", blob)]
    code, said, errors = ran(*words(toy, path, *more, "--engine", engine))
    assert code == 0, errors
    names, found = READ[suffix](path)
    assert [Path(name).name for name in names] == [f"{n}.png" for n in GOOD]
    for blob, expected in one_by_one.items():
        np.testing.assert_allclose(found[blob].reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)
    assert "images skipped: 2" in said
    assert [
        line for line in errors.splitlines() if "7.png" in line or "NaN or infinity" in line
    ] == errors.splitlines()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_pooling_takes_the_places_of_maps_together(
    toy: Path, engine: str, pool: str, one_by_one: dict[str, Any]
) -> None:
    found, expected = features(network(toy, engine), toy / "images", BLOBS, pool=pool), one_by_one
    assert found.shapes == {"fc": (38, 6), "in/conv": (38, 4)}
    np.testing.assert_allclose(found["fc"], expected["fc"], rtol=1e-5, atol=1e-6)
    pooled = getattr(expected["in/conv"], pool)(axis=(2, 3))
    np.testing.assert_allclose(found["in/conv"], pooled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["pair", "sequence", "four", "batch_norm", "siamese"])
@pytest.mark.filterwarnings("ignore::caffe_viz.CaffeVizWarning")
def test_nets_of_several_inputs_rows_and_fixed_batches(tmp_path: Path, engine: str, name: str) -> None:
    """As `activations` of each image alone."""
    message = parse_net(NETS[name])
    image, blob = next(iter(input_shapes(message.layer))), message.layer[-1].top[0]
    net = Network(message, seeded_weights(message, 1), engine=engine, image=image)
    rows = () if net.batch_layout.rows == 1 else (net.batch_layout.rows,)
    arrays = np.random.default_rng(0).normal(size=(5, *rows, *net.geometry.blobs[net.data][1:]))
    for n, array in enumerate(arrays):
        np.save(tmp_path / f"{n}.npy", array.astype(np.float32))
    found = features(net, tmp_path, blob)[blob]
    for n in range(5):
        alone = show_activations(net, tmp_path / f"{n}.npy", [blob]).arrays[blob]
        np.testing.assert_allclose(found[n], alone.reshape(found[n].shape), rtol=1e-4, atol=1e-6)


def test_a_net_reads_the_hdf5_file(toy: Path, engine: str, one_by_one: dict[str, Any]) -> None:
    """The HDF5Data layers of both engines."""
    path = toy / "features.h5"
    features(network(toy, engine), toy / "images", "fc", output=path)
    (toy / "source.txt").write_text(f"{path}\n")
    (toy / "data.prototxt").write_text(
        f'layer {{ name: "data" type: "HDF5Data" top: "fc" hdf5_data_param {{ source: "{toy}/source.txt" batch_size: 38 }} }}'
    )
    net = load_net(toy / "data.prototxt", engine=engine, allow_code=True)
    net.forward()
    np.testing.assert_allclose(net.blobs["fc"].data, one_by_one["fc"], rtol=1e-5, atol=1e-6)


def test_one_blob_is_a_database_itself(toy: Path) -> None:
    lmdb = pytest.importorskip("lmdb", reason="lmdb is not installed")
    features(network(toy), toy / "images", "in/conv", output=toy / "a.lmdb")
    with lmdb.open(str(toy / "a.lmdb"), readonly=True) as database:
        assert database.stat()["entries"] == 38


def test_in_memory_and_saved_is_as_written(toy: Path) -> None:
    found = features(network(toy), toy / "images", BLOBS)
    for suffix in (".npz", ".csv"):
        written = features(network(toy), toy / "images", BLOBS, output=toy / f"a{suffix}")
        assert found.save(toy / f"b{suffix}").read_bytes() == (toy / f"a{suffix}").read_bytes()
        assert (written.names, written.shapes, written.arrays) == (found.names, found.shapes, {})
        assert repr(written) == repr(found)
    assert found.states == {"fc": "", "in/conv": "post-ReLU (relu, in place)"}
    assert len(found.failed) == 2
    assert "38 6" in found._repr_html_()
    for ask in (lambda: written.save(toy / "c.npz"), lambda: written["fc"]):
        with pytest.raises(InputError, match="in the file that they were written to"):
            ask()
    with pytest.raises(InputError, match="no features of blob 'fd'"):
        found["fd"]


def test_json_tells_what_was_written(toy: Path) -> None:
    made = json.loads(here(*words(toy, toy / "a.npz", "--blob", "fc", "--pool", "max", "--json")))
    assert (made["images"], made["rows"], made["pool"], len(made["failed"])) == (40, 38, "max", 2)
    assert made["blobs"] == {"fc": {"shape": [38, 6], "state": ""}}
    assert made["files"] == [str(toy / "a.npz")]


# --- interrupted, killed, changed, no room ------------------------------------------


def test_interrupted_and_continued_is_the_same(
    toy: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = toy / "whole.npz", toy / "out" / "a.npz"
    features(network(toy, engine), toy / "images", BLOBS, output=whole)
    seen: list[int] = []

    def then_ctrl_c(spool: Spool, batch: Batch) -> None:
        append(spool, batch)
        seen.append(batch.size)
        if len(seen) < 3:
            signal.raise_signal(signal.SIGINT)

    append = Spool.append
    monkeypatch.setattr(Spool, "append", then_ctrl_c)
    given = words(toy, path, "--blob", "fc", "--blob", "in/conv", "--engine", engine)
    for done in (32, 40):
        code, _, said = ran(*given)
        assert code == 130
        assert f"interrupted after {done} of 40 images: run the same command again to resume" in said
        assert [p.name for p in path.parent.iterdir()] == ["a.npz.unfinished"]
    code, _, said = ran(*given)
    assert (code, seen) == (0, [32, 8])  # no image twice
    assert "resuming after 40 images" in said
    assert path.read_bytes() == whole.read_bytes()
    assert list(path.parent.iterdir()) == [path]


def test_rows_that_a_killed_process_had_not_noted_are_made_again(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    spool = Spool(tmp_path / "s", {"net": 1}, {"a": (2,)})
    spool.append(Batch((0, 1), {"a": rows[:2]}, (Failed(2, "why"),)))
    spool.save()
    spool.append(Batch((3, 4), {"a": rows[2:4] + 100}, ()))
    spool.close()  # what was not noted is in the file all the same
    again = Spool(tmp_path / "s", {"net": 1}, {"a": (2,)})
    assert (again.seen, again.rows, again.failed) == (3, 2, [Failed(2, "why")])
    again.append(Batch((3, 4, 5, 6), {"a": rows[2:]}, ()))
    again.save()
    np.testing.assert_array_equal(np.concatenate(list(again.parts("a"))), rows)


def test_what_is_done_is_noted_on_the_way(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caffe_viz.extraction.file_extraction.SAVE_EVERY", 0)
    filing = FileExtraction(
        Extraction(network(toy), ImageCollection.of(toy / "images"), ["fc"]), toy / "a.npz"
    )
    next(iter(filing))
    assert json.loads((toy / "a.npz.unfinished" / "state.json").read_text())["seen"] == 32


@pytest.mark.parametrize("changed", ["net", "weights", "images", "preprocessing", "blobs", "pool", "engine"])
def test_another_run_is_not_continued(toy: Path, changed: str) -> None:
    def begun(net: Network, blob: str = "fc", pool: str | None = None) -> FileExtraction:
        return FileExtraction(
            Extraction(net, ImageCollection.of(toy / "images"), [blob], pool=pool), toy / "a.npz"
        )

    filing = begun(network(toy, "torch"))
    filing.spool.append(Batch((0,), {"fc": np.zeros((1, 6), np.float32)}, ()))
    filing.spool.save()
    del filing  # another run is not at it any more
    assert begun(network(toy, "torch")).spool.seen == 1
    net, given = network(toy, "torch"), {}
    if changed == "net":
        (toy / "deploy.prototxt").write_text(TOY.replace('"ReLU"', '"TanH"'))
        net = network(toy, "torch")
    elif changed == "weights":
        write_weights(seeded_weights(parse_net(TOY), 2), toy / "net.caffemodel")
    elif changed == "images":
        (toy / "images" / "3.png").unlink()
    elif changed == "preprocessing":
        net = replace(net, preprocess=replace(net.preprocess, mean=(100.0001,)))
    elif changed == "engine":
        pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")
        net = network(toy, "caffe")
    else:
        given = {"blobs": {"blob": "in/conv"}, "pool": {"pool": "max"}}[changed]
    with pytest.raises(InputError, match=rf"unfinished features with other .*\b{changed}\b.*: delete it"):
        begun(net, **given)
    (toy / "a.npz.unfinished" / "state.json").write_bytes(b"damaged")
    with pytest.raises(InputError, match="holds no unfinished features"):
        begun(net, **given)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csv", ".lmdb"])
def test_a_full_disk_is_one_line_and_loses_nothing(toy: Path, suffix: str) -> None:
    """A limit for the size of a file stands for it: rows fit into that, the file does not."""
    path = toy / f"a{suffix}"
    filing = FileExtraction(Extraction(network(toy), ImageCollection.of(toy / "images"), BLOBS), path)
    for _ in filing:
        pass
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        with pytest.raises(RunError) as error:
            filing.write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"a{suffix} cannot be written" in str(error.value)
    assert "\n" not in str(error.value)
    assert not path.exists()
    features(network(toy), toy / "images", BLOBS, output=path)
    assert len(READ[suffix](path)[0]) == 38
    assert not filing.spool.folder.exists()


def test_no_room_for_rows_is_one_line(toy: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        code, _, said = ran(*words(toy, toy / "a.npz", "--blob", "in/conv"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert "cannot be written: File too large." in said.splitlines()[-1]
    assert "Traceback" not in said
    here(*words(toy, toy / "a.npz", "--blob", "in/conv"))
    assert len(of_npz(toy / "a.npz")[0]) == 38


def test_memory_does_not_grow_with_the_images(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for their names: peaks of Python's and NumPy's memory, for rows of 6 kB."""
    monkeypatch.setattr("caffe_viz.extraction.spool.PART", 2**14)
    text = TOY.replace("num_output: 4", "num_output: 64")
    (toy / "deploy.prototxt").write_text(text)
    write_weights(seeded_weights(parse_net(text), 1), toy / "net.caffemodel")
    peaks = []
    for times in (1, 2, 6):  # the first one imports what is imported once
        collection = ImageCollection.of(*[toy / "images"] * times)
        tracemalloc.start()
        filing = FileExtraction(Extraction(network(toy), collection, ["fc", "in/conv"]), toy / f"{times}.npz")
        steps = iter(filing)
        next(steps)
        tracemalloc.reset_peak()  # to begin takes more than what follows
        for _ in steps:
            pass
        filing.write()
        peaks.append(tracemalloc.get_traced_memory()[1] - 700 * len(collection))
        tracemalloc.stop()
    assert peaks[2] < 1.3 * peaks[1], peaks


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csv", ".lmdb"])
def test_files_are_written_in_parts(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.8 MB of rows with less than half of that in memory."""
    pytest.importorskip({".h5": "h5py", ".lmdb": "lmdb"}.get(suffix, "numpy"))
    monkeypatch.setattr("caffe_viz.extraction.spool.PART", 2**14)
    rng, shapes = np.random.default_rng(0), {"fc": (1000,)}
    spool = Spool(tmp_path / "spool", {}, shapes)
    for first in range(0, 200, 50):
        values = rng.normal(size=(50, 1000)).astype(np.float32)
        spool.append(Batch(tuple(range(first, first + 50)), {"fc": values}, ()))
    spool.save()
    tracemalloc.start()
    write(tmp_path / f"a{suffix}", Rows([f"{n}.png" for n in range(200)], shapes, spool.parts))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 10**5


# --- what cannot be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--blob", "fd"), "net '' has no blob 'fd'"),
        (("--blob", "fc", "--pool", "median"), "--pool median: give mean or max"),
        (("--blob", "fc", "-o", "a.txt"), "a.txt: the name must end in .npz, .h5, "),
        (("--blob", "fc", "--image", "nowhere.mp4"), "no such image, folder or archive"),
    ],
)
def test_bad_input_is_one_line(toy: Path, more: tuple[str, ...], said: str) -> None:
    line = refused(*words(toy, toy / "a.npz", *more))
    assert said in line
    assert line.count("\n") == 1
    assert not list(toy.glob("*unfinished*"))


def test_damaged_images_alone_are_an_error(toy: Path) -> None:
    with pytest.raises(InputError, match=r"pool is 'median'"):
        features(network(toy), toy / "images", "fc", pool="median")
    for output in (None, toy / "a.npz"):
        with pytest.raises(InputError, match=r"7\.png is not an image"):
            features(network(toy), toy / "images" / "7.png", "fc", output=output)
    assert not (toy / "a.npz").exists()
    assert not list(toy.glob("*unfinished*"))  # nothing to go on from


def test_a_blob_that_is_the_same_for_all_images_has_no_rows(toy: Path, engine: str) -> None:
    (toy / "deploy.prototxt").write_text(
        TOY + 'layer { name: "more" type: "Input" top: "more" input_param { shape { dim: 7 } } }\n'
        'layer { name: "abs" type: "AbsVal" bottom: "more" top: "abs" }'
    )
    with pytest.raises(InputError, match="'abs' does not depend on the image 'data'"):
        features(network(toy, engine), toy / "images", ["fc", "abs"])


def test_formats_say_what_they_cannot_hold(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmdb", reason="lmdb is not installed")
    (toy / "deploy.prototxt").write_text(TOY.replace('top: "fc"', 'top: "names"'))
    for suffix in (".npz", ".h5"):
        with pytest.raises(InputError, match="uses this name for the names of the images"):
            features(network(toy), toy / "images", "names", output=toy / f"a{suffix}")
    (toy / "a.lmdb").mkdir()
    with pytest.raises(InputError, match=r"a\.lmdb exists: remove it"):
        features(network(toy), toy / "images", "names", output=toy / "a.lmdb")
    with pytest.raises(InputError, match="would be in one folder"):
        need_format(toy / "b.lmdb", {"in/conv": (1,), "In-conv": (1,)})
    with pytest.raises(InputError, match="a Datum has three axes: pool"):
        need_format(toy / "b.lmdb", {"conv": (3, 4, 5, 6)})
    for library, suffix in (("lmdb", "b.lmdb"), ("h5py", "a.h5")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(RunError, match="pip install"):
            features(network(toy), toy / "images", "in/conv", output=toy / suffix)
