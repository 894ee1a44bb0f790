"""One layer of a net: its blobs, and its forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caffe_viz.engine.blobs import Blob
from caffe_viz.engine.table import LAYERS, Call, Kind
from caffe_viz.engine.user_code import told
from caffe_viz.errors import InputError, RunError
from caffe_viz.geometry.stored import WITH_FILES
from caffe_viz.geometry.table import Out, text
from caffe_viz.netdef import LayerParameter

# Types whose bottom takes the top's diff over when they go backward; others share it from the start.
LATE = ("Flatten", "Permute")


@dataclass
class Tape:
    """What a forward pass leaves for the backward: autograd's leaves, and what was computed from them."""

    bottoms: list[Tensor]
    params: list[Tensor]
    tops: list[Tensor]


class Layer:
    """A layer between its blobs. `down` and `learns` say which bottoms and parameters get a gradient."""

    def __init__(self, param: LayerParameter, call: Call, bottoms: list[Blob], tops: list[Blob]) -> None:
        self.param, self.call, self.bottoms, self.tops = param, call, bottoms, tops
        self.name, self.type = param.name, param.type
        self.kind = LAYERS[param.type]
        self.blobs: list[Blob] = []
        self.given: list[Blob] = []  # parameters that the layer itself makes and fills
        self.backs, self.down, self.learns = False, [False] * len(bottoms), [False]
        self.in_place = any(top in bottoms for top in tops)
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        self._alias = False
        self._tape: Tape | None = None
        self._pending: tuple[Tape, list[Tensor | None]] | None = None

    def measure(self) -> Out:
        """Compute the shapes for the current bottoms.

        Raises:
            InputError: The layer cannot take them; names the layer and the shapes.
        """
        shapes = tuple(b.shape for b in self.bottoms)
        try:
            return WITH_FILES[self.type].function(self.param, shapes)
        except InputError as error:
            given = f" on {', '.join(map(text, shapes))}" if shapes else ""
            raise InputError(f"layer {self.name!r} ({self.type}){given}: {error}") from None

    def reshape(self) -> None:
        """Reshape the tops to match the bottoms; tops that share memory in Caffe share it here."""
        shapes = tuple(b.shape for b in self.bottoms)
        if shapes == self._shapes:
            return
        out = self.measure()
        for i, (blob, shape) in enumerate(zip(self.blobs, out.params, strict=True)):
            if blob.count != torch.Size(shape).numel():
                raise InputError(
                    f"layer {self.name!r} ({self.type}): parameter {i} is {text(blob.shape)}, but the input "
                    f"{', '.join(map(text, shapes))} needs {text(shape)}."
                )
        self._shapes, self._tape = shapes, None
        self._alias = out.aliases or self.type == "Parameter"
        for top, shape in zip(self.tops, out.tops, strict=True):
            if self._alias:
                top.share((self.bottoms or self.blobs)[0], diff=self.type not in ("Split", *LATE))
            if self.bottoms or top.shape != shape:
                top.reshape(*shape)

    def forward(self) -> None:
        """Compute the tops."""
        if self.bottoms:
            self.reshape()
        if self.type == "Parameter":
            self.tops[0].share(self.blobs[0])  # which may have another net's memory since
        if self._alias:
            return
        self.drop()
        for top in self.tops if self.bottoms and not self.in_place else ():
            top.memories[0].vacate()
        tape = self._record() if self._differentiable() else None
        if tape is None:
            with torch.no_grad():
                tops = self._compute([b.tensor() for b in self.bottoms], [b.tensor() for b in self.blobs])
        else:
            tops = [top.detach() for top in tape.tops]
        self._tape = tape
        for top, values in zip(self.tops, tops, strict=False):
            if values is not None:
                top.take(self._own(values))

    def drop(self) -> None:
        """Forget the last forward pass, before the next."""
        self._tape = None

    def backward(self) -> None:
        """Compute the diffs of the bottoms from those of the tops; those of parameters wait to be read."""
        if self.backs and self._alias and self.type in LATE:
            self.bottoms[0].share_diff(self.tops[0])
        if not self.backs or (self._alias and self.type != "Split"):
            return
        if self.type == "Split":
            self._join()
        elif any(self.down) and not self.kind.gradient:
            raise NotImplementedError(
                f"layer {self.name!r} ({self.type}) has no gradient, as in Caffe: cut the net before it."
            )
        elif any(self.down[i] for i in self.labels()):
            names = ", ".join(repr(self.param.bottom[i]) for i in self.labels() if self.down[i])
            raise NotImplementedError(
                f"layer {self.name!r} ({self.type}) has no gradient for its bottom {names}, as in Caffe: "
                f"give the layer a propagate_down for each bottom, false for this one."
            )
        elif self._differentiable():
            self._pull(self._tape or self._record())

    def labels(self) -> list[int]:
        """The indices of bottoms that never get a gradient."""
        count = len(self.bottoms)
        places = (i + count if i < 0 else i for i in self.kind.labels)
        return [i for i in places if i < count]

    def settle(self) -> None:
        """Add the gradients of the parameters to their diffs."""
        if self._pending is None:
            return
        tape, seeds = self._pending
        self.forget()
        places = [i for i, learns in enumerate(self.learns) if learns]
        taken = {seed.untyped_storage().data_ptr() for seed in seeds if seed is not None}
        for i, gradient in zip(places, self._derive(tape.tops, seeds, tape.params), strict=True):
            if gradient is not None:
                memory, values = self.blobs[i].memories[1], gradient.contiguous()
                # Where a layer only adds a parameter, autograd hands the top's diff itself on.
                values = values.clone() if values.untyped_storage().data_ptr() in taken else values
                (memory.adopt if i in self.call.replaces else memory.add)(values)

    def forget(self) -> None:
        """Drop gradients of parameters that nobody has read."""
        self._pending = None
        for blob in self.blobs:
            blob.memories[1].owing.pop(self, None)

    def _differentiable(self) -> bool:
        return self.backs and self.kind.gradient and (any(self.down) or any(self.learns))

    def _compute(self, bottoms: list[Tensor], params: list[Tensor]) -> list[Any]:
        tops = checked_tops(self.kind, self.call, bottoms, params)
        for i in self.call.changes if self.kind.folder is None else ():
            self.blobs[i].memories[0].changed()
        return tops

    def _record(self) -> Tape:
        """A forward that autograd follows."""
        # An in-place layer overwrites its bottom where somebody holds the array.
        held = self.in_place and any(b.memories[0].held for b in self.bottoms)
        bottoms = [b.tensor().clone() if held else b.tensor().detach() for b in self.bottoms]
        params = [b.tensor().detach() for b in self.blobs]
        for tensor, wanted in zip([*bottoms, *params], [*self.down, *self.learns], strict=True):
            tensor.requires_grad_(wanted)
        with torch.enable_grad():
            tops = self._compute(bottoms, params)
        return Tape([b for b in bottoms if b.requires_grad], [p for p in params if p.requires_grad], tops)

    def _own(self, values: Tensor) -> Tensor:
        """Return `values` in memory that belongs to no other blob."""
        values = values.contiguous()
        if self.in_place:
            return values
        place = values.untyped_storage().data_ptr()
        read = (b.memories[0].tensor() for b in (*self.bottoms, *self.blobs))
        others = (tensor.untyped_storage().data_ptr() for tensor in read)
        return values.clone() if place in others else values

    def _join(self) -> None:
        if self.down[0]:
            first, *others = [top.gradient() for top in self.tops]
            total = first.clone() if not others else first + others[0]
            for other in others[1:]:
                total += other
            self.bottoms[0].take_gradient(total)

    def _pull(self, tape: Tape) -> None:
        seeds = [top.gradient().view(t.shape) for top, t in zip(self.tops, tape.tops, strict=False)]
        if tape.params:
            self._put_off(tape, seeds)
        if not any(self.down):
            return
        wanted = [b for b, down in zip(self.bottoms, self.down, strict=True) if down]
        for blob in wanted:
            blob.memories[1].vacate()
        found = self._derive(tape.tops, seeds, tape.bottoms)
        taken = {seed.untyped_storage().data_ptr() for seed in seeds}
        for blob, gradient in zip(wanted, found, strict=True):
            values = torch.zeros_like(blob.tensor()) if gradient is None else gradient.contiguous()
            # Autograd hands the top's diff itself on, to several bottoms too, where a layer only adds.
            place = values.untyped_storage().data_ptr()
            # In place that may stay, unless gradients of parameters still need it.
            stays = place not in taken or (self.in_place and self._pending is None)
            blob.take_gradient(values if stays else values.clone())
            taken.add(place)

    def _derive(
        self, tops: Sequence[Tensor], seeds: Sequence[Tensor | None], leaves: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        if self.kind.folder is None:
            return _gradients(tops, seeds, leaves)
        with told(f"layer {self.name!r} ({self.type}), backward:", [self.kind.folder]):
            return _gradients(tops, seeds, leaves)

    def _put_off(self, tape: Tape, seeds: Sequence[Tensor | None]) -> None:
        """Wait with the gradients of parameters, unless arrays are held that could change unseen."""
        self.settle()
        self._pending = tape, list(seeds)
        results = [b.memories[1] for b, learns in zip(self.blobs, self.learns, strict=True) if learns]
        read = [blob.memories[0] for blob in (*self.bottoms, *self.blobs)]
        read += [blob.memories[1] for blob in self.tops]
        if any(memory.held for memory in (*read, *results)):
            for memory in results:
                memory.settle()  # other layers', if they share a parameter
            self.settle()
            return
        for memory in results:
            memory.owing[self] = None
        for memory in read:
            memory.kept = True


def checked_tops(kind: Kind, call: Call, bottoms: list[Tensor], params: list[Tensor]) -> list[Tensor | None]:
    """Call a layer's function, and if it is a user's, check what it returns.

    Raises:
        RunError: A user's function raised something, or did not return a tensor for each top.
    """
    if kind.folder is None:
        tops = kind.function(call, bottoms, params)
        return [tops] if isinstance(tops, Tensor) else list(tops)
    label = f"layer {call.param.name!r} ({call.param.type}):"
    with told(label, [kind.folder]):
        found = kind.function(call, bottoms, params)
        tops = [found] if isinstance(found, Tensor) else list(found)
    if len(tops) != call.tops or not all(x is None or isinstance(x, Tensor) for x in tops):
        kinds = ", ".join(type(x).__name__ for x in tops)
        raise RunError(
            f"{label} its function returned [{kinds}] for {call.tops} tops: return a tensor for each, or "
            f"None."
        )
    dtype = bottoms[0].dtype if bottoms else torch.float32
    return [x if x is None else x.to(call.device, dtype) for x in tops]


def _gradients(
    tops: Sequence[Tensor], seeds: Sequence[Tensor | None], leaves: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """Gradients of the sum of tops times seeds; the tape is kept for another backward."""
    pairs = [(t, s) for t, s in zip(tops, seeds, strict=True) if t.requires_grad]
    if not pairs or not leaves:
        return [None] * len(leaves)
    outputs, grads = zip(*pairs, strict=True)
    return torch.autograd.grad(outputs, leaves, grads, retain_graph=True, allow_unused=True)
