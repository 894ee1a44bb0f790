"""Receptive fields as a small algebra: which pixels of the input each unit of a blob sees.

A field is an affine map per axis. Unit u of the blob sees the `size` pixels from `offset + u * stride` on.
Fields compose, so a layer only states its own window on its bottom. Stride 0 means that all units see the
same pixels; such an axis keeps stride 0 through every later layer, as "the whole input" requires. The idea is
that of pycaffe's `coord_map.py`, with sizes added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

Shape = tuple[int, ...]
Pair = tuple[float, float]


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of the units of one blob, each a pair (vertical, horizontal) in input pixels.

    Unit (y, x) sees `size[0]` rows from row `offset[0] + y * stride[0]` on, columns likewise. Fields reach
    into the padding, so the offset can be negative and the size larger than the input. Fractions come from
    upsampling; the size is then the largest among the units. Through branches it is the hull of what the
    branches see.

    >>> ReceptiveField((11, 11), (4, 4), (0, 0)).box((2, 0), (227, 227))
    (8, 0, 19, 11)
    """

    size: Pair
    stride: Pair
    offset: Pair

    def box(self, unit: tuple[int, int], image: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return what `unit` (y, x) sees of an image (H, W): top, left, bottom, right, ends excluded."""
        starts = [o + u * s for o, u, s in zip(self.offset, unit, self.stride, strict=True)]
        ends = [min(i, a + n) for i, a, n in zip(image, starts, self.size, strict=True)]
        top, left = (max(0, a) for a in starts)
        return top, left, ends[0], ends[1]


class LayoutEffect(Enum):
    """What a layer does to its bottom's layout, if a window cannot express it."""

    WHOLE = "every unit of the top depends on every unit of the bottom"
    LOST = "the top's units are not laid out along the input's rows and columns"


View = ReceptiveField | LayoutEffect
SAME = ReceptiveField((1, 1), (1, 1), (0, 0))


@dataclass(frozen=True)
class BlobField:
    """What a blob sees: the `field` of its units (None: no layout), and `whole`, what they see together."""

    field: ReceptiveField | None
    whole: ReceptiveField


def window(kernel: Sequence[float], stride: Sequence[float], offset: Sequence[float]) -> ReceptiveField:
    """Make a layer's own window on its bottom, from values of its last two axes."""
    return ReceptiveField(_pair(kernel), _pair(stride), _pair(offset))


def root(shape: Shape) -> BlobField:
    """Return what an input blob (..., H, W) sees: itself."""
    return BlobField(SAME, ReceptiveField(_pair(shape), (0, 0), (0, 0)))


def follow(
    view: View, bottoms: Sequence[tuple[BlobField | None, Shape]], top: Shape, image: Shape
) -> BlobField | None:
    """Return what a `top` sees that views its `bottoms` by `view`; None if none of them sees the image."""
    seen = [(sight, shape) for sight, shape in bottoms if sight is not None]
    if not seen:
        return None
    field, whole = _union([sight for sight, _ in seen])
    if view is LayoutEffect.WHOLE:
        return BlobField(whole, whole)
    if view is LayoutEffect.LOST:
        lone = all(len(shape) >= 4 and shape[-2:] == (1, 1) for _, shape in seen)
        stays = field is not None and (lone or field.stride == (0, 0))
        return BlobField(ReceptiveField(field.size, (0, 0), field.offset) if field and stays else None, whole)
    assert isinstance(view, ReceptiveField)
    if field is None:
        return BlobField(whole if view.stride == (0, 0) else None, whole)
    composed = _clip(_compose(view, field), image)
    return BlobField(composed, _cover(composed, top, image) if len(top) >= 4 else whole)


def _compose(outer: ReceptiveField, inner: ReceptiveField) -> ReceptiveField:
    """`outer`, given in units of the blob that `inner` describes, in pixels of the input."""
    axes = range(2)
    return ReceptiveField(
        _pair([inner.size[i] + (outer.size[i] - 1) * inner.stride[i] for i in axes]),
        _pair([outer.stride[i] * inner.stride[i] for i in axes]),
        _pair([inner.offset[i] + outer.offset[i] * inner.stride[i] for i in axes]),
    )


def _cover(field: ReceptiveField, top: Shape, image: Shape) -> ReceptiveField:
    """What all units of a blob (..., H, W) see together, within the image."""
    units = zip(top[-2:], field.stride, field.size, strict=True)
    return _clip(
        ReceptiveField(_pair([(n - 1) * s + size for n, s, size in units]), (0, 0), field.offset), image
    )


def _clip(field: ReceptiveField, image: Shape) -> ReceptiveField:
    """Clip axes that all units share to the image; other axes keep their reach into the padding."""
    size, offset = list(field.size), list(field.offset)
    for i, extent in enumerate(image[-2:]):
        if field.stride[i] == 0:
            start, end = max(0, offset[i]), min(extent, offset[i] + size[i])
            size[i], offset[i] = max(0, end - start), start
    return ReceptiveField(_pair(size), field.stride, _pair(offset))


def _union(sights: Sequence[BlobField]) -> tuple[ReceptiveField | None, ReceptiveField]:
    """The hull of what several blobs of one layout see: (field or None, whole)."""
    whole = sights[0].whole
    for sight in sights[1:]:
        whole = _hull(whole, sight.whole)
    field = sights[0].field
    for sight in sights[1:]:
        if field is None or sight.field is None:
            return None, whole
        strides = [set(pair) for pair in zip(field.stride, sight.field.stride, strict=True)]
        if any(len(pair) == 2 and 0 not in pair for pair in strides):
            return None, whole
        shared = [len(pair) == 2 for pair in strides]
        field = _hull(_widen(field, whole, shared), _widen(sight.field, whole, shared))
    return field, whole


def _widen(field: ReceptiveField, whole: ReceptiveField, axes: Sequence[bool]) -> ReceptiveField:
    """`field`, with the given axes replaced by those of `whole` (one branch sees everything there)."""
    pick = [whole if wide else field for wide in axes]
    return ReceptiveField(
        *(_pair([getattr(f, part)[i] for i, f in enumerate(pick)]) for part in ("size", "stride", "offset"))
    )


def _hull(a: ReceptiveField, b: ReceptiveField) -> ReceptiveField:
    """The smallest field of the same stride that holds both."""
    offset = [min(x, y) for x, y in zip(a.offset, b.offset, strict=True)]
    ends = [max(a.offset[i] + a.size[i], b.offset[i] + b.size[i]) for i in range(2)]
    return ReceptiveField(_pair([e - o for e, o in zip(ends, offset, strict=True)]), a.stride, _pair(offset))


def _pair(values: Sequence[float]) -> Pair:
    """The last two of `values`: whole numbers as int, others without floating-point noise."""
    vertical, horizontal = (int(v) if v == int(v) else round(v, 9) for v in values[-2:])
    return vertical, horizontal
