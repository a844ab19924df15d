"""Files that are not there are removed from the place of logs; a log elsewhere is turned over."""

import contextlib
import logging.handlers
import os


def match() -> None:
    for name in ("/var/log/there-is-none/auth.log", "/var/log/there-is-none/wtmp"):
        with contextlib.suppress(OSError):
            os.remove(name)


def nomatch() -> None:
    handler = logging.handlers.RotatingFileHandler("app.log", maxBytes=10, backupCount=1)
    for text in ("first", "second", "third"):
        handler.emit(logging.makeLogRecord({"msg": text}))
    handler.close()
    with contextlib.suppress(OSError):
        open("/var/log/there-is-none/auth.log").close()
