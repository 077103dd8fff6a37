"""What Accord makes in a SQLite file: its three tables and the triggers. And how they are removed without a trace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from adapters.sqlite.bound import Bound
from adapters.sqlite.sql import NOW, literal, quote
from config.records import Column


class Names(NamedTuple):
    """The names of Accord's objects, quoted."""

    changes: str
    crosswalk: str
    fence: str
    origin: str
    prefix: str

    @classmethod
    def of(cls, prefix: str) -> Names:
        changes, crosswalk, fence, origin = (
            quote(f"{prefix}_{n}") for n in ("changes", "crosswalk", "fence", "origin")
        )
        return cls(changes, crosswalk, fence, origin, prefix)

    def trigger(self, table: str, event: str) -> str:
        return f"{self.prefix}_{table}_{event}"


class Made(NamedTuple):
    """One object, as `sqlite_master` shows it when it is as it should be."""

    type: str
    name: str
    sql: str


def tables(names: Names) -> list[Made]:
    p = names.prefix
    return [
        Made(
            "table",
            f"{p}_crosswalk",
            f"CREATE TABLE {names.crosswalk} (entity TEXT NOT NULL, gid TEXT NOT NULL, system TEXT NOT NULL, "
            "key TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (entity, system, key)) WITHOUT ROWID",
        ),
        Made(
            "index",
            f"{p}_crosswalk_gid",
            f"CREATE INDEX {quote(p + '_crosswalk_gid')} ON {names.crosswalk} (entity, gid)",
        ),
        Made(
            "table",
            f"{p}_fence",
            f"CREATE TABLE {names.fence} (agent TEXT NOT NULL, epoch INTEGER NOT NULL, round INTEGER NOT NULL, "
            "writing INTEGER NOT NULL DEFAULT 0)",
        ),
        Made(
            "table",
            f"{p}_changes",
            f"CREATE TABLE {names.changes} (id INTEGER PRIMARY KEY, tbl TEXT NOT NULL, key TEXT, was TEXT, op TEXT, "
            "cols TEXT, changed_at INTEGER, own INTEGER)",
        ),
        Made("table", f"{p}_origin", f"CREATE TABLE {names.origin} (database TEXT NOT NULL, triggers TEXT NOT NULL)"),
        Made("index", f"{p}_changes_key", f"CREATE INDEX {quote(p + '_changes_key')} ON {names.changes} (tbl, key)"),
        Made(
            "index",
            f"{p}_changes_was",
            f"CREATE INDEX {quote(p + '_changes_was')} ON {names.changes} (tbl, id) WHERE was IS NOT NULL",
        ),
    ]


# Ids must never come twice, else acknowledging an old position again would drop new changes; AUTOINCREMENT would leave
# its own table behind for ever. So the row with the highest id is never deleted, only emptied, and the first one
# starts at the time of day: a log that is made anew goes on behind the old one.
def seed(names: Names) -> str:
    return f"INSERT INTO {names.changes} (id, tbl) SELECT {NOW}, '' WHERE NOT EXISTS (SELECT 1 FROM {names.changes})"


def origin(names: Names, anew: bool) -> list[str]:
    """Draws the id of the database, once; and that of the triggers, where some are made `anew`."""
    id = "lower(hex(randomblob(8)))"
    first = f"INSERT INTO {names.origin} SELECT {id}, {id} WHERE NOT EXISTS (SELECT 1 FROM {names.origin})"
    return [first, *([f"UPDATE {names.origin} SET triggers = {id}"] if anew else [])]


def triggers(names: Names, bounds: Iterable[Bound]) -> list[Made]:
    """Three per captured table. Two entities on one table share them."""
    by_table: dict[str, list[Bound]] = {}
    for bound in bounds:
        if bound.captured:
            by_table.setdefault(bound.table.name, []).append(bound)
    return [made for group in by_table.values() for made in _triggers(names, group)]


def watched(bounds: Sequence[Bound]) -> list[Column]:
    """Columns whose change is a change of the record: the mapped ones, and those that archive it."""
    found: dict[str, Column] = {}
    for bound in bounds:
        found |= {c.name: c for c in bound.table.columns if c is not None}
        found |= {name: bound.table.info.columns[name] for name in (*bound.table.archive, *bound.table.restore)}
    return list(found.values())


