"""The parts of an ascent: canvases and transforms against differences, optimizers against their formulas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from caffe_viz.ascent.arrays import Arrays, HostArrays, gaussian
from caffe_viz.ascent.canvas import Canvas, Fourier, Pixels, colours_of
from caffe_viz.ascent.optimizers import Adam, NormalizedSteps
from caffe_viz.ascent.pixel_range import PixelRange
from caffe_viz.ascent.recipe import METHODS, Recipe
from caffe_viz.ascent.transforms import Draws, RandomAffine, RandomBlur, RandomGrayscale, Roll, Transform
from caffe_viz.errors import InputError
from caffe_viz.images import Preprocess
from caffe_viz.images.decoding import LUMA

BGR = PixelRange.of(Preprocess(scale=0.5), 3)
RGB = PixelRange.of(Preprocess(channel_order="RGB"), 3)
DATA = PixelRange.of(None, 7)
TRANSFORMS = [
    RandomAffine(15, 0.07, (0.75, 1.25)), RandomBlur((0, 1, 2)), RandomGrayscale(0.7), Roll(4),
]  # fmt: skip


@pytest.fixture(params=["numpy", "torch"])
def arrays(request: pytest.FixtureRequest) -> Iterator[Arrays]:
    """Both kinds of arrays; tensors where torch is installed."""
    if request.param == "numpy":
        yield HostArrays()
        return
    torch = pytest.importorskip("torch", reason="the engine torch is not installed")
    from caffe_viz.engine.arrays import TorchArrays

    yield TorchArrays(torch.device("cpu"))


def agree(arrays: Arrays, function: Any, x: np.ndarray, pulled: Any, seed: np.ndarray, eps: float) -> None:
    """<seed, f(x + d) - f(x - d)> is 2 <pulled, d>, in a random direction d."""
    d = np.random.default_rng(9).standard_normal(x.shape).astype(np.float32) * np.float32(eps)
    ends = [arrays.host(function(arrays.put(v))).astype(np.float64) for v in (x + d, x - d)]
    expected = np.vdot(seed, ends[0] - ends[1])
    assert 2 * np.vdot(arrays.host(pulled).astype(np.float64), d) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("canvas", [Fourier(), Fourier(colours=()), Fourier(decay=1.5), Pixels()], ids=str)
@pytest.mark.parametrize(
    ("units", "shape"),
    [(BGR, (2, 3, 12, 15)), (RGB, (2, 3, 13, 10)), (DATA, (2, 7, 5, 12)), (DATA, (2, 7)), (DATA, (2, 7, 9)), (DATA, (1, 7, 3, 4, 6))],
    ids=lambda v: str(v) if isinstance(v, tuple) else "",
)  # fmt: skip
def test_the_pullback_of_a_canvas(arrays: Arrays, canvas: Canvas, units: PixelRange, shape: Any) -> None:
    x = np.stack([canvas.start(np.random.default_rng(i), shape[1:], units, 3) for i in range(shape[0])])
    images, pull = canvas.images(arrays, arrays.put(x), units, shape)
    assert images.shape == shape
    seed = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    agree(
        arrays, lambda v: canvas.images(arrays, v, units, shape)[0], x, pull(arrays.put(seed)), seed,
        1e-2 if isinstance(canvas, Fourier) else 1.0,
    )  # fmt: skip


@pytest.mark.parametrize("units", [BGR, RGB])
def test_a_given_image_comes_back_from_its_coefficients(arrays: Arrays, units: PixelRange) -> None:
    shares = np.random.default_rng(0).uniform(0.1, 0.9, (3, 9, 14)).astype(np.float32)
    image = units.black.reshape(3, 1, 1) + (units.white - units.black).reshape(3, 1, 1) * shares
    params = Fourier().of(image, units)
    back = arrays.host(Fourier().images(arrays, arrays.put(params[None]), units, (1, 3, 9, 14))[0])
    np.testing.assert_allclose(back[0], image, atol=2e-3)


def test_coefficients_stay_between_black_and_white(arrays: Arrays) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 5, 2)).astype(np.float32) * 100
    images = arrays.host(Fourier().images(arrays, arrays.put(x), BGR, (1, 3, 8, 8))[0])
    shares = BGR.share(images)
    assert shares.min() >= -1e-6
    assert shares.max() <= 1 + 1e-6
    assert shares.min() < 0.01 < 0.99 < shares.max()


def test_clipped_pixels_come_back_to_black_and_white(arrays: Arrays) -> None:
    x = np.array([-1000, 0, 1000], np.float32).reshape(1, 3, 1, 1)
    found = arrays.host(Pixels(clipped=True).project(arrays, arrays.put(x), BGR))
    np.testing.assert_array_equal(found.ravel(), [BGR.black[0], 0, BGR.white[2]])


def test_a_step_in_colours_is_one_in_the_blobs_order() -> None:
    """The first decorrelated colour is bright: all channels; the second is blue against red and green's rest."""
    x = np.zeros((1, 3, 4, 3, 2), np.float32)
    x[0, 1, 0, 0, 0] = 1
    shares = {
        name: units.share(Fourier().images(HostArrays(), x, units, (1, 3, 4, 4))[0])[0, :, 0, 0] - 0.5
        for name, units in (("BGR", BGR), ("RGB", RGB))
    }
    np.testing.assert_allclose(shares["BGR"], shares["RGB"][::-1], atol=1e-6)
    assert shares["RGB"][0] > 0.001 > abs(shares["RGB"][1])  # red goes up, green stays, blue goes down
    assert shares["RGB"][2] < -0.001


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize(("units", "shape"), [(BGR, (4, 3, 200, 120)), (DATA, (4, 7, 5, 40))])
def test_the_pullback_of_a_transform(
    arrays: Arrays, transform: Transform, units: PixelRange, shape: Any
) -> None:
    def run(values: Any) -> Any:
        return transform(arrays, values, units, Draws.of(0, [1, 2, 3, 4]))

    rng = np.random.default_rng(0)
    x, seed = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    found, pull = run(arrays.put(x))
    assert found.shape == shape
    agree(arrays, lambda v: run(v)[0], x, pull(arrays.put(seed)), seed, 1.0)
    if units.picture:
        assert np.abs(arrays.host(found) - x).max() > 0.1


