"""Events to standard output: `-`, with `format=jsonl`, `ecs`, `ocsf`, `cef` or `csv` in the configuration or as
`--to -` takes options.

The one place outside of the command line that writes there: it is what the target is asked for. On a terminal, what
does not print is escaped. When the reader has gone, the command ends quietly, as every other does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pythonaudit.export.formats import LINES, LineFormat, find_format
from pythonaudit.export.formats.safe import neutralise_json
from pythonaudit.export.targets import Address, Answer, Target

if TYPE_CHECKING:
    from pythonaudit.journal.decode import Event

_MOST = 1000


def open_stdout(address: Address) -> Target:
    """The target `-`.

    Raises:
        UsageError: an option makes no sense.
    """
    options = address.read(format=find_format)
    return _Stdout(options.get("format") or find_format(LINES[0]))


class _Stdout:
    """Lines on standard output.

    Args:
        form: of the lines.
    """

    most = _MOST

    def __init__(self, form: LineFormat) -> None:
        self._form = form
        self._is_shown = form.is_json and sys.stdout.isatty()
        self._is_begun = False

    def send(self, events: Sequence[Event]) -> Answer:
        """Writes events; the reader has them, or will find them in the pipe.

        Raises:
            OSError: they could not be written; BrokenPipeError: nobody reads any more.
        """
        lines = list(map(self._form.line, events))
        if self._is_shown:  # the lines of other forms have nothing in them that does not print
            lines = [neutralise_json(line.decode().rstrip("\n")).encode() + b"\n" for line in lines]
        if not self._is_begun:
            lines.insert(0, self._form.header)
            self._is_begun = True
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.flush()
        return Answer()

    def close(self) -> None:
        """It stays open: others may write there as well."""
