"""The command `preprocess`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from caffe_viz.cli.networks import MaybeRunning, command
from caffe_viz.cli.options import Json, image_sources, output_file
from caffe_viz.cli.parts import print_files


@command
def preprocess(
    net: MaybeRunning,
    image: Annotated[list[str] | None, image_sources("Images to check the preprocessing with")] = None,
    output: Annotated[Path | None, output_file("preprocess.toml to write.")] = None,
    as_json: Json = False,
) -> None:
    """Show how images are preprocessed, which file says so, and what looks wrong about it.

    Example: `caffe-viz preprocess caffenet_cifar10 --example`

    With -o, it also writes the settings to a preprocess.toml.
    """
    from caffe_viz.views import show_preprocessing

    found = show_preprocessing(net.given(), image or ())
    paths = [] if output is None else found.save(output)
    if as_json:
        print(json.dumps(found.to_json() | {"files": list(map(str, paths))}))
        return
    print(f"preprocessing: {found.table}")
    for doubt in found.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    print_files(paths)
