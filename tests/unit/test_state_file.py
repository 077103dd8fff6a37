"""The state file: how it is made, who may have it, and what is said when it is not what it should be."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from config.errors import ConfigError, Problem, Taken, Transient
from state import database
from state.lock import StateLock
from state.ports import Decided, Link, Record
from state.store import Store

ENTITIES = {"customer": ["name"]}
SYSTEMS = ["crm", "erp"]
ROOT = Path(__file__).parents[2]
GID = "a" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def opened(path: Path, readonly: bool = False) -> Store:
    return Store.open(path, ENTITIES, SYSTEMS, readonly=readonly)


def refusal(path: Path, readonly: bool = False) -> Problem:
    with pytest.raises(ConfigError) as raised:
        opened(path, readonly)
    assert raised.value.problem.hint
    return raised.value.problem


def made(path: Path) -> Path:
    with closing(opened(path)) as store:
        store.commit(Decided(1, 10, records=[Record(GID, "customer", {"crm": Link("1")})]))
    return path


# --- how it is made --------------------------------------------------------------------------------------------------


def test_only_its_owner_may_read_it(path: Path) -> None:
    umask = os.umask(0)
    try:
        with StateLock(path), closing(opened(path)) as store:
            store.put("a", "b")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(umask)
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm", "state.db.lock"), 0o600)


def test_the_writer_is_durable(path: Path) -> None:
    with closing(opened(path)) as store:
        for _ in range(2):
            assert store.database.value("PRAGMA journal_mode") == "wal"
            assert store.database.value("PRAGMA synchronous") == 2  # FULL
            assert store.database.value("PRAGMA foreign_keys") == 1
            store.settle("crm", True)  # this one need not be; what comes after it is again


def shape(connection: sqlite3.Connection) -> dict[str, object]:
    """Everything that a schema is, but for its wording."""
    names = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2").fetchall()
    found: dict[str, object] = {"names": names}
    for kind, name, _ in names:
        if kind == "table":
            found[name] = [
                connection.execute(f"PRAGMA {pragma}('{name}')").fetchall()
                for pragma in ("table_xinfo", "table_list", "foreign_key_list", "index_list")
            ]
        else:
            found[name] = connection.execute(f"PRAGMA index_xinfo('{name}')").fetchall()
    return found


def test_all_migrations_together_make_the_schema() -> None:
    with closing(sqlite3.connect(":memory:")) as whole, closing(sqlite3.connect(":memory:")) as steps:
        whole.executescript((ROOT / "state/schema.sql").read_text())
        database.Database(steps, None)  # gives the connection the functions that migrations use
        numbers = []
        for file in sorted((ROOT / "state/migrations").glob("*.sql")):
            steps.executescript(file.read_text())
            numbers.append(int(file.name[:4]))
        assert shape(whole) == shape(steps)
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_column_is_explained() -> None:
    columns = re.findall(r"^    [a-z_]+ (?:INTEGER|TEXT|BLOB)\b.*$", (ROOT / "state/schema.sql").read_text(), re.M)
    assert len(columns) > 80
    assert [column for column in columns if " -- " not in column] == []


# --- what it is not --------------------------------------------------------------------------------------------------


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    made(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    for readonly in (False, True):
        problem = refusal(path, readonly)
        assert problem.code == "newer-state"
        assert "schema 999" in problem.message
    assert path.read_bytes() == before


def test_a_database_of_somebody_else_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (id INTEGER)")
    before = path.read_bytes()
    assert refusal(path).code == refusal(path, readonly=True).code == "no-state-file"
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("[agent]\nname = 'acme'\n" * 100)
    assert refusal(path).code == refusal(path, readonly=True).code == "no-state-file"


def test_a_damaged_file(path: Path) -> None:
    made(path)
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(byte ^ 0xFF for byte in content[4096:])  # every page but the first, all bits
    path.write_bytes(content)
    problem = refusal(path)
    assert problem.code == "corrupt-state"
    assert str(path) in problem.message


def test_a_damage_that_shows_later(path: Path) -> None:
    with closing(opened(path)) as store:
        records = [Record(f"{n:032x}", "customer", {"crm": Link(str(n))}) for n in range(3000)]
        store.commit(Decided(1, 10, records=records))
    content = bytearray(path.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle:] = bytes(byte ^ 0xFF for byte in content[middle:])  # the schema is whole: opening finds nothing
    path.write_bytes(content)
    with closing(opened(path)) as store, pytest.raises(ConfigError) as raised:
        store.load("customer", [record.gid for record in records])
    assert raised.value.problem.code == "corrupt-state"


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / folder / "state.db"
    problem = refusal(path)
    assert problem.code == "state-folder" and str(path) in problem.message
    with pytest.raises(ConfigError):
        StateLock(path)


def test_reading_without_a_file(path: Path) -> None:
    assert refusal(path, readonly=True).code == "no-state"
    assert list(path.parent.iterdir()) == []


def test_a_reader_reads_beside_the_writer_and_cannot_write(path: Path) -> None:
    with closing(opened(path)) as store, closing(opened(path, readonly=True)) as reader:
        store.put("a", "1")
        assert reader.get("a") == "1"
        with pytest.raises(ConfigError, match="readonly"):
            reader.put("a", "2")
        assert store.get("a") == "1"


def test_a_reader_does_not_need_to_know_the_mapping_of_the_last_run(path: Path) -> None:
    made(path)
    with closing(Store.open(path, {"invoice": ["no"], "customer": ["a"]}, ["shop"], readonly=True)) as reader:
        assert reader.load("customer", [GID])[GID].links == {}
        assert reader.load("invoice", [GID]) == {}
        assert reader.resolve("customer", "shop", ["1"]) == {}
        assert reader.status().records == {"customer": 1}


def test_a_state_that_is_busy_may_be_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY", 1)
    with closing(opened(path)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked"):
            store.put("a", "1")
        other.rollback()
        store.put("a", "2")
        assert store.get("a") == "2"


def test_a_full_disk_may_be_tried_again(path: Path) -> None:
    with closing(opened(path)) as store:
        store.put("a", "1")
        store.database.rows(f"PRAGMA max_page_count = {store.database.value('PRAGMA page_count')}")
        records = [Record(f"{n:032x}", "customer", {"crm": Link(str(n))}) for n in range(3000)]
        with pytest.raises(Transient) as raised:
            store.commit(Decided(1, 10, records=records))
        assert "room" in raised.value.problem.hint
        assert store.last_round() == 0
        store.database.rows("PRAGMA max_page_count = 1000000")
        store.commit(Decided(1, 10, records=records))
        assert store.last_round() == 1


def test_more_systems_than_a_slot_can_tell(path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="64 systems"),
        closing(Store.open(path, ENTITIES, [f"s{n}" for n in range(64)])),
    ):
        pass
    with closing(Store.open(path, ENTITIES, [f"s{n}" for n in range(63)])) as store:
        store.commit(Decided(1, 10, records=[Record(GID, "customer", {f"s{n}": Link("1") for n in range(63)})]))
        assert len(store.load("customer", [GID])[GID].links) == 63


# --- who may have it -------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from state.lock import StateLock
lock = StateLock(sys.argv[1], "acme")
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_agent_is_told_who_holds_the_state(path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with pytest.raises(Taken) as raised:
                StateLock(path, "other")
            assert f'agent "acme" (process {holder.pid})' in raised.value.problem.message
        finally:
            holder.send_signal(signal.SIGKILL)
    with StateLock(path, "other"):  # a process that was killed holds nothing
        assert path.with_name("state.db.lock").read_text() == f"{os.getpid()} other"
    with StateLock(path):
        pass


def _commit_and_die(path: str) -> None:
    store = Store.open(path, ENTITIES, SYSTEMS)
    store.commit(Decided(1, 10, records=[Record(GID, "customer", {"crm": Link("1")})], writing=("erp",)))
    with store.database.transaction():
        store.database.rows("DELETE FROM side")
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_committed_survives_a_kill_and_nothing_else_does(path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_commit_and_die, args=(str(path),))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key FROM side").fetchall() == [("1",)]
    with closing(opened(path)) as store:
        assert store.unsettled() == {"erp": 1}
