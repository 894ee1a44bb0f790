"""One-layer nets of `geometry_toys`, run on given values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from geometry_toys import Toy

from caffe_viz.backend import module

TRAIN, TEST = 0, 1


def run(
    folder: Path,
    toy: Toy,
    inputs: Mapping[str, object],
    params: Mapping[int, object] | None = None,
    *,
    engine: str = "torch",
    phase: int = TEST,
) -> Any:
    """The net of `toy` after a forward; `params` has values of some parameters by their place."""
    pytest.importorskip(engine, reason=f"the engine {engine} is not installed")
    (folder / "net.prototxt").write_text("force_backward: true\n" + toy.prototxt())
    net = module(engine).Net(str(folder / "net.prototxt"), phase)
    for name, values in inputs.items():
        net.blobs[name].data[...] = values
    for place, values in (params or {}).items():
        net.layer_dict["x"].blobs[place].data[...] = values
    net.forward()
    return net
