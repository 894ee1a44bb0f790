"""Geometry of small nets against numbers worked out by hand; test_geometry_caffe.py asks real Caffe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from geometry_toys import BAD, GOOD, WORSE, Toy

from caffe_viz.errors import InputError
from caffe_viz.geometry import Geometry, ReceptiveField, measure, with_splits
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import parse_net, read_net

# data 2x3x20x16 -> conv 4 of 3x3, pad 1 -> relu in place -> pool 2x2 stride 2 -> fc 5 -> prob; conv -> side.
TOY = """
name: "toy"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 20 dim: 16 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "side" type: "Convolution" bottom: "conv" top: "side"
  convolution_param { num_output: 2 kernel_h: 5 kernel_w: 1 bias_term: false } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def layers(geometry: Geometry) -> list[str]:
    return [layer.name for layer in geometry.layers]


def chain(*settings: str, shape: str = "1 1 40 40") -> Geometry:
    """A chain of layers, each given as 'Type { settings }'."""
    text = Toy("Split", [shape]).prototxt()
    for i, setting in enumerate(settings):
        kind, rest = setting.split(" ", 1)
        text += f'layer {{ name: "l{i}" type: "{kind}" bottom: "t{i}" top: "t{i + 1}" {rest} }}\n'
    return measure(parse_net(text))


def last_field(*settings: str, shape: str = "1 1 40 40") -> ReceptiveField | None:
    return chain(*settings, shape=shape).layers[-1].field


CONV = "Convolution convolution_param { num_output: 1"
UP = "Deconvolution convolution_param { num_output: 1"
CONV3 = f"{CONV} kernel_size: 3 }}"
WHOLE = ReceptiveField((40, 40), (0, 0), (0, 0))
GLOBAL = "Pooling pooling_param { global_pooling: true }"
POOL2 = "Pooling pooling_param { kernel_size: 2 stride: 2 }"


