"""The change log of PostgreSQL: polls that begin behind what is settled, and the room that it takes.

The oracle is SQL by connections of the test's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from adapters.postgresql import floor, room
from tests.conformance.backend import Backend, Database
from tests.conformance.factories.postgresql import Postgres
from tests.conformance.test_origin import changed
from tests.conformance.world import World, customers
from tests.servers import PostgresServer

LOG = "accord.accord_changes"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Nobody else's transactions hold a snapshot back; no vacuum tidies up; prepared transactions are possible."""
    options = ["-c", "max_prepared_transactions=5", "-c", "autovacuum=off"]
    with PostgresServer(options=options) as server:
        yield server


@pytest.fixture
def backend(server: PostgresServer) -> Backend:
    made: Backend = cast(Any, Postgres(server))
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Any]:
    with closing(backend.create()) as database:
        yield database


@pytest.fixture
def world(backend: Backend, db: Database, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(floor, "LAG", 0)
    return customers(backend, db, [(n, f"n{n}", None, n) for n in range(1, 7)])


def at(world: World) -> int:
    """Where a poll begins."""
    return int(cast(Any, world.system)._log._floor.id)


def seen(world: World) -> list[str]:
    return [key for _, key in world.drain()]


def settle(world: World) -> int:
    """Poll until the floor rises no more."""
    for _ in range(3):
        assert seen(world) == []
    return at(world)


def last(db: Any) -> int:
    return int(db.sql("SELECT last_value FROM accord.accord_changes_id_seq")[0][0])


def made_by_a_dba(world: World, db: Any) -> None:
    """The agent's account owns nothing any more, and has the rights that the script gives."""
    world.system.unprepare()
    script = world.system.prepare_sql()
    with closing(db.server.connect(db.name)) as dba:
        dba.execute(script)
    world.system.take_fence("agent")


def edit(run: Any, key: int) -> None:
    run(f"UPDATE customer SET credit = credit + 10 WHERE id = {key}")


def test_it_rises_to_the_last_entry(world: World, db: Any) -> None:
    for key in (1, 2, 3):
        edit(db.app, key)
    assert seen(world) == ["1", "2", "3"]
    assert settle(world) == last(db) == 3
    edit(db.app, 4)
    assert seen(world) == ["4"]


def test_it_stays_below_what_is_not_acknowledged(world: World, db: Any) -> None:
    edit(db.app, 1)
    edit(db.app, 2)
    for _ in range(4):
        batch = world.system.changes(None, 10)
        assert [c.key for c in batch.changes] == ["1", "2"]
        assert at(world) == 0
    world.system.acknowledge(batch.position)
    assert settle(world) == 2


def test_a_late_commit_with_an_early_id(world: World, db: Any) -> None:
    """It began last and drew first, so the number of who committed says nothing of it."""
    with closing(db.server.connect(db.name)) as early, closing(db.server.connect(db.name)) as late:
        for session in (early, late):
            session.execute("BEGIN")
            session.execute("SELECT txid_current()")
        edit(late.execute, 1)
        edit(early.execute, 2)
        early.execute("COMMIT")
        assert seen(world) == ["2"]
        assert settle(world) == 0
        late.execute("COMMIT")
    assert seen(world) == ["1"]
    assert settle(world) == last(db)


def test_a_long_session_holds_up_the_floor_and_nothing_else(world: World, db: Any) -> None:
    """A stranger's that has written elsewhere may still note something: what others do meanwhile is seen at once."""
    edit(db.app, 1)
    assert seen(world) == ["1"]
    known = settle(world)
    with closing(db.server.connect(db.name)) as stranger:
        stranger.execute("BEGIN")
        stranger.execute("SELECT txid_current()")
        for key in (2, 3):
            edit(db.app, key)
            assert seen(world) == [str(key)]
        assert settle(world) == known
        edit(stranger.execute, 4)
        edit(db.app, 5)
        assert seen(world) == ["5"]
        stranger.execute("COMMIT")
    assert seen(world) == ["4"]
    assert settle(world) == last(db)


@pytest.mark.parametrize("undo", ["ROLLBACK", "ROLLBACK TO SAVEPOINT s; COMMIT"])
def test_ids_that_were_rolled_back_do_not_hold_it_up(world: World, db: Any, undo: str) -> None:
    with closing(db.server.connect(db.name)) as session:
        session.execute("BEGIN")
        session.execute("SAVEPOINT s")
        edit(session.execute, 1)
        edit(db.app, 2)
        assert seen(world) == ["2"]
        assert settle(world) == 0
        session.execute(undo)
    assert settle(world) == last(db) == 2


def test_a_prepared_transaction(world: World, db: Any) -> None:
    with closing(db.server.connect(db.name)) as session:
        session.execute("BEGIN")
        edit(session.execute, 1)
        session.execute("PREPARE TRANSACTION 'it'")
        edit(db.app, 2)
        assert seen(world) == ["2"]
        assert settle(world) == 0
        session.execute("COMMIT PREPARED 'it'")
    assert seen(world) == ["1"]
    assert settle(world) == last(db)


@pytest.mark.parametrize("how", [f"TRUNCATE {LOG} RESTART IDENTITY", f"ALTER TABLE {LOG} ALTER id RESTART"])
def test_ids_that_begin_again(world: World, db: Any, how: str) -> None:
    for key in (1, 2, 3):
        edit(db.app, key)
    world.drain()
    assert settle(world) == 3
    db.sql(how)
    edit(db.app, 4)
    assert db.sql(f"SELECT id FROM {LOG}") == [(1,)]
    assert seen(world) == ["4"]


def test_a_log_that_was_made_again(world: World, db: Any) -> None:
    edit(db.app, 1)
    world.drain()
    assert settle(world) == 1
    world.system.unprepare()
    world.system.prepare()
    edit(db.app, 2)
    assert db.sql(f"SELECT id FROM {LOG}") == [(1,)]
    assert seen(world) == ["2"]


def test_a_sequence_that_was_set_back_by_hand(world: World, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing shows it; so the floor is found anew from time to time."""
    edit(db.app, 1)
    edit(db.app, 2)
    world.drain()
    assert settle(world) == 2
    db.sql("SELECT setval('accord.accord_changes_id_seq', 1, false)")
    edit(db.app, 3)
    monkeypatch.setattr(floor, "RENEWED", 0.0)
    assert seen(world) == ["3"]


def test_a_connection_that_is_new_begins_anew(world: World, db: Any) -> None:
    edit(db.app, 1)
    world.drain()
    assert settle(world) == 1
    world.system.close()
    world.system.changes(None, 10)
    assert at(world) == 0
    assert settle(world) == 1


def test_an_account_that_may_not_ask_the_sequence(world: World, db: Any) -> None:
    made_by_a_dba(world, db)
    db.sql(f"REVOKE ALL ON SEQUENCE accord.accord_changes_id_seq FROM {db.agent}")
    edit(db.app, 1)
    edit(db.app, 2)
    assert seen(world) == ["1", "2"]
    assert settle(world) == 2


def test_a_poll_reads_little_however_much_was_consumed(world: World, db: Any) -> None:
    """While an old snapshot keeps every dead entry: counted in pages, by the server."""
    db.sql("INSERT INTO customer (id, name) SELECT g, 'n' FROM generate_series(101, 5100) g")
    with closing(db.server.connect(db.name)) as dump:
        dump.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT count(*) FROM customer")
        while world.drain(1000):
            pass
        settle(world)
        assert db.sql(f"SELECT pg_relation_size('{LOG}') > 300000")[0][0], "the dead are still there"
        session = cast(Any, world.system)._session
        log = cast(Any, world.system)._log
        for text in (f"SELECT {log.waiting()}", log._page(at(world), 1000)):
            plan = session.query(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}")[0][0][0]["Plan"]
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 20, plan


def test_a_table_that_is_emptied_is_told_once(world: World, db: Any) -> None:
    db.app("UPDATE customer SET credit = 0 WHERE id = 1")
    db.sql("TRUNCATE customer")
    db.app("INSERT INTO customer (id, name) VALUES (9, 'n')")
    batch = world.system.changes(None, 10)
    assert [c.key for c in batch.changes] == ["1", "9"] and list(batch.emptied) == ["customer"]
    world.system.acknowledge(batch.position)
    batch = world.system.changes(batch.position, 10)
    assert batch.changes == [] and list(batch.emptied) == []


def test_only_a_table_that_is_emptied(world: World, db: Any) -> None:
    """Not one by a TRUNCATE that is rolled back."""
    with closing(db.server.connect(db.name)) as session:
        session.execute("BEGIN")
        session.execute("TRUNCATE customer")
        session.execute("ROLLBACK")
    assert list(world.system.changes(None, 10).emptied) == []


# --- room ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def large(world: World, db: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """A log that was large and is empty: its room is given back at the next poll."""
    monkeypatch.setattr(room, "EVERY", 0.0)
    for key in (1, 2, 3):
        edit(db.app, key)
    world.drain()
    settle(world)
    monkeypatch.setattr(room, "LARGE", 1)
    return world


def size(db: Any) -> int:
    return int(db.sql(f"SELECT pg_relation_size('{LOG}')")[0][0])


def test_room_is_given_back_and_nobody_takes_it_for_a_loss(large: World, db: Any) -> None:
    before = large.system.origin()
    assert size(db) > 0
    for key in (4, 5):
        assert seen(large) == []
        assert size(db) == 0
        assert large.system.origin() == before
        edit(db.app, key)
        assert seen(large) == [str(key)]
        settle(large)
    other = db.system()
    other.bind(list(large.tables.values()))
    assert other.origin() == before
    db.sql(f"TRUNCATE {LOG}")
    assert changed(before, large.system.origin()) == {"customer"}


def test_positions_from_before_are_harmless(large: World, db: Any) -> None:
    edit(db.app, 4)
    batch = large.system.changes(None, 10)
    large.system.acknowledge(batch.position)
    settle(large)
    assert size(db) == 0
    edit(db.app, 5)
    large.system.acknowledge(batch.position)
    assert seen(large) == ["5"]


def test_an_entry_that_is_not_committed_keeps_its_place(large: World, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its writer is not waited for, and nobody waits behind us."""
    monkeypatch.setattr(floor, "LAG", 10)
    with closing(db.server.connect(db.name)) as session:
        session.execute("BEGIN")
        edit(session.execute, 4)
        # Whoever waited would be cut off, and the poll fail.
        cast(Any, large.system)._session.script("SET lock_timeout = 0; SET statement_timeout = '2s'")
        assert seen(large) == []
        assert size(db) > 0
        edit(db.app, 5)
        session.execute("COMMIT")
    assert seen(large) == ["4", "5"]


def test_one_that_came_since_the_poll_keeps_its_place(large: World, db: Any) -> None:
    edit(db.app, 4)
    cast(Any, large.system)._log._room.give_back(at(large))
    assert db.sql(f"SELECT key FROM {LOG}") == [("4",)]


def test_a_fence_that_is_held_is_not_waited_for(large: World, db: Any) -> None:
    with closing(db.server.connect(db.name)) as session:
        session.execute("BEGIN")
        session.execute("SELECT FROM accord.accord_fence FOR UPDATE")
        assert seen(large) == []
        assert size(db) > 0


def test_without_the_right_it_is_left(large: World, db: Any) -> None:
    made_by_a_dba(large, db)
    db.sql(f"REVOKE TRUNCATE ON {LOG} FROM {db.agent}")
    edit(db.app, 1)
    assert seen(large) == ["1"]
    settle(large)
    assert size(db) > 0
    db.sql(f"GRANT TRUNCATE ON {LOG} TO {db.agent}")
    assert seen(large) == []
    assert size(db) == 0
