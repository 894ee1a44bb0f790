"""The anchors of public YOLO networks, which their Caffe files do not contain."""

from __future__ import annotations

from dataclasses import dataclass

from caffe_viz.errors import InputError, near


@dataclass(frozen=True)
class Anchors:
    """Widths and heights, in cells of a single grid, or in pixels of the input if there are several grids.

    `said` is their origin. `stretch` says for each grid, the finest first, how far centres reach beyond
    cells; 1 means not at all.
    """

    said: str
    pairs: tuple[tuple[float, float], ...]
    stretch: tuple[float, ...] = ()


def _pairs(text: str) -> tuple[tuple[float, float], ...]:
    numbers = [float(word) for word in text.replace(",", " ").split()]
    if not numbers or len(numbers) % 2 or min(numbers) <= 0:
        raise ValueError
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


# As the .cfg files of darknet have them.
KNOWN = {
    name: Anchors(name, _pairs(text), stretch)
    for name, text, stretch in (
        ("yolov2", "0.57273 0.677385 1.87446 2.06253 3.33843 5.47434 7.88282 3.52778 9.77052 9.16828", ()),
        ("yolov2-voc", "1.3221 1.73145 3.19275 4.00944 5.05587 8.09892 9.47112 4.84053 11.2364 10.0071", ()),
        ("yolov2-tiny-voc", "1.08 1.19 3.42 4.41 6.63 11.38 9.42 5.11 16.62 10.52", ()),
        ("yolov3", "10 13 16 30 33 23 30 61 62 45 59 119 116 90 156 198 373 326", ()),
        ("yolov3-tiny", "10 14 23 27 37 58 81 82 135 169 344 319", ()),
        ("yolov4", "12 16 19 36 40 28 36 75 76 55 72 146 142 110 192 243 459 401", (1.2, 1.1, 1.05)),
    )
}


def anchors_in(text: str, said: str) -> Anchors:
    """Parse widths and heights such as 10,13,16,30.

    Raises:
        InputError: They are not pairs of numbers above 0.
    """
    try:
        return Anchors(said, _pairs(text))
    except ValueError:
        raise InputError(
            f"anchors {text!r}: give widths and heights as 10,13,16,30, or one of {', '.join(KNOWN)}."
            f"{near(text, KNOWN)}"
        ) from None


def read_anchors(text: str) -> Anchors:
    """Read the name of a public network, or numbers as `anchors_in`."""
    return KNOWN[text] if text in KNOWN else anchors_in(text, text)
