"""Runs inside the interpreter under test: reading objects by offset."""

import sys
import types

import probe


def functions(*modules):
    for module in modules:
        for value in vars(module).values():
            code = getattr(value, "__code__", None)
            if isinstance(code, types.CodeType):
                yield code
                yield from (const for const in code.co_consts if isinstance(const, types.CodeType))


def check_codes():
    import argparse
    import ast
    import typing

    seen = 0
    for code in functions(argparse, ast, typing):
        qualified = code.co_qualname if sys.version_info >= (3, 11) else code.co_name
        wanted = (code.co_filename, code.co_name, qualified, code.co_linetable, code.co_firstlineno)
        got = probe.code(code)
        assert all(one is other for one, other in zip(got[:4], wanted[:4])), (got, wanted)
        assert got[4] == wanted[4]
        assert (got[5] != 0) == (sys.version_info >= (3, 12))
        seen += 1
    assert seen > 30, seen


def check_names():
    for text in ("", "a" * 100, "caf\xe9", "\u20ac\U0001f40d", "a\udc80b\ud800"):
        escaped = "".join(f"\\u{ord(c):04x}" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)
        assert probe.utf8(text, 1000) == (escaped.encode(), 2 if escaped != text else 0)
        for room in range(len(escaped.encode())):
            cut, flags = probe.utf8(text, room)
            assert len(cut) <= room
            assert escaped.encode().startswith(cut)
            cut.decode()
            assert flags & 1


def check_no_event_is_raised():
    assert probe.self_test()[0] == 0
    code = check_names.__code__  # which raises one
    events = []
    sys.addaudithook(lambda event, arguments: events.append(event))
    del events[:]
    probe.self_test()
    probe.encode(("x", 1, code, object(), {"a": [b"x"]}))
    assert events == []


check_codes()
check_names()
check_no_event_is_raised()
print("done")
