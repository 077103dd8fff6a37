"""`origin`: which database this is, and whether all that capture relies on is what it was (I11)."""

from __future__ import annotations

import pytest

from adapters.origin import Origin
from tests.conformance.backend import Backend, Database, closing
from tests.conformance.world import CUSTOMER, FIELDS, World, customers


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    """Two tables with triggers, and one that is polled."""
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    world.create("party", CUSTOMER)
    world.create("visit", {"id": "auto", "name": "text", "changed": "datetime"})
    polled = {"capture": "watermark", "modified": "changed"}
    return world.bind(
        {
            "customer": ("customer", FIELDS, {}),
            "party": ("party", FIELDS, {}),
            "visit": ("visit", {"name": "name"}, polled),
        }
    ).start()


def again(world: World) -> Origin:
    """As another process sees it."""
    system = world.db.system()
    system.bind(list(world.tables.values()))
    return system.origin()


def changed(before: Origin, after: Origin) -> set[str]:
    """Entities of parts whose id is another one."""
    ids = {part.name: part.id for part in before.parts}
    return {e for part in after.parts if ids.get(part.name) != part.id for e in part.entities}


def broken(origin: Origin) -> set[str]:
    return {e for part in origin.parts if part.broken for e in part.entities}


def triggers(world: World, table: str) -> list[str]:
    """Names of Accord's triggers on a table, by SQL."""
    text = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = ?::regclass",
        "mariadb": "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"
        " AND EVENT_OBJECT_TABLE = ?",
    }[world.backend.name]
    return [name for (name,) in world.db.sql(text, table)]


def drop(world: World, trigger: str, table: str) -> None:
    where = f" ON {table}" if world.backend.name == "postgresql" else ""
    world.db.sql(f"DROP TRIGGER {world.backend.quote(trigger)}{where}")


def log(world: World) -> str:
    return "accord.accord_changes" if world.backend.name == "postgresql" else "accord_changes"


def test_it_says_what_it_is(world: World) -> None:
    found = world.system.origin()
    assert found.database and found.instance and found.place
    assert found.place.rsplit("/", 1)[-1] in found.told
    assert {e for part in found.parts for e in part.entities} == {"customer", "party", "visit"}
    assert not broken(found)


def test_it_stays_the_same_while_nothing_is_missed(world: World) -> None:
    """Accord's own work, people's edits, another process, and a `prepare` that finds everything in place."""
    before = world.system.origin()
    world.db.app("INSERT INTO customer (id, name) VALUES (1, 'x')")
    world.drain()
    world.apply("customer", world.insert("customer", {"name": "new"}))
    world.db.app("UPDATE customer SET name = 'y'")
    world.drain()
    world.db.app("DELETE FROM customer")
    world.drain()
    world.system.take_fence("agent")
    assert world.system.origin() == before == again(world)
    if world.backend.name != "mariadb":  # there `prepare` makes every trigger anew
        world.system.prepare()
        assert again(world) == before


def test_it_makes_nothing(world: World) -> None:
    before = world.db.dump()
    world.system.origin()
    assert world.db.dump() == before


def test_before_prepare(backend: Backend, db: Database) -> None:
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    world.bind({"customer": ("customer", FIELDS, {})})
    assert broken(world.system.origin()) == {"customer"}


@pytest.mark.change_log
@pytest.mark.parametrize("event", ["insert", "update", "delete"])
def test_a_trigger_that_is_dropped(world: World, event: str) -> None:
    before = world.system.origin()
    (name,) = [t for t in triggers(world, "customer") if t.endswith(event)]
    drop(world, name, "customer")
    after = world.system.origin()
    assert (changed(before, after), broken(after)) == ({"customer"}, {"customer"})
    (said,) = [part for part in after.parts if part.broken]
    assert name in said.name and said.broken == "is missing"
    world.system.prepare()
    healed = world.system.origin()
    assert "customer" in changed(before, healed) and "customer" in changed(after, healed)
    assert not broken(healed)


@pytest.mark.made
def test_a_table_that_was_made_again(world: World) -> None:
    """Its triggers have gone with it; one that is polled has none, and is another table all the same."""
    before = world.system.origin()
    for table in ("customer", "visit"):
        world.db.sql(f"ALTER TABLE {table} RENAME TO old_{table}")
    world.create("customer", CUSTOMER)
    world.create("visit", {"id": "auto", "name": "text", "changed": "datetime"})
    after = again(world)
    assert changed(before, after) >= {"customer"}
    assert broken(after) == {"customer"}
    if world.backend.name != "mariadb":  # which gives the time in whole seconds
        assert "visit" in changed(before, after)


@pytest.mark.made
def test_removed_and_prepared_again(world: World) -> None:
    before = world.system.origin()
    world.system.unprepare()
    world.system.prepare()
    after = world.system.origin()
    assert changed(before, after) == {"customer", "party"}
    assert not broken(after)


@pytest.mark.change_log
def test_a_change_log_that_was_dropped(world: World) -> None:
    before = world.system.origin()
    world.db.sql(f"DROP TABLE {log(world)}")
    assert broken(world.system.origin()) == {"customer", "party"}
    world.system.prepare()
    after = world.system.origin()
    assert changed(before, after) == {"customer", "party"}
    assert not broken(after)


@pytest.mark.change_log
def test_a_change_log_that_was_emptied(world: World) -> None:
    """By the statement that leaves a trace there: a DELETE shows in SQLite only."""
    before = world.system.origin()
    how = "DELETE FROM" if world.backend.name == "sqlite" else "TRUNCATE"
    world.db.sql(f"{how} {log(world)}")
    assert changed(before, world.system.origin()) == {"customer", "party"}


def test_another_database(world: World) -> None:
    """Of the same server, with the same tables."""
    with closing(world.backend.create()) as db:
        other = customers(world.backend, db)
        mine, its = world.system.origin(), other.system.origin()
        assert mine.database != its.database
        assert mine.place != its.place
        assert mine.told != its.told


def test_a_system_that_is_cut_off_says_so(world: World) -> None:
    world.system.close()
    assert world.system.origin() == again(world), "the next call connects again"
