"""`accord plan` on PostgreSQL and MariaDB: the servers tell that nothing was written, the rows what a run then does.

PostgreSQL gives a number to each transaction that writes, MariaDB's binlog grows with each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from config.errors import DONE, LOOK, USAGE
from tests.crash.judge import differences
from tests.crash.people import even
from tests.crash.place import Place
from tests.crash.world import World
from tests.servers import ADMIN, MariaServer, PostgresServer

READER = "reader"
ROWS, VISITS, SHARED = 20, 6, 8


@pytest.fixture(scope="module")
def still() -> Iterator[PostgresServer]:
    """A server in which nothing but the tests writes."""
    with PostgresServer(options=["-c", "autovacuum=off"]) as server:
        yield server


@pytest.fixture
def world(still: PostgresServer, mariadb: MariaServer, tmp_path: Path) -> Iterator[World]:
    """Two systems that have not met. They share customers by their vat; one vat stands twice in the CRM."""
    with World(tmp_path, {"crm": still, "erp": mariadb}) as world:
        world.fill(ROWS, VISITS)
        for place in world.places:
            vats = [f"V{n}" for n in range(SHARED)] + (["V0"] if place.system == "crm" else [])
            unvisited = [row for row in place.customers() if not even(row[1])]
            for row, vat in zip(unvisited, vats, strict=False):
                place.sql(f"UPDATE customer SET {place.column('vat')} = %s WHERE id = %s", vat, row[0])
        for entity in ("a_customer", "b_visit"):
            world.edit(f"entities/{entity}.toml", 'first_contact = "auto"\n', "")
        yield world


def only_reads(world: World) -> None:
    """The agent's account may do nothing but SELECT from the mapped tables."""
    for place in world.places:
        place.server.create_user(READER)
        who = f"'{READER}'@'%'" if place.maria else READER
        for table in ("customer", "visit"):
            place.sql(f"GRANT SELECT ON {place.database + '.' if place.maria else ''}{table} TO {who}")
    config = world.folder / "accord.toml"
    config.write_text(config.read_text().replace(f"//{ADMIN}@", f"//{READER}@"))


def may_write(world: World) -> None:
    config = world.folder / "accord.toml"
    config.write_text(config.read_text().replace(f"//{READER}@", f"//{ADMIN}@"))


def written_up_to(world: World) -> list[Any]:
    """Stays the same as long as nobody writes anything to either server."""
    return [
        world["crm"].sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text"),
        world["erp"].sql("SHOW MASTER STATUS"),
    ]


def state(world: World) -> list[str]:
    with closing(sqlite3.connect(f"file:{world.state}?mode=ro", uri=True)) as db:
        return list(db.iterdump())


def files(world: World) -> list[str]:
    return sorted(path.name for path in world.folder.rglob("*"))


def plan(world: World, *words: str, exits: int) -> dict[str, Any]:
    """The plan by entity, after a look that nothing was written."""
    before = written_up_to(world)
    data: dict[str, Any] = world.accord("plan", "--json", *words, exits=exits).json["data"]
    assert written_up_to(world) == before
    return dict(data["entities"])


def live(world: World) -> None:
    """Both systems in agreement."""
    world.accord("prepare", exits=DONE)
    world.accord("plan", "--accept", exits=DONE)
    world.accord("run", "--once", exits=LOOK)


def rows(place: Place) -> dict[str, dict[str, tuple[Any, ...]]]:
    """By entity and key."""
    return {e: {str(row[0]): row[1:] for row in place.sql(f"SELECT * FROM {e}")} for e in ("customer", "visit")}


def test_the_oracle_sees_a_write(world: World) -> None:
    for place in world.places:
        before = written_up_to(world)
        place.sql(f"UPDATE customer SET {place.column('note')} = 'x' WHERE id = %s", place.customers()[0][0])
        assert written_up_to(world) != before


# --- first contact ---------------------------------------------------------------------------------------------------


def test_an_account_that_may_only_read_sees_what_a_run_then_does(world: World) -> None:
    only_reads(world)
    present = files(world)
    planned = plan(world, exits=LOOK)
    assert files(world) == present, "no state file"
    assert {name: found["first_contact"] for name, found in planned.items()} == {"customer": "held", "visit": "held"}

    may_write(world)
    before = {place.system: rows(place) for place in world.places}
    live(world)
    assert {name: found["rows"] for name, found in planned.items()} == {
        name: {system: len(held[name]) for system, held in before.items()} for name in planned
    }
    for name, found in planned.items():
        created, updated = {}, {}
        for place in world.places:
            was, now = before[place.system][name], rows(place)[name]
            created[place.system] = len(now.keys() - was.keys())
            updated[place.system] = sum(now[key] != row for key, row in was.items())
        assert found["create"] == {s: n for s, n in created.items() if n}
        assert found["update"] == {s: n for s, n in updated.items() if n}
    assert planned["customer"]["link"] == {"match vat": SHARED - 1}, planned["customer"]["link"]
    asked = world.sql("state.db", "SELECT kind, count(*) FROM review WHERE closed IS NULL GROUP BY 1")
    assert asked and planned["customer"]["review"] == dict(asked)


