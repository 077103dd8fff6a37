"""What only PostgreSQL has, or does in its own way. The oracle is SQL by connections of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from adapters import horizon
from adapters.postgresql.sql import array, literal
from config.errors import Halt, Transient, Unreachable
from config.records import Landing, Outcome, WriteKind
from tests.conformance.backend import Backend, Database
from tests.conformance.factories.postgresql import Postgres
from tests.conformance.world import CUSTOMER, FIELDS, World, customers
from tests.servers import PASSWORD, PostgresServer


@pytest.fixture(scope="session")
def backend(postgres: PostgresServer) -> Backend:
    made: Backend = cast(Any, Postgres(postgres))
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Any]:
    with closing(backend.create()) as database:
        yield database


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Ann", "ann@x", 1), (2, "Bob", "bob@x", 2)])


def wait_for(db: Database, condition: str) -> None:
    """Until the server says so."""
    end = time.monotonic() + 20
    while not db.sql(f"SELECT {condition}")[0][0]:
        assert time.monotonic() < end, condition
        time.sleep(0.01)


WAITING = "EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"


# --- triggers --------------------------------------------------------------------------------------------------------


def test_an_account_without_rights_on_the_schema_writes_through_the_triggers(world: World, db: Any) -> None:
    schema, table = db.sql(
        f"SELECT has_schema_privilege('{db.account}', 'accord', 'USAGE'),"
        f" has_table_privilege('{db.account}', 'accord.accord_changes', 'INSERT')"
    )[0]
    assert (schema, table) == (False, False)
    db.app("INSERT INTO customer (id, name) VALUES (3, 'Cid')")
    db.app("UPDATE customer SET name = 'Anna' WHERE id = 1")
    db.app("DELETE FROM customer WHERE id = 2")
    noted = db.sql("SELECT key, op::text, cols, own FROM accord.accord_changes ORDER BY id")
    assert noted == [("3", "I", None, False), ("1", "U", ["name"], False), ("2", "D", None, False)]


def test_a_hostile_search_path_changes_nothing(world: World, db: Any) -> None:
    db.sql(f"GRANT CREATE ON SCHEMA other TO {db.account}")
    with db.people() as run:
        run("SET LOCAL search_path = other, pg_catalog, public")
        run("CREATE FUNCTION other.txid_current() RETURNS bigint LANGUAGE sql AS 'SELECT 1/0'")
        run("CREATE FUNCTION other.array_remove(text[], text) RETURNS text[] LANGUAGE sql AS 'SELECT NULL::text[]'")
        run("UPDATE public.customer SET name = 'Anna' WHERE id = 1")
    assert db.sql("SELECT key, cols FROM accord.accord_changes") == [("1", ["name"])]


def test_the_sessions_settings_do_not_spell_the_key(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("day", {"at": "zoned PRIMARY KEY", "blob": "bytes", "name": "text"})
    world.bind({"day": ("day", {"name": "name"}, {})}).start()
    with db.people() as run:
        run("SET LOCAL datestyle = 'German'")
        run("SET LOCAL timezone = 'Asia/Tokyo'")
        run("INSERT INTO day (at, name) VALUES ('2026-03-01 12:00:00.5+00', 'noon')")
    key = "2026-03-01 12:00:00.5+00"
    assert world.drain() == [("day", key)]
    assert world.values("day", key) == {"name": "noon"}


def test_a_change_of_float_that_the_session_does_not_show(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("t", {"id": "auto", "x": "double"})
    db.sql("INSERT INTO t (id, x) VALUES (1, 0.1)")
    world.bind({"t": ("t", {"x": "x"}, {})}).start()
    with db.people() as run:
        run("SET LOCAL extra_float_digits = -10")
        run("UPDATE t SET x = 0.1000000000000001 WHERE id = 1")
    assert world.drain() == [("t", "1")]


def test_the_application_may_change_its_table_under_the_triggers(world: World, db: Any) -> None:
    db.app("UPDATE customer SET name = 'a' WHERE id = 1")
    for change in ("ALTER credit TYPE numeric(20, 4)", "DROP email", "RENAME name TO title"):
        db.sql(f"ALTER TABLE customer {change}")
        db.app("UPDATE customer SET credit = credit + 1 WHERE id = 2")
    db.app("INSERT INTO customer (id, title) VALUES (3, 'n')")
    noted = [("1", ["name"]), ("2", ["credit"]), ("2", None), ("2", None), ("3", None)]
    assert db.sql("SELECT key, cols FROM accord.accord_changes ORDER BY id") == noted
    db.sql("ALTER TABLE customer RENAME id TO number")
    db.app("UPDATE customer SET credit = 0 WHERE number = 1")
    db.app("DELETE FROM customer WHERE number = 1")
    assert db.sql("SELECT number FROM customer ORDER BY 1") == [(2,), (3,)]


def test_the_application_goes_on_without_the_log(world: World, db: Any) -> None:
    db.sql("DROP TABLE accord.accord_changes")
    db.app("UPDATE customer SET name = 'a' WHERE id = 1")
    db.app("DELETE FROM customer WHERE id = 2")
    assert db.sql("SELECT name FROM customer") == [("a",)]
    assert [(p.code, "accord_changes" in p.message) for p in world.system.prepared()] == [("prepared-differs", True)]
    with pytest.raises(Halt, match="accord prepare"):
        world.system.changes(None, 10)


def test_a_late_commit_is_not_passed_over(world: World, db: Any) -> None:
    with closing(db.server.connect(db.name, db.account)) as late:
        late.execute("BEGIN")
        late.execute("UPDATE customer SET name = 'late' WHERE id = 1")
        db.app("UPDATE customer SET name = 'early' WHERE id = 2")
        assert world.drain() == [("customer", "2")]
        late.execute("COMMIT")
    assert world.drain() == [("customer", "1")]


def test_a_key_that_came_back_is_the_same_record(world: World, db: Any) -> None:
    db.app("UPDATE customer SET id = 8 WHERE id = 1")
    db.app("UPDATE customer SET id = 1 WHERE id = 8")
    reading = world.reading("customer", "1")
    assert (reading.was, reading.reborn) == (None, False)
    db.app("UPDATE customer SET id = 8 WHERE id = 1")
    db.app("INSERT INTO customer (id, name) VALUES (1, 'another')")
    assert world.reading("customer", "1").reborn
    assert world.reading("customer", "8").was == "1"
    db.app("UPDATE customer SET id = 9 WHERE id = 1")  # the other one, whom nobody has seen yet
    assert world.reading("customer", "9").was is None


def test_rows_of_a_partitioned_table(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TABLE sale (id integer, year integer, name text, PRIMARY KEY (id, year)) PARTITION BY LIST (year)",
        "CREATE TABLE sale_2025 PARTITION OF sale FOR VALUES IN (2025)",
        "CREATE TABLE sale_2026 PARTITION OF sale FOR VALUES IN (2026)",
        "INSERT INTO sale VALUES (1, 2025, 'a')",
    )
    world.bind({"sale": ("sale", {"name": "name"}, {})}).start()
    assert world.system.prepared() == []
    db.app("UPDATE sale SET name = 'b' WHERE id = 1")
    assert world.drain() == [("sale", '["1","2025"]')]
    (outcome,) = world.apply("sale", world.update("sale", '["1","2025"]', {"name": "c"}))
    assert outcome.landing is Landing.LANDED
    assert db.sql("SELECT name FROM sale_2025") == [("c",)]
    db.app("UPDATE sale SET year = 2026 WHERE id = 1")  # moves the row to the other partition
    assert set(world.drain()) == {("sale", '["1","2025"]'), ("sale", '["1","2026"]')}


def test_the_log_tells_only_its_own_entries_apart_by_the_prefix(world: World, db: Any) -> None:
    """A second agent with another prefix sees what the first one writes."""
    second = db.system(prefix="sync")
    second.bind(list(world.tables.values()))
    second.prepare()
    world.apply("customer", world.update("customer", "1", {"name": "by the first"}))
    assert [c.key for c in second.changes(None, 10).changes] == ["1"]
    assert world.drain() == []


# --- equality that is none -------------------------------------------------------------------------------------------


def test_a_collation_that_ignores_case(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE t (id varchar(20) COLLATE any_case PRIMARY KEY, name text COLLATE any_case)",
        "INSERT INTO t VALUES ('ab', 'acme')",
    )
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    seen = world.reading("t", "ab")
    assert world.system.read({"t": ["AB"]}) == {"t": {}}
    db.app("UPDATE t SET name = 'ACME'")
    assert world.drain() == [("t", "ab")]
    (outcome,) = world.apply("t", world.update("t", "ab", {"name": "x"}, seen))
    assert outcome.landing is Landing.CHANGED
    assert db.sql("SELECT name FROM t") == [("ACME",)]
    db.app("UPDATE t SET id = 'Ab'")
    assert set(world.drain()) == {("t", "ab"), ("t", "Ab")}


def test_citext_and_domains(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE EXTENSION citext",
        "CREATE DOMAIN code AS varchar(3) CHECK (value <> 'bad')",
        "CREATE TABLE t (id integer PRIMARY KEY, email citext, code code)",
        "INSERT INTO t VALUES (1, 'ann@x', 'abc')",
    )
    world.bind({"t": ("t", {"email": "email", "code": "code"}, {})}).start()
    seen = world.reading("t", "1")
    db.app("UPDATE t SET email = 'ANN@X'")
    assert world.drain() == [("t", "1")]
    assert world.apply("t", world.update("t", "1", {"email": "y"}, seen))[0].landing is Landing.CHANGED
    long, bad, fine = (world.apply("t", world.update("t", "1", {"code": code}))[0] for code in ("abcd", "bad", "xyz"))
    assert (long.landing, bad.landing, fine.landing) == (Landing.REJECTED, Landing.REJECTED, Landing.LANDED)
    assert "too long" in long.message
    assert db.sql("SELECT code, email::text FROM t") == [("xyz", "ANN@X")]


@pytest.mark.parametrize("type", ["json", "jsonb"])
def test_documents_without_equality(backend: Backend, db: Any, type: str) -> None:
    world = World(backend, db)
    one, other = '{"a": 1}', '{"a": 2}'
    db.define(f"CREATE TABLE t (id integer PRIMARY KEY, doc {type})", f"INSERT INTO t VALUES (1, '{one}')")
    world.bind({"t": ("t", {"doc": "doc:text"}, {})}).start()
    seen = world.reading("t", "1")
    assert world.system.find("t", [0], [(one,), (other,)]) == [("1",), ()]
    assert world.apply("t", world.update("t", "1", {"doc": other}, seen))[0].landing is Landing.LANDED
    assert world.apply("t", world.update("t", "1", {"doc": one}, seen))[0].landing is Landing.CHANGED
    assert db.sql("SELECT doc::text FROM t") == [(other,)]


def test_values_of_an_enum_that_it_does_not_have_are_found_nowhere(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TYPE stage AS ENUM ('open', 'won')",
        "CREATE TABLE t (id integer PRIMARY KEY, stage stage)",
        "INSERT INTO t VALUES (1, 'open'), (2, 'won')",
    )
    world.bind({"t": ("t", {"stage": "stage"}, {})}).start()
    assert world.system.find("t", [0], [("won",), ("lost",), ("open",)]) == [("2",), (), ("1",)]
    lost, won = world.apply("t", world.update("t", "1", {"stage": "lost"}), world.update("t", "2", {"stage": "open"}))
    assert (lost.landing, won.landing) == (Landing.REJECTED, Landing.LANDED)


def test_a_key_that_its_type_cannot_be_is_gone(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("t", {"id": "uuid PRIMARY KEY", "name": "text"})
    db.sql("INSERT INTO t VALUES ('0198c2aa-0000-4000-8000-000000000001', 'n')")
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    key = "0198c2aa-0000-4000-8000-000000000001"
    assert list(world.system.read({"t": ["nonsense", key, "", "4711"]})["t"]) == [key]


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_constraint_that_waits_for_the_commit_refuses_one_record(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TABLE country (id integer PRIMARY KEY)",
        "INSERT INTO country VALUES (1)",
        "CREATE TABLE t (id integer PRIMARY KEY, country integer REFERENCES country DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO t VALUES (1, 1), (2, 1)",
    )
    world.bind({"t": ("t", {"country": "country"}, {})}).start()
    db.sql("INSERT INTO country VALUES (2)")
    bad, good = world.apply("t", world.update("t", "1", {"country": 9}), world.update("t", "2", {"country": 2}))
    assert (bad.landing, good.landing) == (Landing.REJECTED, Landing.LANDED)
    assert "country" in bad.message
    assert db.sql("SELECT id, country FROM t ORDER BY 1") == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    "key",
    [
        "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "bigserial PRIMARY KEY",
        "uuid DEFAULT gen_random_uuid() PRIMARY KEY",
    ],
)
def test_keys_that_the_database_makes_are_tied_by_value(backend: Backend, db: Any, key: str) -> None:
    world = World(backend, db)
    db.define(f"CREATE TABLE t (id {key}, name text)")
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    outcomes = world.apply("t", *(world.insert("t", {"name": f"n{i}"}) for i in range(50)))
    stored = dict(db.sql("SELECT id::text, name FROM t"))
    assert [stored[o.key or ""] for o in outcomes] == [f"n{i}" for i in range(50)]


def test_keys_that_a_trigger_makes(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TABLE t (id text PRIMARY KEY, name text)",
        "CREATE FUNCTION make_key() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.id := ''K-'' || NEW.name; RETURN NEW; END'",
        "CREATE TRIGGER make_key BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION make_key()",
    )
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    outcomes = world.apply("t", *(world.insert("t", {"name": f"n{i}"}) for i in range(5)))
    assert [o.key for o in outcomes] == [f"K-n{i}" for i in range(5)]
    assert sorted(db.sql("SELECT key FROM accord.accord_crosswalk")) == [(f"K-n{i}",) for i in range(5)]


def test_a_trigger_that_changes_made_keys(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TABLE t (id serial PRIMARY KEY, name text)",
        "CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := 1000 - NEW.id; RETURN NEW; END'",
        "CREATE TRIGGER shift BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION shift()",
    )
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    outcomes = world.apply("t", *(world.insert("t", {"name": f"n{i}"}) for i in range(5)))
    stored = dict(db.sql("SELECT id::text, name FROM t"))
    assert [stored[o.key or ""] for o in outcomes] == [f"n{i}" for i in range(5)]


def test_a_trigger_that_skips_the_row(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define(
        "CREATE TABLE t (id integer PRIMARY KEY, name text)",
        "INSERT INTO t VALUES (1, 'locked'), (2, 'free')",
        "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF TG_OP = ''INSERT'' AND NEW.name = ''no'' OR TG_OP <> ''INSERT'' AND OLD.name = ''locked''"
        " THEN RETURN NULL; END IF; IF TG_OP = ''DELETE'' THEN RETURN OLD; END IF; RETURN NEW; END'",
        "CREATE TRIGGER skip BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION skip()",
    )
    world.bind({"t": ("t", {"name": "name"}, {"new_key": "copy"})}).start()
    outcomes = world.apply(
        "t",
        world.update("t", "1", {"name": "x"}),
        world.update("t", "2", {"name": "y"}),
        world.insert("t", {"name": "no"}, links=(("erp", "3"),)),
        world.insert("t", {"name": "yes"}, links=(("erp", "4"),)),
    )
    assert [o.landing.value for o in outcomes] == ["rejected", "landed", "rejected", "landed"]
    assert "trigger" in outcomes[0].message
    assert world.apply("t", world.change(WriteKind.DELETE, "t", "1"))[0].landing is Landing.REJECTED
    assert db.sql("SELECT id, name FROM t ORDER BY 1") == [(1, "locked"), (2, "y"), (4, "yes")]


def test_an_edit_of_another_column_is_told_from_a_side_effect(world: World, db: Any) -> None:
    """MODEL A5: `before` is what stood there, `after` what the write made of it."""
    seen = world.reading("customer", "1")
    db.app("UPDATE customer SET credit = 9 WHERE id = 1")
    (edited,) = world.apply("customer", world.update("customer", "1", {"name": "x"}, seen))
    assert edited.landing is Landing.LANDED
    assert [world.named("customer", r)["credit"] for r in (edited.before, edited.after)] == [9, 9]
    db.sql(
        "CREATE FUNCTION side() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.credit := coalesce(NEW.credit, 0) + 1; RETURN NEW; END'"
    )
    db.sql("CREATE TRIGGER side BEFORE UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION side()")
    for n in (10, 11, 12):  # the third time the batch is locked from the start
        (effect,) = world.apply("customer", world.update("customer", "1", {"name": f"y{n}"}))
        assert [world.named("customer", r)["credit"] for r in (effect.before, effect.after)] == [n - 1, n]


def test_what_a_trigger_does_after_the_row_was_written_is_read_back(world: World, db: Any) -> None:
    db.sql(
        "CREATE FUNCTION after_all() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF pg_trigger_depth() = 1 THEN UPDATE customer SET email = lower(NEW.name) WHERE id = NEW.id;"
        " END IF; RETURN NULL; END'"
    )
    db.sql("CREATE TRIGGER after_all AFTER INSERT OR UPDATE ON customer FOR EACH ROW EXECUTE FUNCTION after_all()")
    old, new = world.apply(
        "customer",
        world.update("customer", "1", {"name": "ABC"}),
        world.insert("customer", {"name": "NEW"}),
    )
    assert world.named("customer", old.after)["email"] == "abc"
    assert world.named("customer", new.after)["email"] == "new"
    assert world.drain() == []  # known from the read-back: no echo
    db.app("UPDATE customer SET name = 'P' WHERE id = 2")
    assert world.drain() == [("customer", "2")]


def test_a_writer_that_was_waited_for_has_the_last_word(world: World, db: Any) -> None:
    """Compare-and-set is judged again on the row that the other transaction leaves behind."""
    writes = [world.update("customer", k, {"name": f"ours {k}"}) for k in ("1", "2")]
    found: list[list[Outcome]] = []
    with closing(db.server.connect(db.name, db.account)) as other:
        other.execute("BEGIN")
        other.execute("UPDATE customer SET name = 'theirs' WHERE id = 1")
        thread = threading.Thread(target=lambda: found.append(world.apply("customer", *writes)))
        thread.start()
        wait_for(db, WAITING)
        other.execute("COMMIT")
        thread.join()
    assert [o.landing for o in found[0]] == [Landing.CHANGED, Landing.LANDED]
    assert db.sql("SELECT name FROM customer ORDER BY id") == [("theirs",), ("ours 2",)]


def test_a_lock_that_does_not_come_is_transient(world: World, db: Any) -> None:
    write = world.update("customer", "1", {"name": "ours"})
    with closing(db.server.connect(db.name, db.account)) as other:
        other.execute("BEGIN")
        other.execute("UPDATE customer SET name = 'theirs' WHERE id = 1")
        transaction = world.begin()
        with pytest.raises(Transient, match="lock"):
            transaction.apply("customer", [write])
        transaction.rollback()
        other.execute("ROLLBACK")
    assert world.apply("customer", write)[0].landing is Landing.LANDED


# --- watermark -------------------------------------------------------------------------------------------------------


def polled(backend: Backend, db: Any, type: str = "datetime", **options: Any) -> World:
    world = World(backend, db)
    world.system = db.system(**options)
    world.create("t", {"id": "int PRIMARY KEY", "name": "text", "changed": type})
    zone = {} if type == "zoned" else {"timezone": "America/New_York"}
    return world.bind({"t": ("t", {"name": "name"}, {"capture": "watermark", "modified": "changed", **zone})})


@pytest.fixture
def two_phase() -> Iterator[tuple[Backend, Any]]:
    """A server that takes prepared transactions; by default there are none."""
    with PostgresServer(options=["-c", "max_prepared_transactions=5"]) as server:
        backend = cast(Backend, Postgres(server))
        with closing(cast(Any, backend.create())) as db:
            yield backend, db


def test_a_prepared_transaction(two_phase: tuple[Backend, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It stamps its rows with its start, and is told of by when it was prepared, after others have been seen."""
    backend, db = two_phase
    monkeypatch.setattr(horizon, "SLACK", 0)
    world = polled(backend, db, "zoned", overlap=0)
    position = world.system.changes(None, 100).position
    with closing(db.server.connect(db.name, db.account)) as session:
        session.execute("BEGIN")
        session.execute("INSERT INTO t VALUES (2, 'late', now())")
        db.app("INSERT INTO t VALUES (1, 'fast', clock_timestamp())")
        position = world.system.changes(position, 100).position
        session.execute("PREPARE TRANSACTION 'it'")
    for _ in range(3):
        db.app("UPDATE t SET changed = clock_timestamp() WHERE id = 1")
        batch = world.system.changes(position, 100)
        position = batch.position
        assert [c.key for c in batch.changes] == ["1"]
        assert "prepared transaction it, open for" in batch.complete["t"].held_by
    with closing(db.server.connect(db.name)) as session:
        session.execute("COMMIT PREPARED 'it'")
    assert [c.key for c in world.system.changes(position, 100).changes] == ["2"]


