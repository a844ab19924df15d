"""How far long work has come, on a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_DELAY_SECONDS = 0.5
_BETWEEN_SECONDS = 0.1
_WIDTH = 30


class Progress:
    """A bar on stderr that appears when work takes long, and goes when it is done.

    Args:
        what: a word or two.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _DELAY_SECONDS
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, done: int, total: int) -> None:
        """So much of so much is done."""
        now = time.monotonic()
        if not self._is_terminal or now < self._next or not total:
            return
        self._next = now + _BETWEEN_SECONDS
        self._shown = True
        full = min(done * _WIDTH // total, _WIDTH)
        bar = "#" * full + "." * (_WIDTH - full)
        print(f"\r{self._what} [{bar}] {done * 100 // total} %", end="", file=sys.stderr, flush=True)
