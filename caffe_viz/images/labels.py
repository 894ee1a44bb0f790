"""Names of classes, found by any of their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

ALIKE = 0.6  # of a name and what is asked for, from 0 to 1, for it to be offered


class Labels(tuple[str, ...]):
    """The names of the classes, by number; "" is none. `codes` are their WordNet numbers, or the like.

    `heads` has those of answers that have labels of their own, by the name of a layer or blob. Of `numbered`
    ones, whose numbers are told, a class 0 without a name may be none of the net's. `source` is the file.
    """

    codes: tuple[str, ...]
    heads: Mapping[str, Labels]
    numbered: bool
    source: str

    def __new__(
        cls,
        names: Iterable[str] = (),
        codes: Sequence[str] = (),
        heads: Mapping[str, Labels] | None = None,
        numbered: bool = False,
        source: str = "",
    ) -> Labels:
        made = super().__new__(cls, names)
        made.codes, made.heads, made.numbered = tuple(codes) or ("",) * len(made), heads or {}, numbered
        made.source = source
        return made

    def of(self, count: int) -> Labels:
        """The labels of an answer with `count` classes; none where they do not fit."""
        if len(self) == count:
            return self
        return self.but_first if self.numbered and len(self) == count + 1 and not self[0] else Labels()

    @property
    def but_first(self) -> Labels:
        """Without class 0."""
        return Labels(self[1:], self.codes[1:], source=self.source)

    def with_heads(self, heads: Mapping[str, Labels]) -> Labels:
        """These, and those of answers that have labels of their own."""
        return Labels(self, self.codes, heads, self.numbered, self.source)

    def called(self, number: int) -> list[str]:
        """All names of a class: the whole label, each of its synonyms, its code."""
        parts = self[number].split(",")
        return list(dict.fromkeys(filter(None, [self[number], *map(str.strip, parts), self.codes[number]])))

    def find(self, text: str) -> list[int]:
        """The classes with this name; capitals, and underscores for spaces, do not matter."""
        return self._numbers.get(folded(text), [])

    def near(self, text: str, most: int = 5) -> list[str]:
        """The names that are most like `text`, or have a part that is, the likest first."""
        given = folded(text)
        known = {name: None for number in range(len(self)) for name in self.called(number)}
        alike = sorted((-_likeness(given, folded(name)), name) for name in known)
        return [name for likeness, name in alike[:most] if -likeness >= ALIKE]

    @cached_property
    def _numbers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number in range(len(self)):
            for name in dict.fromkeys(map(folded, self.called(number))):
                found.setdefault(name, []).append(number)
        return found


def folded(text: str) -> str:
    """As names are compared."""
    return " ".join(text.replace("_", " ").lower().split())


def _likeness(given: str, name: str) -> float:
    """From 0 to 1: of the whole name, or a little less for a part of it."""
    matcher = difflib.SequenceMatcher(b=given)

    def ratio(text: str) -> float:
        matcher.set_seq1(text)
        return matcher.ratio() if matcher.real_quick_ratio() >= ALIKE else 0.0

    words = name.replace("-", " ").split()
    inside = 0.9 if len(given) > 2 and given in name else 0.0
    parts = max(map(ratio, words), default=0.0) * 0.95 if len(words) > 1 else 0.0
    return max(ratio(name), inside, parts)