def test_a_session_that_does_not_tell_of_its_transactions(backend: Backend, db: Any) -> None:
    world = polled(backend, db)
    position = world.system.changes(None, 100).position
    with closing(db.server.connect(db.name)) as session:
        session.execute("SET track_activities = off")
        session.execute("BEGIN")
        assert "track_activities" in world.system.changes(position, 100).complete["t"].assumed
    assert world.system.changes(position, 100).complete["t"].assumed == ""


def test_rows_that_come_by_replication_are_stamped_elsewhere(backend: Backend, db: Any) -> None:
    """Also while nothing is received: it will come with the stamps that it was given meanwhile."""
    world = polled(backend, db)
    position = world.system.changes(None, 100).position
    with closing(db.server.connect(db.name)) as session:
        session.execute("CREATE SUBSCRIPTION theirs CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)")
        try:
            assert "logical replication" in world.system.changes(position, 100).complete["t"].assumed
        finally:
            session.execute("ALTER SUBSCRIPTION theirs SET (slot_name = NONE)")
            session.execute("DROP SUBSCRIPTION theirs")
    assert world.system.changes(position, 100).complete["t"].assumed == ""


def test_a_view_has_no_versions_of_its_own(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.define("CREATE TABLE base (id int PRIMARY KEY, name text, changed timestamp)")
    db.define("CREATE VIEW t AS SELECT id, name, changed FROM base")
    db.define("CREATE MATERIALIZED VIEW m AS SELECT id, name, changed FROM base")
    given = {"capture": "watermark", "modified": "changed", "key": "id", "write": False}
    world.bind({n: (n, {"name": "name"}, given) for n in ("t", "m")})
    position = world.system.changes(None, 100).position
    db.app("INSERT INTO base VALUES (1, 'one', (now() AT TIME ZONE 'UTC')::timestamp(0))")
    batch = world.system.changes(position, 100)
    db.app("UPDATE base SET name = 'two'")
    again = world.system.changes(batch.position, 100)
    assert [[c.key for c in b.changes] for b in (batch, again)] == [["1"], ["1"]]
    assert again.complete["t"].assumed == "" and "materialized view" in again.complete["m"].assumed


def test_two_edits_with_one_stamp(backend: Backend, db: Any) -> None:
    world = polled(backend, db, "seconds")
    position = world.system.changes(None, 100).position
    db.app("INSERT INTO t VALUES (1, 'one', now())")
    batch = world.system.changes(position, 100)
    db.app("UPDATE t SET name = 'two'")  # `changed` stays as it is
    again = world.system.changes(batch.position, 100)
    assert [[c.key for c in b.changes] for b in (batch, again)] == [["1"], ["1"]]
    assert world.system.changes(again.position, 100).changes == []


def test_a_position_that_is_asked_for_again_gives_the_same(backend: Backend, db: Any) -> None:
    world = polled(backend, db)
    position = world.system.changes(None, 100).position
    db.app("INSERT INTO t SELECT g, 'n', now() FROM generate_series(1, 5) g")
    first, again = (world.system.changes(position, 3) for _ in range(2))
    assert [c.key for c in first.changes] == [c.key for c in again.changes] == ["1", "2", "3"]
    rest = world.system.changes(again.position, 3)
    assert [c.key for c in rest.changes] == ["4", "5"]


# --- what check and prepare say --------------------------------------------------------------------------------------


def test_rows_that_a_policy_hides_are_not_taken_for_deleted(world: World, db: Any) -> None:
    db.sql("CREATE POLICY own_rows ON customer USING (id = 1)")
    db.sql("ALTER TABLE customer ENABLE ROW LEVEL SECURITY")
    with pytest.raises(Halt, match="row-level security"):
        world.system.read({"customer": ["1", "2"]})
    assert any(p.code == "row-security" for p in world.system.check())


def test_a_view_is_refused_in_words(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    db.define("CREATE VIEW people AS SELECT id, name FROM customer")
    world.bind({"people": ("people", {"name": "name"}, {"key": "id"})})
    assert any(p.code == "view" and "people is a view" in p.message for p in world.system.check())


def test_check_prints_the_grant_that_helps(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    db.sql('CREATE TABLE "Order" (id serial PRIMARY KEY, name text, hidden text)')
    db.sql(f'GRANT SELECT (id, name) ON "Order" TO {db.agent}')
    db.sql(f"REVOKE CREATE ON DATABASE {db.name} FROM {db.agent}")
    world.bind({"t": ("Order", {"name": "name"}, {})})
    problems = [p for p in world.system.check() if p.code == "privilege"]
    assert len(problems) == 3
    for problem in problems:
        db.sql("GRANT " + problem.hint.partition("GRANT ")[2].partition(";")[0])
    assert world.system.check() == []
    world.start()
    assert world.apply("t", world.insert("t", {"name": "n"}))[0].landing is Landing.LANDED
    assert not db.sql(f"SELECT has_column_privilege('{db.agent}', '\"Order\"', 'hidden', 'UPDATE')")[0][0]


def test_check_asks_for_no_right_that_is_not_used(backend: Backend, db: Any) -> None:
    """No right to insert, and none to the sequence of the keys, where nothing is created; none to delete, likewise."""
    world = World(backend, db)
    db.sql("CREATE TABLE t (id serial PRIMARY KEY, name text)")
    db.sql("INSERT INTO t (name) VALUES ('a')")
    db.sql(f"GRANT SELECT, UPDATE, TRIGGER ON t TO {db.agent}")

    def lacking(**options: bool) -> str:
        world.bind({"t": ("t", {"name": "name"}, options)})
        return " ".join(p.message for p in world.system.check())

    assert lacking(creates=False, deletes=False) == ""
    assert "DELETE" in lacking(creates=False) and "INSERT" not in lacking(creates=False)
    assert "INSERT" in lacking(deletes=False) and "t_id_seq" in lacking(deletes=False)
    assert "DELETE" not in lacking(deletes=False)
    assert lacking(creates=False, deletes=False) == ""
    world.start()
    assert world.apply("t", world.update("t", "1", {"name": "b"}))[0].landing is Landing.LANDED


def test_what_a_dba_prepares_serves_an_account_that_may_make_nothing(world: World, db: Any) -> None:
    world.system.unprepare()
    db.sql(f"REVOKE CREATE ON DATABASE {db.name} FROM {db.agent}")
    db.sql(f"REVOKE TRIGGER ON customer FROM {db.agent}")
    script = world.system.prepare_sql()
    for _ in range(2):
        with closing(db.server.connect(db.name)) as dba:
            dba.execute(script)
    assert world.system.prepared() == []
    assert world.system.check() == []
    world.start()
    db.app("UPDATE customer SET name = 'x' WHERE id = 1")
    assert world.drain() == [("customer", "1")]
    assert world.apply("customer", world.insert("customer", {"name": "n"}))[0].landing is Landing.LANDED


def test_prepare_waits_for_nobody_for_long(backend: Backend, db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.postgresql.system.PAUSE", 0.0)
    world = World(backend, db)
    world.system = db.system(lock_timeout=50_000)
    world.create("customer", CUSTOMER)
    world.bind({"customer": ("customer", FIELDS, {})})
    with closing(db.server.connect(db.name)) as other:
        other.execute("BEGIN")
        other.execute("INSERT INTO customer (name) VALUES ('n')")
        with pytest.raises(Transient, match="lock"):
            world.system.prepare()
        other.execute("COMMIT")
    world.system.prepare()
    assert world.system.prepared() == []


def test_prepare_again_takes_no_lock(world: World, db: Any) -> None:
    with closing(db.server.connect(db.name)) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE customer IN ACCESS EXCLUSIVE MODE")
        world.system.prepare()


def test_a_disabled_trigger_is_noticed(world: World, db: Any) -> None:
    db.sql("ALTER TABLE customer DISABLE TRIGGER accord_customer_update")
    assert any("disabled" in p.message for p in world.system.prepared())
    world.system.prepare()
    db.sql("ALTER TABLE customer ENABLE TRIGGER accord_customer_update")
    assert world.system.prepared() == []


# --- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "hint"), [("nobody_here", "check user and password"), ("app", "check the database's name")]
)
def test_an_account_or_a_database_that_is_not_there(db: Any, account: str, hint: str) -> None:
    if account == "app":
        db.name, real = "no_such_database", db.name
        system = db.system()
        db.name = real
    else:
        system = db.system(account=account)
    with pytest.raises(Unreachable) as refused:
        system.tables(None)
    assert hint in refused.value.problem.hint
    assert PASSWORD not in str(refused.value)


def test_a_server_that_goes_away_and_comes_back(db: Any, backend: Backend) -> None:
    world = customers(backend, db, [(1, "Ann", "a", 1)])
    db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'accord'")
    with pytest.raises(Transient):
        world.system.read({"customer": ["1"]})
    assert list(world.system.read({"customer": ["1"]})["customer"]) == ["1"]


def test_sessions_say_who_they_are_and_have_limits(world: World, db: Any) -> None:
    transaction = world.begin()
    rows = db.sql(
        "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database() AND usename = ?",
        db.agent,
    )
    transaction.rollback()
    assert rows == [("accord",)]


def test_the_mark_ends_with_the_transaction(world: World, db: Any) -> None:
    """An application that shares our pooled connection afterwards is not taken for Accord."""
    world.apply("customer", world.update("customer", "1", {"name": "ours"}))
    assert db.sql("SELECT count(*) FROM accord.accord_changes") == [(0,)]
    session = world.system._writer  # type: ignore[attr-defined]
    session.query("UPDATE customer SET name = 'theirs' WHERE id = 1")
    assert db.sql("SELECT key, own FROM accord.accord_changes") == [("1", False)]


def test_arrays_and_literals_carry_every_text(db: Any) -> None:
    texts = ["", " ", "a", 'say "hi"', "back\\slash", "\\", '"', "{,}", "NULL", "null", "it's", "\n\t", "😀 Ü", "%s $1"]
    with closing(db.server.connect(db.name)) as connection:
        for given in ([*texts, None], texts, ["one"], [""], [None], []):
            (sent,) = connection.execute("SELECT %s::text[]", [array(given)]).fetchone()
            assert sent == given
        for text in (*texts, None):
            (said,) = connection.execute(f"SELECT {literal(text)}::text").fetchone()
            assert said == text
