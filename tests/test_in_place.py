"""Gradients through layers in place: on real Caffe wrong where the check says so, and nowhere else.

Those that we ask it for, of an auxiliary net, are right everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_viz as cv
from caffe_viz.ascent.arrays import HostArrays
from caffe_viz.ascent.climb import Climb, Goal
from caffe_viz.ascent.evaluators import CaffeEvaluator, evaluator
from caffe_viz.ascent.optimizers import normalized
from caffe_viz.ascent.pixel_range import PixelRange
from caffe_viz.ascent.recipe import Recipe
from caffe_viz.checking import check_messages
from caffe_viz.netdef import NetParameter, State, make_blob, parse_net, with_state
from caffe_viz.objectives import Neuron
from caffe_viz.surgery import auxiliary_net

INPUT = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 2 dim: 2 dim: 2 } } }'
CHANGE = 'layer { name: "y" type: "Bias" bottom: "t" top: "t" bias_param { axis: 0 num_axes: -1 filler { value: 0.5 } } }'
FACTORS = 'layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 dim: 2 dim: 2 dim: 2 } } }'
CONTINUED = 'layer { name: "c" type: "Input" top: "c" input_param { shape { dim: 2 dim: 2 } } }'
END = 'layer { name: "end" type: "Silence" bottom: "b" } layer { name: "end_c" type: "Silence" bottom: "c" }'
HEAD = "force_backward: true " + INPUT + FACTORS + CONTINUED + END
# Layers and how they are set; values stay away from their corners, and are positive where they must be.
LAYERS = {
    "BNLL": ("",),
    "BatchNorm": ("batch_norm_param { use_global_stats: false }",),
    "Bias": ("",),
    "Dropout": ("",),
    "ELU": ("", "elu_param { alpha: -0.5 }"),
    "Exp": ("", "exp_param { base: 2 scale: 0.5 shift: 1 }"),
    "Log": ("", "log_param { base: 10 scale: 2 shift: 1 }"),
    "MVN": ("", "mvn_param { across_channels: true }", "mvn_param { normalize_variance: false }"),
    "Normalize": ("", "norm_param { across_spatial: false }"),
    "PReLU": ("",),
    "Power": (
        "", "power_param { scale: 3 shift: 1 }", "power_param { power: 2 scale: 2 shift: 1 }", "power_param { power: 1.7 }",
        "power_param { power: 3 scale: -0.5 shift: 2 }", "power_param { power: 0 }", "power_param { scale: 0 shift: 4 }",
    ),
    "ReLU": ("", "relu_param { negative_slope: 0.1 }", "relu_param { negative_slope: -0.5 }"),
    "ReLU6": ("",),
    "Scale": ("", "scale_param { bias_term: true }"),
    "Sigmoid": ("",),
    "Softmax": ("",),
    "TanH": ("",),
    "Eltwise": ("eltwise_param { operation: PROD }",),
}  # fmt: skip
# Those that cannot be in place themselves, but may have a layer in place on their top.
BEFORE = {
    **LAYERS,
    "AbsVal": ("",),
    "Convolution": ("convolution_param { num_output: 2 kernel_size: 1 }",),
    "Eltwise": (
        "eltwise_param { operation: PROD }", "eltwise_param { operation: PROD stable_prod_grad: false }",
        "eltwise_param { operation: SUM }", "eltwise_param { operation: MAX }",
    ),
    "InnerProduct": ("inner_product_param { num_output: 3 }",),
    "LRN": ("lrn_param { local_size: 3 alpha: 2 }", "lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }"),
    "Pooling": ("pooling_param { kernel_size: 2 pool: AVE }",),
}  # fmt: skip
# Layers between, whose top is their bottom's memory, and some that look so.
BETWEEN = {
    "Concat": ("",),
    "Dropout": ("",),
    "Flatten": ("",),
    "Permute": ("permute_param { order: 0 order: 1 }", "permute_param { order: 1 order: 0 }"),
    "Reshape": ("reshape_param { shape { dim: 4 dim: -1 } }",),
    "Slice": ("",),
}


def layer(kind: str, settings: str, bottom: str, top: str) -> str:
    second = {"Eltwise": 'bottom: "b" ', "BatchReindex": 'bottom: "b" ', "RNN": 'bottom: "c" '}.get(kind, "")
    return f'layer {{ name: "x" type: "{kind}" bottom: "{bottom}" {second}top: "{top}" {settings} }}'


def in_place(kind: str, settings: str) -> str:
    """The layer in place on a Bias, whose own gradient needs nothing."""
    first = 'layer { name: "first" type: "Bias" bottom: "a" top: "t" }'
    return HEAD + first + layer(kind, settings, "t", "t")


def before(kind: str, settings: str) -> str:
    """The layer, and a Bias in place on its top."""
    return HEAD + layer(kind, settings, "a", "t") + CHANGE


def between(kind: str, settings: str) -> str:
    """A Sigmoid, the layer on its top, and a Bias in place on that one's."""
    first = layer("Sigmoid", "", "a", "s")
    return HEAD + first + layer(kind, settings, "s", "t").replace('"x"', '"between"') + CHANGE


