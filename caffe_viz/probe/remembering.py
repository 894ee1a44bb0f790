"""A probe that remembers its results, for several queries about one image."""

from __future__ import annotations

from typing import Any

from caffe_viz.backend import net_function
from caffe_viz.probe.caffe_passes import RememberingPasses
from caffe_viz.probe.probe import Probe


class RememberingProbe(Probe):
    """A probe that computes nothing twice for the last image; its parameters must not change."""

    def _made_passes(self, layer: str) -> Any:
        if self.engine == "torch":
            return net_function(self.net).remembering
        return RememberingPasses(self.net, layer)
