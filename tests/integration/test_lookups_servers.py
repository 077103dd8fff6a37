"""Lookups between PostgreSQL and MariaDB, by every capture: a change in the reference table alone is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.errors import DONE
from tests.crash.world import World
from tests.servers import MariaServer, PostgresServer

LOOKUPS = """\
[lookups.country]
crm = { table = "country", value = "name" }
erp = { table = "land", value = "code" }
"""


@pytest.fixture(params=["trigger", "log", "watermark"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer, mariadb: MariaServer
) -> Iterator[World]:
    capture = request.param
    with World(tmp_path, {"crm": mariadb, "erp": postgres}, "trigger" if capture == "watermark" else capture) as world:
        crm, erp = world["crm"], world["erp"]
        crm.sql("CREATE TABLE country (id INT PRIMARY KEY, name VARCHAR(40)) ENGINE=InnoDB")
        crm.sql("INSERT INTO country VALUES (1, 'DE'), (2, 'FR')")
        crm.sql("ALTER TABLE customer ADD COLUMN country INT REFERENCES country (id)")
        erp.sql("CREATE TABLE land (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), code char(3) NOT NULL)")
        erp.sql("INSERT INTO land (code) VALUES ('DE'), ('FR')")
        erp.sql("ALTER TABLE customer ADD COLUMN land uuid REFERENCES land")
        world.write("entities/lookups.toml", LOOKUPS)
        file = next((tmp_path / "entities").glob("*customer.toml"))
        with file.open("a") as out:
            out.write('country = { crm = "country", erp = "land", lookup = "country" }\n')
        if capture == "watermark":  # of the ERP: its reference table has no stamp, so nothing tells of its changes
            erp.sql("ALTER TABLE customer ADD COLUMN stamp timestamptz NOT NULL DEFAULT now()")
            own = 'table = "customer"\nmodified = "stamp"\nstamp = { stamp = "sql:now()" }'
            world.edit(f"entities/{file.name}", '[customer.erp]\ntable = "customer"', f"[customer.erp]\n{own}")
            visit = next((tmp_path / "entities").glob("*visit.toml"))
            world.edit(f"entities/{visit.name}", "[visit.erp]\n", '[visit.erp]\ncapture = "trigger"\n')
            text = (tmp_path / "accord.toml").read_text()
            head, tail = text.split("[systems.erp]")
            world.write("accord.toml", head + "[systems.erp]" + tail.replace('"trigger"', '"watermark"'))
        world.fill(4, 0)
        crm.sql("UPDATE customer SET country = 1")
        world.accord("prepare", exits=DONE)
        world.start()
        yield world


def codes(world: World) -> list[str]:
    """What the ERP's customers have that the CRM gave a country."""
    return [row[0].strip() for row in world["erp"].sql("SELECT code FROM land JOIN customer ON land.id = land")]


def names(world: World) -> list[str]:
    return [row[0] for row in world["crm"].sql("SELECT c.name FROM country c JOIN customer k ON c.id = k.country")]


def test_a_change_of_the_reference_row_alone_arrives(world: World) -> None:
    crm, erp = world["crm"], world["erp"]
    world.until("they are linked, and created there", lambda: codes(world) == ["DE"] * 4)
    crm.sql("UPDATE customer SET country = 2")
    world.until("another country", lambda: codes(world) == ["FR"] * 8)
    crm.sql("INSERT INTO country VALUES (3, 'IT')")
    crm.sql("UPDATE customer SET country = 3")
    erp.sql("INSERT INTO land (code) VALUES ('IT')")
    crm.sql("UPDATE country SET name = 'XX' WHERE id = 1")
    crm.sql("UPDATE country SET name = 'DE' WHERE id = 3")
    # all of them are Germans again, and no customer was touched
    world.until("what the row says now", lambda: codes(world) == ["DE"] * 8)
    stamped = erp.sql(
        "SELECT 1 FROM information_schema.columns WHERE table_name = 'customer' AND column_name = 'stamp'"
    )
    stamp = ", stamp = clock_timestamp()" if stamped else ""
    erp.sql(f"UPDATE customer SET land = (SELECT id FROM land WHERE code = 'FR'){stamp}")
    world.until("and back", lambda: names(world) == ["FR"] * 8)
    assert world.stop() == DONE
    assert crm.sql("SELECT count(*) FROM country") == [(3,)] and erp.sql("SELECT count(*) FROM land") == [(3,)]
    world.accord("verify", exits=DONE)
    world.accord("unprepare", "--yes", exits=DONE)
