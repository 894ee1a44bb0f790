"""In-place layers: which of them spoil a gradient of real Caffe, and the net in which they no longer do.

Caffe goes backward with the values that its blobs hold after the whole forward. Some layers need values that
an in-place layer, they themselves or the next one, has overwritten; the embedded engine keeps these.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from caffe_viz.netdef import LayerParameter

Condition = Callable[[LayerParameter], bool]
Conditions = Mapping[str, Condition]
Place = tuple[int, str]  # of a layer among layers, and one of its tops


def always(layer: LayerParameter) -> bool:
    """A condition that every layer of a type meets."""
    return True


def product(layer: LayerParameter) -> bool:
    """Whether an Eltwise layer multiplies."""
    return bool(layer.eltwise_param.operation == layer.eltwise_param.PROD)


def _in_order(layer: LayerParameter) -> bool:
    return list(layer.permute_param.order) == list(range(len(layer.permute_param.order)))


# Types whose backward reads their input, or writes its gradient over the top's before it has read that.
WRONG_GRADIENT: Conditions = {
    "BNLL": always,
    "ELU": lambda layer: layer.elu_param.alpha < 0,
    "Eltwise": product,
    "Log": always,
    "MVN": lambda layer: layer.mvn_param.normalize_variance,
    "Normalize": always,
    "Power": lambda layer: bool(layer.power_param.power and layer.power_param.scale),
    "ReLU": lambda layer: layer.relu_param.negative_slope < 0,
}
# Types whose backward reads their top, which a layer in place on it overwrites.
READ_THEIR_TOP: Conditions = {
    "ELU": always,
    "Eltwise": lambda layer: product(layer) and not layer.eltwise_param.stable_prod_grad,
    "Exp": always,
    "LRN": lambda layer: layer.lrn_param.norm_region == layer.lrn_param.ACROSS_CHANNELS,
    "MVN": lambda layer: layer.mvn_param.normalize_variance,
    "Normalize": always,
    "Power": lambda layer: layer.power_param.power not in (0, 1, 2) and layer.power_param.scale != 0,
    "RNN": always,  # those of one step; the number of steps is no setting
    "Sigmoid": always,
    "Softmax": always,
    "TanH": always,
}
# Types whose top is the memory of their bottom.
SHARE: Conditions = {
    "Concat": lambda layer: len(layer.bottom) == 1 and not layer.concat_param.per_fla_fuse,
    "Flatten": always,
    "Permute": _in_order,
    "Reshape": lambda layer: layer.reshape_param.pixelshuffler == 1,
    "Slice": lambda layer: len(layer.top) == 1,
    "Squeeze": always,
}


def _acts_in_test(layer: LayerParameter) -> bool:
    """Whether a Dropout layer samples or scales in TEST too, as some forks allow."""
    param = layer.dropout_param
    return bool(param.sample_weights_test or not param.scale_train)


def holds(conditions: Conditions, layer: LayerParameter) -> bool:
    """Whether a layer is one of those."""
    return layer.type in conditions and conditions[layer.type](layer)


@dataclass(frozen=True)
class InPlace:
    """Layer number `index`, which works in place on `top`; `changed` made the values it changes, if any."""

    index: int
    layer: LayerParameter
    top: str
    changed: LayerParameter | None

    @property
    def spoils_itself(self) -> bool:
        """Whether its own gradient is wrong in real Caffe."""
        return holds(WRONG_GRADIENT, self.layer)

    @property
    def spoils_other(self) -> bool:
        """Whether the gradient of the layer before it is wrong."""
        return self.changed is not None and holds(READ_THEIR_TOP, self.changed)


def layers_in_place(layers: Iterable[LayerParameter], training: bool = False) -> Iterator[InPlace]:
    """Return all layers that work in place; most Dropout layers change nothing unless `training`."""
    makers: dict[str, LayerParameter] = {}
    for index, layer in enumerate(layers):
        for j, top in enumerate(layer.top):
            if top not in layer.bottom[j : j + 1]:
                shared = makers.get(layer.bottom[0]) if holds(SHARE, layer) else None
                makers[top] = shared or layer
                continue
            changes = layer.type != "Dropout" or training or _acts_in_test(layer)
            yield InPlace(index, layer, top, makers.get(top) if changes else None)
            if changes:
                makers[top] = layer


def spoiling(layers: Sequence[LayerParameter]) -> set[Place]:
    """Return in-place layers that spoil a gradient of real Caffe, or an input's values, which persist."""
    return {
        (one.index, one.top)
        for one in layers_in_place(layers)
        if one.spoils_itself or one.spoils_other or (one.changed is not None and not one.changed.bottom)
    }


def overwriting(layers: Sequence[LayerParameter], makers: Collection[int]) -> set[Place]:
    """Return in-place layers that overwrite the first top of one of the layers at the indices `makers`."""
    holds_now: dict[str, Place] = {}  # blob -> who made the values in its memory; tops can share one
    needed, found = set[Place](), set[Place]()
    for i, layer in enumerate(layers):
        for j, top in enumerate(layer.top):
            in_place = top in layer.bottom[j : j + 1]
            if in_place and layer.type == "Dropout" and not _acts_in_test(layer):
                continue
            if in_place and holds_now.get(top) in needed:
                found.add((i, top))
            shared = holds_now.get(layer.bottom[0]) if not in_place and holds(SHARE, layer) else None
            holds_now[top] = shared or (i, top)
        if i in makers:
            needed.add(holds_now[layer.top[0]])
    return found


def out_of_place(
    layers: Sequence[LayerParameter], apart: Collection[Place], taken: Iterable[str]
) -> list[LayerParameter]:
    """Copy `layers`, so that those of `apart` write into blobs of their own; new names are not in `taken`.

    A blob keeps its name for what it holds after a full forward; before that it is `conv1_before_relu1`.
    """
    used, copies = set(taken), []
    names: dict[str, str] = {}
    waiting: dict[str, deque[str]] = defaultdict(deque)
    for i, top in sorted(apart):
        waiting[top].append(layers[i].name)
    for i, layer in enumerate(layers):
        copy = LayerParameter()
        copy.CopyFrom(layer)
        copy.bottom[:] = [names.get(blob, blob) for blob in layer.bottom]
        for j, top in enumerate(layer.top):
            if (i, top) in apart:
                waiting[top].popleft()
            if (i, top) in apart or top not in names:
                names[top] = free(f"{top}_before_{waiting[top][0]}", used) if waiting[top] else top
                used.add(names[top])
            copy.top[j] = names[top]
        copies.append(copy)
    return copies


def first_names(layers: Sequence[LayerParameter], copies: Sequence[LayerParameter]) -> dict[str, str]:
    """Map each blob of `layers` to the blob of their `copies` that its first layer makes."""
    found: dict[str, str] = {}
    for layer, copy in zip(layers, copies, strict=True):
        for old, new in zip(layer.top, copy.top, strict=True):
            found.setdefault(old, new)
    return found


def free(name: str, taken: Collection[str]) -> str:
    """Return `name`, with underscores if the net uses it already."""
    while name in taken:
        name += "_"
    return name
