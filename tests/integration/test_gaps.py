"""What happens to a database behind the agent's back, on real servers: nothing is missed, nothing is written elsewhere.

The oracle is SQL of the test's own: `World.agrees` compares all rows of both systems.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.errors import DONE, LOOK, TAKEN, USAGE
from tests.crash.place import Place
from tests.crash.world import World
from tests.integration.documented import differs, examples
from tests.servers import MariaServer, PostgresServer

ROWS = 30
QUICK = '\n[sweep]\nblind = "1s"\n'


@pytest.fixture(params=["postgresql", "mariadb"])
def world(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[World]:
    """Two systems that agree; things happen to the ERP."""
    erp = postgres if request.param == "postgresql" else request.getfixturevalue("mariadb")
    with World(tmp_path, {"crm": postgres, "erp": erp}) as world:
        world.edit("accord.toml", "batch = 40\n", f"batch = 40\n{QUICK}")
        world.fill(ROWS, 0)
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        assert len(world["erp"].customers()) == 2 * ROWS
        yield world


def three_kinds(erp: Place) -> None:
    """People change, delete and enter customers in the ERP."""
    keys = [row[0] for row in erp.customers()]
    for key in keys[::7]:
        erp.sql("UPDATE customer SET erp_phone = 'unseen' WHERE id = %s", key)
    for key in keys[3::7]:
        erp.sql("DELETE FROM customer WHERE id = %s", key)
    for n in range(3):
        erp.sql("INSERT INTO customer (erp_code, erp_name) VALUES (%s, 'unseen')", f"unseen{n}")


def all_found(world: World) -> None:
    """The CRM has what the three kinds left in the ERP."""
    world.agrees()
    rows = world["crm"].customers()
    assert len(rows) == 2 * ROWS - 9 + 3
    assert sum(row[3] == "unseen" for row in rows) == 9
    assert sum(row[2] == "unseen" for row in rows) == 3


def drop_triggers(erp: Place) -> None:
    for event in ("insert", "update", "delete"):
        erp.sql(f"DROP TRIGGER accord_customer_{event}" + ("" if erp.maria else " ON customer"))


def test_triggers_that_are_dropped_while_it_runs(world: World) -> None:
    """An upgrade of the application makes its table anew: what people do is found, and the agent says what to do."""
    erp, crm = world["erp"], world["crm"]
    world.start()
    world.until("it runs", lambda: "runs as" in world.log())
    drop_triggers(erp)
    three_kinds(erp)
    all_found(world)
    world.until("it is said", lambda: "changes of customer are not captured" in world.log())
    assert "accord prepare" in world.log()
    status = world.accord("status", exits=LOOK).out
    assert "changes in erp are not captured since" in status and "is missing" in status
    # The rest goes on, and so does what capture does not see, from time to time.
    crm.sql("UPDATE customer SET crm_note = 'flows' WHERE crm_phone = 'unseen'")
    world.agrees()
    erp.sql("UPDATE customer SET erp_note = 'late' WHERE erp_phone = 'unseen'")
    world.agrees()
    world.accord("prepare", exits=DONE)
    world.until("it is said", lambda: "changes of customer are captured again" in world.log())
    erp.sql("UPDATE customer SET erp_note = 'seen' WHERE erp_phone = 'unseen'")
    world.agrees()
    assert world.stop() == DONE
    assert "not captured" not in world.accord("status", exits=DONE).out
    world.stays_quiet()


def test_a_start_without_triggers(world: World) -> None:
    """They went while no agent ran: it starts all the same, and finds what they did not note."""
    drop_triggers(world["erp"])
    three_kinds(world["erp"])
    world.accord("run", "--once", exits=DONE)
    all_found(world)


def test_edits_between_unprepare_and_prepare(world: World) -> None:
    """Nothing of Accord's stands there meanwhile; a run finds them, not only `plan` and `verify`."""
    three_kinds(world["erp"])
    world.accord("run", "--once", exits=DONE)
    world.accord("unprepare", "--yes", exits=DONE)
    keys = [row[0] for row in world["erp"].customers()]
    world["erp"].sql("UPDATE customer SET erp_note = 'between' WHERE id = %s", keys[0])
    world["erp"].sql("DELETE FROM customer WHERE id = %s", keys[1])
    world["erp"].sql("INSERT INTO customer (erp_code, erp_name) VALUES ('between', 'between')")
    world.accord("prepare", exits=DONE)
    done = world.accord("run", "--once", exits=DONE)
    assert "Accord's objects were removed there and made again" in done.err
    world.agrees()
    assert sum("between" in row for row in world["crm"].customers()) == 2
    world.stays_quiet()


