"""`apply`: only the columns that are named, whatever else stands in the way; one outcome per write, in order."""

from __future__ import annotations

from decimal import Decimal

import pytest

from config.errors import Transient
from config.records import Crosswalk, Landing, WriteKind
from tests.conformance.backend import Backend, Database
from tests.conformance.world import CUSTOMER, FIELDS, World, customers


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(n, f"c{n}", f"{n}@x", n) for n in range(1, 9)])


def test_only_the_named_columns_are_touched(world: World) -> None:
    """I4: what people change meanwhile in other columns stays."""
    before = world.db.sql("SELECT id, email, credit, note FROM customer ORDER BY id")
    outcomes = world.apply("customer", *(world.update("customer", str(n), {"name": f"n{n}"}) for n in (1, 2)))
    assert [o.landing for o in outcomes] == [Landing.LANDED] * 2
    assert world.db.sql("SELECT id, email, credit, note FROM customer ORDER BY id") == before
    assert world.db.sql("SELECT name FROM customer WHERE id < 4 ORDER BY id") == [("n1",), ("n2",), ("c3",)]


def test_outcomes_are_in_order_whatever_the_kinds(world: World) -> None:
    writes = [
        world.update("customer", "3", {"name": "n3"}),
        world.insert("customer", {"name": "new", "email": "new@x"}),
        world.change(WriteKind.DELETE, "customer", "2"),
        world.update("customer", "1", {"email": "e1", "credit": Decimal("9.99")}),
        world.update("customer", "4", {"name": "n4"}),
    ]
    outcomes = world.apply("customer", *writes)
    assert [o.landing for o in outcomes] == [Landing.LANDED] * 5
    assert [o.key for o in outcomes[:1] + outcomes[2:]] == ["3", "2", "1", "4"]
    rows = world.db.sql("SELECT name FROM customer WHERE id IN (1, 2, 3, 4) ORDER BY id")
    assert rows == [("c1",), ("n3",), ("n4",)]
    assert world.values("customer", outcomes[1].key or "") == {"name": "new", "email": "new@x", "credit": None}


def test_before_and_after(world: World) -> None:
    update, delete, insert = world.apply(
        "customer",
        world.update("customer", "1", {"name": "n1"}),
        world.change(WriteKind.DELETE, "customer", "2"),
        world.insert("customer", {"name": "new"}),
    )
    assert world.named("customer", update.before)["name"] == "c1"
    assert world.named("customer", update.after) == {"name": "n1", "email": "1@x", "credit": Decimal("1.00")}
    assert world.named("customer", delete.before)["name"] == "c2" and delete.after is None
    assert insert.before is None and world.named("customer", insert.after)["name"] == "new"


def test_own_writes_are_no_changes(world: World) -> None:
    world.apply(
        "customer",
        world.update("customer", "1", {"name": "n1"}),
        world.change(WriteKind.DELETE, "customer", "2"),
        world.insert("customer", {"name": "new"}),
    )
    assert world.drain() == []
    assert not world.reading("customer", "1").times


def test_own_writes_hide_no_change_of_others(world: World) -> None:
    write = world.update("customer", "1", {"name": "n1"})
    world.db.app("UPDATE customer SET email = 'people' WHERE id = 1")
    assert world.apply("customer", write)[0].landing is Landing.LANDED
    assert world.drain() == [("customer", "1")]


@pytest.mark.change_log  # the log does not name the columns: tests/integration/test_postgresql_logical.py
def test_times_leave_own_writes_out(world: World) -> None:
    world.db.app("UPDATE customer SET email = 'people' WHERE id = 1")
    world.apply("customer", world.update("customer", "1", {"name": "n1"}))
    times = world.reading("customer", "1").times
    assert times is not None and set(times) == {world.index("customer", "email")}


def test_what_an_applications_trigger_rewrites_is_read_back(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    db.define(*backend.upper_trigger("customer", "name", "id"))
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'ann')")
    world.bind({"customer": ("customer", FIELDS, {})}).start()
    update, insert = world.apply(
        "customer", world.update("customer", "1", {"name": "bob"}), world.insert("customer", {"name": "cid"})
    )
    assert world.named("customer", update.after)["name"] == "BOB"
    assert world.named("customer", insert.after)["name"] == "CID"
    assert world.drain() == []


