"""`pythonaudit config check`: whether the configuration makes sense, and what is in force."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pythonaudit.agent.config import Config, Secret, load_config
from pythonaudit.agent.exporting import check_export
from pythonaudit.agent.messages import check_addresses
from pythonaudit.cli.render import Output, json_line, neutralise

_EPILOG = """\
Without FILE, the configuration of the directory: DIR/config.toml, or the defaults where there is none. It is taken as
a whole or not at all: a setting that makes no sense ends with 2, and one line that names it.

example:
  pythonaudit config check /etc/pythonaudit.toml
"""
_NOT_SETTINGS = ("path", "given")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", required=True, metavar="check")
    check = actions.add_parser("check", help="say what is in force, or what makes no sense")
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="default: that of the directory")
    check.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Prints what is in force; always 0."""
    config = load_config(args.dir, args.file)
    for export in config.export:
        check_export(export)
    if config.detect:
        check_addresses(config.detect.notify)
    output = Output()
    said = {field.name: _plain(getattr(config, field.name)) for field in fields(Config)}
    if args.format == "jsonl":
        said["path"] = str(config.path) if config.path else None
        said["given"] = sorted(config.given)
        output.write(json_line(said, output.is_terminal))
    else:
        output.write(f"# {neutralise(str(config.path))}\n" if config.path else "# no file: the defaults\n")
        for section, value in said.items():
            if section not in _NOT_SETTINGS:
                output.write("".join(f"{neutralise(line)}\n" for line in _lines(section, value)))
    output.flush()
    return 0


def _plain(value: Any) -> Any:
    """A section as an object."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return [_plain(one) for one in value]
    if isinstance(value, tuple):
        return ["***" if isinstance(one, Secret) else one for one in value]
    if isinstance(value, Mapping):  # options of a target: some are secret
        return sorted(value)
    return str(value) if isinstance(value, Path) else sorted(value) if isinstance(value, frozenset) else value


def _lines(section: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{section}.{name} = {_text(one)}" for name, one in value.items()]
    if value is None:
        return [f"{section} = none"]
    return [line for number, one in enumerate(value) for line in _lines(f"{section}[{number}]", one)]


def _text(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
