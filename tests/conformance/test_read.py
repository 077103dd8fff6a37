"""`read`, `scan`, `count`, `find`: exact, consistent, whatever the key looks like."""

from __future__ import annotations

import contextlib
import threading
from decimal import Decimal

import pytest

from config.errors import Transient
from config.records import Key
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World, customers


def scanned(world: World, entity: str, limit: int) -> list[Key]:
    keys: list[Key] = []
    while page := world.system.scan(entity, keys[-1] if keys else None, limit):
        assert len(page) <= limit
        keys += [reading.key for reading in page]
    return keys


def test_rows_that_are_gone_are_missing(backend: Backend, db: Database) -> None:
    world = customers(backend, db, [(1, "Ann", "ann@x", 5)])
    found = world.system.read({"customer": ["1", "2", "999999999"]})["customer"]
    assert list(found) == ["1"]
    assert world.named("customer", found["1"].raws) == {"name": "Ann", "email": "ann@x", "credit": Decimal("5.00")}


def test_a_key_that_cannot_be_one_is_missing(backend: Backend, db: Database) -> None:
    world = customers(backend, db, [(1, "Ann", None, 5)])
    assert list(world.system.read({"customer": ["abc", "1", ""]})["customer"]) == ["1"]


def test_nothing_asked_nothing_answered(backend: Backend, db: Database) -> None:
    world = customers(backend, db)
    assert world.system.read({"customer": []}) == {"customer": {}}
    assert world.system.read({}) == {}


def test_many_keys(backend: Backend, db: Database) -> None:
    world = customers(backend, db)
    with db.people() as run:
        for n in range(2500):
            run("INSERT INTO customer (id, name) VALUES (?, ?)", n + 1, f"c{n + 1}")
    found = world.system.read({"customer": [str(n) for n in range(1, 3001)]})["customer"]
    assert len(found) == 2500
    assert all(reading.raws[0] == f"c{key}" for key, reading in found.items())
    assert world.system.count("customer") == 2500


def test_one_snapshot_for_all_entities(backend: Backend, db: Database) -> None:
    """Somebody moves two tables together while they are read: never one without the other."""
    world = World(backend, db)
    for name in ("customer", "product"):
        world.create(name, {"id": "auto", "n": "int"})
        db.sql(f"INSERT INTO {name} (id, n) VALUES (1, 0)")
    world.bind({name: (name, {"n": "n"}, {}) for name in ("customer", "product")}).start()
    failed: list[BaseException] = []

    def people() -> None:
        try:
            for _ in range(150):
                with db.people() as run:
                    run("UPDATE customer SET n = n + 1")
                    run("UPDATE product SET n = n + 1")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=people)
    thread.start()
    pairs = set()
    while thread.is_alive():
        with contextlib.suppress(Transient):  # where writers lock out readers
            found = world.system.read({"customer": ["1"], "product": ["1"]})
            pairs.add((found["customer"]["1"].raws[0], found["product"]["1"].raws[0]))
    thread.join()
    assert not failed
    assert len(pairs) > 1
    assert all(one == other for one, other in pairs)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_scan_walks_all_rows_in_key_order(backend: Backend, db: Database, limit: int) -> None:
    world = customers(backend, db, [(n, f"c{n}", None, n) for n in (30, 2, 1, 10, 100)])
    assert scanned(world, "customer", limit) == ["1", "2", "10", "30", "100"]


def test_scan_is_stable_while_others_write(backend: Backend, db: Database) -> None:
    world = customers(backend, db, [(n, f"c{n}", None, n) for n in range(1, 7)])
    first = [reading.key for reading in world.system.scan("customer", None, 3)]
    db.app("DELETE FROM customer WHERE id <= 3")
    db.app("INSERT INTO customer (id, name) VALUES (0 + 7, 'new')")
    assert [reading.key for reading in world.system.scan("customer", first[-1], 10)] == ["4", "5", "6", "7"]


