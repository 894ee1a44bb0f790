"""What can be asked of a network, and who answers: one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from caffe_viz.server.asked import Asked
from caffe_viz.server.messages import Answer, Step
from caffe_viz.server.questions.bench import Bench

__all__ = ["QUESTIONS", "Bench", "Question"]


@dataclass(frozen=True)
class Question:
    """How to ask and how to answer it.

    `answer` is an iterator where it takes long; the last Step has the Answer. Such questions are `patient`,
    and may be left for others between two steps; those in the `background` wait until nothing else is asked.
    """

    asked: type[Asked]
    answer: Callable[[Bench, Any], Answer | Iterator[Step]]
    patient: bool = False
    background: bool = False


QUESTIONS: Mapping[str, Question] = {}
