"""Which score is the class: before a Softmax or Sigmoid, of several answers, by any name; on both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import here, refused

from caffe_viz.answers import Head
from caffe_viz.attribution.targets import find_target, likeliest_class
from caffe_viz.errors import InputError
from caffe_viz.images import Labels, Preprocess
from caffe_viz.netdef import NetParameter, make_blob, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.objectives import Channel, Neuron
from caffe_viz.probe import Probe
from caffe_viz.units import names_of, read_unit
from caffe_viz.views import classify, show_attribution, show_gradients
from caffe_viz.views.objectives import read_objective

PIXELS = 6
INPUT = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: {PIXELS} }} }} }}'
LABEL = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 1 } } }'
LABELS = LABEL.replace("dim: 1", "dim: 1 dim: 4")


def linear(name: str, count: int, bottom: str = "x") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" '
        f"inner_product_param {{ num_output: {count} }} }}"
    )


def layer(kind: str, bottoms: str, tops: str, more: str = "", name: str = "") -> str:
    wires = [f'bottom: "{x}"' for x in bottoms.split()] + [f'top: "{x}"' for x in tops.split()]
    return f'layer {{ name: "{name or kind.lower()}" type: "{kind}" {" ".join(wires)} {more} }}'


SLICED = layer("Slice", "fc", "age sex", "slice_param { slice_point: 3 }")
# Kind of net -> its layers, and for each answer its blob and the units that have the scores.
FOUR = [f"ip:{k}" for k in range(4)]
NETS = {
    "no softmax": (linear("ip", 4), {"ip": FOUR}),
    "softmax": (linear("ip", 4) + layer("Softmax", "ip", "prob"), {"prob": FOUR}),
    "softmax in place": (linear("ip", 4) + layer("Softmax", "ip", "ip"), {"ip": FOUR}),
    "sigmoid": (linear("ip", 4) + layer("Sigmoid", "ip", "out"), {"out": FOUR}),
    "sigmoid in place": (linear("ip", 4) + layer("Sigmoid", "ip", "ip"), {"ip": FOUR}),
    "one sigmoid unit": (linear("ip", 1) + layer("Sigmoid", "ip", "out"), {"out": ["ip:0"]}),
    "relu before": (
        linear("ip", 4) + layer("ReLU", "ip", "ip") + layer("Softmax", "ip", "prob"),
        {"prob": [f"relu:{k}" for k in range(4)]},
    ),
    "dropout, flatten, log behind": (
        linear("ip", 4) + layer("Softmax", "ip", "a") + layer("Dropout", "a", "a") + layer("Log", "a", "b")
        + layer("Flatten", "b", "c"), {"c": FOUR},
    ),
    "reshape behind": (
        linear("ip", 4) + layer("Softmax", "ip", "p")
        + layer("Reshape", "p", "r", "reshape_param { shape { dim: 0 dim: -1 dim: 1 dim: 1 } }"), {"r": FOUR},
    ),
    "pairs, flattened": (
        linear("ip", 4) + layer("Reshape", "ip", "r", "reshape_param { shape { dim: 0 dim: 2 dim: 2 } }")
        + layer("Softmax", "r", "s", "softmax_param { axis: 2 }") + layer("Flatten", "s", "f"),
        {"f": ["reshape:0:0", "reshape:0:1", "reshape:1:0", "reshape:1:1"]},
    ),
    "heads joined": (
        linear("a", 1) + linear("b", 3) + layer("Sigmoid", "a", "sa", name="sa")
        + layer("Sigmoid", "b", "sb", name="sb") + layer("Concat", "sb sa", "c"), {"c": ["b:0", "b:1", "b:2", "a:0"]},
    ),
    "scores sliced": (
        linear("fc", 5) + SLICED + layer("Softmax", "age", "pa", name="pa") + layer("Softmax", "sex", "ps", name="ps"),
        {"ps": ["fc:3", "fc:4"], "pa": ["fc:0", "fc:1", "fc:2"]},
    ),
    "two heads, one a sigmoid": (
        linear("a", 3) + linear("b", 1) + layer("Sigmoid", "b", "yes") + layer("Softmax", "a", "kind"),
        {"kind": ["a:0", "a:1", "a:2"], "yes": ["b:0"]},
    ),
    "loss of a softmax": (linear("ip", 4) + LABEL + layer("SoftmaxWithLoss", "ip label", "loss"), {"ip": FOUR}),
    "loss of a sigmoid": (
        linear("ip", 4) + LABELS + layer("SigmoidCrossEntropyLoss", "ip label", "loss"), {"ip": FOUR}
    ),
    "judged": (
        linear("ip", 4) + LABEL + layer("Softmax", "ip", "prob") + layer("Accuracy", "prob label", "right")
        + layer("ArgMax", "prob", "best"), {"prob": FOUR},
    ),
    "softmax within": (linear("ip", 4) + layer("Softmax", "ip", "p") + linear("fc", 2, "p"), {"fc": ["fc:0", "fc:1"]}),
}  # fmt: skip
RUNNING = [name for name in NETS if not name.startswith(("loss", "judged"))]


def weights_of(message: NetParameter) -> NetParameter:
    """Of linear layers: large, so that what squashes them is certain."""
    rng, out = np.random.default_rng(3), NetParameter()
    for one in message.layer:
        if one.type == "InnerProduct":
            inputs = 4 if one.bottom[0] == "p" else PIXELS
            blobs = [
                rng.normal(size=(one.inner_product_param.num_output, inputs)) * 40,
                np.zeros(one.inner_product_param.num_output),
            ]
            out.layer.add(name=one.name, blobs=[make_blob(np.float32(blob)) for blob in blobs])
    return out


def network(name: str, engine: str, labels: Labels | tuple[str, ...] = ()) -> Network:
    message = parse_net(INPUT + NETS[name][0])
    return Network(message, weights_of(message), Preprocess(labels=labels), engine)


IMAGE = np.random.default_rng(5).normal(size=PIXELS).astype(np.float32)


@pytest.mark.parametrize("name", NETS)
def test_scores_of_each_class(name: str) -> None:
    found = {head.answer: [str(unit) for unit in head] for head in network(name, "torch").heads}
    assert found == NETS[name][1]
    assert next(iter(found)) == next(iter(NETS[name][1]))  # which is meant where nothing is said


@pytest.mark.parametrize("name", RUNNING)
def test_gradients_do_not_end_where_the_answer_is_certain(name: str, engine: str) -> None:
    """The gradient of each class's score is the row of its weights, by both commands and by objectives."""
    net = network(name, engine)
    for head in net.heads:
        for number in {0, len(head) - 1}:
            unit = head[number]
            if "relu" in unit.layer or name == "softmax within":
                continue
            target = f"{head.answer}:{number}"
            source = "fc" if name == "scores sliced" else "ip" if name == "pairs, flattened" else unit.layer
            row = [2 * unit.channel + unit.position[0] if isinstance(unit, Neuron) else unit.channel][0]
            matrix = next(one for one in net.trained.layer if one.name == source).blobs[0]
            wanted = np.reshape(np.array(matrix.data), (-1, PIXELS))[row]
            found = show_attribution(net, IMAGE, target, "gradient").attributions[0]
            np.testing.assert_allclose(found.values[0].ravel(), wanted, rtol=1e-4)
            np.testing.assert_allclose(found.scores[0], wanted @ IMAGE, rtol=1e-4)
            blobs = show_gradients(net, IMAGE, target).blobs
            np.testing.assert_allclose(blobs["x"].ravel(), wanted, rtol=1e-4)
            assert read_objective(net, target) == unit


