"""New rows: who may insert (I2), whether a matching row is there already, and where the key comes from."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from adapters.rows import expression
from adapters.sqlite import reader
from adapters.sqlite.bound import Bound
from adapters.sqlite.objects import Names
from adapters.sqlite.session import Session
from adapters.sqlite.sql import quote
from config.records import Column, Crosswalk, Gid, Key, Landing, Outcome, Value, Write

Numbered = tuple[int, Write]


class Inserter:
    """The inserts of one entity, inside the transaction that will insert them."""

    def __init__(self, session: Session, names: Names, bound: Bound) -> None:
        self._session = session
        self._names = names
        self._bound = bound
        self._entity = bound.table.entity

    # --- may it be inserted? -----------------------------------------------------------------------------------------

    def claimed(self, writes: Sequence[Numbered], outcomes: dict[int, Outcome]) -> list[Numbered]:
        """Those that nobody has inserted before (else ADOPTED) and that no row matches (else EXISTS).

        The file's write lock is held, so what is not there now cannot come before our own rows do.
        """
        left = self._not_adopted(writes, outcomes)
        return self._unmatched(left, outcomes)

    def _not_adopted(self, writes: Sequence[Numbered], outcomes: dict[int, Outcome]) -> list[Numbered]:
        pairs = {pair for _, w in writes for pair in w.links}
        held = reader.holders(self._session, self._names, self._entity, pairs)
        gids = {w.gid for _, w in writes} | set(held.values())
        here = self._rows_here(reader.links(self._session, self._names, self._entity, sorted(gids)))
        left = []
        for i, write in writes:
            others = [held[pair] for pair in write.links if held.get(pair, write.gid) != write.gid]
            gid = others[0] if others else write.gid
            if others or gid in here:
                outcomes[i] = Outcome(Landing.ADOPTED, here.get(gid), gid=gid)
            else:
                left.append((i, write))
        return left

    def _rows_here(self, rows: Sequence[Crosswalk]) -> dict[Gid, Key]:
        """The row that each record has in this system, if it is still there: a link outlives its row."""
        keys = {row.key: row.gid for row in rows if row.system == self._session.system}
        return {keys[key]: key for key in reader.rows(self._session, self._bound, list(keys))}

    def _unmatched(self, writes: list[Numbered], outcomes: dict[int, Outcome]) -> list[Numbered]:
        hits: dict[int, dict[Key, None]] = {}
        for rule in dict.fromkeys(rule for _, w in writes for rule in w.guard):
            asked = [(i, tuple(w.values.get(f) for f in rule)) for i, w in writes if rule in w.guard]
            asked = [(i, wanted) for i, wanted in asked if None not in wanted]
            found = reader.find(self._session, self._bound, rule, [wanted for _, wanted in asked])
            for i, keys in self._exact(rule, asked, found):
                hits.setdefault(i, {}).update(dict.fromkeys(keys))
        for i, matching in hits.items():
            outcomes[i] = Outcome(Landing.EXISTS, found=tuple(matching))
        return [(i, w) for i, w in writes if i not in hits]

    def _exact(
        self, rule: Sequence[int], asked: list[tuple[int, tuple[Value, ...]]], found: list[tuple[Key, ...]]
    ) -> list[tuple[int, list[Key]]]:
        """What the database proposes, compared in canonical form. An archived row counts as gone and stops nobody."""
        rows = reader.rows(self._session, self._bound, [key for keys in found for key in keys])
        alive = {key: reading for key, row in rows.items() if not (reading := self._bound.reading(row)).archived}
        hits = []
        for (i, wanted), keys in zip(asked, found, strict=True):
            same = [k for k in keys if k in alive and self._values(rule, alive[k].raws) == wanted]
            if same:
                hits.append((i, same))
        return hits

    def _values(self, rule: Sequence[int], raws: Sequence[Any]) -> tuple[Value, ...]:
        values: list[Value] = []
        for i in rule:
            decode = self._bound.decoders[i]
            try:
                values.append(decode(raws[i]) if decode else None)
            except ValueError:
                values.append(None)
        return tuple(values)

    # --- inserting ---------------------------------------------------------------------------------------------------

    def insert(self, writes: Sequence[Write]) -> list[Key]:
        """Insert the rows and their crosswalk rows (I2), or raise. The keys, in order."""
        keys = [self._one(write) for write in writes]
        crosswalk = self._names.crosswalk
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        name = self._session.system
        # What stands there of these records' rows here, or of these keys, speaks of rows that are gone.
        execute = self._session.connection.executemany
        execute(
            f"DELETE FROM {crosswalk} WHERE entity = ? AND gid = ? AND system = ?",
            [(self._entity, w.gid, name) for w in writes],
        )
        rows = [(self._entity, w.gid, *pair, since) for w in writes for pair in w.links if pair[0] != name]
        rows += [(self._entity, w.gid, name, key, since) for w, key in zip(writes, keys, strict=True)]
        execute(f"INSERT OR REPLACE INTO {crosswalk} (entity, gid, system, key, since) VALUES (?, ?, ?, ?, ?)", rows)
        return keys

    def _one(self, write: Write) -> Key:
        """A statement per row costs no round trip here, and RETURNING tells the key of this very row."""
        given = self._given(write)
        names = ", ".join(map(quote, given))
        body = f"({names}) VALUES ({', '.join(sql for sql, _ in given.values())})" if given else "DEFAULT VALUES"
        keys = ", ".join(quote(c.name) for c in self._bound.table.key)
        parameters = [x for _, parameter in given.values() for x in parameter]
        rows = self._session.raw(f"INSERT INTO {self._bound.sql} {body} RETURNING {keys}", parameters)
        return self._bound.key(rows[0])

    def _given(self, write: Write) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """Column -> (SQL, parameters). A field's value comes before a constant, a constant before a made key."""
        given = self._key(write)
        given |= {name: (sql, ()) for name, sql in self._constants.items()}
        for i, value in write.values.items():
            column = self._bound.column(i)
            encoded = self._bound.encode(i, value, self._session)
            if encoded is not None or column.nullable or not column.has_default:
                given[column.name] = ("?", (encoded,))
        return given

    @cached_property
    def _constants(self) -> dict[str, str]:
        table = self._bound.table
        return self._bound.constants({**table.restore, **table.stamp, **table.insert})

    def _key(self, write: Write) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """The key columns that Accord fills; {} where the database does, or where they are fields."""
        new_key = self._bound.table.new_key
        columns = self._bound.table.key
        if write.key is not None:
            return self._parameters(columns, write.key)
        if new_key is None:
            return {}
        if new_key == "copy":
            source = next((key for system, key in write.links if system != self._session.system), None)
            if source is None:
                raise ValueError("there is no key to copy: the record has no row in another system")
            return self._parameters(columns, source)
        text = expression(new_key)
        mapped = {c.name for c in self._bound.table.columns if c is not None}
        made = [c for c in columns if c.name not in mapped]
        return {c.name: (f"({text})", ()) if text is not None else ("?", (_uuid(c),)) for c in made}

    def _parameters(self, columns: Sequence[Column], key: Key) -> dict[str, tuple[str, tuple[Any, ...]]]:
        values = self._bound.key_params(key)
        return {c.name: ("?", (value,)) for c, value in zip(columns, values, strict=True)}


def _uuid(column: Column) -> Any:
    """As the column has room for: 16 bytes, 32 digits, or 36 characters."""
    made = uuid.uuid4()
    if column.kind == "bytes":
        return made.bytes
    return made.hex if column.length == 32 else str(made)
