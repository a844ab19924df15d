"""Write offsets.h: where the recorder finds things inside CPython's structures.

The recorder is one binary for CPython 3.10 to 3.15 and reads exact built-in
objects and frames without calling into Python, so it needs the offsets of a
few fields in each minor version. This program compiles a small C probe with
the headers of each interpreter that it is given and prints what the compiler
says, one row for each minor version, and one for its free-threaded build:

    python native/generate_offsets.py PYTHON...      writes native/offsets.h

PYTHON are paths of interpreters installed with their headers (internal ones
included), one of each minor version; or of the folder of such headers, of an
interpreter that does not run here. The offsets are those of LP64 builds. Within a minor version CPython does not change them, and
pa_abi_self_test() checks them in the running process all the same.

CPython 3.13 and later publish some of these numbers in
`_PyRuntime.debug_offsets`; the table then says where in it they stand.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

OUTPUT = Path(__file__).with_name("offsets.h")
ABSENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Field:
    """One number of the table.

    where: `structure.member` for its offset, or a C expression; or for each minor version from
        which on it is something else, such a text, or None where it is absent.
    debug: where `_Py_DebugOffsets` of 3.13 and later has the number.
    note: for the comment, what the number is about.
    """

    name: str
    where: str | dict[int, str | None]
    debug: str | None = None
    note: str = ""

    def expression(self, minor: int) -> str:
        """The number in C for CPython 3.minor."""
        where = self._versions()
        found = where[max(first for first in where if first <= minor)]
        if found is None:
            return str(ABSENT)
        member = re.fullmatch(r"(\w+)\.([\w.]+)", found)
        return f"offsetof({member[1]}, {member[2]})" if member else found

    def comment(self) -> str:
        """What the table says about it: where it is, by version."""
        where = self._versions()
        parts = [f"{f'3.{first}: ' if len(where) > 1 else ''}{text or 'none'}" for first, text in where.items()]
        return "; ".join([*([self.note] if self.note else []), *parts])

    def _versions(self) -> dict[int, str | None]:
        return self.where if isinstance(self.where, dict) else {10: self.where}


def _mask(state: str) -> str:
    return f"mask((PyASCIIObject){{.state = {{.{state}}}}})"


FIELDS = (
    Field("type_name", "PyTypeObject.tp_name", "type_object.tp_name"),
    Field("type_dict", "PyTypeObject.tp_dict"),
    Field("tuple_items", "PyTupleObject.ob_item", "tuple_object.ob_item"),
    Field("list_items", "PyListObject.ob_item", "list_object.ob_item", "a pointer"),
    Field("bytes_data", "PyBytesObject.ob_sval", "bytes_object.ob_sval"),
    Field("str_length", "PyASCIIObject.length", "unicode_object.length"),
    Field("str_state", "PyASCIIObject.state", "unicode_object.state", "32 bits"),
    Field("str_ascii_data", "sizeof(PyASCIIObject)", "unicode_object.asciiobject_size"),
    Field("str_compact_data", "sizeof(PyCompactUnicodeObject)"),
    Field("str_pointer", "PyUnicodeObject.data", note="a pointer; of a str that is not compact"),
    Field("str_kind_shift", f"__builtin_ctz({_mask('kind = 7')})", note="1, 2 or 4 bytes"),
    Field("str_compact_bit", _mask("compact = 1")),
    Field("str_ascii_bit", _mask("ascii = 1")),
    Field("str_ready_bit", {10: _mask("ready = 1"), 12: "0"}, note="0: always ready"),
    Field(
        "int_size",
        {10: "PyVarObject.ob_size", 12: "PyLongObject.long_value.lv_tag"},
        "long_object.lv_tag",
    ),
    Field(
        "int_digits",
        {10: "PyLongObject.ob_digit", 12: "PyLongObject.long_value.ob_digit"},
        "long_object.ob_digit",
    ),
    Field("int_tag_shift", {10: "0", 12: "_PyLong_NON_SIZE_BITS"}, note="0: no tag, ob_size"),
    Field("code_filename", "PyCodeObject.co_filename", "code_object.filename"),
    Field("code_name", "PyCodeObject.co_name", "code_object.name"),
    Field(
        "code_qualname",
        {10: "PyCodeObject.co_name", 11: "PyCodeObject.co_qualname"},
        "code_object.qualname",
    ),
    Field("code_linetable", "PyCodeObject.co_linetable", "code_object.linetable"),
    Field("code_firstline", "PyCodeObject.co_firstlineno", "code_object.firstlineno", "an int"),
    Field("code_version", {10: None, 12: "PyCodeObject.co_version"}, note="32 bits"),
    Field("code_bytes", {10: "PyCodeObject.co_code", 11: None}, note="a bytes object"),
    Field(
        "code_instructions",
        {10: None, 11: "PyCodeObject.co_code_adaptive"},
        "code_object.co_code_adaptive",
    ),
    Field(
        "code_firsttraceable",
        {10: None, 11: "PyCodeObject._co_firsttraceable"},
        note="an int, code units",
    ),
    Field("thread_interp", "PyThreadState.interp", "thread_state.interp"),
    Field(
        "thread_frame",
        {10: "PyThreadState.frame", 11: "PyThreadState.cframe", 13: "PyThreadState.current_frame"},
        "thread_state.current_frame",
    ),
    Field("cframe_frame", {10: None, 11: "_PyCFrame.current_frame", 13: None}),
    Field(
        "frame_code",
        {
            10: "PyFrameObject.f_code",
            11: "_PyInterpreterFrame.f_code",
            13: "_PyInterpreterFrame.f_executable",
        },
        "interpreter_frame.executable",
    ),
    Field("frame_code_tag", {10: "0", 14: "Py_TAG_BITS"}, note="bits of frame_code that are no address"),
    Field(
        "frame_previous",
        {10: "PyFrameObject.f_back", 11: "_PyInterpreterFrame.previous"},
        "interpreter_frame.previous",
    ),
    Field(
        "frame_instruction",
        {
            10: "PyFrameObject.f_lasti",
            11: "_PyInterpreterFrame.prev_instr",
            13: "_PyInterpreterFrame.instr_ptr",
        },
        "interpreter_frame.instr_ptr",
        "a pointer; f_lasti: an int, code units",
    ),
    Field(
        "frame_owner",
        {10: None, 11: "_PyInterpreterFrame.owner"},
        "interpreter_frame.owner",
        "a char",
    ),
    Field("owner_generator", {10: None, 11: "FRAME_OWNED_BY_GENERATOR"}),
    Field(
        "owner_none",
        {10: None, 12: "FRAME_OWNED_BY_CSTACK", 14: "FRAME_OWNED_BY_INTERPRETER"},
        note="such owners and those after have no code",
    ),
)

_PROBE = """
#define Py_BUILD_CORE_MODULE 1
#include <Python.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#if PY_MINOR_VERSION == 10
#include <frameobject.h>
#else
#include <internal/pycore_frame.h>
#endif
#if PY_MINOR_VERSION >= 14
#include <internal/pycore_interpframe.h>
#endif
#if PY_MINOR_VERSION >= 13
#include <internal/pycore_runtime.h>
#endif
_Static_assert(sizeof(((PyASCIIObject *)0)->state) == 4 && sizeof(void *) == 8, "LP64");
#ifdef Py_GIL_DISABLED
#define FREE_THREADED 1
#else
#define FREE_THREADED 0
#endif
static inline unsigned mask(PyASCIIObject text)
{
    unsigned ret;
    memcpy(&ret, &text.state, sizeof ret);
    return ret;
}
int main(void)
{
    printf("{");
%s
    printf("\\"minor\\": %%d, \\"free_threaded\\": %%d}\\n", PY_MINOR_VERSION, FREE_THREADED);
    return 0;
}
"""


def _ask(python: str, program: str) -> str:
    command = [python, "-I", "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def probe(python: str, compiler: str = "cc") -> dict[str, int]:
    """The numbers of one interpreter.

    python: path of an interpreter installed with its headers, or of these.
    Returns field name to number; `debug.` before the name: the position in
    `_Py_DebugOffsets`, counted in numbers of 8 bytes; `minor`: the version; `free_threaded`: 0 or 1.
    Raises subprocess.CalledProcessError when it cannot be compiled.
    """
    if Path(python).is_dir():
        include, version = python, Path(python, "patchlevel.h").read_text()
        minor = int(re.findall(r"^#define PY_MINOR_VERSION\s+(\d+)", version, re.M)[0])
    else:
        include = _ask(python, "import sysconfig; print(sysconfig.get_path('include'))")
        minor = int(_ask(python, "import sys; print(sys.version_info.minor)"))
    lines = []
    for field in FIELDS:
        numbers = {field.name: field.expression(minor)}
        if minor >= 13 and field.debug:
            numbers[f"debug.{field.name}"] = f"offsetof(_Py_DebugOffsets, {field.debug}) / 8"
        for name, number in numbers.items():
            lines.append(f'    printf("\\"{name}\\": %zu, ", (size_t)({number}));')
    with tempfile.TemporaryDirectory() as scratch:
        source, program = Path(scratch, "probe.c"), Path(scratch, "probe")
        source.write_text(_PROBE % "\n".join(lines))
        # Debian's pyconfig.h is in a folder beside, by architecture.
        headers = [f"-I{include}", f"-I{include}/internal", "-idirafter", str(Path(include).parent)]
        command = [compiler, "-std=gnu11", *headers, str(source), "-o", str(program)]
        subprocess.run(command, check=True, capture_output=True)
        printed = subprocess.run([program], check=True, capture_output=True).stdout
    found: dict[str, int] = json.loads(printed)
    return found


def build_header(rows: list[dict[str, int]]) -> str:
    """The text of offsets.h for the numbers of some interpreters, one of each kind."""
    rows = sorted(rows, key=lambda row: (row["free_threaded"], row["minor"]))
    lines = [
        "/* Where fields stand in CPython's structures.",
        " * Generated by generate_offsets.py; do not edit. */",
        "#ifndef PA_OFFSETS_H",
        "#define PA_OFFSETS_H",
        "",
        "#include <stddef.h>",
        "#include <stdint.h>",
        "",
        f"#define PA_ABSENT {ABSENT:#x} /* there is no such field in this version */",
        "",
        "/* Offsets are bytes from the beginning of the object or structure. */",
        "struct pa_offsets {",
        "    /* the version: 3.minor */",
        "    uint16_t minor;",
        "    /* 1: built without the GIL */",
        "    uint16_t free_threaded;",
    ]
    for field in FIELDS:
        lines += [f"    /* {field.comment()} */", f"    uint16_t {field.name};"]
    lines += ["};", "", "static const struct pa_offsets pa_offsets_table[] = {"]
    for row in rows:
        lines.append("    {")
        lines.append(f"        .minor = {row['minor']},")
        lines.append(f"        .free_threaded = {row['free_threaded']},")
        for field in FIELDS:
            number = row[field.name]
            value = "PA_ABSENT" if number == ABSENT else number
            lines.append(f"        .{field.name} = {value},")
        lines.append("    },")
    lines += [
        "};",
        "",
        "/* Numbers that the interpreter publishes itself: `index` counts 64-bit numbers from the",
        " * beginning of _PyRuntime.debug_offsets, `field` is the offset in struct pa_offsets. Both kinds of",
        " * builds have them in the same places. */",
        "struct pa_debug_number {",
        "    uint16_t minor, index, field;",
        "};",
        "",
        "static const struct pa_debug_number pa_debug_numbers[] = {",
    ]
    for row in rows:
        for field in () if row["free_threaded"] else FIELDS:
            index = row.get(f"debug.{field.name}")
            if index is not None:
                place = f"offsetof(struct pa_offsets, {field.name})"
                lines.append(f"    {{{row['minor']}, {index}, {place}}},")
    lines += ["};", "", "#endif", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: generate_offsets.py PYTHON...")
    OUTPUT.write_text(build_header([probe(python) for python in sys.argv[1:]]))
