"""Raises the event `stack` from everywhere and keeps the stack that Python itself shows: for test_stacks.py.

    python stack_program.py FILE

FILE gets a JSON array of [what, frames], frames innermost first as [file, line, function], as many as there are.
"""

import asyncio
import contextlib
import functools
import json
import os
import sys
import tempfile
import threading
import weakref

seen = []


def frames(frame):
    found = []
    while frame is not None:
        code = frame.f_code
        found.append([code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name)])
        frame = frame.f_back
    return found


# Asking for a frame raises events itself; they are none of ours.
def hook(name, args, frames=frames, seen=seen, getframe=sys._getframe):
    if name == "stack":
        seen.append([args[0], frames(getframe(1))])


sys.addaudithook(hook)


def here(what):
    sys.audit("stack", what)
    return what


def generator(count):
    for n in range(count):
        here(
            f"generator {n}",
        )
        yield n


def delegating():
    yield from generator(2)
    yield from (here(f"generator expression {n}") for n in range(2))


async def asynchronous(count):
    for n in range(count):
        await asyncio.sleep(0)
        here("asynchronous generator")
        yield n


class Manager:
    def __enter__(self):
        here("__enter__")
        return self

    def __exit__(self, *_):
        here("__exit__")

    async def __aenter__(self):
        await asyncio.sleep(0)
        here("__aenter__")

    async def __aexit__(self, *_):
        here("__aexit__")


class Meta(type):
    def __new__(meta, name, bases, body):
        here("metaclass")
        return super().__new__(meta, name, bases, body)

    def __call__(cls, *args):
        here("__call__ of the metaclass")
        return super().__call__(*args)


class Thing(metaclass=Meta):
    here("class body")

    def __init__(self):
        here("__init__")

    @property
    def value(self):
        return here("property")

    @functools.cached_property
    def cached(self):
        return here("cached property")

    @staticmethod
    def static():
        here("static method")

    @classmethod
    def of_class(cls):
        here("class method")

    def __getattr__(self, name):
        here(f"__getattr__ {name}")
        raise AttributeError(name)

    def __eq__(self, other):
        here("__eq__")
        return True

    __hash__ = None

    def __len__(self):
        return len(here("__len__"))

    def __iter__(self):
        yield here("__iter__")

    def __del__(self):
        here("__del__")


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        here("wrapper")
        return function(*args, **kwargs)

    return wrapper


@decorated
@functools.lru_cache
def calls_itself(n):
    here("recursion")
    return n if n == 0 else calls_itself(n - 1)


def deep(levels):
    if levels:
        return deep(levels - 1)
    return here("deep")


def callbacks():
    sorted("cab", key=lambda c: here(f"key {c}"))
    sorted([1, 2], key=functools.cmp_to_key(lambda a, b: len(here("cmp")) * 0))
    list(map(here, ["map"]))
    list(filter(lambda c: here("filter"), "a"))
    max("ab", key=here)
    functools.partial(here, "partial")()
    functools.reduce(lambda a, b: here("reduce"), "ab")
    reference = weakref.ref(thing := Manager(), lambda _: here("weak reference"))
    del thing
    assert reference() is None


def comprehensions():
    a = [here(f"list {n}") for n in range(2)]
    a += {here("set") for _ in a}
    a += {k: here("dict") for k in "k"}
    a += [[here("nested") for _ in "x"] for _ in "y"]
    a += sorted(here("generator expression") for _ in "x" if here("condition"))
    lambda_in = [(lambda: here("lambda in a comprehension"))() for _ in "x"]
    return a + lambda_in


def classes():
    thing = Thing()
    thing.value, thing.cached, thing.static(), thing.of_class()
    getattr(thing, "absent", None)
    thing == thing, len(thing), list(thing)
    del thing
    with Manager(), contextlib.ExitStack() as stack:
        stack.callback(here, "exit stack")
        here("in with")
    f"{here('in an f-string')!r:>10}"


def exceptions():
    try:
        here("try")
        raise ValueError
    except ValueError:
        here("except")
    finally:
        here("finally")

    def unwinding():
        try:
            raise KeyError
        finally:
            here("unwinding")

    with contextlib.suppress(KeyError):
        unwinding()


def coroutines():
    async def inner():
        await asyncio.sleep(0)
        here("coroutine")

    async def main():
        await inner()
        async for _ in asynchronous(2):
            here("async for")
        async with Manager():
            here("async with")
        await asyncio.gather(inner(), inner())
        [await asyncio.sleep(0, here("async comprehension")) async for _ in asynchronous(1)]
        await asyncio.to_thread(here, "to_thread")
        asyncio.get_running_loop().call_soon(here, "call_soon")
        await asyncio.sleep(0)

    asyncio.run(main())
    suspended = inner_generator = delegating()
    next(suspended)
    here("while a generator is suspended")
    inner_generator.close()


def generators():
    list(delegating())
    for _ in generator(2):
        here("body of for")
    _first, *_rest = generator(3)
    dict.fromkeys(generator(1))
    sum(generator(1), start=0)
    "".join(str(n) for n in generator(1))


def imports():
    with tempfile.TemporaryDirectory() as place:
        with open(os.path.join(place, "stack_imported.py"), "w") as file:
            file.write(
                "import sys\n\nsys.audit('stack', 'import')\n\ndef f():\n    return sys.audit('stack', 'f')\n"
            )
        sys.path.insert(0, place)
        import stack_imported

        stack_imported.f()
        sys.path.remove(place)


def threads():
    for target in (lambda: here("thread"), callbacks, lambda: deep(100)):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()


def made_at_run_time():
    source = "\n\ndef made(f):\n    return [\n        f(n) for n in ['made']\n    ]\n"
    for name in ("<made>", "a file", "", "ünï 日本 😀", "\udcff"):
        scope = {}
        exec(compile(source, name, "exec"), scope)
        scope["made"](here)
        scope["made"].__code__ = scope["made"].__code__.replace(co_firstlineno=100, co_filename="replaced")
        scope["made"](here)
    eval("here('eval')")
    eval("\n\nhere('eval, third line')".strip("\n"))


def traced():
    def tracer(frame, kind, arg):
        here(f"trace {kind}")
        return tracer

    sys.settrace(tracer)
    deep(2)
    sys.settrace(None)
    sys.setprofile(lambda frame, kind, arg: here(f"profile {kind}") if frame.f_code is deep.__code__ else None)
    deep(2)
    sys.setprofile(None)


def main(path):
    steps = (
        callbacks,
        comprehensions,
        classes,
        exceptions,
        coroutines,
        generators,
        imports,
        threads,
        made_at_run_time,
    )
    for again in range(2):
        for step in (*steps, traced):
            here(f"{step.__name__} {again}")
            step()
        for levels in (0, 1, 20, 60, 61, 62, 63, 64, 65, 120, 124, 125, 126, 127, 300):
            deep(levels)
        calls_itself(3)
    kept = list(seen)
    with open(path, "w") as file:
        json.dump(kept, file)


if __name__ == "__main__":
    main(sys.argv[1])
