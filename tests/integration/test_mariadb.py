"""What only MariaDB does: its collations, floats, triggers, rights and errors. The oracle is SQL of the tests' own."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

import pymysql
import pytest

from adapters import horizon
from adapters.mysql.connection import Session
from config.errors import Halt, Transient, Unreachable
from config.records import Batch, Landing, WriteKind
from tests.conformance.factories.mariadb import Maria, MariaDatabase, run
from tests.conformance.tables import table
from tests.conformance.world import World
from tests.servers import MariaServer

PARTY = "CREATE TABLE party (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40), code VARCHAR(10), city VARCHAR(40))"
FIELDS = {"name": "name", "code": "code"}


@pytest.fixture
def db(mariadb: MariaServer) -> Iterator[MariaDatabase]:
    with closing(Maria(mariadb).create()) as database:
        yield database


def world_of(db: MariaDatabase, *ddl: str, name: str = "party", **options: object) -> World:
    """The entity `party` over a table that `ddl` makes."""
    db.define(*ddl)
    world = World(Maria(db.server), db)
    fields = options.pop("fields", FIELDS)
    return world.bind({"party": (name, fields, options)}).start()  # type: ignore[dict-item]


@contextmanager
def setting(db: MariaDatabase, name: str, value: object) -> Iterator[None]:
    """A global variable of the server, put back afterwards."""
    before = db.sql(f"SELECT @@GLOBAL.{name}")[0][0]
    db.sql(f"SET GLOBAL {name} = ?", value)
    try:
        yield
    finally:
        db.sql(f"SET GLOBAL {name} = ?", before)


@contextmanager
def account(db: MariaDatabase, *grants: str) -> Iterator[str]:
    """An account with these rights only."""
    name = db.server.create_user(f"agent_{db.name}")
    for grant in grants:
        db.sql(f"GRANT {grant} TO '{name}'@'%'")
    try:
        yield name
    finally:
        for system in db.systems:
            system.close()
        db.sql(f"DROP USER '{name}'@'%'")


# --- triggers never make the application's statement fail (I12) ------------------------------------------------------


def test_a_dropped_column_fails_no_statement_and_loses_no_change(db: MariaDatabase) -> None:
    world = world_of(db, PARTY)
    db.sql("ALTER TABLE party DROP COLUMN code")
    db.app("INSERT INTO party (id, name) VALUES (7, 'Acme')")
    db.app("UPDATE party SET name = 'Acme GmbH' WHERE id = 7")
    db.app("DELETE FROM party WHERE id = 7")
    assert db.sql("SELECT op, `key`, cols FROM accord_changes ORDER BY id") == [
        ("I", "7", None),
        ("U", "7", None),
        ("D", "7", None),
    ]
    assert [(c.entity, c.key) for c in world.system.changes(None, 10).changes] == [("party", "7")]


def test_a_renamed_key_fails_no_statement_and_halts_capture(db: MariaDatabase) -> None:
    world = world_of(db, PARTY)
    db.sql("ALTER TABLE party CHANGE id number INT AUTO_INCREMENT")
    db.app("INSERT INTO party (number, name) VALUES (7, 'Acme')")
    db.app("UPDATE party SET name = 'Acme GmbH' WHERE number = 7")
    assert db.sql("SELECT name FROM party") == [("Acme GmbH",)]
    with pytest.raises(Halt, match="party was altered"):
        world.system.changes(None, 10)


def test_the_triggers_work_in_any_session(db: MariaDatabase) -> None:
    world_of(db, PARTY)
    with db.people() as run:
        run("SET NAMES latin1")
        run("SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH'")
        run("SET time_zone = '-11:00'")
        run("INSERT INTO party (id, name) VALUES (1, 'a')")
        run("UPDATE party SET name = 'A' WHERE id = 1")
    assert db.sql("SELECT op, `key`, cols, own FROM accord_changes ORDER BY id") == [
        ("I", "1", None, 0),
        ("U", "1", '["name"]', 0),
    ]
    age = "SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, changed_at, UTC_TIMESTAMP()))) FROM accord_changes"
    assert db.sql(age)[0][0] < 1800  # no zone got into it


def test_the_application_sees_its_own_last_insert_id(db: MariaDatabase) -> None:
    world_of(db, PARTY)
    with db.people() as run:
        run("INSERT INTO party (name) VALUES ('Acme')")
        assert run("SELECT LAST_INSERT_ID()") == run("SELECT id FROM party")
        run("UPDATE party SET name = 'Acme GmbH'")
        assert run("SELECT LAST_INSERT_ID()") == run("SELECT id FROM party")


# --- comparison ------------------------------------------------------------------------------------------------------

KEYED = (
    "CREATE TABLE keyed (k VARCHAR(20) CHARACTER SET {charset}, n INT, name VARCHAR(40), PRIMARY KEY (k, n))"
    " DEFAULT CHARSET utf8mb4"
)


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "utf8mb4"])
def test_composite_text_keys_of_other_character_sets(db: MariaDatabase, charset: str) -> None:
    world = world_of(db, KEYED.format(charset=charset), name="keyed", fields={"name": "name"})
    db.sql("INSERT INTO keyed VALUES ('Ärger', 1, 'a'), ('b', 2, 'b'), ('ÄRGER', 2, 'c')")
    right, wrong = '["Ärger","1"]', '["ärger","1"]'
    found = world.system.read({"party": [right, wrong, '["b","2"]', '["b","x"]']})["party"]
    assert set(found) == {right, '["b","2"]'}
    assert world.system.read({"party": [wrong]})["party"] == {}  # though the collation takes one for the other
    write = world.update("party", right, {"name": "new"})
    assert [o.landing for o in world.apply("party", write, write._replace(key=wrong))] == [
        Landing.LANDED,
        Landing.MISSING,
    ]
    assert sorted(db.sql("SELECT n, name FROM keyed")) == [(1, "new"), (2, "b"), (2, "c")]


def test_a_float_is_exact_and_stands_for_its_own_spelling(db: MariaDatabase) -> None:
    ddl = "CREATE TABLE party (id INT PRIMARY KEY, f FLOAT, g FLOAT(7,2), d DOUBLE)"
    world = world_of(db, ddl, fields={"f": "f", "g": "g", "d": "d"})
    db.sql("INSERT INTO party VALUES (1, 0.1, 1.1, 0.1), (2, 16777217, 0.25, 1e-300)")
    assert world.values("party", "1") == {"f": Decimal("0.1"), "g": Decimal("1.1"), "d": Decimal("0.1")}
    before = world.update("party", "1", {"f": Decimal("0.3")})
    db.app("UPDATE party SET f = 0.1000001 WHERE id = 1")  # six digits, which is all that a SELECT shows, are the same
    assert world.apply("party", before)[0].landing is Landing.CHANGED
    assert world.apply("party", world.update("party", "1", {"f": Decimal("0.3")}))[0].landing is Landing.LANDED
    assert db.sql("SELECT f = CAST(0.3 AS FLOAT) FROM party WHERE id = 1") == [(1,)]


def test_a_zero_date_stays_as_it_is(db: MariaDatabase) -> None:
    ddl = "CREATE TABLE party (id INT PRIMARY KEY, name VARCHAR(40), born DATE, seen DATETIME)"
    world = world_of(db, ddl, fields={"name": "name", "born": "born"})
    db.sql("INSERT INTO party VALUES (1, 'a', '0000-00-00', '0000-00-00 00:00:00')")
    reading = world.reading("party", "1")
    decode = world.system.decoders("party")[1]
    assert decode is not None
    with pytest.raises(ValueError, match="zero date"):
        decode(reading.raws[1])
    assert world.apply("party", world.update("party", "1", {"name": "b"}))[0].landing is Landing.LANDED
    text = "SELECT name, CAST(born AS CHAR), CAST(seen AS CHAR) FROM party"
    assert db.sql(text) == [("b", "0000-00-00", "0000-00-00 00:00:00")]


def test_characters_that_a_column_cannot_hold_stop_one_record(db: MariaDatabase) -> None:
    ddl = "CREATE TABLE party (id INT PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb3, code VARCHAR(10))"
    world = world_of(db, ddl)
    db.sql("INSERT INTO party VALUES (1, 'a', ''), (2, 'b', ''), (3, 'c', '')")
    outcomes = world.apply(
        "party", *(world.update("party", str(n), {"name": name}) for n, name in ((1, "ä"), (2, "😀"), (3, "€")))
    )
    assert [o.landing for o in outcomes] == [Landing.LANDED, Landing.REJECTED, Landing.LANDED]
    assert "name" in outcomes[1].message and "character set" in outcomes[1].hint
    assert db.sql("SELECT name FROM party ORDER BY id") == [("ä",), ("b",), ("€",)]


# --- writing ---------------------------------------------------------------------------------------------------------


def test_generated_keys_belong_to_their_rows_whatever_a_trigger_does(db: MariaDatabase) -> None:
    world = world_of(db, PARTY)
    db.sql(
        "CREATE TRIGGER app_rewrites BEFORE INSERT ON party FOR EACH ROW"
        " SET NEW.name = REVERSE(NEW.name), NEW.city = NEW.name"
    )
    names = ["ab", "ba", "abc", "cba", "ab", "x"]
    writes = [world.insert("party", {"name": name, "code": str(n)}) for n, name in enumerate(names)]
    outcomes = world.apply("party", *writes)
    assert [o.landing for o in outcomes] == [Landing.LANDED] * len(names)
    stored = {str(key): code for key, code in db.sql("SELECT id, code FROM party")}
    assert [stored[o.key or ""] for o in outcomes] == [str(n) for n in range(len(names))]
    links = dict(db.sql("SELECT gid, `key` FROM accord_crosswalk WHERE `system` = 'crm'"))
    assert [links[w.gid] for w in writes] == [o.key for o in outcomes]


def test_nobody_comes_between_the_comparison_and_the_write(db: MariaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of(db, PARTY)
    db.sql("INSERT INTO party (id, name) VALUES (1, 'a')")
    write, raw, tried = world.update("party", "1", {"name": "ours"}), Session.raw, []

    def barging(session: Session, text: str) -> object:
        if "`party` t" in text and text.startswith("UPDATE"):
            with pytest.raises(pymysql.err.OperationalError, match="Lock wait"), db.people() as run:
                run("SET innodb_lock_wait_timeout = 1")
                run("UPDATE party SET name = 'theirs' WHERE id = 1")
            tried.append(text)
        return raw(session, text)

    monkeypatch.setattr(Session, "raw", barging)
    assert world.apply("party", write)[0].landing is Landing.LANDED
    assert len(tried) == 1


def test_twins_get_a_key_each(db: MariaDatabase) -> None:
    world = world_of(db, PARTY)
    outcomes = world.apply("party", *(world.insert("party", {"name": "twin", "code": None}) for _ in range(3)))
    assert sorted(o.key or "" for o in outcomes) == sorted(str(key) for (key,) in db.sql("SELECT id FROM party"))


def test_a_batch_larger_than_the_servers_packet(db: MariaDatabase) -> None:
    with setting(db, "max_allowed_packet", 1 << 20):
        world = world_of(db, "CREATE TABLE party (id INT AUTO_INCREMENT PRIMARY KEY, name LONGTEXT, code VARCHAR(10))")
        inserts = [world.insert("party", {"name": f"{n}" + "ä" * 30_000, "code": str(n)}) for n in range(40)]
        outcomes = world.apply("party", *inserts)
        updates = [world.update("party", o.key or "", {"name": "b" * 60_000}) for o in outcomes]
        assert {o.landing for o in (*outcomes, *world.apply("party", *updates))} == {Landing.LANDED}
    assert db.sql("SELECT COUNT(*), MIN(LENGTH(name)), MAX(LENGTH(name)) FROM party") == [(40, 60_000, 60_000)]


def test_a_delete_never_cascades(db: MariaDatabase) -> None:
    child = (
        "CREATE TABLE child (id INT PRIMARY KEY, party INT, note VARCHAR(40),"
        " CONSTRAINT of_party FOREIGN KEY (party) REFERENCES party (id) ON DELETE {rule})"
    )
    world = world_of(db, PARTY, child.format(rule="CASCADE"))
    db.sql("INSERT INTO party (id, name) VALUES (1, 'a'), (2, 'b')")
    db.sql("INSERT INTO child VALUES (10, 1, 'n'), (11, 1, 'm')")
    first, second = world.apply("party", *(world.change(WriteKind.DELETE, "party", key) for key in ("1", "2")))
    assert (first.landing, second.landing) == (Landing.REJECTED, Landing.LANDED)
    assert "2 rows of child" in first.message
    assert db.sql("SELECT id FROM child") == [(10,), (11,)]


def test_a_table_of_another_database(db: MariaDatabase) -> None:
    other = f"{db.name}_other"
    db.define(f"CREATE DATABASE {other}", f"CREATE TABLE {other}.party (id INT PRIMARY KEY, name VARCHAR(40))")
    world = World(Maria(db.server), db)
    world.bind({"party": ("party", {"name": "name"}, {"schema": other})}).start()
    db.app(f"INSERT INTO {other}.party VALUES (1, 'a')")
    assert [c.key for c in world.system.changes(None, 10).changes] == ["1"]
    assert world.apply("party", world.update("party", "1", {"name": "b"}))[0].landing is Landing.LANDED
    assert db.sql(f"SELECT name FROM {other}.party") == [("b",)]
    world.system.unprepare()
    assert db.sql("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?", other) == []


# --- errors ----------------------------------------------------------------------------------------------------------


def test_a_held_row_is_waited_for_but_not_for_ever(db: MariaDatabase) -> None:
    world = world_of(db, PARTY)
    db.sql("INSERT INTO party (id, name) VALUES (1, 'a')")
    write = world.update("party", "1", {"name": "b"})
    with db.people() as run:
        run("SELECT * FROM party WHERE id = 1 FOR UPDATE")
        with pytest.raises(Transient, match="Lock wait timeout"):
            world.apply("party", write)
    assert world.apply("party", write)[0].landing is Landing.LANDED


def test_a_killed_connection_is_transient_and_leaves_nothing(db: MariaDatabase) -> None:
    world = world_of(db, PARTY)
    db.sql("INSERT INTO party (id, name) VALUES (1, 'a')")
    write = world.update("party", "1", {"name": "b"})
    transaction = world.begin()
    assert transaction.apply("party", [write])[0].landing is Landing.LANDED
    holder = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_rows_modified > 0"
    for (thread,) in db.sql(holder):
        db.sql(f"KILL {thread}")
    with pytest.raises(Transient):
        transaction.apply("party", [write])
    transaction.rollback()
    assert db.sql("SELECT name FROM party") == [("a",)]
    assert world.apply("party", write)[0].landing is Landing.LANDED


@pytest.mark.parametrize(
    ("options", "words"),
    [({"password": "wrong"}, "Access denied"), ({"user": "nobody_at_all"}, "Access denied")],
)
def test_a_refused_account(db: MariaDatabase, options: dict[str, str], words: str) -> None:
    with pytest.raises(Unreachable, match=words) as caught:
        db.system(**options).tables(None)
    assert "password" in caught.value.problem.hint
    with pytest.raises(Unreachable, match=words):
        db.system(**options).fence()


def test_a_server_that_is_not_there(db: MariaDatabase) -> None:
    system = db.system()
    system._config.target["port"] = 1  # type: ignore[attr-defined]
    with pytest.raises(Unreachable) as caught:
        system.fence()
    assert "host and port" in caught.value.problem.hint


@pytest.mark.parametrize("version", ["8.0.36", "10.5.28-MariaDB", "5.7.44-log", "nonsense"])
def test_servers_that_are_not_supported(db: MariaDatabase, version: str) -> None:
    session: Session = db.system()._session  # type: ignore[attr-defined]
    with pytest.raises(Halt, match=r"MariaDB 10\.6 or later"):
        session._check_version(version)
    for fine in ("10.6.0-MariaDB", "5.5.5-10.11.2-MariaDB-log", "11.4.2-MariaDB-ubu2404"):
        session._check_version(fine)


def polled(db: MariaDatabase, **options: Any) -> World:
    world = World(Maria(db.server), db)
    world.system = db.system(**options)
    world.create("t", {"id": "auto", "name": "text", "changed": "datetime"})
    return world.bind({"t": ("t", {"name": "name"}, {"capture": "watermark", "modified": "changed"})})


def poll(world: World, position: bytes | None) -> Batch:
    """When the server is ready to tell anew what is open."""
    time.sleep(0.15)
    return world.system.changes(position, 10)


def test_a_statement_that_waits_for_a_tables_lock_stamps_its_row_before_its_transaction(
    db: MariaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(horizon, "SLACK", 0)
    world = polled(db, overlap=0)
    db.define("CREATE TABLE gate (id INT PRIMARY KEY) ENGINE = InnoDB")
    position = poll(world, None).position
    with closing(db.server.connect(db.name)) as holder, closing(db.server.connect(db.name)) as writer:
        run(holder, "LOCK TABLES gate WRITE", ())
        writer.begin()
        text = "INSERT INTO t (id, name, changed) SELECT 2, 'late', UTC_TIMESTAMP(6) FROM (SELECT COUNT(*) FROM gate) g"
        waiting = threading.Thread(target=run, args=(writer, text, ()))
        waiting.start()
        for _ in range(8):  # longer than the second to which InnoDB tells a start
            db.app("REPLACE INTO t (id, changed) VALUES (1, UTC_TIMESTAMP(6))")
            batch = poll(world, position)
            position = batch.position
            assert [c.key for c in batch.changes] == ["1"]
        run(holder, "UNLOCK TABLES", ())
        waiting.join()
        for _ in range(2):
            batch = poll(world, position)
            assert batch.changes == [] and "open for" in batch.complete["t"].held_by
        writer.commit()
    assert [c.key for c in poll(world, position).changes] == ["2"]


def test_a_prepared_xa_transaction_that_nobody_holds(db: MariaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horizon, "SLACK", 0)
    world = polled(db, overlap=0)
    position = poll(world, None).position
    with closing(db.server.connect(db.name)) as session:
        run(session, "XA START 'x'", ())
        run(session, "INSERT INTO t (id, name, changed) VALUES (2, 'late', UTC_TIMESTAMP(6))", ())
        position = poll(world, position).position
        run(session, "XA END 'x'", ())
        run(session, "XA PREPARE 'x'", ())
    for _ in range(8):
        db.app("REPLACE INTO t (id, changed) VALUES (1, UTC_TIMESTAMP(6))")
        batch = poll(world, position)
        position = batch.position
        assert [c.key for c in batch.changes] == ["1"]
    assert "prepared XA transaction" in poll(world, position).complete["t"].held_by
    db.sql("XA COMMIT 'x'")
    assert [c.key for c in poll(world, position).changes] == ["2"]


@contextmanager
def old_copies(db: MariaDatabase) -> Iterator[None]:
    """Somebody reads InnoDB's list all the time, so that the server does not renew it."""
    stop = threading.Event()

    def read() -> None:
        with closing(db.server.connect(db.name)) as session:
            while not stop.is_set():
                run(session, "SELECT COUNT(*) FROM information_schema.INNODB_TRX", ())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        time.sleep(0.3)
        yield
    finally:
        stop.set()
        reader.join()


