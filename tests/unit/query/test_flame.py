"""The tree of frames and its formats, to the letter."""

from __future__ import annotations

import json

import pytest

from pythonaudit.cli.render import neutralise
from pythonaudit.query.flame import ROOT, Frame, Tree, folded, speedscope
from pythonaudit.query.flame_page import page
from tests.flames import Page, check_self_contained, read_page

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    main = tree.node(ROOT, Frame("main", "/srv/app.py"))
    tree.add(tree.node(main, Frame("save", "/srv/app.py")), 5)
    load = tree.node(main, Frame("load", "/srv/app.py"))
    tree.add(load, 1)
    tree.add(tree.node(load, Frame("open", kind="event")), 2)
    tree.add(tree.node(ROOT, Frame("[no stack]", kind="note")), 3)
    return tree


def one(name: str, file: str | None = None) -> Tree:
    tree = Tree()
    tree.add(tree.node(ROOT, Frame(name, file)), 1)
    return tree


def test_the_same_frame_is_one_node(tree: Tree) -> None:
    nodes = len(tree.own)
    main = tree.node(ROOT, Frame("main", "/srv/app.py"))
    tree.add(tree.node(main, Frame("save", "/srv/app.py")), 1)
    assert len(tree.own) == nodes
    assert tree.totals()[ROOT] == 12
    assert tree.node(ROOT, Frame("main", "/srv/other.py")) == nodes


def test_folded(tree: Tree) -> None:
    assert "".join(folded(tree, neutralise)) == (
        "[no stack] 3\n"
        "main (/srv/app.py);load (/srv/app.py) 1\n"
        "main (/srv/app.py);load (/srv/app.py);open 2\n"
        "main (/srv/app.py);save (/srv/app.py) 5\n"
    )


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("a;b", r"a\x3bb"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J\u202e\u2028", r"\x1b[2J\u202e\u2028"),
        ("order paid 7", r"order paid\x207"),
        ("7 7.5", r"7\x207.5"),
        ("7 of 8 done", "7 of 8 done"),
        ("", "?"),
    ],
)
def test_what_folded_takes_for_its_own(name: str, label: str) -> None:
    assert list(folded(one(name), neutralise)) == [f"{label} 1\n"]


def test_speedscope(tree: Tree) -> None:
    assert json.loads("".join(speedscope(tree, neutralise, "name"))) == {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "pythonaudit",
        "name": "name",
        "activeProfileIndex": 0,
        "shared": {
            "frames": [
                {"name": "main", "file": "/srv/app.py"},
                {"name": "save", "file": "/srv/app.py"},
                {"name": "load", "file": "/srv/app.py"},
                {"name": "open"},
                {"name": "[no stack]"},
            ]
        },
        "profiles": [
            {
                "type": "sampled",
                "name": "name",
                "unit": "none",
                "startValue": 0,
                "endValue": 11,
                "samples": [[4], [0, 2], [0, 2, 3], [0, 1]],
                "weights": [3, 1, 2, 5],
            }
        ],
    }


def test_speedscope_is_ascii() -> None:
    assert "".join(speedscope(one("日本\x1b", "/ü"), neutralise, "é")).isascii()


def test_page(tree: Tree) -> None:
    made = Page("".join(page(tree, neutralise, "A title", "11 events")))
    check_self_contained(made)
    assert (made.texts["title"], made.texts["h1"]) == (["A title"], ["A title"])
    data = json.loads(made.texts["script"][0])
    assert [data["frames"][n][0] if n >= 0 else "" for n in data["nodes"][::3]] == [
        *("", "main", "save", "load", "open", "[no stack]")
    ]  # those with more events first
    assert data["nodes"][1::3] == [2, 2, 0, 1, 0, 0]
    assert data["nodes"][2::3] == [0, 0, 5, 1, 2, 3]


def test_no_text_becomes_markup() -> None:
    tree = one(HOSTILE, f"/srv/{HOSTILE}.py")
    text = "".join(page(tree, neutralise, HOSTILE, HOSTILE))
    assert "<img" not in text
    assert text.count("</script>") == 2
    assert read_page(text) == {(f"{HOSTILE} (/srv/{HOSTILE}.py)",): 1}
    made = Page(text)
    assert made.texts["title"] == made.texts["h1"] == [HOSTILE]


def test_the_check_of_pages_bites(tree: Tree) -> None:
    text = "".join(page(tree, neutralise, "A title", "11 events"))
    for old, new in (
        ("<main", '<img src="x"><main'),
        ("<body>", '<body onload="x()">'),
        ("</style>", "a { background: url(x) }</style>"),
        ('"use strict"', '"use strict"; fetch("x")'),
        ("default-src 'none'", "default-src *"),
        ("</main>", ""),
    ):
        assert old in text
        with pytest.raises(AssertionError):
            read_page(text.replace(old, new, 1))


def test_nothing() -> None:
    empty = Tree()
    assert "".join(folded(empty, neutralise)) == ""
    assert json.loads("".join(speedscope(empty, neutralise, "name")))["profiles"][0]["samples"] == []
    assert read_page("".join(page(empty, neutralise, "A title", "0 events"))) == {}
