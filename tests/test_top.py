"""top: the places in many images that activate each filter most."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from commands import completed
from PIL import Image

from caffe_viz.deploying import preprocess_near
from caffe_viz.errors import InputError
from caffe_viz.geometry import ReceptiveField
from caffe_viz.images import ImageCollection, Preprocess
from caffe_viz.netdef import NetParameter, make_blob, parse_net, write_weights
from caffe_viz.network import Network
from caffe_viz.top import GRADIENTS, Progress, Search, Top
from caffe_viz.top.crops import Cutter
from caffe_viz.views.top_patches import TopImages, top_images

# Filter 0 sees the PATTERN in red, filter 1 green, filter 2 is dead, filter 3 sees blue.
TOY = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 10 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
"""
TOML = 'channel_order = "RGB"\nmean = 0\nscale = 0.00392156862745098\nresize = false\n'
PATTERN = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]])


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder with the toy net, and images/: noise.png, and the pattern with its top left at (3, 7)."""
    (tmp_path / "deploy.prototxt").write_text(TOY)
    (tmp_path / "preprocess.toml").write_text(TOML)
    kernels = np.zeros((4, 3, 4, 4), np.float32)
    kernels[0, 0] = 2 * PATTERN - 1
    kernels[1, 1], kernels[3, 2] = 1 / 16, 1 / 16
    bias = np.array([-4, 0, -1, 0], np.float32)
    rng = np.random.default_rng(0)
    full = rng.normal(size=(5, 4 * 36)).astype(np.float32)
    weights = NetParameter()
    weights.layer.add(name="conv", blobs=[make_blob(kernels), make_blob(bias)])
    weights.layer.add(name="fc", blobs=[make_blob(full), make_blob(np.zeros(5, np.float32))])
    write_weights(weights, tmp_path / "net.caffemodel")
    (tmp_path / "images").mkdir()
    for n in range(6):
        noise = rng.integers(0, 100, (12, 12, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"noise{n}.png")
    Image.fromarray(planted((3, 7))).save(tmp_path / "images" / "pattern.png")
    return tmp_path


def planted(*places: tuple[int, int]) -> np.ndarray[Any, Any]:
    image = np.zeros((12, 12, 3), np.uint8)
    for y, x in places:
        image[y : y + 4, x : x + 4, 0] = 255 * PATTERN
    return image


def network(folder: Path, engine: str = "auto") -> Network:
    net = folder / "deploy.prototxt"
    return Network(net, folder / "net.caffemodel", preprocess_near(net), engine)


def arguments_of(folder: Path, output: Path, *more: object) -> list[str]:
    return [*map(str, ("top", folder / "deploy.prototxt", folder / "net.caffemodel", "-o", output, *more))]


def same(a: Top, b: Top) -> None:
    for name, value in vars(a).items():
        np.testing.assert_array_equal(value, getattr(b, name), err_msg=name)


def test_a_planted_pattern_is_found_where_it_is(toy: Path, engine: str) -> None:
    found = top_images(network(toy, engine), toy / "images", "conv", count=2)
    best = next(found.top.places(0))
    assert Path(best.image).name == "pattern.png"
    # Unit u sees 4 rows from 2 u - 1 on: (3, 7) is unit (2, 4).
    assert (best.unit, best.box) == ((2, 4), (3, 7, 7, 11))
    assert best.value == pytest.approx(PATTERN.sum() - 4, rel=1e-5)
    np.testing.assert_array_equal(found.top.crops[0, 0, ..., 0], 255 * PATTERN)
    assert not found.top.crops[0, 0, ..., 1:].any()
    assert found.top.state == "post-ReLU (relu, in place)"
    assert found.top.engine == engine


def test_dead_filters_are_listed_and_not_shown(toy: Path, engine: str) -> None:
    found = top_images(network(toy, engine), toy / "images", "conv")
    assert found.top.dead == (2,)
    assert found.top.shown == (0, 1, 3)
    assert list(found.top.places(2)) == []
    assert np.isnan(found.top.values[2]).all()
    assert len(list(found.top.places(0))) == 1  # the noise does not activate it: 0 is no activation
    assert "dead: never active" in repr(found)


def test_values_below_zero_count_where_no_relu_follows(toy: Path, engine: str) -> None:
    found = top_images(network(toy, engine), toy / "images", "fc", count=7)
    assert found.top.dead == ()
    assert np.isfinite(found.top.values).all()
    assert found.top.values.min() < 0
    assert next(found.top.places(0)).box == (0, 0, 12, 12)


def test_one_place_of_an_image(toy: Path, engine: str) -> None:
    Image.fromarray(planted((3, 7), (3, 1), (7, 3))).save(toy / "images" / "three.png")
    places = list(top_images(network(toy, engine), toy / "images", "conv").top.places(0))
    assert [Path(p.image).name for p in places] == ["pattern.png", "three.png"]
    assert places[1].unit == (2, 1)  # of equal ones the first


def test_all_is_as_a_sort_of_all_activations(toy: Path, engine: str) -> None:
    """100 images, in batches of 32, against the highest of every map at once."""
    folder, rng = toy / "many", np.random.default_rng(5)
    folder.mkdir()
    images = rng.integers(0, 256, (100, 12, 12, 3), np.uint8)
    for n, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{n:03d}.png")
    found = top_images(network(toy, engine), folder, "conv", [3, 1], count=9).top
    padded = np.pad(images[..., [2, 1]] / 255.0, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(1, 2))[:, ::2, ::2].mean(
        (-2, -1)
    )
    maps = windows.transpose(3, 0, 1, 2).reshape(2, 100, -1)
    for row in range(2):
        highest = maps[row].max(1)
        order = np.argsort(-highest, kind="stable")[:9]
        np.testing.assert_allclose(found.values[row], highest[order], rtol=1e-5)
        assert [Path(found.names[i]).stem for i in found.images[row]] == [f"{n:03d}" for n in order]
        units = found.units[row] @ (6, 1)
        np.testing.assert_allclose(maps[row, order, units], highest[order], rtol=1e-6)
    assert found.filters == (3, 1)


def test_engines_find_the_same(networks: Path, tmp_path: Path, caffe: Any) -> None:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    rng = np.random.default_rng(0)
    for n in range(40):
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).save(tmp_path / f"{n:02d}.png")
    net = networks / "caffenet_cifar10" / "deploy.prototxt"
    weights = net.with_name("caffenet_cifar10.caffemodel")
    a, b = (
        top_images(Network(net, weights, preprocess_near(net), name), tmp_path, "conv2", count=3).top
        for name in ("caffe", "torch")
    )
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_allclose(a.values, b.values, rtol=1e-4)


def test_fields_that_reach_beyond_the_image_are_grey_there() -> None:
    cutter = Cutter(ReceptiveField((4, 4), (2, 2), (-1, -1)), (3, 12, 12), Preprocess("RGB", (0,), 1 / 255))
    view = cutter.view(np.ones((3, 12, 12), np.float32))
    assert cutter.box((0, 5)) == (0, 9, 3, 12)
    crop = cutter.cut(view, (0, 5), (4, 4))
    assert (crop[0] == 128).all()
    assert (crop[1:, 3] == 128).all()
    assert (crop[1:, :3] == 255).all()
    assert cutter.tile(9) == (4, 4)


def test_crops_of_large_fields_are_scaled_to_a_budget() -> None:
    cutter = Cutter(None, (3, 200, 400), Preprocess("RGB", (0,)))
    assert cutter.full == (200, 400)
    assert cutter.tile(9) == (80, 160)
    assert cutter.tile(5000) == (20, 40)  # 8 million pixels in 5000 crops
    assert cutter.tile(10**6) == (12, 24)
    view = cutter.view(np.full((3, 200, 400), 51, np.float32))
    assert (cutter.cut(view, (0, 0), (80, 160)) == 51).all()


def test_a_result_is_drawn_again_from_its_file_without_an_engine(toy: Path, tmp_path: Path) -> None:
    found = top_images(network(toy), toy / "images", "conv", count=3)
    paths = found.save(tmp_path / "out")
    assert [p.name for p in paths] == ["conv_top.npz", "conv_top.png"]
    again = Top.load(paths[0])
    same(found.top, again)
    code = f"""
