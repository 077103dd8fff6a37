"""Up to when all is seen, as `accord status` says it: what holds a watermark back is named, and delays nothing.

On real servers, with the agent's real process; people are connections of the test's own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE
from tests.crash.world import World
from tests.integration.documented import differs, examples
from tests.integration.pair import Pair
from tests.servers import MariaServer, PostgresServer


@pytest.fixture(params=["postgresql", "mariadb"])
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[World]:
    """The ERP is read by the stamps of its rows."""
    erp = postgres if request.param == "postgresql" else request.getfixturevalue("mariadb")
    with World(tmp_path, {"crm": postgres, "erp": erp}) as world:
        maria = isinstance(erp, MariaServer)
        world["erp"].sql(f"ALTER TABLE customer ADD COLUMN stamp {'DATETIME(6)' if maria else 'timestamptz'}")
        own = "modified = 'stamp'\ncapture = 'watermark'\nstamp = { stamp = 'sql:NOW(6)' }".replace(
            "NOW(6)", "NOW(6)" if maria else "now()"
        )
        world.edit(
            "entities/a_customer.toml",
            '[customer.erp]\ntable = "customer"',
            f'[customer.erp]\ntable = "customer"\n{own}',
        )
        world.fill(3, 0)
        world["erp"].sql(f"UPDATE customer SET stamp = {now(world)}")
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        yield world


def now(world: World) -> str:
    return "UTC_TIMESTAMP(6)" if world["erp"].maria else "clock_timestamp()"


def told(world: Pair, entity: str = "customer", system: str = "erp") -> dict[str, Any]:
    """What `accord status` says."""
    found: dict[str, Any] = world.accord("status", "--json", exits=DONE).json["data"]["entities"][entity]
    return found["complete"][system]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_session_that_commits_late_is_named_and_its_edit_arrives(world: World) -> None:
    erp, crm = world["erp"], world["crm"]
    key, other = (row[0] for row in erp.customers()[:2])
    world.start()
    began = time.time()
    with closing(erp.connect()) as connection, erp.transaction(connection) as cursor:
        cursor.execute(
            f"SELECT {'CONNECTION_ID()' if erp.maria else 'pg_backend_pid()'}, {now(world)}, count(*) FROM customer"
        )
        session, start, _ = cursor.fetchone()
        erp.sql(f"UPDATE customer SET erp_phone = 'newer', stamp = {now(world)} WHERE id = %s", other)
        world.until("a newer row is taken at once", lambda: any(row[3] == "newer" for row in crm.customers()))

        def named() -> dict[str, Any] | None:
            found = told(world)
            return found if str(session) in (found["held_by"] or "") else None

        held = world.until("status names who holds it back", named)
        size = re.fullmatch(rf"session {session}( of \w+)?, open for (\d+) s", held["held_by"])
        assert size and int(size[2]) <= time.time() - began + 1
        assert moment(held["at"]) <= began and held["assumed"] is None
        text = world.accord("status", exits=DONE).out
        assert re.search(
            rf"complete in erp up to \S+ \S+ UTC, held back by session {session}( of \w+)?, open for", text
        )
        cursor.execute("UPDATE customer SET erp_phone = 'late', stamp = %s WHERE id = %s", (start, key))
    world.until("what was committed late", lambda: any(row[3] == "late" for row in crm.customers()))
    ended = time.time()
    world.until("it is complete again", lambda: moment(told(world)["at"]) > ended)
    assert told(world, system="crm")["held_by"] is None
    assert world.stop() == DONE


def test_an_agent_that_is_gone_has_said_as_of_when(world: World) -> None:
    """What it knew is still true, and says so; nobody tries anything, so nothing is announced."""
    world.start()
    begun = time.time()
    world.until("it has looked", lambda: moment(told(world, system="crm")["at"]) > begun)
    assert world.stop() == DONE
    data = world.accord("status", "--json", exits=DONE).json["data"]
    found = data["entities"]["customer"]["complete"]
    assert found.keys() == {"crm", "erp"}
    for system in found.values():
        assert begun < moment(system["as_of"]) <= time.time() and moment(system["at"]) <= moment(system["as_of"])
    assert moment(found["crm"]["at"]) > begun
    assert data["next"] is None
    assert differs({"complete": examples("status")[0]["entities"]["customer"]["complete"]}, {"complete": found}) == ""
    assert re.search(r"complete in crm up to \S+ \S+ UTC \(as of \S+ \S+ UTC\)", world.accord("status").out)


@pytest.mark.parametrize("world", ["postgresql"], indirect=True)
def test_what_nobody_has_looked_at_is_not_complete(world: World) -> None:
    """Triggers that are gone, and a sweep that is not done: both are said, nothing is claimed."""
    world.edit("accord.toml", "batch = 40\n", 'batch = 40\n\n[sweep]\nblind = "1h"\nrows_per_second = 1\n')
    world.start()
    world.until("it has looked", lambda: told(world, system="crm")["at"])
    for event in ("insert", "update", "delete"):
        world["crm"].sql(f"DROP TRIGGER accord_customer_{event} ON customer")

    def sweeps() -> Any:
        found = world.accord("status", "--json").json["data"]["entities"]["customer"]["complete"]["crm"]
        return found if found["at"] is None else None

    assert "sweep" in world.until("not complete", sweeps)["held_by"]
    text = world.accord("status").out
    assert "not complete in crm, held back by a sweep that looks for what may have been missed" in text
    world.stop()
    assert "not complete in crm" in world.accord("status").out


def test_what_is_read_from_the_log(tmp_path: Path, postgres: PostgresServer, mariadb: MariaServer) -> None:
    """As long as it is looked at, it is complete up to now; what is captured no more is not complete."""
    with World(tmp_path, {"crm": postgres, "erp": mariadb}, "log") as world:
        world.edit("accord.toml", "batch = 40\n", 'batch = 40\n\n[sweep]\nblind = "1h"\nrows_per_second = 1\n')
        world.fill(3, 0)
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        world.start()
        world["crm"].sql("UPDATE customer SET crm_phone = 'edited'")
        world.agrees()
        edited = time.time()
        for system in ("crm", "erp"):

            def now(system: str = system) -> bool:
                found = told(world, system=system)
                return bool(found["at"]) and moment(found["at"]) > edited and found["held_by"] is None

            world.until(f"complete in {system}", now)
        assert re.search(r"complete in erp up to \S+ \S+ UTC\n", world.accord("status", exits=DONE).out)
        world["crm"].sql("DROP PUBLICATION accord_log")
        world.until("not complete", lambda: "not complete in crm" in world.accord("status").out)
        world.stop()