def test_of_certain_answers_the_largest_score_is_the_likeliest(engine: str) -> None:
    """Sigmoids of scores far above 0 are all 1, so that only the scores tell which is more."""
    net = network("sigmoid", engine)
    matrix = np.reshape(net.trained.layer[0].blobs[0].data, (4, PIXELS))
    image = np.linalg.lstsq(matrix, [50, 90, -9, 70], rcond=None)[0].astype(np.float32)
    assert likeliest_class(Probe(net), image).number == 1
    assert show_attribution(net, image, None, "gradient").attributions[0].targets == ("ip 1",)
    assert show_gradients(net, image).target == "ip 1"
    joined = network("heads joined", engine)
    assert show_gradients(joined, IMAGE).target == str(likeliest_class(Probe(joined), IMAGE))


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """The image as a file."""
    np.save(tmp_path / "x.npy", IMAGE)
    return tmp_path / "x.npy"


def values(net: Network, name: str) -> np.ndarray:
    return (
        np.reshape(next(x for x in net.trained.layer if x.name == name).blobs[0].data, (-1, PIXELS)) @ IMAGE
    )


def test_one_sigmoid_unit_is_the_second_of_two_labels(engine: str, array: Path) -> None:
    net = network("one sigmoid unit", engine, ("not", "yes"))
    (answer,) = classify(net, array).answers
    assert [(g.number, g.label) for g in answer.guesses] == [(0, "yes")]
    assert answer.guesses[0].value == pytest.approx(1 / (1 + np.exp(-values(net, "ip")[0])), rel=1e-5)
    for target in ("yes", 0, "out:yes"):
        assert str(find_target(Probe(net), target)) == "ip 0 yes"
    with pytest.raises(InputError, match="no layer or class 'not'"):
        read_unit(net, "not")
    assert (
        classify(network("one sigmoid unit", engine, ("alone",)), array).answers[0].guesses[0].label
        == "alone"
    )


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()


