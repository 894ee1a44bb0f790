"""A net of its own to ask: every blob's value and gradient, before and after layers that worked in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from caffe_viz.backend import chosen, engine_name, load_net, net_function
from caffe_viz.errors import InputError, RunError, missing, near
from caffe_viz.netdef import LayerParameter, left_out
from caffe_viz.network import Network
from caffe_viz.probe.caffe_passes import CaffePasses
from caffe_viz.probe.states import relu_state
from caffe_viz.probe.walk import RECTIFIERS, RULES, Array, find_path
from caffe_viz.surgery import Separated, parameter_as_input, separated

MEMORY = 1 << 29  # bytes of blobs, data and diffs, that a batch may take
MOST = 16  # images in a batch; more gains nothing, as Caffe convolves one image after another


class Probe:
    """The network of `net`, a `caffe.Net` of `load_net` or a `Network`, with no layer in place.

    It has the weights of a `caffe.Net` itself, in the same memory: what is changed there is seen here. The
    `caffe.Net` is not run. `batch` is how many images should go in at once.

    Raises:
        InputError: the net has not one input that could be the image.
    """

    def __init__(self, net: Any) -> None:
        self.network = Network.of(net, weights=False)
        self._parts = separated(self.network.message)
        made, given = self._parts, None if self.network.weights is None else self.network.trained
        embedded = chosen(self.network.engine, self.network.device, made.message) == "torch"
        message = parameter_as_input(made.message, made.image_layer) if embedded else made.message
        self.net = load_net(
            message, given, engine=self.network.engine, device=self.network.device, checked=False
        )
        if net is not self.network:
            self.net.share_with(net)
        self.engine = engine_name(self.net)
        self.batch = max(1, min(MOST, MEMORY // (2 * self._parts.geometry.blob_bytes)))
        self._passes = net_function(self.net) if embedded else CaffePasses(self.net, made.image_layer)

    @property
    def image(self) -> str:
        """The blob of the image."""
        return self._parts.image

    def shape(self, blob: str) -> tuple[int, ...]:
        """The shape of `blob` for one image, without the batch."""
        return self._parts.geometry.blob(blob)[1:]

    def has(self, blob: str) -> bool:
        """Whether there is a blob of that name."""
        return blob in self._parts.geometry.blobs

    def state(self, blob: str) -> str:
        """Whether it holds values before or after an activation function; "" for neither."""
        return relu_state(self.network.message, blob) or relu_state(self._parts.message, blob)

    def output(self, layer: str) -> str:
        """The blob with what `layer` itself computes: before any layer that works in place on it.

        Raises:
            InputError: no such layer.
        """
        if layer not in self._parts.outputs:
            raise missing("the net", "layer", layer, self._parts.outputs, left_out(self.network.message))
        return self._parts.outputs[layer]

    def layers(self) -> Sequence[LayerParameter]:
        """The layers as messages, in order; the image is the top of a Parameter layer."""
        return self._parts.message.layer

    def forward(self, images: Array, blobs: Iterable[str]) -> dict[str, Array]:
        """Copies of `blobs` (N, ...) for `images` (N, C, H, W); layers behind the last of them do not run.

        Raises:
            InputError: the net does not take N images, or images of this shape.
        """
        self._fit(images.shape)
        found: dict[str, Array] = self._passes.forward({self.image: images}, blobs)
        return found

    def pull(
        self, images: Array, blob: str, seed: Array, wrt: Sequence[str], rule: str = "plain"
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Values of the blobs `wrt`, and gradients of sum(seed * blob) with respect to them, as copies.

        `seed` has the shape of `blob` for these images. `rule` says what a gradient becomes at a ReLU: a name
        of RULES.

        Raises:
            InputError: no such rule, or as `forward`.
            RunError: `blob` does not depend on one of `wrt`, or a MAX pooling layer of real Caffe between
                them has windows of nothing but NaN.
        """
        if rule not in RULES:
            raise InputError(f"rule {rule!r} is unknown.{near(rule, RULES)}")
        self._fit(images.shape)
        path = find_path(self.net, [blob], wrt)
        for name in wrt:
            if name not in path.on:
                raise RunError(
                    f"blob {blob!r} has no gradient with respect to {name!r}: it does not depend on it."
                )
        found: tuple[dict[str, Array], dict[str, Array]] = self._passes.pull(
            {self.image: images}, blob, seed, wrt, RULES[rule], RECTIFIERS
        )
        return found

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Make room for a batch; it is measured first, as Caffe would abort on what it cannot take."""
        parts: Separated = self._parts
        if shape[1:] != parts.image_shape[1:]:
            raise InputError(f"input {parts.image!r} takes {parts.image_shape[1:]}, not {shape[1:]}.")
        if shape[0] == parts.image_shape[0]:
            return
        self._parts = separated(self.network.message, shape[0])
        for name, wanted in self._parts.geometry.blobs.items():
            if name in self.net.inputs:
                self.net.blobs[name].reshape(*wanted)
