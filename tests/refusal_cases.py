"""The table refusals.txt: one-layer nets that are refused, with the whole message, and neighbours that are taken.

    == yolo.py                                    the module of the rule
    Reorg on 1 4 4 4: reorg_param { stride: 0 }   type, shapes, settings; before the colon `to 2 tops` if it has not one
    ! reorg_param { }                             refused like it; what is left out is as in the line above
    - reorg_param needs a stride, at least 1      what is said of these, behind layer, type and shapes
    + reorg_param { stride: 1 }                   taken

The type of a Python layer is its module, a dot and its class; its settings are its param_str.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from geometry_toys import Toy

TABLE = Path(__file__).with_name("refusals.txt")


class Net(NamedTuple):
    """A line of the table, as its text."""

    type: str
    shapes: str = ""
    tops: str = "1"
    settings: str = ""

    def changed(self, line: str) -> Net:
        """This net with what `line` says."""
        place, settings = line, self.settings
        if not line.startswith(("on ", "to ")):
            place, settings = "", line or settings
        elif ": " in line:
            place, settings = line.split(": ", 1)
        on, _, to = f" {place}".partition(" to ")
        shapes = on.removeprefix(" on ").strip() or self.shapes
        return Net(self.type, shapes, to.split(" ")[0] or self.tops, settings)

    def toy(self) -> Toy:
        shapes = self.shapes.split(", ") if self.shapes else []
        module, _, name = self.type.rpartition(".")
        if not module:
            return Toy(self.type, shapes, self.settings, int(self.tops))
        param = f'python_param {{ module: "{module}" layer: "{name}" param_str: "{self.settings}" }}'
        return Toy("Python", shapes, param, int(self.tops))


def refused(net: Toy, words: str) -> str:
    """The whole message: layer, type and shapes before `words`."""
    named = ", ".join(f"{n} {s.replace(' ', 'x')}" for n, s in zip("abcdefgh", net.shapes, strict=False))
    return f"layer 'x' ({net.type}){named and f' on {named}'}: {words}"


def rows() -> Iterator[tuple[Toy, str]]:
    """Each net of the table, with its whole message, or "" if it is taken."""
    net, pending = Net(""), list[Net]()
    for line in TABLE.read_text().splitlines():
        mark, _, rest = line.partition(" ")
        if mark == "-":
            for toy in map(Net.toy, pending):
                yield toy, refused(toy, rest)
            pending = []
        elif mark == "!":
            pending.append(net.changed(rest))
        elif mark == "+":
            yield net.changed(rest).toy(), ""
        elif mark not in ("", "=="):
            assert not pending, f"{TABLE.name}: no message before {line!r}"
            net = Net(mark.removesuffix(":")).changed(rest)
            pending = [net]
