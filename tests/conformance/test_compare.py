"""Compare-and-set (I3): a write lands only on what its merge has seen, as stored, byte for byte."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

from config.errors import Transient
from config.records import Landing, Value, WriteKind
from tests.conformance.backend import Backend, Database
from tests.conformance.world import CUSTOMER, FIELDS, World, customers


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Acme", "a@x", "5.00"), (2, "Bob", None, None)])


@pytest.mark.parametrize(
    ("key", "statement"),
    [
        ("1", "UPDATE customer SET name = 'ACME' WHERE id = 1"),
        ("1", "UPDATE customer SET name = 'Acmé' WHERE id = 1"),
        ("1", "UPDATE customer SET name = 'Acme ' WHERE id = 1"),
        ("1", "UPDATE customer SET email = 'A@X' WHERE id = 1"),
        ("1", "UPDATE customer SET email = NULL WHERE id = 1"),
        ("1", "UPDATE customer SET credit = 5.01 WHERE id = 1"),
        ("1", "UPDATE customer SET credit = NULL WHERE id = 1"),
        ("2", "UPDATE customer SET email = '' WHERE id = 2"),
        ("2", "UPDATE customer SET credit = 0 WHERE id = 2"),
    ],
)
def test_somebody_was_faster(world: World, key: str, statement: str) -> None:
    values: dict[str, Value] = {"name": "N", "email": "e", "credit": Decimal(1)}
    write = world.update("customer", key, values)
    world.db.app(statement)
    stored = world.db.sql("SELECT * FROM customer ORDER BY id")
    (outcome,) = world.apply("customer", write)
    assert outcome.landing is Landing.CHANGED
    assert world.db.sql("SELECT * FROM customer ORDER BY id") == stored


@pytest.mark.parametrize("kind", [WriteKind.DELETE, WriteKind.ARCHIVE])
@pytest.mark.parametrize("changed", ["name = 'ACME'", "email = 'A@x'", "credit = 6"])
def test_a_row_that_goes_is_compared_whole(backend: Backend, db: Database, kind: WriteKind, changed: str) -> None:
    world = customers(backend, db, [(1, "Acme", "a@x", 5)], archive={"note": "gone"})
    write = world.change(kind, "customer", "1")
    db.app(f"UPDATE customer SET {changed}")
    assert world.apply("customer", write)[0].landing is Landing.CHANGED
    assert db.sql("SELECT id, note FROM customer") == [(1, None)]
    write = world.change(kind, "customer", "1")
    assert world.apply("customer", write)[0].landing is Landing.LANDED
    assert db.sql("SELECT id, note FROM customer") == ([] if kind is WriteKind.DELETE else [(1, "gone")])


def test_an_update_compares_only_what_it_replaces(world: World) -> None:
    write = world.update("customer", "1", {"name": "N"})
    world.db.app("UPDATE customer SET email = 'other', note = 'x' WHERE id = 1")
    (outcome,) = world.apply("customer", write)
    assert outcome.landing is Landing.LANDED
    assert world.named("customer", outcome.before)["email"] == "other"
    assert world.named("customer", outcome.after) == {"name": "N", "email": "other", "credit": Decimal("5.00")}
    assert world.db.sql("SELECT name, email, note FROM customer WHERE id = 1") == [("N", "other", "x")]


def test_a_row_that_is_gone_is_missing(world: World) -> None:
    writes = [world.update("customer", "1", {"name": "N"}), world.change(WriteKind.DELETE, "customer", "2")]
    world.db.app("DELETE FROM customer")
    assert [o.landing for o in world.apply("customer", *writes)] == [Landing.MISSING, Landing.MISSING]


FLAG = {"archive": {"deleted": 1}, "restore": {"deleted": 0}}


def archivable(backend: Backend, db: Database, count: int = 3, **options: Any) -> World:
    """Customers c1, c2 … with unique emails; `deleted` says which are archived."""
    world = World(backend, db)
    world.create("customer", {**CUSTOMER, "deleted": "int DEFAULT 0"}, "UNIQUE (email)")
    for n in range(1, count + 1):
        db.sql("INSERT INTO customer (id, name, email) VALUES (?, ?, ?)", n, f"c{n}", f"{n}@x")
    return world.bind({"customer": ("customer", FIELDS, options or FLAG)}).start()


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("kind", [WriteKind.UPDATE, WriteKind.DELETE, WriteKind.ARCHIVE])
def test_nothing_lands_on_a_row_that_was_archived_meanwhile(
    backend: Backend, db: Database, kind: WriteKind, restore: bool
) -> None:
    """It counts as gone now; its fields are as they were. Again and again: no adapter gets used to it."""
    world = archivable(backend, db, 4, **(FLAG if restore else {"archive": {"deleted": 1}}))
    values: dict[str, Value] = {"name": "N"} if kind is WriteKind.UPDATE else {}
    for n in range(1, 5):
        writes = [world.change(kind, "customer", str(n), values), world.update("customer", "4", {"credit": Decimal(n)})]
        db.app("UPDATE customer SET deleted = 1 WHERE id = ?", n)
        outcomes = world.apply("customer", *writes[: 2 if n < 4 else 1])
        assert [o.landing for o in outcomes] == [Landing.CHANGED, Landing.LANDED][: len(outcomes)]
        assert world.named("customer", outcomes[0].before)["name"] == f"c{n}"
    rows = db.sql("SELECT name, email, deleted, note FROM customer ORDER BY id")
    assert rows == [(f"c{n}", f"{n}@x", 1, None) for n in range(1, 5)]
    assert db.sql("SELECT credit = 3 FROM customer WHERE id = 4")[0][0]


def test_an_archived_row_is_no_refusal(backend: Backend, db: Database) -> None:
    """What the database would have refused, and values that are swapped, are not asked of a row that is gone."""
    world = archivable(backend, db, 5)
    emails = {"1": "2@x", "2": "1@x", "3": "4@x"}
    writes = [world.update("customer", key, {"email": email}) for key, email in emails.items()]
    db.app("UPDATE customer SET deleted = 1 WHERE id IN (2, 3)")
    assert world.apply("customer", writes[2])[0].landing is Landing.CHANGED
    outcomes = world.apply("customer", *writes, world.update("customer", "5", {"email": "5@y"}))
    expected = [Landing.REJECTED, Landing.CHANGED, Landing.CHANGED, Landing.LANDED]
    assert [o.landing for o in outcomes] == expected
    rows = db.sql("SELECT email, deleted FROM customer ORDER BY id")
    assert rows == [("1@x", 0), ("2@x", 1), ("3@x", 1), ("4@x", 0), ("5@y", 0)]


def test_a_restore_lands_on_an_archived_row_and_on_one_that_is_alive_again(backend: Backend, db: Database) -> None:
    world = archivable(backend, db)
    db.sql("UPDATE customer SET deleted = 1 WHERE id < 3")
    writes = [world.change(WriteKind.RESTORE, "customer", key, {"name": "N"}) for key in ("1", "2", "3")]
    db.app("UPDATE customer SET deleted = 0 WHERE id = 1")
    assert [o.landing for o in world.apply("customer", writes[2], writes[0])] == [Landing.LANDED] * 2
    db.app("UPDATE customer SET note = 'x', credit = 7 WHERE id = 2")  # beside it
    assert world.apply("customer", writes[1])[0].landing is Landing.LANDED
    assert db.sql("SELECT name, deleted FROM customer ORDER BY id") == [("N", 0)] * 3


def test_an_update_that_archives_by_the_applications_own_trigger_lands(backend: Backend, db: Database) -> None:
    """The row was alive when it was written: what the application makes of it then is its own affair."""
    world = World(backend, db)
    world.create("customer", {**CUSTOMER, "state": "text"})
    db.define(*backend.upper_trigger("customer", "state", "id"))
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'ann')")
    options = {"archive": {"state": "GONE"}, "stamp": {"state": "gone"}}
    world.bind({"customer": ("customer", FIELDS, options)}).start()
    (outcome,) = world.apply("customer", world.update("customer", "1", {"name": "bob"}))
    assert outcome.landing is Landing.LANDED
    assert db.sql("SELECT name, state FROM customer") == [("bob", "GONE")]


def test_one_of_many_was_changed(backend: Backend, db: Database) -> None:
    world = customers(backend, db, [(n, f"c{n}", None, n) for n in range(1, 21)])
    writes = [world.update("customer", str(n), {"name": f"new{n}"}) for n in range(1, 21)]
    db.app("UPDATE customer SET name = 'Eve' WHERE id = 7")
    outcomes = world.apply("customer", *writes)
    assert [o.landing for o in outcomes].count(Landing.LANDED) == 19
    assert outcomes[6].landing is Landing.CHANGED
    assert [o.key for o in outcomes if o.landing is Landing.LANDED] == [str(n) for n in range(1, 21) if n != 7]
    assert db.sql("SELECT count(*) FROM customer WHERE name LIKE 'new%'") == [(19,)]
    assert db.sql("SELECT name FROM customer WHERE id = 7") == [("Eve",)]


@pytest.mark.parametrize(
    ("type", "literal", "value"),
    [
        ("double", "0.1", Decimal("0.2")),
        ("double", "1e300", Decimal("0.3")),
        ("real", "0.1", Decimal("0.5")),
        ("real", "16777217", Decimal("0.25")),
        ("json", '\'{"b": 1,  "a": [1]}\'', '{"c": 2}'),
        ("char10", "'ab'", "cd"),
        ("decimal", "12.50", Decimal("1.10")),
        ("bytes", None, b"\x00\x01"),
        ("exact", None, Decimal("3.25")),
        ("bool", "true", False),
        ("date", "'2026-11-24'", None),
        ("datetime", "'2026-11-24 10:00:00.123456'", None),
        ("uuid", "'8c7e5b1a-0b0f-4d6e-9d8e-0123456789ab'", "0c7e5b1a-0b0f-4d6e-9d8e-0123456789ab"),
        ("text", "'  x\t'", "y"),
        ("long", "'x'", "y" * 100_000),
    ],
)
def test_an_untouched_value_is_found_equal(
    backend: Backend, db: Database, type: str, literal: str | None, value: Value
) -> None:
    """Even where the database's own `=` would not find it."""
    literal = literal or {"bytes": backend.bytes(b"\xff\x00"), "exact": backend.exact("12.5000000000")}[type]
    world = World(backend, db)
    world.create("t", {"id": "auto", "v": type})
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {literal}), (2, NULL), (3, {literal})")
    world.bind({"t": ("t", {"v": "v"}, {})}).start()
    outcomes = world.apply("t", *(world.update("t", key, {"v": value}) for key in ("1", "2")))
    assert [o.landing for o in outcomes] == [Landing.LANDED, Landing.LANDED]
    assert world.values("t", "1")["v"] == world.values("t", "2")["v"] == value
    assert world.apply("t", world.change(WriteKind.DELETE, "t", "3"))[0].landing is Landing.LANDED


