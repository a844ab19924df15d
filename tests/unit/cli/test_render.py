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

from pythonaudit.cli.render import Screen, csv_line, neutralise, neutralise_json

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
    ],
)
def test_csv_formulas(value: object, cell: str) -> None:
    line = csv_line([value, "next"], is_terminal=False)
    assert next(csv.reader(io.StringIO(line, newline=""))) == [cell, "next"]


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
