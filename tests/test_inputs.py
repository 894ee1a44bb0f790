"""Several inputs, sequences, and nets that take one batch only: every command, against passes by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ran
from input_toys import IP, NETS, files, toy

from caffe_viz.attribution import Settings, attribute
from caffe_viz.backend import load_net
from caffe_viz.checking import check_messages
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.images import Preprocess
from caffe_viz.netdef import parse_net
from caffe_viz.network import Network
from caffe_viz.probe import Probe
from caffe_viz.streaming import Runner
from caffe_viz.surgery import BatchLayout, auxiliary_net, batch_layout_for, fitted, image_input, leading_to
from caffe_viz.views import classify, maximize, show_activations, show_attribution, show_gradients

pytestmark = pytest.mark.usefixtures("climbing_here")
RNG = np.random.default_rng(5)
IMAGES = RNG.uniform(size=(5, 3, 6, 5)).astype(np.float32)
SEQUENCE = RNG.normal(size=(5, 1, 3)).astype(np.float32)
CONTINUED = np.array([0, 1, 1, 1, 1], np.float32)[:, None]
META = np.array([3, -2], np.float32)
SINGLE = [name for name in NETS if name not in ("siamese", "sequence", "pair")]


def network(name: str, engine: str, **more: Any) -> Network:
    message, weights = toy(name)
    preprocess = Preprocess(channel_order="RGB", mean=(0, 0, 0), scale=1 / 255, resize=None)
    return Network(message, weights, preprocess, engine, **more)


def by_hand(name: str, engine: str, blob: str, **inputs: np.ndarray) -> np.ndarray:
    """What a plain forward makes of inputs, which stand in every row of their blobs."""
    net = load_net(*toy(name), engine=engine, checked=False)
    for key, values in inputs.items():
        net.blobs[key].data[...] = values
    net.forward()
    return np.array(net.blobs[blob].data)


@contextmanager
def told() -> Iterator[list[str]]:
    """What is said of inputs meanwhile."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield lines
        lines += [str(one.message) for one in found if issubclass(one.category, CaffeVizWarning)]


def close(a: Any, b: Any) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


