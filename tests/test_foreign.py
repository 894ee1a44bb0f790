"""Files of other forks of Caffe: everything is read, what is unknown is kept, and does not spoil the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, refused

import caffe_viz as cv
from caffe_viz import netdef
from caffe_viz.backend import chosen
from caffe_viz.checking import check, ignored_fields, known_part, why_embedded
from caffe_viz.cli.files import aux
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.geometry import measure
from caffe_viz.netdef import as_text, make_blob, net_pb2, parse_net
from caffe_viz.network import Network
from caffe_viz.streaming import Runner

DATA = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
"""
CONV = """
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } %s }
}
"""
MYSTERY = """
layer { name: "mystery" type: "Mystery" bottom: "conv1" top: "m" mystery_param { a: 1 b { c: "x" } } }
layer { name: "after" type: "InnerProduct" bottom: "m" top: "after" inner_product_param { num_output: 2 } }
"""
BESIDE = """
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "relu1" }
layer {
  name: "fc" type: "InnerProduct" bottom: "relu1" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } }
}
"""
OPAQUE = DATA + CONV % "" + MYSTERY + BESIDE


def kept(net: netdef.NetParameter) -> list[tuple[str, str, str, int]]:
    """Path, name, text and line of everything unknown in the layers."""
    return [(x.path, x.name, x.text, x.line) for layer in net.layer for x in layer.unknown]


class TestText:
    def test_fields_values_and_types_are_kept_with_their_lines(self) -> None:
        net = parse_net(DATA + CONV % "engine: MKLDNN quant { bits: [4, 8] } note: \"a\" 'b'," + MYSTERY)
        assert kept(net) == [
            ("convolution_param", "engine", "engine: MKLDNN", 6),
            ("convolution_param", "quant", "quant { bits: [4, 8] }", 6),
            ("convolution_param", "note", "note: \"a\" 'b'", 6),
            ("", "mystery_param", 'mystery_param { a: 1 b { c: "x" } }', 9),
        ]
        assert net.layer[1].convolution_param.num_output == 4
        assert net.layer[2].type == "Mystery"

    def test_the_net_itself_and_repeated_messages(self) -> None:
        net = parse_net(
            "precision: HALF\n" + DATA.replace("top:", "param { lr: 1 } param { l2 { a: 1 } } top:")
        )
        assert [(x.name, x.text, x.line) for x in net.unknown] == [("precision", "precision: HALF", 1)]
        assert [(x.path, x.text) for x in net.layer[0].unknown] == [
            ("param[0]", "lr: 1"),
            ("param[1]", "l2 { a: 1 }"),
        ]

    @pytest.mark.parametrize(
        "strange",
        [
            "foo: 1",
            "foo { }",
            "foo < a: 1 >;",
            "foo: [ { a: 1 }, { b: 2 } ]",
            "foo: 'it''s # no comment' # a comment }",
            'foo: "}"',
            "foo: - 3.5e-2",
            "foo { bar { baz: true } bar { } }",
            "relu_param: 3",
            "name { a: 1 }",
        ],
    )
    def test_whatever_the_syntax_the_rest_stays(self, strange: str) -> None:
        plain = parse_net(DATA + BESIDE.replace("conv1", "data"))
        for place in ("top:", "name:"):
            net = parse_net(DATA.replace(place, f"{strange}\n {place}", 1) + BESIDE.replace("conv1", "data"))
            assert len(net.layer[0].unknown) == 1
            net.layer[0].ClearField("unknown")
            assert net == plain

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("layer { foo: 1 name: }", r":1:22: .*\}"),
            ("layer { foo { a: 1 \n name: 'x' }", r"One closing \} is missing"),
            ("layer { foo: 1 }\nlayer { name: 'x' top: 3 }", r":2:24: .*'x'"),
            ("layer { foo }", r":1:"),
            ("layer { name: 'x' name: 'y' }", "name is given once"),
            ("layer { name: 'x' convolution_param { stride: 1.5 } }", r"integer.*'x'"),
        ],
    )
    def test_mistakes_in_the_syntax_stay_errors(self, text: str, words: str) -> None:
        with pytest.raises(InputError, match=words):
            parse_net(text)

    def test_what_was_kept_is_written_back(self) -> None:
        net = parse_net(DATA + CONV % "engine: MKLDNN pads { a: 1 }" + MYSTERY)
        again = parse_net(as_text(net))
        for one in (net, again):
            for layer in one.layer:
                for unknown in layer.unknown:
                    unknown.ClearField("line")
        assert again == net

    def test_sizes_of_a_template_are_1(self) -> None:
        net = parse_net('input: "x" input_shape { dim: $#batch#$\n dim: 3 dim: 5 }' + DATA)
        assert list(net.layer[0].input_param.shape[0].dim) == [1, 3, 5]
        net = parse_net(DATA + CONV.replace("num_output: 4", "num_output: ${CLASSES}") % "")
        assert kept(net) == [("convolution_param", "num_output", "num_output: ${CLASSES}", 6)]

    def test_layers_for_a_third_phase_are_not_those_to_test(self) -> None:
        run = BESIDE.replace("conv1", "data").replace('name: "fc"', 'name: "fc" include { phase: RUN }')
        assert [x.name for x in netdef.for_phase(parse_net(DATA + run)).layer] == ["data", "relu1"]


