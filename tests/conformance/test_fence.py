"""The fence (I9): one agent writes; the one that started last; and the row says which round landed."""

from __future__ import annotations

import pytest

from adapters.ports import System
from config.errors import Halt, Taken, Transient
from config.records import Fence, Landing
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World, customers


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Ann", None, 5)])


def other(world: World) -> System:
    system = world.db.system()
    system.bind(list(world.tables.values()))
    return system


def test_no_fence_before_the_first_agent(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {"id": "auto", "name": "text"})
    world.bind({"customer": ("customer", {"name": "name"}, {})})
    assert world.system.fence() is None
    with pytest.raises(Halt, match="accord prepare"):
        world.system.take_fence("agent")
    with pytest.raises(Halt, match="accord prepare"):
        world.system.begin(Fence("agent", 1, 1))
    world.system.prepare()
    assert world.system.fence() is None
    assert world.system.take_fence("agent") == Fence("agent", 1, 0)


def test_each_start_raises_the_epoch(world: World) -> None:
    assert world.system.take_fence("agent").epoch == world.fence.epoch + 1
    assert other(world).take_fence("agent").epoch == world.fence.epoch + 2


def test_another_agents_name_is_refused(world: World) -> None:
    fence = world.system.fence()
    with pytest.raises(Taken, match="agent"):
        other(world).take_fence("stranger")
    with pytest.raises(Taken):
        world.system.begin(Fence("stranger", world.fence.epoch, 1))
    assert world.system.fence() == fence


def test_the_older_agent_is_stopped(world: World) -> None:
    write = world.update("customer", "1", {"name": "old"})
    newer = other(world)
    fence = newer.take_fence("agent")
    with pytest.raises(Taken):
        world.apply("customer", write)
    assert world.db.sql("SELECT name FROM customer") == [("Ann",)]
    transaction = newer.begin(fence._replace(round=1))
    assert transaction.apply("customer", [write])[0].landing is Landing.LANDED
    transaction.commit()


def test_the_round_lands_with_the_writes(world: World) -> None:
    transaction = world.system.begin(world.fence._replace(round=41))
    transaction.apply("customer", [world.update("customer", "1", {"name": "n"})])
    assert world.system.fence() == world.fence
    transaction.commit()
    assert world.system.fence() == world.fence._replace(round=41)
    assert other(world).fence() == world.fence._replace(round=41)
    transaction = world.system.begin(world.fence._replace(round=42))
    transaction.rollback()
    assert world.system.fence() == world.fence._replace(round=41)


def test_an_empty_round_lands_too(world: World) -> None:
    world.system.begin(world.fence._replace(round=9)).commit()
    fence = world.system.fence()
    assert fence is not None and fence.round == 9


def test_the_epoch_keeps_the_round(world: World) -> None:
    world.system.begin(world.fence._replace(round=9)).commit()
    assert world.system.take_fence("agent").round == 9


def test_closing_lets_go_of_everything(world: World) -> None:
    transaction = world.begin()
    transaction.apply("customer", [world.update("customer", "1", {"name": "n"})])
    world.system.close()
    world.system.close()
    assert world.db.sql("SELECT name FROM customer") == [("Ann",)]
    assert world.values("customer", "1")["name"] == "Ann"
    assert world.apply("customer", world.update("customer", "1", {"name": "n"}))[0].landing is Landing.LANDED


def test_the_clock_is_near_ours(world: World) -> None:
    assert abs(world.system.clock()) < 60 * 1_000_000


def test_a_connection_that_was_lost_commits_nothing(world: World) -> None:
    """A new connection would say COMMIT and mean nothing: the outcome is unknown, and the fence tells which."""
    write = world.update("customer", "1", {"name": "new"})
    transaction = world.begin()
    assert transaction.apply("customer", [write])[0].landing is Landing.LANDED
    world.system.close()
    with pytest.raises(Transient):
        transaction.commit()
    assert world.db.sql("SELECT name FROM customer") == [("Ann",)]
    fence = world.system.fence()
    assert fence is not None and fence.round < world.fence.round + 1
