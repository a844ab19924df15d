"""What a command line is judged to be."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pythonaudit.query.commands import Command, File, judge, process_keys, shell_commands, spawn_keys

BINARY, MISSING = File("binary", "tool"), File("missing")
FILES: Mapping[str, File] = {
    "/usr/bin/git": BINARY,
    "/opt/tool": File("binary", "python3.12"),
    "/opt/gone": MISSING,
    "/opt/gone/python": MISSING,
    "pip": File("script", "pip", ("/usr/bin/python3",)),
    "pytest": File("script", "pytest", ("/usr/bin/env", "python3")),
    "split": File("script", "split", ("/usr/bin/env", "-S python3 -u")),
    "stale": File("script", "stale", ("/opt/gone/python",)),
    "python-shim": File("script", "python", ("/bin/bash",)),
    "build": File("script", "build", ("/bin/sh",)),
    "tool": File("script", "tool", ("/opt/tool",)),
    "nothing": File("script", "nothing"),
}


def look(program: str, cwd: str | None) -> File | None:
    return FILES.get(program)


def judged(*words: str, program: str | None = None) -> tuple[str, str]:
    verdict = judge(Command(words, program), look)
    return verdict.word, verdict.reason


@pytest.mark.parametrize(
    ("command", "word", "reason"),
    [
        ("python x.py", "not-recorded", "Python by its name"),
        ("/usr/bin/python3.12 -c pass", "not-recorded", "Python by its name"),
        ("python3.13t", "not-recorded", "Python by its name"),
        ("pypy3 x.py", "not-recorded", "Python by its name"),
        ("/opt/tool x.py", "not-recorded", "Python: the file is python3.12"),
        ("pip install x", "not-recorded", "a Python script: #!/usr/bin/python3"),
        ("pytest", "not-recorded", "a Python script: #!/usr/bin/env python3"),
        ("split", "not-recorded", "a Python script: #!/usr/bin/env -S python3 -u"),
        ("tool", "not-recorded", "a Python script: #!/opt/tool"),
        ("pip3.11 install x", "not-recorded", "Python by its name"),
        ("./run.py", "not-recorded", "Python by its name"),
        ("python -V", "not-python", "-V: ends before any Python runs"),
        ("python3 --help", "not-python", "--help: ends before any Python runs"),
        ("python3 -V x.py", "not-recorded", "Python by its name"),
        ("python3-config --libs", "not-python", "by its name"),
        ("pythonw-like", "not-python", "by its name"),
        ("/usr/bin/git commit", "not-python", "a program that is not Python"),
        ("git commit", "not-python", "by its name"),
        ("build", "not-python", "a script: #!/bin/sh"),
        ("nothing", "not-python", "a script: #!"),
        ("/opt/gone x", "unexplained", "no such program here: it never started, or has gone since"),
        (
            "/opt/gone/python x",
            "unexplained",
            "Python by its name; no such file here: it never started, or has gone since",
        ),
        ("stale", "unexplained", "#!/opt/gone/python: no such file here: it never started, or has gone since"),
        ("env -i -u HOME A=b python3 x.py", "not-recorded", "Python by its name"),
        ("env", "not-python", "env with no command that is known"),
        ("timeout -s KILL -k 5 10 python3 x.py", "not-recorded", "Python by its name"),
        ("nice -n 5 nohup setsid python3 x.py", "not-recorded", "Python by its name"),
        ("sudo -u www -- python3 x.py", "not-recorded", "Python by its name"),
        ("timeout 5 git gc", "not-python", "by its name"),
        ("bash", "not-python", "a shell"),
        ("bash run.sh -c python", "not-python", "a shell"),
    ],
)
def test_commands(command: str, word: str, reason: str) -> None:
    assert judged(*command.split(" ")) == (word, reason)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("python x.py", "not-recorded"),
        ("cd /srv && exec python x.py", "not-recorded"),
        ("A=1 B='2 3' python3 x.py >out 2>&1 &", "not-recorded"),
        ("git log | python3 x.py", "not-recorded"),
        ("make; python3 x.py", "not-recorded"),
        ("(cd /srv; python3 x.py)", "not-recorded"),
        ("set -e\npython3 x.py\n", "not-recorded"),
        ("bash -c 'python x.py'", "not-recorded"),
        ("pip install x", "not-recorded"),
        ("make && python3 x.py", "unexplained"),
        ("make || python3 x.py", "unexplained"),
        ("if make; then python3 x.py; fi", "unexplained"),
        ("for i in 1 2; do python3 $i; done", "unexplained"),
        ("$PYTHON x.py", "unexplained"),
        ("exit 3", "not-python"),
        ("echo 'python x.py; python y.py'", "not-python"),
        ("git commit -m 'python", "not-python"),
        ("nosuch", "not-python"),
        ("/opt/gone", "not-python"),
        ("", "not-python"),
    ],
)
def test_shells(text: str, word: str) -> None:
    assert judged("sh", "-c", text)[0] == word


def test_options_of_shells() -> None:
    assert judged("bash", "-lc", "python x.py")[0] == "not-recorded"
    assert judged("bash", "--norc", "-o", "pipefail", "-ec", "python x.py")[0] == "not-recorded"
    assert judged("sh", "-e", "x.sh", "-c", "python x.py")[0] == "not-python"
    assert judged("sh", "-c")[0] == "not-python"


def test_how_many_run_for_sure() -> None:
    verdict = judge(Command(("sh", "-c", "python a.py | python b.py && python c.py; python d.py")), look)
    assert verdict.sure == 3
    assert [python.words[1] for python in verdict.pythons] == ["a.py", "b.py", "c.py", "d.py"]


def test_the_program_counts_not_the_first_word() -> None:
    assert judged("tool", "x.py", program="/usr/bin/python3")[0] == "not-recorded"
    assert judged("python3", "x.py", program="/usr/bin/git")[0] == "not-python"


@pytest.mark.parametrize(
    ("command", "distance"),
    [
        ("python3 x.py", 0),
        ("pip", 0),
        ("env python3 x.py", 1),
        ("sh -c python3", 2),
        ("nohup timeout 9 python3", 3),
    ],
)
def test_how_far_its_python_is(command: str, distance: int) -> None:
    assert judge(Command(tuple(command.split())), look).distance == distance


def test_what_is_not_known() -> None:
    assert judged() == ("unexplained", "its command line is not known")
    assert judged("", "x.py")[0] == "unexplained"


def test_wrappers_in_wrappers_end() -> None:
    assert judged(*["nohup"] * 100, "python3")[0] == "not-python"


def test_redirections_are_no_arguments() -> None:
    assert list(shell_commands("python3 x.py 2>/dev/null <in")) == [(("python3", "x.py"), True)]


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        (("python3", "-m", "x"), ("-m", "x")),
        (("/srv/bin/pip", "install"), ("-I", "/srv/bin/pip", "install")),
        (("env", "A=1", "python3", "x.py"), ("x.py",)),
        (("sh", "-c", "true; python3 x.py 'a b'"), ("x.py", "a b")),
        (("nohup", "./tool", "-v"), ("/srv/tool", "-v")),
        (("python3", "x" * 5000), ("x" * 4096,)),
        (("python3", *map(str, range(127))), tuple(map(str, range(128)))),
    ],
)
def test_how_a_recorded_process_is_known(command: tuple[str, ...], argv: tuple[str, ...]) -> None:
    asked = Command(command)
    assert not set(spawn_keys(asked, judge(asked, look))).isdisjoint(process_keys(argv))


@pytest.mark.parametrize("argv", [("y.py",), ("x.py", "a"), (), ("-m", "x.py")])
def test_another_command_is_not_taken_for_it(argv: tuple[str, ...]) -> None:
    asked = Command(("python3", "x.py"))
    assert set(spawn_keys(asked, judge(asked, look))).isdisjoint(process_keys(argv))
