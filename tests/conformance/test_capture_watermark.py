"""Capture by `modified`: inclusive, across ties, with rows that commit late; no trigger, no log."""

from __future__ import annotations

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
    put(world, 1, "2026-11-24 10:00:00.000001")
    poll = Poll(world.system)
    assert poll() == []
    assert poll() == []


def test_new_and_changed_rows_come_once(world: World) -> None:
    put(world, 1, "2026-11-24 10:00:00.000001")
    poll = Poll(world.system)
    poll()
    put(world, 2, "2026-11-24 10:00:07.500000")
    assert poll() == ["2"]
    assert poll() == []
    put(world, 1, "2026-11-24 10:00:08.000000")
    assert poll() == ["1"]
    assert poll() == []


def test_an_empty_table_and_the_first_row(world: World) -> None:
    poll = Poll(world.system)
    assert poll() == []
    put(world, 1, "2026-11-24 10:00:00.000000")
    assert poll() == ["1"]


def test_ties_across_the_border_of_a_batch(world: World) -> None:
    poll = Poll(world.system)
    poll()
    for n in range(1, 12):
        put(world, n, "2026-11-24 10:00:00.123456")
    assert sorted(poll(limit=3), key=int) == [str(n) for n in range(1, 12)]
    assert poll(limit=3) == []


def test_a_row_at_exactly_the_watermark_is_not_missed(world: World) -> None:
    put(world, 5, "2026-11-24 10:00:00.000000")
    poll = Poll(world.system)
    poll()
    put(world, 3, "2026-11-24 10:00:00.000000")
    put(world, 7, "2026-11-24 10:00:00.000000")
    assert sorted(poll()) == ["3", "7"]


def test_a_row_that_commits_late_with_an_older_stamp(world: World) -> None:
    put(world, 1, "2026-11-24 10:00:00.000000")
    poll = Poll(world.system)
    poll()
    put(world, 2, "2026-11-24 10:00:10.000000")
    assert poll() == ["2"]
    put(world, 3, "2026-11-24 10:00:08.000000")  # the overlap is five seconds
    assert poll() == ["3"]
    assert poll() == []


def test_a_row_without_a_stamp_is_left_to_the_sweep(world: World) -> None:
    poll = Poll(world.system)
    put(world, 1, None)
    poll()
    put(world, 2, None)
    put(world, 3, "2026-11-24 10:00:00.000000")
    assert poll() == ["3"]


def test_an_expression(backend: Backend, db: Database) -> None:
    world = watermark(backend, db, modified="sql:coalesce(changed, made)")
    put(world, 1, None, "2026-11-24 10:00:00.000000")
    assert world.reading("customer", "1").modified == 1_795_514_400_000_000
    poll = Poll(world.system)
    poll()
    put(world, 2, None, "2026-11-24 11:00:00.000000")
    assert poll() == ["2"]
    put(world, 2, "2026-11-24 12:00:00.000000", "2026-11-24 11:00:00.000000")
    assert poll() == ["2"]
    assert poll() == []


def test_a_position_serves_another_process(world: World) -> None:
    put(world, 1, "2026-11-24 10:00:00.000000")
    poll = Poll(world.system)
    poll()
    put(world, 2, "2026-11-24 10:00:01.000000")
    other = world.db.system()
    other.bind(list(world.tables.values()))
    assert Poll(other, poll.position)() == ["2"]


def test_a_repeated_call_repeats(world: World) -> None:
    poll = Poll(world.system)
    poll()
    put(world, 1, "2026-11-24 10:00:00.000000")
    first, second = (world.system.changes(poll.position, 10) for _ in range(2))
    assert [c.key for c in first.changes] == [c.key for c in second.changes] == ["1"]


def test_whole_seconds(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {**COLUMNS, "changed": "seconds"})
    world.bind({"customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"})})
    poll = Poll(world.system)
    poll()
    put(world, 1, "2026-11-24 10:00:00")
    assert poll() == ["1"]
    put(world, 2, "2026-11-24 10:00:00")
    assert poll() == ["2"]


def test_nothing_is_made_in_the_database(world: World) -> None:
    before = world.db.dump()
    put(world, 1, "2026-11-24 10:00:00.000000")
    Poll(world.system)()
    assert world.db.dump() == before


def test_both_captures_in_one_system(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", COLUMNS)
    world.create("product", {"id": "auto", "name": "text"})
    world.bind(
        {
            "customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"}),
            "product": ("product", {"name": "name"}, {}),
        }
    ).start()
    batch = world.system.changes(None, 10)
    assert batch.changes == []
    put(world, 1, "2026-11-24 10:00:00.000000")
    db.app("INSERT INTO product (id, name) VALUES (7, 'x')")
    batch = world.system.changes(batch.position, 10)
    assert sorted((c.entity, c.key) for c in batch.changes) == [("customer", "1"), ("product", "7")]
    world.system.acknowledge(batch.position)
    assert world.system.changes(batch.position, 10).changes == []
