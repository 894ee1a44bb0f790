"""One net of benchmarks/zoo.py, in a worker process: what each stage does, and why it fails."""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo_training import NEEDS as OF_TRAINING
from zoo_training import STAGES as TRAINING
from zoo_training import Training

STAGES = {"deploy": ("read", "all shapes", "drawn", "loaded", "forward", "backward"), "train": TRAINING}
OPENCV = "OpenCV reads"  # beside the stages, of its own
NEEDS = {  # stages that are not tried where another one failed
    "deploy": {
        "all shapes": "read", "drawn": "read", "loaded": "all shapes", "forward": "loaded",
        "backward": "forward",
    },
    "train": OF_TRAINING,
}  # fmt: skip
GB = 2**30  # bytes
LIBRARIES = 6 * GB  # address space that torch and OpenCV take before any net
MEMORY, TRACEBACK = "memory: ", "traceback: "  # how these reasons begin
PLACE = Path(__file__).resolve().parent.parent / "caffe_viz"
Results = dict[str, str]  # stage -> "" where it passed, else why not


@dataclass
class Trial:
    """One net; each property is what a stage makes, from those before it."""

    path: Path
    memory: float  # GB

    @cached_property
    def message(self) -> Any:
        """The net of its state."""
        from caffe_viz.netdef import for_phase, read_net

        net = for_phase(read_net(self.path))
        net.force_backward = True
        return net

    @cached_property
    def geometry(self) -> Any:
        """Its shapes."""
        from caffe_viz import measure

        return measure(self.message)

    @cached_property
    def net(self) -> Any:
        """The net with weights and inputs."""
        import torch

        from caffe_viz import load_net, measure
        from caffe_viz.engine import modes
        from caffe_viz.errors import InputError, RunError
        from caffe_viz.surgery import with_batch

        message, geometry = self.message, self.geometry
        with suppress(InputError):
            one = with_batch(self.message, 1)
            message, geometry = one, measure(one)
        # Data, diffs, and what autograd keeps.
        if 3 * geometry.blob_bytes + 2 * geometry.param_bytes > self.memory * GB:
            raise RunError(f"{MEMORY}more than {self.memory:g} GB")
        modes.set_random_seed(1)
        net = load_net(message, engine="torch")
        generator = torch.Generator().manual_seed(1)
        for layer in net.layers:
            for place, blob in enumerate(layer.blobs):
                _fill(layer.type, place, blob, generator)
        images = [
            x for x in (net.blobs[name].shape for name in net.inputs) if len(x) == 4 and x[2:] != (1, 1)
        ]
        made = net.layer_dict
        labels = {x.bottom[i] for x in message.layer if x.name in made for i in made[x.name].labels()}
        for name in net.inputs:
            blob = net.blobs[name]
            blob.take(_values(blob.shape, images[0][2:] if images else (), name in labels, generator))
        _feed(net, generator)
        return net

    def need_all_shapes(self) -> None:
        """Raises InputError where a shape is not known."""
        from caffe_viz.errors import InputError

        for why in self.geometry.unknown.values():
            raise InputError(why)

    def draw(self) -> None:
        """The graph as SVG."""
        from caffe_viz import show_structure

        show_structure(self.message).svg()

    def forward(self) -> None:
        """Once."""
        self.net.forward()

    def backward(self) -> None:
        """After a forward, to all that its outputs depend on."""
        import numpy as np

        from caffe_viz.errors import RunError
        from caffe_viz.probe.walk import find_path, walk

        starts = list(_starts(self.net))
        path = find_path(self.net, starts)
        walk(self.net, path, {name: np.ones(self.net.blobs[name].data.shape, np.float32) for name in starts})
        if self.net.inputs and path.on.isdisjoint(self.net.inputs):
            raise RunError("no gradient reaches an input")

    def stages(self) -> dict[str, Callable[[], object]]:
        """What to do, in this order."""
        return {
            "read": lambda: self.message,
            "all shapes": self.need_all_shapes,
            "drawn": self.draw,
            "loaded": lambda: self.net,
            "forward": self.forward,
            "backward": self.backward,
        }