def test_every_head_has_its_answer(engine: str, array: Path) -> None:
    """Labels are of the head that they fit, or of the one that they are said to be of."""
    sexes, ages = Labels(("male", "female")), Labels(("young", "grown", "old"))
    net = network("scores sliced", engine, sexes)
    found = classify(net, array).answers[0].heads
    scores = values(net, "fc")
    for head, part, labels in (("pa", scores[:3], ("", "", "")), ("ps", scores[3:], sexes)):
        chances = softmax(part)
        assert {g.number: g.value for g in found[head]} == pytest.approx(dict(enumerate(chances)), abs=1e-6)
        assert all(g.label == labels[g.number] for g in found[head])
    both = network("scores sliced", engine, Labels(heads={"ps": sexes, "age": ages}))
    best = int(scores[:3].argmax())
    assert classify(both, array).answers[0].heads["pa"][0].label == ages[best]
    assert read_unit(both, "old").what == read_unit(both, "age:old").what == read_unit(both, "pa:2").what
    assert read_objective(both, "old - ps:female") == Channel("fc", 2) - Channel("fc", 4)
    assert read_unit(both, "fc:2").label == "old"
    assert [str(unit) for unit in names_of(both).classes["male"]] == ["fc:3"]
    with pytest.raises(InputError, match=r"labels of 'sax': the net has no such answer\. Did you mean 'sex'"):
        classify(network("scores sliced", engine, Labels(heads={"sax": sexes})), array)
    with pytest.raises(InputError, match="labels of 'sex': 3 for 2 classes"):
        classify(network("scores sliced", engine, Labels(heads={"sex": ages})), array)


