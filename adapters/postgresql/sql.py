"""Pieces of PostgreSQL's SQL: names, literals, and arrays that carry the rows of a whole batch in a few parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from config.errors import Halt, Problem
from config.records import Column, Table


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str | None, name: str) -> str:
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def own(prefix: str, what: str) -> str:
    """A table of Accord's: all are in one schema, and still called so that nobody takes them for the application's."""
    return qualified(prefix, f"{prefix}_{what}")


def literal(text: str | None) -> str:
    """A text as it stands in a statement; with backslashes it says so, whatever the server's settings."""
    if text is None:
        return "NULL"
    quoted = text.replace("'", "''")
    return f"'{quoted}'" if "\\" not in text else "E'" + quoted.replace("\\", "\\\\") + "'"


def array(texts: Sequence[Any]) -> str:
    """A text[] literal of texts and None: one parameter for a column, much cheaper than the driver's way with lists."""
    if not texts:
        return "{}"
    if None not in texts:
        joined = '","'.join(texts)
        if joined.count('"') == 2 * (len(texts) - 1) and "\\" not in joined:
            return '{"' + joined + '"}'
    return "{" + ",".join("NULL" if t is None else '"' + _escape(t) + '"' for t in texts) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def unnest(names: Sequence[str], first: int = 1, ordinal: str | None = None) -> str:
    """A set of rows `s` whose columns are the arrays $first, $first+1 …; `ordinal` names a column that counts."""
    arrays = ", ".join(f"${first + i}::text[]" for i in range(len(names)))
    count, columns = (" WITH ORDINALITY", [*names, ordinal]) if ordinal else ("", list(names))
    return f"unnest({arrays}){count} AS s({', '.join(columns)})"


def cast(expression: str, column: Column) -> str:
    """A text as the column's own type (without its length: the column itself refuses what is too long)."""
    return f"{expression}::{column.native}"


def column_of(table: Table, name: str) -> Column:
    """A column that is not mapped (an archive flag, a stamp). `Halt` if the table has none."""
    column = table.info.columns.get(name)
    if column is None:
        message = f"{table.name} has no column {name!r}"
        raise Halt(Problem("unknown-column", message, "correct the mapping", system=table.system, entity=table.entity))
    return column


def trim(name: str, bytes_: int = 63) -> str:
    """A name cut to what PostgreSQL keeps of it."""
    return name.encode()[:bytes_].decode(errors="ignore")
