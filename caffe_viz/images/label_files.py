"""Read class names from files in the usual formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caffe_viz.errors import InputError
from caffe_viz.images.labels import Labels

WORDNET = re.compile(r"(n[0-9]{8})(?:\s+(.*))?")  # synset_words.txt: "n02110958 pug, pug-dog"
NUMBERED = re.compile(r"([0-9]{1,7})(?:\s*[:,\t]\s*|\s+)(\S.*)")  # "0 airplane", "0: airplane"
LABEL_MAP = re.compile(r"(?:\s|#[^\n]*\n)*item\s*:?\s*\{")
# A label map's text: a comment, a text in quotes, a name or number, a sign.
TOKEN = re.compile(r"#[^\n]*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[\w.+-]+|[{}:;,]|\s+|(?P<wrong>.)")
MOST = 10**6  # classes: a larger number is a mistake
USUAL = (
    "synset_words.txt",
    "labels.txt",
    "labels.json",
    "labelmap.prototxt",
    "label_map.pbtxt",
    "synsets.txt",
)


class Class(NamedTuple):
    """A class in a file: its line, its number if the file tells it, its names."""

    line: int
    number: int | None
    name: str
    code: str = ""  # a second name: the WordNet number, or that by which a label map calls it


def read_labels(path: str | Path) -> Labels:
    """Read labels: one name per line, with or without WordNet numbers; JSON; or a protobuf label map.

    Raises:
        InputError: The file cannot be read, or is none of these; names the line.
    """
    path = Path(path)
    text = _text(path)
    for fits, read in FORMATS:
        if fits(text):
            try:
                return _collected(list(read(text)), str(path))
            except _Wrong as wrong:
                where = f", line {wrong.line}" if wrong.line else ""
                raise InputError(f"{path}{where}: {wrong}.") from None
    raise InputError(f"{path} holds no class names: expected one per line.")


def labels_beside(folder: Path, counts: Iterable[int]) -> Labels:
    """Return the labels in a file of a usual name in `folder` whose number is among `counts`, or none."""
    for name in USUAL:
        try:
            found = read_labels(folder / name) if (folder / name).is_file() else Labels()
        except InputError:  # it was not asked for
            continue
        if any(found.of(count) for count in counts):
            return found
    return Labels()


class _Wrong(Exception):
    """What is wrong in a line."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.line = line


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is not a text file: expected one class name per line.")
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:  # old files of labels are in Latin-1, which has a letter for every byte
        text = data.decode("latin-1")
    return re.sub(r"\r\n?", "\n", text)


def _collected(found: Sequence[Class], source: str) -> Labels:
    """Sort classes by their numbers, or keep the order of the file if they have none."""
    if not any(one.number is not None for one in found):
        return Labels([one.name for one in found], [one.code for one in found], source=source)
    by_number: dict[int, Class] = {}
    for one in found:
        number = -1 if one.number is None else one.number
        if not 0 <= number < MOST:
            raise _Wrong(f"{one.name!r} has the number {one.number}: 0 or more is expected", one.line)
        if number in by_number:
            raise _Wrong(f"number {number} is that of {by_number[number].name!r} and {one.name!r}", one.line)
        by_number[number] = one
    none = Class(0, None, "")
    rows = [by_number.get(number, none) for number in range(max(by_number) + 1)]
    return Labels([one.name for one in rows], [one.code for one in rows], None, True, source)


def _lines(text: str) -> Iterator[Class]:
    """Parse one name per line: all with WordNet numbers, all numbered consecutively, or none numbered."""
    lines = [line.strip() for line in text.rstrip().split("\n")]
    for pattern, make in ((WORDNET, _with_code), (NUMBERED, _with_number)):
        found = [pattern.fullmatch(line) for line in lines]
        if pattern is WORDNET and found[0] and not all(found):
            line = found.index(None)
            raise _Wrong(f"{lines[line][:40]!r} has no WordNet number, as n02110958, as the first", line + 1)
        if all(found):
            made = [make(n, one) for n, one in enumerate(found, 1) if one]
            numbers = [one.number for one in made if one.number is not None]
            if not numbers or (
                numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] < 2
            ):
                yield from made
                return
    yield from (Class(n, None, line) for n, line in enumerate(lines, 1))


