"""An agent that would ask again in an hour: what happens before that, it was woken for."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from adapters.postgresql.doorbell import channel, numbers
from tests.conformance.factories.mariadb import Maria
from tests.conformance.factories.postgresql import Postgres
from tests.conformance.world import customers
from tests.crash.world import World
from tests.integration.pair import PATIENCE, Pair
from tests.servers import MariaServer, PostgresServer


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with Pair(tmp_path) as made:
        made.edit("accord.toml", 'poll = "50ms"', 'poll = "1h"')
        yield made


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_sqlite_by_another_process(pair: Pair, mode: str) -> None:
    for name in ("crm.db", "erp.db"):
        assert pair.sql(name, f"PRAGMA journal_mode = {mode}") == [(mode,)]
    pair.accord("prepare", exits=0)
    pair.start()
    pair.until("first contact", lambda: pair.crm("SELECT 1 FROM accounts WHERE email = 'i@dog'"))
    for n in range(5):
        change = f"c = sqlite3.connect('crm.db'); c.execute(\"UPDATE accounts SET phone = '{n}'\"); c.commit()"
        subprocess.run([sys.executable, "-c", f"import sqlite3; {change}"], cwd=pair.folder, check=True)
        pair.until("the edit", lambda n=n: pair.erp("SELECT DISTINCT tel FROM party") == [(str(n),)])
        pair.erp("UPDATE party SET tel = ? WHERE mail = 'i@dog'", f"back {n}")
        pair.until("the way back", lambda n=n: pair.crm("SELECT 1 FROM accounts WHERE phone = ?", f"back {n}"))


@pytest.mark.parametrize("systems", [("postgres", "mariadb")], ids="-".join)
def test_servers(systems: tuple[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    servers: list[PostgresServer | MariaServer] = [request.getfixturevalue(name) for name in systems]
    with World(tmp_path, dict(zip(("crm", "erp"), servers, strict=True))) as world:
        world.edit("accord.toml", 'poll = "30ms"', 'poll = "1h"')
        world.fill(customers=3, visits=2)
        world.accord("prepare", exits=0)
        world.start()
        world.agrees()
        for _ in range(3):
            for place in world.places:
                with closing(place.connect()) as connection, place.transaction(connection) as cursor:
                    column = place.column("subject")
                    cursor.execute(f"UPDATE visit SET {column} = CONCAT({column}, '!')")
                world.agrees()
        assert world.stop() == 0


# --- a watch that is cut off -----------------------------------------------------------------------------------------


def rings(waker: Any) -> bool:
    return bool(select.select([waker.fileno()], [], [], PATIENCE)[0])


def until(db: Any, question: str) -> None:
    end = time.monotonic() + PATIENCE
    while not db.sql(f"SELECT {question}")[0][0]:
        assert time.monotonic() < end, question
        time.sleep(0.02)


def test_postgresql_cuts_the_listener(postgres: PostgresServer) -> None:
    backend: Any = Postgres(postgres)
    locks = "FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = "
    locks += "current_database())"
    with closing(backend.create()) as db:
        world = customers(backend, db, [(1, "Ann", None, 1)])
        with closing(cast(Any, world.system.waker())) as waker:
            waker.arm()
            until(db, f"EXISTS (SELECT {locks})")
            db.sql(f"SELECT pg_terminate_backend(pid) {locks}")
            until(db, f"NOT EXISTS (SELECT {locks})")
            db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
            assert rings(waker)
            waker.clear()
            world.drain()
            waker.arm()
            until(db, f"EXISTS (SELECT {locks})")
            db.app("UPDATE customer SET name = 'Eva' WHERE id = 1")
            assert rings(waker)


def test_mariadb_cuts_the_watch(mariadb: MariaServer) -> None:
    backend: Any = Maria(mariadb)
    with closing(backend.create()) as db:
        world = customers(backend, db, [(1, "Ann", None, 1)])
        watching = f"FROM information_schema.PROCESSLIST WHERE DB = '{db.name}' AND ID <> CONNECTION_ID()"
        world.system.close()
        with closing(cast(Any, world.system.waker())) as waker:
            waker.arm()
            until(db, f"EXISTS (SELECT 1 {watching})")
            db.sql(f"KILL {db.sql(f'SELECT ID {watching}')[0][0]}")
            db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
            assert rings(waker)


# --- what it costs the application -----------------------------------------------------------------------------------


def test_postgresql_nobody_notifies_while_the_agent_works(postgres: PostgresServer) -> None:
    """Committing a NOTIFY takes a lock that is shared by the whole server."""
    backend: Any = Postgres(postgres)
    with closing(backend.create()) as db, closing(postgres.connect(db.name)) as listener:
        world = customers(backend, db, [(1, "Ann", None, 1)])
        listener.execute(f'LISTEN "{channel("accord")}"')

        def heard() -> bool:
            listener.execute("SELECT 1")
            return any(True for _ in listener.notifies(timeout=0))

        with closing(cast(Any, world.system.waker())) as waker:
            waker.arm()
            until(db, "EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')")
            db.app("UPDATE customer SET name = 'Eve' WHERE id = 1")
            assert rings(waker) and heard()
            until(db, "NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')")
            waker.clear()
            db.app("UPDATE customer SET name = 'Eva' WHERE id = 1")
            assert not heard()


def test_postgresql_a_two_phase_commit_is_not_refused() -> None:
    """A transaction that has notified cannot be prepared: where there are such transactions, the agent asks instead."""
    with PostgresServer(options=["-c", "max_prepared_transactions=5"]) as server:
        backend: Any = Postgres(server)
        with closing(backend.create()) as db:
            world = customers(backend, db, [(1, "Ann", None, 1)])
            with (
                closing(cast(Any, world.system.waker())) as waker,
                closing(server.connect(db.name)) as people,
                closing(server.connect(db.name)) as other,
            ):
                other.execute(f"SELECT pg_advisory_lock({numbers('accord')})")  # as an agent that waits for a ring
                waker.arm()
                until(db, "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT EXISTS%accord_changes%')")
                people.execute("BEGIN")
                people.execute("UPDATE customer SET name = 'Eve' WHERE id = 1")
                people.execute("PREPARE TRANSACTION 'two'")
                people.execute("COMMIT PREPARED 'two'")
                assert rings(waker)
            assert world.drain() == [("customer", "1")]
