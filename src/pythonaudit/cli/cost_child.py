"""One measured process: installs a hook, raises events at some depth, prints what one takes.

usage: cost_child.py HOOK DEPTH EVENTS LOOPS

HOOK is bare (none), idle (one in C that does nothing, the floor for any recorder), pythonaudit,
context (the same, with all events in a context), python (one in Python that does nothing), json (one
that writes a line of JSON for each event) or json-stack (the same with the stack: what one would write
instead of us).
Prints nanoseconds of processor time for each `sys.audit("app.event", 1, "x")`, loop included, one
number a loop; the first is cold.

It is started by path, not with -m: what it does not import does not stand in its memory.
"""

import json
import os
import sys
import time


def install(kind: str) -> None:
    """Puts the hook in; ends the process where that cannot be done."""
    if kind == "idle":
        from pythonaudit.recorder import add_idle_hook

        if not add_idle_hook():
            sys.exit("this process is recorded already")
    elif kind in ("pythonaudit", "context"):
        from pythonaudit.recorder import startup

        state = startup.start()
        if state != "recording":
            sys.exit(f"the recorder is {state}")
        if kind == "context":
            from pythonaudit.recorder.context import context

            context(user="johndoe", request="r-17").__enter__()
    elif kind == "python":
        sys.addaudithook(lambda event, args: None)
    elif kind in ("json", "json-stack"):
        install_json(kind == "json-stack")


def install_json(with_stack: bool) -> None:
    """A hook as one would write it: a line an event, flushed, since the process may be killed."""
    out = open(os.path.join(os.environ["PYTHONAUDIT_DIR"], f"{os.getpid()}.jsonl"), "w")  # noqa: SIM115 - as long as the process
    clock, dumps, busy = time.time, json.dumps, False

    def frames() -> list[tuple[str, int, str]]:
        found: list[tuple[str, int, str]] = []
        frame = sys._getframe(1).f_back  # none is there where C raised the event
        while frame:
            code = frame.f_code
            found.append((code.co_filename, frame.f_lineno, code.co_name))
            frame = frame.f_back
        return found

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        try:
            row = {"time": clock(), "event": event, "args": args, "pid": os.getpid()}
            if with_stack:
                row["stack"] = frames()
            out.write(dumps(row, default=str) + "\n")
            out.flush()
        finally:
            busy = False

    sys.addaudithook(hook)


def measure(depth: int, events: int, loops: int) -> list[float]:
    """Nanoseconds an event, for each loop, with `depth` Python frames on the stack."""

    def loop() -> list[float]:
        audit, clock, spent = sys.audit, time.thread_time_ns, []
        for _ in range(loops):
            begin = clock()
            for _ in range(events):
                audit("app.event", 1, "x")
            spent.append((clock() - begin) / events)
        return spent

    def deeper(left: int) -> list[float]:
        return deeper(left - 1) if left > 0 else loop()

    return deeper(depth - 4)  # <module>, measure, one call of deeper and loop are frames too


if __name__ == "__main__":
    install(sys.argv[1])
    print(" ".join(f"{ns:.2f}" for ns in measure(*map(int, sys.argv[2:5]))))
