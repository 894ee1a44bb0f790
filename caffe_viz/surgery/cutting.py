"""Cut out the part of a net that leads to some of its layers, as a net in which the image learns."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from caffe_viz.errors import InputError, missing
from caffe_viz.geometry import LayerGeometry
from caffe_viz.netdef import LayerParameter, NetParameter, left_out
from caffe_viz.surgery.inputs import Shape

Shapes = tuple[Shape, ...]

# Types that have no gradient; the backward of real Caffe aborts (NOT_IMPLEMENTED, or a CHECK).
NO_GRADIENT = frozenset({"Accuracy", "ArgMax", "DetectionEvaluate", "DetectionOutput", "Embed", "Threshold"})
NO_GRADIENT |= {"MultiBoxLoss"}
# Types that have one, but whose backward in real Caffe aborts, or does nothing without a word.
ONLY_FORWARD_IN_CAFFE = frozenset({"BilinearInterpolate", "HardSigmoid", "HardSwish", "MaxUnPool", "Pad"})
ONLY_FORWARD_IN_CAFFE |= {"PixelShuffle", "PSROIPooling", "Unsqueeze", "Upsample"}


def target(net: NetParameter, layer: str) -> int:
    """Return the index of the layer of that name; if several share it, of the first.

    Raises:
        InputError: There is none, or it computes nothing.
    """
    names = [x.name for x in net.layer]
    if layer not in names:
        raise missing(f"net {net.name!r}", "layer", layer, names, left_out(net))
    found = net.layer[names.index(layer)]
    if found.type == "Input" or not found.top:
        raise InputError(f"layer {layer!r} ({found.type}) computes nothing that could be maximised.")
    return names.index(layer)


def leading_to(net: NetParameter, targets: Collection[int]) -> list[int]:
    """Return the indices of the layers at `targets` and of all layers on which they depend."""
    needed, kept = set[str](), list[int]()
    for place in range(max(targets), -1, -1):
        layer = net.layer[place]
        needed.update(layer.top[:1] if place in targets else ())
        if needed.isdisjoint(layer.top):
            continue
        needed = (needed - set(layer.top)) | set(layer.bottom)
        kept.append(place)
    return kept[::-1]


def need_gradient(layers: Sequence[LayerParameter], image: str) -> None:
    """Raise InputError if a layer that depends on the image has no gradient."""
    depend = {image}
    for layer in layers:
        if depend.isdisjoint(layer.bottom):
            continue
        if layer.type in NO_GRADIENT:
            raise InputError(
                f"layer {layer.name!r} ({layer.type}) has no gradient: choose a layer before it."
            )
        depend.update(layer.top)


def with_image(
    layers: Sequence[LayerParameter],
    name: str,
    params: Sequence[Shapes],
    image: str,
    image_shape: Shape,
    image_layer: str,
    learn: bool,
) -> NetParameter:
    """Make a net of the layers in which the image learns, and the parameters too if they `learn`.

    The image's layer must not be named like the net's input: a caffemodel that Caffe saved lists that name
    without blobs, and loading it would abort.
    """
    message = NetParameter(name=f"{name} (auxiliary)")
    learns = message.layer.add(name=image_layer, type="Parameter", top=[image], param=[{"lr_mult": 1}])
    learns.parameter_param.shape.dim.extend(image_shape)
    others = {bottom for layer in layers for bottom in layer.bottom} - {image}
    for layer, shapes in zip(layers, params, strict=True):
        if layer.type == "Input":
            _other_inputs(message, layer, others)
            continue
        copy = message.layer.add()
        copy.CopyFrom(layer)
        copy.ClearField("propagate_down")
        copy.ClearField("loss_weight")
        if layer.type.endswith("Loss"):
            copy.loss_weight.extend([0.0] * len(layer.top))  # left out, it would be 1
        for i in range(len(shapes)):
            spec = copy.param[i] if i < len(copy.param) else copy.param.add()
            spec.lr_mult = 1 if learn and layer.type != "BatchNorm" else 0  # Caffe demands it of BatchNorm
    return message


def _other_inputs(message: NetParameter, layer: LayerParameter, tops: set[str]) -> None:
    given = layer.input_param.shape
    for i, top in enumerate(layer.top):
        if top in tops:
            other = message.layer.add(name=f"{layer.name}_{top}", type="Input", top=[top])
            other.input_param.shape.add().CopyFrom(given[i if len(given) > 1 else 0])


def same_parameters(layers: Sequence[LayerGeometry], params: Sequence[Shapes], image_shape: Shape) -> None:
    """Check that weights still fit: an InnerProduct layer fixes the size of what comes before it."""
    kept = [layer for layer in layers[1:] if layer.type != "Input"]  # the first is the image
    for layer, shapes in zip(kept, params, strict=True):
        if shapes != layer.param_shapes:
            raise InputError(
                f"layer {layer.name!r} ({layer.type}) has weights of {shapes[0]}, which do not "
                f"fit an image of {image_shape[-2:]}: leave the size out, or choose a layer before it."
            )
