"""Stacks: their JSON, however much of it is known already, and the line of code that people look for."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from pythonaudit.journal import layout, stacks, texts
from pythonaudit.journal.segment import Segment, parse_segment
from pythonaudit.journal.stacks import Stacks
from tests.journal_writer import Frame, SegmentWriter

FROZEN, SUBPROCESS, RUNPY = (
    "<frozen importlib._bootstrap>",
    "/usr/lib/python3.11/subprocess.py",
    "/usr/lib/python3.11/runpy.py",
)


def expected(segment: Segment, node: int) -> list[dict[str, object]]:
    return [
        {"file": file} | ({"line": line} if line else {}) | {"function": function}
        for file, line, function in segment.stack(node)
    ]


def make_tree(seed: int, deepest: int) -> Segment:
    """Stacks that share their outer frames, some of them deeper than a stack may be."""
    chance = random.Random(seed)
    writer = SegmentWriter()
    codes = [writer.code(f"/srv/{name}.py", f"f{name}", 1) for name in range(7)]
    nodes = [(0, 0)]
    for _ in range(400):
        node, depth = chance.choice(nodes[-20:])
        if depth < deepest:
            nodes.append((writer.node(node, chance.choice(codes), chance.randrange(9)), depth + 1))
    return parse_segment(writer.build())


@pytest.mark.parametrize("deepest", [5, layout.STACK_MAX_NODES, 300])
@pytest.mark.parametrize("kept", [1, 9000, 1 << 30])
def test_json_is_that_of_the_frames(deepest: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_CACHE_BYTES", kept)
    for seed in range(5):
        segment = make_tree(seed, deepest)
        found = Stacks(segment)
        order = list(range(1, len(segment.node_parent))) * 2
        random.Random(seed).shuffle(order)
        for node in order:
            assert json.loads(found.json(node)) == expected(segment, node)


@pytest.mark.parametrize("deepest", [5, layout.STACK_MAX_NODES, 300])
def test_columns_have_the_same_text(deepest: int) -> None:
    for seed in range(5):
        segment = make_tree(seed, deepest)
        nodes = np.random.default_rng(seed).permutation(len(segment.node_parent))
        found = Stacks(segment)
        wanted = [found.json(node).decode() if node else None for node in nodes.tolist()]
        assert texts.stacks(segment, nodes).to_pylist() == wanted


def test_columns_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    segment = make_tree(0, 5)
    nodes = np.arange(len(segment.node_parent))
    whole = texts.stacks(segment, nodes).to_pylist()
    monkeypatch.setattr(texts, "_STACKS_MAX_BYTES", sum(len(text) for text in whole if text) // 2)
    found = texts.stacks(segment, nodes).to_pylist()
    kept = found.index(None, 1)
    assert kept > len(nodes) // 4
    assert found == whole[:kept] + [None] * (len(nodes) - kept)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([SUBPROCESS, "/srv/app.py", "/srv/main.py"], 1),
        ([FROZEN, "/srv/venv/lib/python3.11/site-packages/requests/api.py", "/srv/app.py"], 1),
        ([SUBPROCESS, "<string>"], 1),
        ([FROZEN, SUBPROCESS, RUNPY], 1),
        ([FROZEN, FROZEN], 0),
        ([], None),
    ],
)
def test_the_line_of_code_is_the_innermost_of_the_program(files: list[str], found: int | None) -> None:
    stack: list[Frame] = [(file, line, "f") for line, file in enumerate(files)]
    writer = SegmentWriter()
    node = writer.stack(stack)
    of_segment = Stacks(parse_segment(writer.build()))
    for _ in range(2):
        assert of_segment.code_frame(node) == (None if found is None else stack[found])
