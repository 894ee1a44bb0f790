"""Convolution and pooling of forks beyond values: files, shapes, receptive fields, errors, own gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from geometry_toys import Toy
from layer_cases import LayerCase, all_cases

from caffe_viz.errors import InputError
from caffe_viz.geometry import ReceptiveField, measure
from caffe_viz.netdef import parse_net

torch = pytest.importorskip("torch")

from caffe_viz.engine import Net  # noqa: E402

# What real Caffe computes forward only; it judges the values in test_engine_layers.py.
FORWARD = (
    "BilinearInterpolate",
    "HardSigmoid",
    "HardSwish",
    "MaxUnPool",
    "Pad",
    "PixelShuffle",
    "Unsqueeze",
    "Upsample",
)

# Between the corners of one pixel there is nothing but 0 / 0.
NO_NUMBERS = [
    f"bilinear_interpolate_param {{ {s} }}" for s in ("dst_h: 1 dst_w: 1", "dst_h: 1 dst_w: 5", "dst_h: 4")
]


def loaded(toy: Toy, folder: Path, head: str = "") -> Net:
    path = folder / "net.prototxt"
    path.write_text(head + toy.prototxt())
    return Net(path, 1)


def forced(toy: Toy, folder: Path) -> Net:
    return loaded(toy, folder, "force_backward: true ")


class TestGradients:
    @pytest.mark.parametrize(
        "case",
        [c for c in all_cases() if c.toy.type in FORWARD and c.toy.settings not in NO_NUMBERS],
        ids=str,
    )
    def test_of_what_caffe_has_forward_only(self, case: LayerCase, tmp_path: Path) -> None:
        """In one random direction, as all of them are linear or nearly so."""
        layer = loaded(case.toy, tmp_path).layer_dict["x"]
        rng = np.random.default_rng(1)
        shapes = [[int(n) for n in shape.split()] for shape in case.toy.shapes]
        bottoms = [
            torch.from_numpy(np.asarray(case.inputs.get(name, rng.normal(size=shape)), np.float64))
            for name, shape in zip("ab", shapes, strict=False)
        ]

        def top(x: torch.Tensor) -> torch.Tensor:
            found = layer.kind.function(layer.call, [x, *bottoms[1:]], [])
            return found if isinstance(found, torch.Tensor) else found[0]

        start = bottoms[0].requires_grad_()
        assert torch.autograd.gradcheck(top, (start,), eps=1e-6, atol=1e-5, fast_mode=True)

    def test_upsampling_goes_backward_in_a_net(self, tmp_path: Path) -> None:
        """Each value of the bottom gets those of its block."""
        net = forced(Toy("Upsample", ["1 1 2 2"], "upsample_param { scale: 2 }"), tmp_path)
        net.forward()
        net.blobs["t0"].diff[...] = np.arange(16).reshape(1, 1, 4, 4)
        net.backward()
        blocks = [[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]
        assert net.blobs["a"].diff.tolist() == [[blocks]]

    def test_of_a_mask_is_none(self, tmp_path: Path) -> None:
        """SegNet: pooling's mask goes to the unpooling; the image gets the gradient at the maxima only."""
        text = """force_backward: true
        layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 4 } } }
        layer { name: "p" type: "Pooling" bottom: "a" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" upsample_param { scale: 2 } }"""
        (tmp_path / "net.prototxt").write_text(text)
        net = Net(tmp_path / "net.prototxt", 1)
        image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
        net.blobs["a"].data[...] = image
        net.forward()
        wanted = np.where(np.isin(image, [5, 7, 13, 15]), image, 0)
        assert np.array_equal(net.blobs["u"].data, wanted)
        net.blobs["u"].diff[...] = 2
        net.backward()
        assert np.array_equal(net.blobs["a"].diff, 2 * (wanted > 0))

    @pytest.mark.parametrize(
        ("settings", "wanted"),
        [
            ("centers: 0.5 centers: 1 clip_thr: 1.5 negative_slope: 0.25", [0.25, 0.25, 1, 1, 0]),
            ("centers: 0.5 centers: 1", [0, 0, 1, 1, 1]),
            ('forward_func: "sign" backward_func: "hard_tanh" clip_thr: 1', [0, 1, 1, 0, 0]),
        ],
    )
    def test_of_quantised_values(self, settings: str, wanted: list[float], tmp_path: Path) -> None:
        """That of the function which backward_func names, at -2, -0.5, 0.5, 1.2 and 3."""
        net = forced(Toy("Quant", ["5"], f"quant_param {{ {settings} }}"), tmp_path)
        net.blobs["a"].data[...] = [-2, -0.5, 0.5, 1.2, 3]
        net.forward()
        net.blobs["t0"].diff[...] = 1
        net.backward()
        assert net.blobs["a"].diff.tolist() == wanted

    def test_of_weights_of_one_bit_goes_to_the_weights(self, tmp_path: Path) -> None:
        settings = "inner_product_param { num_output: 1 bias_term: false }"
        net = forced(Toy("BinaryInnerProduct", ["1 2"], settings), tmp_path)
        net.blobs["a"].data[...] = [[3, 5]]
        net.params["x"][0].data[...] = [[0.2, -0.7]]
        assert net.forward()["t0"].tolist() == [[3 - 5]]
        net.blobs["t0"].diff[...] = 2
        net.backward()
        assert net.params["x"][0].diff.tolist() == [[6, 10]]
        assert net.blobs["a"].diff.tolist() == [[2, -2]]


