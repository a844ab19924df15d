"""PYTHONAUDIT_EVENTS: sets and globs; the globs against Python's own fnmatch."""

import fnmatch
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pythonaudit.catalog import EventInfo, events
from tests.native.store_driver import Driver

MODES = {"off": "0", "count": "1", "record": "2"}


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    with Driver() as process:
        yield process


def modes(driver: Driver, policy: str, name: str) -> str:
    """The modes of a name as four digits: interpreter for stdlib, interpreter, stdlib, application."""
    error, found, complaint = driver.ask("modes", policy, as_hex(name))
    assert (error, complaint) == ("0", "")
    return found


def by_default(info: EventInfo) -> str:
    others, stdlib = MODES[info.mode], MODES[info.mode_stdlib]
    return stdlib + others + stdlib + others


def test_the_default_is_the_catalogs(driver: Driver) -> None:
    for name, info in events().items():
        assert modes(driver, "", name) == modes(driver, "default", name) == by_default(info), name


def test_security_records_its_own_and_counts_the_catalogs_rest(driver: Driver) -> None:
    found = {name: modes(driver, "security", name) for name in events()}
    assert set(found.values()) == {"1111", "2222"}
    assert found["subprocess.Popen"] == "2222"
    assert found["builtins.id"] == "1111"


@pytest.mark.parametrize("policy", ["", "default", "all", "security"])
def test_names_that_nobody_knows_are_recorded(driver: Driver, policy: str) -> None:
    for name in ("shop.order.paid", "", "openx", "ope", "\u00e9", "zzz"):
        assert modes(driver, policy, name) == "2222"


def test_all_and_app(driver: Driver) -> None:
    for name in ("open", "builtins.id", "User logged in: a=b"):
        assert modes(driver, "all", name) == "2222"
        assert modes(driver, "app", name) == "0002"


@pytest.mark.parametrize(
    ("policy", "name", "wanted"),
    [
        ("default,-import", "import", "0000"),
        ("-import", "import", "0000"),
        ("-import", "importx", "2222"),
        ("app,+open", "open", "2222"),
        ("app,+socket.*,-socket.connect", "socket.bind", "2222"),
        ("app,+socket.*,-socket.connect", "socket.connect", "0000"),
        ("app,-socket.connect,+socket.*", "socket.connect", "2222"),
        ("all,-*", "anything at all", "0000"),
        ("all,,-open,", "open", "0000"),
        ("all,-user ?ogged*", "user logged in", "0000"),
        ("all,--", "-", "0000"),
        ("all,-+", "+", "0000"),
    ],
)
def test_globs(driver: Driver, policy: str, name: str, wanted: str) -> None:
    assert modes(driver, policy, name) == wanted


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ("socket.*", "is not a set (default, all, security, app) and globs with + or -"),
        ("DEFAULT", "is not a set (default, all, security, app) and globs with + or -"),
        ("default,all", "names a set after its first item"),
        ("default,-", "has a - with no glob"),
    ],
)
def test_senseless_policies(driver: Driver, policy: str, complaint: str) -> None:
    assert driver.ask("modes", policy, "") == [str(-22), "0000", complaint]


SPECIAL = st.text(alphabet="[]!-^*?ab\\&|~#\u00e9\U0001f600", max_size=12)
ANYTHING = st.binary(max_size=10).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@settings(max_examples=3000, deadline=None)
@given(glob=st.one_of(SPECIAL, ANYTHING), name=st.one_of(SPECIAL, ANYTHING))
@example("[]-a]", "^")
@example("[!]-a]", "]")
@example("[--a]", "5")
@example("[a-]", "-")
@example("[z-a]", "z")
@example("[!z-a]", "q")
@example("[x-a-c-d]", "-")
@example("[]", "[]")
@example("[!]", "[!]")
@example("[^a]", "^")
@example("**a*?*[!b]", "xxaxx")
@example("?", "\u00e9")
@example("??", "\udcc3(")
@example("???", "\udced\udca0\udc80")
@example("[\udc80-\udcff]", "\udced")
def test_globs_match_as_in_python(driver: Driver, glob: str, name: str) -> None:
    matched = driver.ask_number("glob", as_hex(glob), as_hex(name))
    assert matched == fnmatch.fnmatchcase(name, glob)


@settings(max_examples=1000, deadline=None)
@given(data=st.data(), glob=SPECIAL)
def test_what_a_glob_is_made_from_matches(driver: Driver, data: st.DataObject, glob: str) -> None:
    """Names made from the glob itself, so that matches are not rare."""
    fill = st.text(alphabet="ab]-!\u00e9", max_size=3)
    name = "".join(data.draw(fill) if char in "*?" else char for char in glob)
    matched = driver.ask_number("glob", as_hex(glob), as_hex(name))
    assert matched == fnmatch.fnmatchcase(name, glob)


def test_a_glob_cannot_be_made_slow(driver: Driver) -> None:
    """No more steps than the product of the lengths: this ends at all."""
    assert driver.ask_number("glob", as_hex("*a" * 500 + "b"), as_hex("a" * 4000)) == 0


def as_hex(text: str) -> str:
    """UTF-8, and each lone surrogate that stands for a byte as that byte."""
    return text.encode("utf-8", "surrogateescape").hex()
