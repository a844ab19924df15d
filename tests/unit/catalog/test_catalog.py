"""The catalog's data: complete, consistent, and as the reference that it was made from."""

from __future__ import annotations

import doctest
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pythonaudit import catalog
from pythonaudit.catalog import gaps

EVENTS = catalog.events()
KEYS = {
    "category", "platform", "args", "args_in", "path_args", "address_args", "command_args", "mode",
    "mode_stdlib", "security", "attack", "ocsf", "ecs", "raised", "inferred", "documented", "note",
}  # fmt: skip
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
LINUX = ("all", "posix", "linux")

# Arguments that may hold a secret, a user's data or a live object.
SENSITIVE = {
    "_posixsubprocess.fork_exec": {"args", "env"},
    "_thread.start_new_thread": {"args", "kwargs"},
    "_winapi.CreateProcess": {"command_line"},
    "_wmi.exec_query": {"query"},
    "array.__new__": {"initializer"},
    "builtins.input/result": {"result"},
    "code.__new__": {"code"},
    "compile": {"source"},
    "cpython.run_command": {"command"},
    "ctypes.PyObj_FromPtr": {"obj"},
    "ctypes.addressof": {"obj"},
    "ctypes.call_function": {"arguments"},
    "ctypes.create_string_buffer": {"init"},
    "ctypes.create_unicode_buffer": {"init"},
    "fcntl.fcntl": {"arg"},
    "fcntl.ioctl": {"arg"},
    "ftplib.sendcmd": {"cmd"},
    "gc.get_referents": {"objs"},
    "gc.get_referrers": {"objs"},
    "http.client.send": {"data"},
    "imaplib.send": {"data"},
    "marshal.dumps": {"value"},
    "marshal.loads": {"bytes"},
    "nntplib.putline": {"line"},
    "object.__getattr__": {"obj"},
    "object.__setattr__": {"obj", "value"},
    "os.exec": {"args", "env"},
    "os.posix_spawn": {"argv", "env"},
    "os.putenv": {"value"},
    "os.setxattr": {"value"},
    "os.spawn": {"args", "env"},
    "os.startfile/2": {"arguments"},
    "os.system": {"command"},
    "poplib.putline": {"line"},
    "pty.spawn": {"argv"},
    "smtplib.send": {"data"},
    "sqlite3.connect/handle": {"connection_handle"},
    "subprocess.Popen": {"args", "env"},
    "sys._getframe": {"frame"},
    "sys.excepthook": {"value", "traceback"},
    "sys.monitoring.register_callback": {"func"},
    "sys.unraisablehook": {"unraisable"},
    "telnetlib.Telnet.write": {"buffer"},
    "urllib.Request": {"fullurl", "data", "headers"},
    "webbrowser.open": {"url"},
    "winreg.SetValue": {"value"},
}

# Sensitive arguments for which the general encoding is enough: it masks secrets in text, shows
# no contents of a code object, and of objects it does not know only the type.
MASKED = {
    "builtins.input": {"prompt"},
    "cpython.PyConfig_Set": {"value"},
    "exec": {"code_object"},
    "function.__new__": {"code"},
    "syslog.syslog": {"message"},
    "winreg.ExpandEnvironmentStrings": {"str"},
}


def _count(version_of: str, version: str, platforms: tuple[str, ...] = catalog.PLATFORMS) -> int:
    return sum(version in getattr(info, version_of) and info.platform in platforms for info in EVENTS.values())


def test_number_of_events() -> None:
    assert len(EVENTS) == 209
    assert catalog.versions() == VERSIONS


@pytest.mark.parametrize(
    ("version_of", "counts"),
    [
        ("documented", [184, 184, 189, 187, 192, 194]),
        ("raised", [184, 184, 193, 195, 200, 202]),
        ("inferred", [39, 0, 44, 0, 46, 47]),
    ],
)
def test_counts_by_version(version_of: str, counts: list[int]) -> None:
    assert [_count(version_of, version) for version in VERSIONS] == counts


def test_counts_on_linux_by_version() -> None:
    counts = [_count("raised", version, LINUX) for version in VERSIONS]
    assert counts == [148, 148, 152, 150, 155, 156]


