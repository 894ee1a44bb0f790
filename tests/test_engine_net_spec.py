"""Nets written in Python give the messages that real pycaffe makes; what is wrong is said where it is written."""

# ruff: noqa: C408  (parameters are written as scripts write them)

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

pytest.importorskip("torch", reason="the engine torch is not installed")

from caffe_viz.backend import module
from caffe_viz.errors import InputError
from caffe_viz.netdef import NetParameter

OURS = module("torch")
L, P = OURS.layers, OURS.params


def lenet(c: Any) -> Any:
    L, P, n = c.layers, c.params, c.NetSpec()
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[5, 1, 28, 28]), dict(dim=[5, 1, 1, 1])], transform_param=dict(scale=1 / 255), ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=500, param=[dict(lr_mult=1), dict(lr_mult=2, decay_mult=0)])
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10)
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_weight=0.5, include=dict(phase=c.TRAIN))
    return n.to_proto()


def anonymous(c: Any) -> Any:
    L, P = c.layers, c.params
    data, label = L.DummyData(shape=[dict(dim=[1, 2, 8, 8]), dict(dim=[1])], ntop=2)
    first = L.Pooling(
        L.ReLU(L.Convolution(data, num_output=4, kernel_size=3)), pool=P.Pooling.AVE, kernel_size=2
    )
    second = L.Convolution(data, num_output=4, kernel_size=2, stride=2)
    both = L.Eltwise(first, second, operation=P.Eltwise.SUM, coeff=[1, -1])
    return c.to_proto(L.SoftmaxWithLoss(L.InnerProduct(both, num_output=3), label), L.Silence(label, ntop=1))


def one_top(c: Any) -> Any:
    L = c.layers
    return L.ReLU(L.Input(shape=dict(dim=[1, 2])), in_place=True).to_proto()


def without_tops(c: Any) -> Any:
    L, n = c.layers, c.NetSpec()
    n.data, n.other = L.DummyData(shape=dict(dim=3), ntop=2)
    n.silence = L.Silence(n.data, ntop=0)
    n["quiet/other"] = L.Silence(n["other"], n.data, ntop=0)
    return n.to_proto()


def many_tops(c: Any) -> Any:
    L, n = c.layers, c.NetSpec()
    parts = L.Slice(L.Input(shape=dict(dim=[1, 9])), ntop=3, axis=1, slice_point=[2, 5])
    n.middle = parts[1]  # the first is made up, so the layer's name is
    n.all = L.Concat(*reversed(parts), axis=1)
    return n.to_proto()


def general_parameters(c: Any) -> Any:
    L, n = c.layers, c.NetSpec()
    n.data = L.Input(input_param=dict(shape=[dict(dim=[1, 2, 6, 6])]))
    n.up = L.Deconvolution(n.data, convolution_param=dict(num_output=2, kernel_size=[3, 2], bias_term=False))
    n.named = L.Power(n.up, name="other name", power=2, propagate_down=[False], phase=c.TEST)
    n.python = L.Python(n.named, module="a", layer="B", param_str="{}")
    n.shape = L.Reshape(n.named, shape=dict(dim=[0, -1]))
    n.shared = L.InnerProduct(n.shape, num_output=2, param=dict(name="w"), inner_product_param=dict(axis=1))
    n.empty = L.Dropout(n.shared, dropout_param=dict())
    n.rules = L.ReLU(n.empty, include=[dict(stage=["a", "b"]), dict(min_level=1)], blobs=[dict(data=[1, 2])])
    return n.to_proto()


def messages(c: Any) -> Any:
    pb, L = c.proto.caffe_pb2, c.layers
    data = L.Input(shape=[pb.BlobShape(dim=[1, 2])])
    return c.to_proto(L.InnerProduct(data, num_output=1, param=[pb.ParamSpec(lr_mult=0)]))


def renamed(c: Any) -> Any:
    """A top under two names has the last; what is assigned again to a name leaves no trace."""
    L, n = c.layers, c.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 2]))
    n.x = n.again = L.ReLU(n.data)
    n.y = L.TanH(n.x)
    n.y = L.Sigmoid(n.x)
    return n.to_proto()


def changed(c: Any) -> Any:
    L, n = c.layers, c.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 2]))
    n.ip = L.InnerProduct(n.data, num_output=2)
    n.ip.fn.params.update(num_output=7)
    return n.to_proto()


SPECS = [
    lenet, anonymous, one_top, without_tops, many_tops, general_parameters, messages, renamed, changed,
]  # fmt: skip


@pytest.mark.caffe
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.__name__)
def test_messages_are_those_of_real_pycaffe(caffe: Any, spec: Callable[[Any], Any]) -> None:
    theirs = text_format.Parse(str(spec(caffe)), NetParameter())
    assert str(spec(OURS)) == str(theirs)


def test_in_place_layer_has_its_own_name_and_its_bottoms_top() -> None:
    layer = lenet(OURS).layer[4]
    assert (layer.name, list(layer.bottom), list(layer.top)) == ("relu1", ["ip1"], ["ip1"])


def test_made_up_names_count_by_type() -> None:
    assert [layer.name for layer in anonymous(OURS).layer] == [
        "DummyData1", "Convolution1", "ReLU1", "Pooling1", "Convolution2", "Eltwise1", "InnerProduct1",
        "SoftmaxWithLoss1", "Silence1",
    ]  # fmt: skip


