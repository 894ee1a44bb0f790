"""Create and connect the layers and blobs of a net: Caffe's Net::Init."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from caffe_viz.engine import layers as _layers  # noqa: F401  (importing it fills the table)
from caffe_viz.engine import modes, python_layers
from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.fillers import filled
from caffe_viz.engine.layer import Layer
from caffe_viz.engine.table import LAYERS, LEFT_OUT, Call, Filler, constant
from caffe_viz.errors import InputError
from caffe_viz.geometry import measure, with_splits
from caffe_viz.geometry.opaque import why_opaque
from caffe_viz.geometry.stored import WITH_FILES
from caffe_viz.geometry.table import TABLE
from caffe_viz.netdef import LayerParameter, NetParameter, net_pb2

AUTOMATIC = "(automatic)"  # Caffe's name of a loss layer's top that the file does not name


@dataclass
class Wiring:
    """The parts of a net: `bottoms` and `tops` are, for each layer, indices into `blobs`."""

    message: NetParameter  # with hidden Split layers
    layers: list[Layer] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # of the blobs
    bottoms: list[list[int]] = field(default_factory=list)
    tops: list[list[int]] = field(default_factory=list)
    loss_weights: list[float] = field(default_factory=list)  # of the blobs
    outputs: list[str] = field(default_factory=list)  # blobs that no layer takes, in Caffe's order


def wire(net: NetParameter, train: bool, device: torch.device) -> Wiring:
    """Set up `net` (filtered by phase), with parameters from its fillers.

    Raises:
        InputError: The net would abort Caffe.
        NotImplementedError: It has a layer type that this engine does not have.
    """
    _known(net)
    geometry = measure(net, files=True)
    wiring = Wiring(with_splits(net))
    walk = _Walk(wiring, train, device, modes.generator(device))
    for param, measured in zip(wiring.message.layer, geometry.layers, strict=True):
        walk.add(param, measured.renews)
    wiring.outputs = sorted(walk.open)
    walk.mark()
    return wiring


@dataclass
class _Walk:
    """The state while layers are added."""

    made: Wiring
    train: bool
    device: torch.device
    generator: torch.Generator
    latest: dict[str, int] = field(default_factory=dict)  # blob name -> its place
    open: set[str] = field(default_factory=set)
    needs: list[bool] = field(default_factory=list)  # whether a blob gets a gradient
    owners: dict[str, Blob] = field(default_factory=dict)  # of parameters that have names

    def add(self, param: LayerParameter, renews: frozenset[str]) -> None:
        """Add a layer, after those that make its bottoms; the names `renews` go to new blobs."""
        if not param.HasField("phase"):
            param.phase = net_pb2.TRAIN if self.train else net_pb2.TEST
        bottoms = [self.latest[name] for name in param.bottom]
        self.open -= set(param.bottom)
        tops = [self._top(param, i, bottoms, renews) for i in range(len(param.top))]
        rule = WITH_FILES[param.type]
        if rule.automatic:
            tops += [self._new(AUTOMATIC) for _ in range(len(param.top), rule.tops[0])]
        call = Call(param, param.phase == net_pb2.TRAIN, len(tops), self.device, self.generator)
        blobs = self.made.blobs
        layer = python_layers.made(param, call, [blobs[i] for i in bottoms], [blobs[i] for i in tops])
        asked = param.propagate_down or [self.needs[i] for i in bottoms]
        layer.down = list(asked)
        self.made.layers.append(layer)
        self.made.bottoms.append(bottoms)
        self.made.tops.append(tops)
        self._fill(layer)
        layer.reshape()
        if layer.kind.starts:
            layer.forward()
        self._weigh(layer, tops, rule.automatic)
        layer.backs = any(self.needs[i] for i in bottoms) or any(layer.learns)
        if layer.backs:
            for i in tops:
                self.needs[i] = True

    def mark(self) -> None:
        """Mark which layers and bottoms go backward: those between something that learns and a loss."""
        made, under, skipped = self.made, set[str](), set[str]()
        for layer, bottoms, tops in reversed(list(zip(made.layers, made.bottoms, made.tops, strict=True))):
            names = [made.names[i] for i in tops]
            counts = any(made.loss_weights[i] or made.names[i] in under for i in tops)
            if layer.backs and all(name in skipped for name in names):
                layer.backs, layer.down = False, [False] * len(layer.down)
            layer.backs = layer.backs and counts
            layer.down = [down and counts for down in layer.down]
            below = [made.names[i] for i in bottoms]
            under.update(below if counts else ())
            skipped.update(name for name, down in zip(below, layer.down, strict=True) if not down)
        for layer in made.layers:
            if made.message.force_backward or (layer.backs and layer.kind.always):
                _force(layer)

    def _top(self, param: LayerParameter, place: int, bottoms: list[int], renews: frozenset[str]) -> int:
        name = param.top[place]
        self.open.add(name)
        if place < len(bottoms) and param.bottom[place] == name and name not in renews:
            return bottoms[place]
        self.latest[name] = self._new(name)
        return self.latest[name]

    def _new(self, name: str) -> int:
        self.made.blobs.append(Blob((), self.device))
        self.made.names.append(name)
        self.made.loss_weights.append(0.0)
        self.needs.append(False)
        return len(self.made.blobs) - 1

    def _fill(self, layer: Layer) -> None:
        """Make a layer's parameters, which another layer may own under the same name."""
        shapes, specs = layer.measure().params, layer.param.param
        fillers = list(layer.kind.fillers(layer.param))
        fillers += [constant()] * (len(shapes) - len(fillers))
        for i, (shape, filler) in enumerate(zip(shapes, fillers, strict=True)):
            blob = layer.given[i] if layer.given else Blob(shape, self.device, _maker(filler, shape))
            name = specs[i].name if i < len(specs) else ""
            owner = self.owners.setdefault(name, blob) if name else blob
            if owner is not blob:
                blob.share(owner)
            layer.blobs.append(blob)
        layer.learns = [i >= len(specs) or specs[i].lr_mult != 0 for i in range(len(shapes))]

    def _weigh(self, layer: Layer, tops: list[int], is_loss: bool) -> None:
        """Write loss weights into the diffs of the tops, where backward begins."""
        weights = list(layer.param.loss_weight) or ([1.0] if is_loss else [])
        for i, weight in zip(tops, weights, strict=False):
            if weight:
                blob = self.made.blobs[i]
                self.made.loss_weights[i] = weight
                blob.take_gradient(torch.full(blob.shape, weight, device=self.device))


