"""layout.py says what native/format.h says: a C program prints every size, offset and constant."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from pythonaudit.journal import layout

NATIVE = Path(__file__).resolve().parents[3] / "native"

#: Name in C: value in Python.
CONSTANTS = {
    "PA_FORMAT_MAJOR": layout.FORMAT_MAJOR,
    "PA_HEADER_SIZE": layout.HEADER_SIZE,
    "PA_CHUNK_HEADER_SIZE": layout.CHUNK_HEADER_SIZE,
    "PA_CHUNK_MAGIC": layout.CHUNK_MAGIC,
    "PA_CHUNK_ALIGN": layout.CHUNK_ALIGN,
    "PA_SEGMENT_MAX": layout.SEGMENT_MAX,
    "PA_INCOMPAT_KNOWN": layout.INCOMPATIBLE_KNOWN,
    "PA_STATE_OPEN": layout.STATE_OPEN,
    "PA_STATE_ROTATED": layout.STATE_ROTATED,
    "PA_STATE_CLEAN_END": layout.STATE_CLEAN_END,
    "PA_CLOCK_MONOTONIC": layout.CLOCK_MONOTONIC,
    "PA_CLOCK_TSC": layout.CLOCK_TSC,
    "PA_CLOCK_CNTVCT": layout.CLOCK_CNTVCT,
    "PA_CANARY_NOT_SEEN": layout.CANARY_NOT_SEEN,
    "PA_CANARY_SEEN": layout.CANARY_SEEN,
    "PA_WAY_PRELOAD": layout.WAY_PRELOAD,
    "PA_WAY_SITE": layout.WAY_SITE,
    "PA_WAY_FORK": layout.WAY_FORK,
    "PA_WAY_COMMAND": layout.WAY_COMMAND,
    "PA_WAY_AGENT": layout.WAY_AGENT,
    "PA_CHUNK_EVENTS": layout.CHUNK_EVENTS,
    "PA_CHUNK_STRINGS": layout.CHUNK_STRINGS,
    "PA_CHUNK_CODES": layout.CHUNK_CODES,
    "PA_CHUNK_NODES": layout.CHUNK_NODES,
    "PA_ENTRY_EVENT": layout.ENTRY_EVENT,
    "PA_ENTRY_OWNER": layout.ENTRY_OWNER,
    "PA_ENTRY_ANCHOR": layout.ENTRY_ANCHOR,
    "PA_ENTRY_COUNT": layout.ENTRY_COUNT,
    "PA_ENTRY_META": layout.ENTRY_META,
    "PA_ENTRY_CONTEXT": layout.ENTRY_CONTEXT,
    "PA_ENTRY_TRACE": layout.ENTRY_TRACE,
    "PA_ENTRY_THREAD": layout.ENTRY_THREAD,
    "PA_SOURCE_INTERPRETER": layout.SOURCE_INTERPRETER,
    "PA_SOURCE_STDLIB": layout.SOURCE_STDLIB,
    "PA_SOURCE_APPLICATION": layout.SOURCE_APPLICATION,
    "PA_NAME_INLINE": layout.NAME_INLINE,
    "PA_CODE_STDLIB": layout.CODE_STDLIB,
    "PA_LOSS_REASONS": layout.LOSS_SLOTS,
    "PA_LOSS_NO_SPACE": layout.LOSSES.index("no-space"),
    "PA_LOSS_NO_JOURNAL": layout.LOSSES.index("no-journal"),
    "PA_LOSS_NO_MEMORY": layout.LOSSES.index("no-memory"),
    "PA_LOSS_LIMIT": layout.LOSSES.index("limit"),
    "PA_LOSS_EVICTED": layout.LOSSES.index("evicted"),
    "PA_LOSS_REENTERED": layout.LOSSES.index("reentered"),
    "PA_LOSS_UNRECORDED_CHILD": layout.LOSSES.index("unrecorded-child"),
    "PA_LOSS_FILE_LIMIT": layout.LOSSES.index("file-limit"),
    "PA_STATE_VOID": layout.STATE_VOID,
    "PA_NOTE_TRUNCATED": 1 << layout.NOTES.index("truncated"),
    "PA_NOTE_MASKED": 1 << layout.NOTES.index("masked"),
    "PA_NOTE_SUMMARISED": 1 << layout.NOTES.index("summarised"),
    "PA_NOTE_ITEMS": 1 << layout.NOTES.index("items"),
    "PA_NOTE_DEPTH": 1 << layout.NOTES.index("depth"),
    "PA_NOTE_RESERVED_NAME": 1 << layout.NOTES.index("reserved-name"),
    "PA_NOTE_STACK": 1 << layout.NOTES.index("stack-truncated"),
    "PA_NOTE_NAME": 1 << layout.NOTES.index("name-changed"),
    "PA_NOTE_NO_STACK": 1 << layout.NOTES.index("no-stack"),
    "PA_NOTE_CONTEXT": 1 << layout.NOTES.index("context-cut"),
}


@pytest.fixture(scope="module")
def stated_in_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    lines = [f'printf("{name} %llu\\n", (unsigned long long){name});' for name in CONSTANTS]
    for shape in layout.SHAPES:
        lines.append(f'printf("{shape.name} %zu\\n", sizeof(struct {shape.name}));')
        for field in shape.fields:
            place = f"{shape.name}.{field}"
            lines.append(f'printf("{place} %zu\\n", offsetof(struct {shape.name}, {field}));')
            member = f"((struct {shape.name} *)0)->{field}"
            lines.append(f'printf("{place}.size %zu\\n", sizeof {member});')
    directory = tmp_path_factory.mktemp("layout")
    includes = '#include <stddef.h>\n#include <stdio.h>\n#include "format.h"\n'
    source = directory / "layout.c"
    source.write_text(f"{includes}int main(void)\n{{\n{chr(10).join(lines)}\nreturn 0;\n}}\n")
    program = directory / "layout"
    subprocess.run(["gcc", "-std=gnu11", f"-I{NATIVE}", "-o", program, source], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.split() for line in printed.splitlines())}


def test_constants(stated_in_c: dict[str, int]) -> None:
    assert {name: stated_in_c[name] for name in CONSTANTS} == CONSTANTS


@pytest.mark.parametrize("shape", layout.SHAPES, ids=lambda shape: shape.name)
def test_offsets_and_sizes(shape: layout.Shape, stated_in_c: dict[str, int]) -> None:
    assert stated_in_c[shape.name] == shape.size == shape.struct.size
    for field, (offset, code) in shape.fields.items():
        assert stated_in_c[f"{shape.name}.{field}"] == offset, field
        assert stated_in_c[f"{shape.name}.{field}.size"] == struct.calcsize(f"<{code}"), field


def test_every_constant_of_the_header_is_compared() -> None:
    text = (NATIVE / "format.h").read_text()
    named = set(re.findall(r"^#define (PA_\w+)\s", text, re.MULTILINE))
    named |= set(re.findall(r"^\s+(PA_\w+) = ", text, re.MULTILINE))
    for line in re.findall(r"^enum \{(.*)\};", text, re.MULTILINE):
        named |= set(re.findall(r"PA_\w+", line))
    assert named - set(CONSTANTS) == {"PA_FORMAT_H", "PA_MAGIC", "PA_COMPAT_KNOWN"}
    assert f'#define PA_MAGIC "{layout.MAGIC.decode()[:-1]}\\n"' in text


def test_every_field_of_the_header_is_compared() -> None:
    text = (NATIVE / "format.h").read_text()
    for shape in layout.SHAPES:
        body = re.search(rf"struct {shape.name} \{{(.*?)\n\}};", text, re.DOTALL)
        assert body is not None
        names = set(re.findall(r"^\s+\w+ (\w+)(?:\[.*?\])?;", body[1], re.MULTILINE))
        assert names - {"reserved", "unused", "pad"} == set(shape.fields)