def test_a_url_that_leads_to_another_server(tmp_path: Path, postgres: PostgresServer) -> None:
    """The same database on a test host, prepared by the same agent's configuration: both names are said, and the other
    server has seen no transaction that writes."""
    with (
        PostgresServer(options=["-c", "autovacuum=off"]) as other,
        World(tmp_path, {"crm": postgres, "erp": postgres}) as world,
    ):
        world.fill(ROWS, 0)
        erp = world["erp"]
        other.create_database(erp.database)
        test = Place("erp", other, erp.database)
        test.create()
        there = f"127.0.0.1:{postgres.port}/{erp.database}"
        elsewhere = f"127.0.0.1:{other.port}/{erp.database}"
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        world.edit("accord.toml", there, elsewhere)
        world.accord("prepare", exits=DONE)
        world["crm"].sql("UPDATE customer SET crm_note = 'x'")
        before = written(test)
        done = world.accord("run", "--once", exits=LOOK)
        assert "erp is another database than before" in done.err
        for port in (postgres.port, other.port):
            assert f'the database "{erp.database}" at localhost:{port}' in done.err
        assert written(test) == before
        assert test.customers() == []
        world.edit("accord.toml", elsewhere, there)
        world.accord("run", "--once", exits=DONE)
        world.agrees()


def written(place: Place) -> list[tuple[str, ...]]:
    """Stays the same as long as nobody writes to the server."""
    return place.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_data_directory_that_was_restored_from_a_copy(kind: str, tmp_path: Path, postgres: PostgresServer) -> None:
    """The server is stopped, its folder replaced by yesterday's: nothing is concluded until somebody says what it was;
    then what was agreed is there again, and the CRM is as it was."""
    server = PostgresServer() if kind == "postgresql" else MariaServer()
    with server, World(tmp_path, {"crm": postgres, "erp": server}) as world:
        world.fill(ROWS, 0)
        erp, crm = world["erp"], world["crm"]
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        backup = tmp_path / "backup"
        server.keep(backup)
        server.start()
        three_kinds(erp)
        keys = [row[0] for row in crm.customers()]
        crm.sql("UPDATE customer SET crm_note = 'agreed' WHERE id = %s", keys[1])
        world.accord("run", "--once", exits=DONE)
        world.agrees()
        agreed = crm.customers()
        server.stop()
        shutil.rmtree(server.data)
        shutil.copytree(backup, server.data, symlinks=True)
        for path in (server.data, *server.data.rglob("*")):
            shutil.chown(path, server.account, server.account)
        server.start()
        assert len(erp.customers()) == 2 * ROWS
        done = world.accord("run", "--once", exits=LOOK)
        assert "erp was restored from a backup" in done.err and "accord restored erp" in done.err
        before = erp.marks(), crm.marks()
        shown = world.accord("restored", "erp", "--json", exits=LOOK).json["data"]
        del shown["entities"]["visit"]
        assert differs(examples("restored")[0], shown) == ""
        assert (erp.marks(), crm.marks()) == before, "only shown"
        assert shown["records"] == {"update": 10, "create": 3, "delete": 9, "restore": 0}
        assert shown["entities"]["customer"]["delete"] == {"erp": 9}
        assert len(shown["entities"]["customer"]["samples"]["delete"]) == 9
        world.accord("restored", "erp", "--yes", exits=DONE)
        assert crm.customers() == agreed
        world.agrees()
        world.stays_quiet()


def test_a_database_that_was_moved(tmp_path: Path, postgres: PostgresServer) -> None:
    """Its folder is copied to another server; people go on there; the url is changed."""
    with PostgresServer() as old, World(tmp_path, {"crm": postgres, "erp": old}) as world:
        world.fill(ROWS, 0)
        world.accord("prepare", exits=DONE)
        world.accord("run", "--once", exits=DONE)
        old.keep(tmp_path / "copy")
        with PostgresServer(template=tmp_path / "copy") as new:
            erp = Place("erp", new, world["erp"].database)
            world.places[1] = erp
            world.edit("accord.toml", f":{old.port}/", f":{new.port}/")
            three_kinds(erp)
            assert "is another database" in world.accord("run", "--once", exits=LOOK).err
            world.accord("restored", "erp", "--moved", "--yes", exits=DONE)
            all_found(world)
            world.stays_quiet()
            world.places.pop()


def test_what_restored_refuses(world: World) -> None:
    assert "There are: crm, erp" in world.accord("restored", "epr", exits=USAGE).err
    world.start()
    world.until("it runs", lambda: "runs as" in world.log())
    assert "Stop it first" in world.accord("restored", "erp", "--yes", exits=TAKEN).err


def test_a_backlog_past_the_limit_is_let_go_of(world: World) -> None:
    """The agent was away while a program changed every row hundreds of times: it is said, and nothing is lost."""
    erp = world["erp"]
    world.edit("accord.toml", "batch = 40\n", 'batch = 40\n\n[log]\nmax_backlog = "1MB"\n')
    for n in range(100):
        erp.sql("UPDATE customer SET erp_phone = %s", f"run {n}")
    three_kinds(erp)
    world.start()
    world.until("it is said", lambda: "were let go of" in world.log())
    all_found(world)
