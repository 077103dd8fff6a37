"""What Accord makes in a MariaDB database: the change log and its triggers, the fence, the crosswalk.

All statements may run twice. Triggers run with the rights of the account that made them (SQL SECURITY DEFINER is
what MariaDB does), so an application needs no right on Accord's tables (I12). Why one can hardly fail: its columns are
wider than any key, its SQL mode is not strict, nothing in the log refers to anything or is unique, and whatever goes
wrong in it all the same (a mapped column was dropped) ends in its handler, which logs the row without saying which
columns changed, and if the key itself is gone, that something was lost: then capture halts. An error is never just
swallowed: it would be a lost change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapters.mysql.connection import Session
from adapters.mysql.sql import NOW, literal, qualified, quote
from adapters.mysql.tables import Bound, pack_sql
from config.errors import Problem
from config.records import Column

KEY_LENGTH = 600
"""Characters of a key in the crosswalk: what a unique index of InnoDB can hold beside entity and system."""

LOST = "?"
"""The operation of a row of the log that cannot say which row of the table it is about."""

UNKNOWN = "*"
"""The same of rows that a foreign key took along: the table is swept."""

_TABLE = "ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_nopad_bin"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the objects, by the agent's prefix, qualified where a statement may run in another database."""

    prefix: str
    database: str

    @property
    def changes(self) -> str:
        return qualified(self.database, f"{self.prefix}_changes")

    @property
    def crosswalk(self) -> str:
        return qualified(self.database, f"{self.prefix}_crosswalk")

    @property
    def fence(self) -> str:
        return qualified(self.database, f"{self.prefix}_fence")

    @property
    def mark(self) -> str:
        """The session variable that is set while Accord writes."""
        return f"{self.prefix}_agent"

    def trigger(self, bound: Bound, event: str) -> str:
        return self.named(bound.database, bound.table.name, event)

    def named(self, database: str, table: str, event: str) -> str:
        """At most 64 characters, as the server allows."""
        name = f"{self.prefix}_{table}_{event}"
        if len(name) > 64:
            name = f"{name[:47]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        return qualified(database, name)


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str  # qualified
    place: tuple[str, str]  # the table: (database, table)
    event: str
    body: str
    timing: str
    entities: tuple[str, ...]  # whose changes are seen by it
    follows: bool = False  # it notes what foreign keys carry on (`followers`)

    @property
    def table(self) -> str:
        return qualified(*self.place)

    @property
    def when(self) -> str:
        return f"{self.timing} {self.event} ON {self.table}"

    @property
    def create(self) -> str:
        return f"CREATE OR REPLACE TRIGGER {self.name} {self.when} FOR EACH ROW\n{self.body}"


def table_statements(names: Names) -> list[tuple[str, str]]:
    """(what it is for, statement) of each table."""
    return [
        (
            "Which rows changed: written by the triggers, read and emptied by Accord.",
            f"CREATE TABLE IF NOT EXISTS {names.changes} (\n"
            "  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,\n"
            "  tbl varchar(200) NOT NULL,\n"
            "  `key` text NOT NULL COMMENT 'primary key; a JSON array if it has several columns',\n"
            "  was text NULL COMMENT 'the primary key before it was changed',\n"
            "  op char(1) NOT NULL COMMENT 'I insert, U update, D delete, ? the key is gone, * unknown',\n"
            "  cols text NULL COMMENT 'the mapped columns that changed; NULL: perhaps all',\n"
            "  changed_at datetime(6) NULL COMMENT 'UTC',\n"
            "  own tinyint NOT NULL DEFAULT 0 COMMENT '1: in a transaction of Accord',\n"
            f"  KEY tbl_key (tbl, `key`(100))\n) {_TABLE}",
        ),
        (
            "Which agent writes here, since which start, and its last round.",
            f"CREATE TABLE IF NOT EXISTS {names.fence} (\n"
            "  id tinyint NOT NULL PRIMARY KEY,\n"
            "  agent varchar(200) NOT NULL,\n"
            "  epoch bigint NOT NULL,\n"
            f"  round bigint NOT NULL\n) {_TABLE}",
        ),
        (
            "Which keys are the same record.",
            f"CREATE TABLE IF NOT EXISTS {names.crosswalk} (\n"
            "  entity varchar(64) NOT NULL,\n"
            "  gid char(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,\n"
            "  `system` varchar(64) NOT NULL,\n"
            f"  `key` varchar({KEY_LENGTH}) NOT NULL,\n"
            "  since datetime(6) NOT NULL COMMENT 'UTC',\n"
            "  PRIMARY KEY (entity, `system`, `key`),\n"
            f"  KEY gid (entity, gid)\n) {_TABLE}",
        ),
    ]


