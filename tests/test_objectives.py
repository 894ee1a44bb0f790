"""Objectives: their text, their algebra, and what the auxiliary net makes of them on each engine.

Values and gradients are compared with plain definitions in float64, applied to the activations of the whole
net; the gradient of the definition is seeded by hand into the whole net.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_surgery import NON_SQUARE, random_weights

import caffe_viz as cv
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter, parse_net
from caffe_viz.objectives import (
    Channel,
    Content,
    Direction,
    Diversity,
    Layer,
    Named,
    Names,
    Neuron,
    Objective,
    Product,
    Style,
    Sum,
    Target,
    files,
    form_of,
    gram,
    leaves,
    loaded,
    parse,
    resolved,
)
from caffe_viz.surgery import Auxiliary, auxiliary_net, terms, with_batch

LAYERS = [
    "conv1",
    "conv-1",
    "conv3",
    "inception_3a/3x3_reduce",
    "inception_3a/3x3",
    "fc8",
    "a + b",
    "3",
    'x"(y)',
    "it's",
]
LABELS = ["cat", "cowboy hat", "great white shark, white shark", "crane", "crane", "3", "7", "cowboy"]
A, B, C = Channel("conv3", 16), Neuron("conv1", 2, (3, 5)), Layer("fc8")


SCORES = [Channel("fc", k) for k in range(4)]
PLACES = [Neuron("map", 0, (0, 0)), Neuron("map", 1, (0, 1))]
HEADS = Names(
    ["fc", "prob"],
    {"cat": [SCORES[1]], "male": [PLACES[0]], "female": [PLACES[1]]},
    {"prob": SCORES, "sex": PLACES},
)


def names_of(layers: Sequence[str], labels: Sequence[str], layer: str) -> Names:
    """Classes are the channels of `layer`."""
    classes: dict[str, list[Channel]] = {}
    for number, label in enumerate(labels):
        for name in dict.fromkeys([label, *label.split(", ")]):
            classes.setdefault(name, []).append(Channel(layer, number))
    return Names(layers, classes)


def read(text: str) -> Objective:
    return parse(text, names_of(LAYERS, LABELS, "fc8"))


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("conv3:16", A),
        ("conv1:2:3,5", B),
        ("conv1:2:centre", Neuron("conv1", 2)),
        ("conv1:2:7", Neuron("conv1", 2, (7,))),
        ("fc8", C),
        ("inception_3a/3x3_reduce:4", Channel("inception_3a/3x3_reduce", 4)),
        ("conv-1:0 - conv1:0", Channel("conv-1", 0) - Channel("conv1", 0)),
        ('"a + b":3', Channel("a + b", 3)),
        ("'x\"(y)'", Layer('x"(y)')),
        ("'it''s':1", Channel("it's", 1)),
        ("it's:1", Channel("it's", 1)),
        ("cat", Channel("fc8", 0)),
        ('"cowboy hat"', Channel("fc8", 1)),
        ("Cowboy Hat + White Shark", Channel("fc8", 1) + Channel("fc8", 2)),
        ("cowboy hat - cowboy", Channel("fc8", 1) - Channel("fc8", 7)),  # the longest name
        ("7", Channel("fc8", 6)),
        ("3", Layer("3")),  # layers come before labels
        ("2*3", 2 * Layer("3")),
        ("direction(conv3, v.npy)", Direction("conv3", "v.npy")),
        ("direction(conv3, a.png, my b.png)", Direction("conv3", "a.png", "my b.png")),
        ("content( conv3 ,cat.png)", Content("conv3", "cat.png")),
        ('style("inception_3a/3x3", "a, (b).png")', Style("inception_3a/3x3", "a, (b).png")),
        ("diversity(conv-1)", Diversity("conv-1")),
        ("0.5 * (conv3:16 + conv1:2:3,5) * fc8", 0.5 * ((A + B) * C)),
        ("-(conv3:16 + conv1:2:3,5)", -1 * A - B),
        ("-conv3:16 * fc8 - .5*-fc8", -(A * C) + 0.5 * C),
        ("conv3:16 * 2 * fc8 * 1e-3", 0.002 * (A * C)),
        (" ( ( conv3:16 ) ) ", A),
        ("fc8*conv3:16", C * A),
    ],
)  # fmt: skip
def test_text_is_read(text: str, objective: Objective) -> None:
    assert read(text) == objective
    assert read(str(objective)) == objective


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "character 1: a term such as conv3:16, .* not the end"),
        ("conv4:1", "character 1: the name of a layer or a label expected, not 'conv4:1'. Did you mean 'conv3'"),
        ("conv3:1 + tat", "character 11: .*Did you mean 'cat'"),
        ("conv10", "'conv10'. Did you mean 'conv1'"),
        ("conv3:x", "character 7: the number of a channel of 'conv3' expected, not 'x'"),
        ("conv3:-1", "character 7: the number of a channel"),
        ("conv3:\N{ARABIC-INDIC DIGIT THREE}", "the number of a channel"),
        ("conv3:" + "9" * 5000, "the number of a channel"),
        ("conv3:1:2,x", "character 9: Y,X in the map or 'centre' expected, not '2,x'"),
        ("conv3:0:160:10", "A list of filters, such as 0:160:10, is not an objective"),
        ("conv3 conv1", r"character 7: \+, -, \* or the end expected, not 'conv1'"),
        ("conv3:1 +conv1", r"character 9: a space on both sides of \+ and - expected"),
        ("conv3:1-conv1", "character 8: a space on both sides"),
        ("conv3-conv1", "Put spaces around . and - between two terms"),
        ("2", "character 1: a number times an objective"),
        ("conv3 + 2", "character 9: a number times an objective"),
        ("(conv3 + fc8", r"character 13: '\)' expected, not the end"),
        ("conv3)", "character 6: .*the end expected"),
        ("stile(conv3, a.png)", "one of content, direction, diversity, style, .* Did you mean 'style'"),
        ("style(conv3)", r"style\(LAYER, IMAGE\) expected"),
        ("diversity(conv3, a.png)", r"diversity\(LAYER\) expected"),
        ("style(conv9, a.png)", "character 7: a layer expected, .*Did you mean 'conv3'"),
        ("style(cat, a.png)", "a layer expected"),
        ("style(conv3, )", "character 14: the next part of style"),
        ("direction(conv3, a.png)", r"direction\(LAYER, VECTOR.npy\)"),
        ("cat:3", "character 4: nothing after 'cat', which is a class"),
        ("crane", r"the label of one class \('crane' is that of 2: write fc8:3 or fc8:4\)"),
        ("1e999*conv3", "a finite number"),
        ("1e200*1e200*conv3", "too large"),
        ("(" * 3000, "at most 50 brackets"),
        ('"conv3', "a term such as"),
        ('"dog"', "the name of a layer or a label"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prob:4", "character 6: a class of 'prob', 0 to 3, expected"),
        ("prob:dog", "character 6: the number of a channel of 'prob' expected, not 'dog'"),
        ("prob:cat:1", "nothing after 'cat'"),
        ("sex", "character 4: the number of a channel of 'sex' expected"),
        ("sex:cat", "label of one class"),
    ],
)
def test_classes_of_heads_that_are_none(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse(text, HEADS)


def test_channels_of_a_head_are_its_classes() -> None:
    assert parse("prob:3 + 2*prob:Cat", HEADS) == Channel("fc", 3) + 2 * Channel("fc", 1)
    assert parse("prob:3:1,2", HEADS) == Neuron("fc", 3, (1, 2))
    assert parse("sex:female - male", HEADS) == Neuron("map", 1, (0, 1)) - Neuron("map", 0, (0, 0))
    assert parse("prob", HEADS) == Layer("prob")
    assert parse("fc:3", HEADS) == Channel("fc", 3)


PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
NAMES = st.one_of(
    st.text(min_size=1, max_size=6), st.from_regex(r"[a-c0-3][a-c/.0-3 *():+-]{0,5}", fullmatch=True)
)
NUMBERS = st.one_of(st.sampled_from([-1.0, 1.0, 2.0, -0.5, 0.0]), st.floats(-1e9, 1e9))


def expressions(names: Sequence[str]) -> st.SearchStrategy[Objective]:
    layer, channel = st.sampled_from(names), st.integers(0, 10**6)
    place = st.one_of(st.none(), st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple))
    leaf: st.SearchStrategy[Objective] = st.one_of(
        st.builds(Channel, layer, channel), st.builds(Neuron, layer, channel, place), st.builds(Layer, layer),
        st.builds(Direction, layer, PATHS.map(lambda p: f"{p}.npy")), st.builds(Direction, layer, PATHS, PATHS),
        st.builds(Content, layer, PATHS), st.builds(Style, layer, PATHS), st.builds(Diversity, layer),
    )  # fmt: skip
    return st.recursive(
        leaf,
        lambda parts: st.one_of(
            st.builds(lambda a, b: a + b, parts, parts), st.builds(lambda a, b: a - b, parts, parts),
            st.builds(lambda a, b: a * b, parts, parts), st.builds(lambda n, a: n * a, NUMBERS, parts),
        ),
        max_leaves=6,
    )  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.data(), st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_every_objective_reads_back_from_its_text(data: st.DataObject, names: list[str]) -> None:
    objective = data.draw(expressions(names))
    found = parse(str(objective), names_of(names, ["a", "b c", "3"], names[0]))
    assert found == objective
    assert hash(found) == hash(objective)
    assert str(form_of(found)) == str(form_of(objective))


@settings(deadline=None, max_examples=60)
@given(st.text("abc13:*()+-., \"'", max_size=20))
def test_any_text_is_an_objective_or_an_error(text: str) -> None:
    with suppress(InputError):
        found = parse(text, names_of(["a", "b-c", "3"], ["c a", "1"], "a"))
        assert parse(str(found), Names(["a", "b-c", "3"])) == found


def test_algebra() -> None:
    assert Sum(((1.0, A), (1.0, B), (-1.0, C))) == A + B - C
    assert Sum(((2.0, A), (6.0, B))) == 2 * (A + 3 * B)
    assert Sum(((6.0, Product((A, B, C))),)) == 2 * A * (3 * B) * C
    assert -1 * -A == A == 1 * A == 0.5 * (2 * A)
    assert sum([A, B, C]) == A + B + C
    assert A * B != B * A
    assert len({A, Channel("conv3", 16), B}) == 2
    with pytest.raises(TypeError):
        A + 2
    with pytest.raises(TypeError):
        A * "2"
    with pytest.raises(InputError, match="factor of nan"):
        float("nan") * A


def test_objectives_with_arrays_are_compared_by_their_values() -> None:
    one, two = np.ones(3, np.float32), np.ones(3, np.float32)
    assert Direction("a", one) == Direction("a", two)
    assert Direction("a", one) != Direction("a", two * 2)
    assert Content("a", Named(one, "x.png")) != Content("a", Target(one, "x.png"))
    assert (
        str(Direction("a", one) - Content("a", Target(one, "x.png")))
        == "direction(a, array) - content(a, x.png)"
    )


def test_forms_put_together_what_one_blob_can_take() -> None:
    assert str(form_of(A + 2 * Channel("conv3", 3) - Direction("conv3", "v.npy"))) == "conv3:.."
    assert str(form_of(C + A + C)) == "conv3:.. + fc8"
    assert str(form_of(A * C)) == str(form_of(-C * Neuron("conv3", 1)))
    assert str(form_of(Style("a", "x") - Style("a", "y"))) == "style(a, ..) + style(a, ..)"


def test_photographs_are_read_once_and_replaced_by_targets() -> None:
    asked: list[Any] = []

    def read_image(path: str) -> Any:
        asked.append(path)
        return np.full((2, 3, 4), len(path), np.float64)

    def run(layer: str, images: Any) -> Any:
        asked.append((layer, images.shape, images.dtype))
        return np.stack([images[:, 0], images[:, 1] * 2], 1)[:, :, :2, :2]

    given = (
        Content("a", "x.png")
        + Style("a", "x.png") * Direction("a", "x.png", "long.png")
        - Direction("a", "v.npy")
    )
    assert files(given) == ("x.png", "long.png", "v.npy")
    read = loaded(given, read_image, lambda path: np.array([3, 4]))
    assert asked == ["x.png", "long.png"]
    assert files(read) == ()
    asked.clear()
    found = resolved(read, run)
    assert asked == [("a", (1, 2, 3, 4), np.float32)] * 2
    assert str(found) == str(given)
    assert resolved(found, run) == found == pickle.loads(pickle.dumps(found))
    content, other, vector = (part for _, part in found.terms)
    style, direction = other.factors
    np.testing.assert_array_equal(content.image.values, np.full((2, 2, 2), 5) * [[[1]], [[2]]])
    np.testing.assert_array_equal(style.image.values, [[25, 50], [50, 100]])
    np.testing.assert_array_equal(direction.toward.values, [-3, -6])
    np.testing.assert_array_equal(vector.toward.values, [3, 4])
    with pytest.raises(InputError, match=r"'x.png' is a path: read it first"):
        resolved(given, run)


def test_gram_by_loops() -> None:
    a = np.random.default_rng(0).normal(size=(3, 5))
    wanted = [[sum(a[i, p] * a[j, p] for p in range(5)) / 5 for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(gram(a), wanted)


# --- on the engines -------------------------------------------------------------------------------------

BATCH = 5
SHAPES = {"conv1": (11, 5, 8), "relu1": (11, 5, 8), "conv2": (4, 3, 6), "ip": (6,)}
rng = np.random.default_rng(5)
VECTORS = {layer: rng.normal(size=(BATCH, shape[0])).astype(np.float32) for layer, shape in SHAPES.items()}
CONTENTS = {layer: 9 * rng.normal(size=(BATCH, *shape)).astype(np.float32) for layer, shape in SHAPES.items()}
GRAMS = {layer: gram(x.reshape(*x.shape[:2], -1)).astype(np.float32) for layer, x in CONTENTS.items()}


def direction(layer: str, n: int) -> Direction:
    return Direction(layer, VECTORS[layer][n])


def content(layer: str, n: int) -> Content:
    return Content(layer, Target(CONTENTS[layer][n]))


def style(layer: str, n: int) -> Style:
    return Style(layer, Target(GRAMS[layer][n]))


# Of image n, one form for each case.
CASES: dict[str, Callable[[int], Objective]] = {
    "channel": lambda n: Channel("conv2", n % 4),
    "channel before a layer in place": lambda n: Channel("conv1", n),
    "channel in place": lambda n: Channel("relu1", n),
    "channel of ip": lambda n: Channel("ip", n % 6),
    "neuron": lambda n: Neuron("conv2", n % 4, (n % 3, n % 6)),
    "central neuron": lambda n: Neuron("conv1", n),
    "neuron of ip": lambda n: Neuron("ip", n % 6),
    "neuron and channel": lambda n: 2 * Neuron("conv2", n % 4) - Channel("conv2", 1) if n % 2 else Channel("conv2", 0),
    "layer": lambda n: Layer("conv2"),
    "layer in place": lambda n: (n + 1) * Layer("relu1"),
    "layer of ip": lambda n: Layer("ip"),
    "direction": lambda n: direction("conv1", n),
    "direction of ip": lambda n: direction("ip", n),
    "direction and neuron": lambda n: direction("conv2", n) + Neuron("conv2", n % 4, (0, n % 6)),
    "content": lambda n: content("conv2", n),
    "content of ip": lambda n: content("ip", n),
    "style": lambda n: style("conv1", n),
    "style in place": lambda n: style("relu1", n),
    "style of ip": lambda n: style("ip", n),
    "diversity": lambda n: Diversity("conv2"),
    "diversity of two groups": lambda n: (1 + n % 2) * Diversity("relu1"),
    "sum of channels": lambda n: Channel("conv2", n % 4) - 0.5 * Channel("conv2", (n + 1) % 4),
    "sum on both sides of a layer in place": lambda n: Channel("conv1", n) + 3 * Channel("relu1", n) + Channel("conv2", 1),
    "sum of kinds": lambda n: 9 * Channel("ip", n % 6) + n * content("conv2", n) + 0.1 * style("relu1", n) - Layer("conv1"),
    "two styles of a layer": lambda n: style("conv2", n) - style("conv2", BATCH - 1 - n) + 50 * Diversity("conv2"),
    "product": lambda n: Channel("conv2", n % 4) * Channel("ip", n % 6),
    "product with itself": lambda n: Channel("conv1", n) * Channel("conv1", n) * Neuron("conv1", n),
    "product of sums": lambda n: (Layer("conv1") - n * Channel("conv2", 2)) * (content("conv2", n) + Channel("relu1", n)),
    "all": lambda n: 0.01 * (style("conv1", n) * Diversity("conv2")) + direction("ip", n) * (Layer("relu1") + Channel("conv2", 3)),
}  # fmt: skip


def value(o: Objective, a: dict[str, Any], n: int, group: Sequence[int]) -> float:
    """The definition, of the activations (N, C, ..) of each layer in float64."""
    if isinstance(o, Sum):
        return sum(factor * value(part, a, n, group) for factor, part in o.terms)
    if isinstance(o, Product):
        return float(np.prod([value(part, a, n, group) for part in o.factors]))
    x = a[o.layer][n]
    flat = x.reshape(len(x), -1)
    if isinstance(o, Channel):
        return float(x[o.channel].mean())
    if isinstance(o, Neuron):
        return float(x[(o.channel, *(o.position or [size // 2 for size in x.shape[1:]]))])
    if isinstance(o, Layer):
        return float((x**2).mean())
    if isinstance(o, Direction):
        v = np.asarray(o.toward, np.float64)
        return float(np.mean([flat[:, p] @ v / np.sqrt(v @ v) for p in range(flat.shape[1])]))
    if isinstance(o, Content):
        return -float(((x - o.image.values) ** 2).mean())
    if isinstance(o, Style):
        return -float(((gram(flat) - o.image.values) ** 2).mean())
    assert isinstance(o, Diversity)
    grams = {m: gram(a[o.layer][m].reshape(flat.shape)) for m in range(len(group)) if group[m] == group[n]}
    norms = {m: np.sqrt((g**2).sum()) for m, g in grams.items()}
    cosines = [(grams[n] * g).sum() / norms[n] / norms[m] for m, g in grams.items() if m != n]
    return -float(np.mean(cosines)) if cosines else 0.0


def slopes(o: Objective, a: dict[str, Any], n: int, group: Sequence[int]) -> dict[str, Any]:
    """Layer -> the gradient (N, C, ..) of image n's value for its activation: central differences of each leaf."""
    out = {layer: np.zeros_like(x) for layer, x in a.items()}
    parts = o.terms if isinstance(o, Sum) else ()
    if isinstance(o, Product):
        values = [value(part, a, n, group) for part in o.factors]
        parts = tuple((np.prod([*values[:i], *values[i + 1 :]]), part) for i, part in enumerate(o.factors))
    for factor, part in parts:
        for layer, slope in slopes(part, a, n, group).items():
            out[layer] += factor * slope
    if parts:
        return out
    x = a[o.layer]
    step = 1e-4 * np.abs(x).max()
    for m in [m for m in range(len(group)) if group[m] == group[n]] if isinstance(o, Diversity) else [n]:
        for index in np.ndindex(x.shape[1:]):
            middle, ends = x[m][index], []
            for sign in (1, -1):
                x[m][index] = middle + sign * step
                ends.append(value(o, a, n, group))
            x[m][index] = middle
            out[o.layer][m][index] = (ends[0] - ends[1]) / (2 * step)
    return out


