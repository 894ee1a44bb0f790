"""`measure`: walk through a net once, layer by layer, with the rule of each layer's type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace

from caffe_viz.errors import InputError, near
from caffe_viz.geometry.data_shapes import DataShapes, UnknownShapeError, brings_data, told
from caffe_viz.geometry.opaque import why_opaque
from caffe_viz.geometry.receptive_fields import BlobField, Shape, follow, root
from caffe_viz.geometry.results import Geometry, LayerGeometry, count
from caffe_viz.geometry.rules import TABLE, Out, Rule, Shapes, checked, many, need, text
from caffe_viz.geometry.splits import with_splits
from caffe_viz.geometry.stored import FED, WITH_FILES
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase, left_out

AUTOMATIC = "(automatic)"  # Caffe's name of a loss layer's top that the file does not name


def measure(
    net: NetParameter,
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    files: bool = False,
) -> Geometry:
    """Compute the geometry of `net` as real Caffe would set it up, hidden Split layers included.

    Shapes that cannot be known are None: those of layers of unknown types, of data layers that do not tell
    theirs, and of everything that depends on them. The `remarks` of the result say which, and what was
    assumed. Parameters of layers of unknown types are counted from the weights, if the message has them.

    Args:
        net: A network message.
        batch: Replaces N, the first dimension of the inputs.
        size: Replaces (H, W) of the image: the first input or Parameter layer with four axes or more
            (N, C, H, W), and every other input of the same height and width. Tops of data layers count as
            inputs. InnerProduct layers change with the size, so their old weights no longer fit.
        files: Allow reading the files that data layers name, to find their shapes.

    Raises:
        InputError: A bottom that does not exist, a top that exists already, or shapes on which Caffe would
            abort; the message names layer, type and shapes.
    """
    sizes = [s for s in (batch, *(size or ())) if s is not None]
    need(all(s >= 1 for s in sizes), f"batch and size must be at least 1, not batch {batch}, size {size}")
    whole = with_splits(for_phase(net))
    walk = _Walk(batch, size, files, WITH_FILES if files else TABLE)
    for layer in whole.layer:
        walk.add(layer)
    if size is not None and walk.image is None:
        raise InputError(
            f"net {net.name!r} has no input of four axes (N, C, H, W) that a size could be given to"
        )
    return walk.result(whole.name, left_out(net))


@dataclass
class _Walk:
    """The state while layers are added."""

    batch: int | None
    size: tuple[int, int] | None
    files: bool
    rules: Mapping[str, Rule]
    layers: list[LayerGeometry] = dataclasses.field(default_factory=list)
    blobs: dict[str, Shape] = dataclasses.field(default_factory=dict)
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)  # blob -> why its shape is not known
    sights: dict[str, BlobField | None] = dataclasses.field(default_factory=dict)
    inputs: list[str] = dataclasses.field(default_factory=list)
    open: set[str] = dataclasses.field(default_factory=set)
    owners: dict[str, tuple[str, Shape]] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)  # on what was taken to be so
    image: Shape | None = None  # (H, W) of the image after `size`
    frame: Shape | None = None  # and as the file has it
    first: int | None = None  # first dimension of the first input
    params: int = 0
    bytes: int = 0

    def add(self, layer: LayerParameter) -> None:
        """Measure one layer on the blobs so far."""
        for name in layer.bottom:
            self._need_bottom(layer, name)
        why = next((self.unknown[name] for name in layer.bottom if name in self.unknown), "")
        if why or (why := why_opaque(layer, self.rules)):
            known = told(layer) if brings_data(layer) else None
            self._add_unknown(layer, why, known)
            return
        bottoms = tuple(self.blobs[name] for name in layer.bottom)
        try:
            out = self._sized(layer, self._out(layer, self.rules[layer.type], bottoms))
            self._share(layer, out.params)
        except UnknownShapeError as error:
            self._add_unknown(layer, str(error), error.told)
            return
        except InputError as error:
            given = ", ".join(f"{n} {text(s)}" for n, s in zip(layer.bottom, bottoms, strict=True))
            where = f"layer {layer.name!r} ({layer.type})" + (f" on {given}" if given else "")
            raise InputError(f"{where}: {error}") from None
        names = (*layer.top, *[AUTOMATIC] * (len(out.tops) - len(layer.top)))
        sights = self._look(layer, out, bottoms)
        if self.first is None and not bottoms and out.tops:
            self.first = next(iter(out.tops[0]), 1)
        for name, shape, sight in zip(names, out.tops, sights, strict=True):
            if self.blobs.get(name) != shape and not out.aliases:
                self.bytes += 4 * count(shape)
            self.blobs[name], self.sights[name] = shape, sight
        self.remarks += [out.remark] if out.remark else []
        self._leave_open(layer)
        self.inputs += layer.top if layer.type == "Input" else []
        place, macs = len(self.layers), out.macs // (self.first or 1)
        shapes = bottoms, out.tops, out.params
        field = sights[0].field if sights and sights[0] else None
        self.layers.append(
            LayerGeometry(place, layer.name, layer.type, tuple(layer.bottom), names, *shapes, macs, field)
        )

    def result(self, name: str, gone: Mapping[str, str]) -> Geometry:
        """Return what was measured; outputs are in Caffe's order, sorted by name."""
        macs = sum(layer.macs for layer in self.layers)
        outputs = tuple(sorted(self.open))
        return Geometry(
            name=name,
            layers=tuple(self.layers),
            blobs=self.blobs,
            inputs=tuple(self.inputs),
            outputs=outputs,
            params=self.params,
            macs=macs,
            blob_bytes=self.bytes,
            unknown=self.unknown,
            left_out=gone,
            remarks=tuple(self.remarks),
        )

    def _need_bottom(self, layer: LayerParameter, name: str) -> None:
        if name not in self.open:
            raise InputError(
                f"layer {layer.name!r} ({layer.type}): no layer before it leaves a bottom {name!r} for it: "
                f"correct the name or move the layer.{near(name, self.open)}"
            )

    def _leave_open(self, layer: LayerParameter) -> None:
        """Which blobs no layer has taken yet."""
        self.open.difference_update(layer.bottom)
        self.open.update(layer.top)

    def _add_unknown(self, layer: LayerParameter, why: str, known: DataShapes | None = None) -> None:
        """Add a layer whose top shapes cannot be known: its type is unknown, or a bottom's shape.

        For a data layer some may be `known`.
        """
        shapes = known.shapes if known else (None,) * len(layer.top)
        bottoms = tuple(self.blobs.get(name) for name in layer.bottom)
        params = tuple(tuple(shape.dim) for shape in layer.trained)
        self.params += sum(map(count, params))
        for name, shape in zip(layer.top, shapes, strict=True):
            self.blobs.pop(name, None)  # in place
            if shape is None:
                self.unknown[name], self.sights[name] = why, None
                continue
            self.blobs[name] = found = self._sized_shape(shape, layer.type)
            self.sights[name] = root(found) if len(found) >= 4 and found[-2:] == self.image else None
            self.bytes += 4 * count(found)
            self.first = found[0] if self.first is None else self.first
        if known:
            self.remarks += filter(None, (known.why and why, known.remark))
        self._leave_open(layer)
        tops = tuple(layer.top)
        self.layers.append(
            LayerGeometry(
                index=len(self.layers),
                name=layer.name,
                type=layer.type,
                bottoms=tuple(layer.bottom),
                tops=tops,
                bottom_shapes=bottoms,
                top_shapes=tuple(map(self.blobs.get, tops)),
                param_shapes=params,
                macs=0,
                field=None,
                unknown=why,
            )
        )

    def _out(self, layer: LayerParameter, rule: Rule, bottoms: Shapes) -> Out:
        """The rule's answer, after the checks that all layers share."""
        _counted(len(bottoms), rule.bottoms, "bottom")
        tops = max(len(layer.top), rule.tops[0]) if rule.automatic else len(layer.top)
        _counted(tops, rule.tops, "top")
        made: set[str] = set()
        for i, top in enumerate(layer.top):
            in_place = i < len(layer.bottom) and layer.bottom[i] == top
            fresh = top not in self.blobs and top not in self.unknown and top not in made
            made.add(top)
            need(fresh or in_place, f"another layer already makes the top {top!r}: rename one of them")
        back = len(layer.propagate_down)
        need(back in (0, len(bottoms)), f"takes one propagate_down per bottom ({len(bottoms)}), not {back}")
        weights = len(layer.loss_weight)
        need(weights in (0, tops), f"takes one loss_weight per top ({tops}), not {weights}")
        out = rule.function(layer, bottoms)
        need(len(out.tops) == tops, f"makes {many(len(out.tops), 'top')}, not {tops}")
        for name, shape in zip(layer.top, out.tops, strict=False):
            checked(shape, f"top {name!r}", *([] if bottoms else ["correct its shape"]))
        for i, shape in enumerate(out.params):
            checked(shape, f"parameter {i}")
        return out

    def _sized(self, layer: LayerParameter, out: Out) -> Out:
        """`out` of an input layer with batch and size replaced; the first image sets the frame."""
        if layer.bottom:
            return out
        tops = tuple(self._sized_shape(shape, layer.type) for shape in out.tops)
        for shape in tops:
            checked(shape, "the top")
        return replace(out, tops=tops, params=tops if layer.type == "Parameter" else out.params)

    def _sized_shape(self, shape: Shape, kind: str) -> Shape:
        # What an engine reads from files has the batch and the size that these say.
        data = kind not in ("Parameter", "DummyData") and not (self.files and kind in FED)
        size = self.size if data or kind == "Parameter" else None
        if len(shape) >= 4 and self.frame is None:
            self.frame, self.image = shape[-2:], size or shape[-2:]
        image = len(shape) >= 4 and shape[-2:] == self.frame
        if self.batch is not None and (data or (kind == "Parameter" and image)):
            shape = (self.batch, *shape[1:])
        return (*shape[:-2], *size) if image and size else shape

    def _look(self, layer: LayerParameter, out: Out, bottoms: Shapes) -> list[BlobField | None]:
        """What each top sees of the image."""
        if not bottoms:
            return [root(s) if len(s) >= 4 and s[-2:] == self.image else None for s in out.tops]
        seen = [(self.sights[name], shape) for name, shape in zip(layer.bottom, bottoms, strict=True)][
            : out.sees
        ]
        views = out.views if len(out.views) == len(out.tops) else out.views * len(out.tops)
        return [follow(v, seen, top, self.image or ()) for v, top in zip(views, out.tops, strict=True)]

    def _share(self, layer: LayerParameter, params: Shapes) -> None:
        """Count the parameters; those that another layer owns under the same name only there."""
        entries = many(len(layer.param), "param entry", "param entries")
        need(
            len(layer.param) <= len(params),
            f"has {many(len(params), 'parameter')}, but {entries}",
        )
        specs = list(layer.param)
        for i, shape in enumerate(params):
            name = specs[i].name if i < len(specs) else ""
            owner, owned = self.owners.setdefault(name, (layer.name, shape)) if name else (layer.name, shape)
            if not name or owner == layer.name:
                self.params += count(shape)
                continue
            loose = specs[i].share_mode == specs[i].PERMISSIVE
            same = count(owned) == count(shape) if loose else owned == shape
            need(
                same,
                f"shares parameter {name!r} of layer {owner!r}, which is {text(owned)}, not {text(shape)}",
            )


def _counted(given: int, span: tuple[int, int | None], what: str) -> None:
    low, high = span
    most = low if high is None else high
    between = "or" if most == low + 1 else "to"
    wanted = f"at least {low}" if high is None else f"{low}" if low == high else f"{low} {between} {high}"
    plural = "" if most == 1 else "s"
    need(low <= given and (high is None or given <= high), f"takes {wanted} {what}{plural}, not {given}")
