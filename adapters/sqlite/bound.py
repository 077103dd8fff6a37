"""A bound table in SQLite's terms: what is selected, how rows become readings, how values become parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from adapters.convert import SQLITE, Encoder, constant, decoder, encoder
from adapters.keys import key_of, pack, params, unpack
from adapters.rows import archive_columns, archived, expression, modified_stamp
from adapters.sqlite.session import Row, Session
from adapters.sqlite.sql import literal, quote
from config.records import Column, Key, Raw, Reading, Table, Value

_SPELLED = ("bool", "decimal", "date", "datetime")
"""Types that are stored in more than one way: how a column does it is seen from what stands there."""


class Bound:
    """One entity's table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.sql = quote(table.name)
        self.width = len(table.key)
        self.places = [i for i, c in enumerate(table.columns) if c is not None]
        self.captured = table.capture == "trigger"
        self.decoders = tuple(
            None if c is None else decoder(c, t, table, SQLITE) for c, t in zip(table.columns, table.types, strict=True)
        )
        self._archive_columns = archive_columns(table)
        self._archived = archived(table)
        self._stamp = modified_stamp(table)
        self._encoders: dict[int, Encoder] = {}
        self._unsure: set[int] = set()  # encoders that were made without a sample

    def column(self, index: int) -> Column:
        column = self.table.columns[index]
        if column is None:
            raise ValueError("the field has no column here")
        return column

    # --- reading -----------------------------------------------------------------------------------------------------

    @cached_property
    def key_sql(self) -> str:
        return ", ".join(f"t.{quote(c.name)}" for c in self.table.key)

    @property
    def modified(self) -> str | None:
        """The expression of the row's own time stamp."""
        given = self.table.modified
        if given is None:
            return None
        text = expression(given)
        return f"t.{quote(given)}" if text is None else f"({text})"

    @cached_property
    def selected(self) -> str:
        """Key columns, one column per placed field, those that tell whether it is archived, `modified`."""
        fields = [c for c in self.table.columns if c is not None]
        names = [f"t.{quote(c.name)}" for c in (*fields, *self._archive_columns)]
        return ", ".join([self.key_sql, *names, self.modified or "NULL"])

    @cached_property
    def addressed(self) -> str:
        """A row with NULL in its key cannot be addressed, so it is not there."""
        return " AND ".join(f"t.{quote(c.name)} IS NOT NULL" for c in self.table.key)

    def key(self, row: Sequence[Raw]) -> Key:
        return key_of(self.table.key, row[: self.width], SQLITE)

    def raws(self, row: Row) -> tuple[Raw, ...]:
        found = row[self.width : self.width + len(self.places)]
        if len(self.places) == len(self.table.columns):
            return found
        raws: list[Raw] = [None] * len(self.table.columns)
        for i, value in zip(self.places, found, strict=True):
            raws[i] = value
        return tuple(raws)

    def archived(self, row: Row) -> bool:
        return self._archived(row[self.width + len(self.places) : -1])

    def reading(self, row: Row) -> Reading:
        return Reading(self.key(row), self.raws(row), self.archived(row), self._stamp(row[-1]))

    # --- keys --------------------------------------------------------------------------------------------------------

    def key_params(self, key: Key) -> tuple[Any, ...]:
        """SQLite keeps a text where a number is declared, so any text may be a key."""
        try:
            return params(self.table.key, key, SQLITE)
        except ValueError:
            try:
                return unpack(key, self.width)
            except ValueError:
                return (key,) * self.width

    @cached_property
    def where_key(self) -> str:
        return " AND ".join(f"{quote(c.name)} = ?" for c in self.table.key)

    # --- writing -----------------------------------------------------------------------------------------------------

    def encode(self, index: int, value: Value, session: Session) -> Any:
        """A canonical value as a parameter. ValueError says why it cannot be one."""
        inner = self._encoders.get(index)
        if inner is None:
            column, type = self.column(index), self.table.types[index]
            sample = self.sample(column, session) if type in _SPELLED or column.kind in _SPELLED else None
            inner = self._encoders[index] = encoder(column, type, self.table, SQLITE, sample)
            if sample is None:
                self._unsure.add(index)
        return inner(value)

    def look_again(self) -> None:
        """A new transaction: columns that were empty may show their spelling now."""
        for index in self._unsure:
            self._encoders.pop(index, None)
        self._unsure.clear()

    def sample(self, column: Column, session: Session) -> Raw:
        """Any value that stands in the column now, from its newest thousand rows."""
        name, order = quote(column.name), ", ".join(f"{quote(c.name)} DESC" for c in self.table.key)
        rows = session.query(
            f"SELECT v FROM (SELECT {name} AS v FROM {self.sql} ORDER BY {order} LIMIT 1000)"
            " WHERE v IS NOT NULL AND v <> '' LIMIT 1"
        )
        found: Raw = rows[0][0] if rows else None
        return found

    def constants(self, given: Mapping[str, Value]) -> dict[str, str]:
        """Column -> SQL of the constants of the mapping, `sql:` expressions as they are."""
        return {name: self._constant(name, value) for name, value in given.items()}

    def _constant(self, name: str, value: Value) -> str:
        text = expression(value)
        if text is not None:
            return f"({text})"
        return literal(constant(self.table.info.columns[name], value, SQLITE))

    def pack_sql(self, row: str) -> str:
        """The key of a row as `adapters.keys.pack` spells it, in SQL; `row`: NEW or OLD."""
        texts = [_text_sql(c, f"{row}.{quote(c.name)}") for c in self.table.key]
        return texts[0] if len(texts) == 1 else f"json_array({', '.join(texts)})"

    def keyed(self, fields: Sequence[int]) -> bool:
        """Is one of these fields part of the key?"""
        return any(self.column(i) in self.table.key for i in fields)

    def changed_key(self, key: Key, written: dict[int, Any]) -> Key:
        """The key of a row after `written` (field index -> parameter) was written into it."""
        texts = list(unpack(key, self.width))
        for i, value in written.items():
            for n, column in enumerate(self.table.key):
                if column.name == self.column(i).name:
                    texts[n] = key_of((column,), (value,), SQLITE)
        return pack(texts)


def _text_sql(column: Column, name: str) -> str:
    return f"lower(hex({name}))" if column.kind == "bytes" else f"CAST({name} AS TEXT)"