def opencv(path: Path) -> None:
    """Read by the importer of OpenCV's dnn module, which says little of why not."""
    import cv2

    cv2.dnn.readNetFromCaffe(str(path))


def _fill(kind: str, place: int, blob: Any, generator: Any) -> None:
    """Values for a parameter to which no filler gave any: 1 for statistics, small ones for weights."""
    import torch

    if blob.tensor().any():
        return
    if "BatchNorm" in kind and place:
        blob.take(torch.ones(blob.shape))
    elif place == 0 or len(blob.shape) > 1:
        blob.take(0.01 * torch.randn(blob.shape, generator=generator))


def _feed(net: Any, generator: Any) -> None:
    """Noise with labels of 0 for a MemoryData layer."""
    import numpy as np
    import torch

    layer = next((x for x in net.layers if x.type == "MemoryData"), None)
    if layer is not None:
        shape = net.blobs[net.top_names[layer.name][0]].shape
        data = torch.randn(shape, generator=generator).numpy()
        net.set_input_arrays(data, np.zeros(shape[0], np.float32))


def _values(shape: tuple[int, ...], image: tuple[int, ...], label: bool, generator: Any) -> Any:
    """Noise; labels; beside an `image` (H, W) regions (N, 1 + 4 boxes) of it, its size (N, 3 or 4)."""
    import torch

    noise = torch.randn(shape, generator=generator)
    if label:
        return (noise > 0).float()
    if not image or set(shape[2:]) - {1} or len(shape) < 2:
        return noise
    height, width = image
    rows = noise.view(shape[0], shape[1])
    if shape[1] in (3, 4):
        rows[:] = torch.tensor([height, width, 1, 1][: shape[1]])
    elif shape[1] in (5, 9):  # the place of the image; left, top, right, bottom
        rows[:, 0] = 0
        boxes = rows[:, 1:].unflatten(1, (-1, 2, 2))  # a view
        boxes[:] = boxes.sigmoid() / 2 + torch.tensor([[0.0], [0.5]])
        boxes *= torch.tensor([width, height]) - 1
    return noise


def _starts(net: Any) -> Iterator[str]:
    """The outputs; in place of those that a layer without a gradient makes, what it makes them of."""
    from caffe_viz.probe.wires import wires_of

    layers = [(layer, *wires) for layer, wires in zip(net.layers, wires_of(net), strict=True)]
    waiting, seen = list(net.outputs), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        layer, bottoms = next((x, below) for x, below, tops in reversed(layers) if name in tops)
        if layer.kind.gradient and layer.bottoms:
            yield name
        elif not layer.kind.gradient:
            waiting += bottoms


def failure(error: Exception) -> str:
    """Why a stage failed, in one line; what is no error on purpose says where it came from."""
    from caffe_viz.errors import CaffeVizError

    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"{MEMORY}{line}"
    if isinstance(error, CaffeVizError | NotImplementedError):
        return line
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([f for f in frames if Path(f.filename).is_relative_to(PLACE)] or frames)[-1]
    return f"{TRACEBACK}{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}: {line}"


def work(folder: Path, memory: float) -> None:
    """Serve nets from stdin: the name of each stage that begins, then all results, as lines of JSON."""
    for module in ("cv2", "torch", "caffe_viz.engine", "caffe_viz.views"):
        with suppress(ImportError):  # the stage that needs it says so
            import_module(module)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between the answers
    limit = int(memory * GB) + LIBRARIES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for order in sys.stdin:
        name, kind, stages = json.loads(order)
        path, results = folder / name, Results()
        trial = Training(path, memory) if kind == "train" else Trial(path, memory)
        works = trial.stages() | {OPENCV: partial(opencv, path)}
        for stage in stages:
            why = results.get(NEEDS[kind].get(stage, ""), "")
            if not why:
                answers.write(json.dumps(stage) + "\n")
                why = _tried(works[stage])
            results[stage] = why
        answers.write(json.dumps(results) + "\n")


def _tried(run: Callable[[], object]) -> str:
    try:
        run()
    except Exception as error:
        return failure(error)
    return ""