def seed_statements(names: Names) -> list[str]:
    """Ids begin at the time in microseconds: a log that is made anew never gives an id of the one before it, which an
    old position may still name. What the triggers of an altered table could not note ends when they are made anew."""
    first = "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)"
    return [
        f"INSERT INTO {names.changes} (id, tbl, `key`, op) SELECT {first}, '', '', ''"
        f" FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {names.changes})",
        f"DELETE FROM {names.changes} WHERE tbl = '' OR op = '{LOST}'",
    ]


def triggers(names: Names, bounds: Sequence[Bound]) -> list[Trigger]:
    """Three triggers for each table that is captured by triggers, whatever the number of its entities."""
    found = []
    for same in by_table(bounds).values():
        first = same[0]
        watched = list({c.name: c for b in same for c in b.watched}.values())
        for event, body in (
            ("INSERT", _insert_body(names, first)),
            ("UPDATE", _update_body(names, first, watched)),
            ("DELETE", _delete_body(names, first)),
        ):
            place = first.database, first.table.name
            entities = tuple(bound.table.entity for bound in same)
            found.append(Trigger(names.trigger(first, event.lower()), place, event, body, "AFTER", entities))
    return found


def by_table(bounds: Iterable[Bound]) -> dict[str, list[Bound]]:
    """Tag -> the entities of that table that are captured by triggers."""
    found: dict[str, list[Bound]] = {}
    for bound in bounds:
        if bound.captured:
            found.setdefault(bound.tag, []).append(bound)
    return found


def _insert_body(names: Names, bound: Bound) -> str:
    return _body(_log(names, bound, pack_sql(bound.table.key, "NEW."), "I"), names, bound, "NEW.", "I")


def _delete_body(names: Names, bound: Bound) -> str:
    return _body(_log(names, bound, pack_sql(bound.table.key, "OLD."), "D"), names, bound, "OLD.", "D")


def _update_body(names: Names, bound: Bound, watched: Sequence[Column]) -> str:
    new, old = pack_sql(bound.table.key, "NEW."), pack_sql(bound.table.key, "OLD.")
    moved = " OR ".join(_differs(c) for c in bound.table.key)
    key = {c.name for c in bound.table.key}
    listed = [
        f"IF({_differs(c)}, {literal(json.dumps(c.name, ensure_ascii=False))}, NULL)"
        for c in watched
        if c.name not in key
    ]
    lines = [
        f"IF {moved} THEN",
        f"  {_log(names, bound, old, 'D')};",
        f"  {_log(names, bound, new, 'I', was=old)};",
    ]
    if listed:
        lines += [
            "ELSE",
            f"  SET changed_columns = CONCAT_WS(',', {', '.join(listed)});",
            "  IF changed_columns <> '' THEN",
            f"    {_log(names, bound, new, 'U', CHANGED)};",
            "  END IF;",
        ]
    return _body("\n  ".join([*lines, "END IF"]), names, bound, "NEW.", "U")


CHANGED = "CONCAT('[', changed_columns, ']')"


def _body(text: str, names: Names, bound: Bound, prefix: str, op: str) -> str:
    fallback = _log(names, bound, pack_sql(bound.table.key, prefix), op)
    variable = "  DECLARE changed_columns TEXT CHARACTER SET utf8mb4;\n" if CHANGED in text else ""
    return (
        f"BEGIN\n{variable}  DECLARE CONTINUE HANDLER FOR SQLEXCEPTION\n  BEGIN\n"
        f"    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION\n      {_log(names, bound, literal(''), LOST)};\n"
        f"    {fallback};\n  END;\n  {text};\nEND"
    )


def _log(names: Names, bound: Bound, key: str, op: str, cols: str = "NULL", was: str = "NULL") -> str:
    into = f"INSERT INTO {names.changes} (tbl, `key`, was, op, cols, changed_at, own)"
    row = f"{literal(bound.tag)}, {key}, {was}, '{op}', {cols}, {NOW}, @{quote(names.mark)} IS NOT NULL"
    if any(column.nullable for column in bound.table.key):  # a row without a key is no record
        return f"{into} SELECT {row} FROM DUAL WHERE {key} IS NOT NULL"
    return f"{into} VALUES ({row})"


