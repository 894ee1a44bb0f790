"""Attributions of many images by several methods, each image by itself, so that any process can do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from caffe_viz.attribution import attributing
from caffe_viz.attribution.cost import PASSES
from caffe_viz.attribution.job import Settings
from caffe_viz.attribution.queries import (
    NamedImage,
    NetQueries,
    QueryProgress,
    QueryResults,
    collected,
    looked_at,
    told,
)
from caffe_viz.attribution.results import Attribution
from caffe_viz.attribution.table import METHODS, may_not_fit, need_method
from caffe_viz.attribution.targets import find_targets
from caffe_viz.errors import InputError
from caffe_viz.probe import Probe


@dataclass(frozen=True)
class Explain:
    """Explain `targets` in one image by some methods; results are an Attribution for each (number, method).

    For a method that need not fit the net (`lenient`), the result may be the reason why not, as text.
    """

    number: int
    image: NamedImage
    targets: tuple[int | str, ...]
    methods: tuple[str, ...]
    layer: str | None
    settings: Settings | None
    lenient: bool

    def answers(self, probe: Probe) -> Iterator[QueryProgress | QueryResults]:
        pixels, pictures = self.image.pixels(probe)[None], None
        for method in self.methods:
            key, names = (self.number, method), [self.image.name]
            work = attributing(
                probe, pixels, self.targets, method, self.layer, names=names, settings=self.settings
            )
            try:
                made = yield from told(key, work)
            except InputError as error:
                if not (self.lenient and may_not_fit(method, self.layer)):
                    raise
                yield QueryResults({key: str(error)})
                continue
            if made is None:
                return
            pictures = made.pictures if pictures is None else pictures  # one array, so that it travels once
            yield QueryResults({key: replace(made, pictures=pictures)})

    def __str__(self) -> str:
        return f"{', '.join(self.methods)} of {self.image.name}"


def explained(
    asking: NetQueries,
    images: Sequence[NamedImage],
    targets: Sequence[int | str] | None = None,
    methods: Sequence[str] | None = None,
    layer: str | None = None,
    *,
    settings: Settings | None = None,
    cluster: Any = None,
    on_progress: Callable[[float], None] = lambda share: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> tuple[tuple[Attribution, ...], tuple[tuple[str, str], ...]]:
    """Return an Attribution for each method, like `attribute`, and the methods that do not fit, with reasons.

    None takes all methods that fit the net. Every image is explained by itself, so its maps depend neither on
    other images nor on where it is done: in this process, or by the workers of a `cluster`, a dask client.
    `on_progress` is told the share that is done, `on_note` when a worker has died.

    Raises:
        InputError: An image that cannot be used, no such method, target or layer, or a named method does not
            fit the net.
    """
    lenient = methods is None
    chosen = list(METHODS if methods is None else dict.fromkeys(methods))
    for method in chosen:
        need_method(method)
    if targets is not None:
        find_targets(asking.probe, targets)
    steps = 1 + len(chosen)  # of each image: to look at it, and each method
    with asking.run(cluster) as run:
        wanted = looked_at(run, images, targets, lambda share: on_progress(share / steps), on_note)
        questions = (
            Explain(
                number=n,
                image=image,
                targets=tuple(wanted[n]),
                methods=some,
                layer=layer,
                settings=settings,
                lenient=lenient,
            )
            for n, image in enumerate(images)
            for some in _apart(chosen)
        )
        found = collected(
            run, questions, len(images) * len(chosen),
            lambda share: on_progress((1 + share * len(chosen)) / steps), on_note,
        )  # fmt: skip
    attributions, refused = list[Attribution](), list[tuple[str, str]]()
    for method in chosen:
        made = [found[n, method] for n in range(len(images))]
        reasons = [one for one in made if isinstance(one, str)]
        if reasons:
            refused.append((method, reasons[0]))
        else:
            attributions.append(Attribution.joined(made))
    return tuple(attributions), tuple(refused)


def _apart(methods: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Methods that take few passes together, each other one by itself."""
    few = tuple(method for method in methods if method not in PASSES)
    if few:
        yield few
    yield from ((method,) for method in methods if method in PASSES)
