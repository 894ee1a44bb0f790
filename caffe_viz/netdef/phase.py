"""Which layers of a prototxt are in the net of a phase: include and exclude rules (net.cpp, FilterNet)."""

from __future__ import annotations

from collections.abc import Collection

from caffe_viz.errors import InputError
from caffe_viz.netdef.net_pb2 import TEST, TRAIN, NetParameter, NetStateRule

PHASES = {"TRAIN": TRAIN, "TEST": TEST}


def for_phase(
    net: NetParameter, phase: str = "TEST", level: int = 0, stages: Collection[str] = ()
) -> NetParameter:
    """A copy of `net` with only the layers whose rules meet the state.

    Raises InputError for an unknown phase, and for a layer with both include and exclude rules.
    """
    if phase not in PHASES:
        raise InputError(f"phase {phase!r} is unknown; use TRAIN or TEST.")
    out = NetParameter()
    out.CopyFrom(net)
    del out.layer[:]
    for layer in net.layer:
        if len(layer.include) and len(layer.exclude):
            raise InputError(f"layer {layer.name!r} has include and exclude rules; Caffe takes one kind.")

        def meets(rule: NetStateRule) -> bool:
            return (
                not (rule.HasField("phase") and rule.phase != PHASES[phase])
                and not (rule.HasField("min_level") and level < rule.min_level)
                and not (rule.HasField("max_level") and level > rule.max_level)
                and all(stage in stages for stage in rule.stage)
                and not any(stage in stages for stage in rule.not_stage)
            )

        keep = any(map(meets, layer.include)) if len(layer.include) else not any(map(meets, layer.exclude))
        if keep:
            out.layer.add().CopyFrom(layer)
    out.state.phase = PHASES[phase]
    return out
