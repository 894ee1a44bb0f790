"""Find everything that would make Caffe abort the process, or fail silently, before Caffe loads the net.

First the two files are read as messages and compared with what Caffe does with them; nothing runs. If
that finds no error, a child process loads them in real Caffe, where it is installed. Whatever still goes
wrong ends the child process instead of yours, and is reported in one line with Caffe's own reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

from caffe_viz import shipped
from caffe_viz.checking.child import arguments, as_file, caffe_is_installed, probe
from caffe_viz.checking.computable import (
    caffe_reads,
    foreign_findings,
    ignored_fields,
    known_part,
    prepared,
    why_embedded,
)
from caffe_viz.checking.remarks import announce, remarks, why_not_caffe
from caffe_viz.checking.report import Finding, Report, raise_for
from caffe_viz.checking.safety import safety_findings
from caffe_viz.checking.sizes import size_findings
from caffe_viz.checking.structure import need_no_abort, need_way_back, structure_findings
from caffe_viz.checking.weights import fits, weight_findings
from caffe_viz.errors import InputError, near
from caffe_viz.files import need_no_stream
from caffe_viz.geometry.custom import ENTERED
from caffe_viz.geometry.python_layers import with_permission
from caffe_viz.netdef import (
    AS_FILED,
    NetParameter,
    State,
    StoredLayer,
    for_phase,
    is_binary,
    is_hdf5,
    of_this_caffe,
    read_net,
    stored_layers,
    with_state,
)
from caffe_viz.surgery import with_inputs

__all__ = [
    "Finding",
    "Report",
    "announce",
    "arguments",
    "as_file",
    "caffe_is_installed",
    "caffe_reads",
    "caffe_reads_weights",
    "check",
    "check_messages",
    "existing_file",
    "fits",
    "ignored_fields",
    "known_part",
    "need_no_abort",
    "need_way_back",
    "prepared",
    "probe",
    "raise_for",
    "remarks",
    "why_embedded",
    "why_not_caffe",
]

# The build's limit for one caffemodel: longer ones (VGG16 is 553 MB) abort, though they are fine.
CAFFE_READS_BYTES = 536_870_912
FileState = tuple[str, int, int]


def check(
    prototxt: Path | str,
    weights: Path | str | None = None,
    *,
    allow_code: bool = False,
    python_path: Iterable[Path | str] = (),
    probe: bool | None = None,
    variants: Mapping[str, str] | None = None,
    state: State = AS_FILED,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    engine: str = "caffe",
) -> Report:
    """Find what is wrong with a prototxt and its caffemodel. Results for unchanged files are cached.

    With `engine` "caffe", everything that real Caffe as built by `make caffe` would refuse is an error; with
    "torch", what the embedded engine cannot compute. Layers of unknown types are only a warning for "torch",
    which leaves them out.

    Args:
        prototxt: The network definition.
        weights: The caffemodel, if there is one.
        allow_code: Accept layers that run code or access files.
        python_path: Folders in which to look for modules of Python layers, besides the prototxt's folder and
            Python's own path.
        probe: Whether to load the files in real Caffe in a child process at the end. Default: if it is
            installed and is the `engine`.
        variants: Which meaning a layer type has where forks of Caffe disagree on it: type -> meaning.
        state: Which layers of the file to use. Default: the file's own state, or TEST.
        input_shapes: Shapes of inputs and of the tops of data layers, by blob name.
        engine: "caffe" or "torch".

    Raises:
        InputError: A file does not exist.
    """
    prototxt, weights = shipped.files(prototxt, weights)
    net_path = existing_file(prototxt, "prototxt")
    weights_path = None if weights is None else existing_file(weights, "caffemodel")
    if net_path.suffix == ".caffemodel" and weights_path is not None and weights_path.suffix == ".prototxt":
        raise InputError(f"{net_path} and {weights_path} are swapped: the prototxt comes first.")
    use_child = engine == "caffe" and caffe_is_installed() if probe is None else probe
    states = (_state(net_path), None if weights_path is None else _state(weights_path))
    folders = (*map(str, python_path), str(net_path.parent)) if allow_code else None
    custom = tuple(sorted(ENTERED.items()))
    meant = tuple(sorted((variants or {}).items()))
    shapes = tuple((name, tuple(shape)) for name, shape in sorted((input_shapes or {}).items()))
    findings = _check(*states, folders, custom, meant, use_child, state, shapes, engine)
    return Report(net_path, weights_path, findings)


def check_messages(
    net: NetParameter,
    weights: NetParameter | Sequence[StoredLayer] | None = None,
    *,
    allow_code: bool = False,
    variants: Mapping[str, str] | None = None,
    engine: str = "caffe",
) -> tuple[Finding, ...]:
    """Find what is wrong with a net and its weights, given as messages, on `engine`, which is not started.

    The layers of the net's own state are checked. `allow_code` accepts layers that access files; those of
    type Python need a permission in the net itself.
    """
    layers = stored_layers(weights) if isinstance(weights, NetParameter) else weights
    try:
        chosen = prepared(for_phase(net), layers, variants)
        # Real Caffe reads the layers of all phases before it drops some.
        findings = tuple(foreign_findings(net if engine == "caffe" else chosen, engine))
        chosen = known_part(chosen) if engine == "torch" else chosen
    except InputError as error:
        return (Finding("error", "", str(error)),)
    findings += (
        *structure_findings(chosen, engine),
        *safety_findings(chosen, engine, allow_code=allow_code),
    )
    if any(f.severity == "error" for f in findings):
        return findings
    geometry, shape_findings = size_findings(chosen, engine, files=allow_code)
    findings += shape_findings
    if geometry is not None and layers is not None:
        findings += tuple(weight_findings(chosen, geometry, layers))
    return findings


def caffe_reads_weights(path: Path) -> bool:
    """Whether real Caffe can read a file of weights itself; others are filled in by name.

    It can read HDF5, but silently ignores layers with a slash in their name.
    """
    return path.stat().st_size <= CAFFE_READS_BYTES and not is_hdf5(path)


def existing_file(path: Path | str, kind: str) -> Path:
    """Return `path` as a Path; `kind` names it. Raises InputError, with near matches, if it is not a file."""
    path = Path(path).expanduser()
    if path.is_file():
        return path
    need_no_stream(path)
    if path.is_dir():
        inside = sorted(one.name for one in path.glob(f"*.{kind}"))
        raise InputError(f"{path} is a folder; give the {kind} file itself.{near('', inside)}")
    alike = (one for one in path.parent.glob("*") if one.suffix in (path.suffix, f".{kind}"))
    beside = sorted(one.name for one in alike if one.is_file())
    what = f"no such {kind}" if path.parent.is_dir() else "no such folder"
    raise InputError(f"{path}: {what}.{near(path.name, beside)}")


def _state(path: Path) -> FileState:
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=64)  # `custom` is what it depends on beside its files: layer types of one's own
def _check(
    net_state: FileState,
    weights_state: FileState | None,
    folders: tuple[str, ...] | None,
    custom: tuple[tuple[str, Path], ...],
    variants: tuple[tuple[str, str], ...],
    use_child: bool,
    state: State,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    engine: str,
) -> tuple[Finding, ...]:
    net_path = Path(net_state[0])
    weights_path = None if weights_state is None else Path(weights_state[0])
    weights = None
    weights_findings: tuple[Finding, ...] = ()
    try:
        net = with_inputs(with_state(read_net(net_path), state), dict(shapes))
    except InputError as error:
        return (Finding("error", "", str(error)),)
    try:
        weights = None if weights_path is None else stored_layers(weights_path, net)
    except InputError as error:
        weights_findings = (Finding("error", "", str(error)),)
    allow_code = folders is not None
    net = net if folders is None else with_permission(net, folders)
    findings = check_messages(net, weights, allow_code=allow_code, variants=dict(variants), engine=engine)
    findings += weights_findings
    if engine == "caffe" and weights_path is not None and weights and not of_this_caffe(weights_path):
        message = "some of its fields have numbers that mean others in a fork: real Caffe cannot parse it."
        findings += (Finding("error", "weights", message),)
    if use_child and not any(f.severity == "error" for f in findings):
        own = weights_path is not None and caffe_reads_weights(weights_path)
        with as_file(net) if shapes or is_binary(net_path) else nullcontext(net_path) as file:
            findings += probe(file, weights_path if own else None, net.state)
    return findings
