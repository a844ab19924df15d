"""The process tree with the coverage ledger: which process started which, and which of them were recorded.

    forest = build_ledger(processes, spawns, look_for)
    for node in forest.walk(): print("  " * node.depth, node.coverage, node.reason)

No input or output: rows come in, `look` (commands.py) says what a program is on this host, a forest comes out.
Whoever wrote the rows may have forged them: whatever they say, each process stands in the forest once, and it
takes time that grows with the rows, n log n.

A recorded process is a program image. Images with one pid and one start time are one process of the kernel that
went on by exec; the later one stands below the earlier. Who started the first of them is told by, best first:

- `fork`: the header names the process that forked it;
- `ppid`: the recorded process that had this pid then (same boot, same pid namespace, begun no later);
- `command`, `sibling`, `time`: a program that was not recorded stands between (strays.py).

Otherwise it is a root. An event that starts a process is an attempt; those of one API are one attempt. It is
paired with a recorded child of its process by command line, then by order and time (`matching.py`). What is left
has no recorded child: it stands in the forest as a node of its own, judged by its command.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from pythonaudit.query.attempts import Attempt, ProcessRow, SpawnRow, find_attempts
from pythonaudit.query.commands import (
    NOT_PYTHON,
    NOT_RECORDED,
    UNEXPLAINED,
    Command,
    Look,
    Verdict,
    judge,
    spawn_keys,
)
from pythonaudit.query.forest import RECORDED, Forest, Node, grow
from pythonaudit.query.matching import Chain, find_chains, pair
from pythonaudit.query.strays import Family, Strays

COVERAGE = (RECORDED, NOT_PYTHON, NOT_RECORDED, UNEXPLAINED)


def build_ledger(
    processes: Iterable[ProcessRow], spawns: Iterable[SpawnRow], look_for: Callable[[ProcessRow], Look]
) -> Forest:
    """The forest of all processes.

    Args:
        processes: one row for each recorded process.
        spawns: the events that start processes, in any order. Those of unknown processes are ignored.
        look_for: by a process, what the programs that it starts are on this host.
    """
    builder = _Builder(processes, spawns, look_for)
    builder.place_chains()
    builder.place_attempts()
    builder.place_strays()
    builder.settle()
    return grow(builder.nodes)


class _Builder:
    """The forest while it is made: nodes that know their parents."""

    def __init__(
        self, processes: Iterable[ProcessRow], spawns: Iterable[SpawnRow], look_for: Callable[[ProcessRow], Look]
    ) -> None:
        self.chains = find_chains(processes)
        self.attempts = find_attempts(spawns)
        self.look_for = look_for
        self.nodes: list[Node] = []
        self.images: dict[str, Node] = {}
        self.continued: set[str] = set()  # ids of images that another recorded one followed
        self.verdicts: dict[Attempt, Verdict] = {}
        self.known: dict[tuple[Command, Look], Verdict] = {}
        # How many recorded processes came from an attempt, and the nodes of those from which none came.
        self.found: dict[Attempt, int] = defaultdict(int)
        self.left: dict[Attempt, Node] = {}

    def add(self, node: Node, parent: Node | None) -> Node:
        """Takes a node in."""
        node.parent = parent
        self.nodes.append(node)
        return node

    def verdict(self, attempt: Attempt) -> Verdict:
        """What an attempt was, if nothing of it was recorded."""
        known = self.verdicts.get(attempt)
        if known is None:
            process = self.images[attempt.row.process].process
            assert process is not None
            look = self.look_for(process)
            key = (attempt.command, look)
            known = self.known.get(key) or judge(attempt.command, look)
            self.verdicts[attempt] = self.known[key] = known
        return known

    def place_chains(self) -> None:
        """A node for each recorded image, below the one before it or below who started it."""
        for chain in self.chains:
            before: Node | None = None
            for image in chain.images:
                node = self.add(Node(RECORDED, process=image), before)
                self.images[image.id] = node
                if before is not None and before.process is not None:
                    self.continued.add(before.process.id)
                    self._place_exec(node, before)
                before = node
        children: dict[Chain, list[Chain]] = defaultdict(list)
        for chain in self.chains:
            if chain.parent is not None:
                children[chain.parent].append(chain)
        for parent, some in children.items():
            self._pair(parent, some)
        for chain in self.chains:
            if chain.parent is not None and not chain.was_another:
                self._place_child(chain, self.images[chain.first.id])
        for chain in self.chains:
            if chain.parent is not None and chain.was_another:
                self._place_before(chain.parent, self.images[chain.first.id])

    def _place_exec(self, node: Node, before: Node) -> None:
        assert node.process is not None and before.process is not None
        node.link = "exec"
        earlier = [a for a in self.attempts.get(before.process.id, ()) if a.is_exec]
        at_most = node.process.begin_ns
        attempt = next((a for a in reversed(earlier) if a.time_ns <= at_most), earlier[-1] if earlier else None)
        if attempt is not None:
            node.attempt = attempt
            node.via = attempt.command.name if self.verdict(attempt).is_open else ""
            self.found[attempt] += 1

    def _pair(self, parent: Chain, children: list[Chain]) -> None:
        attempts = [a for image in parent.images for a in self.attempts.get(image.id, ()) if not a.is_exec]
        forks = [attempt for attempt in attempts if attempt.is_fork]
        pair(children, forks, {attempt: self.verdict(attempt) for attempt in attempts if not attempt.is_fork})
        for chain in children:
            if chain.attempt is not None:
                chain.was_another = False  # it is a clock that was set back
                self.found[chain.attempt] += 1

    def _place_child(self, chain: Chain, node: Node) -> None:
        assert chain.parent_image is not None
        attempt = chain.attempt
        node.parent = self.images[attempt.row.process if attempt else chain.parent_image.id]
        node.link, node.attempt = chain.link, attempt
        if attempt is not None and not attempt.is_fork:
            is_known = not set(chain.find_keys()).isdisjoint(spawn_keys(attempt.command, self.verdict(attempt)))
            if not is_known:
                node.reason = "by the time of its start: its command line is another"
            if not is_known or self.verdict(attempt).is_open:
                node.via = attempt.command.name

    def _place_before(self, parent: Chain, node: Node) -> None:
        """A child of the program that then became the parent, by exec."""
        first, attempt = self.images[parent.first.id], parent.attempt
        node.parent, node.attempt = first.parent, attempt
        if attempt is not None:
            node.link, node.via = "ppid", attempt.command.name
            self.found[attempt] += 1

    def place_attempts(self) -> None:
        """A node for each attempt of which no child was recorded."""
        forks: dict[str, int] = {}
        for process, attempts in self.attempts.items():
            owner = self.images.get(process)
            if owner is None:
                continue
            last = next((a for a in reversed(attempts) if a.is_exec and not self.found.get(a)), None)
            for attempt in attempts:
                if self.found.get(attempt):
                    continue
                if attempt.is_exec:
                    node = self._exec_node(owner, attempt, attempt is last)
                elif attempt.is_fork:
                    node = self._fork_node(owner, attempt, forks)
                else:
                    verdict = self.verdict(attempt)
                    node = Node(verdict.word, verdict.reason, attempt=attempt)
                self.left[attempt] = self.add(node, owner)
        for owner in self.images.values():
            assert owner.process is not None
            more = owner.process.unrecorded_children - forks.get(owner.process.id, 0)
            if more > 0:
                self.add(
                    Node(NOT_RECORDED, f"its recorder counted {more} forked children without a journal"), owner
                )

    def _exec_node(self, owner: Node, attempt: Attempt, is_last: bool) -> Node:
        process = owner.process
        assert process is not None
        went_on = process.ended or process.end_ns > attempt.time_ns or not is_last
        if went_on or process.id in self.continued:
            return Node(UNEXPLAINED, "nothing was started: the process went on after it", attempt=attempt)
        verdict = self.verdict(attempt)
        return Node(verdict.word, verdict.reason, attempt=attempt, link="exec")

    def _fork_node(self, owner: Node, attempt: Attempt, forks: dict[str, int]) -> Node:
        process = owner.process
        assert process is not None
        if forks.get(process.id, 0) < process.unrecorded_children:
            forks[process.id] = forks.get(process.id, 0) + 1
            return Node(NOT_RECORDED, "its recorder counted a forked child without a journal", attempt=attempt)
        if attempt.command.words:  # pty.spawn
            verdict = self.verdict(attempt)
            return Node(verdict.word, verdict.reason, attempt=attempt)
        return Node(UNEXPLAINED, "no event came from a forked child, or there was none", attempt=attempt)

    def place_strays(self) -> None:
        """Looks for the parent of whatever was started by a process that was not recorded."""
        self._place_below_exec()
        strays = [(chain, self.images[chain.first.id]) for chain in self.chains if chain.parent is None]
        for chain, node in strays:
            if chain.first.parent is not None:
                node.reason = "who forked it is not, or no longer, in the journal"
            elif chain.first.ppid:
                node.reason = f"its parent, pid {chain.first.ppid}, was not recorded"
        finder = Strays()
        finder.offer(
            [(node, self.verdicts[attempt]) for attempt, node in self.left.items() if self._has_run(node)]
        )
        strays = [(chain, node) for chain, node in strays if chain.first.boot and chain.first.parent is None]
        families: dict[tuple[object, ...], Family] = defaultdict(list)
        for chain, node in strays:
            row = chain.first
            # Pid 1 adopts children of others.
            key = (row.boot, row.pid_namespace, row.ppid, row.run) if row.ppid > 1 else (row.id,)
            families[key].append((chain, node))
        for family in families.values():
            finder.place_by_command(family)
        for chain, node in strays:
            if node.parent is None:
                finder.place_beside(chain, node)
        for node, found in finder.found.items():
            if node.attempt is not None:
                self.found[node.attempt] += found
        self.nodes = [node for node in self.nodes if node not in finder.taken]

    def _has_run(self, node: Node) -> bool:
        """Whether a program can have been started by what this node stands for."""
        assert node.attempt is not None
        return node.attempt in self.verdicts and (not node.attempt.is_exec or node.link == "exec")

    def _place_below_exec(self) -> None:
        """Children of a process that has become another program, by exec, are that program's."""
        programs = {node.parent: node for node in self.left.values() if node.link == "exec"}
        for chain in self.chains:
            node = self.images[chain.first.id]
            program = programs.get(node.parent) if chain.link == "ppid" and chain.attempt is None else None
            if program is not None and program.attempt is not None and program.time_ns <= chain.start_ns:
                node.parent, node.via = program, program.attempt.command.name
                self.found[program.attempt] += 1

    def settle(self) -> None:
        """What is known of a command in the end, when what it started has been found."""
        for attempt, verdict in self.verdicts.items():
            found = self.found.get(attempt, 0)
            if not found:
                continue
            node = self.left.get(attempt)
            if found < verdict.sure and verdict.is_open:
                reason = f"{attempt.command.name}: {found} of {verdict.sure} commands of Python recorded"
                if node is None:
                    self.add(Node(NOT_RECORDED, reason, attempt=attempt), self.images[attempt.row.process])
                else:
                    node.coverage, node.reason = NOT_RECORDED, reason
            elif node is not None:
                node.coverage, node.reason = NOT_PYTHON, "it started what stands below it"
