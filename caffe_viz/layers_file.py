"""Custom layer types: a Python file that registers functions with `@layer` of caffe_viz.engine.

Naming the file is the permission to run it. What it registers holds for the whole process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from caffe_viz.errors import InputError, RunError
from caffe_viz.geometry.custom import ENTERED
from caffe_viz.geometry.table import TABLE, Out, Rule, Shapes
from caffe_viz.netdef import LayerParameter

PathLike = str | Path
_LOADED: dict[Path, str] = {}  # file -> digest of what it held


def load_layers(paths: PathLike | Iterable[PathLike]) -> None:
    """Run Python files that register layer types with `@layer`; unchanged files are run once.

    Types may be new, or replace known ones on the embedded engine, which then runs all nets with them. A file
    that fails registers none.

    Raises:
        InputError: A file is missing, raises something, or registers no type.
        RunError: The embedded engine is not installed.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        _load(Path(path).expanduser())


def loaded_files() -> tuple[Path, ...]:
    """Return the files that were run, in order: what another process needs for the same types."""
    return tuple(_LOADED)


def _load(path: Path) -> None:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; --layers takes a Python file that registers types with @layer."
        )
    file = path.resolve()
    try:
        source = file.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    digest = sha256(source).hexdigest()
    if _LOADED.get(file) == digest:
        return
    if find_spec("torch") is None:
        raise RunError("custom layers need the engine torch: pip install 'caffe-viz[torch]'.")
    from caffe_viz.engine import layers as _layers  # noqa: F401  (Caffe's own types come first)
    from caffe_viz.engine.table import LAYERS

    tables: list[dict[str, Any]] = [LAYERS, TABLE]
    before = [dict(table) for table in tables]
    try:
        _run(path, file, source)
        entered = [name for name, kind in LAYERS.items() if before[0].get(name) is not kind]
        if not entered:
            raise InputError(f'{path} registers no layer type: use @layer("Type") of caffe_viz.engine.')
    except BaseException:
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)
        raise
    for name in entered:
        LAYERS[name] = replace(LAYERS[name], folder=file.parent)
        if TABLE[name] is not before[1].get(name):
            TABLE[name] = _told(TABLE[name], file.parent)
        ENTERED[name] = file
    _LOADED.pop(file, None)
    _LOADED[file] = digest


def _run(path: Path, file: Path, source: bytes) -> None:
    """Run `source` as a module that finds others in its folder, like a script."""
    from caffe_viz.engine.user_code import told

    module = ModuleType(f"layers_of_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look
    sys.path.insert(0, str(file.parent))
    try:
        with told(str(path), [file.parent], InputError):
            exec(compile(source, str(path), "exec"), module.__dict__)
    finally:
        sys.path.remove(str(file.parent))


def _told(rule: Rule, folder: Path) -> Rule:
    """Wrap `rule`: what its function raises, or returns instead of shapes, becomes a one-line error."""
    from caffe_viz.engine.user_code import reason

    def function(layer: LayerParameter, bottoms: Shapes) -> Out:
        try:
            out = rule.function(layer, bottoms)
            tops, params = (tuple(tuple(map(int, s)) for s in shapes) for shapes in (out.tops, out.params))
            return replace(out, tops=tops, params=params)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"its shape rule {reason(error, [folder])}") from error

    return replace(rule, function=function)