def test_a_transform_of_an_image_does_not_depend_on_its_neighbours(arrays: Arrays) -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 200, 150)).astype(np.float32)
    for transform in TRANSFORMS[:3]:
        among = arrays.host(transform(arrays, arrays.put(x), BGR, Draws.of(5, [7, 8, 9]))[0])
        alone = arrays.host(transform(arrays, arrays.put(x[1:2]), BGR, Draws.of(5, [8]))[0])
        np.testing.assert_array_equal(among[1], alone[0])


def test_affine_is_scipys_about_the_middle(arrays: Arrays) -> None:
    """By the same matrix; outside is grey."""
    transform = RandomAffine(degrees=15, translate=0.1, scale=(0.6, 1.3))
    x = np.random.default_rng(0).normal(size=(1, 3, 40, 31)).astype(np.float32) * 9
    found = arrays.host(transform(arrays, arrays.put(x), BGR, Draws.of(3, [4]))[0])
    rng = Draws.of(3, [4]).each[0]
    angle, zoom = np.radians(rng.uniform(-15, 15)), rng.uniform(0.6, 1.3)
    move = rng.uniform(-0.1, 0.1, 2) * (40, 31)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    middle = (np.array([40, 31]) - 1) / 2
    for c in range(3):
        expected = affine_transform(
            x[0, c] - BGR.grey[c], turn, middle + move - turn @ middle, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(found[0, c], expected + BGR.grey[c], atol=2e-3)


@pytest.mark.parametrize("sigma", [0.3, 0.8, 2.0])
def test_gaussian_is_scipys(sigma: float) -> None:
    x = np.random.default_rng(0).normal(size=(23, 4))
    expected = gaussian_filter(x, [sigma, 0], mode="nearest")
    np.testing.assert_allclose(gaussian(23, sigma) @ x, expected, atol=1e-6)


def test_blur_is_less_on_small_images(arrays: Arrays) -> None:
    x = np.random.default_rng(0).normal(size=(1, 3, 20, 20)).astype(np.float32)
    found = arrays.host(RandomBlur((2,))(arrays, arrays.put(x), BGR, Draws.of(0, [1]))[0])
    np.testing.assert_allclose(found, gaussian_filter(x, [0, 0, 0.2, 0.2], mode="nearest"), atol=1e-5)


def test_grayscale_is_the_luma_of_the_pixels(arrays: Arrays) -> None:
    x = np.random.default_rng(0).uniform(-60, 60, (1, 3, 2, 2)).astype(np.float32)
    found = arrays.host(RandomGrayscale(1.0)(arrays, arrays.put(x), BGR, Draws.of(0, [1]))[0])
    pixels = Preprocess(scale=0.5).in_rgb(x[0])
    np.testing.assert_allclose(Preprocess(scale=0.5).in_rgb(found[0])[..., 0], pixels @ LUMA, atol=1e-5)
    np.testing.assert_allclose(np.ptp(Preprocess(scale=0.5).in_rgb(found[0]), axis=-1), 0, atol=1e-6)


def test_input_that_is_no_picture_only_moves(arrays: Arrays) -> None:
    x = np.zeros((1, 7, 1, 40), np.float32)
    x[..., 20] = 1
    found = arrays.host(RandomAffine(90, 0.1, (0.5, 2))(arrays, arrays.put(x), DATA, Draws.of(0, [1]))[0])
    assert found.sum() <= x.sum() + 1e-5
    assert abs(float((found[0, 0, 0] * np.arange(40)).sum() / max(found[0, 0, 0].sum(), 1e-9)) - 20) < 5


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e12])
def test_adam_is_torchs_whatever_the_size_of_gradients(arrays: Arrays, scale: float) -> None:
    torch = pytest.importorskip("torch", reason="the engine torch is not installed")
    gradients = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    gradients /= np.sqrt((gradients[0] ** 2).mean(1, keepdims=True))  # the unit is the first one's
    theirs = torch.zeros(2, 3, requires_grad=True)
    optimizer = torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.2, maximize=True)
    mine = arrays.put(np.zeros((2, 3), np.float32))
    step = Adam(0.05, decay=0.2).begin(arrays, BGR, 5)
    for gradient in gradients:
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
        mine = step(mine, arrays.put(gradient * np.float32(scale)))
    np.testing.assert_allclose(arrays.host(mine), theirs.detach().numpy(), rtol=1e-4)


