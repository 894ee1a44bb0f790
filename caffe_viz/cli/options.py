"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from caffe_viz.cli.usage import one_of


def _of_network(*names: str, help: str, **more: Any) -> Any:
    """An option that says how the network is read and run."""
    return typer.Option(*names, help=help, rich_help_panel="How the network is read and run", **more)


Prototxt = Annotated[
    Path,
    typer.Argument(
        help="The network's prototxt, a caffemodel, which holds its net, or the name of a shipped network.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None, typer.Argument(help="Its caffemodel, or weights as HDF5.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for what is written.")]
Engine = Annotated[
    str,
    _of_network(
        help="auto: caffe where it is installed and has the net's layers.", **one_of("auto", "caffe", "torch")
    ),
]
Device = Annotated[str, _of_network(help="Of the engine torch: cpu, cuda, cuda:1.")]
ClusterAddress = Annotated[
    str | None,
    _of_network(
        "--cluster", metavar="ADDRESS",
        help="Where dask runs it: tcp://HOST:PORT, a scheduler file, or local:N for N processes here "
        "[default: without dask].",
    ),
]  # fmt: skip
AllowCode = Annotated[bool, _of_network("--allow-code", help="Accept layers that run code or touch files.")]
PythonPath = Annotated[
    list[Path] | None,
    _of_network(
        "--python-path",
        help="Folder of the modules of Python layers [default: the prototxt's]; again for more.",
    ),
]
Layers = Annotated[
    list[Path] | None,
    _of_network(
        "--layers", help="Run this Python file, whose @layer functions are layer types; again for more."
    ),
]
Variants = Annotated[
    list[str] | None,
    _of_network("--variant", help="What a layer type of several forks means, as BN=segnet; again for more."),
]
Phase = Annotated[
    str | None,
    _of_network(
        "--phase",
        help="Which layers of the file [default: as its state says, or TEST].",
        **one_of("TRAIN", "TEST"),
    ),
]
Stages = Annotated[
    list[str] | None,
    _of_network("--stage", help="A stage whose layers are there too; again for more."),
]
Level = Annotated[
    int | None,
    _of_network("--level", help="The level that rules ask for [default: that of the file, or 0]."),
]
InputShapes = Annotated[
    list[str] | None,
    _of_network(
        "--input", help="Shape of an input, also of a data layer's, as data=1x3x227x227; again for more."
    ),
]
Image = Annotated[
    list[str],
    typer.Option(
        help="A photograph, or an array (C, H, W) as .npy; NAME=FILE for an input, again for more.",
        show_default=False,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--image", help="NAME=FILE: what an input beside the image holds; again for more."),
]
PreprocessFile = Annotated[
    Path | None,
    _of_network(
        "--preprocess",
        help="How images get in [default: preprocess.toml beside the prototxt, or the file of its training].",
    ),
]
Mean = Annotated[
    str | None,
    _of_network(
        "--mean", metavar="FILE|NUMBERS",
        help="What is subtracted from pixels 0..255: .binaryproto, .npy, an image, or as 104,117,123 "
        "[default: --preprocess's].",
    ),
]  # fmt: skip
Scale = Annotated[
    float | None,
    _of_network("--scale", help="By which pixels less the mean are multiplied [default: --preprocess's]."),
]
RawScale = Annotated[
    float | None,
    _of_network("--raw-scale", help="That of pycaffe's Transformer: --mean is in its units [default: 255]."),
]
ChannelOrder = Annotated[
    str | None,
    _of_network(
        "--channel-order", help="Of the input [default: --preprocess's].", **one_of("BGR", "RGB", "GRAY")
    ),
]
Resize = Annotated[
    str | None,
    _of_network(
        "--resize", metavar="N|false",
        help="Side of the square that an image is warped to before the crop; false: straight to the input "
        "[default: --preprocess's].",
    ),
]  # fmt: skip
LabelFiles = Annotated[
    list[str] | None,
    _of_network(
        "--labels",
        help="File of names of the classes, HEAD=FILE of one of several answers; again for more [default: "
        "as --preprocess says, or a labels.txt, synset_words.txt or so beside the prototxt that fits].",
    ),
]
UNIT = "A class by number or name, HEAD:3 of another answer, a filter LAYER:3, or its neuron LAYER:3:Y,X"
Size = Annotated[
    str | None, typer.Option(help="Height and width of the input, as 227x227 [default: the net's].")
]
Filters = Annotated[str | None, typer.Option(help="As 0:160:10, or 3,7,12 [default: all].")]
