"""Capture from MariaDB's binary log, with the agent process: each thing that can happen to a log is made to happen.

The oracle is SQL of the test's own: `World.agrees` compares all rows of both systems. The server is the test's own, for
what is done here concerns all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from config.errors import DONE, LOOK
from tests.crash.place import Place
from tests.crash.world import World
from tests.servers import MariaServer

ROWS = 20
WORDS: set[str] = set()
SWEEP = "erp: sweep of customer begins"


@pytest.fixture(scope="module")
def server() -> Iterator[MariaServer]:
    with MariaServer() as server:
        yield server


@pytest.fixture
def world(server: MariaServer, tmp_path: Path) -> Iterator[World]:
    """Two systems that agree, both captured from the log; things happen to the ERP."""
    with World(tmp_path, {"crm": server, "erp": server}, "log") as world:
        world.fill(ROWS, 6)
        world.accord("prepare", exits=DONE)
        assert not world["erp"].sql("SHOW TRIGGERS")
        world.accord("run", "--once", exits=DONE)
        assert len(world["erp"].customers()) == 2 * ROWS
        yield world


def running(world: World) -> None:
    world.start()
    world.until("it runs", lambda: "runs as" in world.log())


def three_kinds(erp: Place, word: str) -> None:
    """People change, delete and enter customers, and each has the word in it."""
    keys = [row[0] for row in erp.customers() if row[3] not in WORDS and row[0] not in visited(erp)]
    WORDS.add(word)
    erp.sql("UPDATE customer SET erp_phone = %s WHERE id = %s", word, keys[0])
    erp.sql("DELETE FROM customer WHERE id = %s", keys[1])
    erp.sql("INSERT INTO customer (erp_code, erp_name) VALUES (%s, %s)", f"code {word}", word)


def quiet(world: World) -> None:
    """Nobody edits: what comes again of the agent's own writes is looked at, and nothing is written (I7)."""
    before = [place.marks() for place in world.places]
    world.accord("run", "--once", exits=DONE)
    assert [place.marks() for place in world.places] == before
    world.stays_quiet()


def visited(erp: Place) -> set[int]:
    return {key for (key,) in erp.sql("SELECT erp_customer FROM visit WHERE erp_customer IS NOT NULL")}


def arrived(world: World, word: str) -> None:
    world.agrees()
    rows = world["crm"].customers()
    assert sum(row[3] == word for row in rows) == 1 and sum(row[2] == word for row in rows) == 1


def ended(world: World) -> None:
    assert world.stop() == DONE
    quiet(world)


def test_edits_on_both_sides(world: World) -> None:
    running(world)
    three_kinds(world["erp"], "first")
    arrived(world, "first")
    with world.people() as crew:
        world.until("everybody edits", lambda: all(one.done > 40 for one in crew))
    world.agrees()
    ended(world)
    assert "sweep of" not in world.log()


def test_a_bulk_change_in_parts(world: World) -> None:
    """One transaction of more rows than a round takes."""
    running(world)
    rows = ", ".join(f"('bulk {n}', 'bulk')" for n in range(300))
    world["erp"].sql(f"INSERT INTO customer (erp_code, erp_name) VALUES {rows}")
    world["erp"].sql("UPDATE customer SET erp_note = 'all of them'")
    world.agrees()
    assert sum(row[4] == "all of them" for row in world["crm"].customers()) == 2 * ROWS + 300
    ended(world)
    assert "sweep of" not in world.log()


def test_edits_while_no_agent_runs(world: World) -> None:
    """Read from where it stopped; nothing is swept, also when the server was restarted meanwhile."""
    three_kinds(world["erp"], "alone")
    world["erp"].server.restart()
    three_kinds(world["erp"], "restarted")
    done = world.accord("run", "--once", exits=DONE)
    arrived(world, "alone")
    arrived(world, "restarted")
    assert "sweep" not in done.err
    quiet(world)


def gone(world: World, why: str) -> None:
    done = world.accord("run", "--once", exits=DONE)
    assert SWEEP in done.err and why in done.err, done.err
    world.agrees()
    quiet(world)


def purge(erp: Place) -> None:
    """A file goes only when the tables do not need it any more to recover."""
    erp.sql("FLUSH BINARY LOGS")
    last = erp.sql("SHOW BINARY LOGS")[-1][0]
    while len(erp.sql("SHOW BINARY LOGS")) > 1:
        erp.sql(f"PURGE BINARY LOGS TO '{last}'")


def test_a_log_that_was_purged(world: World) -> None:
    erp = world["erp"]
    three_kinds(erp, "purged")
    purge(erp)
    gone(world, "is gone from the server")
    arrived(world, "purged")


def test_a_log_that_was_purged_while_it_was_cut_off(world: World) -> None:
    """The connection breaks, and what it was at is gone when it comes back."""
    erp = world["erp"]
    running(world)
    three_kinds(erp, "seen")
    arrived(world, "seen")
    purge(erp)
    hang_up(erp)
    three_kinds(erp, "cut")
    arrived(world, "cut")
    ended(world)


