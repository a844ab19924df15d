"""What recording costs on this machine: small programs, measured again and again, each in a process of its own.

    bench = Bench(scratch)
    for done, whole in bench.steps(): ...
    bench.costs()

Instructions are counted where perf can or valgrind is there: they repeat, whatever else the machine does.
Times are processor times and do not repeat. So every round measures each kind of process once, in turns
forwards and backwards, and what is compared is of one round: a machine that gets slower does so for all of
them. Of the rounds the median counts; their spread says how much it is worth.

Two environments are made for it that share this one's interpreter: one with this package in it, and a bare one.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pythonaudit
from pythonaudit.cli.instructions import find_counter
from pythonaudit.cli.interpreters import probe, unrecorded
from pythonaudit.errors import PythonAuditError, UnsupportedError

CHILD = Path(__file__).with_name("cost_child.py")
DEPTH = 16

#: How many events a loop has, by hook: that takes some milliseconds.
_EVENTS = {"bare": 20000, "idle": 20000, "pythonaudit": 20000, "context": 20000, "json-stack": 200}
_LOOPS = 4
_AUDITS = 5000
_AUDIT_LOOP = "import sys\nfor _ in range({}): sys.audit('app.event', 1, 'x')"

_SECONDS = 13.0
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 60
_TIMEOUT_SECONDS = 120
# Where the middle half of the rounds is wider than this part of their median, it is worth little.
_NOISE = 0.2


@dataclass(frozen=True, slots=True)
class Cost:
    """One row.

    Attributes:
        name: for programs.
        text: for people.
        goal: what it should be, in words.
        value: the median of the rounds, or what was counted.
        low, high: the middle half of the rounds; both are `value` where it was counted.
        unit: of the value; a ratio has none.
        method: what was counted.
        rounds: how often.
    """

    name: str
    text: str
    goal: str
    value: float
    low: float
    high: float
    unit: str
    method: str
    rounds: int

    @property
    def is_noisy(self) -> bool:
        """Whether the rounds differ too much."""
        return self.high - self.low > _NOISE * abs(self.value)


class Bench:
    """Measures, within about 20 seconds.

    Args:
        scratch: an empty directory for environments and journals.

    Raises:
        PythonAuditError: nothing can be recorded here, so nothing can be measured.
    """

    def __init__(self, scratch: Path) -> None:
        this = probe(Path(sys.executable))
        if this is None or not this.supported:
            raise UnsupportedError(f"{sys.executable} is no Python that can be recorded")
        if not this.pth:
            hint = "install the package with pip; 'pythonaudit doctor' says more"
            raise PythonAuditError(f"there is no pythonaudit.pth in {this.prefix}", hint=hint)
        self._journal = scratch / "journal"
        self._bare, self._with = (_make_environment(scratch / name) for name in ("bare", "with"))
        packages = self._with.parents[1] / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        (packages / "pythonaudit").symlink_to(Path(pythonaudit.__file__).parent)
        for start in Path(this.pth[0]).glob("pythonaudit.*"):
            if start.suffix in (".pth", ".start"):
                shutil.copy(start, packages)
        self._counter = find_counter()
        self._counted: dict[str, float] = {}
        self._jobs: dict[str, Callable[[], float]] = {
            "bare": lambda: self._event_ns("bare"),
            "idle": lambda: self._event_ns("idle"),
            "pythonaudit": lambda: self._event_ns("pythonaudit"),
            "context": lambda: self._event_ns("context"),
            "json-stack": lambda: self._event_ns("json-stack"),
            "start-bare": lambda: self._start_ms(self._bare),
            "start-set": lambda: self._start_ms(self._with, "1"),
        }
        if self._counter is None:
            self._jobs["not-installed"] = lambda: self._event_ns("bare", self._bare)
            self._jobs["start-off"] = lambda: self._start_ms(self._with)
        self._values: dict[str, list[float]] = {name: [] for name in self._jobs}

    def steps(self) -> Iterator[tuple[float, float]]:
        """Measures; says now and then how many seconds of how many have gone."""
        begun = time.monotonic()
        for job in self._jobs.values():  # compiles what is imported, and shows what does not work
            job()
        self._count()
        while (spent := time.monotonic() - begun) < _SECONDS or self._rounds < _LEAST_ROUNDS:
            yield min(spent, _SECONDS), _SECONDS
            if self._rounds >= _MOST_ROUNDS:
                break
            self._round()
        yield _SECONDS, _SECONDS

    def costs(self) -> list[Cost]:
        """The rows."""
        bare, idle, ours, json_stack = (self._values[h] for h in ("bare", "idle", "pythonaudit", "json-stack"))
        rounds = range(self._rounds)
        event = f"sys.audit() with {DEPTH} frames"
        starts = [self._values["start-set"][i] - self._values["start-bare"][i] for i in rounds]
        written = [(json_stack[i] - bare[i]) / (ours[i] - bare[i]) for i in rounds]
        return [
            *self._off(),
            _timed("start", "start-up, recorded, over bare", "≤ 1.5 ms", starts, "ms"),
            _timed(
                "event",
                f"{event}, recorded, over an idle C hook",
                "≤ 100 ns",
                [ours[i] - idle[i] for i in rounds],
                "ns",
            ),
            _timed(
                "call",
                f"{event}, recorded / with an idle C hook",
                _call_goal(),
                [ours[i] / idle[i] for i in rounds],
            ),
            _timed(
                "context",
                f"{event}, in a context, over none",
                "≤ 40 ns",
                [self._values["context"][i] - ours[i] for i in rounds],
                "ns",
            ),
            _timed("python-hook", "a Python hook that writes JSON with the stack / ours", "≥ 80", written),
        ]

    def _off(self) -> list[Cost]:
        audit = "off", "off: sys.audit(), installed / not installed", "1.000"
        start = "off-start", "off: python -c pass, installed / not installed", "≤ 1.01"
        if self._counter is None:
            bare, without = self._values["bare"], self._values["not-installed"]
            started, off = self._values["start-bare"], self._values["start-off"]
            return [
                _timed(*audit, [a / b for a, b in zip(bare, without, strict=True)]),
                _timed(*start, [a / b for a, b in zip(off, started, strict=True)]),
            ]
        found = []
        for words, ratio in ((audit, self._counted["audit"]), (start, self._counted["start"])):
            found.append(Cost(*words, ratio, ratio, ratio, "", f"instructions ({self._counter.name})", 1))
        return found

    @property
    def _rounds(self) -> int:
        return len(self._values["bare"])

    def _round(self) -> None:
        jobs = list(self._jobs.items())
        for name, job in jobs if self._rounds % 2 else reversed(jobs):
            self._values[name].append(job())
        shutil.rmtree(self._journal, ignore_errors=True)

    def _count(self) -> None:
        """Instructions of a start, and of calls of sys.audit(): more calls less none."""
        if (counter := self._counter) is None:
            return
        programs = [_AUDIT_LOOP.format(number) for number in (0, _AUDITS)]
        commands = [[str(python), "-c", program] for python in (self._bare, self._with) for program in programs]
        environment = self._environment() | {"PYTHONHASHSEED": "0"}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            none, some, none_with, some_with = pool.map(lambda words: counter.count(words, environment), commands)
        self._counted = {"start": none_with / none, "audit": (some_with - none_with) / (some - none)}

    def _event_ns(self, hook: str, python: Path | None = None) -> float:
        """Nanoseconds an event: the fastest loop of one process; its pages are warm by then."""
        self._journal.mkdir(exist_ok=True)
        words = [str(CHILD), hook, str(DEPTH), str(_EVENTS[hook]), str(_LOOPS)]
        environment = self._environment("1" if hook in ("pythonaudit", "context") else None)
        done = subprocess.run(
            [python or self._with, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            hint = "measure outside of 'pythonaudit run'; 'pythonaudit doctor' finds what does not work"
            raise PythonAuditError(f"a measured process failed: {said[-1]}", hint=hint)
        return min(map(float, done.stdout.split()))

    def _start_ms(self, python: Path, on: str | None = None) -> float:
        """Processor time of a Python that does nothing."""
        words = [str(python), "-c", "pass"]
        _, status, usage = os.wait4(os.posix_spawn(python, words, self._environment(on)), 0)
        if status:
            raise PythonAuditError(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
        return 1e3 * (usage.ru_utime + usage.ru_stime)

    def _environment(self, on: str | None = None) -> dict[str, str]:
        ours = {"PYTHONAUDIT_DIR": str(self._journal)} | ({"PYTHONAUDIT": on} if on else {})
        return unrecorded(os.environ) | ours


def _timed(name: str, text: str, goal: str, values: list[float], unit: str = "") -> Cost:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Cost(name, text, goal, middle, low, high, unit, "processor time", len(values))


def _call_goal() -> str:
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return "≤ 3.2" if optimised else "≤ 2.5"


def _make_environment(at: Path) -> Path:
    """A virtual environment; its interpreter."""
    venv.create(at, symlinks=True)
    return at / "bin" / "python"
