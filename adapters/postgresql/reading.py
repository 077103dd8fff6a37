"""Reads rows of bound tables: by key, in key order, by value. Raw and exact, a few statements in all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from adapters.convert import Encoder
from adapters.postgresql.bound import Bound, Raws
from adapters.postgresql.errors import Refused
from adapters.postgresql.log import Log
from adapters.postgresql.logical.capture import Logged
from adapters.postgresql.session import Rows, Session
from adapters.postgresql.sql import array, cast, own, quote, unnest
from config.records import Column, Crosswalk, Gid, Key, Raw, Reading, Stamp, Value, Write

SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Types of text kind that have no equality, or one that people would not expect: compared as text.
NO_EQUALITY = ("json", "jsonb")


class Reader:
    """Reads by one session."""

    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._crosswalk = own(prefix, "crosswalk")

    # --- by key ------------------------------------------------------------------------------------------------------

    def read(
        self, keys: Mapping[Bound, Sequence[Key]], log: Log | None, logs: Logged, offset: Stamp
    ) -> dict[str, dict[Key, Reading]]:
        """All in one snapshot. `log`: the change log where there is one; `logs`: those captured from the server's."""
        wanted = {bound: [k for k in dict.fromkeys(ks) if bound.possible(k)] for bound, ks in keys.items()}
        with self._session.errors():
            try:
                return self._read(wanted, log, logs, offset)
            except psycopg.DataError:  # a person's or another system's key that this column's type cannot be
                return self._read({bound: self._valid(bound, ks) for bound, ks in wanted.items()}, log, logs, offset)

    def _read(
        self, keys: Mapping[Bound, Sequence[Key]], log: Log | None, logs: Logged, offset: Stamp
    ) -> dict[str, dict[Key, Reading]]:
        with self._session.transaction(SNAPSHOT):
            found = {}
            followed = any(bound.table.capture == "log" for bound in keys) and logs.backlog is not None
            seen = logs.snapshot() if followed else None
            for bound, wanted in keys.items():
                parameters = [array(column) for column in bound.split(wanted)]
                rows = self._session.raw(f"SELECT t.* FROM {by_key(bound, bound.selected)}", parameters)
                readings = {r.key: r for r in (bound.reading(row, offset) for row in rows)}
                if log is not None and bound.table.capture == "trigger":
                    log.tell(bound, readings, offset)
                if seen is not None and bound.table.capture == "log":
                    logs.tell(bound, readings, *seen, offset)
                found[bound.entity] = readings
        return found

    def _valid(self, bound: Bound, keys: Sequence[Key]) -> list[Key]:
        """The keys that the key columns' types can be at all; found by halves."""
        parts = ", ".join(cast(f"s.{n}", c) for n, c in zip(bound.names, bound.table.key, strict=True))
        text = f"SELECT {parts} FROM {unnest(bound.names)}"
        return valid(keys, lambda some: self._session.raw(text, [array(c) for c in bound.split(some)]))

    # --- in key order ------------------------------------------------------------------------------------------------

    def scan(self, bound: Bound, after: Key | None, limit: int, offset: Stamp) -> list[Reading]:
        columns = ", ".join(f"t.{quote(c.name)}" for c in bound.table.key)
        where, parameters = "", []
        if after is not None:
            parameters = [column[0] for column in bound.split([after])]
            given = ", ".join(cast(f"${i + 1}", c) for i, c in enumerate(bound.table.key))
            where = f" WHERE ({columns}) > ({given})"
        text = f"SELECT {bound.selected} FROM {bound.name} t{where} ORDER BY {columns} LIMIT {int(limit)}"
        return [bound.reading(row, offset) for row in self._session.query(text, parameters)]

    def count(self, bound: Bound) -> int:
        return int(self._session.query(f"SELECT count(*) FROM {bound.name}")[0][0])

    # --- by value ----------------------------------------------------------------------------------------------------

    def find(self, bound: Bound, fields: Sequence[int], wanted: Sequence[Sequence[Value]]) -> list[tuple[Key, ...]]:
        with self._session.errors():
            found = matches(self._session, bound, fields, wanted)
        return [tuple(key for key, _ in some) for some in found]

    # --- the crosswalk -----------------------------------------------------------------------------------------------

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, Gid]:
        text = (
            f"SELECT c.key, c.gid FROM {unnest(['k'], 3)} JOIN {self._crosswalk} c"
            " ON c.entity = $1 AND c.system = $2 AND c.key = s.k"
        )
        return dict(self._if_there(text, [entity, system, array(keys)]))

    def links(self, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
        text = (
            f"SELECT c.entity, c.gid, c.system, c.key FROM {unnest(['g'], 2)} JOIN {self._crosswalk} c"
            " ON c.entity = $1 AND c.gid = s.g ORDER BY c.since, c.system, c.key"
        )
        return [Crosswalk(*row) for row in self._if_there(text, [entity, array(gids)])]

    def _if_there(self, text: str, parameters: Sequence[str]) -> Rows:
        with self._session.errors():
            try:
                return self._session.raw(text, parameters)
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return []


def sampler(session: Session, bound: Bound) -> Callable[[int], Raw]:
    """Finds a value that stands in a field's column now, if there is one that says something. Driver's errors."""

    def sample(index: int) -> Raw:
        name = f"t.{quote(bound.column(index).name)}::text"
        rows = session.raw(f"SELECT {name} FROM {bound.name} t WHERE {name} ~ '[^ ]' LIMIT 1")
        return rows[0][0] if rows else None

    return sample


def matches(
    session: Session, bound: Bound, fields: Sequence[int], wanted: Sequence[Sequence[Value]]
) -> list[list[tuple[Key, Reading]]]:
    """For each tuple of values: rows that the server takes for equal. Driver's errors."""
    encoding = encoders(session, bound, fields)
    rows: list[tuple[int, list[str]]] = []
    for n, values in enumerate(wanted):
        try:
            texts = [encode(value) for encode, value in zip(encoding, values, strict=True)]
        except ValueError:
            continue  # what the columns cannot hold is in no row
        if None not in values:
            rows.append((n, texts))
    names = [f"accord_v{i}" for i in range(len(fields))]
    tests = " AND ".join(_equal(bound.column(i), name) for i, name in zip(fields, names, strict=True))
    source = f"{unnest(names, ordinal='accord_i')} JOIN {bound.name} t ON {tests}"
    text = f"SELECT s.accord_i, {bound.selected} FROM {source}"
    found: list[list[tuple[Key, Reading]]] = [[] for _ in wanted]

    def ask(some: Sequence[tuple[int, list[str]]]) -> Rows:
        with session.guarded():
            hits = session.raw(text, [array(list(c)) for c in zip(*(t for _, t in some), strict=True)])
        for i, *row in hits:
            found[some[i - 1][0]].append((bound.key(row), bound.reading(row, 0)))
        return hits

    valid(rows, ask)
    return found


def stored_now(session: Session, bound: Bound, keys: Sequence[Key]) -> dict[Key, Raws]:
    """What these rows hold now. Driver's errors."""
    rows = session.raw(
        f"SELECT t.* FROM {by_key(bound, f'{bound.keys}, {bound.raws}')}",
        [array(c) for c in bound.split(keys)],
    )
    return {bound.key(row): bound.spread(row[bound.width :]) for row in rows}


def encoders(session: Session, bound: Bound, fields: Sequence[int]) -> list[Encoder]:
    """One per field: canonical -> text. Driver's errors."""
    return [bound.encoder(i, sampler(session, bound)) for i in fields]


def encoded(encoders: Sequence[Encoder], write: Write, fields: Sequence[int]) -> list[str | None]:
    """The texts of the values of these fields. `Refused` if a column cannot hold one."""
    try:
        return [encode(write.values[i]) for encode, i in zip(encoders, fields, strict=True)]
    except ValueError as error:
        raise Refused(str(error), "correct the value, or widen the column") from None


def by_key(bound: Bound, selected: str) -> str:
    """The rows of the keys s, each by the key's index, whatever the planner believes of the table."""
    return (
        f"{unnest(bound.names)} CROSS JOIN LATERAL (SELECT {selected} FROM {bound.name} t WHERE {bound.on} OFFSET 0) t"
    )


def _equal(column: Column, name: str) -> str:
    own = f"t.{quote(column.name)}"
    return f"{own}::text = s.{name}" if column.native in NO_EQUALITY else f"{own} = {cast(f's.{name}', column)}"


def valid(items: Sequence[Any], ask: Callable[[Sequence[Any]], object]) -> list[Any]:
    """Those that `ask` takes: asked together, and by halves when a value cannot be of its column's type."""
    if not items:
        return []
    try:
        ask(items)
    except psycopg.DataError:
        if len(items) == 1:
            return []
        middle = len(items) // 2
        return valid(items[:middle], ask) + valid(items[middle:], ask)
    return list(items)
