"""The demo's world is the same for the same seed, and its check notices an edit that went missing."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agent.demo.account import Account, Fate, account, plain, read_ledger
from agent.demo.day import schedule
from agent.demo.world import SIDE, World, build, imagine
from state.ports import Journal, Review

CROSSWALK = "CREATE TABLE accord_crosswalk (entity TEXT, gid TEXT, system TEXT, key TEXT)"
PEOPLE = [sys.executable, "-m", "agent.demo.people"]
MAILBOX = "SELECT count(*) FROM party WHERE active = 1 AND email IS NOT NULL GROUP BY email HAVING count(*) > 1"
SPARE = "SELECT count(*) FROM accounts WHERE deleted = 0 AND vat_c <> '' GROUP BY vat_c HAVING count(*) > 1"


def rows(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql, values).fetchall()


def write(path: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql, values)


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


# --- the world -------------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_world(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / name).mkdir()
        build(tmp_path / name, seed)
    for system in ("crm.db", "erp.db"):
        assert dump(tmp_path / "a" / system) == dump(tmp_path / "b" / system)
        assert dump(tmp_path / "a" / system) != dump(tmp_path / "c" / system)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build(folder, 7)
    return folder


def test_each_side_has_2000_customers_and_most_are_on_both(built: Path) -> None:
    with closing(sqlite3.connect(built / "crm.db")) as db:
        db.execute("ATTACH ? AS erp", (str(built / "erp.db"),))
        (crm,), (erp,) = (db.execute(f"SELECT count(*) FROM {t}").fetchone() for t in ("accounts", "party"))
        (both,) = db.execute(
            "SELECT count(DISTINCT a.id) FROM accounts a JOIN party p"
            " ON (a.vat_c <> '' AND a.vat_c = p.tax_code) OR (a.email1 <> '' AND a.email1 = p.email)"
        ).fetchone()
    assert (crm, erp) == (SIDE, SIDE)
    assert 1800 < both < 1900


def test_the_data_are_as_dirty_as_promised(built: Path) -> None:
    with closing(sqlite3.connect(built / "crm.db")) as db:
        db.execute("ATTACH ? AS erp", (str(built / "erp.db"),))
        matched = "accounts a JOIN party p ON a.vat_c <> '' AND a.vat_c = p.tax_code"
        for what, condition in {
            "case": "a.name <> p.name AND lower(a.name) = lower(p.name)",
            "trailing blanks": "a.name <> p.name AND a.name = rtrim(p.name)",
            "'' against a value": "a.phone_office = '' AND p.phone IS NOT NULL",
            "NULL against a value": "a.phone_office <> '' AND p.phone IS NULL",
            "'' against NULL": "a.phone_office = '' AND p.phone IS NULL",
            "what the ERP owns": "a.credit_limit_c <> p.credit_limit",
        }.items():
            assert db.execute(f"SELECT count(*) FROM {matched} WHERE {condition}").fetchone()[0] > 0, what
    assert rows(built / "crm.db", SPARE), "no customer was entered twice"
    assert rows(built / "erp.db", MAILBOX), "no two parties share a mailbox"
    assert rows(built / "crm.db", "SELECT 1 FROM accounts WHERE vat_c = '' AND email1 = ''"), "no blank match fields"


def test_references_lead_somewhere(built: Path) -> None:
    assert rows(built / "erp.db", "PRAGMA foreign_key_check") == []
    orphans = "SELECT count(*) FROM {} WHERE {} IS NOT NULL AND {} NOT IN (SELECT id FROM {})"
    for table, column, parent in (
        ("accounts", "parent_id", "accounts"),
        ("orders", "account_id", "accounts"),
        ("order_lines", "order_id", "orders"),
        ("order_lines", "product_id", "products"),
    ):
        assert rows(built / "crm.db", orphans.format(table, column, column, parent)) == [(0,)], (table, column)


def test_orders_belong_to_customers_that_are_on_both_sides(built: Path) -> None:
    world = imagine(7)
    assert len(world.orders) == 320
    known = {keys[0] for keys in world.buyers}
    assert {row[0] for row in rows(built / "crm.db", "SELECT account_id FROM orders")} - {None} <= known


# --- the people ------------------------------------------------------------------------------------------------------


def test_a_day_is_the_same_for_the_same_seed() -> None:
    once, again = (schedule(imagine(7), 7, 20.0) for _ in range(2))
    assert [due for due, _ in once] == [due for due, _ in again]
    assert len(once) > 150
    assert all(0 <= due <= 20 for due, _ in once)


def test_people_write_down_what_they_do(tmp_path: Path) -> None:
    build(tmp_path, 7)
    subprocess.run([*PEOPLE, str(tmp_path), "--seconds", "2", "--seed", "7"], check=True)
    ledger = read_ledger(tmp_path)
    assert {e.system for e in ledger} == {"crm", "erp"}
    assert {e.op for e in ledger} == {"insert", "update", "delete"}
    assert all(e.before != e.after for e in ledger)
    last = {(e.system, e.table, e.key, e.column): e.after for e in ledger if e.op == "update"}
    assert len(last) > 15
    for (system, table, key, column), value in last.items():
        held = rows(tmp_path / f"{system}.db", f"SELECT {column} FROM {table} WHERE id = ?", key)
        assert held == [(value,)], (table, key, column)
    for e in ledger:
        if e.op == "insert":
            assert rows(tmp_path / f"{e.system}.db", f"SELECT 1 FROM {e.table} WHERE id = ?", e.key)


def test_the_story_that_people_act_out_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    told = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        build(tmp_path / name, 7)
        subprocess.run([*PEOPLE, str(tmp_path / name), "--seconds", "1"], check=True)
        told.append([tuple(e)[1:7] for e in read_ledger(tmp_path / name)])
    assert told[0] == told[1]


def test_people_without_a_world_are_told_so(tmp_path: Path) -> None:
    run = subprocess.run([*PEOPLE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert "crm.db: there is no such file" in run.stderr


# --- the accounting: every fate, and the edit that is missing --------------------------------------------------------


class Day:
    """Two linked databases, and people whose edits the test writes down itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world: World = build(folder, 7)
        self.crm, self.erp = self.world.customers[0]
        for system in ("crm", "erp"):
            write(folder / f"{system}.db", CROSSWALK)
            for entity, records in (("customer", self.world.customers[:5]), ("order_line", self.world.lines[:5])):
                for number, keys in enumerate(records):
                    for name, key in zip(("crm", "erp"), keys, strict=True):
                        self.link(system, entity, f"g{number}", name, str(key))

    def link(self, where: str, entity: str, gid: str, system: str, key: str) -> None:
        write(self.folder / f"{where}.db", "INSERT INTO accord_crosswalk VALUES (?, ?, ?, ?)", entity, gid, system, key)

    def set(self, system: str, column: str, value: object) -> None:
        table, key = ("accounts", self.crm) if system == "crm" else ("party", self.erp)
        write(self.folder / f"{system}.db", f"UPDATE {table} SET {column} = ? WHERE id = ?", value, key)

    def phones(self, value: str) -> None:
        self.set("crm", "phone_office", value)
        self.set("erp", "phone", value)

    def edited(
        self, system: str, column: str, before: object, after: object, op: str = "update", key: str = ""
    ) -> None:
        table, own = ("accounts", self.crm) if system == "crm" else ("party", self.erp)
        line = {
            "at": "2026-01-01T10:00:00.000Z", "who": "Maria", "system": system, "op": op, "table": table,
            "key": key or str(own), "column": column, "before": before, "after": after,
        }  # fmt: skip
        with (self.folder / "ledger.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def accounts(self, journal: tuple[Journal, ...] = (), reviews: tuple[Review, ...] = ()) -> list[Account]:
        return account(self.folder, read_ledger(self.folder), self.world, journal, reviews)

    def fates(self, *journal: Journal) -> list[Fate]:
        return [a.fate for a in self.accounts(journal)]


@pytest.fixture
def day(tmp_path: Path) -> Day:
    return Day(tmp_path)


def lost(action: str, system: str, field: str, before: object, rule: str) -> Journal:
    return Journal("customer", "g0", action, system, field, before, "x", rule, "erp", 0)  # type: ignore[arg-type]


def review(field: str) -> Review:
    return Review("r1", "conflict", "customer", "g0", "", "", field, "", "", {}, 0)


def test_an_edit_that_both_systems_hold_is_kept(day: Day) -> None:
    day.edited("crm", "phone_office", "1", "2")
    day.phones("2")
    assert day.fates() == [Fate.KEPT]


def test_an_edit_that_only_its_own_system_holds_is_missing(day: Day) -> None:
    day.edited("crm", "phone_office", "1", "2")
    day.set("crm", "phone_office", "2")
    assert day.fates() == [Fate.MISSING]


def test_an_edit_that_somebody_saw_and_changed_is_replaced(day: Day) -> None:
    day.edited("crm", "phone_office", "1", "2")
    day.edited("erp", "phone", "2", "3")
    day.phones("3")
    assert day.fates() == [Fate.REPLACED, Fate.KEPT]


def test_an_edit_that_nobody_saw_before_it_went_is_missing_unless_the_journal_names_the_rule(day: Day) -> None:
    day.edited("crm", "phone_office", "1", "2")
    day.edited("erp", "phone", "1", "3")
    day.phones("3")
    assert day.fates() == [Fate.MISSING, Fate.KEPT]
    assert day.fates(lost("update", "crm", "phone", "2", "only change"))[0] is Fate.MISSING
    assert day.fates(lost("conflict", "crm", "phone", "4", "latest"))[0] is Fate.MISSING
    (first, _) = day.accounts((lost("conflict", "crm", "phone", "2", "latest"),))
    assert (first.fate, first.rule) == (Fate.LOST, "latest")


def test_an_edit_in_review_waits(day: Day) -> None:
    day.edited("crm", "payment_days_c", 30, 60)
    day.set("crm", "payment_days_c", 60)
    assert [a.fate for a in day.accounts(reviews=(review("terms"),))] == [Fate.REVIEW]
    assert [a.fate for a in day.accounts(reviews=(review("phone"),))] == [Fate.MISSING]


def test_counters_add_up(day: Day) -> None:
    day.edited("crm", "bonus_points_c", 100, 120)
    day.edited("erp", "points", 100, 105)
    for total, fate in ((125, Fate.KEPT), (120, Fate.MISSING)):
        day.set("crm", "bonus_points_c", total)
        day.set("erp", "points", total)
        assert day.fates() == [fate, fate]


def test_a_customer_who_is_given_up_is_given_up_on_both_sides(day: Day) -> None:
    day.edited("erp", "active", 1, 0)
    day.set("erp", "active", 0)
    assert day.fates() == [Fate.MISSING]
    day.set("crm", "deleted", 1)
    assert day.fates() == [Fate.KEPT]


def test_a_new_customer_stands_once_on_each_side(day: Day) -> None:
    newcomer = {"id": "n1", "name": "New GmbH", "email1": "n@new.example", "deleted": 0}
    columns, marks = ", ".join(newcomer), ", ".join("?" * len(newcomer))
    write(day.folder / "crm.db", f"INSERT INTO accounts ({columns}) VALUES ({marks})", *newcomer.values())
    day.edited("crm", "", None, newcomer, op="insert", key="n1")
    assert day.fates() == [Fate.MISSING]
    enter = "INSERT INTO party (id, name, email, active, create_date) VALUES (?, 'New GmbH', 'n@new.example', 1, '')"
    write(day.folder / "erp.db", enter, 9001)
    for system in ("crm", "erp"):
        day.link(system, "customer", "g9", "crm", "n1")
        day.link(system, "customer", "g9", "erp", "9001")
    assert day.fates() == [Fate.KEPT]
    write(day.folder / "erp.db", enter, 9002)
    assert day.fates() == [Fate.MISSING]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), ("", None), (5000, "5000"), (5000.0, "5000"), (12.5, "12.5"), (True, "1"), ("030 1", "030 1")],
)
def test_values_have_one_form(value: object, expected: str | None) -> None:
    assert plain(value) == expected
