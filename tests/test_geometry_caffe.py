"""Geometry against real Caffe: names and shapes of nets and toys, refusals, receptive fields by gradients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caffe_shapes import CaffeShapes, described
from geometry_toys import BAD, GOOD, Toy
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe_viz.errors import InputError
from caffe_viz.geometry import measure
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import NetParameter, parse_net, read_net

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = sorted(p.parent.name for p in (ROOT / "prototxt").glob("*/deploy.prototxt"))
TRAINED = ["cifar10_quick_v1", "lenet_mnist_v1", "squeezenet_v1.0"]


@pytest.fixture(scope="module")
def shapes(caffe: Any) -> Iterator[CaffeShapes]:
    process = CaffeShapes()
    yield process
    process.close()


def summary(net: NetParameter) -> dict[str, Any]:
    """What `measure` says, in the form of `described`."""
    g = measure(net)
    return {
        "layers": [x.name for x in g.layers],
        "types": ["ProposalLayer" if x.type == "Proposal" else x.type for x in g.layers],  # as Caffe calls it
        "bottoms": [list(x.bottoms) for x in g.layers],
        "tops": [list(x.tops) for x in g.layers],
        "blobs": [[name, list(shape)] for name, shape in g.blobs.items()],
        "params": [[list(shape) for shape in x.param_shapes] for x in g.layers],
        "inputs": list(g.inputs),
        "outputs": list(g.outputs),
    }


def test_every_type_of_this_caffe_is_known(caffe: Any) -> None:
    assert set(caffe.layer_type_list()) == set(TABLE)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(shapes: CaffeShapes, name: str) -> None:
    path = ROOT / "prototxt" / name / "deploy.prototxt"
    assert summary(read_net(path)) == shapes.describe(path.read_text())


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models(caffe: Any, shared: Path, name: str) -> None:
    path = shared / "models" / name / "deploy.prototxt"
    assert summary(read_net(path)) == described(caffe, str(path))


@pytest.mark.parametrize("toy", GOOD, ids=str)
def test_toys(shapes: CaffeShapes, toy: Toy) -> None:
    assert summary(parse_net(toy.prototxt())) == shapes.describe(toy.prototxt())


@pytest.mark.parametrize("toy", BAD, ids=str)
def test_caffe_aborts_on_what_is_refused(shapes: CaffeShapes, toy: Toy) -> None:
    """That `measure` refuses these stands in test_geometry.py."""
    assert shapes.describe(toy.prototxt()) is None


SPLITS = {
    "in-place layer, two consumers": """
        layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
        layer { name: "p" type: "TanH" bottom: "a" top: "p" } layer { name: "q" type: "TanH" bottom: "a" top: "q" }""",
    "one layer takes a blob twice": 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "a" top: "e" }',
    "second top of a layer": """
        layer { name: "s" type: "Slice" bottom: "a" top: "u" top: "v" }
        layer { name: "e" type: "Eltwise" bottom: "u" bottom: "v" top: "e" }
        layer { name: "p" type: "TanH" bottom: "v" top: "p" } layer { name: "q" type: "TanH" bottom: "v" top: "q" }""",
    "loss weight beside consumers": """
        layer { name: "r" type: "TanH" bottom: "a" top: "r" loss_weight: 3 }
        layer { name: "p" type: "TanH" bottom: "r" top: "p" } layer { name: "q" type: "TanH" bottom: "r" top: "q" }""",
    "loss weight beside one consumer, none left": """
        layer { name: "r" type: "TanH" bottom: "a" top: "r" loss_weight: 3 }
        layer { name: "p" type: "TanH" bottom: "r" top: "p" }""",
    "loss weight 0": """
        layer { name: "r" type: "TanH" bottom: "a" top: "r" loss_weight: 0 }
        layer { name: "p" type: "TanH" bottom: "r" top: "p" }""",
    "loss with a named top that is used": """
        layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "a" top: "l" loss_weight: 2 }
        layer { name: "p" type: "TanH" bottom: "l" top: "p" }""",
    "unnamed tops of losses": """
        layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "a" }
        layer { name: "m" type: "EuclideanLoss" bottom: "a" bottom: "a" }""",
    "shared parameters": """
        layer { name: "p" type: "InnerProduct" bottom: "a" top: "p" param { name: "w" } param { name: "b" }
          inner_product_param { num_output: 4 axis: 1 } }
        layer { name: "q" type: "InnerProduct" bottom: "a" top: "q" param { name: "w" } param { name: "b" }
          inner_product_param { num_output: 4 axis: 1 } }""",
    "phases": """
        layer { name: "p" type: "TanH" bottom: "a" top: "p" include { phase: TRAIN } }
        layer { name: "q" type: "TanH" bottom: "a" top: "q" exclude { phase: TRAIN } }""",
    "outputs by name": """
        layer { name: "s" type: "Slice" bottom: "a" top: "z" top: "b" }""",
}


@pytest.mark.parametrize("layers", SPLITS.values(), ids=SPLITS)
def test_hidden_layers(shapes: CaffeShapes, layers: str) -> None:
    text = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 4 } } }' + layers
    assert summary(parse_net(text)) == shapes.describe(text)


BROKEN = {
    "bottom": 'layer { name: "p" type: "TanH" bottom: "b" top: "p" }',
    "top twice": 'layer { name: "p" type: "TanH" bottom: "a" top: "p" } layer { name: "q" type: "TanH" bottom: "p" top: "a" }',
    "same top twice": 'layer { name: "s" type: "Slice" bottom: "a" top: "p" top: "p" }',
    "in place beside a consumer": """
        layer { name: "p" type: "TanH" bottom: "a" top: "p" } layer { name: "q" type: "TanH" bottom: "a" top: "a" }""",
    "in-place Reshape": 'layer { name: "p" type: "Reshape" bottom: "a" top: "a" reshape_param { shape { dim: -1 } } }',
    "shared parameters differ": """
        layer { name: "p" type: "InnerProduct" bottom: "a" top: "p" param { name: "w" } inner_product_param { num_output: 4 } }
        layer { name: "q" type: "InnerProduct" bottom: "p" top: "q" param { name: "w" } inner_product_param { num_output: 5 } }""",
}


@pytest.mark.parametrize("layers", BROKEN.values(), ids=BROKEN)
def test_broken_nets(shapes: CaffeShapes, layers: str) -> None:
    text = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 4 } } }' + layers
    assert shapes.describe(text) is None
    with pytest.raises(InputError, match=r"^layer '[a-z]' "):
        measure(parse_net(text))


ONES = 'num_output: 2 weight_filler { type: "constant" value: 1 }'
FIELD_NETS = {
    "convolutions": [f"Convolution convolution_param {{ {ONES} kernel_size: 3 pad: 1 stride: 2 }}"] * 2,
    "dilated": [f"Convolution convolution_param {{ {ONES} kernel_size: 3 pad: 3 dilation: 3 }}"],
    "not square": [
        f"Convolution convolution_param {{ {ONES} kernel_h: 1 kernel_w: 5 stride_h: 1 stride_w: 2 }}",
        "Pooling pooling_param { pool: AVE kernel_h: 4 kernel_w: 2 stride_h: 2 stride_w: 1 }",
    ],
    "padded pooling": ["Pooling pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"] * 2,
    "within channels": ["LRN lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 2 }"],
    "softmax along rows": ["Softmax softmax_param { axis: 3 }"],
    "moved": ["Slice slice_param { axis: 3 slice_point: 4 }", f"Convolution convolution_param {{ {ONES} kernel_size: 2 }}"],
    "global": [f"Convolution convolution_param {{ {ONES} kernel_size: 4 stride: 4 }}", "Pooling pooling_param { pool: AVE global_pooling: true }"],
    "inner product": [f"Convolution convolution_param {{ {ONES} kernel_size: 4 stride: 4 }}", f"InnerProduct inner_product_param {{ {ONES} axis: 2 }}"],
}  # fmt: skip


def gradients(caffe: Any, tmp_path: Path, layers: list[str]) -> tuple[Any, Any]:
    """(net, function of a unit (y, x) of its last blob -> box of the input pixels with a gradient)."""
    text = "force_backward: true\n" + Toy("Power", ["1 2 15 18"]).prototxt()
    for i, setting in enumerate(layers):
        kind, rest = setting.split(" ", 1)
        tops = f'top: "t{i + 1}"' + (' top: "rest"' if kind == "Slice" else "")
        text += f'layer {{ name: "l{i}" type: "{kind}" bottom: "t{i}" {tops} {rest} }}\n'
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    net = caffe.Net(str(path), caffe.TEST)
    net.blobs["a"].data[...] = np.random.default_rng(0).uniform(0.5, 1, (1, 2, 15, 18))
    net.forward()

    def box(unit: tuple[int, int]) -> tuple[int, ...]:
        top = net.blobs[f"t{len(layers)}"]
        top.diff[...] = 0
        top.diff[(0, 0, *unit)[: top.diff.ndim]] = 1
        net.backward()
        rows, columns = np.nonzero(net.blobs["a"].diff[0].any(axis=0))
        return (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)

    return parse_net(text), (box, net.blobs[f"t{len(layers)}"].data.shape)


@pytest.mark.parametrize("layers", FIELD_NETS.values(), ids=FIELD_NETS)
def test_fields_are_where_the_gradient_is(caffe: Any, tmp_path: Path, layers: list[str]) -> None:
    net, (box, shape) = gradients(caffe, tmp_path, layers)
    field = measure(net).layers[-1].field
    assert field is not None
    units = np.ndindex(shape[2:]) if len(shape) == 4 else [(0, 0)]
    for y, x in units:
        assert field.box((y, x), (15, 18)) == box((y, x))


@pytest.mark.parametrize(
    "layer",
    [
        f"Deconvolution convolution_param {{ {ONES} kernel_size: 4 stride: 2 pad: 1 }}",
        f"Deconvolution convolution_param {{ {ONES} kernel_size: 3 stride: 3 }}",
        f"Deconvolution convolution_param {{ {ONES} kernel_size: 5 stride: 2 dilation: 1 }}",
    ],
)
def test_fields_of_upsampling_are_within_one_pixel(caffe: Any, tmp_path: Path, layer: str) -> None:
    """Units differ there; the field keeps their centre and the largest size."""
    net, (box, shape) = gradients(caffe, tmp_path, [layer])
    field = measure(net).layers[-1].field
    assert field is not None
    for y, x in np.ndindex(shape[2:]):
        assert np.abs(np.subtract(field.box((y, x), (15, 18)), box((y, x)))).max() < 1


def layer_settings() -> st.SearchStrategy[str]:
    """A spatial layer with random settings, some of them impossible."""
    number = st.integers(0, 5)
    window = st.tuples(number, number, number, number, number, number)
    conv = st.tuples(
        st.sampled_from(["Convolution", "Deconvolution"]), window, st.integers(1, 3), st.integers(1, 2)
    ).map(
        lambda v: (
            f"{v[0]} convolution_param {{ num_output: 4 kernel_h: {v[1][0]} kernel_w: {v[1][1]} stride_h: {v[1][2]} "
            f"stride_w: {v[1][3]} pad_h: {v[1][4]} pad_w: {v[1][5]} dilation: {v[2]} group: {v[3]} }}"
        )
    )
    pool = st.tuples(window, st.sampled_from(["MAX", "AVE"]), st.booleans()).map(
        lambda v: (
            f"Pooling pooling_param {{ kernel_h: {v[0][0]} kernel_w: {v[0][1]} stride_h: {v[0][2] + 1} "
            f"stride_w: {v[0][3] + 1} pad_h: {v[0][4]} pad_w: {v[0][5]} pool: {v[1]} ceil_mode: {str(v[2]).lower()} }}"
        )
    )
    spp = st.integers(0, 4).map(lambda n: f"SPP spp_param {{ pyramid_height: {n} }}")
    pad = st.tuples(st.integers(-3, 3), st.integers(-3, 3)).map(
        lambda v: f"Pad pad_param {{ pad_u: {v[0]} pad_r: {v[1]} }}"
    )
    dims = st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4]), max_size=4).map(
        lambda d: " ".join(f"dim: {x}" for x in d)
    )
    reshape = st.tuples(dims, st.integers(-5, 4), st.integers(-1, 3)).map(
        lambda v: f"Reshape reshape_param {{ shape {{ {v[0]} }} axis: {v[1]} num_axes: {v[2]} }}"
    )
    flatten = st.tuples(st.integers(-4, 3), st.integers(-4, 3)).map(
        lambda v: f"Flatten flatten_param {{ axis: {v[0]} end_axis: {v[1]} }}"
    )
    return st.one_of(conv, pool, conv, pool, spp, pad, reshape, flatten)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.tuples(st.integers(1, 12), st.integers(1, 12)), st.lists(layer_settings(), min_size=1, max_size=4))
def test_random_chains(shapes: CaffeShapes, size: tuple[int, int], layers: list[str]) -> None:
    """Equal where both take the net; refused only where Caffe aborts or is left with an empty blob."""
    text = Toy("Power", [f"2 4 {size[0]} {size[1]}"]).prototxt()
    for i, setting in enumerate(layers):
        kind, rest = setting.split(" ", 1)
        text += f'layer {{ name: "l{i}" type: "{kind}" bottom: "t{i}" top: "t{i + 1}" {rest} }}\n'
    real = shapes.describe(text)
    if real is None or any(0 in shape for _, shape in real["blobs"]):
        with pytest.raises(InputError):
            measure(parse_net(text))
    else:
        assert summary(parse_net(text)) == real
