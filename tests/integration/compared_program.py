"""Does many things and keeps, in a hook of Python, what each event was raised with: for test_differential.py.

    python compared_program.py FILE

FILE gets a JSON array of [kernel's thread id, name, arguments], arguments as `snapshot` makes them. All that
counts happens between the events `compare.begin` and `compare.end`.

The hook raises no event itself: it asks objects for nothing but their type, and looks only into those of
exactly the built-in types.
"""

import json
import sys
from _thread import get_native_id

ITEMS = 200
DEPTH = 12


def snapshot(value, depth=0):
    """The value as it is now, in lists that JSON can hold: [tag, ...]."""
    kind = type(value)
    if value is None or kind is bool:
        return ["constant", value]
    if kind is int:
        return ["int", hex(value)]
    if kind is float:
        return ["float", value.hex()]
    if kind is str:
        return ["str", value]
    if kind is bytes or kind is bytearray:
        return ["bytes", value.hex(), kind.__name__]
    if (kind is tuple or kind is list) and depth < DEPTH:
        return ["list", len(value), [snapshot(item, depth + 1) for item in value[:ITEMS]]]
    if kind is dict and depth < DEPTH:
        items = [[snapshot(k, depth + 1), snapshot(v, depth + 1)] for k, v in list(value.items())[:ITEMS]]
        return ["dict", len(value), items]
    if kind is CODE:
        return ["code", value.co_filename, getattr(value, "co_qualname", value.co_name), value.co_firstlineno]
    return ["object", kind.__name__]


CODE = type(snapshot.__code__)


def values():
    """Arguments of every shape, and names of every shape."""
    deep = []
    for _ in range(9):
        deep = [deep, 1]
    cyclic = []
    cyclic.append(cyclic)
    texts = [
        "",
        "a",
        "é",
        "日本",
        "😀",
        "a\0b",
        "line\nbreak\ttab\x01\x7f\x85\u2028",
        '"\\/',
        "\udc80",
        "x\ud800y",
    ]
    texts += ["x" * 4096, "x" * 4097, "é" * 2048, "é" * 2049, "日" * 1400, "😀" * 1025, "a" + "😀" * 1025]
    numbers = [
        0,
        -1,
        2**31,
        2**63 - 1,
        -(2**63),
        2**63,
        -(2**63) - 1,
        2**1023,
        -(2**1024) + 1,
        2**1024,
        -(2**5000),
    ]
    floats = [
        0.0,
        -0.0,
        1.0,
        0.1,
        1e300,
        5e-324,
        1 / 3,
        1e16,
        123456789.125,
        float("inf"),
        float("-inf"),
        float("nan"),
    ]
    for value in (*texts, *(t.encode("utf-8", "surrogatepass") for t in texts), *numbers, *floats):
        sys.audit("compare.value", value)
        sys.audit("compare.nested", [value, (value, {"key": value})])
    sys.audit("compare.value", bytearray(b"abc"), bytes(range(256)), b"", bytearray())
    sys.audit("compare.containers", [], (), {}, [[]], list(range(128)), list(range(129)), tuple(range(500)))
    sys.audit("compare.dicts", {n: n for n in range(128)}, {n: n for n in range(129)}, {"a": {"b": {"c": [{}]}}})
    sys.audit("compare.keys", {"$a": 1, "$$b": 2, 3: 4, 1.5: 6, True: 7, None: 8, b"bytes": 9, "\udcff": 10})
    sys.audit("compare.depth", deep, cyclic)
    sys.audit("compare.objects", object(), len, sys, int, set(), frozenset(), memoryview(b"x"), 1j, range(3), ...)
    sys.audit("compare.code", snapshot.__code__, compile("1", "<a file>", "eval"))
    sys.audit(
        "compare.subclasses", *(type("Sub", (kind,), {})() for kind in (int, str, bytes, list, dict, tuple, float))
    )
    sys.audit("compare.whole", *("y" * 1000 for _ in range(40)))
    sys.audit("compare.many", *range(300))
    sys.audit("compare.none")
    for name in (
        "",
        " ",
        "a name with spaces",
        "n" * 5000,
        "é" * 3000,
        "newline\nin it",
        "emoji 😀",
        "user=root, id=7",
    ):
        sys.audit(name, 1)


def language():
    """Exceptions, generators, coroutines, classes: events from within them."""
    import asyncio

    class Meta(type):
        def __call__(cls, *args):
            sys.audit("compare.metaclass", *args)
            return super().__call__(*args)

    class Thing(metaclass=Meta):
        def __init__(self, n):
            self.n = n
            sys.audit("compare.init", n)

        @property
        def value(self):
            sys.audit("compare.property", self.n)
            return self.n

        def __del__(self):
            sys.audit("compare.del", self.n)

    def generate(count):
        try:
            for n in range(count):
                sys.audit("compare.generator", n)
                yield n
        finally:
            sys.audit("compare.finally")

    async def wait(n):
        await asyncio.sleep(0)
        sys.audit("compare.coroutine", n)
        return n

    async def main():
        return [await wait(n) for n in range(3)] + await asyncio.gather(wait(3), wait(4))

    for n in range(3):
        try:
            Thing(n).value / 0
        except ZeroDivisionError as error:
            sys.audit("compare.except", type(error).__name__, n)
    for _ in generate(10):
        break
    sum(generate(5))
    sorted("cab", key=lambda c: sys.audit("compare.key", c) or c)
    asyncio.run(main())


def pickles():
    import io
    import pickle

    pickle.loads(pickle.dumps([len, dict, {"a": 1}, range(3)]))

    class Persistent(pickle.Pickler):
        def persistent_id(self, thing):
            return "persistent" if thing is len else None

    Persistent(io.BytesIO()).dump([len])


def threads_in_order():
    import threading

    def work(name):
        for n in range(100):
            sys.audit("compare.thread", name, n)
            if n % 10 == 0:
                open("/dev/null").close()

    for name in range(5):
        thread = threading.Thread(target=work, args=(name,))
        thread.start()
        thread.join()


def imports():
    import colorsys
    import importlib

    for name in ("colorsys", "sched", "this_is_no_module"):
        sys.modules.pop(name, None)
        try:
            importlib.import_module(name)
            del sys.modules[name]
            __import__(name)
        except ImportError:
            pass
    importlib.reload(sys.modules["colorsys"] or colorsys)


def loopback():
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:
        client = threading.Thread(target=lambda: socket.create_connection(server.getsockname()).close())
        client.start()
        server.accept()[0].close()
        client.join()


def main(path):
    import shutil
    import tempfile

    import trigger_events

    seen = []

    def hook(name, args):
        seen.append((get_native_id(), name, snapshot(args)))

    place = tempfile.mkdtemp()
    trigger_events.os.chdir(place)
    sys.addaudithook(hook)
    sys.audit("compare.begin")
    steps = (values, language, pickles, threads_in_order, imports, loopback, *trigger_events.STEPS)
    for step in steps:
        sys.audit("compare.step", step.__name__)
        step()
    sys.audit("compare.end")
    kept = list(seen)
    trigger_events.os.chdir("/")
    shutil.rmtree(place)
    with open(path, "w") as file:
        json.dump(kept, file)


if __name__ == "__main__":
    main(sys.argv[1])