class TestMeasure:
    def test_shapes_parameters_and_costs(self) -> None:
        g = measure(parse_net(TOY))
        assert g.name == "toy"
        assert layers(g) == ["data", "conv", "relu", "conv_relu_0_split", "pool", "side", "fc", "prob"]
        assert [layer.index for layer in g.layers] == list(range(8))
        assert g.blobs == {
            "data": (2, 3, 20, 16),
            "conv": (2, 4, 20, 16),
            "conv_relu_0_split_0": (2, 4, 20, 16),
            "conv_relu_0_split_1": (2, 4, 20, 16),
            "pool": (2, 4, 10, 8),
            "side": (2, 2, 16, 16),
            "fc": (2, 5),
            "prob": (2, 5),
        }
        assert (g.inputs, g.outputs) == (("data",), ("prob", "side"))
        assert g.layer("conv").param_shapes == ((4, 3, 3, 3), (4,))
        assert g.layer("side").param_shapes == ((2, 4, 5, 1),)
        assert g.layer("fc").param_shapes == ((5, 320), (5,))
        assert g.params == 4 * 27 + 4 + 2 * 20 + 5 * 320 + 5
        assert g.param_bytes == 4 * g.params
        costs = {layer.name: layer.macs for layer in g.layers if layer.macs}
        assert costs == {"conv": 20 * 16 * 4 * 27, "side": 16 * 16 * 2 * 20, "fc": 5 * 320}
        assert g.macs == sum(costs.values())
        # In-place ReLU and Split share memory: data, conv, pool, side, fc and prob remain.
        assert g.blob_bytes == 4 * 2 * (3 * 320 + 4 * 320 + 4 * 80 + 2 * 256 + 5 + 5)

    def test_fields(self) -> None:
        g = measure(parse_net(TOY))
        assert g.layer("data").field == ReceptiveField((1, 1), (1, 1), (0, 0))
        assert g.layer("conv").field == g.layer("relu").field == ReceptiveField((3, 3), (1, 1), (-1, -1))
        assert g.layer("pool").field == ReceptiveField((4, 4), (2, 2), (-1, -1))
        assert g.layer("side").field == ReceptiveField((7, 3), (1, 1), (-1, -1))
        assert g.layer("fc").field == g.layer("prob").field == ReceptiveField((20, 16), (0, 0), (0, 0))

    def test_batch_and_size_replace_those_of_the_input(self) -> None:
        g = measure(parse_net(TOY), batch=7, size=(30, 40))
        assert g.blobs["data"] == (7, 3, 30, 40)
        assert g.blobs["pool"] == (7, 4, 15, 20)
        assert g.layer("fc").param_shapes[0] == (5, 1200)
        assert g.layer("fc").field == ReceptiveField((30, 40), (0, 0), (0, 0))
        assert measure(parse_net(TOY), batch=7).macs == measure(parse_net(TOY)).macs

    def test_size_leaves_other_inputs_alone_and_takes_a_parameter_as_image(self) -> None:
        net = parse_net(
            'layer { name: "data" type: "Parameter" top: "data"'
            " parameter_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }"
            'layer { name: "scale" type: "Parameter" top: "s" parameter_param { shape { dim: 3 dim: 2 } } }'
            'layer { name: "info" type: "Input" top: "info" top: "twin" input_param { shape { dim: 1 dim: 3 }'
            " shape { dim: 1 dim: 1 dim: 9 dim: 9 } } }"
        )
        g = measure(net, batch=4, size=(5, 6))
        assert g.blobs == {"data": (4, 3, 5, 6), "s": (3, 2), "info": (4, 3), "twin": (4, 1, 5, 6)}
        assert g.layer("data").param_shapes == ((4, 3, 5, 6),)
        assert g.layer("scale").field is None

    def test_size_needs_an_image(self) -> None:
        with pytest.raises(InputError, match="no input of four axes"):
            measure(parse_net(Toy("ReLU", ["4 3"]).prototxt()), size=(3, 3))

    @pytest.mark.parametrize("bad", [{"batch": 0}, {"size": (0, 5)}, {"size": (5, -1)}])
    def test_batch_and_size_below_one(self, bad: dict[str, int]) -> None:
        with pytest.raises(InputError, match="at least 1"):
            measure(parse_net(TOY), **bad)

    def test_test_phase_is_measured(self) -> None:
        extra = 'layer { name: "only" type: "ReLU" bottom: "prob" top: "only" include { phase: TRAIN } }'
        assert "only" not in measure(parse_net(TOY + extra)).blobs

    def test_shared_parameters_count_once(self) -> None:
        conv = (
            'layer {{ name: "{0}" type: "Convolution" bottom: "a" top: "{0}" param {{ name: "w" {2} }}'
            ' param {{ name: "b" }} convolution_param {{ num_output: 2 {1} }} }}'
        )
        head = Toy("Silence", ["1 3 8 9"], tops=0).prototxt() + conv.format("p", "kernel_size: 3", "")
        assert measure(parse_net(head + conv.format("q", "kernel_size: 3", ""))).params == 2 * 27 + 2
        turned = "kernel_h: 1 kernel_w: 9"
        with pytest.raises(
            InputError, match=r"layer 'q' .*shares parameter 'w' of layer 'p', which is 2x3x3x3"
        ):
            measure(parse_net(head + conv.format("q", turned, "")))
        loose = measure(parse_net(head + conv.format("q", turned, "share_mode: PERMISSIVE")))
        assert loose.params == 2 * 27 + 2

    def test_recurrent_costs_and_parameters(self) -> None:
        g = measure(parse_net(Toy("LSTM", ["4 2 5", "4 2"], "recurrent_param { num_output: 3 }").prototxt()))
        assert g.layer("x").param_shapes == ((12, 5), (12,), (12, 3))
        assert g.layer("x").macs == 4 * 2 * (12 * 5 + 12 * 3) // 4
        g = measure(parse_net(Toy("RNN", ["4 2 5", "4 2"], "recurrent_param { num_output: 3 }").prototxt()))
        assert g.layer("x").macs == 4 * 2 * (3 * 5 + 3 * 3 + 3 * 3) // 4

    def test_deconvolution_costs(self) -> None:
        setting = "Deconvolution convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 2 }"
        assert chain(setting, shape="1 4 5 5").macs == 5 * 5 * 4 * 3 * 9

    def test_look_ups_name_near_matches(self) -> None:
        g = measure(parse_net(TOY))
        assert g.blob("pool") == (2, 4, 10, 8)
        with pytest.raises(InputError, match=r"no layer 'pol'.*'pool'"):
            g.layer("pol")
        with pytest.raises(InputError, match=r"no blob 'cnv'.*'conv'"):
            g.blob("cnv")


