"""Files of nets at their limits: what is refused, in which words, and what is read all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from google.protobuf.message import EncodeError

from caffe_viz.errors import InputError
from caffe_viz.netdef import (
    BlobProto,
    LayerParameter,
    NetParameter,
    for_phase,
    in_other_states,
    make_blob,
    of_this_caffe,
    parse_net,
    read_weights,
    stored_layers,
    write_state,
    write_weights,
)
from caffe_viz.netdef.net_pb2 import SolverState, V1LayerParameter
from caffe_viz.netdef.sniffing import describe_format, head
from caffe_viz.netdef.syntax import field_advice


def field(number: int, payload: bytes) -> bytes:
    """A field of length-delimited bytes, of fewer than 128."""
    tag = number << 3 | 2
    return (
        (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + bytes([len(payload)]) + payload
    )


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


class TestWhatAFileIs:
    @pytest.mark.parametrize(
        "blob", [make_blob(np.ones((1, 3, 2, 2))), BlobProto(num=1, channels=3, height=2, width=2, data=[1.0] * 12),
                 BlobProto(num=1, double_data=[1.0])],
    )  # fmt: skip
    def test_a_mean_image(self, blob: BlobProto) -> None:
        assert (
            describe_format(blob.SerializeToString()) == "it is one blob, such as a mean image (binaryproto)"
        )

    def test_a_blob_without_values_is_none(self) -> None:
        assert (
            describe_format(BlobProto(num=1, channels=3).SerializeToString())
            == "its bytes are of another format"
        )

    def test_a_length_that_is_cut_short(self) -> None:
        """The last byte says that another one follows."""
        layer = field(100, b"\x0a\x01c")
        assert describe_format(layer + b"\xa2\x06\x85") == (
            "it is cut short; 6 bytes or more are missing after 9 and 1 whole layers. Download it again"
        )

    def test_first_bytes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "net").write_bytes(b"abc")
        assert head(tmp_path / "net", 2) == b"ab"
        assert head(tmp_path, 2) == b""
        monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
        assert head(tmp_path / "net", 2) == b""


class TestLimits:
    """No message of protobuf has more than 2 GiB."""

    def test_an_array(self, monkeypatch: pytest.MonkeyPatch) -> None:
        large = np.broadcast_to(np.float32(0), 2**29)  # takes no place
        assert (
            refusal(make_blob, large) == "an array of 2,147,483,648 bytes is over the 2 GiB of a caffemodel."
        )
        monkeypatch.setattr("caffe_viz.netdef.blobs.MESSAGE_LIMIT", 1024 + 8)
        assert list(make_blob(np.ones(2)).data) == [1, 1]
        assert refusal(make_blob, np.ones(3)) == "an array of 12 bytes is over the 2 GiB of a caffemodel."

    def test_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        net = NetParameter(name="abc")
        monkeypatch.setattr("caffe_viz.netdef.write.MESSAGE_LIMIT", 5)
        write_weights(net, tmp_path / "w")
        assert (tmp_path / "w").stat().st_size == 5
        net.name += "d"
        assert refusal(write_weights, net, tmp_path / "w") == (
            f"{tmp_path / 'w'}: the values take more than 2 GiB, the most that a caffemodel can hold."
        )
        assert refusal(write_state, SolverState(learned_net="abcd"), tmp_path / "w") == (
            f"{tmp_path / 'w'}: the values take more than 2 GiB, the most that a solverstate can hold."
        )
        assert (tmp_path / "w").stat().st_size == 5

    def test_a_field_that_caffe_requires(self, tmp_path: Path) -> None:
        net = NetParameter(layer=[LayerParameter(psroi_pooling_param={"spatial_scale": 1})])
        place = "layer[0].psroi_pooling_param"
        assert refusal(write_weights, net, tmp_path / "w") == (
            f"{tmp_path / 'w'}: {place}.output_dim, {place}.group_size must be given (layers are counted from 0)."
        )
        assert not (tmp_path / "w").exists()

    def test_protobuf_that_fails_at_the_limit_itself(self, tmp_path: Path) -> None:
        class Large:
            """2 GiB of which protobuf's C code says that it cannot serialize them."""

            def SerializeToString(self) -> bytes:
                raise EncodeError("Failed to serialize proto")

            def FindInitializationErrors(self) -> list[str]:
                return []

        assert refusal(write_weights, cast(Any, Large()), tmp_path / "w") == (
            f"{tmp_path / 'w'}: the values take more than 2 GiB, the most that a caffemodel can hold."
        )