def _force(layer: Layer) -> None:
    """Every gradient that Caffe's AllowForceBackward lets through, for `force_backward`."""
    labels = layer.labels()
    layer.backs = True
    layer.learns = [True] * len(layer.blobs)
    layer.down = [down or i not in labels for i, down in enumerate(layer.down)]


def _maker(filler: Filler, shape: Sequence[int]) -> Callable[[], torch.Tensor]:
    """Fill a parameter when it is first read: most are replaced by trained weights before."""
    seed = modes.draw()
    return lambda: filled(filler, tuple(shape), torch.Generator().manual_seed(seed))


def _known(net: NetParameter) -> None:
    """Raise InputError on an unknown type, NotImplementedError on one that this engine lacks."""
    for layer in net.layer:
        if layer.type in LEFT_OUT:
            raise NotImplementedError(
                f"layer {layer.name!r}: the embedded engine has no {layer.type}: {LEFT_OUT[layer.type]}."
            )
        if why := why_opaque(layer, WITH_FILES):
            raise InputError(f"{why}; caffe_viz.load_net leaves such layers out.")
        if layer.type in TABLE and layer.type not in LAYERS:
            raise NotImplementedError(
                f"layer {layer.name!r}: the embedded engine has no {layer.type}; register one with "
                f"caffe_viz.engine.layer, or run the net with real Caffe."
            )