def whole_net(engine: str, net: NetParameter, weights: NetParameter) -> Any:
    message = with_batch(net, BATCH)
    del message.layer[-2:]  # Accuracy and ArgMax abort under force_backward
    message.force_backward = True
    return cv.load_net(message, weights, engine=engine, checked=False)


def wanted(
    engine: str, net: NetParameter, weights: NetParameter, image: Any, objectives: Sequence[Objective],
    group: Sequence[int],
) -> tuple[Any, Any]:  # fmt: skip
    """Values (K,) by the definition, and the gradient for the image of their sum, through the whole net."""
    layers = list(dict.fromkeys(leaf.layer for o in objectives for leaf in leaves(o)))
    whole, activations, tops = whole_net(engine, net, weights), {}, {}
    whole.blobs["data"].data[...] = image
    for layer in layers:
        whole.forward(end=layer)
        tops[layer] = "conv1" if layer == "relu1" else layer
        activations[layer] = whole.blobs[tops[layer]].data.astype(np.float64)
    values = [value(o, activations, n, group) for n, o in enumerate(objectives)]
    found = [slopes(o, activations, n, group) for n, o in enumerate(objectives)]
    gradient = np.zeros(image.shape)
    for layer in layers:
        whole.forward(end=layer)
        for blob in whole.blobs.values():
            blob.diff[...] = 0
        whole.blobs[tops[layer]].diff[...] = sum(slope[layer] for slope in found)
        whole._backward(list(whole._layer_names).index(layer), 0)
        gradient += whole.blobs["data"].diff
    return np.array(values), gradient


