"""`pythonaudit report` of what real processes recorded: every number is counted again, from the journal alone."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pythonaudit.export.report import Asked, Period, Report, take_report
from pythonaudit.export.report_markdown import escape
from pythonaudit.journal import layout
from tests.archives import DAY_NS, archived_journal, process_of, write
from tests.commands import run
from tests.conftest import Installed
from tests.journal_writer import BEGIN_NS, SegmentWriter

PROGRAM = """
import os, subprocess, sys, tempfile
sys.audit("User logged in: username=johndoe, ip=192.168.0.1")
sys.audit("shop.order.paid", {"order": 7})
sys.audit("pythonaudit.read", {"command": "log", "filters": [], "user": "alice", "uid": 1000})
sys.audit("pythonaudit.read.end", {"command": "log", "events": 12, "status": 0})
with tempfile.TemporaryDirectory() as place:
    os.mkdir(os.path.join(place, "a")); os.rmdir(os.path.join(place, "a"))
open(os.path.join(os.environ["PYTHONAUDIT_DIR"], "nothing"), "a").close()
subprocess.run([sys.executable, "-c", "pass"])
subprocess.run(["/bin/true"])
"""


@dataclass
class Table:
    """A table of a page: its columns and the cells of each row."""

    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """What a page shows, as a browser sees it: its tables by heading, and what it could run or load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = ""
        self.tables: dict[str, list[Table]] = {}
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self._heading, self._open = "", ""
        self._words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "table":
            self.tables.setdefault(self._heading, []).append(Table())
        elif tag == "tr" and self._heading:
            self.tables[self._heading][-1].rows.append([])
        if tag in ("h2", "th", "td"):
            self._open, self._words = tag, []

    def handle_endtag(self, tag: str) -> None:
        said = "".join(self._words)
        if tag == "h2":
            self._heading = said
        elif tag == "th":
            self.tables[self._heading][-1].columns.append(said)
        elif tag == "td":
            self.tables[self._heading][-1].rows[-1].append(said)

    def handle_data(self, data: str) -> None:
        self.text += data
        self._words.append(data)

    def table(self, heading: str, column: str) -> dict[str, list[str]]:
        """The rows of the table with this first column, by their first cell."""
        (found,) = (table for table in self.tables[heading] if table.columns[0] == column)
        return {row[0]: row[1:] for row in found.rows if row}


def check_closed(text: str, page: Page) -> None:
    """Nothing in it runs, loads or leads anywhere."""
    known = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead", "tbody"}
    assert set(page.tags) <= known | {"tr", "th", "td"}
    names = {(tag, name) for tag, name, _ in page.attributes}
    wanted = {("html", "lang"), ("meta", "charset"), ("meta", "name"), ("meta", "content"), ("meta", "http-equiv")}
    assert names <= wanted | {("td", "class"), ("th", "scope"), ("p", "class")}
    assert "url(" not in text and "@import" not in text
    (policy,) = (value for _, name, value in page.attributes if name == "content" and value and "src" in value)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")


def numbers(page: Page, heading: str, column: str) -> dict[str, int]:
    return {name: int(cells[0].replace(",", "")) for name, cells in page.table(heading, column).items()}


