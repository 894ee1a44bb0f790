"""Layers of type Python: pycaffe's protocol on the blobs of this engine (python_layer.hpp, _caffe.cpp)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module, invalidate_caches
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import torch

from caffe_viz.engine import layer as engine
from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.table import Call
from caffe_viz.engine.user_code import is_own, told
from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.geometry.python_layers import folders_of, permitted
from caffe_viz.geometry.table import Out, Shapes
from caffe_viz.netdef import LayerParameter, net_pb2

# What `import caffe` finds while a user's module runs.
CAFFE = {
    "caffe": "pycaffe", "caffe.pycaffe": "pycaffe", "caffe._caffe": "pycaffe", "caffe.io": "io",
    "caffe.net_spec": "net_spec", "caffe.classifier": "classifier", "caffe.detector": "detector",
    "caffe.proto": "proto", "caffe.proto.caffe_pb2": "proto.caffe_pb2",
}  # fmt: skip
METHODS = ("setup", "reshape", "forward")


class Blobs(list[Blob]):
    """The parameters of a layer, which its `setup` adds."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def add_blob(self, *shape: int) -> Blob:
        """Add a parameter of this shape, filled with zeros."""
        blob = Blob((), self._device)
        blob.reshape(*shape)
        self.append(blob)
        return blob


class Layer:
    """`caffe.Layer`, the base of user classes.

    Such a class has setup(bottom, top), reshape(bottom, top), forward(bottom, top) and, if it has a gradient,
    backward(top, propagate_down, bottom).
    """

    type = "Python"
    param_str: str
    phase: int  # caffe.TRAIN or caffe.TEST
    blobs: Blobs

    def __init__(self, *given: Any) -> None:
        """Caffe hands the layer's message over."""

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Called once, before the first `reshape`."""


class PythonLayer(engine.Layer):
    """A layer computed by the user's class that it names."""

    def __init__(self, param: LayerParameter, call: Call, bottoms: list[Blob], tops: list[Blob]) -> None:
        super().__init__(param, call, bottoms, tops)
        self._user: Any = None
        self._fresh = False  # set up, and not yet reshaped again

    def measure(self) -> Out:
        """Return the shapes of tops and parameters that the user's code sets.

        Raises:
            InputError: The code cannot be imported, or raised something.
        """
        if self._user is None:
            self._user, self._fresh = self._made(), True
            self.given = self._user.blobs
            self._run("setup", InputError, self.bottoms, self.tops)
            self._run("reshape", InputError, self.bottoms, self.tops)
        return Out(tuple(b.shape for b in self.tops), tuple(b.shape for b in self._user.blobs))

    def reshape(self) -> None:
        """Let the user's code shape the tops; it may look at the values of the bottoms."""
        self.measure()
        if not self._fresh:
            self._run("reshape", RunError, self.bottoms, self.tops)
        self._fresh = False

    def forward(self) -> None:
        """Reshape and compute, as Caffe does."""
        self._fresh = False
        self.reshape()
        self._run("forward", RunError, self.bottoms, self.tops)

    def backward(self) -> None:
        """Let the user's code write the diffs of the bottoms, and add to those of the parameters."""
        if not self.backs or not (any(self.down) or any(self.learns)):
            return
        if not hasattr(self._user, "backward"):
            raise NotImplementedError(f"{self._name} has no gradient: its class has no method backward.")
        for blob, down in zip(self.bottoms, self.down, strict=True):
            if down and blob not in self.tops:
                blob.take_gradient(torch.zeros(blob.shape, device=self.call.device))
        self._run("backward", RunError, self.tops, list(map(bool, self.down)), self.bottoms)

    @property
    def _name(self) -> str:
        p = self.param.python_param
        return f"layer {self.name!r} (Python, {p.module}.{p.layer})"

    def _run(self, method: str, kind: type[CaffeVizError], *given: Any) -> None:
        folders = folders_of(self.param)
        with _place(folders), told(f"{self._name}: {method}", folders, kind):
            getattr(self._user, method)(*given)

    def _made(self) -> Any:
        """Create an object of the class, with what Caffe gives it before `setup`."""
        p, folders = self.param.python_param, folders_of(self.param)
        invalidate_caches()  # the file may be newer than the last look into its folder
        with (
            _place(folders, p.module),
            told(f"{self._name}: import {p.module}", folders, InputError),
        ):
            module = import_module(p.module)
        found = getattr(module, p.layer, None)
        if not (isinstance(found, type) and issubclass(found, Layer)):
            what = "no caffe.Layer" if found is not None else "not there"
            raise InputError(f"{self._name}: {p.layer!r} of {module.__file__} is {what}: correct `layer`.")
        missing = [name for name in METHODS if not callable(getattr(found, name, None))]
        if missing:
            raise InputError(f"{self._name}: its class has no method {', '.join(missing)}.")
        with _place(folders), told(f"{self._name}: its constructor", folders, InputError):
            made: Any = found(self.param)
        made.param_str = made.param_str_ = p.param_str  # Caffe's name of 2014, which old layers read
        made.phase, made.blobs = int(not self.call.train), Blobs(self.call.device)
        return made