def test_deep_net_without_names() -> None:
    top = L.Input(shape=dict(dim=[1]))
    for _ in range(3000):  # deeper than Python's recursion
        top = L.ReLU(top)
    assert len(top.to_proto().layer) == 3001


def test_spec_becomes_a_net() -> None:
    n = OURS.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 2, 2]))
    n.sum = L.Reduction(n.data, operation=P.Reduction.SUM)
    net = OURS.Net(n.to_proto(), OURS.TEST)
    assert net.forward(data=np.ones((1, 1, 2, 2)))["sum"] == 4


@pytest.mark.parametrize("values", [(3, 2), np.array([3, 2]), [np.int64(3), np.uint8(2)], range(3, 1, -1)])
def test_sequences_and_numpys_numbers(values: Any) -> None:
    layer = (
        L.Convolution(kernel_size=values, num_output=np.int32(4), bias_term=np.bool_(False))
        .to_proto()
        .layer[0]
    )
    found = layer.convolution_param
    assert (list(found.kernel_size), found.num_output, found.bias_term) == ([3, 2], 4, False)


def test_labels_of_constants_may_be_text() -> None:
    assert L.Pooling(pool="AVE").to_proto() == L.Pooling(pool=P.Pooling.AVE).to_proto()


def test_values_are_not_kept_or_changed() -> None:
    given = dict(type="xavier")
    top = L.Convolution(weight_filler=given)
    top.to_proto()
    assert given == dict(type="xavier")


def test_copies() -> None:
    n = OURS.NetSpec()
    n.data = L.Input(shape=dict(dim=[1]))
    assert copy.copy(n).to_proto() == n.to_proto()


# What is written -> a pattern of the error.
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "parameter": (lambda: L.Convolution(num_outputs=3), AttributeError, "Convolution has no parameter 'num_outputs'. Did you mean 'num_output'"),
    "general": (lambda: L.Input(nme="x"), AttributeError, "Input has no parameter 'nme'. Did you mean 'name'"),
    "inner": (lambda: L.Convolution(weight_filler=dict(tpye="xavier")), AttributeError, "Convolution, weight_filler.tpye: there is no 'tpye'. Did you mean 'type'"),
    "deep": (lambda: L.X(convolution_param=dict(weight_filler=dict(std="a"))), TypeError, "X, convolution_param.weight_filler.std cannot be 'a': a number"),
    "elsewhere": (lambda: L.Deconvolution(num_output=3), AttributeError, "no parameters of its own, so no 'num_output'. Write NAME=dict.num_output=..., of convolution_param"),
    "nowhere": (lambda: L.Deconvolution(numoutput=3), AttributeError, "no parameters of its own, so no 'numoutput'"),
    "type": (lambda: L.Convolutoin(num_output=3), AttributeError, "no layer type 'Convolutoin'. Did you mean 'Convolution'"),
    "label": (lambda: L.Pooling(pool="MAXX"), TypeError, "Pooling, pool cannot be 'MAXX'. Did you mean 'MAX'"),
    "number": (lambda: L.Pooling(kernel_size=2.5), TypeError, "kernel_size cannot be 2.5: a whole number"),
    "text": (lambda: L.Python(module=3), TypeError, "module cannot be 3: text is expected"),
    "truth": (lambda: L.Convolution(bias_term="no"), TypeError, "bias_term cannot be 'no': True or False"),
    "none": (lambda: L.Convolution(num_output=None), TypeError, "num_output cannot be None"),
    "list": (lambda: L.Pooling(kernel_size=[3, 3]), TypeError, "kernel_size takes one value, not a list of 2"),
    "dict": (lambda: L.Input(shape=3), TypeError, "shape takes a dict, not 3, of: dim"),
    "message": (lambda: L.Input(shape=OURS.proto.caffe_pb2.ParamSpec()), TypeError, "shape takes a dict"),
    "bottom": (lambda: L.Silence(L.Input(ntop=2), ntop=0), TypeError, r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"),
    "in place": (lambda: L.Eltwise(L.Input(), L.Input(), in_place=True), TypeError, "one bottom for each of 1 tops"),
    "constant": (lambda: P.Pooling.MAXX, AttributeError, "Pooling has no constant 'MAXX'. Did you mean 'MAX'"),
    "constants": (lambda: P.Poolin.MAX, AttributeError, "no parameters of 'Poolin'. Did you mean 'Pooling'"),
    "top": (lambda: OURS.NetSpec().conv1, AttributeError, "has no 'conv1' yet"),
    "tuple": (lambda: setattr(OURS.NetSpec(), "a", L.Input(ntop=2)), TypeError, "a tuple of 2: give a name to each"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_where_it_is_written(case: str) -> None:
    write, kind, words = WRONG[case]
    with pytest.raises(InputError, match=words) as caught:
        write()
    assert isinstance(caught.value, kind)  # what pycaffe raises
    assert "\n" not in str(caught.value)


def test_attributes_that_are_none() -> None:
    assert not hasattr(L, "__wrapped__")
    assert not hasattr(OURS.NetSpec(), "conv1")
