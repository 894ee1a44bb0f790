"""`caffe.net_spec`: define nets in Python.

    n = NetSpec()
    n.data = layers.Input(shape=dict(dim=[1, 3, 32, 32]))
    n.conv1 = layers.Convolution(n.data, num_output=16, kernel_size=3)
    n.relu1 = layers.ReLU(n.conv1, in_place=True)
    net = Net(n.to_proto(), TEST)

The parameters of a layer are the fields of the messages of `netdef`; they are checked as soon as you write
them.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from caffe_viz.errors import InputError, near
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import LayerParameter, NetParameter, net_pb2

FIELDS: Mapping[str, Any] = LayerParameter.DESCRIPTOR.fields_by_name
# Layer type -> the field of its parameters: "ArgMax" -> "argmax_param", for it is an ArgMaxParameter.
OWN = {
    field.message_type.name.removesuffix("Parameter"): name
    for name, field in FIELDS.items()
    if name.endswith("_param")
}

KINDS = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
}


class SpecError(InputError, AttributeError):
    """No such parameter, constant or layer; pycaffe raises AttributeError."""


class SpecTypeError(InputError, TypeError):
    """A value or bottom of another kind; pycaffe raises TypeError."""


class Top:
    """Output `n` of a layer `fn`."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn, self.n = fn, n

    def to_proto(self) -> NetParameter:
        """The net that computes this top; its names are made up, as in `to_proto`."""
        return to_proto(self)


class Function:
    """A layer: its type, the tops that it takes, its parameters, and its tops.

    Raises:
        SpecError: no such parameter.
        SpecTypeError: a value that does not fit a parameter, or an input that is no Top.
    """

    def __init__(self, type_name: str, inputs: tuple[Top, ...], params: dict[str, Any]) -> None:
        for i, given in enumerate(inputs):
            if not isinstance(given, Top):
                raise SpecTypeError(f"{type_name} input {i} is not a Top (type is {type(given)})")
        self.type_name, self.inputs, self.params = type_name, inputs, params
        self.ntop: int = params.pop("ntop", 1)
        self.in_place: bool = params.pop("in_place", False)
        if self.in_place and len(inputs) != self.ntop:
            raise SpecTypeError(f"{type_name}: in_place takes one bottom for each of {self.ntop} tops.")
        self.tops = tuple(Top(self, n) for n in range(self.ntop))
        self.message()  # says now what is wrong

    def message(self) -> LayerParameter:
        """The layer without its name, bottoms and tops."""
        layer = LayerParameter(type=self.type_name)
        for name, value in self.params.items():
            owner, path = _owner(layer, name), f"{self.type_name}, {name}"
            _assign(owner, name, value, path)
        return layer


Named = Mapping[Any, str]  # of tops, and of layers without tops


class NetSpec:
    """A net whose tops are its attributes, or items: `n.conv1 = ..`, `n["conv1/relu"] = ..`."""

    tops: OrderedDict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", OrderedDict())

    def __setattr__(self, name: str, value: Top | Function) -> None:
        if not isinstance(value, Top | Function):
            hint = f" It is a tuple of {len(value)}: give a name to each." if isinstance(value, tuple) else ""
            raise SpecTypeError(f"{name!r} takes what a layer function returns, not {type(value)}.{hint}")
        self.tops[name] = value

    def __getattr__(self, name: str) -> Top | Function:
        if name.startswith("__"):  # what copy and pickle ask for
            raise AttributeError(name)
        if name not in self.tops:
            raise SpecError(f"the net has no {name!r} yet.{near(name, self.tops)}")
        return self.tops[name]

    __setitem__, __getitem__ = __setattr__, __getattr__

    def to_proto(self) -> NetParameter:
        """The net of all layers that its tops need; those without a name get one, such as Pooling1."""
        return _net(self.tops.values(), {top: name for name, top in self.tops.items()})


def to_proto(*tops: Top | Function) -> NetParameter:
    """The net that computes `tops`; names are made of a type and a number."""
    return _net(tops, {})


def _net(tops: Iterable[Top | Function], given: Named) -> NetParameter:
    names, made = dict(given), OrderedDict[Function, LayerParameter]()
    counts = Counter[str]()

    def named(thing: Any, type_name: str) -> str:
        if thing not in names:
            counts[type_name] += 1
            names[thing] = f"{type_name}{counts[type_name]}"
        return names[thing]

    for fn in _needed(tops):
        bottoms = [made[top.fn].top[top.n] for top in fn.inputs]
        layer = LayerParameter(type=fn.type_name, bottom=bottoms)
        layer.top.extend(bottoms if fn.in_place else [named(top, fn.type_name) for top in fn.tops])
        layer.name = named(fn.tops[0] if fn.tops else fn, fn.type_name)
        layer.MergeFrom(fn.message())  # a name that was given goes before
        made[fn] = layer
    return NetParameter(layer=made.values())


