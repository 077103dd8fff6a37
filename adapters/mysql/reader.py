"""Reads rows of bound tables: by key, in key order, by value. Raw and exact, a few statements in all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from adapters.convert import MYSQL
from adapters.keys import params
from adapters.mysql.connection import Session
from adapters.mysql.sql import chunks, literal, quote, values
from adapters.mysql.tables import VALUE, Bound
from config.records import Key, Raw, Reading, Stamp, Value

SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


def rows_of(session: Session, bound: Bound, keys: Iterable[Key], lock: bool = False) -> dict[Key, tuple[Raw, ...]]:
    """The selected columns of these rows, by key; `lock`: until the end of the transaction (driver's errors)."""
    wanted: dict[Key, str] = {}
    for key in keys:
        try:
            wanted[key] = f"({bound.key_literals(key)})"
        except ValueError:
            continue  # what cannot be a key here is no row here
    found: dict[Key, tuple[Raw, ...]] = {}
    literals = list(wanted.values())
    for start, stop in chunks(literals, session.packet):
        source = values(bound.key_names, literals[start:stop])
        text = f"SELECT {bound.selected} FROM {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key}"
        for row in session.raw(text + (" FOR UPDATE" if lock else "")):
            key = bound.key(row)
            if key in wanted:  # the collation may also find other spellings: 'ABC' for 'abc'
                found[key] = row
    return found


def read_all(
    session: Session, bounds: Mapping[str, Bound], keys: Mapping[str, Sequence[Key]], offset: Stamp, changes: str | None
) -> dict[str, dict[Key, Reading]]:
    """The readings of all these records in one snapshot. `changes`: the change log's name where there is one."""
    session.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.query(SNAPSHOT)
    try:
        with session.errors():
            return {e: _read(session, bounds[e], wanted, offset, changes) for e, wanted in keys.items()}
    finally:
        if session.open:
            session.query("COMMIT")


def _read(
    session: Session, bound: Bound, keys: Sequence[Key], offset: Stamp, changes: str | None
) -> dict[Key, Reading]:
    found = {key: bound.reading(row, offset) for key, row in rows_of(session, bound, keys).items()}
    if changes is None or not bound.captured or not found:
        return found
    for key, (times, was) in _log(session, bound, list(found), offset, changes).items():
        found[key] = found[key]._replace(times=times, was=was)
    return found


def _log(
    session: Session, bound: Bound, keys: Sequence[Key], offset: Stamp, changes: str
) -> dict[Key, tuple[dict[int, Stamp], Key | None]]:
    """What the change log knows of these rows now: the last change of each field by others, and a former key."""
    fields = {column.name: i for i, column in enumerate(bound.table.columns) if column is not None}
    log: dict[Key, tuple[dict[int, Stamp], Key | None]] = {}
    literals = [f"({literal(key)})" for key in keys]
    for start, stop in chunks(literals, session.packet):
        # tbl and the key's beginning are indexed; other people's rows only: what Accord wrote is no edit.
        rows = session.raw(
            "SELECT c.`key`, c.op, c.cols, c.was, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', c.changed_at)"
            f" FROM {values(['accord_k'], literals[start:stop])} STRAIGHT_JOIN {changes} c"
            f" ON c.tbl = {literal(bound.tag)}"
            " AND c.`key` = CONVERT(s.accord_k USING utf8mb4) COLLATE utf8mb4_nopad_bin"
            " WHERE c.own = 0 ORDER BY c.id"
        )
        for key, op, cols, was, micros in rows:
            times, former = log.get(key, ({}, None))
            if op == "D":
                times, was, former = {}, None, None
            else:
                names = fields if cols is None else json.loads(cols)
                times.update((fields[n], int(micros) - offset) for n in names if n in fields)
            log[key] = (times, was or former)
    return log


def scan(session: Session, bound: Bound, after: Key | None, limit: int, offset: Stamp) -> list[Reading]:
    where = f" WHERE {beyond(bound, after)}" if after is not None else ""
    order = ", ".join(f"t.{quote(c.name)}" for c in bound.table.key)
    text = f"SELECT {bound.selected} FROM {bound.sql} t{where} ORDER BY {order} LIMIT {int(limit)}"
    return [bound.reading(row, offset) for row in session.query(text)]


def beyond(bound: Bound, key: Key) -> str:
    """Rows behind this key in key order. (A comparison of row values would not use the index.)"""
    names = [f"t.{quote(c.name)}" for c in bound.table.key]
    given = [literal(v) for v in params(bound.table.key, key, MYSQL)]
    tests = []
    for i, name in enumerate(names):
        same = [f"{n} = {v}" for n, v in zip(names[:i], given[:i], strict=True)]
        tests.append("(" + " AND ".join([*same, f"{name} > {given[i]}"]) + ")")
    return f"{names[0]} >= {given[0]} AND ({' OR '.join(tests)})"


def find(
    session: Session, bound: Bound, fields: Sequence[int], wanted: Sequence[Sequence[Value]]
) -> list[tuple[Key, ...]]:
    """For each tuple of values the keys of rows that the server takes for equal."""
    columns = [bound.table.columns[i] for i in fields]
    literals, asked = [], []
    for n, given in enumerate(wanted):
        try:
            cells = [bound.encode(i, v) for i, v in zip(fields, given, strict=True)]
        except ValueError:
            continue  # what the columns cannot hold is in no row
        literals.append(f"({n},{','.join(cells)})")
        asked.append(n)
    names = [f"{VALUE}{i}" for i in range(len(fields))]
    tests = []
    for column, name in zip(columns, names, strict=True):
        assert column is not None
        tests.append(f"t.{quote(column.name)} = {bound.like(column, 's.' + name)}")
    keys = ", ".join(f"t.{quote(c.name)}" for c in bound.table.key)
    found: list[list[Key]] = [[] for _ in wanted]
    for start, stop in chunks(literals, session.packet):
        source = values(["accord_n", *names], literals[start:stop])
        rows = session.raw(
            f"SELECT s.accord_n, {keys} FROM {source} STRAIGHT_JOIN {bound.sql} t ON {' AND '.join(tests)}"
        )
        for n, *key in rows:
            found[int(n)].append(bound.key(key))
    return [tuple(keys) for keys in found]
