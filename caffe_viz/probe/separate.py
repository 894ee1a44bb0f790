"""Message in, new message out: a net whose layers all have blobs of their own, and only the image learns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from caffe_viz.geometry import Geometry, measure
from caffe_viz.netdef import LayerParameter, NetParameter, for_phase
from caffe_viz.surgery import Shape, image_input, with_batch

SINKS = frozenset({"HDF5Output", "Silence"})  # they compute nothing; the first writes a file


@dataclass(frozen=True)
class Separated:
    """`image` is the blob of `image_layer`, a Parameter; `outputs` has the first top of each layer."""

    message: NetParameter
    image: str
    image_layer: str
    image_shape: Shape
    outputs: Mapping[str, str]
    geometry: Geometry


def separated(net: NetParameter, batch: int = 1) -> Separated:
    """`net` (TEST phase) with no layer in place, for `batch` images, so that any blob can be a loss.

    A blob that layers work on in place keeps its name for what it holds after a full forward; before that
    it is `conv1_before_relu1`. The image is a Parameter layer, all other parameters get lr_mult 0, and
    every end counts in the loss: Caffe computes the gradient of the image and none of weights.

    Raises:
        InputError: there is not one image, or the net does not take `batch`.
    """
    whole = for_phase(with_batch(net, batch))
    image, shape = image_input(whole)
    names = _Names(whole)
    out = NetParameter(name=f"{whole.name} (separated)")
    image_layer = names.free("image")
    outputs, image_blob = {}, ""
    for layer in whole.layer:
        if layer.type == "Input":
            for i, top in enumerate(layer.top):
                blob = names.write(top, layer.name)
                shapes = layer.input_param.shape
                if top == image:
                    image_blob = blob
                    _learns(out, image_layer, blob, shape)
                else:
                    added = out.layer.add(name=f"{layer.name}_{top}", type="Input", top=[blob])
                    added.input_param.shape.add().CopyFrom(shapes[i if len(shapes) > 1 else 0])
        elif layer.type not in SINKS:
            copy = _copy(out, layer, names)
            outputs.update({layer.name: copy.top[0]} if copy.top else {})
    _every_end_counts(out)
    _freeze(out, image_layer)
    return Separated(out, image_blob, image_layer, shape, outputs, measure(out))


class _Names:
    """Blobs under names of which each has one writer."""

    def __init__(self, net: NetParameter) -> None:
        self._tops = Counter(top for layer in net.layer for top in layer.top)
        self._next = {top: [x.name for x in net.layer if top in x.top] for top in self._tops}
        self._taken = {layer.name for layer in net.layer} | set(self._tops)
        self._current: dict[str, str] = {}

    def read(self, blob: str) -> str:
        return self._current[blob]

    def write(self, blob: str, layer: str) -> str:
        """The name for what `layer` makes of `blob`."""
        self._next[blob].remove(layer)
        later = self._next[blob]
        self._current[blob] = self.free(f"{blob}_before_{later[0]}") if later else blob
        return self._current[blob]

    def free(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _copy(out: NetParameter, layer: LayerParameter, names: _Names) -> LayerParameter:
    copy = out.layer.add()
    copy.CopyFrom(layer)
    for field in ("propagate_down", "loss_weight", "bottom", "top"):
        copy.ClearField(field)
    copy.bottom.extend(names.read(blob) for blob in layer.bottom)
    copy.top.extend(names.write(blob, layer.name) for blob in layer.top)
    return copy


def _learns(out: NetParameter, name: str, blob: str, shape: Shape) -> None:
    layer = out.layer.add(name=name, type="Parameter", top=[blob], param=[{"lr_mult": 1}])
    layer.parameter_param.shape.dim.extend(shape)


def _every_end_counts(net: NetParameter) -> None:
    """Caffe goes backward only where a loss follows."""
    used = {bottom for layer in net.layer for bottom in layer.bottom}
    for layer in net.layer:
        if not used.issuperset(layer.top) and layer.type not in ("Input", "Parameter"):
            layer.loss_weight.extend(float(top not in used) for top in layer.top)


def _freeze(net: NetParameter, image_layer: str) -> None:
    shapes = {x.name: x.param_shapes for x in measure(net).layers}
    for layer in net.layer:
        if layer.name != image_layer:
            for i in range(len(shapes[layer.name])):
                spec = layer.param[i] if i < len(layer.param) else layer.param.add()
                spec.lr_mult = 0
