"""Every command's answer about real programs, beside what an independent witness saw of them.

The witness is an audit hook in Python (witness_hook.py), and strace where there is one. Each program runs once for
all commands. They are asked of the journal, and of the archive that it is moved to.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pythonaudit import catalog, cli
from tests.conftest import EXTREMES, Installed
from tests.environments.conftest import Fetch
from tests.environments.witness_hook import ARGUMENTS
from tests.environments.workloads import PACKAGES, WORKLOADS, Runs, Seen, let_watch, run_twice
from tests.flames import read_folded, stack_of, unescape_folded
from tests.integration.process_witness import assert_as_witnessed, read_witness

#: Raised when hooks of Python are gone already; and what the witness leaves out.
UNSEEN = ("cpython.PyInterpreterState_Clear", "cpython._PySys_ClearAuditHooks", "object.__getattr__")
#: Events that may be counted instead of recorded, by who raised them: then they are in sums and nowhere else.
COUNTED = {name for name, info in catalog.events().items() if "count" in (info.mode, info.mode_stdlib)}
#: Which of their arguments are paths.
PATHS = {
    **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.mkdir", "os.remove", "os.rmdir"), (0,)),
    **{"os.rename": (0, 1), "os.chmod": (0,), "shutil.rmtree": (0,), "import": (1,)},
}


class Place(NamedTuple):
    """A line of code."""

    file: str | None
    line: int | None
    function: str | None


@pytest.fixture(scope="module")
def environment(install: Callable[..., Installed]) -> Installed:
    """With the newest interpreter: it takes long."""
    return let_watch(install(EXTREMES[-1]))


@pytest.fixture(scope="module", params=WORKLOADS)
def runs(
    request: pytest.FixtureRequest, environment: Installed, fetch: Fetch, tmp_path_factory: pytest.TempPathFactory
) -> Runs:
    packages = fetch(environment.interpreter, *PACKAGES)
    return run_twice(WORKLOADS[request.param], environment, packages, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def distributions(environment: Installed, fetch: Fetch) -> Distributions:
    return Distributions(fetch(environment.interpreter, *PACKAGES), environment.purelib)


@pytest.fixture(scope="module", params=["journal", "archive"])
def audit(request: pytest.FixtureRequest, runs: Runs) -> Path:
    """What was recorded, as it was written or moved to the archive."""
    if request.param == "journal":
        return runs.audit
    moved = runs.audit.with_name("archived")
    if not moved.exists():
        shutil.copytree(runs.audit, moved)
        print_of(moved, "ingest", "--compact")
        assert not list(moved.rglob("*.pyaudit"))
    return moved


def print_of(audit: Path, *words: str) -> str:
    """What a command prints."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(["--dir", str(audit), *words])
    out.flush()
    assert (status, err.getvalue()) == (0, "")
    return out.buffer.getvalue().decode()  # type: ignore[attr-defined]


def ask(audit: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in print_of(audit, *words, "--format", "jsonl").splitlines()]


def only(*names: str) -> list[str]:
    return [word for name in names for word in ("--event", name)]


def is_library(file: str) -> bool:
    return file.startswith("<frozen ") or ("/lib/python3." in file and "-packages/" not in file)


def place_of(seen: Seen) -> Place:
    """The line of code that did it: outside the standard library, else the innermost in a file."""
    if not seen.frames:
        return Place(None, None, None)
    frames = [Place(*frame) for frame in seen.frames]
    own = [frame for frame in frames if not is_library(frame.file)]
    return (own or [frame for frame in frames if not frame.file.startswith("<")] or frames)[0]


class Distributions:
    """Files of what is installed, by the lists of the distributions themselves."""

    def __init__(self, *directories: Path) -> None:
        # What is vendored together with its metadata is itself.
        places = {info.parent for directory in directories for info in directory.rglob("*.dist-info")}
        self._owners = {
            str(distribution.locate_file(file)): f"{distribution.name} {distribution.version}"
            for distribution in metadata.distributions(path=map(str, sorted(places)))
            for file in distribution.files or ()
        }

    def of(self, seen: Seen, home: Path) -> str | None:
        """Whose code did it: of frames in files of a distribution, or of the project, the innermost."""
        for file, _, _ in seen.frames:
            if file in self._owners:
                return self._owners[file]
            if file.startswith(f"{home}/"):
                return "shop"
        return None


def test_log(runs: Runs, audit: Path) -> None:
    """Each thread's events, in their order, with what they were done to."""
    ours: dict[tuple[int, int], list[Any]] = {}
    for row in ask(audit, "log", "--run", "a"):
        if row["event"] not in COUNTED and row["event"] not in UNSEEN:
            args = row.get("args", [])[: ARGUMENTS.get(row["event"], 0)]
            ours.setdefault((row["pid"], row["tid"]), []).append((row["event"], args))
    theirs: dict[tuple[int, int], list[Any]] = {}
    for seen in runs.witnessed["a"].events:
        if seen.event not in COUNTED and seen.event not in UNSEEN:
            theirs.setdefault((seen.pid, seen.tid), []).append((seen.event, seen.args))
    assert sum(map(len, theirs.values())) > 1000
    assert ours == theirs


