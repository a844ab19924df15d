"""Any tree, any text: every format is valid for those who read it, and has each stack with its events."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from pythonaudit.cli.render import neutralise
from pythonaudit.query.flame import ROOT, Frame, Tree, folded, speedscope
from pythonaudit.query.flame_page import page
from tests.flames import Stacks, read_folded, read_page, read_speedscope, unescape_folded

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "&lt;&amp;",
    "a;b;c 7",
    "paid 12",
    "paid 1 2.",
    "12",
    "\n9",
    "\u2028\x85\x0b",
    "\u202egnp.exe",
    "\x1b[2J",
    "\udcff",
    "__proto__",
    "",
]
# A backslash of their own would be taken back as one of an escape.
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_characters="\\"), max_size=12))
frames = st.builds(
    Frame, texts, st.one_of(st.none(), texts), st.sampled_from(["code", "library", "event", "note"])
)
stacks = st.lists(st.tuples(st.lists(frames, min_size=1, max_size=6), st.integers(1, 10**12)), max_size=12)


def make(raised: list[tuple[list[Frame], int]]) -> tuple[Tree, Stacks]:
    """The tree, and what must come back of it."""
    tree, expected = Tree(), Counter[tuple[str, ...]]()
    for stack, count in raised:
        node = ROOT
        for frame in stack:
            node = tree.node(node, frame)
        tree.add(node, count)
        expected[tuple(neutralise(f"{f.name} ({f.file})" if f.file else f.name) for f in stack)] += count
    return tree, expected


@given(stacks)
@settings(max_examples=300, deadline=None)
def test_every_format_keeps_every_stack(raised: list[tuple[list[Frame], int]]) -> None:
    tree, expected = make(raised)
    named = Counter[tuple[str, ...]]()
    for stack, count in expected.items():
        named[tuple(frame or "?" for frame in stack)] += count
    assert unescape_folded(read_folded("".join(folded(tree, neutralise)))) == named
    assert read_speedscope("".join(speedscope(tree, neutralise, "a name"))) == expected
    assert read_page("".join(page(tree, neutralise, "a title", "a line"))) == expected


@given(stacks)
@settings(max_examples=100, deadline=None)
def test_totals_are_those_of_what_was_called(raised: list[tuple[list[Frame], int]]) -> None:
    tree, _ = make(raised)
    totals = tree.totals()
    assert totals[ROOT] == sum(count for _, count in raised)
    for node, _, callees in tree.walk(tree.by_name()):
        below = [other for other, parent in enumerate(tree.parent) if parent == node]
        assert len(below) == callees
        assert totals[node] == tree.own[node] + sum(totals[other] for other in below)
