"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PANEL = "How the network is read and run"

Prototxt = Annotated[
    Path,
    typer.Argument(help="The network's prototxt, or a caffemodel, which holds its net.", show_default=False),
]
Weights = Annotated[
    Path | None, typer.Argument(help="Its caffemodel, or weights as HDF5.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder for what is written.")]
Engine = Annotated[
    str,
    typer.Option(help="caffe, torch, or auto: caffe where it is installed.", rich_help_panel=PANEL),
]
Device = Annotated[str, typer.Option(help="Of the engine torch: cpu, cuda, cuda:1.", rich_help_panel=PANEL)]
AllowCode = Annotated[
    bool, typer.Option(help="Accept layers that run code or touch files.", rich_help_panel=PANEL)
]
PythonPath = Annotated[
    list[Path] | None,
    typer.Option(
        "--python-path",
        help="Folder of the modules of Python layers [default: the prototxt's]; again for more.",
        rich_help_panel=PANEL,
    ),
]
Layers = Annotated[
    list[Path] | None,
    typer.Option(
        "--layers", help="Run this Python file, whose @layer functions are layer types; again for more.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", help="What a layer type of several forks means, as BN=segnet; again for more.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Phase = Annotated[
    str | None,
    typer.Option(
        "--phase", help="TRAIN or TEST: which layers of the file [default: as its state says, or TEST].",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Stages = Annotated[
    list[str] | None,
    typer.Option(
        "--stage", help="A stage whose layers are there too; again for more.", rich_help_panel=PANEL
    ),
]
Level = Annotated[
    int | None,
    typer.Option("--level", help="The level that rules ask for [default: that of the file, or 0].",
                 rich_help_panel=PANEL),
]  # fmt: skip
InputShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--input", help="Shape of an input, also of a data layer's, as data=1x3x227x227; again for more.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Image = Annotated[
    list[Path],
    typer.Option(
        help="A photograph, or an array (C, H, W) as .npy; NAME=FILE for an input, again for more.",
        show_default=False,
    ),
]  # fmt: skip
Inputs = Annotated[
    list[Path] | None,
    typer.Option("--image", help="NAME=FILE: what an input beside the image holds; again for more."),
]
PreprocessFile = Annotated[
    Path | None,
    typer.Option(
        "--preprocess", help="How images get in [default: preprocess.toml beside the prototxt].",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Size = Annotated[str | None, typer.Option(help="Height and width of the input, as 227x227.")]
Filters = Annotated[str | None, typer.Option(help="As 0:160:10, or 3,7,12, or all.")]
