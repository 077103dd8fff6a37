"""Tables as SQLite knows them. Its inspector is helped where SQLite's free types would mislead it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from adapters.reflect import Reflector
from adapters.sqlite.session import Session
from adapters.sqlite.sql import quote
from config.records import Column, ForeignKey, TableInfo

_TEXT: dict[str, Any] = {"kind": "text"}
_WORDS: dict[str, dict[str, Any]] = {  # declared types that SQLite itself would take for numbers
    "uuid": _TEXT, "guid": _TEXT, "uniqueidentifier": _TEXT, "json": _TEXT, "jsonb": _TEXT, "xml": _TEXT,
    "enum": _TEXT, "set": _TEXT, "inet": _TEXT, "citext": _TEXT, "string": _TEXT,
    "money": {"kind": "decimal"}, "currency": {"kind": "decimal"}, "number": {"kind": "decimal"},
    "bool": {"kind": "bool"}, "boolean": {"kind": "bool"}, "bit": {"kind": "bool"},
    "timestamptz": {"kind": "datetime", "zoned": True, "fraction": 6},
    "timestamp": {"kind": "datetime", "fraction": 6}, "datetime": {"kind": "datetime", "fraction": 6},
    "datetime2": {"kind": "datetime", "fraction": 6}, "smalldatetime": {"kind": "datetime", "fraction": 6},
    "date": {"kind": "date"}, "time": {"kind": "time", "fraction": 6}, "year": {"kind": "int", "precision": 64},
    "binary": {"kind": "bytes"}, "varbinary": {"kind": "bytes"}, "bytea": {"kind": "bytes"}, "image": {"kind": "bytes"},
    "dec": {"kind": "decimal"}, "fixed": {"kind": "decimal"},
}  # fmt: skip
_NUMERIC = ("numeric", "decimal", "dec", "fixed", "number", "money", "currency")


class Describer:
    """Describes the tables of one file."""

    def __init__(self, session: Session) -> None:
        self._session = session
        engine = sa.create_engine("sqlite://", creator=session.open, poolclass=sa.pool.NullPool)
        self._reflector = Reflector(engine, refine=self._refine, foreign=self._foreign)

    def tables(self) -> list[str]:
        self._session.query("SELECT 1 FROM sqlite_master LIMIT 1")  # says clearly what is wrong with the file
        return self._reflector.tables(None)

    def describe(self, table: str) -> TableInfo | None:
        rows = self._session.query(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE", (table,)
        )
        if not rows:
            return None
        self._reflector.forget()
        return self._reflector.describe(rows[0][0], None)

    def _refine(
        self, schema: str | None, table: str, columns: Mapping[str, Column], key: tuple[str, ...]
    ) -> dict[str, Column]:
        declared = {row[1]: row[2] for row in self._session.query(f"PRAGMA table_xinfo({quote(table)})")}
        refined = {name: _declared(column, declared.get(name, "")) for name, column in columns.items()}
        rowid = len(key) == 1 and declared.get(key[0], "").upper() == "INTEGER" and self._has_rowid(table)
        for name in key:  # NULL may stand in a key of SQLite, but such a row cannot be addressed
            refined[name] = replace(refined[name], nullable=False, has_default=rowid or refined[name].has_default)
        return refined

    def _has_rowid(self, table: str) -> bool:
        rows = self._session.query("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return bool(rows) and not re.search(r"WITHOUT\s+ROWID", rows[0][0].rpartition(")")[2], re.IGNORECASE)

    def _foreign(self) -> list[ForeignKey]:
        rows = self._session.query(
            'SELECT m.name, f.id, f."from", f."table", f."to", f.on_delete'
            " FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'"
            " ORDER BY m.name, f.id, f.seq"
        )
        found: dict[tuple[str, int], list[tuple[str, ...]]] = {}
        for row in rows:
            found.setdefault((row[0], row[1]), []).append(row)
        return [self._key(parts) for parts in found.values()]

    def _key(self, parts: list[tuple[str, ...]]) -> ForeignKey:
        table, to_table, on_delete = parts[0][0], parts[0][3], parts[0][5]
        to_columns = tuple(p[4] for p in parts)
        if None in to_columns:  # REFERENCES parent: its primary key is meant
            rows = self._session.query(f"PRAGMA table_info({quote(to_table)})")
            to_columns = tuple(r[1] for r in sorted((r for r in rows if r[5]), key=lambda r: int(r[5])))
        return ForeignKey(None, table, tuple(p[2] for p in parts), None, to_table, to_columns, on_delete.lower())


def _declared(column: Column, declared: str) -> Column:
    """Corrected by the declared type, which is also what is shown. A word that nobody knows has no kind."""
    word = re.split(r"[^a-z0-9_]", declared.strip().lower(), maxsplit=1)[0]
    length = re.search(r"\(\s*(\d+)\s*\)", declared)
    traits = dict(_WORDS.get(word, {}))
    if traits.get("fraction") and length:
        traits["fraction"] = min(int(length[1]), 6)
    if not traits and column.kind == "decimal" and word not in _NUMERIC:
        traits = {"kind": ""}
    if "unsigned" in declared.lower() and column.kind == "int":
        traits["precision"] = 64
    column = replace(column, native=declared, **traits)
    if column.kind != "decimal":
        column = replace(column, scale=None, precision=column.precision if column.kind == "int" else None)
    return column
