"""Give the inputs of a net the shapes that the user wants, and data layers too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from caffe_viz.errors import InputError, near
from caffe_viz.geometry.data_shapes import brings_data, label_shape
from caffe_viz.geometry.table import text
from caffe_viz.netdef import LayerParameter, NetParameter
from caffe_viz.surgery.inputs import Shape, as_input


def with_inputs(net: NetParameter, shapes: Mapping[str, Sequence[int]]) -> NetParameter:
    """Return `net` with the given `shapes` of inputs and of tops of data layers; a copy if any change.

    A data layer becomes an Input layer, so that any engine can run the net. Its other top becomes an input
    too if it is one label for each image; otherwise the layer stays for the rest of its tops.

    Raises:
        InputError: No layer without bottoms makes such a blob, or a shape is invalid.
    """
    if not shapes:
        return net
    for name, shape in shapes.items():
        if not shape or min(shape) < 1:
            raise InputError(f"input {name!r}: {text(shape)} is not a shape; write it as 1x3x227x227.")
    starts = [layer for layer in net.layer if layer.type == "Input" or brings_data(layer)]
    known = {top for layer in starts for top in layer.top}
    for name in shapes:
        if name not in known:
            raise InputError(f"net {net.name!r} has no input {name!r}.{near(name, known)}")
    out = NetParameter()
    out.CopyFrom(net)
    del out.layer[:]
    for layer in net.layer:
        chosen = {top: tuple(shapes[top]) for top in layer.top if top in shapes}
        out.layer.extend(_given(layer, chosen) if chosen and not layer.bottom else [layer])
    return out


def _given(layer: LayerParameter, chosen: Mapping[str, Shape]) -> Iterator[LayerParameter]:
    """Return what replaces `layer`, some of whose tops have been given shapes."""
    shapes = dict(chosen)
    if layer.type == "Input":
        own = [tuple(shape.dim) for shape in layer.input_param.shape]
        shapes = dict(zip(layer.top, own if len(own) > 1 else own * len(layer.top), strict=False)) | shapes
    elif len(layer.top) == 2 and layer.top[0] in chosen:
        label = label_shape(layer, chosen[layer.top[0]][0])
        shapes = ({} if label is None else {layer.top[1]: label}) | shapes
    shapes = {top: shapes[top] for top in layer.top if top in shapes}
    yield as_input(layer, shapes)
    rest = [top for top in layer.top if top not in shapes]
    if rest:
        other = LayerParameter()
        other.CopyFrom(layer)
        other.name = f"{layer.name}_{rest[0]}"
        other.ClearField("top")
        other.top.extend(rest)
        # What it says about images is not about its other tops.
        if layer.top[0] in shapes and layer.type != "HDF5Data":
            other.ClearField("unknown")
            for field, _ in layer.ListFields():
                if field.name == "transform_param" or field.name.endswith("data_param"):
                    other.ClearField(field.name)
        yield other