def test_labels_that_fit_two_heads_are_of_none(array: Path) -> None:
    text = (
        INPUT
        + linear("a", 2)
        + linear("b", 2)
        + layer("Softmax", "a", "pa", name="pa")
        + layer("Softmax", "b", "pb", name="pb")
    )
    message = parse_net(text)
    net = Network(message, weights_of(message), Preprocess(labels=("one", "two")), "torch")
    assert {g.label for answers in classify(net, array).answers[0].heads.values() for g in answers} == {""}
    net = Network(
        message,
        weights_of(message),
        Preprocess(labels=Labels(heads={"pa": Labels("xy"), "pb": Labels("yz")})),
        "torch",
    )
    with pytest.raises(InputError, match="is the label of pb:0 or pa:1: give one"):
        read_unit(net, "y")
    assert read_unit(net, "pb:y").what == Channel("b", 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A net of two heads as files, with labels of each."""
    message = parse_net(INPUT + NETS["scores sliced"][0])
    write_net(message, tmp_path / "deploy.prototxt")
    write_weights(weights_of(message), tmp_path / "net.caffemodel")
    (tmp_path / "ages.txt").write_text("n00000001 young, new\nn00000002 grown\nn00000003 old, aged one\n")
    (tmp_path / "sexes.json").write_text('{"0": "male", "1": "female"}')
    np.save(tmp_path / "x.npy", IMAGE)
    return tmp_path


def test_the_commands(folder: Path) -> None:
    run = [folder / "deploy.prototxt", folder / "net.caffemodel", "--image", folder / "x.npy"]
    labels = ["--labels", f"pa={folder / 'ages.txt'}", "--labels", f"ps={folder / 'sexes.json'}"]
    said = here("classify", *run, *labels)
    assert "values: probabilities of ps and pa" in said
    assert [line for line in said.splitlines() if line.endswith(":")] == ["ps:", "pa:"]
    for target, unit in (
        ("female", "fc 4 female"),
        ("n00000003", "fc 2 old, aged one"),
        ("aged one", "fc 2 old"),
        ("pa:1", "fc 1 grown"),
    ):
        made = here(
            "attribute", *run, *labels, "--target", target, "--method", "gradient", "-o", folder / "out"
        )
        assert unit in made
    assert "gradient of fc 2 old" in here("gradient", *run, *labels, "--target", "OLD", "-o", folder / "out")
    assert "gradient of fc " in here("gradient", *run, "--target", "fc", "-o", folder / "out")
    said = refused("attribute", *run, *labels, "--target", "femal", "-o", folder / "out")
    assert "no class 'femal'. Did you mean 'female' or 'male'?" in said
    said = refused("gradient", *run, *labels, "--target", "agedone", "-o", folder / "out")
    assert "Did you mean 'aged one'" in said
    two = ["--labels", folder / "ages.txt", "--labels", folder / "sexes.json"]
    assert "HEAD=FILE says of which answer" in refused("classify", *run, *two)


def test_labels_beside_the_prototxt_are_taken_where_they_fit(folder: Path) -> None:
    (folder / "sexes.json").rename(folder / "labels.json")
    (folder / "labels.txt").write_text("a\nb\nc\nd\n")  # as many as no answer has
    net = Network(folder / "deploy.prototxt", folder / "net.caffemodel", engine="torch")
    found = classify(net, folder / "x.npy")
    assert found.preprocessing.endswith(f"; labels: {folder / 'labels.json'}")
    assert {g.label for g in found.answers[0].heads["ps"]} == {"male", "female"}


def test_a_head_is_one_of_a_net_without_answers() -> None:
    """A net of an input alone has that one."""
    net = Network(parse_net(INPUT), engine="torch")
    assert [head.answer for head in net.heads] == ["x"]
    assert isinstance(net.heads[0], Head)


@pytest.mark.parametrize(
    ("name", "answer", "unit"),
    [
        ("no softmax", lambda scores: scores, "scores"),
        ("softmax", softmax, "probabilities"),
        ("sigmoid", lambda scores: 1 / (1 + np.exp(-scores)), "probabilities"),
        ("dropout, flatten, log behind", lambda scores: np.log(softmax(scores)), "log probabilities"),
        ("loss of a sigmoid", lambda scores: scores, "scores"),
        ("loss of a softmax", lambda scores: scores, "scores"),
    ],
)
def test_probabilities_of_an_answer(name: str, answer: Callable[[np.ndarray], np.ndarray], unit: str) -> None:
    """As curves of deletion take them: of scores, what the loss would make of them, or a softmax."""
    head, scores = network(name, "torch").heads[0], np.float32([1, -2, 0.5, 0])
    assert (head.values, head.probable) == (unit, True)
    wanted = 1 / (1 + np.exp(-scores)) if "sigmoid" in name else softmax(scores)
    np.testing.assert_allclose(head.probabilities(np.float32(answer(scores))[None])[0], wanted, rtol=1e-5)
    maps = np.float32(answer(scores))[None, :, None, None] * np.ones((1, 1, 2, 3), np.float32)
    np.testing.assert_allclose(head.probabilities(maps)[0], wanted, rtol=1e-5)