def _with_code(line: int, found: re.Match[str]) -> Class:
    return Class(line, None, (found[2] or found[1]).strip(), found[1])


def _with_number(line: int, found: re.Match[str]) -> Class:
    return Class(line, int(found[1]), found[2].strip())


def _json(text: str) -> Iterator[Class]:
    """Parse a list of names, names by number, or numbers by name; a name may be [WordNet number, name]."""
    try:
        made = json.loads(text, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        raise _Wrong(f"no JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise _Wrong("lists within lists, too deep") from None
    at = -1
    for one in made:
        key, value = one if isinstance(made, _pairs) else (None, one)
        at = max(at, text.find(json.dumps(value if key is None else key, ensure_ascii=False), at + 1))
        line = text.count("\n", 0, at) + 1
        if key is None:
            yield _named(line, None, value)
        else:
            yield _named(line, int(value), key) if _whole(value) else _named(line, _number(key, line), value)


class _pairs(list[Any]):  # a hook of json, called as a function
    """The contents of braces, with keys that occur twice."""


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(key: str, line: int) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", key):
        raise _Wrong(f'{key[:40]!r} is no number of a class, and has none: {{"0": "name"}} is expected', line)
    return int(key)


def _named(line: int, number: int | None, value: Any) -> Class:
    if isinstance(value, str):
        return Class(line, number, " ".join(value.split()))
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value):
        return Class(line, number, value[1].replace("_", " "), value[0])  # imagenet_class_index.json of Keras
    raise _Wrong(f"{str(value)[:40]} is no name of a class", line)


def _label_map(text: str) -> Iterator[Class]:
    """`item { name label display_name }` of SSD's Caffe, `item { id name display_name }` of TensorFlow's."""
    item: dict[str, str] | None = None
    begun, key = 0, ""
    for line, token in _tokens(text):
        if token == "{":
            if key.rstrip(":") != "item" or item is not None:
                raise _Wrong("item { .. } after item { .. } is expected", line)
            item, begun, key = {}, line, ""
        elif token == "}":
            if item is None:
                raise _Wrong("'}' ends nothing", line)
            yield _item(item, begun)
            item, key = None, ""
        elif token == ":" and key:
            key += ":"
        elif item is not None and key.endswith(":"):
            item[key[:-1]], key = token, ""
        elif token not in (";", ","):
            key = token
    if item is not None:
        raise _Wrong("item { is not ended by }", begun)


def _item(item: Mapping[str, str], line: int) -> Class:
    number = item.get("label", item.get("id", ""))
    if not re.fullmatch(r"[0-9]{1,7}", number):
        raise _Wrong(
            f"an item needs its number, as label: 3 or id: 3{f', not {number}' if number else ''}", line
        )
    name = item.get("name", "")
    shown = item.get("display_name", name)
    if not shown:
        raise _Wrong("an item needs its name", line)
    return Class(line, int(number), shown, name if name != shown else "")


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """(line, token), without spaces, comments and quotes."""
    line = 1
    for found in TOKEN.finditer(text):
        token = found[0]
        if found["wrong"]:
            raise _Wrong(f"{token!r} has no place in a label map", line)
        if token[0] in "\"'":
            yield line, re.sub(r"\\(.)", r"\1", token[1:-1])
        elif not token.isspace() and token[0] != "#":
            yield line, token
        line += token.count("\n")


# Whether a text is in a format, and what reads it; the first that fits does.
FORMATS: tuple[tuple[Callable[[str], Any], Callable[[str], Iterator[Class]]], ...] = (
    (re.compile(r"\s*(?:\{|\[\s*[\[\]{\"0-9])").match, _json),
    (LABEL_MAP.match, _label_map),
    (str.strip, _lines),
)
