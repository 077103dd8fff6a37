"""Capture by triggers: every committed change, whoever made it; nothing else; and never at the application's cost."""

from __future__ import annotations

import time

import pytest

from config.records import Op
from tests.conformance.backend import Backend, Database
from tests.conformance.world import CUSTOMER, FIELDS, World, customers

MINUTES = 10 * 60 * 1_000_000  # a wrong time zone is off by at least thirty


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Ann", "ann@x", 5), (2, "Bob", "bob@x", 6)])


def test_what_stood_there_before_is_no_change(world: World) -> None:
    assert world.drain() == []


def test_insert_update_delete(world: World) -> None:
    world.db.app("INSERT INTO customer (id, name) VALUES (3, 'Cid')")
    batch = world.system.changes(None, 10)
    assert [(c.entity, c.key, c.op) for c in batch.changes] == [("customer", "3", Op.INSERT)]
    world.system.acknowledge(batch.position)
    world.db.app("UPDATE customer SET name = 'Cyd' WHERE id = 3")
    batch = world.system.changes(batch.position, 10)
    assert [(c.key, c.op) for c in batch.changes] == [("3", Op.UPDATE)]
    world.system.acknowledge(batch.position)
    world.db.app("DELETE FROM customer WHERE id = 3")
    assert [(c.key, c.op) for c in world.system.changes(batch.position, 10).changes] == [("3", Op.DELETE)]


def test_one_statement_that_changes_many_rows(world: World) -> None:
    world.db.app("UPDATE customer SET credit = credit + 1")
    assert sorted(world.drain()) == [("customer", "1"), ("customer", "2")]


@pytest.mark.change_log  # the log names the row, not the column
def test_an_update_that_changes_no_mapped_column_is_no_change(world: World) -> None:
    world.db.app("UPDATE customer SET note = 'x', name = name")
    assert world.drain() == []


@pytest.mark.parametrize("name", ["ANN", "Ann ", "ann", "Ánn"])
def test_a_change_that_a_collation_would_hide(world: World, name: str) -> None:
    world.db.app("UPDATE customer SET name = ? WHERE id = 1", name)
    assert world.drain() == [("customer", "1")]


def test_null_and_empty_differ(world: World) -> None:
    world.db.app("UPDATE customer SET email = NULL WHERE id = 1")
    assert world.drain() == [("customer", "1")]
    world.db.app("UPDATE customer SET email = '' WHERE id = 1")
    assert world.drain() == [("customer", "1")]


def test_a_rollback_leaves_nothing(world: World) -> None:
    with pytest.raises(ZeroDivisionError), world.db.people() as run:
        run("UPDATE customer SET name = 'Eve' WHERE id = 1")
        run("DELETE FROM customer WHERE id = 2")
        raise ZeroDivisionError
    assert world.drain() == []


def test_a_changed_key_is_two_records_and_says_what_it_was(world: World) -> None:
    world.db.app("UPDATE customer SET id = 9 WHERE id = 1")
    assert sorted(_seen(world)) == ["1", "9"]
    readings = world.system.read({"customer": ["1", "9"]})["customer"]
    assert "1" not in readings
    assert readings["9"].was == "1"


def test_a_chain_of_key_changes_leads_back_to_the_first(world: World) -> None:
    world.db.app("UPDATE customer SET id = 8 WHERE id = 1")
    world.db.app("UPDATE customer SET id = 9 WHERE id = 8")
    assert world.reading("customer", "9").was == "1"


def test_where_a_key_went(world: World) -> None:
    assert world.system.moved("customer", ["1", "2"]) == {}
    world.db.app("UPDATE customer SET id = 8 WHERE id = 1")
    world.db.app("UPDATE customer SET id = 9 WHERE id = 8")
    assert world.system.moved("customer", ["1", "2", "77"]) == {"1": "9"}
    assert world.system.moved("customer", ["8"]) == {"8": "9"}
    world.drain()
    assert world.system.moved("customer", ["1"]) == {}


def _seen(world: World) -> list[str]:
    return [c.key for c in world.system.changes(None, 10).changes]


def test_an_upsert_of_a_known_key_keeps_the_record(world: World) -> None:
    """Save by delete and insert, in one transaction: the same record."""
    with world.db.people() as run:
        run("DELETE FROM customer WHERE id = 1")
        run("INSERT INTO customer (id, name, email) VALUES (1, 'Ann', 'new@x')")
    assert _seen(world) == ["1"]
    assert not world.reading("customer", "1").reborn


