"""What units of fully connected layers see, from a running net or from the net in a caffemodel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from caffe_viz.errors import InputError
from caffe_viz.geometry import LayerGeometry, measure, seen_by_units
from caffe_viz.geometry.receptive_fields import Shape
from caffe_viz.netdef.embedded_net import embedded_net


def seen_in_net(net: Any) -> dict[str, Shape]:
    """Map layers to the axes, as (C, H, W), that their units read, for a net of pycaffe on either engine."""
    return dict(seen_by_units([_measured(net, *one) for one in enumerate(net._layer_names)]))


def seen_in_file(path: str | Path) -> dict[str, Shape]:
    """The same for a caffemodel; empty if the file does not tell."""
    try:
        return dict(seen_by_units(measure(embedded_net(path)).layers))
    except InputError:
        return {}


def _measured(net: Any, index: int, name: str) -> LayerGeometry:
    bottoms, tops = tuple(net.bottom_names[name]), tuple(net.top_names[name])
    shapes = {blob: tuple(map(int, net.blobs[blob].data.shape)) for blob in (*bottoms, *tops)}
    params = tuple(tuple(map(int, blob.data.shape)) for blob in net.params.get(name, ()))
    kind = net.layers[index].type
    of_bottoms, of_tops = (tuple(map(shapes.get, blobs)) for blobs in (bottoms, tops))
    return LayerGeometry(
        index=index,
        name=name,
        type=kind,
        bottoms=bottoms,
        tops=tops,
        bottom_shapes=of_bottoms,
        top_shapes=of_tops,
        param_shapes=params,
        macs=0,
        field=None,
    )
