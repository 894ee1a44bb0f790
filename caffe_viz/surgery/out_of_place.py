"""A net without in-place layers, in which only the image learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from caffe_viz.geometry import Geometry, measure, own_layers
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase
from caffe_viz.surgery.in_place import first_names, free, layers_in_place, out_of_place
from caffe_viz.surgery.inputs import Shape, image_input, with_batch

SINKS = frozenset({"HDF5Output", "Silence"})  # they compute nothing; the first writes a file


@dataclass(frozen=True)
class OutOfPlaceNet:
    """`image` is the blob of `image_layer`, a Parameter layer. `outputs` maps layer names to their first top.

    If several layers share a name, it is the first one's. `made` maps each blob to the one that its own layer
    makes.
    """

    message: NetParameter
    image: str
    image_layer: str
    image_shape: Shape
    outputs: Mapping[str, str]
    made: Mapping[str, str]
    geometry: Geometry


def out_of_place_net(net: NetParameter, batch: int = 1, image: str | None = None) -> OutOfPlaceNet:
    """Copy `net` (TEST) without in-place layers, so that any blob can be a loss; `batch` is its first axis.

    A blob that layers work on in place keeps its name for what it holds after a full forward; before that it
    is `conv1_before_relu1`. The image is a Parameter layer, all other parameters get lr_mult 0, and every end
    of the net counts in the loss, so Caffe computes the gradient of the image and none of weights. `image`
    chooses the input if several could be it.

    Raises:
        InputError: There is not exactly one image, or the net does not take `batch`.
    """
    whole = for_phase(with_batch(net, batch))
    names = {layer.name for layer in whole.layer} | {top for layer in whole.layer for top in layer.top}
    apart = {(one.index, one.top) for one in layers_in_place(whole.layer)}
    layers = out_of_place(whole.layer, apart, names)
    image, shape = image_input(whole, image)
    made = first_names(whole.layer, layers)
    image = made[image]
    image_layer = free("image", names | {top for layer in layers for top in layer.top})
    out = NetParameter(name=f"{whole.name} (out of place)")
    outputs: dict[str, str] = {}
    for layer in layers:
        if layer.type == "Input":
            _inputs(out, layer, image, image_layer)
        elif layer.type not in SINKS:
            copy = out.layer.add()
            copy.CopyFrom(layer)
            copy.ClearField("propagate_down")
            copy.ClearField("loss_weight")
            if layer.top:
                outputs.setdefault(layer.name, layer.top[0])
    _every_end_counts(out)
    _freeze(out, image_layer)
    return OutOfPlaceNet(
        message=out,
        image=image,
        image_layer=image_layer,
        image_shape=shape,
        outputs=outputs,
        made=made,
        geometry=measure(out),
    )


def _inputs(out: NetParameter, layer: LayerParameter, image: str, image_layer: str) -> None:
    shapes = layer.input_param.shape
    for i, top in enumerate(layer.top):
        shape = shapes[i if len(shapes) > 1 else 0]
        if top == image:
            learns = out.layer.add(name=image_layer, type="Parameter", top=[top], param=[{"lr_mult": 1}])
            learns.parameter_param.shape.CopyFrom(shape)
        else:
            added = out.layer.add(name=f"{layer.name}_{top}", type="Input", top=[top])
            added.input_param.shape.add().CopyFrom(shape)


def _every_end_counts(net: NetParameter) -> None:
    """Make every end a loss: Caffe goes backward only where a loss follows."""
    used = {bottom for layer in net.layer for bottom in layer.bottom}
    for layer in net.layer:
        if not used.issuperset(layer.top) and layer.type not in ("Input", "Parameter"):
            layer.loss_weight.extend(float(top not in used) for top in layer.top)


def _freeze(net: NetParameter, image_layer: str) -> None:
    for layer, measured in zip(net.layer, own_layers(net, measure(net)), strict=True):
        if layer.name != image_layer:
            for i in range(len(measured.param_shapes)):
                spec = layer.param[i] if i < len(layer.param) else layer.param.add()
                spec.lr_mult = 0
