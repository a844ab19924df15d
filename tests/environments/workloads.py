"""Real programs, each run twice beside an independent witness: as it is, and with one thing more; for test_answers.py."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import commands
from tests.conftest import TIMEOUT_SECONDS, Installed
from tests.integration.process_witness import strace_words

HOOK = Path(__file__).with_name("witness_hook.py")
#: What they import; one download.
PACKAGES = ("pip", "setuptools", "django", "gunicorn", "pytest")
#: Of every directory that something runs in: its name is a package's, and pytest looks no further up.
PROJECT = {"pyproject.toml": '[project]\nname = "shop"\n[tool.pytest.ini_options]\n'}

Frame = tuple[str, int, str]


@dataclass(frozen=True)
class Seen:
    """An event as the witness saw it."""

    pid: int
    tid: int
    event: str
    args: list[Any]
    frames: list[Frame]  # innermost first


@dataclass
class Witnessed:
    """All that the witness saw of a run.

    Attributes:
        events: in the order of each thread.
        processes: parent, command line and first directory of each process that raised an event.
    """

    events: list[Seen] = field(default_factory=list)
    processes: dict[int, tuple[int, list[str], str]] = field(default_factory=dict)

    def of(self, *names: str) -> list[Seen]:
        """The events of these names."""
        return [seen for seen in self.events if seen.event in names]


def read_witnessed(path: Path) -> Witnessed:
    found, begun = Witnessed(), {}
    for line in path.read_text().splitlines():
        pid, tid, event, args, frames = json.loads(line)
        if event == "witness.begin":
            begun[pid] = tuple(args)
        else:
            found.events.append(Seen(pid, tid, event, args, [tuple(frame) for frame in frames]))
            found.processes[pid] = begun[pid]
    return found


@dataclass(frozen=True)
class Workload:
    """A program, and what it does more in its second run.

    Attributes:
        words: of Python.
        files: of the directory that it is run in; `MORE` in them is a statement.
        more: what stands for `MORE` in the second run.
        change: kind and what of the difference (`diff`).
        raises: event and first argument by which the witness knows the difference.
        prepare: makes more of the files of a directory.
        listens: it is a server, which gets a socket, is asked and told to end.
    """

    words: Sequence[str]
    files: dict[str, str]
    more: str
    change: tuple[str, str]
    raises: tuple[str, str | None]
    prepare: Callable[[Path], None] = lambda directory: None
    listens: bool = False


def make_sdist(directory: Path) -> None:
    with tarfile.open(directory / "shop-1.0.tar.gz", "w:gz") as archive:
        for path in sorted((directory / "sdist").rglob("*")):
            archive.add(path, Path("shop-1.0") / path.relative_to(directory / "sdist"), recursive=False)
    shutil.rmtree(directory / "sdist")


#: A source distribution that setuptools builds, and whose setup.py starts programs.
PIP = Workload(
    words=[
        *("-m", "pip", "install", "-qq", "--no-index", "--no-build-isolation", "--no-cache-dir"),
        *("--target", "target", "shop-1.0.tar.gz"),
    ],
    files={
        "sdist/pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "shop"\nversion = "1.0"\n[project.scripts]\nshop = "shop.orders:main"\n',
        "sdist/PKG-INFO": "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n",
        "sdist/setup.py": "import subprocess, sys\nfrom setuptools import setup\n"
        "subprocess.run([sys.executable, '-c', 'import colorsys; open(\"setup.py\").close()'], check=True)\n"
        "subprocess.run(['true', 'of-setup'], check=True)\nMORE\nsetup()\n",
        "sdist/src/shop/__init__.py": "",
        "sdist/src/shop/orders.py": "def main():\n    return 0\n",
    },
    more="open('/etc/hostname').close()",
    change=("reads", "/etc/hostname"),
    raises=("open", "/etc/hostname"),
    prepare=make_sdist,
)

DJANGO = Workload(
    words=["-m", "gunicorn", "-w", "2", "-b", "fd://LISTENER", "--no-control-socket", "shop_site"],
    files={
        "shop_site.py": """
import os, sys
import django
from django.conf import settings
HERE = os.path.dirname(os.path.abspath(__file__))
settings.configure(
    SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True, DEBUG=False,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(HERE, "shop.sqlite3")}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [HERE]}],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
django.setup()
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import path

def order(request, number):
    sys.audit(f"Order shown: order={number}")
    with open(os.path.join(HERE, "orders.txt"), "a") as file:
        file.write(f"{number}\\n")
    request.session["order"] = number
    MORE
    return render(request, "order.html", {"number": number})

urlpatterns = [
    path("order/<int:number>", order),
    path("server", lambda request: HttpResponse(str(os.getppid()))),
]
with open(os.path.join(HERE, "lock"), "w") as lock:
    import fcntl
    fcntl.flock(lock, fcntl.LOCK_EX)
    call_command("migrate", verbosity=0)
application = get_wsgi_application()
""",
        "order.html": "Order {{ number }}",
    },
    more="import socket; socket.socket().connect_ex(('127.0.0.9', 9))",
    change=("connects", "127.0.0.9:9"),
    raises=("socket.connect", None),
    listens=True,
)

PYTEST = Workload(
    words=["-m", "pytest", "-q", "-p", "no:cacheprovider"],
    files={
        "conftest.py": "import pytest\n@pytest.fixture\ndef stock(tmp_path):\n"
        "    (tmp_path / 'stock.json').write_text('[1, 2, 3]')\n    return tmp_path / 'stock.json'\n",
        "test_shop.py": """
