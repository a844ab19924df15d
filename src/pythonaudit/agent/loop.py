"""The main thread of the agent: it looks for what is new, and hands it on.

Three times a second all segments that can grow are looked at, and twice as often whether there are new ones; each new
event goes to the consumers (`consumers`), which is sealed with it within a second of its commit. What closes is
archived in another thread (`tasks`). Killed at any instant, it loses and doubles nothing: what it has read is in
journals still, and the log says what is sealed.

Stopped in order, it reads to the end, seals, archives what is closed, and says so in the log.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pythonaudit.agent.archiving import Archiving
from pythonaudit.agent.config import Config
from pythonaudit.agent.consumers import Consumer, Sealing, say_start, say_stop
from pythonaudit.agent.exporting import Exporting
from pythonaudit.agent.figures import Figures
from pythonaudit.agent.lost import Lost
from pythonaudit.agent.metrics import Metrics
from pythonaudit.agent.notify import Notifier
from pythonaudit.agent.presence import Presence
from pythonaudit.agent.problems import Problems
from pythonaudit.agent.publish import Publisher
from pythonaudit.agent.retaining import Retaining
from pythonaudit.agent.tasks import Task, Worker, run_task
from pythonaudit.agent.watch import WatchedJournal
from pythonaudit.archive.covered import Covered
from pythonaudit.archive.manifest import Archive
from pythonaudit.archive.memory import use_one_core
from pythonaudit.archive.sealer import Sealer
from pythonaudit.integrity.log import Log
from pythonaudit.integrity.writer import Writer
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.follow import Follower
from pythonaudit.journal.reader import Key
from pythonaudit.journal.watched import Watched

if TYPE_CHECKING:
    from pythonaudit.agent.detecting import Detecting
    from pythonaudit.agent.messages import Messenger

LOOK_SECONDS = 0.38
NOTICE_SECONDS = LOOK_SECONDS / 2
_STATUS_SECONDS = 3.0
_KEYS_SECONDS = 2.0
_PAUSE_SECONDS = 2.0  # after a consumer has failed
_DRAIN_SECONDS = 60.0  # what is left then is there when it starts again
_PUBLISH_SECONDS = 5.0
_DESCRIPTORS = 4096
_SOME_DESCRIPTORS = 128

NOTHING_SEALED = "nothing is sealed here; begin with 'pythonaudit keys init'"


def open_writer(directory: Path, config: Config) -> Writer:
    """The writer of a directory's log, with keys as the configuration says."""
    return Writer(directory, config.keys.private, config.keys.epoch)


