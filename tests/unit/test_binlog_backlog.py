"""What waits of the log: whole transactions under a position, nothing that cannot be seen yet, no writes of our own."""

from __future__ import annotations

import threading
from collections import Counter

from adapters.mysql.binlog.backlog import FULL, Backlog, Position
from adapters.mysql.binlog.events import Ended, Event, Gap, Place, Txn

ALL: Place = (9, 0)


def txn(at: int, own: tuple[str, int, int] | None = None) -> Txn:
    return Txn((1, at), 1_000, 1_000_500_000, own)


def end(t: Txn, number: int) -> Ended:
    return Ended(t, f"0-1-{number}", "log.000001", 7)


def row(t: Txn, key: str, op: str = "U", columns: str = "name", was: str | None = None) -> Event:
    return Event(t, "customer", key, op, frozenset(columns.split()) if columns else None, was)


def filled(*transactions: list[Event | Gap | Ended], written: Counter[tuple[str, str]] | None = None) -> Backlog:
    left = Counter(written or {})

    def is_echo(event: Event) -> bool:
        left[event.tag, event.key] -= event.txn.own is not None
        return event.txn.own is not None and left[event.tag, event.key] >= 0

    backlog = Backlog(is_echo)
    for n, items in enumerate(transactions, 1):
        backlog.put(items, (1, 100 * n))
    return backlog


def test_a_position_is_given_behind_whole_transactions() -> None:
    a = txn(10)
    backlog = filled([row(a, "1"), row(a, "2"), row(a, "3"), end(a, 5)])
    first = backlog.take(2, ALL)
    assert (list(first.changes), first.position, first.more) == ([("customer", "1"), ("customer", "2")], None, True)
    second = backlog.take(2, ALL)
    assert list(second.changes) == [("customer", "3")] and not second.more
    assert second.position == Position("0-1-5", "log.000001", 100, 7)


def test_nothing_is_handed_out_that_cannot_be_seen_yet() -> None:
    """The server sends a transaction before it shows in the tables: a look would find nothing changed."""
    a, b = txn(10), txn(110)
    backlog = filled([row(a, "1"), end(a, 5)], [row(b, "2"), end(b, 6)])
    taken = backlog.take(9, (1, 100))
    assert list(taken.changes) == [("customer", "1")] and not taken.more
    assert taken.position is not None and taken.position.state == "0-1-5"
    assert backlog.is_waiting()
    assert list(backlog.take(9, (1, 200)).changes) == [("customer", "2")]


def test_an_echo_is_as_often_as_it_was_written() -> None:
    """What a trigger of the application did to the same row in our transaction is a change."""
    own = txn(10, ("acme", 1, 1))
    items: list[Event | Gap | Ended] = [row(own, "1"), end(own, 5)]
    assert not filled(items, written=Counter({("customer", "1"): 1})).is_waiting()
    twice = filled([row(own, "1"), *items], written=Counter({("customer", "1"): 1}))
    assert list(twice.take(9, ALL).changes) == [("customer", "1")]


def test_own_writes_give_no_time() -> None:
    """Also when nobody knows any more what they were: the agent has just started."""
    a, own = txn(10), txn(110, ("acme", 1, 1))
    backlog = filled([row(a, "1", columns="name"), end(a, 5)], [row(own, "1", columns="mail"), end(own, 6)])
    story = backlog.story("customer", "1", ALL, 0)
    assert story is not None and set(story.times) == {"name"}


def test_a_reading_is_told_of_what_it_shows() -> None:
    a, b = txn(10), txn(110)
    backlog = filled([row(a, "1", columns="name"), end(a, 5)], [row(b, "1", columns="mail"), end(b, 6)])
    for visible, columns in (((1, 100), {"name"}), (ALL, {"name", "mail"})):
        story = backlog.story("customer", "1", visible, 0)
        assert story is not None and set(story.times) == columns
    assert backlog.story("customer", "1", (1, 5), 0) is None


def test_times_are_within_the_second_that_the_log_says() -> None:
    early, late = txn(10), Txn((1, 110), 1_000, 2_000_000_000)
    backlog = filled([row(early, "1"), end(early, 5)], [row(late, "2"), end(late, 6)])
    found = [backlog.story("customer", key, ALL, 0) for key in ("1", "2")]
    assert [s.times["name"] for s in found if s is not None] == [1_000_500_000, 1_000_999_999]


def test_reborn_is_who_was_made_by_another_transaction() -> None:
    a, b = txn(10), txn(110)
    same = filled([row(a, "1", "D"), row(a, "1", "I", ""), end(a, 5)]).story("customer", "1", ALL, 0)
    other = filled([row(a, "1", "D"), end(a, 5)], [row(b, "1", "I", ""), end(b, 6)]).story("customer", "1", ALL, 0)
    assert same is not None and not same.reborn
    assert other is not None and other.reborn


def test_what_is_acknowledged_is_forgotten_and_no_more() -> None:
    a, b = txn(10), txn(110)
    backlog = filled([row(a, "1"), end(a, 5)], [row(b, "1", columns="mail"), end(b, 6)])
    backlog.take(9, ALL)
    backlog.acknowledge((1, 100))
    story = backlog.story("customer", "1", ALL, 0)
    assert story is not None and set(story.times) == {"mail"}
    backlog.acknowledge((1, 200))
    assert backlog.story("customer", "1", ALL, 0) is None


def test_gaps_come_in_their_place() -> None:
    a, b = txn(10), txn(110)
    backlog = filled([Gap(a, "visit", "emptied"), end(a, 5)], [row(b, "1"), end(b, 6)])
    taken = backlog.take(9, (1, 100))
    assert taken.gaps == {"visit": "emptied"} and not taken.changes
    assert taken.position is not None and taken.position.state == "0-1-5"


def test_transactions_that_do_not_matter_move_the_position_and_take_no_room() -> None:
    some = [txn(10 * n) for n in range(1, 100)]
    endings: list[list[Event | Gap | Ended]] = [[end(t, n)] for n, t in enumerate(some)]
    backlog = filled(*endings)
    assert not backlog.is_waiting()
    taken = backlog.take(9, ALL)
    assert taken.position is not None and taken.position.state == "0-1-98"


def test_the_stream_waits_while_it_is_full() -> None:
    a = txn(10)
    backlog = Backlog(lambda event: False)
    rows = [row(a, str(n)) for n in range(FULL + 1)]
    thread = threading.Thread(target=lambda: backlog.put(rows, (1, 100)))
    thread.start()
    assert not backlog.wait(ALL, 5.0)  # it does not wait for what cannot come
    thread.join(0.1)
    assert thread.is_alive()
    backlog.take(10, ALL)
    thread.join(10.0)
    assert not thread.is_alive()
