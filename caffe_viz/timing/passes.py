"""Passes through a net that stop after every layer to read a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_viz.backend import engine_name, load_net
from caffe_viz.errors import RunError
from caffe_viz.netdef import NetParameter
from caffe_viz.probe import need_maxima

Array = NDArray[np.float32]
Clock = Callable[[], float]  # seconds

PASSES, SECONDS = 20, 10.0  # as many as there is time for
SIDE, SIDE_ELSEWHERE = 1536, 4096  # of the matrices of the product: on the CPU, on faster devices


@dataclass
class Passes:
    """The seconds of each layer by its index in `net.layers`, one a pass; a layer in `skipped` has none."""

    net: Any
    inputs: Mapping[str, Array]
    clock: Clock
    no_forward: frozenset[int]
    notes: dict[int, str]  # of layers that do not go backward: why
    forward: dict[int, list[float]] = field(default_factory=dict)
    backward: dict[int, list[float]] = field(default_factory=dict)

    def run(self) -> None:
        """Run one pass forward and one back; in-place and random layers start afresh each time."""
        for name, values in self.inputs.items():
            self.net.blobs[name].data[...] = values
        send(self.net, self.inputs)
        for index in range(len(self.net.layers)):
            if index not in self.no_forward:
                self.forward.setdefault(index, []).append(self._timed(self.net._forward, index))
        self.net.clear_param_diffs()  # they would be added to, which takes longer
        for name in self.net.outputs:
            self.net.blobs[name].diff[...] = 1
        send(self.net, self.net.outputs)
        for index in reversed(range(len(self.net.layers))):
            if index not in self.notes:
                self._back(index)

    def _back(self, index: int) -> None:
        try:
            need_maxima(self.net, [index])
            self.backward.setdefault(index, []).append(self._timed(self.net._backward, index))
        except (NotImplementedError, RunError) as error:
            self.notes[index] = str(error)

    def _timed(self, run: Callable[[int, int], object], index: int) -> float:
        start = self.clock()
        run(index, index)
        wait(self.net, index)
        return self.clock() - start

    def forget(self) -> None:
        """Drop what was measured, as it was to warm up."""
        self.forward, self.backward = {}, {}

    @staticmethod
    def middle(times: Mapping[int, list[float]]) -> dict[int, float]:
        """The median of each layer, in milliseconds."""
        return {index: 1000 * median(some) for index, some in times.items() if some}


@dataclass
class Product:
    """A product of two matrices by an InnerProduct layer: what sgemm reaches on the engine of a net."""

    net: Any
    side: int
    clock: Clock
    seconds: list[float] = field(default_factory=list)

    @classmethod
    def like(cls, net: Any, clock: Clock) -> Product:
        """On engine and device of `net`."""
        device = str(getattr(net, "device", "cpu"))
        side = SIDE if device == "cpu" else SIDE_ELSEWHERE
        message = NetParameter(name="sgemm")
        message.layer.add(name="a", type="Input", top=["a"]).input_param.shape.add().dim.extend([side, side])
        added = message.layer.add(name="product", type="InnerProduct", bottom=["a"], top=["product"])
        added.inner_product_param.num_output, added.inner_product_param.bias_term = side, False
        made = load_net(message, engine=engine_name(net), device=device, checked=False)
        rng = np.random.default_rng(0)
        for target in (made.blobs["a"], made.params["product"][0]):
            target.data[...] = rng.random((side, side), np.float32)
        return cls(made, side, clock)

    def run(self) -> None:
        """Once more."""
        start = self.clock()
        self.net._forward(1, 1)
        wait(self.net, 1)
        self.seconds.append(self.clock() - start)

    @property
    def rate(self) -> float:
        """Multiply-adds a second: the median."""
        return float(self.side**3 / median(self.seconds))


def repeat(passes: Passes, product: Product, most: int, seconds: float) -> int:
    """Once to warm up, then up to `most` times within `seconds`, but at least once; returns how often."""
    begun = before = passes.clock()
    for done in range(most + 1):
        product.run()
        passes.run()
        now = passes.clock()
        if done == 0:
            passes.forget()
            product.seconds.clear()
        elif done == most or now + (now - before) > begun + seconds:
            break
        before = now
    return done


def wait(net: Any, index: int) -> None:
    """Return once layer `index` of `net` is done, on whatever engine and device."""
    if engine_name(net) == "torch":
        from caffe_viz.engine.waiting import wait as wait_there

        wait_there(net, index)


def send(net: Any, blobs: Iterable[str]) -> None:
    """Move what was written into arrays of `blobs` to the device of `net`: the engine would do it later."""
    if engine_name(net) == "torch":
        from caffe_viz.engine.waiting import send as send_there

        send_there(net, blobs)
