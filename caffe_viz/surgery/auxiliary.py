"""The auxiliary net, whose loss is the activation of chosen filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from caffe_viz.errors import InputError, missing
from caffe_viz.geometry import Field, LayerGeometry, measure, own_layers
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase, left_out
from caffe_viz.surgery.in_place import first_names, free, out_of_place, spoiling
from caffe_viz.surgery.inputs import Shape, find_image

Shapes = tuple[Shape, ...]

# Types that have no gradient; the backward of real Caffe aborts (NOT_IMPLEMENTED, or a CHECK).
NO_GRADIENT = frozenset({"Accuracy", "ArgMax", "DetectionEvaluate", "DetectionOutput", "Embed", "Threshold"})
NO_GRADIENT |= {"MultiBoxLoss"}
# Types that have one, but whose backward in real Caffe aborts, or does nothing without a word.
ONLY_FORWARD_IN_CAFFE = frozenset({"BilinearInterpolate", "HardSigmoid", "HardSwish", "MaxUnPool", "Pad"})
ONLY_FORWARD_IN_CAFFE |= {"PixelShuffle", "PSROIPooling", "Unsqueeze", "Upsample"}


@dataclass(frozen=True)
class Auxiliary:
    """A net that ends in one number: the chosen activations of `layer`, summed. Names are of its blobs.

    The input (N, C, H, W) goes into `net.params[image_layer][0].data`; from the first forward on, the blob
    `image` has the same memory. `selector` (N, C), or the activation's whole shape, holds the factor of each
    activation in the `objective`. `field` is the receptive field of the layer's units. `made` has for each
    blob of the whole net the one that its own layer makes, before any layer in place: usually itself.
    """

    message: NetParameter
    layer: str
    image: str
    image_layer: str
    activation: str
    selector: str
    objective: str
    image_shape: Shape
    activation_shape: Shape
    selector_shape: Shape
    field: Field | None
    made: Mapping[str, str]

    def select(self, filters: Sequence[int], neuron: tuple[int, ...] | None = None) -> NDArray[np.float32]:
        """The selector (N, C[, H, W]) with which image n climbs `filters[n]`: the mean of its map.

        With a selector of full shape, one neuron of the map: the one at `neuron`, or else the central one.
        Images without a filter have no part in the objective.

        Raises:
            InputError: more filters than images, or a filter or neuron that the layer does not have.
        """
        images, channels, *space = self.activation_shape
        if len(filters) > images:
            raise InputError(f"{len(filters)} filters do not fit into a batch of {images}.")
        out = np.zeros(self.selector_shape, np.float32)
        whole_map = len(self.selector_shape) == 2
        place: Shape = () if whole_map else neuron or tuple(n // 2 for n in space)
        value = 1 / int(np.prod(space)) if whole_map else 1.0
        if not whole_map and (
            len(place) != len(space) or not all(0 <= p < n for p, n in zip(place, space, strict=True))
        ):
            raise InputError(f"layer {self.layer!r} has maps of {tuple(space)}; it has no neuron at {place}.")
        for n, chosen in enumerate(filters):
            if not 0 <= chosen < channels:
                raise InputError(f"layer {self.layer!r} has filters 0 to {channels - 1}, not {chosen}.")
            index = (n, chosen, *place)
            out[index] = value
        return out


def auxiliary_net(
    net: NetParameter,
    layer: str,
    *,
    batch: int = 1,
    size: tuple[int, int] | None = None,
    neuron: bool = False,
    learn: bool = False,
) -> Auxiliary:
    """The net whose `forward()` returns the activation of chosen filters of `layer`, and whose `backward()`
    leaves its gradient in the diff of the image.

    `net` is cut behind `layer`, so before an in-place layer on its top; only layers that lead to it are
    kept. The image becomes a Parameter layer, and all other parameters get lr_mult 0, so that Caffe
    computes the gradient of the image and none of weights. Layers in place that would spoil a gradient of
    real Caffe, or the image, get a blob of their own. `size` (H, W) replaces the image's.
    `neuron` gives the selector the activation's whole shape; with `learn` there are the gradients of the
    parameters too. Weights load by name.

    Raises:
        InputError: no such layer; it has no filters, does not depend on one image, or has no gradient;
            or weights of the net would not fit `size`.
    """
    whole = for_phase(net)
    target = _target(whole, layer)
    places = _leading_to(whole, target)
    kept = [whole.layer[i] for i in places]
    image, image_shape = find_image(kept, whole.name, layer)
    if size is not None and len(image_shape) != 4:
        raise InputError(f"input {image!r} of {image_shape} has no height and width to change.")
    image_shape = (batch, *image_shape[1:2], *(size or image_shape[2:]))
    names = {x.name for x in whole.layer} | {top for x in whole.layer for top in x.top}
    copies = out_of_place(kept, spoiling(kept), names)
    made = first_names(kept, copies)
    names |= {top for x in copies for top in x.top}
    image, image_layer = made[image], free("image", names)
    measured = own_layers(whole, measure(whole))
    params = [measured[i].param_shapes for i in places]
    message = _with_image(copies, whole.name, params, image, image_shape, image_layer, learn)
    activation = message.layer[-1].top[0]
    cut = measure(message)
    rest = own_layers(message, cut)
    _same_parameters(rest, [p for x, p in zip(kept, params, strict=True) if x.type != "Input"], image_shape)
    shape = cut.blob(activation)
    if len(shape) < 2:
        raise InputError(f"layer {layer!r} has no filters: its top {activation!r} has the shape {shape}.")
    selector, selected, objective = (free(n, names) for n in ("selector", "selected", "objective"))
    selector_shape = shape if neuron else shape[:2]
    added = message.layer.add(name=selector, type="Input", top=[selector])
    added.input_param.shape.add().dim.extend(selector_shape)
    added = message.layer.add(name=selected, type="Scale", bottom=[activation, selector], top=[selected])
    added.scale_param.axis = 0
    message.layer.add(name=objective, type="Reduction", bottom=[selected], top=[objective], loss_weight=[1.0])
    return Auxiliary(
        message,
        layer,
        image,
        image_layer,
        activation,
        selector,
        objective,
        image_shape,
        shape,
        selector_shape,
        rest[-1].field,
        made,
    )


def _target(net: NetParameter, layer: str) -> int:
    names = [x.name for x in net.layer]
    if layer not in names:
        raise missing(f"net {net.name!r}", "layer", layer, names, left_out(net))
    found = net.layer[names.index(layer)]
    if found.type == "Input" or not found.top:
        raise InputError(f"layer {layer!r} ({found.type}) computes nothing that could be maximised.")
    return names.index(layer)


def _leading_to(net: NetParameter, target: int) -> list[int]:
    """The places of the layers up to `target` on which it depends."""
    needed, kept = {net.layer[target].top[0]}, []
    for place in range(target, -1, -1):
        layer = net.layer[place]
        if needed.isdisjoint(layer.top):
            continue
        if layer.type in NO_GRADIENT:
            raise InputError(
                f"layer {layer.name!r} ({layer.type}) has no gradient: choose a layer before it."
            )
        needed = (needed - set(layer.top)) | set(layer.bottom)
        kept.append(place)
    return kept[::-1]


def _with_image(
    layers: Sequence[LayerParameter],
    name: str,
    params: Sequence[Shapes],
    image: str,
    image_shape: Shape,
    image_layer: str,
    learn: bool,
) -> NetParameter:
    """The layers as a net of their own, in which the image learns, and the parameters if they `learn`.

    The image's layer must not have the name of the net's input: a caffemodel that Caffe saved lists that
    one without blobs, and loading it would abort.
    """
    message = NetParameter(name=f"{name} (auxiliary)")
    learns = message.layer.add(name=image_layer, type="Parameter", top=[image], param=[{"lr_mult": 1}])
    learns.parameter_param.shape.dim.extend(image_shape)
    others = {bottom for layer in layers for bottom in layer.bottom} - {image}
    for layer, shapes in zip(layers, params, strict=True):
        if layer.type == "Input":
            _other_inputs(message, layer, others, image_shape[0])
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


def _other_inputs(message: NetParameter, layer: LayerParameter, tops: set[str], batch: int) -> None:
    given = layer.input_param.shape
    for i, top in enumerate(layer.top):
        if top in tops:
            other = message.layer.add(name=f"{layer.name}_{top}", type="Input", top=[top])
            shape = other.input_param.shape.add()
            shape.dim.extend([batch, *given[i if len(given) > 1 else 0].dim[1:]])


def _same_parameters(layers: Sequence[LayerGeometry], params: Sequence[Shapes], image_shape: Shape) -> None:
    """Weights must still fit: an InnerProduct layer fixes the size of what comes before it."""
    kept = [layer for layer in layers[1:] if layer.type != "Input"]  # the first is the image
    for layer, shapes in zip(kept, params, strict=True):
        if shapes != layer.param_shapes:
            raise InputError(
                f"layer {layer.name!r} ({layer.type}) has weights of {shapes[0]}, which do not "
                f"fit an image of {image_shape[-2:]}: leave the size out, or choose a layer before it."
            )