import json, subprocess, sys, threading
import pytest

@pytest.mark.parametrize("number", range(20))
def test_stock(stock, number):
    assert len(json.loads(stock.read_text())) == 3

def test_child(capfd, monkeypatch):
    monkeypatch.setenv("SHOP", "open")
    subprocess.run([sys.executable, "-c", "import os; open('child.txt', 'w').close(); print(os.environ['SHOP'])"], check=True)
    assert capfd.readouterr().out == "open\\n"
    MORE

def test_threads(tmp_path):
    threads = [threading.Thread(target=(tmp_path / str(n)).write_text, args=("x",)) for n in range(5)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    with pytest.raises(FileNotFoundError):
        (tmp_path / "nothing").read_text()
""",
    },
    more="subprocess.run(['true', 'of-diff'], check=True)",
    change=("runs", "true of-diff"),
    raises=("subprocess.Popen", "true"),
)

MULTIPROCESSING = Workload(
    words=["shop.py"],
    files={
        "shop.py": """
import concurrent.futures, multiprocessing, os, sys
def work(number):
    with open(f"order-{number}.txt", "w") as file:
        file.write(str(number))
    sys.audit(f"Order packed: order={number}")
    return number * number
def last():
    MORE
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            assert pool.map(work, range(20)) == [n * n for n in range(20)]
            pool.close()
            pool.join()
        child = context.Process(target=last)
        child.start()
        child.join()
        assert child.exitcode == 0
    with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
        assert sum(executor.map(work, range(10))) == 285
    os.remove("order-0.txt")
""",
    },
    more="sys.audit('Stock counted: items=7')",
    change=("says", "Stock counted: items=*"),
    raises=("Stock counted: items=7", None),
)

LOOKS = (("tree",), ("log", "--event", "open"))
WORKLOADS = {"pip": PIP, "django": DJANGO, "pytest": PYTEST, "multiprocessing": MULTIPROCESSING}


@dataclass(frozen=True)
class Runs:
    """A workload that has run, twice: `a`, and `b` with one thing more.

    Attributes:
        audit: what was recorded.
        home: where it ran, by label.
        packages: where its packages are.
        witnessed: what the hook saw, by label.
        strace: what strace wrote of `a`; None where there is none.
        meanwhile: while the server `a` ran and had nothing to do, what the hook had seen, and what `tree` and `log`
            of the files that were opened said.
    """

    workload: Workload
    audit: Path
    home: dict[str, Path]
    packages: Path
    witnessed: dict[str, Witnessed]
    strace: Path | None
    meanwhile: tuple[Witnessed, str, str] | None


def let_watch(installed: Installed) -> Installed:
    """Puts the witness into an environment."""
    shutil.copy(HOOK, installed.purelib)
    (installed.purelib / "aa_witness.pth").write_text(f"import {HOOK.stem}\n")
    return installed


def run_twice(workload: Workload, installed: Installed, packages: Path, place: Path) -> Runs:
    audit, homes, witnessed, meanwhile = place / "audit", {}, {}, []
    log = place / "strace" if shutil.which("strace") else None
    for label, more in (("a", "pass"), ("b", workload.more)):
        home = homes[label] = place / label / f"shop-{label}"
        for name, text in (PROJECT | workload.files).items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text.replace("MORE", more))
        workload.prepare(home)
        (place / label / "scratch").mkdir()
        env = installed.environment(
            PYTHONAUDIT="1",
            PYTHONAUDIT_DIR=audit,
            PYTHONAUDIT_RUN=label,
            PYTHONPATH=packages,
            WITNESS=place / label / "witness",
            TMPDIR=place / label / "scratch",
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            PIP_ROOT_USER_ACTION="ignore",
        )
        words = strace_words(log, "process", "openat") if log and label == "a" else []

        def look(label: str = label) -> None:
            told = [commands.run(audit, *verb, "--run", label, "--format", "jsonl").stdout for verb in LOOKS]
            meanwhile.append((read_witnessed(place / label / "witness"), *told))

        drive(workload, [*words, str(installed.python), *workload.words], home, env, look)
        witnessed[label] = read_witnessed(place / label / "witness")
    return Runs(workload, audit, homes, packages, witnessed, log, meanwhile[0] if meanwhile else None)


def drive(workload: Workload, words: list[str], home: Path, env: dict[str, str], look: Callable[[], None]) -> None:
    """Runs it to its end; a server is asked, looked at, and told to end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [word.replace("LISTENER", str(listener.fileno())) for word in words]
        process = subprocess.Popen(
            words,
            cwd=home,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[listener.fileno()] if workload.listens else [],
        )
        if workload.listens:
            for number in range(12):
                assert ask(listener, f"/order/{number}") == f"Order {number}"
            server = int(ask(listener, "/server"))
            look()
            os.kill(server, signal.SIGTERM)  # not strace
        said, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, said


def ask(listener: socket.socket, path: str) -> str:
    connection = http.client.HTTPConnection(*listener.getsockname(), timeout=TIMEOUT_SECONDS)
    connection.request("GET", path)
    answer = connection.getresponse().read().decode()
    connection.close()
    return answer
