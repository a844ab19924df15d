"""Untrusted text on terminals, in JSON lines and in CSV."""

import csv
import io
import json
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.cli.render import Screen, amount, csv_line, json_line, neutralise, neutralise_json, say

HOSTILE = [char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) in
           ("Cc", "Cf", "Cs", "Zl", "Zp")]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/etc/passwd", "/etc/passwd"),
        ("naïve 日本 🐍", "naïve 日本 🐍"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eexe.txt", r"\u202eexe.txt"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("a\u200bb", r"a\u200bb"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("\x00", r"\x00"),
    ],
)
def test_neutralise(text: str, shown: str) -> None:
    assert neutralise(text) == shown


def test_every_control_format_and_separator_character_is_neutralised() -> None:
    assert len(HOSTILE) > 2000  # surrogates alone are
    assert not [char for char in HOSTILE if char in neutralise(f"a{char}b")]


@given(st.text())
def test_what_is_neutralised_prints(text: str) -> None:
    assert neutralise(text).isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_neutralised_without_changing_what_it_says(value: object) -> None:
    shown = neutralise_json(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    assert shown.decode().removesuffix("\n").isprintable()
    assert json.loads(shown) == value


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("a=1", "a=1"),
        (-5, "-5"),
        (None, ""),
        ("", ""),
        (True, "true"),
        (["=1", None], '["=1",null]'),
    ],
)
def test_csv_cells(value: object, cell: str) -> None:
    line = csv_line([value, "next"], is_terminal=False)
    assert next(csv.reader(io.StringIO(line, newline=""))) == [cell, "next"]


def test_a_line_of_json_is_utf_8_whatever_is_in_it() -> None:
    row = {"text": "naïve \udcff \x1b[2J", "other": None}
    line, shown = json_line(row, is_terminal=False), json_line(row, is_terminal=True)
    assert line == '{"text":"naïve \\udcff \\u001b[2J","other":null}\n'.encode()
    assert json.loads(line) == json.loads(shown) == row
    assert json_line({"text": "\u202e"}, is_terminal=True) == b'{"text":"\\u202e"}\n'


def test_what_is_said_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("/srv/\x1b[2J\nforged")
    assert capsys.readouterr() == ("", "pythonaudit: /srv/\\x1b[2J\\nforged\n")


def test_amounts() -> None:
    assert [amount(count, "event") for count in (0, 1, 1000)] == ["0 events", "1 event", "1,000 events"]
    assert [amount(count, "process is", "processes are") for count in (1, 2)] == [
        "1 process is",
        "2 processes are",
    ]


@given(st.text(), st.integers(4, 40))
def test_fit_takes_exactly_the_columns_it_is_given(text: str, width: int) -> None:
    screen = Screen(is_terminal=False)
    shown = neutralise(text)
    assert screen.columns(screen.fit(shown, width)) == width


def test_fit_cuts_in_the_middle() -> None:
    assert (
        Screen(is_terminal=False).fit("open /usr/lib/python3.11/encodings/utf_8.py", 20) == "open /us…gs/utf_8.py"
    )


def test_no_colours_where_stdout_is_no_terminal() -> None:
    screen = Screen(is_terminal=False)
    assert screen.width is None
    assert screen.paint("x", "bold red") == "x"
    printed = screen.table(["name", "count"], [["\x1b[31mred", 1234567]])
    assert r"\x1b[31mred" in printed and "1,234,567" in printed
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", printed)
