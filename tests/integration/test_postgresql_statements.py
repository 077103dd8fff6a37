"""Triggers that fire once for each statement (PostgreSQL): they note what row triggers note, whatever the statement.

The conformance suite runs with them as well. The oracle is SQL by connections of the test's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from config.records import Landing
from tests.conformance.backend import Backend, Database
from tests.conformance.factories.postgresql import Postgres
from tests.conformance.world import CUSTOMER, FIELDS, World, customers
from tests.servers import PostgresServer

LOG = "accord.accord_changes"
BY_STATEMENT = {"triggers": "statement"}


@pytest.fixture(scope="module")
def backend(postgres: PostgresServer) -> Backend:
    made: Backend = cast(Any, Postgres(postgres))
    made.options = BY_STATEMENT
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Any]:
    with closing(backend.create()) as database:
        yield database


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(n, f"n{n}", None, n) for n in (1, 2, 3)])


def noted(db: Any) -> list[tuple[Any, ...]]:
    """What stands in the log, which is empty afterwards."""
    rows: list[tuple[Any, ...]] = db.sql(f"SELECT op::text, key, was, cols FROM {LOG} ORDER BY id")
    db.sql(f"DELETE FROM {LOG}")
    return rows


def by_row(db: Any, table: str) -> set[bool]:
    """Do the triggers of a table fire for each row?"""
    text = "SELECT DISTINCT tgtype & 1 = 1 FROM pg_trigger WHERE tgrelid = ?::regclass AND tgname !~ 'truncate'"
    return {row for (row,) in db.sql(f"{text} AND tgname ~ '^accord_'", table)}


def test_each_kind_of_statement(world: World, db: Any) -> None:
    assert by_row(db, "customer") == {False}
    assert world.system.notes() == []
    db.app("INSERT INTO customer (id, name) VALUES (4, 'd'), (5, 'e')")
    db.app("UPDATE customer SET credit = 7, note = 'x' WHERE id < 3")
    db.app("UPDATE customer SET note = 'y', name = name")
    db.app("UPDATE customer SET name = CASE id WHEN 1 THEN 'a' ELSE name END, email = 'm' WHERE id < 3")
    db.app("DELETE FROM customer WHERE id > 3")
    db.app("DELETE FROM customer WHERE id > 3")
    assert noted(db) == [
        *[("I", key, None, None) for key in "45"],
        *[("U", key, None, ["credit"]) for key in "12"],
        ("U", "1", None, ["name", "email"]),
        ("U", "2", None, ["email"]),
        *[("D", key, None, None) for key in "45"],
    ]


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ("id = id + 10", {"1": "11", "2": "12", "3": "13"}),
        ("id = CASE id WHEN 1 THEN 9 ELSE id END, name = 'x'", {"1": "9"}),
        ("id = id + 1", {"1": "2", "2": "3", "3": "4"}),
    ],
)
def test_keys_that_change(world: World, db: Any, change: str, moves: dict[str, str]) -> None:
    """In the last the key of one row is that of another before: rows go from the highest down."""
    db.sql("CREATE TABLE sorted AS SELECT * FROM customer ORDER BY id DESC")
    db.sql("DELETE FROM customer; INSERT INTO customer SELECT * FROM sorted")
    noted(db)
    db.app(f"UPDATE customer SET {change}")
    rows = noted(db)
    assert {was: key for op, key, was, _ in rows if was is not None} == moves
    assert {key for op, key, _, _ in rows if op == "D"} == set(moves)
    assert {key for op, key, was, _ in rows if op == "U" and was is None} == (
        {"1", "2", "3"} - set(moves) if "name" in change else set()
    )


def test_where_a_row_went_is_read_as_ever(world: World, db: Any) -> None:
    db.sql("CREATE TABLE sorted AS SELECT * FROM customer ORDER BY id DESC")
    db.sql("DELETE FROM customer; INSERT INTO customer SELECT * FROM sorted")
    world.drain()
    db.app("UPDATE customer SET id = id + 1")
    assert world.system.moved("customer", ["1", "2", "3"]) == {"1": "2", "2": "3", "3": "4"}
    assert {key: world.reading("customer", key).was for key in ("2", "3", "4")} == {"2": "1", "3": "2", "4": "3"}


def test_many_rows_in_a_session_that_began_with_one(backend: Backend, db: Any) -> None:
    """The plan was made for one row; what is put aside does not fit into memory; keys change, too."""
    world = World(backend, db)
    world.create("t", {"id": "int PRIMARY KEY", "name": "text"})
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    count = 30_000
    with closing(db.server.connect(db.name, db.account)) as session:
        session.execute("SET work_mem = '64kB'; SET statement_timeout = '15s'")
        session.execute("INSERT INTO t VALUES (0, 'zero')")
        session.execute("UPDATE t SET name = 'nought'")
        session.execute("UPDATE t SET id = -1")
        session.execute(f"INSERT INTO t SELECT g * 2, repeat('n', 100) FROM generate_series(1, {count}) g")
        noted(db)
        session.execute("UPDATE t SET name = name || id")
        assert [row[:1] + row[2:] for row in noted(db)] == [("U", None, ["name"])] * (count + 1)
        session.execute("UPDATE t SET id = id + 1 WHERE id > 0")
    rows = noted(db)
    assert {(was, key) for op, key, was, _ in rows if op == "U"} == {
        (str(2 * n), str(2 * n + 1)) for n in range(1, count + 1)
    }


def test_statements_that_are_several(world: World, db: Any) -> None:
    db.app(
        "INSERT INTO customer (id, name) VALUES (1, 'new'), (7, 'g')"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    )
    assert sorted(noted(db)) == [("I", "7", None, None), ("U", "1", None, ["name"])]
    db.app("INSERT INTO customer (id, name) VALUES (1, 'n') ON CONFLICT DO NOTHING")
    assert noted(db) == []
    db.sql("CREATE TABLE news (id int, name text); INSERT INTO news VALUES (2, 'two'), (3, NULL), (8, 'h')")
    db.sql(
        "WITH d AS (DELETE FROM customer WHERE id = 3), u AS (UPDATE customer SET name = 'two' WHERE id = 2)"
        " INSERT INTO customer (id, name) VALUES (8, 'h')"
        if db.server.version().startswith(("13.", "14."))  # MERGE is new in 15
        else "MERGE INTO customer c USING news n ON n.id = c.id WHEN MATCHED AND n.name IS NULL THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET name = n.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (n.id, n.name)"
    )
    assert sorted(noted(db)) == [("D", "3", None, None), ("I", "8", None, None), ("U", "2", None, ["name"])]
    db.app("WITH gone AS (DELETE FROM customer WHERE id = 8 RETURNING *) UPDATE customer SET credit = 9 WHERE id = 2")
    assert sorted(noted(db)) == [("D", "8", None, None), ("U", "2", None, ["credit"])]
    with (
        closing(db.server.connect(db.name, db.account)) as session,
        session.cursor() as cursor,
        cursor.copy("COPY customer (id, name) FROM STDIN") as copy,
    ):
        copy.write("20\ta\n21\tb\n")
    assert noted(db) == [("I", "20", None, None), ("I", "21", None, None)]


def test_cascades(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("parent", {"id": "int PRIMARY KEY", "name": "text"})
    world.create(
        "child",
        {"id": "int PRIMARY KEY", "parent": "int"},
        "FOREIGN KEY (parent) REFERENCES parent ON UPDATE CASCADE ON DELETE CASCADE",
    )
    db.sql("INSERT INTO parent VALUES (1, 'a'), (2, 'b'); INSERT INTO child VALUES (10, 1), (11, 1), (12, 2)")
    world.bind({"child": ("child", {"parent": "parent"}, {})}).start()
    db.app("UPDATE parent SET id = 9 WHERE id = 1")
    assert sorted(noted(db)) == [("U", "10", None, ["parent"]), ("U", "11", None, ["parent"])]
    db.app("DELETE FROM parent WHERE id IN (2, 9)")
    assert sorted(noted(db)) == [("D", key, None, None) for key in ("10", "11", "12")]


def test_what_is_ours_and_what_a_trigger_does_beside_it(backend: Backend, db: Any) -> None:
    world = customers(backend, db, [(1, "a", None, 1)])
    db.sql("CREATE TABLE audit (id int PRIMARY KEY, name text); INSERT INTO audit VALUES (1, 'x')")
    db.sql(f"GRANT ALL ON audit TO {db.agent}")
    for statement in backend.touch_trigger("customer", "id", "audit", "id", "name"):
        db.sql(statement)
    world.bind({"audit": ("audit", {"name": "name"}, {})})
    world.system.prepare()
    assert world.apply("customer", world.update("customer", "1", {"name": "ours"}))[0].landing is Landing.LANDED
    assert world.drain() == [("audit", "1")]


def test_nothing_is_written_for_a_statement_that_finds_no_row(world: World, db: Any) -> None:
    with closing(db.server.connect(db.name, db.account)) as session:
        session.execute("BEGIN")
        session.execute("UPDATE customer SET name = 'x' WHERE id > 100")
        session.execute("DELETE FROM customer WHERE id > 100")
        session.execute("INSERT INTO customer (id, name) SELECT 1, 'x' WHERE false")
        assert session.execute("SELECT pg_current_xact_id_if_assigned() IS NULL").fetchone() == (True,)


def test_the_application_may_change_its_table_under_the_triggers(world: World, db: Any) -> None:
    with closing(db.server.connect(db.name)) as session:  # one that has made its plans
        session.execute("UPDATE customer SET name = 'a' WHERE id = 1")
        for change in ("ALTER credit TYPE numeric(20, 4)", "DROP email", "RENAME name TO title"):
            session.execute(f"ALTER TABLE customer {change}")
            session.execute("UPDATE customer SET credit = credit + 1 WHERE id = 2")
        session.execute("ALTER TABLE customer ALTER id TYPE bigint")
        session.execute("INSERT INTO customer (id, title) VALUES (4, 'n')")
        session.execute("UPDATE customer SET id = 5 WHERE id = 4")
        assert noted(db) == [
            ("U", "1", None, ["name"]),
            ("U", "2", None, ["credit"]),
            *[("U", "2", None, None)] * 2,
            ("I", "4", None, None),
            ("D", "4", None, None),
            ("U", "5", "4", None),
        ]
        session.execute("ALTER TABLE customer RENAME id TO number")
        session.execute("UPDATE customer SET credit = 0 WHERE number = 1")
        session.execute("DELETE FROM customer WHERE number = 1")
        session.execute("INSERT INTO customer (number, title) VALUES (6, 'n')")
    assert db.sql("SELECT number FROM customer ORDER BY 1") == [(2,), (3,), (5,), (6,)]


def test_the_application_goes_on_without_the_log(world: World, db: Any) -> None:
    db.sql(f"DROP TABLE {LOG}")
    db.app("UPDATE customer SET name = 'a'")
    db.app("DELETE FROM customer WHERE id = 2")
    assert db.sql("SELECT name FROM customer") == [("a",), ("a",)]


@pytest.mark.parametrize("triggers", ["row", "statement"])
def test_rows_without_a_key(backend: Backend, db: Any, triggers: str) -> None:
    """A unique column may hold NULL: such a row is no record, and must not fail the application."""
    world = World(backend, db)
    world.create("t", {"id": "int PRIMARY KEY", "code": "text UNIQUE", "name": "text"})
    world.bind({"t": ("t", {"name": "name"}, {"key": "code", "triggers": triggers})}).start()
    assert by_row(db, "t") == {triggers == "row"}
    db.app("INSERT INTO t VALUES (1, NULL, 'a'), (2, 'b', 'b')")
    db.app("UPDATE t SET name = 'x' WHERE id = 1")
    assert noted(db) == [("I", "b", None, None)]
    db.app("UPDATE t SET code = NULL WHERE id = 2")
    assert noted(db) == [("D", "b", None, None)]
    db.app("UPDATE t SET code = 'c' WHERE id = 2")
    assert [row[:3] for row in noted(db)] == [("U", "c", None)]
    db.app("DELETE FROM t")
    assert noted(db) == [("D", "c", None, None)]


KEEP = {
    "partitioned": [
        "CREATE TABLE t (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
    ],
    "a partition": [
        "CREATE TABLE whole (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE t PARTITION OF whole FOR VALUES FROM (0) TO (20)",
    ],
    "an heir": ["CREATE TABLE whole (id int, name text)", "CREATE TABLE t (PRIMARY KEY (id)) INHERITS (whole)"],
    "checked late": ["CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, name text)"],
}


@pytest.mark.parametrize("kind", KEEP)
def test_tables_that_keep_row_triggers(backend: Backend, db: Any, kind: str) -> None:
    world = World(backend, db)
    db.define(*KEEP[kind])
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    assert by_row(db, "t") == {True}
    assert world.system.prepared() == []
    assert [(p.code, p.entity) for p in world.system.notes()] == [("row-triggers", "t")]
    into = "whole" if kind in ("a partition", "an heir") else "t"
    db.sql("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    noted(db)
    db.sql(
        f"UPDATE {into} SET id = 3 - id, name = 'x'" if kind == "checked late" else f"UPDATE {into} SET id = id + 10"
    )
    moves = {"1": "2", "2": "1"} if kind == "checked late" else {"1": "11", "2": "12"}
    rows = noted(db)
    assert {key for op, key, _, _ in rows if op == "D"} == {"1", "2"}
    if kind != "partitioned":  # a row that moves to another part is deleted there and inserted here
        assert {was: key for _, key, was, _ in rows if was is not None} == moves


def test_the_choice_is_carried_out_by_prepare(backend: Backend, db: Any) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    for triggers in ("row", "statement", "row"):
        world.bind({"customer": ("customer", FIELDS, {"triggers": triggers})})
        assert world.system.prepared()
        world.start()
        assert world.system.prepared() == []
        assert by_row(db, "customer") == {triggers == "row"}
        before = world.system.origin()
        db.app("INSERT INTO customer (name) VALUES ('n')")
        assert len(world.drain()) == 1
        world.system.prepare()
        assert world.system.origin() == before
