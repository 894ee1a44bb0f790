"""`time_layers`: prepare a net, run it, and list the times with the layers of its file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from caffe_viz.backend import engine_name, load_net
from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, LayerGeometry, measure, own_layers
from caffe_viz.netdef import LayerParameter, NetParameter, left_out
from caffe_viz.network import Network
from caffe_viz.parity import seeded_weights
from caffe_viz.timing.backwards import WRITES, not_backward
from caffe_viz.timing.noise import noise
from caffe_viz.timing.passes import PASSES, SECONDS, Clock, Passes, Product, repeat
from caffe_viz.timing.result import LayerTime, Timing


def time_layers(
    net: Any,
    *,
    batch: int | None = None,
    size: tuple[int, int] | None = None,
    passes: int = PASSES,
    seconds: float = SECONDS,
    clock: Clock = time.perf_counter,
) -> Timing:
    """Measure how long each layer takes, forward and backward, on the engine and device of `net`.

    The times are medians of up to `passes` passes within `seconds`, at least one, after one to warm up.
    Inputs are noise in 0..1, weights those given or random ones, and the gradient of every output is 1. The
    net goes back through every layer, to its inputs and parameters.

    Args:
        net: A `Network`, a `caffe.Net` from `load_net`, or the path or message of a prototxt. It is not
            changed.
        batch: As for `measure`.
        size: As for `measure`.
        passes: The largest number of passes.
        seconds: The time after which no further pass is started.
        clock: The clock to read.

    Raises:
        InputError: The net would abort Caffe, or its weights do not fit `size`.
        RunError: The engine is not installed, or a layer cannot go forward.
    """
    if passes < 1:
        raise InputError(f"passes must be at least 1, not {passes}.")
    network = Network.of(net)
    network.check()
    part = _sized(network.message, batch, size, network.allow_code)
    measured = measure(part, files=network.allow_code)
    weights = seeded_weights(part) if network.weights is None else network.trained
    made = load_net(part, weights, engine=network.engine, device=network.device, checked=False)
    own = own_layers(part, measured)
    runs, product = _passes(made, part, own, clock), Product.like(made, clock)
    done = repeat(runs, product, passes, seconds)
    forward, backward = Passes.middle(runs.forward), Passes.middle(runs.backward)
    found = [(forward.get(x.index), backward.get(x.index), runs.notes.get(x.index, "")) for x in own]
    hidden = {layer.index for layer in measured.layers} - {layer.index for layer in own}
    return Timing(
        engine=engine_name(made),
        device=str(getattr(made, "device", "cpu")),
        batch=_batch(measured),
        passes=done,
        sgemm=product.rate,
        side=product.side,
        layers=tuple(_beside(network.whole, _whole(network, batch, size), part, found)),
        splits=(sum(forward.get(i, 0.0) for i in hidden), sum(backward.get(i, 0.0) for i in hidden)),
        hidden=len(hidden),
    )


def _whole(network: Network, batch: int | None, size: tuple[int, int] | None) -> Geometry:
    return measure(network.whole, batch=batch, size=size, files=network.allow_code)


def _sized(net: NetParameter, batch: int | None, size: tuple[int, int] | None, files: bool) -> NetParameter:
    """A copy with inputs of the shapes that `measure` finds, through all of which a gradient goes back."""
    out = NetParameter()
    out.CopyFrom(net)
    out.force_backward = True
    measured = own_layers(net, measure(net, batch=batch, size=size, files=files))
    for layer, found in zip(out.layer, measured, strict=True):
        if layer.type == "Parameter":
            del layer.parameter_param.shape.dim[:]
            layer.parameter_param.shape.dim.extend(found.shapes[0])
        elif layer.type in ("Input", "MemoryData"):  # real Caffe aborts on the latter without arrays
            layer.type = "Input"
            del layer.input_param.shape[:]
            for shape in found.shapes:
                layer.input_param.shape.add().dim.extend(shape)
    return out


def _passes(made: Any, part: NetParameter, own: list[LayerGeometry], clock: Clock) -> Passes:
    writers = frozenset(x.index for x, layer in zip(own, part.layer, strict=True) if layer.type == WRITES)
    notes = dict(not_backward(part.layer, own, engine_name(made)))
    return Passes(made, noise(made, part), clock, writers, notes)


def _batch(geometry: Geometry) -> int:
    """Images in a batch, as `measure` counts them: the first dimension of the first input."""
    shapes = (x.top_shapes[0] for x in geometry.layers if not x.bottoms and x.top_shapes)
    return next((shape[0] for shape in shapes if shape), 1)


def _beside(
    whole: NetParameter,
    geometry: Geometry,
    part: NetParameter,
    times: list[tuple[float | None, float | None, str]],
) -> Iterator[LayerTime]:
    """Each layer of the `whole` file with its time, if it is one of the `part` that runs, in one order."""
    gone, running = left_out(part), zip(part.layer, times, strict=True)
    runs = next(running, None)
    for layer, measured in zip(whole.layer, own_layers(whole, geometry), strict=True):
        if runs is not None and _same(layer, runs[0]):
            yield LayerTime(measured, *runs[1])
            runs = next(running, None)
        else:
            yield LayerTime(measured, None, None, f"left out: {gone[f'layer {layer.name}']}")


def _same(layer: LayerParameter, other: LayerParameter) -> bool:
    return all(getattr(layer, x) == getattr(other, x) for x in ("name", "bottom", "top"))
