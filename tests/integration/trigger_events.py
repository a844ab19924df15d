"""Raises as many of CPython's audit events as is safe on Linux.

    python trigger_events.py [FILE]

With FILE, this process and its children append to it a JSON object for each new pair of event name
and number of arguments, as a plain audit hook of Python sees them: {"event": "open", "args": 3}.
Without it no hook is added: so it runs under a recorder.

It needs the standard library only, works in a temporary directory and on loopback, and changes
nothing outside. Many calls are made to fail (nobody listens, no right to do it): an event is an
attempt, so it is raised all the same. Exit status 1: a step failed in a way that is not foreseen.
"""

import contextlib
import os
import sys

OUT = "TRIGGER_EVENTS_OUT"  # tells the children where to write


def watch(path):
    """Adds the hook that writes to the file at `path`, here and in what is forked."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    seen = set()

    # The names are bound here: the last events come when modules are already gone.
    def hook(event, args, fd=fd, seen=seen, write=os.write, len=len):
        pair = (event, len(args))
        if pair not in seen:
            seen.add(pair)
            write(fd, b'{"event": "%s", "args": %d}\n' % (event.encode(), len(args)))

    sys.addaudithook(hook)


def attempt(function, *args, **kwargs):
    """Calls a function that may well be refused by the system."""
    try:
        return function(*args, **kwargs)
    except OSError:
        return None


def files():
    import fcntl
    import mmap

    attempt(open, "none")
    fd = os.open("file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * 64)
    os.truncate(fd, 32)
    os.mkdir("dir")
    os.link("file", "hard")
    os.symlink("file", "soft")
    os.rename("hard", "dir/hard")
    os.remove("dir/hard")
    os.chmod("file", 0o600)
    os.chown("file", -1, -1)
    os.utime("file", (1, 1))
    os.listdir("dir")
    with os.scandir("dir"):
        pass
    list(os.walk("dir"))
    list(os.fwalk("dir"))
    os.rmdir("dir")
    os.chdir(os.getcwd())
    attempt(os.setxattr, "file", "user.trigger", b"1")
    attempt(os.getxattr, "file", "user.trigger")
    attempt(os.listxattr, "file")
    attempt(os.removexattr, "file", "user.trigger")
    os.lockf(fd, os.F_TEST, 0)
    fcntl.fcntl(fd, fcntl.F_GETFD)
    fcntl.flock(fd, fcntl.LOCK_SH)
    fcntl.lockf(fd, fcntl.LOCK_UN)
    attempt(fcntl.ioctl, fd, 0x541B, b"\0" * 4)  # FIONREAD
    mmap.mmap(-1, 4096).close()
    os.close(fd)


def trees():
    import glob
    import pathlib
    import shutil
    import tempfile

    os.makedirs("tree/sub")
    pathlib.Path("tree/sub/leaf").write_text("leaf")
    glob.glob("tree/*")
    list(pathlib.Path("tree").glob("*"))
    list(pathlib.Path("tree").rglob("*"))
    if hasattr(pathlib.Path, "walk"):
        list(pathlib.Path("tree").walk())
    shutil.copytree("tree", "copy")
    shutil.copyfile("tree/sub/leaf", "leaf")
    shutil.copymode("tree/sub/leaf", "leaf")
    shutil.copystat("tree/sub/leaf", "leaf")
    shutil.chown("leaf", user=os.getuid())
    shutil.make_archive("archive", "tar", "tree")
    shutil.unpack_archive("archive.tar", "unpacked")
    shutil.move("leaf", "moved")
    shutil.rmtree("copy")
    fd, path = tempfile.mkstemp(dir=".")
    os.close(fd)
    os.remove(path)
    os.rmdir(tempfile.mkdtemp(dir="."))


def code():
    import array
    import io
    import marshal
    import pickle
    import types

    exec(compile("pass", "<trigger>", "exec"), {})
    function = types.FunctionType((lambda: 0).__code__.replace(co_name="triggered"), {})
    function.__defaults__ = (1,)
    del function.__defaults__
    id(function)
    array.array("b", b"abc")
    pickle.loads(pickle.dumps(os.getcwd))
    marshal.loads(marshal.dumps(1))
    marshal.load(io.BytesIO(marshal.dumps(1)))


def introspection():
    import gc
    import pdb
    import time

    gc.get_objects(generation=0)
    gc.get_referents([])
    gc.get_referrers(object())
    sys._getframe()
    if hasattr(sys, "_getframemodulename"):
        sys._getframemodulename()
    sys._current_frames()
    sys._current_exceptions()
    sys.settrace(sys.gettrace())
    sys.setprofile(sys.getprofile())
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=hooks.firstiter, finalizer=hooks.finalizer)
    sys.addaudithook(lambda event, args: None)
    if hasattr(sys, "monitoring"):
        sys.monitoring.use_tool_id(5, "trigger")
        sys.monitoring.register_callback(5, sys.monitoring.events.LINE, None)
        sys.monitoring.free_tool_id(5)
    pdb.Pdb(readrc=False)
    before, sys.breakpointhook = sys.breakpointhook, lambda: None
    breakpoint()
    sys.breakpointhook = before
    time.sleep(0)

    class Rude:
        def __del__(self):
            raise ValueError("triggered")

    before, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    Rude()
    sys.unraisablehook = before


def native():
    import _ctypes
    import ctypes

    libc = ctypes.CDLL(None)
    address = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    _ctypes.dlsym(libc._handle, "getpid")
    _ctypes.call_function(address, ())
    number = ctypes.c_int(1)
    ctypes.c_int.from_address(ctypes.addressof(number))
    ctypes.c_char.from_buffer(bytearray(1))
    _ctypes.PyObj_FromPtr(id(number))
    ctypes.string_at(ctypes.create_string_buffer(b"x", 2), 1)
    ctypes.wstring_at(ctypes.create_unicode_buffer("x", 2), 1)
    ctypes.set_errno(ctypes.get_errno())
    if hasattr(ctypes, "memoryview_at"):
        ctypes.memoryview_at(ctypes.addressof(number), 1, True)
    ctypes.pythonapi.PyFile_SetOpenCodeHook(None, None)
    if sys.version_info >= (3, 14):
        ctypes.pythonapi.PyConfig_Set(b"verbose", ctypes.py_object(0))


def sockets():
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", server.getsockname())
            client.connect(server.getsockname())
            client.sendmsg([b"x"])
    attempt(socket.getaddrinfo, "127.0.0.1", 80)
    attempt(socket.gethostbyname, "localhost")
    attempt(socket.gethostbyaddr, "127.0.0.1")
    attempt(socket.getnameinfo, ("127.0.0.1", 80), socket.NI_NUMERICHOST)
    attempt(socket.getservbyname, "http")
    attempt(socket.getservbyport, 80)
    attempt(socket.sethostname, socket.gethostname())


def clients():
    """Connects to a port where nobody listens, then speaks into a socket of ours."""
    import ftplib
    import http.client
    import imaplib
    import poplib
    import smtplib
    import socket
    import urllib.request
    import warnings

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host, port = unused.getsockname()
        for connect in (
            ftplib.FTP().connect,
            http.client.HTTPConnection,
            imaplib.IMAP4,
            poplib.POP3,
            smtplib.SMTP,
        ):
            client = attempt(connect, host, port)
            if isinstance(client, http.client.HTTPConnection):
                attempt(client.connect)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        attempt(opener.open, f"http://{host}:{port}/")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            speak(ftplib.FTP(), theirs).putcmd("NOOP")
            speak(http.client.HTTPConnection(host), theirs).send(b"x")
            speak(imaplib.IMAP4.__new__(imaplib.IMAP4), theirs).send(b"x")
            speak(poplib.POP3.__new__(poplib.POP3), theirs)._putline(b"NOOP")
            speak(smtplib.SMTP(), theirs).send("NOOP\r\n")
            if sys.version_info < (3, 13):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    import nntplib
                    import telnetlib
                attempt(nntplib.NNTP, host, port)
                attempt(telnetlib.Telnet, host, port)
                news = speak(nntplib.NNTP.__new__(nntplib.NNTP), theirs)
                news.file = theirs.makefile("wb")
                news._putline(b"NOOP")
                news.file.close()
                speak(telnetlib.Telnet(), theirs).write(b"x")


def speak(client, sock):
    client.sock = sock.dup()
    client.debugging = client._debugging = 0
    return client


def system():
    import _thread
    import resource
    import signal
    import sqlite3
    import syslog
    import threading

    resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE))
    resource.prlimit(0, resource.RLIMIT_CORE)
    os.kill(os.getpid(), 0)
    os.killpg(os.getpgrp(), 0)
    signal.pthread_kill(threading.get_ident(), 0)
    os.environ["TRIGGER_EVENTS"] = "1"
    del os.environ["TRIGGER_EVENTS"]
    syslog.openlog("trigger_events")
    syslog.setlogmask(syslog.LOG_UPTO(syslog.LOG_DEBUG))
    syslog.syslog(syslog.LOG_DEBUG, "triggered")
    syslog.closelog()
    connection = sqlite3.connect(":memory:")
    if hasattr(connection, "enable_load_extension"):
        connection.enable_load_extension(True)
        with contextlib.suppress(sqlite3.OperationalError):
            connection.load_extension("./none")
    connection.close()
    thread = threading.Thread(target=id, args=(0,))
    thread.start()
    thread.join()
    ended = threading.Lock()
    ended.acquire()
    _thread.start_new_thread(ended.release, ())
    ended.acquire()


def pip():
    """Bootstraps pip, all but for the installation itself. Some distributions have no ensurepip."""
    with contextlib.suppress(ImportError, SystemExit), contextlib.redirect_stdout(None):
        import ensurepip

        ensurepip._run_pip = lambda *args, **kwargs: 0
        ensurepip.bootstrap(root=os.getcwd())


def subinterpreters():
    """By the C function, as no module of 3.13 does it; in a child, since it leaves a torso."""
    import ctypes

    pid = os.fork()
    if pid == 0:
        ctypes.pythonapi.PyInterpreterState_New()
        os._exit(0)
    if os.waitpid(pid, 0)[1] != 0:
        raise RuntimeError("PyInterpreterState_New failed")


def processes():
    import pty
    import subprocess
    import webbrowser

    os.system("true")
    subprocess.run(["true"], check=True)
    webbrowser.GenericBrowser("true").open("http://127.0.0.1/")
    os.waitpid(os.posix_spawnp("true", ["true"], os.environ), 0)
    pty.spawn(["true"])
    pid = os.fork()
    if pid == 0:
        try:
            os.environ.clear()
            os.execv("/bin/true", ["true"])
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    if hasattr(sys, "remote_exec"):
        with open("remote.py", "w") as script:
            script.write("pass\n")
        attempt(sys.remote_exec, os.getpid(), os.path.abspath("remote.py"))


def interpreters():
    """Starts this interpreter in each way; the children are watched from sitecustomize on."""
    import subprocess

    with open("sitecustomize.py", "w") as file:
        file.write(
            f"import os, sys\nsys.path.append({os.path.dirname(os.path.abspath(__file__))!r})\n"
            f"import trigger_events\n"
            f"if os.environ.get({OUT!r}): trigger_events.watch(os.environ[{OUT!r}])\n"
        )
    with open("script.py", "w") as file:
        file.write("pass\n")
    environment = dict(
        os.environ,
        PYTHONPATH=os.getcwd(),
        PYTHONSTARTUP="script.py",
        PYTHONDONTWRITEBYTECODE="1",
        HOME=os.getcwd(),
        TERM="dumb",
    )
    for arguments, status in (
        (["-c", "pass"], 0),
        (["-c", "1/0"], 1),  # sys.excepthook
        (["-m", "script"], 0),
        (["script.py"], 0),
        (["-"], 0),
        (["-i"], 0),
    ):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if done.returncode != status:
            raise RuntimeError(f"{arguments} ended with {done.returncode}")
    # Typed input is an event of its own on a terminal only.
    master, slave = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"],
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
    ) as child:
        os.write(master, b"typed\n")
        if child.wait() != 0:
            raise RuntimeError("input() failed on a terminal")
    os.close(slave)
    os.close(master)


STEPS = (
    files,
    trees,
    code,
    introspection,
    native,
    sockets,
    clients,
    system,
    pip,
    subinterpreters,
    processes,
    interpreters,
)


def main(argv):
    import shutil
    import tempfile
    import traceback

    if argv:
        os.environ[OUT] = os.path.abspath(argv[0])
        watch(argv[0])
    before, place = os.getcwd(), tempfile.mkdtemp()
    os.chdir(place)
    status = 0
    for step in STEPS:
        try:
            step()
        except Exception:
            traceback.print_exc()
            status = 1
    os.chdir(before)
    shutil.rmtree(place)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
