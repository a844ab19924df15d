"""Shipping: everything once, in order, whatever the target does and wherever events are meanwhile."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pythonaudit.errors import StoreError
from pythonaudit.export.shipping import Stopped
from pythonaudit.export.targets import Answer, Misconfigured, Refused, Unavailable
from pythonaudit.journal import layout
from pythonaudit.journal.decode import Event
from pythonaudit.journal.filters import EventFilter
from tests.archives import alive, archived_journal, lines, move, segments, write
from tests.journal_writer import SegmentWriter
from tests.retained import fill, keep, limits
from tests.shipping import EVERYTHING, Taker, ship, shipping, threads_in_order


def logged(directory: Path, wanted: EventFilter = EVERYTHING) -> list[bytes]:
    return lines(archived_journal(directory), wanted)


def ids(directory: Path) -> list[str]:
    return [event.id for event in archived_journal(directory).events()]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six segments of three processes, half of them archived."""
    for process in (1, 2):
        for sequence in (0, 1):
            write(tmp_path, process, sequence)
    move(tmp_path)
    for sequence in (0, 1):
        write(tmp_path, 3, sequence)
    return tmp_path


def test_all_goes_once_and_in_the_order_of_log(store: Path) -> None:
    taker = Taker()
    assert ship(store, taker) == {"sent": 18}
    assert taker.lines == logged(store)
    assert ship(store, taker) == {"sent": 18}
    assert len(taker.ids) == 18


def test_what_comes_later_goes_later(store: Path) -> None:
    taker = Taker(most=4)
    ship(store, taker)
    write(store, 4)
    ship(store, taker)
    move(store)
    write(store, 5)
    assert ship(store, taker) == {"sent": 24}
    assert taker.lines == logged(store)
    assert taker.sizes == [4, 4, 4, 4, 2, 3, 3]


def test_a_segment_that_grows_is_sent_as_far_as_it_is(tmp_path: Path) -> None:
    writer = SegmentWriter(**alive())  # type: ignore[arg-type]
    threads = [writer.thread(slot=1, tid=100), writer.thread(slot=2, tid=200)]
    taker = Taker()
    for step in range(3):
        for thread in threads[: step + 1]:
            writer.ticks += 10
            thread.event("app.step", [step])
        writer.save(tmp_path, state=layout.STATE_OPEN)
        ship(tmp_path, taker)
    assert sorted(taker.ids) == sorted(ids(tmp_path))
    assert len(taker.ids) == 5 and threads_in_order(taker.ids)


@pytest.mark.parametrize("fails_at", range(6))
def test_it_goes_on_where_it_was_cut_off(store: Path, fails_at: int) -> None:
    """Whether what was sent arrives is not known: it comes once more, and nothing else does."""
    left = [fails_at]

    def cut(events: Sequence[Event]) -> None:
        if not left[0]:
            raise Unavailable("the line is cut")
        left[0] -= 1

    taker = Taker(most=4, meddle=cut)
    with contextlib.suppress(Unavailable):
        ship(store, taker)
    assert len(taker.ids) == min(4 * fails_at, 18)
    left[0] = -1
    move(store)
    ship(store, taker)
    assert taker.lines == logged(store)


def test_filters_are_those_of_log(store: Path) -> None:
    wanted = EventFilter(paths=("/srv/[12]/*/1",))
    taker = Taker(most=2)
    assert ship(store, taker, wanted) == {"sent": 4}
    assert taker.lines == logged(store, wanted) != []
    ship(store, taker, wanted)
    assert len(taker.ids) == 4


def test_a_target_that_is_away_is_tried_again_and_told_of_once(store: Path) -> None:
    away, told, waits = [4], [], []

    def come_back(events: Sequence[Event]) -> None:
        if away[0]:
            away[0] -= 1
            raise Unavailable("nobody is there", after=7.0 if away[0] == 2 else None)

    def wait(seconds: float) -> bool:
        if seconds:
            waits.append(seconds)
        return False

    taker = Taker(meddle=come_back)
    with shipping(store, taker, tell=told.append, wait=wait, patience=None) as (one, cursor):
        one.ship_backlog()
        assert one.retries == 4 and not one.trouble and cursor.counts["sent"] == 18
    assert waits == [0.5, 7.0, 2.0, 4.0]
    assert told == ["nobody is there; it is tried again, nothing is lost"]


def test_it_can_be_stopped_while_the_target_is_away(store: Path) -> None:
    def never(events: Sequence[Event]) -> None:
        raise Unavailable("nobody is there")

    with (
        shipping(store, Taker(meddle=never), wait=lambda seconds: True, patience=None) as (one, _),
        pytest.raises(Stopped),
    ):
        one.ship_backlog()


