"""Nets as files of torch and of ONNX: other programs compute the same with them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import here, refused
from fork_cases import all_cases as fork_cases
from geometry_toys import Toy
from layer_cases import LayerCase
from layer_cases import all_cases as layer_cases

import caffe_viz as cv
from caffe_viz.errors import CaffeVizWarning, InputError, RunError
from caffe_viz.exporting import export
from caffe_viz.netdef import parse_net, write_net
from caffe_viz.parity import apart

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'caffe-viz[onnx]'")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from module_runs import Case, inputs_of, net_of  # noqa: E402
from test_module import TOY, network, noise, toy  # noqa: E402

from caffe_viz.engine.module import NetModule  # noqa: E402

LIMIT = 1e-4  # of the largest value
FOLDER = Path(__file__).resolve().parent.parent / "prototxt" / "caffenet_cifar10"
NET = (FOLDER / "deploy.prototxt", FOLDER / "caffenet_cifar10.caffemodel")

# What loads a .pt2 knows nothing of this package.
LOADER = """
import sys
sys.modules["caffe_viz"] = None
import numpy as np, torch
module = torch.export.load(sys.argv[1]).module()
given = {name: torch.from_numpy(x) for name, x in np.load(sys.argv[2]).items()}
np.savez(sys.argv[3], **{name: x.detach().numpy() for name, x in module(**given).items()})
"""


def loaded_by_torch(path: Path, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    module = torch.export.load(path).module()
    found = module(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    return {name: x.detach().numpy() for name, x in found.items()}


def loaded_elsewhere(path: Path, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    given, found = path.with_suffix(".in.npz"), path.with_suffix(".out.npz")
    np.savez(given, **inputs)
    subprocess.run([sys.executable, "-c", LOADER, path, given, found], check=True, cwd=path.parent)
    return dict(np.load(found))


def checked(path: Path) -> Any:
    """The model, which ONNX's own checker accepts."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return model


def loaded_by_onnx(path: Path, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
    checked(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


LOADED = {"torch": loaded_by_torch, "onnx": loaded_by_onnx}


@pytest.mark.parametrize("to", LOADED)
def test_the_shipped_network(tmp_path: Path, to: str) -> None:
    path = tmp_path / "net"
    assert here("export", *NET, "--to", to, "-o", path) == f"{path}\n"
    net = cv.load_net(*NET, engine="torch")
    for count in (1, 3):
        x = noise(count, 3, 32, 32, seed=count) * 50
        found = LOADED[to](path, {"data": x.numpy()})
        assert list(found) == ["prob"]
        assert apart(cv.torch_module(net)(x).numpy(), found["prob"]) < LIMIT
    if to == "torch":
        assert np.array_equal(loaded_elsewhere(path, {"data": x.numpy()})["prob"], found["prob"])
    else:
        one_operator_for_a_layer_and_caffes_names(checked(path).graph)


def one_operator_for_a_layer_and_caffes_names(graph: Any) -> None:
    count = Counter(node.op_type for node in graph.node)
    assert count == {"Conv": 5, "Relu": 7, "MaxPool": 3, "LRN": 2, "Gemm": 3, "Softmax": 1, "Reshape": 1}
    assert inputs(graph) == ["data"]
    assert [x.name for x in graph.output] == ["prob"]
    sizes = [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, 32, 32]
    made = [(node.name, node.output[0]) for node in graph.node]
    assert made[:4] == [("conv1", "conv1/before"), ("relu1", "conv1"), ("pool1", "pool1"), ("norm1", "norm1")]
    assert made[-1] == ("prob", "prob")
    assert {"conv1.weight", "conv1.bias", "fc8.weight"} <= {x.name for x in graph.initializer}


def inputs(graph: Any) -> list[str]:
    return [x.name for x in graph.input]


# The beginnings of networks of others, as far as they have what the shipped network has not: groups and a norm
# behind a pooling, an inception, a residual block. How long an export takes is a matter of how many layers.
@pytest.mark.parametrize(
    ("name", "end"), [("caffenet", "relu2"), ("googlenet", "inception_3a/output"), ("resnet50", "res2a_relu")]
)
def test_networks(tmp_path: Path, name: str, end: str) -> None:
    net = network(name, end)
    x = noise(2, *net.blobs["data"].shape[1:])
    with torch.no_grad():
        wanted = NetModule(net)(x).numpy()
    assert np.ptp(wanted) > 0
    for to, load in LOADED.items():
        (found,) = load(export(net, tmp_path / to, to), {"data": x.numpy()}).values()
        assert apart(wanted, found) < LIMIT
    assert np.array_equal(NetModule(net)(x), wanted)  # the net is as it was
    assert not any(layer._forward_hooks for layer in NetModule(net).children())


# One of each: a layer in ONNX's own operators, and values that are no constants of the trace.
KINDS = {
    "ave_pad": 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }',
    "ave": 'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 }',
    "whole": 'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
    "max_pad": 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 }',
    "deconv": 'type: "Deconvolution" convolution_param { num_output: 6 kernel_size: 4 stride: 2 pad: 1 group: 3 weight_filler { type: "bilinear" } }',
    "bn": 'type: "BatchNorm"',
    "flat": 'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }',
    "prelu": 'type: "PReLU"',
    "interp": 'type: "Interp" interp_param { zoom_factor: 2 }',
    "shuffle": 'type: "ShuffleChannel" shuffle_channel_param { group: 3 }',
    "argmax": 'type: "ArgMax" argmax_param { axis: 1 top_k: 2 }',
    "mvn": 'type: "MVN"',
}
OPERATORS = {
    "ave_pad": ["AveragePool"], "ave": ["AveragePool"], "max_pad": ["MaxPool"], "deconv": ["ConvTranspose"],
    "bn": ["BatchNormalization"], "flat": ["Reshape"], "prelu": ["PRelu"],
}  # fmt: skip