def test_an_old_copy_of_the_transactions_delays_nothing_for_long(
    db: MariaDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was open when the server told it last, and has committed since, is found while others still read."""
    monkeypatch.setattr(horizon, "SLACK", 0)
    monkeypatch.setattr("adapters.mysql.horizon.STALE", 500_000)
    world = polled(db, overlap=0)
    batch = poll(world, None)
    with closing(db.server.connect(db.name)) as late:
        late.begin()
        (stamp,) = run(late, "SELECT UTC_TIMESTAMP(6), COUNT(*) FROM t", ())[0][:1]
        db.app("INSERT INTO t (id, changed) VALUES (1, UTC_TIMESTAMP(6))")
        batch = poll(world, batch.position)
        assert [c.key for c in batch.changes] == ["1"] and "open for" in batch.complete["t"].held_by
        at = batch.complete["t"].at
        with old_copies(db):
            run(late, "INSERT INTO t (id, name, changed) VALUES (2, 'late', ?)", (stamp,))
            late.commit()
            found: list[str] = []
            end = time.monotonic() + 20
            while not found and time.monotonic() < end:
                batch = poll(world, batch.position)
                found += [c.key for c in batch.changes]
            assert found == ["2"]
            assert "INNODB_TRX" in batch.complete["t"].held_by and batch.complete["t"].at <= at
            assert poll(world, batch.position).changes == []
    assert poll(world, batch.position).complete["t"].held_by == ""


def test_an_old_copy_of_the_transactions_proves_nothing(db: MariaDatabase) -> None:
    """The position stays."""
    world = polled(db, overlap=0)
    batch = poll(world, None)
    before = poll(world, batch.position).complete["t"].at
    with old_copies(db), db.people() as people:
        people("SELECT COUNT(*) FROM t")
        held = [poll(world, batch.position).complete["t"].at for _ in range(3)]
    assert len(set(held)) == 1
    assert poll(world, batch.position).complete["t"].at > before


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_says_the_grants_to_run_and_they_are_enough(db: MariaDatabase) -> None:
    db.define(PARTY)
    with account(db, f"SELECT (id) ON {db.name}.party") as name:
        system = db.system(user=name)
        with pytest.raises(Halt, match="party") as caught:
            system.describe("party", None)
        db.sql(re.findall(r"GRANT .*;", caught.value.problem.hint)[0])
        system.close()
        system.bind([table(system, "party", "party", FIELDS)])
        problems = system.check()
        assert {p.code for p in problems} == {"privilege"}
        with pytest.raises(Halt, match="denied"):
            system.prepare()
        for problem in problems:
            (grant,) = re.findall(r"GRANT .*;", problem.hint)
            db.sql(grant)
        system.close()
        assert system.check() == []
        system.prepare()
        assert system.prepared() == []
        system.unprepare()


def test_check_asks_for_no_right_that_is_not_used(db: MariaDatabase) -> None:
    """No right to insert where nothing is created, none to delete where nothing is deleted."""
    world = world_of(db, PARTY)
    db.sql("INSERT INTO party (id, name) VALUES (1, 'a')")
    own = [f"SELECT, INSERT, UPDATE, DELETE ON {db.name}.accord_{name}" for name in ("changes", "crosswalk", "fence")]
    with account(db, f"SELECT, UPDATE, TRIGGER ON {db.name}.party", *own) as name:
        world.system = db.system(user=name)

        def lacking(**options: bool) -> str:
            world.bind({"party": ("party", FIELDS, options)})
            return " ".join(p.message for p in world.system.check())

        assert "lacks DELETE on" in lacking(creates=False)
        assert "lacks INSERT on" in lacking(deletes=False)
        assert lacking(creates=False, deletes=False) == ""
        assert world.apply("party", world.update("party", "1", {"name": "b"}))[0].landing is Landing.LANDED


def test_check_knows_the_rights_of_a_role(db: MariaDatabase) -> None:
    db.define(PARTY)
    role = f"role_{db.name}"
    db.sql(f"CREATE ROLE {role}")
    db.sql(f"GRANT ALL ON {db.name}.* TO {role}")
    with account(db) as name:
        db.sql(f"GRANT {role} TO '{name}'@'%'")
        db.sql(f"SET DEFAULT ROLE {role} FOR '{name}'@'%'")
        system = db.system(user=name)
        system.bind([table(system, "party", "party", FIELDS)])
        assert system.check() == []
    db.sql(f"DROP ROLE {role}")


def test_a_binary_log_that_forbids_triggers_is_told(db: MariaDatabase) -> None:
    db.define(PARTY)
    with account(db, f"ALL ON {db.name}.*") as name, setting(db, "log_bin_trust_function_creators", 0):
        system = db.system(user=name)
        system.bind([table(system, "party", "party", FIELDS)])
        (problem,) = system.check()
        assert "log_bin_trust_function_creators" in problem.hint
        with pytest.raises(Halt) as caught:
            system.prepare()
        assert "log_bin_trust_function_creators" in caught.value.problem.hint


def test_check_refuses_a_table_without_transactions(db: MariaDatabase) -> None:
    db.define(f"{PARTY} ENGINE = Aria")
    system = db.system()
    system.bind([table(system, "party", "party", FIELDS)])
    (problem,) = system.check()
    assert problem.code == "engine" and "ALTER TABLE" in problem.hint
    db.sql(problem.hint.removeprefix("run: "))
    assert system.check() == []