def test_the_event_that_is_refused_is_left_out_and_counted(store: Path) -> None:
    bad, told = ids(store)[5], []

    def refuse(events: Sequence[Event]) -> None:
        if bad in [event.id for event in events]:
            raise Refused("not this one")

    taker = Taker(meddle=refuse)
    with shipping(store, taker, tell=told.append) as (one, cursor):
        one.ship_backlog()
        assert cursor.counts == {"sent": 17, "refused": 1}
    assert taker.ids == [one for one in ids(store) if one != bad]
    assert told == [f"an event was refused, and is left out: {bad}: not this one"]
    assert ship(store, taker) == {"sent": 17, "refused": 1}


def test_whatever_refuses_everything_loses_nothing(store: Path) -> None:
    def refuse(events: Sequence[Event]) -> None:
        raise Refused("no")

    with pytest.raises(Misconfigured, match="refuses everything"):
        ship(store, Taker(meddle=refuse))
    taker = Taker()
    assert ship(store, taker) == {"sent": 18}
    assert taker.lines == logged(store)


def test_what_the_other_side_throws_away_is_counted(store: Path) -> None:
    told: list[str] = []
    with shipping(store, Taker(meddle=lambda events: Answer(3, "too old")), tell=told.append) as (one, cursor):
        one.ship_backlog()
        assert cursor.counts == {"sent": 15, "refused": 3}
    assert told == ["3 of 18 events were refused: too old"]


def test_what_retention_removed_before_it_was_sent_is_counted(tmp_path: Path) -> None:
    fill(tmp_path, 9, 8)
    taker = Taker(most=2)

    def cut(events: Sequence[Event]) -> None:
        if len(taker.ids) >= 4:
            raise Unavailable("away")

    taker.meddle = cut
    with pytest.raises(Unavailable):
        ship(tmp_path, taker)
    fill(tmp_path, 9, 8, 1)
    keep(tmp_path, limits(age=6 * 86_400.0))
    taker.meddle = lambda events: None
    counts = ship(tmp_path, taker)
    assert counts == {"sent": 7, "gone": 1}, "one of which part was sent"
    assert len(taker.ids) == 7


def test_what_had_gone_before_the_first_time_is_not_meant(tmp_path: Path) -> None:
    fill(tmp_path, 9, 1)
    keep(tmp_path, limits(age=6 * 86_400.0))
    assert ship(tmp_path, Taker()) == {"sent": 3}


def test_two_at_once_are_refused(store: Path) -> None:
    with shipping(store, Taker()), pytest.raises(StoreError, match="is in use"):
        ship(store, Taker())


def test_news_come_wherever_they_are(tmp_path: Path) -> None:
    """Live, closed, archived while it is followed, archived unseen, and gone."""
    write(tmp_path, 1)
    taker = Taker()
    with shipping(tmp_path, taker) as (one, cursor):
        one.ship_backlog()
        write(tmp_path, 2)
        write(tmp_path, 3, state=layout.STATE_OPEN, **alive())
        while one.ship_news() or len(taker.ids) < 9:
            pass
        move(tmp_path)
        write(tmp_path, 4)
        move(tmp_path)
        write(tmp_path, 5)
        while one.ship_news() or len(taker.ids) < 15:
            pass
        for path in segments(tmp_path):
            path.unlink()
        while one.ship_news() or not cursor.counts["gone"]:
            pass
        assert cursor.counts == {"sent": 15, "gone": 2}
    assert len(set(taker.ids)) == 15
    assert ship(tmp_path, taker)["sent"] == 15


def test_a_full_disk_under_the_cursor_holds_nothing_up(store: Path) -> None:
    """What is sent meanwhile is noted when there is room."""
    place, told = store / "export", []
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)]).returncode:
        pytest.skip("a file system cannot be mounted here")
    filler = place / "filler"

    def fill_up(events: Sequence[Event]) -> None:
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    try:
        taker = Taker(most=2, meddle=fill_up)
        with shipping(store, taker, tell=told.append) as (one, cursor):
            one.ship_backlog()
            assert len(taker.ids) == 18
            assert [text.partition(": ")[2] for text in told] == [
                "database or disk is full; what is sent meanwhile may be sent once more"
            ]
            with pytest.raises(StoreError, match="full"):
                cursor.save()
            filler.unlink()
            cursor.save()
        assert ship(store, Taker()) == {"sent": 18}
    finally:
        subprocess.run(["umount", str(place)], check=True)
