"""A panel for notebooks: choose a layer, filters and an image, and look at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from html import escape
from importlib import import_module
from typing import Any, NamedTuple

from caffe_viz.attribution import METHODS, PASSES
from caffe_viz.errors import CaffeVizError, InputError, RunError
from caffe_viz.figures import Picture
from caffe_viz.geometry import LayerGeometry
from caffe_viz.images import load_image
from caffe_viz.network import Array, Network, PathLike
from caffe_viz.views.attributed import show_attribution
from caffe_viz.views.files import show_weights
from caffe_viz.views.maximized import maximize
from caffe_viz.views.streams import draw, has_maps, show_activations

AT_FIRST = 16  # filters that are chosen when a layer is
Tell = Callable[[int, int], None]  # is told how much is done, of how much


class PanelState(NamedTuple):
    """What the panel shows: an image is the path, or the digest of what was uploaded."""

    what: str
    layer: str
    filters: tuple[int, ...]
    image: str


class PanelView(NamedTuple):
    """How the answer is drawn; a quick one is drawn at once, another when its button is pressed."""

    answer: Callable[[Network, PanelState, Any, Tell], Picture]
    quick: bool = False
    image: bool = True


def _kernels(network: Network, asked: PanelState, image: Any, tell: Tell) -> Picture:
    return show_weights(network, asked.layer, asked.filters)


def _activations(network: Network, asked: PanelState, image: Any, tell: Tell) -> Picture:
    blob = network.geometry.layer(asked.layer).tops[0]
    found = show_activations(network, image, [blob])
    array = found.arrays[blob]
    if has_maps(array):
        array = array[list(asked.filters)]
    return draw(array, f"{blob} {found.states[blob]}".strip(), found.labels.get(blob, ()))


def _ascent(network: Network, asked: PanelState, image: Any, tell: Tell) -> Picture:
    found = maximize(network, asked.layer, asked.filters, on_progress=lambda p: tell(p.done, p.total))
    if found.interrupted or found.failure:
        raise RunError(found.failure or "interrupted.")
    return found.sheet


def _attribution(method: str, network: Network, asked: PanelState, image: Any, tell: Tell) -> Picture:
    """Of the first chosen filter; in a layer of classes, of the class."""
    target = f"{asked.layer}:{asked.filters[0]}"
    return show_attribution(network, image, target, method, on_progress=tell).over(method)


QUESTIONS: Mapping[str, PanelView] = {
    "kernels": PanelView(_kernels, quick=True, image=False),
    "activations": PanelView(_activations, quick=True),
    "ascent": PanelView(_ascent, image=False),
    **{name: PanelView(partial(_attribution, name), quick=name not in PASSES) for name in METHODS},
}


class Explorer:
    """The panel; its widgets are `what`, `layer`, `filters`, `image`, `upload`, `button`, `said`, `shown`.

    Whatever takes few passes is drawn at each change, ascents and the like when the button is pressed.
    Nothing is computed twice. Attributions, including the gradient, are those of the first chosen filter.
    """

    def __init__(self, network: Network, image: PathLike | None = None) -> None:
        w = _widgets()
        self.network = network
        self._drawn: dict[PanelState, Picture] = {}
        self._settling = False
        wide = w.Layout(width="26em")
        names = [x.name for x in network.geometry.layers if _has_answers(x)]
        self.what = w.Dropdown(options=list(QUESTIONS), description="show", layout=wide)
        self.layer = w.Dropdown(options=names, description="layer", layout=wide)
        self.filters = w.IntRangeSlider(description="filters", continuous_update=False, layout=wide)
        self.image = w.Text(str(image or ""), description="image", continuous_update=False, layout=wide)
        self.upload = w.FileUpload(accept="image/*", multiple=False)
        self.button = w.Button(description="draw", button_style="primary")
        self.said = w.HTML()
        self.shown = w.Image(format="png", layout=w.Layout(max_width="100%", align_self="flex-start"))
        self._settle()
        for widget in (self.what, self.layer, self.filters, self.image, self.upload):
            widget.observe(self._changed, "value")
        self.button.on_click(lambda _: self.draw())
        choice = w.VBox([self.what, self.layer, self.filters, self.image, w.HBox([self.upload, self.button])])
        self.box = w.VBox([choice, self.said, self.shown])
        self._changed(None)

    @property
    def asked(self) -> PanelState:
        """The state of the widgets."""
        question, (low, high) = QUESTIONS[self.what.value], self.filters.value
        image = (self._uploaded or (self.image.value.strip(),))[0] if question.image else ""
        return PanelState(self.what.value, self.layer.value, tuple(range(low, high + 1)), image)

    def draw(self) -> None:
        """Draw what the widgets ask for, or say in one line why that is not possible."""
        asked = self.asked
        try:
            if asked not in self._drawn:
                self._say(f"{asked.what} of {asked.layer} ..")
                self.button.disabled = True
                self._drawn[asked] = QUESTIONS[asked.what].answer(
                    self.network, asked, self._image(asked), self._tell
                )
            self._show(self._drawn[asked]._repr_png_())
            self._say("")
        except CaffeVizError as error:
            self._show(b"")
            self._say(str(error))
        finally:
            self.button.disabled = False

    def _changed(self, change: Any) -> None:
        if self._settling:
            return
        if change is not None and change["owner"] is self.layer:
            self._settle()
        asked = self.asked
        if QUESTIONS[asked.what].quick or asked in self._drawn:
            self.draw()
        else:
            self._show(b"")
            self._say(f"{asked.what} takes a while: press draw.")

    def _settle(self) -> None:
        """The slider fits the layer."""
        shape = self.network.geometry.layer(self.layer.value).shapes[0]
        count = shape[1] if len(shape) > 1 else 1
        self._settling = True
        self.filters.value = (0, 0)
        self.filters.min, self.filters.max = 0, count - 1
        self.filters.value = (0, min(AT_FIRST, count) - 1)
        self._settling = False

    def _image(self, asked: PanelState) -> str | Array | None:
        if not QUESTIONS[asked.what].image:
            return None
        if self._uploaded:
            return load_image(self.upload.value[0]["name"], self._uploaded[1])
        if not asked.image:
            raise InputError("give an image: its path, or upload one.")
        return asked.image

    @property
    def _uploaded(self) -> tuple[str, bytes] | None:
        """Digest and content."""
        if not self.upload.value:
            return None
        content = bytes(self.upload.value[0]["content"])
        return sha256(content).hexdigest(), content

    def _tell(self, done: int, total: int) -> None:
        self._say(f"{self.what.value}: {100 * done // max(total, 1)} %")

    def _show(self, png: bytes) -> None:
        self.shown.value = png
        self.shown.layout.display = "" if png else "none"  # browsers draw a torn picture for none

    def _say(self, words: str) -> None:
        self.said.value = escape(" ".join(words.split()))

    def __repr__(self) -> str:
        return f"Explorer of {self.network.message.name!r}"

    def _repr_mimebundle_(self, **asked: Any) -> dict[str, Any]:
        return {**self.box._repr_mimebundle_(**asked), "text/plain": repr(self)}


def explore(net: Any, image: PathLike | None = None) -> Explorer:
    """Open a panel in a notebook: kernels, activations, gradients, ascents and attributions of `net`.

    Args:
        net: A net from `load_net`, used with its current parameters.
        image: The path of the first image.

    Raises:
        InputError: The net was made without `load_net`, or Caffe could not set it up.
        RunError: ipywidgets is not installed.
    """
    return Explorer(Network.of(net), image)


def _has_answers(layer: LayerGeometry) -> bool:
    """Whether it computes a blob of its own."""
    made = bool(layer.bottoms and layer.tops) and layer.tops[0] not in layer.bottoms
    return made and layer.type != "Split"


def _widgets() -> Any:
    try:
        return import_module("ipywidgets")
    except ImportError:
        raise RunError("the panel needs ipywidgets: pip install 'caffe-viz[notebook]'.") from None
