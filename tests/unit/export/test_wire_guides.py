"""The guides list what there is in a message, no more and no less."""

from __future__ import annotations

import re

from pythonaudit.export.otlp.records import Encoder as OtlpEncoder
from pythonaudit.export.syslog.message import Encoder as SyslogEncoder
from pythonaudit.journal.decode import Event
from tests import journals, otlp, rfc5424
from tests.conftest import ROOT
from tests.journal_writer import SegmentWriter
from tests.written import events_of

GUIDES = ROOT / "docs" / "guide"


def everything() -> list[Event]:
    """Events that have together all that an event can have, but a package: that is looked up where it is installed."""
    attributes = {"run": "label", "exe": "/usr/bin/python3", "argv": ["app.py"], "cwd": "/srv", "host": "web-1"}
    attributes |= {"python": "3.11.7", "implementation": "cpython"}
    writer = SegmentWriter(attributes=attributes, parent=bytes(range(1, 17)))
    thread = writer.thread(interpreter=1)
    thread.named("worker")
    thread.context({"request": "r-17"})
    for name, args in (
        ("os.rename", ["/a", "/b", -1, -1]),
        ("socket.connect", [{"$type": "socket"}, ["10.0.0.7", 5432]]),
        ("socket.bind", [{"$type": "socket"}, ["0.0.0.0", 80]]),
        ("socket.getaddrinfo", ["example.org", 443, 0, 0, 0]),
        ("smtplib.connect", [{"$type": "SMTP"}, "mail.example", 25]),
        ("os.system", ["true"]),
        ("import", ["json", None, None, None, None]),
        ("urllib.Request", ["https://example.org/", None, {}, "GET"]),
        ("User logged in: username=johndoe", []),
        ("shop.order.paid", ["x" * 600]),
    ):
        thread.event(name, args, stack=journals.MAIN, notes=4)
    return events_of(writer)


def listed(guide: str, title: str) -> set[str]:
    """The names in the first columns of the tables that begin so."""
    tables = (GUIDES / guide).read_text().split(f"| {title} | holds |")[1:]
    rows = [row for table in tables for row in table.partition("\n\n")[0].splitlines()[2:]]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_attributes_of_otlp() -> None:
    found: set[str] = set()
    for body, _ in OtlpEncoder().requests(everything()):
        for resource, record in otlp.records_of(body):
            found |= set(resource) | set(otlp.plain_pairs(record.attributes))
    found = {re.sub(r"^(pythonaudit\.(?:fields|context))\..*", r"\1.*", name) for name in found}
    assert listed("otlp.md", "attribute") - {"pythonaudit.package.name", "pythonaudit.package.version"} == found


def test_parameters_of_syslog() -> None:
    found: set[str] = set()
    for limit in (480, 8192):
        for message in SyslogEncoder(13, limit).messages(everything()):
            found |= {name for name, _ in rfc5424.parse(message).params}
    assert listed("syslog.md", "parameter") - {"package", "package-version"} == found
