"""A state file of every released schema opens with the code of today, whole."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from state import database
from state.ports import Link, Look, MatchRow
from state.store import Store
from tests.upgrade import make_state as made

FILES = sorted(Path(__file__).parent.glob("state-*.db"))


def test_a_file_of_every_schema_is_kept() -> None:
    assert [file.name for file in FILES] == [f"state-{number}.db" for number in range(1, database.version() + 1)]


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_old_state_file_opens_whole(file: Path, readonly: bool, tmp_path: Path) -> None:
    path = shutil.copy(file, tmp_path / "state.db")
    with closing(Store.open(path, made.ENTITIES, made.SYSTEMS, refs=made.REFS, readonly=readonly)) as store:
        assert store.last_round() == 2
        kept = made.records()
        assert list(store.load("customer", [made.ACME, made.BELL, made.GONE]).values()) == kept[:3]
        assert store.load("order", [made.ORDER])[made.ORDER] == kept[3]
        types = [type(value) for value in store.load("customer", [made.ACME])[made.ACME].images["crm"].values]
        assert types == [type(value) for value in made.VALUES]
        assert store.resolve("customer", "crm", ["4711", "4000"]) == {"4711": made.ACME}
        assert store.tomb("customer", "crm", ["4000"]) == {"4000": made.ACME}
        children = store.children([made.ACME, made.BELL])
        assert children == {made.ACME: [("customer", made.BELL)], made.BELL: [("order", made.ORDER)]}
        hits = [MatchRow("crm", "4711", made.ACME), MatchRow("erp", "77", None)]
        assert store.matches("customer", 0, [b"vat"]) == {b"vat": hits}
        assert (
            store.reviews() == made.REVIEWS[:1] and store.reviews_about([("customer", "crm", "9")]) == made.REVIEWS[:1]
        )
        assert store.pending() == [made.PENDING]
        looks = [Look("customer", "crm", "4712", 40, "sweep"), Look("customer", "crm", "4712", 50, "retry")]
        assert store.due(99, 9) == looks
        assert [entry.line for entry in store.journal()] == [made.line("conflict"), made.line("create")]
        assert (store.position("crm"), store.get("phase"), store.unsettled()) == (b"\x00p", "done", {"erp": 2})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_old_state_file_goes_on(file: Path, tmp_path: Path) -> None:
    path = shutil.copy(file, tmp_path / "state.db")
    with closing(Store.open(path, made.ENTITIES, made.SYSTEMS, refs=made.REFS)) as store:
        store.settle("erp", landed=True)
        assert store.load("customer", [made.ACME])[made.ACME].links["erp"] == Link("90")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (database.version(),)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_reading_an_old_state_file_leaves_it_as_it_is(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    shutil.copy(file, path)
    newer = [*database.migrations(), (database.version() + 1, "ALTER TABLE meta ADD COLUMN later TEXT;")]
    monkeypatch.setattr(database, "migrations", lambda: newer)
    before = path.read_bytes()
    with closing(Store.open(path, made.ENTITIES, made.SYSTEMS, refs=made.REFS, readonly=True)) as store:
        assert store.database.rows("SELECT later FROM meta") == [(None,)]
    assert path.read_bytes() == before
