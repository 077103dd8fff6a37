"""Reads rows of bound tables: by key, in key order, by value. Raw and exact, a few statements in all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from adapters.convert import MYSQL
from adapters.keys import newest, normal, oldest, params
from adapters.mysql.connection import Session
from adapters.mysql.sql import chunks, literal, quote, values
from adapters.mysql.tables import VALUE, Bound
from config.records import Key, Raw, Reading, Stamp, Value

HASHED = (
    "SET STATEMENT join_cache_level = 4, join_buffer_size = 8388608, join_buffer_space_limit = 16777216,"
    " optimizer_switch = 'join_cache_hashed=on' FOR"
)
"""A join on columns without an index is hashed: by default the server compares every pair (measured: 0.4 s for 129 s).
Only for such a join: elsewhere it would be chosen over an index whose statistics are old."""

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


Tell = Callable[[Bound, dict[Key, Reading]], None]
"""Adds to readings what the server's own log knows of them, in the snapshot that is open."""


def read_all(
    session: Session,
    bounds: Mapping[str, Bound],
    keys: Mapping[str, Sequence[Key]],
    offset: Stamp,
    changes: str | None,
    telling: Callable[[], Tell],
) -> dict[str, dict[Key, Reading]]:
    """The readings of all these records in one snapshot. `changes`: the change log's name where there is one;
    `telling` is called in the snapshot, where a table is captured from the server's log."""
    session.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.query(SNAPSHOT)
    try:
        with session.errors():
            found = {e: _read(session, bounds[e], wanted, offset, changes) for e, wanted in keys.items()}
            logged = [entity for entity in found if bounds[entity].logged]
            tell = telling() if logged else None
        for entity in logged:
            assert tell is not None
            tell(bounds[entity], found[entity])
        return found
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
    fields: dict[str, list[int]] = {}
    for i in bound.places:
        fields.setdefault(bound.column(i).name, []).append(i)
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
                listed = fields if cols is None else json.loads(cols)
                times.update((i, int(micros) - offset) for name in listed for i in fields.get(name, ()))
            log[key] = (times, was or former)
    if any(was is not None for _, was in log.values()):
        moves = {new: old for old, new in _moves(session, bound, changes)}
        return {key: (times, oldest(moves, key)) for key, (times, _) in log.items()}
    return log


def _moves(session: Session, bound: Bound, changes: str) -> list[tuple[Key, Key]]:
    """Every key change that the log knows of, (old, new), in the order in which they happened: there are few."""
    columns = bound.table.key
    rows = session.raw(
        f"SELECT was, `key` FROM {changes} WHERE tbl = {literal(bound.tag)} AND was IS NOT NULL ORDER BY id"
    )
    return [(normal(columns, was, MYSQL), normal(columns, key, MYSQL)) for was, key in rows]


def moved(session: Session, bound: Bound, changes: str, keys: Sequence[Key]) -> dict[Key, Key]:
    """Old key -> newest key."""
    with session.errors():
        return newest(_moves(session, bound, changes), keys)


def scan(session: Session, bound: Bound, after: Key | None, limit: int, offset: Stamp) -> list[Reading]:
    where = f" WHERE {beyond(bound, after) if after is not None else bound.addressed}"
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
    plain = [i for i in fields if _plain(bound, i)]
    if not plain:
        return _find_all(session, bound, fields, wanted)
    literals: list[str] = []
    for n, given in enumerate(wanted):
        by_field = dict(zip(fields, given, strict=True))
        try:
            literals.append(f"({n},{','.join(bound.encode(i, by_field[i]) for i in plain)})")
        except ValueError:
            continue  # what the columns cannot hold is in no row
    names = [f"{VALUE}{i}" for i in range(len(plain))]
    pairs = [(bound.column(i), "s." + name) for i, name in zip(plain, names, strict=True)]
    on = " AND ".join(f"t.{quote(column.name)} = {bound.like(column, value)}" for column, value in pairs)
    keys = ", ".join(f"t.{quote(c.name)}" for c in bound.table.key)
    found: list[list[Key]] = [[] for _ in wanted]
    for start, stop in chunks(literals, session.packet):
        source = values(["accord_n", *names], literals[start:stop])
        for n, *key in session.raw(f"{HASHED} SELECT s.accord_n, {keys} FROM {source} JOIN {bound.sql} t ON {on}"):
            found[int(n)].append(bound.key(key))
    return [tuple(keys) for keys in found]


_PLAIN = {"text": ("text", "ref"), "int": ("int", "ref"), "decimal": ("decimal", "int"), "date": ("date",)}
_PLAIN |= {"datetime": ("datetime",), "bytes": ("bytes",)}


def _plain(bound: Bound, index: int) -> bool:
    """Does SQL's equality of the stored form find at least what is equal in canonical form?"""
    return bound.table.types[index] in _PLAIN.get(bound.column(index).kind, ())


def _find_all(
    session: Session, bound: Bound, fields: Sequence[int], wanted: Sequence[Sequence[Value]]
) -> list[tuple[Key, ...]]:
    """Values that are spelled in several ways ('1' and 'yes'): the table is read once, and compared here."""
    stored: dict[tuple[Value, ...], list[Key]] = {}
    for row in session.raw(f"SELECT {bound.selected} FROM {bound.sql} t WHERE {bound.addressed}"):
        stored.setdefault(bound.canonical(bound.raws(row), fields), []).append(bound.key(row))
    return [tuple(stored.get(tuple(given), ())) if None not in given else () for given in wanted]
