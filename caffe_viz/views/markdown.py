"""Tables in a Markdown file, between marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caffe_viz import tables
from caffe_viz.errors import InputError
from caffe_viz.network import PathLike


def markdown(table: tables.Table) -> str:
    """The table in Markdown, its title first."""
    rows = [table.columns, ("---",) * len(table.columns), *table.rows]
    lines = ["| " + " | ".join(tables.text(v).replace("|", "\\|") for v in row) + " |" for row in rows]
    return "\n".join([f"{table.title}:", "", *lines, ""])


def marks(net: str, check: str) -> tuple[str, str]:
    """The two lines of a Markdown file between which a table goes."""
    name = f"{' '.join(net.split()).replace('--', '-').replace('>', '')} {check}"
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def need_marks(path: PathLike, net: str, checks: Sequence[str]) -> str:
    """The text of the Markdown file, once there is a place for each table.

    Raises:
        InputError: the file cannot be read, or lacks marks; says which.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    for begin, end in (marks(net, check) for check in checks):
        if begin not in text or end not in text.split(begin, 1)[1]:
            raise InputError(f"{path} has no place for the table: write the lines {begin} and {end} into it.")
    return text
