"""Weights in another file, and what was lost on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from caffe_viz import converting, netdef, shipped
from caffe_viz.converting import Converted
from caffe_viz.network import PathLike
from caffe_viz.views.rich import Look, Rich


@dataclass(frozen=True, repr=False)
class ConvertedView(Rich):
    """What was written, in words."""

    made: Converted

    @property
    def lines(self) -> list[str]:
        """What the file holds, and the largest difference after the way there and back."""
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

    def _look(self) -> Look:
        return Look(lines=self.lines)


def convert(
    weights: PathLike,
    output: PathLike,
    to: str | None = None,
    prototxt: PathLike | None = None,
    *,
    half: bool = False,
) -> ConvertedView:
    """Write weights as npz, hdf5, safetensors, json or caffemodel; they may be in any of these.

    `to` names the format, None: by the suffix of `output`. The net goes with them, so that the way back to a
    caffemodel is complete: that of `prototxt`, else that in the file. `half`: in float16.

    Raises:
        InputError: `weights` cannot be read, are not of `prototxt`, or the format cannot hold them.
        RunError: `output` cannot be written, or a library that a format needs is not installed.
    """
    net = None if prototxt is None else netdef.for_phase(netdef.read_net(prototxt))
    return ConvertedView(converting.convert(Path(shipped.weights(weights)), Path(output), to, net, half=half))
