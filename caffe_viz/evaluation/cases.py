"""The cases of an evaluation: images with one target each, and the methods that fit the net."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from caffe_viz.attribution import METHODS, Reads, Settings, need_method
from caffe_viz.attribution.pooled import class_maps
from caffe_viz.attribution.queries import (
    NamedImage,
    NetQueries,
    Query,
    QueryProgress,
    QueryResults,
    looked_at,
)
from caffe_viz.attribution.table import may_not_fit
from caffe_viz.attribution.targets import Target, find_layer, find_target, find_targets
from caffe_viz.errors import InputError
from caffe_viz.probe import Probe
from caffe_viz.tasks import Execution

Array = NDArray[np.float32]
Asked = Execution[Query, QueryProgress | QueryResults]  # who is asked


@dataclass(frozen=True)
class Cases:
    """R images, one target for each, all of one blob, and the methods; `refused` ones do not fit."""

    asking: NetQueries
    images: tuple[NamedImage, ...]
    given: tuple[int | str, ...]
    targets: tuple[Target, ...]
    methods: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    layer: str | None = None
    settings: Settings = field(default_factory=Settings)

    def __len__(self) -> int:
        return len(self.images)

    def names(self, rows: Sequence[int]) -> tuple[str, ...]:
        """The image names of some cases."""
        return tuple(self.images[row].name for row in rows)

    def words(self, rows: Sequence[int]) -> tuple[str, ...]:
        """The targets of some cases, as users call them."""
        return tuple(str(self.targets[row]) for row in rows)


def cases(
    asking: NetQueries,
    images: Sequence[NamedImage],
    targets: Sequence[int | str] | None = None,
    methods: Sequence[str] | None = None,
    layer: str | None = None,
    *,
    settings: Settings | None = None,
    run: Asked | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Cases:
    """Combine `images` with `targets` (None: each image's most likely class) and `methods` to cases.

    None takes all methods that fit the net. For targets and `layer` see `caffe_viz.attribution.attribute`;
    all targets belong to one layer, so that their scores can be compared. The images are looked at in a `run`
    (None: here); `on_note` is told when a worker has died.

    Raises:
        InputError: No such method, target or layer; a named method does not fit the net; targets of several
            layers; or an image that cannot be used.
    """
    probe = asking.probe
    if len(probe.network.shape) != 3:
        raise InputError(
            f"the input is {probe.network.shape}: an image (C, H, W) is needed, to hide its pixels."
        )
    if targets is not None:
        find_targets(probe, targets)
    wanted = looked_at(run or asking.run(), images, targets, lambda share: None, on_note)
    given = [(n, target) for n, some in enumerate(wanted) for target in some]
    found = tuple(find_target(probe, target) for _, target in given)
    blobs = list(dict.fromkeys(target.blob for target in found))
    if len(blobs) > 1:
        raise InputError(f"targets of {' and '.join(map(repr, blobs))}: evaluate one layer at a time.")
    fit, refused = _fitting(probe, methods, layer, found[0])
    return Cases(
        asking=asking,
        images=tuple(images[n] for n, _ in given),
        given=tuple(target for _, target in given),
        targets=found,
        methods=fit,
        refused=refused,
        layer=layer,
        settings=settings or Settings(),
    )


def _fitting(
    probe: Probe, methods: Sequence[str] | None, layer: str | None, target: Target
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Split methods into those that fit the net and others with the reason, if none was asked for by name."""
    fit, refused = list[str](), list[tuple[str, str]]()
    for method in METHODS if methods is None else dict.fromkeys(methods):
        need_method(method)
        try:
            if METHODS[method].reads is Reads.LAYER:
                find_layer(probe, layer, target)
            elif METHODS[method].reads is Reads.CLASS:
                class_maps(probe, target)
            fit.append(method)
        except InputError as error:
            if methods is not None or not may_not_fit(method, layer):
                raise
            refused.append((method, str(error)))
    return tuple(fit), tuple(refused)
