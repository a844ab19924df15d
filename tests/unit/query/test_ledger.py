"""The process tree from hand-made rows: who started whom, what became of each attempt."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from pythonaudit.query.commands import File
from tests.process_rows import BOOT_NS, MS, Rows

SPAWN_MAIN = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=4, pipe_handle=6)"


@pytest.fixture
def rows() -> Rows:
    """One process, `a`, pid 10, started after a second."""
    rows = Rows()
    rows.process("a", 10, 9, 1000, "app.py")
    return rows


def reasons(rows: Rows) -> list[str]:
    return [node.reason for node in rows.forest().walk()]


def started_by(rows: Rows) -> dict[str, str | None]:
    """The event that each recorded process was found to come from."""
    return {
        node.process.id: node.attempt.row.id if node.attempt else None
        for node in rows.forest().walk()
        if node.process
    }


def test_a_child_of_popen(rows: Rows) -> None:
    rows.popen("a", 2000, "python3", "-c", "pass")
    rows.process("b", 11, 10, 2001, "-c", "pass")
    assert rows.outline() == ["a", "  b ppid"]
    assert started_by(rows)["b"] == "a/1/2000"


def test_a_root_says_who_started_it(rows: Rows) -> None:
    assert reasons(rows) == ["its parent, pid 9, was not recorded"]


def test_python_with_no_journal(rows: Rows) -> None:
    rows.popen("a", 2000, "/opt/static/python3.12", "x.py")
    rows.popen("a", 2001, "git", "status")
    assert rows.outline() == [
        "a",
        "  /opt/static/python3.12 x.py [not-recorded]",
        "  git status [not-python]",
    ]
    assert reasons(rows)[1:] == ["Python by its name", "by its name"]


def test_which_of_equal_commands_was_not_recorded(rows: Rows) -> None:
    for at in (2000, 3000, 4000):
        rows.popen("a", at, "python3", "job.py")
    rows.process("b", 11, 10, 2001, "job.py")
    rows.process("d", 13, 10, 4001, "job.py")
    assert rows.outline() == ["a", "  b ppid", "  python3 job.py [not-recorded]", "  d ppid"]
    assert started_by(rows) == {"a": None, "b": "a/1/2000", "d": "a/1/4000"}


def test_commands_are_told_from_each_other_whatever_the_order(rows: Rows) -> None:
    rows.popen("a", 2000, "python3", "slow.py")
    rows.popen("a", 2001, "python3", "fast.py")
    rows.process("fast", 12, 10, 2002, "fast.py", begin_ns=BOOT_NS + 2003 * MS)
    rows.process("slow", 11, 10, 2001, "slow.py", begin_ns=BOOT_NS + 2500 * MS)
    assert started_by(rows) == {"a": None, "fast": "a/1/2001", "slow": "a/1/2000"}


def test_one_act_two_events_one_child(rows: Rows) -> None:
    rows.popen("a", 2000, "python3", "x.py", program="python3")
    rows.spawn("a", 2001, "_posixsubprocess.fork_exec", "python3", "x.py")
    rows.popen("a", 3000, "ls")
    rows.spawn("a", 3001, "os.posix_spawn", "ls", program="/bin/ls")
    rows.popen("a", 3500, "ls", slot=2)  # another thread's
    rows.spawn("a", 4000, "os.posix_spawn", "ls", program="/bin/ls")
    rows.process("b", 11, 10, 2002, "x.py")
    assert rows.outline() == ["a", "  b ppid", *["  ls [not-python]"] * 3]


def test_a_script_is_known_by_its_name_and_arguments(rows: Rows) -> None:
    rows.files = {"/srv/bin/pip": File("script", "pip", ("/srv/bin/python3",))}
    rows.popen("a", 2000, "/srv/bin/pip", "install", "x")
    rows.popen("a", 3000, "/srv/bin/pip", "install", "y")
    rows.process("b", 11, 10, 2001, "/srv/bin/pip", "install", "x")
    assert rows.outline() == ["a", "  b ppid", "  /srv/bin/pip install y [not-recorded]"]
    assert reasons(rows)[2] == "a Python script: #!/srv/bin/python3"


def test_a_wrapper_that_became_python(rows: Rows) -> None:
    rows.popen("a", 2000, "env", "-i", "A=1", "python3", "x.py")
    rows.process("b", 11, 10, 2001, "x.py")
    assert rows.outline() == ["a", "  b ppid"]


def test_a_wrapper_that_waits_for_python(rows: Rows) -> None:
    rows.popen("a", 2000, "timeout", "9", "python3", "x.py")
    rows.process("b", 12, 11, 2001, "x.py")
    assert rows.outline() == ["a", "  b command"]


def test_a_launcher_that_became_python(rows: Rows) -> None:
    """Its command line is another: there is only the time."""
    rows.files = {"./start": File("script", "start", ("/bin/sh",))}
    rows.popen("a", 2000, "./start")
    rows.popen("a", 5000, "./start")
    rows.process("b", 11, 10, 2001, "/srv/app.py", "--port", "80")
    assert rows.outline() == ["a", "  b ppid via start", "  ./start [not-python]"]
    assert reasons(rows)[1] == "by the time of its start: its command line is another"


def test_no_program_is_taken_for_the_launcher_of_another_child(rows: Rows) -> None:
    rows.files = {"/bin/ls": File("binary", "ls"), "./start": File("script", "start", ("/bin/sh",))}
    rows.popen("a", 2000, "/bin/ls")
    rows.popen("a", 5000, "./start")
    rows.process("b", 11, 10, 2001, "other.py")  # an extension started it
    rows.process("c", 12, 10, 5001, "-c", SPAWN_MAIN, "--multiprocessing-fork")
    assert rows.outline() == ["a", "  /bin/ls [not-python]", "  b ppid", "  ./start [not-python]", "  c ppid"]


def test_a_shell_stands_between(rows: Rows) -> None:
    rows.spawn("a", 2000, "os.system", "sh", "-c", "python3 x.py | python3 y.py")
    rows.process("x", 12, 11, 2002, "x.py")
    rows.process("y", 13, 11, 2002, "y.py")
    shell = "  sh -c python3 x.py | python3 y.py [not-python]"
    assert rows.outline() == ["a", shell, "    x command via sh", "    y command via sh"]


def test_shells_with_a_command_in_common(rows: Rows) -> None:
    """Children of one shell stay together, whichever shell was begun last."""
    rows.popen("a", 2000, "bash", "-c", "python3 x.py | python3 -c pass")
    rows.popen("a", 2001, "bash", "-c", "python3 y.py | python3 -c pass")
    rows.process("x", 21, 11, 2030, "x.py")
    rows.process("p", 22, 11, 2030, "-c", "pass")
    rows.process("q", 23, 12, 2030, "-c", "pass")
    rows.process("y", 24, 12, 2030, "y.py")
    assert [line.split()[0] for line in rows.outline() if "command" in line] == ["p", "x", "q", "y"]
    assert [node.coverage for node in rows.forest().walk() if not node.process] == ["not-python"] * 2


def test_the_shell_that_was_given_both(rows: Rows) -> None:
    rows.popen("a", 2000, "bash", "-c", "python3 -c pass | python3 -c pass")
    rows.popen("a", 2001, "bash", "-c", "python3 -S x.py | python3 -c pass")
    for name, pid, ppid in (("p", 21, 11), ("q", 22, 11), ("r", 23, 12)):
        rows.process(name, pid, ppid, 2030, "-c", "pass")
    assert [line.split()[0] for line in rows.outline()] == ["a", "bash", "p", "q", "bash", "r"]
    assert [node.coverage for node in rows.forest().walk() if not node.process] == ["not-python", "not-recorded"]


def test_equal_shells_share_their_commands(rows: Rows) -> None:
    for at in (2000, 2001):
        rows.popen("a", at, "bash", "-c", "python3 x.py | cat")
    rows.process("x", 21, 11, 2030, "x.py")
    rows.process("y", 22, 12, 2030, "x.py")
    assert [node.coverage for node in rows.forest().walk() if not node.process] == ["not-python"] * 2


def test_a_shell_does_not_take_the_child_of_a_direct_start(rows: Rows) -> None:
    rows.popen("a", 2000, "python3", "x.py")
    rows.popen("a", 2001, "sh", "-c", "python3 x.py")
    rows.process("direct", 11, 10, 2001, "x.py")
    rows.process("behind", 13, 12, 2002, "x.py")
    assert rows.outline() == [
        "a",
        "  direct ppid",
        "  sh -c python3 x.py [not-python]",
        "    behind command via sh",
    ]


def test_the_time_tells_a_shell_that_became_python_from_a_direct_start(rows: Rows) -> None:
    rows.popen("a", 2000, "python3", "x.py")
    rows.popen("a", 9000, "bash", "-c", "exec python3 x.py")
    rows.process("b", 11, 10, 9001, "x.py")
    assert rows.outline() == ["a", "  python3 x.py [not-recorded]", "  b ppid via bash"]


def test_what_waits_is_not_what_became_python(rows: Rows) -> None:
    rows.popen("a", 2000, "bash", "-c", "exec python3 x.py")
    rows.popen("a", 2001, "timeout", "9", "python3", "x.py")
    rows.process("b", 11, 10, 2001, "x.py")
    rows.process("t", 13, 12, 2002, "x.py")
    assert started_by(rows) == {"a": None, "b": "a/1/2000", "t": "a/1/2001"}


def test_a_family_stays_with_its_shell(rows: Rows) -> None:
    rows.popen("a", 2000, "bash", "-c", "python3 x.py | python3 y.py")
    rows.popen("a", 2001, "timeout", "9", "python3", "x.py")
    rows.process("x", 12, 11, 2020, "x.py")
    rows.process("y", 13, 11, 2020, "y.py")
    assert rows.outline()[1:] == [
        "  bash -c python3 x.py | python3 y.py [not-python]",
        "    x command via bash",
        "    y command via bash",
        "  timeout 9 python3 x.py [not-recorded]",
    ]


def test_a_stray_is_not_taken_for_a_child(rows: Rows) -> None:
    """Its parent lives, and is another."""
    rows.popen("a", 2000, "python3", "x.py")
    rows.process("stray", 13, 12, 2002, "x.py")
    assert rows.outline() == ["a", "  python3 x.py [not-recorded]", "stray"]


@pytest.mark.parametrize(("until", "ppid"), [(2001, 12), (9000, 1)])
def test_a_child_that_was_adopted(until: int, ppid: int) -> None:
    rows = Rows()
    rows.process("a", 10, 9, 1000, "app.py", until=until)
    rows.popen("a", 2000, "python3", "x.py")
    rows.process("b", 11, ppid, 2002, "x.py")
    assert rows.outline() == ["a", "  b command"]


def test_half_of_a_pipeline_was_recorded(rows: Rows) -> None:
    rows.popen("a", 2000, "bash", "-c", "python3 x.py | python3 -S y.py")
    rows.process("x", 12, 11, 2002, "x.py")
    assert rows.outline()[1:] == [
        "  bash -c python3 x.py | python3 -S y.py [not-recorded]",
        "    x command via bash",
    ]
    assert reasons(rows)[1] == "bash: 1 of 2 commands of Python recorded"


def test_a_shell_that_became_its_last_command(rows: Rows) -> None:
    """The first command's parent is the pid that is the last command's later."""
    rows.popen("a", 2000, "bash", "-c", "python3 x.py; exec python3 y.py")
    rows.process("x", 12, 11, 2010, "x.py", begin_ns=BOOT_NS + 2015 * MS)
    rows.process("y", 11, 10, 2001, "y.py", begin_ns=BOOT_NS + 2200 * MS)
    assert rows.outline() == ["a", "  x ppid via bash", "  y ppid via bash"]


def test_a_shell_that_became_its_last_command_and_the_first_is_missing(rows: Rows) -> None:
    rows.popen("a", 2000, "bash", "-c", "python3 -S x.py; exec python3 y.py")
    rows.process("y", 11, 10, 2001, "y.py", begin_ns=BOOT_NS + 2200 * MS)
    assert rows.outline() == [
        "a",
        "  bash -c python3 -S x.py; exec python3 y.py [not-recorded]",
        "  y ppid via bash",
    ]


def test_a_command_that_may_not_have_run(rows: Rows) -> None:
    rows.popen("a", 2000, "sh", "-c", "make && python3 x.py")
    assert rows.outline()[1] == "  sh -c make && python3 x.py [unexplained]"
    assert reasons(rows)[1] == "sh -c: python3 runs only if what stands before it lets it"


def test_siblings_of_one_that_was_found(rows: Rows) -> None:
    rows.popen("a", 2000, "sh", "-c", "python3 x.py; $TOOL")
    rows.process("x", 12, 11, 2002, "x.py")
    rows.process("y", 13, 11, 2022, "tool.py")
    assert rows.outline()[2:] == ["    x command via sh", "    y sibling via sh"]


def test_a_guess_within_a_run() -> None:
    rows = Rows()
    rows.process("a", 10, 9, 1000, "app.py", run="r", until=5000)
    rows.popen("a", 2000, "make", "test")
    rows.process("b", 30, 29, 2500, "-m", "unittest", run="r")
    rows.process("other", 31, 29, 2500, "-m", "unittest")
    rows.process("late", 33, 32, 6000, "late.py", run="r")
    assert rows.outline() == ["a", "  make test [not-python]", "    b time via make", "other", "late"]
    assert reasons(rows)[2].startswith("a guess: pid 29 was not recorded")


def test_a_guess_names_no_program_where_there_are_several() -> None:
    rows = Rows()
    rows.process("a", 10, 9, 1000, "app.py", run="r")
    rows.popen("a", 2000, "make", "lint")
    rows.popen("a", 2001, "make", "test")
    rows.process("b", 30, 29, 2500, "-m", "unittest", run="r")
    assert rows.outline() == ["a", "  make lint [not-python]", "  make test [not-python]", "  b time"]


def test_a_fork_is_no_program_that_can_be_behind_something() -> None:
    rows = Rows()
    rows.process("a", 10, 9, 1000, "app.py", run="r")
    rows.spawn("a", 2000, "os.fork")
    rows.fork("f", "a", 11, 10, 2001)
    rows.spawn("a", 2100, "os.fork")
    rows.process("b", 30, 29, 2500, "b.py", run="r")
    assert rows.outline() == ["a", "  f fork", "  - [unexplained]", "b"]


def test_nobody_is_put_below_a_sibling() -> None:
    """bash -c 'python3 a.py & python3 b.py': both have the shell for a parent."""
    rows = Rows()
    rows.process("a", 10, 9, 1000, "a.py", run="r")
    rows.popen("a", 2000, "make")
    rows.process("b", 11, 9, 2500, "b.py", run="r")
    assert rows.outline() == ["a", "  make [not-python]", "b"]


def test_multiprocessing_raises_nothing(rows: Rows) -> None:
    rows.process("t", 11, 10, 2000, "-c", "from multiprocessing.resource_tracker import main;main(3)")
    rows.process("s", 12, 10, 2010, "-c", SPAWN_MAIN, "--multiprocessing-fork")
    assert rows.outline() == ["a", "  t ppid", "  s ppid"]


def test_forks(rows: Rows) -> None:
    for at in (2000, 2100, 2200):
        rows.spawn("a", at, "os.fork")
    rows.fork("b", "a", 11, 10, 2001)
    rows.fork("c", "b", 12, 1, 2101)  # its parent has gone
    rows.fork("d", "a", 13, 10, 2201)
    rows.spawn("b", 2100, "os.fork")
    assert rows.outline() == ["a", "  b fork", "    c fork", "  - [unexplained]", "  d fork"]
    assert reasons(rows)[3] == "no event came from a forked child, or there was none"


def test_forks_that_the_recorder_missed(rows: Rows) -> None:
    rows.processes[0] = replace(rows.processes[0], unrecorded_children=3)
    rows.spawn("a", 2000, "os.fork")
    rows.spawn("a", 2100, "os.fork")
    assert rows.outline()[1:] == ["  - [not-recorded]"] * 3
    assert "its recorder counted 1 forked children without a journal" in reasons(rows)


def test_who_forked_it_has_gone() -> None:
    rows = Rows()
    rows.fork("b", "gone", 11, 10, 2001)
    assert rows.outline() == ["b"]
    assert reasons(rows) == ["who forked it is not, or no longer, in the journal"]


def test_pty_spawn(rows: Rows) -> None:
    rows.spawn("a", 2000, "pty.spawn", "bash")
    rows.spawn("a", 2001, "os.forkpty")
    rows.fork("b", "a", 11, 10, 2002, end_ns=BOOT_NS + 2010 * MS, ended=False)
    rows.spawn("b", 2010, "os.exec", "bash", program="/bin/bash")
    assert rows.outline() == ["a", "  b fork", "    bash [not-python] exec"]


def test_exec_of_python(rows: Rows) -> None:
    rows.processes[0] = replace(rows.processes[0], ended=False, end_ns=BOOT_NS + 2001 * MS)
    rows.spawn("a", 2000, "os.exec", "python3", "b.py", program="/usr/local/bin/python3")
    rows.spawn("a", 2001, "os.exec", "python3", "b.py", program="/usr/bin/python3")
    rows.process("b", 10, 9, 1000, "b.py", begin_ns=BOOT_NS + 2100 * MS)
    rows.popen("b", 3000, "python3", "c.py")
    rows.process("c", 11, 10, 3001, "c.py")
    assert rows.outline() == ["a", "  b exec", "    c ppid"]


def test_a_child_is_known_by_what_it_was_before_exec(rows: Rows) -> None:
    rows.popen("a", 2000, "python3", "-c", "pass")
    rows.popen("a", 2001, "python3", "first.py")
    rows.process("f", 11, 10, 2002, "first.py", ended=False)
    rows.process("s", 11, 10, 2002, "-c", "pass", begin_ns=BOOT_NS + 2100 * MS)
    rows.process("p", 12, 10, 2003, "-c", "pass")
    assert rows.outline() == ["a", "  p ppid", "  f ppid", "    s exec"]


def test_exec_of_another_program(rows: Rows) -> None:
    rows.processes[0] = replace(rows.processes[0], ended=False, end_ns=BOOT_NS + 2000 * MS)
    rows.spawn("a", 2000, "os.exec", "bash", "run.sh", program="/bin/bash")
    rows.process("c", 11, 10, 3000, "c.py")
    assert rows.outline() == ["a", "  bash run.sh [not-python] exec", "    c ppid via bash"]


def test_exec_that_failed(rows: Rows) -> None:
    for directory in ("/usr/local/bin", "/usr/bin", "/bin"):
        rows.spawn("a", 2000, "os.exec", "python9", program=f"{directory}/python9")
    assert rows.outline() == ["a", "  python9 [unexplained]"]
    assert reasons(rows)[1] == "nothing was started: the process went on after it"


def test_exec_in_a_child_of_popen(rows: Rows) -> None:
    """preexec_fn runs Python in the child: a forked image, then the program."""
    rows.popen("a", 2000, "python3", "b.py")
    rows.fork("f", "a", 11, 10, 2001, ended=False)
    rows.process("b", 11, 10, 2001, "b.py", begin_ns=BOOT_NS + 2100 * MS)
    assert rows.outline() == ["a", "  f fork", "    b exec"]
    assert started_by(rows)["f"] == "a/1/2000"


def test_what_never_started(rows: Rows) -> None:
    rows.files = {"/no/such": File("missing"), "/no/bin/python": File("missing"), "nosuch": File("missing")}
    for program in rows.files:
        rows.popen("a", 2000, program)
    assert rows.outline()[1:] == [f"  {program} [unexplained]" for program in rows.files]
    assert all("it never started, or has gone since" in reason for reason in reasons(rows)[1:])


def test_pids_are_used_again() -> None:
    rows = Rows()
    for number, at in enumerate((1000, 5000)):
        rows.process(f"p{number}", 10, 1, at, "app.py", until=at + 1000)
        rows.process(f"c{number}", 11, 10, at + 100, "x.py", until=at + 500)
    rows.process("stray", 12, 10, 9000, "y.py")  # by now the pid was somebody else's
    assert rows.outline() == ["p0", "  c0 ppid", "p1", "  c1 ppid", "stray"]


@pytest.mark.parametrize(("key", "value"), [("boot", "c" * 32), ("pid_namespace", 2)])
def test_pids_mean_something_within_a_boot_and_a_namespace(rows: Rows, key: str, value: object) -> None:
    rows.process("b", 11, 10, 2001, "x.py", **{key: value})
    assert rows.outline() == ["a", "b"]


def test_the_clock_was_set_back(rows: Rows) -> None:
    """Start times do not follow it."""
    hour = 3_600_000
    rows.popen("a", 2000, "python3", "-c", "pass")
    rows.popen("a", 3000 - hour, "python3", "-c", "pass")
    rows.process("b", 11, 10, 2001, "-c", "pass")
    rows.process("c", 12, 10, 3001, "-c", "pass", begin_ns=BOOT_NS + (3005 - hour) * MS)
    assert sorted(rows.outline()) == ["  b ppid", "  c ppid", "a"]
    assert None not in (started_by(rows)["b"], started_by(rows)["c"])


def test_unknown_numbers_make_no_family() -> None:
    rows = Rows()
    for name in "ab":
        rows.process(name, 0, 0, 0, boot="", pid_start=0, pid_namespace=0)
    assert rows.outline() == ["a", "b"]


def test_forged_rows() -> None:
    """Circles, a process that is its own parent, ids twice, events of nobody, absurd numbers."""
    rows = Rows()
    rows.fork("a", "b", 10, 11, 1000)
    rows.fork("b", "c", 11, 12, 1000)
    rows.fork("c", "a", 12, 10, 1000)
    rows.fork("self", "self", 20, 20, 1000)
    rows.process("x", 30, 31, 1000)
    rows.process("y", 31, 30, 1000)
    rows.process("x", 30, 31, 1000)
    rows.process("far", 40, 30, 1000, pid_start=2**64 - 1, begin_ns=2**63 - 1, end_ns=-1)
    rows.spawn("nobody", 1000, "os.fork")
    rows.popen("a", 1000)
    names = [line.split()[0] for line in rows.outline()]
    assert sorted(names) == sorted(["a", "b", "c", "self", "x", "y", "far", "-"])
    assert sum(reason.endswith("in a circle") for reason in reasons(rows)) == 3


def many(shape: str, count: int) -> Rows:
    """That many processes, the worst of each kind."""
    rows = Rows()
    rows.process("0", 10, 9, 1000, "app.py", run="r", until=10**7)
    for number in range(1, count):
        at = 1000 + number
        if shape == "wide":
            rows.popen("0", at, "python3", "job.py", str(number % 7))
            rows.process(str(number), 10 + number, 10, at, "job.py", str(number % 7))
        elif shape == "deep":
            rows.spawn(str(number - 1), at, "os.fork")
            rows.fork(str(number), str(number - 1), 10 + number, 9 + number, at)
        elif shape == "strays":
            rows.popen("0", at, "sh", "-c", "python3 job.py")
            rows.process(str(number), 10 + number, 5, at, "job.py", run="r", until=at + 5)
        else:
            rows.process(str(number), 10, 10, at, "job.py", until=at + 5)
    return rows


SHAPES = ("wide", "deep", "strays", "same pid")


@pytest.mark.parametrize("shape", SHAPES)
def test_100_000_processes(shape: str) -> None:
    """No recursion, and nothing that grows with the square: this would not end."""
    count = 100_000
    forest = many(shape, count).forest().select(lambda row: row.id == str(count - 1), None, None)
    found = [node.process.id for node in forest.walk() if node.process]
    assert str(count - 1) in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize("shape", SHAPES)
def test_memory_grows_with_the_rows(shape: str) -> None:
    count = 10_000
    rows = many(shape, count)
    tracemalloc.start()
    forest = rows.forest()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert forest.roots
    assert peak < count * 8192
