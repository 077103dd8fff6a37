"""How soon an edit arrives, and what waiting costs: one pair of databases of each kind and capture, at low load.

    python -m tests.bench.latency [--runs 3] [--edits 300] [--idle 20] [--only postgresql]

1. *latency*: single edits with a pause in between, from COMMIT at the source to the moment at which another connection
   sees the value in the target (which is asked every half millisecond); medians of the runs. Native: the same for
   PostgreSQL's own logical replication, between the same two databases, in the same run.
2. *idle*: the agent's CPU with twenty entities when nobody edits, in per cent of one core.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.__main__ import environment, say
from tests.servers import PASSWORD, MariaServer, PostgresServer

ENTITIES = 20
ROWS = 200  # of each entity
PAUSE = (0.05, 0.15)  # seconds between two edits, at random
TABLE = "CREATE TABLE {name} (id INT PRIMARY KEY, a VARCHAR(100), b VARCHAR(100), c VARCHAR(100))"

Run = Callable[..., list[Any]]
"""(SQL with one %s per parameter, *parameters) -> rows; each statement a transaction of its own."""


class Place:
    """Two databases of one kind: how to reach them, and a connection of the bench's own to each."""

    def __init__(self, urls: Mapping[str, str], crm: Run, erp: Run, native: bool = False) -> None:
        self.urls, self.crm, self.erp = urls, crm, erp
        self.native = native  # is the table `native` replicated by the server itself?


@contextmanager
def postgresql(folder: Path) -> Iterator[Place]:
    with PostgresServer(durable=True) as server:
        names = {s: server.create_database() for s in ("crm", "erp")}
        with server.connect(names["crm"]) as c, server.connect(names["erp"]) as e:
            c.autocommit = e.autocommit = True
            urls = {s: server.url(n) for s, n in names.items()}
            place = Place(urls, _server(c.cursor()), _server(e.cursor()), native=True)
            replicate(place, server.dsn(names["crm"]))
            yield place


