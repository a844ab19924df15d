"""Events of a segment to packages: who did it, by the innermost frame outside the standard library.

A frame of a file is of that file's package (`packages`). Code that was made at run time has no file; it is

- of the frame that runs it, where that is the code of an `exec` itself: so is what follows from it;
- of whoever compiled or ran code under its name (`<string>`, `<attrs generated init …>`), where the segment
  shows that they are all of one package;
- else of the frame that calls it.

What a line of a .pth file does has frames of `site` alone below it: it is of the package that brought the file,
or of the file. Which file that is tells the last one that `site` opened in that thread.

Of a process of another host or container nothing is known here: its paths lead elsewhere. A version that was
installed after the segment was begun is not told: what ran may have been another one.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import orjson

from pythonaudit.journal.liveness import is_here
from pythonaudit.journal.packages import Package, PackageFinder, finder_for
from pythonaudit.journal.segment import Column
from pythonaudit.journal.stacks import library_nodes

if TYPE_CHECKING:
    from pythonaudit.journal.decode import SegmentDecoder

_MAKERS = ("compile", "exec")
_SITE = "/site.py"
_PTH = "addpackage"


class Attribution:
    """The packages of the events of a segment.

    Attributes:
        packages: those that occur; the first is None, for none.
        rows: for each event, the position of its package there.
        codes: the same for each code object, by id; 0 for the standard library and what has no file.
    """

    def __init__(self, packages: list[Package | None], rows: Column, codes: Column) -> None:
        self.packages = packages
        self.rows = rows
        self.codes = codes

    def members(self) -> list[bytes]:
        """For each package, the member of an event's JSON object that tells it, with a comma before."""
        found = []
        for package in self.packages:
            said = {"name": package.name, "version": package.version} if package else {}
            object_ = orjson.dumps({name: value for name, value in said.items() if value})
            found.append(b',"package":' + object_ if package else b"")
        return found


def attribute(decoder: SegmentDecoder) -> Attribution:
    """Attributes the events of a segment, by what is installed now."""
    return _Attributing(decoder).result()


