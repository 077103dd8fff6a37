"""Capture from PostgreSQL's log: what can happen to a table, a stream and a slot. The oracle is the test's own SQL."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, cast

import psycopg
import pytest

from adapters import watermark
from adapters.origin import Origin
from adapters.postgresql.logical import backlog
from config.errors import Halt, Transient
from config.records import Op
from tests.conformance.backend import Backend
from tests.conformance.factories.postgresql import Postgres
from tests.conformance.test_origin import broken, changed
from tests.conformance.world import CUSTOMER, FIELDS, World, customers
from tests.servers import PostgresServer

ROWS = [(1, "Ann", "ann@x", 1), (2, "Bob", "bob@x", 2)]
LOCK_TIMEOUT = 1.0  # seconds: of the system under test
OURS = "FROM pg_replication_slots WHERE database = current_database()"
CONFIRMED = f"SELECT (confirmed_flush_lsn - '0/0')::bigint {OURS}"


@pytest.fixture(scope="module")
def backend(postgres: PostgresServer) -> Backend:
    made = Postgres(postgres)
    made.mode, made.options = "log", {"capture": "log"}
    return cast(Any, made)


@pytest.fixture
def db(backend: Backend) -> Iterator[Any]:
    with closing(backend.create()) as database:
        yield database


@pytest.fixture
def world(backend: Backend, db: Any) -> World:
    return customers(backend, db, ROWS)


def until(what: str, holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def again(world: World) -> list[tuple[str, str]]:
    """What is seen once the stream, which has failed, is begun anew."""
    try:
        return world.drain()
    except Transient:
        return world.drain()


def why(origin: Origin) -> list[str]:
    return [f"{part.name} {part.broken}" for part in origin.parts if part.broken]


def slots(db: Any) -> list[str]:
    return [name for (name,) in db.sql(f"SELECT slot_name {OURS}")]


def cut(db: Any) -> None:
    """Somebody ends the stream, and it is gone when this returns."""
    db.sql(f"SELECT pg_terminate_backend(active_pid) {OURS} AND active")
    until("it is gone", lambda: not db.sql(f"SELECT 1 {OURS} AND active"))


def table(backend: Backend, db: Any, ddl: str, name: str, columns: dict[str, str | None], **options: Any) -> World:
    """A world with one table of the test's own making."""
    world = World(backend, db)
    db.define(ddl)
    return world.bind({name: (name, columns, options)}).start()


# --- what happens to rows --------------------------------------------------------------------------------------------


def test_a_partitioned_table(backend: Backend, db: Any) -> None:
    db.define(
        "CREATE TABLE visit (id int, year int, name text, PRIMARY KEY (id, year)) PARTITION BY LIST (year)",
        "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1)",
    )
    world = table(backend, db, "CREATE TABLE visit_2 PARTITION OF visit FOR VALUES IN (2)", "visit", {"name": "name"})
    assert world.system.check() == []
    db.app("INSERT INTO visit VALUES (1, 1, 'a'), (2, 2, 'b')")
    assert sorted(world.drain()) == [("visit", '["1","1"]'), ("visit", '["2","2"]')]
    db.app("UPDATE visit SET year = 2 WHERE id = 1")  # into another partition: the server deletes and inserts
    assert sorted(world.drain()) == [("visit", '["1","1"]'), ("visit", '["1","2"]')]
    before = world.system.origin()
    db.define("CREATE TABLE visit_3 PARTITION OF visit FOR VALUES IN (3)")
    db.app("INSERT INTO visit VALUES (3, 3, 'c')")
    assert world.drain() == [("visit", '["3","3"]')]
    assert changed(before, world.system.origin()) == {"visit"}, "rows may have come with a partition"
    assert world.system.prepared() == []


@pytest.mark.parametrize("of", ["visit", "visit_1"])
def test_truncate_of_partitions_is_a_gap(backend: Backend, db: Any, of: str) -> None:
    db.define("CREATE TABLE visit (id int PRIMARY KEY, name text) PARTITION BY LIST (id)")
    world = table(backend, db, "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1)", "visit", {"name": "name"})
    db.app("INSERT INTO visit VALUES (1, 'a')")
    world.drain()
    before = world.system.origin()
    db.sql(f"TRUNCATE {of}")
    assert world.drain() == []
    assert changed(before, world.system.origin()) == {"visit"}


