"""Capture by triggers, and the transactions of those who write: what was undone is not seen, what commits late is.

Where only one may write at a time, nobody else's edits come in between; what is left of each test holds there as well.
"""

from __future__ import annotations

import pytest

from tests.conformance.backend import Backend, Database
from tests.conformance.world import World, customers

EDIT = "UPDATE customer SET credit = credit + 1 WHERE id = ?"


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(n, f"n{n}", f"{n}@x", n) for n in range(1, 7)])


def seen(world: World) -> list[str]:
    return sorted(key for _, key in world.drain())


def waiting(world: World) -> list[str]:
    """What is seen without letting go of it, which somebody's open transaction may keep from being done."""
    return sorted(c.key for c in world.system.changes(None, 100).changes)


# --- savepoints ------------------------------------------------------------------------------------------------------


def test_what_was_rolled_back_to_a_savepoint_is_not_seen(world: World) -> None:
    with world.db.people() as run:
        run(EDIT, 1)
        run("SAVEPOINT a")
        run(EDIT, 2)
        run("INSERT INTO customer (id, name) VALUES (9, 'undone')")
        run("DELETE FROM customer WHERE id = 3")
        run("ROLLBACK TO SAVEPOINT a")
        run(EDIT, 4)
    assert seen(world) == ["1", "4"]
    assert world.db.sql("SELECT credit FROM customer WHERE id < 5 ORDER BY id") == [(2,), (2,), (3,), (5,)]


def test_what_was_released_is_seen(world: World) -> None:
    with world.db.people() as run:
        run("SAVEPOINT a")
        run(EDIT, 1)
        run("SAVEPOINT b")
        run("UPDATE customer SET id = 8 WHERE id = 2")
        run("RELEASE SAVEPOINT b")
        run("RELEASE SAVEPOINT a")
        run("DELETE FROM customer WHERE id = 3")
    assert waiting(world) == ["1", "2", "3", "8"]
    assert world.reading("customer", "8").was == "2"


def test_what_was_released_and_then_rolled_back_is_not_seen(world: World) -> None:
    with world.db.people() as run:
        run("SAVEPOINT a")
        run(EDIT, 1)
        run("SAVEPOINT b")
        run(EDIT, 2)
        run("RELEASE SAVEPOINT b")
        run("ROLLBACK TO SAVEPOINT a")
        run(EDIT, 3)
    assert seen(world) == ["3"]


@pytest.mark.change_log  # the log does not name the columns
def test_only_the_columns_whose_change_stayed_have_a_time(world: World) -> None:
    with world.db.people() as run:
        run("UPDATE customer SET name = 'stays' WHERE id = 1")
        run("SAVEPOINT a")
        run("UPDATE customer SET email = 'undone' WHERE id = 1")
        run("ROLLBACK TO SAVEPOINT a")
    times = world.reading("customer", "1").times
    assert times is not None and set(times) == {world.index("customer", "name")}


def test_a_row_that_was_deleted_and_brought_back_by_a_savepoint(world: World) -> None:
    with world.db.people() as run:
        run("SAVEPOINT a")
        run("DELETE FROM customer WHERE id = 1")
        run("INSERT INTO customer (id, name) VALUES (1, 'another')")
        run("ROLLBACK TO SAVEPOINT a")
        run(EDIT, 1)
    reading = world.reading("customer", "1")
    assert seen(world) == ["1"]
    assert not reading.reborn and world.named("customer", reading.raws)["name"] == "n1"


# --- transactions beside each other ----------------------------------------------------------------------------------


def test_a_rollback_beside_a_commit(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.db.people() as run:
        run(EDIT, 1)
        run("DELETE FROM customer WHERE id = 2")
        if not world.backend.single:
            world.db.app(EDIT, 3)
            assert seen(world) == ["3"]
        raise ZeroDivisionError
    world.db.app(EDIT, 4)
    assert seen(world) == ["4"]


def test_those_that_commit_in_the_other_order(world: World) -> None:
    if world.backend.single:
        return  # who begins to write first commits first
    first, second, third = (world.db.people() for _ in range(3))
    for key, one in enumerate((first, second, third), 1):
        one.__enter__()(EDIT, key)
    for one, key in ((third, "3"), (second, "2")):
        one.__exit__(None, None, None)
        assert seen(world) == [key]
        world.db.app(EDIT, 5)
        assert seen(world) == ["5"]
    first.__exit__(None, None, None)
    assert seen(world) == ["1"]


def test_batches_that_are_acknowledged_around_a_late_commit(world: World) -> None:
    """The late entries lie between those of two batches, or before both."""
    if world.backend.single:
        return
    world.db.app(EDIT, 1)
    with world.db.people() as late:
        late(EDIT, 2)
        world.db.app(EDIT, 3)
        one = world.system.changes(None, 100)
        assert sorted(c.key for c in one.changes) == ["1", "3"]
        late(EDIT, 4)
    world.db.app(EDIT, 5)
    world.system.acknowledge(one.position)
    two = world.system.changes(one.position, 100)
    assert sorted(c.key for c in two.changes) == ["2", "4", "5"]
    world.system.acknowledge(two.position)
    assert waiting(world) == []


# --- long sessions ---------------------------------------------------------------------------------------------------


def test_one_that_is_open_for_long_is_seen_when_it_commits(world: World) -> None:
    with world.db.people() as run:
        run(EDIT, 1)
        for _ in range(5):
            if not world.backend.single:
                world.db.app(EDIT, 2)
                assert seen(world) == ["2"]
            assert waiting(world) == []
        run(EDIT, 3)
        assert waiting(world) == []
    assert seen(world) == ["1", "3"]
    assert seen(world) == []


def test_a_strangers_open_transaction_delays_nothing(world: World) -> None:
    """One that holds a snapshot of all that was there, and has written a table that Accord does not know."""
    if world.backend.single:
        return  # it keeps everybody from writing: there is nothing to be delayed
    world.create("foreign_table", {"id": "int PRIMARY KEY"})
    with world.db.people() as stranger:
        stranger("SELECT count(*) FROM customer")
        stranger("INSERT INTO foreign_table VALUES (1)")
        for n in range(5):
            world.db.app(EDIT, 1 + n)
            assert seen(world) == [str(1 + n)]
        stranger("SELECT count(*) FROM customer")
    assert seen(world) == []
