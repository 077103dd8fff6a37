"""What is SQLite's own: free types, collations, REPLACE, rows without a key, files that are none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from config.errors import Halt, Transient, Unreachable
from config.records import Landing, WriteKind
from tests.conformance.factories.sqlite import Sqlite, SqliteDatabase
from tests.conformance.world import CUSTOMER, FIELDS, World, customers


@pytest.fixture
def db() -> Iterator[SqliteDatabase]:
    database = Sqlite().create()
    yield database
    database.close()


def bound(db: SqliteDatabase, ddl: str, columns: dict[str, str]) -> World:
    db.define(ddl)
    world = World(Sqlite(), db)
    return world.bind({"t": ("t", dict(columns), {})}).start()


def test_a_file_that_is_not_there_is_not_made(db: SqliteDatabase) -> None:
    system = db.system()
    with pytest.raises(Unreachable, match=r"application\.db"):
        system.describe("customer", None)
    with pytest.raises(Unreachable):
        system.fence()
    assert not db.path.exists()


def test_a_file_that_is_no_database(db: SqliteDatabase) -> None:
    db.path.write_text("hello, this is not a database\n" * 100)
    with pytest.raises(Unreachable, match="no SQLite database"):
        db.system().tables(None)


def test_a_file_that_cannot_be_written(db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    world = customers(Sqlite(), db)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, who runs these tests, may write everything
    assert any("cannot be written" in str(p) for p in world.system.check())


def test_replace_is_an_update_of_the_record(db: SqliteDatabase) -> None:
    """REPLACE deletes and inserts, but no delete trigger fires: the record lives on."""
    world = customers(Sqlite(), db, [(1, "Ann", None, 5)])
    db.app("INSERT OR REPLACE INTO customer (id, name) VALUES (1, 'Bob')")
    assert world.drain() == [("customer", "1")]
    assert world.values("customer", "1")["name"] == "Bob"


def test_cascades_of_the_application_are_seen(db: SqliteDatabase) -> None:
    world = World(Sqlite(), db)
    world.create("customer", CUSTOMER)
    world.create("orders", {"id": "auto", "c": "int REFERENCES customer(id) ON DELETE CASCADE", "n": "int"})
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'a')")
    db.sql("INSERT INTO orders (id, c, n) VALUES (7, 1, 1)")
    world.bind({"customer": ("customer", FIELDS, {}), "order": ("orders", {"n": "n"}, {})}).start()
    with closing(sqlite3.connect(db.path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM customer")
    assert sorted(world.drain()) == [("customer", "1"), ("order", "7")]


def test_a_foreign_key_without_columns_means_the_primary_key(db: SqliteDatabase) -> None:
    db.define("CREATE TABLE p (a INT, b INT, PRIMARY KEY (b, a))", "CREATE TABLE c (x INT, y INT, z INT REFERENCES p)")
    db.define("CREATE TABLE d (x INT, y INT, FOREIGN KEY (x, y) REFERENCES p ON DELETE SET NULL)")
    info = db.system().describe("d", None)
    assert info is not None
    (key,) = info.foreign_keys
    assert (key.columns, key.to_columns, key.on_delete) == (("x", "y"), ("b", "a"), "set null")


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("BIGINT UNSIGNED", "int"),
        ("DOUBLE PRECISION", "float"),
        ("DECIMAL(10,5)", "decimal"),
        ("TIMESTAMP", "datetime"),
        ("TIMESTAMPTZ", "datetime"),
        ("NVARCHAR(100)", "text"),
        ("money", "decimal"),
        ("VARBINARY(16)", "bytes"),
        ("UUID", "text"),
        ("", ""),
        ("POINT", "int"),  # SQLite itself takes it for one: there is INT in it
        ("GEO", ""),
    ],
)
def test_declared_types(db: SqliteDatabase, declared: str, kind: str) -> None:
    db.define(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    info = db.system().describe("t", None)
    assert info is not None
    assert (info.columns["v"].kind, info.columns["v"].native) == (kind, declared)


def test_generated_keys(db: SqliteDatabase) -> None:
    db.define(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE b (id INT PRIMARY KEY, v)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, v) WITHOUT ROWID",
    )
    infos = [db.system().describe(name, None) for name in "abc"]
    assert [info.columns["id"].has_default for info in infos if info] == [True, False, False]


def test_a_number_and_the_same_number_as_text_differ(db: SqliteDatabase) -> None:
    """In a column without affinity to numbers 1, 1.0 and '1' are three values."""
    world = bound(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)", {"v": "v:text"})
    db.sql("INSERT INTO t VALUES (1, 1)")
    for value in ("1.0", "'1'", "X'31'", "1"):
        world.drain()
        write = world.change(WriteKind.DELETE, "t", "1")
        db.app(f"UPDATE t SET v = {value}")
        assert world.drain() == [("t", "1")]
        assert world.apply("t", write)[0].landing is Landing.CHANGED


def test_decimals_are_written_as_the_column_keeps_them(db: SqliteDatabase) -> None:
    world = bound(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a NUMERIC, b NUMERIC)", {"a": "a", "b": "b"})
    db.sql("INSERT INTO t VALUES (1, X'31322E3530', 12.5)")
    world.apply("t", world.insert("t", {"a": Decimal("0.10"), "b": Decimal("0.10")}))
    assert db.sql("SELECT typeof(a), CAST(a AS TEXT), typeof(b), b FROM t WHERE id = 2") == [
        ("blob", "0.10", "real", 0.1)
    ]


def test_the_spelling_of_a_column_is_learnt_when_its_first_value_comes(db: SqliteDatabase) -> None:
    world = bound(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a BOOLEAN)", {"a": "a"})
    world.apply("t", world.insert("t", {"a": True}))
    db.sql("DELETE FROM t")
    db.sql("INSERT INTO t VALUES (9, 't')")
    world.apply("t", world.insert("t", {"a": False}))
    assert db.sql("SELECT a FROM t ORDER BY id") == [("t",), ("f",)]


def test_keys_under_a_collation(db: SqliteDatabase) -> None:
    world = bound(db, "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, v TEXT COLLATE NOCASE)", {"v": "v"})
    db.app("INSERT INTO t VALUES ('Abc', 'x'), ('b', 'y')")
    world.drain()
    assert world.system.read({"t": ["abc"]}) == {"t": {}}
    assert set(world.system.read({"t": ["abc", "ABC", "Abc"]})["t"]) == {"Abc"}
    db.app("UPDATE t SET v = 'X' WHERE k = 'abc'")
    assert world.drain() == [("t", "Abc")]
    write = world.update("t", "Abc", {"v": "z"})
    db.app("UPDATE t SET v = 'x' WHERE k = 'abc'")
    assert world.apply("t", write)[0].landing is Landing.CHANGED


def test_a_collation_is_no_judge_of_a_match(db: SqliteDatabase) -> None:
    """`find` may propose too much; the guard of an insert compares exactly."""
    world = bound(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE)", {"v": "v"})
    db.sql("INSERT INTO t VALUES (1, 'Abc')")
    assert world.system.find("t", (0,), [("abc",)]) == [("1",)]
    assert world.apply("t", world.insert("t", {"v": "abc"}, guard=((0,),)))[0].landing is Landing.LANDED
    assert world.apply("t", world.insert("t", {"v": "Abc"}, guard=((0,),)))[0].found == ("1",)


def test_rows_without_a_key_are_not_there(db: SqliteDatabase) -> None:
    world = bound(db, "CREATE TABLE t (k TEXT PRIMARY KEY, v TEXT)", {"v": "v"})
    db.app("INSERT INTO t VALUES (NULL, 'x'), ('a', 'y'), (NULL, 'z')")
    db.app("UPDATE t SET v = v || '!'")
    assert world.drain() == [("t", "a")]
    assert [r.key for r in world.system.scan("t", None, 10)] == ["a"]
    db.app("UPDATE t SET k = 'b' WHERE v = 'x!'")
    assert world.drain() == [("t", "b")]
    assert world.reading("t", "b").was is None
    db.app("UPDATE t SET k = NULL WHERE k = 'b'")
    assert world.drain() == [("t", "b")]
    db.app("DELETE FROM t")
    assert world.drain() == [("t", "a")]


def test_text_that_is_no_utf8_is_kept_exact_and_does_not_convert(db: SqliteDatabase) -> None:
    world = bound(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", {"v": "v"})
    db.sql("INSERT INTO t VALUES (1, CAST(X'41FF' AS TEXT))")
    reading = world.reading("t", "1")
    with pytest.raises(ValueError, match="not UTF-8"):
        world.named("t", reading.raws)
    assert world.apply("t", world.update("t", "1", {"v": "fine"}))[0].landing is Landing.LANDED


def test_a_view_is_read_by_watermark_only(db: SqliteDatabase) -> None:
    db.define("CREATE TABLE base (id INTEGER PRIMARY KEY, v TEXT)", "CREATE VIEW t AS SELECT id, v FROM base")
    world = World(Sqlite(), db)
    world.bind({"t": ("t", {"v": "v"}, {"key": "id"})})
    assert [p.code for p in world.system.check()] == ["view"]


def test_an_echo_takes_no_older_entry_along(db: SqliteDatabase) -> None:
    """What an application's trigger did to a record in one round is still to be seen after the next has written it."""
    world = World(Sqlite(), db)
    world.create("customer", CUSTOMER)
    world.create("orders", {"id": "auto", "total": "int"})
    db.define(*Sqlite().touch_trigger("orders", "id", "customer", "id", "email"))
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'ann')")
    db.sql("INSERT INTO orders (id, total) VALUES (1, 5)")
    world.bind({"customer": ("customer", FIELDS, {}), "order": ("orders", {"total": "total"}, {})}).start()
    world.apply("order", world.update("order", "1", {"total": 6}))
    world.apply("customer", world.update("customer", "1", {"name": "bob"}))
    assert world.drain() == [("customer", "1")]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_both_kinds_of_journal(db: SqliteDatabase, mode: str) -> None:
    db.sql(f"PRAGMA journal_mode = {mode}")
    world = customers(Sqlite(), db, [(1, "Ann", None, 5)])
    transaction = world.begin()
    write = world.update("customer", "1", {"name": "Bob"})
    transaction.apply("customer", [write])
    assert world.values("customer", "1")["name"] == "Ann"
    transaction.commit()
    assert db.sql("SELECT name FROM customer") == [("Bob",)]