def test_log_by_path(runs: Runs, audit: Path) -> None:
    for glob in ("*.py", f"{runs.home['a']}/*", "*a*"):
        rows = ask(audit, "log", "--run", "a", "--path", glob, *only(*PATHS))
        ours = Counter((row["pid"], row["event"], row["args"][0]) for row in rows)
        theirs = Counter(
            (seen.pid, seen.event, seen.args[0])
            for seen in runs.witnessed["a"].of(*PATHS)
            if any(fnmatchcase(path, glob) for path in paths(seen, runs.witnessed["a"].processes[seen.pid][2]))
        )
        assert ours == theirs
        assert len(theirs) > 1, glob


def paths(seen: Seen, directory: str) -> Iterable[str]:
    """The paths of an event, as given and from where its process began."""
    for path in (seen.args[at] for at in PATHS[seen.event]):
        if isinstance(path, str):
            yield from (path, os.path.normpath(os.path.join(directory, path)))


@pytest.mark.parametrize("by", ["event", "process", "file", "package"])
def test_stats(runs: Runs, audit: Path, distributions: Distributions, by: str) -> None:
    events = runs.witnessed["a"].events
    names = only(*ARGUMENTS) if by != "event" else []
    rows = ask(audit, "stats", "--run", "a", "--by", by, *names)
    if by == "event":
        ours = Counter({row["event"]: row["recorded"] + row["counted"] for row in rows})
        assert ours["object.__getattr__"] > 1000
        for name in UNSEEN:
            del ours[name]
        assert ours == Counter(seen.event for seen in events)
        assert len(ours) > 15
        return
    assert not any(row["counted"] for row in rows)
    ours = Counter({row.get(by): row["recorded"] for row in rows})
    asked = runs.witnessed["a"].of(*ARGUMENTS)
    if by == "process":
        pids = {row["process"]: row["pid"] for row in ask(audit, "sql", "SELECT process, pid FROM processes")}
        ours = Counter({pids[process]: count for process, count in ours.items()})
        assert ours == Counter(seen.pid for seen in asked)
        assert len(ours) > 1
    elif by == "file":
        assert ours == Counter(place_of(seen).file for seen in asked)
        assert len(ours) > 5
    else:
        assert ours == Counter(distributions.of(seen, runs.home["a"]) for seen in asked)
        assert len(ours) > 1


@pytest.mark.parametrize(
    ("act", "pattern", "event", "at"),
    [
        ("opens", "*", "open", 0),
        ("opens", "*.py", "open", 0),
        ("imports", "[i-p]*", "import", 0),
        ("runs", "*", "subprocess.Popen", 1),
    ],
)
def test_who(
    runs: Runs, audit: Path, distributions: Distributions, act: str, pattern: str, event: str, at: int
) -> None:
    theirs = Counter(
        (distributions.of(seen, runs.home["a"]), place_of(seen))
        for seen in runs.witnessed["a"].of(event)
        if pattern == "*" or fnmatchcase(str(seen.args[at]), pattern)
    )
    words = ("who", act, pattern, "--run", "a", *only(event))
    ours = Counter()
    for row in ask(audit, *words) if theirs else ():
        package = " ".join(filter(None, (row.get("package"), row.get("version")))) or None
        ours[package, Place(*map(row.get, Place._fields))] = row["count"]
    assert ours == theirs
    assert theirs or act == "runs"


def test_stacks(runs: Runs, audit: Path) -> None:
    text = print_of(audit, "stacks", "--run", "a", "--event", "open")
    theirs = Counter(stack_of(seen.frames, 64) for seen in runs.witnessed["a"].of("open"))
    assert unescape_folded(read_folded(text)) == theirs
    assert theirs.total() > 300 and len(theirs) > 50


def test_tree(runs: Runs, audit: Path) -> None:
    rows = ask(audit, "tree", "--run", "a")
    mine = [row for row in rows if "process" in row]
    processes = runs.witnessed["a"].processes
    assert {row["pid"]: (row["ppid"], row["argv"]) for row in mine} == {
        pid: (ppid, words[1:]) for pid, (ppid, words, _) in processes.items()
    }
    pids = {row["process"]: row["pid"] for row in mine}
    for row in mine:
        parent = processes[row["pid"]][0]
        assert pids.get(row.get("parent_process")) == (parent if parent in processes else None)
    assert len(pids) == len(mine) > 1


