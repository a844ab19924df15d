"""Where events come from, as one tree of frames, and the formats that tools for flame graphs read.

    tree = Tree()
    main = tree.node(ROOT, Frame("main", "/srv/app.py"))
    tree.add(tree.node(main, Frame("load", "/srv/app.py")), 3)
    list(folded(tree, show))                           # ['main (/srv/app.py);load (/srv/app.py) 3\\n']

Nothing is read or written here: a tree goes in, pieces of text come out. The formats hold what the tree holds:
as many events, no frame left out. All text of frames is untrusted. It passes through `show`, which turns what
does not print into what does; and each format escapes what it takes for a part of itself.

folded      Brendan Gregg's: `frame;frame;frame count`, outermost first, one line a stack
speedscope  what https://www.speedscope.app reads
page        one file of HTML: a flame graph that needs no network, and can reach none (flame_page.py)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

ROOT = 0

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

# Readers take the last number of a line for the count, and one before it for the count of another profile.
_NUMBER_AT_END = re.compile(r" (?=\d+(?:\.\d*)?\Z)")

Show = Callable[[str], str]


class Frame(NamedTuple):
    """A bar of a flame graph.

    Attributes:
        name: of a function, a package or an event; in brackets, of what is no frame.
        file: of the code, if it has one.
        kind: what it is: "code", "library" (the standard one's), "event" or "note".
    """

    name: str
    file: str | None = None
    kind: str = "code"


class Tree:
    """How many events came from where.

    A node is a frame with all its callers. Nodes are numbered, `ROOT` first and callers before callees.

    Attributes:
        frames: every frame, once.
        parent: the node of the caller, by node.
        frame: the number of its frame, by node; that of `ROOT` is -1.
        own: events that were raised right there, by node.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.parent = [ROOT]
        self.frame = [-1]
        self.own = [0]
        self._frame_numbers: dict[Frame, int] = {}
        self._nodes: dict[tuple[int, int], int] = {}

    def node(self, parent: int, frame: Frame) -> int:
        """The node of a frame that was called from a node."""
        return self.child(parent, self.number(frame))

    def number(self, frame: Frame) -> int:
        """The number of a frame."""
        found = self._frame_numbers.setdefault(frame, len(self.frames))
        if found == len(self.frames):
            self.frames.append(frame)
        return found

    def child(self, parent: int, number: int) -> int:
        """The node of a frame, by its number."""
        found = self._nodes.setdefault((parent, number), len(self.parent))
        if found == len(self.parent):
            self.parent.append(parent)
            self.frame.append(number)
            self.own.append(0)
        return found

    def add(self, node: int, count: int) -> None:
        """So many more events were raised at a node."""
        self.own[node] += count

    def totals(self) -> list[int]:
        """Events that were raised at a node or in what it called, by node."""
        totals = list(self.own)
        for node in range(len(totals) - 1, ROOT, -1):
            totals[self.parent[node]] += totals[node]
        return totals

    def walk(self, order: Callable[[int], object]) -> Iterator[tuple[int, int, int]]:
        """Every node but `ROOT` after its caller: node, depth (from 0), number of callees.

        Args:
            order: what callees of one node are sorted by, from their nodes.
        """
        callees: dict[int, list[int]] = {}
        for node in range(1, len(self.parent)):
            callees.setdefault(self.parent[node], []).append(node)
        waiting = [(node, 0) for node in self._sorted(callees.get(ROOT, []), order)]
        while waiting:
            node, depth = waiting.pop()
            below = callees.pop(node, [])
            waiting += ((callee, depth + 1) for callee in self._sorted(below, order))
            yield node, depth, len(below)

    @staticmethod
    def _sorted(nodes: list[int], order: Callable[[int], object]) -> list[int]:
        return sorted(nodes, key=order, reverse=True)  # type: ignore[arg-type]  # the last is taken first

    def stacks(self, order: Callable[[int], object]) -> Iterator[tuple[list[int], int]]:
        """Every stack that raised events: the numbers of its frames, outermost first, and how many.

        The list is the same each time, and changed.
        """
        path: list[int] = []
        for node, depth, _ in self.walk(order):
            del path[depth:]
            path.append(self.frame[node])
            if self.own[node]:
                yield path, self.own[node]

    def by_name(self) -> Callable[[int], object]:
        """An order that is the same for the same events: that of the alphabet."""
        return lambda node: tuple(part or "" for part in self.frames[self.frame[node]])


def folded(tree: Tree, show: Show) -> Iterator[str]:
    r"""Lines of the folded format. A `;` within a frame becomes `\x3b`.

    Args:
        tree: the events.
        show: makes text printable, on one line.
    """
    labels = [_folded_frame(frame, show) for frame in tree.frames]
    for path, count in tree.stacks(tree.by_name()):
        yield f"{';'.join(labels[number] for number in path)} {count}\n"


def speedscope(tree: Tree, show: Show, name: str) -> Iterator[str]:
    """Pieces of one JSON document in ASCII: a profile of samples, one for each stack, weighted by its events.

    Args:
        tree: the events.
        show: makes text printable.
        name: of the profile.
    """
    frames = [{"name": show(frame.name), "file": show(frame.file)} if frame.file else {"name": show(frame.name)}
              for frame in tree.frames]  # fmt: skip
    yield f'{{"$schema":{_json(SCHEMA)},"exporter":"pythonaudit","name":{_json(name)},"activeProfileIndex":0,'
    yield f'"shared":{{"frames":{_json(frames)}}},"profiles":[{{"type":"sampled","name":{_json(name)},'
    yield f'"unit":"none","startValue":0,"endValue":{sum(tree.own)},"samples":['
    weights: list[int] = []
    for path, count in tree.stacks(tree.by_name()):
        yield "," * bool(weights) + _json(path)
        weights.append(count)
    yield f'],"weights":{_json(weights)}}}]}}\n'


def _folded_frame(frame: Frame, show: Show) -> str:
    label = show(f"{frame.name} ({frame.file})" if frame.file else frame.name).replace(";", "\\x3b")
    return _NUMBER_AT_END.sub(r"\\x20", label) or "?"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
