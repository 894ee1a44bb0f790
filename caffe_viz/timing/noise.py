"""Values for the inputs of a net that no layer refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.netdef import NetParameter

Array = NDArray[np.float32]

# Bottoms with boxes, where real Caffe aborts on noise: priors (left, top, right, bottom) and their variances;
# and rows of images, of which -1 is none.
PRIORS = {("DetectionOutput", 2), ("MultiBoxLoss", 2)}
ROWS = {("DetectionEvaluate", 0), ("DetectionEvaluate", 1), ("MultiBoxLoss", 3)}
BOX, VARIANCE = (0.25, 0.25, 0.75, 0.75), 0.1


def noise(made: Any, net: NetParameter) -> dict[str, Array]:
    """Values in 0..1 for each input of `made`, the net of the message `net`. As labels all of them are 0."""
    rng = np.random.default_rng(0)
    uses = [((x.type, i), name) for x in net.layer for i, name in enumerate(x.bottom)]
    priors, rows = ({name for use, name in uses if use in kind} for kind in (PRIORS, ROWS))
    shapes = {name: made.blobs[name].data.shape for name in made.inputs}
    space = next((shape[-2:] for shape in shapes.values() if len(shape) == 4), (1, 1))
    out = {}
    for name, shape in shapes.items():
        values = rng.random(shape, np.float32)
        if name in rows:
            values[...] = -1
        elif name in priors and values.ndim == 3:
            values[:, 0], values[:, 1] = np.resize(BOX, shape[-1]), VARIANCE
        elif name == "im_info" and shape[-1:] == (3,):  # the whole image, so that proposals lie within
            values[...] = *space, 1
        out[name] = values
    return out