def test_what_an_applications_trigger_does_to_another_record_is_a_change(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    world.create("orders", {"id": "auto", "total": "decimal"})
    db.define(*backend.touch_trigger("orders", "id", "customer", "id", "email"))
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'ann')")
    db.sql("INSERT INTO orders (id, total) VALUES (1, 5)")
    world.bind({"customer": ("customer", FIELDS, {}), "order": ("orders", {"total": "total"}, {})}).start()
    world.apply("order", world.update("order", "1", {"total": Decimal(6)}))
    assert db.sql("SELECT email FROM customer") == [("touched",)]
    assert not world.reading("customer", "1").times
    assert world.drain() == [("customer", "1")]


def test_archive_and_restore(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {**CUSTOMER, "deleted": "int DEFAULT 0", "reason": "text"})
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'ann')")
    options = {"archive": {"deleted": 1, "reason": "accord"}, "restore": {"deleted": 0, "reason": None}}
    world.bind({"customer": ("customer", FIELDS, options)}).start()
    (outcome,) = world.apply("customer", world.change(WriteKind.ARCHIVE, "customer", "1"))
    assert (outcome.landing, outcome.key) == (Landing.LANDED, "1")
    assert db.sql("SELECT name, deleted, reason FROM customer") == [("ann", 1, "accord")]
    assert world.reading("customer", "1").archived
    (outcome,) = world.apply("customer", world.change(WriteKind.RESTORE, "customer", "1", {"name": "Ann"}))
    assert outcome.landing is Landing.LANDED and world.named("customer", outcome.after)["name"] == "Ann"
    assert db.sql("SELECT name, deleted, reason FROM customer") == [("Ann", 0, None)]
    assert not world.reading("customer", "1").archived
    assert world.drain() == []