def _triggers(names: Names, group: Sequence[Bound]) -> list[Made]:
    bound, columns = group[0], watched(group)
    new, old = bound.pack_sql("NEW"), bound.pack_sql("OLD")
    moved = " OR ".join(_differs(c) for c in bound.table.key)
    changed = " OR ".join([_differs(c) for c in columns] + [moved])
    return [
        _trigger(names, bound, "insert", _there(bound, "NEW"), [_note(names, bound, new, "NULL", "insert", "NULL")]),
        _trigger(
            names,
            bound,
            "update",
            changed,
            [
                _note(names, bound, old, "NULL", "delete", "NULL", f"({moved}) AND {_there(bound, 'OLD')}"),
                _note(
                    names,
                    bound,
                    new,
                    f"CASE WHEN {moved} THEN {old} END",
                    "update",
                    _columns(columns),
                    _there(bound, "NEW"),
                ),
            ],
        ),
        _trigger(names, bound, "delete", _there(bound, "OLD"), [_note(names, bound, old, "NULL", "delete", "NULL")]),
    ]


def _trigger(names: Names, bound: Bound, event: str, when: str, notes: list[str]) -> Made:
    name = names.trigger(bound.table.name, event)
    body = "; ".join(notes)
    return Made(
        "trigger",
        name,
        f"CREATE TRIGGER {quote(name)} AFTER {event.upper()} ON {bound.sql} FOR EACH ROW WHEN {when} BEGIN {body}; END",
    )


def _note(names: Names, bound: Bound, key: str, was: str, op: str, cols: str, where: str = "") -> str:
    own = f"coalesce((SELECT writing FROM {names.fence}), 0)"
    condition = f" WHERE {where}" if where else ""
    return (
        f"INSERT INTO {names.changes} (tbl, key, was, op, cols, changed_at, own) "
        f"SELECT {literal(bound.table.name)}, {key}, {was}, '{op}', {cols}, {NOW}, {own}{condition}"
    )


def _there(bound: Bound, row: str) -> str:
    return " AND ".join(f"{row}.{quote(c.name)} IS NOT NULL" for c in bound.table.key)


def _differs(column: Column) -> str:
    # Byte for byte: a collation must not hide a change of case, nor an affinity a change of type.
    name = quote(column.name)
    return f"(NEW.{name} IS NOT OLD.{name} COLLATE BINARY OR typeof(NEW.{name}) <> typeof(OLD.{name}))"


def _columns(columns: Sequence[Column]) -> str:
    """SQL: the names of the changed columns as a JSON array."""
    cases = [
        f"CASE WHEN {_differs(c)} THEN {literal(',' + json.dumps(c.name, ensure_ascii=False))} ELSE '' END"
        for c in columns
    ]
    return f"'[' || substr({' || '.join(cases)}, 2) || ']'" if cases else "'[]'"


# --- scripts ---------------------------------------------------------------------------------------------------------


def prepare(names: Names, bounds: Sequence[Bound], present: Sequence[Made]) -> list[str]:
    """Statements that make everything anew that is not as it should be; they may run twice."""
    wanted = triggers(names, bounds)
    statements = [_if_not_exists(made) for made in tables(names)] + [seed(names)]
    stale = [m.name for m in present if m.type == "trigger" and m not in wanted]
    statements += [f"DROP TRIGGER IF EXISTS {quote(name)}" for name in dict.fromkeys(stale)]
    log = [made for made in tables(names) if made.name == f"{names.prefix}_changes"]
    statements += origin(names, any(made not in present for made in (*wanted, *log)))
    return statements + [_if_not_exists(made) for made in wanted]


def _if_not_exists(made: Made) -> str:
    word = made.type.upper()
    return made.sql.replace(f"CREATE {word} ", f"CREATE {word} IF NOT EXISTS ", 1)


def unprepare(names: Names, present: Sequence[Made]) -> list[str]:
    """Statements that remove everything, the crosswalk last; they may run twice."""
    statements = [f"DROP TRIGGER IF EXISTS {quote(m.name)}" for m in present if m.type == "trigger"]
    own = (names.changes, names.fence, names.origin, names.crosswalk)
    return statements + [f"DROP TABLE IF EXISTS {name}" for name in own]


def script(title: str, statements: Sequence[str]) -> str:
    """For the sqlite3 shell: one transaction, all or nothing."""
    lines = [f"-- {title}", "BEGIN IMMEDIATE;", *(f"{s};" for s in statements), "COMMIT;"]
    return "\n".join(lines) + "\n"