def test_a_log_that_was_begun_anew(world: World) -> None:
    """RESET MASTER counts transactions from 1 again, and there are soon as many as before."""
    erp = world["erp"]
    three_kinds(erp, "before")
    before = transactions(erp)
    erp.sql("RESET MASTER")
    three_kinds(erp, "after")
    erp.sql("CREATE TABLE other (n INTEGER)")
    with closing(erp.connect()) as connection, connection.cursor() as cursor:
        while transactions(erp) <= before:
            for n in range(100):
                cursor.execute("INSERT INTO other VALUES (%s)", (n,))
    gone(world, "binary log")
    arrived(world, "before")
    arrived(world, "after")


def transactions(erp: Place) -> int:
    """The number of the last one."""
    return int(erp.sql("SELECT @@gtid_binlog_pos")[0][0].rpartition("-")[2])


def hang_up(erp: Place) -> None:
    for (id,) in erp.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'"):
        erp.sql(f"KILL {id}")


def test_cut_in_mid_stream(world: World) -> None:
    running(world)
    with world.people() as crew:
        for n in range(5):
            before = [one.done for one in crew]
            world.until("all edit", lambda: all(c.done > d + 10 for c, d in zip(crew, before, strict=True)))  # noqa: B023
            hang_up(world["erp"])
            world["erp"].sql("UPDATE customer SET erp_note = %s", f"cut {n}")
    world.agrees()
    ended(world)
    assert "sweep of" not in world.log()


SESSIONS = {"binlog_row_image": ("MINIMAL", "FULL"), "binlog_format": ("STATEMENT", "ROW")}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_that_logs_less(world: World, name: str) -> None:
    """The system halts with the setting to change, and sweeps what it could not read once a person has acted."""
    erp, (less, full) = world["erp"], SESSIONS[name]
    running(world)
    three_kinds(erp, name)
    arrived(world, name)
    hide(erp, f"SET SESSION {name} = '{less}'")
    world.until("it is said", lambda: "erp is halted" in world.log() and f"{name} = '{full}'" in world.log())
    assert not any(row[4] == "hidden" for row in world["crm"].customers()), world.log()
    world.accord("review", "retry", "--all", exits=DONE)
    arrived_note(world)
    assert SWEEP in world.log()
    erp.sql("UPDATE customer SET erp_note = 'seen'")
    world.until("it flows", lambda: all(row[4] == "seen" for row in world["crm"].customers()))
    ended(world)


GLOBALS = {
    "log_bin_compress": ("log_bin_compress_min_len = 10, GLOBAL log_bin_compress = ON", "log_bin_compress = OFF"),
    "binlog_row_metadata": ("binlog_row_metadata = 'MINIMAL'", "binlog_row_metadata = 'FULL'"),
}


@pytest.mark.parametrize("name", GLOBALS)
def test_a_server_that_logs_less(world: World, name: str) -> None:
    """Halts with the setting to change; an agent that starts when that is done finds by a sweep what was not read."""
    erp, (less, full) = world["erp"], GLOBALS[name]
    running(world)
    three_kinds(erp, name)
    arrived(world, name)
    try:
        hide(erp, f"SET GLOBAL {less}")
        world.until("it is said", lambda: "erp is halted" in world.log() and f"SET GLOBAL {full}" in world.log())
        world.stop()  # or it has ended: with both systems halted nothing is left to do
    finally:
        erp.sql(f"SET GLOBAL {full}")
    done = world.accord("run", "--once", exits=DONE)
    assert SWEEP in done.err
    arrived_note(world)
    quiet(world)


