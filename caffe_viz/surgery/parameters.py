"""Turn images that real Caffe must take as parameters, to get their gradient, back into inputs."""

from __future__ import annotations

from caffe_viz.netdef import NetParameter
from caffe_viz.surgery.inputs import as_input


def parameter_as_input(net: NetParameter, parameter: str) -> NetParameter:
    """Copy `net` with the Parameter layer `parameter` as an input of the same shape."""
    out = NetParameter()
    out.CopyFrom(net)
    for layer in out.layer:
        if layer.name == parameter and layer.type == "Parameter":
            shape = tuple(layer.parameter_param.shape.dim)
            layer.CopyFrom(as_input(layer, {layer.top[0]: shape}))
    return out