def after_nothing() -> str:
    """A Sigmoid, a Dropout in place, which is nothing in a test, and a Bias in place."""
    nothing = layer("Dropout", "", "t", "t").replace('"x"', '"nothing"')
    return HEAD + layer("Sigmoid", "", "a", "t") + nothing + CHANGE


def one_step() -> str:
    """An RNN, and the Bias in place: the top of one step has the memory of the TanH inside; two are copied."""
    text = before("RNN", "recurrent_param { num_output: 3 }")
    return text.replace("dim: 2 dim: 2 dim: 2 dim: 2", "dim: 1 dim: 2 dim: 2 dim: 2").replace(
        "shape { dim: 2 dim: 2 }", "shape { dim: 1 dim: 2 }"
    )


def net_cases() -> Iterator[Any]:
    for place, layers in ((in_place, LAYERS), (before, BEFORE), (between, BETWEEN)):
        for kind, some in layers.items():
            for settings in some:
                yield pytest.param(place(kind, settings), id=f"{place.__name__} {kind} {settings}")
    yield pytest.param(after_nothing(), id="after nothing")
    yield pytest.param(one_step(), id="before RNN")


def set_parameters(net: Any, rng: np.random.Generator) -> None:
    for name, blobs in net.params.items():
        size = {"first": 0, "x": 0.2 if net.layer_dict["x"].type == "RNN" else 1}.get(name, 1)
        for blob in blobs if name not in ("y", "image") else ():  # large ones would saturate RNN's TanH
            blob.data[...] = size * rng.uniform(0.5, 1.5, blob.data.shape)


def error(net: Any, signed: bool) -> float:
    """How far the gradients of `a` and of x's parameters are from central differences: see `off`."""
    rng = np.random.default_rng(6)
    set_parameters(net, rng)
    shape = net.blobs["a"].data.shape
    image = rng.uniform(0.5, 1.5, shape) * (rng.choice([-1, 1], shape) if signed else 1)
    other = image + 0.3 * rng.choice([-1, 1], shape)
    seed = rng.normal(size=net.blobs["t"].data.shape)
    params = [blob for blob in net.params.get("x", ()) if net.layer_dict["x"].type != "BatchNorm"]
    values = [image, *(np.array(blob.data) for blob in params)]

    def score() -> float:
        net.blobs["b"].data[...] = other
        for blob, array in zip((net.blobs["a"], *params), values, strict=True):
            blob.data[...] = array
        net.forward()
        return float((net.blobs["t"].data * seed).sum(dtype=np.float64))

    score()
    net.blobs["t"].diff[...] = seed
    net.backward()
    gradients = [np.array(blob.diff, np.float64) for blob in (net.blobs["a"], *params)]
    return max(off(values[i], gradient, score) for i, gradient in enumerate(gradients))


def off(values: np.ndarray, gradient: np.ndarray, score: Callable[[], float], step: float = 1e-2) -> float:
    """The largest distance between `gradient` and central differences of `score`, over the largest of these.

    Along three directions: whatever is wrong with a gradient has a part in each of them.
    """
    rng, start = np.random.default_rng(8), values.copy()
    found, wanted = np.empty(3), np.empty(3)
    for i in range(3):
        direction = rng.normal(size=values.shape)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (-1, 1):
            values[...] = start + sign * step * direction
            ends.append(score())
        found[i], wanted[i] = np.vdot(gradient, direction), (ends[1] - ends[0]) / (2 * step)
    values[...] = start
    return float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1))