def test_a_long_session_of_a_reader_delays_nothing(db: SqliteDatabase) -> None:
    """With a write-ahead log; without one it keeps everybody from committing."""
    db.sql("PRAGMA journal_mode = wal")
    world = customers(Sqlite(), db, [(n, "Ann", None, 1) for n in (1, 2, 3)])
    with closing(sqlite3.connect(db.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM customer").fetchone() == (3,)
        for key in (1, 2, 3):
            db.app("UPDATE customer SET name = 'Eve' WHERE id = ?", key)
            assert world.drain() == [("customer", str(key))]
        assert reader.execute("SELECT DISTINCT name FROM customer").fetchall() == [("Ann",)]
    assert world.drain() == []


def test_a_reader_that_holds_up_the_commit(db: SqliteDatabase) -> None:
    """With a rollback journal a reading connection keeps the file from being written: try again later."""
    world = customers(Sqlite(), db, [(1, "Ann", None, 5)])
    transaction = world.begin()
    transaction.apply("customer", [world.update("customer", "1", {"name": "Bob"})])
    with closing(sqlite3.connect(db.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM customer").fetchall()
        with pytest.raises(Transient):
            transaction.commit()
    assert db.sql("SELECT name FROM customer") == [("Ann",)]
    assert world.apply("customer", world.update("customer", "1", {"name": "Bob"}))[0].landing is Landing.LANDED


def test_a_table_that_changed_under_the_mapping(db: SqliteDatabase) -> None:
    world = customers(Sqlite(), db, [(1, "Ann", None, 5)])
    db.sql("ALTER TABLE customer RENAME COLUMN email TO mail")
    with pytest.raises(Halt, match="accord check"):
        world.system.scan("customer", None, 10)
    assert world.system.prepared() != []


def test_a_strict_table_refuses_what_does_not_fit(db: SqliteDatabase) -> None:
    world = bound(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER) STRICT", {"v": "v:text"})
    bad, good = world.apply("t", world.insert("t", {"v": 1}), world.insert("t", {"v": 2}))
    assert (bad.landing, good.landing) == (Landing.LANDED, Landing.LANDED)


def test_an_applications_trigger_that_refuses(db: SqliteDatabase) -> None:
    world = customers(Sqlite(), db, [(1, "Ann", None, 5), (2, "Bob", None, 6)])
    db.define(
        "CREATE TRIGGER app_no BEFORE UPDATE ON customer WHEN NEW.name = 'Eve'"
        " BEGIN SELECT RAISE(ABORT, 'Eve is not welcome'); END"
    )
    one, two = world.apply(
        "customer", world.update("customer", "1", {"name": "Eve"}), world.update("customer", "2", {"name": "Cid"})
    )
    assert (one.landing, one.message) == (Landing.REJECTED, "Eve is not welcome")
    assert "trigger" in one.hint and two.landing is Landing.LANDED


def test_a_broken_log_entry_does_not_stop_capture(db: SqliteDatabase, tmp_path: Path) -> None:
    world = bound(db, "CREATE TABLE t (a INT, b INT, v INT, PRIMARY KEY (a, b))", {"v": "v"})
    db.sql("INSERT INTO accord_changes (tbl, key, op) VALUES ('t', 'old form', 'update'), ('gone', '1', 'delete')")
    db.app("INSERT INTO t VALUES (1, 2, 3)")
    assert world.drain() == [("t", '["1","2"]')]
    assert db.sql("SELECT count(*) FROM accord_changes WHERE tbl <> ''") == [(0,)]
