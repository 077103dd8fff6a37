"""Up to when a batch says that all is seen: never later than it is so, and now where nothing is left (I11)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from config.records import Batch, Stamp
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World, customers

ROWS = [(n, f"n{n}", f"{n}@x", n) for n in range(1, 7)]
STEP = 0.01  # seconds between two moments that are to be told apart, however the clocks differ


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    made = customers(backend, db, ROWS)
    made.system.clock()
    return made


def moment() -> Stamp:
    time.sleep(STEP)
    now = time.time_ns() // 1000
    time.sleep(STEP)
    return now


def upto(world: World, batch: Batch, called: Stamp) -> Stamp | None:
    """Triggers without more to give are complete up to the call."""
    if world.backend.mode == "log":
        return batch.complete["customer"].at
    assert "customer" not in batch.complete
    return None if batch.more else called


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end


def poll(world: World, position: bytes | None, limit: int = 100) -> tuple[Batch, Stamp]:
    called = moment()
    return world.system.changes(position, limit), called


def test_a_source_that_is_read_to_its_end(world: World) -> None:
    world.db.app("UPDATE customer SET credit = 9 WHERE id = 1")
    batch, called = poll(world, None)
    world.system.acknowledge(batch.position)

    def is_now() -> bool:  # the end of the log may take a moment to come
        nonlocal batch, called
        batch, called = poll(world, batch.position)
        return not batch.more and upto(world, batch, called) is not None

    until(is_now)
    at = upto(world, batch, called)
    assert at is not None and called <= at <= time.time_ns() // 1000
    assert not batch.complete or batch.complete["customer"].held_by == ""


def test_what_waits_to_be_handed_out_holds_it(world: World) -> None:
    """Six edits, two by two: at no time is that claimed to be seen which was not handed out yet."""
    at: dict[str, tuple[Stamp, Stamp]] = {}
    for key in range(1, 7):
        before = moment()
        world.db.app("UPDATE customer SET credit = 9 WHERE id = ?", key)
        at[str(key)] = before, moment()
    position, seen, held = None, set[str](), []
    while len(seen) < 6:
        batch, called = poll(world, position, 2)
        seen |= {c.key for c in batch.changes}
        claimed = upto(world, batch, called)
        missing = [committed for key, (_, committed) in at.items() if key not in seen]
        if missing:
            assert claimed is None or claimed < min(missing)
            held += [c.held_by for c in batch.complete.values()]
        world.system.acknowledge(batch.position)
        position = batch.position
    assert all(held) and bool(held) == (world.backend.mode == "log")


def test_an_open_transaction_holds_nothing(world: World) -> None:
    """What it will change, it changes when it commits."""
    world.drain()
    if world.backend.single:
        return
    with world.db.people() as run:
        run("UPDATE customer SET credit = 9 WHERE id = 1")
        batch, called = poll(world, None)
        assert batch.changes == []

        def is_now() -> bool:
            found = world.system.changes(batch.position, 100)
            at = upto(world, found, called)
            return at is not None and at >= called

        until(is_now)
    assert [key for _, key in world.drain()] == ["1"]