class TestWhichInput:
    @pytest.mark.parametrize(("blob", "image"), [("conv", "data"), ("ip_n", "near"), ("near", "near")])
    def test_only_those_that_a_blob_depends_on_count(self, blob: str, image: str) -> None:
        part = leading_to(toy("siamese")[0], [blob])
        assert image_input(part) == (image, (1, 3, 6, 5))

    def test_layers_that_work_in_place_on_the_blob_are_kept(self) -> None:
        assert [x.name for x in leading_to(toy("beside")[0], ["conv"]).layer] == ["data", "conv", "relu"]

    @pytest.mark.parametrize("name", ["beside", "sequence"])
    def test_vectors_and_marks_beside_it_are_no_images(self, name: str) -> None:
        assert image_input(toy(name)[0])[0] == {"beside": "data", "sequence": "x"}[name]

    def test_words_are_none_beside_features(self) -> None:
        text = """layer { name: "w" type: "Input" top: "words" top: "features"
            input_param { shape { dim: 1 dim: 4 } shape { dim: 4 dim: 9 } } }
        layer { name: "e" type: "Embed" bottom: "words" top: "e" embed_param { num_output: 3 input_dim: 7 } }
        layer { name: "f" type: "InnerProduct" bottom: "features" top: "f" inner_product_param { num_output: 3 } }
        layer { name: "r" type: "Reshape" bottom: "f" top: "r" reshape_param { shape { dim: 1 dim: 4 dim: 3 } } }
        layer { name: "s" type: "Eltwise" bottom: "e" bottom: "r" top: "s" }"""
        assert image_input(parse_net(text))[0] == "features"

    def test_four_axes_before_others(self) -> None:
        net = parse_net(NETS["beside"].replace("dim: 1 dim: 2 }", "dim: 1 dim: 1 dim: 1 dim: 1 dim: 2 }"))
        assert image_input(net)[0] == "data"

    def test_what_is_not_named_is_the_other_one(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", IMAGES[0])
        found, images = network("siamese", "torch").taking([f"data={tmp_path / 'x.npy'}", "y.npy"])
        assert (found.image, images) == ("near", ["y.npy"])

    def test_several_say_how_to_choose(self) -> None:
        with pytest.raises(InputError, match=r"2 inputs that could be the image \(data, near\).*NAME=FILE"):
            image_input(toy("siamese")[0])
        with pytest.raises(InputError, match=r"layer 'sum'.*data, near"):
            auxiliary_net(toy("siamese")[0], "sum")


class TestGiven:
    def test_images_by_name(self, engine: str) -> None:
        a, b = IMAGES[:2]
        net = network("siamese", engine)
        with told() as lines:
            both = show_activations(net, {"data": a, "near": b}).arrays
            alone = show_activations(net, {"near": b}, ["ip_n"]).arrays
            first = show_activations(net, b, ["ip_n"]).arrays
        assert lines == []
        close(both["sum"], by_hand("siamese", engine, "sum", data=a, near=b)[0])
        close(alone["ip_n"], both["ip_n"])
        close(first["ip_n"], both["ip_n"])

    def test_what_is_not_given_is_said_once(self, engine: str) -> None:
        with told() as lines:
            found = show_activations(network("siamese", engine), {"near": IMAGES[0]}, ["sum"]).arrays["sum"]
        assert lines == ["inputs not given: data (1, 3, 6, 5) holds 0"]
        close(found, by_hand("siamese", engine, "sum", data=0, near=IMAGES[0])[0])

    def test_what_inputs_hold_tells_networks_apart(self) -> None:
        """A search that was interrupted goes on with the same values only."""
        one, other = (network("beside", "torch", input_values={"meta": m}) for m in (META, 2 * META))
        assert one.inputs_digest != other.inputs_digest
        assert (
            one.inputs_digest == network("beside", "torch", input_values={"meta": META[None]}).inputs_digest
        )

    def test_rows_that_are_alike_fit_any_batch(self) -> None:
        assert fitted("x", np.stack([META] * 3), (1, 2)).tolist() == [[3, -2]]
        with pytest.raises(InputError, match=r"takes \(1, 2\), not \(2, 2\)"):
            fitted("x", np.stack([META, -META]), (1, 2))

    def test_names_that_are_no_inputs_are_files(self, tmp_path: Path) -> None:
        net = network("siamese", "torch").part("conv")
        path = tmp_path / "a=b.npy"
        np.save(path, IMAGES[0])
        assert net.taking([path])[1] == [path]
        assert net.taking([f"data={path}"])[1] == [path]
        taken, images = net.taking([f"near={path}", path])  # another part's input
        assert images == [path]
        assert taken.input_values == {}
        with pytest.raises(InputError, match=r"no input 'dta'. Did you mean 'data'"):
            net.taking([f"dta={path}"])

    def test_mistakes(self, tmp_path: Path) -> None:
        net = network("beside", "torch")
        np.save(tmp_path / "m.npy", META)
        for given, words in (
            ({"mata": META, "data": IMAGES[0]}, "'mata'.*Did you mean 'meta'"),
            ({"data": IMAGES[0], "meta": np.zeros(3)}, r"'meta' takes \(1, 2\), not \(3,\)"),
            ([f"meta={tmp_path / 'a.png'}", "data=b.png"], r"'meta' takes \(1, 2\), no image"),
            (
                [f"meta={tmp_path / 'm.npy'}"] * 2 + ["data=b.png"],
                "'meta' is not the image, but is given twice",
            ),
            ([IMAGES[0], IMAGES[1]], "2 images are given: one is needed, for input data"),
        ):
            with pytest.raises(InputError, match=words):
                show_activations(net, given)

    @pytest.mark.parametrize("what", ["net", "mapping"])
    def test_every_view_has_the_same_value(self, what: str, engine: str) -> None:
        image = IMAGES[0]
        expected = by_hand("beside", engine, "prob", data=image, meta=META)[0]
        net: Any = load_net(*toy("beside"), engine=engine)
        net.blobs["meta"].data[...] = META
        given: Any = image
        if what == "mapping":
            net, given = network("beside", engine), {"data": image, "meta": META}
        with told() as lines:
            close(show_activations(net, given).arrays["prob"], expected)
            scores = show_attribution(net, given if what == "mapping" else image[None], [0], "gradient")
            gradient = show_gradients(net, given, "ip:1")
            climbed = maximize(
                net, "ip", [1], steps=1, method="plain", jobs=1, start=image,
                inputs={} if what == "net" else {"meta": META},
            )  # fmt: skip
        assert lines == []
        ip = by_hand("beside", engine, "ip", data=image, meta=META)[0]
        close(scores.attributions[0].scores[0], ip[0])
        close(gradient.params["ip"][0][1, -2:], META)
        close(climbed.ascent.curve[0, 0], ip[1])

    def test_classify(self, engine: str, tmp_path: Path) -> None:
        for n in range(3):
            np.save(tmp_path / f"{n}.npy", IMAGES[n])
        np.save(tmp_path / "m.npy", META)
        given = [f"data={tmp_path / f'{n}.npy'}" for n in range(3)]
        found = classify(network("beside", engine), [*given, f"meta={tmp_path / 'm.npy'}"])
        for n, answer in enumerate(found.answers):
            expected = by_hand("beside", engine, "prob", data=IMAGES[n], meta=META)[0]
            assert [guess.number for guess in answer.guesses] == list(np.argsort(-expected))
            close([guess.value for guess in answer.guesses], np.sort(expected)[::-1])

    def test_command_line(self, tmp_path: Path) -> None:
        net = [*map(str, files("siamese", tmp_path))]
        np.save(tmp_path / "a.npy", IMAGES[0])
        image, out = str(tmp_path / "a.npy"), ["-o", str(tmp_path / "out"), "--engine", "torch"]

        def run(*words: str) -> tuple[int, str]:
            code, text, errors = ran(*words, *out)
            return int(str(code or 0)), text + errors

        code, text = run("activations", *net, "--image", image)
        assert code == 2
        assert "--image NAME=FILE" in text
        code, text = run("activations", *net, "--image", f"near={image}")
        assert code == 0
        assert "inputs not given: data (1, 3, 6, 5) holds 0" in text
        code, text = run("activations", *net, "--image", f"near={image}", "--image", f"data={image}")
        assert code == 0
        assert "not given" not in text
        code, text = run("gradient", *net, "--image", image, "--target", "conv_n")
        assert code == 0
        code, text = run(
            "ascend", *net, "--layer", "sum", "--steps", "1", "--jobs", "1", "--image", f"near={image}"
        )
        assert code == 0
        assert "not given" not in text


class TestSequences:
    def test_marks_begin_the_sequence_once(self, engine: str) -> None:
        expected = by_hand("sequence", engine, "ip", x=SEQUENCE, cont=CONTINUED)
        with told() as lines:
            found = show_activations(network("sequence", engine), SEQUENCE).arrays
        assert lines == ["inputs not given: cont (5, 1) holds 0 at the first step, then 1"]
        close(found["ip"], expected.transpose(2, 0, 1))
        close(found["x"], SEQUENCE.transpose(2, 0, 1))

    def test_given_marks(self, engine: str) -> None:
        marks = np.array([0, 1, 0, 1, 1], np.float32)[:, None]
        found = show_activations(network("sequence", engine), {"x": SEQUENCE, "cont": marks}).arrays["ip"]
        close(found, by_hand("sequence", engine, "ip", x=SEQUENCE, cont=marks).transpose(2, 0, 1))

    def test_one_step_stands_in_all(self, engine: str) -> None:
        step = SEQUENCE[2]
        with told() as lines:
            found = show_activations(network("sequence", engine), step).arrays["ip"]
        assert lines[0] == "each image is repeated in all 5 rows of input 'x' (5, 1, 3)"
        close(found, by_hand("sequence", engine, "ip", x=step, cont=CONTINUED).transpose(2, 0, 1))

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_gradients_reach_through_the_steps(self, engine: str) -> None:
        net = network("sequence", engine)
        found = show_gradients(net, SEQUENCE, "ip:1").blobs["x"]

        def score(x: np.ndarray) -> float:
            return float(
                by_hand("sequence", engine, "ip", x=x, cont=CONTINUED)[..., 1].mean(dtype=np.float64)
            )

        for step in (0, 3):
            moved = np.zeros_like(SEQUENCE)
            moved[step, 0, 1] = 0.05
            slope = (score(SEQUENCE + moved) - score(SEQUENCE - moved)) / 0.1
            np.testing.assert_allclose(found[1, step, 0], slope, rtol=0.02, atol=1e-4)
        probe = Probe(net)
        made = attribute(probe, net.pixels(SEQUENCE)[None], ["ip:1"], "gradient")
        close(made.values[0], found)

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_ascents_climb_the_whole_sequence(self, engine: str) -> None:
        found = maximize(
            network("sequence", engine), "ip", [1], steps=12, method="plain", jobs=1, start=SEQUENCE
        ).ascent
        assert found.images.shape == (1, 3, 5, 1)
        close(found.curve[0, 0], by_hand("sequence", engine, "ip", x=SEQUENCE, cont=CONTINUED)[..., 1].mean())
        made = found.images[0].transpose(1, 2, 0)
        close(found.values[0], by_hand("sequence", engine, "ip", x=made, cont=CONTINUED)[..., 1].mean())
        assert found.values[0] > found.curve[0, 0]


class TestBatches:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("free", BatchLayout(1, 3)), ("beside", BatchLayout(1, 3)), ("one", BatchLayout(1, 1)), ("after", BatchLayout(1, 1)),
            ("four", BatchLayout(1, 4)), ("pair", BatchLayout(2, 1)), ("sequence", BatchLayout(5, 1)), ("batch_norm", BatchLayout(1, 1)),
        ],
    )  # fmt: skip
    def test_how_many_go_in(self, name: str, expected: BatchLayout) -> None:
        net = toy(name)[0]
        assert batch_layout_for(net, image_input(net)[0], 3) == expected

    def test_parameters_that_depend_on_the_batch(self) -> None:
        """They see all images at once, or have a number for each; `num_output` may be as large as the batch."""
        data = NETS["four"].split("\n")[0]
        for outputs in (4, 5):
            whole = IP.replace("num_output: 4", f"num_output: {outputs} axis: 0").replace('"conv"', '"data"')
            assert batch_layout_for(parse_net(data + whole), "data", 8) == BatchLayout(4, 1)
        for kind in ("Scale", "Bias"):
            each = f'layer {{ name: "l" type: "{kind}" bottom: "data" top: "l" {kind.lower()}_param {{ axis: 0 }} }}'
            assert batch_layout_for(parse_net(data + each), "data", 8) == BatchLayout(4, 1)
            assert batch_layout_for(parse_net(data + each.replace("axis: 0", "")), "data", 8) == BatchLayout(
                1, 8
            )

    @pytest.mark.parametrize("name", ["pair", "four", "one"])
    def test_what_lies_before_takes_any(self, name: str) -> None:
        assert batch_layout_for(leading_to(toy(name)[0], ["conv"]), "data", 3) == BatchLayout(1, 3)

    @pytest.mark.parametrize(
        "layer",
        [
            'type: "Softmax" softmax_param { axis: 0 }', 'type: "Permute" permute_param { order: 1 order: 0 }',
            'type: "Reshape" reshape_param { shape { dim: 1 dim: -1 } }',
            'type: "Reduction"', 'type: "Flatten" flatten_param { axis: 0 }',
        ],
    )  # fmt: skip
    def test_layers_that_mix_images(self, layer: str) -> None:
        text = f'layer {{ name: "l" bottom: "data" top: "l" {layer} }}'
        data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }'
        assert batch_layout_for(parse_net(data + text), "data", 3).images == 1

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    @pytest.mark.parametrize("name", SINGLE)
    def test_an_answer_is_that_of_the_image_alone(self, name: str, engine: str) -> None:
        expected = [by_hand(name, engine, "prob", data=image)[0] for image in IMAGES]
        net = network(name, engine)
        close(Runner(net, "prob")(IMAGES)["prob"], expected)
        probe = Probe(net)
        close(probe.forward(IMAGES, ["prob"])["prob"], expected)
        for part in (IMAGES[:1], IMAGES):  # a batch, and what follows it
            seed = np.zeros((len(part), 4), np.float32)
            seed[:, 1] = 1
            values, gradients = probe.pull(part, "ip", seed, [probe.image])
            close(values[probe.image], part)
        one = Probe(net)
        for k in (0, 3):
            close(
                one.pull(IMAGES[k : k + 1], "ip", seed[:1], [one.image])[1][one.image][0],
                gradients[one.image][k],
            )

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    @pytest.mark.parametrize("name", ["one", "four", "after", "batch_norm"])
    def test_methods_that_run_copies(self, name: str, engine: str) -> None:
        methods = ["smoothgrad", "integrated-gradients", "occlusion", "score-cam"]
        settings = Settings(samples=3, steps=5)

        both = show_attribution(network(name, engine), IMAGES[:2], [1], methods, settings=settings)
        alone = show_attribution(network(name, engine), IMAGES[1], [1], methods, settings=settings)
        for a, b in zip(both.attributions, alone.attributions, strict=True):
            close(a.values[1], b.values[0])

    @pytest.mark.parametrize("name", ["one", "four"])
    def test_ascents(self, name: str, engine: str) -> None:
        options: dict[str, Any] = {"steps": 2, "method": "plain", "jobs": 1}
        found = maximize(network(name, engine), "ip", **options).ascent
        free = maximize(network("free", engine), "ip", **options).ascent
        assert found.filters == (0, 1, 2, 3)
        close(found.images, free.images)
        close(found.values, [by_hand(name, engine, "ip", data=x)[0, n] for n, x in enumerate(found.images)])

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_two_images_that_become_one_answer(self, engine: str) -> None:
        net = network("pair", engine)
        found = show_activations(net, IMAGES[:2]).arrays
        close(found["prob"], by_hand("pair", engine, "prob", data=IMAGES[:2])[0])
        close(found["data"], IMAGES[:2].transpose(1, 0, 2, 3))
        close(
            Runner(net, "prob")(net.pixels(IMAGES[0])[None])["prob"],
            by_hand("pair", engine, "prob", data=IMAGES[0]),
        )


def test_check_warns_of_statistics_of_the_batch(engine: str) -> None:
    found = check_messages(*toy("batch_norm"), engine=engine)
    assert [(one.severity, one.where) for one in found] == [("warning", "layer 'bn' (BatchNorm)")]
    assert "one image at a time" in found[0].message
    assert check_messages(*toy("free"), engine=engine) == ()