class TestOldText:
    V1 = """
    input: "data" input_dim: 1 input_dim: 2 input_dim: 8 input_dim: 8
    layers { name: "a" type: INNER_PRODUCT bottom: "data" top: "a" inner_product_param { num_output: 2 } }
    layers { name: "c" type: %s bottom: "data" bottom: "data" top: "c" %s }
    """

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("CROP", "Crop"),
            ("CONVOLUTION3D", "Convolution3D"),
            ("BN", "BN"),
            ("IMAGE_SEG_DATA", "ImageSegData"),
        ],
    )
    def test_types_of_forks(self, old: str, new: str) -> None:
        assert parse_net(self.V1 % (old, "")).layer[2].type == new

    def test_fields_of_v2_in_old_layers(self) -> None:
        net = parse_net(self.V1 % ("CROP", "crop_param { axis: 3 more: 1 } other_param { x: 1 }"))
        assert net.layer[2].crop_param.axis == 3
        assert sorted((path, name) for path, name, _, _ in kept(net)) == [
            ("", "other_param"),
            ("crop_param", "more"),
            ("layers", "crop_param"),
            ("layers", "type"),
        ]
        assert {line for *_, line in kept(net)} == {4}

    def test_v0(self) -> None:
        text = 'input: "data" input_dim: 1 input_dim: 2 input_dim: 8 input_dim: 8 layers { layer { name: "c" '
        net = parse_net(
            text + 'type: "conv" num_output: 3 kernelsize: 1 fancy: 2 } bottom: "data" top: "c" }'
        )
        assert [(name, text) for _, name, text, _ in kept(net)] == [("fancy", "fancy: 2")]


class TestCaffemodel:
    def stored(self, *layers: bytes, more: bytes = b"") -> bytes:
        return more + b"".join(self.field(100, layer) for layer in layers)

    def field(self, number: int, payload: bytes) -> bytes:
        """A field of length-delimited bytes, of fewer than 2 ** 14."""

        def varint(n: int) -> bytes:
            return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

        return varint(number << 3 | 2) + varint(len(payload)) + payload

    @pytest.mark.parametrize("read", [netdef.read_weights, netdef.stored_layers])
    def test_numbers_that_a_fork_uses_otherwise(self, tmp_path: Path, read: Callable[[Path], Any]) -> None:
        values = np.arange(6.0).reshape(2, 3)
        layer = netdef.LayerParameter(name="c", type="Foreign", bottom=["x"], blobs=[make_blob(values)])
        # A text where Caffe has a message, a message without its required field, a number that Caffe does not have.
        strange = self.field(106, b"\xff\xff") + self.field(502, b"") + self.field(9999, b"?")
        path = tmp_path / "fork.caffemodel"
        path.write_bytes(self.stored(layer.SerializeToString() + strange, more=self.field(77, b"abc")))
        found = read(path)
        (one,) = getattr(found, "layer", found)
        assert one.name == "c"
        blob = one.blobs[0] if read is netdef.read_weights else one.blobs[0].proto
        assert netdef.blob_shape(blob) == (2, 3)
        message = one if read is netdef.read_weights else one.message
        assert (message.type, list(message.bottom)) == ("Foreign", ["x"])

    def test_damage_is_still_damage(self, tmp_path: Path) -> None:
        layer = netdef.LayerParameter(name="c", blobs=[make_blob(np.ones(500))]).SerializeToString()
        path = tmp_path / "cut.caffemodel"
        path.write_bytes(self.stored(layer, layer)[:-30])
        for read in (netdef.read_weights, netdef.stored_layers):
            with pytest.raises(InputError, match="cut short"):
                read(path)
        path.write_bytes(self.stored(layer[:-30] + b"\xff" * 30))
        with pytest.raises(InputError, match="damaged"):
            netdef.read_weights(path)


