"""Natural ascents, objectives of any kind, several pictures, dreams and inversions, on both engines."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import caffe_viz as cv
from caffe_viz.ascent import METHODS, Ascent, PixelRange, Pixels, Recipe, ascend
from caffe_viz.ascent.climb import Climb
from caffe_viz.ascent.evaluators import evaluator
from caffe_viz.ascent.goals import goals_of, octave_sizes
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, make_blob, parse_net
from caffe_viz.objectives import Channel, Layer
from caffe_viz.surgery import auxiliary_net

# The net of the pycaffe question that this project began with: no picture, a kernel of 1 x 5.
DATA = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 8 dim: 8 dim: 7 dim: 96 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" convolution_param { num_output: 11 kernel_h: 1 kernel_w: 5 } }
"""


@pytest.fixture(scope="module")
def files(networks: Path) -> tuple[Path, Path]:
    folder = networks / "caffenet_cifar10"
    return folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"


@pytest.fixture
def net(engine: str, files: tuple[Path, Path]) -> Any:
    return cv.load_net(*files, engine=engine)


@pytest.fixture(scope="module")
def cat() -> Path:
    return Path(__file__).resolve().parent.parent / "examples" / "cat.png"


pytestmark = pytest.mark.usefixtures("climbing_here")
maximize, dream, invert = (partial(f, jobs=1) for f in (cv.maximize, cv.dream, cv.invert))


def finish(climbing: Any) -> Ascent:
    for _ in climbing:
        pass
    return climbing.result