def replicate(place: Place, source: str) -> None:
    """PostgreSQL's own logical replication of the table `native`, from crm to erp."""
    for run in (place.crm, place.erp):
        run(TABLE.format(name="native"))
        run("INSERT INTO native SELECT n, 'a', 'b', 'c' FROM generate_series(0, %s) n", ROWS - 1)
    place.crm("CREATE PUBLICATION native FOR TABLE native")
    place.crm("SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
    place.erp(
        f"CREATE SUBSCRIPTION native CONNECTION '{source}' PUBLICATION native"
        " WITH (create_slot = false, copy_data = false, slot_name = 'native')"
    )


@contextmanager
def mariadb(folder: Path) -> Iterator[Place]:
    with MariaServer(durable=True) as server:
        names = {s: server.create_database() for s in ("crm", "erp")}
        with server.connect(names["crm"]) as c, server.connect(names["erp"]) as e:
            urls = {s: server.url(n) for s, n in names.items()}
            yield Place(urls, _server(c.cursor()), _server(e.cursor()))


def _server(cursor: Any) -> Run:
    def run(text: str, *parameters: Any) -> list[Any]:
        cursor.execute(text, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []

    return run


@contextmanager
def sqlite(folder: Path) -> Iterator[Place]:
    connections = {s: sqlite3.connect(folder / f"{s}.db", isolation_level=None, timeout=30) for s in ("crm", "erp")}
    for connection in connections.values():
        connection.execute("PRAGMA journal_mode = WAL")

    def runner(connection: sqlite3.Connection) -> Run:
        return lambda text, *parameters: connection.execute(text.replace("%s", "?"), parameters).fetchall()

    try:
        yield Place({s: f"sqlite:{s}.db" for s in connections}, runner(connections["crm"]), runner(connections["erp"]))
    finally:
        for connection in connections.values():
            connection.close()


KINDS = {"postgresql": postgresql, "mariadb": mariadb, "sqlite": sqlite}
CAPTURES = {"postgresql": ("trigger", "log"), "mariadb": ("trigger", "log"), "sqlite": ("trigger",)}


def configure(folder: Path, place: Place, capture: str) -> None:
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    systems = [
        f'[systems.{s}]\nurl = "{url}"\ncapture = "{capture}"\n'
        + ("" if url.startswith("sqlite") else 'password = "file:secret"\n')
        for s, url in place.urls.items()
    ]
    (folder / "accord.toml").write_text('[agent]\nname = "bench"\nstate = "state.db"\n\n' + "\n".join(systems))
    (folder / "entities").mkdir()
    for n in range(ENTITIES):
        name = f"item{n}"
        fields = "\n".join(f'{c} = {{ crm = "{c}", erp = "{c}" }}' for c in "abc")
        tables = f'[{name}.crm]\ntable = "{name}"\nnew_key = "copy"\n[{name}.erp]\ntable = "{name}"\nnew_key = "copy"\n'
        head = f'[{name}]\nmatch = [["a"]]\nfirst_contact = "auto"\n'
        (folder / "entities" / f"{name}.toml").write_text(f"{head}{tables}[{name}.fields]\n{fields}\n")
        for run in (place.crm, place.erp):
            run(TABLE.format(name=name))
            for row in range(ROWS):
                run(f"INSERT INTO {name} VALUES (%s, %s, 'b', 'c')", row, f"a{row}")


@contextmanager
def agent(folder: Path) -> Iterator[int]:
    """`accord run`; its process id."""
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "agent", "run"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def arrives(run: Run, table: str, value: str, row: int, patience: float = 120.0) -> float:
    """The moment at which the target holds the value."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        if run(f"SELECT b FROM {table} WHERE id = %s", row)[0][0] == value:
            return time.perf_counter()
        time.sleep(0.0005)
    raise SystemExit(f"{value} does not arrive")


def latency(place: Place, edits: int, native: bool = False) -> list[float]:
    """Milliseconds, sorted; both ways in turn (native: one way)."""
    took = []
    for n in range(edits):
        time.sleep(random.uniform(*PAUSE))
        source, target = (place.crm, place.erp) if n % 2 or native else (place.erp, place.crm)
        table = "native" if native else f"item{random.randrange(ENTITIES)}"
        row, value = random.randrange(ROWS), f"edit {n} {random.random()}"
        source(f"UPDATE {table} SET b = %s WHERE id = %s", value, row)
        begun = time.perf_counter()
        took.append((arrives(target, table, value, row) - begun) * 1000)
    return sorted(took)


def cpu(pid: int) -> float:
    """Seconds of processor that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle(pid: int, seconds: float) -> float:
    before, begun = cpu(pid), time.perf_counter()
    time.sleep(seconds)
    return (cpu(pid) - before) / (time.perf_counter() - begun)


def told(what: str, runs: list[list[float]]) -> None:
    """Medians over the runs."""
    p50, p95, worst = (
        statistics.median(took[min(len(took) - 1, int(len(took) * part))] for took in runs) for part in (0.5, 0.95, 1)
    )
    say(f"{what:26} p50 {p50:7.1f} ms, p95 {p95:7.1f} ms, worst {worst:7.1f} ms ({len(runs)} x {len(runs[0])} edits)")


def measure(kind: str, capture: str, runs: int, edits: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="accord-bench-") as name, KINDS[kind](Path(name)) as place:
        folder = Path(name)
        configure(folder, place, capture)
        subprocess.run([sys.executable, "-m", "agent", "prepare"], cwd=folder, check=True, env=environment())
        with agent(folder) as pid:
            for n in range(ENTITIES):  # every first contact is over when an edit of its entity arrives
                place.crm(f"UPDATE item{n} SET b = 'first' WHERE id = 0")
                arrives(place.erp, f"item{n}", "first", 0)
            time.sleep(2)
            name = f"{kind}, {capture}"
            told(name, [latency(place, edits) for _ in range(runs)])
            if place.native:
                told(f"{kind}, native", [latency(place, edits, native=True) for _ in range(runs)])
            time.sleep(2)
            used = 100 * idle(pid, seconds)
            say(f"{name:26} idle: {used:.2f} % of a core ({ENTITIES} entities, {seconds:.0f} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--edits", type=int, default=300)
    parser.add_argument("--idle", type=float, default=20.0)
    parser.add_argument("--only", choices=sorted(KINDS))
    options = parser.parse_args()
    for kind in [options.only] if options.only else KINDS:
        for capture in CAPTURES[kind]:
            measure(kind, capture, options.runs, options.edits, options.idle)


if __name__ == "__main__":
    main()
