"""weights: fully connected layers as maps of what they see, or as matrices."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, refused
from recorder_toy import Cycle, plain, solver
from test_figures import find

import caffe_viz as cv
from caffe_viz import figures
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure, seen_by_units
from caffe_viz.netdef import NetParameter, make_blob, parse_net, write_net, write_weights
from caffe_viz.network import Network
from caffe_viz.recording import Recorder
from caffe_viz.recording.series import of_snapshots
from caffe_viz.views.evolved import Evolution

INPUT = 'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}\n'
FC = 'layer { name: "fc" type: "InnerProduct" bottom: "%s" top: "fc" inner_product_param { num_output: 4 %s } }\n'
Drawn = tuple[str, np.ndarray]


def net_on(*dims: int, layers: str) -> NetParameter:
    return parse_net(INPUT.format(dims=" ".join(f"dim: {d}" for d in dims)) + layers)


def trained(*layers: tuple[str, tuple[int, ...]]) -> NetParameter:
    out, rng = NetParameter(), np.random.default_rng(0)
    for name, shape in layers:
        out.layer.add(name=name, blobs=[make_blob(rng.normal(size=shape))])
    return out


def values(weights: NetParameter, layer: int = 0) -> Any:
    return np.array(weights.layer[layer].blobs[0].data, np.float32)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Drawn]:
    """What is drawn as kernels, or as a matrix."""
    seen: list[Drawn] = []

    def spy(name: str, draw: Any, array: Any, **how: Any) -> Any:
        seen.append((name, np.array(array)))
        return draw(array, **how)

    for name in ("kernel_tiles", "matrix"):
        monkeypatch.setattr(figures, name, partial(spy, name, getattr(figures, name)))
    return seen


def flatten(settings: str = "") -> str:
    return (
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }\n'
        'layer { name: "flat" type: "Flatten" bottom: "relu" top: "flat" }\n'
        'layer { name: "drop" type: "Dropout" bottom: "flat" top: "flat" }\n' + FC % ("flat", settings)
    )


RESHAPE = 'layer { name: "flat" type: "Reshape" bottom: "data" top: "flat" reshape_param { shape { dim: 0 dim: -1 } } }\n'


@pytest.mark.parametrize(
    ("dims", "layers", "stored", "shape"),
    [
        ((1, 2, 3, 5), FC % ("data", ""), (4, 30), (4, 2, 3, 5)),
        ((1, 2, 3, 5), FC % ("data", ""), (1, 1, 4, 30), (4, 2, 3, 5)),  # as files of 2014
        ((1, 2, 3, 5), flatten(), (4, 30), (4, 2, 3, 5)),
        ((1, 2, 3, 5), RESHAPE + FC % ("flat", ""), (4, 30), (4, 2, 3, 5)),
        ((1, 1, 6, 5), FC % ("data", ""), (4, 30), (4, 1, 6, 5)),
        ((7, 3, 3, 5), FC % ("data", ""), (4, 45), (4, 3, 3, 5)),
        ((6, 1, 2, 3, 5), FC % ("data", "axis: 2"), (4, 30), (4, 2, 3, 5)),
        ((1, 5, 6), FC % ("data", ""), (4, 30), (4, 5, 6)),  # a sequence
        ((1, 2, 2, 3, 5), FC % ("data", ""), (4, 60), (4, 2, 2, 3, 5)),  # a volume
    ],
)
def test_units_are_drawn_with_the_axes_that_they_see(
    dims: tuple[int, ...], layers: str, stored: tuple[int, ...], shape: tuple[int, ...], drawn: list[Drawn]
) -> None:
    weights = trained(("fc", stored))
    cv.show_weights(Network(net_on(*dims, layers=layers), weights))
    [(kind, array)] = drawn
    assert kind == "kernel_tiles"
    np.testing.assert_array_equal(array, values(weights).reshape(shape))


def test_transposed_weights_are_turned(drawn: list[Drawn]) -> None:
    weights = trained(("fc", (30, 4)))
    cv.show_weights(Network(net_on(1, 2, 3, 5, layers=FC % ("data", "transpose: true")), weights))
    np.testing.assert_array_equal(drawn[0][1], values(weights).reshape(30, 4).T.reshape(4, 2, 3, 5))


@pytest.mark.parametrize("dims", [(1, 30), (1, 30, 1, 1), (1, 1, 1, 30), (2, 1, 30)])
def test_units_that_see_a_vector_are_rows(dims: tuple[int, ...], drawn: list[Drawn]) -> None:
    weights = trained(("fc", (4, 30)))
    cv.show_weights(Network(net_on(*dims, layers=FC % ("data", "")), weights), filters=[3, 1])
    [(kind, array)] = drawn
    assert kind == "matrix"
    np.testing.assert_array_equal(array, values(weights).reshape(4, 30)[[3, 1]])


def test_what_lies_between_must_keep_the_order() -> None:
    """A Permute or a Concat before the layer leaves no map; nor does another size than the weights have."""
    permute = 'layer { name: "p" type: "Permute" bottom: "data" top: "p" permute_param { order: 0 order: 2 order: 3 order: 1 } }\n'
    flat = 'layer { name: "flat" type: "Flatten" bottom: "%s" top: "flat" }\n'
    own = net_on(1, 2, 3, 5, layers=permute + flat % "p" + FC % ("flat", ""))
    assert dict(seen_by_units(measure(own).layers)) == {"fc": (3, 5, 2)}
    joined = 'layer { name: "j" type: "Concat" bottom: "flat" bottom: "flat" top: "j" }\n'
    two = net_on(1, 2, 3, 5, layers=flat % "data" + joined + FC % ("j", ""))
    assert dict(seen_by_units(measure(two).layers)) == {}


def test_other_sizes_than_the_weights_have_give_a_matrix(drawn: list[Drawn]) -> None:
    cv.show_weights(Network(net_on(1, 2, 4, 5, layers=FC % ("data", "")), trained(("fc", (4, 30)))))
    assert drawn[0][0] == "matrix"


CLEAR = [
    ("Scale", "scale_param { }", (5,), r"'x' \(Scale\) has 5 values and no kernels"),
    ("BatchNorm", "", (5,), r"'x' \(BatchNorm\) has 5 values and no kernels"),
    ("PReLU", "", (5,), r"one for each channel"),
]


@pytest.mark.parametrize(("kind", "settings", "shape", "words"), CLEAR)
def test_values_of_channels_are_no_kernels(
    kind: str, settings: str, shape: tuple[int, ...], words: str
) -> None:
    layer = f'layer {{ name: "x" type: "{kind}" bottom: "data" top: "x" {settings} }}\n'
    network = Network(net_on(1, 5, 6, 7, layers=layer), trained(("x", shape)))
    with pytest.raises(InputError, match=words):
        cv.show_weights(network, "x")
    with pytest.raises(InputError, match="no layer of the weights has kernels"):
        cv.show_weights(network)


OTHERS = {
    "Embed": ('bottom: "data" embed_param { num_output: 6 input_dim: 9 }', (9, 6), ("matrix", (9, 6))),
    "Scale": ('bottom: "data" scale_param { axis: 1 num_axes: -1 }', (5, 6, 7), ("kernel_tiles", (5, 1, 6, 7))),
    "Deconvolution": (
        'bottom: "data" convolution_param { num_output: 4 kernel_size: 3 group: 5 }', (5, 2, 3, 3),
        ("kernel_tiles", (10, 1, 3, 3)),
    ),
    "LSTM": ('bottom: "data" bottom: "cont" recurrent_param { num_output: 2 }', (8, 30), ("matrix", (8, 30))),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_layers_of_other_types(kind: str, drawn: list[Drawn]) -> None:
    """Rows of an Embed or LSTM; factors as maps; of a Deconvolution the filters are those of its outputs."""
    settings, stored, (how, shape) = OTHERS[kind]
    layer = f'layer {{ name: "x" type: "{kind}" {settings} top: "x" }}\n'
    cv.show_weights(Network(net_on(1, 5, 6, 7, layers=layer), trained(("x", stored))), "x")
    assert [(name, array.shape) for name, array in drawn] == [(how, shape)]


def test_a_layer_of_unknown_type_is_drawn_by_what_it_sees(drawn: list[Drawn]) -> None:
    own = FC.replace("InnerProduct", "BinaryFullyConnected") % ("data", "")
    cv.show_weights(Network(net_on(1, 2, 3, 5, layers=own), trained(("fc", (4, 30)))), "fc")
    assert drawn[0][1].shape in ((4, 2, 3, 5), (4, 30))


def test_kernels_come_first_then_matrices(drawn: list[Drawn]) -> None:
    conv = 'layer { name: "conv" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2 kernel_size: 3 } }\n'
    both = Network(
        net_on(1, 2, 3, 5, layers=FC % ("data", "") + conv),
        trained(("fc", (4, 30)), ("conv", (2, 2, 3, 3))),
    )
    cv.show_weights(both)
    assert drawn[0][1].shape == (2, 2, 3, 3)


def test_a_running_net_and_hdf5_are_drawn_alike(engine: str, tmp_path: Path, drawn: list[Drawn]) -> None:
    weights = trained(("fc", (4, 30)))
    message = net_on(1, 2, 3, 5, layers=flatten("bias_term: false"))
    net = cv.load_net(message, weights, engine=engine)
    one = cv.show_weights(net).rgb
    net.save_hdf5(str(tmp_path / "a.h5"))
    np.testing.assert_array_equal(one, cv.show_weights(Network(message, tmp_path / "a.h5")).rgb)
    assert [array.shape for _, array in drawn] == [(4, 2, 3, 5)] * 2


def test_weights_of_a_net_without_convolutions(tmp_path: Path) -> None:
    layers = FC % ("data", "") + (FC % ("fc", "")).replace('"fc" type', '"fc2" type').replace(
        'top: "fc"', 'top: "fc2"'
    )
    write_net(net_on(1, 1, 6, 5, layers=layers), tmp_path / "net.prototxt")
    write_weights(trained(("fc", (4, 30)), ("fc2", (4, 4))), tmp_path / "a.caffemodel")
    command = ("weights", tmp_path / "net.prototxt", tmp_path / "a.caffemodel", "-o", tmp_path / "out")
    assert here(*command).split() == [str(tmp_path / "out/fc_weights.png")]
    assert len(here(*command, "--layer", "fc", "--layer", "fc2").split()) == 2
    assert "filters 0 to 3, not 7" in refused(*command, "--filters", "7")


# --- the picture of a matrix -------------------------------------------------------


def test_a_matrix_has_a_row_for_each_unit() -> None:
    weights = np.random.default_rng(0).uniform(-1, 1, (6, 9))
    picture = figures.matrix(weights)
    shown = weights / (2 * np.abs(weights).max()) + 0.5
    find(picture, shown, 24)


def test_of_large_matrices_the_first_part_is_drawn() -> None:
    weights = np.random.default_rng(0).normal(size=(1200, 3000)).astype(np.float32)
    picture = figures.matrix(weights)
    assert 2048 <= picture.shape[1] < 2148
    assert 512 <= picture.shape[0] < 580
    assert figures.matrix(weights[:2]).shape[0] < 100  # two rows are strips
    with pytest.raises(InputError, match="not a matrix"):
        figures.matrix(np.zeros((2, 0)))
    with pytest.raises(InputError, match="NaN"):
        figures.matrix([[np.nan]])


# --- training ----------------------------------------------------------------------


def test_units_that_see_maps_are_filmed(engine: str, tmp_path: Path) -> None:
    made = solver(tmp_path, engine)
    with Recorder(made, tmp_path / "a.record", layers="all", every=5, feed=Cycle(made.net)) as seen:
        seen.step(5)
    record = cv.Record.load(tmp_path / "a.record")
    assert Evolution(record).kept == ["conv", "fc"]
    now = Evolution(record)._kernels("fc")
    np.testing.assert_array_equal(now[-1], made.net.params["fc"][0].data.reshape(5, 4, 3, 3))
    with pytest.raises(InputError, match=r"'score' has weights of \(3, 5\), which are not pictures"):
        Evolution(record).kernels("score")


def test_so_they_are_of_snapshots(tmp_path: Path) -> None:
    made = solver(tmp_path, "torch")
    for count in (2, 3):
        plain(made, count)
        made.snapshot()
    record = of_snapshots([tmp_path / "toy_iter_2.caffemodel", tmp_path / "toy_iter_5.caffemodel"])
    assert Evolution(record).kept == ["conv", "fc"]


def test_diff_shows_units_as_maps(tmp_path: Path) -> None:
    message = net_on(1, 2, 3, 5, layers=FC % ("data", ""))
    a, b = trained(("fc", (4, 30))), trained(("fc", (4, 30)))
    b.layer[0].blobs[0].data[31] += 3
    found = cv.compare_weights(a, b, message, ["fc"]).diff
    [shown] = found.shown
    np.testing.assert_array_equal(shown.second[0], values(b).reshape(4, 2, 3, 5)[1])


def test_report_draws_units_too(tmp_path: Path) -> None:
    layers = FC % ("data", "bias_term: false")
    write_net(net_on(1, 3, 6, 5, layers=layers), tmp_path / "net.prototxt")
    write_weights(trained(("fc", (4, 90))), tmp_path / "a.caffemodel")
    command = ("report", tmp_path / "net.prototxt", tmp_path / "a.caffemodel", "--budget", "0")
    here(*command, "-o", tmp_path / "out")
    [page] = (tmp_path / "out").glob("*_report.html")
    assert 'alt="weights of fc"' in page.read_text()
