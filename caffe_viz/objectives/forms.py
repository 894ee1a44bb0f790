"""The form of an objective: what objectives must share so that one net can climb them at once.

A form is sums and products of slots. A slot takes any numbers, channels, vectors or targets of its kind for
its layer; factors go into the slots, and terms of a sum that fit one slot are put together in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from caffe_viz.objectives.values import (
    Channel,
    Content,
    Direction,
    Diversity,
    Layer,
    Leaf,
    Neuron,
    Objective,
    Product,
    Style,
    Sum,
)

Part = tuple[float, Leaf]  # a leaf and its factor
# Kind of slot -> how a form is written. Channels, neurons and directions are all weighted sums of values.
WRITTEN = {
    "linear": "{}:..",
    "squares": "{}",
    "content": "content({}, ..)",
    "style": "style({}, ..)",
    "diversity": "diversity({})",
}
KINDS: dict[type[Leaf], str] = {
    Channel: "linear", Neuron: "linear", Direction: "linear", Layer: "squares", Content: "content",
    Style: "style", Diversity: "diversity",
}  # fmt: skip
TOGETHER = frozenset({"linear", "squares", "diversity"})  # several in a sum are one with other numbers


@dataclass(frozen=True)
class Form:
    """A slot, or a sum or product of other forms. `str` is equal for two objectives of one form."""


@dataclass(frozen=True)
class Slot(Form):
    """`parts` are the leaves of one objective that it takes, each with its factor."""

    kind: str
    layer: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return WRITTEN[self.kind].format(self.layer)

    @property
    def single(self) -> bool:
        """Whether it has factors for single units, not only for whole maps."""
        return any(isinstance(leaf, Neuron) for _, leaf in self.parts)


@dataclass(frozen=True)
class Total(Form):
    """The sum of its parts."""

    parts: tuple[Form, ...]

    def __str__(self) -> str:
        return " + ".join(map(str, self.parts))


@dataclass(frozen=True)
class Times(Form):
    """The product of its parts."""

    parts: tuple[Form, ...]

    def __str__(self) -> str:
        return " * ".join(f"({part})" if isinstance(part, Total) else str(part) for part in self.parts)


def form_of(objective: Objective, factor: float = 1.0) -> Form:
    """Return the form of `factor` times the objective; terms and factors are sorted by their texts.

    >>> print(form_of(Channel("conv3", 16) + 0.5 * Direction("conv3", "v.npy") - Layer("conv2")))
    conv2 + conv3:..
    """
    if isinstance(objective, Leaf):
        return Slot(KINDS[type(objective)], objective.layer, ((factor, objective),))
    if isinstance(objective, Product):
        first, *others = objective.factors
        parts = [form_of(first, factor), *map(form_of, others)]
        return Times(tuple(sorted(_flat(parts, Times), key=str)))
    assert isinstance(objective, Sum)
    terms = [form_of(term, factor * own) for own, term in objective.terms]
    parts = sorted(_merged(_flat(terms, Total)), key=str)
    return parts[0] if len(parts) == 1 else Total(tuple(parts))


def slots(form: Form) -> Iterator[Slot]:
    """Return its slots from left to right."""
    if isinstance(form, Slot):
        yield form
    elif isinstance(form, Total | Times):
        for part in form.parts:
            yield from slots(part)


def _flat(parts: list[Form], kind: type[Total] | type[Times]) -> Iterator[Form]:
    for part in parts:
        if isinstance(part, kind):
            yield from part.parts
        else:
            yield part


def _merged(parts: Iterator[Form]) -> list[Form]:
    together: dict[str, Slot] = {}
    others: list[Form] = []
    for part in parts:
        if isinstance(part, Slot) and part.kind in TOGETHER:
            before = together[str(part)].parts if str(part) in together else ()
            together[str(part)] = Slot(part.kind, part.layer, before + part.parts)
        else:
            others.append(part)
    return [*together.values(), *others]
