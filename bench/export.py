"""How fast events go to a collector and to a syslog server, beside what one would use instead.

usage: python bench/export.py [--events N] [--rounds N]

A program is recorded: files, imports, messages and events of an application, 16 frames deep. What it left is sent by each
target's own `send`, in batches, and in the same round and the same form by others:

    OTLP, HTTP and gRPC   to rotel, which throws it away; OpenTelemetry's SDK and its exporter, gzip in both
    syslog by TCP         to rsyslog, which writes it down; logging.handlers.SysLogHandler, a line of JSON each

Prints events a second by the clock (the server has its share of the processors), microseconds of the sender's processor
time an event, and the ratio of the latter; medians of the rounds. The SDK is installed once, in build/export.
"""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import environment

sys.path.insert(0, str(environment.ROOT))

from pythonaudit.export.otlp.records import Encoder
from pythonaudit.export.targets import open_target, parse_address
from pythonaudit.journal.decode import Event
from pythonaudit.journal.reader import Journal
from tests import otlp
from tests.authority import Authority
from tests.collectors import Collector
from tests.odd_servers import wait_until
from tests.syslog_server import Rsyslog

CACHE = environment.ROOT / "build" / "export"
SDK = (
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-exporter-otlp-proto-http==1.45.2",
    "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
)
CHILD = Path(__file__).with_name("export_sdk.py")

PROGRAM = """
import os, sys
def deeper(depth, number):
    if depth:
        return deeper(depth - 1, number)
    kind = number % 10
    if kind < 5:
        try:
            os.close(os.open(f"/tmp/none-{number % 400}.json", os.O_RDONLY))
        except OSError:
            pass
    elif kind < 6:
        sys.audit("import", f"shop.module{number % 300}", None, None, None, None)
    elif kind < 8:
        sys.audit("shop.order.paid", {"order": number, "amount": 12.5, "currency": "EUR"})
    else:
        sys.audit(f"User logged in: username=user{number}, ip=192.168.{number % 250}.1")
for number in range(int(sys.argv[1])):
    deeper(number % 16, number)
"""

Seconds = tuple[float, float]  # by the clock, and of processor time


def record(directory: Path, events: int) -> None:
    command = [sys.executable, "-m", "pythonaudit", "run", "--", sys.executable, "-c", PROGRAM, str(events)]
    subprocess.run(command, env=environment.clean_environment(PYTHONAUDIT_DIR=str(directory)), check=True)


def read(directory: Path) -> list[Event]:
    """The events, with nothing made of them yet."""
    return list(Journal(directory).events())


def batches(events: list[Event], most: int) -> Iterator[list[Event]]:
    for begin in range(0, len(events), most):
        yield events[begin : begin + most]


def timed(task: Callable[[], object]) -> Seconds:
    begin, used = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - begin, time.process_time() - used


def ours(directory: Path, address: str) -> Seconds:
    events, target = read(directory), open_target(parse_address(address))

    def send() -> None:
        for batch in batches(events, target.most):
            target.send(batch)
        target.close()

    return timed(send)


def write_records(events: list[Event], file: Path) -> None:
    """What our requests hold, for others to send."""
    with file.open("w", encoding="utf-8") as lines:
        for body, _ in Encoder().requests(events):
            for resource, found in otlp.records_of(body):
                said = {
                    "resource": resource,
                    "time_ns": found.time_unix_nano,
                    "severity": found.severity_number,
                    "level": found.severity_text,
                    "body": found.body.string_value,
                    "attributes": otlp.plain_pairs(found.attributes),
                    "event": found.event_name,
                }
                lines.write(json.dumps(said) + "\n")


def sdk_python() -> Path:
    """An interpreter that has the SDK."""
    python = CACHE / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(CACHE)], check=True)
    subprocess.run([python, "-m", "pip", "install", "-qq", *SDK], check=True)
    return python


def sdk(python: Path, way: str, port: int, records: Path) -> Seconds:
    command = [python, CHILD, way, str(port), records]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    clock, used = map(float, done.stdout.split())
    return clock, used


def handler(directory: Path, port: int) -> Seconds:
    """What is in the standard library: a line of JSON an event."""
    events = read(directory)
    sender = logging.handlers.SysLogHandler(("127.0.0.1", port), facility=13, socktype=socket.SOCK_STREAM)
    sender.append_nul = False
    sender.setFormatter(logging.Formatter("pythonaudit: %(message)s\n"))
    logger = logging.getLogger("bench")
    logger.propagate = False
    logger.addHandler(sender)
    logger.setLevel(logging.INFO)

    def send() -> None:
        for event in events:
            logger.info("%s", event.to_json().decode())

    found = timed(send)
    logger.removeHandler(sender)
    sender.close()
    return found


def compare(
    name: str, events: int, rounds: int, mine: Callable[[], Seconds], other: str, theirs: Callable[[], Seconds]
) -> None:
    of_mine, of_theirs = zip(*[(mine(), theirs()) for _ in range(rounds)], strict=True)
    cells = [name, other]
    for found in (of_mine, of_theirs):
        clock, used = (median(column) for column in zip(*found, strict=True))
        cells.append(f"{events / clock:,.0f} ({used / events * 1e6:.1f})")
    ratios = [their[1] / my[1] for my, their in zip(of_mine, of_theirs, strict=True)]
    print(f"| {' | '.join(cells)} | {median(ratios):.1f} |")


def main() -> None:
    """Prints the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    python = sdk_python()
    with tempfile.TemporaryDirectory() as scratch:
        directory, records = Path(scratch, "audit"), Path(scratch, "records")
        record(directory, args.events)
        events = read(directory)
        count = len(events)
        write_records(events, records)
        del events
        print(f"{count:,} events; events/s (us of processor time an event)\n")
        print("| | beside | ours | theirs | theirs / ours, processor time |\n| --- | --- | --- | --- | --- |")
        collector = Collector(Path(scratch), None)
        collector.start()
        for way, port in (("http", collector.http), ("grpc", collector.grpc)):
            for compression in ("gzip", "none"):
                address = f"otlp+{way}://127.0.0.1:{port}?compression={compression}"
                compare(
                    f"OTLP/{way}, {compression}",
                    count,
                    args.rounds,
                    lambda address=address: ours(directory, address),  # type: ignore[misc]
                    "OpenTelemetry SDK, gzip",
                    lambda way=way, port=port: sdk(python, way, port, records),  # type: ignore[misc]
                )
        collector.stop()
        server = Rsyslog(Path(scratch), Authority(Path(scratch, "authority")))
        server.start()
        address = f"syslog+tcp://127.0.0.1:{server.tcp}"
        compare(
            "syslog by TCP",
            count,
            args.rounds,
            lambda: ours(directory, address),
            "SysLogHandler",
            lambda: handler(directory, server.tcp),
        )
        assert wait_until(lambda: len(set(server.ids())) == count), "rsyslog has not written all of them"
        server.stop()


if __name__ == "__main__":
    main()
