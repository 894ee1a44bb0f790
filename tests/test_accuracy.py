"""classify, where the truth is known: folders called as classes, lists, and how right the answers are."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, ran, refused
from PIL import Image

from caffe_viz.classification import Answer, Guess
from caffe_viz.classification.accuracy import Tally
from caffe_viz.classification.ground_truth import truth_of
from caffe_viz.errors import InputError
from caffe_viz.figures.confusion import confusion_matrix
from caffe_viz.images import ImageCollection, Labels, Preprocess
from caffe_viz.netdef import NetParameter, make_blob, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.views import classify

# Scores are sums of the pixels' channels: a class for each of six colours.
COLOURS = {
    "red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}  # fmt: skip
CODES = [f"n0000000{k}" for k in range(6)]
NET = """
name: "colours"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } } }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean" pooling_param { pool: AVE global_pooling: true } }
layer { name: "score" type: "InnerProduct" bottom: "mean" top: "score" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "score" top: "prob" }
"""
TOML = 'channel_order = "RGB"\nmean = 127.5\nscale = 0.00784313725\nresize = false\n'


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A folder with a net that tells colours apart."""
    write_net(parse_net(NET), tmp_path / "deploy.prototxt")
    weights = NetParameter()
    signs = np.float32([[1 if value else -1 for value in colour] for colour in COLOURS.values()])
    weights.layer.add(name="score", blobs=[make_blob(signs), make_blob(np.zeros(6, np.float32))])
    write_weights(weights, tmp_path / "net.caffemodel")
    (tmp_path / "preprocess.toml").write_text(TOML)
    lines = [f"{code} {name}, {name} thing" for code, name in zip(CODES, COLOURS, strict=True)]
    (tmp_path / "synset_words.txt").write_text("\n".join(lines))
    return tmp_path


def network(net: Path, engine: str = "torch", **changes: Any) -> Network:
    preprocess = Preprocess.from_toml(net / "preprocess.toml")
    return Network(net / "deploy.prototxt", net / "net.caffemodel", preprocess, engine)


SHOWN = {  # by true class: what its images show
    "red": ["red", "red", "yellow"], "green": ["green", "green"], "blue": ["magenta"], "yellow": ["yellow"],
}  # fmt: skip


def images(folder: Path, names: dict[str, str] | None = None) -> Path:
    for name, colours in SHOWN.items():
        place = folder / (names or {}).get(name, name)
        place.mkdir(parents=True)
        for n, colour in enumerate(colours):
            Image.new("RGB", (5, 4), COLOURS[colour]).save(place / f"{n}.png")
    return folder


EXPECTED = {
    ("red", "red"): 2,
    ("red", "yellow"): 1,
    ("green", "green"): 2,
    ("blue", "magenta"): 1,
    ("yellow", "yellow"): 1,
}


def pairs(tally: Tally) -> dict[tuple[str, str], int]:
    return {(tally.truth.name(a), tally.truth.name(b)): n for (a, b), n in tally.pairs.items()}


@pytest.mark.parametrize(
    "kind",
    ["labels", "synonyms", "WordNet", "WordNet and name", "numbers", "archive", "list", "names listed"],
)
def test_what_was_taken_for_what(net: Path, engine: str, kind: str) -> None:
    names = {
        "labels": None, "synonyms": {name: f"{name.upper()}_thing" for name in SHOWN},
        "WordNet": dict(zip(COLOURS, CODES, strict=True)), "numbers": {name: str(n) for n, name in enumerate(COLOURS)},
        "WordNet and name": {name: f"{code}-{name}y" for name, code in zip(COLOURS, CODES, strict=True)},
    }.get(kind)  # fmt: skip
    source, root = images(net / "photos", names), None
    if kind == "archive":
        with zipfile.ZipFile(net / "a.zip", "w") as archive:
            for file in source.rglob("*.png"):
                archive.write(file, f"test/{file.relative_to(source)}")
        source = net / "a.zip" / "test"
    elif "list" in kind:
        lines = [(file.relative_to(source), file.parent.name) for file in source.rglob("*.png")]
        label = (lambda name: list(COLOURS).index(name)) if kind == "list" else lambda name: f"{name} thing"
        (net / "val.txt").write_text("".join(f"/{path} {label(name)}\n" for path, name in lines))
        source, root = net / "val.txt", net / "photos"
    found = classify(network(net, engine), source, root=root).accuracy
    assert found is not None
    tally = found.tally
    assert pairs(tally) == EXPECTED
    assert (tally.images, tally.failed, tally.top1) == (7, 0, 5 / 7)
    recall = {row["label"].split(",")[0]: (row["images"], row["recall"]) for row in tally.recall()}
    assert recall == {"red": (3, 2 / 3), "green": (2, 1), "blue": (1, 0), "yellow": (1, 1)}
    assert tally.confusion.tolist() == [
        [2, 0, 0, 1, 0],
        [0, 2, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0] * 5,
    ]
    assert sorted(tally.truth.name(m.truth) for m in tally.mistakes) == ["blue", "red"]


