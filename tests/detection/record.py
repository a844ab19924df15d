"""Records the samples of rules anew: `python -m tests.detection.record [RULE ...]`.

Beside each rule's samples lies `emulate.py`: `match()` does what the rule looks for, harmlessly, `nomatch()` nearly the
same. Each is run recorded, in a directory of its own that is its home as well; of what was recorded, the events of the
names that the rule asks for and that the emulation itself caused are kept. What says something of the machine is
replaced: paths, names, numbers of processes, and the time: samples begin at `_BEGIN`, or at an emulation's own `BEGIN`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from pythonaudit.detect.library import OURS, Library, load_library
from pythonaudit.detect.rules import Rule
from pythonaudit.journal.decode import format_time
from tests.commands import COMMAND, environment

HERE = Path(__file__).parent
_PROGRAM = "import app, sys; getattr(app, sys.argv[1])()\n"
_BEGIN = "2026-11-22T14:30:00"
_ITS_BEGIN = re.compile(r'^BEGIN = "([0-9T:-]+)"$', re.MULTILINE)
_MOST = 20
_DROPPED = ("run", "boot", "context", "thread", "package")  # the package is the directory of the emulation


def record(rule: str) -> dict[str, list[dict[str, Any]]]:
    """The samples of a rule, by the name of the function."""
    names = asked_names(OURS / f"{rule}.yml")
    return {
        function: list(_emulate(HERE / rule / "emulate.py", function, names)) for function in ("match", "nomatch")
    }


@cache
def _ours() -> Library:
    with tempfile.TemporaryDirectory() as empty:
        return load_library(Path(empty))


def asked_names(path: Path) -> set[str] | None:
    """The names of events that the rules of a file, and those they refer to, ask for, in lower case; None: any."""
    library = _ours()
    asked = [place for place, rule in enumerate(library.rules) if Path(rule.head.file).name == path.name]
    names: set[str] = set()
    while asked:
        rule = library.rules[asked.pop()]
        if not isinstance(rule, Rule):
            asked += library.references[rule.head.id]
        elif rule.events is None:
            return None
        else:
            names |= set(rule.events)
    return names


def _emulate(program: Path, function: str, names: set[str] | None) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as text:
        place = Path(text).resolve()
        (place / "app.py").write_bytes(program.read_bytes())
        (place / "begin.py").write_text(_PROGRAM)
        store = place / "store"
        variables = environment(HOME=str(place), PYTHONDONTWRITEBYTECODE="1")
        variables["PYTHONPATH"] += os.pathsep + str(place)
        command = [*COMMAND, "--dir", str(store), "run", "--", sys.executable, "begin.py", function]
        subprocess.run(
            command, cwd=place, env=variables, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        shown = [*COMMAND, "--dir", str(store), "log", "--format", "jsonl"]
        lines = subprocess.run(shown, env=variables, check=True, stdout=subprocess.PIPE).stdout.splitlines()
        events = [json.loads(line) for line in lines]
        caused = [event for event in events if _is_caused(event, place, function)]
        wanted = [event for event in caused if names is None or event["event"].lower() in names]
        if names is None:
            wanted = [event for event in caused if _is_of_application(event)]
        own = _ITS_BEGIN.search(program.read_text())
        shift = _parse_ns(own[1] if own else _BEGIN) - (_time_ns(wanted[0]) if wanted else 0)
        yield from (_neutral(event, place, _time_ns(event) + shift) for event in wanted[:_MOST])


def _is_caused(event: dict[str, Any], place: Path, function: str) -> bool:
    frames = event.get("stack", [])
    return any(frame.get("function") == function and frame["file"] == str(place / "app.py") for frame in frames)


def _is_of_application(event: dict[str, Any]) -> bool:
    return event["category"] == "application" or event["source"] == "application"


def _time_ns(event: dict[str, Any]) -> int:
    text: str = event["time"]
    return _parse_ns(text[:19]) + int(text[20:29])


def _parse_ns(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) * 1_000_000_000


def _neutral(event: dict[str, Any], place: Path, time_ns: int) -> dict[str, Any]:
    """The event without what differs from machine to machine, at a moment that does not either."""
    processes = {event["process"]: "0" * 31 + "1"}
    said = {key: value for key, value in event.items() if key not in _DROPPED}
    said["time"] = format_time(time_ns).decode()
    said |= {"host": "host-1", "pid": 1001, "ppid": 1000, "tid": 1001, "uid": 1000, "user": "alice"}
    text = json.dumps(said, ensure_ascii=False)
    prefixes = {
        sys.executable: "/usr/bin/python3",
        str(place): "/srv/app",
        sysconfig.get_path("stdlib"): "/usr/lib/python3",
        os.path.realpath(sys.executable): "/usr/bin/python3",
        sys.prefix: "/usr",
        sys.base_prefix: "/usr",
        **processes,
    }
    for theirs, neutral in prefixes.items():
        text = text.replace(theirs, neutral)
    found: dict[str, Any] = json.loads(text)
    return found


def main(rules: list[str]) -> None:
    """Writes the samples of rules, or of all that have an emulation."""
    for rule in rules or sorted(path.parent.name for path in HERE.glob("*/emulate.py")):
        for function, events in record(rule).items():
            lines = (json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in events)
            (HERE / rule / f"{function}.jsonl").write_text("".join(lines))
            print(f"{rule}/{function}.jsonl: {len(events)} events")


if __name__ == "__main__":
    main(sys.argv[1:])
