"""A finished picture, and how to write text on one."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caffe_viz.images import display_rgb, png_bytes, save_png
from caffe_viz.images.pixels import Floats

DPI = 100
GREY = "0.35"  # of captions and axes, on white
SIZE = 8.0  # points of captions and labels
_within: ContextVar[bool] = ContextVar("plain_style", default=False)


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A picture (H, W, 3), RGB in 0..1, read-only. Notebooks display it.

    Raises:
        InputError: Another shape, or values outside 0..1.
    """

    rgb: Floats

    def __post_init__(self) -> None:
        rgb = display_rgb(self.rgb)
        if np.asarray(self.rgb).dtype != np.uint8:
            rgb = np.clip(rgb, 0, 1)
        rgb.setflags(write=False)
        object.__setattr__(self, "rgb", rgb)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, 3) in pixels."""
        height, width, channels = self.rgb.shape
        return height, width, channels

    def save(self, path: str | Path) -> None:
        """Write a PNG, whole or not at all; missing folders are created. Raises as `save_png`."""
        save_png(path, self.rgb)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.rgb)

    def __repr__(self) -> str:
        return f"Picture({self.shape[1]} x {self.shape[0]} pixels)"


class Text(NamedTuple):
    """Words at pixel (x, y) from the top left; `across` and `down` say which part of the words is there."""

    x: float
    y: float
    words: str
    across: str = "left"
    down: str = "center"
    color: str = GREY


def write_on(canvas: Floats, texts: Iterable[Text]) -> Picture:
    """(H, W, 3) -> the same with `texts` on it; meant for white places: colours are multiplied."""
    from matplotlib.figure import Figure

    height, width, _ = canvas.shape
    with plain_style():
        # A hundredth of a pixel more: matplotlib before 3.11 cuts the 413.999.. that 414 / DPI * DPI is.
        figure: Any = Figure(figsize=((width + 0.01) / DPI, (height + 0.01) / DPI), dpi=DPI)
        for text in texts:
            place = {"ha": text.across, "va": text.down, "color": text.color, "fontsize": SIZE}
            figure.text(text.x / width, 1 - text.y / height, clean(text.words), parse_math=False, **place)
        return Picture(canvas * rasterise(figure).rgb)


def rasterise(figure: Any) -> Picture:
    """A matplotlib Figure -> its pixels, without the backend that the user has chosen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box in the picture says as much
        canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3])


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's defaults, whatever the user has set, with the few changes that all plots share.

    Within another, it is free: many short texts are measured in one.
    """
    if _within.get():
        yield
        return
    from matplotlib import style

    changes: dict[str, Any] = {
        "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelcolor": GREY,
        "axes.edgecolor": "0.6", "xtick.color": "0.6", "ytick.color": "0.6", "xtick.labelcolor": GREY,
        "ytick.labelcolor": GREY, "axes.spines.top": False, "axes.spines.right": False,
        "axes.unicode_minus": True, "axes.formatter.useoffset": False,
    }  # fmt: skip
    token = _within.set(True)
    try:
        with style.context(["default", changes]):
            yield
    finally:
        _within.reset(token)


def clean(words: str) -> str:
    """One printable line: text from files may hold anything."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(words.split()))


@cache
def text_width(words: str, size: float = SIZE) -> float:
    """Pixels that `words` take in a picture."""
    from matplotlib.font_manager import FontProperties

    with plain_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        found = _renderer().get_text_width_height_descent(clean(words), FontProperties(size=size), False)
        return float(found[0])


@cache
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas: Any = FigureCanvasAgg(Figure(dpi=DPI))
    return canvas.get_renderer()


LONGEST = 300  # characters of a title that are measured at all


def shorten(words: str, width: float, size: float = SIZE, *, keep: int = 0) -> str:
    """`words`, with an ellipsis before the last `keep` characters if they take more than `width` pixels."""
    words = clean(words)
    tail = words[len(words) - keep :] if keep < len(words) else ""
    head, short = words[: len(words) - len(tail)], words
    if len(head) > LONGEST:
        head = head[:LONGEST]
        short = f"{head}…{tail}"
    if not head or text_width(short, size) <= width:
        return short

    def cut(count: int) -> str:
        return f"{head[:count].rstrip()}…{tail}"

    return cut(bisect_right(range(1, len(head)), width, key=lambda count: text_width(cut(count), size)))