class TestGeometry:
    def test_what_depends_on_an_unknown_layer_is_unknown(self) -> None:
        found = measure(parse_net(OPAQUE))
        shapes = {layer.name: layer.top_shapes for layer in found.layers if layer.type != "Split"}
        assert shapes["mystery"] == shapes["after"] == (None,)
        assert (shapes["relu1"], shapes["fc"]) == (((1, 4, 7, 7),), ((1, 5),))
        assert found.params == 4 * 27 + 4 + 5 * 196 + 5
        assert found.outputs == ("after", "fc")
        with pytest.raises(InputError, match="'m' is not known: layer 'mystery' is of type 'Mystery'"):
            found.blob("m")
        with pytest.raises(InputError, match="'after' is not known: layer 'mystery'"):
            found.layer("after").shapes  # noqa: B018  the property raises

    def test_in_place_it_hides_what_was_there(self) -> None:
        found = measure(parse_net(OPAQUE.replace('top: "m"', 'top: "conv1"').replace('"m"', '"conv1"')))
        assert set(found.blobs) == {"data"}

    def test_table(self) -> None:
        text = str(cv.shapes(parse_net(OPAQUE)))
        assert "layers not counted 2 of unknown shape" in " ".join(text.split())
        assert [line.split() for line in text.splitlines() if line.startswith(("m ", "after "))] == [
            ["m", "?"], ["after", "?"],
        ]  # fmt: skip

    def test_its_weights_say_what_parameters_it_has(self, tmp_path: Path) -> None:
        path, weights = files(tmp_path, OPAQUE)
        out = here("shapes", path, weights)
        assert [line.split() for line in out.splitlines() if line.startswith("mystery ")] == [
            ["mystery", "7", "2"]
        ]


def files(folder: Path, text: str) -> tuple[Path, Path]:
    """A prototxt, and weights of conv1, fc, mystery and after."""
    rng = np.random.default_rng(0)
    net = netdef.NetParameter(name="weights")
    shapes = {
        "conv1": [(4, 3, 3, 3), (4,)],
        "mystery": [(7, 2)],
        "after": [(2, 9), (2,)],
        "fc": [(5, 196), (5,)],
    }
    for name, some in shapes.items():
        net.layer.add(name=name, blobs=[make_blob(rng.normal(size=s)) for s in some])
    (folder / "net.prototxt").write_text(text)
    netdef.write_weights(net, folder / "net.caffemodel")
    return folder / "net.prototxt", folder / "net.caffemodel"


