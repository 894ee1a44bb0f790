"""Which gradients backward computes, against what each engine's own backward writes; and what is said of the others."""

from __future__ import annotations

import gc
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_nets import layer

from caffe_viz import backend
from caffe_viz.errors import CaffeVizWarning, InputError
from caffe_viz.gradient_support import gradient_blobs
from caffe_viz.images import Preprocess, load_image
from caffe_viz.netdef import for_phase, parse_net
from caffe_viz.views import show_gradients

REPOSITORY = Path(__file__).resolve().parent.parent

DATA = layer("data", "Input", "", "data", "input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } }")
LABEL = layer("label", "Input", "", "label", "input_param { shape { dim: 2 } }")
FIXED = "param { lr_mult: 0 } param { lr_mult: 0 }"
SOFT = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }'
SUM = 'layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "pool" top: "sum" %s }'


def conv(more: str = "", bottom: str = "data", name: str = "conv") -> str:
    return layer(
        name, "Convolution", bottom, name, f"convolution_param {{ num_output: 3 kernel_size: 1 }} {more}"
    )


def fc(more: str = "") -> str:
    return layer("fc", "InnerProduct", "relu", "fc", f"inner_product_param {{ num_output: 2 }} {more}")


RELU, IN_PLACE = layer("relu", "ReLU", "conv", "relu"), layer("act", "ReLU", "conv", "conv")
POOL = layer("pool", "Pooling", "data", "pool", "pooling_param { pool: AVE kernel_size: 1 }")
NETS = {
    "no loss": DATA + conv() + RELU + fc(),
    "loss": DATA + LABEL + conv() + RELU + fc() + SOFT,
    "in place": DATA + LABEL + conv() + IN_PLACE + RELU + fc() + SOFT,
    "fixed below": DATA + LABEL + conv(FIXED) + RELU + fc() + SOFT,
    "bias learns": DATA + LABEL + conv("param { lr_mult: 0 }") + RELU + fc() + SOFT,
    "all fixed": DATA + LABEL + conv(FIXED) + RELU + fc(FIXED) + SOFT,
    "weighted": DATA + conv() + RELU + fc("loss_weight: 2"),
    "loss inside": DATA + conv() + layer("relu", "ReLU", "conv", "relu", "loss_weight: 1") + fc(),
    "cut": DATA + LABEL + conv() + RELU + fc("propagate_down: false") + SOFT,
    "to the image": DATA + LABEL + conv("propagate_down: true") + RELU + fc() + SOFT,
    "two ways": DATA + conv() + POOL + SUM % "loss_weight: 1",
    "split": DATA + conv() + RELU + layer("more", "TanH", "conv", "more", "loss_weight: 1") + fc("loss_weight: 1"),
    "branch without": DATA + conv() + RELU + layer("more", "TanH", "conv", "more") + fc("loss_weight: 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_reached_are_the_blobs_whose_diffs_are_written(name: str, engine: str) -> None:
    """A number stands in all diffs before, but in those of losses; where it still stands, nothing was computed."""
    net = backend.load_net(parse_net(NETS[name]), engine=engine, checked=False)
    for blob in (net.blobs["data"], *(blob for blobs in net.params.values() for blob in blobs)):
        blob.data[...] = 1
    net.forward()
    watched = [b for b in net.blobs if not net.blob_loss_weights[b]]
    for blob in watched:
        net.blobs[blob].diff[...] = -123
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffeVizWarning)
        net.backward()
    written = {b for b in watched if not (net.blobs[b].diff == -123).all()}
    assert gradient_blobs(net, for_phase(net.prototxt)) & set(watched) == written


def test_a_backward_without_a_loss_is_told_once(engine: str) -> None:
    net = backend.load_net(parse_net(NETS["no loss"]), engine=engine, checked=False)
    net.forward()
    words = r"no gradients, because the net has no loss: load the net with force_backward=True"
    with pytest.warns(CaffeVizWarning, match=words) as told:
        found = net.backward(["conv"], fc=np.ones((2, 2)))
    assert told[0].filename == __file__
    assert not found["data"].any()
    assert not found["conv"].any()
    silent(lambda: net.backward(fc=np.ones((2, 2))))


def test_a_backward_in_batches_is_told_too(engine: str) -> None:
    net = backend.load_net(parse_net(NETS["no loss"]), engine=engine, checked=False)
    with pytest.warns(CaffeVizWarning, match="no gradients"):
        net.forward_backward_all(data=np.ones((2, 3, 5, 5)), fc=np.ones((2, 2)))


def test_a_gradient_that_is_left_out_is_told_by_its_name(engine: str) -> None:
    net = backend.load_net(parse_net(NETS["loss"]), engine=engine, checked=False)
    net.forward()
    silent(net.backward)
    silent(lambda: net.backward(diffs=["conv", "relu"]))
    with pytest.warns(
        CaffeVizWarning, match="leaves out the gradient of data, because nothing before it learns"
    ):
        net.backward(diffs=["relu", "data"])


@pytest.mark.parametrize("name", ["no loss", "loss"])
def test_force_backward_computes_it(name: str, engine: str, tmp_path: Path) -> None:
    """As a file that says so itself; central differences are the judge."""
    path = tmp_path / "net.prototxt"
    path.write_text(NETS[name])
    net = backend.load_net(path, engine=engine, force_backward=True)
    rng = np.random.default_rng(0)
    for blob in (*net.params["conv"], *net.params["fc"], net.blobs["data"]):
        blob.data[...] = rng.normal(size=tuple(blob.shape)) / 3
    image, place = net.blobs["data"].data.copy(), (1, 2, 3, 1)
    net.forward()
    seed = {} if name == "loss" else {"fc": rng.normal(size=(2, 2))}
    found = silent(lambda: net.backward(diffs=["data"], **seed))["data"][place]

    def value(step: float) -> float:
        net.blobs["data"].data[...] = image
        net.blobs["data"].data[place] += step
        out = net.forward()
        return float(out["loss"] if name == "loss" else (out["fc"] * seed["fc"]).sum())

    assert found == pytest.approx((value(0.01) - value(-0.01)) / 0.02, rel=2e-2)
    assert found
    assert net.prototxt.force_backward
    assert "force_backward" not in path.read_text()


def test_by_hand_is_what_show_gradients_gives(engine: str) -> None:
    """Of the score before the softmax: two ways, one by a net that is cut behind the score."""
    folder = REPOSITORY / "prototxt" / "caffenet_cifar10"
    files = folder / "deploy.prototxt", folder / "caffenet_cifar10.caffemodel"
    net = backend.load_net(*files, engine=engine, force_backward=True, input_shapes={"data": (1, 3, 32, 32)})
    picture = load_image(REPOSITORY / "examples" / "cat.png")
    net.blobs["data"].data[...] = Preprocess.from_toml(folder / "preprocess.toml").to_caffe(
        picture, (3, 32, 32)
    )
    net.forward()
    net.blobs["fc8"].diff[...] = np.eye(10)[3]
    found = net.backward(diffs=["data"], start="fc8")["data"][0]
    shown = show_gradients(backend.load_net(*files, engine=engine), picture, 3, blobs=["data"])
    np.testing.assert_allclose(found, shown.blobs["data"], rtol=0, atol=1e-5 * np.abs(found).max())


def test_a_file_that_says_force_backward_is_not_told_of(engine: str) -> None:
    net = backend.load_net(parse_net("force_backward: true " + NETS["no loss"]), engine=engine, checked=False)
    net.forward()
    silent(lambda: net.backward(diffs=["data"], fc=np.ones((2, 2))))


def test_force_backward_through_what_has_no_gradient_is_refused_where_caffe_aborts(engine: str) -> None:
    net = parse_net(NETS["no loss"] + layer("best", "ArgMax", "fc", "best"))
    if engine == "torch":
        assert backend.load_net(net, engine=engine, force_backward=True)
        return
    with pytest.raises(InputError, match=r"'best'.*has no gradient, and force_backward asks for one"):
        backend.load_net(net, engine=engine, force_backward=True)


def test_a_net_is_freed_at_once(engine: str) -> None:
    net = backend.load_net(parse_net(NETS["no loss"]), engine=engine, checked=False)
    own = weakref.ref(net)
    gc.disable()
    try:
        del net
        assert own() is None
    finally:
        gc.enable()


def silent(call: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CaffeVizWarning)
        return call()
