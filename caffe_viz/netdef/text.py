"""Parse protobuf's text format as a tree of fields with their positions, whatever their names.

Only what is needed to find fields that a schema does not know: a malformed text gives the fields up to the
error, and protobuf's own parser then reports it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.text_format import ParseError

from caffe_viz.netdef.forks import PER_AXIS

TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<mark>[{}<>\[\]:,;])|(?P<word>\$\{\w*\}|\$\#\w+\#\$|[^\s{}<>\[\]:,;#"']+)|(?P<error>.)""",
    re.DOTALL,
)
CLOSING = {"{": "}", "<": ">", "[": "]"}
LABEL_REPEATED = 3  # of descriptor.proto
DEEPEST = 100  # messages in each other, after which protobuf's parser in real Caffe stops too
PLACEHOLDER = "$"  # with which the values of templates begin: $#batch_size#$, ${CLASSES}


@dataclass(frozen=True)
class Element:
    """One field of a text: `name`, and either the `values` (tokens) of a scalar or the `parts` of a message.

    `start` and `end` are positions in the text, from the name to the separator after the value; `line` counts
    from 1. A list ``[a, b]`` of scalars is one element with several values; one of messages has a `part` per
    message.
    """

    name: str
    start: int
    end: int
    line: int
    values: tuple[str, ...] = ()
    parts: tuple[tuple[Element, ...], ...] = ()
    is_list: bool = False

    @property
    def is_placeholder(self) -> bool:
        """Whether this is a placeholder of a template, which its program would fill in."""
        return self.values[:1] != () and self.values[0].startswith(PLACEHOLDER)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


class _Broken(Exception):
    """The text is not well formed here."""


def elements(text: str) -> tuple[Element, ...]:
    """Return the fields of `text`; if it is malformed, those before the error, also within a message.

    Raises:
        ParseError: Messages are nested more deeply than real Caffe reads.
    """
    _need_shallow(text)
    return _Reader(text).elements("")


def _need_shallow(text: str) -> None:
    """Raises ParseError where messages nest too deep; all that reads them further recurses."""
    depth = 0
    for match in TOKEN.finditer(text):
        depth += (match[0] in ("{", "<")) - (match[0] in ("}", ">"))
        if depth > DEEPEST:
            line, before = text.count("\n", 0, match.start()) + 1, text.rfind("\n", 0, match.start())
            raise ParseError(f"messages are nested more than {DEEPEST} deep", line, match.start() - before)


def strangers(fields: tuple[Element, ...], schema: Any) -> Iterator[Element]:
    """Return the elements for which `schema`, a descriptor, has no field or value, without their parts."""
    per_axis = Counter[str]()
    for field in fields:
        known = schema.fields_by_name.get(field.name)
        per_axis[field.name] += f"{schema.name}.{field.name}" in PER_AXIS
        if known is None or not _fits(field, known) or per_axis[field.name] > 1:
            yield field
        elif known.message_type is not None:
            for part in field.parts:
                yield from strangers(part, known.message_type)


def _fits(field: Element, known: Any) -> bool:
    """Whether an element is of the kind of a field: message or scalar, list or not, a value of its enum."""
    if (known.message_type is None) == bool(field.parts):
        return False
    if field.is_placeholder or (field.is_list and not is_repeated(known)):
        return False
    if known.enum_type is None:
        return True
    names, numbers = known.enum_type.values_by_name, known.enum_type.values_by_number
    # A value in quotes is a mistake in syntax, which the parser explains.
    return all(
        value in names or value[0] in "\"'" or (value.lstrip("-").isdecimal() and int(value) in numbers)
        for value in field.values
    )


def is_repeated(field: Any) -> bool:
    """Whether a field may occur more than once; protobuf 7 no longer has `label`, 4 has no `is_repeated`."""
    return bool(getattr(field, "is_repeated", None) or getattr(field, "label", None) == LABEL_REPEATED)


class _Reader:
    """Reads elements one after the other; `now` is the next token, `broken` that the text has ended early."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = (
            _Token(str(match.lastgroup), match[0], match.start(), match.end())
            for match in TOKEN.finditer(text)
            if match.lastgroup != "skip"
        )
        self._place, self._line = 0, 1
        self.broken = False
        self.now: _Token | None = next(self._tokens, None)

    def elements(self, close: str) -> tuple[Element, ...]:
        """The elements from here to the mark `close`, which is left, or to the end."""
        found = []
        try:
            while not self.broken and self.now is not None and self.now.text != close:
                found.append(self.element())
        except _Broken:
            self.broken = True
        return tuple(found)

    def element(self) -> Element:
        """The element that begins here."""
        name = self._take("word")
        line = self._line_of(name.start)
        colon = self._accept(":")
        opening = self.now.text if self.now is not None and self.now.kind == "mark" else ""
        values: tuple[str, ...] = ()
        parts: tuple[tuple[Element, ...], ...] = ()
        end = name.end
        if opening in ("{", "<"):
            part, end = self._message()
            parts = (part,)
        elif colon and opening == "[":
            values, parts, end = self._list()
        elif colon:
            values, end = self._scalar()
        else:
            raise _Broken
        end = self._accept(",") or self._accept(";") or end
        return Element(
            name=name.text,
            start=name.start,
            end=end,
            line=line,
            values=values,
            parts=parts,
            is_list=opening == "[",
        )

    def _message(self) -> tuple[tuple[Element, ...], int]:
        close = CLOSING[self._take("mark").text]
        inside = self.elements(close)
        return inside, inside[-1].end if self.broken and inside else self._take("mark", close).end

    def _list(self) -> tuple[tuple[str, ...], tuple[tuple[Element, ...], ...], int]:
        self._take("mark", "[")
        values: list[str] = []
        parts = []
        while self.now is not None and self.now.text != "]":
            if self.now.text in ("{", "<"):
                parts.append(self._message()[0])
            else:
                values += self._scalar()[0]
            if not self._accept(","):
                break
        return tuple(values), tuple(parts), self._take("mark", "]").end

    def _scalar(self) -> tuple[tuple[str, ...], int]:
        """One word, or strings beside each other, which are one."""
        if self.now is not None and self.now.kind == "string":
            found = [self._take("string")]
            while self.now is not None and self.now.kind == "string":
                found.append(self._take("string"))
            return ("".join(token.text for token in found),), found[-1].end
        token = self._take("word")
        if token.text == "-":  # the sign may stand apart
            number = self._take("word")
            return ("-" + number.text,), number.end
        return (token.text,), token.end

    def _accept(self, mark: str) -> int:
        """Where the next token ends, if it is `mark`, which is passed; else 0."""
        token = self.now
        if token is None or token.kind != "mark" or token.text != mark:
            return 0
        self.now = next(self._tokens, None)
        return token.end

    def _take(self, kind: str, text: str | None = None) -> _Token:
        token = self.now
        if token is None or token.kind != kind or (text is not None and token.text != text):
            raise _Broken
        self.now = next(self._tokens, None)
        return token

    def _line_of(self, place: int) -> int:
        self._line += self._text.count("\n", self._place, place)
        self._place = place
        return self._line
