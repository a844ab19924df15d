"""One measured process: installs a hook, raises events at a given stack depth, prints ns an event.

usage: worker.py MODE DEPTH EVENTS ROUNDS [NOOP_LIBRARY]

MODE is bare, noop (a C hook that does nothing), pythonaudit, python (a Python hook that does
nothing), json (a Python hook that writes a JSON line) or json-stack (the same with the stack).
Prints the nanoseconds of CPU time an event takes, loop included, one number a round.
"""

import ctypes
import json
import os
import sys
import time


def install(mode: str, library: str) -> None:
    """Puts the hook of the mode in."""
    if mode == "noop":
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL).install()
    elif mode == "pythonaudit":
        from pythonaudit.recorder import startup

        state = startup.start()
        if state != "recording":
            sys.exit(f"worker: the recorder is {state}")
    elif mode == "python":
        sys.addaudithook(lambda event, args: None)
    elif mode in ("json", "json-stack"):
        out = open(os.path.join(os.environ["PYTHONAUDIT_DIR"], f"{os.getpid()}.jsonl"), "w")
        clock, dumps, busy = time.time, json.dumps, False

        def frames() -> list[tuple[str, int, str]]:
            found, frame = [], sys._getframe(2)
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
                if mode == "json-stack":
                    row["stack"] = frames()
                out.write(dumps(row, default=str) + "\n")
                out.flush()
            finally:
                busy = False

        sys.addaudithook(hook)


def measure(depth: int, events: int, rounds: int) -> list[float]:
    """Nanoseconds an event, for each round, with `depth` Python frames on the stack."""

    def loop() -> list[float]:
        audit, clock, spent = sys.audit, time.thread_time_ns, []
        for _ in range(rounds):
            begin = clock()
            for _ in range(events):
                audit("app.event", 1, "x")
            spent.append((clock() - begin) / events)
        return spent

    def deeper(left: int) -> list[float]:
        return deeper(left - 1) if left > 0 else loop()

    return deeper(depth - 4)  # <module>, measure, one call of deeper and loop are frames too


if __name__ == "__main__":
    mode, depth, events, rounds = sys.argv[1], *map(int, sys.argv[2:5])
    install(mode, sys.argv[5] if len(sys.argv) > 5 else "")
    print(" ".join(f"{ns:.2f}" for ns in measure(depth, events, rounds)))
