"""What waits between the stream and the agent: order, borders, echoes, bounds, and what readings are told."""

from __future__ import annotations

import pytest

from adapters.postgresql.logical import backlog as module
from adapters.postgresql.logical.backlog import Backlog, Snapshot, has_come
from adapters.postgresql.logical.pgoutput import UNCHANGED, Image, Row

ALL = Snapshot(1000, 1000, frozenset())


def row(op: str, key: str, image: Image = (), was: str | None = None) -> Row:
    return Row(op, "t", key, was, image)


def transaction(backlog: Backlog, xid: int, *rows: Row, end: bool = True) -> None:
    backlog.begin(xid * 10, xid)
    for one in rows:
        backlog.put(one)
    if end:
        backlog.commit(xid * 100)


def keys(backlog: Backlog, limit: int = 100) -> list[str]:
    return [event.key for event in backlog.take(limit, ALL).events]


def test_a_position_is_behind_a_whole_transaction() -> None:
    backlog = Backlog(5)
    transaction(backlog, 1, row("U", "a"))
    transaction(backlog, 2, row("U", "b"), row("U", "c"), row("U", "d"))
    first = backlog.take(2, ALL)
    assert ([e.key for e in first.events], first.lsn, first.more) == (["a", "b"], 100, True)
    second = backlog.take(1, ALL)
    assert ([e.key for e in second.events], second.lsn, second.more) == (["c"], None, True)
    third = backlog.take(9, ALL)
    assert ([e.key for e in third.events], third.lsn, third.more) == (["d"], 200, False)


def test_what_nobody_can_see_yet_is_not_handed_out() -> None:
    """A reading would find nothing changed, and nobody would look again. What is behind it waits, too."""
    backlog = Backlog(0)
    for xid, key in ((1, "a"), (2, "b"), (3, "c")):
        transaction(backlog, xid, row("U", key))
    first = backlog.take(9, Snapshot(2, 4, frozenset({2})))
    assert ([e.key for e in first.events], first.lsn, first.more) == (["a"], 100, True)
    second = backlog.take(9, ALL)
    assert ([e.key for e in second.events], second.lsn, second.more) == (["b", "c"], 300, False)


def test_what_the_server_says_in_mid_transaction_is_no_position() -> None:
    backlog = Backlog(5)
    transaction(backlog, 1, row("U", "a"), end=False)
    backlog.heard(999)
    assert backlog.take(9, ALL).lsn is None and backlog.received == 5
    backlog.commit(100)
    backlog.heard(120)
    assert backlog.take(9, ALL).lsn == 120


def test_a_record_that_is_changed_often_counts_once() -> None:
    backlog = Backlog(0)
    transaction(backlog, 1, *(row("U", "a") for _ in range(5)), row("U", "b"))
    assert keys(backlog, 1) == ["a"] * 5
    assert keys(backlog, 1) == ["b"]


def test_an_echo_is_what_we_wrote_as_often_as_we_wrote_it() -> None:
    backlog = Backlog(0)
    backlog.expect((1 << 32) + 7, [("t", "a")])
    transaction(backlog, 7, row("U", "a"), row("U", "a"), row("U", "b"))
    assert keys(backlog) == ["a", "b"]
    transaction(backlog, 8, row("U", "a"))
    assert keys(backlog) == ["a"]


def test_times_are_of_what_others_did() -> None:
    backlog = Backlog(0)
    backlog.expect(2, [("t", "a")])
    transaction(backlog, 1, row("U", "a", (b"1", b"x", UNCHANGED)))
    transaction(backlog, 2, row("U", "a", (b"2", b"x", UNCHANGED)))
    transaction(backlog, 3, row("U", "a", (b"2", b"y", b"z")))
    story = backlog.story("t", "a", ALL)
    assert story is not None and story.times == {0: 10, 1: 30, 2: 30} and story.image == (b"2", b"y", b"z")
    assert backlog.story("t", "a", Snapshot(1, 1, frozenset())) is None
    early = backlog.story("t", "a", Snapshot(1, 4, frozenset({3})))
    assert early is not None and early.times == {0: 10, 1: 10}


