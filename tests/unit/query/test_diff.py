"""What one side has that the other has not."""

from __future__ import annotations

from typing import Any

from pythonaudit.query.behaviour import Place, Row
from pythonaudit.query.diff import Comparison, compare, summarise


def row(kind: str = "reads", package: str = "requests", what: str = "/x", **others: Any) -> Row:
    values: dict[str, Any] = {"version": "1.0", "literal": what, "count": 1, "place": None, "example": what}
    return Row(kind=kind, package=package, what=what, **values | {"event": "e/1/1"} | others)


def differ(before: list[Row], after: list[Row]) -> Comparison:
    return compare(summarise(before), summarise(after))


def test_the_same_acts_are_the_same_whatever_line_version_or_number() -> None:
    one = [row(count=1, place=Place("a.py", 1, "f"))]
    other = [row(count=9, place=Place("a.py", 7, "g")), row(version="1.0", example="/y")]
    assert differ(one, other) == Comparison((), (), ())


def test_what_is_new_and_what_is_gone() -> None:
    both = row(what="/both")
    found = differ([both, row(what="/old")], [both, row(what="/new"), row(kind="writes", what="/old")])
    assert [(d.act.kind, d.act.what) for d in found.added] == [("writes", "/old"), ("reads", "/new")]
    assert [d.act.what for d in found.gone] == ["/old"]


def test_who_did_it_matters_and_its_spelling_does_not() -> None:
    found = differ([row(package="Flask_Login")], [row(package="flask-login"), row(package="flask")])
    assert [d.act.package for d in found.added] == ["flask"]
    assert found.gone == ()


def test_versions_are_told_and_are_no_difference() -> None:
    found = differ([row(version="2.31.0")], [row(version="2.32.3"), row(package="only", version="1")])
    (new,) = found.versions
    assert (new.package, new.before, new.after) == ("requests", ("2.31.0",), ("2.32.3",))
    assert [d.act.package for d in found.added] == ["only"]


def test_counts_add_up_and_the_most_frequent_line_stands() -> None:
    rare, often = Place("a.py", 1, "f"), Place("b.py", 2, "g")
    (found,) = differ([], [row(count=2, place=rare), row(count=3, place=often), row(count=4)]).added
    assert (found.seen.count, found.seen.place) == (9, often)


def test_a_number_that_happens_to_be_the_id_of_the_process_is_that_number() -> None:
    def side(pid: int) -> list[Row]:
        return [
            row(what="/data/<pid>" if number == pid else f"/data/{number}", literal=f"/data/{number}")
            for number in (300, 400)
        ]

    assert differ(side(300), side(400)) == Comparison((), (), ())
    assert differ(side(300), side(999)) == Comparison((), (), ())
    assert differ(side(999), side(400)) == Comparison((), (), ())


def test_a_file_named_by_the_id_of_the_process_is_the_same_in_another_process() -> None:
    one, other = (row(what="/run/<pid>.lock", literal=f"/run/{pid}.lock") for pid in (300, 400))
    assert differ([one], [other]) == Comparison((), (), ())
    assert len(differ([one], [row(what="/run/500.lock")]).added) == 1


def test_order_is_by_package_kind_what() -> None:
    rows = [row("reads", "b", "/2"), row("reads", "b", "/1"), row("connects", "b", "x:1"), row("says", "a", "x")]
    assert [(d.act.package, d.act.what) for d in differ([], rows).added] == [
        ("a", "x"),
        ("b", "x:1"),
        ("b", "/1"),
        ("b", "/2"),
    ]
