"""What `pythonaudit env` prints, done: it turns recording on."""

import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pythonaudit.journal.reader import Journal
from tests.conftest import INTERPRETERS, Installed

NOBODY = 65534
#: Those that other users may start.
OF_THE_SYSTEM = [interpreter for interpreter in INTERPRETERS if interpreter.base.is_relative_to("/usr")]
RAISE = "import sys; sys.audit('shop.order.paid')"


def printed(installed: Installed, directory: Path, target: str) -> str:
    return installed.run("-m", "pythonaudit", "env", "--format", target, "--dir", directory).stdout


def paid(directory: Path) -> list[int]:
    """Who raised the event: user ids, one for each time that it was recorded."""
    return [event.process.uid for event in Journal(directory).events() if event.event == "shop.order.paid"]


def test_shell(installed: Installed, tmp_path: Path) -> None:
    text = printed(installed, tmp_path / "two words", "shell")
    script = f'{text}\n"$1" -c "$2"'
    subprocess.run(["sh", "-euc", script, "sh", installed.python, RAISE], env=installed.environment(), check=True)
    assert len(paid(tmp_path / "two words")) == 1


def test_shell_with_the_preload(installed: Installed, tmp_path: Path) -> None:
    """In an interpreter in which nothing of ours is installed, without site."""
    text = printed(installed, tmp_path / "audit", "shell").replace("# export LD_PRELOAD", "export LD_PRELOAD")
    script = f'{text}\n"$1" -S -c "$2"'
    command = ["sh", "-euc", script, "sh", str(installed.interpreter.base), RAISE]
    subprocess.run(command, env=installed.environment(), check=True)
    assert len(paid(tmp_path / "audit")) == 1


def test_docker(installed_here: Installed, tmp_path: Path) -> None:
    flags, _, dockerfile = printed(installed_here, tmp_path / "audit", "docker").partition("\n\n")
    words = shlex.split(flags.replace("\\\n", " "), comments=True)
    given = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "--env")
    (command,) = re.findall(r"^RUN pip install [^&]*&& (.*?)$(?<!\\)", dockerfile, re.MULTILINE | re.DOTALL)
    subprocess.run(["sh", "-euc", command], check=True)
    installed_here.run("-c", RAISE, env=installed_here.environment(**given))
    assert len(paid(tmp_path / "audit")) == 1


def test_kubernetes(installed_here: Installed, tmp_path: Path) -> None:
    _, pod = yaml.safe_load_all(printed(installed_here, tmp_path / "audit", "kubernetes"))
    (container,) = pod["spec"]["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    Path(container["volumeMounts"][0]["mountPath"]).mkdir()
    installed_here.run("-c", RAISE, env=installed_here.environment(**given))
    assert len(paid(tmp_path / "audit")) == 1


@pytest.fixture
def service(installed: Installed) -> Iterator[Installed]:
    """An environment that every user of the host can use."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    copy = Installed(installed.interpreter, place / "venv", installed.new_directory)
    shutil.copytree(installed.prefix, copy.prefix, symlinks=True)
    copy.prefix.chmod(0o755)
    yield copy
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start services of other users")
@pytest.mark.parametrize("interpreter", OF_THE_SYSTEM, indirect=True, ids=lambda i: i.version_text)
def test_services_of_two_users_share_a_directory(service: Installed) -> None:
    directory = service.prefix.parent / "100% shared"
    text = printed(service, directory, "systemd").replace("%%", "%")
    given = dict(line.split("=", 1) for line in re.findall(r'^Environment="(.*)"$', text, re.MULTILINE))
    for command in re.findall(r"^ExecStartPre=\+(.*)$", text, re.MULTILINE):
        subprocess.run(shlex.split(command), check=True)
    for user in (0, NOBODY):
        done = service.run("-c", RAISE, env=service.environment(**given), user=user, group=user, cwd="/")
        assert done.stderr == ""
    assert sorted(paid(directory)) == [0, NOBODY]
    boxes = sorted(path.name for path in (directory / "journal").iterdir())
    assert boxes == ["u0", f"u{NOBODY}"]
    assert stat.S_IMODE((directory / "journal").stat().st_mode) == 0o1733
    for forbidden in (f"ls '{directory}/journal'", f"ls '{directory}/journal/u0'"):
        assert subprocess.run(["sh", "-c", forbidden], user=NOBODY, capture_output=True).returncode != 0
