"""The tables of layer types: each type has one function, wherever it is registered."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import caffe_viz

ROOT = Path(caffe_viz.__file__).parent


def registered(folder: Path, decorators: set[str], tables: set[str]) -> Iterator[str]:
    """What `@layer("A", "B")` and `KNOWN["A", "b"] = ..` of all modules of a folder enter."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in decorators:
                yield from (ast.unparse(word) for word in node.args)
            if isinstance(node, ast.Assign) and isinstance(place := node.targets[0], ast.Subscript):
                named = isinstance(place.value, ast.Name) and place.value.id in tables
                yield from [f"({ast.unparse(place.slice).strip('()')})"] * named


@pytest.mark.parametrize(
    ("folder", "decorators", "tables"),
    [
        ("engine", {"layer", "known"}, {"LAYERS", "KNOWN"}),
        ("geometry", {"rule", "known"}, {"TABLE", "SHAPES"}),
    ],
)
def test_each_type_has_one_function(folder: str, decorators: set[str], tables: set[str]) -> None:
    found = Counter(registered(ROOT / folder, decorators, tables))
    assert "'Reorg'" in found
    assert "('yolov2', 'darknet_reorg')" in found
    assert [name for name, times in found.items() if times > 1] == []
