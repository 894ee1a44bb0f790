"""Nets with other inputs than one image, and nets that take one batch only."""

from __future__ import annotations

from pathlib import Path

from caffe_viz.netdef import NetParameter, parse_net, write_net, write_weights
from caffe_viz.parity import seeded_weights

CONV = "convolution_param { num_output: 3 kernel_size: 3 }"
RELU = 'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }\n'
IP = 'layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 4 } }\n'
TAIL = RELU + IP
END = 'layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }'


def _input(name: str, *shapes: str) -> str:
    """As "data, near" with a shape for each."""
    tops = " ".join(f'top: "{top.strip()}"' for top in name.split(","))
    given = " ".join(f"shape {{ {' '.join(f'dim: {n}' for n in shape.split())} }}" for shape in shapes)
    return f'layer {{ name: "{name}" type: "Input" {tops} input_param {{ {given} }} }}\n'


def _conv(name: str, bottom: str, share: str = "") -> str:
    param = f'param {{ name: "{share}" }} param {{ name: "{share}_b" }}' if share else ""
    return f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {param} {CONV} }}\n'


def _reshape(bottom: str, top: str, dims: str) -> str:
    shape = " ".join(f"dim: {n}" for n in dims.split())
    return (
        f'layer {{ name: "{top}" type: "Reshape" bottom: "{bottom}" top: "{top}" '
        f"reshape_param {{ shape {{ {shape} }} }} }}\n"
    )


FLAT = IP.replace('"conv"', '"flat"')
NETS = {
    # Two images and one convolution for both.
    "siamese": _input("data, near", "1 3 6 5", "1 3 6 5") + _conv("conv", "data", "c") + _conv("conv_n", "near", "c")
    + """layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 4 } }
    layer { name: "ip_n" type: "InnerProduct" bottom: "conv_n" top: "ip_n" inner_product_param { num_output: 4 } }
    layer { name: "sum" type: "Eltwise" bottom: "ip" bottom: "ip_n" top: "sum" }""",
    # An image, and a vector beside it.
    "beside": _input("data", "1 3 6 5") + _input("meta", "1 2") + _conv("conv", "data")
    + """layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "flat" type: "Flatten" bottom: "conv" top: "flat" }
    layer { name: "cat" type: "Concat" bottom: "flat" bottom: "meta" top: "cat" }
    layer { name: "ip" type: "InnerProduct" bottom: "cat" top: "ip" inner_product_param { num_output: 4 } }""" + END,
    # A sequence (T, N, D) with marks of its continuation.
    "sequence": _input("x", "5 1 3") + _input("cont", "5 1")
    + """layer { name: "lstm" type: "LSTM" bottom: "x" bottom: "cont" top: "lstm" recurrent_param { num_output: 3 } }
    layer { name: "ip" type: "InnerProduct" bottom: "lstm" top: "ip" inner_product_param { num_output: 2 axis: 2 } }""",
    # Shapes that fit a batch of one, or of four, only.
    "one": _input("data", "1 3 6 5") + _conv("conv", "data") + RELU + _reshape("conv", "flat", "1 -1") + FLAT + END,
    "four": _input("data", "4 3 6 5") + _conv("conv", "data") + RELU + _reshape("conv", "flat", "4 -1") + FLAT + END,
    "after": _input("data", "1 3 6 5") + _conv("conv", "data") + TAIL + _reshape("ip", "r", "1 4")
    + END.replace('bottom: "ip"', 'bottom: "r"'),
    # Two images become one answer.
    "pair": _input("data", "2 3 6 5") + _conv("conv", "data") + TAIL
    + """layer { name: "cut" type: "Slice" bottom: "ip" top: "a" top: "b" slice_param { axis: 0 slice_point: 1 } }
    layer { name: "both" type: "Concat" bottom: "a" bottom: "b" top: "both" }
    layer { name: "end" type: "InnerProduct" bottom: "both" top: "end" inner_product_param { num_output: 3 } }
    layer { name: "prob" type: "Softmax" bottom: "end" top: "prob" }""",
    # Statistics of the batch at TEST.
    "batch_norm": _input("data", "1 3 6 5") + _conv("conv", "data")
    + """layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { use_global_stats: false } }"""
    + TAIL + END,
    # Any batch.
    "free": _input("data", "1 3 6 5") + _conv("conv", "data") + TAIL + END,
}  # fmt: skip


def toy(name: str) -> tuple[NetParameter, NetParameter]:
    """The net, and weights with which its units are on and off."""
    message = parse_net(f'name: "{name}"\n{NETS[name]}')
    return message, seeded_weights(message, 3)


def files(name: str, folder: Path) -> tuple[Path, Path]:
    """The same as files; their preprocess.toml takes images as they are, in 0..1."""
    message, weights = toy(name)
    write_net(message, folder / "net.prototxt")
    write_weights(weights, folder / "net.caffemodel")
    (folder / "preprocess.toml").write_text(
        f'mean = 0\nscale = {1 / 255}\nresize = false\nchannel_order = "RGB"\n'
    )
    return folder / "net.prototxt", folder / "net.caffemodel"
