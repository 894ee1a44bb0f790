#!/usr/bin/env python3
"""Train prototxt/caffenet_cifar10 in PyTorch and write a caffemodel that either engine loads.

    python scripts/train_caffenet_cifar10.py cifar10-jpeg.zip          (train|test)/CLASS/NAME.jpg
    python scripts/train_caffenet_cifar10.py cifar-10-python.tar.gz    the public archive

The net of deploy.prototxt becomes a torch module (`cv.torch_module`). While it learns, each of its layers
with weights but the last is followed by batch normalisation, which is folded into those weights at the end:
the layout stays CaffeNet's. Images are mirrored with probability one half, shifted by up to 4 pixels, and get
a little noise, which makes filters smooth. Each epoch is saved beside the output; the same command goes on
from there. Prints lines in the form of Caffe's log: `caffe-viz evolution LOG` draws them.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caffe_viz import backend

FOLDER = Path(__file__).resolve().parent.parent / "prototxt" / "caffenet_cifar10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MEAN = torch.tensor([113.9, 123.0, 125.3])  # blue, green, red over the training images
SCALE = 1 / 64
SHIFT = 4  # pixels
NOISE = 10  # in 0..255, at most
BATCH = 128
RATE, MOMENTUM, DECAY = 0.1, 0.9, 5e-4
NORM = 0.1  # of the filters of conv1 and conv2

Images = NDArray[np.uint8]  # (N, 3, 32, 32), blue green red
Labels = NDArray[np.int64]  # (N,)


class NumbersOnly(pickle.Unpickler):
    """The archive's pickles hold dicts, bytes and one uint8 array; nothing else may be built from them."""

    allowed = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in CIFAR-10")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_zip(path: Path) -> dict[str, tuple[Images, Labels]]:
    from PIL import Image

    found: dict[str, tuple[list[Images], list[int]]] = {"train": ([], []), "test": ([], [])}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            part, _, rest = name.partition("/")
            if part in found and name.endswith(".jpg"):
                rgb = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                found[part][0].append(rgb[:, :, ::-1].transpose(2, 0, 1))
                found[part][1].append(CLASSES.index(rest.split("/")[0]))
    return {part: (np.stack(images), np.array(labels)) for part, (images, labels) in found.items()}


def read_python_archive(path: Path) -> dict[str, tuple[Images, Labels]]:
    parts: dict[str, list[tuple[Images, Labels]]] = {"train": [], "test": []}
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda m: m.name):
            base = Path(member.name).name
            if base.startswith(("data_batch", "test_batch")):
                stream = archive.extractfile(member)
                assert stream is not None
                batch = NumbersOnly(stream, encoding="bytes").load()
                images = batch[b"data"].reshape(-1, 3, 32, 32)[:, ::-1]
                parts["test" if base.startswith("test") else "train"].append(
                    (images, np.array(batch[b"labels"]))
                )
    return {
        part: (np.concatenate([i for i, _ in batches]), np.concatenate([t for _, t in batches]))
        for part, batches in parts.items()
    }


