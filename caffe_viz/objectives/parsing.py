"""The text of an objective as a value.

    sum      = product {(" + " | " - ") product}
    product  = ["-"] factor {"*" ["-"] factor}
    factor   = NUMBER | "(" sum ")" | LAYER [":" CHANNEL [":" (Y "," X | "centre")]]
             | [HEAD ":"] LABEL
             | "direction(" LAYER "," (VECTOR.npy | IMAGE "," IMAGE) ")" | "diversity(" LAYER ")"
             | ("content(" | "style(") LAYER "," IMAGE ")"

Known names come first, the longest of them: `conv-1` is a layer where the net has it. The channels of a head,
an answer of the net, are its classes. Names of layers, labels and files may be in quotes, and must be where
they contain brackets, `*` or `:`, or + or - between spaces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from caffe_viz.errors import InputError, near
from caffe_viz.objectives.values import (
    Channel,
    Content,
    Direction,
    Diversity,
    Layer,
    Neuron,
    Objective,
    Style,
)
from caffe_viz.objectives.writing import CENTRE

# Name -> what makes it, the fewest and most files behind the layer, how it is written.
FUNCTIONS: Mapping[str, tuple[Callable[..., Objective], int, int, str]] = {
    "content": (Content, 1, 1, "content(LAYER, IMAGE)"),
    "direction": (Direction, 1, 2, "direction(LAYER, VECTOR.npy) or direction(LAYER, IMAGE, IMAGE)"),
    "diversity": (Diversity, 0, 0, "diversity(LAYER)"),
    "style": (Style, 1, 1, "style(LAYER, IMAGE)"),
}
DEEPEST = 50  # brackets within brackets: no one writes more, and Python's own stack ends
SPACE = re.compile(r"\s*")
NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
FACTOR = re.compile(NUMBER.pattern + r"(?=\s*\*)")
CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
QUOTED = re.compile(r"\"((?:[^\"]|\"\")*)\"|'((?:[^']|'')*)'")
OPERATOR = re.compile(r"\s+([+-])\s+")
WORD = re.compile(r"[^\s:*()\"',]+")
INDEX = re.compile(r":([^\s:*()+,-]*)")
PLACE = re.compile(r":([^\s:*()+-]*)")
ARGUMENT = re.compile(r"[^,()\"']*")
AMBIGUOUS = re.compile(r"[*():\"]|\s[+-]\s|^['+-]")
WHOLE = re.compile(r"[0-9]{1,9}")
MORE_OF_A_NAME = re.compile(r"[\w./-]")
EXAMPLES = "a term such as conv3:16, conv3:16:centre, conv3, content(conv3, cat.png), or a label of a class"

Unit = Channel | Neuron


@dataclass(frozen=True)
class Names:
    """What a word may mean: a layer; by `classes` (lower case) the units of the classes of that name; or by
    `heads` an answer of the net, whose classes have these units.
    """

    layers: Sequence[str]
    classes: Mapping[str, Sequence[Unit]] = field(default_factory=dict)
    heads: Mapping[str, Sequence[Unit]] = field(default_factory=dict)

    def longest(self, text: str, start: int) -> str:
        """Return the longest known name at `start` that ends a word, or ""."""
        lower = text.lower()
        found = [n for n in (*self.layers, *self.heads) if text.startswith(n, start)]
        found += [n for n in self.classes if lower.startswith(n, start)]
        usable = (n for n in found if n and not AMBIGUOUS.search(n) and not _goes_on(text, start + len(n)))
        return max(usable, key=len, default="")

    def near(self, word: str) -> str:
        """End an error about a word: near matches, or all names."""
        return near(word, [*self.layers, *self.heads, *self.classes])


def parse(text: str, names: Names) -> Objective:
    """Parse an objective for a net with these `names`; photographs and vectors stay paths.

    Case does not matter in class names.

    >>> parse("conv3:16 - 0.5*cat", Names(["conv3", "fc8"], {"cat": [Channel("fc8", 1)]}))
    Sum(terms=((1.0, Channel(layer='conv3', channel=16)), (-0.5, Channel(layer='fc8', channel=1))))

    Raises:
        InputError: Where in the text what is wrong, what is expected there, and near matches.
    """
    reader = _Reader(text, names)
    found = reader.sum(0)
    if reader.at < len(text):
        reader.fail("+, -, * or the end")
    return found


class _Reader:
    """The text and how far it is read."""

    def __init__(self, text: str, names: Names) -> None:
        self.text, self.names, self.at = text, names, 0

    def fail(self, expected: str, note: str = "", at: int | None = None) -> NoReturn:
        at = self.at if at is None else at
        found = f"{self.text[at : at + 20]!r}" if at < len(self.text) else "the end"
        raise InputError(
            f"objective {self.text!r}, character {at + 1}: {expected} expected, not {found}.{note}"
        )

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def next_is(self, character: str) -> bool:
        """Whether the next character except spaces is this one; it is then read."""
        end = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches nothing too
        self.at = end + 1 if self.text.startswith(character, end) else self.at
        return self.text.startswith(character, end)

    def sum(self, depth: int) -> Objective:
        if depth > DEEPEST:
            self.fail(f"at most {DEEPEST} brackets within brackets")
        found = self.product(depth)
        while operator := self.take(OPERATOR):
            term = self.product(depth)
            found = found + term if operator[1] == "+" else found - term
        self.take(SPACE)
        if self.text[self.at : self.at + 1] in ("+", "-"):
            self.fail("a space on both sides of + and -")
        return found

    def product(self, depth: int) -> Objective:
        """Signs and numbers among the factors are of the whole product."""
        start, number, found = self.at, 1.0, None
        while True:
            while self.next_is("-"):
                number = -number
            factor = self.factor(depth)
            if isinstance(factor, Objective):
                found = factor if found is None else found * factor
            else:
                number *= factor
            if not self.next_is("*"):
                break
        if found is None:
            self.fail("a number times an objective, such as 2*conv3:16,", at=start)
        return number * found

    def factor(self, depth: int) -> float | Objective:
        self.take(SPACE)
        if number := self.take(FACTOR):
            return self.number(number)
        if self.next_is("("):
            found = self.sum(depth + 1)
            self.need(")")
            return found
        if call := self.take(CALL):
            return self.call(call)
        return self.term()

    def number(self, found: re.Match[str]) -> float:
        number = float(found[0])
        if not math.isfinite(number):
            self.fail("a finite number", at=found.start())
        return number

    def need(self, character: str) -> None:
        if not self.next_is(character):
            self.fail(f"{character!r}")

    def call(self, found: re.Match[str]) -> Objective:
        if found[1] not in FUNCTIONS:
            note = f"{near(found[1], FUNCTIONS)} Names with brackets need quotes."
            self.fail(f"a function, one of {', '.join(FUNCTIONS)},", note, found.start())
        make, fewest, most, written = FUNCTIONS[found[1]]
        self.take(SPACE)
        start, given = self.at, [self.argument(written)]
        while self.next_is(","):
            given.append(self.argument(written))
        self.need(")")
        layer, *files = given
        if layer not in self.names.layers:
            self.fail("a layer", near(layer, self.names.layers), start)
        if not fewest <= len(files) <= most or (most == 2 and len(files) == 1 and not _vector(files[0])):
            self.fail(written, at=found.start())
        return make(layer, *files)

    def argument(self, written: str) -> str:
        self.take(SPACE)
        if quoted := self.take(QUOTED):
            return _unquoted(quoted)
        start, found = self.at, self.take(ARGUMENT)
        if not found or not found[0].strip():
            self.fail(f"the next part of {written}", at=start)
        return found[0].strip()

    def term(self) -> float | Objective:
        start = self.at
        if quoted := self.take(QUOTED):
            name = _unquoted(quoted)
        else:
            name = self.names.longest(self.text, start)
            self.at += len(name)
        if name and (name in self.names.layers or name in self.names.heads):
            return self.of_layer(name)
        if name.lower() in self.names.classes:
            return self.of_class(name.lower(), start)
        if number := self.take(NUMBER):
            return self.number(number)
        word = name or (WORD.match(self.text, start) or [""])[0]
        expected = "the name of a layer or a label" if word else EXAMPLES
        note = self.names.near(word) if word else ""
        note += " Put spaces around + and - between two terms." if re.search(r"\w[+-]", word) else ""
        self.fail(expected, note, start)

    def of_layer(self, layer: str) -> Objective:
        if not self.text.startswith(":", self.at) and layer in self.names.layers:
            return Layer(layer)
        unit = self.unit_of(layer)
        place = self.take(PLACE)
        if not place:
            return unit
        if self.text.startswith(":", self.at):
            note = " A list of filters, such as 0:160:10, is not an objective."
            self.fail("the end of LAYER:CHANNEL:Y,X", note)
        if place[1] == CENTRE:
            return Neuron(unit.layer, unit.channel)
        position = place[1].split(",")
        if not all(map(WHOLE.fullmatch, position)):
            self.fail(f"Y,X in the map or {CENTRE!r}", at=place.start(1))
        return Neuron(unit.layer, unit.channel, tuple(map(int, position)))

    def unit_of(self, layer: str) -> Unit:
        """What follows the name of a layer or a head: the number of a channel, or a class."""
        head = self.names.heads.get(layer)
        start = self.at + self.text.startswith(":", self.at)
        label = self.names.longest(self.text, start).lower() if head is not None else ""
        if head is not None and label in self.names.classes:
            self.at = start + len(label)
            return self.of_class(label, start, head)
        index = self.take(INDEX)
        if not index or not WHOLE.fullmatch(index[1]):
            self.fail(f"the number of a channel of {layer!r}", at=start)
        number = int(index[1])
        if head is None:
            return Channel(layer, number)
        if number >= len(head):
            self.fail(f"a class of {layer!r}, 0 to {len(head) - 1},", at=start)
        return head[number]

    def of_class(self, label: str, start: int, head: Sequence[Unit] | None = None) -> Unit:
        found = [unit for unit in self.names.classes[label] if head is None or unit in head]
        if len(found) != 1:
            units = " or ".join(map(str, found[:4]))
            what = f"{label!r} is that of {len(found)}{': write ' if units else ''}{units}"
            self.fail(f"the label of one class ({what})", at=start)
        if self.text.startswith(":", self.at):
            self.fail(f"nothing after {label!r}, which is a class and has no channels,")
        return found[0]


def _goes_on(text: str, end: int) -> bool:
    """Whether a word continues after `end`, so that it is another name."""
    return bool(MORE_OF_A_NAME.match(text, end)) and bool(MORE_OF_A_NAME.match(text, end - 1))


def _unquoted(found: re.Match[str]) -> str:
    mark = found[0][0]
    return found[0][1:-1].replace(2 * mark, mark)


def _vector(path: str) -> bool:
    return path.lower().endswith(".npy")
