"""A network to ask about: its net, its probes, and the blobs of the latest images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from caffe_viz.attribution.targets import asked_blobs
from caffe_viz.comparing.filters import StoredFilters
from caffe_viz.errors import InputError
from caffe_viz.figures import draw_input
from caffe_viz.geometry import LayerGeometry
from caffe_viz.images import Labels, stretched
from caffe_viz.network import Array, Network
from caffe_viz.probe import RememberingProbe
from caffe_viz.server.handlers.uploads import Uploads
from caffe_viz.server.lru import LRUCache
from caffe_viz.units import labels_at
from caffe_viz.views.files import stored_layers
from caffe_viz.views.streams import run_image

BLOBS = 2**28  # bytes of the blobs of the last images
PROBES = 4  # probes kept for nets with several answers; each has its own weights

Blobs = Mapping[str, Array]


class LoadedNetwork:
    """Everything is loaded on first use, which raises InputError or RunError if something is wrong."""

    def __init__(self, network: Network, uploads: Uploads) -> None:
        self.given, self._uploads = network, uploads
        self._blobs: LRUCache[Blobs] = LRUCache(BLOBS, lambda blobs: sum(a.nbytes for a in blobs.values()))
        self._nets: LRUCache[Any] = LRUCache(PROBES, lambda _: 1)
        self._probes: LRUCache[RememberingProbe] = LRUCache(PROBES, lambda _: 1)
        self._parts: dict[str, Network] = {}
        self._made_of: dict[str, frozenset[str]] = {}

    @cached_property
    def network(self) -> Network:
        """The network, with the input that takes the image."""
        return _taking(self.given)

    @cached_property
    def stored(self) -> Mapping[str, StoredFilters]:
        """Layer -> its weights."""
        return stored_layers(self.given)

    def layer(self, name: str) -> LayerGeometry:
        """The layer of that name, or else the one that makes the blob of that name."""
        layers = self.network.geometry.layers
        if name not in {one.name for one in layers}:
            makers = [one for one in layers if name in one.tops]
            return makers[0] if makers else self.network.geometry.layer(name)
        return self.network.geometry.layer(name)

    def blob(self, layer: str) -> str:
        """The output of a layer: its first top, after in-place layers; otherwise the blob of that name."""
        tops = self.layer(layer).tops
        if not tops:
            raise InputError(f"layer {layer!r} makes no blob.")
        return layer if self.layer(layer).name != layer else tops[0]

    def blobs(self, image: str, blob: str) -> Blobs:
        """The values of `blob` for an image, (C, ..) or (K,); blobs computed along the way are kept."""
        network = self.leading(blob)
        key = "" if network is self.network else blob

        def run() -> Blobs:
            pixels = self.pixels(image, network)
            net = self._nets.get(key, network.load)
            return run_image(network, net, pixels, network.geometry.named_blobs)

        return self._blobs.get((key, image), run)

    def warm(self) -> None:
        """Load the net and the probe of its first answer, and run both: the first pass is the slowest."""
        network = self.network
        if not network.has_image:
            return
        zeros = np.zeros(network.shape, np.float32)
        run_image(network, self._nets.get("", network.load), zeros, network.geometry.named_blobs)
        probe = self.probe("")
        for layer in probe.layers():
            if probe.image in layer.bottom and layer.top:
                ones = np.ones((1, *probe.shape(layer.top[0])), np.float32)
                probe.pull(zeros[None], layer.top[0], ones, [probe.image])
                break

    def maps(self, image: str, layer: str) -> Array:
        """The output of a layer for an image: (C, ..) or (K,)."""
        blob = self.blob(layer)
        return self.blobs(image, blob)[blob]

    def map(self, image: str, layer: str, unit: int) -> Array:
        """One channel of a layer's output: (..), or a single number."""
        maps = self.maps(image, layer)
        need_unit(layer, unit, len(maps))
        return np.asarray(maps[unit])

    def labels(self, layer: str, count: int) -> Labels:
        """The class names of a layer's channels, where its channels are classes."""
        blob = self.blob(layer)
        for head in self.network.heads:
            if head.answer == blob:
                return self.network.labels_of(head).of(count)
        return labels_at(self.network, layer, count)

    def probe(self, target: str, layer: str = "") -> RememberingProbe:
        """A probe for gradients of a target (by default the likeliest class) through `layer`."""
        network = self.given
        blobs = asked_blobs(network, [target] if target else None, layer or None)
        if self.network.has_image:  # one probe for all that is before an answer
            answers = [head.answer for head in network.heads]
            before = [answer for answer in answers if blobs and self._before(answer).issuperset(blobs)]
            blobs = tuple(before[:1]) or blobs
        return self._probes.get(blobs, lambda: RememberingProbe(_taking(network.part(*blobs))))

    def pixels(self, image: str, network: Network) -> Array:
        """The preprocessed image, (C, H, W) or other axes, as the input of this network expects it."""
        return network.pixels(self._uploads.array(image), name=self._uploads.name(image))

    def draw(self, pixels: Array, network: Network) -> Array:
        """The input of the net as a picture, (h, w, 3) RGB in 0..1: tiles or bars if it is not an image."""
        colours = network.colours
        return draw_input(pixels, colours, stretched if colours is None else _clipped)

    def leading(self, blob: str) -> Network:
        """The network; where several inputs could take the image, only the part that leads to `blob`."""
        if self.network.has_image:
            return self.network
        if blob not in self._parts:
            self._parts[blob] = _taking(self.given.part(blob))
        return self._parts[blob]

    def _before(self, answer: str) -> frozenset[str]:
        """All blobs that `answer` consists of."""
        if answer not in self._made_of:
            message = self.given.part(answer).message
            self._made_of[answer] = frozenset(top for layer in message.layer for top in layer.top)
        return self._made_of[answer]


def need_unit(layer: str, unit: int, count: int) -> None:
    """Raise InputError if a layer has no channel of that number."""
    if unit >= count:
        raise InputError(f"layer {layer!r} has units 0 to {count - 1}, not {unit}.")


def _taking(network: Network) -> Network:
    """The network, with the input that takes an image given without a name."""
    network.need_weights()
    return network.taking([np.zeros(1, np.float32)])[0]


def _clipped(values: Array) -> Array:
    return np.clip(values, 0, 1)
