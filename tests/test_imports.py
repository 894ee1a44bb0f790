"""Imports point downward only, each engine is imported in one place, and only the command line prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "caffe_viz"
# A module may import those in earlier rows.
ORDER = [
    "errors", "files", "processes", "caffe_files", "published", "shipped", "markup", "tiling", "netdef", "images", "geometry", "objectives", "surgery", "deploying", "checking", "weight_matching", "solving", "structure", "engine", "layers_file", "gradient_support", "backend", "run", "stand_in", "exporting", "answers", "network", "units",
    "probe", "parity", "timing", "tasks", "ascent", "streaming", "resuming", "classification", "one_by_one", "detection", "segmentation", "top", "extraction", "attribution", "evaluation", "recording", "training", "comparing", "converting", "tables", "figures", "views", "report", "server", "cli",
]  # fmt: skip
MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py" and "_pb2" not in p.name]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "caffe_viz":
            yield from (f"caffe_viz.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def modules_of(path: Path, known: set[str]) -> Iterator[str]:
    """The modules that a module imports, also for types only and within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (names & known) or {node.module} & known


def test_there_are_no_circles() -> None:
    known = {dotted(path) for path in MODULES}
    TopologicalSorter({dotted(p): set(modules_of(p, known)) - {dotted(p)} for p in MODULES}).prepare()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_keeps_to_its_floor(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = list(imported(nodes))
    for name in names:
        if name.startswith("caffe_viz."):
            assert ORDER.index(name.split(".")[1]) <= ORDER.index(room(path)), f"{path.name} imports {name}"
    if path.relative_to(PACKAGE).as_posix() not in ("backend.py", "checking/child.py"):
        assert not any(name == "caffe" or name.startswith("caffe.") for name in names)
    if room(path) != "engine":
        assert not any(name == "torch" or name.startswith("torch.") for name in names)
    if room(path) != "cli":
        calls = [n for n in nodes if isinstance(n, ast.Call)]
        assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