def test_the_report_for_people(world: World) -> None:
    only_reads(world)
    said = world.accord("plan", exits=LOOK).out
    assert f"customer: first contact; crm has {ROWS} rows, erp has {ROWS} rows" in said
    assert "First contact of customer, visit is held" in said
    assert "accord plan --accept" in said


def test_acceptance_writes_itself_and_nothing_else(world: World) -> None:
    world.accord("prepare", exits=DONE)
    world.accord("run", "--once", exits=LOOK)  # held; makes the state
    before = state(world)
    assert set(plan(world, "--accept", exits=DONE)) == {"customer", "visit"}
    added = [line for line in state(world) if line not in before]
    assert added == [f"INSERT INTO \"meta\" VALUES('phase:{name}','index');" for name in ("customer", "visit")]
    assert [line for line in before if line not in state(world)] == []


def test_acceptance_of_one_entity(world: World) -> None:
    world.accord("prepare", exits=DONE)
    assert set(plan(world, "--accept", "--only", "customer", exits=DONE)) == {"customer"}
    done = world.accord("run", "--once", exits=LOOK)
    assert "First contact of visit is held" in done.out
    assert len(world["erp"].customers()) > ROWS
    assert [len(place.visits()) for place in world.places] == [VISITS, VISITS]


def test_acceptance_while_the_agent_runs(world: World) -> None:
    world.accord("prepare", exits=DONE)
    world.start()
    world.until("it says so", lambda: "First contact of customer, visit is held" in world.log())
    plan(world, exits=LOOK)
    assert "Accepted: customer, visit." in world.accord("plan", "--accept", exits=DONE).out
    world.until("it goes on", lambda: len(world["erp"].visits()) == 2 * VISITS == len(world["crm"].visits()))
    assert world.stop() == DONE


# --- afterwards ------------------------------------------------------------------------------------------------------


def test_nothing_would_change_after_a_run(world: World) -> None:
    live(world)
    before = state(world)
    for found in plan(world, exits=DONE).values():
        assert (found["first_contact"], found["link"], found["create"], found["update"]) == ("live", {}, {}, {})
    assert "Nothing would change." in world.accord("plan", exits=DONE).out
    assert state(world) == before


def test_an_edit_and_a_delete_are_foreseen(world: World) -> None:
    live(world)
    crm, erp = world["crm"], world["erp"]
    visited = {row[2] for row in erp.visits()}
    linked = {row[1] for row in erp.customers()} - visited
    one, other = [row for row in crm.customers() if row[1] in linked][-2:]
    crm.sql("UPDATE customer SET crm_phone = 'new' WHERE id = %s", one[0])
    crm.sql("DELETE FROM customer WHERE id = %s", other[0])
    before = state(world)
    found = plan(world, exits=LOOK)["customer"]
    assert (found["update"], found["delete"], found["create"]) == ({"erp": 1}, {"erp": 1}, {})
    assert found["fields"] == [{"system": "erp", "field": "phone", "count": 1}]
    assert state(world) == before
    left = len(erp.customers()) - 1
    world.accord("run", "--once", exits=LOOK)
    assert len(erp.customers()) == left
    assert [row[3] for row in erp.customers() if row[1] == one[1]] == ["new"]


def test_beside_a_running_agent(world: World) -> None:
    live(world)
    agent = world.start()
    world.until("it runs", (world.folder / "state.db.sock").exists)
    world["crm"].sql("UPDATE customer SET crm_note = 'seen' WHERE id = %s", world["crm"].customers()[-1][0])
    world.until("it works", lambda: "seen" in {row[4] for row in world["erp"].customers()})
    world.until("it has taken note", lambda: world["crm"].changes() == 0)
    plan(world, exits=DONE)  # neither of the two writes anything
    assert agent.poll() is None
    assert world.stop() == DONE


# --- --only ----------------------------------------------------------------------------------------------------------


def test_only_one_entity(world: World) -> None:
    only_reads(world)
    whole = plan(world, exits=LOOK)
    assert plan(world, "--only", "customer", exits=LOOK).keys() == {"customer"}
    visits = plan(world, "--only", "visit", exits=LOOK)
    assert visits.keys() == {"visit"}
    assert visits["visit"]["create"] == whole["visit"]["create"] == {"crm": VISITS, "erp": VISITS}
    assert 'there is no entity "vist". Did you mean "visit"?' in world.accord("plan", "--only", "vist", exits=USAGE).err


def test_what_nobody_asked_about_does_not_change_the_exit_code(world: World) -> None:
    live(world)
    world["crm"].sql("UPDATE customer SET crm_phone = 'new' WHERE id = %s", world["crm"].customers()[-1][0])
    plan(world, "--only", "visit", exits=DONE)
    plan(world, "--only", "customer", exits=LOOK)
    assert differences(world.places) != []