def test_layers_in_onnx(tmp_path: Path) -> None:
    layers = "".join(
        f'layer {{ name: "{name}" bottom: "data" top: "{name}" {text} }}\n' for name, text in KINDS.items()
    )
    net = toy(
        TOY.partition('layer { name: "conv"')[0].replace(
            "dim: 2 dim: 3 dim: 8 dim: 8", "dim: 2 dim: 6 dim: 8 dim: 9"
        )
        + layers
    )
    for blob, values in zip(net.params["bn"], (0.5, 2, 1), strict=True):
        blob.data[...] = np.arange(1, blob.count + 1) * values
    path = export(net, tmp_path / "net.onnx")
    x = noise(3, 6, 8, 9)
    wanted, found = NetModule(net)(x), loaded_by_onnx(path, {"data": x.numpy()})
    assert {name: apart(wanted[name].numpy(), found[name]) < LIMIT for name in KINDS} == dict.fromkeys(
        KINDS, True
    )
    nodes = checked(path).graph.node
    made = {name: [n.op_type for n in nodes if n.name.split("/")[0] == name] for name in OPERATORS}
    assert made == OPERATORS


COMPILED = {
    "Pooling",
    "PoolingND",
    "Pooling3D",
    "SPP",
    "BatchNorm",
    "BatchNormKyle",
    "Reshape",
    "Flatten",
    "Interp",
    "BilinearInterpolation",
}


PADDED = LayerCase(
    Toy("Pooling", ["2 3 8 7"], "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1 }")
)
CASES = [c for c in (PADDED, *layer_cases(), *fork_cases()) if c.toy.type in COMPILED]