class TestRefusals:
    @pytest.mark.parametrize("toy", [*BAD, *WORSE], ids=str)
    def test_impossible_layers(self, toy: Toy) -> None:
        with pytest.raises(InputError, match=r"^layer '[abx]' \(\w+\)") as caught:
            measure(parse_net(toy.prototxt()))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('bottom: "pool"', 'bottom: "poool"', r"layer 'fc' .*'poool'.*Did you mean 'pool'"),
            ('top: "side"', 'top: "pool"', r"layer 'side' .*already makes the top 'pool'"),
            ('bottom: "pool" top: "fc"', 'bottom: "fc" top: "fc"', r"layer 'fc' .*no layer before it"),
            ('bottom: "fc" top: "prob"', 'bottom: "prob" top: "prob"', r"layer 'prob' .*no layer before"),
        ],
    )
    def test_broken_nets(self, old: str, new: str, message: str) -> None:
        assert old in TOY
        with pytest.raises(InputError, match=message):
            measure(parse_net(TOY.replace(old, new)))

    def test_in_place_where_the_layer_cannot(self) -> None:
        found = measure(parse_net(Toy("Flatten", ["2 3 4"]).prototxt().replace("t0", "a")))
        assert found.layer("x").renews == {"a"}
        assert found.blob("a") == (2, 12)

    def test_in_place_with_another_shape(self) -> None:
        toy = Toy("InnerProduct", ["2 3"], "inner_product_param { num_output: 4 }")
        found = measure(parse_net(toy.prototxt().replace("t0", "a")))
        assert found.layer("x").renews == {"a"}
        assert found.blob_bytes == 4 * (2 * 3 + 2 * 4)

    def test_in_place_beside_another_consumer(self) -> None:
        text = TOY + 'layer { name: "late" type: "ReLU" bottom: "conv" top: "conv" }'
        with pytest.raises(InputError, match=r"layer 'late' .*already makes the top 'conv'"):
            measure(parse_net(text))


