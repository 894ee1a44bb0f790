"""The inputs of a net: which of them is the image, and how many images go in at once."""

from __future__ import annotations

from collections.abc import Sequence

from caffe_viz.errors import InputError
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase

Shape = tuple[int, ...]


def with_batch(net: NetParameter, batch: int) -> NetParameter:
    """A copy of `net` with `batch` for the first dimension of the inputs that have the first one's."""
    out = NetParameter()
    out.CopyFrom(net)
    shapes = [shape for layer in out.layer if layer.type == "Input" for shape in layer.input_param.shape]
    was = shapes[0].dim[0] if shapes and shapes[0].dim else None
    for shape in shapes:
        if shape.dim and shape.dim[0] == was:
            shape.dim[0] = batch
    return out


def image_input(net: NetParameter) -> tuple[str, Shape]:
    """The blob that takes the image, and its shape.

    Raises:
        InputError: there is not exactly one input of four axes, or one input at all.
    """
    whole = for_phase(net)
    return find_image(list(whole.layer), whole.name, whole.layer[-1].name)


def find_image(layers: Sequence[LayerParameter], net: str, target: str) -> tuple[str, Shape]:
    """The one input that is optimised, and its shape: of several, the only one of four axes."""
    shapes: dict[str, Shape] = {}
    used = {bottom for layer in layers for bottom in layer.bottom}
    for layer in layers:
        if layer.type == "Input":
            given = layer.input_param.shape
            for i, top in enumerate(layer.top):
                if top in used:
                    shapes[top] = tuple(given[i if len(given) > 1 else 0].dim)
        elif not layer.bottom and layer.type not in ("Parameter", "DummyData"):
            raise InputError(
                f"layer {layer.name!r} ({layer.type}) brings its own data: give the deploy prototxt, "
                f"whose image is an Input layer."
            )
    images = [name for name, shape in shapes.items() if len(shape) == 4] or list(shapes)
    if len(images) != 1:
        raise InputError(
            f"layer {target!r} of net {net!r} depends on {len(images)} inputs that could be the image "
            f"({', '.join(images) or 'none'}): one is needed."
        )
    return images[0], shapes[images[0]]
