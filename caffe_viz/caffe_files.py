"""Python files of real Caffe that no longer run, replaced by those of `engine/`.

This module imports only the standard library and nothing of caffe_viz: `scripts/install_caffe.py` puts it
into a wheel that also works where caffe_viz is not installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PRIVATE = "caffe._viz"
# Module here -> module of Caffe's package, each after those that it imports.
MODULES = {
    "caffe_viz.errors": f"{PRIVATE}.errors",
    "caffe_viz.files": f"{PRIVATE}.files",
    "caffe_viz.images.decoding": f"{PRIVATE}.decoding",
    "caffe_viz.netdef.blobs": f"{PRIVATE}.blobs",
    "caffe_viz.structure.palette": f"{PRIVATE}.palette",
    "caffe_viz.structure.graphviz": f"{PRIVATE}.graphviz",
    "caffe_viz.engine.conversion": f"{PRIVATE}.conversion",
    "caffe_viz.engine.processes": f"{PRIVATE}.processes",
    "caffe_viz.engine.cpu_only": f"{PRIVATE}.cpu_only",
    "caffe_viz.engine.io": "caffe.io",
    "caffe_viz.engine.classifier": "caffe.classifier",
    "caffe_viz.engine.detector": "caffe.detector",
    "caffe_viz.engine.draw": "caffe.draw",
}
# .. that Caffe has.
THEIRS = {
    "caffe_viz.engine": "caffe",
    "caffe_viz.engine.net": "caffe.pycaffe",
    "caffe_viz.engine.proto": "caffe.proto",
    "caffe_viz.netdef.net_pb2": "caffe.proto.caffe_pb2",
}
# Name in the package -> where it is from: classes, and what only the last of Caffe's releases had.
NAMES = {
    "Classifier": "caffe.classifier",
    "Detector": "caffe.detector",
    "has_nccl": f"{PRIVATE}.processes",
    "set_multiprocess": f"{PRIVATE}.processes",
    "set_solver_count": f"{PRIVATE}.processes",
    "set_solver_rank": f"{PRIVATE}.processes",
    "solver_count": f"{PRIVATE}.processes",
    "solver_rank": f"{PRIVATE}.processes",
}
# Names of the Caffe that is built here, for the CPU.
CPU_ONLY = dict.fromkeys(("set_device", "set_mode_gpu"), f"{PRIVATE}.cpu_only")
# Lines at the end of files of the wheel that otherwise stay as they are.
ADDED = {
    "caffe/__init__.py": "\n"
    + "".join(f"from {home} import {name}\n" for name, home in (NAMES | CPU_ONLY).items()),
    "caffe/model_libs.py": "\nxrange = range\n",
}
IMPORT = re.compile(r"^from (caffe_viz[\w.]*) import", re.M)


def sources() -> Iterator[tuple[str, Path, str]]:
    """Module of Caffe's package, the file that it is made of, and its text, line by line as there."""
    yield PRIVATE, HERE / "caffe_files.py", '"""Put here by caffe_viz: see its docs/pycaffe.md."""\n'
    for ours, theirs in MODULES.items():
        path = HERE.joinpath(*ours.split(".")[1:]).with_suffix(".py")
        yield theirs, path, IMPORT.sub(_renamed, path.read_text(encoding="utf-8"))


def _renamed(found: re.Match[str]) -> str:
    return f"from {(MODULES | THEIRS)[found[1]]} import"


def repair(caffe: Any) -> None:
    """Give a Caffe that was built in another way the same modules, in this process only."""
    if PRIVATE in sys.modules:
        return
    for name, path, text in sources():
        module = module_from_spec(ModuleSpec(name, None, origin=str(path), is_package=name == PRIVATE))
        module.__file__ = str(path)
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        exec(compile(text, path, "exec"), module.__dict__)
        setattr(sys.modules[parent], last, module)
    for name, home in NAMES.items():
        setattr(caffe, name, getattr(sys.modules[home], name))
