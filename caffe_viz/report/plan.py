"""Decide which parts a report has, and in which order they are made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from caffe_viz.attribution import METHODS, PASSES, SteppedRun
from caffe_viz.backend import chosen
from caffe_viz.errors import InputError
from caffe_viz.geometry import LayerGeometry
from caffe_viz.report import parts
from caffe_viz.report.context import ReportContext
from caffe_viz.report.part_cache import PartCache, PartResult
from caffe_viz.report.part_requests import AscentRequest, AttributionRequest, PartRequest

CLIMBED = frozenset({"Convolution", "Deconvolution", "InnerProduct"})  # layers that have filters
FILTERS = 8  # that one part maximises
SMALL = 5e10  # multiply-adds of an ascent that this process has done before others have started
FIRST = 4  # layers whose filters are maximised before the slow attributions

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """One thing to make: its `key`, its name, the function that makes it, and how long that may take.

    `request` describes it for a worker, if workers can make it. `took` tells it how many seconds it took.
    """

    key: str
    title: str
    make: Callable[[], PartResult]
    seconds: Callable[[], float] = lambda: 0.0
    request: Callable[[], PartRequest] | None = None
    took: Callable[[float], None] = lambda seconds: None


@dataclass
class Pace:
    """How fast an ascent is, as far as known: on all cores of this machine, or on one worker."""

    start: float  # seconds that its processes take to begin
    macs_per_second: float = 1e10
    _macs: float = field(default=0.0, repr=False)
    _seconds: float = field(default=0.0, repr=False)

    def climbed(self, macs: float, seconds: float, start: float) -> None:
        """Learn from an ascent that took so long, with `start` seconds until its processes had begun."""
        self._macs += macs
        self._seconds += max(seconds - start, 0.1)
        self.macs_per_second = self._macs / self._seconds


class Plan:
    """The parts of `context`: those that every report has, and those that are made if there is time.

    Among the latter, those of the layer `first` come first. With a `cluster`, workers make them one by one,
    which takes equally long however many workers there are.
    """

    def __init__(
        self,
        context: ReportContext,
        cache: PartCache,
        late: Callable[[], bool],
        first: str = "",
        cluster: Any = None,
    ) -> None:
        self.context, self.cache, self._late = context, cache, late
        self._first, self._cluster = first, cluster
        self._pace = Pace(start=2.0 if cluster is None else 0.0)
        self._macs: dict[int, int] = {}  # of an ascent, by layer

    def needed(self) -> Iterator[Part]:
        """The parts that take seconds."""
        context = self.context
        yield Part("structure", "structure", partial(parts.structure, context))
        if context.record is not None:
            yield Part("training", "training", partial(parts.training, context))
        if context.runs:
            for layer in context.layers:
                if layer.param_shapes:
                    yield Part(
                        f"{layer_key(layer)}-weights",
                        f"weights of {layer.name}",
                        partial(parts.weights, context, layer),
                    )
        for number in range(len(context.images)):
            yield from self._of_image(number)

    def extra(self) -> Iterator[Part]:
        """The parts that take long, the most informative first."""
        layers = spread([x for x in self.context.layers if self.has_filters(x) and self.context.runs])
        layers.sort(key=lambda layer: layer.name != self._first)
        most = max((_filters(layer) for layer in layers), default=0)
        for start in range(0, max(most, 1), FILTERS):
            for number, layer in enumerate(layers):
                if start == 0 and number == FIRST:
                    yield from self._slow()
                if start < _filters(layer):
                    yield self._ascent(layer, start)
                if start == 0 and self.context.photos is not None:
                    yield self._places(layer)
            if start == 0 and len(layers) <= FIRST:
                yield from self._slow()

    def most_active(self, layer: LayerGeometry) -> list[int]:
        """The filters of `layer`, those most active for the images first; without images, by number."""
        parts = (
            self.cache.get(f"{image_key(k)}-{layer_key(layer)}-0") for k in range(len(self.context.images))
        )
        known = [np.array(part.facts["strength"], float) for part in parts if part and not part.failed]
        if not known:
            return list(range(_filters(layer)))
        return [int(k) for k in np.argsort(-np.nan_to_num(np.mean(known, axis=0)), kind="stable")]

    def unfinished(self) -> list[str]:
        """What there was no time for at all so far, in words."""
        found, has = [], self.cache.get
        layers = [layer for layer in self.context.layers if self.has_filters(layer) and self.context.runs]
        bare = [layer for layer in layers if not any(map(has, self.ascents(layer)))]
        if bare:
            found.append(f"inputs that maximise filters of {len(bare)} of {len(layers)} layers")
        numbers = range(len(self.context.images))
        slow = [m for m in PASSES if not all(has(method_key(number, m)) for number in numbers)]
        if slow:
            found.append(f"attributions by {', '.join(slow)}")
        if self.context.photos is not None:
            unseen = [layer for layer in layers if not has(places_key(layer))]
            if unseen:
                found.append(f"the places that activate {len(unseen)} of {len(layers)} layers most")
        return found

    def waiting(self, layer: LayerGeometry) -> list[str]:
        """Return in words what of `layer` there was no time for at all yet."""
        found, has = [], self.cache.get
        if self.has_filters(layer) and self.context.runs:
            if not any(map(has, self.ascents(layer))):
                found.append("inputs that maximise its filters")
            if self.context.photos is not None and not has(places_key(layer)):
                found.append("the places that activate it most")
        return found

    @staticmethod
    def has_filters(layer: LayerGeometry) -> bool:
        """Whether the report shows inputs that maximise its filters."""
        return layer.type in CLIMBED and _filters(layer) > 0

    def ascents(self, layer: LayerGeometry) -> list[str]:
        """The keys of all parts that maximise filters of `layer`."""
        count = _filters(layer) if self.has_filters(layer) else 0
        return [_ascent_key(layer, start) for start in range(0, count, FILTERS)]

    def _of_image(self, number: int) -> Iterator[Part]:
        context, key, name = self.context, image_key(number), self.context.images[number].name
        yield Part(f"{key}-answer", f"answer for {name}", partial(parts.answer, context, number))
        for method in METHODS:
            if method not in PASSES:
                yield self._attribution(number, method)
        seen = set[str]()
        for layer in context.layers:
            for k, blob in enumerate(layer.tops):
                if blob not in seen:  # in-place layers have their values in it too
                    seen.add(blob)
                    yield Part(
                        f"{key}-{layer_key(layer)}-{k}",
                        f"activations of {blob} for {name}",
                        partial(parts.activation, context, number, layer, blob),
                    )

    def _slow(self) -> Iterator[Part]:
        for method in PASSES:
            for number in range(len(self.context.images)):
                yield self._attribution(number, method)

    def _attribution(self, number: int, method: str) -> Part:
        title = f"{method} for {self.context.images[number].name}"
        request = AttributionRequest(method_key(number, method), title, number, method)
        if method not in PASSES:
            return Part(request.key, title, lambda: self._made(request))
        make = partial(self._made, request, self._late)
        return Part(request.key, title, make, lambda: self._seconds(method), lambda: request)

    def _made(
        self, request: PartRequest, late: Callable[[], bool] = lambda: False, alone: bool = False
    ) -> PartResult:
        """Make it; `alone` means in this process only. Raises OutOfTime if it became `late` first."""
        run = SteppedRun(request.steps(self.context, alone))
        for _ in run:
            if late():
                raise parts.OutOfTime
        return run.made

    def _is_small(self, macs: float) -> bool:
        """Return whether this process does an ascent by itself.

        Not on real Caffe, which may abort it, nor by several threads: on a busy machine they wait for each
        other.
        """
        network = self.context.network
        alone = os.environ.get("OMP_NUM_THREADS") == "1"
        here = alone and self._cluster is None and macs < SMALL
        return here and chosen(network.engine, network.device) == "torch"

    def _seconds(self, method: str) -> float:
        """Estimate how long a method takes; 0 if that does not matter, or none fits."""
        try:
            return PASSES[method](self.context.probe) * self._pass if method in PASSES else 0.0
        except InputError:  # making it will report that
            return 0.0

    @cached_property
    def _pass(self) -> float:
        """Seconds of one forward pass."""
        probe, pixels = self.context.probe, self.context.images[0].pixels[None]
        blob = self.context.network.heads[0].answer
        probe.forward(pixels, [blob])
        began = time.monotonic()
        probe.forward(pixels, [blob])
        return time.monotonic() - began

    def _ascent(self, layer: LayerGeometry, start: int) -> Part:
        def macs() -> float:
            count = min(FILTERS, _filters(layer) - start)
            if layer.index not in self._macs:
                self._macs[layer.index] = parts.ascent_macs(self.context, layer)
            return 3.0 * self._macs[layer.index] * count * parts.STEPS

        def begun() -> float:
            return 0.0 if self._is_small(macs()) else self._pace.start

        def seconds() -> float:
            try:
                return begun() + macs() / self._pace.macs_per_second
            except InputError:  # making it will report that
                return 0.0

        key, title = _ascent_key(layer, start), f"inputs that maximise filters of {layer.name}"

        def request() -> PartRequest:
            chosen = self.most_active(layer)[start : start + FILTERS]
            return AscentRequest(key, title, layer.name, tuple(chosen))

        def make() -> PartResult:
            return self._made(request(), self._late, alone=self._is_small(macs()))

        return Part(
            key, title, make, seconds, request,
            lambda took: self._pace.climbed(macs(), took, begun()),
        )  # fmt: skip

    def _places(self, layer: LayerGeometry) -> Part:
        def make() -> PartResult:
            chosen = self.most_active(layer)[:FILTERS]
            return parts.places(self.context, layer, chosen, self.cache, self._late, self._cluster)

        return Part(places_key(layer), f"places that activate {layer.name}", make)


def image_key(number: int) -> str:
    return f"image-{number:03d}"


def method_key(number: int, method: str) -> str:
    return f"{image_key(number)}-{method.replace('+', 'p')}"


def spread(items: Sequence[T]) -> list[T]:
    """Order from coarse to fine: the last, then the one half-way, then those half-way between, ...

    >>> spread("abcde")
    ['e', 'a', 'c', 'b', 'd']
    """
    last = len(items) - 1

    def fineness(number: int) -> int:
        behind = last - number
        return -(behind & -behind) if behind else -len(items)

    return [items[number] for number in sorted(range(len(items)), key=fineness)]


def layer_key(layer: LayerGeometry) -> str:
    return f"layer-{layer.index:04d}"


def _ascent_key(layer: LayerGeometry, start: int) -> str:
    return f"{layer_key(layer)}-ascent-{start:05d}"


def places_key(layer: LayerGeometry) -> str:
    return f"{layer_key(layer)}-places"


def _filters(layer: LayerGeometry) -> int:
    return layer.shapes[0][1] if layer.shapes and len(layer.shapes[0]) > 1 else 0