def test_a_record_that_changed_often_comes_once(world: World) -> None:
    for n in range(5):
        world.db.app("UPDATE customer SET credit = ? WHERE id = 1", 100 + n)
    world.db.app("UPDATE customer SET credit = 1 WHERE id = 2")
    batch = world.system.changes(None, 10)
    assert sorted(c.key for c in batch.changes) == ["1", "2"]
    assert not batch.more


def test_batches_end_and_miss_nothing(world: World) -> None:
    for n in range(10, 17):
        world.db.app("INSERT INTO customer (id, name) VALUES (?, 'x')", n)
    batch = world.system.changes(None, 3)
    assert len(batch.changes) == 3 and batch.more
    assert sorted(world.drain(3)) == [("customer", str(n)) for n in range(10, 17)]
    assert world.drain() == []


def test_what_is_not_acknowledged_comes_again(world: World) -> None:
    world.db.app("UPDATE customer SET credit = 1 WHERE id = 1")
    first = world.system.changes(None, 10)
    assert [c.key for c in world.system.changes(None, 10).changes] == [c.key for c in first.changes] == ["1"]


def test_acknowledge_lets_go_of_exactly_what_was_handed_out(world: World) -> None:
    world.db.app("UPDATE customer SET credit = 1 WHERE id = 1")
    batch = world.system.changes(None, 10)
    world.db.app("UPDATE customer SET credit = 2 WHERE id = 1")
    world.db.app("UPDATE customer SET credit = 2 WHERE id = 2")
    world.system.acknowledge(batch.position)
    assert sorted(_seen(world)) == ["1", "2"]


def test_acknowledging_an_old_position_again_drops_nothing_new(world: World) -> None:
    world.db.app("UPDATE customer SET credit = 1 WHERE id = 1")
    old = world.system.changes(None, 10)
    world.system.acknowledge(old.position)
    assert _seen(world) == []
    world.db.app("UPDATE customer SET credit = 2 WHERE id = 2")
    world.system.acknowledge(old.position)
    world.system.acknowledge(old.position)
    assert _seen(world) == ["2"]


@pytest.mark.made
def test_an_old_position_drops_nothing_of_a_log_that_was_made_anew(world: World) -> None:
    for n in range(3):
        world.db.app("UPDATE customer SET credit = ? WHERE id = 1", n)
    old = world.system.changes(None, 10)
    world.system.unprepare()
    world.system.prepare()
    world.system.attend(None)
    for n in range(3):
        world.db.app("UPDATE customer SET credit = ? WHERE id = 2", 10 + n)
    world.system.acknowledge(old.position)
    assert _seen(world) == ["2"]


def test_a_position_serves_another_process(world: World) -> None:
    world.db.app("UPDATE customer SET credit = 1 WHERE id = 1")
    batch = world.system.changes(None, 10)
    world.system.close()
    other = world.db.system()
    other.bind(list(world.tables.values()))
    other.acknowledge(batch.position)
    assert other.changes(batch.position, 10).changes == []


