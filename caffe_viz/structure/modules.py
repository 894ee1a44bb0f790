"""Modules of a graph (an inception, a fire, a residual block), found from the connections of layers.

A module ends in a join, and begins after the node through which everything that the join sees must come (its
immediate dominator); nothing in between is seen from outside. Dominators: Cooper, Harvey, Kennedy, 2001.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST = 40  # nodes of a module: it is looked at as a whole
Kinds = tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """Nodes that fold into one, in order; all edges from outside come from `source`, all leave the last."""

    name: str
    nodes: tuple[int, ...]
    source: int


def find_modules(
    names: Sequence[str], kinds: Sequence[Kinds], edges: Sequence[tuple[int, int]]
) -> tuple[Module, ...]:
    """Return modules that do not overlap, in order. Edges (tail, head) point forward; `kinds` compare nodes.

    A region between a node and a join is a module if its names share a prefix that no others have, or if the
    net has the same connections of the same kinds of layers more than once. Of nested regions, the outer one
    counts.
    """
    return _Finder(names, kinds, edges).find()


def dominated(join: int, before: Sequence[Sequence[int]]) -> tuple[list[int], int] | None:
    """(`join` and what it sees up to its immediate dominator, that dominator); None: there is none near.

    `before` are the tails of the edges to each node; they point forward, so that the latest of the nodes that
    wait is on no path from another of them, and the dominator is met when it waits alone.
    """
    inside, waiting, known = [join], [-p for p in before[join]], set(before[join])
    heapq.heapify(waiting)
    while len(waiting) > 1:
        node = -heapq.heappop(waiting)
        inside.append(node)
        if not before[node] or len(inside) > LARGEST:
            return None
        for p in before[node]:
            if p not in known:
                known.add(p)
                heapq.heappush(waiting, -p)
    return (sorted(inside), -waiting[0]) if waiting else None


class _Finder:
    def __init__(
        self, names: Sequence[str], kinds: Sequence[Kinds], edges: Sequence[tuple[int, int]]
    ) -> None:
        self.names, self.kinds = names, kinds
        self.words = [tuple(w for w in re.split(r"[^0-9A-Za-z]+", name) if w) for name in names]
        self.before: list[list[int]] = [[] for _ in names]
        self.after: list[list[int]] = [[] for _ in names]
        for tail, head in dict.fromkeys(edges):
            self.before[head].append(tail)
            self.after[tail].append(head)
        self.owners = Counter(word[:n] for word in self.words for n in range(1, len(word) + 1))

    def find(self) -> tuple[Module, ...]:
        found = []
        for join in range(len(self.names)):
            region = self._region(join) if len(self.before[join]) > 1 else None
            if region:
                found.append(self._named(*region))
        seen = Counter(self._wiring(m) for m in found)
        good = [m for m in found if m.name or seen[self._wiring(m)] > 1]
        good.sort(key=lambda m: (not m.name, -len(m.nodes)))
        taken: set[int] = set()
        kept = []
        for m in good:
            if taken.isdisjoint(m.nodes):
                taken.update(m.nodes)
                kept.append(Module(m.name or self.names[m.nodes[-1]], m.nodes, m.source))
        return tuple(sorted(kept, key=lambda m: m.nodes))

    def _region(self, join: int) -> tuple[list[int], int] | None:
        """(nodes up to the join, the node that they all hang on); None where it is no closed region."""
        found = dominated(join, self.before)
        if found is None:
            return None
        inside, source = found
        members = set(inside)
        closed = all(members.issuperset(self.after[n]) for n in inside if n != join)
        return (inside, source) if closed else None

    def _named(self, nodes: list[int], source: int) -> Module:
        """With neighbours that carry the same name, as the squeeze of a fire; no more of them than nodes."""
        prefix = self._prefix(nodes)
        if not prefix:
            return Module("", tuple(nodes), source)
        size, most = len(prefix), min(2 * len(nodes), LARGEST)
        while (
            len(nodes) < most
            and self.words[source][:size] == prefix
            and len(self.before[source]) == 1
            and set(nodes).issuperset(self.after[source])
        ):
            nodes, source = [source, *nodes], self.before[source][0]
        while len(nodes) < most and len(self.after[nodes[-1]]) == 1:
            (after,) = self.after[nodes[-1]]
            if self.words[after][:size] != prefix or len(self.before[after]) > 1:
                break
            nodes = [*nodes, after]
        alone = self.owners[prefix] == len(nodes)
        return Module(self._title(nodes[0], size) if alone else "", tuple(nodes), source)

    def _prefix(self, nodes: Sequence[int]) -> tuple[str, ...]:
        first, *others = (self.words[n] for n in nodes)
        size = 0
        while size < len(first) and all(w[: size + 1] == first[: size + 1] for w in others):
            size += 1
        return first[:size]

    def _title(self, node: int, size: int) -> str:
        """The name of `node` up to the end of its first `size` words, separators as they are."""
        ends = [m.end() for m in re.finditer(r"[0-9A-Za-z]+", self.names[node])]
        return self.names[node][: ends[size - 1]]

    def _wiring(self, module: Module) -> tuple[tuple[Kinds, tuple[int, ...]], ...]:
        """Equal for modules of the same kinds of layers, wired alike."""
        place = {n: i for i, n in enumerate(module.nodes)}
        return tuple(
            (self.kinds[n], tuple(sorted(place.get(p, -1) for p in self.before[n]))) for n in module.nodes
        )
