"""Every method against an independent computation: captum's, or the paper's formula by torch's autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from caffe_viz.attribution import METHODS, Settings, attribute
from caffe_viz.network import Network
from caffe_viz.parity import apart
from caffe_viz.probe import Probe

torch = pytest.importorskip("torch")
F = torch.nn.functional

from attribution_toy import Pooled, images, pooled  # noqa: E402

CLASSES = [1, 4, 4]
SETTINGS = Settings(samples=7, noise=0.2, steps=9, patch=7, stride=4, seed=11)


@pytest.fixture(scope="module")
def probe(engine: str) -> Probe:
    return Probe(Network(*pooled(), engine=engine))


@pytest.fixture
def module() -> Any:
    return Pooled(pooled()[1]).eval()


def ours(probe: Probe, method: str) -> np.ndarray:
    """Each image by its own class."""
    one = [
        attribute(probe, images()[k : k + 1], [c], method, settings=SETTINGS) for k, c in enumerate(CLASSES)
    ]
    return np.concatenate([a.values for a in one])


def by_captum(module: Any, method: str) -> Any:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed: pip install captum")
    x, target = torch.tensor(images(), requires_grad=True), torch.tensor(CLASSES)
    size = x.shape[-2:]
    if method == "gradient":
        return attr.Saliency(module).attribute(x, target, abs=False)
    if method == "gradient-x-input":
        return attr.InputXGradient(module).attribute(x, target)
    if method == "integrated-gradients":
        made = attr.IntegratedGradients(module)
        return made.attribute(x, 0, target, n_steps=SETTINGS.steps, method="riemann_middle")
    if method == "guided-backprop":
        return attr.GuidedBackprop(module).attribute(x, target)
    if method == "deconvnet":
        return attr.Deconvolution(module).attribute(x, target)
    if method == "grad-cam":
        maps = attr.LayerGradCam(module, module.relu2).attribute(x, target, relu_attributions=True)
        return attr.LayerAttribution.interpolate(maps, tuple(size), "bilinear")
    if method == "guided-grad-cam":
        made = attr.GuidedGradCam(module, module.relu2)
        return made.attribute(x, target, interpolate_mode="bilinear")
    made = attr.Occlusion(module)
    return made.attribute(x, (3, 7, 7), (3, 4, 4), target=target, baselines=0)[:, :1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "method",
    ["gradient", "gradient-x-input", "integrated-gradients", "guided-backprop", "deconvnet", "grad-cam",
     "guided-grad-cam", "occlusion"],
)  # fmt: skip
def test_equal_to_captum(probe: Probe, module: Any, method: str) -> None:
    expected = by_captum(module, method).detach().numpy()
    found = ours(probe, method)
    assert apart(expected, found) < 1e-4
    assert np.abs(expected).max() > 0


def resized(maps: Any) -> Any:
    return F.interpolate(maps[:, None], images().shape[-2:], mode="bilinear", align_corners=False)


def smoothgrad(module: Any) -> Any:
    out = []
    for image, target in zip(images(), CLASSES, strict=True):
        deviation = SETTINGS.noise * (image.max() - image.min())
        noise = np.random.default_rng(SETTINGS.seed).normal(0, deviation, (SETTINGS.samples, *image.shape))
        x = torch.tensor((image + noise).astype(np.float32), requires_grad=True)
        out.append(torch.autograd.grad(module(x)[:, target].sum(), x)[0].mean(0))
    return torch.stack(out)


def layer_gradients(module: Any) -> tuple[Any, Any]:
    maps = module.maps(torch.tensor(images())).detach().requires_grad_()
    score = module.top(maps)[range(3), CLASSES].sum()
    return maps.detach(), torch.autograd.grad(score, maps)[0]


def cam(module: Any) -> Any:
    return resized(torch.einsum("mkhw,mk->mhw", layer_gradients(module)[0], module.fc.weight[CLASSES]))


def grad_cam_plus_plus(module: Any) -> Any:
    """By the paper's formula: first, second and third derivative of exp(score), by their closed forms."""
    maps, g = layer_gradients(module)
    maps, g = maps.double(), g.double()
    alpha = g**2 / (2 * g**2 + maps.sum((2, 3), keepdim=True) * g**3)
    weights = (torch.nan_to_num(alpha) * F.relu(g)).sum((2, 3), keepdim=True)
    return resized(F.relu((weights * maps).sum(1)))


def layer_cam(module: Any) -> Any:
    maps, g = layer_gradients(module)
    return resized(F.relu((F.relu(g) * maps).sum(1)))


def score_cam(module: Any) -> Any:
    maps, out = module.maps(torch.tensor(images())), []
    for image, some, target in zip(torch.tensor(images()), maps, CLASSES, strict=True):
        masks = resized(some)
        low, high = masks.amin((1, 2, 3), keepdim=True), masks.amax((1, 2, 3), keepdim=True)
        masks = torch.where(high > low, (masks - low) / (high - low), torch.zeros_like(masks))
        weights = module(image * masks)[:, target].softmax(0)
        out.append(F.relu((weights[:, None, None] * some).sum(0)))
    return resized(torch.stack(out))


@pytest.mark.parametrize(
    ("method", "formula"),
    [
        ("smoothgrad", smoothgrad), ("cam", cam), ("grad-cam++", grad_cam_plus_plus), ("layer-cam", layer_cam),
        ("score-cam", score_cam),
    ],
)  # fmt: skip
def test_equal_to_the_formula(probe: Probe, module: Any, method: str, formula: Callable[[Any], Any]) -> None:
    expected = formula(module).detach().numpy()
    assert apart(expected.astype(np.float32), ours(probe, method)) < 1e-4
    assert np.abs(expected).max() > 0


def test_every_method_is_tested() -> None:
    captum, formulas = (t.pytestmark for t in (test_equal_to_captum, test_equal_to_the_formula))
    tested = {*captum[0].args[1], *(name for name, _ in formulas[0].args[1])}
    assert tested == set(METHODS)