def photograph(net: Any, path: Path) -> np.ndarray:
    """The middle square, as dreams begin with it."""
    rgb = cv.load_image(path)
    side = min(rgb.shape[:2])
    top, left = ((n - side) // 2 for n in rgb.shape[:2])
    return cv.preprocess_near(net.folder / "deploy.prototxt").to_caffe(
        rgb[top : top + side, left : left + side], (3, 32, 32)
    )


def classes(net: Any, images: np.ndarray) -> np.ndarray:
    """The net's answer to each image."""
    net.blobs["data"].reshape(*images.shape)
    net.reshape()
    net.blobs["data"].data[...] = images
    net.forward()
    return net.blobs["prob"].data.reshape(len(images), -1).argmax(1)


def changed(images: np.ndarray) -> list[np.ndarray]:
    """Blurred, flipped, shifted, smaller contrast: no change that would bother a person."""
    return [
        images, images[..., ::-1], gaussian_filter(images, [0, 0, 0.7, 0.7]), np.roll(images, (2, -2), (2, 3)),
        images * 0.6,
    ]  # fmt: skip


def test_natural_pictures_of_classes_are_recognised_after_changes(net: Any) -> None:
    images = maximize(net, "fc8", steps=12).ascent.images
    right = [classes(net, some) == np.arange(10) for some in changed(images)]
    assert np.mean(right) >= 0.9


def weights_of(net: Any) -> NetParameter:
    out = NetParameter()
    for name, blobs in net.params.items():
        out.layer.add(name=name, blobs=[make_blob(blob.data) for blob in blobs])
    return out


def test_the_value_is_that_of_the_picture_itself(engine: str, net: Any) -> None:
    """Without transforms, of the last image, which lies between black and white."""
    found = maximize(net, "conv3", [5, 9], steps=6).ascent
    assert found.method == "natural"
    aux = auxiliary_net(net.prototxt, "conv3", batch=2, size=found.images.shape[2:])
    real = cv.load_net(aux.message, weights_of(net), engine=engine, checked=False)
    real.params[aux.image_layer][0].data[...] = found.images
    real.forward()
    values = [real.blobs["conv3"].data[n, f].mean() for n, f in enumerate((5, 9))]
    np.testing.assert_allclose(found.values, values, rtol=1e-3)
    np.testing.assert_array_equal(found.values, found.curve[:, -1])
    shares = PixelRange.of(cv.preprocess_near(net.folder / "deploy.prototxt"), 3).share(found.images)
    assert shares.min() >= -1e-5
    assert shares.max() <= 1 + 1e-5
    assert found.bounded


def test_both_engines_climb_the_same_way(files: tuple[Path, Path], caffe: Any) -> None:
    pytest.importorskip("torch", reason="the engine torch is not installed")
    a, b = (
        maximize(cv.load_net(*files, engine=name), "conv2", range(3), steps=3).ascent
        for name in ("caffe", "torch")
    )
    np.testing.assert_allclose(b.curve, a.curve, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(b.images, a.images, rtol=0, atol=1e-2 * np.abs(a.images).max())


def test_the_same_numbers_with_any_neighbours(net: Any) -> None:
    options = {"steps": 4, "size": (32, 32)}
    among = maximize(net, "conv3", range(6), **options).ascent
    for number in (3, 5):
        alone = maximize(net, "conv3", [number], **options).ascent
        np.testing.assert_allclose(alone.images[0], among.images[number], rtol=0, atol=1e-2)


def test_input_that_is_no_picture(engine: str) -> None:
    """The planted kernel is found: each position of the row is one of its windows."""
    kernels = np.random.default_rng(0).normal(size=(11, 8, 1, 5))
    weights = NetParameter()
    weights.layer.add(name="conv1", blobs=[make_blob(kernels), make_blob(np.zeros(11))])
    found = finish(
        ascend(parse_net(DATA), weights, "conv1", [4], steps=40, engine=engine, jobs=1, neuron=True)
    )
    assert found.images.shape == (1, 8, 1, 5)
    assert np.corrcoef(found.images.ravel(), kernels[4].ravel())[0, 1] > 0.8
    whole = finish(
        ascend(parse_net(DATA), weights, "conv1", [4], steps=20, engine=engine, jobs=1, size=(7, 96))
    )
    assert whole.images.shape == (1, 8, 7, 96)
    assert whole.values[0] > 10 * abs(whole.curve[0, 0])


def test_an_objective_of_two_filters(net: Any) -> None:
    """Goes up in both, and its text goes into the result."""
    objective = cv.read_objective(net, "conv3:5 + 0.5*conv2:3")
    found = maximize(net, objective, steps=20)
    assert found.ascent.layer == "conv3:5 + 0.5*conv2:3"
    assert found.titles == [found.ascent.layer]
    assert found.ascent.values[0] > found.ascent.curve[0, 0] + 0.5
    assert found.ascent.objectives == ("conv3:5 + 0.5*conv2:3",)


def test_a_class_by_its_name(net: Any) -> None:
    assert cv.read_objective(net, "cat") == Channel("fc8", 3)
    with pytest.raises(InputError, match="Did you mean 'cat'"):
        cv.read_objective(net, "catt")


def test_several_pictures_of_a_filter(net: Any, tmp_path: Path) -> None:
    found = maximize(net, "conv4", [7, 2], pictures=2, steps=4)
    assert found.ascent.filters == (7, 7, 2, 2)
    a, b, *_ = found.ascent.images
    assert np.abs(a - b).max() > 1
    assert found.ascent.objectives[0] == "conv4:7"
    assert list(found.pictures) == [7, 2]
    names = {path.name for path in found.save(tmp_path)}
    assert {"conv4_natural_0007.png", "conv4_natural_0007_2.png", "conv4_natural_0002_2.png"} <= names


def test_diversity_makes_pictures_less_alike(engine: str, net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cosine of their Gram matrices, against the same starts without it."""

    def alike() -> float:
        images = maximize(net, "conv4", [7], pictures=3, steps=8, size=(24, 24)).ascent.images
        aux = auxiliary_net(net.prototxt, "conv4", batch=3, size=(24, 24))
        real = cv.load_net(aux.message, weights_of(net), engine=engine, checked=False)
        real.params[aux.image_layer][0].data[...] = images
        real.forward()
        maps = real.blobs["conv4"].data.reshape(3, -1, 6 * 6)
        grams = np.einsum("ncp,ndp->ncd", maps, maps).reshape(3, -1)
        grams /= np.linalg.norm(grams, axis=1, keepdims=True)
        return float((grams @ grams.T)[np.triu_indices(3, 1)].mean())

    apart = alike()
    monkeypatch.setattr("caffe_viz.ascent.climb.DIVERSITY", 0.0)
    assert apart < alike() - 0.01


def test_dream_changes_a_photograph_where_it_may(net: Any, cat: Path) -> None:
    mask = np.zeros((32, 32), np.float32)
    mask[:, 16:] = 1
    found = dream(net, cat, "conv3", octaves=2, steps=4, mask=mask)
    before = photograph(net, cat)
    apart = np.abs(found.ascent.images[0] - before).max(0)
    assert not apart[:, :16].any()
    assert (apart[:, 16:] > 0).mean() > 0.9
    assert found.ascent.values[0] > 1.5 * found.ascent.curve[0, 0]
    assert found.ascent.layer == "conv3"


def test_dream_takes_other_sizes_and_a_guide(net: Any, cat: Path) -> None:
    assert dream(net, cat, "conv3", size=(48, 64), steps=2).ascent.images.shape == (1, 3, 48, 64)
    guide = np.random.default_rng(0).uniform(0, 1, (32, 32, 3)).astype(np.float32)
    found = dream(net, cat, "conv3", guide=guide, steps=3, octaves=1)
    assert found.ascent.values[0] > found.ascent.curve[0, 0]
    assert found.ascent.layer.startswith("direction(conv3, guide")


def test_invert_comes_back_to_the_photograph(net: Any, cat: Path) -> None:
    found = invert(net, cat, "conv1", steps=60)
    a = found.ascent
    assert a.values[0] > 0.1 * a.curve[0, 0]  # both are below zero
    assert np.corrcoef(a.images[0].ravel(), photograph(net, cat).ravel())[0, 1] > 0.8


def test_colours_and_places_of_photographs(net: Any, cat: Path, tmp_path: Path) -> None:
    found = maximize(net, "conv2", [1, 4], steps=3, photos=cat)
    assert found.topmost is not None
    assert list(found.topmost.blocks) == [1, 4]
    assert found.beside.rgb.shape[1] > 2 * found.beside.rgb.shape[0] / 2
    assert "conv2_natural_photos.png" in {path.name for path in found.save(tmp_path)}
    without = maximize(net, "conv2", [1, 4], steps=3)
    assert not np.array_equal(without.ascent.images, found.ascent.images)
    with pytest.raises(InputError, match="no filter has both"):
        _ = without.beside


def test_octaves_go_from_small_to_large() -> None:
    assert octave_sizes((224, 160), (1, 3, 224, 224), 3) == [(114, 82), (160, 114), (224, 160)]
    assert octave_sizes(None, (1, 3, 40, 40), 4) == [None]  # smaller ones would be too small
    assert octave_sizes(None, (1, 3, 64, 64), 2) == [(46, 46), None]


def test_octaves_carry_the_picture_on(net: Any) -> None:
    """The larger one begins where the smaller one ended, so above a fresh start."""
    found = maximize(net, "conv3", [5], steps=10, octaves=2, size=(48, 48)).ascent
    assert found.curve.shape == (1, 21)
    assert found.curve[0, 10:].min() > found.curve[0, 0] + 0.3 * np.ptp(found.curve[0, :10])


def test_an_ascent_of_version_0_1_0_can_be_loaded(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(
        stream, layer="conv1", filters=(3, 9), dead=(), images=np.zeros((2, 3, 4, 4), np.float32),
        curve=np.array([[1, 5, 2], [0, 1, 2]], np.float32), method="plain", seed=0, engine="torch",
    )  # fmt: skip
    (tmp_path / "old.npz").write_bytes(stream.getvalue())
    old = Ascent.load(tmp_path / "old.npz")
    assert old.values.tolist() == [5, 2]
    assert old.objectives == ("conv1:3", "conv1:9")
    assert not old.bounded


def test_one_copy_to_the_host_at_the_end(files: tuple[Path, Path]) -> None:
    """Beside a few numbers for each look whether values are numbers."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    message, weights = cv.read_net(files[0]), cv.read_weights(files[1])
    goals, _ = goals_of(message, "conv3", 96, range(4))
    aux = auxiliary_net(message, goals[0].objective, batch=4, size=(32, 32))
    made = evaluator(aux, weights, "torch", "cpu")
    recipe = Recipe.of("natural", steps=40)
    climb = Climb(goals, [aux], lambda _: made, recipe, PixelRange.of(cv.Preprocess(), 3))
    for _ in climb:
        pass
    images = climb.snapshot().images
    assert images.size < made.arrays.copied < 1.1 * images.size


def test_a_recipe_of_ones_own(net: Any) -> None:
    """Pixels that stay between black and white, by Adam: parts go together in any way."""
    recipe = Recipe(
        Pixels(clipped=True), METHODS["natural"].transforms, METHODS["natural"].optimizer, 5, name="own"
    )
    found = maximize(net, Layer("conv3"), method=recipe, rate=4.0)
    assert found.ascent.method == "own"
    assert found.ascent.bounded
    assert found.ascent.values[0] > found.ascent.curve[0, 0]


def test_a_start_keeps_its_size(net: Any) -> None:
    start = np.random.default_rng(0).uniform(-1.7, 1.9, (3, 32, 32)).astype(np.float32)
    found = maximize(net, "conv3", [1], start=start, steps=1, rate=1e-9).ascent
    np.testing.assert_allclose(found.images[0], start, atol=0.05)


def test_an_ascent_that_is_left_keeps_the_best_so_far(files: tuple[Path, Path]) -> None:
    """By `break`, by `stop`, and in a smaller octave, whose image is enlarged."""
    pytest.importorskip("torch", reason="the engine torch is not installed")
    message, weights = cv.read_net(files[0]), cv.read_weights(files[1])
    options = {"engine": "torch", "preprocess": cv.preprocess_near(files[0]), "steps": 1_000_000, "jobs": 2}
    left = ascend(message, weights, "conv1", [1], **options)
    for _ in left:
        break
    assert left.result.filters == (1,)
    octaves = ascend(message, weights, "conv2", [1], octaves=2, size=(48, 64), save_every=10**6, **options)
    try:
        for _ in octaves:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        octaves.stop()
    assert octaves.result.images.shape == (1, 3, 48, 64)
    assert octaves.result.frames.shape == (1, 1, 3, 48, 64)


def test_grey_photographs_have_a_little_colour(net: Any, tmp_path: Path) -> None:
    from PIL import Image

    for n in range(2):
        noise = np.random.default_rng(n).integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{n}.png")
    Image.new("L", (32, 32), 9).save(tmp_path / "black.png")
    found = maximize(net, "conv2", [1], steps=2, photos=tmp_path, octaves=2, size=(48, 48))
    assert np.isfinite(found.ascent.images).all()
    assert np.isfinite(
        maximize(net, "conv2", [1], steps=2, photos=tmp_path / "black.png").ascent.images
    ).all()


def test_files_of_dreams_and_long_objectives(files: tuple[Path, Path], cat: Path, tmp_path: Path) -> None:
    net = cv.load_net(*files)
    names = [path.name for path in dream(net, cat, "conv2", steps=1, octaves=1).save(tmp_path)]
    assert "cat_conv2_dream_0000.png" in names
    assert "cat_conv2_invert.npz" in [path.name for path in invert(net, cat, "conv2", steps=1).save(tmp_path)]
    long = sum(((1 + n / 7) * Channel("conv2", n) for n in range(1, 40)), 0.5 * Channel("conv2", 0))
    assert all(path.exists() for path in maximize(net, long, steps=1).save(tmp_path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": Layer("conv2"), "filters": [1]}, "filters and neuron go with a layer"),
        ({"layer": Layer("conv2"), "neuron": True}, "filters and neuron go with a layer"),
        ({"layer": "conv2", "mask": np.ones((4, 4), np.float32)}, "give a start too"),
        ({"layer": "fc6", "octaves": 2, "size": (64, 64)}, "64"),
    ],
)
def test_options_that_do_not_go_together(net: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        maximize(net, **options)


def test_a_guide_needs_a_layer(net: Any, cat: Path) -> None:
    with pytest.raises(InputError, match="a guide needs a layer"):
        dream(net, cat, Layer("conv2"), guide=cat)


def test_a_second_input_holds_zeros(engine: str) -> None:
    """As in a net that nobody gave it: both engines climb the sum of the image and a side vector."""
    net = parse_net("""
    layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 6 dim: 6 } } }
    layer { name: "side" type: "Input" top: "side" input_param { shape { dim: 1 dim: 4 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 } }
    layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "side" top: "sum" }
    """)
    weights = NetParameter()
    rng = np.random.default_rng(0)
    weights.layer.add(name="ip", blobs=[make_blob(rng.normal(size=(4, 108))), make_blob(np.zeros(4))])
    found = finish(ascend(net, weights, "sum", [2], steps=8, engine=engine, jobs=1))
    assert found.values[0] > found.curve[0, 0] + 1


@pytest.mark.parametrize("kind", ["3 dim: 4 dim: 9 dim: 10", "3"])
def test_input_of_other_axes(engine: str, kind: str) -> None:
    """Coloured volumes, as C3D's, and vectors; dreams of what is no image end in one line or in an array."""
    axes = kind.count("dim") + 2
    net = parse_net(
        f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {kind} }} }} }}'
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }'
    )
    count = 3 if axes == 2 else 3 * 4 * 9 * 10
    weights, rng = NetParameter(), np.random.default_rng(0)
    weights.layer.add(name="ip", blobs=[make_blob(rng.normal(size=(2, count))), make_blob(np.zeros(2))])
    found = finish(
        ascend(net, weights, "ip", [1], steps=8, engine=engine, jobs=1, preprocess=cv.Preprocess())
    )
    assert found.images.ndim == axes
    assert found.values[0] > found.curve[0, 0]
    loaded = cv.load_net(net, weights, engine=engine)
    start = np.zeros(found.images.shape[1:], np.float32)
    assert dream(loaded, start, "ip", steps=1, rate=1.0).ascent.images.shape == found.images.shape
    with pytest.raises(InputError, match=r"shape \(5, 5, 3\); input .data. takes"):
        dream(loaded, np.zeros((5, 5, 3), np.float32), "ip")
