"""PostgreSQL to PostgreSQL, beside PostgreSQL's own logical replication in the same run.

    python -m tests.bench [--rows 200000] [--rounds 3]

1. *changes*: a table of ten columns, all rows updated, once each by a transaction of its own, as people and
   applications do, and once in transactions of 1,000; native: a subscription that was disabled during the updates
   catches up; Accord: `run --once` catches up with trigger capture, merge, crosswalk, compare-and-set and state. The
   clock runs until the last row has arrived. Memory: the agent's peak.
2. *first sync*: as many rows on both sides, linked by a match rule; a tenth of them differ in one field.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import psycopg

from tests.servers import PASSWORD, PostgresServer

COLUMNS = [f"f{i}" for i in range(9)]
TABLE = f"CREATE TABLE item (id bigint PRIMARY KEY, {', '.join(f'{c} text' for c in COLUMNS)})"
FILL = (
    "INSERT INTO item SELECT n, "
    + ", ".join(f"'value {i} of ' || n" for i in range(9))
    + " FROM generate_series(1, %s) n"
)
# The last one: PostgreSQL starts the worker of a subscription at most every so often, 5 s by default; a native round
# that waits for that is not slower, and must not flatter Accord.
SETTINGS = [
    x
    for s in ("max_wal_size=4GB", "shared_buffers=256MB", "autovacuum=off", "wal_retrieve_retry_interval=10ms")
    for x in ("-c", s)
]


EDIT = """
CREATE OR REPLACE PROCEDURE edit(rows int, mark text, size int) LANGUAGE plpgsql AS $$
BEGIN
    FOR low IN 0 .. rows - 1 BY size LOOP
        UPDATE item SET f3 = 'new ' || id || mark, f5 = mark WHERE id > low AND id <= low + size;
        COMMIT;
    END LOOP;
END $$
"""
SIZES = (1, 1000)  # rows in a transaction


class Pair:
    """Two databases that Accord keeps in agreement, and its configuration."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.source, self.target = server.create_database(), server.create_database()
        (folder / "entities").mkdir(parents=True)
        (folder / "secret").write_text(PASSWORD)
        (folder / "secret").chmod(0o600)
        systems = "\n".join(
            f'[systems.{name}]\nurl = "{server.url(database)}"\npassword = "file:secret"\n'
            for name, database in (("crm", self.source), ("erp", self.target))
        )
        agent = '[agent]\nname = "bench"\nstate = "state.db"\nbatch = 5000\n'
        (folder / "accord.toml").write_text(f"{agent}\n{systems}")
        fields = "\n".join(f'{c} = {{ crm = "{c}", erp = "{c}" }}' for c in COLUMNS)
        tables = '[item.crm]\ntable = "item"\n\n[item.erp]\ntable = "item"\nnew_key = "copy"\n'
        head = '[item]\nmatch = [["f0"]]\nfirst_contact = "auto"\n'
        (folder / "entities" / "item.toml").write_text(f"{head}\n{tables}\n[item.fields]\n{fields}\n")

    def accord(self, *words: str) -> None:
        subprocess.run([sys.executable, "-m", "agent", *words], cwd=self.folder, check=True, env=environment())

    def catch_up(self, done: str, sign: str) -> tuple[float, int]:
        """Seconds from the agent's start until `done` holds in the target, and its peak memory in bytes."""
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", "run", "--once"],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        try:
            seconds = wait_for(self.server, self.target, done, begun, sign)
            peak = memory(process.pid)
        finally:
            process.wait()
        return seconds, peak


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def wait_for(server: PostgresServer, database: str, done: str, begun: float, sign: str) -> float:
    """Seconds until `done` holds. It is dear to ask, and would take the machine from whom it measures: so it is asked
    only when `sign` holds, which says of one row, found by its key, that the end has come."""
    with server.connect(database) as connection:
        connection.autocommit = True
        while True:
            if connection.execute(sign).fetchone() == (True,) and connection.execute(done).fetchone() == (True,):
                return time.perf_counter() - begun
            time.sleep(0.02)


