"""Which recorded process was started by which: chains of program images, their parents, their attempts.

A chain is what the kernel calls a process: the images with one pid and one start time, one after the other by
exec. Its parent is another chain; `pair` finds the attempt of the parent from which it came.

Times come from clocks that can be set, start times (`pid_start`) from one that cannot, with 10 ms of precision.
The two are laid beside each other for each boot: the process that began to record soonest after its start
gives the offset. It serves to choose among attempts alone; where it misleads, the order decides.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pythonaudit.query.attempts import Attempt, ProcessRow
from pythonaudit.query.commands import FARTHEST, Key, Verdict, process_keys, spawn_keys

_TICK_NS = 10_000_000  # USER_HZ is 100 wherever there is CPython
# A child that names nothing is taken for that of an attempt no longer before it than this.
_WINDOW_NS = 2_000_000_000
# Children of multiprocessing, which up to 3.13 starts them without any event.
_EVENTLESS = "from multiprocessing."


@dataclass(slots=True, eq=False)
class Chain:
    """One process of the kernel.

    Attributes:
        images: its recorded program images, in order.
        start_ns: about when it was started.
        parent: the chain that started it.
        parent_image: which of the parent's images did.
        link: how the parent was found: fork or ppid.
        attempt: the attempt of the parent that started it.
        was_another: whether the parent's pid was still another program's when this one began.
    """

    images: list[ProcessRow]
    start_ns: int = 0
    parent: Chain | None = None
    parent_image: ProcessRow | None = None
    link: str = ""
    attempt: Attempt | None = None
    was_another: bool = False

    @property
    def first(self) -> ProcessRow:
        """Its first recorded image."""
        return self.images[0]

    @property
    def is_forked(self) -> bool:
        """Whether it began as a copy of its parent."""
        return self.first.way == "fork"

    @property
    def is_eventless(self) -> bool:
        """Whether it is one of those that multiprocessing starts."""
        return any(word.startswith(_EVENTLESS) for word in self.first.argv[:8])

    def find_keys(self) -> list[Key]:
        """By what its start can be known: the command line of the first image that is not a copy of its parent."""
        started = next((image for image in self.images if image.way != "fork"), None)
        return process_keys(started.argv) if started is not None else []


def find_chains(processes: Iterable[ProcessRow]) -> list[Chain]:
    """All chains, each with its parent if that was recorded, in the order of time."""
    by_kernel: dict[tuple[object, ...], list[ProcessRow]] = defaultdict(list)
    by_id: dict[str, ProcessRow] = {}
    for row in processes:
        if row.id in by_id:
            continue
        by_id[row.id] = row
        known = row.boot and row.pid_start
        by_kernel[(row.boot, row.pid_namespace, row.pid, row.pid_start) if known else (row.id,)].append(row)
    chains = []
    for images in by_kernel.values():
        images.sort(key=lambda row: (row.way != "fork", row.begin_ns, row.id))
        chains.append(Chain(images))
    _estimate_starts(chains)
    chains.sort(key=lambda chain: (chain.start_ns, chain.first.begin_ns, chain.first.id))
    _find_parents(chains)
    return chains


def _estimate_starts(chains: Sequence[Chain]) -> None:
    offsets: dict[tuple[str, int], int] = {}
    for chain in chains:
        row = chain.first
        if row.boot and row.pid_start and not chain.is_forked:
            offset = row.begin_ns - row.pid_start * _TICK_NS
            clock = (row.boot, row.pid_namespace)
            offsets[clock] = min(offset, offsets.get(clock, offset))
    for chain in chains:
        row = chain.first
        offset_ns = offsets.get((row.boot, row.pid_namespace))
        chain.start_ns = row.begin_ns
        if offset_ns is not None and row.pid_start:
            chain.start_ns = min(row.begin_ns, (row.pid_start + 1) * _TICK_NS + offset_ns)


def _find_parents(chains: Sequence[Chain]) -> None:
    by_image = {image.id: (chain, image) for chain in chains for image in chain.images}
    by_pid: dict[tuple[str, int, int], list[Chain]] = defaultdict(list)
    for chain in chains:
        if chain.first.boot and chain.first.pid:
            by_pid[chain.first.boot, chain.first.pid_namespace, chain.first.pid].append(chain)
    for same in by_pid.values():
        same.sort(key=lambda chain: chain.first.pid_start)
    for chain in chains:
        row = chain.first
        if row.parent in by_image:
            chain.parent, chain.parent_image = by_image[row.parent]
            chain.link = "fork"
        elif row.boot:
            same = by_pid.get((row.boot, row.pid_namespace, row.ppid), [])
            at = bisect.bisect_right(same, row.pid_start, key=lambda chain: chain.first.pid_start)
            parent = same[at - 1] if at else None
            if parent is None or parent is chain or _is_over(parent, chain):
                continue
            chain.parent, chain.link = parent, "ppid"
            chain.parent_image = _image_at(parent, chain.start_ns)
            chain.was_another = not parent.is_forked and row.begin_ns < parent.first.begin_ns


def _is_over(parent: Chain, child: Chain) -> bool:
    """Whether it had ended in order when the child began: its pid was somebody else's then."""
    last = parent.images[-1]
    return last.ended and last.end_ns < child.start_ns - _TICK_NS


