"""Finished parts of a report on disk: an interrupted report continues, and pictures lie beside a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from caffe_viz.errors import InputError, RunError
from caffe_viz.files import write_whole
from caffe_viz.images import display_rgb, jpeg_bytes, png_bytes

ABOUT = "about.json"  # of which report the parts are
FORMAT = 2  # of the parts; another one begins anew


@dataclass(frozen=True)
class Figure:
    """A picture for the page: (H, W, 3) RGB in 0..1, a description, and its file name."""

    rgb: ArrayLike
    alt: str
    name: str
    photo: bool = False  # JPEG, a tenth of the size, where single pixels mean nothing


@dataclass(frozen=True)
class PartResult:
    """The result of one part: values for the page, and pictures."""

    facts: Mapping[str, Any]
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class SavedFigure:
    """A stored picture: its file and its size in pixels."""

    path: Path
    width: int
    height: int
    alt: str
    name: str


@dataclass(frozen=True)
class FinishedPart:
    """A stored part; `failed` says why there is nothing else."""

    facts: Mapping[str, Any]
    figures: tuple[SavedFigure, ...]
    failed: str = ""


class PartCache:
    """The parts of one report by key, in a folder; parts of another `identity` are deleted.

    A part exists once its JSON does, which is written last.

    Raises:
        InputError: The folder holds something other than parts.
        RunError: It cannot be written.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        about = json.dumps({"format": FORMAT, **identity}, indent=1)
        self._identity = json.loads(about)
        if folder.exists() and self._about() != self._identity:
            self.clear()
        write_whole(folder / ABOUT, about.encode())

    def get(self, key: str) -> FinishedPart | None:
        """Return the part, or None if it is not finished."""
        try:
            found = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
            figures = tuple(SavedFigure(self.folder / file, *rest) for file, *rest in found["shots"])
            return FinishedPart(found["facts"], figures, found["failed"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: str, made: PartResult) -> None:
        """Write a part. Raises RunError if it cannot be written, or as `need_own`."""
        self.need_own()
        figures = []
        for number, figure in enumerate(made.figures):
            rgb = display_rgb(figure.rgb)
            file = f"{key}-{number}.{'jpg' if figure.photo else 'png'}"
            write_whole(self.folder / file, (jpeg_bytes if figure.photo else png_bytes)(rgb))
            figures.append((file, rgb.shape[1], rgb.shape[0], figure.alt, figure.name))
        self._write(key, {"facts": dict(made.facts), "shots": figures, "failed": ""})

    def fail(self, key: str, reason: str) -> None:
        """Remember why there is no such part; the next run tries it again."""
        self._write(key, {"facts": {}, "shots": [], "failed": reason})

    def need_own(self) -> None:
        """Raise RunError if another report was started in the folder, so that two never mix."""
        if self._about() != self._identity:
            raise RunError(
                f"{self.folder} was removed, or another report was started in it: choose another "
                "with --output."
            )

    def clear(self) -> None:
        """Remove the folder with all parts; raises as the class does."""
        if not self.folder.exists():
            return
        if self._about() is None and any(self.folder.iterdir()):
            raise InputError(
                f"{self.folder} holds no parts of a report: choose another folder with --output."
            )
        try:
            for path in sorted(self.folder.iterdir(), key=lambda path: path.name == ABOUT):  # that one last
                if path.suffix in (".json", ".png", ".jpg", ".npz", ".part"):
                    path.unlink()
            self.folder.rmdir()
        except OSError as error:
            raise RunError(f"{self.folder} cannot be removed: {error.strerror or error}.") from None

    def _about(self) -> Any:
        try:
            return json.loads((self.folder / ABOUT).read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, key: str, values: Mapping[str, Any]) -> None:
        data = json.dumps(values, allow_nan=False).encode()
        self.need_own()
        write_whole(self.folder / f"{key}.json", data)
