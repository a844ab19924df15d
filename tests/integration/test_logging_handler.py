"""`pythonaudit.AuditHandler`: what real programs log is in the trail, by whom, and never in their way."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest

from pythonaudit.journal.decode import Event
from tests.conftest import ROOT, Installed, Recording

SITE = Path(pytest.__file__).parent.parent

BEGIN = """
import logging, logging.config, os, sys
import pythonaudit
log = logging.getLogger("shop.auth")
def configure(**handler):
    logging.config.dictConfig({
        "version": 1,
        "handlers": {"audit": {"class": "pythonaudit.AuditHandler", **handler}},
        "loggers": {"shop": {"level": "DEBUG", "handlers": ["audit"]}},
    })
"""


def logged(recording: Recording) -> list[Event]:
    return [event for event in recording.journal.events() if event.event.startswith("log: ")]


def program(text: str) -> str:
    return BEGIN + textwrap.dedent(text)


def test_what_is_logged_is_an_event(installed: Installed, tmp_path: Path) -> None:
    """On each interpreter: logging differs between them."""
    script = tmp_path / "shop.py"
    text = """
        configure(level="INFO")
        def login(name):
            log.info("User logged in: username=%s, ip=%s", name, "192.168.0.1", extra={"order": 7, "when": object()})
        log.debug("not taken")
        login("johndoe")
        try:
            raise ValueError("no")
        except ValueError:
            log.exception("failed: password=%s", "hunter2")
        log.warning("open")
        log.warning("100%% of %s", ["a"])
        logging.getLogger("other").error("of another logger")
    """
    script.write_text(program(text))
    recording = installed.record([str(script)])
    assert "of another logger" in recording.completed.stderr  # as without us
    login, failed, opened, listed = logged(recording)
    assert login.event == "log: User logged in: username=johndoe, ip=192.168.0.1"
    assert login.template == "log: User logged in: username=*, ip=*"
    assert login.fields == {
        "username": "johndoe", "ip": "192.168.0.1", "logger": "shop.auth", "level": "INFO", "order": 7,
        "when": "<object>",
    }  # fmt: skip
    assert (login.source, login.category) == ("application", "application")
    assert login.code_frame == (str(script), script.read_text().splitlines().index(
        next(line for line in script.read_text().splitlines() if "User logged in" in line)) + 1, "login")  # fmt: skip
    assert login.package is not None and login.package.name == tmp_path.name
    assert failed.event == "log: failed: password=***" and "masked" in failed.notes
    assert failed.fields["exception"] == "ValueError"
    assert opened.event == "log: open" and opened.info is None and not opened.notes
    assert listed.event == "log: 100% of ['a']"
    assert login.stack[0][0].endswith("/pythonaudit/recorder/logs.py")  # the stack has it all


def test_a_formatter_says_how_the_message_looks(installed_here: Installed) -> None:
    text = """
        handler = pythonaudit.AuditHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        handler.addFilter(lambda record: "no" not in record.msg)
        log.addHandler(handler)
        log.error("yes")
        log.error("no")
    """
    assert [event.event for event in logged(installed_here.record(program(text)))] == ["log: ERROR yes"]


def test_odd_texts_are_names(installed_here: Installed) -> None:
    text = r"""
        configure()
        for text in ("", "a\x00b", "half \udc80 pair", "two\nlines", "ä" * 3000, "=1+1", "\x1b[2J", {"event": "e", "n": 1}):
            log.error(text)
        log.error({"other": 1})
    """
    names = [event.event for event in logged(installed_here.record(program(text)))]
    assert names[:4] == ["log: ", r"log: a\x00b", r"log: half \udc80 pair", "log: two\nlines"]
    assert names[4].startswith("log: äää") and len(names[4].encode()) <= 4096
    assert names[5:] == ["log: =1+1", "log: \x1b[2J", "log: e", "log: {'other': 1}"]


def test_nothing_is_done_where_nothing_is_recorded(installed_here: Installed) -> None:
    text = """
        class Loud:
            def __str__(self):
                print("formatted")
        raised = []
        sys.addaudithook(lambda name, args: name.startswith("log: ") and raised.append(name))
        configure()
        log.error("%s", Loud())
        log.error(Loud())
        print(raised)
    """
    done = installed_here.run("-c", program(text))
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_nothing_goes_wrong_in_the_program(installed_here: Installed) -> None:
    """Wrong formats, hooks that refuse, hooks that log, and objects that raise."""
    text = """
        class Rude:
            def __str__(self):
                raise RuntimeError("rude")
        def hook(name, args):
            if name.startswith("log: veto"):
                raise RuntimeError("vetoed")
            if name.startswith("log: "):
                log.error("about %s", name)
        configure()
        sys.addaudithook(hook)
        for raises in (True, False):
            logging.raiseExceptions = raises
            log.error("%d", "no number")
            log.error("%s", Rude())
            log.error("veto")
            log.error("fine %s", raises)
        print("done")
    """
    recording = installed_here.record(program(text))
    assert recording.completed.stdout == "done\n"
    said = recording.completed.stderr
    assert said.count("--- Logging error ---") == 3  # as logging has it, and not where it shall not
    assert said.count("RuntimeError: vetoed") == said.count("RuntimeError: rude") == 1
    names = [event.event for event in logged(recording)]
    assert [name for name in names if "fine" in name] == ["log: fine True", "log: fine False"]
    assert not [name for name in names if "about" in name]


def test_threads_and_forks_wait_for_nobody(installed_here: Installed) -> None:
    text = """
        import threading
        configure()
        def work(number):
            for turn in range(200):
                log.info("work: thread=%d, turn=%d", number, turn)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        child = os.fork()
        log.info("after: child=%d", child == 0)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        for thread in threads:
            thread.join()
    """
    events = logged(installed_here.record(program(text)))
    assert sorted(event.event for event in events if "work" in event.event) == sorted(
        f"log: work: thread={number}, turn={turn}" for number in range(4) for turn in range(200)
    )
    assert {event.event for event in events if "after" in event.event} == {
        "log: after: child=0", "log: after: child=1"
    }  # fmt: skip


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the tests' own environment that are written in Python alone, for any interpreter."""
    place = tmp_path_factory.mktemp("libraries") / "site-packages"
    place.mkdir()
    for name in ("structlog", "loguru", "typing_extensions.py"):
        if (SITE / name).exists():
            (place / name).symlink_to(SITE / name)
    return place


