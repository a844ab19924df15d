"""What went wrong: each kind of it is told at most once a minute, and all of it is counted.

What journals hold is written by others. However much of it is wrong, what is kept here is bounded, and so is what is
told.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

AGAIN_SECONDS = 60.0
_KINDS = 200
_LATEST = 20
_TEXT = 500
_OTHERS = "others"


class Problems:
    """Told by any thread.

    Args:
        tell: takes a line for people.

    Attributes:
        count: how many there were.
        latest: the last ones: when (nanoseconds since 1970), and what.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self.count = 0
        self.latest: deque[tuple[int, str]] = deque(maxlen=_LATEST)

    def note(self, kind: str, text: str) -> None:
        """Something went wrong.

        Args:
            kind: what of it is told once a minute.
            text: a line.
        """
        now = time.monotonic()
        with self._lock:
            self.count += 1
            if kind not in self._told and len(self._told) >= _KINDS:
                self._told = {k: at for k, at in self._told.items() if now - at < AGAIN_SECONDS}
                kind = kind if len(self._told) < _KINDS else _OTHERS
            told = self._told.get(kind)
            if told is not None and now - told < AGAIN_SECONDS:
                return
            self._told[kind] = now
            self.latest.append((time.time_ns(), text[:_TEXT]))
        self._tell(text[:_TEXT])