@pytest.mark.parametrize("text", list(net_cases()))
def test_the_check_warns_where_gradients_of_caffe_are_wrong(caffe: Any, tmp_path: Path, text: str) -> None:
    findings = check_messages(parse_net(text))
    assert [f for f in findings if f.severity == "error"] == []
    warned = [f for f in findings if "gradient is wrong in Caffe" in f.message]
    (tmp_path / "net.prototxt").write_text(text)
    found = error(caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST), signed(text))
    assert found > 0.05 if warned else found < 0.01
    assert [f.where.split("'")[1] for f in warned] in ([], ["x"])


@pytest.mark.parametrize("text", list(net_cases()))
def test_gradients_of_the_embedded_engine_are_right(tmp_path: Path, text: str) -> None:
    pycaffe = pytest.importorskip("caffe_viz.engine.pycaffe", reason="the engine torch is not installed")
    assert [f for f in check_messages(parse_net(text), engine="torch") if "gradient" in f.message] == []
    (tmp_path / "net.prototxt").write_text(text)
    net = pycaffe.Net(str(tmp_path / "net.prototxt"), pycaffe.TEST)
    assert error(net, signed(text)) < 0.01


def signed(text: str) -> bool:
    """Whether values may have either sign: layers that are set apart by it."""
    return "LU" in text or "BNLL" in text


@pytest.mark.parametrize("text", list(net_cases()))
def test_gradients_and_steps_of_the_auxiliary_net_are_right(engine: str, text: str) -> None:
    """Against central differences: backward, `gradient`, and one step of an ascent."""
    net = parse_net(text.replace(FACTORS, 'layer { name: "b" type: "Bias" bottom: "a" top: "b" }'))
    batch = net.layer[0].input_param.shape[0].dim[0]
    aux = auxiliary_net(net, "y" if CHANGE in text else "x", batch=batch, neuron=True)
    made, rng = cv.load_net(aux.message, engine=engine), np.random.default_rng(6)
    set_parameters(made, rng)
    image = rng.uniform(0.5, 1.5, aux.image_shape) * (
        rng.choice([-1, 1], aux.image_shape) if signed(text) else 1
    )
    image = image.astype(np.float32)
    made.blobs[aux.selector].data[...] = selector = rng.normal(size=aux.selector_shape)

    def score() -> float:
        made.params[aux.image_layer][0].data[...] = image
        made.forward()
        return float((made.blobs[aux.activation].data * selector).sum(dtype=np.float64))

    evaluate = evaluator_of(engine, made, aux)
    evaluate.set({aux.selector: selector})
    gradient = evaluate.arrays.host(evaluate(evaluate.arrays.put(image))[1])
    score()
    seed = np.ones(made.blobs[aux.objective].data.shape, np.float32)
    found = cv.gradient(made, aux.objective, seed, [aux.image]).blobs[aux.image]
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-6 * np.abs(found).max())
    assert off(image, gradient, score) < 0.01
    if aux.selector_shape[0] < batch:  # whose rows are one image: test_inputs.py climbs those
        return
    selector[...] = aux.select([1] * batch)
    image[...] = image[0]
    made.blobs[aux.selector].data[...] = selector
    evaluate.set({aux.selector: selector})
    up = evaluate.arrays.host(evaluate(evaluate.arrays.put(image))[1])
    assert off(image, up, score) < 0.01
    goals = [Goal(Neuron(aux.layer, 1), 0, "unit")] * batch
    recipe = Recipe.of("plain", steps=1, rate=32, start=image[0])  # a pixel is 1/64
    climb = Climb(goals, [aux], lambda _: evaluate, recipe, PixelRange.of(None, image.shape[1]))
    for _ in climb:
        pass
    if not up[0].any():  # it began elsewhere
        return
    expected = image[0] + 0.5 * normalized(HostArrays(), up)[0]
    np.testing.assert_allclose(climb.frame()[0], expected, atol=2e-3)  # in float16


def evaluator_of(engine: str, net: Any, aux: Any) -> Any:
    """What an ascent makes of an auxiliary net, with the parameters of `net`."""
    if engine == "caffe":
        return CaffeEvaluator(net, aux)
    weights = NetParameter()
    for name, blobs in net.params.items():
        if name != aux.image_layer:
            weights.layer.add(name=name, blobs=[make_blob(blob.data) for blob in blobs])
    return evaluator(aux, weights, engine, "cpu")


