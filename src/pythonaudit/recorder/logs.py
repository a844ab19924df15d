"""What a program logs becomes part of the trail: a handler of `logging`.

    logging.getLogger("shop").addHandler(pythonaudit.AuditHandler())
    logging.getLogger("shop.auth").info("User logged in: username=%s, ip=%s", "johndoe", "192.168.0.1")

raises the event `log: User logged in: username=johndoe, ip=192.168.0.1`, whose fields are the pairs in its name, the
attributes that `extra` gave the record, and `logger`, `level` and, where there is one, the type of the `exception`.
Colon and blank keep messages apart from names of CPython: a program that logs "open" opens nothing.

Where nothing is recorded, nothing is done, messages are not even formatted. Otherwise the handler takes no lock, so
it cannot wait for anybody; what goes wrong ends as in every handler of `logging`, never in the program. What an audit
hook of the program logs about an event of this handler is not recorded: it would have no end.
"""

import logging
import sys
import threading

from pythonaudit._recorder import status

_PREFIX = "log: "
#: What every record has.
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"asctime", "message", "taskName"}


class AuditHandler(logging.Handler):
    """Raises an audit event for each record.

    Args:
        level: of records that are taken.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._is_recorded = status()["state"] == "recording"
        self._within = threading.local()

    def handle(self, record: logging.LogRecord) -> bool:
        """Takes a record, if the filters let it pass. Without the lock of the handler: there is nothing to guard."""
        if not self._is_recorded or getattr(self._within, "is_raising", False):
            return False
        # From 3.12 on, a filter may give another record.
        passed: object = self.filter(record)
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Raises the event."""
        try:
            message, fields = self._describe(record)
            name = _PREFIX + message
            if "\0" in name:  # where C would end the name
                name = name.replace("\0", "\\x00")
            if not name.isascii():  # half of a pair of surrogates is no name
                name = name.encode("utf-8", "backslashreplace").decode()
            self._within.is_raising = True
            try:
                sys.audit(name, fields)
            finally:
                self._within.is_raising = False
        except RecursionError:
            raise  # as the handlers of logging do: to tell of it would be one more
        except Exception:
            self.handleError(record)

    def _describe(self, record: logging.LogRecord) -> tuple[str, dict[str, object]]:
        """The message, and the fields besides those in it."""
        fields: dict[str, object] = {}
        for name, value in record.__dict__.items():
            if name not in _STANDARD and not name.startswith("_"):
                fields[name] = value
        extra = fields.get("extra")
        if type(extra) is dict:  # as loguru hands over what was bound
            del fields["extra"]
            fields = {**extra, **fields}
        message = None
        if self.formatter is None and type(record.msg) is dict and "event" in record.msg:
            # As structlog hands over what its ProcessorFormatter would write.
            fields = {**record.msg, **fields}
            message = str(fields.pop("event"))
        fields["logger"], fields["level"] = record.name, record.levelname
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = record.exc_info[0].__name__
        if message is None:
            message = self.format(record) if self.formatter else record.getMessage()
        return message, fields