@pytest.mark.parametrize("case", [c for c in CASES if not getattr(c, "train", False)], ids=str)
def test_what_compilers_see_computes_the_same(monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    net = net_of(case)
    module, given, names = NetModule(net), inputs_of(net), list(net.blobs)
    wanted = module(given, blobs=names)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found = module(given, blobs=names)
    for name in names:
        assert apart(wanted[name].numpy(), found[name].numpy()) < 1e-5


def test_several_inputs_blobs_and_names_of_any_kind(tmp_path: Path) -> None:
    net = toy(
        'layer { name: "in" type: "Input" top: "im/a.b" top: "2nd" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "sum/up" type: "Eltwise" bottom: "im/a.b" bottom: "2nd" top: "s.um" }'
        'layer { name: "re" type: "ReLU" bottom: "s.um" top: "s.um" }'
        'layer { name: "drop" type: "Dropout" bottom: "s.um" top: "dropped" }'
        'layer { name: "twice" type: "Power" bottom: "2nd" top: "twice" power_param { scale: 2 } }'
    )
    a, b = noise(4, 3), noise(4, 3, seed=1)
    wanted = {"dropped": (a + b).relu().numpy(), "twice": 2 * b.numpy(), "2nd": b.numpy()}
    path = export(net, tmp_path / "net.onnx", blobs=list(wanted))
    found = loaded_by_onnx(path, {"im/a.b": a.numpy(), "2nd": b.numpy()})
    found["2nd"] = found.pop("2nd_")  # a name that ONNX gives to the input only
    assert list(found) == list(wanted)
    nodes = checked(path).graph.node
    assert {"sum/up", "re"} <= {node.name for node in nodes}
    assert "s.um" in {name for node in nodes for name in node.output}  # though it is another one's values
    path = export(net, tmp_path / "net.pt2", "torch", blobs=list(wanted))
    again = loaded_by_torch(path, {"im_a_b": a.numpy(), "_2nd": b.numpy()})
    for name in wanted:
        assert apart(wanted[name], found[name]) < LIMIT
        assert apart(wanted[name], again[name]) < LIMIT


def test_a_number_of_images(tmp_path: Path) -> None:
    path = export(toy(), tmp_path / "net", "torch", batch=5)
    assert loaded_by_torch(path, {"data": noise(5, 3, 8, 8).numpy()})["ip"].shape == (5, 5)


@pytest.mark.parametrize("to", LOADED)
def test_a_layer_that_fixes_the_number_of_images(tmp_path: Path, to: str) -> None:
    path = tmp_path / "net"
    fixed = toy(
        TOY.replace(
            'layer { name: "ip"',
            'layer { name: "re" type: "Reshape" bottom: "sum" top: "re" reshape_param { shape { dim: 2 dim: 6 dim: 6 } } } layer { name: "ip"',
        ).replace('bottom: "sum" top: "ip"', 'bottom: "re" top: "ip"')
    )
    with pytest.warns(CaffeVizWarning, match="takes the net's own number of images only"):
        export(fixed, path, to)
    assert LOADED[to](path, {"data": noise(2, 3, 8, 8).numpy()})["ip"].shape == (2, 5)


@pytest.mark.parametrize("to", LOADED)
def test_a_layer_that_cannot_be_exported_is_named(tmp_path: Path, to: str) -> None:
    case = next(c for c in layer_cases() if c.toy.type == "DetectionOutput")
    net = parse_net(case.toy.prototxt())
    net.layer.add(name="after", type="Power", bottom=["t0"], top=["after"])
    net.layer.add(name="before", type="Scale", bottom=["a"], top=["before"])
    write_net(net, tmp_path / "net.prototxt")
    weights = cv.netdef.NetParameter()
    weights.layer.add(name="before", blobs=[cv.netdef.make_blob(np.ones(160, np.float32))])
    cv.write_weights(weights, tmp_path / "net.caffemodel")
    path = tmp_path / "net.out"
    path.write_text("as it was")
    files = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    said = refused("export", *files, "--to", to, "-o", path)
    assert said.count("\n") == 1
    assert "layer 'x' (DetectionOutput) cannot be exported: what it does depends on values" in said
    assert "Export blobs that do not depend on it: 'a', 'b', 'c'." in said
    assert path.read_text() == "as it was"
    assert here("export", *files, "--to", to, "-o", path, "--blob", "before") == f"{path}\n"
    # Inputs that the asked blob does not need are none.
    if to == "onnx":
        assert inputs(checked(path).graph) == ["a"]
    else:
        assert list(loaded_by_torch(path, {"a": np.ones((2, 160), np.float32)})) == ["before"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_an_operator_that_onnx_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from caffe_viz.engine.table import LAYERS

    odd = replace(LAYERS["Power"], function=lambda call, bottoms, params: torch.linalg.matrix_exp(bottoms[0]))
    monkeypatch.setitem(LAYERS, "Power", odd)
    net = toy(
        TOY.partition('layer { name: "conv"')[0]
        + 'layer { name: "relu" type: "ReLU" bottom: "data" top: "r" } layer { name: "odd" type: "Power" bottom: "r" top: "o" } layer { name: "last" type: "ReLU" bottom: "o" top: "l" }'
    )
    with pytest.raises(InputError, match=r"layer 'odd' \(Power\) cannot be exported: .*linalg_matrix_exp"):
        export(net, tmp_path / "net.onnx")


def test_layers_of_type_python_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import caffe\n\n\nclass Same(caffe.Layer):\n    def setup(self, bottom, top):\n        pass\n\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(*bottom[0].shape)\n\n"
        "    def forward(self, bottom, top):\n        top[0].data[...] = bottom[0].data\n"
    )
    (tmp_path / "net.prototxt").write_text(
        TOY.replace('type: "ReLU"', 'type: "Python" python_param { module: "mine" layer: "Same" }')
    )
    net = cv.load_net(tmp_path / "net.prototxt", engine="torch", allow_code=True)
    with pytest.raises(
        InputError, match=r"layer 'relu' \(Python\) cannot be exported: its code is the user's"
    ):
        export(net, tmp_path / "net.pt2", "torch")
    export(net, tmp_path / "net.pt2", "torch", blobs=["data"])


def test_what_cannot_be_done_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = toy()
    with pytest.raises(InputError, match=r"format 'tensorflow' is unknown\. There are: torch, onnx\."):
        export(net, tmp_path / "net", "tensorflow")
    with pytest.raises(InputError, match="has no blob 'convv'"):
        export(net, tmp_path / "net", "torch", blobs=["convv"])
    with pytest.raises(InputError, match="is a folder: name the file"):
        export(net, tmp_path, "torch")
    with pytest.raises(InputError, match="a batch of 0 images"):
        export(net, tmp_path / "net", "torch", batch=0)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RunError, match=r"ONNX needs onnxscript: pip install 'caffe-viz\[onnx\]'\."):
        export(net, tmp_path / "net", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_from_real_caffe(caffe: Any, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(TOY)
    net = cv.load_net(tmp_path / "net.prototxt", engine="caffe")
    net.params["ip"][1].data[...] = np.arange(5)
    x = noise(*net.blobs["data"].data.shape)
    net.blobs["data"].data[...] = x.numpy()
    found = loaded_by_torch(export(net, tmp_path / "net.pt2", "torch"), {"data": x.numpy()})
    assert apart(np.array(net.forward()["ip"]), found["ip"]) < LIMIT
