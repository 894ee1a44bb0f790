"""Scripts that say `import caffe`, run in this process by `caffe_viz.run`, which is then as it was before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from caffe_viz import run


@contextmanager
def as_before() -> Iterator[None]:
    """Undo what `caffe_viz.run` does to this process."""
    modules, path, arguments = dict(sys.modules), list(sys.path), list(sys.argv)
    environment, new = dict(os.environ), []
    for home, names in run.OLD_NAMES.items():
        there = vars(import_module(home))
        new += [(there, name) for name in names if name not in there]
    try:
        yield
    finally:
        for name in set(sys.modules) - set(modules):
            if name.split(".")[0] in ("caffe", "helper"):
                del sys.modules[name]
        sys.modules.update(modules)
        sys.path[:], sys.argv[:] = path, arguments
        os.environ.clear()
        os.environ.update(environment)
        for there, name in new:
            there.pop(name, None)


def call(*words: str) -> Any:
    """The exit code of `python -m caffe_viz.run` with these words."""
    with as_before():
        try:
            run.main(words)
        except SystemExit as end:
            return end.code
    return 0