class TestFields:
    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ([CONV3, CONV3], ReceptiveField((5, 5), (1, 1), (0, 0))),
            ([CONV3, POOL2, CONV3], ReceptiveField((8, 8), (2, 2), (0, 0))),
            ([f"{CONV} kernel_size: 3 dilation: 4 pad: 4 }}"], ReceptiveField((9, 9), (1, 1), (-4, -4))),
            ([f"{CONV} kernel_h: 1 kernel_w: 5 stride_w: 3 }}"], ReceptiveField((1, 5), (1, 3), (0, 0))),
            ([CONV3, "LRN lrn_param { norm_region: WITHIN_CHANNEL }"], ReceptiveField((7, 7), (1, 1), (-2, -2))),
            ([CONV3, "LRN "], ReceptiveField((3, 3), (1, 1), (0, 0))),
            (["Pad pad_param { pad_u: 2 pad_r: 1 }", POOL2], ReceptiveField((2, 2), (2, 2), (-2, 0))),
            (["Upsample upsample_param { scale: 2 }"], ReceptiveField((1, 1), (0.5, 0.5), (-0.25, -0.25))),
            ([POOL2, "Upsample upsample_param { scale: 2 }"], ReceptiveField((2, 2), (1, 1), (-0.5, -0.5))),
            ([f"{UP} kernel_size: 4 stride: 2 pad: 1 }}"], ReceptiveField((2, 2), (0.5, 0.5), (-0.75, -0.75))),
            ([f"{UP} kernel_size: 3 stride: 2 }}"], ReceptiveField((2, 2), (0.5, 0.5), (-1, -1))),
            ([CONV3, GLOBAL], WHOLE),
            (["Permute permute_param { order: 0 order: 2 }", GLOBAL], WHOLE),
            (["InnerProduct inner_product_param { num_output: 2 axis: 3 }"], None),
            ([CONV3, GLOBAL, f"{CONV} kernel_size: 3 pad: 1 }}"], WHOLE),
            (["Softmax softmax_param { axis: 3 }", CONV3], ReceptiveField((3, 40), (1, 0), (0, 0))),
            (["Flatten ", "InnerProduct inner_product_param { num_output: 2 }"], WHOLE),
            (["Permute permute_param { order: 0 order: 2 }"], None),
            (["Permute permute_param { order: 1 }"], ReceptiveField((1, 1), (1, 1), (0, 0))),
            (["Flatten "], None),
            (["Reshape reshape_param { shape { dim: 1 dim: 1 dim: 20 dim: 80 } }"], None),
            (["Reshape reshape_param { shape { dim: -1 } axis: 0 num_axes: 2 }", CONV3], None),
            ([GLOBAL, "Flatten "], WHOLE),
            # One unit of 5x5 that is no global pooling keeps its own field through a Flatten.
            ([f"{CONV} kernel_size: 5 stride: 36 }}", "Flatten "], ReceptiveField((5, 5), (0, 0), (0, 0))),
        ],
    )  # fmt: skip
    def test_chains(self, settings: list[str], field: ReceptiveField | None) -> None:
        assert last_field(*settings) == field

    def test_whole_covers_only_what_is_seen(self) -> None:
        """Kernel 4, stride 4 on 42 pixels: the last two rows and columns are never looked at."""
        conv = "Convolution convolution_param { num_output: 1 kernel_size: 4 stride: 4 }"
        field = last_field(conv, "InnerProduct inner_product_param { num_output: 2 }", shape="1 1 42 42")
        assert field == WHOLE

    def test_branches_take_the_hull(self) -> None:
        for join in ("Concat", "Eltwise"):
            tall = "convolution_param { num_output: 2 kernel_h: 5 kernel_w: 1 pad_h: 2 pad_w: 0 }"
            wide = "convolution_param { num_output: 2 kernel_size: 3 pad: 1 }"
            net = parse_net(
                Toy("Convolution", ["1 2 9 9"], tall).prototxt()
                + f'layer {{ name: "y" type: "Convolution" bottom: "a" top: "y" {wide} }}'
                + f'layer {{ name: "z" type: "{join}" bottom: "t0" bottom: "y" top: "z" }}'
            )
            assert measure(net).layer("z").field == ReceptiveField((5, 3), (1, 1), (-2, -1))

    def test_branches_of_different_strides_have_no_field(self) -> None:
        """Kernel 3 with stride 2 and kernel 6 with stride 1 both make 4 x 4 units of 9 x 9 pixels."""
        conv = (
            'layer {{ name: "{0}" type: "Convolution" bottom: "a" top: "{0}"'
            " convolution_param {{ num_output: 2 {1} }} }}"
        )
        net = parse_net(
            Toy("Silence", ["1 2 9 9"], tops=0).prototxt()
            + conv.format("p", "kernel_size: 3 stride: 2")
            + conv.format("q", "kernel_size: 6")
            + 'layer { name: "z" type: "Concat" bottom: "p" bottom: "q" top: "z" }'
        )
        assert measure(net).layer("z").field is None

    def test_the_blob_that_gives_a_crop_its_size_is_not_looked_at(self) -> None:
        text = Toy(
            "Convolution", ["1 1 9 9"], "convolution_param { num_output: 1 kernel_size: 3 }"
        ).prototxt()
        net = parse_net(text + 'layer { name: "c" type: "Crop" bottom: "a" bottom: "t0" top: "c" }')
        assert measure(net).layer("c").field == ReceptiveField((1, 1), (1, 1), (0, 0))

    def test_a_gate_from_global_pooling_widens_a_local_branch(self) -> None:
        net = parse_net(
            Toy("Pooling", ["1 2 9 9"], "pooling_param { global_pooling: true }").prototxt()
            + 'layer { name: "f" type: "Flatten" bottom: "t0" top: "f" }'
            + 'layer { name: "z" type: "Scale" bottom: "a" bottom: "f" top: "z" scale_param { axis: 0 } }'
        )
        assert measure(net).layer("z").field == ReceptiveField((9, 9), (0, 0), (0, 0))

    def test_slices_and_crops_move(self) -> None:
        text = Toy("Slice", ["1 1 9 9"], "slice_param { axis: 2 slice_point: 4 }", 2).prototxt()
        text += 'layer { name: "y" type: "ReLU" bottom: "t1" top: "y" }'
        assert measure(parse_net(text)).layer("y").field == ReceptiveField((1, 1), (1, 1), (4, 0))
        toy = Toy("Crop", ["1 1 9 9", "1 1 5 6"], "crop_param { offset: 3 offset: 1 }")
        assert measure(parse_net(toy.prototxt())).layer("x").field == ReceptiveField((1, 1), (1, 1), (3, 1))

    def test_boxes_are_cut_to_the_image(self) -> None:
        field = ReceptiveField((11, 5), (4, 1), (-2, -2))
        assert field.box((0, 0), (20, 20)) == (0, 0, 9, 3)
        assert field.box((3, 9), (20, 20)) == (10, 7, 20, 12)

    def test_priors_see_nothing(self) -> None:
        toy = Toy("PriorBox", ["1 1 3 3", "1 1 9 9"], "prior_box_param { min_size: 3 }")
        assert measure(parse_net(toy.prototxt())).layer("x").field is None


