"""`prepare`, `prepared`, `check`, `unprepare`: idempotent, honest about what stands there, and gone without a trace."""

from __future__ import annotations

import pytest

from config.records import Crosswalk
from tests.conformance.backend import Backend, Database
from tests.conformance.world import CUSTOMER, FIELDS, World, customers


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    """Bound, not prepared; with names that need quoting."""
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    world.create("Größen order", {"Id": "auto", "Select": "text"})
    return world.bind({"customer": ("customer", FIELDS, {}), "order": ("Größen order", {"x": "Select"}, {})})


def change(world: World, id: int) -> None:
    world.db.app("INSERT INTO customer (id, name) VALUES (?, 'x')", id)


def test_before_prepare(world: World) -> None:
    problems = world.system.prepared()
    assert problems and all(p.system == "crm" and "accord prepare" in p.hint for p in problems)
    assert {p.code for p in problems} == {"not-prepared"}
    assert world.system.check() == []
    assert world.system.crosswalk("customer", "crm", ["1"]) == {}
    assert world.system.links("customer", ["g"]) == []
    assert world.system.link_count() == 0
    assert world.system.scan("customer", None, 10) == []
    assert world.system.read({"customer": ["1"]}) == {"customer": {}}


def test_looking_makes_nothing(world: World) -> None:
    before = world.db.dump()
    world.system.check()
    world.system.prepared()
    world.system.prepare_sql()
    world.system.unprepare_sql()
    world.system.scan("customer", None, 10)
    assert world.db.dump() == before


def test_prepare_twice(world: World) -> None:
    world.system.prepare()
    assert world.system.prepared() == []
    world.system.attend(None)
    change(world, 1)
    once = world.db.dump()
    world.system.prepare()
    assert world.db.dump() == once
    assert world.system.prepared() == []
    assert world.drain() == [("customer", "1")]


def test_the_script_runs_as_it_is_and_twice(world: World) -> None:
    script = world.system.prepare_sql()
    world.db.script(script)
    assert world.system.prepared() == []
    world.system.attend(None)
    made = world.db.dump()
    change(world, 1)
    world.db.script(script)
    world.db.script(world.system.prepare_sql())
    assert world.db.dump() == made
    assert world.system.prepared() == []
    assert world.drain() == [("customer", "1")]


def test_unprepare_leaves_no_trace(world: World) -> None:
    change(world, 7)
    before = world.db.dump()
    world.start()
    change(world, 1)
    world.apply("customer", world.insert("customer", {"name": "new"}))
    transaction = world.begin()
    transaction.link([Crosswalk("order", "g", "erp", "1")])
    transaction.commit()
    assert world.system.link_count() == 2
    world.system.unprepare()
    assert world.db.dump() == before
    world.system.unprepare()
    assert world.system.link_count() == 0
    assert world.db.sql("SELECT count(*) FROM customer") == [(3,)]


def test_the_script_of_unprepare_leaves_no_trace_and_runs_twice(world: World) -> None:
    before = world.db.dump()
    world.system.prepare()
    change(world, 1)
    script = world.system.unprepare_sql()
    world.db.script(script)
    assert world.db.dump() == before
    world.db.script(script)
    world.db.script(world.system.unprepare_sql())


def test_unprepare_drops_the_links_last(world: World) -> None:
    world.system.prepare()
    lines = [line for line in world.system.unprepare_sql().splitlines() if "drop" in line.lower()]
    crosswalk = max(i for i, line in enumerate(lines) if "crosswalk" in line)
    assert not any("changes" in line or "trigger" in line.lower() for line in lines[crosswalk + 1 :])


@pytest.mark.made
def test_a_table_that_was_rebuilt_has_lost_its_triggers(world: World) -> None:
    world.system.prepare()
    world.db.sql("DROP TABLE customer")
    world.create("customer", CUSTOMER)
    problems = world.system.prepared()
    assert problems and any("customer" in str(p) for p in problems)
    assert {p.code for p in problems} == {"no-trigger"}
    world.system.prepare()
    world.system.attend(None)
    assert world.system.prepared() == []
    change(world, 1)
    assert world.drain() == [("customer", "1")]


@pytest.mark.made
def test_a_mapping_that_has_changed(world: World, db: Database) -> None:
    world.system.prepare()
    other = World(world.backend, db)
    other.bind({"customer": ("customer", {**FIELDS, "note": "note"}, {})})
    assert {p.code for p in other.system.prepared()} == {"prepared-differs"}
    other.system.prepare()
    assert other.system.prepared() == []
    change(world, 1)
    other.drain()
    db.app("UPDATE customer SET note = 'x'")
    assert other.drain() == [("customer", "1")]


@pytest.mark.made
def test_a_table_that_is_not_mapped_any_more(world: World, db: Database) -> None:
    world.system.prepare()
    with_both = db.dump()
    other = World(world.backend, db)
    other.bind({"customer": ("customer", FIELDS, {})})
    assert {p.code for p in other.system.prepared()} == {"prepared-differs"}
    other.system.prepare()
    assert other.system.prepared() == []
    assert db.dump() != with_both
    other.system.unprepare()
    assert not [line for line in db.dump() if "accord" in line]


def test_another_prefix(world: World, db: Database) -> None:
    before = db.dump()
    system = db.system(prefix="sync")
    system.bind(list(world.tables.values()))
    system.prepare()
    assert system.prepared() == []
    added = [line for line in db.dump() if line not in before]
    assert any("sync" in line for line in added) and not any("accord" in line for line in added)
    world.system.prepare()
    for one in (system, world.system):
        one.attend(None)
    change(world, 1)
    assert len(system.changes(None, 10).changes) == len(world.system.changes(None, 10).changes) == 1
    system.unprepare()
    assert world.system.prepared() == []
    world.system.unprepare()
    assert db.dump() == before


def test_nothing_is_needed_for_tables_by_watermark(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {"id": "auto", "name": "text", "changed": "datetime"})
    world.bind({"customer": ("customer", {"name": "name"}, {"capture": "watermark", "modified": "changed"})})
    world.system.prepare()
    assert world.system.prepared() == []
    change(world, 1)
    assert world.system.take_fence("agent").epoch == 1


def test_check_names_an_expression_that_does_not_work(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", {**CUSTOMER, "made": "datetime"})
    options = {"modified": "sql:coalesce(made, changde)", "insert": {"note": "sql:no_such_function(1)"}}
    world.bind({"customer": ("customer", FIELDS, options)})
    problems = world.system.check()
    assert any("changde" in str(p) and p.entity == "customer" for p in problems)
    assert any("no_such_function" in str(p) and p.hint for p in problems)


def test_check_is_silent_when_all_is_well(backend: Backend, db: Database) -> None:
    options = {"modified": "sql:coalesce(note, note)", "stamp": {"note": "sql:upper('x')"}}
    world = customers(backend, db, **options)
    assert world.system.check() == []
