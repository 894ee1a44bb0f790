"""Which methods need many passes through the net."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from caffe_viz.attribution.job import Settings
from caffe_viz.attribution.targets import find_layer, find_target
from caffe_viz.probe import Probe

PASSES: Mapping[str, Callable[[Probe], int]] = {
    "smoothgrad": lambda _: 3 * Settings().samples,
    "integrated-gradients": lambda _: 3 * Settings().steps,
    "occlusion": lambda _: 14 * 14,  # squares of a seventh of the side, by half of that
    "score-cam": lambda probe: probe.shape(find_layer(probe, None, find_target(probe, 0)))[0],
}
"""About how many for one image with the usual settings, a backward counting as two; others take a few."""
