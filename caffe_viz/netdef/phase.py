"""Which layers a phase has: Caffe's include and exclude rules (net.cpp, FilterNet)."""

from __future__ import annotations

from collections.abc import Collection

from caffe_viz.errors import InputError, near
from caffe_viz.netdef.copying import without_layers
from caffe_viz.netdef.net_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetState, NetStateRule

PHASES = {"TRAIN": TRAIN, "TEST": TEST}


def for_phase(
    net: NetParameter, phase: str = "TEST", level: int = 0, stages: Collection[str] = ()
) -> NetParameter:
    """A copy of `net` with only the layers whose rules meet the state; the rules are then gone.

    As in Caffe, `phase` and `level` replace those of the file's own `state`, and `stages` join its stages.

    Raises:
        InputError: the phase is unknown, or a layer has both include and exclude rules.
    """
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is unknown.{near(phase, PHASES)}")
    out = without_layers(net)
    out.state.phase, out.state.level = PHASES[phase], level
    out.state.stage.extend(stage for stage in dict.fromkeys(stages) if stage not in net.state.stage)
    for layer in net.layer:
        if _included(layer, out.state):
            kept = out.layer.add()
            kept.CopyFrom(layer)
            # A rule that was applied must not be applied again under another state (TEST, level 0).
            kept.ClearField("include")
            kept.ClearField("exclude")
    return out


def _included(layer: LayerParameter, state: NetState) -> bool:
    if layer.include and layer.exclude:
        raise InputError(
            f"layer {layer.name!r} has include and exclude rules; Caffe takes one kind: remove the other."
        )
    if layer.include:
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: NetState, rule: NetStateRule) -> bool:
    return (
        not (rule.HasField("phase") and rule.phase != state.phase)
        and not (rule.HasField("min_level") and state.level < rule.min_level)
        and not (rule.HasField("max_level") and state.level > rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )
