"""Extract the prototxt that a caffemodel holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from caffe_viz import shipped
from caffe_viz.errors import InputError
from caffe_viz.geometry.data_shapes import brings_data
from caffe_viz.netdef import NetParameter, as_text, is_binary, read_net, write_net
from caffe_viz.network import PathLike

NAMED = 5  # layers in a note


@dataclass(frozen=True)
class Extracted:
    """The net of a caffemodel, without its weights."""

    message: NetParameter

    def save(self, path: PathLike) -> None:
        """Write the prototxt. Raises RunError if it cannot be written."""
        write_net(self.message, path)

    def notes(self, path: PathLike) -> Iterator[str]:
        """What differs from a prototxt for use, and what to do about it; `path` is where it was saved."""
        data = [layer.name for layer in self.message.layer if brings_data(layer)]
        if data:
            yield (f"{_listed('data layer', data)}: `caffe-viz deploy {path}` turns it into a net for use")
        for layer in self.message.layer:
            if layer.type == "Input" and not layer.input_param.shape:
                yield (
                    f"{_listed('input', list(layer.top))} without a shape, which the caffemodel does not "
                    f"have: give {path} its input_param, or --input {layer.top[0]}=1x3x224x224 with its own "
                    f"numbers"
                )
        lost = [
            f"{layer.name} ({unknown.name})"
            for layer in self.message.layer
            for unknown in layer.unknown
            if unknown.text.startswith("#")
        ]
        if lost:
            yield f"{_listed('field', lost)} of a fork, missing: a caffemodel has no names of fields"

    def __str__(self) -> str:
        return as_text(self.message)


def extract(caffemodel: PathLike) -> Extracted:
    """Return the net that a caffemodel of any age holds, as the prototxt from which it was made.

    Its layers are those of the phase in which it was saved, usually TRAIN, with data layers and losses.
    Split layers that Caffe inserted are removed.

    Raises:
        InputError: The file is not a caffemodel, or it holds weights but no net, like HDF5.
    """
    caffemodel = shipped.weights(caffemodel)
    if not is_binary(caffemodel):
        read_net(caffemodel)  # says what is wrong with it, if it is not even a prototxt
        raise InputError(f"{caffemodel} is a prototxt already; give a caffemodel to extract one from.")
    return Extracted(read_net(caffemodel))


def _listed(what: str, names: list[str]) -> str:
    """ "data layers a, b and 3 more"."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{what}{'s' if len(names) > 1 else ''} {', '.join(names[:NAMED])}{more}"
