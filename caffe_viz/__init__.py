"""Look inside Caffe networks: from a prototxt and a caffemodel to numbers and pictures.

Example::

    import caffe_viz as cv

    net = cv.load_net("deploy.prototxt", "net.caffemodel")  # a caffe.Net, checked before it is loaded
    cv.shapes(net)
    cv.maximize(net, "conv3", range(0, 90, 10)).save("out")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caffe_viz.ascent import Ascent, Recipe, ascend
    from caffe_viz.backend import load_net, torch_module
    from caffe_viz.checking import check
    from caffe_viz.deploying import preprocess_near
    from caffe_viz.errors import CaffeVizError, CaffeVizWarning, InputError, RunError
    from caffe_viz.figures import Picture
    from caffe_viz.geometry import measure
    from caffe_viz.images import Preprocess, load_image
    from caffe_viz.netdef import State, read_net, read_weights, write_net, write_weights
    from caffe_viz.probe import forward, gradient
    from caffe_viz.published import download
    from caffe_viz.recording import Record, Recorder
    from caffe_viz.report import make_report
    from caffe_viz.server import serve
    from caffe_viz.surgery import auxiliary_net
    from caffe_viz.tiling import vis_square
    from caffe_viz.training import load_solver
    from caffe_viz.views import (
        classify,
        compare_weights,
        convert,
        deploy,
        detect,
        dream,
        explore,
        features,
        invert,
        maximize,
        read_objective,
        segment,
        shapes,
        show_activations,
        show_attribution,
        show_evaluation,
        show_evolution,
        show_gradients,
        show_log,
        show_structure,
        show_weights,
        top_images,
    )

__version__ = "0.2.0"

# Loaded when first used: `caffe-viz --help` shall not wait for what it does not need.
_PUBLIC = {
    "ascent": ("Ascent", "Recipe", "ascend"),
    "backend": ("load_net", "torch_module"),
    "checking": ("check",),
    "deploying": ("preprocess_near",),
    "errors": ("CaffeVizError", "CaffeVizWarning", "InputError", "RunError"),
    "figures": ("Picture",),
    "geometry": ("measure",),
    "images": ("Preprocess", "load_image"),
    "netdef": ("State", "read_net", "read_weights", "write_net", "write_weights"),
    "probe": ("forward", "gradient"),
    "published": ("download",),
    "recording": ("Record", "Recorder"),
    "report": ("make_report",),
    "server": ("serve",),
    "surgery": ("auxiliary_net",),
    "tiling": ("vis_square",),
    "training": ("load_solver",),
    "views": (
        "classify",
        "compare_weights",
        "convert",
        "deploy",
        "detect",
        "dream",
        "explore",
        "features",
        "invert",
        "maximize",
        "read_objective",
        "segment",
        "shapes",
        "show_activations",
        "show_attribution",
        "show_evaluation",
        "show_evolution",
        "show_gradients",
        "show_log",
        "show_structure",
        "show_weights",
        "top_images",
    ),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = [
    "Ascent", "CaffeVizError", "CaffeVizWarning", "InputError", "Picture", "Preprocess", "Recipe",
    "Record", "Recorder", "RunError", "State", "ascend", "auxiliary_net", "check", "classify",
    "compare_weights", "convert", "deploy", "detect", "download", "dream", "explore", "features",
    "forward", "gradient", "invert", "load_image", "load_net", "load_solver", "make_report", "maximize",
    "measure", "preprocess_near", "read_net", "read_objective", "read_weights", "segment", "serve", "shapes",
    "show_activations", "show_attribution", "show_evaluation", "show_evolution", "show_gradients",
    "show_log", "show_structure", "show_weights", "top_images", "torch_module", "vis_square", "write_net",
    "write_weights",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "caffe":  # real Caffe where it is installed, else the embedded engine
        return import_module("caffe_viz.backend").module()
    if name not in _HOME:
        raise AttributeError(f"module 'caffe_viz' has no attribute {name!r}")
    return getattr(import_module(f"caffe_viz.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, "caffe"])
