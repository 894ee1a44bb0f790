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
    own = {"ImageData", "WindowData"}  # they need OpenCV
    here = {name for name, rule in TABLE.items() if not rule.fork}
    assert set(caffe.layer_type_list()) == here - own


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


def tanh(bottom: str, *tops: str) -> str:
    return "".join(f'layer {{ name: "{t}" type: "TanH" bottom: "{bottom}" top: "{t}" }}\n' for t in tops)


def inner(name: str, bottom: str, outputs: int) -> str:
    shared = 'param { name: "w" } param { name: "b" }'
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {shared}'
        f" inner_product_param {{ num_output: {outputs} }} }}\n"
    )


WEIGHTED = 'layer { name: "r" type: "TanH" bottom: "a" top: "r" loss_weight: %s }'
LOSS = 'layer { name: "l" type: "EuclideanLoss" bottom: "a" bottom: "a" %s }'
SPLITS = {
    "in-place layer, two consumers": 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }'
    + tanh("a", "p", "q"),
    "one layer takes a blob twice": 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "a" top: "e" }',
    "second top of a layer": 'layer { name: "s" type: "Slice" bottom: "a" top: "u" top: "v" }'
    + tanh("v", "p", "q"),
    "loss weight beside consumers": WEIGHTED % 3 + tanh("r", "p", "q"),
    "loss weight beside one consumer": WEIGHTED % 3 + tanh("r", "p"),
    "loss weight 0": WEIGHTED % 0 + tanh("r", "p"),
    "loss whose top is used": LOSS % 'top: "l" loss_weight: 2' + tanh("l", "p"),
    "unnamed top of a loss": LOSS % "",
    "shared parameters": inner("p", "a", 4) + inner("q", "p", 4),
    "phases": tanh("a", "p").replace("top:", "include { phase: TRAIN } top:") + tanh("a", "q"),
    "outputs by name": 'layer { name: "s" type: "Slice" bottom: "a" top: "z" top: "b" }',
}


@pytest.mark.parametrize("layers", SPLITS.values(), ids=SPLITS)
def test_hidden_layers(shapes: CaffeShapes, layers: str) -> None:
    text = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 4 } } }' + layers
    assert summary(parse_net(text)) == shapes.describe(text)


BROKEN = {
    "bottom": tanh("b", "p"),
    "top twice": tanh("a", "p", "p"),
    "same top twice": 'layer { name: "s" type: "Slice" bottom: "a" top: "p" top: "p" }',
    "in place beside a consumer": tanh("a", "p", "a"),
    "shared parameters differ": inner("p", "a", 4) + inner("q", "p", 5),
}


@pytest.mark.parametrize("layers", BROKEN.values(), ids=BROKEN)
def test_broken_nets(shapes: CaffeShapes, layers: str) -> None:
    text = 'layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 dim: 4 } } }' + layers
    assert shapes.describe(text) is None
    with pytest.raises(InputError, match=r"^layer '[a-z]' "):
        measure(parse_net(text))


ONES = 'num_output: 2 weight_filler { type: "constant" value: 1 }'
CONV = f"Convolution convolution_param {{ {ONES}"
SMALL = "dst_h: 5 dst_w: 6 align_corners: false"
FIELD_NETS = {
    "convolutions": [f"{CONV} kernel_size: 3 pad: 1 stride: 2 }}"] * 2,
    "dilated": [f"{CONV} kernel_size: 3 dilation: 3 }}"],
    "not square": [
        f"{CONV} kernel_h: 1 kernel_w: 5 stride_h: 1 stride_w: 2 }}",
        "Pooling pooling_param { pool: AVE kernel_h: 4 kernel_w: 2 stride_h: 2 stride_w: 1 }",
    ],
    "padded pooling": ["Pooling pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"] * 2,
    "within channels": ["LRN lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 alpha: 2 }"],
    "softmax along rows": ["Softmax softmax_param { axis: 3 }"],
    "moved": ["Slice slice_param { axis: 3 slice_point: 4 }", f"{CONV} kernel_size: 2 }}"],
    "global": [
        f"{CONV} kernel_size: 4 stride: 4 }}",
        "Pooling pooling_param { pool: AVE global_pooling: true }",
    ],
    "inner product": [
        f"{CONV} kernel_size: 4 stride: 4 }}",
        f"InnerProduct inner_product_param {{ {ONES} axis: 2 }}",
    ],
}


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


