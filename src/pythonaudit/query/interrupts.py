"""Ctrl-C while DuckDB works: its calls return to Python only when they are done, and then Python sees the signal.

    watch(connection)     # a signal ends what the connection is doing; Python raises KeyboardInterrupt right after

The interpreter's own handler writes to a pipe at once, in whatever call the main thread is; a thread reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from weakref import WeakSet

import duckdb

_connections: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()
_lock = threading.Lock()
_is_watching = False
_came = threading.Event()


def has_come() -> bool:
    """Whether a signal has ended what connections were doing."""
    return _came.is_set()


def watch(connection: duckdb.DuckDBPyConnection) -> None:
    """Lets SIGINT end what a connection is doing. Nothing where signals are somebody else's: in a thread other than
    the main one, or where the program has a wakeup descriptor or a handler of its own.
    """
    global _is_watching
    _connections.add(connection)
    with _lock:
        is_ours = threading.current_thread() is threading.main_thread()
        if _is_watching or not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)
            os.close(reading)
            os.close(writing)
            return
        _is_watching = True
    threading.Thread(target=_interrupt_all, args=(reading,), name="interrupts", daemon=True).start()


def _interrupt_all(reading: int) -> None:
    while numbers := os.read(reading, 64):
        if signal.SIGINT in numbers:
            _came.set()
            for connection in list(_connections):
                with suppress(duckdb.Error):  # it is closed
                    connection.interrupt()
