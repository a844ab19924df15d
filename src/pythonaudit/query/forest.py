"""Processes as a forest: nodes with parents, put in order, and what of it somebody asked for.

Parents come from rows that anybody may have forged, so they may go round in circles: `grow` cuts these. Nothing
here is recursive: a forest may be as deep as it has nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pythonaudit.query.attempts import Attempt, ProcessRow

RECORDED = "recorded"


@dataclass(slots=True, eq=False)
class Node:
    """A process, recorded or not.

    Attributes:
        coverage: recorded, not-python, not-recorded or unexplained.
        reason: how that was judged, or how it came to stand here; empty: there is nothing to say.
        process: the recorded one.
        attempt: what started it, or was to.
        link: how its parent was found (ledger.py); empty: it is a root, or an attempt of its parent.
        via: the name of the program between it and its recorded parent, which is not Python.
        parent: who started it: a recorded process, or the program between.
        children: in the order of time.
        depth: how many stand above it.
        is_selected: whether it was asked for; if not, it stands here because one below it was.
    """

    coverage: str
    reason: str = ""
    process: ProcessRow | None = None
    attempt: Attempt | None = None
    link: str = ""
    via: str = ""
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    depth: int = 0
    is_selected: bool = True

    @property
    def time_ns(self) -> int:
        """When it was started, as far as is known."""
        if self.process is not None:
            return self.process.begin_ns
        if self.attempt is not None:
            return self.attempt.time_ns
        return self.parent.time_ns if self.parent is not None else 0

    @property
    def end_ns(self) -> int:
        """When it was last known to be there."""
        return self.process.end_ns if self.process is not None else self.time_ns

    @property
    def parent_process(self) -> ProcessRow | None:
        """The nearest recorded process above it."""
        node = self.parent
        while node is not None and node.process is None:
            node = node.parent
        return node.process if node is not None else None


@dataclass(slots=True)
class Forest:
    """Trees of processes. `roots` are in the order of time."""

    roots: list[Node]

    def walk(self) -> Iterator[Node]:
        """All nodes, each after its parent and before the next one on its level."""
        waiting = self.roots[::-1]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.children[::-1]

    def select(self, wanted: Callable[[ProcessRow], bool], since_ns: int | None, until_ns: int | None) -> Forest:
        """What stands below a wanted process, and what stands above, not selected.

        Args:
            wanted: whether a recorded process was asked for. What is not recorded comes with its parent.
            since_ns, until_ns: what was not there in this time is not selected, whatever stands above it.
        """
        chosen: list[Node] = []
        below: set[Node] = set()
        for node in self.walk():
            is_wanted = (node.process is not None and wanted(node.process)) or node.parent in below
            if is_wanted:
                below.add(node)
            is_there = (since_ns is None or node.end_ns >= since_ns) and (
                until_ns is None or node.time_ns < until_ns
            )
            node.is_selected = is_wanted and is_there
            if node.is_selected:
                chosen.append(node)
        kept: set[Node] = set()
        for node in chosen:
            above: Node | None = node
            while above is not None and above not in kept:
                kept.add(above)
                above = above.parent
        for node in kept:
            node.children = [child for child in node.children if child in kept]
        return Forest([root for root in self.roots if root in kept])


def grow(nodes: Sequence[Node]) -> Forest:
    """The forest of nodes that know their parents; a circle is cut before its oldest node."""
    _cut_circles(nodes)
    roots: list[Node] = []
    for node in sorted(nodes, key=_order):
        (roots if node.parent is None else node.parent.children).append(node)
    forest = Forest(roots)
    for node in forest.walk():
        node.depth = node.parent.depth + 1 if node.parent is not None else 0
    return forest


def _order(node: Node) -> tuple[int, int, str]:
    attempt, process = node.attempt, node.process
    time_ns = attempt.time_ns if attempt is not None and not node.via else node.time_ns
    return (
        time_ns,
        process.pid_start if process else 0,
        process.id if process else attempt.row.id if attempt else "",
    )


def _cut_circles(nodes: Iterable[Node]) -> None:
    seen: dict[Node, Node] = {}  # by which node it was come upon
    for start in nodes:
        node: Node | None = start
        while node is not None and node not in seen:
            seen[node] = start
            node = node.parent
        if node is not None and seen[node] is start:
            circle = [node]
            while (above := circle[-1].parent) is not None and above is not node:
                circle.append(above)
            oldest = min(circle, key=_order)
            oldest.parent, oldest.link, oldest.via = None, "", ""
            oldest.reason = "what is said of its parents goes round in a circle"