def made(param: LayerParameter, call: Call, bottoms: list[Blob], tops: list[Blob]) -> engine.Layer:
    """Create the layer that `param` describes, of type Python or any other."""
    runs_code = param.type == "Python" and permitted(param)
    return (PythonLayer if runs_code else engine.Layer)(param, call, bottoms, tops)


def shapes(layer: LayerParameter, bottoms: Shapes) -> Out:
    """Return the shapes after set-up with bottoms of these shapes, zeros as when Caffe creates a net.

    Raises:
        InputError: The code cannot be imported, or raised something.
    """
    return _shapes(layer.SerializeToString(deterministic=True), bottoms)


@lru_cache(maxsize=256)  # a net is measured several times, and a set-up may take long
def _shapes(text: bytes, bottoms: Shapes) -> Out:
    param, device = LayerParameter.FromString(text), torch.device("cpu")
    train = param.HasField("phase") and param.phase == net_pb2.TRAIN
    call = Call(param, train, len(param.top), device, torch.Generator())
    below = {name: Blob(shape, device) for name, shape in zip(param.bottom, bottoms, strict=True)}
    tops = [below.get(name) or Blob((), device) for name in param.top]
    out = PythonLayer(param, call, [below[name] for name in param.bottom], tops).measure()
    # A layer may have nothing to say about zeros, such as one that selects; it will about an image.
    return Out(tuple(tuple(max(d, 1) for d in shape) for shape in out.tops), out.params)


# --- where users' modules live ------------------------------------------------------------

_lock = threading.RLock()


@dataclass
class _Home:
    """The modules that code in one list of folders has imported from there, and where else it looks."""

    modules: dict[str, ModuleType] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)


_homes: dict[tuple[str, ...], _Home] = {}


@contextmanager
def _place(folders: tuple[str, ...], module: str = "") -> Iterator[None]:
    """A context in which `import` looks in `folders` first, and `caffe` is this engine.

    Modules found in `folders` are visible only there: another net may have different ones of the same names.
    """
    with _lock:
        home = _homes.setdefault(folders, _Home())
        ours = {name: import_module(f"caffe_viz.engine.{place}") for name, place in CAFFE.items()}
        top = module.partition(".")[0]
        aside = {"caffe", *home.modules} | ({top} if top and PathFinder.find_spec(top, folders) else set())
        hidden = {n: m for n, m in sys.modules.items() if n in aside or n.partition(".")[0] in aside}
        before, path = set(sys.modules), list(sys.path)
        for name in hidden:
            del sys.modules[name]
        sys.modules |= home.modules | ours
        sys.path[:0] = [*folders, *home.path]
        try:
            yield
        finally:
            fresh = {n: m for n, m in sys.modules.items() if n not in before or n in hidden}
            home.modules |= {n: m for n, m in fresh.items() if n not in ours and _is_theirs(m, folders)}
            home.path += [p for p in sys.path if p not in (*path, *folders, *home.path)]
            for name in [n for n in fresh if n in ours or n in home.modules]:
                del sys.modules[name]
            sys.modules |= hidden
            sys.path[:] = path


def _is_theirs(module: ModuleType, folders: tuple[str, ...]) -> bool:
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return any(place is not None and is_own(place, folders) for place in places)
