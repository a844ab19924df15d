"""The configuration: what it says, and every way in which it can make no sense."""

from pathlib import Path

import pytest

from pythonaudit.agent.config import Config, Hold, Retention, load_config, parse_config
from pythonaudit.errors import ConfigError

EVERYTHING = """\
[keys]
private = "/run/pythonaudit/keys"
epoch = "15m"
[checkpoints]
interval = "30s"
file = "/mnt/other/web-1.checkpoint"
url = "https://logs.example/web-1"
[agent]
metrics = "[::1]:9464"
[retention]
age = "1y"
size = "never"
journal_age = "90d"
[[hold]]
name = "case-17"
reason = "letter"
since = "2026-11-01T00:00:00Z"
until = 2026-11-08T00:00:00Z
host = "web-*"
[access]
record = false
"""


def test_everything() -> None:
    config = parse_config(EVERYTHING)
    assert (config.keys.private, config.keys.epoch) == (Path("/run/pythonaudit/keys"), 900)
    assert config.checkpoints.interval == 30
    assert config.agent.metrics == ("::1", 9464)
    assert config.retention == Retention(31_536_000, None, 90 * 86400)
    assert config.hold == (Hold("case-17", "letter", 1_793_491_200 * 10**9, 1_794_096_000 * 10**9, host="web-*"),)
    assert not config.access.record
    assert config.given == {"keys", "checkpoints", "agent", "retention", "hold", "access"}


def test_nothing_is_the_defaults(tmp_path: Path) -> None:
    assert parse_config("") == load_config(tmp_path) == Config()
    (tmp_path / "config.toml").write_text("[access]\nrecord = false\n")
    assert load_config(tmp_path) == Config(
        path=tmp_path / "config.toml",
        given=frozenset({"access"}),
        access=parse_config("[access]\nrecord=false").access,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[keys", "no TOML"),
        ("[key]\n", "did you mean keys?"),
        ("[keys]\nepoc = '1h'", "did you mean keys.epoch?"),
        ("keys = 1", "keys: a table"),
        ("[keys]\nepoch = 3600", "keys.epoch = 3600: a time such as"),
        ("[keys]\nepoch = '0s'", "a time such as"),
        ("[keys]\nprivate = 'keys'", "an absolute path"),
        ("[retention]\nsize = '10 GB'", "a size such as"),
        ("[retention]\nage = true", "a time such as"),
        ("[agent]\nmetrics = '0.0.0.0:9464'", "a loopback address"),
        ("[agent]\nmetrics = '127.0.0.1'", "a loopback address"),
        ("[checkpoints]\nurl = 'https://me:secret@example/'", "holds no password"),
        ("[checkpoints]\nurl = 'ftp://example/'", "begins with https://"),
        ("[access]\nrecord = 'no'", "true or false"),
        ("[hold]\nname = 'x'", "a list of tables"),
        ("[[hold]]\nname = 'x'", "hold[0]: has no reason"),
        ("[[hold]]\nname = 'x'\nreason = 'y'\nsince = 'yesterday'", "a moment such as"),
        ("[[hold]]\nname = 'x'\nreason = 'y'\nsince = 2026-11-01T00:00:00", "a moment such as"),
        ("[[hold]]\nname='x'\nreason='y'\n[[hold]]\nname='x'\nreason='z'", "two of them are called 'x'"),
    ],
)
def test_what_makes_no_sense(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    said = f"{caught.value} {caught.value.hint}"
    assert message in said
    assert "\n" not in said
    assert caught.value.exit_status == 2


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path, tmp_path / "none.toml")
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path)
