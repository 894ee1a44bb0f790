"""Class names, which can be found by any of their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

ALIKE = 0.6  # of a name and what is asked for, from 0 to 1, for it to be offered


class Labels(tuple[str, ...]):
    """The names of the classes by number; "" means no name. `codes` are WordNet numbers or the like.

    `heads` maps layers or blobs to the labels of answers that have their own. If the file told the numbers
    (`numbered`), a class 0 without a name may not belong to the net. `source` is the file.
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
        """Return the labels for an answer with `count` classes, or none if they do not fit."""
        if len(self) == count:
            return self
        return self.but_first if self.numbered and len(self) == count + 1 and not self[0] else Labels()

    @property
    def but_first(self) -> Labels:
        """Return them without class 0."""
        return Labels(self[1:], self.codes[1:], source=self.source)

    def with_heads(self, heads: Mapping[str, Labels]) -> Labels:
        """Return them together with the labels of other answers."""
        return Labels(self, self.codes, heads, self.numbered, self.source)

    def called(self, number: int) -> list[str]:
        """Return all names of a class: the whole label, each of its synonyms, its code."""
        parts = self[number].split(",")
        return list(dict.fromkeys(filter(None, [self[number], *map(str.strip, parts), self.codes[number]])))

    def find(self, text: str) -> list[int]:
        """Return the classes with this name, ignoring case and underscores."""
        return self._numbers.get(folded(text), [])

    def near(self, text: str, most: int = 5) -> list[str]:
        """Return the names most similar to `text`, or with a similar part, best first."""
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
    """Return the form in which names are compared."""
    return " ".join(text.replace("_", " ").lower().split())


def _likeness(given: str, name: str) -> float:
    """Similarity from 0 to 1: of the whole name, or a little less for a part of it."""
    matcher = difflib.SequenceMatcher(b=given)

    def ratio(text: str) -> float:
        matcher.set_seq1(text)
        return matcher.ratio() if matcher.real_quick_ratio() >= ALIKE else 0.0

    words = name.replace("-", " ").split()
    inside = 0.9 if len(given) > 2 and given in name else 0.0
    parts = max(map(ratio, words), default=0.0) * 0.95 if len(words) > 1 else 0.0
    return max(ratio(name), inside, parts)