def test_stamps_are_written_on_every_write_and_constants_on_insert(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    more = {"by": "text", "kind": "text", "seen": "datetime", "n": "int"}
    world.create("customer", {**CUSTOMER, **more})
    db.sql("INSERT INTO customer (id, name, n) VALUES (1, 'ann', 7)")
    options = {
        "insert": {"kind": "it's new", "n": "sql:1 + 2"},
        "stamp": {"by": "accord", "seen": f"sql:{backend.now}"},
    }
    world.bind({"customer": ("customer", FIELDS, options)}).start()
    world.apply("customer", world.update("customer", "1", {"name": "Ann"}), world.insert("customer", {"name": "bob"}))
    by = backend.quote("by")
    rows = db.sql(f"SELECT name, {by}, kind, n, seen IS NOT NULL FROM customer ORDER BY id")
    assert [tuple(row[:4]) for row in rows] == [("Ann", "accord", None, 7), ("bob", "accord", "it's new", 3)]
    assert all(row[4] for row in rows)


# --- what the database refuses ---------------------------------------------------------------------------------------


@pytest.fixture
def strict(backend: Backend, db: Database) -> World:
    """email is unique and may be NULL, code is unique and may not, credit must not be negative."""
    world = World(backend, db)
    columns = {**CUSTOMER, "code": "int NOT NULL"}
    world.create("customer", columns, "UNIQUE (email)", "UNIQUE (code)", "CHECK (credit >= 0)")
    for n in range(1, 21):
        db.sql(
            "INSERT INTO customer (id, name, email, credit, code) VALUES (?, ?, ?, ?, ?)", n, f"c{n}", f"{n}@x", n, n
        )
    return world.bind({"customer": ("customer", {**FIELDS, "code": "code"}, {})}).start()


def test_one_bad_row_of_many(strict: World) -> None:
    writes = [strict.update("customer", str(n), {"credit": Decimal(-1 if n == 13 else 100 + n)}) for n in range(1, 21)]
    outcomes = strict.apply("customer", *writes)
    assert [n for n, o in enumerate(outcomes, 1) if o.landing is Landing.REJECTED] == [13]
    assert outcomes[12].key == "13" and outcomes[12].message and outcomes[12].hint
    assert all(o.landing is Landing.LANDED for o in outcomes if o.key != "13")
    assert strict.db.sql("SELECT count(*) FROM customer WHERE credit > 100") == [(19,)]
    assert strict.db.sql("SELECT credit = 13 FROM customer WHERE id = 13")[0][0]


def test_one_bad_insert_of_many_leaves_no_link(strict: World) -> None:
    writes = [
        strict.insert(
            "customer", {"name": None if n == 33 else f"c{n}", "code": 5 if n == 35 else n}, links=(("erp", f"e{n}"),)
        )
        for n in range(31, 41)
    ]
    outcomes = strict.apply("customer", *writes)
    rejected = [n for n, o in enumerate(outcomes, 31) if o.landing is Landing.REJECTED]
    assert rejected == ([35] if strict.values("customer", outcomes[2].key or "1")["name"] is None else [33, 35])
    landed = [n for n in range(31, 41) if n not in rejected]
    assert strict.db.sql("SELECT count(*) FROM customer WHERE id > 20") == [(len(landed),)]
    known = strict.system.crosswalk("customer", "erp", [f"e{n}" for n in range(31, 41)])
    assert set(known) == {f"e{n}" for n in landed}


def test_a_chain_of_unique_values_lands_in_any_order(strict: World) -> None:
    writes = [strict.update("customer", str(n), {"code": n + 1}) for n in range(1, 21)]
    outcomes = strict.apply("customer", *writes)
    assert [o.landing for o in outcomes] == [Landing.LANDED] * 20
    assert strict.db.sql("SELECT id FROM customer WHERE code <> id + 1") == []


def test_two_rows_swap_a_unique_value(strict: World) -> None:
    outcomes = strict.apply(
        "customer",
        strict.update("customer", "1", {"email": "2@x", "name": "n1"}),
        strict.update("customer", "2", {"email": "1@x"}),
        strict.update("customer", "3", {"email": "3@y"}),
    )
    assert [o.landing for o in outcomes] == [Landing.LANDED] * 3
    rows = strict.db.sql("SELECT name, email FROM customer WHERE id < 4 ORDER BY id")
    assert rows == [("n1", "2@x"), ("c2", "1@x"), ("c3", "3@y")]


def test_a_swap_beside_a_value_that_is_taken(strict: World) -> None:
    outcomes = strict.apply(
        "customer",
        strict.update("customer", "1", {"email": "2@x"}),
        strict.update("customer", "2", {"email": "1@x"}),
        strict.update("customer", "3", {"email": "9@x"}),
    )
    assert [o.landing for o in outcomes] == [Landing.LANDED, Landing.LANDED, Landing.REJECTED]
    rows = strict.db.sql("SELECT email FROM customer WHERE id < 4 ORDER BY id")
    assert rows == [("2@x",), ("1@x",), ("3@x",)]


def test_a_swap_where_null_may_not_stand_goes_to_review(strict: World) -> None:
    outcomes = strict.apply(
        "customer",
        strict.update("customer", "1", {"code": 2}),
        strict.update("customer", "2", {"code": 1}),
        strict.update("customer", "3", {"name": "n3"}),
    )
    rejected = [o.landing for o in outcomes[:2]]
    assert rejected == [Landing.REJECTED] * 2 and outcomes[2].landing is Landing.LANDED
    assert strict.db.sql("SELECT code FROM customer WHERE id < 4 ORDER BY id") == [(1,), (2,), (3,)]


def test_an_insert_takes_the_value_that_a_delete_frees(strict: World) -> None:
    insert = strict.insert("customer", {"name": "new", "code": 4})
    delete = strict.change(WriteKind.DELETE, "customer", "4")
    assert [o.landing for o in strict.apply("customer", insert, delete)] == [Landing.LANDED] * 2
    assert strict.db.sql("SELECT name FROM customer WHERE code = 4") == [("new",)]


# --- children --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["CASCADE", "SET NULL", "NO ACTION"])
def family(request: pytest.FixtureRequest, backend: Backend, db: Database) -> World:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    rule = f"FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE {request.param}"
    world.create("orders", {"id": "auto", "customer": "int", "total": "int"}, rule)
    db.sql("INSERT INTO customer (id, name) VALUES (1, 'ann'), (2, 'bob')")
    db.sql("INSERT INTO orders (id, customer, total) VALUES (10, 1, 5), (11, 1, 6)")
    entities = {"customer": ("customer", FIELDS, {}), "order": ("orders", {"total": "total"}, {})}
    return world.bind(entities).start()


def test_a_row_with_children_is_not_deleted_over_their_heads(family: World) -> None:
    outcomes = family.apply("customer", *(family.change(WriteKind.DELETE, "customer", key) for key in ("1", "2")))
    assert [o.landing for o in outcomes] == [Landing.REJECTED, Landing.LANDED]
    assert "orders" in outcomes[0].message
    assert family.db.sql("SELECT id, customer FROM orders ORDER BY id") == [(10, 1), (11, 1)]
    assert family.db.sql("SELECT id FROM customer") == [(1,)]


def test_children_first_then_the_parent(family: World) -> None:
    deletes = [family.change(WriteKind.DELETE, "order", key) for key in ("10", "11")]
    parent = family.change(WriteKind.DELETE, "customer", "1")
    transaction = family.begin()
    assert [o.landing for o in transaction.apply("order", deletes)] == [Landing.LANDED] * 2
    assert transaction.apply("customer", [parent])[0].landing is Landing.LANDED
    transaction.commit()
    assert family.db.sql("SELECT count(*) FROM orders") == [(0,)]


def test_parent_and_child_of_one_table_go_together(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    rule = "FOREIGN KEY (parent) REFERENCES part (id) ON DELETE CASCADE"
    world.create("part", {"id": "auto", "parent": "int", "name": "text"}, rule)
    db.sql("INSERT INTO part (id, parent, name) VALUES (1, NULL, 'a'), (2, 1, 'b'), (3, NULL, 'c')")
    db.sql("INSERT INTO part (id, parent, name) VALUES (4, 3, 'd')")
    world.bind({"part": ("part", {"name": "name"}, {})}).start()
    outcomes = world.apply("part", *(world.change(WriteKind.DELETE, "part", key) for key in ("1", "2", "3")))
    assert [o.landing for o in outcomes] == [Landing.LANDED, Landing.LANDED, Landing.REJECTED]
    assert "part" in outcomes[2].message
    assert db.sql("SELECT id FROM part ORDER BY id") == [(3,), (4,)]


# --- the transaction -------------------------------------------------------------------------------------------------


def test_nobody_sees_it_before_the_commit(world: World) -> None:
    transaction = world.begin()
    write = world.update("customer", "1", {"name": "n1"})
    assert transaction.apply("customer", [write])[0].landing is Landing.LANDED
    assert world.db.sql("SELECT name FROM customer WHERE id = 1") == [("c1",)]
    assert world.values("customer", "1")["name"] == "c1"
    transaction.commit()
    assert world.db.sql("SELECT name FROM customer WHERE id = 1") == [("n1",)]


def test_a_rollback_leaves_nothing(world: World) -> None:
    rows = world.db.sql("SELECT * FROM customer ORDER BY id")
    fence = world.system.fence()
    transaction = world.begin()
    transaction.apply(
        "customer",
        [
            world.update("customer", "1", {"name": "n1"}),
            world.insert("customer", {"name": "new"}, links=(("erp", "5"),)),
        ],
    )
    transaction.link([Crosswalk("customer", "g", "erp", "6")])
    transaction.rollback()
    transaction.rollback()
    assert world.db.sql("SELECT * FROM customer ORDER BY id") == rows
    assert world.system.fence() == fence
    assert world.system.crosswalk("customer", "erp", ["5", "6"]) == {}
    assert world.drain() == []
    assert world.apply("customer", world.update("customer", "1", {"name": "n1"}))[0].landing is Landing.LANDED


def test_a_lock_that_people_hold_is_transient(world: World) -> None:
    write = world.update("customer", "1", {"name": "n1"})
    with world.db.people() as run:
        run("UPDATE customer SET note = 'x' WHERE id = 1")
        with pytest.raises(Transient):
            transaction = world.begin()
            try:
                transaction.apply("customer", [write])
            finally:
                transaction.rollback()
    assert world.apply("customer", write)[0].landing is Landing.LANDED


def test_links(world: World) -> None:
    one, two = Crosswalk("customer", "g1", "crm", "1"), Crosswalk("customer", "g1", "erp", "É\"'1")
    transaction = world.begin()
    assert transaction.link([one, two]) == []
    assert transaction.link([one]) == []
    assert transaction.link([Crosswalk("customer", "g2", "crm", "1")]) == [one]
    assert transaction.link([Crosswalk("order", "g2", "crm", "1")]) == []
    transaction.commit()
    assert world.system.crosswalk("customer", "erp", [two.key, "é\"'1", "2"]) == {two.key: "g1"}
    assert sorted(world.system.links("customer", ["g1", "g2"])) == sorted([one, two])
    assert world.system.link_count() == 3
    transaction = world.begin()
    transaction.unlink([one, one, Crosswalk("customer", "g9", "erp", two.key)])
    transaction.commit()
    assert world.system.links("customer", ["g1", "g2"]) == [two]
    rows = world.db.sql("SELECT 1 FROM customer")
    assert len(rows) == 8