class TestFiles:
    """One value per axis, however it is written, in old and new nets; here (5, 6, 7) under (1, 2, 3), by 1, 2, 2."""

    @pytest.mark.parametrize(
        "settings",
        [
            "kernel_size: 1 kernel_size: 2 kernel_size: 3 stride: 1 stride: 2 stride: 2 pad: 0",
            "kernel_size: [1, 2, 3] stride: [1, 2, 2]",
            "stride: 1 kernel_size: 1 stride: 2 kernel_size: 2 kernel_size: 3 stride: 2",
        ],
    )
    def test_new_layers(self, settings: str) -> None:
        found = measure(
            parse_net(Toy("Pooling", ["1 2 5 6 7"], f"pooling_param {{ {settings} }}").prototxt())
        )
        assert found.blobs["t0"] == (1, 2, 5, 3, 3)

    def test_old_layers(self) -> None:
        text = """input: "a" input_shape { dim: 1 dim: 2 dim: 5 dim: 6 dim: 7 }
        layers { name: "p" type: POOLING bottom: "a" top: "p"
          pooling_param { kernel_size: 1 kernel_size: 2 kernel_size: 3 stride: 1 stride: 2 stride: 2 } }"""
        assert measure(parse_net(text)).blobs["p"] == (1, 2, 5, 3, 3)

    def test_a_clip_through_c3d(self) -> None:
        text = """
        layers { name: "data" type: VIDEO_DATA top: "data" top: "label"
          image_data_param { source: "x" batch_size: 2 crop_size: 12 new_length: 8 new_height: 16 new_width: 20 } }
        layers { name: "conv" type: CONVOLUTION3D bottom: "data" top: "conv" convolution_param {
          num_output: 4 kernel_size: 3 kernel_depth: 2 pad: 1 temporal_pad: 1 temporal_stride: 2 filter_group: 2 } }
        layers { name: "pool" type: POOLING3D bottom: "conv" top: "pool"
          pooling_param { pool: MAX kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 1 } }"""
        found = measure(parse_net(text))
        assert found.blobs["data"] == (2, 3, 8, 12, 12)
        assert found.blobs["conv"] == (2, 4, 5, 12, 12)
        assert found.blobs["pool"] == (2, 4, 4, 6, 6)
        assert found.layer("conv").param_shapes == ((4, 3, 2, 3, 3), (4,))
        assert found.layer("conv").macs == 4 * 3 * 18 * 5 * 144
        assert found.layer("pool").field == ReceptiveField((5, 5), (2, 2), (-1, -1))

    def test_outputs_of_depthwise_layers_by_trained_weights(self) -> None:
        """synopsys-caffe makes num_output of them, farmingyard as many as there are."""
        toy = Toy("ConvolutionDepthwise", ["1 4 5 5"], "convolution_param { num_output: 8 kernel_size: 3 }")
        net = parse_net(toy.prototxt())
        assert measure(net).blobs["t0"] == (1, 8, 3, 3)
        net.layer[1].trained.add(dim=[4, 1, 3, 3])
        assert measure(net).blobs["t0"] == (1, 4, 3, 3)


