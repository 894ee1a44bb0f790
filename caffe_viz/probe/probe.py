"""A loaded net to query: every blob's value and gradient, before and after in-place layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from caffe_viz.backend import chosen, engine_name, load_net, net_function
from caffe_viz.checking import why_not_caffe
from caffe_viz.errors import CaffeVizWarning, InputError, RunError, missing, near
from caffe_viz.netdef import LayerParameter, left_out
from caffe_viz.network import Network
from caffe_viz.probe.caffe_passes import CaffePasses
from caffe_viz.probe.states import relu_state
from caffe_viz.probe.walk import RECTIFIERS, RULES, Array, find_path
from caffe_viz.surgery import BatchLayout, out_of_place_net, parameter_as_input

MEMORY = 1 << 29  # bytes of blobs, data and diffs, that a batch may take
MOST = 16  # images in a batch; more gains nothing, as Caffe convolves one image after another


class Probe:
    """The network of `net`, a `caffe.Net` from `load_net` or a `Network`, without in-place layers.

    It shares the memory of a `caffe.Net`'s weights: changes there are seen here. The `caffe.Net` itself is
    not run. `part` is the part of the network that is queried, by default all of it. `batch` is how many
    images go in at once; if an image takes several rows of the input, all values here are as of
    `BatchLayout.apart`.

    Raises:
        InputError: The net does not have exactly one input that could be the image.
    """

    def __init__(self, net: Any, part: Network | None = None) -> None:
        self.network = Network.of(net, weights=False) if part is None else part
        self._layout, self._layouts = self.network.batch_layout, dict[int, BatchLayout]()
        self.batch = self._layout_for(max(1, min(MOST, MEMORY // (2 * self.network.bytes_of_one)))).images
        self._parts = out_of_place_net(self.network.message, self._layout.axis, self.network.data)
        made, given = self._parts, None if self.network.weights is None else self.network.trained
        name = chosen(self.network.engine, self.network.device, made.message)
        embedded = name == "torch"
        message = parameter_as_input(made.message, made.image_layer) if embedded else made.message
        self.net = load_net(message, given, engine=name, device=self.network.device, checked=False)
        for line in why_not_caffe(made.message, name, self.network.engine, self.network.device):
            warnings.warn(line, CaffeVizWarning, stacklevel=2)
        if not isinstance(net, Network):
            self.net.share_with(net)
        self.engine = engine_name(self.net)
        self._passes = self._made_passes(made.image_layer)
        self._fill()

    def _made_passes(self, layer: str) -> Any:
        """What runs the net; in real Caffe its image is of `layer`."""
        return net_function(self.net) if self.engine == "torch" else CaffePasses(self.net, layer)

    @property
    def image(self) -> str:
        """The blob of the image."""
        return self._parts.image

    def shape(self, blob: str) -> tuple[int, ...]:
        """Return the shape of `blob` for one image, without the batch."""
        return self._layout.shape(self._parts.geometry.blob(blob))

    def alone(self, blob: str) -> bool:
        """Whether `blob` does not have one row for each image, so that images must go in one by one."""
        return self._parts.geometry.blob(blob)[:1] != (self._layout.images,)

    def has(self, blob: str) -> bool:
        """Whether there is a blob of that name."""
        return blob in self._parts.geometry.blobs

    def state(self, blob: str) -> str:
        """Whether it holds values before or after an activation function; "" for neither."""
        return relu_state(self.network.message, blob) or relu_state(self._parts.message, blob)

    def output(self, layer: str) -> str:
        """Return the blob with what `layer` itself computes, before any in-place layer on it.

        Raises:
            InputError: No such layer.
        """
        if layer not in self._parts.outputs:
            raise missing("the net", "layer", layer, self._parts.outputs, left_out(self.network.message))
        return self._parts.outputs[layer]

    def layers(self) -> Sequence[LayerParameter]:
        """The layers as messages, in order; the image is the top of a Parameter layer."""
        return self._parts.message.layer

    def forward(self, images: Array, blobs: Iterable[str]) -> dict[str, Array]:
        """Return copies of `blobs` (N, ...) for `images` (N, C, H, W); layers behind them do not run.

        Raises:
            InputError: The net does not take images of this shape.
        """
        names = list(blobs)
        found: list[dict[str, Array]] = []
        for part in self._parts_of(images):
            self._fit(len(part))
            made = self._passes.forward({self.image: self._rows(part, self.image)}, names)
            found.append(self._apart(made, len(part)))
        return {name: np.concatenate([one[name] for one in found]) for name in names}

    def pull(
        self, images: Array, blob: str, seed: Array, wrt: Sequence[str], rule: str = "plain"
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return copies of the blobs `wrt`, and of the gradients of sum(seed * blob) with respect to them.

        `seed` has the shape of `blob` for these images. `rule` says what a gradient becomes at a ReLU: a name
        of RULES.

        Raises:
            InputError: No such rule, or as `forward`.
            RunError: `blob` does not depend on one of `wrt`, or a MAX pooling layer of real Caffe between
                them has windows that hold only NaN.
        """
        if rule not in RULES:
            raise InputError(f"rule {rule!r} is unknown.{near(rule, RULES)}")
        path = find_path(self.net, [blob], wrt)
        for name in wrt:
            if name not in path.on:
                raise RunError(
                    f"blob {blob!r} has no gradient with respect to {name!r}: it does not depend on it."
                )
        found: list[dict[str, Array]] = []
        pulled: list[dict[str, Array]] = []
        done = 0
        for part in self._parts_of(images):
            self._fit(len(part))
            values, gradients = self._passes.pull(
                {self.image: self._rows(part, self.image)}, blob,
                self._rows(seed[done : done + len(part)], blob), wrt, RULES[rule], RECTIFIERS,
            )  # fmt: skip
            found.append(self._apart(values, len(part)))
            pulled.append(self._apart(gradients, len(part)))
            done += len(part)
        both = (found, pulled)
        values, gradients = ({n: np.concatenate([one[n] for one in some]) for n in wrt} for some in both)
        return values, gradients

    def _parts_of(self, images: Array) -> Iterator[Array]:
        """Split images into as many at a time as the net takes and the memory allows."""
        if images.shape[1:] != self.network.shape:
            raise InputError(f"input {self.image!r} takes {self.network.shape}, not {images.shape[1:]}.")
        most = self._layout_for(min(len(images), self.batch)).images
        for first in range(0, len(images), most):
            yield images[first : first + most]

    def _rows(self, values: Array, blob: str) -> Array:
        """Convert values of images to those of the whole blob."""
        return self._layout.together(values, self._parts.geometry.blob(blob))

    def _apart(self, made: Mapping[str, Array], count: int) -> dict[str, Array]:
        return {name: self._layout.apart(values)[:count] for name, values in made.items()}

    def _fit(self, count: int) -> None:
        """Make room for a batch; it is measured first, because Caffe would abort on one it cannot take."""
        self._layout = self._layout_for(count)
        if self._layout.axis == self._parts.image_shape[0]:
            return
        self._parts = out_of_place_net(self.network.message, self._layout.axis, self.network.data)
        for name, wanted in self._parts.geometry.blobs.items():
            if name in self.net.inputs:
                self.net.blobs[name].reshape(*wanted)
        self._fill()

    def _fill(self) -> None:
        """Set the values of the inputs besides the image."""
        for name, values in self.network.beside(self._parts.message, self._parts.made).items():
            self.net.blobs[name].data[...] = values

    def _layout_for(self, count: int) -> BatchLayout:
        if count not in self._layouts:
            self._layouts[count] = self.network.batch_layout_for(count)
        return self._layouts[count]