def found_by(
    engine: str, aux: Auxiliary, weights: NetParameter, image: Any, objectives: Sequence[Objective],
    groups: Sequence[int] | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Values (N,) of the auxiliary net, and its gradient."""
    net = cv.load_net(aux.message, weights, engine=engine, checked=False)
    for name, array in aux.settings(objectives, groups).items():
        assert array.shape == aux.inputs[name]
        net.blobs[name].data[...] = array
    net.params[aux.image_layer][0].data[...] = image
    total = float(net.forward()[aux.objective])
    values = net.blobs[aux.values].data.copy()
    assert total == pytest.approx(
        float(values.sum(dtype=np.float64)), rel=1e-4, abs=1e-4 * float(np.abs(values).max())
    )
    net.backward()
    return values, net.params[aux.image_layer][0].diff.copy()


def near_enough(found: Any, wanted: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * np.abs(wanted).max())


@pytest.fixture(scope="module")
def toy() -> NetParameter:
    return parse_net(NON_SQUARE)


@pytest.fixture(scope="module")
def image() -> Any:
    return np.random.default_rng(1).normal(size=(BATCH, 7, 5, 12)).astype(np.float32)


def groups_of(case: str) -> list[int]:
    return [n % 2 for n in range(BATCH)] if "groups" in case else [0] * BATCH


@pytest.fixture(scope="module")
def definition(toy: NetParameter, image: Any) -> Callable[[str], tuple[Any, Any]]:
    """What `wanted` says of a case, through real Caffe where it is installed."""
    judge = "caffe" if find_spec("caffe") else "torch"

    @cache
    def found(case: str) -> tuple[Any, Any]:
        objectives = [CASES[case](n) for n in range(BATCH)]
        return wanted(judge, toy, random_weights(toy), image, objectives, groups_of(case))

    return found


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_definition(
    engine: str, toy: NetParameter, image: Any, definition: Callable[[str], tuple[Any, Any]], case: str
) -> None:
    objectives = [CASES[case](n) for n in range(BATCH)]
    aux = auxiliary_net(toy, objectives[1], batch=BATCH)
    values, gradient = found_by(engine, aux, random_weights(toy), image, objectives, groups_of(case))
    expected, slope = definition(case)
    near_enough(values, expected, 1e-4)
    near_enough(gradient, slope, 1e-4)
    assert all(np.abs(gradient[n]).max() > 0 for n in range(BATCH))


@pytest.mark.parametrize("case", [case for case in CASES if "diversity(" not in str(CASES[case](0))])
def test_images_climb_alone(engine: str, toy: NetParameter, image: Any, case: str) -> None:
    """An image has the value and gradient that it has in a batch of one, and those without an objective none."""
    weights, chosen = random_weights(toy), [CASES[case](n) for n in range(2)]
    batch, one = (auxiliary_net(toy, chosen[1], batch=size) for size in (BATCH, 1))
    values, gradient = found_by(engine, batch, weights, image, chosen)
    assert not values[2:].any()
    assert not gradient[2:].any()
    for n, objective in enumerate(chosen):
        alone = found_by(engine, one, weights, image[n : n + 1], [objective])
        near_enough(values[n], alone[0][0], 1e-5)
        near_enough(gradient[n], alone[1][0], 1e-5)


def test_diversity_is_of_groups(engine: str, toy: NetParameter, image: Any) -> None:
    """By default those of equal objectives; equal images have -1, and an image alone has 0."""
    weights = random_weights(toy)
    image = image[[0, 1, 2, 0, 4]]
    objectives = [Channel("conv2", n) + Diversity("conv2") for n in (0, 1, 2, 0)]
    aux = auxiliary_net(toy, objectives[0], batch=BATCH)
    values, _ = found_by(engine, aux, weights, image, objectives)
    plain, _ = found_by(
        engine, aux, weights, image, [Channel("conv2", n) + 0 * Diversity("conv2") for n in (0, 1, 2, 0)]
    )
    np.testing.assert_allclose((values - plain)[:4], [-1, 0, 0, -1], atol=1e-4)
    near_enough(found_by(engine, aux, weights, image, objectives, [0, 1, 2, 0])[0], values, 1e-6)
    apart, _ = found_by(engine, aux, weights, image, objectives, [0, 1, 2, 3])
    near_enough(apart, plain, 1e-6)


def test_zeros_spoil_no_product_and_no_cosine(engine: str, toy: NetParameter, image: Any) -> None:
    """A filter that is off has the value 0, and its Gram matrix none of other channels; nothing divides by it."""
    weights = random_weights(toy)
    bias = weights.layer[0].blobs[1]
    bias.data[:] = [-1e4] * len(bias.data)
    objective = Channel("relu1", 1) * (Channel("conv1", 2) + Channel("conv1", 3)) + Diversity("relu1")
    aux = auxiliary_net(toy, objective, batch=BATCH)
    values, gradient = found_by(engine, aux, weights, image, [objective] * BATCH)
    assert not values.any()
    assert not gradient.any()
    off = Channel("conv1", 1) * Channel("relu1", 1)
    values, gradient = found_by(engine, auxiliary_net(toy, off, batch=BATCH), weights, image, [off] * BATCH)
    assert not values.any()
    assert not gradient.any()


SHARED = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 2 } }
layer { name: "flat" type: "Flatten" bottom: "conv" top: "flat" }
layer { name: "square" type: "Power" bottom: "flat" top: "flat" power_param { power: 2 } }
layer { name: "exp" type: "Exp" bottom: "flat" top: "flat" exp_param { scale: 0.1 } }
layer { name: "drop" type: "Dropout" bottom: "flat" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip" inner_product_param { num_output: 3 } }
"""


def test_targets_are_what_their_own_layers_make(engine: str) -> None:
    """Though layers in place overwrite each of them in the whole net, also through a Flatten of one memory."""
    net = parse_net(SHARED)
    weights = random_weights(net)
    layers = ["conv", "flat", "square", "exp", "drop", "ip"]
    objective = sum((Layer(layer) for layer in layers[1:]), start=Layer("conv"))
    aux = auxiliary_net(net, objective, batch=2)
    image = np.random.default_rng(2).normal(size=(2, 3, 4, 5)).astype(np.float32)
    kernel, bias = (np.array(b.data) for b in weights.layer[0].blobs)
    kernel = kernel.reshape(2, 3, 2, 2)
    conv = np.stack(
        [(kernel * image[:, None, :, y : y + 2, x : x + 2]).sum((2, 3, 4)) + bias for y in range(3) for x in range(4)], -1
    )  # fmt: skip
    flat = conv.reshape(2, -1)
    ends = {
        "conv": conv,
        "flat": flat,
        "square": flat**2,
        "exp": np.exp(0.1 * flat**2),
        "drop": np.exp(0.1 * flat**2),
    }
    made = cv.load_net(aux.message, weights, engine=engine, checked=False)
    made.params[aux.image_layer][0].data[...] = image
    made.forward()
    for layer, expected in ends.items():
        near_enough(made.blobs[aux.activations[layer].name].data.reshape(expected.shape), expected, 1e-4)
    for each in [*map(Layer, layers), objective]:
        values, gradient = found_by(engine, auxiliary_net(net, each, batch=2), weights, image, [each] * 2)
        parts = [each] if isinstance(each, Layer) else [part for _, part in each.terms]
        alone = [
            found_by(engine, auxiliary_net(net, part, batch=2), weights, image, [part] * 2) for part in parts
        ]
        near_enough(values, sum(a[0] for a in alone), 1e-4)
        near_enough(gradient, sum(a[1] for a in alone), 1e-4)


def test_a_target_is_not_overwritten_through_a_flatten_of_its_memory(engine: str) -> None:
    net = parse_net(SHARED.replace('type: "Power"', 'type: "ReLU"').replace("power_param { power: 2 }", ""))
    weights, objective = random_weights(net), Layer("conv") + 0 * Layer("ip")
    both, alone = auxiliary_net(net, objective), auxiliary_net(net, Layer("conv"))
    image = np.random.default_rng(2).normal(size=(1, 3, 4, 5)).astype(np.float32)
    values, gradient = found_by(engine, both, weights, image, [objective])
    expected = found_by(engine, alone, weights, image, [Layer("conv")])
    near_enough(values, expected[0], 1e-6)
    near_enough(gradient, expected[1], 1e-6)


def test_what_several_terms_need_is_computed_once(toy: NetParameter) -> None:
    objective = (
        style("conv1", 0) * style("conv1", 1) + Diversity("conv1") * Layer("conv1") - 3 * Layer("conv1")
    )
    message = auxiliary_net(toy, objective, batch=2).message
    names = [layer.name for layer in message.layer]
    assert [names.count(name) for name in ("conv1", "gram", "squares")] == [1, 1, 1]
    assert not any(name.startswith(("gram2", "squares2")) for name in names)
    known = {
        "Input",
        "Parameter",
        "Convolution",
        "ReLU",
        "Scale",
        "Eltwise",
        "Reduction",
        "Power",
        "Reshape",
        "Tile",
    }
    assert {layer.type for layer in message.layer} <= known


def test_the_net_of_a_layer_is_that_of_its_channels(toy: NetParameter) -> None:
    for neuron, objective in ((False, Channel("conv2", 3)), (True, Neuron("conv2", 1, (0, 0)))):
        named, made = auxiliary_net(toy, "conv2", neuron=neuron), auxiliary_net(toy, objective)
        assert named.message == made.message
        assert (named.layer, named.selector, named.values) == ("conv2", "selector", "values")
        np.testing.assert_array_equal(
            named.settings([objective])["selector"], named.select([objective.channel], (0, 0))
        )


def test_the_field_is_that_of_the_layer_that_sees_most(toy: NetParameter) -> None:
    aux = auxiliary_net(toy, Channel("conv2", 0) + Channel("conv1", 0))
    assert aux.field == auxiliary_net(toy, "conv2").field
    assert aux.field is not None
    assert aux.field.size == (3, 7)


@pytest.mark.parametrize(
    ("made", "given", "words"),
    [
        (Channel("conv2", 0), Channel("conv2", 4), "filters 0 to 3, not 4"),
        (Neuron("conv2", 0), Neuron("conv2", 0, (3, 0)), r"maps of \(3, 6\); it has no neuron at \(3, 0\)"),
        (Channel("conv2", 0), Neuron("conv2", 0), "conv2:0:centre: this net has factors for whole maps"),
        (Channel("conv2", 0), Layer("conv2"), "the form 'conv2'; this net is made for 'conv2:..'"),
        (Layer("conv2"), Layer("conv2") * Layer("conv1"), "is made for 'conv2'"),
        (Direction("ip", "v.npy"), Direction("ip", "v.npy"), r"use loaded\(..\), then resolved"),
        (Direction("ip", "v.npy"), Direction("ip", np.zeros(6, np.float32)), "the vector is zero"),
        (Direction("ip", "v.npy"), Direction("ip", np.full(6, np.nan, np.float32)), "not numbers"),
        (Direction("ip", "v.npy"), Direction("ip", np.ones(5, np.float32)), r"a vector of \(6,\) is expected, not of \(5,\)"),
        (Direction("ip", "v.npy"), Direction("ip", np.ones(6), np.ones(6)), "use loaded"),
        (Content("ip", "a"), Content("ip", Named(np.ones(6, np.float32), "a")), "use loaded"),
        (Content("conv2", "a"), Content("conv2", Target(np.ones((4, 9, 9)))), r"of \(4, 3, 6\) is expected, not of \(4, 9, 9\)"),
        (Style("conv2", "a"), Style("conv2", Target(np.ones((3, 3)))), "a Gram matrix"),
    ],
)  # fmt: skip
def test_settings_refuse_what_the_net_cannot_do(
    toy: NetParameter, made: Objective, given: Objective, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        auxiliary_net(toy, made).settings([given])


def test_other_refusals(toy: NetParameter, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="2 objectives do not fit into a batch of 1"):
        auxiliary_net(toy, A_CHANNEL).settings([A_CHANNEL] * 2)
    with pytest.raises(InputError, match="1 groups for 2 objectives"):
        auxiliary_net(toy, A_CHANNEL, batch=2).settings([A_CHANNEL] * 2, [0])
    with pytest.raises(InputError, match="Did you mean 'conv2'"):
        auxiliary_net(toy, A_CHANNEL + Layer("konv2"))
    with pytest.raises(InputError, match="has no one selector"):
        auxiliary_net(toy, A_CHANNEL * A_CHANNEL).select([0])
    big = parse_net(
        NON_SQUARE.replace("dim: 5 dim: 12", "dim: 224 dim: 224").replace("num_output: 11", "num_output: 64")
    )
    words = r"layer 'conv1' need 18\.[0-9] GiB, 64 x 64 channels at 49280 places for each of 4 images; at most 2 GiB"
    with pytest.raises(InputError, match=words):
        auxiliary_net(big, Style("conv1", "a"), batch=4)
    auxiliary_net(big, Layer("conv1"), batch=4)
    monkeypatch.setattr(terms, "MOST_BYTES", 24 * 64 * 64 * 16 - 1)
    auxiliary_net(toy, Style("conv2", "a"), batch=64)
    with pytest.raises(InputError, match="16 values for each of 64 x 64 pairs of images"):
        auxiliary_net(toy, Diversity("conv2"), batch=64)


A_CHANNEL = Channel("conv2", 1)