def test_archived_rows_are_read_and_say_so(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {"id": "auto", "name": "text", "deleted": "bool"})
    db.sql("INSERT INTO customer (id, name, deleted) VALUES (1, 'a', false), (2, 'b', true), (3, 'c', NULL)")
    options = {"archive": {"deleted": True}, "restore": {"deleted": False}}
    world.bind({"customer": ("customer", {"name": "name"}, options)})
    assert [(r.key, r.archived) for r in world.system.scan("customer", None, 10)] == [
        ("1", False),
        ("2", True),
        ("3", True),  # alive only where `restore` holds
    ]


def test_archived_by_a_time(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {"id": "auto", "name": "text", "gone": "datetime"})
    db.sql("INSERT INTO customer (id, name, gone) VALUES (1, 'a', NULL), (2, 'b', '2026-11-24 10:00:00')")
    options = {"archive": {"gone": f"sql:{backend.now}"}, "restore": {"gone": None}}
    world.bind({"customer": ("customer", {"name": "name"}, options)})
    assert [r.archived for r in world.system.scan("customer", None, 10)] == [False, True]


@pytest.mark.parametrize(
    ("type", "literals", "keys"),
    [
        ("bigint", ["7", "-3", "4611686018427387904"], ["-3", "7", "4611686018427387904"]),
        ("text20", ["'b'", "'a'", "'0042'"], ["0042", "a", "b"]),
        ("char10", ["'abc'", "'de'"], ["abc", "de"]),
        (
            "uuid",
            ["'8c7e5b1a-0b0f-4d6e-9d8e-0123456789ab'", "'0c7e5b1a-0b0f-4d6e-9d8e-0123456789ab'"],
            ["0c7e5b1a-0b0f-4d6e-9d8e-0123456789ab", "8c7e5b1a-0b0f-4d6e-9d8e-0123456789ab"],
        ),
    ],
)
def test_kinds_of_keys(backend: Backend, db: Database, type: str, literals: list[str], keys: list[Key]) -> None:
    world = World(backend, db)
    world.create("t", {"k": f"{type} NOT NULL PRIMARY KEY", "name": "text"})
    for literal in literals:
        db.sql(f"INSERT INTO t (k, name) VALUES ({literal}, 'x')")
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    assert scanned(world, "t", 1) == keys
    assert set(world.system.read({"t": keys})["t"]) == set(keys)
    outcomes = world.apply("t", *(world.update("t", key, {"name": f"y{key}"}) for key in keys))
    assert [o.key for o in outcomes] == keys
    assert {key: world.values("t", key)["name"] for key in keys} == {key: f"y{key}" for key in keys}


