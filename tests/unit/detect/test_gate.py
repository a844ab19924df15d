"""Which gates rules have, and which have none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sigma_corpus import compiled

GATES: list[tuple[Any, list[str] | None]] = [
    ({"path|endswith": [".pth", ".PEM"]}, [r"\.pth$", r"\.pem$"]),
    ({"path|startswith": "/Etc/cron."}, [r"^/etc/cron\."]),
    ({"command": "*curl*evil.example?x"}, [r"evil\.example"]),
    ({"address|contains": "é.evil"}, [r"\.evil"]),
    ({"path|re": "^/proc/[0-9]+/mem$"}, ["(?-ims)^/proc/[0-9]+/mem$"]),
    # What programs do all day says nothing, what is beside it does.
    ({"path|contains": "/site-packages/", "path|endswith": ".pth"}, [r"\.pth$"]),
    ({"path|contains": "/site-packages/"}, None),
    ({"path|contains": ["/secret/", "/usr/lib/"]}, None),
    ({"path|contains": "ab"}, None),
    ({"path": "*"}, None),
    ({"event": "open"}, None),
    ({"user": "somebody"}, None),
    ({"pid": 4444}, None),
    ({"stack.file|endswith": "/setup.py"}, None),
    (["a keyword"], ["a keyword", "a keyword"]),
    ([r'say "hello" \\ there'], [" there", " there"]),
]


@pytest.mark.parametrize(("selection", "patterns"), GATES)
def test_gates(selection: Any, patterns: list[str] | None) -> None:
    gate = compiled({"x": selection, "condition": "x"}).gate
    assert (gate and [pattern for _, pattern in gate]) == patterns


def test_nothing_follows_from_the_contrary_and_everything_of_either_is_needed() -> None:
    parts = {"x": {"path|contains": "secret"}, "y": {"command|contains": "curl "}, "z": {"pid": 7}}
    gates = {
        condition: compiled(parts | {"condition": condition}).gate
        for condition in ("not x", "x and not y", "x or y", "x or z", "x and z", "x and y")
    }
    x, y = ("lower(path)", "secret"), ("lower(command)", "curl ")
    assert gates == {
        "not x": None, "x and not y": (x,), "x or y": (x, y), "x or z": None, "x and z": (x,), "x and y": (x,),
    }  # fmt: skip


def test_a_file_that_is_written_has_one_of_two_names() -> None:
    gate = compiled({"x": {"file.written|endswith": ".pth"}, "condition": "x"}).gate
    assert gate is not None and [pattern for _, pattern in gate] == [r"\.pth$"] * 2
    assert "path" in gate[0][0] and "target" in gate[1][0] and gate[0][0] != gate[1][0]


def test_what_is_implied_needs_no_python() -> None:
    rule = compiled(
        {
            "x": {"event": "subprocess.Popen", "pid": 7, "child.image|endswith": "/nc"},
            "y": {"child.command": "nc", "pid": 7},
            "condition": "x and not y",
        }
    )
    assert rule.gate is None and rule.implied == rule.implied.replace("child_", "")
    assert "pid = 7" in rule.implied and "child_images(" in rule.marked
    assert compiled({"x": {"child.command": "nc"}, "y": {"pid": 7}, "condition": "x or y"}).implied == "true"