@pytest.mark.parametrize(
    ("type", "before", "after"),
    [
        ("json", "'{\"a\": 1}'", "'{\"a\":  2}'"),
        ("json", '\'{"a": "x"}\'', '\'{"a": "X"}\''),
        ("double", "0.1", "0.10000000000000002"),
        ("char10", "'ab'", "'AB'"),
        ("long", "'ab'", "'ab '"),
    ],
)
def test_a_small_difference_is_a_difference(backend: Backend, db: Database, type: str, before: str, after: str) -> None:
    world = World(backend, db)
    world.create("t", {"id": "auto", "v": type, "w": "int"})
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {before})")
    world.bind({"t": ("t", {"v": "v"}, {})}).start()
    write = world.update("t", "1", {"v": None})
    db.app(f"UPDATE t SET v = {after}")
    assert world.drain() == [("t", "1")]
    assert world.apply("t", write)[0].landing is Landing.CHANGED


def test_blob_decimals(backend: Backend, db: Database) -> None:
    """12.5 and 12.50 are one number and two stored forms: the reading that was merged says which one stood there."""
    world = World(backend, db)
    world.create("t", {"id": "auto", "v": "exact"})
    db.sql(f"INSERT INTO t (id, v) VALUES (1, {backend.exact('12.50')})")
    world.bind({"t": ("t", {"v": "v"}, {})}).start()
    assert world.values("t", "1")["v"] == Decimal("12.50")
    write = world.update("t", "1", {"v": Decimal("13.25")})
    db.app(f"UPDATE t SET v = {backend.exact('12.51')}")
    assert world.apply("t", write)[0].landing is Landing.CHANGED
    assert world.apply("t", world.update("t", "1", {"v": Decimal("13.25")}))[0].landing is Landing.LANDED
    db.sql(f"INSERT INTO t (id, v) VALUES (2, {backend.exact('13.25')})")
    assert len(set(db.sql(f"SELECT {backend.text('v')} FROM t"))) == 1


def test_no_update_is_lost_beside_a_busy_writer(backend: Backend, db: Database) -> None:
    """People add 1, two hundred times; Accord adds 1000 on what it read, forty times. Nothing is missing in the end."""
    world = World(backend, db)
    world.create("t", {"id": "auto", "n": "int"})
    db.sql("INSERT INTO t (id, n) VALUES (1, 0)")
    world.bind({"t": ("t", {"n": "n"}, {})}).start()
    failed: list[BaseException] = []

    def people() -> None:
        try:
            for _ in range(200):
                db.app("UPDATE t SET n = n + 1 WHERE id = 1")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=people)
    thread.start()
    landed = 0
    while landed < 40:
        try:
            reading = world.reading("t", "1")
            seen = world.named("t", reading.raws)["n"]
            assert isinstance(seen, int)
            write = world.update("t", "1", {"n": seen + 1000}, reading)
            landed += world.apply("t", write)[0].landing is Landing.LANDED
        except Transient:
            world.system.close()
    thread.join()
    assert not failed
    assert db.sql("SELECT n FROM t") == [(40_200,)]
