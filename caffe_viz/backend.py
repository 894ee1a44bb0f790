"""Choose and load the engine that runs a network; the only module that imports one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from caffe_viz import caffe_files, netdef, shipped
from caffe_viz.checking import (
    announce,
    arguments,
    as_file,
    caffe_is_installed,
    caffe_reads,
    caffe_reads_weights,
    check,
    check_messages,
    existing_file,
    known_part,
    need_way_back,
    prepared,
    probe,
    raise_for,
    why_embedded,
)
from caffe_viz.errors import CaffeVizWarning, InputError, RunError, near
from caffe_viz.geometry.python_layers import folders, with_permission
from caffe_viz.gradient_support import forced, warn_once
from caffe_viz.layers_file import load_layers
from caffe_viz.netdef import AS_FILED, NetParameter, State, with_state
from caffe_viz.surgery import Auxiliary, with_inputs
from caffe_viz.weight_matching import load_weights

ENGINES = ("auto", "caffe", "torch")
CPU = "cpu"
PathLike = Path | str
NetSource = PathLike | NetParameter


def preferred(engine: str = "auto", device: str = CPU, net: NetParameter | None = None) -> str:
    """Return "caffe" or "torch" like `chosen`, whether installed or not: a net is checked by its rules.

    Raises:
        InputError: No such engine, or real Caffe was asked to use another device than the CPU.
    """
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r} is unknown.{near(engine, ENGINES)}")
    if engine == "caffe" and device != CPU:
        raise InputError(
            f"device {device!r} needs the engine torch: the real Caffe here is built for the CPU."
        )
    if engine != "auto":
        return engine
    if device != CPU or (_has_torch() and not caffe_is_installed()):
        return "torch"
    return "torch" if net is not None and _has_torch() and why_embedded(net) else "caffe"


def chosen(engine: str = "auto", device: str = CPU, net: NetParameter | None = None) -> str:
    """Return "caffe" if real Caffe is installed and can run `net`, else "torch".

    Raises:
        InputError: As `preferred`.
        RunError: The engine is not installed.
    """
    name = preferred(engine, device, net)
    if name == "torch" and not _has_torch():
        raise RunError("the engine torch is not installed: pip install 'caffe-viz[torch]'.")
    if name == "caffe" and not caffe_is_installed():
        if engine == "caffe":
            raise RunError("real Caffe is not installed: `make caffe` builds and installs it.")
        raise RunError(
            "no engine is installed: pip install 'caffe-viz[torch]', or `make caffe` for real Caffe."
        )
    return name


def need_device(device: str) -> None:
    """Raise InputError if torch does not know a device, or it does not exist."""
    if device != CPU:
        from caffe_viz.engine import modes

        modes.device(device)


def _has_torch() -> bool:
    return find_spec("torch") is not None


def module(engine: str = "auto") -> Any:
    """Return the `caffe` module of an engine.

    Raises:
        RunError: It is not installed, or does not start.
    """
    if chosen(engine) == "caffe":
        return _caffe()
    from caffe_viz.engine import pycaffe

    return pycaffe


def _caffe() -> Any:
    """Real Caffe, on the CPU and without its log lines."""
    # Must be set before the first import: Caffe reads it once. 2 leaves errors and fatal messages.
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        import caffe as real
    except ImportError as error:
        raise RunError(
            f"real Caffe cannot be imported ({error}): `make caffe` rebuilds it; the engine "
            "torch works without it."
        ) from error
    caffe_files.repair(real)
    real.set_mode_cpu()
    return real


def load_net(
    prototxt: NetSource,
    weights: NetSource | None = None,
    *,
    state: State = AS_FILED,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    engine: str = "auto",
    device: str = CPU,
    allow_code: bool = False,
    python_path: PathLike | Sequence[PathLike] = (),
    layers: PathLike | Sequence[PathLike] = (),
    variants: Mapping[str, str] | None = None,
    force_backward: bool = False,
    checked: bool = True,
) -> Any:
    """Load a network as a `caffe.Net`. The files are checked first, so that Caffe cannot abort the process.

    The net has three more attributes: `prototxt` is its message, `folder` the folder of its file, and
    `left_out` maps layers and blobs that could not be loaded ("layer roi", "blob rois") to the reason.
    Layers of unknown types are left out, together with everything that depends on them; a CaffeVizWarning
    lists them, and the fields of other layers that are not understood.

    `net.backward()` computes what Caffe computes: gradients between learnable parameters and a loss. A
    CaffeVizWarning tells you when a backward pass does not compute the gradient you asked for; then set
    `force_backward`.

    Args:
        prototxt: A path, a message, or the name of a shipped network such as "caffenet_cifar10", which
            stands for both of its files. A caffemodel also works if it holds the net.
        weights: A caffemodel or HDF5 file, or a message. The weights of a message are filled in by name;
            its layers without weights are skipped.
        state: Which layers of the file to use (phase, level, stages). Default: the file's own `state`, or
            TEST.
        input_shapes: Shapes of inputs by blob name. Data layers whose tops are named here become Input
            layers.
        engine: "caffe" (real Caffe), "torch" (the embedded engine), or "auto": Caffe if it is installed and
            supports every layer of the net.
        device: Where the embedded engine runs, in torch's words: "cpu", "cuda", "cuda:1".
        allow_code: Allow layers that run code or access files.
        python_path: Folders in which to look for modules of Python layers, besides the prototxt's folder
            and Python's own path.
        layers: Python files that define layer types with `@layer` of caffe_viz.engine. They are executed.
        variants: Which meaning a layer type has where forks of Caffe disagree on it: type -> meaning.
        force_backward: Compute gradients of inputs too, and of nets without a loss, as `force_backward` in a
            prototxt does.
        checked: False skips the check, for messages that passed it before you changed them.

    Raises:
        InputError: A file is missing, or Caffe would abort on it.
        RunError: The engine is not installed.

    Example::

        net = cv.load_net("deploy.prototxt", "net.caffemodel")
        net.blobs["data"].data[...] = cv.Preprocess.from_toml("preprocess.toml").to_caffe(
            cv.load_image("cat.png"), net.blobs["data"].data.shape[1:]
        )
        net.forward()
    """
    load_layers(layers)
    preferred(engine, device)
    asked = prototxt
    prototxt, weights = shipped.files(prototxt, weights)
    if weights is None and prototxt is not asked:
        line = f"{asked}: no weights are here, so its parameters are those of its fillers."
        warnings.warn(line + shipped.where_weights_are(prototxt), CaffeVizWarning, stacklevel=2)
    net_source = prototxt if isinstance(prototxt, NetParameter) else existing_file(prototxt, "prototxt")
    source = (
        weights
        if weights is None or isinstance(weights, NetParameter)
        else existing_file(weights, "caffemodel")
    )
    if source is None and isinstance(net_source, Path):
        source = netdef.own_weights(net_source)
    paths = folders(python_path)
    read = message_with_code(net_source, paths) if allow_code else _message(net_source)
    given = with_inputs(with_state(read, state), input_shapes or {})
    given = forced(given) if force_backward else given
    label = str(net_source) if isinstance(net_source, Path) else f"net {given.name!r}"
    try:
        whole = prepared(given, source, variants)
        part = known_part(netdef.for_phase(whole))
    except InputError as error:
        raise InputError(f"{label}: {error}") from None
    name = chosen(engine, device, part)
    if force_backward:
        need_way_back(part, name)
    part = netdef.without_quiet(part) if name == "caffe" else part
    # Where real Caffe can read the files as they are, it does.
    is_text = isinstance(net_source, Path) and not netdef.is_binary(net_source)
    altered = input_shapes or force_backward
    as_they_are = is_text and not altered and caffe_reads(given, part, source)
    loaded: Path | NetParameter = net_source if isinstance(net_source, Path) and as_they_are else part
    if checked:
        if isinstance(loaded, Path) and not isinstance(source, NetParameter):
            check(
                loaded, source, python_path=paths, state=state, allow_code=allow_code, engine=name
            ).raise_for_errors()
        else:
            trained = netdef.stored_layers(source, part) if isinstance(source, Path) else source
            raise_for(check_messages(part, trained, allow_code=allow_code, engine=name), label)
    announce(part, name, engine, device)
    if name == "caffe":
        net = _load_caffe(_caffe(), loaded, source, part, checked)
    else:
        net = _load_torch(part, source, device)
    net.prototxt, net.left_out = whole, netdef.left_out(part)
    warn_once(net, part)
    net.folder = net_source.parent if isinstance(net_source, Path) else None
    return net


def _message(net: Path | NetParameter) -> NetParameter:
    return net if isinstance(net, NetParameter) else netdef.read_net(net)


def _load_torch(net: NetParameter, weights: Path | NetParameter | None, device: str) -> Any:
    from caffe_viz.engine import Net

    return Net(net, weights=weights, device=device, **arguments(net.state))


def net_function(net: Any) -> Any:
    """A net of the embedded engine as a function of arrays: `caffe_viz.engine.functions.NetFunction`."""
    from caffe_viz.engine.functions import NetFunction

    return NetFunction(net)


def load_evaluator(auxiliary: Auxiliary, weights: NetParameter | None, device: str) -> Any:
    """An auxiliary net on the embedded engine as a function of images that stay on the device."""
    from caffe_viz.engine.evaluator import Evaluator

    return Evaluator(auxiliary, weights, device)


def torch_module(net: Any, memory_format: str = "contiguous") -> Any:
    """Convert a net from `load_net`, on either engine, to a `torch.nn.Module`: a pure function of its inputs.

    The module holds the current parameters of the net, frozen. If the net runs on the embedded engine, both
    share the same memory. See `caffe_viz.engine.module.NetModule`.

    Args:
        net: A net from `load_net`.
        memory_format: "contiguous" or "channels_last", which makes convolutions faster. Inputs are
            (N, C, H, W) in both.

    Raises:
        InputError: The net is not from `load_net`, or there is no such memory format.
        RunError: torch is not installed.

    Example::

        module = cv.torch_module(cv.load_net("deploy.prototxt", "net.caffemodel"))
        image = torch.zeros(1, 3, 32, 32, requires_grad=True)  # any number of images, on any device
        module(image, blobs=["conv3"])["conv3"][:, 16].mean().backward()
    """
    if not _has_torch():
        raise RunError("a torch module needs torch: pip install 'caffe-viz[torch]'.")
    from caffe_viz.engine.module import NetModule
    from caffe_viz.engine.net import Net

    if isinstance(net, Net):
        return NetModule(net, memory_format)
    if not hasattr(net, "prototxt"):
        given = type(net).__name__
        raise InputError(f"{given}: load the net with caffe_viz.load_net(prototxt, weights) first.")
    own = Net(known_part(netdef.for_phase(net.prototxt)), **arguments(net.prototxt.state))
    for mine, theirs in zip(own.layers, net.layers, strict=True):
        for blob, values in zip(mine.blobs, theirs.blobs, strict=True):
            blob.data[...] = values.data
    return NetModule(own, memory_format)


def message_with_code(net: Path | NetParameter, paths: tuple[Path, ...]) -> NetParameter:
    """A net whose layers of type Python may run what they name, found in `paths` or beside its file."""
    if isinstance(net, NetParameter):
        return with_permission(net, paths)
    return with_permission(netdef.read_net(net), (*paths, net.parent))


def engine_name(net: Any) -> str:
    """Return the name of the engine that runs `net`: "caffe" or "torch"."""
    return str(getattr(net, "engine", "caffe"))


def _load_caffe(
    caffe: Any,
    net: Path | NetParameter,
    weights: Path | NetParameter | None,
    message: NetParameter,
    checked: bool,
) -> Any:
    """`net` in real Caffe, of which `message` is what it reads."""
    state = message.state
    own = arguments(state)
    phase = own.pop("phase")
    with ExitStack() as stack:
        path = net if isinstance(net, Path) else stack.enter_context(as_file(net))
        name = str(net) if isinstance(net, Path) else f"net {net.name!r}"
        by_message = not isinstance(net, Path) or isinstance(weights, NetParameter)
        if checked and by_message and caffe_is_installed():
            raise_for(probe(path, None, state), name)
        if isinstance(weights, Path) and not by_message and caffe_reads_weights(weights):
            return caffe.Net(str(path), phase, weights=str(weights), **own)
        made = caffe.Net(str(path), phase, **own)
    if weights is not None:
        load_weights(made, weights, message)
    return made
