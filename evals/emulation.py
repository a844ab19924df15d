"""What is known of an emulation: its about.toml.

title = "ctx 0.2.2: the environment to a web service"
date = 2022-05-24                  # of the first report
reports = ["https://..."]
techniques = ["T1195.001", "T1552.001"]
kind = "supply-chain"              # or "post-exploitation"
imitates = "..."                   # what the reports say it did, and which part of it is done here
stand_ins = "..."                  # what is not real
raises = ["socket.connect"]        # events without which it did not do what it says
distribution = "ctx 0.2.6"         # of what is in site/ (optional)
hosts = ["attacker.example"]       # names that lead to the server on the loopback interface (optional)
python = "3.14"                    # the oldest that it can run on (optional)
machine = "x86_64"                 # the only one that it can run on (optional)
"""

from __future__ import annotations

import datetime
import platform
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
ATTACKS = HERE / "attacks"
KINDS = ("supply-chain", "post-exploitation", "control")
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")


@dataclass(frozen=True)
class Emulation:
    """One emulation, as its about.toml describes it."""

    directory: Path
    title: str
    date: datetime.date
    reports: tuple[str, ...]
    techniques: tuple[str, ...]
    kind: str
    imitates: str
    stand_ins: str
    raises: tuple[str, ...]
    distribution: str = ""
    hosts: tuple[str, ...] = ()
    python: str = "3.10"
    machine: str = ""

    @property
    def name(self) -> str:
        """That of its directory."""
        return self.directory.name

    def obstacle(self) -> str | None:
        """Why it cannot run with this interpreter on this machine, or None."""
        oldest = tuple(int(part) for part in self.python.split("."))
        if sys.version_info[: len(oldest)] < oldest:
            return f"needs Python {self.python}"
        if self.machine and platform.machine() != self.machine:
            return f"needs {self.machine}"
        return None


def load_emulation(directory: Path) -> Emulation:
    """Reads DIRECTORY/about.toml.

    Raises:
        ValueError: it is not complete, or something in it makes no sense.
    """
    path = directory / "about.toml"
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
        emulation = Emulation(directory, **values)
    except TypeError as error:
        raise ValueError(f"{path}: {str(error).partition(' ')[2]}") from error
    for field in fields(Emulation):
        if getattr(emulation, field.name) in ("", ()) and field.name in values:
            raise ValueError(f"{path}: {field.name} is empty")
    if emulation.kind not in KINDS:
        raise ValueError(f"{path}: kind is none of {', '.join(KINDS)}")
    if not isinstance(emulation.date, datetime.date):
        raise ValueError(f"{path}: date is no date")
    for technique in emulation.techniques:
        if not _TECHNIQUE.fullmatch(technique):
            raise ValueError(f"{path}: {technique!r} is no technique of ATT&CK")
    for report in emulation.reports:
        if not report.startswith("https://"):
            raise ValueError(f"{path}: {report!r} is no address of a report")
    return emulation


def load_emulations(directory: Path = ATTACKS) -> list[Emulation]:
    """All of them, by name."""
    return [load_emulation(about.parent) for about in sorted(directory.glob("*/about.toml"))]
