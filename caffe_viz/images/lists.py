"""Lists of images with their labels: "path label" lines, as Caffe's ImageData layer reads them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from caffe_viz.errors import InputError

LISTS = frozenset({".lst", ".txt"})


def is_list(path: Path) -> bool:
    """Whether a source of images is a file that lists them."""
    return path.suffix.lower() in LISTS and path.is_file()


def read_list(path: Path, root: Path | None, suffixes: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Read the (image, label) of each line; "" means no label. Paths are in `root`, or the list's folder.

    Raises:
        InputError: The list cannot be read, a line names no file with one of `suffixes`, or the first image
            does not exist.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    ending = "|".join(re.escape(suffix) for suffix in sorted(suffixes, key=len, reverse=True))
    pattern = re.compile(rf"\s*(.+?(?:{ending}))(?:\s+(.*))?", re.IGNORECASE)
    folder, first = path.parent if root is None else root, True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = pattern.fullmatch(line.rstrip())
        if not found:
            raise InputError(
                f"{path}, line {number}: {line.strip()[:60]!r} is not the path of an image and its label."
            )
        image = folder / (found[1].lstrip("/") if root is not None else found[1])
        if first and not image.exists():
            raise InputError(
                f"{path}, line {number}: there is no image {image}: give the folder of the paths with --root."
            )
        first = False
        yield image, (found[2] or "").strip()
