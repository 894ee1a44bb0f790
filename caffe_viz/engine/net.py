"""pycaffe's `Net` on PyTorch."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from caffe_viz import netdef
from caffe_viz.engine import layers as _layers  # noqa: F401  (importing it fills the table)
from caffe_viz.engine import modes
from caffe_viz.engine.blobs import Array, Blob
from caffe_viz.engine.fillers import filled
from caffe_viz.engine.layer import Layer
from caffe_viz.engine.table import LAYERS, Call, Filler, constant
from caffe_viz.errors import InputError, near
from caffe_viz.filling import matches
from caffe_viz.geometry import measure, with_splits
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import LayerParameter, NetParameter

PHASES = ("TRAIN", "TEST")
AUTOMATIC = "(automatic)"
Path = str | os.PathLike[str]


class Net:
    """A net with the interface of `caffe.Net`: `Net(prototxt, phase)` or `Net(prototxt, weights, phase)`.

    `prototxt` and `weights` are paths or messages; `device` is torch's name of one, by default that of
    `set_mode_cpu` and `set_mode_gpu`.

    Raises:
        InputError: a file cannot be read, or the net would abort Caffe.
        NotImplementedError: the net has a layer type that this engine does not have.
    """

    engine = "torch"

    def __init__(
        self,
        prototxt: Path | NetParameter,
        *given: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: Path | NetParameter | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        phase, level, stages, weights = _arguments(given, phase, level, stages, weights)
        message = prototxt if isinstance(prototxt, NetParameter) else netdef.read_net(os.fspath(prototxt))
        self.device = modes.device(device)
        self._generator = modes.generator(self.device)
        net = netdef.for_phase(message, PHASES[phase], level, stages or ())
        _known(net)
        measure(net)
        self._message = with_splits(net)
        self._train = phase == 0
        self.name = net.name
        self.layers: list[Layer] = []
        self._blobs: list[Blob] = []
        self._blob_names: list[str] = []
        self._loss_weights: list[float] = []
        self._needs: list[bool] = []
        self._bottom_ids: list[list[int]] = []
        self._top_ids: list[list[int]] = []
        self._latest: dict[str, int] = {}
        self._owners: dict[str, Blob] = {}
        self._open: set[str] = set()
        for param in self._message.layer:
            self._add(param)
        self._mark_backward()
        if weights is not None:
            self.copy_from(weights)

    # What the net is made of.

    @property
    def blobs(self) -> OrderedDict[str, Blob]:
        """The blobs by name, in the order of the net."""
        return OrderedDict(zip(self._blob_names, self._blobs, strict=True))

    @property
    def params(self) -> OrderedDict[str, list[Blob]]:
        """The parameters of layers that have any."""
        return OrderedDict((x.name, x.blobs) for x in self.layers if x.blobs)

    @property
    def layer_dict(self) -> OrderedDict[str, Layer]:
        """The layers by name."""
        return OrderedDict((x.name, x) for x in self.layers)

    @property
    def _layer_names(self) -> list[str]:
        return [x.name for x in self.layers]

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """What each blob counts in the loss."""
        return OrderedDict(zip(self._blob_names, self._loss_weights, strict=True))

    @property
    def inputs(self) -> list[str]:
        """Tops of Input layers."""
        return [
            self._blob_names[i]
            for layer, ids in zip(self.layers, self._top_ids, strict=True)
            if layer.type == "Input"
            for i in ids
        ]

    @property
    def outputs(self) -> list[str]:
        """Blobs that no layer takes, by name."""
        return sorted(self._open)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The tops of each layer."""
        return self._names(self._top_ids)

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The bottoms of each layer."""
        return self._names(self._bottom_ids)

    def _top_ids_of(self, layer: int) -> list[int]:
        return self._top_ids[layer]

    # Running it.

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Array,
    ) -> dict[str, Array]:
        """Run from layer `start` to layer `end`, both included; returns outputs, or the tops of `end`.

        `inputs` are put into the blobs of all inputs; `blobs` names further blobs to return.

        Raises:
            InputError: no such layer or input, or an array of another shape.
        """
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        names = self.outputs if end is None else self.top_names[end]
        if inputs:
            self._put(inputs, self.inputs, "data", "Input blob arguments do not match net inputs.", "Input")
        self._forward(first, last)
        found = self.blobs
        return {name: found[name].data for name in dict.fromkeys((*names, *(blobs or ())))}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **tops: Array,
    ) -> dict[str, Array]:
        """Run back from layer `start` to layer `end`; returns diffs of inputs, or of the bottoms of `end`.

        `tops` are put into the diffs of all outputs; `diffs` names further blobs whose diffs to return.

        Raises:
            InputError: no such layer or output, or an array of another shape.
            NotImplementedError: a layer has no gradient.
        """
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        names = self.inputs if end is None else self.bottom_names[end]
        if tops:
            wanted = self.outputs if start is None else self.top_names[start]
            self._put(tops, wanted, "diff", "Top diff arguments do not match net outputs.", "Diff")
        self._backward(first, last)
        found = self.blobs
        return {name: found[name].diff for name in dict.fromkeys((*names, *(diffs or ())))}

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Array) -> dict[str, Array]:
        """`forward` in batches over any number of inputs; the last batch is filled up with zeros."""
        found: dict[str, list[Array]] = {}
        for batch in self._batch(inputs):
            for name, values in self.forward(blobs=blobs, **batch).items():
                found.setdefault(name, []).extend(values.copy())
        return _cut(found, inputs)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **arrays: Array
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """`forward` and `backward` in batches; arrays of inputs and, as diffs, of outputs."""
        data: dict[str, list[Array]] = {}
        back: dict[str, list[Array]] = {}
        inputs = {name: a for name, a in arrays.items() if name in self.inputs}
        tops = {name: a for name, a in arrays.items() if name in self.outputs}
        for some, seeds in zip_longest(self._batch(inputs), self._batch(tops), fillvalue={}):
            for name, values in self.forward(blobs=blobs, **some).items():
                data.setdefault(name, []).extend(values.copy())
            for name, values in self.backward(diffs=diffs, **seeds).items():
                back.setdefault(name, []).extend(values.copy())
        return _cut(data, inputs), _cut(back, inputs)

    def reshape(self) -> None:
        """Shape all blobs after the inputs."""
        for layer in self.layers:
            layer.reshape()

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """What the MemoryData layer hands out: (N, C, H, W) and (N) or (N, 1, 1, 1).

        Raises:
            InputError: there is no such layer, or the arrays do not fit it.
        """
        layer = next((x for x in self.layers if x.type == "MemoryData"), None)
        if layer is None:
            raise InputError(f"net {self.name!r} has no MemoryData layer: give the arrays to its inputs.")
        p = layer.param.memory_data_param
        data, labels = np.ascontiguousarray(data, np.float32), np.ascontiguousarray(labels, np.float32)
        if data.shape[1:] != (p.channels, p.height, p.width) or labels.size != len(data):
            raise InputError(
                f"layer {layer.name!r} takes arrays (N, {p.channels}, {p.height}, {p.width}) and (N), "
                f"not {data.shape} and {labels.shape}."
            )
        if len(data) % p.batch_size:
            raise InputError(f"{len(data)} images do not divide by the batch size {p.batch_size}.")
        layer.call.state["arrays"] = torch.from_numpy(data), torch.from_numpy(labels.reshape(-1))
        layer.call.state.pop("position", None)

    def _forward(self, first: int, last: int) -> float:
        for layer in self.layers[first : last + 1]:
            layer.forward()
        return 0.0

    def _backward(self, first: int, last: int) -> None:
        for layer in reversed(self.layers[last : first + 1]):
            layer.backward()

    # Weights.

    def copy_from(self, weights: Path | NetParameter) -> None:
        """Copy trained weights by the names of layers; those of other names keep what they have.

        Raises:
            InputError: the file cannot be read, or a shape differs.
        """
        if not isinstance(weights, NetParameter) and os.fspath(weights).endswith((".h5", ".hdf5")):
            self.load_hdf5(weights)
            return
        given = weights if isinstance(weights, NetParameter) else netdef.read_weights(os.fspath(weights))
        for blob, source in matches(self, given):
            blob.take(torch.from_numpy(netdef.blob_array(source).reshape(blob.shape)).to(self.device))

    def share_with(self, other: Net) -> None:
        """Use the parameters of the layers of `other` with the same names, in the same memory.

        Raises:
            InputError: a shape differs.
        """
        mine = self.layer_dict
        for layer in other.layers:
            for i, (blob, source) in enumerate(
                zip(mine[layer.name].blobs if layer.name in mine else (), layer.blobs, strict=False)
            ):
                if blob.shape != source.shape:
                    raise InputError(
                        f"layer {layer.name!r}, blob {i}: {source.shape} cannot be shared with {blob.shape}."
                    )
                blob.share(source, diff=False)

    def save(self, path: Path) -> None:
        """Write a caffemodel, whole or not at all."""
        out = NetParameter()
        out.CopyFrom(self._message)
        for message, layer in zip(out.layer, self.layers, strict=True):
            del message.blobs[:]
            message.blobs.extend(netdef.make_blob(blob.data) for blob in layer.blobs)
        netdef.write_weights(out, os.fspath(path))

    def save_hdf5(self, path: Path, write_diff: bool = False) -> None:
        """Write parameters as HDF5: group `data`, a group per layer, a dataset per blob."""
        from caffe_viz.engine.hdf5 import save

        save(self.params, os.fspath(path), write_diff)

    def load_hdf5(self, path: Path) -> None:
        """Read parameters that `save_hdf5`, here or in Caffe, has written.

        Raises:
            InputError: the file cannot be read, or a shape differs.
        """
        from caffe_viz.engine.hdf5 import load

        load(self.params, os.fspath(path))

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero; backward adds to them."""
        for layer in self.layers:
            layer.forget()
            for blob in layer.blobs if layer.type != "Split" else ():
                blob.take_gradient(torch.zeros_like(blob.tensor()))

    # Setting it up.

    def _add(self, param: LayerParameter) -> None:
        """Caffe's Net::Init for one layer."""
        if not param.HasField("phase"):
            param.phase = netdef.net_pb2.TRAIN if self._train else netdef.net_pb2.TEST
        bottoms = [self._latest[name] for name in param.bottom]
        self._open -= set(param.bottom)
        tops = [self._top(param, i, bottoms) for i in range(len(param.top))]
        rule, automatic = TABLE[param.type], []
        if rule.automatic:
            automatic = [self._new(AUTOMATIC) for _ in range(len(param.top), rule.tops[0])]
        tops += automatic
        call = Call(param, param.phase == netdef.net_pb2.TRAIN, len(tops), self.device, self._generator)
        layer = Layer(param, call, [self._blobs[i] for i in bottoms], [self._blobs[i] for i in tops])
        layer.down = [
            param.propagate_down[k] if param.propagate_down else self._needs[i]
            for k, i in enumerate(bottoms)
        ]
        self.layers.append(layer)
        self._bottom_ids.append(bottoms)
        self._top_ids.append(tops)
        self._fill(layer)
        layer.reshape()
        self._weigh(layer, tops, rule.automatic)
        layer.backs = any(self._needs[i] for i in bottoms) or any(layer.learns)
        if layer.backs:
            for i in tops:
                self._needs[i] = True

    def _top(self, param: LayerParameter, place: int, bottoms: list[int]) -> int:
        name = param.top[place]
        self._open.add(name)
        if place < len(bottoms) and param.bottom[place] == name:
            return bottoms[place]
        self._latest[name] = self._new(name)
        return self._latest[name]

    def _new(self, name: str) -> int:
        self._blobs.append(Blob((), self.device))
        self._blob_names.append(name)
        self._needs.append(False)
        self._loss_weights.append(0.0)
        return len(self._blobs) - 1

    def _fill(self, layer: Layer) -> None:
        """Make a layer's parameters, which another layer of the same parameter name may own."""
        shapes, specs = layer.measure().params, layer.param.param
        fillers = list(layer.kind.fillers(layer.param))
        fillers += [constant()] * (len(shapes) - len(fillers))
        for i, (shape, filler) in enumerate(zip(shapes, fillers, strict=True)):
            name = specs[i].name if i < len(specs) else ""
            blob = Blob(shape, self.device, self._maker(filler, shape))
            if name:
                owner = self._owners.setdefault(name, blob)
                if owner is not blob:
                    blob.share(owner)
            layer.blobs.append(blob)
        layer.learns = [
            (specs[i].lr_mult if i < len(specs) else 1.0) != 0 for i in range(len(shapes))
        ]

    def _maker(self, filler: Filler, shape: Sequence[int]) -> Any:
        """Fills at the first look: most fillings are replaced by trained weights before."""
        seed = modes.draw()

        def make() -> torch.Tensor:
            return filled(filler, tuple(shape), torch.Generator().manual_seed(seed))

        return make

    def _weigh(self, layer: Layer, tops: list[int], is_loss: bool) -> None:
        """Loss weights go into the diffs of the tops, where backward begins."""
        weights = list(layer.param.loss_weight) or ([1.0] if is_loss else [])
        for i, weight in zip(tops, weights, strict=False):
            if weight:
                self._loss_weights[i] = weight
                self._blobs[i].take_gradient(torch.full_like(self._blobs[i].tensor(), weight))

    def _mark_backward(self) -> None:
        """Which layers and bottoms go backward: those between something that learns and a loss."""
        under, skipped = set[str](), set[str]()
        for k in reversed(range(len(self.layers))):
            layer, tops = self.layers[k], self._top_ids[k]
            names = [self._blob_names[i] for i in tops]
            counts = any(self._loss_weights[i] or name in under for i, name in zip(tops, names, strict=True))
            if layer.backs and all(name in skipped for name in names):
                layer.backs, layer.down = False, [False] * len(layer.down)
            layer.backs = layer.backs and counts
            layer.down = [down and counts for down in layer.down]
            below = [self._blob_names[i] for i in self._bottom_ids[k]]
            under.update(below if counts else ())
            skipped.update(name for name, down in zip(below, layer.down, strict=True) if not down)
        if self._message.force_backward:
            for layer in self.layers:
                layer.backs = True
                layer.learns = [True] * len(layer.blobs)
                labels = {i % max(len(layer.down), 1) for i in layer.kind.labels}
                layer.down = [down or i not in labels for i, down in enumerate(layer.down)]

    # Helpers.

    def _names(self, ids: list[list[int]]) -> OrderedDict[str, list[str]]:
        return OrderedDict(
            (layer.name, [self._blob_names[i] for i in some])
            for layer, some in zip(self.layers, ids, strict=True)
        )

    def _index(self, name: str) -> int:
        names = self._layer_names
        if name not in names:
            raise InputError(f"net {self.name!r} has no layer {name!r}.{near(name, names)}")
        return names.index(name)

    def _put(self, arrays: Mapping[str, Array], wanted: Sequence[str], side: str, what: str, part: str) -> None:
        """Arrays into blobs, with pycaffe's words where they do not fit."""
        if set(arrays) != set(wanted):
            raise InputError(f"{what} They are {', '.join(wanted)}, given were {', '.join(arrays)}.")
        found = self.blobs
        for name, values in arrays.items():
            target = getattr(found[name], side)
            if target.ndim and np.shape(values)[:1] != target.shape[:1]:
                raise InputError(f"{part} is not batch sized: {name!r} takes {target.shape}, not {np.shape(values)}.")
            try:
                target[...] = values
            except ValueError:
                raise InputError(f"{name!r} takes {target.shape}, not {np.shape(values)}.") from None

    def _batch(self, arrays: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """Arrays cut into batches; the last is filled up with zeros."""
        if not arrays:
            return
        count = len(next(iter(arrays.values())))
        size = self._blobs[0].num if not self.inputs else self.blobs[self.inputs[0]].num
        for first in range(0, count, size):
            some = {name: np.asarray(a[first : first + size]) for name, a in arrays.items()}
            short = size - min(size, count - first)
            yield {n: np.concatenate([a, np.zeros((short, *a.shape[1:]), a.dtype)]) for n, a in some.items()}


def _cut(found: dict[str, list[Array]], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Rows as arrays, without those that only filled the last batch up."""
    count = len(next(iter(inputs.values()))) if inputs else None
    return {name: np.asarray(rows)[:count] for name, rows in found.items()}


def _arguments(
    given: tuple[Any, ...],
    phase: int | None,
    level: int,
    stages: Sequence[str] | None,
    weights: Path | NetParameter | None,
) -> tuple[int, int, Sequence[str] | None, Path | NetParameter | None]:
    """pycaffe's two orders: (phase, level, stages, weights) and (weights, phase)."""
    if given and not isinstance(given[0], int):
        weights, *rest = given
        phase = rest[0] if rest else phase
    else:
        names = [phase, level, stages, weights]
        names[: len(given)] = given
        phase, level, stages, weights = names  # type: ignore[assignment]
    if phase not in (0, 1):
        raise InputError("give the phase: caffe.Net(prototxt, caffe.TEST).")
    return phase, level, stages, weights


def _known(net: NetParameter) -> None:
    """Raises NotImplementedError on a type that Caffe has and this engine has not."""
    for layer in net.layer:
        if layer.type in TABLE and layer.type not in LAYERS:
            raise NotImplementedError(
                f"layer {layer.name!r}: the embedded engine has no {layer.type}; register one with "
                f"caffe_viz.engine.layer, or run the net with real Caffe."
            )
