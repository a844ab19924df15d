"""Runs the tasks of a verification, on all processors where there is enough to do."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from pythonaudit.archive.evidence import (
    BatchResult,
    BatchTask,
    SegmentResult,
    SegmentTask,
    check_batch,
    check_segment,
)
from pythonaudit.errors import StoreError

Task = BatchTask | SegmentTask
Result = BatchResult | SegmentResult
_ALONE = 1_000_000  # events: fewer are hashed before other processes have begun and gained anything


class Workers:
    """Processes that check tasks.

    Args:
        count: how many; None: as many as there are processors, and none beside this one for small work.
        progress: told how many events of how many are done.
    """

    def __init__(self, count: int | None, progress: Callable[[int, int], None] | None) -> None:
        self._count, self._progress = count, progress
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def run(self, tasks: Sequence[tuple[Task, int]]) -> Iterator[tuple[Task, Result]]:
        """Each task with its result, in any order.

        Args:
            tasks: each with the number of its events, about.

        Raises:
            StoreError: something may not be read, or there was no memory.
        """
        total, done = sum(events for _, events in tasks), 0
        weights = dict(zip(map(id, (task for task, _ in tasks)), (events for _, events in tasks), strict=True))
        for task, result in self._results(tasks, total):
            done += weights[id(task)]
            if self._progress:
                self._progress(done, total)
            yield task, result

    def _results(self, tasks: Sequence[tuple[Task, int]], total: int) -> Iterator[tuple[Task, Result]]:
        count = self._count or (len(os.sched_getaffinity(0)) if total >= _ALONE else 1)
        if count == 1 or len(tasks) < 2:
            yield from ((task, check(task)) for task, _ in tasks)
            return
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(count, context, signal.signal, (signal.SIGINT, signal.SIG_IGN))
        largest_first = sorted(tasks, key=lambda task: -task[1])
        futures = {self._pool.submit(check, task): task for task, _ in largest_first}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise StoreError("a process that verifies was killed", hint="there may be too little memory") from None


def check(task: Task) -> Result:
    """The result of a task."""
    return check_batch(task) if isinstance(task, BatchTask) else check_segment(task)
