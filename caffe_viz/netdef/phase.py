"""Choose the layers that a net has in a state, by Caffe's include and exclude rules (net.cpp, FilterNet)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from caffe_viz.errors import InputError, near
from caffe_viz.netdef.copying import without_layers
from caffe_viz.netdef.net_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetState, NetStateRule, Phase

PHASES = {"TRAIN": TRAIN, "TEST": TEST}
WOULD = " would "  # between a layer and how it would be there


@dataclass(frozen=True)
class State:
    """The phase, level and stages that select a file's layers (Caffe's NetState).

    Args:
        phase: "TRAIN" or "TEST". Default: what the file's own `state` says, or TEST.
        stages: Stages to add to those of the file's own `state`.
        level: Default: what the file's own `state` says, or 0.

    Raises:
        InputError: The phase is unknown.
    """

    phase: str | None = None
    stages: Collection[str] = ()
    level: int | None = None

    def __post_init__(self) -> None:
        if self.phase is not None and self.phase not in PHASES:
            raise InputError(f"phase {self.phase!r} is unknown.{near(self.phase, PHASES)}")
        stages = (self.stages,) if isinstance(self.stages, str) else self.stages
        object.__setattr__(self, "stages", tuple(dict.fromkeys(stages)))


AS_FILED = State()


def with_state(net: NetParameter, state: State) -> NetParameter:
    """Return `net`, or a copy with all layers whose own state is updated by `state`."""
    if state == AS_FILED:
        return net
    out = NetParameter()
    out.CopyFrom(net)
    _set(out.state, state)
    return out


def for_phase(net: NetParameter, state: State = AS_FILED) -> NetParameter:
    """Return a copy of `net` with only the layers whose rules match its state, without the rules.

    Its `other_states` tells which states would include the layers and blobs that are left out.

    Raises:
        InputError: A layer has both include and exclude rules.
    """
    out = without_layers(net)
    _set(out.state, state)
    for layer in net.layer:
        if layer.include and layer.exclude:
            raise InputError(
                f"layer {layer.name!r} has include and exclude rules; Caffe takes one kind: remove the other."
            )
        if not _included(layer, out.state):
            why = _how(layer, out.state)
            out.other_states.add(name=layer.name, why=why)
            for top in (top for top in layer.top if top not in layer.bottom):
                out.other_states.add(name=top, why=f"{layer.name!r}{WOULD}{why}", is_blob=True)
            continue
        kept = out.layer.add()
        kept.CopyFrom(layer)
        # A rule that was applied must not be applied again under another state.
        kept.ClearField("include")
        kept.ClearField("exclude")
    return out


def phase_of(net: NetParameter) -> str:
    """Return TRAIN or TEST, as the state of `net` says."""
    return "TRAIN" if net.state.phase == TRAIN else "TEST"


def in_other_states(net: NetParameter, blob: str) -> str:
    """Say which layers make `blob` in another state, by which options: "'data' would with --phase TRAIN".

    Returns "" if none does. `net` is from `for_phase`.
    """
    ways: dict[str, list[str]] = {}
    for one in net.other_states:
        if one.is_blob and one.name == blob:
            layer, _, how = one.why.rpartition(WOULD)
            ways.setdefault(layer, []).append(how)
    return ", ".join(f"{layer}{WOULD}{' or '.join(dict.fromkeys(hows))}" for layer, hows in ways.items())


def _set(own: NetState, asked: State) -> None:
    own.phase = own.phase if asked.phase is None else PHASES[asked.phase]
    own.level = own.level if asked.level is None else asked.level
    own.stage.extend(stage for stage in asked.stages if stage not in own.stage)


def _included(layer: LayerParameter, state: NetState) -> bool:
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: NetState, rule: NetStateRule) -> bool:
    return not list(_misses(state, rule))


def _misses(state: NetState, rule: NetStateRule) -> Iterator[str]:
    """What `state` lacks, or has too much, to match a rule, as options."""
    if rule.HasField("phase") and rule.phase != state.phase:
        yield _phase(rule.phase)
    if rule.HasField("min_level") and state.level < rule.min_level:
        yield f"--level {rule.min_level}"
    if rule.HasField("max_level") and state.level > rule.max_level:
        yield f"--level {rule.max_level}"
    yield from (f"--stage {stage}" for stage in rule.stage if stage not in state.stage)
    yield from (f"without the stage {stage!r}" for stage in rule.not_stage if stage in state.stage)


def _breaks(rule: NetStateRule) -> str:
    """How a state that meets a rule would not, in the words of `_misses`."""
    if rule.HasField("phase"):
        return _phase(TEST if rule.phase == TRAIN else TRAIN)
    if rule.stage:
        return f"without the stage {rule.stage[0]!r}"
    if rule.not_stage:
        return f"--stage {rule.not_stage[0]}"
    if rule.HasField("min_level"):
        return f"--level {rule.min_level - 1}"
    return f"--level {rule.max_level + 1}" if rule.HasField("max_level") else "in no state"


def _phase(number: int) -> str:
    name = Phase.Name(number)
    return f"--phase {name}" if name in PHASES else f"in the phase {name}, which is of a fork"


def _how(layer: LayerParameter, state: NetState) -> str:
    """How a layer that `state` leaves out would be there: by its include rule that needs least."""
    if layer.include:
        ways = min((list(_misses(state, rule)) for rule in layer.include), key=len)
    else:
        ways = list(dict.fromkeys(_breaks(rule) for rule in layer.exclude if _meets(state, rule)))
    given = " ".join(way for way in ways if way.startswith("--"))
    return " and ".join([*([f"with {given}"] if given else []), *(x for x in ways if not x.startswith("--"))])