@pytest.fixture(scope="module")
def store(installed_here: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recorded by real processes; some of it archived and sealed, some not."""
    directory = tmp_path_factory.mktemp("report") / "audit"
    installed_here.record(PROGRAM, directory=directory)
    assert run(directory, "keys", "init").returncode == 0
    (directory / "config.toml").write_text(
        '[retention]\nage = "53w"\nsize = "never"\n[[hold]]\nname = "case-17"\nreason = "a letter"\nhost = "x"\n'
    )
    assert run(directory, "ingest").returncode == 0
    installed_here.record(PROGRAM, directory=directory)
    return directory


@pytest.mark.parametrize("since_s", [3600, 0])
def test_every_number_is_that_of_the_journal(store: Path, tmp_path: Path, since_s: int) -> None:
    trails = archived_journal(store).processes()
    # From the beginning on, or from between the two programs on.
    middle_ns = sorted(trail.begin_ns for trail in trails)[2]
    since_ns = BEGIN_NS if since_s else middle_ns - 1
    until_ns = time.time_ns()
    moments = [f"{ns // 10**9}.{ns % 10**9:09d}" for ns in (since_ns, until_ns)]
    since, until = (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(float(m))) + m[m.index(".") :] + "Z" for m in moments
    )
    done = run(store, "report", "--since", since, "--until", until, "-o", str(tmp_path / "x.html"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "x.html").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / "x.html").read_text()
    page = Page(text)
    check_closed(text, page)
    events = [event for event in archived_journal(store).events() if since_ns <= event.time_ns < until_ns]
    lived = [trail for trail in trails if trail.begin_ns < until_ns and trail.end_ns >= since_ns]
    assert len(lived) >= (4 if since_s else 2)
    assert numbers(page, "Activity", "category") == Counter(event.category for event in events)
    names = Counter((event.template or event.event) for event in events)
    assert numbers(page, "Activity", "event") == dict(names.most_common(50)) or len(names) > 50
    packages = Counter(event.package.name if event.package else "none known" for event in events)
    assert numbers(page, "Activity", "package") == packages
    users = page.table("Activity", "user")
    assert users == {
        (lived[0].process.user or ""): [str(lived[0].process.uid), f"{len(events):,}", str(len(lived))]
    }
    notes = Counter(note for event in events for note in event.notes)
    assert numbers(page, "Activity", "note") == notes
    hosts = page.table("Coverage", "host")
    assert {name: int(cells[0]) for name, cells in hosts.items()} == Counter(t.process.host for t in lived)
    ways = Counter((trail.process.python, trail.process.way) for trail in lived)
    assert sorted(row[:3] for row in page.tables["Coverage"][1].rows if row) == sorted(
        [python, way, str(count)] for (python, way), count in ways.items()
    )
    ledger = numbers(page, "Coverage", "processes started by recorded ones, and these")
    tree = run(store, "tree", "--format", "jsonl", "--since", since, "--until", until).stdout.splitlines()
    in_tree = {
        word: sum(one["coverage"] == word and one.get("selected", True) for one in map(json.loads, tree))
        for word in ("recorded", "not-python", "not-recorded", "unexplained")
    }
    in_tree["recorded"] += sum(
        trail.process.way == "command" for trail in lived
    )  # who only read is not in the tree
    assert ledger == in_tree
    assert ledger["recorded"] == len(lived)
    assert f"{len(events):,} events, the first at" in page.text
    own = sum(event.category == "application" for event in events)
    made = sum(
        event.event in ("os.mkdir", "os.rmdir", "os.remove", "tempfile.mkdtemp", "shutil.rmtree")
        for event in events
    )
    assert f"{own:,} raised by applications, {made:,} to make, remove" in page.text
    counted = sum(trail.counted for trail in lived)
    ended = sum(trail.ended for trail in lived)
    begun = sum(trail.begin_ns >= since_ns for trail in lived)
    assert f"of which {begun} begun in the period; {ended} ended in order; in 0 the hook" in page.text
    assert f"they counted {counted:,} events" in page.text
    told = [
        (event.process.id, event.event, json.loads(event.args)[0])
        for event in events
        if "pythonaudit.read" in event.event
    ]
    readings = {process for process, event, said in told if said.get("user") == "alice"}
    shown = sum(said["events"] for process, event, said in told if process in readings and event.endswith(".end"))
    (row,) = (row for row in page.tables["Access to the trail"][0].rows if "alice" in row)
    assert row[:4] == ["log", "alice", str(len(readings)), str(shown)]
    others = {(row[0], row[1]) for row in page.tables["Access to the trail"][0].rows if row and row[1] != "alice"}
    assert others == {
        (said["command"], said["user"]) for _, event, said in told if said.get("user", "alice") != "alice"
    }
    opened = [event for event in events if event.event == "open" and str(store) in event.args.decode()]
    assert len(opened) == len(readings)
    assert f"{len(opened)} attempt" in page.text
    assert "Nothing was lost in the period" in page.text


def test_what_is_sealed_and_kept_is_told(store: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    assert run(store, "keys", "export", str(key)).returncode == 0
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes((store / "seal" / "checkpoint").read_bytes())
    done = run(
        store, "report", "--since", "1h", "--key", str(key), "--checkpoint", str(checkpoint), "--format", "html"
    )
    page = Page(done.stdout)
    check_closed(done.stdout, page)
    assert "Verdict: intact." in page.text
    assert list(page.table("Integrity", "anchor from outside")) == [
        f"key {key.read_text().strip()}",
        f"checkpoint of {checkpoint.read_text().splitlines()[1]} records",
        "the checkpoint vouches for the whole",
    ]
    limits = page.table("Retention and holds", "limit")
    assert limits["retention.age"] == ["371 days", "371 days"]
    assert limits["retention.size"] == ["without end", "without end"]
    rows = [
        row for table in page.tables["Retention and holds"] for row in table.rows if row and row[0] == "case-17"
    ]
    assert [row[-1] for row in rows] == ["log, at the end of the period", "configuration, now"]
    assert [row[0] for row in page.tables["Administrative events"][0].rows if row]
    kinds = [row[1] for row in page.tables["Administrative events"][0].rows if row]
    assert Counter(kinds) == {"begin": 1, "key": 1, "found": 1, "setting": 3, "hold": 1}
    states = {row[0]: row[2] for row in page.tables["PCI DSS 4, requirement 10"][0].rows if row}
    assert states["10.2.1.4"] == "not covered by pythonaudit"
    assert states["10.2.1.3"] == "shown in part"
    assert states["10.5.1"] == "not shown"  # it has not been kept for a year


@pytest.mark.parametrize("what", ["other key", "other checkpoint", "changed"])
def test_anchors_that_do_not_fit(store: Path, tmp_path: Path, what: str) -> None:
    other = tmp_path / "other"
    (other / "journal").mkdir(parents=True)
    assert run(other, "keys", "init", "--name", "pythonaudit/web-1/1f0a7c3e").returncode == 0
    if what == "other key":
        assert run(other, "keys", "export", str(tmp_path / "key")).returncode == 0
        words = ["--key", str(tmp_path / "key")]
    elif what == "other checkpoint":
        words = ["--checkpoint", str(other / "seal" / "checkpoint")]
    else:
        (path,) = (other / "seal").glob("*.jsonl")
        path.write_bytes(path.read_bytes().replace(b'"segments":0', b'"segments":1'))
        store, words = other, []
    done = run(store, "report", "--since", "1h", *words)
    assert done.returncode == 0
    assert "Verdict: tampered." in done.stdout


def test_what_makes_no_sense(store: Path, tmp_path: Path) -> None:
    (tmp_path / "nonsense").write_text("nonsense\n")
    wrong = (
        (2, ["--since", "soon"]),
        (2, ["--since", "1h", "--until", "2h"]),
        (2, ["--since", "1h", "--key", str(tmp_path / "nonsense")]),
        (2, ["--since", "1h", "--checkpoint", str(tmp_path / "nonsense")]),
        (3, ["--since", "1h", "--key", str(tmp_path / "nowhere")]),
        (3, ["--since", "1h", "-o", str(tmp_path / "nowhere" / "x.html")]),
        (2, []),
    )
    for status, words in wrong:
        done = run(store, "report", *words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    done = run(tmp_path / "nothing", "report", "--since", "1h")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_an_empty_period_says_so(store: Path, kind: str) -> None:
    done = run(store, "report", "--since", "2001-01-01", "--until", "2001-01-03", "--format", kind)
    assert done.returncode == 0
    assert done.stderr.startswith("pythonaudit: nothing was recorded in the period")
    assert "Nothing was recorded in this period: no process and no event." in done.stdout
    assert "shown in part" not in done.stdout.split("10.3.1")[0]
    assert "2 days of 2 days without an event" in done.stdout


def test_nothing_is_changed(store: Path) -> None:
    def state() -> dict[str, tuple[int, int]]:
        found = [path for path in store.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before = state()
    assert run(store, "report", "--since", "1h").returncode == 0
    after = state()
    own = {path for path in after.keys() - before.keys() if path.endswith(".pyaudit")}
    assert len(own) == 1  # that it was read
    usage = {path for path in before if path.endswith("/usage")}
    assert {path: after[path] for path in after.keys() - own - usage} == {
        path: before[path] for path in before.keys() - usage
    }


HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)> | `x` [a](http://e.vil) @root #1 \u202e\x1b[31m \\| a\\|b"


def test_hostile_text(tmp_path: Path) -> None:
    attributes = {
        "python": HOSTILE,
        "host": HOSTILE,
        "exe": "/usr/bin/python3",
        "argv": ["app.py"],
        "run": HOSTILE,
        "cwd": "/srv",
    }
    writer = SegmentWriter(begin_ns=BEGIN_NS, attributes=attributes)
    thread = writer.thread()
    thread.event(HOSTILE, [HOSTILE], source=layout.SOURCE_APPLICATION)
    thread.event("subprocess.Popen", ["python3", ["python3", "-c", HOSTILE], None, None])
    thread.event("pythonaudit.read", [{"command": HOSTILE, "user": HOSTILE, "events": "many"}])
    thread.event("pythonaudit.read", [HOSTILE])
    thread.event("pythonaudit.read", [])
    writer.save(tmp_path)
    (tmp_path / "config.toml").write_text(
        "[retention]\n[[hold]]\nname = '''</td><script>|'''\nreason = '''` @root | `'''\n"
    )
    words = ["report", "--since", "2026-11-22", "--until", "2026-11-24"]
    done = run(tmp_path, *words, "--format", "html")
    page = Page(done.stdout)
    check_closed(done.stdout, page)
    shown = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")
    assert shown in page.table("Coverage", "host")
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    assert page.table("Access to the trail", "command")[shown][:2] == [shown, "1"]
    done = run(tmp_path, *words, "--format", "markdown")
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
    width = 0
    for line in done.stdout.splitlines():
        outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", line)
        assert not re.search(r"[<`\[@\\]|script|https?:", outside), line
        # Whatever is in them, the rows of a table have as many cells as its head.
        cells = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) if line.startswith("| ") else 0
        assert cells == width or not (cells and width), line
        width = cells


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain text, a.py: 3 (of 4)", "plain text, a.py: 3 (of 4)"),
        ("snake_case_name", "snake_case_name"),
        ("_emphasis_", "`_emphasis_`"),
        ("1. item", "`1. item`"),
        ("- item", "`- item`"),
        ("a|b", "`a\\|b`"),
        ("a\\|b", "`a\\` `\\|b`"),
        ("`", "`` ` ``"),
        ("http://e.vil", "`http://e.vil`"),
        ("WWW.e.vil", "`WWW.e.vil`"),
        ("user@host", "`user@host`"),
        ("", ""),
    ],
)
def test_markdown(text: str, escaped: str) -> None:
    assert escape(text, in_table=True) == escaped


def take(directory: Path, since_ns: int, until_ns: int) -> Report:
    return take_report(archived_journal(directory), Period(since_ns, until_ns), Asked())


def test_losses_are_of_the_segments_of_the_period(tmp_path: Path) -> None:
    for number, age in enumerate((5, 1), 1):
        writer = SegmentWriter(process=process_of(number), begin_ns=BEGIN_NS - age * DAY_NS)
        writer.thread().event("open", ["/x"])
        writer.losses[0] = 10 * number
        writer.losses[6] = number
        writer.save(tmp_path)
    write(tmp_path, 3, 2, begin_ns=BEGIN_NS)
    assert take(tmp_path, BEGIN_NS - 2 * DAY_NS, BEGIN_NS - DAY_NS + DAY_NS // 2).losses.rows == [
        ("no-space", 1, 20),
        ("unrecorded-child", 1, 2),
    ]
    assert take(tmp_path, BEGIN_NS - 9 * DAY_NS, BEGIN_NS + DAY_NS).losses.rows == [
        ("no-space", 2, 30),
        ("unrecorded-child", 2, 3),
        ("missing-segments", 1, 2),
    ]


def test_many_names_are_cut_and_said(tmp_path: Path) -> None:
    writer = SegmentWriter()
    thread = writer.thread()
    for number in range(120):
        for _ in range(2 if number < 10 else 1):
            thread.event(f"app.event{number}", source=layout.SOURCE_APPLICATION)
    writer.save(tmp_path)
    names = take(tmp_path, BEGIN_NS - 1, BEGIN_NS + DAY_NS).activity.names
    assert (len(names.rows), names.more) == (50, 70)
    assert all(count == 2 for _, count in names.rows[:10])
