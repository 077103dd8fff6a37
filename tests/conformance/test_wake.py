"""The agent is woken by what stands in a change log; it need not ask."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import closing

import pytest

from adapters.ports import Waker
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World, customers

PATIENCE = 30.0  # seconds: no test waits for so long, none needs it
SILENCE = 0.25  # seconds in which a ring that must not come would have come


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Ann", "ann@x", 5), (2, "Bob", "bob@x", 6)])


@pytest.fixture
def waker(world: World) -> Iterator[Waker]:
    """Armed, and listening already where there is something to listen to."""
    made = world.system.waker()
    assert made is not None
    with closing(made):
        yield made


def rings(waker: Waker, seconds: float = PATIENCE) -> bool:
    return bool(select.select([waker.fileno()], [], [], seconds)[0])


def wait(world: World, waker: Waker) -> None:
    """As the agent does when it has taken all that there was."""
    waker.clear()
    world.drain()
    waker.arm()
    assert not rings(waker, SILENCE)


def test_it_rings_for_a_change(world: World, waker: Waker) -> None:
    for name in ("Eve", "Eva"):
        wait(world, waker)
        world.db.app("UPDATE customer SET name = ? WHERE id = 1", name)
        assert rings(waker)


@pytest.mark.parametrize("statement", ["INSERT INTO customer (id, name) VALUES (3, 'Cid')", "DELETE FROM customer"])
def test_it_rings_for_rows_that_come_and_go(world: World, waker: Waker, statement: str) -> None:
    wait(world, waker)
    world.db.app(statement)
    assert rings(waker)


def test_it_rings_for_what_is_there_already(world: World, waker: Waker) -> None:
    world.db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
    waker.arm()
    assert rings(waker)
    waker.clear()
    assert not rings(waker, 0.0)
    waker.arm()
    assert rings(waker), "it is still there"


def test_it_does_not_ring_before_it_is_armed(world: World, waker: Waker) -> None:
    wait(world, waker)
    waker.clear()
    world.db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
    assert not rings(waker, SILENCE)
    waker.arm()
    assert rings(waker), "what came meanwhile is not forgotten"


def test_a_change_that_was_noted_while_it_was_awake_and_committed_while_it_waits(world: World, waker: Waker) -> None:
    """Whoever notes a change while nobody waits may find no reason to ring."""
    if world.backend.single:
        return  # nothing can be drained beside a transaction that has written
    wait(world, waker)
    world.db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
    assert rings(waker)
    with world.db.people() as run:
        run("UPDATE customer SET name = 'Rob' WHERE id = 2")
        wait(world, waker)
    assert rings(waker)
    assert world.drain() == [("customer", "2")]


def test_a_change_that_was_noted_before_others_and_committed_after_them(world: World, waker: Waker) -> None:
    if world.backend.single:
        return
    wait(world, waker)
    with world.db.people() as run:
        run("UPDATE customer SET name = 'Rob' WHERE id = 2")
        world.db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
        assert rings(waker), "an open transaction of others delays nothing"
        wait(world, waker)
    assert rings(waker)


def test_a_rollback_is_silent(world: World, waker: Waker) -> None:
    wait(world, waker)
    with pytest.raises(ZeroDivisionError), world.db.people() as run:
        run("UPDATE customer SET name = 'Eve' WHERE id = 1")
        raise ZeroDivisionError
    assert not rings(waker, SILENCE)
    world.db.app("UPDATE customer SET name = 'Eva' WHERE id = 1")
    assert rings(waker)


def test_own_writes_are_silent(world: World, waker: Waker) -> None:
    wait(world, waker)
    world.apply("customer", world.update("customer", "1", {"name": "Eve"}))
    assert world.db.sql("SELECT name FROM customer WHERE id = 1") == [("Eve",)]
    assert not rings(waker, SILENCE)


def test_it_may_be_closed_at_any_time(world: World) -> None:
    for armed in (False, True):
        made = world.system.waker()
        assert made is not None
        if armed:
            made.arm()
        made.close()


def test_without_a_change_log_there_is_nothing_to_wait_for(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {"id": "auto", "name": "text", "at": "datetime"})
    world.bind({"customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "at"})})
    assert world.system.waker() is None
