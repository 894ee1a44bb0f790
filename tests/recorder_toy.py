"""A toy net with solvers, on either engine, for the tests of recorder, train and evolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from caffe_viz.training import load_solver

BATCH, CLASSES = 6, 3
INPUT = (
    'layer { name: "data" type: "Input" top: "data" top: "label" '
    "input_param { shape { dim: 6 dim: 3 dim: 8 dim: 8 } shape { dim: 6 } } }"
)
MEMORY = (
    'layer { name: "data" type: "MemoryData" top: "data" top: "label" '
    "memory_data_param { batch_size: 6 channels: 3 height: 8 width: 8 } }"
)
# Dropout draws random numbers; filter 3 of conv is dead by its bias; fc reads conv post-ReLU.
LAYERS = """
name: "toy"
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "tanh" type: "TanH" bottom: "fc" top: "tanh" }
layer { name: "drop" type: "Dropout" bottom: "tanh" top: "tanh" dropout_param { dropout_ratio: 0.4 } }
layer { name: "score" type: "InnerProduct" bottom: "tanh" top: "score" inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
SMOOTH = LAYERS.replace('type: "ReLU"', 'type: "TanH"').replace("dropout_ratio: 0.4", "dropout_ratio: 0")
PARAMETERS = 6
SOLVER = 'net: "{net}" base_lr: 0.1 lr_policy: "step" gamma: 0.5 stepsize: 4 momentum: {momentum} weight_decay: 0.01 max_iter: {max_iter} random_seed: 7 snapshot_prefix: "{folder}/toy" '


def write_solver(
    folder: Path,
    *,
    data: str = INPUT,
    layers: str = LAYERS,
    more: str = "",
    max_iter: int = 20,
    momentum: float = 0.9,
) -> Path:
    """solver.prototxt and net.prototxt in `folder`."""
    (folder / "net.prototxt").write_text(data + layers)
    text = SOLVER.format(net=folder / "net.prototxt", max_iter=max_iter, momentum=momentum, folder=folder)
    (folder / "solver.prototxt").write_text(text + more)
    return folder / "solver.prototxt"


def examples(count: int = 30, seed: int = 0) -> dict[str, Any]:
    """Arrays by blob; class k has more of channel k."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    data = rng.normal(size=(count, 3, 8, 8)).astype(np.float32)
    data[np.arange(count), labels] += 1
    return {"data": data, "label": labels.astype(np.float32)}


def write_npz(path: Path, count: int = 30, seed: int = 0) -> Path:
    np.savez(path, **examples(count, seed))
    return path


class Cycle:
    """A feed of its own: batch i of the examples, by hand; an epoch is 5 iterations."""

    epoch = 5

    def __init__(self, net: Any) -> None:
        self.net, self.examples = net, examples()

    def fill(self, iteration: int) -> None:
        start = iteration % self.epoch * BATCH
        for name, values in self.examples.items():
            self.net.blobs[name].data[...] = values[start : start + BATCH]


def plain(solver: Any, count: int) -> None:
    """Train without a recorder."""
    feed = Cycle(solver.net)
    for _ in range(count):
        feed.fill(solver.iter)
        solver.step(1)


def weights(net: Any) -> list[np.ndarray]:
    return [np.array(blob.data) for blobs in net.params.values() for blob in blobs]


def solver(folder: Path, engine: str, **settings: Any) -> Any:
    return load_solver(write_solver(folder, **settings), engine=engine)