class TestStored:
    """What `stored_layers` cannot read in place is read as a message, and refused in the same words."""

    def same(self, path: Path) -> str:
        said = refusal(read_weights, path)
        assert refusal(stored_layers, path) == said
        return said

    def test_layers_that_hold_nothing(self, tmp_path: Path) -> None:
        write_weights(
            NetParameter(layer=[LayerParameter(name="a"), LayerParameter(name="b")]), tmp_path / "w"
        )
        assert self.same(tmp_path / "w") == (
            f"{tmp_path / 'w'} is not a caffemodel: it names 2 layers, but none holds weights."
        )

    def test_values_of_half_a_number(self, tmp_path: Path) -> None:
        layer = field(1, b"c") + field(7, field(7, b"\x0a\x01\x01") + field(5, b"\0" * 6))
        (tmp_path / "w").write_bytes(field(100, layer))
        said = f"{tmp_path / 'w'} is not a caffemodel: it is damaged inside one of its 1 layers. Download it again."
        assert self.same(tmp_path / "w") == said

    def test_damage_to_what_all_forks_share(self, tmp_path: Path) -> None:
        """A name of another kind, beside a field that is a fork's."""
        layer = b"\x08\x01" + field(106, b"\xff\xff")
        (tmp_path / "w").write_bytes(field(100, layer.replace(b"\x08\x01", field(6, b"\xff"))))
        said = f"{tmp_path / 'w'} is not a caffemodel: it is damaged inside one of its 1 layers. Download it again."
        assert self.same(tmp_path / "w") == said

    def test_a_file_that_is_gone_before_its_values_are_read(self, tmp_path: Path) -> None:
        net = NetParameter(layer=[LayerParameter(name="c", blobs=[make_blob(np.ones(3))])])
        write_weights(net, tmp_path / "w")
        (blob,) = stored_layers(tmp_path / "w")[0].blobs
        (tmp_path / "w").unlink()
        with pytest.raises(InputError) as caught:
            _ = blob.values
        assert str(caught.value) == f"{tmp_path / 'w'} cannot be read: No such file or directory."

    def test_values_where_real_caffe_has_none(self, tmp_path: Path) -> None:
        """Of C3D: the width as field 5, the values as field 6."""
        blob = bytes([5 << 3, 2]) + field(6, np.ones(2, "<f4").tobytes())
        (tmp_path / "w").write_bytes(
            field(2, V1LayerParameter(name="c").SerializeToString() + field(6, blob))
        )
        assert not of_this_caffe(tmp_path / "w")
        net = NetParameter(layers=[V1LayerParameter(name="c", blobs=[make_blob(np.ones(2))])])
        write_weights(net, tmp_path / "w")
        assert of_this_caffe(tmp_path / "w")


class TestOldCrops:
    """CROP of V1, whose offset is that of its two bottoms to each other."""

    NET = """
    input: "data" input_dim: 1 input_dim: 1 input_dim: 40 input_dim: 48
    layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" convolution_param { num_output: 1 %s } }
    layers { name: "crop" type: CROP bottom: "c" %s top: "crop" }
    """

    def offsets(self, settings: str, bottoms: str = 'bottom: "data"') -> list[int]:
        return list(parse_net(self.NET % (settings, bottoms)).layer[-1].crop_param.offset)

    def test_sides_of_their_own(self) -> None:
        """Padding moves the map to the right and down, half a kernel moves it back."""
        assert self.offsets("kernel_h: 3 kernel_w: 5 pad_h: 4 pad_w: 7") == [3, 5]
        assert self.offsets("kernel_size: 3 kernel_size: 5 pad: 4 pad: 7") == [3, 5]

    @pytest.mark.parametrize("bottoms", ["", 'bottom: "data" bottom: "data"'])
    def test_one_or_three_bottoms_have_none(self, bottoms: str) -> None:
        assert self.offsets("kernel_size: 3 pad: 4", bottoms) == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [("exclude { max_level: 0 }", "--level 1"), ("exclude { max_level: 4 }", "--level 5"), ("exclude { }", "in no state")],
)  # fmt: skip
def test_how_a_layer_would_be_there(rule: str, words: str) -> None:
    net = for_phase(parse_net(f'layer {{ name: "r" type: "ReLU" top: "r" {rule} }}'))
    assert in_other_states(net, "r") == f"'r' would {'' if words.startswith('in') else 'with '}{words}"


@pytest.mark.parametrize(
    ("message", "field", "advice"),
    [
        ("LayerParameter", "blobs_lr", " blobs_lr is of old `layers`; new `layer` has param { lr_mult: 1 decay_mult: 1 }."),
        ("LayerParameter", "kernel_h", " It belongs in convolution_param or pooling_param or pooling_nd_param or pooling3d_param or unpooling_param."),
        ("NetParameter", "bottom", " It belongs in a layer; is a closing } too many before it?"),
        ("SolverParameter", "layer", " This is a net's prototxt: give the solver.prototxt that names it."),
        ("LayerParameter", "botom", " Did you mean 'bottom'?"),
        ("LayerParameter", "axis", ""),  # of too many
        ("LayerParameter", "zzz", ""),
    ],
)  # fmt: skip
def test_where_a_field_belongs(message: str, field: str, advice: str) -> None:
    assert field_advice(message, field) == advice