import sys
from caffe_viz.top import Top
from caffe_viz.views.attributed import Attributed
from caffe_viz.views.evaluated import Evaluated
from caffe_viz.views.top_patches import TopImages
TopImages(Top.load({str(paths[0])!r})).sheet.save({str(tmp_path / "again.png")!r})
assert not {{"torch", "caffe", "matplotlib.pyplot"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "again.png").read_bytes() == paths[1].read_bytes()
    for path in (toy / "deploy.prototxt", toy / "nothing.npz"):
        with pytest.raises(InputError, match="not a saved search"):
            Top.load(path)


def test_the_sheet_shows_the_crops(toy: Path) -> None:
    sheet = top_images(network(toy), toy / "images", "conv", [0], count=1).sheet.rgb
    factor = 200 // 4
    block = sheet[10 : 10 + 4 * factor, 10 : 10 + 4 * factor]
    np.testing.assert_allclose(block[factor // 2 :: factor, factor // 2 :: factor, 0], PATTERN)


def test_interrupted_and_continued_is_the_same(toy: Path, engine: str) -> None:
    rng = np.random.default_rng(1)
    for n in range(90):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(toy / "images" / f"{n:03d}.png")
    (toy / "images" / "040.png").write_bytes(b"damaged")
    net, state = network(toy, engine), toy / "state.npz"
    whole = top_images(net, toy / "images", "conv", count=4)
    seen: list[int] = []

    def stop(progress: Progress) -> None:
        seen.append(progress.done)
        if len(seen) in (1, 3):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            top_images(net, toy / "images", "conv", count=4, state_file=state, on_progress=stop)
        assert state.exists()
    continued = top_images(net, toy / "images", "conv", count=4, state_file=state, on_progress=stop)
    assert seen[:4] == [32, 64, 96, 97]  # no image twice
    same(whole.top, continued.top)
    assert len(continued.top.failed) == 1
    assert not state.exists()


def test_what_was_found_is_saved_on_the_way(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a killed process loses little."""
    monkeypatch.setattr("caffe_viz.top.search.SAVE_EVERY", 0)
    search = Search(network(toy), "conv", ImageCollection.of(toy / "images"), state_file=toy / "state.npz")
    assert not (toy / "state.npz").exists()
    next(iter(search))
    again = Search(network(toy), "conv", ImageCollection.of(toy / "images"), state_file=toy / "state.npz")
    assert again.top_k.seen == 7


@pytest.mark.parametrize(
    "changed", ["weights", "net", "images", "layer", "filters", "count", "preprocessing"]
)
def test_another_search_is_not_continued(toy: Path, changed: str) -> None:
    state = toy / "state.npz"
    Search(network(toy), "conv", ImageCollection.of(toy / "images"), state_file=state).save()
    net, layer, given = network(toy), "conv", {}
    if changed == "weights":
        trained = net.trained
        trained.layer[0].blobs[0].data[0] += 1
        write_weights(trained, toy / "net.caffemodel")
    elif changed == "net":
        (toy / "deploy.prototxt").write_text(TOY.replace('"ReLU"', '"TanH"'))
    elif changed == "images":
        (toy / "images" / "noise0.png").unlink()
    elif changed == "layer":
        layer = "fc"
    elif changed == "filters":
        given = {"filters": [1]}
    elif changed == "count":
        given = {"count": 3}
    net = network(toy)
    if changed == "preprocessing":
        net = replace(net, preprocess=replace(net.preprocess, scale=1.0))
    with pytest.raises(InputError, match=rf"unfinished search with other .*\b{changed}\b.*: delete it"):
        Search(net, layer, ImageCollection.of(toy / "images"), state_file=state, **given)
    state.write_bytes(b"damaged")
    with pytest.raises(InputError, match="is not an unfinished search"):
        Search(net, layer, ImageCollection.of(toy / "images"), state_file=state, **given)


def test_ctrl_c_and_the_same_command_goes_on(networks: Path, tmp_path: Path) -> None:
    """A real kill -INT, in the first batches; what is found in the end is what an undisturbed run finds."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0000.png", "damaged: its line says that the first batch is done")
        for n in range(1, 400):
            path = tmp_path / "one.ppm"
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).save(path)
            archive.write(path, f"{n:04d}.ppm")
    net = networks / "caffenet_cifar10" / "deploy.prototxt"
    weights = net.with_name("caffenet_cifar10.caffemodel")
    out = tmp_path / "out"
    arguments = [
        "top", str(net), str(weights), "--image", str(tmp_path / "a.zip"), "--layer", "conv2", "--count", "3",
        "-o", str(out),
    ]  # fmt: skip
    words = [sys.executable, "-c", "from caffe_viz.cli import main; main()", *arguments]
    with fork_server.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "0000.png" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "run the same command again to resume" in said
    assert [p.name for p in out.iterdir()] == ["conv2_top.unfinished.npz"]
    done = completed(*arguments)
    assert done.returncode == 0, done.stderr
    assert "resuming after " in done.stderr
    assert "images skipped: 1" in done.stdout
    assert sorted(p.name for p in out.iterdir()) == ["conv2_top.npz", "conv2_top.png"]
    undisturbed = top_images(
        Network(net, weights, preprocess_near(net)), tmp_path / "a.zip", "conv2", count=3
    )
    same(Top.load(out / "conv2_top.npz"), undisturbed.top)


def test_the_command_writes_all_it_says(toy: Path) -> None:
    done = completed(*arguments_of(toy, toy / "out", "--image", toy / "images", "--layer", "conv", "--json"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    made = json.loads(done.stdout)
    assert made["files"] == [str(toy / "out" / name) for name in ("conv_top.npz", "conv_top.png")]
    assert (made["images"], made["dead"], made["failed"]) == (7, [2], [])
    best = made["filters"][0]["places"][0]
    assert (Path(best["image"]).name, best["unit"], best["box"]) == ("pattern.png", [2, 4], [3, 7, 7, 11])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--layer", "con"), 2, "layer 'con': the net has no such layer, and its classes have no labels"),
        (("--layer", "conv", "--filters", "9"), 2, "filters 0 to 3, not 9"),
        (("--layer", "conv", "--image", "nowhere"), 2, "no such image, folder or archive"),
        (("--layer", "conv", "--filters", "2"), 1, "no chosen filter was active"),
    ],
)
def test_bad_input_is_one_line(toy: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = completed(*arguments_of(toy, toy / "out", "--image", toy / "images", *arguments))
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_damaged_images_alone_are_an_error(toy: Path, engine: str) -> None:
    (toy / "images" / "pattern.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"pattern\.png is not an image"):
        top_images(network(toy, engine), toy / "images" / "pattern.png", "conv")


def test_images_that_give_no_numbers_are_passed_over(toy: Path, engine: str) -> None:
    np.save(toy / "images" / "huge.npy", np.full((3, 12, 12), 3e38, np.float32))
    found = top_images(network(toy, engine), toy / "images", "conv").top
    assert found.failed == ("blob 'conv' has NaN or infinity for this image.",)
    assert Path(next(found.places(0)).image).name == "pattern.png"


def test_data_that_is_no_picture(tmp_path: Path, engine: str) -> None:
    """7 channels of 1 x 96, kernels of 1 x 5: a planted 1 x 5 is found, and drawn."""
    text = """
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 7 dim: 1 dim: 96 } } }
    layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
            convolution_param { num_output: 11 kernel_h: 1 kernel_w: 5 } }
    """
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(11, 7, 1, 5)).astype(np.float32)
    weights = NetParameter()
    weights.layer.add(name="conv1", blobs=[make_blob(kernels), make_blob(np.zeros(11, np.float32))])
    for n in range(5):
        array = rng.normal(size=(7, 1, 96)).astype(np.float32) / 10
        if n == 3:
            array[:, :, 40:45] = kernels[6]
        np.save(tmp_path / f"{n}.npy", array)
    net = Network(parse_net(text), weights, engine=engine)
    found = top_images(net, tmp_path, "conv1", [6], count=2)
    best = next(found.top.places(6))
    assert (Path(best.image).name, best.unit, best.box) == ("3.npy", (0, 40), (0, 40, 1, 45))
    assert found.top.crops.shape == (1, 2, 1, 35, 3)
    assert isinstance(found, TopImages)
    assert found.sheet.shape[2] == 3


def test_memory_does_not_grow_with_the_images(toy: Path) -> None:
    """Ten times the images take as much, but for their names and paths: peaks of Python's and NumPy's memory."""
    peaks = []
    for times in (1, 8, 80):  # the first one imports what is imported once
        tracemalloc.start()
        search = Search(network(toy), "conv", ImageCollection.of(*[toy / "images"] * times))
        for _ in search:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1] - 700 * search.top_k.seen)
        tracemalloc.stop()
        assert search.top_k.seen == 7 * times
    assert peaks[2] < 1.2 * peaks[1], peaks


# --- gradients beside the crops ----------------------------------------------------


def of_the_kernel(kernels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(C, h, w) as a picture: grey where 0; the definition, for a gradient that is a kernel."""
    limit = np.sort(np.abs(kernels).ravel())[-1]
    return np.rint((kernels / (2 * limit) + 0.5).transpose(1, 2, 0) * 255).astype(np.uint8)


@pytest.mark.parametrize("method", GRADIENTS)
def test_beside_each_crop_is_the_gradient_of_its_unit(method: str, toy: Path, engine: str) -> None:
    """That of a unit of the first layer is its kernel, whatever the rule, at the place where the unit is."""
    found = top_images(network(toy, engine), toy / "images", "conv", [0, 3], count=2, gradient=method).top
    kernels = np.zeros((3, 4, 4))
    kernels[0] = 2 * PATTERN - 1
    np.testing.assert_array_equal(found.gradients[0, 0], of_the_kernel(kernels))
    assert (found.gradients[0, 1] == 255).all()  # one image alone activates filter 0: no second place
    blue = np.zeros((3, 4, 4))
    blue[2] = 1
    inside = [k for k, place in enumerate(found.places(3)) if min(place.box) >= 0 and max(place.box) <= 12]
    for k in inside:
        np.testing.assert_array_equal(found.gradients[1, k], of_the_kernel(blue))
    assert (found.method, found.gradients.shape) == (method, found.crops.shape)


TWO = (
    TOY
    + """
layer { name: "relu_fc" type: "ReLU" bottom: "fc" top: "fc" }
"""
)


def test_rules_differ_where_rectifiers_do(toy: Path, engine: str) -> None:
    """Of fc, after a ReLU: the chain rule by hand, with each rule's masks at relu."""
    (toy / "deploy.prototxt").write_text(TWO)
    net = network(toy, engine)
    kernels, bias = (np.array(b.data).reshape(-1) for b in net.trained.layer[0].blobs)
    full = np.array(net.trained.layer[1].blobs[0].data).reshape(5, 4, 6, 6)
    kernels = kernels.reshape(4, 3, 4, 4)
    for method in GRADIENTS:
        search = Search(net, "fc", ImageCollection.of(toy / "images"), [1], count=1, gradient=method)
        list(search)
        found = search.result()
        image = net.pixels(found.names[0])
        padded = np.pad(image, [(0, 0), (1, 1), (1, 1)])
        expected = np.zeros_like(padded)
        for f, y, x in np.ndindex(4, 6, 6):
            window = np.s_[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4]
            active = float((padded[window] * kernels[f]).sum() + bias[f]) > 0
            above = full[1, f, y, x]
            below = {
                "gradient": above * active, "guided-backprop": max(above, 0) * active, "deconvnet": max(above, 0),
            }[method]  # fmt: skip
            expected[window] += below * kernels[f]
        drawn = Cutter(None, net.shape, net.pictures).cut_gradient(expected[:, 1:-1, 1:-1], (0, 0), (12, 12))
        assert np.abs(found.gradients[0, 0].astype(int) - drawn).max() <= 1


def test_gradients_are_drawn_beside_the_crops(
    toy: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = top_images(network(toy, engine), toy / "images", "conv", count=4)
    assert plain.top.gradients.size == 0
    both = top_images(network(toy, engine), toy / "images", "conv", count=4, gradient="guided-backprop")
    blocks: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr("caffe_viz.figures.contact_sheet", lambda some, titles: blocks.extend(some))
        assert TopImages(both.top).sheet is None
    left, right = blocks[0][:, :9], blocks[0][:, -9:]  # two crops of 4 and a line between them
    np.testing.assert_array_equal(left[:4, :4], both.top.gradients[0, 0] / np.float32(255))
    np.testing.assert_array_equal(right[:4, :4], both.top.crops[0, 0] / np.float32(255))
    paths = both.save(toy / "out")
    again = TopImages(Top.load(paths[0]))
    same(again.top, both.top)
    np.testing.assert_array_equal(again.sheet.rgb, both.sheet.rgb)
    assert again.top.to_json()["gradient"] == "guided-backprop"


def test_files_without_gradients_can_still_be_loaded(toy: Path) -> None:
    found = top_images(network(toy), toy / "images", "conv", count=2).top
    found.save(toy / "new.npz")
    with np.load(toy / "new.npz") as saved:
        np.savez(toy / "old.npz", **{k: saved[k] for k in saved.files if k not in ("gradients", "method")})
    old = Top.load(toy / "old.npz")
    assert (old.method, old.gradients.size) == ("", 0)
    same(replace(old, gradients=found.gradients), found)


def test_inputs_that_are_no_pictures_have_gradients_too(toy: Path) -> None:
    (toy / "preprocess.toml").unlink()
    (toy / "deploy.prototxt").write_text(TOY.replace("dim: 10 dim: 3", "dim: 1 dim: 2"))
    weights = NetParameter()
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(4, 2, 4, 4)).astype(np.float32)
    weights.layer.add(name="conv", blobs=[make_blob(kernels), make_blob(np.ones(4))])
    weights.layer.add(name="fc", blobs=[make_blob(rng.normal(size=(5, 144))), make_blob(np.zeros(5))])
    write_weights(weights, toy / "net.caffemodel")
    np.save(toy / "a.npy", rng.normal(size=(2, 12, 12)).astype(np.float32))
    found = top_images(network(toy), toy / "a.npy", "conv", count=1, gradient="gradient").top
    assert found.gradients.shape[2:] == (4, 8, 3)
    [place] = found.places(0)
    if min(place.box) >= 0 and max(place.box) <= 12:
        side = np.concatenate(kernels[0], axis=1)
        limit = np.abs(side).max()
        np.testing.assert_array_equal(
            found.gradients[0, 0, ..., 0], np.rint((side / (2 * limit) + 0.5) * 255)
        )


def test_unknown_gradients_are_refused(toy: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'guided-backprop'"):
        top_images(network(toy), toy / "images", "conv", gradient="guided-backprob")
