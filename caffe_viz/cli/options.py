"""Arguments and options that several commands take, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from caffe_viz.cli.usage import one_of

# Titles of the option tables in --help, after the options of the command itself.
READING = "Reading the prototxt"
PREPROCESSING = "Preprocessing images"
RUNNING = "Running the network"


def _reading(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=READING, **more)


def _preprocessing(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=PREPROCESSING, **more)


def _running(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=RUNNING, **more)


# --- the two files ------------------------------------------------------------------

Prototxt = Annotated[
    Path,
    typer.Argument(
        help="The network's prototxt, a caffemodel that contains it, or the name of a shipped network.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None, typer.Argument(help="Its trained weights: a caffemodel or HDF5 file.", show_default=False)
]

# --- reading the prototxt -----------------------------------------------------------

AllowCode = Annotated[bool, _reading("--allow-code", help="Allow layers that run code or access files.")]
PythonPath = Annotated[
    list[Path] | None,
    _reading(
        "--python-path",
        help="Folder with the modules of Python layers (repeatable). [default: the prototxt's folder]",
    ),
]
Layers = Annotated[
    list[Path] | None,
    _reading(
        "--layers",
        help="Python file that defines layer types with @layer functions; it is run (repeatable).",
    ),
]
Variants = Annotated[
    list[str] | None,
    _reading(
        "--variant",
        help="Meaning of a layer type that several forks define, such as BN=segnet (repeatable).",
    ),
]
Phase = Annotated[
    str | None,
    _reading(
        "--phase",
        help="Use the layers of this phase. [default: the file's state, or TEST]",
        **one_of("TRAIN", "TEST"),
    ),
]
Stages = Annotated[
    list[str] | None, _reading("--stage", help="Also use the layers of this stage (repeatable).")
]
Level = Annotated[
    int | None, _reading("--level", help="Use the layers of this level. [default: the file's state, or 0]")
]
InputShapes = Annotated[
    list[str] | None,
    _reading(
        "--input",
        help="Shape of an input or of a data layer's blob, such as data=1x3x227x227 (repeatable).",
    ),
]

# --- preprocessing ------------------------------------------------------------------

PreprocessFile = Annotated[
    Path | None,
    _preprocessing(
        "--preprocess",
        help="File with the preprocessing settings. [default: preprocess.toml next to the prototxt, or the "
        "prototxt of the training]",
    ),
]
Mean = Annotated[
    str | None,
    _preprocessing(
        "--mean", metavar="FILE|NUMBERS",
        help="Mean to subtract from pixels of 0..255: a .binaryproto, .npy or image file, or numbers such as "
        "104,117,123. [default: as in --preprocess]",
    ),
]  # fmt: skip
Scale = Annotated[
    float | None,
    _preprocessing(
        "--scale",
        help="Factor that pixels are multiplied by after subtracting the mean. [default: as in --preprocess]",
    ),
]
RawScale = Annotated[
    float | None,
    _preprocessing(
        "--raw-scale",
        help="raw_scale of pycaffe's Transformer; --mean is then in its units. [default: 255]",
    ),
]
ChannelOrder = Annotated[
    str | None,
    _preprocessing(
        "--channel-order",
        help="Channel order of the input. [default: as in --preprocess]",
        **one_of("BGR", "RGB", "GRAY"),
    ),
]
Resize = Annotated[
    str | None,
    _preprocessing(
        "--resize", metavar="N|false",
        help="Side in pixels of the square that an image is warped to before cropping; false: warp straight "
        "to the input size. [default: as in --preprocess]",
    ),
]  # fmt: skip
LabelFiles = Annotated[
    list[str] | None,
    _preprocessing(
        "--labels",
        help="File with the class names, or HEAD=FILE for one of several heads (repeatable). [default: as in "
        "--preprocess, else a labels.txt, synset_words.txt or similar file next to the prototxt that fits]",
    ),
]

# --- running ------------------------------------------------------------------------

Engine = Annotated[
    str,
    _running(
        help="Engine to use; auto takes caffe if it is installed and has all layers of the net.",
        **one_of("auto", "caffe", "torch"),
    ),
]
Device = Annotated[str, _running(help="Device of the torch engine: cpu, cuda, cuda:1.")]
ClusterAddress = Annotated[
    str | None,
    _running(
        "--cluster", metavar="ADDRESS",
        help="Run on a dask cluster: tcp://HOST:PORT, a scheduler file, or local:N for N processes on this "
        "machine. [default: no cluster]",
    ),
]  # fmt: skip

# --- images -------------------------------------------------------------------------


def image_sources(purpose: str) -> Any:
    """The option --image of a command that also works without images."""
    return typer.Option(
        "--image", "--images", help=f"{purpose}: a file, folder or .zip archive (repeatable)."
    )


Image = Annotated[
    list[str],
    typer.Option(
        help="Image file, or a .npy array of shape (C, H, W). NAME=FILE sets the input NAME (repeatable).",
        show_default=False,
    ),
]
Images = Annotated[
    list[str],
    typer.Option(
        "--image", "--images",
        help="Image, video, folder or .zip archive, or a folder in one (repeatable). NAME=FILE sets the "
        "input NAME.",
        show_default=False,
    ),
]  # fmt: skip
Inputs = Annotated[
    list[str] | None,
    typer.Option("--image", help="NAME=FILE sets an input other than the image (repeatable)."),
]
Photos = Annotated[
    str | None,
    typer.Option(help="Folder or .zip archive to search for the places that activate each filter most."),
]
Record = Annotated[
    Path | None, typer.Option(help="Record of the network's training, made with train --record.")
]

# --- what is looked at --------------------------------------------------------------

UNIT = "class by number or name (HEAD:3 for another head), filter LAYER:3, or neuron LAYER:3:Y,X"
Filters = Annotated[
    str | None, typer.Option(help="Filters to use, such as 0:160:10 or 3,7,12. [default: all]")
]
Size = Annotated[
    str | None, typer.Option(help="Height and width of the input, such as 227x227. [default: the net's]")
]
Objective = Annotated[
    str | None,
    typer.Option(
        "--objective",
        help='What to maximise, such as "conv3:16 + 0.5*conv3:40" or a class name; see docs/objectives.md.',
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random numbers.")]

# --- attribution --------------------------------------------------------------------

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target", help=f"What to explain: {UNIT} (repeatable). [default: each image's likeliest class]"
    ),
]
CamLayer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        help="Layer whose maps the CAM methods use. [default: the last with maps that is not pooling]",
    ),
]
Samples = Annotated[int, typer.Option(min=1, help="Number of noisy copies that smoothgrad averages.")]
PathSteps = Annotated[int, typer.Option("--steps", min=1, help="Number of steps of integrated gradients.")]

# --- what is written ----------------------------------------------------------------


def output_file(help: str, **more: Any) -> Any:
    """The option --output of a command that writes one file."""
    return typer.Option("--output", "-o", metavar="FILE", help=help, **more)


Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write the files to.")]
OutputPrototxt = Annotated[Path, output_file("Prototxt to write.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
