"""The configuration on the command line: `--config FILE`, the same for all verbs that go by it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pythonaudit.agent.config import Config, load_config

if TYPE_CHECKING:
    from pythonaudit.integrity.writer import Writer


def add_argument(parser: argparse._ActionsContainer) -> None:
    """Adds the option."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: DIR/config.toml, if it is there")


def load(args: argparse.Namespace) -> Config:
    """What is in force.

    Raises:
        ConfigError: it makes no sense.
    """
    return load_config(args.dir, args.config)


def open_writer(args: argparse.Namespace) -> Writer:
    """The writer of the log, with keys as the configuration says.

    Raises:
        ConfigError: it makes no sense.
    """
    from pythonaudit.integrity.writer import Writer

    config = load(args)
    return Writer(args.dir, config.keys.private, config.keys.epoch)
