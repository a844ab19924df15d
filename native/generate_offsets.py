"""Write offsets.h: where the recorder finds things inside CPython's structures.

The recorder is one binary for CPython 3.10 to 3.13 and reads exact built-in
objects and frames without calling into Python, so it needs the offsets of a
few fields in each minor version. This program compiles a small C probe with
the headers of each interpreter that it is given and prints what the compiler
says, one row for each minor version:

    python native/generate_offsets.py PYTHON...      writes native/offsets.h

PYTHON are paths of interpreters installed with their headers (internal ones
included), one of each minor version. The offsets are those of LP64 builds
with the GIL. Within a minor version CPython does not change them, and
pa_abi_self_test() checks them in the running process all the same.

CPython 3.13 and later publish some of these numbers in
`_PyRuntime.debug_offsets`; the table then says where in it they stand.
"""

from __future__ import annotations

import json
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

    expressions: first minor version to C expression; the entry of the highest
        version that is not above the probed one counts; None: absent there.
    debug: where `_Py_DebugOffsets` of 3.13 and later has the number.
    """

    name: str
    comment: str
    expressions: dict[int, str | None]
    debug: str | None = None

    def expression(self, minor: int) -> str:
        """The C expression for CPython 3.minor."""
        found = self.expressions[max(first for first in self.expressions if first <= minor)]
        return str(ABSENT) if found is None else found


def _member(structure: str, member: str) -> str:
    return f"offsetof({structure}, {member})"


def _bits(state: str) -> str:
    return f"mask((PyASCIIObject){{.state = {{{state}}}}})"


_FRAME = "_PyInterpreterFrame"

FIELDS = (
    Field("type_name", "PyTypeObject.tp_name", {10: _member("PyTypeObject", "tp_name")}, "type_object.tp_name"),
    Field("type_dict", "PyTypeObject.tp_dict", {10: _member("PyTypeObject", "tp_dict")}),
    Field("tuple_items", "PyTupleObject.ob_item", {10: _member("PyTupleObject", "ob_item")}, "tuple_object.ob_item"),
    Field("list_items", "PyListObject.ob_item, a pointer", {10: _member("PyListObject", "ob_item")}, "list_object.ob_item"),
    Field("bytes_data", "PyBytesObject.ob_sval", {10: _member("PyBytesObject", "ob_sval")}, "bytes_object.ob_sval"),
    Field("str_length", "PyASCIIObject.length", {10: _member("PyASCIIObject", "length")}, "unicode_object.length"),
    Field("str_state", "PyASCIIObject.state, 32 bits", {10: _member("PyASCIIObject", "state")}, "unicode_object.state"),
    Field("str_ascii_data", "characters of a compact ASCII str", {10: "sizeof(PyASCIIObject)"}, "unicode_object.asciiobject_size"),
    Field("str_compact_data", "characters of another compact str", {10: "sizeof(PyCompactUnicodeObject)"}),
    Field("str_pointer", "PyUnicodeObject.data, a pointer, if not compact", {10: _member("PyUnicodeObject", "data")}),
    Field("str_kind_shift", "state.kind: 1, 2 or 4 bytes a character", {10: "__builtin_ctz(" + _bits(".kind = 7") + ")"}),
    Field("str_compact_bit", "mask of state.compact", {10: _bits(".compact = 1")}),
    Field("str_ascii_bit", "mask of state.ascii", {10: _bits(".ascii = 1")}),
    Field("str_ready_bit", "mask of state.ready; 0: always ready", {10: _bits(".ready = 1"), 12: "0"}),
    Field("int_size", "ob_size with sign; 3.12: lv_tag", {10: _member("PyVarObject", "ob_size"), 12: _member("PyLongObject", "long_value.lv_tag")}, "long_object.lv_tag"),
    Field("int_digits", "ob_digit", {10: _member("PyLongObject", "ob_digit"), 12: _member("PyLongObject", "long_value.ob_digit")}, "long_object.ob_digit"),
    Field("int_tag_shift", "lv_tag: digits from this bit; 0: ob_size", {10: "0", 12: "_PyLong_NON_SIZE_BITS"}),
    Field("code_filename", "co_filename", {10: _member("PyCodeObject", "co_filename")}, "code_object.filename"),
    Field("code_name", "co_name", {10: _member("PyCodeObject", "co_name")}, "code_object.name"),
    Field("code_qualname", "co_qualname; 3.10: co_name", {10: _member("PyCodeObject", "co_name"), 11: _member("PyCodeObject", "co_qualname")}, "code_object.qualname"),
    Field("code_linetable", "co_linetable", {10: _member("PyCodeObject", "co_linetable")}, "code_object.linetable"),
    Field("code_firstline", "co_firstlineno, an int", {10: _member("PyCodeObject", "co_firstlineno")}, "code_object.firstlineno"),
    Field("code_version", "co_version, 32 bits", {10: None, 12: _member("PyCodeObject", "co_version")}),
    Field("code_bytes", "3.10: co_code, a bytes object", {10: _member("PyCodeObject", "co_code"), 11: None}),
    Field("code_instructions", "co_code_adaptive", {10: None, 11: _member("PyCodeObject", "co_code_adaptive")}, "code_object.co_code_adaptive"),
    Field("code_firsttraceable", "_co_firsttraceable, an int: code units", {10: None, 11: _member("PyCodeObject", "_co_firsttraceable")}),
    Field("code_extra", "co_extra", {10: _member("PyCodeObject", "co_extra")}),
    Field("thread_interp", "PyThreadState.interp", {10: _member("PyThreadState", "interp")}, "thread_state.interp"),
    Field("thread_frame", "3.10: frame; 3.11, 3.12: cframe; 3.13: current_frame", {10: _member("PyThreadState", "frame"), 11: _member("PyThreadState", "cframe"), 13: _member("PyThreadState", "current_frame")}, "thread_state.current_frame"),
    Field("cframe_frame", "_PyCFrame.current_frame", {10: None, 11: _member("_PyCFrame", "current_frame"), 13: None}),
    Field("frame_code", "f_code; 3.13: f_executable", {10: _member("PyFrameObject", "f_code"), 11: _member(_FRAME, "f_code"), 13: _member(_FRAME, "f_executable")}, "interpreter_frame.executable"),
    Field("frame_previous", "previous; 3.10: f_back", {10: _member("PyFrameObject", "f_back"), 11: _member(_FRAME, "previous")}, "interpreter_frame.previous"),
    Field("frame_instruction", "prev_instr; 3.13: instr_ptr; 3.10: f_lasti, an int", {10: _member("PyFrameObject", "f_lasti"), 11: _member(_FRAME, "prev_instr"), 13: _member(_FRAME, "instr_ptr")}, "interpreter_frame.instr_ptr"),
    Field("frame_owner", "owner, a char", {10: None, 11: _member(_FRAME, "owner")}, "interpreter_frame.owner"),
    Field("frame_stacktop", "stacktop, an int", {10: None, 11: _member(_FRAME, "stacktop")}),
    Field("frame_function", "f_func, f_funcobj", {10: None, 11: _member(_FRAME, "f_func"), 12: _member(_FRAME, "f_funcobj")}),
    Field("frame_globals", "f_globals", {10: _member("PyFrameObject", "f_globals"), 11: _member(_FRAME, "f_globals")}),
    Field("owner_generator", "FRAME_OWNED_BY_GENERATOR", {10: None, 11: "FRAME_OWNED_BY_GENERATOR"}),
    Field("owner_cstack", "FRAME_OWNED_BY_CSTACK", {10: None, 12: "FRAME_OWNED_BY_CSTACK"}),
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
#if PY_MINOR_VERSION >= 13
#include <internal/pycore_runtime.h>
#endif
_Static_assert(sizeof(((PyASCIIObject *)0)->state) == 4 && sizeof(void *) == 8, "LP64");
#ifdef Py_GIL_DISABLED
#error "a free-threaded build: its objects are laid out differently"
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
    printf("\\"minor\\": %%d}\\n", PY_MINOR_VERSION);
    return 0;
}
"""