def hide(erp: Place, setting: str) -> None:
    with closing(erp.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(setting)
        cursor.execute("FLUSH TABLES")  # what is described to the log is described anew
        cursor.execute("UPDATE customer SET erp_note = 'hidden' WHERE erp_code IS NOT NULL")


def arrived_note(world: World) -> None:
    world.agrees()
    assert all(row[4] == "hidden" for row in world["crm"].customers())


@pytest.mark.parametrize("name, value", [("binlog_format", "MIXED"), ("binlog_row_image", "MINIMAL")])
def test_settings_of_the_server(world: World, name: str, value: str) -> None:
    """`check` says them, and a run begins nothing."""
    erp = world["erp"]
    good = erp.sql(f"SELECT @@global.{name}")[0][0]
    try:
        erp.sql(f"SET GLOBAL {name} = '{value}'")
        done = world.accord("check", exits=LOOK)
        assert f"SET GLOBAL {name} = '{good}'" in done.all
        running_or_not = world.accord("run", "--once")
        assert running_or_not.code != DONE and name in running_or_not.all
    finally:
        erp.sql(f"SET GLOBAL {name} = '{good}'")
    world.accord("check", exits=DONE)
    world.accord("run", "--once", exits=DONE)


def little_right(world: World) -> str:
    """From now on the agent uses an account that has rights on this database only; its name."""
    erp = world["erp"]
    who = erp.server.create_user(f"agent_{erp.database}")
    erp.sql(f"GRANT ALL ON `{erp.database}`.* TO '{who}'@'%'")
    text = (world.folder / "accord.toml").read_text()
    url = erp.server.url(erp.database, who).removeprefix("mariadb://")
    world.write("accord.toml", text.replace(f"admin@127.0.0.1:{erp.server.port}/{erp.database}", url))
    return who


def test_an_account_that_may_not_read_the_log(world: World) -> None:
    erp, who = world["erp"], little_right(world)
    done = world.accord("check", exits=LOOK)
    assert f"GRANT REPLICATION SLAVE ON *.* TO '{who}'@'%'" in done.all
    erp.sql(f"GRANT REPLICATION SLAVE ON *.* TO '{who}'@'%'")
    world.accord("check", exits=DONE)
    three_kinds(erp, "little right")
    world.accord("run", "--once", exits=DONE)
    arrived(world, "little right")


def test_truncate_is_swept_and_deletes_nothing_unasked(world: World) -> None:
    erp, before = world["erp"], world["crm"].visits()
    assert before
    running(world)
    erp.sql("TRUNCATE visit")
    world.until("it is said", lambda: "nobody was seen deleting its rows" in world.accord("review", "--json").out)
    assert world.stop() == DONE
    assert world["crm"].visits() == before
    assert "erp: sweep of visit begins" in world.log() and "TRUNCATE visit" in world.log()


def test_ddl_in_mid_stream(world: World) -> None:
    """Columns come and go between edits: each row is read as it was described when it was written."""
    erp = world["erp"]
    running(world)
    three_kinds(erp, "one")
    erp.sql("ALTER TABLE customer ADD COLUMN extra DECIMAL(20, 4) NOT NULL DEFAULT 1.5 FIRST")
    three_kinds(erp, "two")
    erp.sql("ALTER TABLE customer DROP COLUMN extra")
    three_kinds(erp, "three")
    for word in ("one", "two", "three"):
        arrived(world, word)
    assert world.stop() == DONE


def test_cascades_are_followed(world: World) -> None:
    """Over two levels, from a table that is not mapped: what goes with it is in neither log nor trigger. By an account
    to which REFERENTIAL_CONSTRAINTS is empty."""
    erp = world["erp"]
    erp.sql(f"GRANT REPLICATION SLAVE ON *.* TO '{little_right(world)}'@'%'")
    erp.sql("CREATE TABLE region (id INTEGER PRIMARY KEY)")
    erp.sql(
        "CREATE TABLE town (id INTEGER PRIMARY KEY, region INTEGER,"
        " FOREIGN KEY (region) REFERENCES region (id) ON DELETE CASCADE)"
    )
    erp.sql("INSERT INTO region VALUES (1)")
    erp.sql("INSERT INTO town VALUES (10, 1), (11, 1)")
    erp.sql(
        "ALTER TABLE customer ADD COLUMN town INTEGER, ADD FOREIGN KEY (town) REFERENCES town (id) ON DELETE CASCADE"
    )
    world.accord("run", "--once", exits=DONE)
    quiet(world)
    running(world)
    free = [row[0] for row in erp.customers() if row[0] not in visited(erp)]
    erp.sql(f"UPDATE customer SET town = 10 WHERE id IN ({free[0]}, {free[1]})")
    erp.sql(f"UPDATE customer SET town = 11 WHERE id = {free[2]}")
    world.agrees()
    erp.sql("DELETE FROM region WHERE id = 1")
    assert len(erp.customers()) == 2 * ROWS - 3
    world.agrees()
    assert len(world["crm"].customers()) == 2 * ROWS - 3
    assert "without a word" in world.log()
    ended(world)


def test_transactions_in_two_phases(world: World) -> None:
    """Logged when they are prepared, and not to be seen before they are committed."""
    erp = world["erp"]
    running(world)
    with closing(erp.connect()) as connection, connection.cursor() as cursor:
        for name, end in (("kept", "COMMIT"), ("dropped", "ROLLBACK")):
            cursor.execute(f"XA START '{name}'")
            cursor.execute("INSERT INTO customer (erp_code, erp_name) VALUES (%s, %s)", (name, name))
            cursor.execute(f"XA END '{name}'")
            cursor.execute(f"XA PREPARE '{name}'")
            erp.sql(
                "UPDATE customer SET erp_note = %s WHERE id = %s", f"while {name} is prepared", erp.customers()[0][0]
            )
            world.agrees()
            cursor.execute(f"XA {end} '{name}'")
    world.until("it arrives", lambda: any(row[2] == "kept" for row in world["crm"].customers()))
    world.agrees()
    ended(world)
    assert "sweep of" not in world.log()
