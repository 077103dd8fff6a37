"""Capture by `modified`: inclusive, across ties, with rows that commit late; no trigger, no log."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.ports import System
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World

COLUMNS = {"id": "auto", "name": "text", "changed": "datetime", "made": "datetime"}


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return watermark(backend, db)


def watermark(backend: Backend, db: Database, **options: Any) -> World:
    world = World(backend, db)
    world.create("customer", COLUMNS)
    given = {"capture": "watermark", "modified": "changed", **options}
    return world.bind({"customer": ("customer", {"name": "name"}, given)})


def ago(seconds: float, form: str = "%Y-%m-%d %H:%M:%S.%f") -> str:
    """The time so many seconds ago, in UTC. (Servers run on this machine.)"""
    return f"{datetime.now(UTC) - timedelta(seconds=seconds):{form}}"


def put(world: World, id: int, at: str | None, made: str | None = None) -> None:
    world.db.app("DELETE FROM customer WHERE id = ?", id)
    world.db.app("INSERT INTO customer (id, name, changed, made) VALUES (?, 'x', ?, ?)", id, at, made)


class Poll:
    """Asks for changes again and again, from the position before; keys in the order in which they came."""

    def __init__(self, system: System, position: bytes | None = None) -> None:
        self.system = system
        self.position = position

    def __call__(self, limit: int = 100) -> list[str]:
        found: list[str] = []
        more = True
        while more:
            batch = self.system.changes(self.position, limit)
            assert len(batch.changes) <= limit
            found += [change.key for change in batch.changes]
            self.position, more = batch.position, batch.more
            self.system.acknowledge(self.position)
        return found


def test_it_starts_from_now(world: World) -> None:
    put(world, 1, ago(0))
    poll = Poll(world.system)
    assert poll() == []
    assert poll() == []


def test_new_and_changed_rows_come_once(world: World) -> None:
    put(world, 1, ago(20))
    poll = Poll(world.system)
    poll()
    put(world, 2, ago(0))
    assert poll() == ["2"]
    assert poll() == []
    put(world, 1, ago(0))
    assert poll() == ["1"]
    assert poll() == []


def test_an_empty_table_and_the_first_row(world: World) -> None:
    poll = Poll(world.system)
    assert poll() == []
    put(world, 1, ago(0))
    assert poll() == ["1"]


def test_ties_across_the_border_of_a_batch(world: World) -> None:
    poll = Poll(world.system)
    poll()
    stamp = ago(0)
    for n in range(1, 12):
        put(world, n, stamp)
    assert sorted(poll(limit=3), key=int) == [str(n) for n in range(1, 12)]
    assert poll(limit=3) == []


def test_many_late_rows_come_in_batches(world: World) -> None:
    put(world, 1, ago(0))
    poll = Poll(world.system)
    poll()
    stamp = ago(3)
    for n in range(2, 12):
        put(world, n, stamp)
    assert sorted(poll(limit=3), key=int) == [str(n) for n in range(2, 12)]
    assert poll(limit=3) == []


def test_a_row_at_exactly_the_watermark_is_not_missed(world: World) -> None:
    stamp = ago(0)
    put(world, 5, stamp)
    poll = Poll(world.system)
    poll()
    put(world, 3, stamp)
    put(world, 7, stamp)
    assert sorted(poll()) == ["3", "7"]


def test_a_stamp_of_the_applications_clock_is_older_than_its_transaction(world: World) -> None:
    put(world, 1, ago(20))
    poll = Poll(world.system)
    poll()
    put(world, 2, ago(0))
    assert poll() == ["2"]
    put(world, 3, ago(4))  # the overlap is five seconds
    assert poll() == ["3"]
    assert poll() == []


def test_a_stamp_far_behind_is_said(world: World) -> None:
    """Behind the newest it is seen all the same; but what says so is an assumption that has been seen to fail."""
    put(world, 1, ago(7500))
    poll = Poll(world.system)
    poll()
    put(world, 2, ago(7200))
    batch = world.system.changes(poll.position, 10)
    assert [c.key for c in batch.changes] == ["2"]
    assert "stamped" in batch.complete["customer"].assumed and "timezone" in batch.complete["customer"].assumed


def test_a_row_of_the_future_holds_nothing_up(world: World) -> None:
    poll = Poll(world.system)
    poll()
    put(world, 1, "2999-01-01 00:00:00.000000")
    assert poll() == ["1"]
    put(world, 2, ago(0))
    assert poll() == ["2"]
    put(world, 3, ago(4))
    assert poll() == ["3"]


def test_a_row_without_a_stamp_is_left_to_the_sweep(world: World) -> None:
    poll = Poll(world.system)
    put(world, 1, None)
    poll()
    put(world, 2, None)
    put(world, 3, ago(0))
    assert poll() == ["3"]
    put(world, 2, ago(0))
    assert poll() == ["2"]
    (note,) = [p for p in world.system.notes() if p.code == "no-stamp"]
    assert note.entity == "customer" and "1 row " in note.message


def test_an_expression(backend: Backend, db: Database) -> None:
    world = watermark(backend, db, modified="sql:coalesce(changed, made)")
    put(world, 1, None, "2026-11-24 10:00:00.000000")
    assert world.reading("customer", "1").modified == 1_795_514_400_000_000
    poll = Poll(world.system)
    poll()
    put(world, 2, None, ago(0))
    assert poll() == ["2"]
    put(world, 2, ago(0), ago(0))
    assert poll() == ["2"]
    assert poll() == []


def test_a_position_serves_another_process(world: World) -> None:
    put(world, 1, ago(1))
    poll = Poll(world.system)
    poll()
    put(world, 2, ago(0))
    assert poll() == ["2"]
    put(world, 3, ago(0))
    other = world.db.system()
    other.bind(list(world.tables.values()))
    assert Poll(other, poll.position)() == ["3"]


def test_a_repeated_call_repeats(world: World) -> None:
    poll = Poll(world.system)
    poll()
    put(world, 1, ago(0))
    first, second = (world.system.changes(poll.position, 10) for _ in range(2))
    assert [c.key for c in first.changes] == [c.key for c in second.changes] == ["1"]


def test_a_poll_that_finds_nothing_leaves_the_position_alone(world: World) -> None:
    """Else every poll would be written to the state."""
    put(world, 1, ago(0))
    poll = Poll(world.system)
    poll()
    before = poll.position
    poll()
    assert poll.position == before


@pytest.fixture
def seconds(backend: Backend, db: Database) -> World:
    world = World(backend, db)
    world.create("customer", {**COLUMNS, "changed": "seconds"})
    return world.bind({"customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"})})


def whole(seconds: float) -> str:
    return ago(seconds, "%Y-%m-%d %H:%M:%S")


def test_whole_seconds(seconds: World) -> None:
    poll = Poll(seconds.system)
    poll()
    stamp = whole(1)
    put(seconds, 1, stamp)
    assert poll() == ["1"]
    put(seconds, 2, stamp)
    assert poll() == ["2"]


def test_two_edits_of_a_row_with_one_stamp(seconds: World) -> None:
    poll = Poll(seconds.system)
    poll()
    stamp = whole(1)
    put(seconds, 1, stamp)
    assert poll() == ["1"]
    seconds.db.app("UPDATE customer SET name = 'y' WHERE id = 1")
    assert poll() == ["1"]
    assert poll() == []


def test_an_edit_taken_back_within_its_tick_is_looked_at_again(seconds: World) -> None:
    """What was read in between is not what stands there: the row comes once more when the second is over."""
    poll = Poll(seconds.system)
    poll()
    stamp = whole(-2)
    put(seconds, 1, stamp)
    assert poll() == ["1"]
    seconds.db.app("UPDATE customer SET name = 'y' WHERE id = 1")  # the agent reads this
    seconds.db.app("UPDATE customer SET name = 'x' WHERE id = 1")
    found: list[str] = []
    while whole(0.5) <= stamp:
        found += poll()
        time.sleep(0.15)
    assert set(found) == {"1"} and poll() == []


def test_dates_without_a_time(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {**COLUMNS, "changed": "date"})
    world.bind({"customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"})})
    put(world, 1, ago(0, "%Y-%m-%d"))
    poll = Poll(world.system)
    poll()
    put(world, 2, ago(0, "%Y-%m-%d"))
    assert poll() == ["2"]
    world.db.app("UPDATE customer SET name = 'y' WHERE id = 1")
    assert poll() == ["1"]


def test_nothing_is_made_in_the_database(world: World) -> None:
    before = world.db.dump()
    put(world, 1, ago(0))
    Poll(world.system)()
    assert world.db.dump() == before


@pytest.fixture
def both(backend: Backend, db: Database) -> World:
    """Customers by their stamp, products by triggers."""
    world = World(backend, db)
    world.create("customer", COLUMNS)
    world.create("product", {"id": "auto", "name": "text"})
    return world.bind(
        {
            "customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"}),
            "product": ("product", {"name": "name"}, {}),
        }
    ).start()


def test_both_captures_in_one_system(both: World) -> None:
    batch = both.system.changes(None, 10)
    assert batch.changes == []
    put(both, 1, ago(0))
    both.db.app("INSERT INTO product (id, name) VALUES (7, 'x')")
    batch = both.system.changes(batch.position, 10)
    assert sorted((c.entity, c.key) for c in batch.changes) == [("customer", "1"), ("product", "7")]
    both.system.acknowledge(batch.position)
    assert both.system.changes(batch.position, 10).changes == []


def test_a_full_change_log_starves_no_table(both: World) -> None:
    batch = both.system.changes(None, 10)
    for n in range(1, 30):
        both.db.app("INSERT INTO product (id, name) VALUES (?, 'x')", n)
    put(both, 1, ago(0))
    batch = both.system.changes(batch.position, 8)
    assert len(batch.changes) == 7 and batch.more
    assert batch.changes[-1].entity == "customer" and {c.entity for c in batch.changes[:-1]} == {"product"}
