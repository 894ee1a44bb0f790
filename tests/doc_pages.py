"""The commands and the Python in README.md and docs/*.md, as values; CONTRIBUTING.md says how they are marked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
INLINE = re.compile(r"`(caffe-viz [^`]+)`")
LOOSE = re.compile(r"^ *\$? *(caffe-viz|make|pip|python3?) +\S+", re.M)
NET = "caffenet_cifar10"


@dataclass(frozen=True)
class Command:
    """What stands behind a `$`, and the lines of its output that the page shows."""

    words: tuple[str, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """A fenced block: `kind` console or python; `norun` says why it is not run; `fails`: exit code 1 or 2."""

    kind: str
    text: str
    norun: str
    fails: bool
    line: int

    @property
    def commands(self) -> Iterator[Command]:
        parts = re.split(r"^\$ ", self.text.replace("\\\n", " "), flags=re.M)
        assert not parts[0].strip(), f"line {self.line}: a console block begins with a command, `$ ...`"
        for part in parts[1:]:
            first, *rest = part.rstrip().split("\n")
            yield Command(tuple(shlex.split(first, comments=True)), tuple(rest))


def blocks(page: Path) -> list[Block]:
    """Those that are run or checked, in the order of the page."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in FENCE.finditer(text):
        kind, _, mark = match[1].partition(" ")
        line = text.count("\n", 0, match.start()) + 1
        if kind in ("console", "python"):
            assert mark in ("", "fails") or mark.startswith("norun: "), f"{page.name}:{line}: unknown mark"
            norun = mark.removeprefix("norun: ") if mark != "fails" else ""
            found.append(Block(kind, match[2], norun, mark == "fails", line))
    return found


def inline(page: Path) -> list[str]:
    """Commands within sentences and tables; NET is the shipped network."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [re.sub(r"\bNET\b", NET, match[1]) for match in INLINE.finditer(text)]


def loose(page: Path) -> list[str]:
    """Commands that no test would see: in indented blocks, or fenced as something else."""
    text = page.read_text(encoding="utf-8")
    other = [m[2] for m in FENCE.finditer(text) if m[1].partition(" ")[0] not in ("console", "python")]
    indented = [line for line in FENCE.sub("", text).split("\n") if line.startswith("    ")]
    return [m[0] for part in [*other, *indented] for m in LOOSE.finditer(part)]
