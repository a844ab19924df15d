"""An independent witness of what a process does: an audit hook in Python, for test_answers.py.

An environment gets this file as a module, and `aa_witness.pth` that imports it: it is there before the recorder
is. Where WITNESS names a file, each process and each fork of it appends what it sees, one JSON array a line:

    [pid, thread, event, arguments, frames]       the last two of ARGUMENTS only; frames: innermost first
    [pid, thread, "witness.begin", [ppid, words of the command line, current directory], []]

The recorder raises a canary when it is in: what comes after that is recorded too, and only that is written here.
Frames are [file, line, function]: of `open` all, else up to the first file outside the standard library. To look at
a frame raises `object.__getattr__`, so this event is left out here, whoever raised it.
"""

import json
import os
import sys
from _thread import get_native_id

#: Events whose arguments are kept, and of these the first so many.
ARGUMENTS = {
    "open": 2,
    "import": 2,
    "subprocess.Popen": 2,
    "os.exec": 2,
    "os.posix_spawn": 2,
    "os.listdir": 1,
    "os.scandir": 1,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.rename": 2,
    "os.chmod": 1,
    "shutil.rmtree": 1,
}
LIBRARY = os.path.dirname(os.__file__) + "/"
FURTHER = (LIBRARY + "site-packages/", LIBRARY + "dist-packages/")
ENCODER = json.JSONEncoder(separators=(",", ":"))
DESCRIPTOR = 900  # out of the way of programs that count


def plain(value, exact=type):
    """Text, numbers and lists of these as they are; nothing is asked of anything else."""
    kind = exact(value)
    if kind is str or kind is int or value is None:
        return value
    if kind is bytes:
        return value.decode("utf-8", "surrogateescape")
    return [plain(item) for item in value] if kind is list or kind is tuple else "?"


def make(descriptor):
    """The hook. All that it uses is bound: it outlives its module."""
    begun = []

    def hook(
        event,
        args,
        write=os.write,
        pid=os.getpid,
        tid=get_native_id,
        dumps=ENCODER.encode,
        plain=plain,
        arguments=ARGUMENTS,
        library=LIBRARY,
        further=FURTHER,
        nothing=LookupError,
        text=getattr,
    ):
        if event == "pythonaudit.canary":
            begun.append(True)
            say("witness.begin", [os.getppid(), sys.orig_argv, os.getcwd()])
            return
        if not begun or event == "object.__getattr__":
            return
        kept, frames = [], []
        if event in arguments:
            kept = plain(args[: arguments[event]])
            try:
                raise nothing
            except nothing as error:
                frame = error.__traceback__.tb_frame.f_back
            while frame is not None:
                code = frame.f_code
                file = code.co_filename
                frames.append((file, frame.f_lineno, text(code, "co_qualname", code.co_name)))
                inside = file.startswith("<") or (file.startswith(library) and not file.startswith(further))
                if not inside and event != "open":
                    break
                frame = frame.f_back
        write(descriptor, (dumps([pid(), tid(), event, kept, frames]) + "\n").encode())

    def say(event, what):
        os.write(descriptor, (json.dumps([os.getpid(), get_native_id(), event, what, []]) + "\n").encode())

    os.register_at_fork(
        after_in_child=lambda: begun and say("witness.begin", [os.getppid(), sys.orig_argv, os.getcwd()]),
    )
    return hook


if os.environ.get("WITNESS"):
    opened = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(opened, DESCRIPTOR, inheritable=False)
    os.close(opened)
    sys.addaudithook(make(DESCRIPTOR))