def test_counts_of_facts() -> None:
    infos = EVENTS.values()
    facts = ("path_args", "address_args", "command_args", "attack", "note", "security")
    counts = {fact: sum(bool(getattr(info, fact)) for info in infos) for fact in facts}
    assert counts == {
        "path_args": 70,
        "address_args": 19,
        "command_args": 22,
        "attack": 147,
        "note": 134,
        "security": 135,
    }
    assert sum(not info.documented for info in infos) == 10
    assert sum(not info.raised for info in infos) == 2


def test_counts_by_category() -> None:
    assert Counter(info.category for info in EVENTS.values()) == {
        "file": 51, "process": 26, "native": 20, "network": 20, "registry": 18,
        "introspection": 12, "interpreter-lifecycle": 11, "code-execution": 10, "dns": 6,
        "debug": 5, "deserialization": 4, "environment": 4, "database": 4, "logging": 4,
        "thread": 2, "ipc": 2, "memory": 2, "input": 2, "host": 2, "exception": 2, "package": 1,
        "import": 1,
    }  # fmt: skip


def test_counts_by_ocsf_class() -> None:
    assert Counter(info.ocsf_class for info in EVENTS.values()) == {
        1001: 51, 1007: 43, 1004: 21, 1009: 15, 201001: 14, 0: 10, 4001: 10, 1005: 7, 1003: 6,
        4009: 6, 4003: 6, 201002: 5, 1008: 4, 4002: 2, 5019: 2, 4008: 2, 6005: 2, 6003: 1, 6002: 1,
        5001: 1,
    }  # fmt: skip


def test_counts_by_ecs_category() -> None:
    assert Counter(info.ecs_category for info in EVENTS.values()) == {
        "process": 99, "file": 51, "network": 26, "registry": 19, "library": 6, "database": 3,
        "host": 2, "configuration": 1, "api": 1, "package": 1,
    }  # fmt: skip


def test_file_is_sorted_and_has_known_keys_only() -> None:
    text = Path(catalog.__file__).with_name("events.json").read_text("utf-8")
    blocks = json.loads(text)["events"]
    assert list(blocks) == sorted(blocks, key=str.encode)
    assert {name: set(block) - KEYS for name, block in blocks.items() if set(block) - KEYS} == {}


def test_file_has_no_event_twice() -> None:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    for file in ("events.json", "gaps.json"):
        text = Path(catalog.__file__).with_name(file).read_text("utf-8")
        json.loads(text, object_pairs_hook=unique)


@pytest.mark.parametrize("info", EVENTS.values(), ids=EVENTS)
def test_block_is_consistent(info: catalog.EventInfo) -> None:
    assert info.category in catalog.CATEGORIES
    assert info.platform in catalog.PLATFORMS
    assert info.mode in catalog.MODES
    assert info.mode_stdlib in catalog.MODES
    assert set(info.arg_rules) <= set(catalog.ARG_RULES)
    assert len(info.arg_rules) == len(info.args) == len(set(info.args))
    for named in (info.path_args, info.address_args, info.command_args):
        assert set(named) <= set(info.args)
    assert set(info.inferred) <= set(info.raised)
    assert info.raised or info.documented
    assert all(re.fullmatch(r"T\d{4}(\.\d{3})?", technique) for technique in info.attack)
    assert 0 <= info.ocsf_activity <= 99


def test_every_category_is_used() -> None:
    assert {info.category for info in EVENTS.values()} == set(catalog.CATEGORIES)


@pytest.mark.parametrize("name", SENSITIVE)
def test_sensitive_arguments_have_a_rule_of_their_own(name: str) -> None:
    info = EVENTS[name]
    rules = dict(zip(info.args, info.arg_rules, strict=True))
    assert {arg for arg in SENSITIVE[name] if rules[arg] in ("value", "path")} == set()


@pytest.mark.parametrize("name", MASKED)
def test_masked_arguments_have_the_general_rule(name: str) -> None:
    info = EVENTS[name]
    rules = dict(zip(info.args, info.arg_rules, strict=True))
    assert {rules[arg] for arg in MASKED[name]} == {"value"}


