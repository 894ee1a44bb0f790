"""Conditional random fields, which this engine does not compute."""

from __future__ import annotations

from caffe_viz.engine.table import LEFT_OUT

_LATTICE = "it filters on a permutohedral lattice, for which there is no code here; cut the net before it"
LEFT_OUT |= dict.fromkeys(("MultiStageMeanfield", "MultiStageMeanfieldAU3"), _LATTICE)