class _Attributing:
    def __init__(self, decoder: SegmentDecoder) -> None:
        self._decoder = decoder
        self._segment = decoder.segment
        path = decoder.process.attributes.get("path")
        entries = path if isinstance(path, list) else []
        self._finder: PackageFinder = finder_for(tuple(entry for entry in entries if isinstance(entry, str)))
        self._is_here = is_here(decoder.process.host, decoder.process.pid_namespace)
        self._begin_ns = min(decoder.segment.header.begin_realtime, (1 << 63) - 1)
        self._numbers: dict[Package | None, int] = {None: 0}

    def result(self) -> Attribution:
        codes, generated = self._codes()
        nodes = self._nodes(codes)
        if generated:
            makers = self._makers({self._text(code) for code in generated}, nodes)
            if makers:
                made = codes.copy()
                for code in generated:
                    made[code] = makers.get(self._text(code), 0) or made[code]
                nodes = self._nodes(made)
        rows = nodes[self._segment.events.stack]
        self._attribute_pth(rows)
        return Attribution(list(self._numbers), rows, codes)

    def _codes(self) -> tuple[Column, list[int]]:
        """The package of each code object, and which of them are functions of generated code."""
        segment, cwd = self._segment, self._decoder.process.cwd
        found, generated = [0], []
        rows = zip(segment.code_file[1:].tolist(), segment.code_library[1:].tolist(), strict=True)
        for code, (file_id, library) in enumerate(rows, 1):
            file = segment.text(file_id)
            package = None
            if file.startswith("<"):
                if not library and segment.text(int(segment.code_function[code])) != "<module>":
                    generated.append(code)
            elif file and not library and self._is_here:
                package = self._finder.package(file if file.startswith("/") or not cwd else f"{cwd}/{file}")
            found.append(self._number(package))
        return np.array(found, np.int32), generated

    def _nodes(self, codes: Column) -> Column:
        """The package of each stack: that of its frame, else that of its caller's stack."""
        own = codes[self._segment.node_code]
        own[0] = 0
        own[library_nodes(self._segment)] = 0
        # Each stack looks at one farther out, until that knows: of its caller, of the caller's, of the fourth, ….
        at = np.where(own > 0, np.arange(len(own)), self._segment.node_parent)
        while not np.array_equal(farther := at[at], at):
            at = farther
        return own[at]

    def _makers(self, files: set[str], nodes: Column) -> dict[str, int]:
        """Of generated code, by the name of its file: the only package that made some."""
        found: dict[str, set[int]] = defaultdict(set)
        for row in self._rows_named(_MAKERS):
            stack = int(self._segment.events.stack[row])
            for file in self._code_names(row):
                if file in files:
                    found[file].add(int(nodes[stack]))
        return {file: next(iter(packages)) for file, packages in found.items() if len(packages) == 1}

    def _code_names(self, row: int) -> list[str]:
        values = self._decoder.load_arguments(self._args(row))
        names = []
        for value in values:
            code = value.get("$code") if isinstance(value, dict) else None
            name = code.get("file") if isinstance(code, dict) else value
            if isinstance(name, str) and name.startswith("<"):
                names.append(name)
        return names

    def _attribute_pth(self, rows: Column) -> None:
        """Events of lines of .pth files, in place: nobody but `site` has called them."""
        events = self._segment.events
        runs, inside = self._inside_site()
        is_run = np.zeros(len(events), bool)
        is_run[self._rows_named(("exec",))] = True
        orphans = np.flatnonzero((rows == 0) & (inside[events.stack] | (is_run & runs[events.stack])))
        if not len(orphans):
            return
        for slot in np.unique(events.slot[orphans]).tolist():
            mine = np.flatnonzero(events.slot == slot)
            opened = [(row, path) for row in self._rows_named(("open",), mine) if (path := self._pth(row))]
            if not opened:
                continue
            places = np.searchsorted([row for row, _ in opened], orphans[events.slot[orphans] == slot]) - 1
            for row, place in zip(orphans[events.slot[orphans] == slot].tolist(), places.tolist(), strict=True):
                if place >= 0 and opened[place][0] != row and self._is_here:
                    rows[row] = self._number(self._finder.owner(opened[place][1]))

    def _inside_site(self) -> tuple[Column, Column]:
        """For each stack, whether it is of `site.addpackage`, and whether it is of code that this runs."""
        segment = self._segment
        functions = np.unique(segment.code_function).tolist()
        if not any(segment.text(function) == _PTH for function in functions):
            nowhere = np.zeros(len(segment.node_code), bool)
            return nowhere, nowhere
        parents, node_codes = segment.node_parent.tolist(), segment.node_code.tolist()
        names = [
            segment.text(function) == _PTH and segment.text(file).endswith((_SITE, "<frozen site>"))
            for file, function in zip(segment.code_file.tolist(), segment.code_function.tolist(), strict=True)
        ]
        found = [False]
        for parent, code in zip(parents[1:], node_codes[1:], strict=True):
            above = node_codes[parent]
            found.append(found[parent] or (names[above] and not names[code]))
        return np.array(names)[self._segment.node_code], np.array(found)

    def _pth(self, row: int) -> str | None:
        args = self._args(row)
        values = self._decoder.load_arguments(args) if b".pth" in args else []
        path = values[0] if values else None
        return path if isinstance(path, str) and path.endswith(".pth") else None

    def _rows_named(self, names: tuple[str, ...], among: Column | None = None) -> list[int]:
        events = self._segment.events
        ids = [number for number in np.unique(events.name).tolist() if self._segment.text(number) in names]
        wanted = np.isin(events.name, ids)
        found: list[int] = (np.flatnonzero(wanted) if among is None else among[wanted[among]]).tolist()
        return found

    def _args(self, row: int) -> bytes:
        events = self._segment.events
        start = int(events.start[row])
        return bytes(self._segment.data[start : start + int(events.length[row])])

    def _text(self, code: int) -> str:
        return self._segment.text(int(self._segment.code_file[code]))

    def _number(self, package: Package | None) -> int:
        if package is not None and package.changed_ns:
            known = package.changed_ns <= self._begin_ns
            package = Package(package.name, package.version if known else None)
        return self._numbers.setdefault(package, len(self._numbers))
