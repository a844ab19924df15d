"""Runs inside the interpreter under test: values that want to harm the encoder.

Each is encoded with every rule; what comes out has to be valid and within its limits, the
interpreter has to be as before (no reference gained or lost, no method of theirs called), and the
sanitizers have to be silent. Then random values, from a fixed seed.
"""

import ctypes
import random
import sys
import types

import probe
from json_forms import Tagged, expected, parse, same

called: list[str] = []
armed = False


def trap(name):
    def method(self, *arguments):
        if armed:
            called.append(name)
            raise SystemExit(f"{name} was called")
        return 1 if name in ("__hash__", "__len__", "__index__", "__int__") else NotImplemented

    return method


TRAPS = [
    *("__repr__", "__str__", "__hash__", "__eq__", "__iter__", "__len__", "__index__", "__int__"),
    *("__fspath__", "__bytes__", "__bool__", "__getitem__", "__contains__", "__del__"),
    *("keys", "items", "encode", "decode", "__float__", "__buffer__", "__format__"),
]


def hostile(base):
    return type("Hostile" + base.__name__.title(), (base,), {name: trap(name) for name in TRAPS})


HostileObject, HostileStr, HostileDict = hostile(object), hostile(str), hostile(dict)


class Metaclass(type):
    __hash__ = type.__hash__

    def __getattribute__(cls, name):
        if armed:
            called.append(name)
        return super().__getattribute__(name)


class WithMetaclass(metaclass=Metaclass):
    def __getattribute__(self, name):
        if armed:
            called.append(name)
        return super().__getattribute__(name)


def deep(container, levels):
    value = container()
    for _ in range(levels):
        value = [value] if container is list else {"a": value}
    return value


def cyclic():
    row: list = [1]
    row.append(row)
    table: dict = {}
    table["self"] = table
    table["row"] = row
    return row, table, [[row] * 128] * 128, ([table],) * 200


def legacy_strings():
    """Before 3.12: a str that is not ready, and one that became ready but is not compact."""
    if sys.version_info >= (3, 12):
        return
    new = ctypes.pythonapi.PyUnicode_FromUnicode
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
    fill = ctypes.pythonapi.PyUnicode_AsUnicode
    fill.restype, fill.argtypes = ctypes.c_void_p, [ctypes.py_object]
    for text in ("plain text", "na\xefve", "\u20ac uro", "\U0001f40d"):
        value = new(None, len(text))
        ctypes.memmove(fill(value), (ctypes.c_uint32 * len(text))(*map(ord, text)), 4 * len(text))
        assert parse(probe.encode((value,))[0]) == [Tagged(["$type", "str"])]
        len(value)  # makes it ready
        assert parse(probe.encode((value,))[0]) == [text]


class Name(str):
    """Names that are not exactly str: code objects take them."""


def renamed_code():
    return compile("1", "x", "exec").replace(co_filename=Name("/r\u00e9al/\udc80.py"), co_name=Name("n\u20ac"))


def values():
    yield from (HostileObject(), HostileStr("x" * 100), HostileDict(a=1), WithMetaclass(), WithMetaclass)
    for base in (int, float, bytes, bytearray, list, tuple, set, frozenset):
        yield hostile(base)()
    yield {HostileObject(): HostileObject(), HostileStr("password"): HostileStr("x"), "token": HostileObject()}
    yield from cyclic()
    yield from (deep(list, 10000), deep(dict, 10000), deep(list, 5), deep(list, 6), deep(dict, 7))
    for size in (*range(70), 4095, 4096, 4097, 10_000_000):
        yield from ("a" * size, "\xe9" * size, "\u20ac" * size, "\U0001f40d" * size, b"b" * size)
    for size in (4093, 4094, 4095, 4096, 65534, 65535, 65536, 65537):
        for last in ("\xe9", "\u20ac", "\U0001f40d", "\udc80", "\\", "\x00"):
            yield "a" * size + last * 3
            yield ("a" * size + last * 3).encode("utf-8", "surrogatepass")
            yield bytearray(("a" * size + last * 3).encode("utf-8", "surrogatepass"))
    yield from ("\udc80", "\ud800\udc00", "a\udfffb" * 3000, "\ud83d", "\x00", "\x00" * 5000, "\x1f\x7f\x80\x9f")
    yield from ('"\\/\b\f\n\r\t', "\u2028\u2029\ufeff\uffff\U0010ffff", "\u202e[31m")
    yield from (
        bytes(range(256)),
        bytearray(range(256)),
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc3",
    )
    yield from (bytes([lead, 0x80, 0x80, 0x80]) for lead in range(0x80, 0x100))
    yield from (sign * 2**bits + more for bits in range(1, 70) for sign in (1, -1) for more in (-1, 0, 1))
    yield from (sign * 2**bits - 1 for bits in (100, 1023, 1024, 1025, 100_000) for sign in (1, -1))
    yield from (0.1, -0.0, 5e-324, 1.7976931348623157e308, float("nan"), float("inf"), -float("inf"), 1e22, 1e23)
    yield {1: 2, 1.5: 3, None: 4, True: 5, b"k\xff": 6, (1,): 7, float("nan"): 8, 2**80: 9, "\udc80": 10}
    yield {"$": 1, "$type": 2, "$$": 3, b"$b": 4, "$more": 5}
    yield {"x" * 5000: 1, "\u20ac" * 5000: 2, b"\xff" * 5000: 3, "password" * 600: "hidden"}
    yield dict.fromkeys(range(100_000))
    yield [dict.fromkeys(map(str, range(128)), "x" * 100)] * 128
    yield from ([None] * 128, [None] * 129, ("\x01" * 4096,) * 3, [[[["\x01" * 600] * 9] * 9] * 9])
    yield from (Ellipsis, NotImplemented, object, sys, len, types.SimpleNamespace(a=1), memoryview(b"x"), 1j)
    yield from (type('q"\\\n\u20ac' * 200, (), {})(), type("x", (), {"__module__": 5})(), renamed_code())
    yield type("y", (), {"__module__": "m\udc80" * 300})()
    yield from ((lambda: 0).__code__, compile("1", "f\udc80\n", "exec"), range(3), {1, 2}, frozenset())
    yield ["curl", b"-u", "me:secret", HostileStr("-p"), "--password", HostileObject(), 5, "--token", None]
    yield [b"A=B", "C=D", b"\xff=\xff", "E", None, b"=", HostileStr("F=G")]
    yield from ({"A": "B", b"C": b"D"}, "PASS secret\r\n", b"AUTH PLAIN x\r\n", "LIST\r\n" * 2000, "")


