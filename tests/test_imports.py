"""Imports point downward only, each engine is imported in one place, and only the command line prints."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

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


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All imports and calls of a module, also for types only and within functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def modules_of(path: Path, known: set[str]) -> Iterator[str]:
    """The modules of the package that a module imports."""
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from (names & known) or {node.module} & known


def test_there_are_no_circles() -> None:
    known = {dotted(path) for path in MODULES}
    TopologicalSorter({dotted(p): set(modules_of(p, known)) - {dotted(p)} for p in MODULES}).prepare()


def test_modules_keep_to_their_floors() -> None:
    assert len(MODULES) > 400
    assert [wrong for path in MODULES for wrong in above(path)] == []


def above(path: Path) -> Iterator[str]:
    """What a module does that it may not."""
    own = path.relative_to(PACKAGE).as_posix()
    for name in imported(nodes_of(path)):
        package, _, inner = name.partition(".")
        if package == "caffe_viz" and inner:
            allowed = ORDER.index(inner.split(".")[0]) <= ORDER.index(room(path))
        elif package == "caffe":
            allowed = own in ("backend.py", "checking/child.py")
        else:
            allowed = package != "torch" or room(path) == "engine"
        if not allowed:
            yield f"{own} imports {name}"
    for node in nodes_of(path):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id == "print" and room(path) != "cli":
            yield f"{own}:{called.lineno} prints"
