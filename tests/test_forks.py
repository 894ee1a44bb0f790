"""The layer types of forks: values against loops or OpenCV, gradients against central differences."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from fork_cases import ForkCase, all_cases

from caffe_viz.checking.computable import SHAPES_ONLY
from caffe_viz.geometry import measure
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import parse_net
from caffe_viz.parity import LIMIT, apart

torch = pytest.importorskip("torch")

from torch.utils import flop_counter  # noqa: E402

from caffe_viz.engine import Net  # noqa: E402
from caffe_viz.engine.table import LAYERS, LEFT_OUT  # noqa: E402

CASES = all_cases()
# Layers whose tops have a row for each box that the values say.
FINDING = (
    "BoxGroupOutput", "BoxOutput", "DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput",
    "proposal_layer", "as_rois_mrcnn",
)  # fmt: skip
# Types that are products of matrices and convolutions of torch's.
COUNTED = {
    "BinaryConvolution", "BinaryInnerProduct", "Convolution", "Convolution3D", "ConvolutionDepthwise",
    "Deconvolution", "Deconvolution3D", "DenseBlock", "DepthwiseConvolution", "InnerProduct",
}  # fmt: skip


def made(case: ForkCase, tmp_path: Path) -> Net:
    """The net of a case with its values in its inputs and parameters."""
    path = tmp_path / "net.prototxt"
    path.write_text(case.toy.prototxt())
    net = Net(path, 1)
    rng = np.random.default_rng(1)
    for name in net.inputs:
        noise = rng.normal(size=net.blobs[name].data.shape)
        net.blobs[name].data[...] = case.inputs.get(name, noise)
    for i, blob in enumerate(net.layer_dict["x"].blobs):
        blob.data[...] = case.params.get(i, rng.normal(size=blob.data.shape))
    return net


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: ForkCase, tmp_path: Path) -> None:
    net = made(case, tmp_path)
    bottoms = [net.blobs[name].data.astype(np.float64) for name in net.inputs]
    params = [blob.data.astype(np.float64) for blob in net.layer_dict["x"].blobs]
    wanted = case.judge(bottoms, params)
    wanted = [wanted] if isinstance(wanted, np.ndarray) else wanted
    net.forward()
    found = [net.blobs[name].data for name in net.top_names["x"]]
    assert [x.shape for x in found] == [np.shape(x) for x in wanted]
    assert [apart(x, y) <= LIMIT for x, y in zip(wanted, found, strict=True)] == [True] * len(found)
    measured, finds = measure(parse_net(case.toy.prototxt())), any(name in str(case) for name in FINDING)
    for name, x in zip(net.top_names["x"], found, strict=True):
        differing = [n != m for n, m in zip(measured.blob(name), x.shape, strict=True)]
        assert sum(differing) <= finds  # the axis of what is found


@pytest.mark.parametrize("case", [x for x in CASES if x.toy.type in COUNTED], ids=str)
def test_multiply_adds_are_those_that_torch_counts(case: ForkCase, tmp_path: Path) -> None:
    net = made(case, tmp_path)
    with flop_counter.FlopCounterMode(display=False) as counter:
        net.forward()
    measured = measure(parse_net(case.toy.prototxt()))
    images = measured.blob("a")[0]
    assert 2 * images * measured.layers[-1].macs == counter.get_total_flops() > 0


@pytest.mark.parametrize("case", [x for x in CASES if x.gradient], ids=str)
def test_gradients(case: ForkCase, tmp_path: Path) -> None:
    net = made(case, tmp_path)
    layer = net.layer_dict["x"]

    def values(name: str) -> torch.Tensor:
        return torch.from_numpy(net.blobs[name].data.astype(np.float64))

    bottoms = [values(name).requires_grad_(name in case.gradient) for name in net.inputs]
    params = [torch.from_numpy(b.data.astype(np.float64)).requires_grad_() for b in layer.blobs]

    def tops(*given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = layer.kind.function(layer.call, list(given[: len(bottoms)]), list(given[len(bottoms) :]))
        some = [found] if isinstance(found, torch.Tensor) else [x for x in found if x is not None]
        return tuple(x for x in some if x.requires_grad)

    # fast: one random direction through each Jacobian, as far off as any entry of it
    assert torch.autograd.gradcheck(tops, (*bottoms, *params), eps=1e-6, atol=1e-5, fast_mode=True)


def test_every_type_of_a_fork_is_in_the_docs() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "forks.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\w+", page))
    assert {name for name, rule in TABLE.items() if rule.fork} - named == set()
    only_shapes = set(re.findall(r"\w+", page.partition("| shapes only |")[2].partition(";")[0]))
    assert only_shapes == SHAPES_ONLY == {x for x, rule in TABLE.items() if rule.fork and x in LEFT_OUT}


def test_every_type_of_a_fork_has_cases() -> None:
    forks = {name for name, rule in TABLE.items() if rule.fork} - set(LEFT_OUT)
    assert forks <= set(LAYERS)
    assert forks - {case.toy.type for case in CASES} == set()
