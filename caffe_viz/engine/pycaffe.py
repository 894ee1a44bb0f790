"""The names of the `caffe` module that scripts use."""

from caffe_viz.engine import io
from caffe_viz.engine.classifier import Classifier
from caffe_viz.engine.modes import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from caffe_viz.engine.net import Net
from caffe_viz.engine.net_spec import NetSpec, layers, params, to_proto
from caffe_viz.engine.table import LAYERS

TRAIN, TEST = 0, 1
MISSING = ("Detector", "SGDSolver", "AdamSolver", "NesterovSolver", "AdaGradSolver", "RMSPropSolver")
MISSING += ("AdaDeltaSolver", "get_solver", "NCCL", "Timer", "Layer", "draw", "coord_map")

__all__ = [
    "TEST",
    "TRAIN",
    "Classifier",
    "Net",
    "NetSpec",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "to_proto",
]


def layer_type_list() -> list[str]:
    """The layer types that nets may have."""
    return sorted(LAYERS)


def __getattr__(name: str) -> object:
    if name in MISSING:
        raise NotImplementedError(f"caffe.{name} is real Caffe's only; the embedded engine does not have it.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
