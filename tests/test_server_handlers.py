"""What is asked of a network in the live view: the same numbers and pictures as of the commands."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import Asking
from attribution_toy import pooled
from kinds import KINDS

import caffe_viz as cv
from caffe_viz.attribution import METHODS, PASSES, Settings
from caffe_viz.errors import InputError
from caffe_viz.figures import heat, signed_colours
from caffe_viz.images import load_image, png_bytes
from caffe_viz.network import Network
from caffe_viz.report import RunningReport, parts
from caffe_viz.report.part_cache import PartResult
from caffe_viz.server.handlers import loaded_network
from caffe_viz.views.attributed import SIGNED
from caffe_viz.views.objectives import read_objective

REPOSITORY = Path(__file__).resolve().parent.parent
CAT = REPOSITORY / "examples" / "cat.png"
RECORD = REPOSITORY / "examples" / "caffenet_cifar10.record"


@pytest.fixture(scope="module")
def network(engine: str) -> Network:
    return replace(Network.of("caffenet_cifar10"), engine=engine)


@pytest.fixture(scope="module")
def toy(engine: str) -> Network:
    message, weights = pooled()
    return Network(message, weights, engine=engine)


@pytest.fixture(scope="module")
def asking(network: Network) -> Asking:
    return Asking.of(network)


@pytest.fixture(scope="module")
def image(asking: Asking) -> str:
    return asking.upload(CAT)


@pytest.fixture(scope="module")
def other(asking: Asking) -> str:
    """An image of noise."""
    return asking.upload(png_bytes(np.random.default_rng(0).random((40, 60, 3))), "noise.png")


@pytest.fixture(scope="module")
def shown(network: Network) -> Any:
    return cv.show_activations(network, CAT)


def test_the_image_is_seen_at_the_size_that_is_asked_for(asking: Asking, image: str) -> None:
    found = asking("image", image=image, side=64)
    assert found.facts == {"name": "cat.png", "width": 451, "height": 300}
    assert np.shape(found.figures[0].rgb) == (43, 64, 3)
    whole = asking("image", image=image)
    np.testing.assert_allclose(np.asarray(whole.figures[0].rgb) / 255, load_image(CAT), atol=1 / 255)


def test_the_answer_is_that_of_show_activations(
    asking: Asking, image: str, shown: Any, network: Network
) -> None:
    found = asking("answer", image=image)
    (head,) = found.facts["heads"]
    assert (head["head"], head["unit"], found.facts["why"]) == ("prob", "probability", "")
    np.testing.assert_array_equal(found.arrays["prob"], shown.arrays["prob"].ravel())
    np.testing.assert_allclose(head["values"], shown.arrays["prob"].ravel(), rtol=1e-5)
    likeliest = shown.top(10, "prob")
    assert [(c["number"], c["label"]) for c in head["classes"]] == [(g.number, g.label) for g in likeliest]
    np.testing.assert_array_equal(
        found.figures[0].rgb, network.preprocess.to_display(network.pixels(CAT)[None])[0]
    )


def test_maps_are_those_of_show_activations(asking: Asking, image: str, shown: Any, network: Network) -> None:
    for layer in network.geometry.layers:
        if layer.type == "Split":
            continue
        found, blob = asking("maps", image=image, layer=layer.name), layer.tops[0]
        array = shown.arrays[blob]
        np.testing.assert_array_equal(found.arrays[blob], array)
        assert (found.facts["blob"], found.facts["state"]) == (blob, shown.states[blob])
        assert found.facts["shape"] == list(array.shape)
        assert found.facts["labels"] == list(shown.labels.get(blob, ()))
        row = next(row for row in shown.table.rows if row[0] == blob)
        assert list(found.facts["statistics"].values()) == list(row[2:7])
        means = array.reshape(len(array), -1).mean(1)
        np.testing.assert_allclose(found.facts["strength"], means, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", ["conv1", "pool5", "fc6", "prob"])
def test_each_tile_of_the_sheet_is_its_map_by_one_scale(asking: Asking, image: str, layer: str) -> None:
    found = asking("maps", image=image, layer=layer)
    facts, rgb, array = found.facts, np.asarray(found.figures[0].rgb), found.arrays[layer]
    width, height = facts["tile"]
    assert facts["count"] == facts["shown"] == len(array)
    maps = array.reshape(len(array), height, width)
    shares = (maps - array.min()) / (array.max() - array.min())
    np.testing.assert_allclose([facts["low"], facts["high"]], [array.min(), array.max()], rtol=1e-5)
    for k, share in enumerate(shares):
        top = k // facts["columns"] * (height + facts["gap"])
        left = k % facts["columns"] * (width + facts["gap"])
        tile = rgb[top : top + height, left : left + width]
        np.testing.assert_allclose(tile, np.repeat(share[..., None] * 255, 3, axis=2), atol=0.51)


def test_of_more_maps_than_there_is_room_for_the_first_are_shown(
    asking: Asking, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caffe_viz.figures.sheet.MOST_PIXELS", 5 * 32 * 32)
    facts = asking("maps", image=image, layer="conv1").facts
    assert (facts["shown"], facts["count"], len(facts["strength"])) == (5, 48, 48)


def test_another_layer_of_the_same_image_is_looked_up(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []
    real = loaded_network.run_image
    monkeypatch.setattr(loaded_network, "run_image", lambda *given: (runs.append(1), real(*given))[1])
    asking = Asking.of(network)
    first, second = asking.upload(CAT), asking.upload(png_bytes(np.zeros((9, 9, 3))), "black.png")
    for one in (first, second, first, second):
        asking("answer", image=one)
        asking("maps", image=one, layer="conv1")
        asking("unit", image=one, layer="conv5", unit=3)
    assert len(runs) == 2


def test_a_unit_has_its_map_and_numbers(asking: Asking, image: str, shown: Any, network: Network) -> None:
    found, array = asking("unit", image=image, layer="conv3", unit=5), shown.arrays["conv3"][5]
    facts = found.facts
    np.testing.assert_array_equal(found.arrays["map"], array)
    assert (facts["title"], facts["type"], facts["shape"]) == ("conv3 5", "Convolution", [96, 8, 8])
    y, x = np.unravel_index(array.argmax(), array.shape)
    field = network.geometry.layer("conv3").field
    assert field is not None
    assert facts["at"] == [y, x]
    assert facts["field"] == {
        "size": list(field.size), "stride": list(field.stride), "offset": list(field.offset)
    }  # fmt: skip
    assert facts["box"] == [int(n) for n in field.box((int(y), int(x)), (32, 32))]
    assert facts["zeros"] == pytest.approx((array == 0).mean())
    assert facts["max"] == pytest.approx(array.max(), rel=1e-5)
    assert [shot.name for shot in found.figures] == ["conv3-5_map", "conv3-5_over", "conv3-5_part"]


def test_a_class_is_named_and_sees_the_whole_image(asking: Asking, image: str) -> None:
    for layer in ("fc8", "prob"):
        facts = asking("unit", image=image, layer=layer, unit=3).facts
        assert (facts["title"], facts["label"]) == (f"{layer} 3 cat", "cat")
        assert (facts["at"], facts["box"], facts["dead"]) == ([0, 0], [0, 0, 32, 32], False)


def test_a_kernel_is_that_of_the_caffemodel(asking: Asking, network: Network) -> None:
    net = network.load()
    for layer in ("conv1", "conv2", "fc6", "fc7"):
        found, (weights, bias) = asking("kernel", layer=layer, unit=7), net.params[layer]
        own = np.asarray(weights.data[7])
        np.testing.assert_array_equal(found.arrays["weights"].ravel(), own.ravel())
        assert found.arrays["bias"] == bias.data[7]
        assert found.facts["norm"] == pytest.approx(np.linalg.norm(own), rel=1e-5)
        np.testing.assert_array_equal(found.figures[0].rgb, cv.show_weights(network, layer, [7]).rgb)


@pytest.mark.parametrize("target", ["", "dog", "3", "conv3:5", "conv3:5:2,3", "fc6:9"])
def test_attributions_are_those_of_show_attribution(
    asking: Asking, image: str, network: Network, target: str
) -> None:
    quick = [name for name in METHODS if name not in PASSES and name != "cam"]
    methods = quick if target in ("", "conv3:5") else ["gradient", "guided-backprop", "grad-cam"]
    for a in cv.show_attribution(network, CAT, target or None, methods).attributions:
        method = a.method
        found = asking("attribution", image=image, target=target, method=method)
        np.testing.assert_array_equal(found.arrays["values"], a.values, err_msg=method)
        np.testing.assert_array_equal(found.arrays["maps"], a.maps)
        np.testing.assert_array_equal(found.arrays["scores"], a.scores)
        facts = found.facts
        assert (facts["target"], facts["layer"], facts["refused"]) == (a.targets[0], a.layer, "")
        assert facts["size"] == [32, 32]
        np.testing.assert_array_equal(found.figures[0].rgb, heat(a.maps[0]))
        np.testing.assert_array_equal(found.figures[1].rgb, a.pictures[0])
        assert len(found.figures) == 2 + (method in SIGNED)
        if method in SIGNED:
            np.testing.assert_array_equal(found.figures[2].rgb, signed_colours(a.values[0], a.channel_order))


@pytest.mark.parametrize("method", ["occlusion", "smoothgrad"])
def test_a_long_attribution_tells_how_far_it_is_and_may_be_left(
    asking: Asking, image: str, network: Network, method: str
) -> None:
    under_way = asking.steps("attribution-long", image=image, method=method, target="cat")
    steps = [next(under_way)]
    asking("attribution", image=image, method="grad-cam")  # on the same probe
    steps += under_way
    a = cv.show_attribution(network, CAT, "cat", method).attributions[0]
    assert len(steps) > 3
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total
    assert all(step.answer is None for step in steps[:-1])
    answer = steps[-1].answer
    assert answer is not None
    np.testing.assert_array_equal(answer.arrays["values"], a.values)


def test_a_method_that_does_not_fit_is_refused_with_the_reason(asking: Asking, image: str) -> None:
    found = asking("attribution", image=image, method="cam")
    assert "global average pooling" in found.facts["refused"]
    assert found.figures == ()


def test_the_score_of_a_unit_is_computed_once_for_all_its_gradients(
    network: Network, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    asking = Asking.of(network)
    images = [asking.upload(CAT), asking.upload(png_bytes(np.zeros((9, 9, 3))), "black.png")]
    passes = asking.resources.open(0).probe("conv3:5")._passes
    runs: list[Any] = []

    def counted(owner: Any, name: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, **more: (runs.append(given), real(*given, **more))[1])

    counted(*((passes, "_values") if engine == "torch" else (passes._net, "_forward")))
    for image in images:
        for method in ("gradient", "guided-backprop", "deconvnet"):
            found = asking("attribution", image=image, target="conv3:5", method=method)
            assert found.facts["refused"] == ""
    assert len(runs) == 2 * (1 + 3 * (engine == "torch"))  # which computes a graph for each


def test_the_difference_of_two_images(asking: Asking, image: str, other: str, shown: Any) -> None:
    found = asking("difference", image=image, other_image=other, layer="conv2")
    less = asking("maps", image=other, layer="conv2").arrays["conv2"]
    change = found.arrays["conv2"]
    np.testing.assert_array_equal(change, shown.arrays["conv2"] - less)
    facts = found.facts
    assert facts["high"] == -facts["low"] == pytest.approx(np.abs(change).max(), rel=1e-5)
    np.testing.assert_allclose(
        facts["strength"], np.sqrt(np.square(change, dtype=float).mean((1, 2))), rtol=1e-5
    )
    tile = np.asarray(found.figures[0].rgb)[:16, :16, 0]
    np.testing.assert_allclose(tile, (change[0] / (2 * facts["high"]) + 0.5) * 255, atol=0.51)


def test_no_difference_is_grey(asking: Asking, image: str) -> None:
    found = asking("difference", image=image, other_image=image, layer="conv2")
    assert set(np.unique(np.asarray(found.figures[0].rgb)[:16, :16])) == {128}
    assert set(found.facts["strength"]) == {0.0}


@pytest.mark.usefixtures("climbing_here")
@pytest.mark.parametrize(
    ("objective", "method", "pictures"),
    [("conv3:5", "natural", 2), ("cat - 0.5*dog", "plain", 1), ("fc6:9", "regularised", 1)],
)
def test_an_ascent_ends_as_that_of_maximize(
    asking: Asking,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    objective: str,
    method: str,
    pictures: int,
) -> None:
    monkeypatch.setattr("caffe_viz.ascent.worker.SHOW_EVERY", -1.0)
    given: dict[str, Any] = {"method": method, "steps": 6, "pictures": pictures, "seed": 3}
    under_way = asking.steps("ascent", objective=objective, **given)
    steps = [next(under_way), next(under_way)]
    asking("ascent", objective="conv1:2", steps=2)  # meanwhile
    steps += under_way
    expected = cv.maximize(network, read_objective(network, objective), jobs=1, **given).ascent
    answer = steps[-1].answer
    assert answer is not None
    for name in ("images", "curve", "values"):
        np.testing.assert_array_equal(answer.arrays[name], getattr(expected, name), err_msg=name)
    facts = answer.facts
    assert (facts["dead"], facts["engine"], len(answer.figures)) == ([], expected.engine, pictures)
    assert facts["size"] == list(expected.images.shape[2:])
    assert facts["method"] == f"{method}, 6 steps"
    np.testing.assert_allclose(facts["curve"], expected.curve, rtol=1e-4)
    # A picture of each moment; the last two are those of the end.
    assert [step.done for step in steps] == [pictures * n for n in range(1, 8)]
    seen = [step.answer.arrays["images"] for step in steps if step.answer]
    assert len(seen) == 7
    assert len({one.tobytes() for one in seen}) > (5 if method == "natural" else 1)
    assert [len(step.answer.figures) for step in steps if step.answer] == [pictures] * 7
    assert steps[2].answer is not None
    assert [curve[3] for curve in steps[2].answer.facts["curve"]] == [None] * pictures


@pytest.mark.parametrize(
    "objective",
    ["content(conv3, {})", "style(conv3, {})", "direction(conv3, {}, {})", "conv1:2 + style(conv3, {})"],
)
def test_an_objective_opens_no_file(asking: Asking, monkeypatch: pytest.MonkeyPatch, objective: str) -> None:
    text = objective.replace("{}", f'"{CAT}"')
    read_objective(asking.resources.setup.networks[0], text)  # it is right in itself

    def loaded_network(*_: Any) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("caffe_viz.views.maximized.with_photographs", loaded_network)
    with pytest.raises(InputError, match="is not read here; use caffe-viz ascend"):
        asking("ascent", objective=text)


def test_the_record_of_a_training() -> None:
    found = Asking.of(Network.of("caffenet_cifar10"), record=RECORD)("training")
    assert found.facts["layer"] == "conv1"
    assert len(found.figures) == len(found.facts["curves"]) + len(found.facts["moments"])


def test_the_report_is_a_page_with_the_layer_first(monkeypatch: pytest.MonkeyPatch) -> None:
    climbed: list[str] = []

    def ascent(subject: Any, layer: Any, *_: Any) -> PartResult:
        climbed.append(layer.name)
        return PartResult({"titles": [], "values": [], "dead": [], "method": "none"})

    folders: list[Path] = []
    real = RunningReport.__init__

    def begin(self: Any, subject: Any, folder: Path, **more: Any) -> None:
        folders.append(Path(folder))
        real(self, subject, folder, **more)

    monkeypatch.setattr(parts, "ascent", ascent)
    monkeypatch.setattr(RunningReport, "__init__", begin)
    asking = Asking.of(Network(*pooled()))
    image = asking.upload(CAT)
    *steps, last = asking.steps("report", image=image, layer="conv2", budget=60)
    assert len(steps) > 20
    assert last.answer is not None
    page = last.answer.page.decode()
    assert page.startswith("<!doctype html>")
    assert "cat.png" in page
    assert climbed[:3] == ["conv2", "fc", "conv1"]
    assert last.answer.facts == {"name": "pooled_report.html"}
    assert not folders[0].exists()


ERRORS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no layer": ("maps", {"layer": "conv9"}, "no layer 'conv9'. Did you mean"),
    "no unit": ("unit", {"layer": "conv1", "unit": 48}, "layer 'conv1' has units 0 to 47, not 48."),
    "no layer of a unit": ("unit", {"layer": "conv1:3", "unit": 0}, "no layer 'conv1:3'"),
    "no kernel": ("kernel", {"layer": "relu1", "unit": 0}, "the weights have no layer 'relu1'"),
    "no kernel of that number": ("kernel", {"layer": "conv1", "unit": 48}, "units 0 to 47, not 48"),
    "no method": ("attribution", {"method": "grad-kam"}, "Did you mean 'grad-cam'"),
    "no target": ("attribution", {"target": "kat"}, "Did you mean 'cat'"),
    "no maps": ("attribution", {"layer": "fc6"}, "layer 'fc6' has no maps"),
    "a long method": ("attribution", {"method": "occlusion"}, "takes long"),
    "not an objective": ("ascent", {"objective": "conv1:"}, "character 7"),
    "a filter that there is not": ("ascent", {"objective": "conv1:48"}, "48"),
    "no photographs": ("places", {"layer": "conv1", "unit": 0}, "--photos"),
    "no second network": ("maps", {"layer": "conv1", "net": 1}, "no second network"),
    "no layer for the report": ("report", {"layer": "conv9"}, "no layer 'conv9'"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_what_is_asked_wrong_is_said_in_a_line(asking: Asking, image: str, case: str) -> None:
    question, asked, words = ERRORS[case]
    about = {} if question in ("kernel", "ascent", "places") else {"image": image}
    with pytest.raises(InputError) as error:
        asking(question, **about, **asked)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_record_the_option_is_named(network: Network) -> None:
    with pytest.raises(InputError, match="--record FILE"):
        Asking.of(network)("training")


def test_a_net_that_cannot_be_loaded_is_told_to_those_who_ask(engine: str) -> None:
    asking = Asking.of(replace(Network.of("lenet"), engine=engine))  # without weights
    asking.resources.warm()
    with pytest.raises(InputError, match="weights are needed"):
        asking("answer", image=asking.upload(CAT))


def test_a_warm_bench_has_run_the_net(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Asking.of(network)
    asking.resources.warm()

    def load(*_: Any) -> None:
        raise AssertionError("it was loaded again")

    monkeypatch.setattr("caffe_viz.network.load_net", load)
    monkeypatch.setattr("caffe_viz.probe.probe.load_net", load)
    image = asking.upload(CAT)
    asking("answer", image=image)
    asking("attribution", image=image, target="conv3:5")


def test_an_image_that_is_gone_is_said(asking: Asking) -> None:
    with pytest.raises(InputError, match="upload it again"):
        asking("answer", image="0" * 64)


def test_what_the_second_network_lacks_is_said(network: Network, toy: Network) -> None:
    asking = Asking.of(network, toy)
    image = asking.upload(CAT)
    with pytest.raises(InputError, match="no layer 'conv3'"):
        asking("maps", image=image, layer="conv3", net=1)
    with pytest.raises(InputError, match="no difference"):
        asking("difference", image=image, other_image=image, layer="conv1", other_net=1)


def test_the_same_image_on_two_networks(network: Network) -> None:
    changed = replace(network, preprocess=replace(network.preprocess, channel_order="RGB"))
    asking = Asking.of(network, changed)
    image = asking.upload(CAT)
    found = asking("difference", image=image, other_image=image, layer="conv1", other_net=1)
    expected = [cv.show_activations(one, CAT, ["conv1"]).arrays["conv1"] for one in (network, changed)]
    np.testing.assert_array_equal(found.arrays["conv1"], expected[0] - expected[1])


def every_question(asking: Asking, image: str, layer: str) -> Any:
    """All that can be asked of a net, about all of its layers."""
    network = asking.resources.setup.networks[0]
    layers = [one.name for one in network.geometry.layers if one.type != "Split"]
    yield "image", {"image": image}
    yield "answer", {"image": image}
    for name in layers:
        for question in ("maps", "unit", "difference", "kernel", "ascent", "places"):
            about: dict[str, Any] = (
                {"image": image, "layer": name} if question in ("maps", "unit", "difference") else {}
            )
            about |= {"layer": name} if question in ("kernel", "places") else {}
            about |= {"unit": 0} if question in ("unit", "kernel", "places") else {}
            about |= {"other_image": image} if question == "difference" else {}
            about |= {"objective": f"{name}:0", "steps": 1} if question == "ascent" else {}
            yield question, about
    for method in METHODS:
        for target in ("", f"{layer}:0"):
            question = "attribution-long" if method in PASSES else "attribution"
            yield question, {"image": image, "method": method, "target": target}


@pytest.mark.parametrize(("name", "engine"), [*zip(KINDS, cycle(("caffe", "torch")))], indirect=["engine"])
def test_every_kind_of_net_has_an_answer_or_a_reason(
    name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Settings(samples=2, steps=2, patch=16, stride=16)
    monkeypatch.setattr("caffe_viz.attribution.Settings", lambda: few)
    kind = KINDS[name]
    folder = kind.write(tmp_path)
    network = replace(
        Network.of(folder / "deploy.prototxt"), weights=folder / "net.caffemodel", engine=engine
    )
    asking = Asking.of(network, photos=(CAT,))
    if name != "siamese":
        asking.resources.open(0).warm()
    image = asking.upload(folder / "image.npy", "image.npy")
    answered = set()
    for question, about in every_question(asking, image, kind.layer):
        try:
            found = asking(question, **about)
        except InputError as error:
            reasons = [str(error)]
        else:
            reasons = [found.facts.get("refused", "")]
            answered.add(question)
            assert found.figures or reasons[0] or found.facts.get("dead")
        assert "\n" not in reasons[0]
    assert {"image", "maps", "unit", "kernel", "ascent", "attribution", "difference"} <= answered


def test_where_two_inputs_could_be_the_image_what_depends_on_one_is_answered(
    engine: str, tmp_path: Path
) -> None:
    folder = KINDS["siamese"].write(tmp_path)
    network = replace(
        Network.of(folder / "deploy.prototxt"), weights=folder / "net.caffemodel", engine=engine
    )
    asking = Asking.of(network)
    image = asking.upload(folder / "image.npy", "image.npy")
    found = asking("maps", image=image, layer="conv")
    expected = cv.show_activations(network, folder / "image.npy", ["conv"]).arrays["conv"]
    np.testing.assert_array_equal(found.arrays["conv"], expected)
    with pytest.raises(InputError, match="2 inputs that could be the image"):
        asking("maps", image=image, layer="fc")
