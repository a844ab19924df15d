"""Events to acts: of which kind, to what, by whom; and what is not looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pythonaudit import catalog
from pythonaudit.journal import layout
from pythonaudit.query.behaviour import KINDS, Row, find_temporary, load
from pythonaudit.query.generalise import Places
from tests import stores
from tests.journal_writer import Frame, SegmentWriter

APP = [("/srv/shop/app.py", 3, "main")]
IMPORTER = [("<frozen importlib._bootstrap_external>", 1130, "FileLoader.get_data"), *APP]
SHUTIL = [("/usr/lib/python3.11/shutil.py", 1, "_rmtree_safe_fd"), *APP]
TEMPFILE = [("/usr/lib/python3.11/tempfile.py", 1, "_get_default_tempdir"), *APP]
SOCKET = {"$type": "socket.socket"}
CODE = {"$code": {"file": "<string>", "name": "<module>", "line": 1}}
CODE_OF_FILE = {"$code": {"file": "/srv/shop/plugin.py", "name": "<module>", "line": 1}}
EVENTS = "SELECT * FROM events"

Raised = tuple[str, list[Any], list[Frame]]


def rows(tmp_path: Path, events: list[Raised], kind: str = "journal", **header: Any) -> list[Row]:
    attributes = {"python": "3.11.7", "cwd": "/srv/shop", "host": "web-1"}
    writer = SegmentWriter(attributes=attributes, chunk_bytes=65536, **header)
    thread = writer.thread()
    for name, args, stack in events:
        writer.ticks += 1000
        known = catalog.lookup(name) is not None
        thread.event(
            name, args, stack=stack, source=layout.SOURCE_INTERPRETER if known else layout.SOURCE_APPLICATION
        )
    with stores.open_views(stores.save(tmp_path, [writer], kind)) as connection:
        return list(load(connection, EVENTS, Places("/srv/shop")))


@pytest.mark.parametrize("store", stores.KINDS[:2])
@pytest.mark.parametrize(
    ("name", "args", "kind", "what"),
    [
        ("open", ["/etc/passwd", "r", 524288], "reads", "/etc/passwd"),
        ("open", ["x.csv", "w", 524865], "writes", "./x.csv"),
        ("open", ["/x", None, 0o2001], "writes", "/x"),
        ("os.listdir", ["/etc"], "reads", "/etc"),
        ("os.rename", ["/a", "/b", -1, -1], "writes", "/a -> /b"),
        ("os.remove", ["x", 7], "writes", "<fd>/x"),
        ("os.mkdir", ["/x", 511, -1], "writes", "/x"),
        ("sqlite3.connect", ["/x.db"], "writes", "/x.db"),
        ("import", ["json", None, [], [], []], "imports", "json"),
        ("import", ["_x", "/opt/_x.so", None, None, None], "loads", "/opt/_x.so"),
        ("ctypes.dlopen", ["libc.so.6"], "loads", "libc.so.6"),
        ("subprocess.Popen", ["/usr/bin/git", ["git", "push"], None, None], "runs", "git push"),
        ("os.system", [{"$bytes": "curl -s http://x"}], "runs", "curl -s http://x"),
        ("socket.connect", [SOCKET, ["10.0.0.1", 443]], "connects", "10.0.0.1:443"),
        ("socket.connect", [SOCKET, "/run/docker.sock"], "connects", "/run/docker.sock"),
        ("urllib.Request", ["https://example.com/x", None, {}, "GET"], "connects", "example.com:443"),
        ("socket.bind", [SOCKET, ["0.0.0.0", 8000]], "listens", "0.0.0.0:8000"),
        ("socket.getaddrinfo", ["example.com", 443, 0, 1, 0], "resolves", "example.com"),
        ("socket.gethostbyname", ["web-1"], "resolves", "<host>"),
        ("pickle.find_class", ["os", "system"], "unpickles", "os.system"),
        ("exec", [CODE], "evals", "<string> in ./app.py main"),
        ("exec", [CODE_OF_FILE], "evals", "./plugin.py"),
        ("compile", [{"$length": 5}, "<string>"], "evals", "<string> in ./app.py main"),
        ("User logged in: username=joe", [], "says", "User logged in: username=*"),
        ("os.putenv", ["LD_PRELOAD", None], "does", "os.putenv LD_PRELOAD"),
        ("sys.settrace", [], "does", "sys.settrace"),
    ],
)
def test_kinds(tmp_path: Path, store: str, name: str, args: list[Any], kind: str, what: str) -> None:
    (found,) = rows(tmp_path, [(name, args, APP)], store)
    assert (found.kind, found.what, found.count) == (kind, what, 1)
    assert kind in KINDS
    assert found.place == APP[0]


@pytest.mark.parametrize(
    ("name", "args", "stack"),
    [
        ("open", ["/x/__pycache__/y.cpython-311.pyc", "r", 0], IMPORTER),
        ("open", ["/x/__pycache__/y.cpython-311.pyc.140234", None, 0o301], IMPORTER),
        ("os.rename", ["/x/y.pyc.140234", "/x/y.pyc", -1, -1], IMPORTER),
        ("os.mkdir", ["/x/__pycache__", 511, -1], IMPORTER),
        ("os.listdir", ["/x"], IMPORTER),
        ("exec", [CODE_OF_FILE], IMPORTER),
        ("compile", [None, "/srv/shop/app.py"], APP),
        ("os.remove", ["x", 4], SHUTIL),
        ("open", ["/tmp/wlxfaphe", None, 0o301], TEMPFILE),
        ("open", [4, "w", 0], APP),
        ("os.scandir", [4], APP),
    ],
)
def test_what_is_not_looked_at(tmp_path: Path, name: str, args: list[Any], stack: list[Frame]) -> None:
    assert rows(tmp_path, [(name, args, stack)]) == []


@pytest.mark.parametrize(
    ("name", "args", "stack"),
    [
        ("open", ["/root-of-all/credentials", "r", 0], IMPORTER),  # loader.get_data() of anything
        ("open", ["/x/y.pyc", "r", 0], APP),
        ("shutil.rmtree", ["/x"], SHUTIL),
        ("os.remove", ["x", 4], [("/srv/shop/shutil.py", 1, "_rmtree_safe_fd")]),
        ("open", ["/tmp/wlxfaphe", None, 0o301], [("/srv/shop/tempfile.py", 1, "_get_default_tempdir")]),
        ("import", ["y", "/x/y.py", None, None, None], IMPORTER),
    ],
)
def test_what_only_looks_like_it_is(tmp_path: Path, name: str, args: list[Any], stack: list[Frame]) -> None:
    assert len(rows(tmp_path, [(name, args, stack)])) == 1


def connect_after(tmp_path: Path, *events: Raised) -> list[str]:
    return [row.what for row in rows(tmp_path, list(events)) if row.kind == "connects"]


def test_an_address_has_the_name_that_the_same_code_looked_up_for_it(tmp_path: Path) -> None:
    asked = ("socket.getaddrinfo", ["example.com", 443, 0, 1, 0], APP)
    reached = ("socket.connect", [SOCKET, ["93.184.216.34", 443]], APP)
    second = ("socket.connect", [SOCKET, ["93.184.216.35", 443]], APP)
    assert connect_after(tmp_path, asked, reached, second) == ["example.com:443", "example.com:443"]


@pytest.mark.parametrize(
    "reached",
    [
        ("socket.connect", [SOCKET, ["93.184.216.34", 80]], APP),
        ("socket.connect", [SOCKET, ["93.184.216.34", 443]], [("/srv/shop/other.py", 1, "main")]),
        ("socket.connect", [SOCKET, ["93.184.216.34", 443]], [("/srv/shop/app.py", 9, "other")]),
    ],
)
def test_a_name_looked_up_for_something_else_hides_no_address(tmp_path: Path, reached: Raised) -> None:
    asked = ("socket.getaddrinfo", ["example.com", 443, 0, 1, 0], APP)
    (found,) = connect_after(tmp_path, asked, reached)
    assert found.startswith("93.184.216.34:")


def test_the_id_of_its_own_process_is_taken_out(tmp_path: Path) -> None:
    events: list[Raised] = [
        ("open", ["/run/app-4711.lock", "w", 0], APP),
        ("open", ["/run/app-47112.x", "w", 0], APP),
        ("os.system", [{"$bytes": "kill 4711"}], APP),
    ]
    found = {row.what: row for row in rows(tmp_path, events, pid=4711)}
    assert set(found) == {"/run/app-<pid>.lock", "/run/app-*.x", "kill <pid>"}
    assert found["kill <pid>"].example == found["kill <pid>"].literal == "kill 4711"


def test_what_is_the_same_comes_once_with_its_number_and_its_first_event(tmp_path: Path) -> None:
    (found,) = rows(tmp_path, [("open", ["/x", "r", 0], APP)] * 5)
    assert (found.count, found.event.rpartition("/")[2], found.example) == (5, "0", "/x")


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("/srv/shop/app.py", "."),
        ("/srv/shop/deep/app.py", "."),
        ("/srv/other/app.py", "/srv/other"),
        ("/x/lib/python3.11/site-packages/gone/x.py", "<site>/gone"),
        ("/usr/lib/python3.11/json.py", ""),
        ("<frozen getpath>", ""),
    ],
)
def test_whose_code_it_is_although_it_is_not_there_any_more(tmp_path: Path, file: str, package: str) -> None:
    (found,) = rows(tmp_path, [("open", ["/a", "r", 0], [(file, 1, "f")])])
    assert found.package == package


def test_what_tempfile_chose_and_made_up(tmp_path: Path) -> None:
    writer = SegmentWriter(attributes={"python": "3.11.7", "cwd": "/srv/shop"})
    thread = writer.thread()
    thread.event("open", ["/ci/tmp/wlxfaphe", None, 0o301], stack=TEMPFILE)
    thread.event("os.remove", ["/ci/tmp/wlxfaphe", -1], stack=TEMPFILE)
    thread.event("os.remove", ["/ci/x", -1], stack=APP)
    thread.event("tempfile.mkstemp", ["/srv/RECORDpqbs8oga.tmp"], stack=APP)
    thread.event("tempfile.mkdtemp", ["/ci/tmp/tmpabcdefgh"], stack=APP)
    with stores.open_views(stores.save(tmp_path, [writer])) as connection:
        assert find_temporary(connection, EVENTS) == (("/ci/tmp",), {"RECORDpqbs8oga.tmp": "RECORD*.tmp"})
