"""Names of classes: every format in which they come, wrong files, and finding a class by a name."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from caffe_viz.errors import InputError
from caffe_viz.images import Labels, Preprocess, labels_beside, read_labels

LINES = "tench, Tinca tinca\ngoldfish\n"
SSD = """
item { name: "none_of_the_above" label: 0 display_name: "background" }
item {
  name: "aeroplane"  # with a comment
  label: 1
  display_name: 'aero"plane'
}
"""
TENSORFLOW = 'item { id: 1 name: "/m/01g317" display_name: "person" }\nitem: { id: 3, name: "car" }'


def read(tmp_path: Path, content: str | bytes) -> Labels:
    file = tmp_path / "labels"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(file)


@pytest.mark.parametrize(
    ("content", "names", "codes"),
    [
        (LINES, ("tench, Tinca tinca", "goldfish"), ("", "")),
        ("\ufeff" + LINES.replace("\n", "\r\n") + "\r\n \r\n", ("tench, Tinca tinca", "goldfish"), ("", "")),
        (LINES.replace("\n", "\r"), ("tench, Tinca tinca", "goldfish"), ("", "")),
        ("caf\xe9\nb".encode("latin-1"), ("caf\xe9", "b"), ("", "")),
        ("a\nb".encode("utf-16"), ("a", "b"), ("", "")),
        ("a\n\nc\n", ("a", "", "c"), ("", "", "")),  # class 1 has no name
        ("\nb\n", ("", "b"), ("", "")),
        ("n01440764 tench, Tinca tinca\nn01443537 goldfish", ("tench, Tinca tinca", "goldfish"), ("n01440764", "n01443537")),
        ("n01440764\nn01443537\n", ("n01440764", "n01443537"), ("n01440764", "n01443537")),
        ("0 cat\n1 dog", ("cat", "dog"), ("", "")),
        ("1: cat\n2: dog", ("", "cat", "dog"), ("", "", "")),
        ("1 euro\n2 euro\n5 euro", ("1 euro", "2 euro", "5 euro"), ("", "", "")),  # no numbers of classes
        ("[unclear]\nb", ("[unclear]", "b"), ("", "")),
        ('["a", "b"]', ("a", "b"), ("", "")),
        ('{"1": "b", "0": "a"}', ("a", "b"), ("", "")),
        ('{"0": ["n01440764", "tench"], "1": ["n01514668", "great_cock"]}', ("tench", "great cock"), ("n01440764", "n01514668")),
        ('{"b": 1, "a": 0}', ("a", "b"), ("", "")),
        ('{"7": 0, "8": 1}', ("7", "8"), ("", "")),  # digits as names
        (SSD, ("background", 'aero"plane'), ("none_of_the_above", "aeroplane")),
        (TENSORFLOW, ("", "person", "", "car"), ("", "/m/01g317", "", "")),
    ],
)  # fmt: skip
def test_formats(
    tmp_path: Path, content: str | bytes, names: tuple[str, ...], codes: tuple[str, ...]
) -> None:
    found = read(tmp_path, content)
    assert (found, found.codes) == (names, codes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", " holds no class names"),
        ("\n \n", " holds no class names"),
        (b"\x89PNG\0\0", " is not a text file"),
        ("n01440764 tench\ngoldfish", ", line 2: 'goldfish' has no WordNet number"),
        ('["a",\n 3]', ", line 2: 3 is no name"),
        ('{"0": "a",\n"0": "b"}', ", line 2: number 0 is that of 'a' and 'b'"),
        ('{"a": 0,\n"b": 0}', ", line 2: number 0 is that of"),
        ('{"0": "a",\n"b": "c"}', ", line 2: 'b' is no number"),
        ('{"a": -1}', ", line 1: 'a' has the number -1"),
        ('{"a": 99999999}', "line 1: 'a' has the number"),
        ('{"0": "a",\n', ", line 2: no JSON"),
        ("[" * 100_000, "too deep"),
        ('item { name: "a" }', ", line 1: an item needs its number"),
        ("item { label: 1 }", ", line 1: an item needs its name"),
        ('item { name: "a" label: x }', "not x"),
        ('item { name: "a" label: 1 }\nitem { name: "b" label: 1 }', ", line 2: number 1 is that of"),
        ('item { name: "a"\nlabel: 1', ", line 1: item { is not ended"),
        ('item { name: "a" label: 1 }\n}', ", line 2: '}' ends nothing"),
        ('item { name: "a" label: 1 }\nlayer { }', ", line 2: item { .. } after item"),
        ('item { name: "a label: 1 }', "has no place in a label map"),
    ],
)
def test_wrong_files_are_one_line_with_the_place(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, content)
    assert words in str(caught.value)
    assert str(tmp_path / "labels") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing cannot be read"):
        read_labels(tmp_path / "nothing")


def test_numbers_that_are_told_are_right(tmp_path: Path) -> None:
    """A map from 1 on is of a net with a background, or, without a class 0, of one without."""
    found = read(tmp_path, TENSORFLOW)
    assert found.of(4) == ("", "person", "", "car")
    assert found.of(3) == ("person", "", "car")
    assert found.of(3).find("car") == [2]
    assert found.of(3).codes == ("/m/01g317", "", "")
    assert found.of(5) == found.of(2) == ()
    listed = read(tmp_path, "\nperson\n")
    assert listed.of(1) == ()  # nobody has told numbers there


NAMES = Labels(
    ["golden retriever", "Labrador retriever", "pug, pug-dog", "hen-of-the-woods", "crane", "crane"],
    ["n02099601", "n02099712", "n02110958", "n13044778", "n02012849", "n03126707"],
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("pug", [2]), ("PUG-DOG", [2]), ("pug, pug-dog", [2]), ("n02110958", [2]), ("golden_retriever", [0]),
     ("golden  retriever ", [0]), ("crane", [4, 5]), ("n03126707", [5]), ("retriever", []), ("", [])],
)  # fmt: skip
def test_classes_by_any_name(text: str, numbers: list[int]) -> None:
    assert NAMES.find(text) == numbers


@pytest.mark.parametrize(
    ("text", "first"),
    [("golden retreiver", "golden retriever"), ("retreiver", "Labrador retriever"), ("woods", "hen-of-the-woods"),
     ("n02110985", "n02110958"), ("pugdog", "pug-dog"), ("labrador", "Labrador retriever")],
)  # fmt: skip
def test_near_names_come_in_order_of_likeness(text: str, first: str) -> None:
    assert NAMES.near(text)[0] == first
    assert NAMES.near("xyzzy") == []


def test_labels_are_kept_whole() -> None:
    copy = pickle.loads(pickle.dumps(NAMES))
    assert (copy, copy.codes, copy.find("pug")) == (NAMES, NAMES.codes, [2])
    assert Preprocess(labels=("a", "b")).labels.of(2) == ("a", "b")


def test_preprocess_toml_names_a_file_or_one_for_each_answer(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\ny\n")
    (tmp_path / "b.json").write_text(json.dumps({"0": "p", "1": "q"}))
    toml = tmp_path / "preprocess.toml"
    toml.write_text('labels = "b.json"')
    assert Preprocess.from_toml(toml).labels == ("p", "q")
    toml.write_text('labels = { age = "a.txt", sex = "b.json" }')
    found = Preprocess.from_toml(toml).labels
    assert (found, found.heads) == ((), {"age": ("x", "y"), "sex": ("p", "q")})
    for wrong, words in (
        ("3", "the name of a file"),
        ("{ age = 3 }", "the name of a file"),
        ('"c"', "no file"),
    ):
        toml.write_text(f"labels = {wrong}")
        with pytest.raises(InputError, match=f"labels = .*{words}"):
            Preprocess.from_toml(toml)


def test_a_file_of_a_usual_name_that_fits_is_taken(tmp_path: Path) -> None:
    assert labels_beside(tmp_path, [2]) == ()
    (tmp_path / "synset_words.txt").write_text("n01440764 tench\nno number\n")  # wrong, and not asked for
    (tmp_path / "labels.txt").write_text("a\nb\n")
    (tmp_path / "labels.json").write_text('["a", "b", "c"]')
    assert labels_beside(tmp_path, [2]) == ("a", "b")
    assert labels_beside(tmp_path, [7, 3]) == ("a", "b", "c")
    assert labels_beside(tmp_path, [3]).source == str(tmp_path / "labels.json")
    assert labels_beside(tmp_path, []) == ()
