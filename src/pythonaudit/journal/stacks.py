"""The stacks of one segment: their JSON, and the line of code that people look for.

Stacks form a tree, and both are made of what is known of the caller's stack and one frame more: while
modules are imported, nearly every stack is a new one, and nearly all of it is not. The JSON of a stack
is kept when it was asked for, and where stacks part; all that within bounds.
"""

from __future__ import annotations

import numpy as np
import orjson

from pythonaudit.journal import layout
from pythonaudit.journal.segment import Column, Segment

Frame = tuple[str, int, str]

_CACHE_BYTES = 32 << 20
_KEPT_EVERY = 4  # frames: to keep a stack costs about as much as to make that many


#: Raises events for what others log (recorder/logs.py).
_HANDLER = "/pythonaudit/recorder/logs.py"
#: What may stand between that and whoever logs, besides the standard library.
_LOGGERS = ("/structlog/", "/loguru/")


def library_nodes(segment: Segment) -> Column:
    """Which frames (nodes) stand for nobody: those of the standard library, and those through which something is
    logged as an event, from our handler out to whoever logs.
    """
    found: Column = segment.code_library[segment.node_code]
    numbers, which = np.unique(segment.code_file, return_inverse=True)
    files = [segment.text(number) for number in numbers.tolist()]
    is_handler = np.array([file.endswith(_HANDLER) for file in files], bool)[which]
    if not is_handler.any():
        return found
    is_logger = np.array([any(part in file for part in _LOGGERS) for file in files], bool)[which]
    found = found.copy()
    for node in np.flatnonzero(is_handler[segment.node_code]).tolist():
        at = node
        for _ in range(layout.STACK_MAX_NODES):
            code = int(segment.node_code[at])
            if not at or not (found[at] or is_handler[code] or is_logger[code]):
                break
            found[at] = True
            at = int(segment.node_parent[at])
    return found


def code_nodes(segment: Segment, nodes: Column) -> Column:
    """Which frame (node) of each stack is the line of code that did it, as `Stacks.code_frame` says; 0: none.

    Args:
        segment: of the stacks.
        nodes: their ids.
    """
    is_library = library_nodes(segment)
    files, which = np.unique(segment.code_file, return_inverse=True)
    frozen = np.array([segment.text(number).startswith("<frozen ") for number in files.tolist()], bool)
    is_frozen = frozen[which][segment.node_code]
    found = np.array(nodes, np.int64)
    rows, at = np.flatnonzero(found), found[found > 0]
    in_file = np.zeros(len(found), bool)  # of those of the library: whether it is settled which
    for _ in range(layout.STACK_MAX_NODES):
        is_code = ~is_library[at]
        found[rows[is_code]] = at[is_code]
        first = ~is_code & ~is_frozen[at] & ~in_file[rows]
        found[rows[first]] = at[first]
        in_file[rows[first]] = True
        rows, at = rows[~is_code], segment.node_parent[at[~is_code]]
        rows, at = rows[at > 0], at[at > 0]
    return found


class Stacks:
    """The stacks of a segment, by node id; 0 is none.

    Args:
        segment: the segment.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._parents: list[int] = segment.node_parent.tolist()
        self._codes: list[int] = segment.node_code.tolist()
        self._lines: list[int] = segment.node_line.tolist()
        self._is_library: list[bool] = library_nodes(segment).tolist()
        callees = np.bincount(segment.node_parent, minlength=len(segment.node_parent))
        self._is_fork: list[bool] = (callees > 1).tolist()
        self._rests: dict[int, tuple[int, bytes]] = {}
        self._bytes = 0
        self._code_json: dict[int, tuple[bytes, bytes]] = {}
        self._code_frames: dict[int, Frame | None] = {}

    def json(self, node: int) -> bytes:
        """A stack as a JSON array, innermost first."""
        return b"[" + self.rest(node)

    def rest(self, node: int) -> bytes:
        """The same without the bracket at its beginning."""
        found = self._rests.get(node)
        return found[1] if found else self._build(node)

    def code_frame(self, node: int) -> Frame | None:
        """The line of code that did it: the innermost frame outside the standard library.

        Where all is library: the innermost in a file, else of all. None: there is no frame.
        """
        try:
            return self._code_frames[node]
        except KeyError:
            found = self._code_frames[node] = self._find_code_frame(node)
            return found

    def _build(self, node: int) -> bytes:
        """The JSON of a stack from that of the nearest of its callers that is known."""
        path: list[int] = []
        depth, rest, at = 0, b"", node
        while at and len(path) < layout.STACK_MAX_NODES:
            known = self._rests.get(at)
            if known is not None and known[0] + len(path) <= layout.STACK_MAX_NODES:
                depth, rest = known
                break
            path.append(at)
            at = self._parents[at]
        is_cut = at != 0 and not depth
        frames: list[bytes] = []
        for at in reversed(path):
            frames.append(self._frame_json(at) + (b"," if rest or frames else b"]"))
            if at == node or (len(frames) >= _KEPT_EVERY and self._is_fork[at] and not is_cut):
                rest = b"".join(reversed(frames)) + rest
                depth += len(frames)
                frames.clear()
                self._keep(at, depth, rest)
        return rest

    def _frame_json(self, node: int) -> bytes:
        code, line = self._codes[node], self._lines[node]
        before, after = self._code_json.get(code) or self._build_code_json(code)
        return b'%s"line":%d,%s' % (before, line, after) if line else before + after

    def _keep(self, node: int, depth: int, rest: bytes) -> None:
        self._bytes += len(rest)
        if self._bytes > _CACHE_BYTES:
            self._rests.clear()
            self._bytes = len(rest)
        self._rests[node] = depth, rest

    def _build_code_json(self, code: int) -> tuple[bytes, bytes]:
        """The JSON object of a frame, before and after its line."""
        segment = self._segment
        file = segment.text(int(segment.code_file[code]))
        function = segment.text(int(segment.code_function[code]))
        found = b'{"file":%s,' % orjson.dumps(file), b'"function":%s}' % orjson.dumps(function)
        # What is kept is in proportion to the segment: codes are many, but long names are not.
        if len(file) + len(function) <= layout.NAME_MAX_BYTES // 4:
            self._code_json[code] = found
        return found

    def _find_code_frame(self, node: int) -> Frame | None:
        innermost, library = node, 0
        for _ in range(layout.STACK_MAX_NODES):
            if not node:
                break
            if not self._is_library[node]:
                return self._frame(node)
            if not library and not self._frame(node)[0].startswith("<frozen "):
                library = node
            node = self._parents[node]
        return self._frame(library or innermost) if innermost else None

    def _frame(self, node: int) -> Frame:
        segment, code = self._segment, self._codes[node]
        file = segment.text(int(segment.code_file[code]))
        return file, self._lines[node], segment.text(int(segment.code_function[code]))