def _ask(python: str, program: str) -> str:
    return subprocess.run([python, "-I", "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def probe(python: str, compiler: str = "cc") -> dict[str, int]:
    """The numbers of one interpreter.

    python: path of an interpreter installed with its headers.
    Returns field name to number; `debug.` before the name: the position in
    `_Py_DebugOffsets`, counted in numbers of 8 bytes; `minor`: the version.
    Raises subprocess.CalledProcessError when it cannot be compiled.
    """
    include = _ask(python, "import sysconfig; print(sysconfig.get_path('include'))")
    minor = int(_ask(python, "import sys; print(sys.version_info.minor)"))
    lines = []
    for field in FIELDS:
        lines.append(f'    printf("\\"{field.name}\\": %zu, ", (size_t){field.expression(minor)});')
        if minor >= 13 and field.debug:
            lines.append(f'    printf("\\"debug.{field.name}\\": %zu, ", offsetof(_Py_DebugOffsets, {field.debug}) / 8);')
    with tempfile.TemporaryDirectory() as scratch:
        source, program = Path(scratch, "probe.c"), Path(scratch, "probe")
        source.write_text(_PROBE % "\n".join(lines))
        subprocess.run(
            [compiler, "-std=gnu11", f"-I{include}", f"-I{include}/internal", str(source), "-o", str(program)], check=True
        )
        numbers: dict[str, int] = json.loads(subprocess.run([program], check=True, capture_output=True).stdout)
    return numbers


def build_header(rows: list[dict[str, int]]) -> str:
    """The text of offsets.h for the numbers of some interpreters, one of each minor version."""
    rows = sorted(rows, key=lambda row: row["minor"])
    lines = [
        "/* Where fields stand in CPython's structures. Generated by generate_offsets.py; do not edit. */",
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
        f"    uint16_t {'minor;':24}/* the version: 3.minor */",
    ]
    lines += [f"    uint16_t {field.name + ';':24}/* {field.comment} */" for field in FIELDS]
    lines += ["};", "", "static const struct pa_offsets pa_offsets_table[] = {"]
    for row in rows:
        lines.append("    {")
        lines.append(f"        .minor = {row['minor']},")
        for field in FIELDS:
            number = row[field.name]
            lines.append(f"        .{field.name} = {'PA_ABSENT' if number == ABSENT else number},")
        lines.append("    },")
    lines += [
        "};",
        "",
        "/* Numbers that the interpreter publishes itself: `index` counts 64-bit numbers from the",
        " * beginning of _PyRuntime.debug_offsets, `field` is the offset in struct pa_offsets. */",
        "struct pa_debug_number {",
        "    uint16_t minor, index, field;",
        "};",
        "",
        "static const struct pa_debug_number pa_debug_numbers[] = {",
    ]
    for row in rows:
        for field in FIELDS:
            index = row.get(f"debug.{field.name}")
            if index is not None:
                lines.append(f"    {{{row['minor']}, {index}, offsetof(struct pa_offsets, {field.name})}},")
    lines += ["};", "", "#endif", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: generate_offsets.py PYTHON...")
    OUTPUT.write_text(build_header([probe(python) for python in sys.argv[1:]]))