STRUCTLOG = """
    import structlog
    configure()
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, {render}],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    def login(name):
        structlog.get_logger("shop.auth").bind(request="r-17").info("logged in", username=name, token="abc")
    login("johndoe")
"""


@pytest.mark.parametrize(
    ("renderer", "name"),
    [
        ("structlog.stdlib.render_to_log_kwargs", "log: logged in"),
        ("structlog.stdlib.ProcessorFormatter.wrap_for_formatter", "log: logged in"),
        ("structlog.processors.KeyValueRenderer(key_order=['event'])",
         "log: event='logged in' request='r-17' username='johndoe' token='***' level='info'"),
    ],
)  # fmt: skip
def test_structlog(renderer: str, name: str, installed_here: Installed, libraries: Path, tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(program(STRUCTLOG.format(render=renderer)))
    (event,) = logged(installed_here.record([str(script)], settings={"PYTHONPATH": libraries}))
    assert event.event == name
    said = {"request": "r-17", "username": "johndoe", "token": "***", "logger": "shop.auth", "level": "INFO"}
    assert {key: value for key, value in event.fields.items() if key in said} == said
    assert "masked" in event.notes
    assert_is_of(event, script, tmp_path)


def test_loguru(installed_here: Installed, libraries: Path, tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    text = """
        from loguru import logger
        logger.remove()
        logger.add(pythonaudit.AuditHandler(), format="{message}")
        def login(name):
            logger.bind(request="r-17", password="x").info("User logged in: username={}", name)
        login("johndoe")
    """
    script.write_text(program(text))
    (event,) = logged(installed_here.record([str(script)], settings={"PYTHONPATH": libraries}))
    assert event.event == "log: User logged in: username=johndoe"
    assert event.fields == {
        "username": "johndoe", "request": "r-17", "password": "***", "logger": "__main__", "level": "INFO"
    }  # fmt: skip
    assert_is_of(event, script, tmp_path)


def assert_is_of(event: Event, script: Path, directory: Path) -> None:
    """The caller did it: not the handler, not logging, not the library around it."""
    assert event.code_frame is not None
    assert (event.code_frame[0], event.code_frame[2]) == (str(script), "login")
    assert event.package is not None and event.package.name == directory.name
    assert json.loads(event.to_json())["package"] == {"name": directory.name}


def test_the_example_of_the_guide(installed_here: Installed) -> None:
    guide = (ROOT / "docs" / "guide" / "logging.md").read_text()
    example, said = (re.findall(rf"```{kind}\n(.*?)```", guide, re.DOTALL)[0] for kind in ("python", "json"))
    (event,) = logged(installed_here.record(example))
    found, expected = json.loads(event.to_json()), json.loads(said)
    assert {name: found.get(name) for name in expected} == expected


def test_it_is_imported_when_it_is_asked_for(installed_here: Installed) -> None:
    text = "import sys, pythonaudit; print('logging' in sys.modules); pythonaudit.AuditHandler; print('logging' in sys.modules)"
    assert installed_here.run("-c", text).stdout == "False\nTrue\n"