def test_tree_beside_strace(runs: Runs, audit: Path) -> None:
    """Also of what is not Python, and has no hook."""
    if runs.strace is None:
        pytest.skip("no strace here")
    assert_as_witnessed(ask(audit, "tree", "--run", "a"), read_witness(runs.strace))


def test_files_beside_strace(runs: Runs, audit: Path) -> None:
    """What is opened is an event first; and of files that Python alone opens, each that the kernel saw has one.

    An event is an attempt, and there are several for one system call, and system calls of C libraries without
    one: so files are compared, not numbers, and in the other direction only those of Python code and text.
    """
    if runs.strace is None:
        pytest.skip("no strace here")
    witness = read_witness(runs.strace)
    ours: dict[int, set[str]] = {}
    for row in ask(audit, "log", "--run", "a", "--event", "open"):
        # An opener may open another file than it is given: that of tempfile is given the directory.
        (path, *_), (inner, *_) = row["args"], row.get("stack", [{"file": ""}])
        if isinstance(path, str) and not inner["file"].endswith("/tempfile.py"):
            ours.setdefault(row["pid"], set()).add(path)
    assert len(ours) > 1
    for pid, mine in ours.items():
        assert mine <= witness.opened[pid]
        places = (f"{runs.packages}/", f"{runs.home['a']}/")
        theirs = {
            path
            for path in witness.opened[pid]
            if path.startswith(places) and path.endswith((".py", ".pyc", ".txt", ".html", "METADATA"))
        }
        assert theirs <= mine
    assert sum(map(len, ours.values())) > 200


def test_sql(runs: Runs, audit: Path) -> None:
    events = runs.witnessed["a"].events

    def texts(*values: Any) -> tuple[str, ...]:
        return tuple(map(str, values))

    def count(columns: str, condition: str, tables: str = "events") -> Counter[tuple[Any, ...]]:
        select = (
            f"SELECT [{columns}] AS key, count(*) AS n FROM {tables} WHERE run = 'a' AND {condition} GROUP BY 1"
        )
        return Counter({texts(*row["key"]): row["n"] for row in ask(audit, "sql", select)})

    recorded = [seen for seen in events if seen.event not in COUNTED]
    all_of = f"event NOT IN {(*COUNTED, *UNSEEN)}"
    opened = runs.witnessed["a"].of("open")
    assert count("event", all_of) == Counter((seen.event,) for seen in recorded)
    assert count("pid, tid", all_of) == Counter(texts(seen.pid, seen.tid) for seen in recorded)
    assert count("args ->> 0, file, line::VARCHAR", "event = 'open'") == Counter(
        texts(seen.args[0], *place_of(seen)[:2]) for seen in opened
    )
    # The innermost frames, whoever they belong to.
    innermost = "events JOIN stacks USING (batch, stack_id)"
    assert count("stacks.file, stacks.line::VARCHAR", "event = 'open'", innermost) == Counter(
        texts(*seen.frames[0][:2]) for seen in opened if seen.frames
    )
    (sums,) = ask(
        audit,
        "sql",
        "SELECT sum(count)::BIGINT AS counted FROM counts JOIN processes USING (process)"
        " WHERE run = 'a' AND event = 'marshal.loads'",
    )
    assert sums["counted"] == len(runs.witnessed["a"].of("marshal.loads")) > 100


def test_diff(runs: Runs, audit: Path) -> None:
    """The second run did one thing more, and all that its witness saw of it has gone into that difference."""
    event, path = runs.workload.raises

    def planted(label: str) -> int:
        found = runs.witnessed[label].of(event)
        return sum(path is None or path in seen.args[:1] for seen in found)

    assert planted("a") == 0 < planted("b")
    (new, *others) = sorted(ask(audit, "diff", "a", "b"), key=lambda row: row["kind"] == "does")
    assert (new["change"], new["kind"], new["what"], new["count"]) == ("new", *runs.workload.change, planted("b"))
    assert {(row["change"], row["kind"]) for row in others} <= {
        ("new", "does")
    }  # of the version of Python: how it is brought about


@pytest.mark.parametrize("runs", ["django"], indirect=True)
def test_while_it_runs(runs: Runs) -> None:
    """To the last event: what its server and its workers had opened so far."""
    assert runs.meanwhile
    witnessed, tree, log = runs.meanwhile
    rows = [json.loads(line) for line in tree.splitlines()]
    assert {row["pid"]: row["state"] for row in rows} == dict.fromkeys(witnessed.processes, "running")
    ours = Counter((row["pid"], row["args"][0]) for row in map(json.loads, log.splitlines()))
    assert ours == Counter((seen.pid, seen.args[0]) for seen in witnessed.of("open"))
    orders = [seen for seen in witnessed.of("open") if str(seen.args[0]).endswith("/orders.txt")]
    assert (len(orders), len(rows)) == (12, 3)
