"""Networks with one planted defect each: what the check must say, and when real Caffe goes wrong with it."""

from __future__ import annotations

from typing import Literal, NamedTuple

When = Literal["load", "forward", "backward", "never"]

DATA = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
)
CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
    "convolution_param { num_output: 4 kernel_size: 3 } }\n"
)
FC = (
    'layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" '
    "inner_product_param { num_output: 2 } }\n"
)
GOOD = DATA + CONV + FC


class Defect(NamedTuple):
    """A bad net; `words` that the findings must hold; `when` real Caffe aborts ("never": silently wrong).

    `risky`: it is only a warning, as real Caffe aborts in one use of the net and not in others.
    """

    text: str
    words: tuple[str, ...]
    when: When
    risky: bool = False


def layer(name: str, kind: str, bottoms: str = "", tops: str = "", more: str = "") -> str:
    """One layer as text; `bottoms` and `tops` are names with spaces between."""
    ends = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(ends)} {more} }}\n'


def conv(more: str, tops: str = "conv") -> str:
    return layer(
        "conv", "Convolution", "data", tops, f"convolution_param {{ num_output: 4 kernel_size: 3 {more} }}"
    )


POOL = "pooling_param { kernel_size: %d stride: %d pool: %s }"

BAD_NETS: dict[str, Defect] = {
    "syntax": Defect(DATA + "layer { name: }", (":2:",), "load"),
    "unknown field": Defect(
        DATA + CONV.replace("kernel_size", "kernel_siz"), ("line 2", "kernel_siz", "'kernel_size'"), "load"
    ),
    "unknown type": Defect(
        GOOD.replace("Convolution", "Convolutio"), ("'conv'", "Did you mean 'Convolution'"), "load"
    ),
    "no type": Defect(
        DATA + 'layer { name: "x" bottom: "data" top: "x" }', ("'x'", "unknown layer type"), "load"
    ),
    "type of another build": Defect(DATA + layer("c", "Mish", "data", "c"), ("'c'", "of a fork"), "load"),
    "image data": Defect(
        layer("d", "ImageData", "", "data label", 'image_data_param { source: "list.txt" }'),
        ("OpenCV",),
        "load",
    ),
    "database": Defect(
        layer("d", "Data", "", "data label", 'data_param { source: "db" batch_size: 1 }'),
        ("LMDB", "'d'"),
        "load",
    ),
    "memory data": Defect(
        layer(
            "d",
            "MemoryData",
            "",
            "data label",
            "memory_data_param { batch_size: 1 channels: 1 height: 2 width: 2 }",
        ),
        ("set_input_arrays",),
        "forward",
        risky=True,
    ),
    "python": Defect(
        DATA + layer("p", "Python", "data", "p", 'python_param { module: "os" layer: "system" }'),
        ("'p'", "without layers in Python"),
        "load",
    ),
    "missing bottom": Defect(
        DATA + CONV + FC.replace('bottom: "conv"', 'bottom: "conv1"'),
        ("'fc'", "'conv1'", "Did you mean 'conv'"),
        "load",
    ),
    "bottom made afterwards": Defect(DATA + FC + CONV, ("'fc'", "'conv' makes it afterwards"), "load"),
    "bottom of another phase": Defect(
        DATA + CONV.replace("type:", "include { phase: TRAIN } type:") + FC,
        ("'fc'", "would with --phase TRAIN"),
        "load",
    ),
    "include and exclude": Defect(
        GOOD.replace('name: "fc"', 'name: "fc" include { phase: TEST } exclude { phase: TRAIN }'),
        ("'fc'", "include"),
        "load",
    ),
    "nothing in this phase": Defect(
        DATA.replace("type:", "include { phase: TRAIN } type:"), ("phase",), "never"
    ),
    "duplicate top": Defect(
        GOOD + CONV.replace('name: "conv"', 'name: "again"'), ("'again'", "'conv'"), "load"
    ),
    "in-place beside a reader": Defect(
        DATA + CONV + FC + layer("relu", "ReLU", "conv", "conv"), ("'relu'", "'fc'", "in place"), "load"
    ),
    "convolution in place": Defect(
        DATA + conv("pad: 1", "data").replace("num_output: 4", "num_output: 3"),
        ("'conv'", "in place"),
        "never",
    ),
    "bottom count": Defect(DATA + layer("e", "Eltwise", "data", "e"), ("'e'", "bottom"), "load"),
    "propagate_down": Defect(
        GOOD.replace('bottom: "conv"', 'bottom: "conv" propagate_down: [true, true]'),
        ("'fc'", "propagate_down"),
        "load",
    ),
    "kernel larger than input": Defect(
        DATA + conv("").replace("kernel_size: 3", "kernel_size: 9"), ("'conv'",), "never"
    ),
    "group": Defect(DATA + conv("group: 2"), ("'conv'", "group 2"), "load"),
    "shapes of a sum": Defect(
        DATA + conv("") + layer("e", "Eltwise", "data conv", "e"), ("'e'", "3x8x8", "4x6x6"), "never"
    ),
    "shapes of a concatenation": Defect(
        DATA + conv("") + layer("c", "Concat", "data conv", "c"), ("'c'", "3x8x8", "4x6x6"), "load"
    ),
    "blob over 2^31 values": Defect(
        GOOD.replace("dim: 8 dim: 8", "dim: 60000 dim: 60000"), ("60000x60000", "2,147,483,647"), "load"
    ),
    "more than the memory": Defect(
        GOOD.replace("dim: 1 dim: 3 dim: 8 dim: 8", "dim: 9000 dim: 3 dim: 200 dim: 200"),
        (" GB", "batch"),
        "never",
    ),
    "input without shape": Defect(layer("data", "Input", "", "data") + CONV, ("'data'", "shape"), "load"),
    "shared parameter": Defect(
        DATA
        + layer("a", "InnerProduct", "data", "a", 'param { name: "w" } inner_product_param { num_output: 2 }')
        + layer(
            "b", "InnerProduct", "data", "b", 'param { name: "w" } inner_product_param { num_output: 3 }'
        ),
        ("'b'", "'w'", "'a'"),
        "load",
    ),
    "too many param": Defect(
        GOOD.replace('name: "fc"', 'name: "fc" param { } param { } param { }'), ("'fc'", "3 param"), "load"
    ),
    "engine": Defect(DATA + conv("engine: CUDNN"), ("'conv'", "CUDNN"), "load"),
    "engine of a relu": Defect(
        DATA + layer("r", "ReLU", "data", "r", "relu_param { engine: CUDNN }"), ("'r'", "CUDNN"), "load"
    ),
    "filler": Defect(
        DATA + conv('weight_filler { type: "xaver" }'), ("'conv'", "'xaver'", "Did you mean 'xavier'"), "load"
    ),
    "filler without spread": Defect(
        DATA + conv('weight_filler { type: "gaussian" std: 0 }'), ("'conv'", "weight_filler", "std"), "load"
    ),
    "filler upside down": Defect(
        DATA + conv('weight_filler { type: "uniform" min: 1 max: 0 }'), ("'conv'", "min 1", "max 0"), "load"
    ),
    "sparse filler": Defect(
        DATA + conv('weight_filler { type: "xavier" sparse: 2 }'), ("'conv'", "sparse"), "load"
    ),
    "stochastic pooling": Defect(
        DATA + layer("pool", "Pooling", "data", "pool", POOL % (2, 2, "STOCHASTIC")),
        ("'pool'", "STOCHASTIC"),
        "forward",
    ),
    "window outside the input": Defect(
        DATA + layer("pool", "Pooling", "data", "pool", POOL % (1, 6, "AVE")), ("'pool'", "window"), "never"
    ),
    "even local_size": Defect(
        DATA + layer("norm", "LRN", "data", "norm", "lrn_param { local_size: 4 }"), ("'norm'", "odd"), "load"
    ),
    "dropout ratio": Defect(
        DATA + layer("drop", "Dropout", "data", "drop", "dropout_param { dropout_ratio: 1.5 }"),
        ("'drop'", "dropout_ratio is 1.5", "from 0 to 1"),
        "never",
    ),
    "gradient of argmax": Defect(
        "force_backward: true\n" + DATA + layer("best", "ArgMax", "data", "best"),
        ("'best'", "backward"),
        "backward",
        risky=True,
    ),
    "gradient of threshold": Defect(
        "force_backward: true\n" + DATA + layer("t", "Threshold", "data", "t"),
        ("'t'", "backward"),
        "backward",
        risky=True,
    ),
    "hdf5 data": Defect(
        layer("d", "HDF5Data", "", "data", 'hdf5_data_param { source: "/etc/passwd" batch_size: 1 }'),
        ("'d'", "reads", "outside", "/etc/passwd", "--allow-code"),
        "load",
    ),
    "hdf5 output": Defect(
        DATA + layer("o", "HDF5Output", "data data", "", 'hdf5_output_param { file_name: "../o.h5" }'),
        ("'o'", "writes", "outside", "../o.h5"),
        "never",
    ),
    "folder that is deleted": Defect(
        DATA
        + layer(
            "det",
            "DetectionOutput",
            "data data data",
            "det",
            'detection_output_param { num_classes: 2 save_output_param { output_directory: "home" } }',
        ),
        ("'det'", "deletes", "'home'"),
        "never",
    ),
    "mean file": Defect(
        layer("d", "MemoryData", "", "data label", 'transform_param { mean_file: "mean.binaryproto" }'),
        ("'d'", "mean.binaryproto", "reads"),
        "load",
    ),
    "old and new layers": Defect(
        GOOD + 'layers { name: "x" type: RELU bottom: "fc" top: "x" }', ("mixes",), "load"
    ),
    "probabilities of a loss": Defect(
        DATA
        + layer("l", "Input", "", "l", "input_param { shape { dim: 1 dim: 1 dim: 8 dim: 8 } }")
        + layer("loss", "SoftmaxWithLoss", "data l", "loss prob"),
        ("'loss'", "two tops"),
        "load",
    ),
    "reshape in place": Defect(
        DATA + layer("r", "Reshape", "data", "data", "reshape_param { shape { dim: 0 dim: -1 } }"),
        ("'r'", "in place"),
        "load",
    ),
    "another shape in place": Defect(DATA + conv("", "data"), ("'conv'", "in place"), "never"),
    "nothing to join": Defect(DATA + layer("j", "Concat", "", "j"), ("'j'", "bottom"), "load"),
    "column buffer": Defect(
        DATA.replace("dim: 3 dim: 8 dim: 8", "dim: 1000 dim: 500 dim: 500")
        + layer("c", "Convolution", "data", "c", "convolution_param { num_output: 1 kernel_size: 3 pad: 1 }"),
        ("'c'", "column buffer", "2,250,000,000"),
        "load",
    ),
    "a solver": Defect('net: "train_val.prototxt"\nbase_lr: 0.1\n', ("solver's prototxt",), "load"),
}