def test_arguments_that_hold_paths_are_kept_as_paths() -> None:
    keys_of_registry = {"value", "value_name"}
    for info in EVENTS.values():
        rules = dict(zip(info.args, info.arg_rules, strict=True))
        held = set(info.path_args) - (keys_of_registry if info.category == "registry" else set())
        assert {arg for arg in held if rules[arg] != "path"} == set(), info.name


def test_addresses_lose_their_userinfo() -> None:
    harmless = {"port", "name", "computer_name"}  # numbers, and names of machines that no URL is made of
    for info in EVENTS.values():
        rules = dict(zip(info.args, info.arg_rules, strict=True))
        assert {arg for arg in info.address_args if rules[arg] != "url"} <= harmless, info.name


def test_live_objects_are_not_looked_into() -> None:
    for info in EVENTS.values():
        if "self" in info.args and info.category == "network":
            assert info.arg_rules[0] == "object", info.name


def test_only_what_says_nothing_is_counted() -> None:
    always = {info.name for info in EVENTS.values() if info.mode == "count"}
    stdlib = {info.name for info in EVENTS.values() if info.mode_stdlib == "count"} - always
    assert always == {"builtins.id", "object.__getattr__"}
    assert stdlib == {
        "marshal.dumps", "marshal.load", "marshal.loads", "object.__delattr__",
        "object.__setattr__", "sys._getframe", "sys._getframemodulename",
        "sys.set_asyncgen_hook_finalizer", "sys.set_asyncgen_hook_firstiter", "time.sleep",
    }  # fmt: skip
    assert not any("off" in (info.mode, info.mode_stdlib) for info in EVENTS.values())


def test_examples_of_the_manual() -> None:
    result = doctest.testmod(catalog)
    assert (result.failed, result.attempted) == (0, 5)


def test_lookup_knows_events_of_cpython_only() -> None:
    info = catalog.lookup("os.system")
    assert info is EVENTS["os.system"]
    assert info.arg_rules == ("command",)
    assert catalog.lookup("os.systems") is None
    assert catalog.lookup("") is None


def test_events_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        EVENTS["mine"] = EVENTS["open"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        EVENTS["open"].mode = "off"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "count", "python", "names"),
    [
        ("shutil.rmtree", 1, (3, 10), ("path",)),
        ("shutil.rmtree", 2, (3, 10), ("path", "arg1")),
        ("shutil.rmtree", 2, (3, 11), ("path", "dir_fd")),
        ("shutil.rmtree", 2, None, ("path", "dir_fd")),
        ("shutil.rmtree", 2, (3, 99), ("path", "dir_fd")),
        ("open", 1, (3, 13), ("path",)),
        ("open", 4, (3, 13), ("path", "mode", "flags", "arg3")),
        ("os.fork", 0, (3, 13), ()),
        ("User logged in", 2, (3, 13), ("arg0", "arg1")),
    ],
)
def test_argument_names(name: str, count: int, python: tuple[int, int] | None, names: tuple[str, ...]) -> None:
    assert catalog.argument_names(name, count, python) == names


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("", ()),
        ("3.12", ("3.12",)),
        ("3.14+", ("3.14", "3.15")),
        ("3.11-3.13", ("3.11", "3.12", "3.13")),
    ],
)
def test_span(text: str, covered: tuple[str, ...]) -> None:
    assert catalog.parse_span(text) == covered


def test_span_of_an_unknown_version() -> None:
    with pytest.raises(ValueError, match=r"3\.9"):
        catalog.parse_span("3.9+")


def test_gaps_and_changes_are_consistent() -> None:
    for gap in gaps.gaps():
        assert gap.versions
        assert gap.event is None or gap.event in EVENTS
    since = [VERSIONS.index(change.since) for change in gaps.changes()]
    assert since == sorted(since)
    named = {name for gap in gaps.changes() for name in re.findall(r"`([\w.]+\.\w+)`", gap.what)}
    assert {"os._clearenv", "ctypes.call_function", "time.sleep"} <= named & set(EVENTS)
