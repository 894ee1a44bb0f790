"""Layers that bring data into a net, and those that read files: on both engines where real Caffe has them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_runs import CaffeRuns, Case, run

from caffe_viz import netdef
from caffe_viz.backend import load_net, module
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.parity import LIMIT, apart

torch = pytest.importorskip("torch")

MEMORY = 'layer { name: "d" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 channels: 3 height: 1 width: 4 } transform_param { scale: 7 } }'


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return str(path)


def dummy(*fillers: str) -> str:
    tops = " ".join(f'top: "t{i}"' for i in range(len(fillers)))
    found = " ".join(f"data_filler {{ {f} }}" for f in fillers)
    return f'layer {{ name: "d" type: "DummyData" {tops} dummy_data_param {{ shape {{ dim: 3 dim: 4 }} {found} }} }}'


def hdf5(source: Path, settings: str, tops: str = 'top: "data" top: "label"') -> str:
    return (
        f'layer {{ name: "d" type: "HDF5Data" {tops} hdf5_data_param {{ source: "{source}" {settings} }} }}'
    )


# --- DummyData -------------------------------------------------------------------------


def test_constants_are_filled_when_the_net_is_made_and_never_again(tmp_path: Path, engine: str) -> None:
    caffe = module(engine)
    net = caffe.Net(write(tmp_path, dummy("value: 3", "type: 'gaussian'")), caffe.TEST)
    assert (net.blobs["t0"].data == 3).all()
    assert (net.blobs["t1"].data == 0).all()
    net.blobs["t0"].data[...] = 5
    net.forward()
    assert (net.blobs["t0"].data == 5).all()


def test_other_fillers_fill_in_each_forward(tmp_path: Path, engine: str) -> None:
    caffe = module(engine)
    net = caffe.Net(write(tmp_path, dummy("value: 3", "type: 'uniform' min: 2 max: 4")), caffe.TEST)
    net.forward()
    first = net.blobs["t1"].data.copy()
    assert first.std() > 0.1
    assert ((first >= 2) & (first <= 4)).all()
    net.forward()
    assert not (net.blobs["t1"].data == first).any()


def test_a_seed_repeats_what_is_made_up(tmp_path: Path, engine: str) -> None:
    caffe, found = module(engine), []
    for seed in (1, 1, 2):
        caffe.set_random_seed(seed)
        net = caffe.Net(write(tmp_path, dummy("type: 'gaussian'")), caffe.TEST)
        found.append(net.forward()["t0"].copy())
    assert (found[0] == found[1]).all()
    assert not (found[0] == found[2]).any()


# --- MemoryData ------------------------------------------------------------------------


def test_arrays_go_round(tmp_path: Path, engine: str) -> None:
    caffe = module(engine)
    net = caffe.Net(write(tmp_path, MEMORY), caffe.TEST)
    data = np.arange(72, dtype=np.float32).reshape(6, 3, 1, 4)
    labels = np.arange(6, dtype=np.float32)
    net.set_input_arrays(data, labels)
    for first in (0, 2, 4, 0):
        net.forward()
        assert (net.blobs["data"].data == data[first : first + 2]).all()  # transform_param does not count
        assert net.blobs["label"].data.shape == (2, 1, 1, 1)
        assert (net.blobs["label"].data.ravel() == labels[first : first + 2]).all()
    net.set_input_arrays(data, labels)
    net.forward()
    assert (net.blobs["data"].data == data[:2]).all()


def test_what_is_written_into_the_blob_leaves_the_given_arrays_alone(tmp_path: Path) -> None:
    caffe = module("torch")
    net = caffe.Net(write(tmp_path, MEMORY), caffe.TEST)
    data = np.ones((2, 3, 1, 4), np.float32)
    net.set_input_arrays(data, np.zeros(2, np.float32))
    net.forward()
    net.blobs["data"].data[...] = 5
    assert (data == 1).all()


def test_memory_without_arrays_says_what_to_call(tmp_path: Path) -> None:
    caffe = module("torch")
    net = caffe.Net(write(tmp_path, MEMORY), caffe.TEST)
    with pytest.raises(InputError, match=r"'d'.*set_input_arrays.*\(N, 3, 1, 4\) and labels \(N\)"):
        net.forward()
    with pytest.raises(InputError, match="0 images do not divide"):
        net.set_input_arrays(np.zeros((0, 3, 1, 4), np.float32), np.zeros(0, np.float32))


# --- HDF5Data --------------------------------------------------------------------------


@pytest.fixture
def three_files(tmp_path: Path) -> Path:
    """Rows 0..4, 5, 6..9 in three files; row n holds n, n + 0.5 in float64, its label n as an integer."""
    h5py = pytest.importorskip("h5py")
    for name, rows in {"a": range(5), "b": [5], "c": range(6, 10)}.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["data"] = [[[n, n + 0.5]] for n in rows]
            file["label"] = list(rows)
    source = tmp_path / "list.txt"
    source.write_text("\n".join(str(tmp_path / f"{n}.h5") for n in "abc") + "\n\n")
    return source


def taken(net: Any, batches: int) -> list[int]:
    """Labels of so many batches, whose rows are looked at too."""
    found: list[int] = []
    for _ in range(batches):
        net.forward()
        labels = net.blobs["label"].data.copy()
        assert (net.blobs["data"].data == np.stack([labels, labels + 0.5], 1)[:, None]).all()
        found += labels.astype(int).tolist()
    return found


def test_rows_in_order_over_several_files_and_round_again(
    tmp_path: Path, engine: str, three_files: Path
) -> None:
    caffe = module(engine)
    net = caffe.Net(write(tmp_path, hdf5(three_files, "batch_size: 4")), caffe.TEST)
    assert net.blobs["data"].data.shape == (4, 1, 2)
    assert net.blobs["label"].data.shape == (4,)
    assert taken(net, 6) == [*range(10), *range(10), *range(4)]


def test_a_batch_may_take_more_than_there_is(tmp_path: Path, engine: str, three_files: Path) -> None:
    caffe = module(engine)
    three_files.write_text(str(tmp_path / "c.h5"))
    net = caffe.Net(write(tmp_path, hdf5(three_files, "batch_size: 11")), caffe.TEST)
    assert taken(net, 2) == [6, 7, 8, 9] * 5 + [6, 7]


def test_shuffled_rows_come_once_per_round(tmp_path: Path, engine: str, three_files: Path) -> None:
    caffe = module(engine)
    net = caffe.Net(write(tmp_path, hdf5(three_files, "batch_size: 5 shuffle: true")), caffe.TEST)
    rounds = [taken(net, 2) for _ in range(6)]
    assert all(sorted(some) == list(range(10)) for some in rounds)
    assert len({tuple(some) for some in rounds}) > 1
    for some in rounds:  # a file's rows stay together
        files = [0 if n < 5 else 1 if n == 5 else 2 for n in some]
        assert sum(a != b for a, b in pairwise(files)) == 2


def test_hdf5_gives_gradients_of_weights(tmp_path: Path, engine: str, three_files: Path) -> None:
    """The whole way, through `load_net`, which refuses files unless they are allowed."""
    net_text = hdf5(three_files, "batch_size: 5") + (
        'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 1 } }'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "fc" bottom: "label" top: "loss" }'
    )
    path = Path(write(tmp_path, net_text))
    with pytest.raises(InputError, match="reads"):
        load_net(path, engine=engine)
    net = load_net(path, engine=engine, allow_code=True)
    net.forward()
    net.backward()
    # Weights are 0: loss = sum of n squared / 2 / 5, gradient of the bias -mean of n = -2.
    assert net.blobs["loss"].data == pytest.approx((0 + 1 + 4 + 9 + 16) / 10)
    assert net.params["fc"][1].diff == pytest.approx(-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "source: 'nowhere.txt' batch_size: 2",
            r"'d' \(HDF5Data\).*hdf5_data_param.source 'nowhere.txt' cannot be read",
        ),
        ("source: '{}/empty.txt' batch_size: 2", "lists no file"),
        ("source: '{}/none.txt' batch_size: 2", "none.h5 cannot be read as HDF5"),
        ("source: '{}/list.txt'", "data.*would be 0x1x2"),
        ("source: '{}/list.txt' batch_size: 2 }} transform_param {{ scale: 2", "remove transform_param"),
        ("source: '{}/other.txt' batch_size: 2", "no dataset 'label'.*There are: data"),
        ("source: '{}/rows.txt' batch_size: 2", "the same number of rows.*data 2x1, label 3"),
        ("source: '{}/words.txt' batch_size: 2", "'label' is not an array of numbers"),
    ],
)
def test_what_is_wrong_with_hdf5_is_said(
    tmp_path: Path, three_files: Path, settings: str, message: str
) -> None:
    h5py = pytest.importorskip("h5py")
    bad: dict[str, dict[str, Any]] = {
        "other": {"data": [1]},
        "rows": {"data": [[1], [2]], "label": [1, 2, 3]},
        "words": {"data": [1], "label": [b"x"]},
    }
    for name, datasets in bad.items():
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for key, values in datasets.items():
                file[key] = values
    for name in ("other", "rows", "words", "none"):
        (tmp_path / f"{name}.txt").write_text(str(tmp_path / f"{name}.h5"))
    (tmp_path / "empty.txt").write_text(" \n")
    caffe = module("torch")
    text = f'layer {{ name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ {settings.format(tmp_path)} }} }}'
    with pytest.raises(InputError, match=message) as caught:
        caffe.Net(write(tmp_path, text), caffe.TEST)
    assert "\n" not in str(caught.value)


def test_a_later_file_must_have_rows_of_the_same_shape(tmp_path: Path, three_files: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"], file["label"] = [[1.0, 2.0, 3.0]], [0]
    caffe = module("torch")
    net = caffe.Net(write(tmp_path, hdf5(three_files, "batch_size: 5")), caffe.TEST)
    net.forward()
    with pytest.raises(InputError, match=r"b.h5: rows of 'data' are 3, in .*a.h5 1x2"):
        net.forward()
    net.forward()  # begins anew
    assert net.blobs["label"].data.tolist() == [0, 1, 2, 3, 4]


def test_geometry_reads_no_file_unless_it_may(tmp_path: Path, three_files: Path) -> None:
    net = netdef.parse_net(hdf5(three_files, "batch_size: 3"))
    assert measure(net).unknown.keys() == {"data", "label"}
    assert measure(net, files=True).blobs == {"data": (3, 1, 2), "label": (3,)}


# --- ImageData -------------------------------------------------------------------------

# 2 x 4 pixels: red grows by 10 to the right, green by 100 downward, blue is 7.
RED, GREEN, BLUE = np.array([[0, 10, 20, 30]] * 2), np.array([[0] * 4, [100] * 4]), np.full((2, 4), 7)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures, the second one blacker; a list that names them."""
    from PIL import Image

    rgb = np.stack([RED, GREEN, BLUE], 2).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a b.png")
    Image.fromarray(rgb // 2).save(tmp_path / "half.png")
    source = tmp_path / "list.txt"
    source.write_text("a b.png 3\nhalf.png -1\n\n")
    return source


def images(source: Path, settings: str = "", transform: str = "") -> str:
    return f"""layer {{ name: "d" type: "ImageData" top: "data" top: "label" transform_param {{ {transform} }}
        image_data_param {{ source: "{source}" root_folder: "{source.parent}/" {settings} }} }}"""


def image_batches(tmp_path: Path, text: str, count: int, phase: str = "TEST") -> list[tuple[Any, Any]]:
    caffe = module("torch")
    net = caffe.Net(write(tmp_path, text), getattr(caffe, phase))
    found = []
    for _ in range(count):
        net.forward()
        found.append((net.blobs["data"].data.copy(), net.blobs["label"].data.tolist()))
    return found


def test_images_are_bgr_in_the_order_of_the_list(tmp_path: Path, pictures: Path) -> None:
    (first, labels), (second, more) = image_batches(tmp_path, images(pictures, "batch_size: 3"), 2)
    whole = np.stack([BLUE, GREEN, RED])
    half = whole // 2
    assert (first == [whole, half, whole]).all()
    assert labels == [3, -1, 3]
    assert (second == [half, whole, half]).all()
    assert more == [-1, 3, -1]


def test_grey_is_a_weighted_sum(tmp_path: Path, pictures: Path) -> None:
    ((data, _),) = image_batches(tmp_path, images(pictures, "is_color: false"), 1)
    assert data.shape == (1, 1, 2, 4)
    assert (data[0, 0] == np.rint(0.299 * RED + 0.587 * GREEN + 0.114 * BLUE)).all()


def test_scale_counts_after_the_mean(tmp_path: Path, pictures: Path) -> None:
    transform = "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5"
    ((data, _),) = image_batches(tmp_path, images(pictures, "", transform), 1)
    assert (data[0] == (np.stack([BLUE, GREEN, RED]) - [[[1]], [[2]], [[3]]]) * 0.5).all()
    ((data, _),) = image_batches(tmp_path, images(pictures, "", "mean_value: 4"), 1)
    assert (data[0] == np.stack([BLUE, GREEN, RED]) - 4).all()


def test_resizing_is_bilinear_between_centres(tmp_path: Path, pictures: Path) -> None:
    """Width 4 to 2: centres at 0.5 and 2.5. Width 4 to 8, height 2 to 4: at -0.25, 0.25, 0.75, ..."""
    ((data, _),) = image_batches(tmp_path, images(pictures, "new_height: 2 new_width: 2"), 1)
    assert data[0, 2].tolist() == [[5, 25]] * 2
    ((data, _),) = image_batches(tmp_path, images(pictures, "new_height: 4 new_width: 8"), 1)
    assert data[0, 1, :, 0].tolist() == [0, 25, 75, 100]
    # 2.5 is 320 / 128; cut on the way, (320 * 1536 >> 16) + (320 * 512 >> 16) = 7 + 2 quarters, (9 + 2) >> 2 = 2.
    assert data[0, 2].tolist() == [[0, 2, 7, 12, 17, 22, 27, 30]] * 4
    # Height 2 to 1 lies between both rows; without smoothing, width 4 to 1 sees only the two middle pixels.
    ((data, _),) = image_batches(tmp_path, images(pictures, "new_height: 1 new_width: 1"), 1)
    assert data[0].ravel().tolist() == [7, 50, 15]


def test_crop_is_in_the_middle_in_test(tmp_path: Path, pictures: Path) -> None:
    ((data, _),) = image_batches(tmp_path, images(pictures, "", "crop_h: 1 crop_w: 3"), 1)
    assert data[0, 2].tolist() == [[0, 10, 20]]  # (4 - 3) // 2 = 0
    assert data[0, 1].tolist() == [[0, 0, 0]]
    ((data, _),) = image_batches(tmp_path, images(pictures, "", "crop_size: 2"), 1)
    assert data[0, 2].tolist() == [[10, 20]] * 2


def test_crop_is_anywhere_in_train(tmp_path: Path, pictures: Path) -> None:
    text = images(pictures, "batch_size: 40", "crop_h: 1 crop_w: 2")
    pictures.write_text("a b.png 0")
    ((data, _),) = image_batches(tmp_path, text, 1, "TRAIN")
    places = {(int(image[1, 0, 0] // 100), int(image[2, 0, 0] // 10)) for image in data}
    assert places == {(row, column) for row in range(2) for column in range(3)}


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_half_of_the_images_are_mirrored_with_their_mean(tmp_path: Path, pictures: Path, phase: str) -> None:
    """The mean is 1 on the left: a mirrored image has it on its right."""
    mean = np.zeros((1, 3, 2, 4), np.float32)
    mean[..., 0] = 1
    (tmp_path / "mean.binaryproto").write_bytes(netdef.make_blob(mean).SerializeToString())
    transform = f"mirror: true mean_file: '{tmp_path}/mean.binaryproto'"
    (batch,) = image_batches(tmp_path, images(pictures, "batch_size: 80", transform), 1, phase)
    rows = {tuple(image[2, 0]) for image in batch[0][::2]}
    assert rows == {(-1, 10, 20, 30), (30, 20, 10, -1)}
    mirrored = sum(image[2, 0, 0] == 30 for image in batch[0][::2])
    assert 8 < mirrored < 32


def test_a_mean_of_the_whole_image_is_cropped_with_it(tmp_path: Path, pictures: Path) -> None:
    mean = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    (tmp_path / "mean.binaryproto").write_bytes(netdef.make_blob(mean).SerializeToString())
    transform = f"crop_size: 2 mean_file: '{tmp_path}/mean.binaryproto'"
    ((data, _),) = image_batches(tmp_path, images(pictures, "", transform), 1)
    assert (data[0] == (np.stack([BLUE, GREEN, RED]) - mean[0])[:, :, 1:3]).all()


def test_shuffled_images_come_once_per_round(tmp_path: Path, pictures: Path) -> None:
    pictures.write_text("".join(f"half.png {n}\n" for n in range(6)))
    found = image_batches(tmp_path, images(pictures, "batch_size: 3 shuffle: true"), 8)
    rounds = [a[1] + b[1] for a, b in zip(found[::2], found[1::2], strict=True)]
    assert all(sorted(some) == list(range(6)) for some in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_rand_skip_skips_less_than_it_says_and_only_once(tmp_path: Path, pictures: Path) -> None:
    pictures.write_text("".join(f"half.png {n}\n" for n in range(5)))
    starts = set()
    for _ in range(20):
        ((_, labels),) = image_batches(tmp_path, images(pictures, "batch_size: 11 rand_skip: 3"), 1)
        starts.add(labels[0])
        assert labels == [(int(labels[0]) + i) % 5 for i in range(11)]
    assert starts == {0, 1, 2}


def test_kinds_of_files_as_opencv_reads_them(tmp_path: Path) -> None:
    """Transparency is left out; of 16 bits the upper 8 count; what is grey has three equal channels."""
    from PIL import Image

    Image.fromarray(np.array([[[9, 8, 7, 0]]], np.uint8), "RGBA").save(tmp_path / "clear.png")
    Image.fromarray(np.array([[0xFE80]], np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.array([[33]], np.uint8)).save(tmp_path / "grey.png")
    source = tmp_path / "list.txt"
    source.write_text("clear.png 0\ndeep.png 1\ngrey.png 2\n")
    ((data, _),) = image_batches(tmp_path, images(source, "batch_size: 3"), 1)
    assert data[..., 0, 0].tolist() == [[7, 8, 9], [0xFE] * 3, [33] * 3]
    ((data, _),) = image_batches(tmp_path, images(source, "batch_size: 3 is_color: false"), 1)
    assert data.ravel().tolist() == [round(0.299 * 9 + 0.587 * 8 + 0.114 * 7), 0xFE, 33]


@pytest.mark.parametrize(
    ("lines", "settings", "transform", "message"),
    [
        ("a b.png x", "", "", "line 1: 'a b.png x' is not a path, a space and a whole number"),
        ("", "", "", "lists no file"),
        ("c.png 1", "", "", "c.png: there is no such file"),
        ("list.txt 1", "", "", "list.txt is not an image"),
        ("a b.png 1", "new_height: 3", "", "new_height and new_width both"),
        ("a b.png 1", "", "crop_size: 3", "cannot crop 3x3 from an image of 2x4"),
        ("a b.png 1", "rand_skip: 1000000", "", "rand_skip 1000000 is more than the 1 images"),
        ("a b.png 1\ntall.png 1", "batch_size: 2", "", r"tall.png becomes 3x4x2, others of its batch 3x2x4: give new_height"),
        ("a b.png 1", "", "mean_value: 1 mean_value: 2", "mean is 2x1x1, an image 3x2x4"),
        ("a b.png 1", "", "mean_value: 1 mean_file: 'x'", "mean_file or mean_value, not both"),
        ("a b.png 1", "", "mean_file: 'nowhere.binaryproto'", "nowhere.binaryproto: no such binaryproto"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_images_is_said(
    tmp_path: Path, pictures: Path, lines: str, settings: str, transform: str, message: str
) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((4, 2, 3), np.uint8)).save(tmp_path / "tall.png")
    pictures.write_text(lines)
    with pytest.raises(InputError, match=message) as caught:
        image_batches(tmp_path, images(pictures, settings, transform), 1)
    assert "\n" not in str(caught.value)


def test_noise_and_policies_of_resizing_are_left_out(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(NotImplementedError, match=r"'d'.*old_resize_param.*beforehand"):
        image_batches(tmp_path, images(pictures, "", "noise_param { prob: 1 }"), 1)


# --- what reads a file beside them, and what is left out ---------------------------------


def test_infogain_reads_its_matrix_from_a_file(tmp_path: Path, caffe: Any) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.uniform(0, 1, (1, 1, 4, 4)).astype(np.float32)
    (tmp_path / "matrix.binaryproto").write_bytes(netdef.make_blob(matrix).SerializeToString())
    text = f"""force_backward: true
        layer {{ name: "a" type: "Input" top: "a" input_param {{ shape {{ dim: 3 dim: 2 dim: 2 }} }} }}
        layer {{ name: "b" type: "Input" top: "b" input_param {{ shape {{ dim: 3 }} }} }}
        layer {{ name: "x" type: "InfogainLoss" bottom: "a" bottom: "b" top: "t" loss_weight: 2
            infogain_loss_param {{ source: "{tmp_path}/matrix.binaryproto" }} }}"""
    inputs = {"a": rng.uniform(0.1, 0.5, (3, 2, 2)), "b": [3, 0, 1]}
    process = CaffeRuns()
    case = Case(text, inputs, gradient=True)
    theirs, mine = process.run(case), run(module("torch"), case)
    process.close()
    assert theirs is not None
    assert max(apart(theirs[name], mine[name]) for name in theirs) <= LIMIT
    wrong = netdef.make_blob(matrix.reshape(1, 1, 2, 8)).SerializeToString()
    (tmp_path / "matrix.binaryproto").write_bytes(wrong)
    with pytest.raises(InputError, match=r"'x'.*\(1, 1, 2, 8\); \(1, 1, 4, 4\) is expected"):
        run(module("torch"), case)
    (tmp_path / "matrix.binaryproto").write_bytes(b"<html>")
    with pytest.raises(InputError, match="not a binaryproto"):
        run(module("torch"), case)


def test_a_label_that_is_no_class_is_said(tmp_path: Path) -> None:
    """Real Caffe reads beside its array."""
    caffe = module("torch")
    for settings, message in [
        ("", "label is 5; 0 to 4 are expected"),
        ("loss_param { ignore_label: 255 }", "or 255"),
    ]:
        text = f"""layer {{ name: "a" type: "Input" top: "a" top: "b"
                input_param {{ shape {{ dim: 3 dim: 5 }} shape {{ dim: 3 }} }} }}
            layer {{ name: "x" type: "SoftmaxWithLoss" bottom: "a" bottom: "b" top: "t" {settings} }}"""
        net = caffe.Net(write(tmp_path, text), caffe.TEST)
        net.blobs["b"].data[...] = [0, 5, 4]
        with pytest.raises(InputError, match=message):
            net.forward()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Data", "'d'.*no Data: --input data=.* makes an Input layer"),
        ("AnnotatedData", "no AnnotatedData: --input data="),
        ("WindowData", "no WindowData: --input data="),
        ("HDF5Output", "no HDF5Output: remove the layer"),
    ],
)
def test_what_is_left_out_says_what_to_do(tmp_path: Path, kind: str, message: str) -> None:
    caffe = module("torch")
    bottoms = 'bottom: "a" bottom: "a"' if kind == "HDF5Output" else 'top: "b"'
    text = f"""layer {{ name: "a" type: "Input" top: "a" input_param {{ shape {{ dim: 2 }} }} }}
        layer {{ name: "d" type: "{kind}" {bottoms} hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}"""
    with pytest.raises(NotImplementedError, match=message):
        caffe.Net(write(tmp_path, text), caffe.TEST)
    assert not (tmp_path / "out.h5").exists()
