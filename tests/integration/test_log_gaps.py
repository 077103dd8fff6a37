"""What happens to the log's reader behind the agent's back, with the agent's own process: nothing is missed.

The oracle is SQL of the test's own: `World.agrees` compares all rows of both systems.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.errors import DONE
from tests.crash.place import Place
from tests.crash.world import World
from tests.integration.test_gaps import QUICK, ROWS, all_found, three_kinds
from tests.servers import PostgresServer

SLOTS = "FROM pg_replication_slots WHERE database = current_database()"


@pytest.fixture
def world(tmp_path: Path, postgres: PostgresServer) -> Iterator[World]:
    """Two systems that agree; things happen to the ERP."""
    with World(tmp_path, {"crm": postgres, "erp": postgres}, "log") as world:
        world.edit("accord.toml", "batch = 40\n", f"batch = 40\n{QUICK}")
        world.fill(ROWS, 0)
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        assert len(world["erp"].customers()) == 2 * ROWS
        yield world


def drop_slot(erp: Place) -> None:
    erp.sql(f"SELECT pg_terminate_backend(active_pid) {SLOTS} AND active")
    end = time.monotonic() + 10
    while erp.sql(f"SELECT 1 {SLOTS} AND active") and time.monotonic() < end:
        time.sleep(0.02)
    erp.sql(f"SELECT pg_drop_replication_slot(slot_name) {SLOTS} AND NOT active")


def starts(world: World) -> None:
    world.start()
    world.until("it reads the log", lambda: world["erp"].sql(f"SELECT 1 {SLOTS} AND active"))


def test_nothing_is_swept_when_nothing_is_missed(world: World) -> None:
    """The agent was away for a while; the log was kept for it."""
    assert "sweep" not in world.accord("run", "--once", exits=DONE).err
    three_kinds(world["erp"])
    done = world.accord("run", "--once", exits=DONE)
    assert "sweep" not in done.err
    all_found(world)


def test_the_first_contact_needs_no_sweep(tmp_path: Path, postgres: PostgresServer) -> None:
    with World(tmp_path, {"crm": postgres, "erp": postgres}, "log") as world:
        world.fill(ROWS, 0)
        world.accord("prepare", exits=DONE)
        assert "sweep" not in world.accord("run", "--once", exits=DONE).err


@pytest.mark.parametrize("running", [True, False])
def test_a_slot_that_was_dropped(world: World, running: bool) -> None:
    if running:
        starts(world)
    drop_slot(world["erp"])
    three_kinds(world["erp"])
    if not running:
        starts(world)
    world.until("it is said", lambda: "the replication slot was dropped, or had fallen" in world.log())
    all_found(world)
    world["erp"].sql("UPDATE customer SET erp_phone = 'after'")
    world.agrees()
    assert world.stop() == DONE


def test_a_publication_that_was_dropped(world: World) -> None:
    """Until `prepare` has been there again, rows are swept from time to time, and the server keeps nothing for us."""
    erp = world["erp"]
    starts(world)
    erp.sql("DROP PUBLICATION accord_log")
    three_kinds(erp)
    world.until("it is said", lambda: "changes of customer are not captured" in world.log())
    all_found(world)
    assert "is missing" in world.accord("status").out
    world.until("the slot is gone", lambda: not erp.sql(f"SELECT 1 {SLOTS}"))
    world.accord("prepare", exits=DONE)
    world.until("it is said", lambda: "changes of customer are captured again" in world.log())
    erp.sql("UPDATE customer SET erp_phone = 'after'")
    world.agrees()
    assert world.stop() == DONE


def test_a_log_that_the_server_did_not_keep(tmp_path: Path, postgres: PostgresServer) -> None:
    """The agent was away for too long: the server has let go (max_slot_wal_keep_size)."""
    options = ["-c", "max_slot_wal_keep_size=16MB", "-c", "wal_keep_size=0", "-c", "max_wal_size=32MB"]
    with (
        PostgresServer(options=options) as other,
        World(tmp_path, {"crm": postgres, "erp": other}, "log") as world,
    ):
        erp = world["erp"]
        world.fill(ROWS, 0)
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        three_kinds(erp)
        erp.sql("CREATE TABLE much (t text)")
        for _ in range(5):
            erp.sql("INSERT INTO much SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            erp.sql("SELECT pg_switch_wal()")
            erp.sql("CHECKPOINT")
        assert erp.sql(f"SELECT wal_status {SLOTS}") == [("lost",)]
        done = world.accord("run", "--once", exits=DONE)
        assert "the replication slot was dropped, or had fallen too far behind" in done.err
        all_found(world)


def test_a_backlog_past_its_bound(world: World) -> None:
    """`max_backlog`: the agent lets go of its slot, and compares all rows."""
    erp = world["erp"]
    world.edit("accord.toml", "[sweep]", '[log]\nmax_backlog = "1MB"\n\n[sweep]')
    three_kinds(erp)
    erp.sql("CREATE TABLE much (t text)")
    erp.sql("INSERT INTO much SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    (before,) = erp.sql(f"SELECT slot_name {SLOTS}")
    done = world.accord("run", "--once", exits=DONE)
    assert "were let go of" in done.err
    assert erp.sql(f"SELECT slot_name {SLOTS}") != [before]
    all_found(world)


def test_unprepare_while_it_runs_leaves_nothing_to_be_kept(world: World) -> None:
    world.accord("unprepare", "--yes", exits=DONE)
    for place in world.places:
        assert place.sql("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()") == []
        assert place.sql("SELECT pubname FROM pg_publication") == []
