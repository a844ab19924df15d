"""Python inside a program that is none, and that loads it when it runs: a host of our own, and uWSGI.

A host that is linked to libpython is in tests/fault/test_embedded.py.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from pythonaudit.cli.interpreters import Interpreter
from tests.conftest import INTERPRETERS, TIMEOUT_SECONDS, Installed, Recording
from tests.fault.ways import WAYS, record_beside, words_of
from tests.recorded import is_whole

HERE = Path(__file__).parent
PROGRAM = (
    "{start}import sys; sys.audit('app.life', 7); open('/etc/os-release').close(); print(sys.version_info[:2])"
)
#: `PYTHONPATH` runs no .pth file, so the host's program does what pythonaudit.pth would.
START = "import os; exec(\"if 'PYTHONAUDIT' in os.environ:\\n from pythonaudit.recorder.startup import start; start()\")\n"


@pytest.fixture(scope="session")
def late_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("host") / "late_host"
    subprocess.run(["cc", "-Wall", "-o", built, HERE / "late_host.c", "-ldl"], check=True)
    return built


def libpython_of(installed: Installed) -> Path:
    ask = "import sysconfig as s; print(s.get_config_var('LIBDIR'), s.get_config_var('INSTSONAME'), sep='/')"
    told = subprocess.run([installed.interpreter.base, "-c", ask], capture_output=True, text=True, check=True)
    found = Path(told.stdout.strip())
    if ".so" not in found.name or not found.exists():
        pytest.skip("this interpreter comes without a shared libpython")
    return found


def settings_of(installed: Installed) -> dict[str, str | Path]:
    return {"PYTHONHOME": installed.interpreter.base.parent.parent, "PYTHONPATH": installed.purelib}


@pytest.mark.parametrize("way", WAYS)
def test_late_libpython(installed: Installed, way: str, late_host: Path) -> None:
    """Both interpreters that the host makes, one after the other, are recorded in one journal."""
    program = PROGRAM.format(start=START if way == "site" else "")
    command = [late_host, libpython_of(installed), "global", program]
    recording = record_beside(installed, way, command, settings_of(installed), status=7)
    assert [e.values for e in recording.events("app.life")] == [[7], [7]]
    opened = [e.fields["path"] for e in recording.events("open")]
    assert opened.count("/etc/os-release") == 2
    (trail,) = recording.journal.processes()
    assert trail.process.exe == str(late_host)
    assert trail.ended
    assert is_whole(recording)
    first = recording.events()[0]
    if way == "preload":  # before anything of Python: nothing was imported yet
        assert first.number == 0
        assert trail.process.attributes["began"]["modules"] == []
        imported = [e.values[0] for e in recording.events("import")]
        assert imported.count("encodings") == 2


def test_late_libpython_out_of_sight(installed_here: Installed, late_host: Path) -> None:
    """Without RTLD_GLOBAL the shim does not see it: nothing is recorded, and nothing breaks."""
    program = "import sys; print(sys.version_info[:2])"
    command = [late_host, libpython_of(installed_here), "local", program]
    recording = record_beside(installed_here, "preload", command, settings_of(installed_here), status=7)
    assert not list(recording.journal.processes())


UWSGI = ("uwsgi", "--plugin", "python3")
WSGI = """
import sys
sys.audit("app.loaded")
def application(environ, start_response):
    sys.audit("app.request", environ["PATH_INFO"])
    open("/etc/os-release").close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [sys.prefix.encode()]
"""


@pytest.fixture(scope="module")
def beside_uwsgi(install: Callable[[Interpreter], Installed]) -> Installed:
    """An environment of the interpreter that uWSGI's plug-in is made for."""
    if not shutil.which("uwsgi"):
        pytest.skip("no uwsgi here")
    ask = [*UWSGI, "--no-server", "--eval", "import sys; print('minor', sys.version_info[1])"]
    told = subprocess.run(ask, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    minors = [line.split()[1] for line in f"{told.stdout}{told.stderr}".splitlines() if line.startswith("minor ")]
    own = [i for i in INTERPRETERS if [str(i.version[1])] == minors and i.base.is_relative_to("/usr")]
    if not own:
        pytest.skip("uwsgi has no plug-in for an interpreter that is here")
    return install(own[0])


def ask_uwsgi(command: list[str], environment: dict[str, str]) -> tuple[int, bytes]:
    """A request over loopback, then the end of it: its status, and the answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # requests can wait in it from now on
        address, descriptor = server.getsockname(), server.fileno()
        process = subprocess.Popen(
            [*command, "--http-socket", f"fd://{descriptor}"],
            env=environment,
            pass_fds=[descriptor],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    url = f"http://{address[0]}:{address[1]}/order"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            text: bytes = answer.read()
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)
    return process.returncode, text


@pytest.mark.parametrize("way", WAYS)
def test_uwsgi(beside_uwsgi: Installed, way: str, tmp_path: Path) -> None:
    """The master imports the application, a forked worker answers: both are recorded."""
    (tmp_path / "shop.py").write_text(WSGI)
    command = [*UWSGI, "--wsgi-file", str(tmp_path / "shop.py"), "--virtualenv", str(beside_uwsgi.prefix)]
    command += ["--master", "--die-on-term"]
    bare = ask_uwsgi(command, beside_uwsgi.environment())
    assert bare == (0, str(beside_uwsgi.prefix).encode())
    directory = tmp_path / "audit"
    own = {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": directory} if way == "site" else {}
    words = words_of(beside_uwsgi, way, directory)
    assert ask_uwsgi([*words, *command], beside_uwsgi.environment(**own)) == bare
    recording = Recording(directory, subprocess.CompletedProcess(command, 0))
    (loaded,), (request,) = recording.events("app.loaded"), recording.events("app.request")
    assert request.values == ["/order"]
    assert request.process.parent == loaded.process.id
    opened = [e.process.id for e in recording.events("open") if e.fields["path"] == "/etc/os-release"]
    assert opened == [request.process.id]
    assert {e.process.exe for e in (loaded, request)} == {os.path.realpath(shutil.which("uwsgi") or "")}
    assert is_whole(recording)
