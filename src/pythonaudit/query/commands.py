"""What a command line starts: Python, or something else. No input or output; `look` says what a program is.

    judge(Command(("bash", "-c", "cd /srv && python app.py | tee log")), look)
    # a shell in which one Python surely runs: python app.py

A program is judged, in this order, by: what the file is on this host, if it may be looked at (a Python script
has a `#!` line; `/opt/tool` may be a link to python3.12); its name; for a shell, the commands of its `-c`; for
a program that only starts another (env, timeout, sudo, ...), the other one.

A word of the verdict stands only where nothing of the command was recorded: `not-python`, `not-recorded` (it was
Python), or `unexplained` (it may not have been, or may never have started).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

NOT_PYTHON = "not-python"
NOT_RECORDED = "not-recorded"
UNEXPLAINED = "unexplained"

_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*[td]?(?:-dbg)?")
# Programs that are Python scripts wherever they are met; asked only where the file cannot be looked at.
_SCRIPT = re.compile(r".*\.(?:py|pyw|pyz)|(?:pip|pytest|ipython|tox|pipx|virtualenv)[0-9.]*")
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish"})
# With these alone, the interpreter prints something and ends before it starts.
_EARLY_END = frozenset(
    {"-V", "-VV", "--version", "-h", "-?", "--help", "--help-env", "--help-xoptions", "--help-all"}
)
# Programs that start another: the options that take a value, and how many words come before the other program.
_WRAPPERS: Mapping[str, tuple[str, int]] = {
    "chroot": ("", 1),
    "command": ("", 0),
    "doas": ("uC", 0),
    "env": ("uC", 0),
    "exec": ("a", 0),
    "flock": ("wE", 1),
    "ionice": ("cnpPu", 0),
    "nice": ("n", 0),
    "nohup": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("ioe", 0),
    "strace": ("eosPEuaIObSUX", 0),
    "sudo": ("ugpCDRThrt", 0),
    "taskset": ("", 1),
    "time": ("fo", 0),
    "timeout": ("sk", 1),
    "unshare": ("RwSG", 0),
    "xargs": ("nPIdaLsE", 0),
}
# Of these, the ones that wait for the other program; the rest become it.
_WAITING = frozenset({"doas", "flock", "strace", "sudo", "time", "timeout", "xargs"})
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=.*", re.DOTALL)
_KEYWORDS = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "{"})
_SKIPPED = frozenset({"fi", "done", "esac", "}", "for", "case", "select", "function"})
# What nearly never fails: what stands after its && runs.
_SURE = frozenset({"cd", "export", "set", "umask", "ulimit", "source", ".", ":", "true", "echo", "printf"})
_PUNCTUATION = "();<>|&\n"
FARTHEST = 3  # see Verdict.distance
_MOST_WRAPPERS = 8
_KEY_WORDS, _KEY_CHARACTERS = 100, 1000  # less than is ever cut off, so that what was cut compares equal

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """What a program is on this host.

    Attributes:
        kind: "binary", "script" or "missing".
        name: of the file at the end of all links.
        interpreter: the words after a script's `#!`.
    """

    kind: str
    name: str = ""
    interpreter: tuple[str, ...] = ()


Look = Callable[[str, str | None], File | None]
"""Program and current directory to what it is here; None: it cannot be looked at."""


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked to be started.

    Attributes:
        words: the command line with the program's own name; those that are not known are empty.
        program: what is executed, if it is not the first word.
        cwd: from where, if it is known.
    """

    words: tuple[str, ...]
    program: str | None = None
    cwd: str | None = None

    @property
    def executable(self) -> str:
        """What is executed; empty: not known."""
        return self.program or (self.words[0] if self.words else "")

    @property
    def name(self) -> str:
        """The same without its directories."""
        return os.path.basename(self.executable.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a command is, if nothing of it was recorded.

    Attributes:
        word: not-python, not-recorded or unexplained.
        reason: how that was judged, in a few words.
        pythons: the command lines of Python in it.
        sure: how many of them run if it does.
        is_open: whether it can have become, or started, a Python of which it tells nothing.
        distance: how far its Python is from it: 0, it is Python; 1, it becomes Python; 2, it becomes or starts it;
            3, it starts it.
    """

    word: str
    reason: str
    pythons: tuple[Command, ...] = ()
    sure: int = 0
    is_open: bool = False
    distance: int = 0


def judge(command: Command, look: Look) -> Verdict:
    """What a command is."""
    inner, is_waited_for = _peel(command)
    verdict = _judge(inner, look)
    distance = FARTHEST if is_waited_for else 2 if verdict.is_open else int(inner is not command)
    return replace(verdict, distance=distance)


def _judge(command: Command, look: Look) -> Verdict:
    if not command.executable:
        return Verdict(UNEXPLAINED, "its command line is not known", is_open=True)
    if "$" in command.executable or "`" in command.executable:
        return Verdict(UNEXPLAINED, f"what {command.executable} stands for is not known", is_open=True)
    file = look(command.executable, command.cwd)
    if file is not None and file.kind == "script":
        return _judge_script(command, file, look)
    if _is_python(command.name) or (file is not None and _is_python(file.name)):
        return _judge_python(command, file)
    if file is not None and file.kind == "missing":
        return _missing(command)
    if command.name in SHELLS:
        return _judge_shell(command, look)
    if command.name in _WRAPPERS:
        return Verdict(NOT_PYTHON, f"{command.name} with no command that is known", is_open=True)
    if file is not None:
        return Verdict(NOT_PYTHON, "a program that is not Python")
    if _SCRIPT.fullmatch(command.name):
        return Verdict(NOT_RECORDED, "Python by its name", (command,), 1)
    return Verdict(NOT_PYTHON, "by its name", is_open=True)


def spawn_keys(command: Command, verdict: Verdict) -> list[Key]:
    """By what a recorded process can be known as this command's, as `process_keys` has it.

    Args:
        command: what was asked to be started.
        verdict: of it.
    """
    return [
        key
        for python in verdict.pythons or (_peel(command)[0],)
        for key in (("argv", *_cut(python.words[1:])), ("script", python.name, *_cut(python.words[1:])))
    ]


def process_keys(argv: tuple[str, ...]) -> list[Key]:
    """By what the command of a recorded process can be found.

    Args:
        argv: its words after the interpreter's own name.
    """
    keys: list[Key] = [("argv", *_cut(argv))]
    script = next((at for at, word in enumerate(argv) if not word.startswith("-")), None)
    if script is not None:
        keys.append(("script", os.path.basename(argv[script]), *_cut(argv[script + 1 :])))
    return keys


def _cut(words: tuple[str, ...]) -> Iterator[str]:
    return (word[:_KEY_CHARACTERS] for word in words[:_KEY_WORDS])


def _is_python(name: str) -> bool:
    return _PYTHON.fullmatch(name) is not None


def _judge_python(command: Command, file: File | None) -> Verdict:
    if file is not None and file.kind == "missing":
        reason = "Python by its name; no such file here: it never started, or has gone since"
        return Verdict(UNEXPLAINED, reason, (command,))
    options = command.words[1:]
    if options and all(option in _EARLY_END for option in options):
        return Verdict(NOT_PYTHON, f"{options[0]}: ends before any Python runs")
    how = "Python by its name" if _is_python(command.name) else f"Python: the file is {file.name}" if file else ""
    return Verdict(NOT_RECORDED, how, (command,), 1)


def _judge_script(command: Command, file: File, look: Look) -> Verdict:
    interpreter, _ = _peel(Command((*file.interpreter, command.executable, *command.words[1:])))
    line = f"#!{' '.join(file.interpreter)}"
    there = look(interpreter.executable, None) if interpreter.executable else None
    if there is not None and there.kind == "missing":
        return Verdict(UNEXPLAINED, f"{line}: no such file here: it never started, or has gone since")
    if _is_python(interpreter.name) or (there is not None and _is_python(there.name)):
        return Verdict(NOT_RECORDED, f"a Python script: {line}", (command,), 1)
    # Launchers (pyenv's shims) have the name of what they start.
    if _is_python(command.name):
        return _judge_python(command, None)
    return Verdict(NOT_PYTHON, f"a script: {line}", is_open=True)


def _missing(command: Command) -> Verdict:
    where = "here" if "/" in command.executable else "on PATH here"
    return Verdict(UNEXPLAINED, f"no such program {where}: it never started, or has gone since")


def _peel(command: Command) -> tuple[Command, bool]:
    """The command that is started in the end, and whether something waits for it."""
    is_waited_for = False
    for _ in range(_MOST_WRAPPERS):
        inner = unwrap(command)
        if inner is None:
            break
        is_waited_for = is_waited_for or command.name in _WAITING
        command = inner
    return command, is_waited_for


def unwrap(command: Command) -> Command | None:
    """The command that a wrapper starts; None: it is no wrapper, or names none."""
    name = command.name
    if name not in _WRAPPERS:
        return None
    with_value, skipped = _WRAPPERS[name]
    words = list(command.words[1:])
    while words:
        word = words[0]
        if word == "--":
            del words[0]
            break
        if name == "env" and (word.startswith("-S") or word == "--split-string"):
            text = word[2:] if word.startswith("-S") and len(word) > 2 else " ".join(words[1:2])
            words[: 1 if word.startswith("-S") and len(word) > 2 else 2] = text.split()
        elif word.startswith("-") and len(word) > 1:
            takes_next = not word.startswith("--") and word[-1] in with_value
            del words[: 2 if takes_next else 1]
        elif _ASSIGNMENT.fullmatch(word) and name in ("env", "sudo", "doas"):
            del words[0]
        else:
            break
    words = words[skipped:]
    return Command(tuple(words), None, command.cwd) if words else None


def _judge_shell(command: Command, look: Look) -> Verdict:
    text = shell_text(command.words)
    if text is None:
        return Verdict(NOT_PYTHON, "a shell", is_open=True)
    said = f"{command.name} -c"
    pythons: list[Command] = []
    sure, unsure = 0, ""
    for words, is_sure in shell_commands(text):
        inner = judge(Command(words, None, command.cwd), look)
        pythons += inner.pythons
        if inner.word == NOT_RECORDED:
            if is_sure:
                sure += inner.sure
            else:
                unsure = unsure or f"{said}: {words[0]} runs only if what stands before it lets it"
        elif inner.word == UNEXPLAINED and (inner.pythons or inner.is_open):  # else a builtin, or not found
            unsure = unsure or f"{said}: {inner.reason}"
    if sure:
        return Verdict(NOT_RECORDED, f"{said}: runs {pythons[0].name}", tuple(pythons), sure, True)
    if unsure:
        return Verdict(UNEXPLAINED, unsure, tuple(pythons), 0, True)
    return Verdict(NOT_PYTHON, f"{said}: none of its commands is Python", tuple(pythons), 0, True)


def shell_text(words: tuple[str, ...]) -> str | None:
    """What a shell is told by -c."""
    has_command = False
    for at, word in enumerate(words[1:], 1):
        if word.startswith("--"):
            continue
        if word.startswith(("-", "+")) and len(word) > 1:
            has_command = has_command or "c" in word
            if not has_command or at + 1 >= len(words):
                continue
        elif has_command:
            return word
        elif words[at - 1] not in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            return None
    return None


def shell_commands(text: str) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The simple commands of a shell's text, each with whether it runs for sure.

    It is no shell: what is in quotes, functions, here-documents and substitutions is not looked into.
    """
    is_sure = in_condition = False
    before = ";"
    for tokens, after in _split(text):
        words = tokens
        while words and (words[0] in _KEYWORDS or _ASSIGNMENT.fullmatch(words[0])):
            in_condition = in_condition or words[0] in ("if", "then", "elif", "else", "while", "until", "do")
            words = words[1:]
        if before not in ("&&", "||"):
            is_sure = True
        if words and words[0] not in _SKIPPED:
            yield words, is_sure and not in_condition
            if after == "||" or (after == "&&" and words[0] not in _SURE):
                is_sure = False
        elif words:
            in_condition = in_condition or words[0] in ("for", "case", "select", "function")
        before = after


def _split(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words between operators, each with the operator behind them; redirections are left out."""
    words: list[str] = []
    is_target = False
    for token in _tokens(text):
        if not token or token[0] not in _PUNCTUATION:
            if not is_target:
                words.append(token)
            is_target = False
        elif token[0] in "<>" or token == "&>":
            if words and words[-1].isdecimal():
                del words[-1]
            is_target = True
        else:
            yield tuple(words), token.strip("\n()") or ";"
            words = []
    yield tuple(words), ";"


def _tokens(text: str) -> Iterator[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        yield from lexer
    except ValueError:  # a quote that does not end: the text was cut, or the shell complains too
        return
