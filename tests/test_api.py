"""The reference of the API: every public name is there and documented, its examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import caffe_viz as cv

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "caffe_viz"
MODULES = [
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_the_three_lists_of_public_names_agree() -> None:
    """What type checkers see, what is loaded when first used, and what `*` imports."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: str(node.module).removeprefix("caffe_viz.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("caffe_viz.")
        for alias in node.names
    }
    assert seen == cv._HOME
    assert cv.__all__ == sorted(seen)


@pytest.mark.parametrize("name", cv.__all__)
def test_a_public_name_is_documented(name: str) -> None:
    value = getattr(cv, name)
    first = (inspect.getdoc(value) or "").split("\n\n")[0]
    assert first.endswith((".", ":"))
    if inspect.isclass(value):
        methods = [x for key, x in vars(value).items() if not key.startswith("_") and callable(x)]
        assert all(inspect.getdoc(method) for method in methods)


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(module))
    assert tried.attempted
    assert not tried.failed


@pytest.mark.parametrize("name", cv.__all__)
def test_examples_call_what_there_is(name: str) -> None:
    """Of the examples behind `Example::`, which need files, the names and the keywords are looked at."""
    value = getattr(cv, name)
    described = [value, *vars(value).values()] if inspect.isclass(value) else [value]
    for text in filter(None, map(inspect.getdoc, described)):
        _, mark, example = text.partition("Example::\n")
        calls = [x for x in ast.walk(ast.parse(inspect.cleandoc(example))) if isinstance(x, ast.Call)]
        assert calls or not mark
        for call in calls:
            path = ast.unparse(call.func).removeprefix("cv.")
            if path.isidentifier() and ast.unparse(call.func).startswith("cv."):
                known = inspect.signature(getattr(cv, path)).parameters
                open_ended = any(x.kind is inspect.Parameter.VAR_KEYWORD for x in known.values())
                assert open_ended or {x.arg for x in call.keywords} <= {*known}, ast.unparse(call)
