"""Arguments and options that describe a network: its files, and how they are read and run.

A command has a parameter `net` of one of these classes. `command` replaces it by the fields of the class: a
field that is added here becomes an argument or option of every such command.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from caffe_viz import shipped
from caffe_viz.cli.app import app
from caffe_viz.cli.example import with_example
from caffe_viz.cli.options import (
    AllowCode,
    ChannelOrder,
    ClusterAddress,
    Device,
    Engine,
    InputShapes,
    LabelFiles,
    Layers,
    Level,
    Mean,
    Phase,
    PreprocessFile,
    Prototxt,
    PythonPath,
    RawScale,
    Resize,
    Scale,
    Stages,
    Variants,
    Weights,
)
from caffe_viz.cli.parts import labelled
from caffe_viz.cli.pixels import preprocess_of
from caffe_viz.cli.usage import hints_of
from caffe_viz.errors import InputError
from caffe_viz.files import shown

if TYPE_CHECKING:
    from caffe_viz.checking import Report
    from caffe_viz.images import Preprocess
    from caffe_viz.netdef import NetParameter, State
    from caffe_viz.network import Network

Made = TypeVar("Made", bound=Callable[..., Any])
LAST = ("output", "as_json")  # options that every command ends with
NO_OPTION = {"option": False}  # of a field that the command line does not set


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A prototxt, and how to read its layers."""

    prototxt: Prototxt
    allow_code: AllowCode = False
    python_path: PythonPath = None
    variant: Variants = None
    layers: Layers = None
    phase: Phase = None
    stage: Stages = None
    level: Level = None
    input: InputShapes = None

    def __post_init__(self) -> None:
        """Replace the name of a shipped network by its files."""
        weights: Path | None = getattr(self, "weights", None)
        for name, file in zip(("prototxt", "weights"), shipped.files(self.prototxt, weights), strict=True):
            object.__setattr__(self, name, file)

    @property
    def state(self) -> State:
        """The state that selects layers of the file."""
        from caffe_viz.netdef import State

        return State(self.phase, self.stage or (), self.level)

    def network(self, **more: Any) -> Network:
        """The network, not yet checked; `more` are fields of `Network`."""
        from caffe_viz.network import Network

        return Network(
            self.prototxt, allow_code=self.allow_code, python_path=self.python_path or (),
            layers=self.layers or (), variants=meanings(self.variant), state=self.state,
            input_shapes=shapes_by_name(self.input), **more,
        )  # fmt: skip

    def message(self) -> NetParameter:
        """The net as a message, for commands that only measure it."""
        from caffe_viz.checking import prepared

        return prepared(self.network().given, getattr(self, "weights", None), meanings(self.variant))

    def words(self) -> Iterator[str]:
        """The words of a command line for the same network, without defaults."""
        pair = (self.prototxt, getattr(self, "weights", None))
        yield from [name] if (name := shipped.name_of(*pair)) else [str(file) for file in pair if file]
        for name, default in options_of(type(self)).items():
            value = getattr(self, name)
            if name not in ("prototxt", "weights") and value not in (None, default):
                yield from as_option(name, value)