class TestRunning:
    def test_the_rest_of_the_net_runs(self, engine: str, tmp_path: Path) -> None:
        with pytest.warns(CaffeVizWarning, match="left out: mystery, after; layer 'mystery'"):
            net = cv.load_net(*files(tmp_path, OPAQUE), engine=engine)
        assert [name for name in net._layer_names if "split" not in name] == ["data", "conv1", "relu1", "fc"]
        net.blobs["data"].data[...] = np.random.default_rng(1).normal(size=(1, 3, 9, 9))
        whole = cv.load_net(
            parse_net(DATA + CONV % "" + BESIDE), netdef.read_weights(tmp_path / "net.caffemodel")
        )
        whole.blobs["data"].data[...] = net.blobs["data"].data
        np.testing.assert_allclose(net.forward()["fc"], whole.forward()["fc"], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        "command",
        [
            ["activations", "--image", "IMAGE"],
            ["gradient", "--target", "fc", "--image", "IMAGE"],
            ["ascend", "--layer", "fc", "--filters", "0", "--steps", "2", "--jobs", "1"],
            ["attribute", "--target", "fc:1", "--method", "gradient", "--image", "IMAGE"],
            ["weights", "--layer", "conv1"],
            ["draw"],
        ],
        ids=lambda c: c[0],
    )
    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_commands_for_what_is_known(self, command: list[str], tmp_path: Path) -> None:
        path, weights = files(tmp_path, OPAQUE)
        np.save(tmp_path / "image.npy", np.ones((3, 9, 9), np.float32))
        words = [str(tmp_path / "image.npy") if word == "IMAGE" else word for word in command]
        given = [path] if words[0] == "draw" else [path, weights]
        out = here(words[0], *given, *words[1:], "-o", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()), out

    @pytest.mark.parametrize(
        "command",
        [
            ["gradient", "--target", "after", "--image", "IMAGE"],
            ["ascend", "--layer", "after", "--steps", "2"],
            ["attribute", "--target", "after:1", "--method", "gradient", "--image", "IMAGE"],
            ["top", "--layer", "after", "--image", "IMAGE"],
        ],
        ids=lambda c: c[0],
    )
    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_commands_for_what_is_not(self, command: list[str], tmp_path: Path) -> None:
        path, weights = files(tmp_path, OPAQUE)
        np.save(tmp_path / "image.npy", np.ones((3, 9, 9), np.float32))
        words = [str(tmp_path / "image.npy") if word == "IMAGE" else word for word in command]
        said = refused(words[0], path, weights, *words[1:], "-o", tmp_path / "out").splitlines()
        assert re.search(r"'after' cannot be computed: layer 'mystery' is of type .*--layers", said[-1])

    def test_nothing_left(self) -> None:
        with pytest.raises(
            InputError, match="nothing of the net can be computed: layer 'data' is of type 'Video'"
        ):
            known_part(parse_net((DATA + CONV % "").replace('"Input"', '"Video"')))

    def test_fields_that_are_ignored_are_said_once(self) -> None:
        net = parse_net(DATA + CONV % "quant { a: 1 }" + (CONV % "quant { }").replace("conv1", "conv2"))
        assert ignored_fields(net) == (
            "conv1, conv2 have convolution_param.quant, which is ignored: its fork may compute other values",
        )

    @pytest.mark.parametrize("quiet", ["engine: MKLDNN", "weight_filler { alpha: 2 }"])
    def test_quiet_fields_stay_quiet_on_each_engine(
        self, quiet: str, engine: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        text = DATA + (CONV % quiet).replace('weight_filler { type: "xavier" }', "")
        net = cv.load_net(files(tmp_path, text)[0], engine=engine)
        assert not [w for w in recwarn if isinstance(w.message, CaffeVizWarning)]
        assert net.forward()["conv1"].shape == (1, 4, 7, 7)

    def test_a_field_of_layers_to_train_blocks_nothing(self, engine: str, tmp_path: Path) -> None:
        train = 'layer { name: "d" type: "Data" top: "data" include { phase: TRAIN } transform_param { resize { } } }'
        net = cv.load_net(files(tmp_path, train + DATA + CONV % "")[0], engine=engine)
        assert list(net._layer_names) == ["data", "conv1"]

    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            ("BatchNorm", "batch_norm_param { use_global_stats: false }"),
            ("BN", "bn_param { bn_mode: LEARN }"),
        ],
    )
    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_an_image_does_not_depend_on_the_others(self, kind: str, settings: str, tmp_path: Path) -> None:
        norm = f'layer {{ name: "n" type: "{kind}" bottom: "conv1" top: "n" {settings} }}'
        network = Network(*files(tmp_path, DATA + CONV % "" + norm), engine="torch")
        images = np.random.default_rng(0).normal(size=(3, 3, 9, 9)).astype(np.float32)
        alone = Runner(network, "n", images=1)(images[:1])["n"]
        np.testing.assert_array_equal(Runner(network, "n", images=3)(images)["n"][:1], alone)


class TestEngine:
    def message(self, text: str) -> netdef.NetParameter:
        return known_part(netdef.for_phase(parse_net(text)))

    @pytest.mark.parametrize(
        ("text", "engine"),
        [
            (DATA + CONV % "", "caffe"),
            (OPAQUE, "caffe"),
            (DATA + CONV % "engine: MKLDNN", "caffe"),
            (DATA + CONV % "quant { }", "torch"),
            (DATA + 'layer { name: "s" type: "ShuffleChannel" bottom: "data" top: "s" }', "torch"),
            (DATA.replace("Input", "Parameter").replace("input_", "parameter_")
             + 'layer { name: "u" type: "Upsample" bottom: "data" top: "u" upsample_param { scale: 2 } }', "torch"),
            (DATA + 'layer { name: "u" type: "Upsample" bottom: "data" top: "u" upsample_param { scale: 2 } }', "caffe"),
        ],
    )  # fmt: skip
    def test_auto_takes_the_one_that_has_the_layers(self, caffe: Any, text: str, engine: str) -> None:
        pytest.importorskip("torch", reason="the embedded engine is not installed")
        assert chosen("auto", "cpu", self.message(text)) == engine

    def test_it_says_which_and_why(self, caffe: Any, tmp_path: Path) -> None:
        path, _ = files(tmp_path, DATA + 'layer { name: "f" type: "ShuffleChannel" bottom: "data" top: "f" }')
        with pytest.warns(
            CaffeVizWarning, match=r"torch.* not real Caffe: layer 'f' \(ShuffleChannel\) is of a fork"
        ):
            cv.load_net(path)


