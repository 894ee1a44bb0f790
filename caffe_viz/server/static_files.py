"""Our own files for the browser, from a table, so that no path ever comes from a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath

from caffe_viz.structure import svg

TYPES = {
    ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}  # fmt: skip
SHARED = ("colours.css", "graph.css", "graph.js")  # those of the report
BEFORE = {"graph.css": svg.style}  # what is written, and stands before a file


@dataclass(frozen=True)
class StaticFile:
    """A file's content and its type; `tag` tells browsers whether theirs is still this one."""

    data: bytes
    type: str

    @property
    def tag(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:32]


def _found() -> Iterator[tuple[str, StaticFile]]:
    shared = files("caffe_viz.report") / "static"
    for file in (*(files("caffe_viz.server") / "static").iterdir(), *(shared / name for name in SHARED)):
        before = BEFORE.get(file.name, str)().encode()
        if kind := TYPES.get(PurePath(file.name).suffix):
            yield file.name, StaticFile(before + file.read_bytes(), kind)


STATIC: Mapping[str, StaticFile] = dict(_found())