@pytest.mark.parametrize(("phase", "warned"), [("TRAIN", ["'s'"]), ("TEST", [])])
def test_dropout_in_place_changes_values_in_training_only(phase: str, warned: list[str]) -> None:
    net = (
        INPUT
        + 'layer { name: "s" type: "Sigmoid" bottom: "a" top: "s" } layer { name: "d" type: "Dropout" bottom: "s" top: "s" }'
    )
    found = [f.where.split()[1] for f in check_messages(with_state(parse_net(net), State(phase)))]
    assert found == warned


def shared(changed: str) -> str:
    """A Bias on a Flatten, in place if `changed` is its bottom, while a Power and an Exp read what was flattened."""
    return (
        INPUT
        + f"""
        layer {{ name: "s" type: "Sigmoid" bottom: "a" top: "s" }}
        layer {{ name: "before" type: "Exp" bottom: "s" top: "before" }}
        layer {{ name: "flat" type: "Flatten" bottom: "s" top: "flat" }}
        layer {{ name: "bias" type: "Bias" bottom: "flat" top: "{changed}" bias_param {{ filler {{ value: 1 }} }} }}
        layer {{ name: "after" type: "Power" bottom: "s" top: "after" power_param {{ power: 2 }} }}
        layer {{ name: "end" type: "Power" bottom: "{changed}" top: "end" }}"""
    )


def test_changing_memory_that_others_read_is_warned_of(engine: str) -> None:
    values = []
    for changed in ("flat", "apart"):
        found = [str(f) for f in check_messages(parse_net(shared(changed)), engine=engine)]
        words = "layer 'bias' (Bias): works in place on 'flat', in memory that 'after', 'before' reads too"
        assert any(line.startswith(words) for line in found) == (changed == "flat")
        values.append(
            cv.forward(cv.load_net(parse_net(shared(changed)), engine=engine), {"a": 1}, ["after", "end"])
        )
    np.testing.assert_array_equal(values[0]["end"], values[1]["end"])
    assert np.abs(values[0]["after"] - values[1]["after"]).min() > 1


WRONG_VALUES = {
    "BatchReindex": "", "Convolution": "convolution_param { num_output: 2 kernel_size: 1 bias_term: false }",
    "Eltwise": "", "LRN": "lrn_param { local_size: 3 alpha: 2 }", "Pooling": "pooling_param { kernel_size: 1 }",
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG_VALUES)
def test_what_is_wrong_in_place_is_an_error(caffe: Any, tmp_path: Path, kind: str) -> None:
    found = []
    for top in ("t", "a"):
        text = INPUT + FACTORS + CONTINUED + END + layer(kind, WRONG_VALUES[kind], "a", top)
        if kind == "BatchReindex":
            text = text.replace("dim: 2 dim: 2 dim: 2 dim: 2", "dim: 2")
        if kind == "Convolution":  # small products some BLAS make in one piece
            text = text.replace("dim: 2 dim: 2 dim: 2 dim: 2", "dim: 2 dim: 1024 dim: 8 dim: 8")
            text = text.replace("num_output: 2", "num_output: 1024")
        (tmp_path / "net.prototxt").write_text(text)
        findings = check_messages(parse_net(text))
        why = {
            "LRN": "Caffe's CPU code writes over its input before it multiplies by it (its GPU code does not)"
        }
        reason = why.get(kind, "Caffe reads its input after it has written over it")
        assert [f"{f.where} {f.message}" for f in findings if f.severity == "error"] == (
            [f"layer 'x' ({kind}) cannot work in place, {reason}: give its top another name than 'a'."]
            if top == "a"
            else []
        )
        net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
        for blobs in net.params.values():
            blobs[0].data[...] = 3
        net.blobs["a"].data[...] = 1 + np.arange(net.blobs["a"].count).reshape(net.blobs["a"].data.shape)
        net.blobs["b"].data[...] = np.eye(2)[0] if kind == "BatchReindex" else 1
        net.forward()
        found.append(np.array(net.blobs[top].data))
    assert np.abs(found[0] - found[1]).max() > 0.1


MEANT = {
    **WRONG_VALUES,
    "AbsVal": "",
    "Concat": "",
    "Crop": "",
    "Deconvolution": "convolution_param { num_output: 2 kernel_size: 1 }",
    "Im2col": "convolution_param { kernel_size: 1 }",
    "InnerProduct": "inner_product_param { num_output: 2 axis: 3 }",
    "LRN": "lrn_param { local_size: 3 alpha: 2 }",
    "LRN ": "lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }",
    "Permute": "permute_param { order: 1 order: 0 }",
    "Resize": "resize_param { height: 2 width: 2 }",
    "Slice": "",
    "Tile": "tile_param { tiles: 1 }",
    "Upsample": "upsample_param { scale: 1 }",
}  # fmt: skip


