"""An event of ours with its stack beside those of other recorders, in one run: JFR of Java, LTTng-UST of C.

usage: python bench/others.py [ROUNDS]

Nanoseconds of the thread's processor time an event with an int and a string, less the same loop without the
event; of ours, less the same loop with no hook (bare) and with a C hook that does nothing (idle). Ours and
JFR's have 16 frames, LTTng's has none: it has no context for a user's stack. The kinds take turns, each in a
process of its own, once a round; the fastest loop of a process counts (warm), of the rounds the median; ratios
are of the same round. JFR may leave out events with stacks at such a rate; LTTng says how many it discarded.

Java 17 or later is taken from the machine. LTTng's packages are fetched once with apt-get and unpacked into
build/lttng; nothing is installed. What cannot be had is said to be absent.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import environment

from pythonaudit.cli import costs
from pythonaudit.cli.interpreters import probe

SOURCES = Path(__file__).resolve().parent / "others"
CACHE = environment.ROOT / "build" / "lttng"
DEBIAN = (
    *("lttng-tools", "liblttng-ctl0", "liblttng-ust-common1", "liblttng-ust-ctl5", "liblttng-ust1"),
    *("liblttng-ust-dev", "liburcu8", "liburcu-dev", "libpopt0"),
)
LOOPS = 7
Measure = Callable[[bool], float]


def fastest(words: list[str | Path], env: dict[str, str]) -> float:
    """The lowest number that a process prints."""
    done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
    return min(
        float(word) for line in done.stdout.splitlines() if not line.startswith("[") for word in line.split()
    )


def build_jfr(scratch: Path) -> Measure | None:
    """Java's event, written to a recording on disk."""
    if not shutil.which("javac") or not shutil.which("java"):
        return None
    subprocess.run(["javac", "-d", scratch, SOURCES / "Flight.java"], check=True)
    flags = f"-XX:StartFlightRecording:filename={scratch}/out.jfr,settings=none,+app.event#enabled=true"

    def measure(on: bool) -> float:
        return fastest(
            ["java", "-cp", scratch, *([flags] if on else []), "Flight", "200000", str(LOOPS), str(int(on))], env
        )

    env = environment.clean_environment()
    return measure


def fetch_lttng() -> Path | None:
    """Where LTTng's packages are unpacked."""
    root = CACHE / "root"
    if not root.exists() and shutil.which("apt-get"):
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir(parents=True)
        options = ["-qq", "-o", "APT::Sandbox::User=root"]
        if subprocess.run(["apt-get", *options, "download", *DEBIAN], cwd=CACHE).returncode == 0:
            for package in CACHE.glob("*.deb"):
                subprocess.run(["dpkg", "-x", package, CACHE / "part"], check=True)
            (CACHE / "part").rename(root)
    return root if root.exists() else None


@contextmanager
def lttng(scratch: Path) -> Iterator[Measure | None]:
    """C's tracepoint, written to a trace on disk by a session daemon that lives as long as this."""
    root = fetch_lttng()
    if root is None or not shutil.which("gcc"):
        yield None
        return
    (libraries,) = (root / "usr/lib").glob("*-linux-gnu")
    include = root / "usr/include"
    program = scratch / "tracepoint"
    folders = ["-I", SOURCES, "-I", include, "-I", include / libraries.name, "-L", libraries]
    link = ["-llttng-ust", "-ldl", f"-Wl,-rpath-link,{libraries}"]
    subprocess.run(["gcc", "-O2", *folders, "-o", program, SOURCES / "tracepoint.c", *link], check=True)
    env = environment.clean_environment(
        LD_LIBRARY_PATH=str(libraries),
        LTTNG_HOME=str(scratch),
        LTTNG_UST_REGISTER_TIMEOUT="-1",
        LTTNG_SESSION_CONFIG_XSD_PATH=str(root / "usr/share/xml/lttng"),
    )
    consumer = ["--consumerd64-path", libraries / "lttng/libexec/lttng-consumerd"]
    number = scratch / "pid"
    daemon = [root / "usr/bin/lttng-sessiond", "--daemonize", "--no-kernel", "--pidfile", number, *consumer]
    subprocess.run(daemon, env=env, check=True, capture_output=True)  # returns when it is ready
    watched = os.pidfd_open(int(number.read_text()))

    def control(*words: str) -> str:
        command: list[str | Path] = [root / "usr/bin/lttng", "--no-sessiond", *words]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    try:
        control("create", "measured", f"--output={scratch}/trace")
        control("enable-channel", "--userspace", "--subbuf-size=1M", "--num-subbuf=16", "all")
        control("enable-event", "--userspace", "--channel=all", "app:event")
        control("start")
        yield lambda on: fastest([program, "50000", str(LOOPS), str(int(on))], env)
        discarded = re.findall(r"Discarded events:\s+(\d+)", control("list", "measured", "--userspace"))
        print("\nLTTng discarded", ", ".join(discarded) or "an unknown number of", "events")
        control("destroy", "measured")
    finally:
        signal.pidfd_send_signal(watched, signal.SIGTERM)
        select.select([watched], [], [])
        os.close(watched)


def build_ours(python: Path) -> Callable[[str], float]:
    """`sys.audit` with one of the hooks of pythonaudit/cli/cost_child.py."""

    def measure(hook: str) -> float:
        with tempfile.TemporaryDirectory() as directory:
            env = environment.clean_environment(PYTHONAUDIT_DIR=directory)
            env |= {"PYTHONAUDIT": "1"} if hook == "pythonaudit" else {}
            return fastest([python, costs.CHILD, hook, str(costs.DEPTH), "20000", str(LOOPS)], env)

    return measure


def main() -> None:
    """Prints the table, in Markdown."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        this = probe(Path(sys.executable))
        assert this
        python = environment.make_environment(this, scratch / "venv", environment.build_wheel(scratch))
        ours = build_ours(python)
        with lttng(scratch) as tracepoint:
            theirs = {"JFR": build_jfr(scratch), "LTTng": tracepoint}
            print_table(rounds, ours, {name: measure for name, measure in theirs.items() if measure})
        for name, measure in theirs.items():
            if measure is None:
                print(f"\n{name} is not present here")


def print_table(rounds: int, ours: Callable[[str], float], theirs: dict[str, Measure]) -> None:
    """Measures in turns, and prints medians and ratios."""
    event: dict[str, list[float]] = {name: [] for name in ("bare", "idle", "pythonaudit", *theirs)}

    def one(name: str) -> float:
        measure = theirs.get(name)
        return measure(True) - measure(False) if measure else ours(name)

    for number in range(rounds):
        for name in list(event) if number % 2 else [*event][::-1]:
            event[name].append(one(name))
    over = {
        hook: [a - b for a, b in zip(event["pythonaudit"], event[hook], strict=True)] for hook in ("bare", "idle")
    }
    print(f"ns an event: median (min) of {rounds} rounds; {costs.DEPTH} frames but for LTTng\n")
    print("| | ns | / ours over bare | / ours over idle |\n| --- | --- | --- | --- |")
    rows = {"ours over bare sys.audit": over["bare"], "ours over an idle C hook": over["idle"]}
    rows |= {f"{name}, over its loop": event[name] for name in theirs}
    for name, values in rows.items():
        ratios = [median(a / b for a, b in zip(values, over[hook], strict=True)) for hook in ("bare", "idle")]
        print(f"| {name} | {median(values):.0f} ({min(values):.0f}) | {ratios[0]:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