class Agent:
    """The agent of a directory. From its making on there is no other one.

    Args:
        directory: that of `PYTHONAUDIT_DIR`.
        config: what is set.
        version: of pythonaudit.
        more: further directories whose journals are followed.
        tell: takes a line for people.
        record: records an alert in the directory, as an event of ours; why that cannot be done, or nothing.
        environ: of systemd, if it started us.

    Attributes:
        figures, problems: what is counted, and what went wrong.
        is_sealing: whether events are sealed.
        is_stopping: `run` comes to its end.

    Raises:
        PythonAuditError: there is one already, or it cannot begin.
    """

    def __init__(
        self,
        directory: Path,
        config: Config,
        version: str,
        more: Iterable[Path] = (),
        tell: Callable[[str], None] = lambda _: None,
        record: Callable[[str, dict[str, Any]], str] = lambda event, said: "nobody records here",
        environ: dict[str, str] | None = None,
    ) -> None:
        self.directory, self.config, self.version = directory, config, version
        self.figures, self.problems = Figures(), Problems(tell)
        self.is_stopping = False
        self._tell = tell
        self._more = tuple(more)
        self._presence = Presence(directory)
        self._begin_ns = time.time_ns()
        self._sealer = Sealer(open_writer(directory, config), self._refuse, if_any=True)
        self.is_sealing = False
        self._consumers: list[Consumer] = []
        self._paused: dict[int, float] = {}
        self._left: dict[int, Counter[str]] = {}  # losses of what is watched no more
        self._evicting: set[int] = set()
        self._present: frozenset[Key] = frozenset()
        self._published = self._looked_for_keys = 0.0
        use_one_core()
        self._journal = WatchedJournal(directory, more, self.problems)
        self._follower = Follower(self._journal, in_order=False, descriptors=_raise_descriptors())
        self._follower.over = []
        self._publisher = Publisher(config.checkpoints, self.figures, self.problems)
        self._notifier = Notifier(environ or {})
        where = directory, self._more
        self._archiving = Archiving(*where, config.hold, self._sealer, self.figures, self.problems)
        self._lost = Lost(
            *where, self._sealer, self._find_present, lambda: self._evicting, self.figures, self.problems
        )
        self._retaining = Retaining(*where, config, self._sealer, self.figures, self.problems)
        # What is done now and then.
        self._worker = Worker(
            [
                Task("archiving", 2.0, self._archiving.run),
                Task("looking for what has gone", 10.0, self._lost.run),
                Task("compaction", 600.0, self._archiving.compact),
                Task("retention", 300.0, self._retaining.run),
            ],
            self.problems,
        )
        self._messenger: Messenger | None = None
        self._metrics: Metrics | None = None
        try:
            self._exporting = Exporting(*where, config.export, self.problems)
            self._detecting = self._make_detecting(record) if config.detect else None
            if config.agent.metrics:
                self._metrics = Metrics(config.agent.metrics, self.figures, self.problems, version)
            self._begin_sealing()
            if not self.is_sealing:
                tell(NOTHING_SEALED)
        except BaseException:
            self._close()
            raise

    def run(self, wait: Callable[[float], None] = time.sleep, show: Callable[[], None] = lambda: None) -> None:
        """Goes on until `is_stopping`.

        Args:
            wait: for so many seconds, or until `is_stopping`.
            show: called a few times a second.
        """
        try:
            self._begin()
            looked_at = 0.0
            while not self.is_stopping:
                now = time.monotonic()
                is_behind = self._follower.is_behind and not self._is_paused()
                if is_behind or now - looked_at >= LOOK_SECONDS - NOTICE_SECONDS / 2:
                    looked_at = now
                    self.look()
                else:
                    self._follower.notice()
                self._notifier.alive()
                self._publish()
                show()
                if not is_behind:
                    wait(max(NOTICE_SECONDS - (time.monotonic() - now), 0.0))
            self._end()
        finally:
            self._close()

    def look(self) -> int:
        """Looks once, and hands on what is new; how many segments had news."""
        run_task(Task("sealing", 0, self._begin_sealing), self.problems)
        decoders = [] if self._is_paused() else self._follower.poll()
        for number, consumer in enumerate(self._consumers):
            self._hand_on(number, consumer, decoders)
        if not self._follower.is_behind:
            self._journal.covered = None  # what comes from now on is new
        over, self._follower.over = self._follower.over or [], []
        for one in over:
            self._add_losses(self._left, one)
        if over:
            self._archiving.add(over)
        self._publisher.offer(self._sealer.writer.note)
        return len(decoders)

    def _begin(self) -> None:
        if Archive(self.directory).exists:
            self._journal.covered = Covered(Archive(self.directory))
        self.look()
        self._worker.start()
        self._exporting.start()
        if self._detecting:
            self._detecting.start()
        self._publish()
        self._notifier.ready(self.describe())

    def _end(self) -> None:
        self._notifier.stopping()
        self._archiving.stop()
        self._worker.end()
        until = time.monotonic() + _DRAIN_SECONDS
        self._paused.clear()
        while self.look() or self._follower.is_behind:
            if time.monotonic() > until:
                break
        archiving = Task("archiving", 0, self._archiving.archive)
        while run_task(archiving, self.problems) and self._archiving.has_more and time.monotonic() < until:
            pass
        run_task(Task("sealing", 0, self._say_stop), self.problems)
        self._publisher.offer(self._sealer.writer.note)
        self._publisher.end(_PUBLISH_SECONDS)
        if self._detecting and self._messenger:
            self._detecting.end(_PUBLISH_SECONDS)
            self._messenger.end(_PUBLISH_SECONDS)
        self._exporting.end(_PUBLISH_SECONDS)
        self._publish(is_last=True)

    def _make_detecting(self, record: Callable[[str, dict[str, Any]], str]) -> Detecting:
        from pythonaudit.agent.detecting import Detecting, build_owners
        from pythonaudit.agent.messages import Messenger

        detect = self.config.detect
        assert detect is not None
        self._messenger = Messenger(detect.notify, detect.notify_level, self.problems)
        owners = build_owners(self.directory)
        return Detecting(self.directory, self._more, detect, record, self._messenger, self.problems, owners)

    def _say_stop(self) -> None:
        if self.is_sealing:
            say_stop(self._sealer.writer, self.version)

    def _close(self) -> None:
        self._follower.close()
        if self._metrics:
            self._metrics.end()
        self._notifier.close()
        self._presence.end()

    def _begin_sealing(self) -> None:
        """Begins to seal, if there are keys: they can be made while we run.

        Raises:
            OSError, StoreError: there are, and it cannot be sealed.
        """
        now = time.monotonic()
        if self.is_sealing or now - self._looked_for_keys < _KEYS_SECONDS:
            return
        self._looked_for_keys = now
        if Log(self.directory).exists:
            say_start(self._sealer.writer, self.config, self.version)
            self.is_sealing = True
            self._consumers.insert(0, Sealing(self._sealer, self.config, self.figures, self._follower))
            self._follower.begin_again({one.head.key for one in self._follower.watched.values()})

    def _hand_on(self, number: int, consumer: Consumer, decoders: Sequence[SegmentDecoder]) -> None:
        if time.monotonic() < self._paused.get(number, 0.0):
            return
        run = (lambda: consumer.take(decoders)) if decoders else consumer.rest
        if not run_task(Task(type(consumer).__name__.lower(), 0, run), self.problems):
            self._paused[number] = time.monotonic() + _PAUSE_SECONDS

    def _is_paused(self) -> bool:
        """Whether a consumer has failed just now: nothing new is read until it is tried again."""
        return any(time.monotonic() < until for until in self._paused.values())

    def _refuse(self, decoder: SegmentDecoder, error: Exception) -> None:
        who = f"segment {decoder.segment.header.sequence} of process {decoder.process.id}, user {decoder.process.uid}"
        self.problems.note(f"sealing of {decoder.process.uid}", f"{who} cannot be sealed: {error!r}")

    def _account(self) -> None:
        """Counts what is watched."""
        watched = self._follower.watched.values()
        self._present = frozenset(one.head.key for one in watched)
        losses = {uid: Counter(counts) for uid, counts in self._left.items()}
        for one in watched:
            self._add_losses(losses, one)
        figures = self.figures
        figures.segments, figures.processes = len(watched), len({key[0] for key in self._present})
        figures.losses = losses
        figures.exports = self._exporting.figures()
        figures.detection = self._detecting.figures() if self._detecting else {}

    def _add_losses(self, losses: dict[int, Counter[str]], watched: Watched) -> None:
        found, uid = watched.losses, watched.head.file.uid
        if found:
            losses.setdefault(uid, Counter()).update(found)
        if "evicted" in found:
            self._evicting.add(uid)

    def _find_present(self) -> set[Key]:
        return set(self._present) | self._archiving.waiting()

    def describe(self) -> str:
        """How things are, in a line."""
        figures = self.figures
        sealed = f"{figures.sealed:,} events sealed" if self.is_sealing else "nothing is sealed"
        text = f"{figures.processes:,} processes, {sealed}, {figures.archived:,} archived"
        if self.is_sealing and figures.seals:
            text += f", {figures.lag:.1f} s behind"
        return f"{text}, {self.problems.count:,} problems" if self.problems.count else text

    def _publish(self, is_last: bool = False) -> None:
        """Says how things are, to `status` and to systemd."""
        now = time.monotonic()
        if now - self._published < _STATUS_SECONDS and not is_last:
            return
        self._published = now
        self._account()
        status = {
            "pid": os.getpid(),
            "version": self.version,
            "since_ns": self._begin_ns,
            "time_ns": time.time_ns(),
            "sealing": self.is_sealing,
            "sealed_in_journal": self._sealer.count(),
            "figures": self.figures.to_dict(),
            "problems": self.problems.count,
            "latest": list(self.problems.latest),
        }
        run_task(Task("status", 0, lambda: self._presence.tell(status)), self.problems)
        self._notifier.status(self.describe())


def _raise_descriptors() -> int:
    """How many descriptors segments may have, of as many as there can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _DESCRIPTORS
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
            soft = min(wanted, hard)
    return min(max(soft // 2, _SOME_DESCRIPTORS), _DESCRIPTORS)
