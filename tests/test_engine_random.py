"""Random small nets on both engines: every value, gradient and loss, in combinations that nobody thought of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from caffe_runs import CaffeRuns, Case, run
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import LayerParameter, NetParameter, blob_array, parse_net
from caffe_viz.parity import LIMIT, apart, seeded_weights

torch = pytest.importorskip("torch")

from caffe_viz.engine import Net  # noqa: E402

Draw = Callable[[st.SearchStrategy[Any]], Any]
Arrays = dict[str, np.ndarray]


def small(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high)


def sometimes(draw: Draw, text: str, one_in: int = 4) -> str:
    return text if draw(small(1, one_in)) == one_in else ""


def windows(draw: Draw) -> str:
    kernel = draw(small(1, 3))
    return f"kernel_size: {kernel} stride: {draw(small(1, kernel))} pad: {draw(small(0, kernel - 1))} "


def convolution(draw: Draw) -> str:
    group = draw(st.sampled_from([1, 1, 1, 2]))
    more = sometimes(draw, "bias_term: false ") + sometimes(draw, "dilation: 2 ")
    return (
        f"convolution_param {{ {windows(draw)}num_output: {group * draw(small(1, 3))} group: {group} {more}}}"
    )


def pooling(draw: Draw) -> str:
    method = draw(st.sampled_from(["MAX", "AVE"]))
    return f"pooling_param {{ pool: {method} {sometimes(draw, 'global_pooling: true ') or windows(draw)}}}"


def lrn(draw: Draw) -> str:
    region = draw(st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]))
    return f"lrn_param {{ local_size: {draw(st.sampled_from([3, 5]))} alpha: 0.5 norm_region: {region} }}"


def one_of(*texts: str) -> Callable[[Draw], str]:
    return lambda draw: draw(st.sampled_from(texts))


# Layers of one bottom, each with what draws its settings.
CHAIN: dict[str, Callable[[Draw], str]] = {
    "Convolution": convolution,
    "Deconvolution": convolution,
    "Pooling": pooling,
    "LRN": lrn,
    "InnerProduct": lambda draw: (
        f"inner_product_param {{ num_output: {draw(small(1, 5))} {sometimes(draw, 'axis: -1 ')}}}"
    ),
    "Flatten": one_of("", "flatten_param { axis: 2 }"),
    "Reshape": one_of(
        "reshape_param { shape { dim: 0 dim: -1 dim: 1 dim: 1 } }",
        "reshape_param { shape { dim: 0 dim: 1 dim: -1 } }",
    ),
    "Permute": one_of("permute_param { order: 0 }", "permute_param { order: 1 order: 0 }"),
    "Softmax": one_of("", "softmax_param { axis: -1 }"),
    "Power": one_of("", "power_param { scale: -2 shift: 0.5 }", "power_param { power: 2 }"),
    "ELU": one_of(""),
    "ReLU": one_of("", "relu_param { negative_slope: 0.2 }"),
    "Sigmoid": one_of(""),
    "TanH": one_of(""),
    "PReLU": one_of("", "prelu_param { channel_shared: true }"),
    "Dropout": one_of(""),
    "Scale": one_of("", "scale_param { bias_term: true }", "scale_param { axis: 0 num_axes: 2 }"),
    "Bias": one_of("", "bias_param { axis: 1 num_axes: -1 }"),
    "BatchNorm": one_of(
        "",
        "batch_norm_param { use_global_stats: false }",
        "batch_norm_param { eps: 0.1 use_global_stats: true }",
    ),
    "Normalize": one_of("", "norm_param { across_spatial: false channel_shared: false }"),
    "Slice": one_of("", "slice_param { axis: 0 }"),
    "Tile": one_of("tile_param { tiles: 2 }", "tile_param { axis: 0 tiles: 1 }"),
    "Reduction": one_of(
        "reduction_param { operation: MEAN axis: 2 }",
        "reduction_param { operation: SUMSQ axis: 1 coeff: 0.3 }",
    ),
}
# Those that may overwrite their bottom, and those whose top may be overwritten: they do not need it to go back.
IN_PLACE = {"BatchNorm", "Bias", "Dropout", "ELU", "PReLU", "ReLU", "Scale", "Sigmoid", "TanH"}
SPARED = {
    "BatchNorm",
    "Bias",
    "Convolution",
    "Deconvolution",
    "Dropout",
    "InnerProduct",
    "Input",
    "Pooling",
    "PReLU",
    "Scale",
}
CONSTANT = ("BatchNorm", "Softmax")  # whose values have one sum, so that a weight has no gradient
JOINS = ("Eltwise", "Concat")
SHARED = ("Convolution", "InnerProduct")


def overwritable(net: NetParameter, blob: str) -> bool:
    maker = [layer for layer in net.layer if blob in layer.top][-1]
    return maker.type in SPARED and not any(blob in x.bottom and blob not in x.top for x in net.layer)


def chained(draw: Draw, net: NetParameter, blob: str) -> str:
    kind = draw(st.sampled_from(sorted(CHAIN)))
    place = kind in IN_PLACE and overwritable(net, blob) and draw(st.booleans())
    top = blob if place else f"b{len(net.layer)}"
    shared = 'param { name: "w" } ' if kind in SHARED else ""
    more = sometimes(draw, shared) or sometimes(
        draw, "param { lr_mult: 0 } " if kind in (*SHARED, "Scale", "PReLU", "BatchNorm") else ""
    )
    more += sometimes(draw, f"propagate_down: {draw(st.sampled_from(['true', 'false']))} ", 8)
    if not place and kind not in CONSTANT:  # in place the gradient overwrites the weight
        more += sometimes(draw, f"loss_weight: {draw(st.sampled_from([0.5, -2]))} ", 12)
    second = f'top: "{top}b" ' if kind == "Slice" else ""
    return f'type: "{kind}" bottom: "{blob}" top: "{top}" {second}{more}{CHAIN[kind](draw)}'


def joined(draw: Draw, net: NetParameter, blob: str) -> str:
    shapes = shapes_of(net)
    free = [name for name in live(net) if len(shapes[name]) == len(shapes[blob])]
    names = [blob, *draw(st.lists(st.sampled_from(free), min_size=1, max_size=2))]
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    kind = draw(st.sampled_from(JOINS))
    operation = draw(st.sampled_from(["SUM", "SUM", "PROD", "MAX"]))
    coeff = "coeff: -1.5 " * len(names) if operation == "SUM" and draw(st.booleans()) else ""
    param = (
        f"eltwise_param {{ operation: {operation} {coeff}}}"
        if kind == "Eltwise"
        else f"concat_param {{ axis: {draw(small(0, 1))} }}"
    )
    return f'type: "{kind}" {bottoms} top: "b{len(net.layer)}" {param}'


def ended(draw: Draw, net: NetParameter, blob: str) -> str:
    """A loss, whose target is an input of its own."""
    shape = shapes_of(net)[blob]
    kind = draw(st.sampled_from(["SoftmaxWithLoss", "EuclideanLoss"]))
    wanted = shape if kind == "EuclideanLoss" else (*shape[:1], *shape[2:])
    target = f"l{len(net.layer)}"
    net.layer.append(
        layer(
            target,
            f'type: "Input" top: "{target}" input_param {{ shape {{ {" ".join(f"dim: {d}" for d in wanted)} }} }}',
        )
    )
    weight = sometimes(draw, "loss_weight: 0.3 ")
    return f'type: "{kind}" bottom: "{blob}" bottom: "{target}" top: "b{len(net.layer)}" {weight}'


def layer(name: str, text: str) -> LayerParameter:
    return parse_net(f'layer {{ name: "{name}" {text} }}').layer[0]


def shapes_of(net: NetParameter) -> dict[str, tuple[int, ...]]:
    return _measured(net.SerializeToString())


@lru_cache(maxsize=4)
def _measured(net: bytes) -> dict[str, tuple[int, ...]]:
    """A net grows layer by layer, and each of them asks several times."""
    return dict(measure(NetParameter.FromString(net)).blobs)


def live(net: NetParameter) -> list[str]:
    return [name for name in shapes_of(net) if "split" not in name and not name.startswith("l")]


@st.composite
def nets(draw: Draw) -> NetParameter:
    """Chains and branches of 2 to 6 layers that `measure` accepts, on one or two images, mostly under losses."""
    dims = " ".join(f"dim: {draw(small(low, high))}" for low, high in ((1, 3), (1, 4), (3, 7), (3, 7)))
    net = NetParameter(force_backward=draw(st.booleans()))
    for name in ("image", "other")[: draw(small(1, 2))]:
        net.layer.append(layer(name, f'type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }}'))
    for _ in range(draw(small(2, 6))):
        add(net, draw(st.sampled_from([chained, chained, chained, joined])), draw)
    for _ in range(draw(small(0, 2))):
        add(net, ended, draw)
    return net


def add(net: NetParameter, proposal: Callable[[Draw, NetParameter, str], str], draw: Draw) -> None:
    """One layer more on one of the blobs, the latest ones rather, if the shapes allow it."""
    names, before = live(net), len(net.layer)
    blob = names[-1 - min(draw(small(0, 3)), len(names) - 1)]
    text = proposal(draw, net, blob)
    net.layer.append(layer(f"x{len(net.layer)}", text))
    try:
        shapes_of(net)
    except InputError:
        del net.layer[before:]


class Engine:
    """What `run` takes for a caffe module."""

    Net = Net


class Holding:
    """The same for somebody who keeps an array of everything, so that the engine must write into them."""

    @staticmethod
    def Net(path: str, phase: int) -> Net:
        net = Net(path, phase)
        blobs = [*net.blobs.values(), *(blob for some in net.params.values() for blob in some)]
        net.held = [array for blob in blobs for array in (blob.data, blob.diff)]
        return net


@pytest.fixture(scope="module")
def caffe_runs(caffe: Any) -> Iterator[CaffeRuns]:
    process = CaffeRuns()
    yield process
    process.close()


def filled(net: NetParameter) -> tuple[Arrays, Arrays]:
    """Values of inputs and of parameters, with which nothing grows or vanishes from layer to layer."""
    rng, shapes = np.random.default_rng(0), measure(net).blobs
    inputs = {x.name: rng.normal(size=shapes[x.name]) for x in net.layer if x.type == "Input"}
    params = {
        f"{x.name} {i}": blob_array(b) for x in seeded_weights(net).layer for i, b in enumerate(x.blobs)
    }
    for x in net.layer:
        if x.type == "SoftmaxWithLoss":
            scores, target = x.bottom
            inputs[target] = rng.integers(0, shapes[scores][1], shapes[target])
    return inputs, params


def nudged(arrays: Arrays) -> Arrays:
    """By about one rounding error, where they are not whole numbers."""
    rng = np.random.default_rng(0)
    return {
        name: values * (1 + 1e-7 * rng.integers(-1, 2, values.shape)) if values.dtype.kind == "f" else values
        for name, values in arrays.items()
    }


@settings(max_examples=130, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(net=nets(), phase=st.sampled_from([0, 1]), module=st.sampled_from([Engine, Holding]))
def test_the_engines_agree(caffe_runs: CaffeRuns, net: NetParameter, phase: int, module: Any) -> None:
    note(str(net))
    assert differences(caffe_runs, module, net, phase) == {}


def differences(caffe_runs: CaffeRuns, module: Any, net: NetParameter, phase: int) -> dict[str, float]:
    """Those over the limit, or over what real Caffe's own numbers move where rounding is all they are made of."""
    phase = 1 if any(x.type == "Dropout" for x in net.layer) else phase
    inputs, params = filled(net)
    case = Case(str(net), inputs, True, phase, params)
    theirs, mine = caffe_runs.run(case), run(module, case)
    assert theirs is not None, "real Caffe aborts on this net"
    assert list(mine) == list(theirs)
    gaps = {name: apart(values, mine[name]) for name, values in theirs.items()}
    over = {name: gap for name, gap in gaps.items() if not gap <= LIMIT}
    if not net.force_backward and any(x.type == "Scale" for x in net.layer):
        # Scale uses a diff that nobody wants as a scratch pad.
        over = {name: gap for name, gap in over.items() if not name.startswith("diff")}
    if not over:
        return {}
    again = caffe_runs.run(Case(str(net), nudged(inputs), True, phase, nudged(params)))
    assert again is not None
    return {
        name: gap for name, gap in over.items() if not gap <= LIMIT + 20 * apart(theirs[name], again[name])
    }
