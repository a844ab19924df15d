"""Recorded processes whose parent was not recorded: from which attempt did they come, through what?

`make`, `bash -c 'python a.py | cat'` or `timeout 9 python b.py` start a Python whose `ppid` nobody recorded. What
is known of it is its boot, its run and its command line. So, best first:

- `command`: its command line is one that an attempt before it names; of several such attempts, the one that
  explains most children of its parent, then one of whose commands is still missing, then the last;
- `sibling`: another child of the same unrecorded parent was found so;
- `time`: its run has a label, and all programs that can have started it belong to one process that lived then.
  That is a guess, and says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pythonaudit.query.attempts import ProcessRow
from pythonaudit.query.commands import NOT_PYTHON, UNEXPLAINED, Key, Verdict, spawn_keys
from pythonaudit.query.forest import Node
from pythonaudit.query.matching import Chain

_MOST_GUESSES = 64
_MOST_PROGRAMS = 8  # that were given the same command line, and are looked at

Place = tuple[str, str | None]
"""Boot and label of a run."""
Family = list[tuple[Chain, Node]]
"""Strays with one parent, in the order of time."""


@dataclass(slots=True)
class _Waiting:
    """Attempts in the order of time; what has been reached by it lies on the stack."""

    nodes: list[Node] = field(default_factory=list)
    stack: list[Node] = field(default_factory=list)
    at: int = 0

    def reach(self, time_ns: int) -> None:
        while self.at < len(self.nodes) and self.nodes[self.at].time_ns <= time_ns:
            self.stack.append(self.nodes[self.at])
            self.at += 1


@dataclass(slots=True)
class Strays:
    """Finds parents for strays, which are asked for in the order of time.

    Attributes:
        taken: nodes of attempts that turned out to be a recorded process: they go.
        found: how many processes were found to come from the program of a node.
    """

    taken: set[Node] = field(default_factory=set)
    found: dict[Node, int] = field(default_factory=lambda: defaultdict(int))
    _by_key: dict[tuple[Place, Key], _Waiting] = field(default_factory=lambda: defaultdict(_Waiting))
    _open: dict[Place, _Waiting] = field(default_factory=lambda: defaultdict(_Waiting))
    _beside: dict[tuple[str, int, int], Node] = field(default_factory=dict)
    _verdicts: dict[Node, Verdict] = field(default_factory=dict)

    def offer(self, attempts: Sequence[tuple[Node, Verdict]]) -> None:
        """Takes the attempts of which no child was recorded."""
        for node, verdict in sorted(attempts, key=lambda pair: pair[0].time_ns):
            owner, attempt = node.parent_process, node.attempt
            if owner is None or attempt is None or not owner.boot:
                continue
            self._verdicts[node] = verdict
            place = (owner.boot, owner.run)
            for key in dict.fromkeys(spawn_keys(attempt.command, verdict)):
                self._by_key[place, key].nodes.append(node)
            if verdict.word == NOT_PYTHON or (verdict.word == UNEXPLAINED and verdict.is_open):
                self._open[place].nodes.append(node)

    def place_by_command(self, family: Family) -> None:
        """Puts strays with one parent where their command lines say: below one program, if that can be."""
        found = [(chain, node, self._programs(chain, node)) for chain, node in family]
        keys: dict[Node, list[Key]] = defaultdict(list)
        for *_, programs in found:
            for program, key in programs.items():
                if self._verdicts[program].is_open:
                    keys[program].append(key)
        explained = {program: self._explain(program, some) for program, some in keys.items()}
        common = max(explained, key=lambda program: (explained[program], *self._rank(program)), default=None)
        for chain, node, programs in found:
            if common is not None and common in programs and explained[common] > 1:
                self._place_below(common, chain, node)
            elif left := [program for program in programs if program not in self.taken]:
                self._place_below(max(left, key=self._rank), chain, node)

    def _explain(self, program: Node, keys: Sequence[Key]) -> int:
        """How many processes with these command lines a program was given to start."""
        assert program.attempt is not None
        given = Counter(spawn_keys(program.attempt.command, self._verdicts[program]))
        return (Counter(keys) & given).total()

    def _programs(self, chain: Chain, node: Node) -> dict[Node, Key]:
        """The last programs before it that were given its command line, each with how it is known."""
        row = chain.first
        found: dict[Node, Key] = {}
        for key in chain.find_keys():
            waiting = self._by_key.get(((row.boot, row.run), key))
            if waiting is None:
                continue
            waiting.reach(chain.start_ns)
            while waiting.stack and waiting.stack[-1] in self.taken:
                waiting.stack.pop()
            for program in waiting.stack[: -_MOST_PROGRAMS - 1 : -1]:
                is_free = program not in self.taken and program.time_ns <= chain.start_ns
                if is_free and program.parent is not node and self._can_be(program, row):
                    found.setdefault(program, key)
        return found

    def _can_be(self, program: Node, row: ProcessRow) -> bool:
        """Whether a program stands between a stray and its parent; or the parent has gone, so that it was adopted."""
        owner = program.parent_process
        is_adopted = row.ppid == 1 or (owner is not None and owner.ended and owner.end_ns <= row.begin_ns)
        return is_adopted or self._verdicts[program].distance > 0

    def _rank(self, program: Node) -> tuple[bool, int]:
        """Of programs that can be behind a stray: first those of which a Python is still missing, then the last."""
        is_missed = self.found[program] < max(len(self._verdicts[program].pythons), 1)
        return is_missed, program.time_ns

    def _place_below(self, program: Node, chain: Chain, node: Node) -> None:
        assert program.attempt is not None
        row = chain.first
        node.link, node.reason = "command", ""
        self.found[program] += 1
        if self._verdicts[program].is_open:
            node.parent, node.via = program, program.attempt.command.name
            if row.ppid > 1:
                self._beside.setdefault((row.boot, row.pid_namespace, row.ppid), program)
        else:  # it is that program; who started it had gone, or something like timeout stands between
            node.parent, node.attempt = program.parent, program.attempt
            self.taken.add(program)

    def place_beside(self, chain: Chain, node: Node) -> None:
        """Puts a stray beside another child of its parent, or below the only process that it can be from."""
        row = chain.first
        program = self._beside.get((row.boot, row.pid_namespace, row.ppid))
        if program is not None and program.attempt is not None and program.time_ns <= chain.start_ns:
            node.parent, node.link, node.reason = program, "sibling", ""
            node.via = program.attempt.command.name
            self.found[program] += 1
        elif row.run is not None and (row.boot, row.run) in self._open:
            self._guess(chain, node)

    def _guess(self, chain: Chain, node: Node) -> None:
        row = chain.first
        waiting = self._open[row.boot, row.run]
        waiting.reach(chain.start_ns)
        if len(waiting.stack) > _MOST_GUESSES:
            return
        programs = [p for p in waiting.stack if p not in self.taken and _can_be_from(chain, p.parent_process)]
        owners = {p.parent for p in programs}
        if len(owners) != 1 or None in owners:
            return
        (owner,) = owners
        node.parent, node.link = owner, "time"
        if len(programs) == 1 and (attempt := programs[0].attempt) is not None:
            node.parent, node.via = programs[0], attempt.command.name
            self.found[programs[0]] += not self._verdicts[programs[0]].sure
            node.reason = (
                f"a guess: pid {row.ppid} was not recorded, and nothing else of this run can be behind it"
            )
        else:
            node.reason = (
                f"a guess: pid {row.ppid} was not recorded, and is one of {len(programs)} programs of its parent"
            )


def _can_be_from(chain: Chain, owner: ProcessRow | None) -> bool:
    """Whether a process that lived then, and is no sibling, can be its ancestor."""
    row = chain.first
    return (
        owner is not None
        and owner.id != row.id
        and (owner.pid_namespace, owner.ppid) != (row.pid_namespace, row.ppid)
        and (owner.running is True or owner.end_ns >= chain.start_ns)
    )