def test_truncate_is_a_gap_and_no_delete(world: World, db: Any) -> None:
    before = world.system.origin()
    db.sql("TRUNCATE customer")
    assert world.drain() == []
    after = world.system.origin()
    assert changed(before, after) == {"customer"} and not broken(after)
    db.app("INSERT INTO customer (id, name) VALUES (3, 'Cid')")
    assert world.drain() == [("customer", "3")]


def test_rows_that_a_cascade_takes_along(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    db.define(
        "CREATE TABLE visit (id int PRIMARY KEY, name text,"
        " customer int REFERENCES customer ON DELETE CASCADE ON UPDATE CASCADE)"
    )
    world.bind({"customer": ("customer", FIELDS, {}), "visit": ("visit", {"name": "name", "of": "customer"}, {})})
    world.start()
    db.app("INSERT INTO customer (id, name) VALUES (1, 'Ann'), (2, 'Bob')")
    db.app("INSERT INTO visit VALUES (1, 'x', 1), (2, 'y', 2)")
    world.drain()
    db.app("UPDATE customer SET id = 9 WHERE id = 1")
    assert sorted(world.drain()) == [("customer", "1"), ("customer", "9"), ("visit", "1")]
    db.app("DELETE FROM customer WHERE id = 2")
    found = {(c.entity, c.key, c.op) for c in world.system.changes(None, 10).changes}
    assert found == {("customer", "2", Op.DELETE), ("visit", "2", Op.DELETE)}


def test_columns_that_are_added_dropped_and_renamed_in_mid_stream(world: World, db: Any) -> None:
    db.app("UPDATE customer SET name = 'one' WHERE id = 1")
    db.sql("ALTER TABLE customer ADD COLUMN first text")
    db.sql("UPDATE customer SET first = 'x' WHERE id = 2")
    db.sql("ALTER TABLE customer DROP COLUMN first, DROP COLUMN note")
    db.app("INSERT INTO customer (id, name) VALUES (3, 'three')")
    db.sql("ALTER TABLE customer RENAME COLUMN email TO mail")
    db.app("INSERT INTO customer (id, name, mail) VALUES (4, 'x', 'four')")
    assert sorted(key for _, key in world.drain()) == ["1", "2", "3", "4"]


def test_a_key_that_was_renamed_meanwhile(backend: Backend, db: Any) -> None:
    """The agent comes back with a mapping of today, to a log in which the column still has the old name."""
    world = table(backend, db, "CREATE TABLE part (no int PRIMARY KEY, name text)", "part", {"name": "name"})
    position = world.system.changes(None, 10).position
    world.system.acknowledge(position)
    db.app("INSERT INTO part VALUES (7, 'seven')")
    world.system.close()
    db.sql("ALTER TABLE part RENAME COLUMN no TO number")
    db.app("INSERT INTO part VALUES (8, 'eight')")
    other = World(backend, db)
    other.bind({"part": ("part", {"name": "name"}, {})})
    other.system.attend(position)
    assert sorted(c.key for c in other.system.changes(position, 10).changes) == ["7", "8"]


def test_a_large_value_beside_the_key_and_in_it(backend: Backend, db: Any) -> None:
    """Such values are not sent when they stay as they are: neither may they look changed, nor may the key be lost."""
    ddl = "CREATE TABLE page (code text, name text, body text, PRIMARY KEY (code))"
    world = table(backend, db, ddl, "page", {"name": "name", "body": "body"})
    db.sql("ALTER TABLE page ALTER code SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL")
    key = "".join(f"{n:04x}" for n in range(600))  # 2400 characters: more is in no index
    db.app("INSERT INTO page VALUES (?, 'a', repeat('long', 9000))", key)
    assert db.sql("SELECT pg_relation_size(reltoastrelid) > 0 FROM pg_class WHERE relname = 'page'") == [(True,)]
    assert world.drain() == [("page", key)]
    db.app("UPDATE page SET name = 'b'")
    name, body = world.indexes("page", "name", "body")
    until("the time is known", lambda: world.reading("page", key).times)
    times = world.reading("page", key).times
    assert times is not None and name in times and body not in times
    assert world.drain() == [("page", key)]


def test_rows_of_a_table_without_primary_key_that_are_sent_whole(backend: Backend, db: Any) -> None:
    db.define("CREATE TABLE item (no int NOT NULL, name text)")
    db.sql("ALTER TABLE item REPLICA IDENTITY FULL")
    world = table(backend, db, "CREATE UNIQUE INDEX ON item (no)", "item", {"name": "name"}, key="no")
    db.app("INSERT INTO item VALUES (1, 'a')")
    world.drain()
    db.app("UPDATE item SET no = 5, name = 'b'")
    assert sorted(world.drain()) == [("item", "1"), ("item", "5")]
    db.app("DELETE FROM item")
    assert world.drain() == [("item", "5")]


# --- what readings know ----------------------------------------------------------------------------------------------


def test_the_time_of_a_column_is_that_of_the_last_event_in_which_it_differs(world: World, db: Any) -> None:
    name, email, credit = world.indexes("customer", "name", "email", "credit")
    db.app("UPDATE customer SET name = 'A' WHERE id = 1")
    first = world.reading("customer", "1").times
    db.app("UPDATE customer SET email = 'e' WHERE id = 1")
    second = world.reading("customer", "1").times
    assert first is not None and second is not None
    assert second[name] == first[name] == second[credit] < second[email]
    assert abs(second[email] - time.time_ns() // 1000) < 60_000_000


def test_a_reading_knows_nothing_of_what_it_does_not_see(world: World, db: Any) -> None:
    """The log may be ahead of a snapshot: what was committed after it has no say in its times."""
    system = cast(Any, world.system)
    db.app("UPDATE customer SET name = 'A' WHERE id = 1")
    bound = system._bounds["customer"]
    with system._session.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ"):
        snapshot, _ = system._logs.snapshot()
        db.app("UPDATE customer SET name = 'B' WHERE id = 1")
        later = db.sql("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint")[0][0]
        assert system._logs.backlog.wait(later, 30)
        before = system._logs.backlog.story(bound.tag, "1", snapshot)
    now = world.reading("customer", "1").times
    assert before.times[0] < now[0] + system._offset


def test_own_writes_have_no_time_and_what_a_trigger_does_beside_them_is_seen(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    for name in ("customer", "party"):
        world.create(name, CUSTOMER)
    db.define(*cast(Any, backend).touch_trigger("customer", "id", "party", "id", "email"))
    world.bind({n: (n, FIELDS, {}) for n in ("customer", "party")}).start()
    db.app("INSERT INTO customer (id, name) VALUES (1, 'Ann')")
    db.app("INSERT INTO party (id, name) VALUES (1, 'Ann')")
    world.drain()
    db.app("UPDATE customer SET email = 'people' WHERE id = 1")
    world.drain()
    before = time.time_ns() // 1000
    world.apply("customer", world.update("customer", "1", {"name": "ours"}))
    assert world.drain() == [("party", "1")]
    db.app("UPDATE customer SET credit = 5 WHERE id = 1")
    times = world.reading("customer", "1").times
    assert times is not None and min(times.values()) >= before
    assert world.drain() == [("customer", "1"), ("party", "1")]


def test_a_second_write_of_the_same_row_by_a_trigger_is_looked_at(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    db.define(
        "CREATE FUNCTION app_more() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE customer SET credit = 7 WHERE id = NEW.id; RETURN NULL; END'",
        "CREATE TRIGGER app_more AFTER UPDATE OF name ON customer FOR EACH ROW EXECUTE FUNCTION app_more()",
    )
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'Ann')")
    world.bind({"customer": ("customer", FIELDS, {})}).start()
    world.apply("customer", world.update("customer", "1", {"name": "ours"}))
    assert world.drain() == [("customer", "1")]
    world.apply("customer", world.update("customer", "1", {"email": "ours"}))
    assert world.drain() == []


def test_after_a_restart_own_writes_are_changes_like_any(world: World, db: Any) -> None:
    position = world.system.changes(None, 10).position
    world.apply("customer", world.update("customer", "1", {"name": "ours"}))
    world.system.close()
    other = db.system()
    other.bind(list(world.tables.values()))
    other.attend(position)
    assert [c.key for c in other.changes(position, 10).changes] == ["1"]


def test_a_commit_that_nobody_can_see_yet(tmp_path: Any) -> None:
    """It stands in the log while it waits for a standby. A look at that moment would find nothing changed."""
    with PostgresServer() as server:
        backend: Any = Postgres(server)
        backend.mode, backend.options = "log", {"capture": "log"}
        with closing(backend.create()) as db:
            world = customers(backend, db, ROWS)
            start = world.system.changes(None, 10).position
            db.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            db.sql("SELECT pg_reload_conf()")
            until("it counts", lambda: db.sql("SHOW synchronous_standby_names") == [("nobody",)])
            person = threading.Thread(target=db.app, args=("UPDATE customer SET name = 'late' WHERE id = 1",))
            person.start()
            try:
                until("it waits", lambda: db.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
                time.sleep(0.3)
                batch = world.system.changes(start, 10)
                assert (batch.changes, batch.more) == ([], True)
                assert world.values("customer", "1")["name"] == "Ann"
            finally:
                db.sql("ALTER SYSTEM RESET synchronous_standby_names")
                db.sql("SELECT pg_reload_conf()")
                person.join()
            assert [c.key for c in world.system.changes(batch.position, 10).changes] == ["1"]
            assert world.values("customer", "1")["name"] == "late"


def test_a_commit_that_is_seen_and_not_sent_yet(tmp_path: Any) -> None:
    """It did not wait for the disk. What the log knows of the row is of the time before: no time is better."""
    with PostgresServer(options=["-c", "wal_writer_delay=10s", "-c", "wal_level=logical"]) as server:
        made = Postgres(server)
        made.mode, made.options = "log", {"capture": "log"}
        with closing(made.create()) as db:
            world = customers(cast(Any, made), db, ROWS)
            db.app("UPDATE customer SET name = 'A' WHERE id = 1")
            until("it has come", lambda: world.reading("customer", "1").times)
            with db.people() as run:
                run("SET LOCAL synchronous_commit = off")
                run("UPDATE customer SET name = 'B' WHERE id = 1")
            reading = world.reading("customer", "1")
            assert world.named("customer", reading.raws)["name"] == "B" and not reading.times
            db.app("UPDATE customer SET name = 'other' WHERE id = 2")  # this one waits, and takes the other along
            until("it has come, too", lambda: world.reading("customer", "1").times)


# --- positions -------------------------------------------------------------------------------------------------------


def test_the_server_keeps_the_log_until_it_is_acknowledged(world: World, db: Any) -> None:
    db.sql(f"ALTER DATABASE {db.name} SET wal_sender_timeout = '1s'")  # so that we report several times a second
    world.system.close()
    world.system.attend(None)
    (before,) = db.sql(CONFIRMED)
    db.app("UPDATE customer SET name = 'x'")
    batch = world.system.changes(None, 10)
    assert len(batch.changes) == 2
    time.sleep(1)
    assert db.sql(CONFIRMED) == [before]
    world.system.acknowledge(batch.position)
    until("let go of", lambda: db.sql(CONFIRMED) > [before])
    assert world.system.changes(batch.position, 10).changes == []


def test_a_transaction_larger_than_a_batch_comes_again_whole_after_a_crash(world: World, db: Any) -> None:
    db.app("INSERT INTO customer (id, name) SELECT n, 'x' FROM generate_series(1000, 1024) n")
    db.app("UPDATE customer SET name = 'later' WHERE id = 1")
    start = world.system.changes(None, 0).position
    first = world.system.changes(start, 10)
    world.system.acknowledge(first.position)
    second = world.system.changes(first.position, 10)
    world.system.acknowledge(second.position)
    assert first.position == second.position and first.more and second.more
    assert not {c.key for c in first.changes} & {c.key for c in second.changes}
    world.system.close()
    other = db.system()
    other.bind(list(world.tables.values()))
    other.attend(second.position)
    assert len(other.changes(second.position, 100).changes) == 26


def test_a_slot_moves_though_only_others_are_busy(world: World, db: Any, backend: Backend) -> None:
    """Neither tables of this database that do not take part nor other databases hold the server's log back."""
    position = world.system.changes(None, 10).position
    world.system.acknowledge(position)
    (before,) = db.sql(CONFIRMED)
    with closing(backend.create()) as other:
        other.sql("CREATE TABLE much (t text)")
        other.sql("INSERT INTO much SELECT repeat('x', 500) FROM generate_series(1, 10000)")

        def moved() -> bool:
            nonlocal position
            batch = world.system.changes(position, 10)
            if batch.position != position:
                position = batch.position
                world.system.acknowledge(position)
            return bool(db.sql(CONFIRMED)[0][0] > before[0] + 1_000_000)

        until("it moves", moved)


def test_a_server_that_gives_up_who_is_silent(world: World, db: Any) -> None:
    """It hears from us often enough, also while nothing is read because much is waiting."""
    db.sql(f"ALTER DATABASE {db.name} SET wal_sender_timeout = '1s'")
    world.system.close()
    world.system.attend(None)
    until("it reads", lambda: db.sql(f"SELECT 1 {OURS} AND active"))
    (pid,) = db.sql(f"SELECT active_pid {OURS}")
    time.sleep(3)
    db.app("UPDATE customer SET name = 'x' WHERE id = 1")
    assert world.drain() == [("customer", "1")]
    assert db.sql(f"SELECT active_pid {OURS}") == [pid]


# --- what happens to the stream, the slot and the publication --------------------------------------------------------


def test_a_stream_that_is_cut_goes_on_where_it_was(world: World, db: Any) -> None:
    before = world.system.origin()
    db.app("UPDATE customer SET name = 'x' WHERE id = 1")
    first = world.system.changes(None, 10)
    cut(db)
    db.app("UPDATE customer SET name = 'x' WHERE id = 2")
    assert sorted(again(world)) == [("customer", "1"), ("customer", "2")]
    assert first.changes and world.system.origin() == before


def test_a_slot_that_was_dropped_while_it_runs(world: World, db: Any) -> None:
    before = world.system.origin()
    cut(db)
    db.sql(f"SELECT pg_drop_replication_slot(slot_name) {OURS}")
    db.app("UPDATE customer SET name = 'unseen' WHERE id = 1")
    dropped = world.system.origin()
    assert changed(before, dropped) == {"customer"}
    again(world)
    after = world.system.origin()
    assert changed(dropped, after) == changed(before, after) == {"customer"} and not broken(after)
    (said,) = [p for p in after.parts if p.id not in {q.id for q in before.parts}]
    assert f"{said.name} {said.changed}" == "the replication slot was dropped, or had fallen too far behind"
    db.app("UPDATE customer SET name = 'seen' WHERE id = 2")
    assert world.drain() == [("customer", "2")]


def test_behind_another_slot_no_number_is_known_for_our_own(world: World, db: Any) -> None:
    """After a failover transactions of people may have the numbers of ours that were lost."""
    logs = cast(Any, world.system)._logs
    (tag,) = logs._groups
    ((at,),) = db.sql("SELECT txid_current()")
    for xid in range(at + 1, at + 40):
        logs.expect(xid, [(tag, "1")])
    cut(db)
    db.sql(f"SELECT pg_drop_replication_slot(slot_name) {OURS}")
    again(world)
    db.app("UPDATE customer SET name = 'theirs' WHERE id = 1")
    ((now,),) = db.sql("SELECT txid_current()")
    assert now < at + 40
    assert world.drain() == [("customer", "1")]


def test_a_transaction_that_is_open_while_the_slot_is_made(world: World, db: Any) -> None:
    """What it has written would be in no log that is read from now on: a slot is waited for, and then all is swept."""
    before = world.system.origin()
    world.system.close()
    cut(db)
    db.sql(f"SELECT pg_drop_replication_slot(slot_name) {OURS}")
    with db.people() as run:
        run("UPDATE customer SET name = 'open' WHERE id = 2")
        world.system.attend(None)
        ((session,),) = db.sql(
            "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
        )
        (said,) = why(world.system.origin())
        assert said.startswith(f"the replication slot cannot be made before session {session} of ")
        assert said.endswith(" has ended, which is waited for")
        (begun,) = slots(db)
        time.sleep(2 * LOCK_TIMEOUT)  # it is no lock that is given up
        assert world.system.changes(None, 10).changes == []
        assert slots(db) == [begun]
    until("it is there", lambda: (world.system.attend(None), db.sql(f"SELECT active {OURS}"))[1] == [(True,)])
    assert slots(db) == [begun]
    after = world.system.origin()
    assert changed(before, after) == {"customer"} and not broken(after)
    db.app("UPDATE customer SET name = 'seen' WHERE id = 1")
    assert world.drain() == [("customer", "1")]


@pytest.mark.parametrize("how", ["close", "let_go"])
def test_a_slot_that_is_being_made_is_broken_off(world: World, db: Any, how: str) -> None:
    world.system.close()
    cut(db)
    db.sql(f"SELECT pg_drop_replication_slot(slot_name) {OURS}")
    with db.people() as run:
        run("UPDATE customer SET name = 'open' WHERE id = 2")
        world.system.attend(None)
        assert len(slots(db)) == 1
        db.sql("CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
        assert world.system.backlog() > 1_000_000, "it keeps log from where it was begun"
        getattr(world.system, how)()
        until("it is gone", lambda: slots(db) == [])


def test_a_slot_that_an_agent_that_is_gone_was_making(world: World, db: Any) -> None:
    """Its session lives on at the server for as long as it waits."""
    world.system.close()
    cut(db)
    ((name,),) = db.sql(f"SELECT slot_name {OURS}")
    db.sql(f"SELECT pg_drop_replication_slot(slot_name) {OURS}")
    made: list[Any] = []

    def make() -> None:
        try:
            with closing(db.server.connect(db.name, db.agent)) as session:
                made.append(session.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name]))
        except psycopg.Error as error:
            made.append(error)

    with db.people() as run:
        run("UPDATE customer SET name = 'open' WHERE id = 2")
        other = threading.Thread(target=make)
        other.start()
        until("it waits", lambda: slots(db) == [name])
        world.system.attend(None)
        other.join()
        assert isinstance(made[0], psycopg.Error) and name not in slots(db)
    until("it is there", lambda: (world.system.attend(None), db.sql(f"SELECT active {OURS}"))[1] == [(True,)])


def test_the_last_acknowledgement_is_sent(world: World, db: Any) -> None:
    """What is dealt with is not sent again to the next agent, though it ends at once."""
    for n in range(10, 15):
        db.app("UPDATE customer SET credit = ? WHERE id = 1", n)
        batch = world.system.changes(None, 10)
        while not batch.changes:
            batch = world.system.changes(batch.position, 10)
        world.system.acknowledge(batch.position)
        world.system.close()
        ((confirmed,),) = db.sql(CONFIRMED)
        assert confirmed == json.loads(watermark.unpack(batch.position).stream)[1], "all that was acknowledged"


def test_a_slot_without_a_publication_keeps_nothing(world: World, db: Any) -> None:
    """The agent was away; what was written since the publication went cannot be read."""
    position = world.system.changes(None, 10).position
    world.system.close()
    db.sql("DROP PUBLICATION accord_log")
    cut(db)
    world.system.attend(position)
    assert slots(db) == []


def test_a_row_without_a_key_is_no_record(backend: Backend, db: Any) -> None:
    """A key that is only unique may be NULL; then the log must send rows whole."""
    db.define("CREATE TABLE item (no int UNIQUE, name text)")
    db.sql("ALTER TABLE item REPLICA IDENTITY FULL")
    world = table(backend, db, "CREATE TABLE other (id int PRIMARY KEY)", "item", {"name": "name"}, key="no")
    assert world.system.check() == []
    db.app("INSERT INTO item VALUES (NULL, 'a'), (NULL, 'b'), (1, 'c')")
    assert world.drain() == [("item", "1")]
    db.app("UPDATE item SET name = 'x' WHERE name = 'a'")
    db.app("DELETE FROM item WHERE name = 'b'")
    assert world.drain() == []
    db.app("UPDATE item SET no = 2 WHERE no IS NULL")
    assert {(c.key, c.op) for c in world.system.changes(None, 10).changes} == {("2", Op.INSERT)}
    world.drain()
    db.app("UPDATE item SET no = NULL WHERE no = 1")
    assert {(c.key, c.op) for c in world.system.changes(None, 10).changes} == {("1", Op.DELETE)}


@pytest.mark.parametrize("how", ["prepare", "script"])
def test_a_table_whose_updates_the_server_would_refuse(backend: Backend, db: Any, how: str) -> None:
    """Neither `prepare` nor its script publishes one without a replica identity (I12)."""
    db.define("CREATE TABLE item (no int UNIQUE, name text)")
    world = World(backend, db)
    world.bind({"item": ("item", {"name": "name"}, {"key": "no"})})
    assert [p.code for p in world.system.check()] == ["replica-identity"]
    with pytest.raises((Halt, AssertionError), match="REPLICA IDENTITY"):
        world.system.prepare() if how == "prepare" else db.script(world.system.prepare_sql())
    db.app("INSERT INTO item VALUES (1, 'a')")
    db.app("UPDATE item SET name = 'b'")


@pytest.mark.parametrize("running", [True, False])
def test_a_slot_that_was_made_again_under_the_same_name(world: World, db: Any, running: bool) -> None:
    before, position = world.system.origin(), world.system.changes(None, 10).position
    if not running:
        world.system.close()
        until("it is closed", lambda: db.sql(f"SELECT active {OURS}") == [(False,)])
    cut(db)
    (name,) = slots(db)
    db.sql("SELECT pg_drop_replication_slot(?)", name)
    db.app("UPDATE customer SET name = 'unseen' WHERE id = 1")
    db.sql("SELECT pg_create_logical_replication_slot(?, 'pgoutput')", name)
    if running:
        try:
            world.system.changes(position, 10)
        except Transient:
            pass
    world.system.attend(position)
    assert slots(db) != [name]
    assert changed(before, world.system.origin()) == {"customer"}


def test_a_publication_that_was_dropped_and_made_again(world: World, db: Any) -> None:
    before = world.system.origin()
    db.sql("DROP PUBLICATION accord_log")
    db.app("UPDATE customer SET name = 'unseen' WHERE id = 1")
    assert {p.code for p in world.system.prepared()} == {"no-trigger"}
    gone = world.system.origin()
    assert "the publication accord_log is missing" in why(gone)
    assert again(world) == []
    assert slots(db) == [], "nothing may be held back for a log that cannot be read"
    world.system.prepare()
    assert world.system.prepared() == []
    again(world)
    healed = world.system.origin()
    assert changed(before, healed) == changed(gone, healed) == {"customer"} and not broken(healed)
    db.app("UPDATE customer SET name = 'seen' WHERE id = 2")
    assert world.drain() == [("customer", "2")]


def test_a_publication_that_was_made_again_before_anybody_looked(world: World, db: Any) -> None:
    before = world.system.origin()
    db.sql("DROP PUBLICATION accord_log")
    db.app("UPDATE customer SET name = 'unseen' WHERE id = 1")
    world.system.prepare()
    assert again(world) == []
    assert changed(before, world.system.origin()) == {"customer"}
    db.app("UPDATE customer SET name = 'seen' WHERE id = 2")
    assert world.drain() == [("customer", "2")]


def test_a_table_that_was_taken_out_of_the_publication(world: World, db: Any) -> None:
    before = world.system.origin()
    db.sql("ALTER PUBLICATION accord_log DROP TABLE customer")
    assert why(world.system.origin()) == ["the entry of customer in the publication accord_log is missing"]
    db.app("UPDATE customer SET name = 'unseen' WHERE id = 1")
    world.system.prepare()
    healed = world.system.origin()
    assert changed(before, healed) == {"customer"} and not broken(healed)
    db.app("UPDATE customer SET name = 'seen' WHERE id = 2")
    assert world.drain() == [("customer", "2")]


def test_a_publication_that_leaves_out_deletes(world: World, db: Any) -> None:
    db.sql("ALTER PUBLICATION accord_log SET (publish = 'insert, update, truncate')")
    assert why(world.system.origin()) == ["the publication accord_log leaves out deletes"]
    world.system.prepare()
    assert not broken(world.system.origin())


@pytest.mark.parametrize("only", ["WHERE (id > 1)", "(id, name)"])
def test_a_publication_that_leaves_out_rows_or_columns(world: World, db: Any, only: str) -> None:
    before = world.system.origin()
    db.sql("ALTER PUBLICATION accord_log DROP TABLE customer")
    narrow = f"ALTER PUBLICATION accord_log ADD TABLE customer {only}"
    if db.server.version().startswith(("13.", "14.")):  # such publications are new in 15
        with pytest.raises(psycopg.errors.SyntaxError):
            db.sql(narrow)
        return
    db.sql(narrow)
    (said,) = why(world.system.origin())
    assert said.endswith("leaves out rows or columns")
    assert {p.code for p in world.system.prepared()} == {"no-trigger"}
    world.system.prepare()
    assert world.system.prepared() == []
    healed = world.system.origin()
    assert changed(before, healed) == {"customer"} and not broken(healed)
    world.drain()
    db.app("UPDATE customer SET credit = 9 WHERE id = 1")
    assert world.drain() == [("customer", "1")]


def test_a_publication_that_names_partitions(backend: Backend, db: Any) -> None:
    db.define("CREATE TABLE visit (id int PRIMARY KEY, name text) PARTITION BY LIST (id)")
    world = table(backend, db, "CREATE TABLE visit_1 PARTITION OF visit FOR VALUES IN (1)", "visit", {"name": "name"})
    before = world.system.origin()
    assert not broken(before)
    db.sql("ALTER PUBLICATION accord_log SET (publish_via_partition_root = false)")
    (said,) = why(world.system.origin())
    assert "names its partitions" in said
    world.system.prepare()
    assert not broken(world.system.origin())
    world.drain()
    db.app("INSERT INTO visit VALUES (1, 'a')")
    assert world.drain() == [("visit", "1")]


def test_a_row_whose_new_key_has_not_been_read_yet(world: World, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is gone under the old one, and no delete: also where more waits than is kept."""
    db.sql("INSERT INTO customer (id, name) SELECT n, 'x' FROM generate_series(11, 400) n")
    world.drain()
    monkeypatch.setattr(backlog, "FULL", 10)
    db.app("UPDATE customer SET id = id + 1000 WHERE id > 10")
    until("it reads no further", lambda: world.system._logs.backlog.full)  # type: ignore[attr-defined]
    assert len(world.system.changes(None, 5).changes) == 5
    assert world.system.moved("customer", ["11", "400"]) == {"11": "1011", "400": "1400"}
    assert len({key for _, key in world.drain()}) == 2 * 390


def test_a_replica_identity_without_the_key(world: World, db: Any) -> None:
    db.sql("ALTER TABLE customer ADD COLUMN other int NOT NULL DEFAULT 0")
    db.sql("CREATE UNIQUE INDEX other ON customer (id, other)")
    db.sql("ALTER TABLE customer REPLICA IDENTITY USING INDEX other")
    assert not broken(world.system.origin())
    db.sql("DELETE FROM customer WHERE id = 2")
    db.sql("CREATE UNIQUE INDEX lone ON customer (other)")
    db.sql("ALTER TABLE customer REPLICA IDENTITY USING INDEX lone")
    assert why(world.system.origin()) == [
        "the entry of customer in the publication accord_log does not name the key of customer (its replica identity)"
    ]


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_names_what_the_log_needs(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TABLE plain (id int NOT NULL UNIQUE, name text)",
        "CREATE UNLOGGED TABLE fast (id int PRIMARY KEY, name text)",
        "CREATE TABLE foreign_owned (id int PRIMARY KEY, name text)",
    )
    db.sql("ALTER TABLE foreign_owned OWNER TO admin")
    db.sql(f"ALTER ROLE {db.agent} NOREPLICATION")
    names = ("plain", "fast", "foreign_owned")
    world.bind({n: (n, {"name": "name"}, {"key": "id"}) for n in names})
    found = {(p.code, p.entity): p for p in world.system.check()}
    assert set(found) == {
        ("privilege", None),
        ("replica-identity", "plain"),
        ("unlogged", "fast"),
        ("privilege", "foreign_owned"),
    }
    assert f"ALTER ROLE {db.agent} REPLICATION" in found["privilege", None].hint
    assert 'ALTER TABLE "fast" SET LOGGED' in found["unlogged", "fast"].hint


def test_check_names_the_level_of_the_log(tmp_path: Any) -> None:
    with PostgresServer(options=["-c", "wal_level=replica"]) as server:
        backend: Any = Postgres(server)
        backend.mode, backend.options = "log", {"capture": "log"}
        with closing(backend.create()) as db:
            world = World(backend, db)
            world.create("customer", CUSTOMER)
            world.bind({"customer": ("customer", FIELDS, {})})
            (problem,) = world.system.check()
            assert (problem.code, problem.message) == ("wal-level", "wal_level is replica")


def test_notes_say_what_the_server_keeps(world: World) -> None:
    assert [p.code for p in world.system.notes()] == ["log-kept"]


def test_what_is_left_when_the_log_is_not_used_any_more(world: World, db: Any, backend: Backend) -> None:
    other = World(backend, db)
    other.bind({"customer": ("customer", FIELDS, {"capture": "trigger"})})
    assert "left over" in str([p.message for p in other.system.prepared()])
    db.sql(f"GRANT TRIGGER ON customer TO {db.agent}")
    world.system.close()
    other.system.prepare()
    assert other.system.prepared() == [] and slots(db) == []
    assert db.sql("SELECT count(*) FROM pg_publication") == [(0,)]
