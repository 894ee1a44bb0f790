"""Scale photographs for a screen: small ones are enlarged, large ones shrunk."""

from __future__ import annotations

import numpy as np

from caffe_viz.figures.heat import SIDE
from caffe_viz.images import resized
from caffe_viz.images.pixels import Floats
from caffe_viz.tiling import enlarge

MOST = 1600  # pixels of the longer side


def on_screen(rgb: Floats) -> Floats:
    """(h, w, 3) with a longer side of 1600 pixels at most; one below 227 gets blocks for its pixels."""
    longer = max(rgb.shape[:2])
    if longer > MOST:
        size = (max(1, round(rgb.shape[0] * MOST / longer)), max(1, round(rgb.shape[1] * MOST / longer)))
        return resized(rgb, size, antialias=True).clip(0, 1)
    return np.asarray(enlarge(rgb[None], max(1, SIDE // longer))[0])
