"""An interpreter inside a program that is not Python, begun and ended as often as that likes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Installed
from tests.fault.ways import record_beside
from tests.recorded import is_whole, threads

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def host(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`host.c` with this version's libpython."""
    ask = (
        "import sysconfig as s; print(s.get_config_var('Py_ENABLE_SHARED'), s.get_path('include'),"
        " s.get_config_var('LIBDIR'), s.get_config_var('LDVERSION'), sep='\\n')"
    )
    base = installed.interpreter.base
    told = subprocess.run([base, "-c", ask], capture_output=True, text=True, check=True).stdout
    shared, include, libdir, version = told.splitlines()
    if shared != "1" or not all(map(os.path.exists, (f"{include}/Python.h", f"{libdir}/libpython{version}.so"))):
        pytest.skip("no shared libpython to link a host with")
    built = tmp_path_factory.mktemp("host") / "host"
    libraries = [f"-L{libdir}", f"-lpython{version}", f"-Wl,-rpath,{libdir}"]
    subprocess.run(["cc", f"-I{include}", HERE / "host.c", *libraries, "-o", built], check=True)
    return built


# Code of each life is at addresses of code of the life before, under other names.
LIVES = """
import sys
{start}
def raise_in(n, functions={{}}):
    exec(f"def life_{life}_{{n}}(): sys.audit('app.life', {{n}})", {{"sys": sys}}, functions)
    functions[f"life_{life}_{{n}}"]()
for n in range(300):
    raise_in(n)
"""
START = "from pythonaudit.recorder import startup; assert startup.start() == 'recording'"


@pytest.mark.parametrize("malloc", ["", "debug"])
def test_interpreter_begun_again(installed: Installed, way: str, host: Path, malloc: str) -> None:
    """Each of them is recorded, in one journal."""
    settings: dict[str, str | Path] = {"PYTHONHOME": installed.interpreter.base.parent.parent}
    settings |= {"PYTHONPATH": installed.purelib, "PYTHONMALLOC": malloc}
    start = START if way == "site" else ""
    start = f"import os\nif 'PYTHONAUDIT' in os.environ: {start}" if start else ""
    program = LIVES.format(start=start, life="0")
    recording = record_beside(installed, way, [host, "3", program], settings)
    raised = recording.events("app.life")
    assert [e.values[0] for e in raised] == [*range(300)] * 3
    assert all(e.stack[0][2] == f"life_0_{e.values[0]}" for e in raised)
    assert sum(e.event == "cpython._PySys_ClearAuditHooks" for e in recording.events()) == 3
    (thread,) = threads(recording.journal.events()).values()
    assert len(thread) == len(recording.events())
    (trail,) = recording.journal.processes()
    assert trail.ended
    assert is_whole(recording)
