"""Inserts (I2): once per record and system, known by every key; and where the new key comes from."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from config.records import Crosswalk, Key, Landing, Write, WriteKind
from tests.conformance.backend import Backend, Database
from tests.conformance.world import World, customers


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Ann", "ann@x", 5)])


def test_a_generated_key_is_told(world: World) -> None:
    outcomes = world.apply(
        "customer", *(world.insert("customer", {"name": f"n{n}", "email": "same"}) for n in range(30))
    )
    assert [o.landing for o in outcomes] == [Landing.LANDED] * 30
    for n, outcome in enumerate(outcomes):
        assert world.db.sql("SELECT name FROM customer WHERE id = ?", int(outcome.key or 0)) == [(f"n{n}",)]


def test_equal_rows_get_keys_of_their_own(world: World) -> None:
    outcomes = world.apply("customer", *(world.insert("customer", {"name": "same"}) for _ in range(5)))
    keys = [o.key for o in outcomes]
    assert len(set(keys)) == 5 and None not in keys
    gids = world.system.crosswalk("customer", "crm", [key for key in keys if key])
    assert len(set(gids.values())) == 5


def test_all_known_keys_are_claimed_with_the_row(world: World) -> None:
    (outcome,) = world.apply(
        "customer", world.insert("customer", {"name": "new"}, gid="g1", links=(("erp", "7"), ("shop", "x")))
    )
    assert sorted(world.system.links("customer", ["g1"])) == [
        Crosswalk("customer", "g1", "crm", outcome.key or ""),
        Crosswalk("customer", "g1", "erp", "7"),
        Crosswalk("customer", "g1", "shop", "x"),
    ]


def test_a_repeat_that_knows_only_the_sources_key_finds_its_earlier_self(world: World) -> None:
    links = (("erp", "7"),)
    (first,) = world.apply("customer", world.insert("customer", {"name": "new"}, gid="g1", links=links))
    again, other = world.apply(
        "customer",
        world.insert("customer", {"name": "new"}, gid="g2", links=links),
        world.insert("customer", {"name": "other"}, gid="g3", links=(("erp", "8"),)),
    )
    assert (again.landing, again.gid, again.key) == (Landing.ADOPTED, "g1", first.key)
    assert other.landing is Landing.LANDED
    assert world.db.sql("SELECT count(*) FROM customer WHERE name = 'new'") == [(1,)]
    assert world.system.links("customer", ["g2"]) == []


def test_the_same_record_twice(world: World) -> None:
    write = world.insert("customer", {"name": "new"}, gid="g1", links=(("erp", "7"),))
    (first,) = world.apply("customer", write)
    (again,) = world.apply("customer", write)
    assert (again.landing, again.gid, again.key) == (Landing.ADOPTED, "g1", first.key)
    assert world.db.sql("SELECT count(*) FROM customer WHERE name = 'new'") == [(1,)]


def test_a_link_does_not_outlive_its_row(world: World) -> None:
    """People deleted the row; an update elsewhere won: it is inserted again under the same gid."""
    write = world.insert("customer", {"name": "new"}, gid="g1", links=(("erp", "7"),))
    (first,) = world.apply("customer", write)
    world.db.app("DELETE FROM customer WHERE id = ?", int(first.key or 0))
    (again,) = world.apply("customer", write)
    assert again.landing is Landing.LANDED
    assert world.db.sql("SELECT count(*) FROM customer WHERE name = 'new'") == [(1,)]
    here = [row.key for row in world.system.links("customer", ["g1"]) if row.system == "crm"]
    assert here == [again.key]


def test_the_key_of_a_row_that_is_gone_may_come_again(backend: Backend, db: Database) -> None:
    """Where the database gives the key of a deleted row to the next one, the crosswalk follows the row."""
    world = World(backend, db)
    world.create("t", {"code": "text20 NOT NULL PRIMARY KEY", "name": "text"})
    world.bind({"t": ("t", {"code": "code", "name": "name"}, {})}).start()
    world.apply("t", world.insert("t", {"code": "a", "name": "x"}, gid="g1"))
    db.app("DELETE FROM t")
    (outcome,) = world.apply("t", world.insert("t", {"code": "a", "name": "y"}, gid="g2"))
    assert (outcome.landing, outcome.key) == (Landing.LANDED, "a")
    assert world.system.crosswalk("t", "crm", ["a"]) == {"a": "g2"}


def test_a_row_that_matches_now_stops_the_insert(world: World) -> None:
    name, email, credit = world.indexes("customer", "name", "email", "credit")
    world.db.app("INSERT INTO customer (id, name, email, credit) VALUES (5, 'Bob', 'bob@x', 7.5)")

    def attempt(guard: tuple[tuple[int, ...], ...], **values: Any) -> tuple[Landing, tuple[Key, ...]]:
        write = world.insert("customer", {"name": "Zed", **values}, guard=guard)
        (outcome,) = world.apply("customer", write)
        return outcome.landing, outcome.found

    assert attempt(((email,),), email="bob@x") == (Landing.EXISTS, ("5",))
    assert attempt(((email,), (name, credit)), email="new@x", name="Bob", credit=Decimal("7.50")) == (
        Landing.EXISTS,
        ("5",),
    )
    assert attempt(((email,),), email="BOB@x")[0] is Landing.LANDED  # equality is exact, not a collation's
    assert attempt(((email,),), email=None)[0] is Landing.LANDED  # a blank matches nothing
    assert attempt(((name, email),), name="Bob", email=None)[0] is Landing.LANDED
    assert world.db.sql("SELECT email FROM customer").count(("bob@x",)) == 1


def test_an_archived_row_stops_no_insert(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {"id": "auto", "name": "text", "deleted": "bool"})
    db.sql("INSERT INTO customer (id, name, deleted) VALUES (1, 'a', true)")
    options = {"archive": {"deleted": True}, "restore": {"deleted": False}}
    world.bind({"customer": ("customer", {"name": "name"}, options)}).start()
    (outcome,) = world.apply("customer", world.insert("customer", {"name": "a"}, guard=((0,),)))
    assert outcome.landing is Landing.LANDED
    assert not world.reading("customer", outcome.key or "").archived  # `restore` is written on insert


# --- keys ------------------------------------------------------------------------------------------------------------


def made(backend: Backend, db: Database, type: str, new_key: str | None, *writes: dict[str, Any]) -> list[Key]:
    world = World(backend, db)
    world.create("t", {"k": f"{type} NOT NULL PRIMARY KEY", "name": "text"})
    world.bind({"t": ("t", {"name": "name"}, {"new_key": new_key})}).start()
    inserts = [world.insert("t", {"name": f"n{n}"}, **more) for n, more in enumerate(writes)]
    outcomes = world.apply("t", *inserts)
    assert [o.landing for o in outcomes] == [Landing.LANDED] * len(writes), outcomes
    keys = [o.key or "" for o in outcomes]
    assert [world.values("t", key)["name"] for key in keys] == [f"n{n}" for n in range(len(writes))]
    assert set(world.system.crosswalk("t", "crm", keys)) == set(keys)
    return keys


@pytest.mark.parametrize("type", ["text", "uuid"])
def test_uuid(backend: Backend, db: Database, type: str) -> None:
    keys = made(backend, db, type, "uuid", {}, {}, {})
    assert len(set(keys)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", key) for key in keys)


def test_copy(backend: Backend, db: Database) -> None:
    links = [{"links": (("erp", "4711"),)}, {"links": (("crm", "9"), ("erp", "4712"))}]
    assert made(backend, db, "int", "copy", *links) == ["4711", "4712"]


def test_an_expression(backend: Backend, db: Database) -> None:
    db.define(*backend.setup)
    keys = made(backend, db, "text20", "sql:lower('K-ONE')", {})
    assert keys == ["k-one"]


def test_a_sequence(backend: Backend, db: Database) -> None:
    if backend.sequence is None:
        return
    db.define(*backend.setup)
    (key,) = made(backend, db, "int", f"sql:{backend.sequence}", {})
    assert int(key) > 0


def test_a_key_that_is_given(backend: Backend, db: Database) -> None:
    assert made(backend, db, "int", None, {"key": "31"}, {"key": "30"}) == ["31", "30"]


def test_keys_that_are_fields(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("line", {"a": "int NOT NULL", "b": "text20 NOT NULL", "name": "text"}, "PRIMARY KEY (a, b)")
    world.bind({"line": ("line", {"a": "a", "b": "b", "name": "name"}, {})}).start()
    one, two = world.apply(
        "line",
        world.insert("line", {"a": 1, "b": "x", "name": "n"}),
        world.insert("line", {"a": 1, "b": "y", "name": "m"}),
    )
    assert (one.key, two.key) == ('["1","x"]', '["1","y"]')
    (moved,) = world.apply("line", world.update("line", '["1","x"]', {"b": "z"}))
    assert (moved.landing, moved.key) == (Landing.LANDED, '["1","z"]')
    assert set(world.system.crosswalk("line", "crm", ['["1","x"]', '["1","z"]'])) == {'["1","z"]'}
    assert world.drain() == []


def test_a_default_stands_where_no_null_may(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("t", {"id": "auto", "n": "int NOT NULL DEFAULT 7", "m": "int DEFAULT 8", "s": "text NOT NULL"})
    world.bind({"t": ("t", {"n": "n", "m": "m", "s": "s"}, {})}).start()
    (outcome,) = world.apply("t", world.insert("t", {"n": None, "m": None, "s": None}))
    assert outcome.landing is Landing.LANDED
    assert db.sql("SELECT n, m, s FROM t") == [(7, None, "")]


def test_a_constant_stands_where_a_record_has_no_value(backend: Backend, db: Database) -> None:
    """A field's column that `insert` fills, too: an insert that does not name it gets the constant, another its own."""
    world = World(backend, db)
    world.create("t", {"id": "auto", "name": "text", "kind": "text NOT NULL", "n": "int"})
    options = {"insert": {"kind": "it's new", "n": "sql:1 + 2"}}
    world.bind({"t": ("t", {"name": "name", "kind": "kind", "n": "n"}, options)}).start()
    given: list[dict[str, Any]] = [{}, {"kind": "own"}, {"n": 9}, {"kind": "own", "n": 9}, {"n": None}]
    outcomes = world.apply("t", *(world.insert("t", {"name": f"r{i}", **more}) for i, more in enumerate(given)))
    assert [o.landing for o in outcomes] == [Landing.LANDED] * len(given)
    rows = db.sql("SELECT name, kind, n FROM t ORDER BY name")
    assert rows == [
        ("r0", "it's new", 3), ("r1", "own", 3), ("r2", "it's new", 9), ("r3", "own", 9), ("r4", "it's new", None)
    ]  # fmt: skip
    assert [world.named("t", o.after) for o in outcomes] == [
        dict(zip(("name", "kind", "n"), r, strict=True)) for r in rows
    ]


def test_a_column_that_nothing_fills_is_refused_with_a_hint(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("t", {"id": "auto", "name": "text", "must": "int NOT NULL"})
    world.bind({"t": ("t", {"name": "name"}, {})}).start()
    (outcome,) = world.apply("t", Write(WriteKind.INSERT, "g", None, {0: "x"}, None))
    assert outcome.landing is Landing.REJECTED
    assert "must" in outcome.message and "insert" in outcome.hint
    assert world.system.links("t", ["g"]) == []
