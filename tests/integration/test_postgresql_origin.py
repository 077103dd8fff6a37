"""What PostgreSQL's catalog gives away of triggers and tables. The oracle is SQL by connections of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from adapters.origin import Origin
from tests.conformance.backend import Backend, Database
from tests.conformance.factories.postgresql import Postgres
from tests.conformance.test_origin import broken, changed
from tests.conformance.world import FIELDS, World, customers
from tests.servers import PostgresServer


@pytest.fixture(scope="module")
def backend(postgres: PostgresServer) -> Backend:
    made: Backend = cast(Any, Postgres(postgres))
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Any]:
    with closing(backend.create()) as database:
        yield database


@pytest.fixture
def world(backend: Backend, db: Database) -> World:
    return customers(backend, db, [(1, "Ann", "ann@x", 1)])


def why(origin: Origin) -> list[str]:
    return [f"{part.name} {part.broken}" for part in origin.parts if part.broken]


def test_a_trigger_that_is_switched_off(world: World, db: Database) -> None:
    before = world.system.origin()
    db.sql("ALTER TABLE customer DISABLE TRIGGER accord_customer_update")
    off = world.system.origin()
    assert why(off) == ["the trigger accord_customer_update on customer is switched off"]
    db.sql("ALTER TABLE customer ENABLE TRIGGER accord_customer_update")
    on = world.system.origin()
    assert changed(before, off) == changed(off, on) == changed(before, on) == {"customer"}
    assert not broken(on)


def test_triggers_for_replicas_only(world: World, db: Database) -> None:
    db.sql("ALTER TABLE customer ENABLE REPLICA TRIGGER accord_customer_insert")
    assert broken(world.system.origin()) == {"customer"}
    db.sql("ALTER TABLE customer ENABLE ALWAYS TRIGGER accord_customer_insert")
    assert not broken(world.system.origin())


def test_an_account_whose_triggers_do_not_fire(world: World, db: Any) -> None:
    """Writers with `session_replication_role = replica` pass by the triggers."""
    before = world.system.origin()
    db.sql(f"ALTER ROLE {db.account} IN DATABASE {db.name} SET session_replication_role = replica")
    found = world.system.origin()
    assert why(found) == [
        f"the triggers do not fire for {db.account} (session_replication_role = replica is set there)"
    ]
    assert changed(before, found) == {"customer"}
    db.sql(f"ALTER ROLE {db.account} IN DATABASE {db.name} RESET session_replication_role")
    assert world.system.origin() == before


@pytest.mark.parametrize("how", ["TRUNCATE customer", "ALTER TABLE customer ALTER note TYPE bytea USING note::bytea"])
def test_a_table_whose_rows_were_written_anew(world: World, db: Database, how: str) -> None:
    """No row trigger fires for a TRUNCATE."""
    before = world.system.origin()
    db.sql(how)
    assert changed(before, world.system.origin()) == {"customer"}


def test_a_partition_that_is_attached(backend: Backend, db: Database) -> None:
    """Its rows come without a trigger; and a trigger may be switched off on one partition alone."""
    world = World(backend, db)
    db.define(
        "CREATE TABLE customer (id int PRIMARY KEY, name text, email text, credit numeric) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF customer FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE high (LIKE customer INCLUDING ALL)",
        "INSERT INTO high VALUES (101, 'x', 'y', 1)",
    )
    world.bind({"customer": ("customer", FIELDS, {})}).start()
    before = world.system.origin()
    db.sql("ALTER TABLE customer ATTACH PARTITION high FOR VALUES FROM (100) TO (200)")
    attached = world.system.origin()
    assert changed(before, attached) == {"customer"}
    db.sql("TRUNCATE low")  # no trigger of the whole table fires
    assert changed(attached, world.system.origin()) == {"customer"}
    db.sql("ALTER TABLE low DISABLE TRIGGER accord_customer_insert")
    assert broken(world.system.origin()) == {"customer"}


def test_which_database_it_is(world: World, db: Any) -> None:
    """The server by its system identifier, the database by its oid."""
    assert "unknown" not in world.system.origin().database
    system, database = world.system.origin().database.split("/")
    assert db.sql("SELECT system_identifier::text FROM pg_control_system()") == [(system,)]
    assert db.sql("SELECT oid::text FROM pg_database WHERE datname = current_database()") == [(database,)]
