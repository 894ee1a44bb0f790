"""The result of `measure`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from caffe_viz.errors import InputError, missing
from caffe_viz.geometry.receptive_fields import ReceptiveField, Shape
from caffe_viz.geometry.table import TABLE
from caffe_viz.markup import html_table


@dataclass(frozen=True)
class LayerGeometry:
    """One layer: its index in `net.layers`, its shapes, its multiply-adds for ONE image, its receptive field.

    `field` is that of the first top; None if the top does not see the image or has lost its layout. A shape
    that cannot be known is None; `unknown` then says why.
    """

    index: int
    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    bottom_shapes: tuple[Shape | None, ...]
    top_shapes: tuple[Shape | None, ...]
    param_shapes: tuple[Shape, ...]
    macs: int
    field: ReceptiveField | None
    unknown: str = ""

    @property
    def renews(self) -> frozenset[str]:
        """In-place tops that cannot stay the same blob: they have another shape, or the type needs a new one.

        Caffe refuses them; here the name goes on to a new blob.
        """
        pairs = zip(self.bottoms, self.tops, self.bottom_shapes, self.top_shapes, strict=False)
        apart = not TABLE[self.type].in_place if self.type in TABLE else False
        return frozenset(top for bottom, top, was, now in pairs if bottom == top and (apart or was != now))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes of the tops.

        Raises:
            InputError: They are not known; says why.
        """
        found = tuple(shape for shape in self.top_shapes if shape is not None)
        if len(found) < len(self.top_shapes):
            raise InputError(f"the shape of layer {self.name!r} is not known: {self.unknown}.")
        return found


@dataclass(frozen=True)
class Geometry:
    """Shapes and costs of a whole net; blobs, inputs, outputs and layer indices equal real Caffe's.

    `params` counts the values of all parameters, shared ones once. `macs` are the multiply-adds of
    convolutions, inner products and recurrent layers for ONE image: those of the batch divided by the first
    dimension of the first input. `blob_bytes` is the memory of all blobs' data in float32; blobs that share
    memory (in place, Split, Reshape, Flatten) count once, and gradients need the same again.

    `blobs` has the blobs of known shape; `unknown` maps the others to the reason. These count in no total.
    `remarks` says what data layers do not tell about their shapes, and what was assumed. `left_out` says why
    layers and blobs of the file are not in this net at all.
    """

    name: str
    layers: tuple[LayerGeometry, ...]
    blobs: dict[str, Shape]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: int
    macs: int
    blob_bytes: int
    unknown: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def named_blobs(self) -> dict[str, Shape]:
        """The blobs in the prototxt, without the tops of hidden Split layers."""
        hidden = {top for layer in self.layers if layer.type == "Split" for top in layer.tops}
        # A blob on which a layer that was left out works in place is not what the file means by it.
        return {
            name: shape
            for name, shape in self.blobs.items()
            if name not in hidden and f"blob {name}" not in self.left_out
        }

    @property
    def unknown_layers(self) -> tuple[LayerGeometry, ...]:
        """The layers of unknown shape: those of unknown types, and whatever depends on them."""
        return tuple(layer for layer in self.layers if layer.unknown and layer.type != "Split")

    @property
    def param_bytes(self) -> int:
        """The memory of all parameters in float32, shared ones once."""
        return 4 * self.params

    def layer(self, name: str) -> LayerGeometry:
        """Return the layer of that name.

        Raises:
            InputError: The net has no such layer; the message has near matches.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise missing(f"net {self.name!r}", "layer", name, names, self.left_out)

    def _repr_html_(self) -> str:
        rows = [
            (x.name, x.type, ", ".join(map(shape_text, x.top_shapes)), f"{x.macs:,}") for x in self.layers
        ]
        title = f"{self.name}: {self.params:,} parameters, {self.macs:,} multiply-adds"
        return html_table(
            title, ("layer", "type", "shape", "multiply-adds"), rows, (False, False, False, True)
        )

    def blob(self, name: str) -> Shape:
        """Return the shape of the blob of that name.

        Raises:
            InputError: The net has no such blob, with near matches; or its shape is not known, and why.
        """
        if f"blob {name}" in self.left_out:
            raise missing(f"net {self.name!r}", "blob", name, (), self.left_out)
        if name in self.unknown:
            raise InputError(f"the shape of blob {name!r} is not known: {self.unknown[name]}.")
        if name not in self.blobs:
            raise missing(f"net {self.name!r}", "blob", name, self.blobs, self.left_out)
        return self.blobs[name]


def shape_text(shape: Shape | None) -> str:
    """Return a shape as tables show it: 1 3 227 227, or "?" if it is not known.

    >>> shape_text((1, 3)), shape_text(None)
    ('1 3', '?')
    """
    return "?" if shape is None else " ".join(map(str, shape))


def count(shape: Shape) -> int:
    """Return the number of values of a blob."""
    return math.prod(shape)