def test_a_normalized_step_has_the_rate_as_its_root_mean_square(arrays: Arrays) -> None:
    gradient = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype(np.float32) * np.float32(1e-25)
    gradient[1] = 0
    step = NormalizedSteps(rate=8).begin(arrays, BGR, 1)
    found = arrays.host(step(arrays.put(np.zeros_like(gradient)), arrays.put(gradient)))
    assert np.sqrt((found[0] ** 2).mean()) == pytest.approx(8 * 0.5, rel=1e-4)
    assert not found[1].any()


def test_colours_of_photographs_are_a_root_of_their_covariance() -> None:
    rng = np.random.default_rng(0)
    mix = np.array([[0.3, 0, 0], [0.2, 0.1, 0], [0.1, 0.05, 0.02]])
    photos = [np.clip(rng.normal(size=(30, 40, 3)) @ mix.T * 0.3 + 0.5, 0, 1) for _ in range(4)]
    root = np.array(colours_of(photos))
    pixels = np.concatenate([p.reshape(-1, 3) for p in photos])
    np.testing.assert_allclose(root @ root.T, np.cov(pixels.T, bias=True), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "natual"}, "Did you mean 'natural'"),
        ({"method": "natural", "step": 3}, "Did you mean 'steps'"),
        ({"method": "natural", "steps": 0}, "must be above 0"),
        ({"method": "plain", "rate": float("nan")}, "must be above 0"),
        ({"method": "plain", "octaves": 0}, "1 or more"),
    ],
)
def test_recipes_that_make_no_sense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe.of(**changes)


def test_a_recipe_takes_changes_of_its_fields_and_of_the_rate() -> None:
    made = Recipe.of("natural", steps=5, rate=0.5, size=None)
    assert (made.steps, made.optimizer.rate, made.name) == (5, 0.5, "natural")
    assert made.canvas == METHODS["natural"].canvas
