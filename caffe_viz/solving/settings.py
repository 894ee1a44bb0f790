"""Check the settings of a solver, by Caffe's own checks, each of which would abort the process."""

from __future__ import annotations

from collections.abc import Iterator

from caffe_viz.errors import InputError, near
from caffe_viz.files import need_folder
from caffe_viz.netdef import SolverParameter
from caffe_viz.netdef.read import OLD_SOLVERS
from caffe_viz.netdef.syntax import field_advice
from caffe_viz.netdef.unknown import owner_of
from caffe_viz.solving.rates import POLICIES

TYPES = OLD_SOLVERS  # there are no others
TRAIN_NETS = ("net", "net_param", "train_net", "train_net_param")
REGULARIZATIONS = ("L1", "L2")
EVALUATIONS = ("classification", "detection")
# Settings that a policy divides by; without them Caffe dies of a division by zero, or trains with NaN.
DIVISORS = {"step": "stepsize", "poly": "max_iter"}


def check_solver(solver: SolverParameter, kind: str, name: str = "the solver") -> None:
    """Check the settings of a solver of type `kind`; errors call the file `name`.

    Raises:
        InputError: Caffe would abort.
        RunError: Snapshots are wanted where nothing can be written.
    """
    for problem in _problems(solver, kind):
        raise InputError(f"{name}: {problem}")
    if solver.snapshot:
        need_folder(solver.snapshot_prefix.rpartition("/")[0] or ".")


def _problems(p: SolverParameter, kind: str) -> Iterator[str]:
    if kind not in TYPES:
        yield f"type {kind!r} is unknown.{near(kind, TYPES)}"
    for x in p.unknown:
        hint = field_advice(owner_of(p, x), x.name)
        yield f"line {x.line}: Caffe has no {x.name} here, on which a training may depend: remove it.{hint}"
    yield from _nets(p)
    yield from _rate(p)
    yield from _update(p, kind)
    for field in ("average_loss", "iter_size"):
        if getattr(p, field) < 1:
            yield f"{field} {getattr(p, field)} must be 1 or more."
    if p.snapshot and not p.HasField("snapshot_prefix"):
        yield 'snapshot needs snapshot_prefix: "FOLDER/NAME".'


def _nets(p: SolverParameter) -> Iterator[str]:
    given = [field for field in TRAIN_NETS if p.HasField(field)]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield f"one of {', '.join(TRAIN_NETS)} names the net to train, but the file has {found}."
    own, tested = len(p.test_net_param) + len(p.test_net), len(p.test_iter)
    general = p.HasField("net") or p.HasField("net_param")
    if tested < own or (tested > own and not general):
        yield f"test_iter is given {tested} times, for {own} test nets: each needs one."
    if p.test_state and len(p.test_state) != tested:
        yield f"test_state is given {len(p.test_state)} times, for {tested} test nets: one each, or none."
    if tested and p.test_interval <= 0:
        yield f"test_interval {p.test_interval} must be above 0 where nets are tested (test_iter)."
    if tested and p.eval_type not in EVALUATIONS:
        yield f"eval_type {p.eval_type!r} is unknown.{near(p.eval_type, EVALUATIONS)}"


def _rate(p: SolverParameter) -> Iterator[str]:
    if p.lr_policy not in POLICIES:
        yield f"lr_policy {p.lr_policy!r} is unknown.{near(p.lr_policy, POLICIES)}"
    divisor = DIVISORS.get(p.lr_policy)
    if divisor and getattr(p, divisor) <= 0:
        yield f"lr_policy {p.lr_policy!r} needs {divisor}, a number of iterations above 0."


def _update(p: SolverParameter, kind: str) -> Iterator[str]:
    if p.weight_decay and p.regularization_type not in REGULARIZATIONS:
        known = near(p.regularization_type, REGULARIZATIONS)
        yield f"regularization_type {p.regularization_type!r} is unknown.{known}"
    if kind in ("AdaGrad", "RMSProp") and p.momentum:
        yield f"{kind} takes no momentum, but it is {p.momentum:g}: remove it."
    if kind == "RMSProp" and not 0 <= p.rms_decay < 1:
        yield f"rms_decay {p.rms_decay:g} must be at least 0 and below 1."
    for field in ("momentum", "momentum2") if kind == "Adam" else ():
        if not 0 <= getattr(p, field) < 1:
            yield f"{field} {getattr(p, field):g} of Adam must be at least 0 and below 1."