def edit(connection: psycopg.Connection[Any], rows: int, mark: str, size: int) -> None:
    """All rows, two columns of each, so many in a transaction."""
    connection.autocommit = True
    connection.execute("SET synchronous_commit = off")  # not what is measured
    connection.execute(EDIT)
    connection.execute("CALL edit(%s, %s, %s)", (rows, mark, size))


def arrived(rows: int, mark: str) -> tuple[str, str]:
    """That all rows have the mark; and that the last one has."""
    has = f"f5 = '{mark}'"
    return f"SELECT count(*) = {rows} FROM item WHERE {has}", f"SELECT {has} FROM item WHERE id = {rows}"


def native(server: PostgresServer, rows: int, rounds: int) -> dict[int, list[float]]:
    """By rows in a transaction, seconds in which a subscription catches up with the same updates."""
    source, target = server.create_database(), server.create_database()
    with server.connect(source) as s, server.connect(target) as t:
        s.autocommit = t.autocommit = True
        for connection in (s, t):
            connection.execute(TABLE)
            connection.execute(FILL, (rows,))
        s.execute("CREATE PUBLICATION bench FOR TABLE item")
        s.execute("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')")
        t.execute(
            f"CREATE SUBSCRIPTION bench CONNECTION '{server.dsn(source)}' PUBLICATION bench"
            " WITH (create_slot = false, copy_data = false, slot_name = 'bench', enabled = false)"
        )
        took: dict[int, list[float]] = {size: [] for size in SIZES}
        for size, n in product(SIZES, range(rounds)):
            mark = f"mark {size} {n}"
            edit(s, rows, mark, size)
            begun = time.perf_counter()
            t.execute("ALTER SUBSCRIPTION bench ENABLE")
            done, sign = arrived(rows, mark)
            took[size].append(wait_for(server, target, done, begun, sign))
            t.execute("ALTER SUBSCRIPTION bench DISABLE")
            time.sleep(0.5)
        t.execute("ALTER SUBSCRIPTION bench SET (slot_name = NONE)")
        t.execute("DROP SUBSCRIPTION bench")
        s.execute("SELECT pg_drop_replication_slot('bench')")
    return took


def changes(server: PostgresServer, folder: Path, rows: int, rounds: int) -> None:
    plain = native(server, rows, rounds)
    pair = Pair(server, folder)
    with server.connect(pair.source) as s, server.connect(pair.target) as t:
        for connection in (s, t):
            connection.autocommit = True
            connection.execute(TABLE)
            connection.execute(FILL, (rows,))
            connection.execute("CREATE INDEX ON item (f0)")
        pair.accord("prepare")
        linked = f"SELECT count(*) = {2 * rows} FROM accord.accord_crosswalk"
        first, peak = pair.catch_up(linked, linked)
        report("first sync, all rows linked by a match rule", rows, first, peak)
        ours: dict[int, list[float]] = {size: [] for size in SIZES}
        for size, n in product(SIZES, range(rounds)):
            mark = f"mark {size} {n}"
            edit(s, rows, mark, size)
            seconds, high = pair.catch_up(*arrived(rows, mark))
            ours[size].append(seconds)
            peak = max(peak, high)
    for size in SIZES:
        best, median, mine = min(plain[size]), statistics.median(plain[size]), statistics.median(ours[size])
        say(f"changes, {size:,} in a transaction: native   {rate(rows, median)} (best {rate(rows, best)})")
        report(f"changes, {size:,} in a transaction: Accord  ", rows, mine, peak)
        say(f"ratio: {median / mine:.2f} of native logical replication (at least 0.3 is wanted)")


def rate(rows: int, seconds: float) -> str:
    return f"{rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f}/s"


def report(what: str, rows: int, seconds: float, peak: int) -> None:
    say(f"{what} {rate(rows, seconds)}; peak memory {peak / 1e6:.0f} MB (under 250 wanted)")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="accord-bench-") as folder,
        PostgresServer(durable=True, options=SETTINGS) as server,
    ):
        changes(server, Path(folder) / "pair", options.rows, options.rounds)


if __name__ == "__main__":
    main()
