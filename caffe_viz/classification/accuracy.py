"""Count how many answers are right, image by image."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from caffe_viz.classification import Answer, Guess
from caffe_viz.classification.ground_truth import GroundTruth

TOP = 5
KEPT = 36  # of the most confident mistakes


class Mistake(NamedTuple):
    """A wrong answer with its `value`, for the image of this number in the collection."""

    value: float
    number: int
    image: str
    truth: int
    guess: int


@dataclass
class Tally:
    """Counts how often each class was taken for which, and the most confident mistakes.

    The memory does not depend on the number of images.
    """

    truth: GroundTruth
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    within: Counter[int] = field(default_factory=Counter)  # by class: those that are among the likeliest 5
    failed: int = 0
    _surest: list[tuple[float, int, Mistake]] = field(default_factory=list)

    def add(self, number: int, answer: Answer) -> None:
        """Count the answer for an image, by its number."""
        if answer.failed:
            self.failed += 1
            return
        right = int(self.truth.classes[number])
        guesses = self._guesses(answer.heads[self.truth.head.answer])
        best = guesses[0]
        self.pairs[right, best.number] += 1
        self.within[right] += any(guess.number == right for guess in guesses[:TOP])
        if best.number != right:
            mistake = Mistake(best.value, number, answer.image, right, best.number)
            push = heapq.heappush if len(self._surest) < KEPT else heapq.heappushpop
            push(self._surest, (best.value, -number, mistake))

    @property
    def images(self) -> int:
        """The number of images that were answered."""
        return sum(self.pairs.values())

    @property
    def top1(self) -> float:
        """The share of right answers."""
        return sum(n for (right, guess), n in self.pairs.items() if right == guess) / max(self.images, 1)

    @property
    def top5(self) -> float | None:
        """The share of images whose class is among the five most likely; None if there are only five."""
        return sum(self.within.values()) / max(self.images, 1) if self.truth.count > TOP else None

    @property
    def classes(self) -> list[int]:
        """The classes that are true or were answered for some image."""
        return sorted({number for pair in self.pairs for number in pair})

    @property
    def confusion(self) -> NDArray[np.int64]:
        """The number of images by true class and by answer, (c, c) over `classes`."""
        places = {number: place for place, number in enumerate(self.classes)}
        out = np.zeros((len(places), len(places)), np.int64)
        for (right, guess), count in self.pairs.items():
            out[places[right], places[guess]] = count
        return out

    @property
    def mistakes(self) -> Sequence[Mistake]:
        """The most confident mistakes, in this order."""
        return [mistake for _, _, mistake in sorted(self._surest, reverse=True)]

    def recall(self) -> list[dict[str, Any]]:
        """For each true class: number, label, images, and the shares that are right, and in the top five."""
        out, counts = [], Counter[int]()
        for (right, _), n in self.pairs.items():
            counts[right] += n
        for number, count in sorted(counts.items()):
            row = {
                "class": number, "label": self.truth.names[number] if self.truth.names else "",
                "images": count, "recall": self.pairs[number, number] / count,
            }  # fmt: skip
            out.append(row if self.top5 is None else row | {"top 5": self.within[number] / count})
        return out

    def _guesses(self, guesses: Sequence[Guess]) -> Sequence[Guess]:
        """Treat the one unit of a sigmoid as two classes."""
        if not self.truth.head.single:
            return guesses
        chance = float(self.truth.head.probabilities(np.array([[guesses[0].value]], np.float32))[0, 0])
        both = [Guess(1, self.truth.name(1), chance), Guess(0, self.truth.name(0), 1 - chance)]
        return both if chance >= 0.5 else both[::-1]
