"""What foreign keys carry on in MariaDB fires no trigger: triggers on the parents note which rows follow.

The oracle is SQL of the tests' own: all rows of the tables before and after. The application writes as an account that
has rights on its own tables only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import pymysql
import pytest

from config.records import Batch
from tests.conformance.factories.mariadb import Maria, MariaDatabase, quote
from tests.conformance.world import World
from tests.servers import MariaServer

Rows = dict[tuple[str, str], tuple[Any, ...]]
"""(entity, key) -> the row."""


@pytest.fixture
def db(mariadb: MariaServer) -> Iterator[MariaDatabase]:
    with closing(Maria(mariadb).create()) as database:
        yield database


Mapped = Mapping[str, tuple[tuple[str, ...], str]]
"""Entity -> (its fields, and how SQL spells its key)."""


def world_of(db: MariaDatabase, ddl: list[str], mapped: Mapped) -> World:
    db.define(*ddl)
    world = World(Maria(db.server), db)
    world.bind({e: (e, {name: name for name in fields}, {}) for e, (fields, _) in mapped.items()}).start()
    seen(world)
    return world


def seen(world: World) -> Batch:
    batch = world.system.changes(None, 10_000)
    world.system.acknowledge(batch.position)
    return batch


def rows(world: World, mapped: Mapped) -> Rows:
    """All rows that are mapped, by SQL."""
    return {
        (entity, str(key)): tuple(row)
        for entity, (fields, spelled) in mapped.items()
        for key, *row in world.db.sql(f"SELECT {spelled}, {', '.join(map(quote, fields))} FROM {quote(entity)}")
    }


def differ(before: Rows, after: Rows) -> set[tuple[str, str]]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


CHAIN = [
    "CREATE TABLE region (id INT PRIMARY KEY, code VARCHAR(10) NOT NULL UNIQUE, name VARCHAR(20))",
    "CREATE TABLE town (id INT PRIMARY KEY, region INT,"
    " FOREIGN KEY (region) REFERENCES region (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE party (id INT PRIMARY KEY, name VARCHAR(20), town INT, code VARCHAR(10),"
    " FOREIGN KEY (town) REFERENCES town (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " FOREIGN KEY (code) REFERENCES region (code) ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE TABLE visit (id INT PRIMARY KEY, party INT, note VARCHAR(20),"
    " FOREIGN KEY (party) REFERENCES party (id) ON DELETE CASCADE ON UPDATE SET NULL)",
    "INSERT INTO region VALUES (1, 'n', 'north'), (2, 's', 'south')",
    "INSERT INTO town VALUES (10, 1), (11, 1), (20, 2)",
    "INSERT INTO party VALUES (1, 'a', 10, 's'), (2, 'b', 11, NULL), (3, 'c', 20, 'n'), (4, 'd', NULL, 's')",
    "INSERT INTO visit VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 3, 'z'), (4, 4, 'u')",
]
PARTY = {"party": (("name", "town", "code"), "id"), "visit": (("party", "note"), "id")}

TREE = [
    "CREATE TABLE party (id INT PRIMARY KEY, parent INT, boss INT, name VARCHAR(20),"
    " FOREIGN KEY (parent) REFERENCES party (id) ON DELETE CASCADE,"
    " FOREIGN KEY (boss) REFERENCES party (id) ON DELETE SET NULL)",
    "CREATE TABLE visit (id INT PRIMARY KEY, party INT, FOREIGN KEY (party) REFERENCES party (id) ON DELETE CASCADE)",
    "INSERT INTO party VALUES (1, NULL, NULL, 'a'), (2, 1, NULL, 'b'), (3, 2, NULL, 'c'), (4, NULL, 1, 'd'),"
    " (5, NULL, 3, 'e'), (6, NULL, NULL, 'f')",
    "INSERT INTO visit VALUES (1, 1), (2, 3), (3, 4), (4, 6)",
]
BOTH = {"party": (("parent", "boss", "name"), "id"), "visit": (("party",), "id")}

WHOLE = [
    "CREATE TABLE `the orders` (`firm` INT, `no` VARCHAR(10), name VARCHAR(20), PRIMARY KEY (firm, no))",
    "CREATE TABLE `line` (firm INT, no VARCHAR(10), pos INT, text VARCHAR(20), PRIMARY KEY (firm, no, pos),"
    " FOREIGN KEY (firm, no) REFERENCES `the orders` (firm, no) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE part (id INT PRIMARY KEY, firm INT, no VARCHAR(10), pos INT,"
    " FOREIGN KEY (firm, no, pos) REFERENCES line (firm, no, pos) ON DELETE SET NULL ON UPDATE CASCADE)",
    "INSERT INTO `the orders` VALUES (1, 'A', 'a'), (1, 'B', 'b'), (2, 'A', 'c')",
    "INSERT INTO line VALUES (1, 'A', 1, 'x'), (1, 'A', 2, 'y'), (1, 'B', 1, 'z'), (2, 'A', 1, 'u')",
    "INSERT INTO part VALUES (1, 1, 'A', 1), (2, 1, 'A', 2), (3, 2, 'A', 1)",
]
LINE = {
    "line": (("text",), "CONCAT('[\"', firm, '\", \"', no, '\", \"', pos, '\"]')"),
    "part": (("firm", "no", "pos"), "id"),
}

CASES: dict[str, tuple[list[str], Mapped, str]] = {
    "two levels, by an unmapped table": (CHAIN, PARTY, "DELETE FROM region WHERE id = 1"),
    "set null": (CHAIN, PARTY, "DELETE FROM region WHERE id = 2"),
    "all": (CHAIN, PARTY, "DELETE FROM region"),
    "a mapped parent": (CHAIN, PARTY, "DELETE FROM party WHERE id IN (1, 3)"),
    "a key that changes": (CHAIN, PARTY, "UPDATE town SET id = 110 WHERE id = 10"),
    "a text that changes": (CHAIN, PARTY, "UPDATE region SET code = 'south' WHERE id = 2"),
    "the case of a text": (CHAIN, PARTY, "UPDATE region SET code = 'S' WHERE id = 2"),
    "what nobody refers to": (CHAIN, PARTY, "UPDATE region SET name = 'x'"),
    "what is not looked at": (CHAIN, PARTY, "UPDATE region SET id = 7 WHERE id = 1"),
    "set null by a change": (CHAIN, PARTY, "UPDATE party SET id = 33 WHERE id = 3"),
    "replace": (CHAIN, PARTY, "REPLACE INTO region VALUES (1, 'n', 'new')"),
    "on duplicate key": (CHAIN, PARTY, "INSERT INTO town VALUES (10, 1) ON DUPLICATE KEY UPDATE id = 12"),
    "a tree": (TREE, BOTH, "DELETE FROM party WHERE id = 1"),
    "a leaf of a tree": (TREE, BOTH, "DELETE FROM party WHERE id = 6"),
    "several columns": (WHOLE, LINE, "DELETE FROM `the orders` WHERE firm = 1 AND no = 'A'"),
    "several columns that change": (WHOLE, LINE, "UPDATE `the orders` SET no = 'Z' WHERE no = 'A'"),
    "one of several": (WHOLE, LINE, "UPDATE `the orders` SET firm = 9 WHERE firm = 1"),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_that_follow_are_seen(db: MariaDatabase, name: str) -> None:
    """Exactly those whose mapped columns or existence changed, and no others."""
    ddl, mapped, text = CASES[name]
    world = world_of(db, ddl, mapped)
    before = rows(world, mapped)
    db.app(text)
    batch = seen(world)
    expected = differ(before, rows(world, mapped))
    assert {(c.entity, _spelled(c.key)) for c in batch.changes} == expected
    assert not batch.gaps


def _spelled(key: str) -> str:
    return key.replace('","', '", "')


def test_where_a_key_went(db: MariaDatabase) -> None:
    """A row whose key was changed by a cascade stays the record that it was."""
    world = world_of(db, WHOLE, LINE)
    db.app("UPDATE `the orders` SET no = 'Z' WHERE firm = 2")
    old, new = '["2","A","1"]', '["2","Z","1"]'
    assert world.system.moved("line", [old]) == {old: new}
    reading = world.system.read({"line": [old, new]})["line"]
    assert reading.keys() == {new} and reading[new].was == old


def test_what_is_undone_is_no_change(db: MariaDatabase) -> None:
    world = world_of(db, CHAIN, PARTY)
    with pytest.raises(ZeroDivisionError), db.people() as run:
        run("DELETE FROM region WHERE id = 1")
        raise ZeroDivisionError
    assert not seen(world).changes


UNKNOWN: dict[str, Callable[[MariaDatabase], object]] = {
    "the statement uses the children": lambda db: db.app(
        "DELETE region FROM region JOIN town ON town.region = region.id WHERE region.id = 1"
    ),
    "a table between was dropped": lambda db: (
        db.sql("SET STATEMENT foreign_key_checks = 0 FOR DROP TABLE town"),
        db.app("DELETE FROM region WHERE id = 1"),
    ),
    "an index was renamed": lambda db: (
        db.sql("ALTER TABLE town RENAME INDEX region TO other"),
        db.app("DELETE FROM region WHERE id = 1"),
    ),
    "a column was renamed": lambda db: (
        db.sql("ALTER TABLE town RENAME COLUMN region TO other"),
        db.app("DELETE FROM region WHERE id = 1"),
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_where_it_cannot_be_noted_a_sweep_follows(db: MariaDatabase, name: str) -> None:
    """And the application's statement does what it would do without us."""
    world = world_of(db, CHAIN, PARTY)
    UNKNOWN[name](db)
    assert db.sql("SELECT id FROM region") == [(2,)]
    batch = seen(world)
    assert batch.gaps.keys() >= {"party", "visit"} and all("with them" in why for why in batch.gaps.values())
    assert not seen(world).gaps


