"""Imports go one way.

The layers are those of ARCHITECTURE.md, highest first. A package may import packages of lower
layers; packages of one layer never import each other. `recorder` runs inside other people's
processes and stands apart. Imports inside functions and under TYPE_CHECKING count as well.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "pythonaudit"

LAYERS = (
    {"__main__"},
    {"cli"},
    {"agent"},
    {"detect", "export"},
    {"query"},
    {"archive"},
    {"integrity", "journal"},
    {"catalog"},
    {"durable", "errors"},
)
#: What stands apart from the layers: may import these only.
APART = {"__init__": {"recorder"}, "recorder": {"errors", "_recorder"}}
#: May be imported by these only, although no layer.
APART_IMPORTED_BY = {"_recorder": {"recorder"}, "recorder": {"__init__", "cli"}}

#: Third-party packages and where they may be imported.
HOMES = {
    "apprise": {"agent"},
    "asgiref": {"recorder"},  # of Django, which alone imports recorder.django
    "botocore": {"archive"},
    "cryptography": {"integrity"},
    "duckdb": {"query"},
    "google": {"export"},  # what comes with gRPC's statuses, and protobuf itself
    "grpc": {"export"},
    "numpy": {"archive", "journal"},
    "opentelemetry": {"export"},
    "orjson": {"journal"},
    "pyarrow": {"archive", "journal", "query"},
    "prometheus_client": {"agent"},
    "rich": {"cli"},
    "sigma": {"detect"},
    "tomli": {"agent", "export"},  # tomllib, before 3.11
    "yaml": {"detect"},
}
#: What the recorder may import in somebody else's process: what `site` has imported anyway.
RECORDER_STDLIB = {"builtins", "io", "os", "site", "stat", "sys"}
#: The middlewares are imported by frameworks, which have these anyway.
MIDDLEWARES = {"recorder.asgi", "recorder.django", "recorder.wsgi"}
MIDDLEWARE_STDLIB = {"collections", "typing"}
#: The handler is imported by who logs.
HANDLERS = {"recorder.logs"}
HANDLER_STDLIB = {"logging", "sys", "threading"}
#: Modules that `run`, `env` and `doctor` need: a base installation has nothing but Python.
BASE = (
    "pythonaudit",
    "pythonaudit.__main__",
    "pythonaudit.cli",
    "pythonaudit.cli.cmd_doctor",
    "pythonaudit.cli.cmd_env",
    "pythonaudit.cli.cmd_run",
    "pythonaudit.journal.layout",
    "pythonaudit.journal.summary",
)


def modules(package: Path) -> Iterator[tuple[str, str]]:
    """Every module below a package: dotted name from the package on, and source."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield ".".join(parts), path.read_text()


def imported(module: str, source: str) -> Iterator[tuple[int, str]]:
    """The absolute dotted names that a module of ours imports, with their lines."""
    inside = ["pythonaudit", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            if origin == "pythonaudit":
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, origin


def rank(unit: str) -> int:
    """The layer of a package or module right below pythonaudit; 0 is the highest."""
    for number, names in enumerate(LAYERS):
        if unit in names:
            return number
    raise AssertionError(f"{unit} has no layer: add it to ARCHITECTURE.md and to LAYERS here")


def violation(module: str, name: str) -> str | None:
    """Why this module may not import that name, or None."""
    unit = module.split(".")[0]
    top, _, rest = name.partition(".")
    if top != "pythonaudit":
        if module in MIDDLEWARES and top in MIDDLEWARE_STDLIB:
            return None
        if module in HANDLERS and top in HANDLER_STDLIB:
            return None
        return foreign_violation(unit, top)
    target = rest.split(".")[0]
    if not target or target == unit or target.startswith("__version"):
        return None
    if unit in APART:
        allowed = target in APART[unit] or unit in APART_IMPORTED_BY.get(target, ())
        return None if allowed else f"{unit} stands apart and may not import {target}"
    if target in APART_IMPORTED_BY:
        if unit in APART_IMPORTED_BY[target]:
            return None
        return f"{target} runs in the audited process; {unit} may not import it"
    return None if rank(unit) < rank(target) else f"{unit} is not above {target}"


def foreign_violation(unit: str, top: str) -> str | None:
    """Why a package of ours may not import this top-level module, or None."""
    if top in sys.stdlib_module_names:
        wrong = unit == "recorder" and top not in RECORDER_STDLIB
        return f"the recorder may not burden a process with {top}" if wrong else None
    if top not in HOMES:
        return f"{top} is not a dependency"
    return None if unit in HOMES[top] else f"{top} belongs to {' and '.join(sorted(HOMES[top]))}"


def violations(package: Path) -> list[str]:
    """Everything below a package that is imported against the rules."""
    return [
        f"{module}:{line}: {name}: {why}"
        for module, source in modules(package)
        for line, name in imported(module, source)
        if (why := violation(module, name))
    ]


def test_layers_hold() -> None:
    assert violations(PACKAGE) == []


def test_every_package_has_a_layer() -> None:
    for module, _ in modules(PACKAGE):
        unit = module.split(".")[0]
        assert unit in APART or rank(unit) >= 0


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("catalog.lookup", "from pythonaudit.journal import reader"),
        ("catalog.lookup", "from ..journal import reader"),
        ("journal.reader", "import pythonaudit.cli.render"),
        ("journal.reader", "from pythonaudit import integrity"),
        ("journal.reader", "def late():\n    from pythonaudit.query import views"),
        ("detect.rule", "import pythonaudit.export.ocsf"),
        ("recorder.startup", "from pythonaudit.catalog import lookup"),
        ("recorder.startup", "import json"),
        ("recorder.startup", "import logging"),
        ("recorder.logs", "import json"),
        ("recorder.startup", "import numpy"),
        ("cli.cmd_log", "import numpy"),
        ("cli.cmd_log", "import requests"),
        ("journal.reader", "from rich import table"),
        ("journal.reader", "from pythonaudit.recorder import status"),
        ("errors", "from pythonaudit import catalog"),
        ("__init__", "from pythonaudit import journal"),
    ],
)
def test_the_check_bites(tmp_path: Path, module: str, source: str) -> None:
    planted = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
    planted.parent.mkdir(parents=True, exist_ok=True)
    planted.write_text(source)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize("module", BASE)
def test_the_base_installation_needs_nothing_else(module: str) -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        f"import {module}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'pythonaudit'}))"
    )
    command = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_the_command_line_loads_no_verb_before_it_is_asked() -> None:
    code = (
        "import sys, pythonaudit.cli\n"
        "print(*(m for m in sys.modules if m.startswith('pythonaudit.') and m.count('.') > 1))"
    )
    command = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "cmd_" not in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
