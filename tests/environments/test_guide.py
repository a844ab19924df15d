"""What docs/guide/context.md shows works as it stands."""

from __future__ import annotations

import json
import re
import shlex

from tests import commands
from tests.conftest import ROOT, Installed
from tests.environments.conftest import Fetch

TEXT = (ROOT / "docs" / "guide" / "context.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_what_the_guide_shows(installed_here: Installed, fetch: Fetch) -> None:
    packages = fetch(installed_here.interpreter, "flask", "starlette", "django", "opentelemetry-sdk")
    directory = installed_here.new_directory()
    programs = blocks("python")
    assert len(programs) == 4
    for program in programs:
        installed_here.record(program, directory=directory, settings={"PYTHONPATH": packages})
    (shown,) = map(json.loads, blocks("json"))
    program = (
        "import sys\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "with TracerProvider().get_tracer('x').start_as_current_span('y'): sys.audit('traced')\n"
        "from django.utils.module_loading import import_string\n" + programs[3] + "import_string(MIDDLEWARE[-1])\n"
    )
    installed_here.record(program, directory=directory, settings={"PYTHONPATH": packages})
    said = {}
    for line in "".join(blocks("console")).splitlines():
        words = shlex.split(line.removeprefix("$ pythonaudit "))
        done = commands.run(directory, *words)
        assert (done.returncode, done.stderr) == (0, ""), line
        assert done.stdout, line
        said[" ".join(words)] = done.stdout
    assert len(said) == 4
    (paid,) = map(json.loads, said["log --context user=johndoe --context step=charge --format jsonl"].splitlines())
    assert {key: paid[key] for key in shown} == shown
    assert "/etc/hostname" in said["log --context user=john*"]
    assert "traced" in said["log --context trace_id=*"]