class TestCheck:
    def words(self, path: Path, engine: str) -> list[str]:
        return [f"{f.severity} {f}" for f in check(path, engine=engine, probe=False).findings]

    def test_two_answers(self, tmp_path: Path) -> None:
        path, _ = files(tmp_path, OPAQUE.replace("num_output: 4", "num_output: 4 quant { }"))
        real, ours = self.words(path, "caffe"), self.words(path, "torch")
        assert [x.split()[0] for x in real] == ["error"] * len(real)
        assert "line 6: real Caffe knows no convolution_param.quant" in real[0]
        assert "line 9: real Caffe knows no mystery_param" in real[1]
        assert "unknown layer type 'Mystery'" in real[2]
        assert [x.split()[0] for x in ours] == ["warning"] * 2
        assert "quant is not understood and ignored" in ours[0]
        assert "'mystery' is of type 'Mystery', which is not known" in ours[1]

    def test_near_names_are_offered(self, tmp_path: Path) -> None:
        path, _ = files(
            tmp_path, DATA + CONV % "strid: 2" + "layer { name: 'r' tipe: 'ReLU' bottom: 'conv1' top: 'r' }"
        )
        found = "\n".join(self.words(path, "torch"))
        assert "convolution_param.strid is not understood" in found
        assert "Did you mean 'stride'" in found
        assert "tipe" not in found  # of a layer that is unknown altogether
        assert "'type'" in "\n".join(self.words(path, "caffe"))

    def test_the_command_prints_both(self, tmp_path: Path) -> None:
        path, weights = files(tmp_path, OPAQUE)
        out = here("check", path, weights)
        assert (
            out.index("real Caffe, as") < out.index("unknown layer type") < out.index("the embedded engine:")
        )
        found = json.loads(here("check", path, weights, "--json"))
        assert {x["engine"] for x in found} == {"caffe", "torch"}

    def test_it_fails_only_where_neither_can(self, tmp_path: Path) -> None:
        path, weights = files(tmp_path, OPAQUE.replace("kernel_size: 3", "kernel_size: 30"))
        assert refused("check", path, weights) == ""

    def test_real_caffe_refuses_what_the_check_says(self, caffe: Any, tmp_path: Path) -> None:
        for text in (DATA + CONV % "engine: MKLDNN", DATA + CONV % "pad_l: 1", OPAQUE):
            path, _ = files(tmp_path, text)
            assert not check(path, probe=False).ok
            assert cv.checking.probe(path, None)

    def test_detections_that_are_saved(self, tmp_path: Path) -> None:
        save = 'save_output_param { output_directory: "/somewhere" label_map_file: "map" }'
        text = (
            "".join(DATA.replace('"data"', f'"{n}"').replace("dim: 3 dim: 9 dim: 9", d)
                    for n, d in (("loc", "dim: 8"), ("conf", "dim: 6"), ("priors", "dim: 2 dim: 8")))
            + 'layer { name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "priors" top: "out" '
            + f"detection_output_param {{ num_classes: 3 nms_param {{ }} {save} }} }}"
        )  # fmt: skip
        path, _ = files(tmp_path, text)
        assert any("deletes" in x for x in self.words(path, "caffe"))
        assert all("is ignored" in x for x in self.words(path, "torch"))

    @pytest.mark.parametrize("value", ["BN", "BN=", "=segnet", "Foo=bar"])
    def test_variants_that_mean_nothing(self, value: str, tmp_path: Path) -> None:
        path, _ = files(tmp_path, DATA)
        assert "--variant" in refused("shapes", path, "--variant", value)


