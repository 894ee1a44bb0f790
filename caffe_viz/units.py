"""Which unit of a net is meant by `conv3`, `conv3:16`, `conv3:16:3,5`, `cat`, `head:3`; for all commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from caffe_viz.answers import Head
from caffe_viz.errors import InputError, missing, near
from caffe_viz.images import Labels
from caffe_viz.netdef import left_out
from caffe_viz.network import Network
from caffe_viz.objectives import Channel, Layer, Names, Neuron
from caffe_viz.objectives.writing import CENTRE


@dataclass(frozen=True)
class Unit:
    """A layer, a channel or a neuron. A class also has its `number` in the answer `head`, and a `label`."""

    what: Layer | Channel | Neuron
    head: Head | None = None
    number: int = 0
    label: str = ""

    @property
    def layer(self) -> str:
        """The name of its layer."""
        return self.what.layer

    @property
    def channel(self) -> int | None:
        """The number of the channel; None for a whole layer."""
        return None if isinstance(self.what, Layer) else self.what.channel

    def __str__(self) -> str:
        return f"{self.what} {self.label}".rstrip()


def names_of(network: Network) -> Names:
    """Return all words that mean units of a net."""
    classes: dict[str, list[Channel | Neuron]] = {}
    for head, labels in _labelled(network):
        for number in range(len(labels)):
            for name in dict.fromkeys(name.lower() for name in labels.called(number)):
                classes.setdefault(name, []).append(head[number])
    layers = list(dict.fromkeys(layer.name for layer in network.message.layer))
    return Names(layers, classes, _heads(network))


def read_unit(network: Network, given: int | str, option: str = "target") -> Unit:
    """A class by number, label or WordNet number, of another answer as HEAD:3; LAYER, LAYER:3 or LAYER:3:Y,X.

    A class is its score before a Softmax or Sigmoid; of a layer is meant what it computes itself, before
    another that works on it in place. Errors call what was given by the name of its `option`.

    Raises:
        InputError: no such class, layer or channel; says the near ones.
    """
    text, asked = str(given).strip(), f"{option} {given!r}"
    if isinstance(given, int) or text.isdecimal():
        return class_unit(network, network.heads[0], int(given), f"{option} {given}")
    heads, layers = _heads(network), {layer.name for layer in network.message.layer}
    for parts in range(3):
        name, *rest = text.rsplit(":", parts)
        if len(rest) == parts and (name in heads or name in layers):
            if rest and name in heads:
                return _of_head(network, heads[name], asked, *rest)
            return _of_layer(network, asked, name, *rest)
    return _called(network, text, f"{option} {text!r}")


def filter_unit(network: Network, layer: str, index: int) -> Unit:
    """Return a filter of what a layer itself computes, even a Softmax. Raises InputError if there is none."""
    network.geometry.layer(layer)
    return _of_layer(network, f"target '{layer}:{index}'", layer, str(index))


def class_unit(network: Network, head: Head, number: int, asked: str) -> Unit:
    """Return a class of an answer; `asked` begins the error if there is none of this number."""
    if not 0 <= number < len(head):
        has = "is one number, which is target 0" if len(head) == 1 else f"has classes 0 to {len(head) - 1}"
        raise InputError(f"{asked}: {head.answer!r} {has}.")
    labels = network.labels_of(head)
    return Unit(head[number], head, number, labels[number] if labels else "")


def need_channel(unit: Unit, given: int | str) -> Channel | Neuron:
    """Return the channel or neuron that a unit is. Raises InputError for a whole layer."""
    if isinstance(unit.what, Layer):
        raise InputError(f"target {given!r} is a whole layer: choose a filter, such as {unit.what}:0.")
    return unit.what


def _heads(network: Network) -> dict[str, Head]:
    """The answers by all their names; a name that two share means the main one."""
    return {name: head for head in reversed(network.heads) for name in head.names}


def _labelled(network: Network) -> Iterator[tuple[Head, Labels]]:
    for head in network.heads:
        if labels := network.labels_of(head):
            yield head, labels


def _of_head(network: Network, head: Head, asked: str, index: str, place: str | None = None) -> Unit:
    if index.strip().isdecimal():
        unit = class_unit(network, head, int(index), asked)
    else:
        found = network.labels_of(head).find(index)
        if len(found) != 1:
            raise InputError(f"{asked}: {_why(network.labels_of(head), index, found)}")
        unit = class_unit(network, head, found[0], asked)
    if place is None:
        return unit
    return Unit(Neuron(unit.layer, head[unit.number].channel, _position(place, asked)))


def _of_layer(
    network: Network, asked: str, layer: str, index: str | None = None, place: str | None = None
) -> Unit:
    if index is None:
        return Unit(Layer(layer))
    made = network.geometry.layer(layer)
    shape = network.part(*made.tops[:1]).of_one(made.shapes[0])
    count = shape[0] if shape else 1
    if not index.isdecimal() or int(index) >= count:
        has = f"filters 0 to {count - 1}" if count > 1 else "one filter, 0"
        raise InputError(f"{asked}: layer {layer!r} has {has}.")
    if place is not None:
        return Unit(Neuron(layer, int(index), _position(place, asked)))
    channel = Channel(layer, int(index))
    for head in network.heads:
        if any(source.layer == layer for source in head.sources) and channel in list(head):
            return class_unit(network, head, list(head).index(channel), asked)
    return Unit(channel)


def _position(place: str, asked: str) -> tuple[int, ...] | None:
    parts = place.split(",")
    if place.strip() == CENTRE:
        return None
    if not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"{asked}: give Y,X in the map, or {CENTRE}, in place of {place!r}.")
    return tuple(map(int, parts))


def _called(network: Network, text: str, asked: str) -> Unit:
    """Return the class of that name, in any of the answers."""
    labelled = list(_labelled(network))
    found = [(head, number) for head, labels in labelled for number in labels.find(text)]
    if len(found) == 1:
        return class_unit(network, *found[0], asked)
    layers = {layer.name for layer in network.message.layer}
    layer, gone = text.split(":")[0], left_out(network.message)
    if ":" in text or f"layer {layer}" in gone:
        raise missing(f"{asked}: the net", "layer", layer, [*layers, *_heads(network)], gone)
    if not labelled:
        raise InputError(
            f"{asked}: the net has no such layer, and its classes have no labels: give a class as 3, "
            f"or a filter as LAYER:3.{near(text, sorted(layers))}"
        )
    if found and len(labelled) > 1:
        names = " or ".join(f"{head.answer}:{number}" for head, number in found)
        raise InputError(f"{asked} is the label of {names}: give one of these.")
    labels = Labels(
        [name for _, one in labelled for name in one], [code for _, one in labelled for code in one.codes]
    )
    numbers = [number for _, number in found]
    raise InputError(f"{asked}: {_why(labels, text, numbers, sorted(layers))}")


def _why(labels: Labels, text: str, found: list[int], layers: Sequence[str] = ()) -> str:
    """Say why a name does not mean exactly one class, with similar names, also of layers."""
    if found:
        return f"it is the label of classes {', '.join(map(str, found))}: give a number."
    if alike := labels.near(text):
        return f"the net has no class {text!r}. Did you mean {' or '.join(map(repr, alike))}?"
    kind = "layer or class" if layers else "class"
    return f"the net has no {kind} {text!r}.{near(text, [*filter(None, labels), *layers])}"


def labels_at(network: Network, layer: str, count: int) -> Labels:
    """Return names for the `count` channels of a layer: classes whose scores it has, or as many labels."""
    for head in network.heads:
        if len(head) == count and any(source.layer == layer for source in head.sources):
            return network.labels_of(head)
    return network.labels.of(count)
