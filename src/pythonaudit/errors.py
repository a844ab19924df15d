"""The one tree of errors.

Every error that a user can cause or meet derives from `PythonAuditError` and carries

- `code`: a stable word, an anchor in docs/errors.md;
- a message: what went wrong, and where;
- `hint`: what to do about it, or None;
- `exit_status`: how the command line ends (2 wrong usage, 3 could not).

The command line prints `pythonaudit: MESSAGE` and the hint, never a traceback. Anything else that
escapes is a defect of ours. This module imports nothing.
"""


class PythonAuditError(Exception):
    """Something that the user can be told in one line.

    Args:
        message: what went wrong and where, without a full stop.
        hint: what to do about it.
    """

    code: str = "error"
    exit_status: int = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(PythonAuditError):
    """The command line or a value given on it makes no sense."""

    code = "usage"
    exit_status = 2


class ConfigError(PythonAuditError):
    """The configuration makes no sense, or cannot be read."""

    code = "config"
    exit_status = 2


class StoreError(PythonAuditError):
    """The directory with the journals is absent, or may not be read or written."""

    code = "store"


class RuleError(PythonAuditError):
    """A rule makes no sense, or asks for what cannot be told from events."""

    code = "rule"


class TargetError(PythonAuditError):
    """Where events should go they cannot go, now or as it is set up."""

    code = "target"


class MissingToolsError(PythonAuditError):
    """The command needs packages of the extra `tools` that are not installed here."""

    code = "missing-tools"


class FormatError(PythonAuditError):
    """These bytes are no segment, or one that this version must refuse to read."""

    code = "format"


class UnsupportedError(PythonAuditError):
    """This platform, interpreter or program cannot do what was asked."""

    code = "unsupported"
