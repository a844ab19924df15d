"""Arguments to typed columns, against what a person reads in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit import catalog
from pythonaudit.archive.typed import Typed, describe

SOCKET = {"$type": "socket.socket"}
OPENER = {"$type": "http.client.HTTPSConnection"}

#: event, arguments, columns
TRUTH: list[tuple[str, list[Any], Typed]] = [
    ("open", ["/etc/passwd", "r", 524288], Typed(path="/etc/passwd")),
    ("open", [{"$bytes": "/etc/passwd"}, None, 0], Typed(path="/etc/passwd")),
    ("open", [{"$base64": "L3RtcC//"}, "r", 0], Typed(path="/tmp/\\xff")),
    ("open", [{"$wtf8": "YWLtsoA="}, "r", 0], Typed(path="ab\\udc80")),
    ("open", [3, "r", 0], Typed()),
    ("open", [{"$type": "pathlib.Path"}, "r", 0], Typed()),
    ("open", [{"$length": 70000}, "r", 0], Typed()),
    ("open", [], Typed()),
    ("os.remove", ["a", -1], Typed(path="a")),
    ("os.rename", ["old", {"$bytes": "new"}, -1, -1], Typed(path="old", target="new")),
    ("os.symlink", ["src", "dst", -1], Typed(path="src", target="dst")),
    ("os.truncate", [5, 0], Typed()),
    ("shutil.copyfile", ["a", "b"], Typed(path="a", target="b")),
    ("glob.glob/2", ["*.py", False, "/srv", None], Typed(path="*.py", target="/srv")),
    ("os.listdir", [None], Typed()),
    ("sqlite3.connect", ["/srv/shop.db"], Typed(path="/srv/shop.db")),
    ("socket.connect", [SOCKET, ["10.0.0.7", 5432]], Typed(address="10.0.0.7", port=5432)),
    ("socket.connect", [SOCKET, ["::1", 443, 0, 0]], Typed(address="::1", port=443)),
    ("socket.connect", [SOCKET, "/run/app.sock"], Typed(address="/run/app.sock")),
    ("socket.connect", [SOCKET, {"$bytes": "\0abstract"}], Typed(address="\0abstract")),
    ("socket.bind", [SOCKET, [0, 0]], Typed()),  # AF_NETLINK: pid and groups
    ("socket.connect", [SOCKET, [4294967295, 1024]], Typed()),  # AF_VSOCK
    ("socket.bind", [SOCKET, ["eth0", 3]], Typed(address="eth0", port=3)),  # AF_PACKET
    ("socket.bind", [SOCKET, ["can0"]], Typed(address="can0")),
    ("socket.bind", [SOCKET, ["hash", "sha256"]], Typed(address="hash")),  # AF_ALG
    ("socket.connect", [SOCKET, []], Typed()),
    ("socket.connect", [SOCKET, [["a", 1], 2]], Typed()),
    ("socket.connect", [SOCKET, ["h", 65536]], Typed(address="h")),
    ("socket.connect", [SOCKET, ["h", -1]], Typed(address="h")),
    ("socket.connect", [SOCKET, ["h", True]], Typed(address="h")),
    ("socket.sendto", [SOCKET, ["10.0.0.7", 53]], Typed(address="10.0.0.7", port=53)),
    ("socket.getaddrinfo", ["example.org", 443, 0, 1, 0], Typed(address="example.org", port=443)),
    ("socket.getaddrinfo", [{"$bytes": "example.org"}, "443", 0, 1, 0], Typed(address="example.org", port=443)),
    ("socket.getaddrinfo", ["example.org", "https", 0, 1, 0], Typed(address="example.org")),
    ("socket.getaddrinfo", [None, 80, 0, 1, 0], Typed(port=80)),
    ("socket.gethostbyname", ["example.org"], Typed(address="example.org")),
    ("socket.getnameinfo", [["10.0.0.7", 80]], Typed(address="10.0.0.7", port=80)),
    ("http.client.connect", [OPENER, "example.org", 443], Typed(address="example.org", port=443)),
    ("smtplib.connect", [OPENER, "mail", 25], Typed(address="mail", port=25)),
    ("urllib.Request", ["https://example.org/a", None, {}, "GET"], Typed(url="https://example.org/a")),
    ("webbrowser.open", ["https://example.org"], Typed(url="https://example.org")),
    (
        "subprocess.Popen",
        ["/bin/sh", ["/bin/sh", "-c", "ls | wc"], "/srv", None],
        Typed(path="/bin/sh", command="/bin/sh -c ls | wc"),
    ),
    (
        "subprocess.Popen",
        ["ls", ["ls", {"$bytes": "-l"}, {"$more": 3}], None, None],
        Typed(path="ls", command="ls -l"),
    ),
    ("subprocess.Popen", ["ls", "ls", None, None], Typed(path="ls", command="ls")),
    ("subprocess.Popen", ["ls", {"$depth": 3}, None, None], Typed(path="ls")),
    ("os.system", ["ls -l"], Typed(command="ls -l")),
    ("os.system", [{"$bytes": "ls -l"}], Typed(command="ls -l")),
    ("os.exec", ["/bin/ls", ["ls", "-l"], None], Typed(path="/bin/ls", command="ls -l")),
    ("os.posix_spawn", ["/bin/ls", ["ls"], {"$length": 9}], Typed(path="/bin/ls", command="ls")),
    (
        "_posixsubprocess.fork_exec",
        [[{"$bytes": "/bin/ls"}], ["ls", "-l"], None],
        Typed(path="/bin/ls", command="ls -l"),
    ),
    ("os.putenv", ["PATH", "***"], Typed()),
    ("import", ["json", None, {"$length": 5}, None, None], Typed(module="json")),
    ("import", ["_ssl", "/usr/lib/_ssl.so", None, None, None], Typed(path="/usr/lib/_ssl.so", module="_ssl")),
    ("pickle.find_class", ["os", "system"], Typed(module="os")),
    ("cpython.run_module", ["http.server"], Typed(module="http.server")),
    ("cpython.run_command", ["print(1)"], Typed(command="print(1)")),
    ("compile", [{"$length": 9}, "<string>"], Typed(path="<string>")),
    ("ctypes.dlopen", ["libc.so.6"], Typed(path="libc.so.6")),
    ("exec", [{"$code": {"file": "a.py", "name": "f", "line": 1}}], Typed()),
    ("shop.order.paid", [{"path": "/x"}], Typed()),
    ("no such event", ["/etc/passwd"], Typed()),
]


@pytest.mark.parametrize(
    ("event", "values", "expected"), TRUTH, ids=[f"{e}-{i}" for i, (e, _, _) in enumerate(TRUTH)]
)
def test_truth(event: str, values: list[Any], expected: Typed) -> None:
    assert describe(event, values, (3, 12)) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["$bytes", "$base64", "$wtf8", "a"]), inner)
    ),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(catalog.events())),
    st.lists(json_values, max_size=6),
    st.sampled_from([(3, 10), (3, 13), None]),
)
def test_any_values(event: str, values: list[Any], python: tuple[int, int] | None) -> None:
    """Whatever a journal says, each column gets what it can hold."""
    found = describe(event, values, python)
    assert found.port is None or (type(found.port) is int and 0 <= found.port <= 65535)
    for column in (*found[:3], *found[4:]):
        assert column is None or type(column) is str
        (column or "").encode()  # no half characters
