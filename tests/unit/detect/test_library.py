"""Which rules there are: files, ids, references, placeholders, and what is kept of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.detect import library
from pythonaudit.detect.library import OURS, Library, load_library, rule_files
from pythonaudit.errors import RuleError
from tests.sigma_corpus import rule_text

COUNT = {"timespan": "1m", "type": "event_count", "condition": {"gte": 2}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pythonaudit" / "rules"


def pack(directory: Path, **texts: bytes) -> Library:
    directory.mkdir(exist_ok=True)
    for name, text in texts.items():
        (directory / f"{name}.yml").write_bytes(text)
    return load_library(directory.parent, directory)


def simple(title: str, **more: Any) -> bytes:
    return rule_text({"x": {"event": "a"}, "condition": "x"}, title=title, **more)


def correlated(title: str, *rules: str, **more: Any) -> bytes:
    return json.dumps({"title": title, **more, "correlation": {**COUNT, "rules": list(rules)}}).encode()


def refusals(found: Library) -> list[str]:
    return [str(error).partition(".yml:")[2] for error in found.refused]


def test_the_users_rules_lie_beside_ours(tmp_path: Path) -> None:
    ours = load_library(tmp_path)
    pack(tmp_path / "rules", mine=simple("Mine"))
    (tmp_path / "rules" / "exceptions.yml").write_text("exceptions: []")
    (tmp_path / "rules" / "placeholders.yml").write_text("letters: [a]")
    both = load_library(tmp_path)
    assert {rule.head.title for rule in both.rules} - {rule.head.title for rule in ours.rules} == {"Mine"}
    assert (ours.refused, both.refused) == ([], [])
    assert both.files == len(list(rule_files(OURS))) + 1


def test_correlations_find_what_they_refer_to_in_other_files(tmp_path: Path) -> None:
    found = pack(
        tmp_path / "p",
        a=correlated("Outer", "inner"),
        b=correlated("Inner", "base", name="inner"),
        c=simple("B", name="base"),
    )
    assert found.refused == []
    assert [rule.head.title for rule in found.rules] == ["B", "Inner", "Outer"]
    assert list(found.references.values()) == [(0,), (1,)]


def test_one_bad_rule_does_not_hide_the_others(tmp_path: Path) -> None:
    found = pack(
        tmp_path / "p", a=simple("A"), b=b"title: [", c=rule_text({"x": {"Hashes": "a"}, "condition": "x"})
    )
    assert [rule.head.title for rule in found.rules] == ["A"]
    assert [text.split(":")[0] for text in refusals(found)] == ["2", "1"]


def test_what_cannot_be_resolved_is_refused(tmp_path: Path) -> None:
    id = "22222222-2222-4222-8222-222222222222"
    found = pack(
        tmp_path / "p",
        a=simple("A", id=id),
        b=simple("B", id=id),
        c=correlated("C", "nobody"),
        d=correlated("D", "e", name="d"),
        e=correlated("E", "d", name="e"),
    )
    assert [rule.head.title for rule in found.rules] == ["A"]
    said = refusals(found)
    assert [text.partition(": ")[2][:36] for text in said] == [
        "the id or name is that of " + str(tmp_path)[:10],
        "no rule 'nobody' is there to be corr",
        "the correlation refers to itself, or",
        "the correlation refers to itself, or",
    ]


def test_what_was_compiled_is_kept_until_anything_changes(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(tmp_path / "p", a=simple("A"), b=correlated("B", "a"), c=simple("C", name="a"))
    assert len(list(own_cache.iterdir())) == 3
    assert own_cache.stat().st_mode & 0o777 == 0o700

    def compiled(*_unused: object) -> None:
        raise AssertionError("it was compiled again")

    with monkeypatch.context() as patched:
        patched.setattr("pythonaudit.detect.compile.compile_documents", compiled)
        assert load_library(tmp_path, tmp_path / "p") == first
        (tmp_path / "p" / "a.yml").write_bytes(simple("Other"))
        with pytest.raises(AssertionError, match="compiled again"):
            load_library(tmp_path, tmp_path / "p")
    assert load_library(tmp_path, tmp_path / "p").rules[0].head.title == "Other"


def test_what_others_could_have_written_is_not_believed(tmp_path: Path, own_cache: Path) -> None:
    pack(tmp_path / "p", a=simple("A"))
    (kept,) = own_cache.iterdir()
    forged = kept.read_text().replace("lower(event)", "lower(exe)")
    assert forged != kept.read_text()
    kept.write_text(forged)
    kept.chmod(0o666)
    (rule,) = load_library(tmp_path, tmp_path / "p").rules
    assert "lower(event)" in getattr(rule, "sql", "")
    kept.write_text("{")
    kept.chmod(0o600)
    assert load_library(tmp_path, tmp_path / "p").rules == [rule]


def test_placeholders(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    places = tmp_path / "rules" / "placeholders.yml"
    text = rule_text({"x": {"path|expand": "/srv/%admins%/x"}, "condition": "x"})
    assert refusals(pack(tmp_path / "p", a=text)) == ["1: %admins% has no value in placeholders.yml"]
    places.write_text("admins: [alice, bob]")
    (rule,) = load_library(tmp_path, tmp_path / "p").rules
    assert "'/srv/alice/x', '/srv/bob/x'" in getattr(rule, "sql", "")
    places.write_text("admins: {a: b}")
    with pytest.raises(RuleError, match="'admins' takes a list of texts"):
        load_library(tmp_path)


def test_what_is_no_directory_of_rules_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="nowhere: No such file"):
        load_library(tmp_path, tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yml")
    found = load_library(tmp_path, tmp_path)
    assert [str(error) for error in found.refused] == [f"{tmp_path}/pipe.yml: no regular file"]


def test_an_old_python_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library.sys, "version_info", (3, 10, 12))
    with pytest.raises(library.UnsupportedError, match=r"rules need Python 3\.11 or later"):
        load_library(tmp_path)