@pytest.mark.parametrize("read", [netdef.read_weights, netdef.stored_layers])
def test_blobs_of_c3d(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    """Its BlobProto has a length: num 1, channels 2, length 3, height 4, width 5, data 6, diff 7."""
    make = TestCaffemodel()
    values = np.arange(2 * 3 * 2 * 1 * 2, dtype="<f4")
    sizes = bytes([1 << 3, 2, 2 << 3, 3, 3 << 3, 2, 4 << 3, 1, 5 << 3, 2])
    blob = sizes + make.field(6, values.tobytes()) + make.field(7, values.tobytes())
    bias = bytes([1 << 3, 1, 2 << 3, 1, 3 << 3, 1, 4 << 3, 1, 5 << 3, 2]) + make.field(
        6, values[:2].tobytes()
    )
    layer = net_pb2.V1LayerParameter(name="conv1a", top=["c"]).SerializeToString()
    layer += make.field(6, blob) + make.field(6, bias)
    (tmp_path / "c3d.caffemodel").write_bytes(make.field(2, layer))
    found = read(tmp_path / "c3d.caffemodel")
    (one,) = getattr(found, "layer", found)
    arrays = [x.array() if read is netdef.stored_layers else netdef.blob_array(x) for x in one.blobs]
    np.testing.assert_array_equal(arrays[0], values.reshape(2, 3, 2, 1, 2))
    np.testing.assert_array_equal(arrays[1], values[:2])
    assert one.name == "conv1a"


class TestOldCrops:
    """CROP of V1 lays its first bottom over its second, as pycaffe's coord_map does."""

    NET = """
    input: "data" input_dim: 1 input_dim: 1 input_dim: 40 input_dim: 48
    layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 pad: %d } }
    layers { name: "p" type: POOLING bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
    layers { name: "u" type: DECONVOLUTION bottom: "p" top: "u"
             convolution_param { num_output: 1 kernel_size: %d stride: 2 } }
    layers { name: "crop" type: CROP bottom: "u" bottom: "data" top: "crop" }
    """

    @pytest.mark.parametrize(("pad", "kernel"), [(35, 4), (5, 2), (10, 6)])
    def test_offsets_are_those_of_real_caffe(self, caffe: Any, pad: int, kernel: int) -> None:
        from caffe import layers as L
        from caffe.coord_map import crop

        n = caffe.NetSpec()
        n.data = L.Input(shape={"dim": [1, 1, 40, 48]})
        n.c = L.Convolution(n.data, num_output=2, kernel_size=3, pad=pad)
        n.p = L.Pooling(n.c, kernel_size=2, stride=2)
        n.u = L.Deconvolution(n.p, convolution_param={"num_output": 1, "kernel_size": kernel, "stride": 2})
        n.crop = crop(n.u, n.data)
        wanted = n.to_proto().layer[-1].crop_param
        found = parse_net(self.NET % (pad, kernel)).layer[-1]
        assert (found.type, found.crop_param.axis) == ("Crop", 2)
        assert list(found.crop_param.offset) == [*wanted.offset] * 2

    def test_without_an_offset_it_says_so(self) -> None:
        net = parse_net(self.NET % (0, 3))  # between two pixels
        assert ignored_fields(net) == (
            "crop has crop_param.offset, which is ignored: its fork may compute other values",
        )


class TestFilesAndEngines:
    """The engine that is chosen is given what it can read, whichever way the files come."""

    def runs(self, text: str, tmp_path: Path, engine: str, weights: Path | None = None) -> Any:
        path = tmp_path / "some.prototxt"
        path.write_text(text)
        Network(path, weights, engine=engine).check()
        return cv.load_net(path, weights, engine=engine)

    @pytest.mark.parametrize(
        "more", ["type: PRELU", "type: RELU relu6_param { }", "type: BNLL propagate_down: true"]
    )
    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_old_layers_with_what_only_new_ones_know(self, more: str, engine: str, tmp_path: Path) -> None:
        head = 'input: "data" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 3 '
        net = self.runs(head + f'layers {{ name: "r" bottom: "data" top: "r" {more} }}', tmp_path, engine)
        assert net.forward()["r"].shape == (1, 2, 3, 3)

    @pytest.mark.parametrize("field", ["engine: MKLDNN", "quant { }"])
    def test_fields_of_layers_to_train(self, field: str, engine: str, tmp_path: Path) -> None:
        train = (CONV % field).replace('name: "conv1"', 'name: "t" include { phase: TRAIN }')
        net = self.runs(DATA + CONV % "" + train.replace('top: "conv1"', 'top: "t"'), tmp_path, engine)
        assert list(net._layer_names) == ["data", "conv1"]

    def test_a_field_of_the_net_itself(self, tmp_path: Path) -> None:
        pytest.importorskip("torch", reason="the embedded engine is not installed")
        with pytest.warns(CaffeVizWarning, match="the net has reduce_memory, which is ignored"):
            self.runs("reduce_memory: true" + DATA + CONV % "", tmp_path, "auto")

    def test_weights_that_real_caffe_cannot_parse(self, engine: str, tmp_path: Path) -> None:
        make = TestCaffemodel()
        values = np.arange(4 * 27, dtype=np.float32).reshape(4, 3, 3, 3)
        blobs = [make_blob(values), make_blob(np.zeros(4))]
        layer = netdef.LayerParameter(name="conv1", blobs=blobs).SerializeToString() + make.field(
            106, b"\xff\xff"
        )
        weights = tmp_path / "fork.caffemodel"
        weights.write_bytes(make.field(100, layer))
        net = self.runs(DATA + CONV % "", tmp_path, engine, weights)
        np.testing.assert_array_equal(net.params["conv1"][0].data, values)
        assert not check(tmp_path / "some.prototxt", weights, probe=False).ok
        assert check(tmp_path / "some.prototxt", weights, engine="torch").ok

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_a_variant_reaches_the_check(self, tmp_path: Path) -> None:
        path, weights = tmp_path / "bn.prototxt", tmp_path / "bn.caffemodel"
        path.write_text(DATA + 'layer { name: "n" type: "BN" bottom: "data" top: "n" }')
        blobs = [make_blob(np.ones((1, 3, 1, 1))) for _ in range(4)]
        netdef.write_weights(netdef.NetParameter(layer=[{"name": "n", "blobs": blobs}]), weights)
        for meaning in ("pspnet", "caffe-windows"):
            Network(path, weights, variants={"BN": meaning}).check()
        with pytest.raises(InputError, match="4 blobs, the net has 2"):
            Network(path, weights, variants={"BN": "segnet"}).check()
        with pytest.raises(InputError, match=r"BN has no such meaning\. Did you mean 'segnet'"):
            cv.load_net(path, weights, variants={"BN": "segnett"})

    @pytest.mark.filterwarnings("ignore::caffe_viz.errors.CaffeVizWarning")
    def test_a_blob_that_an_unknown_layer_works_on_in_place(self, engine: str, tmp_path: Path) -> None:
        foo = 'layer { name: "u" type: "Foo" bottom: "conv1" top: "conv1" }'
        net = self.runs(DATA + CONV % "" + foo, tmp_path, engine)
        assert set(net.left_out) == {"layer u", "blob conv1"}
        network = Network(tmp_path / "some.prototxt")
        assert list(network.geometry.named_blobs) == ["data"]
        for ask in (lambda: network.geometry.blob("conv1"), lambda: cv.forward(net, {}, ["conv1"])):
            with pytest.raises(InputError, match="blob 'conv1' cannot be computed: layer 'u'"):
                ask()
        assert network.geometry.layer("conv1").shapes == ((1, 4, 7, 7),)


class TestMistakes:
    """Files that are wrong, or cannot be read whole: one line, and nothing that comes out wrong."""

    OLD = """input: "data" input_dim: 1 input_dim: 2 input_dim: 8 input_dim: 8
    layers { name: "r" type: RELU bottom: "data" top: "r"
             %s }
    """

    @pytest.mark.parametrize(
        ("field", "words"),
        [
            ("propagate_down: 1.0", r"net.prototxt:3: Expected .true. or .false. \(layer 'r'\)"),
            ("scale_param {\n axis: x }", r"net.prototxt:4: .*integer.*\(layer 'r'\)"),
        ],
    )
    def test_a_field_of_v2_that_is_wrong_in_an_old_layer(self, field: str, words: str) -> None:
        with pytest.raises(InputError, match=words):
            parse_net(self.OLD % field, "net.prototxt")

    @pytest.mark.parametrize("values", [b"\0" * 20, b"\0" * 22, b"\0" * 28])
    def test_blobs_of_c3d_that_are_cut_short(self, tmp_path: Path, values: bytes) -> None:
        (tmp_path / "c3d.caffemodel").write_bytes(self.c3d(values))
        with pytest.raises(InputError, match="damaged inside one of its 1 layers"):
            netdef.read_weights(tmp_path / "c3d.caffemodel")

    @pytest.mark.parametrize("cut", [1, 8, 30])
    def test_files_of_c3d_that_are_cut_short(self, tmp_path: Path, cut: int) -> None:
        (tmp_path / "c3d.caffemodel").write_bytes(self.c3d(b"\0" * 24)[:-cut])
        for read in (netdef.read_weights, netdef.stored_layers):
            with pytest.raises(InputError, match="cut short"):
                read(tmp_path / "c3d.caffemodel")

    def test_a_group_behind_a_file_of_c3d(self, tmp_path: Path) -> None:
        group = bytes([9 << 3 | 3, 9 << 3 | 4])  # of a wire type that no file of Caffe has
        (tmp_path / "c3d.caffemodel").write_bytes(self.c3d(b"\0" * 24) + group)
        for read in (netdef.read_weights, netdef.stored_layers):
            with pytest.raises(InputError, match="damaged"):
                read(tmp_path / "c3d.caffemodel")

    def c3d(self, values: bytes) -> bytes:
        """A caffemodel of C3D with one blob of 1 x 1 x 1 x 2 x 3 that should hold 24 bytes of `values`."""
        make = TestCaffemodel()
        blob = bytes([1 << 3, 1, 2 << 3, 1, 3 << 3, 1, 4 << 3, 2, 5 << 3, 3]) + make.field(6, values)
        blob += make.field(7, b"\0" * 24)
        layer = net_pb2.V1LayerParameter(name="conv1a").SerializeToString() + make.field(6, blob)
        return make.field(2, layer)

    @pytest.mark.parametrize("start", ["", "[some.extension] { ", "broken "])
    @pytest.mark.parametrize(("opening", "closing"), [("a {", "}"), ("a <", ">"), ("a: [{", "}]")])
    def test_messages_in_messages_without_end(self, start: str, opening: str, closing: str) -> None:
        text = f"layer {{\n{start}{opening * 3000}{closing * 3000}}}"
        with pytest.raises(InputError, match=r"deep:2:\d+: messages are nested more than 100 deep"):
            parse_net(text, "deep")

    def test_100_messages_in_each_other_are_read(self) -> None:
        deep = "a { " * 99 + "}" * 99
        assert kept(parse_net(DATA.replace("top:", f"{deep} top:")))[0][2] == deep


class TestTemplates:
    DATA = DATA.replace("dim: 1 ", "dim: $#batch_size#$ ")
    CONV = CONV.replace("num_output: 4", "num_output: ${CLASSES}") % ""
    TAKEN = "a size that a template leaves open is taken as 1"
    IGNORED = "a template's value stands there, which is ignored"

    @pytest.mark.parametrize(
        "header", [DATA, 'input: "data" input_dim: ${N} input_dim: 3 input_dim: 9 input_dim: 9']
    )
    def test_a_size_is_written_as_what_was_read(self, header: str) -> None:
        text = as_text(parse_net(header + BESIDE.replace("conv1", "data")))
        again = parse_net(text)
        assert "$" not in text
        assert list(again.layer[0].input_param.shape[0].dim) == [1, 3, 9, 9]
        assert not kept(again)

    def test_what_is_taken_for_a_value_is_said(self, tmp_path: Path) -> None:
        net = parse_net(self.DATA + self.CONV)
        assert ignored_fields(net) == (
            f"data has input_param.shape[0].dim: {self.TAKEN}",
            f"conv1 has convolution_param.num_output: {self.IGNORED}",
        )
        path, _ = files(tmp_path, self.DATA + self.CONV)
        said = [str(f) for f in check(path, engine="torch", probe=False).findings]
        assert f"line 2: dim: $#batch_size#$: {self.TAKEN}." in said[0]
        assert f"line 6: num_output: ${{CLASSES}}: {self.IGNORED}." in said[1]

    def test_real_caffe_can_run_it(self) -> None:
        assert not why_embedded(parse_net(self.DATA + CONV % ""))


class TestAux:
    def test_fields_that_change_nothing_are_not_written(
        self, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        path, _ = files(tmp_path, DATA + CONV % "engine: MKLDNN")
        aux(prototxt=path, layer="conv1", output=tmp_path / "aux.prototxt")
        assert not [w for w in recwarn if isinstance(w.message, CaffeVizWarning)]
        assert check(tmp_path / "aux.prototxt", probe=False).ok

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (CONV % "quant { }", r"layer 'conv1' \(Convolution\) has convolution_param.quant"),
            (
                CONV % "" + 'layer { name: "s" type: "Swish" bottom: "conv1" top: "conv1" }',
                r"layer 's' \(Swish\)",
            ),
        ],
    )
    def test_what_real_caffe_cannot_load_is_said(self, text: str, why: str, tmp_path: Path) -> None:
        path, _ = files(tmp_path, DATA + text)
        layer = "s" if "Swish" in text else "conv1"
        with pytest.warns(CaffeVizWarning, match=rf"only caffe_viz.engine can load .*aux.prototxt.*: {why}"):
            aux(prototxt=path, layer=layer, output=tmp_path / "aux.prototxt")