@pytest.mark.parametrize(("xids", "reborn"), [((1, 1), False), ((1, 2), True)])
def test_a_row_that_is_deleted_and_inserted(xids: tuple[int, int], reborn: bool) -> None:
    backlog = Backlog(0)
    first, second = xids
    if first == second:
        transaction(backlog, 1, row("D", "a"), row("I", "a", (b"1",)))
    else:
        transaction(backlog, first, row("D", "a"))
        transaction(backlog, second, row("I", "a", (b"1",)))
    story = backlog.story("t", "a", ALL)
    assert story is not None and story.reborn == reborn


def test_where_a_row_came_from() -> None:
    backlog = Backlog(0)
    transaction(backlog, 1, row("U", "b", (), "a"))
    transaction(backlog, 2, row("U", "c", (), "b"))
    transaction(backlog, 3, row("I", "b"))
    transaction(backlog, 4, row("U", "d", (), "b"))
    stories = {key: backlog.story("t", key, ALL) for key in "cd"}
    assert stories["c"] is not None and stories["c"].was == "a"
    assert stories["d"] is not None and stories["d"].was is None, "it was made since"
    assert backlog.moves("t") == [("a", "b"), ("b", "c"), ("b", "d")]


def test_what_is_acknowledged_is_forgotten_and_no_more() -> None:
    backlog = Backlog(0)
    transaction(backlog, 1, row("U", "b", (b"1",), "a"))
    backlog.take(9, ALL)
    transaction(backlog, 2, row("U", "b", (b"2",)))
    backlog.forget()
    story = backlog.story("t", "b", ALL)
    assert story is not None and story.times == {0: 20} and story.was is None
    assert backlog.moves("t") == [] and backlog.story("t", "a", ALL) is None
    backlog.take(9, ALL)
    backlog.forget()
    assert backlog.story("t", "b", ALL) is None


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RICH", 2)
    monkeypatch.setattr(module, "FULL", 4)
    backlog = Backlog(0)
    transaction(backlog, 1, *(row("U", key, (b"1",)) for key in "abc"))
    assert not backlog.full
    rich, poor = backlog.story("t", "a", ALL), backlog.story("t", "c", ALL)
    assert rich is not None and rich.times == {0: 10}
    assert poor is not None and poor.times == {}, "its values are not kept, so nobody can say which column it was"
    transaction(backlog, 2, row("U", "d", (b"1",)))
    assert backlog.full and not backlog.wait(10_000, 30)
    backlog.take(9, ALL)
    assert not backlog.full


def test_it_rings_for_what_is_to_be_looked_at() -> None:
    rung: list[int] = []
    backlog = Backlog(0)
    backlog.expect(1, [("t", "a")])
    backlog.call(lambda: rung.append(1))
    transaction(backlog, 1, row("U", "a"))
    assert not rung
    transaction(backlog, 2, row("U", "a"))
    transaction(backlog, 3, row("U", "a"))
    assert rung == [1], "once"
    backlog.take(9, ALL)
    backlog.call(lambda: rung.append(2))
    backlog.empty(["t"])
    assert rung == [1, 2] and backlog.take(9, ALL).emptied == ["t"]


@pytest.mark.parametrize(
    ("xid", "seen"), [(0xFFFFFFF0, True), (5, True), (9, False), (10, True), (11, False), (20, False)]
)
def test_numbers_of_transactions_that_have_begun_anew(xid: int, seen: bool) -> None:
    around = 1 << 32
    assert Snapshot(around + 9, around + 12, frozenset({around + 9, around + 11})).sees(xid) == seen


def test_the_head_of_a_page_is_no_record() -> None:
    assert has_come(8192 * 3, 8192 * 3 + 24) and not has_come(8192 * 3, 8192 * 3 + 80)
    assert has_come(100, 100) and not has_come(99, 100)