class TestFields:
    """Receptive fields (height, width): size, stride, offset."""

    @pytest.mark.parametrize(
        ("toy", "field"),
        [
            (
                Toy(
                    "Convolution",
                    ["1 1 9 9"],
                    "convolution_param { num_output: 1 kernel_size: 3 stride: 2 pad_l: 2 pad_t: 1 pad_b: 3 }",
                ),
                ReceptiveField((3, 3), (2, 2), (-1, -2)),
            ),
            (
                Toy("Pooling", ["1 1 9 8"], "pooling_param { kernel_size: 3 stride: 2 pad_type: 1 }"),
                ReceptiveField((3, 3), (2, 2), (-1, 0)),
            ),
            (
                Toy(
                    "ConvolutionDepthwise",
                    ["1 2 9 9"],
                    "convolution_param { kernel_size: 3 pad: 2 dilation: 2 }",
                ),
                ReceptiveField((5, 5), (1, 1), (-2, -2)),
            ),
            (
                Toy(
                    "PoolingND",
                    ["1 1 4 9 9"],
                    "pooling_nd_param { kernel_size: [2, 3, 4] stride: [2, 1, 2] }",
                ),
                ReceptiveField((3, 4), (1, 2), (0, 0)),
            ),
            (
                Toy("Pooling3D", ["1 1 4 9 9"], "pooling3d_param { pool: AVE global_pooling: true }"),
                ReceptiveField((9, 9), (0, 0), (0, 0)),
            ),
            (
                Toy("Unpooling", ["1 1 4 4"], "unpooling_param { kernel_size: 2 stride: 2 unpool_size: 8 }"),
                ReceptiveField((1, 1), (0.5, 0.5), (-0.25, -0.25)),
            ),
            (Toy("Unpooling", ["1 1 4 4"] * 2, "unpooling_param { kernel_size: 2 unpool_size: 8 }"), None),
            (Toy("Quant", ["1 1 4 4"], "quant_param { centers: 1 }"), ReceptiveField((1, 1), (1, 1), (0, 0))),
        ],
        ids=str,
    )
    def test_of_one_layer(self, toy: Toy, field: ReceptiveField | None) -> None:
        assert measure(parse_net(toy.prototxt())).layer("x").field == field


class TestRefusals:
    @pytest.mark.parametrize("kind", ["Pooling", "PoolingND"])
    def test_stochastic_pooling(self, kind: str, tmp_path: Path) -> None:
        field = "pooling_param" if kind == "Pooling" else "pooling_nd_param"
        net = loaded(Toy(kind, ["1 1 4 4"], f"{field} {{ kernel_size: 2 pool: STOCHASTIC }}"), tmp_path)
        with pytest.raises(NotImplementedError, match="layer 'x': STOCHASTIC pooling"):
            net.forward()

    def test_places_outside_the_top(self, tmp_path: Path) -> None:
        net = loaded(Toy("Upsample", ["1 1 2 2"] * 2, "upsample_param { scale: 2 }"), tmp_path)
        net.blobs["b"].data[...] = 16
        with pytest.raises(InputError, match=r"layer 'x' \(Upsample\).*places from 0 to 15; a place is 16"):
            net.forward()
