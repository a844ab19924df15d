"""Whatever the directory is called, each target gets exactly that name back."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pythonaudit.cli import main
from pythonaudit.cli.cmd_env import SETTINGS

PLAIN = "/var/log/pythonaudit"
AWKWARD = [
    PLAIN,
    "/srv/two words",
    "/srv/it's",
    '/srv/"quoted"',
    "/srv/$HOME and $(id) and `id`",
    "/srv/100%i done",
    "/srv/back\\slash\\n",
    "/srv/a,b;c=d:e#f",
    "/srv/ünïcödé/日本",
    "/srv/- {}[]&*!|>'@~",
    "/srv/${PYTHONAUDIT}$$",
]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["env", *words]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PYTHONAUDIT")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("directory", [*AWKWARD, "/srv/line\nend"])
def test_shell(capsys: pytest.CaptureFixture[str], directory: str) -> None:
    text = printed(capsys, "--dir", directory)
    script = f'{text}\nprintf "%s" "$PYTHONAUDIT|$PYTHONAUDIT_DIR"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"1|{directory}"


def test_shell_explains_the_preload_and_keeps_another(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    (line,) = re.findall(r"^# (export LD_PRELOAD=.*)$", text, re.MULTILINE)
    for before, after in (("", ""), ("LD_PRELOAD=/lib/other.so; ", ":/lib/other.so")):
        script = f'{before}{line}; LD_PRELOAD_SEEN=$LD_PRELOAD; unset LD_PRELOAD; printf %s "$LD_PRELOAD_SEEN"'
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.endswith(f"/pythonaudit/_preload.abi3.so{after}")


def systemd_words(value: str) -> list[str]:
    """Splits as systemd.syntax(7) says: quotes, C-style escapes, %% for %."""
    words = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', value)
    return [re.sub(r"\\(.)", r"\1", quoted or bare).replace("%%", "%") for quoted, bare in words]


def systemd_settings(text: str) -> list[tuple[str, list[str]]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines.pop(0) == "[Service]"
    return [(name, systemd_words(value)) for name, _, value in (line.partition("=") for line in lines)]


@pytest.mark.parametrize("directory", AWKWARD)
def test_systemd(capsys: pytest.CaptureFixture[str], directory: str) -> None:
    settings = systemd_settings(printed(capsys, "--format", "systemd", "--dir", directory))
    assert ("Environment", ["PYTHONAUDIT=1"]) in settings
    assert ("Environment", [f"PYTHONAUDIT_DIR={directory}"]) in settings
    assert ("ReadWritePaths", [f"-{directory}"]) in settings
    made = [words for name, words in settings if name == "ExecStartPre"]
    assert [words[-1].replace("$$", "$") for words in made] == [directory, f"{directory}/journal"]


def test_systemd_owns_a_directory_below_its_logs(capsys: pytest.CaptureFixture[str]) -> None:
    settings = systemd_settings(printed(capsys, "--format", "systemd", "--dir", "/var/log/shop/audit 1"))
    assert ("LogsDirectory", ["shop/audit 1"]) in settings
    assert not [name for name, _ in settings if name in ("ExecStartPre", "ReadWritePaths")]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
@pytest.mark.parametrize("directory", [*AWKWARD, "/var/log/shop/audit 1"])
def test_systemd_itself_has_no_complaint(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, directory: str
) -> None:
    unit = tmp_path / "shop.service"
    unit.write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    drop_in = tmp_path / "shop.service.d" / "pythonaudit.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(printed(capsys, "--format", "systemd", "--dir", directory))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "pythonaudit.conf" not in done.stderr


@pytest.mark.parametrize("directory", AWKWARD)
def test_docker_run(capsys: pytest.CaptureFixture[str], directory: str) -> None:
    text = printed(capsys, "--format", "docker", "--dir", directory)
    command, _, _ = text.partition("\n\n")
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    assert words[:2] == ["docker", "run"]
    assert words[-1] == "IMAGE"
    options = list(zip(words[2:-1:2], words[3:-1:2], strict=True))
    assert ("--env", "PYTHONAUDIT=1") in options
    assert ("--env", f"PYTHONAUDIT_DIR={directory}") in options
    (mount,) = [value for name, value in options if name == "--mount"]
    (fields,) = csv.reader([mount])
    assert fields == ["type=volume", "source=pythonaudit", f"target={directory}"]


@pytest.mark.parametrize("directory", AWKWARD)
def test_dockerfile(capsys: pytest.CaptureFixture[str], directory: str) -> None:
    text = printed(capsys, "--format", "docker", "--dir", directory)
    _, _, rest = text.partition("\n\n")
    lines = re.sub(r" \\\n", " ", rest).splitlines()
    (env,) = [line for line in lines if line.startswith("ENV ")]
    values = dict(re.findall(r'(\w+)="((?:\\.|[^"\\])*)"', env))
    assert re.sub(r"\\(.)", r"\1", values["PYTHONAUDIT_DIR"]) == directory
    assert not re.search(r"(?<!\\)\$", env)
    (volume,) = [line for line in lines if line.startswith("VOLUME ")]
    assert json.loads(volume.removeprefix("VOLUME ")) == [directory]
    (command,) = [line for line in lines if line.startswith("RUN ")]
    assert shlex.split(command)[-1] == f"{directory}/journal"


def unexpanded(text: str) -> str:
    """What a container gets of an env value: $$ is $, and nothing here is a $(NAME)."""
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", text)
    return text.replace("$$", "$")


@pytest.mark.parametrize("directory", AWKWARD)
def test_kubernetes(capsys: pytest.CaptureFixture[str], directory: str) -> None:
    text = printed(capsys, "--format", "kubernetes", "--dir", directory)
    claim, patch = yaml.safe_load_all(text)
    assert claim["kind"] == "PersistentVolumeClaim"
    spec: dict[str, Any] = patch["spec"]
    (container,) = spec["containers"]
    values = {e["name"]: unexpanded(e["value"]) for e in container["env"]}
    assert values == {"PYTHONAUDIT": "1", "PYTHONAUDIT_DIR": directory}
    (mount,) = container["volumeMounts"]
    (volume,) = spec["volumes"]
    assert mount == {"name": volume["name"], "mountPath": directory}
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize("target", ["docker", "kubernetes", "systemd"])
def test_what_a_file_cannot_carry_is_refused(capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert main(["env", "--format", target, "--dir", "/srv/line\nend"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "PYTHONAUDIT_DIR='/srv/line\\nend'" in said.err
    assert len(said.err.splitlines()) == 1


def test_the_settings_in_force_go_along(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SETTINGS:
        monkeypatch.setenv(name, f"value of {name}")
    monkeypatch.setenv("PYTHONAUDIT_RUN", "label")
    text = printed(capsys)
    assert "PYTHONAUDIT_RUN" not in text
    for name in SETTINGS:
        assert f"export {name}='value of {name}'\n" in text


@pytest.mark.parametrize("target", ["docker", "kubernetes", "systemd"])
def test_a_service_is_not_this_user(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/alice")
    text = printed(capsys, "--format", target)
    assert PLAIN in text
    assert "alice" not in text


def test_an_unknown_target_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--format", "cron"]) == 2
    assert "cron" in capsys.readouterr().err