@pytest.mark.change_log  # the log does not name the columns: tests/integration/test_postgresql_logical.py
def test_times_are_by_column_and_up_to_the_reading(world: World) -> None:
    assert not world.reading("customer", "1").times
    world.db.app("UPDATE customer SET name = 'A' WHERE id = 1")
    first = world.reading("customer", "1").times
    world.db.app("UPDATE customer SET email = 'e' WHERE id = 1")
    second = world.reading("customer", "1").times
    name, email = world.indexes("customer", "name", "email")
    assert first is not None and set(first) == {name}
    assert second is not None and set(second) == {name, email}
    assert second[name] == first[name] and second[email] >= first[name]
    assert abs(second[email] - time.time_ns() // 1000) < MINUTES


def test_times_of_a_new_row_are_of_all_columns(world: World) -> None:
    world.db.app("INSERT INTO customer (id, name) VALUES (3, 'Cid')")
    times = world.reading("customer", "3").times
    assert times is not None and set(times) == {0, 1, 2}


def test_two_entities_on_one_table_both_see_a_change(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    world.bind({"a": ("customer", {"name": "name"}, {}), "b": ("customer", {"mail": "email"}, {})}).start()
    db.app("INSERT INTO customer (id, name, email) VALUES (1, 'x', 'y')")
    assert sorted(world.drain()) == [("a", "1"), ("b", "1")]


def test_archiving_is_a_change(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {**CUSTOMER, "deleted": "bool DEFAULT false"})
    options = {"archive": {"deleted": True}, "restore": {"deleted": False}}
    world.bind({"customer": ("customer", FIELDS, options)}).start()
    db.app("INSERT INTO customer (id, name) VALUES (1, 'x')")
    world.drain()
    db.app("UPDATE customer SET deleted = true WHERE id = 1")
    assert world.drain() == [("customer", "1")]
    assert world.reading("customer", "1").archived


def test_the_application_is_never_refused(world: World) -> None:
    """Its account has rights on its own tables only, and may store whatever it likes."""
    app = world.db.app
    app("INSERT INTO customer (id, name, email, credit) VALUES (3, ?, ?, -999999.99)", "😀" * 50, "x" * 200)
    app("UPDATE customer SET name = ?, email = NULL, credit = NULL WHERE id = 3", "'\"\\")
    app("UPDATE customer SET id = 2000000000 WHERE id = 3")
    app("DELETE FROM customer WHERE id = 2000000000")
    assert sorted(world.drain()) == [("customer", "2000000000"), ("customer", "3")]


@pytest.mark.change_log  # PostgreSQL's own log names rows by columns that hold no NULL
def test_a_row_without_a_key_is_no_record(backend: Backend, db: Database) -> None:
    """A unique column may hold NULL; that must neither fail the application nor look like a loss."""
    world = World(backend, db)
    world.create("t", {"id": "int PRIMARY KEY", "code": "text20 UNIQUE", "name": "text"})
    world.bind({"t": ("t", {"name": "name"}, {"key": "code"})}).start()
    db.app("INSERT INTO t (id, code, name) VALUES (1, NULL, 'a'), (2, 'b', 'b')")
    db.app("UPDATE t SET name = 'x' WHERE id = 1")
    assert world.drain() == [("t", "b")]
    db.app("UPDATE t SET code = NULL WHERE id = 2")
    assert world.drain() == [("t", "b")]
    db.app("UPDATE t SET code = 'c' WHERE id = 2")
    assert world.drain() == [("t", "c")]
    db.app("DELETE FROM t")
    assert world.drain() == [("t", "c")]


def test_composite_keys_and_odd_names(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    q = backend.quote
    columns = {"Select": "int NOT NULL", "Übung": "text20 NOT NULL", "group": "text"}
    order = world.create("order", columns, f"PRIMARY KEY ({q('Select')}, {q('Übung')})")
    world.bind({"line": ("order", {"value": "group"}, {})}).start()
    db.app(f"INSERT INTO {order} ({q('Select')}, {q('Übung')}, {q('group')}) VALUES (1, ?, 'x')", 'a,"b" ü')
    key = '["1","a,\\"b\\" ü"]'
    assert world.drain() == [("line", key)]
    db.app(f"UPDATE {order} SET {q('group')} = 'y'")
    times = world.reading("line", key).times
    assert times is not None and set(times) == {0}
    assert world.drain() == [("line", key)]


def test_keys_of_text(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("country", {"code": "text20 NOT NULL PRIMARY KEY", "name": "text"})
    world.bind({"country": ("country", {"name": "name"}, {})}).start()
    db.app("INSERT INTO country (code, name) VALUES ('de', 'x'), ('0042', 'y'), ('ß😀', 'z')")
    assert sorted(world.drain()) == sorted([("country", "0042"), ("country", "de"), ("country", "ß😀")])


# --- more waits than may ----------------------------------------------------------------------------------------------


@pytest.mark.made
def test_a_backlog_is_counted_and_let_go_of(world: World) -> None:
    """What waited is lost, what comes after is captured; nobody has to wait meanwhile."""
    world.drain()
    before = world.system.backlog()
    for n in range(20):
        world.db.app("UPDATE customer SET name = ? WHERE id = 1", f"Ann {n}")
    assert world.system.backlog() >= before + 20 * 100
    with world.db.people() as run:
        run("UPDATE customer SET name = 'open' WHERE id = 2")
        if not world.backend.single:
            assert world.system.let_go()
    assert world.system.let_go()
    assert world.system.backlog() <= 2 * 200 and world.drain() == []
    world.db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
    assert world.drain() == [("customer", "1")]


def test_what_was_seen_is_let_go_of_beside_an_open_transaction(world: World) -> None:
    """Entries in a row, and behind them one that somebody has not committed yet: nobody waits for that."""
    world.drain()
    for n in range(4):
        world.db.app("UPDATE customer SET name = ? WHERE id = ?", f"seen {n}", 1 + n % 2)
    with world.db.people() as run:
        if not world.backend.single:
            run("UPDATE customer SET email = 'open' WHERE id = 1")
            assert sorted(world.drain()) == [("customer", "1"), ("customer", "2")]
            assert world.drain() == []
    left = ["1", "2"] if world.backend.single else ["1"]
    assert sorted(world.drain()) == [("customer", key) for key in left]
