"""Old syntax, type by type and field by field: what real Caffe's util/upgrade_proto.cpp makes of it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from caffe_viz.errors import InputError
from caffe_viz.netdef import parse_net
from caffe_viz.netdef.net_pb2 import V1LayerParameter

FILLERS = 'weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 2 }'
# Of each type all that is its own, and what real Caffe makes of it.
OLD_AND_NEW = [
    (
        f'type: "conv" num_output: 4 biasterm: false {FILLERS} pad: 1 kernelsize: 3 group: 2 stride: 5 '
        "blobs_lr: 1 blobs_lr: 2 weight_decay: 3 weight_decay: 0",
        f'type: "Convolution" param {{ lr_mult: 1 decay_mult: 3 }} param {{ lr_mult: 2 decay_mult: 0 }} '
        f"convolution_param {{ num_output: 4 bias_term: false {FILLERS} pad: 1 kernel_size: 3 group: 2 stride: 5 }}",
    ),
    (
        f'type: "innerproduct" num_output: 4 biasterm: false {FILLERS}',
        f'type: "InnerProduct" inner_product_param {{ num_output: 4 bias_term: false {FILLERS} }}',
    ),
    (
        'type: "pool" pool: STOCHASTIC kernelsize: 3 stride: 2 pad: 1',
        'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 3 stride: 2 pad: 1 }',
    ),
    ('type: "dropout" dropout_ratio: 0.25', 'type: "Dropout" dropout_param { dropout_ratio: 0.25 }'),
    (
        'type: "lrn" local_size: 3 alpha: 0.5 beta: 0.25 k: 2',
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 k: 2 }',
    ),
    (
        'type: "data" source: "s" batchsize: 7 rand_skip: 2 scale: 0.5 meanfile: "m" cropsize: 6 mirror: true',
        'type: "Data" data_param { source: "s" batch_size: 7 rand_skip: 2 } '
        'transform_param { scale: 0.5 mean_file: "m" crop_size: 6 mirror: true }',
    ),
    (
        'type: "images" source: "s" batchsize: 7 rand_skip: 2 shuffle_images: true new_height: 5 new_width: 6',
        'type: "ImageData" image_data_param { source: "s" batch_size: 7 rand_skip: 2 shuffle: true new_height: 5 new_width: 6 }',
    ),
    (
        'type: "hdf5_data" source: "s" batchsize: 7',
        'type: "HDF5Data" hdf5_data_param { source: "s" batch_size: 7 }',
    ),
    (
        'type: "hdf5_output" hdf5_output_param { file_name: "f" }',
        'type: "HDF5Output" hdf5_output_param { file_name: "f" }',
    ),
    (
        'type: "window_data" source: "s" batchsize: 7 det_fg_threshold: 0.5 det_bg_threshold: 0.25 '
        'det_fg_fraction: 0.125 det_context_pad: 16 det_crop_mode: "square"',
        'type: "WindowData" window_data_param { source: "s" batch_size: 7 fg_threshold: 0.5 bg_threshold: 0.25 '
        'fg_fraction: 0.125 context_pad: 16 crop_mode: "square" }',
    ),
    ('type: "concat" concat_dim: 2', 'type: "Concat" concat_param { concat_dim: 2 }'),
    ('type: "infogain_loss" source: "s"', 'type: "InfogainLoss" infogain_loss_param { source: "s" }'),
    *(
        (f'type: "{old}"', f'type: "{new}"')
        for old, new in {
            "accuracy": "Accuracy", "bnll": "BNLL", "euclidean_loss": "EuclideanLoss", "flatten": "Flatten",
            "im2col": "Im2col", "multinomial_logistic_loss": "MultinomialLogisticLoss", "relu": "ReLU",
            "sigmoid": "Sigmoid", "softmax": "Softmax", "softmax_loss": "SoftmaxWithLoss", "split": "Split",
            "tanh": "TanH",
        }.items()
    ),
]  # fmt: skip
HEAD = 'input: "data" input_dim: 1 input_dim: 2 input_dim: 8 input_dim: 8\n'


def v0(layer: str, bottom: str = "data", top: str = "x", name: str = "x") -> str:
    return f'layers {{ layer {{ name: "{name}" {layer} }} bottom: "{bottom}" top: "{top}" }}\n'


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW, ids=[old.split('"')[1] for old, _ in OLD_AND_NEW])
def test_each_type(old: str, new: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = parse_net(HEAD + v0(old))
    assert made == parse_net(f'{HEAD} layer {{ name: "x" bottom: "data" top: "x" {new} }}')


@pytest.mark.parametrize("kind", ["conv", "pool"])
def test_padding_is_folded_into_the_layer_that_reads_it(kind: str) -> None:
    net = parse_net(
        HEAD + v0('type: "padding" pad: 2', top="p", name="pad") + v0(f'type: "{kind}" kernelsize: 3', "p")
    )
    assert [layer.name for layer in net.layer] == ["input", "x"]
    assert list(net.layer[1].bottom) == ["data"]
    pad = net.layer[1].convolution_param.pad[0] if kind == "conv" else net.layer[1].pooling_param.pad
    assert pad == 2


def test_a_field_of_another_type_is_ignored_as_in_caffe() -> None:
    with pytest.warns(UserWarning, match=r"layer 'x' of type 'relu' has no stride; Caffe ignores it\.$"):
        net = parse_net(HEAD + v0('type: "relu" stride: 2'))
    assert net == parse_net(f'{HEAD} layer {{ name: "x" bottom: "data" top: "x" type: "ReLU" }}')


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (v0('type: "reluu"'), "layer 'x' has unknown type 'reluu'. Did you mean 'relu'"),
        (v0('type: "relu"', "dota"), "layer 'x' reads blob 'dota', which no layer before it makes. Did you mean 'data'"),
        (
            v0('type: "padding" pad: 2', top="p", name="pad") + v0('type: "relu"', "p"),
            "layer 'x' of type 'relu' reads padding layer 'pad'; only conv and pool can pad.",
        ),
        (
            v0('type: "padding" pad: 2', top="p", name="pad") + v0('type: "conv"', 'p" bottom: "data'),
            "layer 'x' and padding layer 'pad' must have one bottom each, and the padding one top.",
        ),
        (
            v0('type: "padding" pad: 2', top='p" top: "q', name="pad") + v0('type: "conv"', "p"),
            "layer 'x' and padding layer 'pad' must have one bottom each, and the padding one top.",
        ),
    ],
)  # fmt: skip
def test_what_caffe_refuses(layers: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_net(HEAD + layers, "net.prototxt")
    assert str(caught.value).startswith(f"net.prototxt: {words}")


NEEDS_OPENCV = {"ImageData", "WindowData"}  # with which `make caffe` does not build


def test_types_of_v1_are_called_as_in_caffe(caffe: Any) -> None:
    for kind in set(V1LayerParameter.LayerType.keys()) - {"NONE"}:
        net = parse_net(f'{HEAD} layers {{ name: "x" type: {kind} bottom: "data" top: "x" }}')
        assert net.layer[1].type in {*caffe.layer_type_list(), *NEEDS_OPENCV}
