"""Solvers of toy nets, on either engine, from the same weights and the same images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NET = """
name: "toy"
layer {
  name: "data" type: "MemoryData" top: "data" top: "label"
  memory_data_param { batch_size: 4 channels: 2 height: 6 width: 5 }
}
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  param { lr_mult: 1 decay_mult: 5 }
  convolution_param { num_output: 4 kernel_size: 3 bias_term: false }  # its gradient would be rounding only
}
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer {
  name: "scale" type: "Scale" bottom: "norm" top: "scale" scale_param { bias_term: true }
  param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
}
layer { name: "tanh" type: "TanH" bottom: "scale" top: "scale" }
layer {
  name: "ip1" type: "InnerProduct" bottom: "scale" top: "ip1"
  param { name: "shared" } param { lr_mult: 0 }
  inner_product_param { num_output: 5 }
}
layer {
  name: "ip2" type: "InnerProduct" bottom: "scale" top: "ip2" param { name: "shared" lr_mult: 0.5 decay_mult: 2 }
  inner_product_param { num_output: 5 bias_term: false }
}
layer { name: "sum" type: "Eltwise" bottom: "ip1" bottom: "ip2" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "sum" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
SETTINGS = """
base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 max_iter: 12 snapshot_after_train: false
"""
IMAGES = np.random.default_rng(3).normal(size=(12, 2, 6, 5)).astype(np.float32)
LABELS = np.random.default_rng(4).integers(0, 5, (12, 1, 1, 1)).astype(np.float32)


def written(folder: Path, settings: str = "", net: str = NET) -> str:
    """The path of a solver of `net`; `settings` replace those of SETTINGS with the same names."""
    (folder / "net.prototxt").write_text(net)
    own = {name_of(line) for line in fields(settings)}
    kept = [line for line in fields(SETTINGS) if name_of(line) not in own]
    text = [*kept, *fields(settings)]
    if not {"net", "train_net", "net_param", "train_net_param"} & own:
        text.append(f'net: "{folder}/net.prototxt"')
    path = folder / "solver.prototxt"
    path.write_text("\n".join(text))
    return str(path)


def fields(settings: str) -> list[str]:
    """`a: 1 b: 2`, or one a line, as a list; messages stand on lines of their own."""
    found = []
    for line in settings.strip().splitlines():
        words = line.split()
        if "{" in line or not words:
            found.append(line)
        else:
            found += [f"{a} {b}" for a, b in zip(words[::2], words[1::2], strict=True)]
    return [line for line in found if line.strip()]


def name_of(line: str) -> str:
    return line.split()[0].rstrip(":")


def ready(solver: Any, seed: int = 5) -> Any:
    """`solver` with weights and images in its nets."""
    rng = np.random.default_rng(seed)
    for blobs in solver.net.params.values():
        for blob in blobs:
            blob.data[...] = 0.3 * rng.normal(size=blob.data.shape)
    for name in ("norm",):
        if name in solver.net.params:
            for blob, value in zip(solver.net.params[name], (0, 1, 1), strict=True):
                blob.data[...] = value
    for net in (solver.net, *solver.test_nets):
        net.set_input_arrays(IMAGES, LABELS)
    return solver


def values(solver: Any, side: str = "data") -> dict[str, np.ndarray]:
    """Copies of the parameters of a solver's net, or of their diffs."""
    return {
        f"{name} {i}": np.array(getattr(blob, side))
        for name, blobs in solver.net.params.items()
        for i, blob in enumerate(blobs)
    }


ROOT = Path(__file__).resolve().parent.parent / "prototxt"


def lenet(batch: int) -> str:
    """The shipped LeNet with labels and a loss."""
    text = (ROOT / "lenet/deploy.prototxt").read_text()
    text = text.replace('top: "data"', 'top: "data" top: "label"', 1)
    text = text.replace(
        "dim: 64 dim: 1 dim: 28 dim: 28 }", f"dim: {batch} dim: 1 dim: 28 dim: 28 }} shape {{ dim: {batch} }}"
    )
    body = text[: text.rindex("layer {")]
    return body + 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }'


def caffenet_cifar10(batch: int) -> str:
    """The shipped net without dropout, whose random numbers no two engines share."""
    text = (ROOT / "caffenet_cifar10/train_val.prototxt").read_text()
    return text.replace("dropout_ratio: 0.3", "dropout_ratio: 0").replace("dim: 100", f"dim: {batch}")


def batches(shape: tuple[int, ...], count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Noisy copies of ten patterns, values from 0 to 1, and which pattern each is."""
    rng = np.random.default_rng(2)
    patterns = rng.random((10, *shape[1:])) < 0.2
    for _ in range(count):
        labels = rng.integers(0, 10, shape[0])
        yield np.clip(patterns[labels] + 0.3 * rng.normal(size=shape), 0, 1), labels


def learn(solver: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """One iteration; the loss before it."""
    solver.net.blobs["data"].data[...] = images
    solver.net.blobs["label"].data[...] = labels
    solver.step(1)
    return float(solver.net.blobs["loss"].data)
