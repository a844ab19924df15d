"""What rules cost: 100 of them over a million events of an archive, on one core.

usage: python bench/detect.py [--events N] [--rules N] [--rounds N] [--live] [--batch N]

A program raises the events, as varied as a server's, recorded; `ingest` archives them. Rules are ours, but the one about
forged events, which these are, and more of the same kind: paths, commands, addresses, stacks, expressions, and one
correlation in ten. Each round says seconds from open store to alerts, wall and processor time; compiling is told apart:
it is done once.

--live leaves the events in the journal, and pushes them as the agent does: so many at a time, from decoded events to
alerts. Each round says how many events a second of processor time.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import environment

from pythonaudit.archive.ingest import ingest
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.reader import ArchivedSegments
from pythonaudit.detect.engine import Engine
from pythonaudit.detect.library import OURS, load_library
from pythonaudit.journal.reader import Journal
from pythonaudit.query.at_hand import build_processes, open_events
from pythonaudit.query.connection import connect

PROGRAM = """
import random, sys
some, audit = random.Random(7), sys.audit
def open_some(n): audit("open", f"/srv/app/data/{n % 5000}/part-{n % 97}.json", "r", 524288)
def connect(n): audit("socket.connect", None, (f"10.1.{n % 200}.{n % 251}", 5432))
def resolve(n): audit("socket.getaddrinfo", f"db-{n % 40}.example", 5432, 0, 0, 0)
def load(n): audit("import", f"package_{n % 300}.module_{n % 7}", None, None, None, None)
def remove(n): audit("os.remove", f"/srv/app/tmp/{n % 8000}.tmp", -1)
def start(n): audit("subprocess.Popen", "/usr/bin/convert", ["convert", f"{n % 900}.png", "out.jpg"], None, None)
def log_in(n): audit(f"User logged in: username=user{n % 400}, ip=192.0.2.{n % 250}")
def pay(n): audit("shop.order.paid", {"order": n, "amount": n % 100})
acts = [open_some] * 40 + [connect] * 12 + [resolve] * 6 + [load] * 16 + [remove] * 8 + [start] * 4 + [log_in] * 8 + [pay] * 6
for n in range(int(sys.argv[1])):
    some.choice(acts)(n)
"""


def record(directory: Path, events: int) -> None:
    command = [sys.executable, "-m", "pythonaudit", "--dir", directory, "run", "--", sys.executable, "-c", PROGRAM]
    env = os.environ | {"PYTHONPATH": str(environment.ROOT / "src")}
    subprocess.run([*command, str(events)], check=True, stderr=subprocess.DEVNULL, env=env)


def write_rules(place: Path, count: int) -> None:
    """Ours, and more of their kinds until there are enough."""
    some, made = random.Random(7), 0
    for path in sorted(OURS.glob("*.yml")):
        if "reserved-name" in path.read_text():
            continue  # it would match nearly everything
        made += path.read_text().count("\nlevel:")
        (place / path.name).write_bytes(path.read_bytes())
    base: str | None = None
    kinds = (
        lambda n: {
            "event": "open",
            "path|contains": [f"/secret{n}/", f"/key{n}"],
            "path|endswith": [".pem", ".key"],
        },
        lambda n: {"event": ["open", "os.remove"], "full_path|re": f"^/etc/[a-z]+{n}/.*[.]d$"},
        lambda n: {"event": "socket.connect", "address|cidr": f"198.51.{n}.0/24"},
        lambda n: {"event": "socket.getaddrinfo", "address|endswith": [f".evil{n}.example", f".bad{n}.example"]},
        lambda n: {"event": "subprocess.Popen", "child.image|endswith": f"/tool{n}"},
        lambda n: {
            "event": "import",
            "module|startswith": [f"evil{n}.", f"bad{n}."],
            "stack.file|contains": "/tmp/",
        },
        lambda n: {"category": "application", "template|contains": f"failed{n}"},
        lambda n: {"event": "subprocess.Popen", "command|contains|all": ["curl", f"host{n}"]},
        lambda n: {"event": "shop.order.paid", "fields.amount|gt": 1000 + n},
    )
    while made < count:
        rule = {
            "title": f"Rule {made}",
            "name": f"rule_{made}",
            "logsource": {"product": "python", "service": "audit"},
        }
        if made % 10 == 9 and base:
            wanted = {
                "type": "event_count",
                "rules": [base],
                "group-by": ["host"],
                "timespan": "5m",
                "condition": {"gte": 5},
            }
            rule = {"title": f"Rule {made}", "correlation": wanted}
        else:
            rule["detection"] = {
                "x": kinds[made % len(kinds)](some.randrange(250)),
                "y": {"user": f"nobody{made}"},
            }
            rule["detection"]["condition"] = "x and not y"
            base = str(rule["name"])
        (place / f"rule_{made}.yml").write_text(json.dumps(rule))
        made += 1


def push_archived(engine: Engine, journal: Journal) -> None:
    begin, cpu = time.perf_counter(), time.process_time()
    with connect(journal) as connection:
        alerts = engine.push(connection, "SELECT * FROM events")
        wall, used = time.perf_counter() - begin, time.process_time() - cpu
        count = connection.execute("SELECT count(*) FROM events").fetchall()[0][0]
    print(f"{count:,} events: {wall:.2f} s, {used:.2f} s of the processor, {len(alerts)} alerts")


def push_live(engine: Engine, journal: Journal, batch: int) -> None:
    count = alerts = 0
    wall = used = 0.0
    events = journal.events()
    while some := list(itertools.islice(events, batch)):
        begin, cpu = time.perf_counter(), time.process_time()
        with open_events(some, build_processes([])) as connection:
            alerts += len(engine.push(connection, "SELECT * FROM events", some[0].time_ns))
        wall, used = wall + time.perf_counter() - begin, used + time.process_time() - cpu
        count += len(some)
    rate = f"{count / used:,.0f} events a second of it"
    print(f"{count:,} events: {wall:.2f} s, {used:.2f} s of the processor, {rate}, {alerts} alerts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--live", action="store_true", help="push them as the agent does")
    parser.add_argument("--batch", type=int, default=10_000, help="events at a time, with --live")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as text:
        place = Path(text)
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        (place / "pack").mkdir()
        write_rules(place / "pack", args.rules)
        for what in ("compiled", "from the cache"):
            begin = time.perf_counter()
            library = load_library(place, place / "pack")
            print(f"{len(library.rules)} rules {what}: {time.perf_counter() - begin:.2f} s")
        assert not library.refused, library.refused
        record(place, args.events)
        if not args.live:
            ingest(Journal(place), Archive(place))
        for _ in range(args.rounds):
            with closing(Engine(library)) as engine:
                if args.live:
                    push_live(engine, Journal(place), args.batch)
                else:
                    push_archived(engine, Journal(place, archived=ArchivedSegments(Archive(place))))


if __name__ == "__main__":
    main()
