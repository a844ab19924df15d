"""When a host that promised to be heard was not: gaps in its log, and its silence since.

    watch = Watch()
    watch.promise(300); watch.add(line); ...
    watch.findings(newest_ns, now_ns)

As long as an agent runs, it writes a record at least every minute and sends them within the interval that it promises
with each of them. That it stopped in order is a record, and no finding. Values only.
"""

from __future__ import annotations

from pythonaudit.errors import FormatError
from pythonaudit.integrity.log import parse_record
from pythonaudit.integrity.verdicts import Finding, incomplete
from pythonaudit.journal.decode import format_time

_GRACE_NS = 120_000_000_000
_SECOND_NS = 1_000_000_000
_SHOWN = 20


class Watch:
    """Takes the records of a log one by one."""

    def __init__(self) -> None:
        self._interval = self._next = 0  # seconds, of the record before and of the next; 0: nothing is promised
        self._is_running = False
        self._time_ns = 0  # of the record before
        self._gaps: list[tuple[int, int, int]] = []  # from, until, interval

    def promise(self, interval: int | None) -> None:
        """What the records that come now were sent with: seconds until the next; None: nothing is promised."""
        self._interval = max(self._interval, interval or 0) if self._is_running else interval or 0
        self._next = interval or 0

    def add(self, line: bytes) -> None:
        """The next record. What is none is somebody else's finding."""
        try:
            record = parse_record(line)
        except FormatError:
            return
        time_ns = record["time_ns"]
        if self._is_running and self._interval and time_ns - self._time_ns > self._allowed():
            self._gaps.append((self._time_ns, time_ns, self._interval))
        if record["record"] == "agent":
            self._is_running = record.get("action") == "start"
        self._time_ns, self._interval = time_ns, self._next

    def findings(self, newest_ns: int, now_ns: int) -> list[Finding]:
        """What there is to say.

        Args:
            newest_ns: time of the newest record that a checkpoint covers.
            now_ns: the present.
        """
        found = [
            incomplete(
                f"nothing was sealed from {_text(begin)} to {_text(end)}: its agent ran, as far as records say, and "
                f"promised to be heard every {interval} seconds"
            )
            for begin, end, interval in self._gaps[:_SHOWN]
        ]
        if len(self._gaps) > _SHOWN:
            found.append(incomplete(f"and {len(self._gaps) - _SHOWN} more such gaps"))
        if self._is_running and self._interval and now_ns - newest_ns > self._allowed():
            found.append(
                incomplete(
                    f"it has stopped sending: the newest record is of {_text(newest_ns)}, its agent runs, as far as "
                    f"records say, and promised to be heard every {self._interval} seconds"
                )
            )
        return found

    def _allowed(self) -> int:
        return 2 * self._interval * _SECOND_NS + _GRACE_NS


def _text(time_ns: int) -> str:
    return format_time(time_ns).decode()[:19] + "Z"
