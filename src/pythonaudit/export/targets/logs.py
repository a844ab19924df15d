"""Events to whatever Python's `logging` can reach: `logging:NAME?config=FILE&level=INFO`.

Each event is a record of the logger NAME, with the time, process, thread and line of code of the event itself. Its
message is the event's name and its fields; `record.audit` is the event as a dictionary, `record.audit_id` its id, so
formatters write `%(audit_id)s` or the whole.

FILE, JSON or TOML, is what `logging.config.dictConfig` takes: handlers of the standard library or of anybody. It can
name any callable, so it is as trusted as a program. A handler that fails says so through `Handler.handleError`; here
that means that the events come again. What a handler only puts in a queue is out of our sight.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pythonaudit.errors import UsageError
from pythonaudit.export.formats.safe import json_text, neutralise
from pythonaudit.export.targets import Address, Answer, Misconfigured, Target, Unavailable

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

_MOST = 1000
_NAME = re.compile(r"[\w.-]{1,200}")


def open_logging(address: Address) -> Target:
    """The target of an address; configures logging in this process.

    Raises:
        UsageError: the address or an option makes no sense.
        Misconfigured: the configuration cannot be read, is none, or has no handler for NAME.
    """
    text, name = address.text, address.path
    if not _NAME.fullmatch(name) or address.host:
        raise UsageError(f"{text}: no name of a logger", hint="write logging:NAME?config=FILE")
    options = address.read(config=Path, level=_level)
    if "config" not in options:
        raise UsageError(f"{text}: no config", hint="write config=FILE, JSON or TOML as dictConfig takes it")
    level = options.get("level", logging.INFO)
    settings = _load(text, options["config"])
    try:
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **settings})
    except Exception as error:  # it calls what the file names
        cause = error.__cause__ or error
        raise Misconfigured(f"{text}: {options['config']}: {neutralise(f'{error}: {cause}')}") from None
    logger = logging.getLogger(name)
    handlers = list(_handlers(logger))
    if not handlers:
        raise Misconfigured(f"{text}: no handler takes what {name} logs", hint="name one in the configuration")
    if not logger.isEnabledFor(level):
        lowest = logging.getLevelName(logger.getEffectiveLevel())
        raise Misconfigured(f"{text}: {name} takes {lowest} and above", hint=f"level={lowest}, or set its level")
    return _Logging(text, logger, handlers, level)


def _level(text: str) -> int:
    level = logging.getLevelName(text.upper())
    if not isinstance(level, int) or not level:
        raise ValueError("one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level


def _load(text: str, path: Path) -> Mapping[str, Any]:
    try:
        content = path.read_text("utf-8")
        if path.suffix == ".toml":
            if sys.version_info >= (3, 11):
                import tomllib
            else:
                import tomli as tomllib
            table: dict[str, Any] = tomllib.loads(content)
            return table
        found: object = json.loads(content)
    except OSError as error:
        raise Misconfigured(f"{text}: {path}: {error.strerror}") from None
    except ValueError as error:
        raise Misconfigured(f"{text}: {path}: {error}") from None
    if not isinstance(found, dict):
        raise Misconfigured(f"{text}: {path}: no object")
    return found


def _handlers(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


class _Logging:
    """One logger.

    Args:
        name: of the target, for people.
        logger: takes the records.
        handlers: of it.
        level: of the records.
    """

    most = _MOST

    def __init__(self, name: str, logger: logging.Logger, handlers: Sequence[logging.Handler], level: int) -> None:
        self._name, self._logger, self._handlers, self._level = name, logger, handlers, level
        self._failures: list[str] = []
        for handler in handlers:
            handler.handleError = self._note  # type: ignore[method-assign]

    def send(self, events: Sequence[Event]) -> Answer:
        """Logs events; when it returns, every handler has been given them, and was flushed."""
        self._failures.clear()
        try:
            for event in events:
                self._logger.handle(build_record(event, self._logger.name, self._level))
                if self._failures:
                    break
            else:
                for handler in self._handlers:
                    handler.flush()
        except Exception as error:  # of a handler that knows no handleError
            self._failures.append(f"{type(error).__name__}: {error}")
        if self._failures:
            raise Unavailable(f"{self._name}: {neutralise(self._failures[0])}")
        return Answer()

    def close(self) -> None:
        """Closes the handlers."""
        for handler in self._handlers:
            handler.close()

    def _note(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        self._failures.append(f"{type(error).__name__}: {error}" if error else "a handler failed")


def build_record(event: Event, name: str, level: int) -> logging.LogRecord:
    """An event as a record of logging."""
    file, line, function = event.code_frame or ("", 0, "")
    fields = event.fields if event.info or not event.template else {}
    message = neutralise(f"{event.event} {json_text(fields)}" if fields else event.event)
    record = logging.LogRecord(name, level, file, line, message, None, None, function)
    record.created = event.time_ns / 1e9
    record.msecs = event.time_ns // 1_000_000 % 1000
    record.process, record.processName = event.process.pid, event.process.exe or ""
    record.thread, record.threadName = event.tid, event.thread.name or "MainThread"
    record.audit = json.loads(event.to_json())
    record.audit_id = event.id
    return record
