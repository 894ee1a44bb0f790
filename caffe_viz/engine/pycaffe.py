"""The names of the `caffe` module that scripts use."""

from __future__ import annotations

from caffe_viz.engine import classifier, coord_map, detector, draw, io, net_spec, proto
from caffe_viz.engine.classifier import Classifier
from caffe_viz.engine.detector import Detector
from caffe_viz.engine.modes import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from caffe_viz.engine.net import Net
from caffe_viz.engine.net_spec import NetSpec, layers, params, to_proto
from caffe_viz.engine.processes import (
    has_nccl,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from caffe_viz.engine.python_layers import Layer
from caffe_viz.engine.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from caffe_viz.engine.table import LAYERS

__version__ = "1.0.0"  # of the Caffe whose interface this is
TRAIN, TEST = 0, 1
MISSING = ("NCCL", "Timer")

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "get_solver",
    "has_nccl",
    "io",
    "layer_type_list",
    "layers",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]  # fmt: skip


def layer_type_list() -> list[str]:
    """The layer types that nets may have."""
    return sorted(LAYERS)


def __getattr__(name: str) -> object:
    if name in MISSING:
        raise NotImplementedError(f"caffe.{name} is real Caffe's only; the embedded engine does not have it.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