class TestSplits:
    def test_a_loss_weight_takes_the_first_copy(self) -> None:
        text = Toy("ReLU", ["2 3"], "loss_weight: 2").prototxt()
        net = with_splits(parse_net(text + 'layer { name: "y" type: "ReLU" bottom: "t0" top: "y" }'))
        _, relu, split, after = net.layer
        assert not relu.loss_weight
        assert (split.name, split.type, list(split.bottom)) == ("t0_x_0_split", "Split", ["t0"])
        assert list(split.top) == ["t0_x_0_split_0", "t0_x_0_split_1"]
        assert list(split.loss_weight) == [2, 0]
        assert list(after.bottom) == ["t0_x_0_split_1"]

    def test_the_net_given_stays_as_it_is(self) -> None:
        net = parse_net(TOY)
        before = net.SerializeToString()
        with_splits(net)
        measure(net, batch=3)
        assert net.SerializeToString() == before


def test_every_type_has_a_toy() -> None:
    stored = {
        "Data",
        "HDF5Data",
        "AnnotatedData",
        "ImageData",
        "WindowData",
        "HDF5Output",
    }  # need files that only a training has
    here = {name for name, rule in TABLE.items() if not rule.fork}  # types of forks: test_forks.py
    assert here - stored == {toy.type for toy in GOOD}


def conv(outputs: int, kernel: int, rest: str = "") -> str:
    return f"Convolution convolution_param {{ num_output: {outputs} kernel_size: {kernel} {rest} }}"


def fc(outputs: int) -> str:
    return f"InnerProduct inner_product_param {{ num_output: {outputs} }}"


def test_caffenet() -> None:
    """The published figures of CaffeNet, and the shapes of the pycaffe tutorial's table."""
    pool = "Pooling pooling_param { kernel_size: 3 stride: 2 }"
    g = chain(
        *(
            conv(96, 11, "stride: 4"),
            "ReLU ",
            pool,
            "LRN ",
            conv(256, 5, "pad: 2 group: 2"),
            "ReLU ",
            pool,
            "LRN ",
        ),
        *(conv(384, 3, "pad: 1"), conv(384, 3, "pad: 1 group: 2"), conv(256, 3, "pad: 1 group: 2"), pool),
        *(fc(4096), "Dropout ", fc(4096), fc(1000), "Softmax "),
        shape="50 3 227 227",
    )
    assert (g.params, g.macs) == (60_965_224, 724_406_816)
    assert list(g.blobs.values())[2:] == [
        *[(50, 96, 55, 55)] * 2,
        *[(50, 96, 27, 27)] * 2,
        *[(50, 256, 27, 27)] * 2,
        *[(50, 256, 13, 13)] * 2,
        *[(50, 384, 13, 13)] * 2,
        (50, 256, 13, 13),
        (50, 256, 6, 6),
        *[(50, 4096)] * 3,
        *[(50, 1000)] * 2,
    ]
    weights = [x.param_shapes[0] for x in g.layers if x.param_shapes]
    assert weights == [
        *[(96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)],
        *[(4096, 9216), (4096, 4096), (1000, 4096)],
    ]
    assert [x.field.size for x in g.layers if x.type == "Convolution" and x.field] == [
        *[(11, 11), (51, 51), (99, 99), (131, 131), (163, 163)],
    ]
    assert g.layers[-1].field == ReceptiveField((227, 227), (0, 0), (0, 0))


def test_squeezenet(shared: Path) -> None:
    g = measure(read_net(shared / "models" / "squeezenet_v1.0" / "deploy.prototxt"))
    assert (g.params, g.macs) == (1_248_424, 861_339_936)


def test_import_is_light() -> None:
    heavy = {"caffe", "matplotlib", "skimage", "scipy", "PIL"}
    code = f"import sys, caffe_viz.geometry; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