def test_a_circle_is_swept(db: MariaDatabase) -> None:
    ddl = [
        "CREATE TABLE party (id INT PRIMARY KEY, visit INT)",
        "CREATE TABLE visit (id INT PRIMARY KEY, party INT,"
        " FOREIGN KEY (party) REFERENCES party (id) ON DELETE CASCADE)",
        "INSERT INTO party VALUES (1, NULL), (2, NULL), (3, NULL)",
        "INSERT INTO visit VALUES (1, 1), (2, 2)",
        "UPDATE party SET visit = 1 WHERE id = 2",
        "ALTER TABLE party ADD FOREIGN KEY (visit) REFERENCES visit (id) ON DELETE CASCADE",
    ]
    world = world_of(db, ddl, {"party": (("visit",), "id"), "visit": (("party",), "id")})
    db.app("DELETE FROM party WHERE id = 3")
    assert not seen(world).gaps
    db.app("DELETE FROM party WHERE id = 1")
    assert db.sql("SELECT * FROM party") == [] and seen(world).gaps.keys() == {"party", "visit"}


def test_a_foreign_key_that_is_added_is_missed_and_said(db: MariaDatabase) -> None:
    """Its trigger is not there: `prepared` says so, and what capture relies on is another one."""
    ddl = [text.split(", FOREIGN")[0] + ")" if text.startswith("CREATE TABLE town") else text for text in CHAIN]
    world = world_of(db, ddl, PARTY)
    before = world.system.origin()
    assert not any(part.broken for part in before.parts)
    db.sql("DO SLEEP(1.1)")  # made and altered within one second is not told apart
    db.sql("ALTER TABLE town ADD FOREIGN KEY (region) REFERENCES region (id) ON DELETE CASCADE")
    broken = [part for part in world.system.origin().parts if part.broken]
    assert {e for part in broken for e in part.entities} == {"party", "visit"}
    assert all("region" in part.name for part in broken) and world.system.prepared()
    world.system.prepare()
    assert not world.system.prepared() and not any(part.broken for part in world.system.origin().parts)


