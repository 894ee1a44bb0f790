"""The panel for notebooks, worked by its widgets' values."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import caffe_viz as cv
from caffe_viz.errors import InputError, RunError
from caffe_viz.network import Network
from caffe_viz.views import Explorer, explored

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
PNG = b"\x89PNG"
pytest.importorskip("ipywidgets", reason="ipywidgets is not installed")


@pytest.fixture(scope="module")
def net(networks: Path) -> Any:
    """No panel changes it. On the engine that is there: the functions behind are tested on both."""
    folder = networks / "caffenet_cifar10"
    return cv.load_net(folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[explored.PanelState]:
    """What was computed, in order."""
    asked: list[explored.PanelState] = []

    def counting(question: explored.PanelView) -> explored.PanelView:
        def answer(network: Any, one: explored.PanelState, image: Any, tell: explored.Tell) -> Any:
            asked.append(one)
            return question.answer(network, one, image, tell)

        return question._replace(answer=answer)

    every = {name: counting(question) for name, question in explored.QUESTIONS.items()}
    monkeypatch.setattr(explored, "QUESTIONS", every)
    return asked


def test_it_begins_with_the_first_kernels(net: Any) -> None:
    panel = cv.explore(net)
    assert isinstance(panel, Explorer)
    assert panel.asked == ("kernels", "conv1", tuple(range(16)), "")
    assert panel.shown.value == cv.show_weights(net, "conv1", range(16))._repr_png_()
    assert panel.said.value == ""
    bundle = panel._repr_mimebundle_()
    assert bundle["text/plain"] == "Explorer of 'CaffeNet_CIFAR10'"
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_layers_are_those_with_values_of_their_own(net: Any) -> None:
    layers = cv.explore(net).layer.options
    assert layers[:4] == ("conv1", "pool1", "norm1", "conv2")
    assert not {"data", "relu1", "drop6"} & set(layers)


def test_each_question_is_answered(net: Any) -> None:
    """Ascents are in a test of their own."""
    panel = cv.explore(net, CAT)
    panel.layer.value, panel.filters.value = "conv4", (3, 4)
    for what in [what for what in explored.QUESTIONS if what not in ("ascent", "cam")]:
        panel.what.value = what
        panel.button.click()
        assert (what, panel.said.value) == (what, "")
        assert bytes(panel.shown.value).startswith(PNG)
    panel.layer.value, panel.what.value = "fc8", "cam"
    panel.button.click()
    assert "CAM" in panel.said.value  # two layers follow the last maps
    assert panel.shown.value == b""


def test_answers_are_those_of_the_functions(net: Any) -> None:
    panel = cv.explore(net, CAT)
    panel.what.value = "grad-cam"
    panel.layer.value = "fc8"
    panel.filters.value = (5, 5)
    expected = cv.show_attribution(net, CAT, 5, "grad-cam").over("grad-cam")
    assert panel.shown.value == expected._repr_png_()
    panel.layer.value = "conv3"
    panel.filters.value = (7, 9)
    expected = cv.show_attribution(net, CAT, "conv3:7", "grad-cam").over("grad-cam")
    assert panel.shown.value == expected._repr_png_()
    panel.what.value = "activations"
    shown = cv.show_activations(net, CAT, ["conv3"])
    assert panel.shown.value == explored.draw(shown.arrays["conv3"][7:10], "conv3")._repr_png_()
    panel.layer.value = "prob"
    shown = cv.show_activations(net, CAT, ["prob"])
    assert panel.shown.value == shown.picture("prob")._repr_png_()


def test_long_work_waits_for_the_button_and_is_done_once(
    net: Any, counted: list[explored.PanelState]
) -> None:
    panel = cv.explore(net, CAT)
    panel.what.value = "ascent"
    panel.filters.value = (0, 1)
    assert [one.what for one in counted] == ["kernels"]
    assert panel.said.value == "ascent takes a while: press draw."
    assert panel.shown.value == b""
    panel.button.click()
    drawn = bytes(panel.shown.value)
    assert drawn.startswith(PNG)
    assert panel.said.value == ""
    panel.button.click()
    panel.filters.value = (0, 2)
    assert panel.shown.value == b""
    panel.filters.value = (0, 1)  # known: shown at once
    assert panel.shown.value == drawn
    assert counted[1:] == [("ascent", "conv1", (0, 1), "")]


def test_the_image_does_not_matter_to_what_needs_none(net: Any, counted: list[explored.PanelState]) -> None:
    panel = cv.explore(net, CAT)
    panel.image.value = "elsewhere.png"
    assert len(counted) == 1


def test_another_layer_draws_once_and_fits_the_slider(net: Any, counted: list[explored.PanelState]) -> None:
    panel = cv.explore(net, CAT)
    panel.what.value = "activations"
    panel.filters.value = (40, 47)
    for layer, most, chosen in (("conv3", 95, (0, 15)), ("fc8", 9, (0, 9)), ("conv5", 63, (0, 15))):
        counted.clear()
        panel.layer.value = layer
        assert (panel.filters.max, panel.filters.value) == (most, chosen)
        assert [one.layer for one in counted] == [layer]


def test_errors_are_one_line_and_pass(net: Any) -> None:
    panel = cv.explore(net)
    panel.what.value = "activations"
    assert "give an image" in panel.said.value
    panel.image.value = "<b>no such</b>.png"
    assert "&lt;b&gt;no such&lt;/b&gt;.png" in panel.said.value
    assert "<b>" not in panel.said.value
    assert "\n" not in panel.said.value
    assert panel.shown.value == b""
    assert panel.shown.layout.display == "none"
    assert panel.button.disabled is False
    panel.image.value = str(CAT)
    assert panel.shown.layout.display == ""
    assert panel.said.value == ""
    panel.layer.value = "pool5"
    panel.what.value = "kernels"
    assert "the weights have no layer" in panel.said.value
    panel.layer.value = "fc8"
    assert (panel.said.value, panel.shown.layout.display) == ("", "")


def test_an_upload_takes_the_place_of_the_path(net: Any) -> None:
    panel = cv.explore(net, CAT)
    panel.what.value = "activations"
    by_path = panel.shown.value
    panel.image.value = ""
    assert panel.shown.value == b""
    content = CAT.read_bytes()
    info = {
        "name": "my cat.png",
        "type": "image/png",
        "size": len(content),
        "last_modified": datetime.now(timezone.utc),
    }
    panel.upload.value = ({**info, "content": memoryview(content)},)
    assert panel.shown.value == by_path
    broken = {**info, "content": memoryview(b"no image")}
    panel.upload.value = (broken,)
    assert "my cat.png" in panel.said.value


def test_a_network_of_two_files_will_do(networks: Path, engine: str) -> None:
    folder = networks / "caffenet_cifar10"
    files = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    panel = cv.explore(Network(*files, engine=engine))
    assert bytes(panel.shown.value).startswith(PNG)
    without = cv.explore(Network(files[0], engine=engine))
    assert "weights are needed" in without.said.value


def test_without_ipywidgets_it_says_what_to_install(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(RunError, match=r"pip install 'caffe-viz\[notebook\]'"):
        cv.explore(net)
    with pytest.raises(InputError, match="load_net"):
        cv.explore(object())
