"""`pythonaudit agent`: follows all journals of a directory, seals, archives, keeps retention; until it is stopped."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from importlib.metadata import version
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pythonaudit.agent.loop import Agent
from pythonaudit.cli import access, filters, settings
from pythonaudit.cli.interpreters import unrecorded
from pythonaudit.cli.ourselves import own_process
from pythonaudit.cli.render import neutralise, say
from pythonaudit.errors import UsageError

if TYPE_CHECKING:
    from rich.live import Live

_EPILOG = """\
Follows the journals of this user, or of everybody if it is run as root. Where there are keys ('pythonaudit keys
init'), each event is sealed within a second; what has closed is moved to the archive within a minute, and running
processes use their files again. It ends in order with SIGTERM or Ctrl-C; killed, it loses nothing.

examples:
  pythonaudit agent
  pythonaudit env --format systemd-agent >/etc/systemd/system/pythonaudit.service
"""
_SHOW_SECONDS = 1.0
_TELL_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    settings.add_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Goes on until it is stopped; 0."""
    if own_process():
        _begin_unrecorded(args)
    shown = Shown()
    config = settings.load(args)
    agent = Agent(
        args.dir,
        config,
        version("pythonaudit"),
        filters.further_directories(),
        shown.tell,
        lambda event, said: access.record(args.dir, is_agent=True) or access.tell(event, said),
        dict(os.environ),
    )
    waiter = Waiter(agent)
    shown.begin(agent)
    try:
        agent.run(waiter.wait, shown.show)
    finally:
        shown.end()
        waiter.end()
    shown.tell(f"agent stopped: {agent.describe()}")
    return 0


def _begin_unrecorded(args: argparse.Namespace) -> NoReturn:
    """Begins again without recording: what it did would be written, read and written again, without end.

    Raises:
        UsageError: it cannot be had, since `pythonaudit run` started us.
    """
    if "PYTHONAUDIT" not in os.environ:
        raise UsageError("the agent cannot be recorded itself", hint="start it without 'pythonaudit run'")
    environment = unrecorded(os.environ) | {"PYTHONAUDIT_DIR": str(args.dir)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


class Waiter:
    """Waits for time or a signal, whichever comes first. A second signal ends the process at once."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def wait(self, seconds: float) -> None:
        """Waits for so many seconds at most."""
        if not self._agent.is_stopping and select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 64)

    def end(self) -> None:
        """Signals do what they do by default."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._agent.is_stopping = True
        signal.signal(number, signal.SIG_DFL)


class Shown:
    """What people see: one line that changes, on a terminal; elsewhere a line when something has happened."""

    def __init__(self) -> None:
        self._agent: Agent | None = None
        self._live: Live | None = None
        self._next = 0.0
        self._told = ""

    def begin(self, agent: Agent) -> None:
        """There is an agent to look at."""
        self._agent = agent
        say(f"agent started in {agent.directory}")
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
            self._live.start()
        else:
            self._next, self._told = time.monotonic() + _TELL_SECONDS, agent.describe()

    def tell(self, text: str) -> None:
        """Something has happened."""
        say(text)

    def show(self) -> None:
        """Shows how things are, if it is time to."""
        now = time.monotonic()
        if self._agent is None or now < self._next:
            return
        text = self._agent.describe()
        if self._live is not None:
            from rich.text import Text

            self._next = now + _SHOW_SECONDS
            self._live.update(Text(neutralise(text), overflow="ellipsis", no_wrap=True), refresh=True)
        elif text != self._told:
            self._next = now + _TELL_SECONDS
            self._told = text
            say(text)

    def end(self) -> None:
        """There is nothing to look at any more."""
        if self._live is not None:
            self._live.stop()
            self._live = None
