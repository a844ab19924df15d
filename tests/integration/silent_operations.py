"""Does what raises no audit event: the gaps of src/pythonaudit/catalog/gaps.json, by their names.

    python silent_operations.py

Prints one JSON object for each: {"gap": "file-status", "raised": []}, with the names of the events that
an audit hook of Python saw meanwhile; `raised` is null where this Python lacks what is needed. Standard
library only; works in a temporary directory.

An operation is a generator: it prepares, yields, acts, yields again if there is something to clean up.
"""

import contextlib
import importlib
import json
import os
import sys
import tempfile

refused = contextlib.suppress(OSError)


def file_status():
    yield
    os.lstat(".")
    os.access(".", os.R_OK)
    os.path.exists("none")
    with refused:
        os.readlink(".")


def read_write():
    with open("text", "w+") as file:
        yield
        os.write(file.fileno(), b"x")
        os.read(file.fileno(), 1)
        file.write("x")
        file.seek(0)
        file.read()


def kernel_copy():
    with open("from", "wb+") as source, open("to", "wb+") as target:
        yield
        with refused:
            os.sendfile(target.fileno(), source.fileno(), 0, 1)
        with refused:
            os.copy_file_range(source.fileno(), target.fileno(), 1)


def special_files():
    yield
    os.mkfifo("fifo")
    with refused:
        os.mknod("node")


def descriptors():
    yield
    ends = os.pipe()
    os.dup2(*ends)
    with refused:
        ends += (os.memfd_create("memory"),)
    for fd in ends:
        os.closerange(fd, fd + 1)


def readline_history():
    import readline

    yield
    readline.write_history_file("history")
    readline.read_history_file("history")


def certificates():
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    yield
    with refused:
        context.load_verify_locations("none.pem")
    with refused:
        context.load_cert_chain("none.pem")


def identity():
    ids = os.getuid(), os.getgid()
    yield
    os.setuid(ids[0])
    os.setgid(ids[1])
    os.umask(os.umask(0o077))


def chroot():
    yield
    with refused:
        os.chroot("/")
    if hasattr(os, "unshare"):
        with refused:
            os.unshare(0)


def signals():
    import signal

    yield
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.raise_signal(signal.SIGUSR1)
    with refused:
        fd = os.pidfd_open(os.getpid())
        signal.pidfd_send_signal(fd, signal.SIGUSR1)
        os.close(fd)
    signal.signal(signal.SIGUSR1, before)


def fork_exec():
    from multiprocessing.util import spawnv_passfds

    yield
    pid = spawnv_passfds(b"/bin/true", ["true"], [0])
    yield
    os.waitpid(pid, 0)


def threads():
    import threading

    thread = threading.Thread(target=len, args=("",))
    yield
    thread.start()
    thread.join()


def subinterpreters():
    import _interpreters

    yield
    made = _interpreters.create()
    yield
    _interpreters.destroy(made)


def payload():
    import socket

    one, other = socket.socketpair()
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    with one, other, server:
        yield
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        one.sendall(b"x" * one.send(b"x"))
        other.recv(1)
        other.recv_into(bytearray(1))
        server.listen()


def tls():
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    both = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    yield
    with contextlib.suppress(ssl.SSLWantReadError):
        both.do_handshake()


def sql():
    import sqlite3

    connection = sqlite3.connect(":memory:")
    yield
    connection.execute("ATTACH DATABASE 'other.db' AS other")
    connection.execute("CREATE TABLE other.t (x)")
    yield
    connection.close()


def crypto():
    import hashlib
    import hmac
    import secrets

    yield
    hmac.new(secrets.token_bytes(), os.urandom(1), hashlib.sha256).digest()


def environment_reads():
    yield
    os.getenv("HOME")
    os.environ.get("PATH")
    dict(os.environ)


def plain_pickle():
    import pickle

    data = pickle.dumps({"a": [1]})
    yield
    pickle.loads(data)


def own_find_class():
    import io
    import pickle

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            return len

    unpickler = Unpickler(io.BytesIO(b"cbuiltins\nlen\n(S'x'\ntR."))
    yield
    if unpickler.load() != 1:
        raise RuntimeError("REDUCE made no call")


def cached_import():
    import json as module

    yield
    import json as again

    del sys.modules["json"]
    sys.modules["json"] = module
    sys.path.append(sys.path.pop())
    sys.meta_path.append(sys.meta_path.pop())
    if again is not module:
        raise RuntimeError("imported anew")


def import_module():
    yield
    importlib.import_module("colorsys")


def reload():
    import stat

    yield
    importlib.reload(stat)


def foreign_calls():
    import ctypes

    getpid = ctypes.CDLL(None).getpid
    yield
    getpid()


def monkey_patching():
    import builtins
    import json as module

    class Class:
        pass

    def closure():
        return Class

    yield
    Class.method = closure
    module.trigger = closure
    builtins.trigger = closure
    del module.trigger, builtins.trigger
    closure.__closure__[0].cell_contents = None
    object.__subclasses__()


OPERATIONS = (
    file_status, read_write, kernel_copy, special_files, descriptors, readline_history,
    certificates, identity, chroot, signals, fork_exec, threads, subinterpreters, payload, tls, sql,
    crypto, environment_reads, plain_pickle, own_find_class, cached_import, import_module, reload,
    foreign_calls, monkey_patching,
)  # fmt: skip


def main():
    watched = None

    def hook(event, args):
        if watched is not None:
            watched.append(event)

    sys.addaudithook(hook)
    with tempfile.TemporaryDirectory() as place:
        before = os.getcwd()
        os.chdir(place)
        for operation in OPERATIONS:
            raised = []
            try:
                steps = operation()
                next(steps)
                watched = raised
                next(steps, None)
                watched = None
                next(steps, None)
            except ImportError:
                raised = None
            watched = None
            print(json.dumps({"gap": operation.__name__.replace("_", "-"), "raised": raised}))
        os.chdir(before)


if __name__ == "__main__":
    main()