def test_other_databases_and_nothing_stays(db: MariaDatabase) -> None:
    """The parent of the parent lies in another database, which holds no captured table."""
    other = f"{db.name}_other"
    db.define(f"CREATE DATABASE {other}")
    before = db.dump()
    ddl = [re.sub(r"(TABLE|REFERENCES|INTO) (region|town)\b", rf"\1 {other}.\2", text) for text in CHAIN]
    ddl = [text for text in ddl if "visit" not in text]
    world = world_of(db, ddl, {"party": PARTY["party"]})
    made = db.dump()
    db.app(f"DELETE FROM {other}.region WHERE id = 1")
    assert {(c.entity, c.key) for c in seen(world).changes} == {("party", "1"), ("party", "2"), ("party", "3")}
    triggers = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA IN (?, ?)"
    assert len(db.sql(triggers, db.name, other)) > 3
    world.system.unprepare()
    assert db.sql(triggers, db.name, other) == []
    assert [line for line in db.dump() if line not in made and line not in before] == []


def test_an_account_that_may_not_make_triggers_there(db: MariaDatabase) -> None:
    world = world_of(db, CHAIN, {"party": PARTY["party"]})
    name = db.server.create_user(f"agent_{db.name}")
    db.accounts.append(name)
    for table in ("party", "accord_changes", "accord_fence", "accord_crosswalk"):
        db.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON {quote(db.name)}.{table} TO '{name}'@'%'")
    db.sql(f"GRANT SELECT ON {quote(db.name)}.town TO '{name}'@'%'")
    db.sql(f"GRANT SELECT ON {quote(db.name)}.region TO '{name}'@'%'")
    system = db.system(user=name)
    system.bind(list(world.tables.values()))
    said = " ".join(f"{p.message} {p.hint}" for p in system.check())
    for table in ("town", "region"):
        assert f"lacks TRIGGER on the table {table}" in said and f".`{table}` TO '{name}'" in said


def test_only_the_children_are_read(db: MariaDatabase) -> None:
    """10 of 100,000 children are on the parent that goes: the server reads little more than those."""
    ddl = [
        "CREATE TABLE region (id INT PRIMARY KEY)",
        "CREATE TABLE party (id INT PRIMARY KEY, name VARCHAR(20), region INT,"
        " FOREIGN KEY (region) REFERENCES region (id) ON DELETE CASCADE)",
        "INSERT INTO region SELECT seq FROM seq_1_to_10000",
        "INSERT INTO party SELECT seq, 'x', 1 + seq % 10000 FROM seq_1_to_100000",
    ]
    world = world_of(db, ddl, {"party": (("name",), "id")})

    def read(cursor: pymysql.cursors.Cursor) -> int:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())

    with closing(db.server.connect(db.name, db.account)) as connection, connection.cursor() as cursor:
        before = read(cursor)
        cursor.execute("DELETE FROM region WHERE id = 5000")
        assert read(cursor) - before < 100
    expected = {("party", str(4999 + 10_000 * n)) for n in range(10)}
    assert {(c.entity, c.key) for c in seen(world).changes} == expected
