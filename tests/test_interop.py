"""Tools that others wrote for torch take a net's module, and find what this package finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.attribution import Settings, attribute
from caffe_viz.network import Network
from caffe_viz.parity import apart
from caffe_viz.probe import Probe

torch = pytest.importorskip("torch", reason="the engine torch is not installed")

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "prototxt" / "caffenet_cifar10"
CAT, LIMIT = 3, 1e-4  # the class; of the largest value
STEPS = Settings(steps=8)
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


@pytest.fixture(scope="module")
def network() -> Network:
    files = FOLDER / "deploy.prototxt", FOLDER / "caffenet_cifar10.caffemodel"
    return Network(*files, cv.preprocess_near(files[0]), "torch")


@pytest.fixture(scope="module")
def image(network: Network) -> Any:
    """(1, 3, 32, 32) in units of the input."""
    return network.pixels(ROOT / "examples" / "cat.png")[None]


@pytest.fixture(scope="module")
def probe(network: Network) -> Probe:
    return Probe(network)


class Scores(torch.nn.Module):
    """The scores before the softmax, which is where this package begins; the net stays a submodule."""

    def __init__(self, network: Network, memory_format: str = "contiguous") -> None:
        super().__init__()
        self.net = cv.torch_module(network.load(), memory_format)

    def forward(self, x: Any) -> Any:
        return self.net(x, blobs=["fc8"])["fc8"]


@pytest.fixture(scope="module", params=["contiguous", "channels_last"])
def scores(network: Network, request: pytest.FixtureRequest) -> Scores:
    return Scores(network, request.param)


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """The package; where its compiled half is of another build of torch, two operators are missing.

    Nothing here calls them, but without them it cannot be imported.
    """
    try:
        return pytest.importorskip("torchvision", reason="torchvision is not installed")
    except RuntimeError:
        for name in ("nms", "qnms"):
            LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return pytest.importorskip("torchvision")


def test_captum(probe: Probe, image: Any, scores: Scores) -> None:
    attr = pytest.importorskip("captum.attr")
    x = torch.from_numpy(image)
    found = {
        "gradient": attr.Saliency(scores).attribute(x.clone().requires_grad_(), CAT, abs=False),
        "integrated-gradients": attr.IntegratedGradients(scores).attribute(x, 0, CAT, n_steps=STEPS.steps, method="riemann_middle"),
        "grad-cam": attr.LayerAttribution.interpolate(
            attr.LayerGradCam(scores, scores.net.relu5).attribute(x, CAT, relu_attributions=True), (32, 32), "bilinear"
        ),
    }  # fmt: skip
    for method, values in found.items():
        ours = attribute(
            probe, image, [CAT], method, settings=STEPS, layer="conv5" if method == "grad-cam" else None
        )
        assert np.abs(ours.values).max() > 0
        assert apart(ours.values.squeeze(), values.detach().numpy().squeeze()) < LIMIT


def test_pytorch_grad_cam(probe: Probe, image: Any, scores: Scores, torchvision: Any) -> None:
    """It enlarges as ours does, and puts the values into 0..1."""
    cam = pytest.importorskip("pytorch_grad_cam")
    targets = [pytest.importorskip("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(CAT)]
    with cam.GradCAM(model=scores, target_layers=[scores.net.relu5]) as method:
        # Parameters are frozen, so that gradients begin at the image.
        found = method(torch.from_numpy(image).requires_grad_(), targets)[0]
    ours = attribute(probe, image, [CAT], "grad-cam", layer="conv5").values.squeeze()
    assert ours.max() > 0
    assert apart((ours - ours.min()) / (ours.max() - ours.min()), found) < LIMIT


def test_lucent(network: Network, scores: Scores, torchvision: Any) -> None:
    """Its ascent raises a filter; the value that it reads at a layer is that of the net's blob."""
    render = pytest.importorskip("lucent.optvis.render")
    from lucent.optvis import objectives, param

    torch.manual_seed(0)
    read: list[float] = []
    objective = objectives.channel("net_relu3", 16)

    def noted(model: Any) -> Any:
        loss = objective(model)
        read.append(-float(loss.detach()))
        return loss

    images: list[Any] = []

    def canvas() -> Any:
        params, image = param.image(32, fft=False, decorrelate=False)
        return params, lambda: images.append(image()) or images[-1]

    render.render_vis(
        scores, objectives.Objective(noted), canvas, transforms=[], thresholds=(20,), preprocess=False,
        progress=False, show_image=False, fixed_image_size=32,
        optimizer=lambda params: torch.optim.Adam(params, lr=0.5),
    )  # fmt: skip
    assert read[-1] > 1.5 * read[0] > 0
    net = network.load()
    net.blobs["data"].data[...] = images[1].detach().numpy()  # the first asks for the shape only
    net.forward()
    assert float(net.blobs["conv3"].data[0, 16].mean()) == pytest.approx(read[0], rel=1e-3)


def test_torchvision_feature_extraction(network: Network, image: Any, torchvision: Any) -> None:
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    from caffe_viz.engine.layer_module import LayerModule

    net = network.load()
    module, leaves = cv.torch_module(net), {"leaf_modules": [LayerModule]}
    train, _ = get_graph_node_names(module, leaves)
    assert [n for n in train if n in ("conv1", "relu1", "pool5", "fc8")] == ["conv1", "relu1", "pool5", "fc8"]
    extract = create_feature_extractor(module, {"relu3": "maps", "fc8": "scores"}, tracer_kwargs=leaves)
    found = extract(torch.from_numpy(image))
    net.blobs["data"].data[...] = image
    net.forward()
    assert list(found) == ["maps", "scores"]
    assert apart(net.blobs["conv3"].data, found["maps"].numpy()) < LIMIT
    assert apart(net.blobs["fc8"].data, found["scores"].numpy()) < LIMIT