def test_lists_with_spaces_tabs_and_images_beside_them(net: Path) -> None:
    images(net / "my photos.d")
    (net / "val.txt").write_text(
        "\ufeffmy photos.d/red/0.png\tred thing\r\n\r\nmy photos.d/green/1.png green\r\n", encoding="utf-8"
    )
    tally = classify(network(net), net / "val.txt").accuracy.tally
    assert pairs(tally) == {("red", "red"): 1, ("green", "green"): 1}
    (net / "plain.txt").write_text("my photos.d/red/0.png\nmy photos.d/green/1.png\n")
    assert len(ImageCollection.of(net / "plain.txt")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "photos/red/0.png red\nphotos/green/1.png gren\n",
            "the label 'gren' of .*1.png is not a class of 'prob'. Did you mean 'green'",
        ),
        ("photos/red/0.png 0\nphotos/green/1.png 6\n", "the label '6' of"),
        ("photos/red/0.png 0\nphotos/green/1.png\n", "1.png has no label in its list"),
        ("red/0.png 0\n", "line 1: there is no image .*: give the folder of the paths with --root"),
        ("\nphotos/red/0.png 0\nred\n", "val.txt, line 3: 'red' is not the path"),
        ("\n", "holds no images"),
    ],
)
def test_wrong_lists(net: Path, text: str, words: str) -> None:
    images(net / "photos")
    (net / "val.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        classify(network(net), net / "val.txt")


def test_other_folders_are_no_truth(net: Path) -> None:
    """A doubt is said where most are called as classes."""

    def doubt(*names: str) -> str | None:
        collection = ImageCollection((*(entry._replace(file=net / name / "0.png") for name in names),))
        truth, said = truth_of(whole, whole.heads, collection)
        return said if truth is None else None

    whole = network(net)
    entry = ImageCollection.of(images(net / "photos") / "red").entries[0]
    assert doubt("red") == doubt("holiday", "party") == doubt("red", "a", "b") == ""
    assert doubt("red", "green") is None
    assert "2 of 3 folders are named after classes, but 'gren' is not. Did you mean 'green'" in (
        doubt("red", "blue", "gren") or ""
    )
    assert "two folders are named after the same class" in (doubt("red", "red thing", "blue") or "")
    whole = Network(net / "deploy.prototxt", preprocess=Preprocess(labels=("a",)))
    assert doubt("0", "5") is None
    assert "The classes have no labels: 0 to 5 are expected" in (doubt("0", "6") or "")


def command(net: Path, source: Path, out: Path, *more: object) -> list[object]:
    """The words of `classify` for the images of a folder."""
    files = (net / "deploy.prototxt", net / "net.caffemodel")
    return ["classify", *files, "--images", source, "-o", out, *more]


def test_the_command_writes_all(net: Path) -> None:
    source, out = images(net / "photos"), net / "out"
    (source / "red" / "bad.png").write_bytes(b"damaged")
    run = command(net, source, out)
    code, said, warned = ran(*run)
    assert code == 0
    assert (
        "truth: the folders; 7 images of 4 classes, 1 skipped\ntop-1 accuracy: 0.7143\ntop-5 accuracy: "
        in said
    )
    assert warned.count("skipped: ") == 1
    rows = list(csv.reader((out / "confusion.csv").open()))
    assert rows[:2] == [
        ["truth \\ answer", "red", "green", "blue", "yellow", "magenta"],
        ["red", "2", "0", "0", "1", "0"],
    ]
    classes = list(csv.DictReader((out / "classes.csv").open()))
    assert [(row["label"], row["recall"], row["most often taken for"]) for row in classes][2] == (
        "blue, blue thing",
        "0.0",
        "magenta (1)",
    )
    mistakes = list(csv.DictReader((out / "mistakes.csv").open()))
    assert {(row["truth"], row["answer"]) for row in mistakes} == {("red", "yellow"), ("blue", "magenta")}
    assert [line for line in said.splitlines() if line.endswith((".csv", ".png"))] == [
        str(out / name)
        for name in ("confusion.csv", "classes.csv", "mistakes.csv", "confusion.png", "mistakes.png")
    ]
    sheet = np.asarray(Image.open(out / "mistakes.png").convert("RGB"))
    assert {COLOURS["yellow"], COLOURS["magenta"]} <= set(map(tuple, sheet.reshape(-1, 3).tolist()))
    made = json.loads(here(*run, "--json"))["accuracy"]
    assert (made["top1"], made["images"], made["failed"]) == (5 / 7, 7, 1)
    assert made["confusion"]["classes"] == [0, 1, 2, 3, 5]
    (source / "rde").mkdir()
    Image.new("RGB", (4, 4)).save(source / "rde" / "0.png")
    code, said, warned = ran(*run[:-2])
    assert "'rde' is not. Did you mean 'red'" in warned
    assert "0.png" in said
    assert "accuracy" not in said


def test_ctrl_c_keeps_what_was_counted(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from caffe_viz.classification import Classifier

    source, answers = images(net / "photos"), Classifier.__iter__

    def interrupted(self: Classifier) -> Any:
        for number, answer in enumerate(answers(self)):
            if number == 3:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(Classifier, "__iter__", interrupted)
    run = command(net, source, net / "out", "--engine", "torch")
    code, said, warned = ran(*run)
    assert code == 130
    assert "3 images of 2 classes" in said
    assert "interrupted after 3 images" in warned
    assert (net / "out" / "confusion.csv").exists()


def test_nothing_that_can_be_read_is_an_error(net: Path) -> None:
    for name in ("red", "green"):
        (net / "photos" / name).mkdir(parents=True)
        (net / "photos" / name / "0.png").write_bytes(b"damaged")
    assert "0.png" in refused(
        "classify",
        net / "deploy.prototxt",
        net / "net.caffemodel",
        "--images",
        net / "photos",
        "-o",
        net / "out",
    )
    assert not (net / "out").exists()


def test_one_sigmoid_unit_has_two_classes(net: Path, engine: str) -> None:
    """Above one half is the second, where two labels or the folders 0 and 1 say so."""
    message = parse_net(NET.replace("num_output: 6", "num_output: 1").replace("Softmax", "Sigmoid"))
    weights = NetParameter()
    weights.layer.add(
        name="score", blobs=[make_blob(np.float32([[3, 0, 0]])), make_blob(np.zeros(1, np.float32))]
    )
    source = images(
        net / "photos", {"red": "reddish", "green": "other", "blue": "other/deep", "yellow": "reddish/x"}
    )
    for folder in ("other/deep", "reddish/x"):
        for file in (source / folder).iterdir():
            file.rename(source / folder.split("/")[0] / f"{folder[-1]}.png")
    preprocess = Preprocess("RGB", 127.5, 2 / 255, None, ("other", "reddish"))
    found = classify(Network(message, weights, preprocess, engine), source).accuracy
    assert found is not None
    assert pairs(found.tally) == {("reddish", "reddish"): 4, ("other", "other"): 2, ("other", "reddish"): 1}
    assert found.tally.top5 is None


def test_the_tally_by_hand() -> None:
    """Against loops over 500 random answers, of 12 classes; only the surest mistakes are kept."""
    rng = np.random.default_rng(0)
    head = network_of_classes(12).heads[0]
    scores, truth = rng.random((500, 12)), rng.integers(0, 12, 500)
    tally = Tally(truth_with(head, truth))
    for n, row in enumerate(scores):
        best = np.argsort(-row)[:5]
        tally.add(n, Answer(f"{n}", {head.answer: tuple(Guess(int(k), "", float(row[k])) for k in best)}))
    right = scores.argmax(1) == truth
    assert tally.top1 == right.mean()
    assert tally.top5 == np.mean([t in np.argsort(-row)[:5] for t, row in zip(truth, scores, strict=True)])
    for a in range(12):
        for b in range(12):
            assert tally.confusion[a, b] == sum((truth == a) & (scores.argmax(1) == b))
    wrong = np.flatnonzero(~right)
    surest = wrong[np.argsort(-scores[wrong].max(1))][:36]
    assert [m.number for m in tally.mistakes] == surest.tolist()


def network_of_classes(count: int) -> Network:
    return Network(parse_net(NET.replace("num_output: 6", f"num_output: {count}")))


def truth_with(head: Any, classes: np.ndarray) -> Any:
    from caffe_viz.classification.ground_truth import GroundTruth

    return GroundTruth(head, Labels(), classes, "the test")


def test_the_picture_of_a_confusion_matrix() -> None:
    few, many = (
        confusion_matrix(np.eye(3) * 7, list("abc"), "t"),
        confusion_matrix(np.eye(90), [str(k) for k in range(90)]),
    )
    assert few.shape[0] < many.shape[0]
    dark = [np.mean(picture.rgb[..., 2] > picture.rgb[..., 0] + 0.2) for picture in (few, many)]
    assert dark[0] > 0.1 > dark[1] > 0  # a third, and a ninetieth, of the matrix, and the bar beside it
    for counts, names in ((np.eye(3), ["a"]), (np.ones((2, 3)), ["a", "b"]), (np.empty((0, 0)), [])):
        with pytest.raises(InputError, match="a confusion matrix of shape"):
            confusion_matrix(counts, names)


def test_top_of_a_class_and_of_one_filter(net: Path) -> None:
    source = images(net / "photos")
    run = [
        "top",
        net / "deploy.prototxt",
        net / "net.caffemodel",
        "--images",
        source,
        "-o",
        net / "out",
        "--engine",
        "torch",
    ]
    for unit in ("blue thing", "prob:2", "score:2", "n00000002"):
        found = json.loads(here(*run, "--layer", unit, "--json"))
        assert (found["layer"], [one["filter"] for one in found["filters"]]) == ("score", [2])
        assert found["filters"][0]["places"][0]["image"].endswith("blue/0.png")
    assert "as mean:0" in refused(*run, "--layer", "mean:0:0,0")
    assert "no class 'bleu'. Did you mean 'blue'" in refused(*run, "--layer", "bleu")