class Learning(nn.Module):
    """The layers of a net in a chain, those with weights but the last followed by batch normalisation.

    LRN takes a quarter of the time and is left out; `even_filters` makes what reaches it so small that it
    changes nothing in the net either.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        self.pairs: list[tuple[Any, nn.BatchNorm1d | nn.BatchNorm2d]] = []
        for name, layer in module.named_children():
            if layer.param.type not in ("LRN", "Softmax"):
                self.steps.append(layer)
            if list(layer.parameters()):
                fresh(layer)
                if name != "fc8":
                    kind = nn.BatchNorm2d if layer.param.type == "Convolution" else nn.BatchNorm1d
                    self.pairs.append((layer, kind(len(layer.weight))))
                    self.steps.append(self.pairs[-1][1])

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    @torch.no_grad()
    def fold(self) -> None:
        """Put each normalisation, as it is after training, into the weights before it."""
        for layer, norm in self.pairs:
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            layer.weight *= factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
            layer.bias.copy_((layer.bias - norm.running_mean) * factor + norm.bias)


@torch.no_grad()
def even_filters(first: Any, second: Any) -> None:
    """Give the filters of a convolution the norm NORM, and undo that in the next one.

    Between the two are ReLU and MAX pooling, with which scaling commutes, and LRN, which is linear for small
    values. A picture of the filters then shows all of them.
    """
    factor = NORM / first.weight.flatten(1).norm(dim=1)
    first.weight *= factor[:, None, None, None]
    first.bias *= factor
    groups = len(first.weight) // second.weight.shape[1]
    for part, own in zip(second.weight.chunk(groups), factor.chunk(groups), strict=True):
        part /= own[:, None, None]


def fresh(layer: Any) -> None:
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)


def to_caffe(images: Tensor) -> Tensor:
    return (images.float() - MEAN[:, None, None]) * SCALE


def augmented(images: Tensor, random: torch.Generator) -> Tensor:
    """(N, 3, 32, 32): mirrored or not, shifted by up to SHIFT pixels, with noise; the border is the mean
    colour.
    """
    count = len(images)
    padded = nn.functional.pad(to_caffe(images), [SHIFT] * 4)
    y, x = (torch.randint(0, 2 * SHIFT + 1, (count, 1), generator=random) + torch.arange(32) for _ in "yx")
    x = torch.where(torch.rand(count, 1, generator=random) < 0.5, x, x.flip(1))
    shifted = padded[torch.arange(count)[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
    sigma = torch.rand(count, 1, 1, 1, generator=random) * NOISE * SCALE
    return shifted + sigma * torch.randn(shifted.shape, generator=random)


def batches(images: Tensor, labels: Tensor, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(epoch)
    order = torch.randperm(len(images), generator=random)
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        yield augmented(images[chosen], random), labels[chosen]


def train(data: dict[str, tuple[Images, Labels]], epochs: int, output: Path) -> None:
    torch.manual_seed(1)
    net = backend.module("torch").Net(str(FOLDER / "deploy.prototxt"), 1)
    module = backend.torch_module(net, memory_format="channels_last").requires_grad_(True)
    learning = Learning(module).to(memory_format=torch.channels_last)
    images, labels = (torch.from_numpy(a) for a in data["train"])
    test_images, test_labels = (torch.from_numpy(a) for a in data["test"])
    count = epochs * (len(images) // BATCH)
    parameters = list(learning.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, RATE, MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, count, pct_start=0.2, anneal_strategy="linear"
    )
    state = {"learning": learning, "optimizer": optimizer, "schedule": schedule}
    kept = output.with_name(output.name + ".partial")
    begun = 0
    if kept.exists():
        saved = torch.load(kept)
        begun = saved.pop("epochs")
        for name, part in saved.items():
            state[name].load_state_dict(part)
    step = begun * (len(images) // BATCH)
    for epoch in range(begun, epochs):
        learning.train()
        losses, since = [], time.monotonic()
        for inputs, wanted in batches(images, labels, epoch):
            loss = nn.functional.cross_entropy(learning(inputs), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step < count - 1:
                schedule.step()
            losses.append(float(loss.detach()))
            step += 1
            if step % 50 == 0:
                print(f"Iteration {step}, loss = {np.mean(losses[-50:]):.5g}", flush=True)
                print(f"Iteration {step}, lr = {schedule.get_last_lr()[0]:.5g}", flush=True)
        right = accuracy(learning.eval(), test_images, test_labels)
        print(
            f"Iteration {step}, Testing net (#0)\n    Test net output #0: accuracy = {right:.4f}", flush=True
        )
        print(f"epoch {epoch + 1} of {epochs}: {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
        torch.save(
            {"epochs": epoch + 1} | {n: part.state_dict() for n, part in state.items()}, str(kept) + "~"
        )
        os.replace(str(kept) + "~", kept)
    learning.fold()
    even_filters(module.conv1, module.conv2)
    even_filters(module.conv2, module.conv3)
    for name, blobs in net.params.items():
        for blob, parameter in zip(blobs, getattr(module, name).parameters(), strict=True):
            blob.data[...] = parameter.detach().numpy()
    net.save(str(output))
    kept.unlink()


@torch.no_grad()
def accuracy(learning: nn.Module, images: Tensor, labels: Tensor) -> float:
    parts = zip(images.split(500), labels.split(500), strict=True)
    return sum(int((learning(to_caffe(x)).argmax(1) == y).sum()) for x, y in parts) / len(images)


def evaluate(data: dict[str, tuple[Images, Labels]], weights: Path, engine: str) -> float:
    """The share of the test images that the net of deploy.prototxt has right, as users load it."""
    net = backend.load_net(FOLDER / "deploy.prototxt", weights, engine=engine)
    images, labels = data["test"]
    size = len(net.blobs["data"].data)
    right = 0
    for start in range(0, len(images), size):
        net.blobs["data"].data[...] = to_caffe(torch.from_numpy(images[start : start + size])).numpy()
        right += int((net.forward()["prob"].argmax(1) == labels[start : start + size]).sum())
    return right / len(images)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--evaluate", action="store_true", help="only measure the weights that are there")
    parser.add_argument("--engine", choices=backend.ENGINES, default="auto", help="that measures them")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER / "caffenet_cifar10.caffemodel")
    options = parser.parse_args()
    data = (read_zip if zipfile.is_zipfile(options.archive) else read_python_archive)(options.archive)
    if not options.evaluate:
        train(data, options.epochs, options.output)
    got = evaluate(data, options.output, options.engine)
    print(f"accuracy on {len(data['test'][1])} test images: {100 * got:.2f} %", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
