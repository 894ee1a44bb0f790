"""A wrong prototxt is explained in one line: file, line, column, layer, and what to do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from caffe_viz.errors import InputError
from caffe_viz.netdef import parse_net, read_net, read_solver
from caffe_viz.netdef.read import read_blob, read_state

CONV = 'layer { name: "c" type: "Convolution" convolution_param { num_output: 1 } }'


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_net(text, "net.prototxt")
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ('layer { name: "a" type: ReLU }', "1:25: Expected string but found: 'ReLU' (layer 'a').", ""),
        (
            'layer { name: "a" type: CONVOLUTION }',
            "1:25: Expected string but found: 'CONVOLUTION' (layer 'a').",
            'New `layer` takes a type in quotes, such as "Convolution"; upper case is of old `layers`.',
        ),
        (
            'layers { name: "a" type: "Convolution" }',
            "(layer 'a').",
            'Types in quotes are of new `layer { type: "Convolution" }`; old `layers` takes CONVOLUTION.',
        ),
        ('layer { name: "p" pooling_param { pool: "MAX" } }', "(layer 'p').", "Give it without quotes: MAX."),
        ('layer { name: "p" pooling_param { pool: "MAXX" } }', "(layer 'p').", "Did you mean 'MAX'"),
        (f'{CONV}\nlayer {{ name: "b" name: "d" }}', "2:25: ", "name is given once; is a closing } missing before it?"),
        (f"{CONV[:-1]}", "(layer 'c').", "One closing } is missing."),
        (f"{CONV[:-3]}", "(layer 'c').", "2 closing } are missing."),
        (f"{CONV} }}", "(layer 'c').", "One closing } is too many."),
        (f"{CONV} }} }}", "(layer 'c').", "2 closing } are too many."),
        # Braces in comments and quotes do not count.
        (f'# }} }}\n{CONV[:-1]} # }}\n bottom: "}}"', "(layer 'c').", "One closing } is missing."),
        ("<!DOCTYPE html><html><body>", "net.prototxt:1:", "It is a web page; the download went wrong."),
    ],
)  # fmt: skip
def test_what_is_wrong_and_what_to_do(text: str, place: str, advice: str) -> None:
    line = refusal(text)
    assert line.startswith("net.prototxt:")
    assert place in line
    assert advice in line
    assert advice or line.endswith(place)


def test_the_layer_is_the_one_that_the_error_is_in() -> None:
    layers = (
        'layer { name: "a" type: "ReLU" }\nlayer { name: "b" type: Tanh }\nlayer { name: "c" type: "ReLU" }'
    )
    assert "net.prototxt:2:25: Expected string but found: 'Tanh' (layer 'b')." in refusal(layers)
    assert "(layer" not in refusal(f"name: x {layers.replace('Tanh', 'x')}")
    assert "(layer" not in refusal("layer { type: Tanh name: 7 }")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "net.prototxt is empty; a prototxt was expected."),
        (" \n", "net.prototxt is empty; a prototxt was expected."),
        ('name: "x"', "net.prototxt has no layers; a prototxt with `layer { .. }` was expected."),
        ('net: "x.prototxt"', "This is a solver's prototxt: give the net that it names (net: or train_net:)."),
        (f'{CONV} layer {{ psroi_pooling_param {{ spatial_scale: 1 group_size: 7 }} }}',
         "net.prototxt: layer[1].psroi_pooling_param.output_dim must be given (layers are counted from 0)."),
    ],
)  # fmt: skip
def test_files_that_parse_and_are_no_net(text: str, words: str) -> None:
    assert words in refusal(text)


class TestHeaders:
    """Inputs above the layers."""

    RELU = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'

    @pytest.mark.parametrize("given", ["input_dim: 1 input_dim: 2 input_dim: 3", "input_dim: 1"])
    def test_too_few_sizes(self, given: str) -> None:
        count = given.count("input_dim")
        line = refusal(f'input: "data" {given} {self.RELU}')
        assert f"net.prototxt: 1 input need 4 input_dim, but there are {count}." in line
        assert "Other than 4 axes: give each an input_shape { dim: .. }." in line

    def test_too_few_shapes(self) -> None:
        line = refusal(f'input: "data" input: "b" input_shape {{ dim: 1 }} {self.RELU}')
        assert "2 input need 2 input_shape, but there are 1." in line

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5", "1 input need 4 input_dim, but there are 5"),
            ("input_shape { dim: 1 dim: 2 dim: 3 dim: 4 } input_shape { dim: 7 }", "1 input need 1 input_shape, but there are 2"),
        ],
    )  # fmt: skip
    def test_too_many_are_ignored_as_in_caffe(self, given: str, words: str) -> None:
        with pytest.warns(UserWarning, match=f"{words}; the last ones are ignored, as in Caffe"):
            net = parse_net(f'input: "data" {given} {self.RELU}')
        assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[1, 2, 3, 4]]

    def test_as_many_as_there_are_inputs(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            net = parse_net(f'input: "data" input: "b" {"input_dim: 2 " * 4}{"input_dim: 3 " * 4}{self.RELU}')
        assert [list(shape.dim) for shape in net.layer[0].input_param.shape] == [[2] * 4, [3] * 4]

    def test_without_a_shape(self) -> None:
        line = refusal(f'input: "data" {self.RELU}')
        assert (
            "net.prototxt: input 'data', which layer 'r' reads, has no shape: give it input_shape { dim: .. }."
            in line
        )

    def test_a_name_that_a_layer_makes_needs_no_shape(self) -> None:
        made = 'layer { name: "d" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 } } }'
        assert [layer.name for layer in parse_net(f'input: "data" {made} {self.RELU}').layer] == ["d", "r"]


def test_old_batch_norms_learn_no_statistics() -> None:
    rates = "param { lr_mult: 1 decay_mult: 2 } "
    for kind, count, wanted in (("BatchNorm", 3, (0, 0)), ("BatchNorm", 2, (1, 2)), ("Scale", 3, (1, 2))):
        layer = parse_net(f'layer {{ name: "x" type: "{kind}" {rates * count} }}').layer[0]
        assert {(spec.lr_mult, spec.decay_mult) for spec in layer.param} == {wanted}
        assert len(layer.param) == count


class TestFiles:
    """What is on disk, before it is parsed."""

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ("layer { }".encode("utf-16"), "is UTF-16 text, which Caffe cannot read: save it as UTF-8."),
            (b"name: \x00\x01", "is binary, so it is not a prototxt. Are prototxt and caffemodel swapped?"),
            (b"\n\nname: '\xb5'\n", "solver.prototxt:3: is not UTF-8 text. Save the prototxt as UTF-8"),
            (b"", "is empty; a prototxt was expected."),
        ],
    )
    def test_bytes_that_are_no_text(self, data: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / "solver.prototxt").write_bytes(data)
        with pytest.raises(InputError, match="solver") as caught:
            read_solver(tmp_path / "solver.prototxt")
        assert words in str(caught.value)

    def test_comments_may_hold_any_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "net.prototxt"
        path.write_bytes(b"\xef\xbb\xbf# \xd6\xd0\xce\xc4\n" + CONV.encode() + b" # \xb5\n")
        assert read_net(path).layer[0].name == "c"

    def test_a_folder_and_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "deploy.prototxt").write_text(CONV)
        with pytest.raises(
            InputError, match=r"is a folder; give the prototxt in it\. There are: deploy\.prototxt\.$"
        ):
            read_net(tmp_path)
        with pytest.raises(InputError, match=r"no such prototxt; there is no folder .*nowhere\.$"):
            read_net(tmp_path / "nowhere" / "deploy.prototxt")

    def test_a_file_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "net.prototxt").write_text(CONV)

        def denied(*_: object) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", denied)
        with pytest.raises(InputError, match=r"net\.prototxt cannot be read: Permission denied\.$"):
            read_net(tmp_path / "net.prototxt")

    def test_larger_than_any_message(self, tmp_path: Path) -> None:
        with (tmp_path / "net.prototxt").open("wb") as file:
            file.truncate(2**31)  # a file of nothing, which takes no place
        with pytest.raises(InputError, match=r"has 2,147,483,648 bytes; a prototxt has at most 2 GiB\.$"):
            read_solver(tmp_path / "net.prototxt")

    @pytest.mark.parametrize("data", [b"\x89HDF\r\n\x1a\n", b"\x0a\x01\x41"])
    def test_means_and_states_of_another_kind(self, data: bytes, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(InputError, match="x is not a binaryproto: "):
            read_blob(tmp_path / "x")
        with pytest.raises(InputError, match="x is not a solverstate: "):
            read_state(tmp_path / "x")

    def test_a_mean_without_values(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"\x08\x01")
        with pytest.raises(InputError, match=r"x is not a binaryproto: it holds no values\.$"):
            read_blob(tmp_path / "x")