def check(args, rules, reveal, room=probe.ARGS_MAX):
    text, notes, revealed = probe.encode(args, rules, reveal, room)
    assert text is not None
    assert len(text) <= probe.ARGS_MAX
    assert all(len(code) <= probe.REVEALED_MAX for code in revealed)
    for code in revealed:
        code.decode()
    decoded = parse(text)
    assert type(decoded) is list
    return text, notes, decoded


def check_short_rooms(args, rules, text, notes):
    for room in {0, 1, 2, 33, 34, 40, 64, 100, 300, len(text) - 1, len(text), len(text) + 31, len(text) + 300}:
        if not 0 <= room < probe.ARGS_MAX:
            continue
        shorter = probe.encode(args, rules, 0, room)[0]
        assert shorter is None or shorter == text, (room, shorter, text)
        cut = notes & (probe.TRUNCATED | probe.ITEMS)  # then perhaps for want of room
        assert shorter is not None or cut or room < len(text) + 300


def hashed(value, rule):
    big = type(value) in (str, bytes) and len(value) > 1_000_000
    return big and rule in (probe.CODE, probe.BULK)


def check_every_rule():
    global armed
    for value in values():
        args = (value,)
        armed = True
        before = sys.getrefcount(value)
        for rule in range(probe.SECRET + 1):
            text, notes, _ = check(args, bytes([rule]), 0)
            check(args, bytes([rule]), 63)
            if not hashed(value, rule):  # takes its time
                check_short_rooms(args, bytes([rule]), text, notes)
        armed = False
        assert sys.getrefcount(value) == before
        assert not called, (called, type(value))


def random_value(chance, depth):
    kind = chance.randrange(12 if depth else 8)
    size = chance.choice((0, 1, 3, 7, 8, 15, 16, 17, 31, 40, 200))
    if kind < 3:
        alphabet = chance.choice(("abc/._-", 'abc\x00\n"\\:=@', "\xe9\u20ac\U0001f40d a", "a\udc80\ud800\u20ac"))
        return "".join(chance.choice(alphabet) for _ in range(size))
    if kind == 3:
        return chance.getrandbits(chance.choice((1, 8, 30, 31, 60, 63, 64, 90, 1030))) * chance.choice((1, -1))
    if kind == 4:
        return chance.choice((chance.random(), chance.random() * 10 ** chance.randrange(-20, 20), 1e-5, 1e15))
    if kind == 5:
        return chance.choice((bytes, bytearray))(chance.choices(chance.choice(((97, 98), range(256))), k=size))
    if kind == 6:
        return chance.choice((None, True, False))
    if kind == 7:
        return object()
    items = [random_value(chance, depth - 1) for _ in range(chance.randrange(6))]
    if kind < 10:
        return chance.choice((list, tuple))(items)
    names = [item for item in items if type(item) in (str, bytes, int, float, bool)]
    return dict(zip(names, items))


def check_random_values(count):
    chance = random.Random(20)
    exact = 0
    for _ in range(count):
        args = tuple(random_value(chance, chance.randrange(9)) for _ in range(chance.randrange(5)))
        rules = bytes(chance.randrange(probe.SECRET + 1) for _ in args)
        check(args, rules, chance.randrange(64))
        text, notes, decoded = check(args, b"", 0)
        check_short_rooms(args, b"", text, notes)
        if notes == 0:
            assert same(decoded, expected(args)), (args, text)
            exact += 1
    assert exact > count // 3, exact


def main():
    legacy_strings()
    check_every_rule()
    check_random_values(3000)
    print("done")


main()