def _differs(column: Column) -> str:
    """Texts byte by byte: the collation would not see a change of case or of trailing blanks."""
    name = quote(column.name)
    if column.kind in ("text", "bytes"):
        return f"NOT (BINARY OLD.{name} <=> BINARY NEW.{name})"
    return f"NOT (OLD.{name} <=> NEW.{name})"


# --- scripts ---------------------------------------------------------------------------------------------------------

TRIGGER_SESSION = "SET NAMES utf8mb4", "SET SESSION sql_mode = ''"
"""A trigger keeps these settings of the session that makes it. Not strict: see the module."""


def prepare_script(names: Names, made: Sequence[Trigger]) -> str:
    lines = [
        f"-- Accord's objects in {names.database}, for the `mariadb` client. May be run again at any time.",
        "-- Run it as an account that stays: the triggers run with its rights.",
        f"USE {quote(names.database)};",
    ]
    lines += [f"{statement};" for statement in TRIGGER_SESSION]
    for what, statement in table_statements(names):
        lines += ["", f"-- {what}", f"{statement};"]
    lines += [f"{statement};" for statement in seed_statements(names)]
    if made:
        lines += [
            "",
            "-- The triggers note the key of each row that changes, in the application's transaction.",
            "DELIMITER //",
        ]
        lines += [f"{trigger.create}//" for trigger in made]
        lines += ["DELIMITER ;"]
    return "\n".join(lines) + "\n"


def unprepare_statements(names: Names, found: Iterable[str]) -> list[str]:
    """`found`: qualified names of the triggers that are there. The crosswalk goes last: it holds the links."""
    drops = [f"DROP TRIGGER IF EXISTS {name}" for name in found]
    return drops + [f"DROP TABLE IF EXISTS {name}" for name in (names.changes, names.fence, names.crosswalk)]


# --- what is there ---------------------------------------------------------------------------------------------------


def present_tables(session: Session, names: Names) -> set[str]:
    """Which of Accord's tables are there, qualified."""
    rows = session.query(
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(names.database)}"
        f" AND TABLE_NAME IN ({', '.join(literal(f'{names.prefix}_{n}') for n in ('changes', 'crosswalk', 'fence'))})"
    )
    return {qualified(names.database, name) for (name,) in rows}


def present_triggers(session: Session, names: Names) -> dict[str, tuple[str, str]]:
    """Accord's triggers in all databases that the account may see: qualified name -> (when it fires, body)."""
    rows = session.query(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, EVENT_OBJECT_SCHEMA,"
        " EVENT_OBJECT_TABLE, ACTION_STATEMENT FROM information_schema.TRIGGERS"
        f" WHERE LOCATE({literal('INSERT INTO ' + names.changes)}, ACTION_STATEMENT) > 0"
    )
    return {
        qualified(schema, name): (f"{timing} {event} ON {qualified(place, table)}", body)
        for schema, name, timing, event, place, table, body in rows
    }


def problems(session: Session, names: Names, triggers: Sequence[Trigger], system: str) -> list[Problem]:
    """What is missing of Accord's objects, or was made for another mapping. Reads only."""
    hint = "run `accord prepare`, or let an administrator run `accord prepare --print`"
    tables, found = present_tables(session, names), present_triggers(session, names)
    missing = [n for n in (names.changes, names.fence, names.crosswalk) if n not in tables]
    code = "prepared-differs" if tables or found else "not-prepared"
    listed = [Problem(code, f"the table {name} is missing.", hint, system=system) for name in missing]
    if missing:
        return listed
    wanted = {t.name: t for t in triggers}
    for name, trigger in wanted.items():
        entity = trigger.entities[0]
        if name not in found:
            text = f"the trigger {name} is missing (or the account lacks the right TRIGGER to see it)."
            listed.append(Problem("no-trigger", text, hint, system=system, entity=entity))
        elif (trigger.when, plain(trigger.body)) != (found[name][0], plain(found[name][1])):
            text = f"the trigger {name} was made for another mapping, or was changed."
            listed.append(Problem(code, text, hint, system=system, entity=entity))
    for name in found.keys() - wanted.keys():
        text = f"the trigger {name} belongs to a table that is not captured any more."
        listed.append(Problem(code, text, hint, system=system))
    return listed


def plain(body: str) -> str:
    """A trigger's body, for a comparison."""
    return re.sub(r"\s+", " ", body).strip().rstrip(";")
