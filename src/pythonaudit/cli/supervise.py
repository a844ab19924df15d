"""Running a command as if it had been started directly: its signals, its stops, its end.

The command is a child in the same process group, with the same terminal and descriptors. Until it
ends this process takes every signal synchronously (blocked, and awaited together with SIGCHLD):

- what another process sends us goes on to the command: SIGTERM, SIGHUP, SIGUSR1 and so on. Whoever
  signals the whole group reaches the command twice, as with every such wrapper. SIGKILL cannot go
  on: the command outlives it (with `-q` there is no process between);
- what the terminal sends (control-C, control-backslash, control-Z, hanging up) has reached the command
  already: it is in the same group; but of a hang-up the kernel tells the leader of the session
  alone, so where we are that, it goes on. Timers that we inherited go on: the command has not inherited them;
- when the command is stopped by job control, we stop too, by the same signal, so that the shell
  sees its job stopped. The SIGCONT of `fg` and `bg` wakes both; it goes on only to a command that
  is still stopped. A plain SIGSTOP of the command stops us only in the foreground of a terminal
  (`suspend` in a shell): elsewhere somebody who throttles the command would leave us stopped for good.

`replace` has none of this: the command takes the place of this process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pythonaudit.errors import PythonAuditError

Environment = Mapping[bytes, bytes]
_Result = TypeVar("_Result")

#: The interpreter ignores these for itself; commands expect the default. One that should have inherited
#: them as ignored does not: what they were, the interpreter has not kept. `pythonaudit env` has no such step.
_IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFZ", "SIGXFSZ")
#: About this process itself: errors in it, its children, its use of the terminal.
_NOT_FORWARDED = {
    *("SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS", "SIGKILL", "SIGSTOP"),
    *("SIGPIPE", "SIGXCPU", "SIGXFSZ", "SIGCHLD", "SIGTTIN", "SIGTTOU"),
}
_FORWARDED = signal.valid_signals() - {getattr(signal, name) for name in _NOT_FORWARDED}
_AWAITED = _FORWARDED | {signal.SIGCHLD}
_TERMINAL_INPUT_OUTPUT = {signal.SIGTTIN, signal.SIGTTOU}
_FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP, signal.SIGWINCH}


class CommandError(PythonAuditError):
    """The command could not be started; ends with 127 (not found) or 126, as env(1) does."""

    code = "command"

    def __init__(self, command: str, error: OSError) -> None:
        super().__init__(f"cannot run {command!r}: {error.strerror}")
        self.exit_status = 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126


def replace(argv: Sequence[str], environment: Environment) -> None:
    """Runs the command in the place of this process; returns never.

    Raises:
        CommandError: it could not be started.
    """
    for name in _IGNORED_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    _starting(argv, environment, lambda words: os.execvpe(words[0], words, environment))


def run(argv: Sequence[str], environment: Environment) -> int:
    """Runs the command and waits for its end.

    Returns:
        Its exit status, or minus the number of the signal that ended it.

    Raises:
        CommandError: it could not be started.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED | _TERMINAL_INPUT_OUTPUT)
    children = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, there would be no status

    def as_it_was() -> None:
        if children is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        child = _starting(
            argv,
            environment,
            lambda words: subprocess.Popen(words, env=environment, close_fds=False, preexec_fn=as_it_was),
        )
        child.returncode = _wait(child.pid)
        while signal.sigtimedwait(_AWAITED, 0):
            pass  # for a command that has ended
        return child.returncode
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, set(mask) | _TERMINAL_INPUT_OUTPUT)


def end_as(returncode: int) -> int:
    """Ends this process as the command ended; or returns the exit status to end with.

    Args:
        returncode: what `run` returned. A signal is sent to this process, without a core dump:
            that of the command, if any, is the one of interest.
    """
    if returncode >= 0:
        return returncode
    number = -returncode
    sys.stdout.flush()
    sys.stderr.flush()
    # One byte, not none: that also keeps the handlers away to which cores are piped.
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (min(1, hard) if hard >= 0 else 1, hard))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    return 128 + number  # the init process of a container outlives its own signals


def _starting(argv: Sequence[str], environment: Environment, start: Callable[[list[str]], _Result]) -> _Result:
    try:
        try:
            return start([*argv])
        except OSError as error:
            # A script without #! is the shell's to run, as execvp has it.
            path = os.fsdecode(environment.get(b"PATH", os.fsencode(os.defpath)))
            script = shutil.which(argv[0], path=path)
            if error.errno != errno.ENOEXEC or script is None:
                raise
            return start(["/bin/sh", script, *argv[1:]])
    except OSError as error:
        raise CommandError(argv[0], error) from None


def _wait(pid: int) -> int:
    while True:
        got = signal.sigwaitinfo(_AWAITED)
        if got.si_signo != signal.SIGCHLD:
            with contextlib.suppress(OSError):  # it may be another user's by now (sudo)
                if _is_for_the_command(pid, got):
                    os.kill(pid, got.si_signo)
            continue
        while True:
            # Anybody's end: as the init process of a container we inherit orphans.
            changed, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if changed == 0:
                break
            if changed != pid:
                continue
            if not os.WIFSTOPPED(status):
                return os.waitstatus_to_exitcode(status)
            _stop_too(pid, os.WSTOPSIG(status))


def _is_for_the_command(pid: int, got: signal.struct_siginfo) -> bool:
    if got.si_signo == signal.SIGCONT:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].startswith(b"T")
    if got.si_signo == signal.SIGHUP and os.getsid(0) == os.getpid():
        return True
    from_a_process = got.si_code <= 0
    return from_a_process or got.si_signo not in _FROM_TERMINAL


def _stop_too(pid: int, number: int) -> None:
    if number == signal.SIGSTOP and not _in_foreground({os.getpgrp(), os.getpgid(pid)}):
        return
    # Sent while it is blocked: the terminal's own may be pending, and two are one then.
    os.kill(os.getpid(), number)
    if number != signal.SIGSTOP:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})


def _in_foreground(groups: set[int]) -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) in groups
    finally:
        os.close(terminal)
