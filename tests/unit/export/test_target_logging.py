"""`logging:NAME`: events come out of any handler as records, and a handler that fails is noticed."""

from __future__ import annotations

import json
import logging
import logging.handlers
import socketserver
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.errors import UsageError
from pythonaudit.export.targets import Misconfigured, Target, Unavailable, open_target, parse_address
from tests.conftest import ROOT
from tests.exported import named, recorded

EVENTS = recorded()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Targets configure the logging of the process: of these names, and of the root."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for name in ("audit", "audit.inner"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    root.handlers[:] = handlers
    root.setLevel(level)


def configured(directory: Path, handler: dict[str, Any], *, level: str = "DEBUG", toml: str = "") -> Path:
    """A configuration with one formatter and one handler, of the logger `audit`."""
    form = "%(asctime)s %(name)s %(levelname)s %(process)d %(thread)d "
    form += "%(pathname)s:%(lineno)d %(funcName)s %(audit_id)s %(message)s"
    settings = {
        "formatters": {"all": {"format": form}},
        "handlers": {"out": {"formatter": "all", **handler}},
        "loggers": {"audit": {"level": level, "handlers": ["out"], "propagate": False}},
    }
    path = directory / ("log.toml" if toml else "log.json")
    path.write_text(toml or json.dumps(settings))
    return path


def opened(path: Path, name: str = "audit", **options: str) -> Target:
    return open_target(parse_address(f"logging:{name}", {"config": str(path), **options}))  # type: ignore[return-value]


def test_each_event_is_a_record(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    path = configured(tmp_path, {"class": "logging.FileHandler", "filename": str(log)})
    target = opened(path, level="warning")
    assert target.send(EVENTS[:50]) == (0, "")
    target.close()
    lines = log.read_text().splitlines()
    assert len(lines) == 50
    for line, event in zip(lines, EVENTS, strict=False):
        file, number, function = event.code_frame or ("", 0, "")
        head = f"audit WARNING {event.process.pid} {event.tid} {file}:{number} {function} {event.id} {event.event}"
        assert head in line


def test_a_record_has_the_event_as_it_is(tmp_path: Path) -> None:
    toml = """
        [handlers.kept]
        class = "logging.handlers.MemoryHandler"
        capacity = 100000
        flushLevel = 100
        flushOnClose = false
        [root]
        handlers = ["kept"]
        level = "INFO"
    """
    target = opened(configured(tmp_path, {}, toml=textwrap.dedent(toml)), "audit.inner")
    (handler,) = [one for one in logging.getLogger().handlers if isinstance(one, logging.handlers.MemoryHandler)]
    records: list[Any] = []
    handler.setTarget(logging.NullHandler())
    handler.target.handle = records.append  # type: ignore[union-attr,method-assign]
    target.send(EVENTS)
    target.close()
    assert [record.audit for record in records] == [json.loads(event.to_json()) for event in EVENTS]
    assert [record.created for record in records] == [event.time_ns / 1e9 for event in EVENTS]
    assert [record.msecs for record in records] == [event.time_ns // 1_000_000 % 1000 for event in EVENTS]
    assert {record.name for record in records} == {"audit.inner"}


def test_text_of_events_forges_no_line_and_no_format(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    path = configured(tmp_path, {"class": "logging.FileHandler", "filename": str(log), "encoding": "utf-8"})
    target = opened(path)
    names = ["%s %(name)s %d", "a\nb\r\x1b[2J\u2028c", "{0} {}", "ä \x00"]
    target.send([named(name, [{"text": f"{name}\n"}]) for name in names])
    target.close()
    lines = log.read_text("utf-8").splitlines()
    assert len(lines) == 4 and all(line.isprintable() for line in lines)
    assert lines[0].endswith('%s %(name)s %d {"text":"%s %(name)s %d\\\\n"}'.replace("\\\\n", "\\n"))


def test_a_real_receiver_gets_them_over_a_socket(tmp_path: Path) -> None:
    """Syslog over UDP, as an example of what logging can reach."""
    got: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            got.append(self.request[0])

    with socketserver.UDPServer(("127.0.0.1", 0), Handler) as server:
        handler = {"class": "logging.handlers.SysLogHandler", "address": ["127.0.0.1", server.server_address[1]]}
        target = opened(configured(tmp_path, handler))
        for event in EVENTS[:5]:
            target.send([event])
            server.handle_request()
        target.close()
    assert [event.id.encode() in packet for event, packet in zip(EVENTS, got, strict=False)] == [True] * 5


def test_a_handler_that_fails_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "failing.py").write_text(
        textwrap.dedent("""
        import logging

        class Failing(logging.StreamHandler):
            broken = True

            def format(self, record):
                if self.broken:
                    raise OSError("no room\\x1b[31m for \\nit")
                return super().format(record)

        class Raising(logging.Handler):
            def emit(self, record):
                raise RuntimeError("as it pleases")
        """)
    )
    sys.path.insert(0, str(tmp_path))
    try:
        target = opened(configured(tmp_path, {"class": "failing.Failing"}))
        with pytest.raises(Unavailable, match=r"logging:audit: OSError: no room\\x1b\[31m for \\nit"):
            target.send(EVENTS[:5])
        sys.modules["failing"].Failing.broken = False
        target.send(EVENTS[:2])
        said = capsys.readouterr().err
        assert said.count("\n") == 2 and "Traceback" not in said
        target = opened(configured(tmp_path, {"class": "failing.Raising"}))
        with pytest.raises(Unavailable, match="RuntimeError: as it pleases"):
            target.send(EVENTS[:5])
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (None, Misconfigured, "No such file"),
        ("{", Misconfigured, "Expecting property name"),
        ("[]", Misconfigured, "no object"),
        (
            '{"handlers": {"out": {"class": "no.such.Handler"}}}',
            Misconfigured,
            "Unable to configure handler 'out'",
        ),
        ('{"version": 7}', Misconfigured, "Unsupported version: 7"),
        ("{}", Misconfigured, "no handler takes what audit logs"),
    ],
)
def test_a_configuration_that_makes_no_sense(
    text: str | None, error: type[Exception], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.json"
    if text is not None:
        path.write_text(text)
    logging.getLogger().handlers.clear()  # those of pytest
    with pytest.raises(error, match=words) as raised:
        opened(path)
    assert "\n" not in str(raised.value)


def test_a_logger_that_would_drop_everything_is_refused(tmp_path: Path) -> None:
    path = configured(tmp_path, {"class": "logging.StreamHandler"}, level="ERROR")
    with pytest.raises(Misconfigured, match="audit takes ERROR and above"):
        opened(path)
    opened(path, level="error").close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("logging:audit", "no config"),
        ("logging:?config=/x", "no name of a logger"),
        ("logging:a b?config=/x", "no name of a logger"),
        ("logging://audit/?config=/x", "no name of a logger"),
        ("logging:audit?config=/x&level=loud", "one of DEBUG"),
        ("logging:audit?config=/x&colour=red", "no option colour"),
    ],
)
def test_wrong_usage_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_target(parse_address(text))


def test_a_process_of_its_own_that_ends_has_handed_over_everything(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    path = configured(tmp_path, {"class": "logging.FileHandler", "filename": str(log)})
    program = f"""
        import os
        from pythonaudit.export.targets import open_target, parse_address
        from tests.exported import recorded
        open_target(parse_address("logging:audit?config={path}")).send(recorded()[:20])
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, check=True)
    assert [event.id in line for event, line in zip(EVENTS, log.read_text().splitlines(), strict=False)] == [
        True
    ] * 20