@dataclass(frozen=True, kw_only=True)
class MaybeTrained(Definition):
    """A prototxt, optionally with its caffemodel."""

    weights: Weights = None

    def checked(self, engine: str, probe: bool | None = None) -> Report:
        """The report of `check` for an engine; with `probe=False`, real Caffe is not started."""
        from caffe_viz.checking import check
        from caffe_viz.geometry.python_layers import folders
        from caffe_viz.layers_file import load_layers
        from caffe_viz.netdef import own_weights

        load_layers(self.layers or ())
        weights = self.weights or own_weights(self.prototxt)
        return check(
            self.prototxt, weights, allow_code=self.allow_code, probe=probe, engine=engine,
            python_path=folders(self.python_path or ()), variants=meanings(self.variant),
            state=self.state, input_shapes=shapes_by_name(self.input),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trained(MaybeTrained):
    """Both files, or a caffemodel that contains the net."""

    def __post_init__(self) -> None:
        """Raise InputError if there are no weights."""
        from caffe_viz.netdef import is_binary

        super().__post_init__()
        if self.weights is None and self.prototxt.is_file() and not is_binary(self.prototxt):
            how = shipped.where_weights_are(self.prototxt)
            raise InputError(f"{self.prototxt}: give the file of its weights too, as net.caffemodel.{how}")


@dataclass(frozen=True, kw_only=True)
class MaybeRunning(MaybeTrained):
    """A prototxt, optionally with its caffemodel, to run as far as possible."""

    preprocess: PreprocessFile = None
    mean: Mean = None
    scale: Scale = None
    raw_scale: RawScale = None
    channel_order: ChannelOrder = None
    resize: Resize = None
    labels: LabelFiles = None
    engine: Engine = "auto"
    device: Device = "cpu"
    says_images: bool = field(default=False, metadata=NO_OPTION)

    def given(self) -> Network:
        """The network, not checked."""
        return self.network(
            weights=self.weights,
            preprocess=labelled(self.images(), self.labels),
            engine=self.engine, device=self.device,
        )  # fmt: skip

    def say_images(self, network: Network) -> None:
        """Print the preprocessing, as the first line of a command that takes images and prints text."""
        from caffe_viz.views.classified import described

        if self.says_images:
            print(f"preprocessing: {described(network)}", flush=True)

    def images(self) -> Preprocess:
        """The preprocessing settings, without the labels."""
        said = ("mean", "scale", "raw_scale", "channel_order", "resize")
        options = {name: getattr(self, name) for name in said}
        return preprocess_of(self.prototxt, self.preprocess, options, shapes_by_name(self.input))


@dataclass(frozen=True, kw_only=True)
class Running(MaybeRunning, Trained):
    """Both files, to run the net."""

    def open(self, *, say: bool = True) -> Network:
        """The network, checked; prints the preprocessing, unless `say` is false."""
        network = self.given()
        network.check()
        if say:
            self.say_images(network)
        return network


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """Where the net runs: on this machine, or on a cluster."""

    cluster: ClusterAddress = None

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Yield the dask client of the cluster, or None; prints the address of its dashboard."""
        if self.cluster is None:
            yield None
            return
        from caffe_viz.tasks.addresses import connected, in_words

        with connected(self.cluster) as client:
            print(in_words(client), file=sys.stderr, flush=True)
            yield client


@dataclass(frozen=True, kw_only=True)
class MaybeSpread(Clustered, MaybeRunning):
    """A prototxt, optionally with its caffemodel, to run here or on a cluster as far as possible."""


@dataclass(frozen=True, kw_only=True)
class Spread(Clustered, Running):
    """Both files, to run the net here or on a cluster."""


def options_of(kind: type[Definition]) -> dict[str, Any]:
    """The fields that are arguments and options, with their defaults."""
    return {field.name: field.default for field in fields(kind) if field.metadata != NO_OPTION}


def as_option(name: str, value: object) -> Iterator[str]:
    """An option as words of a command line."""
    option = f"--{name.replace('_', '-')}"
    for one in value if isinstance(value, list) else [value]:
        if one == shipped.example():
            yield "--example"
            continue
        yield option
        if one is not True:
            yield f"{one:g}" if isinstance(one, float) else shown(one)


def command_line(function: Callable[..., Any], net: Definition, **options: object) -> str:
    """The command line that repeats a command, without defaults."""
    words = ["caffe-viz", function.__name__, *net.words()]
    usual = signature(function).parameters
    for name, value in options.items():
        if value != usual[name].default:
            words += as_option(name, value)
    return shlex.join(words)


def meanings(variants: Sequence[str] | None) -> dict[str, str]:
    """Parse TYPE=NAME texts into a mapping; raises InputError if one is malformed."""
    pairs = [text.partition("=") for text in variants or ()]
    for kind, sign, name in pairs:
        if not (kind and sign and name):
            raise InputError(
                f"--variant {kind}{sign}{name}: give a layer type and its meaning, such as BN=segnet."
            )
    return {kind: name for kind, _, name in pairs}


def shapes_by_name(inputs: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Parse NAME=1x3x227x227 texts into a mapping; raises InputError if one is malformed."""
    out = {}
    for text in inputs or ():
        name, _, shape = text.rpartition("=")
        dims = shape.lower().split("x")
        if not name or not all(dim.isdecimal() and int(dim) for dim in dims):
            raise InputError(f"--input {text}: give a blob and its shape, such as data=1x3x227x227.")
        out[name] = tuple(map(int, dims))
    return out


_hints = cache(hints_of)


def command(given: Made) -> Made:
    """Register a command; the fields of its parameter `net` become arguments and options."""
    function = with_example(given)
    hints = hints_of(function)
    kind: Any = hints.pop("net")
    known = _hints(kind)
    added = [
        Parameter(
            name, Parameter.KEYWORD_ONLY, annotation=known[name],
            default=Parameter.empty if default is MISSING else default,
        )
        for name, default in sorted(options_of(kind).items(), key=lambda option: option[0] == "weights")
    ]  # fmt: skip
    own = [
        p.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[p.name])
        for p in signature(function).parameters.values() if p.name != "net"
    ]  # fmt: skip
    last = [p for p in own if p.name in LAST]
    files = [p for p in added if p.name in ("prototxt", "weights")]
    options = [p for p in added if p not in files]
    takes_images = issubclass(kind, MaybeRunning) and any(p.name == "image" for p in own)

    @wraps(function)
    def entered(**given: Any) -> Any:
        of_net = {p.name: given.pop(p.name) for p in added if p.name in given}
        if takes_images:
            of_net["says_images"] = not given.get("as_json")
        return function(net=kind(**of_net), **given)

    parameters = [*files, *(p for p in own if p not in last), *options, *last]
    entered.__signature__ = signature(function).replace(parameters=parameters)  # type: ignore[attr-defined]
    entered.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    app.command()(entered)
    return entered  # type: ignore[return-value]
