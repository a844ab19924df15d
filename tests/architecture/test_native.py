"""What C may not do here.

Nothing calls what can overrun a buffer or start a shell. What runs inside the hook must not raise,
allocate through Python or run anybody's code: the hook's files may use of Python's C API only
what reads. What decides where journals go does not know Python at all.
"""

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[2] / "native"

#: Never: no bound, no thread safety, or a shell.
NEVER = (
    r"(?:sprintf|vsprintf|strcpy|strcat|stpcpy|gets|scanf|sscanf|system|popen|tmpnam|mktemp"
    r"|strtok|alloca)"
)
#: Not in what the hook calls: these raise, allocate through Python or run code of others.
NOT_IN_HOOK = (
    r"(?:PyErr_(?!Occurred)\w+|PyObject_(?:Repr|Str|ASCII|Bytes|Hash|RichCompare\w*|Call\w*"
    r"|GetAttr\w*|SetAttr\w*|GetItem|Size|IsTrue|GetIter)|PyUnicode_(?:AsUTF8\w*|FromFormat\w*"
    r"|FromString\w*|AsEncoded\w*)|PyMem_\w+|PyObject_(?:Malloc|Realloc|Free)|PyRun_\w+"
    r"|PyImport_\w+|PyGILState_\w+|PyEval_(?:SaveThread|RestoreThread|CallObject\w*)"
    r"|PySequence_\w+|PyMapping_\w+|PyNumber_\w+|PyLong_AsLong(?!LongAndOverflow)\w*|Py_BuildValue|PySys_Audit\w*)"
)
#: What is called for every event.
HOOK_FILES = (
    *("hook.c", "encode.c", "value.c", "json.c", "mask.c", "mask_command.c"),
    *("context.c", "trace.c", "thread_name.c", "frames.c", "origin.c", "intern.c", "segment.c"),
)
#: What knows nothing of Python.
WITHOUT_PYTHON = (
    *("settings", "policy", "store", "evict", "held", "segment", "intern"),
    *("json", "mask", "preload*", "format", "xxh64"),
)


def code(text: str) -> str:
    """C without comments and without the content of strings; line numbers stay."""

    def blank(found: re.Match[str]) -> str:
        kept = '""' if found.group().startswith('"') else " "
        return kept + "\n" * found.group().count("\n")

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


def hooked(text: str) -> str:
    """C without declarations and without what is called at the start only."""
    return re.sub(
        r"^extern [^;]*;|^int pa_hook_canary\(void\)\n\{.*?^\}", "", text, flags=re.DOTALL | re.MULTILINE
    )


def calls(pattern: str, text: str) -> list[str]:
    """The calls, or uses, of a function in C text, as `line: name`."""
    return [
        f"{number}: {name}"
        for number, line in enumerate(code(text).splitlines(), 1)
        for name in re.findall(rf"\b({pattern})\s*\(", line)
    ]


def files(*patterns: str) -> list[Path]:
    return [path for pattern in patterns for path in sorted(NATIVE.glob(pattern))]


@pytest.mark.parametrize("path", files("*.c", "*.h"), ids=lambda path: path.name)
def test_nothing_dangerous_is_called(path: Path) -> None:
    assert calls(NEVER, path.read_text()) == []


@pytest.mark.parametrize("path", files(*HOOK_FILES), ids=lambda path: path.name)
def test_the_hook_only_reads(path: Path) -> None:
    assert calls(NOT_IN_HOOK, hooked(path.read_text())) == []


@pytest.mark.parametrize("path", files(*(f"{name}.[ch]" for name in WITHOUT_PYTHON)), ids=lambda path: path.name)
def test_what_knows_no_python_includes_none(path: Path) -> None:
    assert not re.search(r"^\s*#\s*include\s*[<\"]Python\.h", path.read_text(), re.MULTILINE)


def test_the_format_needs_nothing_but_integers() -> None:
    text = (NATIVE / "format.h").read_text()
    assert re.findall(r"#\s*include\s*(\S+)", text) == ["<stdint.h>"]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (NEVER, "sprintf(out, x);"),
        (NEVER, "  return system (line);"),
        (NOT_IN_HOOK, "PyErr_Clear();"),
        (NOT_IN_HOOK, "text = PyObject_Repr(value);"),
        (NOT_IN_HOOK, "PyUnicode_AsUTF8AndSize(value, &size)"),
    ],
)
def test_the_check_bites(pattern: str, text: str) -> None:
    assert len(calls(pattern, text)) == 1


@pytest.mark.parametrize(
    "text", ["snprintf(out, size, x);", "/* sprintf(x) */", 'note("system(1)");', "// gets(x)"]
)
def test_the_check_spares(text: str) -> None:
    assert calls(NEVER, text) == []
