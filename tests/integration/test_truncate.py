"""A table that is emptied by TRUNCATE, which no row trigger sees: a sweep follows, and no rows are deleted unasked.

The oracle is SQL of the test's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from config.errors import DONE, LOOK
from tests.crash.world import World
from tests.servers import PostgresServer

ROWS = 12


@pytest.fixture(params=["trigger", "log"])
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[World]:
    """Two systems that agree; things happen to the ERP."""
    with World(tmp_path, {"crm": postgres, "erp": postgres}, request.param) as world:
        world.fill(ROWS, 0)
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        assert len(world["crm"].customers()) == 2 * ROWS
        yield world


def emptied(world: World, *more: str) -> None:
    """In one transaction with what follows."""
    erp = world["erp"]
    with closing(erp.connect()) as connection, erp.transaction(connection) as cursor:
        for text in ("TRUNCATE customer CASCADE", *more):
            cursor.execute(text)


def asked(world: World) -> bool:
    return "nobody was seen deleting its rows" in world.accord("review", "--json").out


def test_everything_at_once_is_asked_about(world: World) -> None:
    """With `delete = "propagate"`."""
    before = world["crm"].customers()
    world.start()
    world.until("it runs", lambda: "runs as" in world.log())
    emptied(world)
    world.until("it is said", lambda: asked(world))
    assert world.stop() == DONE
    assert world["crm"].customers() == before
    assert "sweep of customer" in world.log() and "emptied by TRUNCATE" in world.log()


def test_rows_that_came_since_are_found(world: World) -> None:
    """Emptied and filled again, with one row that everybody knows, while no agent runs: what is not there any more was
    deleted, by people who have put something in its place."""
    id, code, *_ = world["erp"].customers()[0]
    insert = f"INSERT INTO customer (id, erp_code, erp_name) OVERRIDING SYSTEM VALUE VALUES ({id}, '{code}', 'again')"
    emptied(world, insert)
    done = world.accord("run", "--once", exits=DONE)
    assert "emptied by TRUNCATE" in done.err
    world.agrees()
    (row,) = world["crm"].customers()
    assert row[2] == "again"


def test_one_that_is_killed_after_it_has_seen_it(world: World) -> None:
    """The sweep is asked for, durably, before the source lets go."""
    before = world["crm"].customers()
    emptied(world)
    for point in ("captured", "acknowledged"):
        world.dies(point)
    world.accord("run", "--once", exits=LOOK)
    assert world["crm"].customers() == before
    assert asked(world)
