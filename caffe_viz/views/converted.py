"""Convert weights to another file format, and say what was lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caffe_viz import converting, netdef, shipped
from caffe_viz.converting import Converted
from caffe_viz.network import PathLike
from caffe_viz.views.rich import Display, Rich


@dataclass(frozen=True, repr=False)
class ConvertedView(Rich):
    """What was written, in words."""

    made: Converted

    @property
    def lines(self) -> list[str]:
        """What the file holds, and the largest difference after converting there and back."""
        made = self.made
        net = (
            "the layers of the net" if made.complete else "no layers of the net: give --prototxt to have them"
        )
        lost = f"{made.difference:.3g}, in {made.where}, whose weights go up to {made.largest:.3g}"
        return [
            f"{made.blobs} blobs of {made.layers} layers, {made.values:,} values, {made.size:,} bytes; {net}",
            f"largest difference after the way back: {lost if made.where else '0, all values are the same'}",
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    def _look(self) -> Display:
        return Display(lines=self.lines)


def convert(
    weights: PathLike,
    output: PathLike,
    to: str | None = None,
    prototxt: PathLike | None = None,
    *,
    half: bool = False,
) -> ConvertedView:
    """Convert weights between caffemodel, npz, hdf5, safetensors and json.

    The net is stored with the weights, so that the file can be converted back to a complete caffemodel.

    Args:
        weights: A file in any of these formats.
        output: The file to write.
        to: The format. Default: by the suffix of `output`.
        prototxt: The net to store. Default: the one in the file.
        half: Store the values as float16.

    Raises:
        InputError: `weights` cannot be read or are not of `prototxt`, or the format cannot hold them.
        RunError: `output` cannot be written, or a library that the format needs is not installed.

    Example::

        cv.convert("net.caffemodel", "net.safetensors")
    """
    net = None if prototxt is None else netdef.for_phase(netdef.read_net(prototxt))
    return ConvertedView(converting.convert(Path(shipped.weights(weights)), Path(output), to, net, half=half))
