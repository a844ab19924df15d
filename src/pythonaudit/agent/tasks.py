"""What is done now and then, in a thread of its own, one after the other: archiving, compaction, retention.

A task is a name, how often it is asked, and a function that does what is to be done, if anything. They all need the
archive to themselves, so they share one thread; following and sealing go on meanwhile. If one raises, it is told as a
problem, and asked again later. To add one: a line in `loop.Agent`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pythonaudit.agent.problems import Problems
from pythonaudit.errors import PythonAuditError

_AFTER_FAILURE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Task:
    """Something that is done now and then.

    Attributes:
        name: for people.
        seconds: how long after it was done it is asked again.
        run: does it; what it raises is told.
    """

    name: str
    seconds: float
    run: Callable[[], None]


class Worker:
    """Does tasks until it is told to end.

    Args:
        tasks: what; each is asked at once for the first time.
        problems: what went wrong.
    """

    def __init__(self, tasks: Sequence[Task], problems: Problems) -> None:
        self._tasks = tasks
        self._problems = problems
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasks", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def end(self) -> None:
        """Waits until what is being done is done."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        due = [0.0] * len(self._tasks)
        while not self._ending.is_set():
            for number, task in enumerate(self._tasks):
                if self._ending.is_set():
                    return
                if time.monotonic() >= due[number]:
                    succeeded = run_task(task, self._problems)
                    wait = task.seconds if succeeded else max(task.seconds, _AFTER_FAILURE_SECONDS)
                    due[number] = time.monotonic() + wait
            self._ending.wait(max(min(due) - time.monotonic(), 0.05))


def run_task(task: Task, problems: Problems) -> bool:
    """Does a task; whether it went well."""
    try:
        task.run()
    except (PythonAuditError, OSError) as error:
        hint = getattr(error, "hint", None)
        problems.note(task.name, f"{task.name}: {error}; {hint}" if hint else f"{task.name}: {error}")
        return False
    except Exception as error:  # a defect, here or in what others wrote: the rest goes on
        problems.note(task.name, f"{task.name}: {error!r}")
        return False
    return True