def _needed(tops: Iterable[Top | Function]) -> Iterator[Function]:
    """The layers of `tops` and those before them, each after its inputs; deep nets do not fit a recursion."""
    done = set[Function]()
    for top in tops:
        waiting = [top.fn if isinstance(top, Top) else top]
        while waiting:
            missing = [t.fn for t in waiting[-1].inputs if t.fn not in done]
            waiting.extend(reversed(missing))
            if not missing and (fn := waiting.pop()) not in done:
                done.add(fn)
                yield fn


def _owner(layer: LayerParameter, name: str) -> Any:
    """The message, of a layer, that has a field `name`; pycaffe's order."""
    own = OWN.get(layer.type)
    inner = getattr(layer, own) if own else None
    if inner is not None and name in inner.DESCRIPTOR.fields_by_name:
        return inner
    if name in FIELDS:
        return layer
    if inner is not None:
        known = [*inner.DESCRIPTOR.fields_by_name, *(n for n in FIELDS if not n.endswith("_param"))]
        raise SpecError(f"{layer.type} has no parameter {name!r}.{near(name, known)}")
    if layer.type not in TABLE:
        raise SpecError(f"{name!r}: there is no layer type {layer.type!r}.{near(layer.type, TABLE)}")
    homes = [n for n in OWN.values() if name in FIELDS[n].message_type.fields_by_name]
    hint = f" Write NAME=dict({name}=..), of {', '.join(homes)}." if homes else near(name, FIELDS)
    raise SpecError(f"{layer.type} has no parameters of its own, so no {name!r}.{hint}")


def _assign(message: Any, name: str, value: Any, path: str) -> None:
    """Put a value into a field: a dict into a message, one value into a list, a label into an enum."""
    fields = message.DESCRIPTOR.fields_by_name
    if name not in fields:
        raise SpecError(f"{path}: there is no {name!r}.{near(name, fields)}")
    several = list(value) if isinstance(value, list | tuple | range | np.ndarray) else None
    target = getattr(message, name)
    if hasattr(target, "extend"):
        for one in [value] if several is None else several:
            if fields[name].message_type:
                _fill(target.add(), one, path)
            else:
                _set(target.append, fields[name], one, path)
    elif several is not None:
        raise SpecTypeError(f"{path} takes one value, not a list of {len(several)}.")
    elif fields[name].message_type:
        _fill(target, value, path)
    else:
        _set(lambda one: setattr(message, name, one), fields[name], value, path)


def _fill(message: Message, value: Any, path: str) -> None:
    if isinstance(value, Mapping):
        for name, one in value.items():
            _assign(message, name, one, f"{path}.{name}")
    elif isinstance(value, Message) and value.DESCRIPTOR is message.DESCRIPTOR:
        message.CopyFrom(value)
    else:
        known = ", ".join(message.DESCRIPTOR.fields_by_name)
        raise SpecTypeError(f"{path} takes a dict, not {value!r}, of: {known}.")


def _set(put: Callable[[Any], None], field: Any, value: Any, path: str) -> None:
    if isinstance(value, np.generic):  # of which protobuf 4 does not take NumPy's True and False
        value = value.item()
    if field.enum_type and isinstance(value, str):
        labels = field.enum_type.values_by_name
        if value not in labels:
            raise SpecTypeError(f"{path} cannot be {value!r}.{near(value, labels)}")
        value = labels[value].number
    try:
        put(value)
    except (TypeError, ValueError):
        kind = KINDS.get(field.cpp_type, "a whole number")
        raise SpecTypeError(f"{path} cannot be {value!r}: {kind} is expected.") from None


class Layers:
    """`layers.TYPE(*tops, **parameters)`: the layer's top, a tuple of `ntop` tops, or, for 0, the layer."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def make(*inputs: Top, **params: Any) -> Top | tuple[Top, ...] | Function:
            fn = Function(name, inputs, params)
            return fn if fn.ntop == 0 else fn.tops[0] if fn.ntop == 1 else fn.tops

        return make


class Parameters:
    """`params.Pooling.MAX`: the constants of a type's parameters."""

    def __getattr__(self, name: str) -> Any:
        message = getattr(net_pb2, f"{name}Parameter", None)
        if message is None:
            raise SpecError(f"there are no parameters of {name!r}.{near(name, OWN)}")
        return _Constants(name, message.DESCRIPTOR)


class _Constants:
    def __init__(self, name: str, descriptor: Any) -> None:
        self._name, self._values = name, descriptor.enum_values_by_name

    def __getattr__(self, name: str) -> int:
        if name not in self._values:
            raise SpecError(f"{self._name} has no constant {name!r}.{near(name, self._values)}")
        return int(self._values[name].number)


layers = Layers()
params = Parameters()
