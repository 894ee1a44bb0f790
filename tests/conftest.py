"""Fixtures that every test shares."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import caffe_loader
import fork_server
import pytest

from caffe_viz import layers_file, processes
from caffe_viz.checking import child
from caffe_viz.geometry import custom

os.environ.setdefault("GLOG_minloglevel", "2")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored, here and in children
# But for tests with `fresh_workers`.
processes.subprocess = fork_server
child.subprocess = caffe_loader
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Modules and tests stay to the end: to look for garbage among them takes a tenth of all time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def caffe() -> Any:
    """Real Caffe; a test that asks for it is skipped where it is not installed (`make caffe` installs it)."""
    return pytest.importorskip("caffe", reason="real Caffe is not installed: make caffe")


@pytest.fixture(scope="session", params=["caffe", "torch"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn, as the name that `load_net(engine=...)` takes; skipped where it is not installed."""
    name: str = request.param
    pytest.importorskip(name, reason=f"the engine {name} is not installed")
    return name


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of trained models and photographs beside the checkout; absent outside CI."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("no ../shared with trained models beside this checkout")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The program; `make browser` installs it."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium: make browser")
    return path


@pytest.fixture(scope="session")
def networks() -> Path:
    """The folder of networks that the project ships."""
    return REPOSITORY / "prototxt"


@pytest.fixture
def layer_types() -> Iterator[None]:
    """Layer types that a test enters are gone after it: other tests count all there are."""
    kinds = pytest.importorskip("caffe_viz.engine.table", reason="the engine torch is not installed")
    importlib.import_module("caffe_viz.engine.layers")
    tables: list[dict[Any, Any]] = [kinds.LAYERS, kinds.TABLE, custom.ENTERED, layers_file._LOADED]
    before = [dict(table) for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


@pytest.fixture
def climbing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ascents of one job climb in this process."""
    from climbing import worker_pool

    monkeypatch.setattr("caffe_viz.ascent.WorkerPool", worker_pool)


@pytest.fixture
def fresh_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's workers are interpreters of their own, as users have them."""
    monkeypatch.setattr(processes, "subprocess", subprocess)


@pytest.fixture
def fresh_caffe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks load a net in a process of its own, as users have it."""
    monkeypatch.setattr(child, "subprocess", subprocess)
