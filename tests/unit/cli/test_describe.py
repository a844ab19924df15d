"""What people read of an event: arguments, process names, places in code."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit import catalog
from pythonaudit.cli.describe import describe_args, process_name, where_text

POPEN = "subprocess.Popen"


@pytest.mark.parametrize(
    ("event", "values", "text"),
    [
        ("open", ["/etc/passwd", "r", 524288], "/etc/passwd mode=r"),
        ("open", ["/x", None, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC], "/x flags=O_WRONLY|O_CREAT"),
        ("open", [3, "w", 524288], "3 mode=w"),
        ("open", [{"$base64": "//4="}, None, 0], r"\xff\xfe flags=O_RDONLY"),
        ("import", ["json", None, {"$length": 5}, {"$length": 4}, {"$length": 6}], "json"),
        ("import", ["_x", "/l/_x.so", None, None, None], "_x /l/_x.so"),
        ("os.rename", ["a b", "c", -1, -1], "a b -> c"),
        ("os.rename", ["a", "c", 5, -1], "a -> c src_dir_fd=5"),
        ("shutil.copyfile", ["a", "b"], "a -> b"),
        (POPEN, ["git", ["git", "commit", "-m", "a b"], None, None], "git commit -m 'a b'"),
        (POPEN, ["/tmp/evil", ["ls"], "/srv", None], "ls executable=/tmp/evil cwd=/srv"),
        (POPEN, ["/bin/sh", "ls | wc", None, None], "ls | wc executable=/bin/sh"),
        (POPEN, ["ls", [{"$bytes": "ls"}], None, {"$more": 3}], "ls"),
        ("os.system", [{"$bytes": "id"}], "id"),
        ("os.putenv", [{"$bytes": "HOME"}, "***"], "HOME value=***"),
        ("os.kill", [12, 9], "pid=12 sig=SIGKILL"),
        ("os.kill", [12, 0], "pid=12 sig=0"),
        ("os.kill", [12, {"$type": "x"}], "pid=12"),
        ("os.chmod", ["/x", 0o4755, -1], "/x mode=0o4755"),
        ("os.system", ["it's $HOME"], "it's $HOME"),
        (POPEN, ["a", ["a", "it's $5"], None, None], "a \"it's \\$5\""),
        ("os.exec", ["/bin/ls", ["ls", "-l"], {"$length": 3}], "ls -l path=/bin/ls"),
        ("socket.connect", [{"$type": "socket"}, ["127.0.0.1", 443]], "127.0.0.1:443"),
        ("socket.connect", [{"$type": "socket"}, ["::1", 443, 0, 0]], "[::1]:443"),
        ("socket.connect", [{"$type": "socket"}, "/run/x.sock"], "/run/x.sock"),
        ("socket.bind", [{"$type": "socket"}, ["", 80]], ":80"),
        ("socket.getaddrinfo", ["a.example", 443, 0, 1, 0], "a.example:443 SOCK_STREAM"),
        ("socket.getaddrinfo", ["a.example", "https", 0, 1, 0], "a.example:https SOCK_STREAM"),
        ("socket.getaddrinfo", ["a.example", None, 0, 1, 0], "a.example SOCK_STREAM"),
        ("http.client.connect", [{"$type": "c"}, "a.example", 80], "a.example:80"),
        ("exec", [{"$code": {"file": "/a.py", "name": "<module>", "line": 1}}], "<module> (/a.py:1)"),
        ("compile", [{"$length": 7, "$hash": "00"}, "/a.py"], "/a.py source=<7 long>"),
        ("marshal.loads", [{"$length": 7, "$hash": "00"}], "bytes=<7 long>"),
        ("pickle.find_class", ["os", "system"], "os system"),
        ("time.sleep", [{"$float": "inf"}], "seconds=inf"),
        ("sys.addaudithook", [], ""),
        ("sys.addaudithook", [1, "x y"], 'arg0=1 arg1="x y"'),
    ],
)  # fmt: skip
def test_catalog_events(event: str, values: list[Any], text: str) -> None:
    info = catalog.lookup(event)
    assert info is not None
    names = catalog.argument_names(event, len(values), None)
    assert describe_args(names, values, info) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([{"order": 7, "amount": 12.5, "who": "a b", "no": None}], 'order=7 amount=12.5 who="a b" no=null'),
        (["text", 3, {"$type": "app.Thing"}, [1, "é"]], 'text 3 <app.Thing> [1, "é"]'),
        ([{"$$price": 1}], "$price=1"),
        ([{}], "{}"),
    ],
)  # fmt: skip
def test_application_events(values: list[Any], text: str) -> None:
    assert describe_args((), values, None) == text


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["app.py", "--x"], "app.py"),
        (["/srv/app.py"], "app.py"),
        (["-u", "-X", "dev", "-W", "error", "app.py"], "app.py"),
        (["-m", "http.server", "8000"], "http.server"),
        (["-Im", "pip"], "pip"),
        (["-c", "print(1)"], "python3.11"),
        (["-Sc", "print(1)"], "python3.11"),
        (["-m"], "-m"),
        (["-Wd", "-Xdev", "-mjson.tool"], "json.tool"),
        (["-", "word"], "python3.11"),
        (["--check-hash-based-pycs", "never", "app.py"], "app.py"),
        ([], "python3.11"),
        (["-"], "python3.11"),
        (["/srv/site/"], "site"),
        (["/"], "/"),
    ],
)
def test_process_names(argv: list[str], name: str) -> None:
    assert process_name(argv, "/usr/bin/python3.11") == name


def test_a_process_without_any_name() -> None:
    assert process_name([], None) == "python"


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (None, "/srv/shop/orders/views.py:120 OrderView.post"),
        (44, "/srv/shop/orders/views.py:120 OrderView.post"),
        (43, "…/shop/orders/views.py:120 OrderView.post"),
        (40, "…/orders/views.py:120 OrderView.post"),
        (35, "views.py:120 OrderView.post"),
        (20, "views.py:120"),
        (12, "views.py:120"),
        (3, "views.py:120"),
    ],
)
def test_where_gives_way_from_the_left(width: int | None, text: str) -> None:
    assert where_text("/srv/shop/orders/views.py", 120, "OrderView.post", width) == text


def test_where_without_a_line() -> None:
    assert where_text("<frozen importlib._bootstrap>", 0, "f") == "<frozen importlib._bootstrap> f"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$code", "$type", "$length", "$bytes", "$more", "$$x"]), inner, max_size=2
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(catalog.events())), st.lists(json_values, max_size=10))
def test_forged_arguments_are_described_all_the_same(event: str, values: list[Any]) -> None:
    names = catalog.argument_names(event, len(values), None)
    assert isinstance(describe_args(names, values, catalog.lookup(event)), str)
    assert isinstance(describe_args((), values, None), str)


@given(st.lists(st.text()))
def test_every_command_line_gives_a_name(argv: list[str]) -> None:
    assert process_name(argv, "/usr/bin/python3.11")