@pytest.mark.parametrize(
    ("toy", "tolerance"),
    [
        (Toy("Pad", ["1 1 9 12"], "pad_param { pad_u: 2 pad_l: 1 pad_d: 3 }"), 0),
        (Toy("Pad", ["1 1 9 12"], "pad_param { pad_u: -1 pad_d: -2 pad_l: -3 pad_r: -1 }"), 0),
        (Toy("Crop", ["1 1 9 12", "1 1 4 5"], "crop_param { offset: 2 offset: 3 }"), 0),
        (Toy("Upsample", ["1 1 9 12"], "upsample_param { scale: 3 }"), 0.5),
        (Toy("PixelShuffle", ["1 4 9 12"], "pixelshuffle_param { upscale_factor: 2 }"), 0.5),
        (Toy("Resize", ["1 1 9 12"], "resize_param { height: 18 width: 24 }"), 0.5),
        (Toy("Resize", ["1 1 9 12"], "resize_param { height: 5 width: 7 }"), 0.5),
        (Toy("BilinearInterpolate", ["1 1 9 12"], "bilinear_interpolate_param { dst_h: 17 dst_w: 23 }"), 0.5),
        (Toy("BilinearInterpolate", ["1 1 9 12"], f"bilinear_interpolate_param {{ {SMALL} }}"), 0.5),
    ],
    ids=str,
)
def test_fields_are_where_a_pixel_matters(caffe: Any, tmp_path: Path, toy: Toy, tolerance: float) -> None:
    """For layers without a backward: change each pixel and see which units of the top move."""
    path = tmp_path / "net.prototxt"
    path.write_text(toy.prototxt())
    net = caffe.Net(str(path), caffe.TEST)
    image = net.blobs["a"].data
    seen: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.ndindex(9, 12):
        image[...] = 0
        image[:, :, y, x] = 1
        net.forward()
        for unit in zip(*np.nonzero(net.blobs["t0"].data[0, 0] > 1e-6), strict=True):
            seen.setdefault(unit, []).append((y, x))
    field = measure(parse_net(toy.prototxt())).layers[-1].field
    assert field is not None
    for unit, pixels in seen.items():
        box = (*np.min(pixels, axis=0), *(np.max(pixels, axis=0) + 1))
        mine = field.box(unit, (9, 12))
        # A unit that falls on a pixel sees this one only, not the two that most of its neighbours see.
        assert np.maximum(np.subtract(mine, box)[:2], 0).max() <= tolerance
        assert np.maximum(np.subtract(box, mine)[2:], 0).max() <= tolerance
        assert np.abs(np.subtract(mine, box)).max() <= 2 * tolerance


def layer_settings() -> st.SearchStrategy[str]:
    """A spatial layer with random settings, some of them impossible."""

    def filled(template: str, *values: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
        return st.tuples(*values).map(lambda v: template.format(*v))

    n, axis, stride = st.integers(0, 5), st.integers(-5, 4), st.integers(1, 5)
    flag = st.sampled_from(["true", "false"])
    pair = "kernel_h: {} kernel_w: {} stride_h: {} stride_w: {} pad_h: {} pad_w: {}"
    dims = st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4]), max_size=4).map(
        lambda d: " ".join(f"dim: {x}" for x in d)
    )
    conv = filled(
        f"{{}}onvolution convolution_param {{{{ num_output: 4 {pair} dilation: {{}} group: {{}} }}}}",
        st.sampled_from(["C", "Dec"]), n, n, stride, stride, n, n, st.integers(1, 3), st.integers(1, 2),
    )  # fmt: skip
    pool = filled(
        f"Pooling pooling_param {{{{ {pair} pool: {{}} ceil_mode: {{}} }}}}",
        n, n, stride, stride, n, n, st.sampled_from(["MAX", "AVE"]), flag,
    )  # fmt: skip
    return st.one_of(
        conv,
        pool,
        filled("SPP spp_param {{ pyramid_height: {} }}", n),
        filled(
            "Reshape reshape_param {{ shape {{ {} }} axis: {} num_axes: {} }}", dims, axis, st.integers(-1, 3)
        ),
        filled("Flatten flatten_param {{ axis: {} end_axis: {} }}", axis, axis),
    )


@settings(max_examples=100, deadline=None, derandomize=True)
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