def test_keys_of_bytes(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    type = backend.types.get("bytes16", backend.types["bytes"])  # MariaDB takes no unlimited key
    db.define(f"CREATE TABLE t (k {type} NOT NULL PRIMARY KEY, name {backend.types['text']})")
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    for key in (bytes((0, 255)), b"ab"):
        db.app(f"INSERT INTO t (k, name) VALUES ({backend.bytes(key)}, 'x')")
    assert sorted(world.drain()) == [("t", "00ff"), ("t", "6162")]
    assert scanned(world, "t", 1) == ["00ff", "6162"]
    assert world.apply("t", world.update("t", "00ff", {"name": "z"}))[0].landing == "landed"
    assert db.sql("SELECT name FROM t ORDER BY k") == [("z",), ("x",)]


def test_composite_keys(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("line", {"a": "int NOT NULL", "b": "text20 NOT NULL", "name": "text"}, "PRIMARY KEY (a, b)")
    db.sql("INSERT INTO line (a, b, name) VALUES (10, 'x', '1'), (2, 'y', '2'), (2, 'x', '3'), (10, 'a', '4')")
    world.bind({"line": ("line", {"name": "name"}, {})}).start()
    keys = ['["2","x"]', '["2","y"]', '["10","a"]', '["10","x"]']
    for limit in (1, 3):
        assert scanned(world, "line", limit) == keys
    assert set(world.system.read({"line": [*keys, '["2","a"]', '["10","y"]']})["line"]) == set(keys)
    assert world.apply("line", world.update("line", keys[1], {"name": "new"}))[0].landing == "landed"
    assert db.sql("SELECT name FROM line ORDER BY a, b") == [("3",), ("new",), ("4",), ("1",)]


def test_reserved_words_and_mixed_case(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    q = backend.quote
    order = world.create("order", {"Group": "auto", "Select": "text", "Übung": "text", "a'b": "text"})
    db.sql(f"INSERT INTO {order} ({q('Group')}, {q('Select')}, {q('Übung')}) VALUES (1, 's', 'ü')")
    world.bind({"order": ("order", {"x": "Select", "y": "Übung", "z": "a'b"}, {})}).start()
    assert world.values("order", "1") == {"x": "s", "y": "ü", "z": None}
    assert [r.key for r in world.system.scan("order", None, 10)] == ["1"]
    assert world.system.find("order", (0, 1), [("s", "ü")]) == [("1",)]
    assert world.apply("order", world.update("order", "1", {"x": "t", "z": "q"}))[0].landing == "landed"
    assert db.sql(f"SELECT {q('Select')}, {q('Übung')}, {q('a' + chr(39) + 'b')} FROM {order}") == [("t", "ü", "q")]


def test_a_table_in_another_schema(backend: Backend, db: Database) -> None:
    if backend.schema is None:
        return
    world = World(backend, db)
    there = world.create("customer", {"id": "auto", "name": "text"}, schema=backend.schema)
    world.create("customer", {"id": "auto", "name": "text"})
    world.bind(
        {
            "there": ("customer", {"name": "name"}, {"schema": backend.schema}),
            "here": ("customer", {"name": "name"}, {}),
        }
    ).start()
    db.app(f"INSERT INTO {there} (id, name) VALUES (1, 'x')")
    assert world.drain() == [("there", "1")]
    assert world.system.read({"there": ["1"], "here": ["1"]})["here"] == {}
    assert world.apply("there", world.update("there", "1", {"name": "y"}))[0].landing == "landed"
    assert db.sql(f"SELECT name FROM {there}") == [("y",)]


def test_find(backend: Backend, db: Database) -> None:
    world = customers(backend, db, [(1, "Ann", "a@x", "5.00"), (2, "Bob", "b@x", "7.50"), (3, "Bob", "c@x", "7.50")])
    name, email, credit = world.indexes("customer", "name", "email", "credit")
    find = world.system.find
    assert find("customer", (email,), [("b@x",), ("nobody",), ("a@x",)]) == [("2",), (), ("1",)]
    ((both),) = find("customer", (name,), [("Bob",)])
    assert sorted(both) == ["2", "3"]
    assert find("customer", (name, email), [("Bob", "c@x"), ("Ann", "c@x")]) == [("3",), ()]
    ((same),) = find("customer", (credit,), [(Decimal("7.5"),)])
    assert sorted(same) == ["2", "3"]
    assert find("customer", (name,), []) == []


def test_find_sees_through_spellings(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("t", {"id": "auto", "code": "char10", "price": "exact", "born": "date"})
    db.sql(f"INSERT INTO t (id, code, price, born) VALUES (1, 'ab', {backend.exact('12.50')}, '1970-12-31')")
    world.bind({"t": ("t", {"code": "code", "price": "price", "born": "born"}, {})})
    born = world.values("t", "1")["born"]
    assert world.system.find("t", (0,), [("ab",)]) == [("1",)]
    assert world.system.find("t", (1,), [(Decimal("12.5"),)]) == [("1",)]
    assert world.system.find("t", (2,), [(born,)]) == [("1",)]
    assert world.system.find("t", (0, 1, 2), [("ab", Decimal("12.5"), born), ("x", Decimal("12.5"), born)]) == [
        ("1",),
        (),
    ]
