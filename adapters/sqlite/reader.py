"""Reads records, the change log's times with them, and the crosswalk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from adapters.convert import SQLITE
from adapters.keys import newest, normal
from adapters.sqlite.bound import Bound
from adapters.sqlite.objects import Names
from adapters.sqlite.session import Row, Session
from adapters.sqlite.sql import quote
from config.records import Crosswalk, Gid, Key, Raw, Reading, Stamp, Value

CHUNK = 10_000
"""Parameters in one statement, where they cannot go in as one JSON text (SQLite allows 32,766)."""


def exists(session: Session, table: str) -> bool:
    """Is there a table of this (unquoted) name?"""
    return bool(session.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)))


def rows(session: Session, bound: Bound, keys: Sequence[Key]) -> dict[Key, Row]:
    """The selected columns of these rows, by key; in one statement unless keys are bytes. Missing rows are missing."""
    wanted = set(keys)
    given = [bound.key_params(key) for key in dict.fromkeys(keys)]
    found: dict[Key, Row] = {}
    for condition, parameters in among(bound, given):
        for row in session.query(f"SELECT {bound.selected} FROM {bound.sql} t WHERE {condition}", parameters):
            key = bound.key(row)
            if key in wanted:  # a collation may find more than was asked for
                found[key] = row
    return found


def among(bound: Bound, given: list[tuple[Any, ...]]) -> Iterable[tuple[str, tuple[Any, ...]]]:
    """Conditions that together select the rows with these keys."""
    if not given:
        return
    left = bound.key_sql if bound.width == 1 else f"({bound.key_sql})"
    if any(c.kind == "bytes" for c in bound.table.key):  # JSON has no bytes
        size = CHUNK // bound.width
        mark = f"({', '.join('?' * bound.width)})"
        for start in range(0, len(given), size):
            part = given[start : start + size]
            yield f"{left} IN (VALUES {', '.join([mark] * len(part))})", tuple(x for key in part for x in key)
    elif bound.width == 1:
        yield f"{left} IN (SELECT value FROM json_each(?))", (json.dumps([key[0] for key in given]),)
    else:
        parts = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(bound.width))
        yield f"{left} IN (SELECT {parts} FROM json_each(?))", (json.dumps(given),)


def scan(session: Session, bound: Bound, after: Key | None, limit: int) -> list[Reading]:
    parameters: tuple[Any, ...] = ()
    condition = bound.addressed
    if after is not None:
        parameters = bound.key_params(after)
        marks = ", ".join("?" * bound.width)
        condition = f"({bound.key_sql}) > ({marks}) AND {condition}" if bound.width > 1 else f"{bound.key_sql} > ?"
    text = f"SELECT {bound.selected} FROM {bound.sql} t WHERE {condition} ORDER BY {bound.key_sql} LIMIT ?"
    return [bound.reading(row) for row in session.query(text, (*parameters, limit))]


# --- times, from the change log --------------------------------------------------------------------------------------


def timed(session: Session, names: Names, bound: Bound, readings: dict[Key, Reading]) -> dict[Key, Reading]:
    """The readings with what the change log knows: when each column changed last, and the key before. Same snapshot."""
    entries = session.query(
        f"SELECT key, cols, changed_at, was FROM {names.changes} WHERE tbl = ?"
        " AND key IN (SELECT value FROM json_each(?)) AND own = 0 AND op <> 'delete' ORDER BY id",
        (bound.table.name, json.dumps(list(readings))),
    )
    places: dict[str, list[int]] = {}
    for i in bound.places:
        places.setdefault(bound.column(i).name, []).append(i)
    times: dict[Key, dict[int, Stamp]] = {}
    was: dict[Key, Key] = {}
    for text, cols, at, before in entries:
        key = normal(bound.table.key, text, SQLITE)
        changed = [i for name in json.loads(cols) for i in places.get(name, ())] if cols else bound.places
        times.setdefault(key, {}).update((i, at) for i in changed)
        if before is not None:
            was[key] = _origin(session, names, bound, before, key)
    return {
        key: reading._replace(times=times[key], was=was.get(key) if was.get(key) != key else None)
        if key in times
        else reading
        for key, reading in readings.items()
    }


def _origin(session: Session, names: Names, bound: Bound, before: Key, key: Key) -> Key:
    """Where a chain of key changes began: 3 was 2 was 1. (A key that came back is its own origin.)"""
    seen = {key}
    while before not in seen:
        seen.add(before)
        found = session.query(
            f"SELECT was FROM {names.changes} WHERE tbl = ? AND key = ? AND was IS NOT NULL AND own = 0"
            " ORDER BY id DESC LIMIT 1",
            (bound.table.name, before),
        )
        if not found:
            break
        before = found[0][0]
    return normal(bound.table.key, before, SQLITE)


def moved(session: Session, names: Names, bound: Bound, keys: Sequence[Key]) -> dict[Key, Key]:
    """Old key -> newest key, from all key changes that the log holds (there are few)."""
    entries = session.query(
        f"SELECT was, key FROM {names.changes} WHERE tbl = ? AND was IS NOT NULL ORDER BY id", (bound.table.name,)
    )
    columns = bound.table.key
    return newest(((normal(columns, was, SQLITE), normal(columns, key, SQLITE)) for was, key in entries), keys)


# --- finding by value ------------------------------------------------------------------------------------------------


def find(
    session: Session, bound: Bound, fields: Sequence[int], values: Sequence[Sequence[Value]]
) -> list[tuple[Key, ...]]:
    """Keys of rows that hold these values, one tuple of keys for each tuple of values. One statement."""
    functions: list[tuple[str, Callable[[Raw], Any]]] = []
    tests: list[str] = []
    # Without an index to use, the table is read once and the values are looked up, not the other way round: for that
    # SQLite makes an index of the values, unless an affinity (taken away by +) forbids it.
    looked_up = all(_plain(bound, i) for i in fields) and _indexed(session, bound, fields)
    for n, i in enumerate(fields):
        column = f"t.{quote(bound.column(i).name)}"
        if _plain(bound, i):
            tests.append(f"{column} = w.v{n}" if looked_up else f"+{column} = w.v{n}")
        else:  # spelled in several ways: compared in canonical form
            functions.append((f"accord_canonical_{n}", _canonical(bound, i)))
            tests.append(f"accord_canonical_{n}({column}) = w.v{n}")
    wanted = [[_sought(bound, i, value, session) for i, value in zip(fields, row, strict=True)] for row in values]
    parts = ", ".join(f"json_extract(value, '$[{n}]') AS v{n}" for n in range(len(fields)))
    tables = f"w CROSS JOIN {bound.sql} t" if looked_up else f"{bound.sql} t CROSS JOIN w"
    text = (
        f"WITH w AS MATERIALIZED (SELECT key AS i, {parts} FROM json_each(?))"
        f" SELECT w.i, {bound.key_sql} FROM {tables} ON {' AND '.join(tests)} WHERE {bound.addressed}"
    )
    found: list[list[Key]] = [[] for _ in values]
    for row in _with_functions(session, functions, text, (json.dumps(wanted),)):
        found[row[0]].append(bound.key(row[1:]))
    return [tuple(keys) for keys in found]


def _indexed(session: Session, bound: Bound, fields: Sequence[int]) -> bool:
    names = [bound.column(i).name for i in fields]
    text = (
        "SELECT 1 FROM pragma_index_list(?) l, pragma_index_info(l.name) i"
        " WHERE l.partial = 0 AND i.seqno = 0 AND i.name IN (SELECT value FROM json_each(?))"
    )
    return bool(session.query(text, (bound.table.name, json.dumps(names))))


def _with_functions(
    session: Session, functions: Iterable[tuple[str, Callable[[Raw], Any]]], text: str, parameters: tuple[Any, ...]
) -> list[Row]:
    with session.errors():
        for name, function in functions:
            session.connection.create_function(name, 1, function, deterministic=True)
        return session.raw(text, parameters)


_PLAIN = (("text", "text"), ("text", "ref"), ("int", "int"), ("int", "ref"))


def _plain(bound: Bound, index: int) -> bool:
    """Is SQL equality of the stored form the same as equality of the canonical form (or wider)?"""
    column, type = bound.column(index), bound.table.types[index]
    affine = any(word in column.native.upper() for word in ("CHAR", "CLOB", "TEXT", "INT"))
    return affine and not column.padded and (column.kind, type) in _PLAIN


def _sought(bound: Bound, index: int, value: Value, session: Session) -> Any:
    if value is None or not _plain(bound, index):
        return text_of(value)
    try:
        return bound.encode(index, value, session)
    except ValueError:  # a value that this column cannot hold is in no row
        return None


def _canonical(bound: Bound, index: int) -> Callable[[Raw], Any]:
    decode = bound.decoders[index]
    assert decode is not None

    def canonical(raw: Raw) -> str | None:
        try:
            return text_of(decode(raw))
        except ValueError:
            return None

    return canonical


def text_of(value: Value) -> str | None:
    """Equal texts = equal values, within one type."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(int(value))


# --- the crosswalk ---------------------------------------------------------------------------------------------------


def holders(
    session: Session, names: Names, entity: str, pairs: Iterable[tuple[str, Key]]
) -> dict[tuple[str, Key], Gid]:
    """Which record each (system, key) is, as the crosswalk has it."""
    text = (
        f"SELECT c.system, c.key, c.gid FROM json_each(?) w CROSS JOIN {names.crosswalk} c"
        " ON c.entity = ? AND c.system = json_extract(w.value, '$[0]') AND c.key = json_extract(w.value, '$[1]')"
    )
    found = session.query(text, (json.dumps(list(pairs)), entity))
    return {(system, key): gid for system, key, gid in found}


def links(session: Session, names: Names, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
    text = (
        f"SELECT entity, gid, system, key FROM {names.crosswalk} WHERE entity = ?"
        " AND gid IN (SELECT value FROM json_each(?)) ORDER BY gid, system, key"
    )
    return [Crosswalk(*row) for row in session.query(text, (entity, json.dumps(list(gids))))]