@pytest.mark.parametrize("kind", MEANT)
def test_the_embedded_engine_computes_what_is_meant_in_place(tmp_path: Path, kind: str) -> None:
    """Values and gradients are those of the same layer with a top of its own."""
    pycaffe = pytest.importorskip("caffe_viz.engine.pycaffe", reason="the engine torch is not installed")
    found = []
    for top in ("u", "t"):
        first = 'layer { name: "first" type: "Bias" bottom: "a" top: "t" bias_param { axis: 0 } }'
        text = HEAD + first + layer(kind.strip(), MEANT[kind], "t", top)
        text = text.replace('"Crop" bottom: "t"', '"Crop" bottom: "t" bottom: "b"')
        if kind == "BatchReindex":
            text = text.replace("dim: 2 dim: 2 dim: 2 dim: 2", "dim: 2")
        findings = [
            f for f in check_messages(parse_net(text), engine="torch") if f.where.startswith("layer 'x'")
        ]
        assert [f.severity for f in findings] == ["warning"] * (top == "t")
        assert all("works in place on 't', which is computed as it is meant" in f.message for f in findings)
        (tmp_path / "net.prototxt").write_text(text)
        net, rng = pycaffe.Net(str(tmp_path / "net.prototxt"), pycaffe.TEST), np.random.default_rng(4)
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] = rng.normal(size=blob.data.shape)
        net.blobs["a"].data[...] = rng.normal(size=net.blobs["a"].data.shape)
        net.blobs["b"].data[...] = np.eye(2)[0] if kind == "BatchReindex" else 1
        net.forward()
        net.blobs[top].diff[...] = rng.normal(size=net.blobs[top].data.shape)
        net.backward()
        diffs = [net.blobs["a"].diff, *(blob.diff for blob in net.params.get("x", ()))]
        found.append([np.array(x) for x in (net.blobs[top].data, *diffs)])
    for apart, in_place in zip(*found, strict=True):
        np.testing.assert_allclose(in_place, apart, rtol=1e-5, atol=1e-6)
    assert all(np.abs(x).max() > 0 for x in found[0])


def test_what_changes_its_shape_in_place_is_a_new_blob() -> None:
    """As older forks let Reshape; also twice, and between layers that work in place as usual."""
    pytest.importorskip("torch", reason="the embedded engine is not installed")
    data = 'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }'
    layers = """
    layer { name: "c" type: "Convolution" bottom: "x" top: "x" convolution_param { num_output: 5 kernel_size: 2
            weight_filler { type: "xavier" } } }
    layer { name: "r" type: "ReLU" bottom: "x" top: "x" }
    layer { name: "s" type: "Reshape" bottom: "x" top: "x" reshape_param { shape { dim: 0 dim: -1 } } }
    layer { name: "f" type: "InnerProduct" bottom: "x" top: "x" inner_product_param { num_output: 3
            weight_filler { type: "xavier" } } }
    """
    text = "force_backward: true " + data + layers
    apart = text
    for name, new in (("f", "x3"), ("s", "x2"), ("c", "x1")):
        head, layer, tail = apart.partition(f'name: "{name}"')
        apart = head + layer + tail.replace('"x"', f'"{new}"').replace(f'bottom: "{new}"', 'bottom: "x"', 1)
    apart = apart.replace('"f" type: "InnerProduct" bottom: "x"', '"f" type: "InnerProduct" bottom: "x2"')
    apart = apart.replace('"s" type: "Reshape" bottom: "x"', '"s" type: "Reshape" bottom: "x1"')
    nets = [cv.load_net(parse_net(one), engine="torch") for one in (text, apart)]
    nets[1].share_with(nets[0])
    image = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    found = []
    for net, top in zip(nets, ("x", "x3"), strict=True):
        net.layers[0].tops[0].data[...] = image
        net._forward(1, len(net.layers) - 1)
        net.blobs[top].diff[...] = 1
        net.backward()
        found.append((np.array(net.blobs[top].data), np.array(net.layers[0].tops[0].diff)))
    for mine, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    assert np.abs(found[0][1]).max() > 0