def _image_at(chain: Chain, time_ns: int) -> ProcessRow:
    before = [image for image in chain.images if image.begin_ns <= time_ns]
    return before[-1] if before else chain.first


def pair(children: Sequence[Chain], forks: Sequence[Attempt], verdicts: Mapping[Attempt, Verdict]) -> None:
    """Gives children of one chain the attempts from which they came.

    Args:
        children: in the order of time.
        forks: attempts to fork, in the order of time.
        verdicts: of the other attempts that are no exec, in the order of time.
    """
    used: set[Attempt] = set()
    by_key: dict[Key, tuple[list[Chain], list[Attempt]]] = defaultdict(lambda: ([], []))
    for chain in children:
        for key in chain.find_keys():
            by_key[key][0].append(chain)
    for attempt, verdict in verdicts.items():
        for key in spawn_keys(attempt.command, verdict):
            by_key[key][1].append(attempt)
    # First what fits in time, then what is nearer: a shell may have become its last command.
    for window_ns in (_WINDOW_NS, None):
        for distance in range(FARTHEST + 1):
            for some, theirs in by_key.values():
                _pair_by_time(some, [a for a in theirs if verdicts[a].distance == distance], used, window_ns)
    forked = [chain for chain in children if chain.is_forked]
    for window_ns in (_WINDOW_NS, None):
        _pair_by_time(forked, forks, used, window_ns)
    nameless = [chain for chain in children if not chain.is_forked and not chain.is_eventless]
    _pair_by_time(nameless, [a for a, verdict in verdicts.items() if verdict.is_open], used, _WINDOW_NS)


def _pair_by_time(
    children: Iterable[Chain], attempts: Iterable[Attempt], used: set[Attempt], window_ns: int | None = None
) -> None:
    """Each child gets the last attempt before it that has none; in order, if there are as many of both that fit.

    Args:
        window_ns: no attempt that is older; without it, those after a child (clocks are set) are better than none.
    """
    some = [chain for chain in children if chain.attempt is None]
    free = [attempt for attempt in attempts if attempt not in used]
    pairs = list(zip(some, free, strict=False))
    if len(some) == len(free) and all(
        window_ns is None or -_TICK_NS <= chain.start_ns - attempt.time_ns <= window_ns for chain, attempt in pairs
    ):
        for chain, attempt in pairs:
            chain.attempt = attempt
            used.add(attempt)
        return
    waiting: list[Attempt] = []
    left: list[Chain] = []
    at = 0
    for chain in some:
        while at < len(free) and free[at].time_ns <= chain.start_ns:
            waiting.append(free[at])
            at += 1
        if waiting and (window_ns is None or chain.start_ns - waiting[-1].time_ns <= window_ns):
            chain.attempt = waiting.pop()
            used.add(chain.attempt)
        else:
            left.append(chain)
    if window_ns is None:
        rest = [attempt for attempt in free if attempt not in used]
        for chain, attempt in zip(left, rest, strict=False):
            chain.attempt = attempt
            used.add(attempt)
