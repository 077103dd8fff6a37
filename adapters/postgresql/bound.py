"""A bound table with the pieces of SQL that all statements about it are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from adapters.convert import POSTGRESQL, Encoder, constant, decoder, encoder
from adapters.keys import pack, params, unpack
from adapters.ports import Decoder
from adapters.postgresql.session import Session
from adapters.postgresql.sql import cast, column_of, literal, qualified, quote
from adapters.rows import archive_columns, archived, expression, modified_stamp
from config.records import Column, Key, Raw, Reading, Stamp, Table, Value

Raws = tuple[Raw, ...]

DEFAULTS = """
SELECT a.attname,
    CASE WHEN a.attidentity <> '' THEN format('nextval(%L::regclass)', pg_get_serial_sequence($1, a.attname))
         WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    a.attidentity::text
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""


class Held(NamedTuple):
    """What a row holds."""

    raws: Raws
    archived: bool


class Bound:
    """Rows are selected as `keys`, then `raws`: all as the server's own text, which is exact (I3)."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.entity = table.entity
        self.name = qualified(table.schema, table.name)
        self.tag = f"{table.schema}.{table.name}" if table.schema else table.name
        """What `accord_changes.tbl` holds for this table."""
        self.columns: list[tuple[int, Column]] = [(i, c) for i, c in enumerate(table.columns) if c is not None]
        self.width = len(table.key)
        self.archives = bool(table.archive or table.restore)
        self._gone = archived(table) if self.archives else None
        self._stamp = modified_stamp(table)
        self._whole = len(self.columns) == len(table.columns)
        self.decoders: tuple[Decoder | None, ...] = tuple(
            None if c is None else decoder(c, t, table, POSTGRESQL)
            for c, t in zip(table.columns, table.types, strict=True)
        )
        self._defaults: tuple[dict[str, str], bool] | None = None
        self._modified_type: str | None = None
        self._fits = [_fitting(c) for c in table.key]
        self._hex = [c.kind == "bytes" for c in table.key]

    # --- what is selected --------------------------------------------------------------------------------------------

    @cached_property
    def keys(self) -> str:
        return ", ".join(f"t.{quote(c.name)}::text" for c in self.table.key)

    @cached_property
    def raws(self) -> str:
        return ", ".join(f"t.{quote(c.name)}::text" for _, c in self.columns) or "NULL"

    @cached_property
    def whole(self) -> str:
        """Raws, and those columns that tell whether it is archived: what `held` takes apart."""
        return ", ".join([self.raws, *(f"t.{quote(c.name)}::text" for c in archive_columns(self.table))])

    @cached_property
    def selected(self) -> str:
        """Keys, the whole, its own time: what `reading` takes apart."""
        return ", ".join([self.keys, self.whole, f"{self.modified}::text" if self.modified else "NULL"])

    def reading(self, row: Sequence[Any], offset: Stamp) -> Reading:
        """`offset`: the server's clock minus the agent's."""
        stamp = None if row[-1] is None else self._stamp(row[-1])
        return Reading(
            self.key(row), *self.held(row[self.width : -1]), modified=None if stamp is None else stamp - offset
        )

    def held(self, texts: Sequence[Raw]) -> Held:
        if self._gone is None:
            return Held(self.spread(texts), False)
        end = max(len(self.columns), 1)
        return Held(self.spread(texts[:end]), self._gone(texts[end:]))

    def key(self, row: Sequence[Any]) -> Key:
        """The key of a row that begins with `keys`."""
        if self.width == 1 and not self._hex[0]:
            return str(row[0])
        return pack([t[2:] if h else t for t, h in zip(row, self._hex, strict=False)])

    def spread(self, texts: Sequence[Raw]) -> Raws:
        """One raw per field, from one per mapped column."""
        if self._whole:
            return tuple(texts)
        full: list[Raw] = [None] * len(self.table.columns)
        for (i, _), text in zip(self.columns, texts, strict=False):
            full[i] = text
        return tuple(full)

    # --- how rows are found ------------------------------------------------------------------------------------------

    @cached_property
    def names(self) -> list[str]:
        """The columns of `s` that hold keys. No application's column is called so: texts of the configuration that
        stand in a statement beside `s` mean the table."""
        return [f"accord_k{i}" for i in range(self.width)]

    @cached_property
    def on(self) -> str:
        """t and s are the same row: by the index, and by the very same text (a collation may see two as equal)."""
        parts = []
        for column, name in zip(self.table.key, self.names, strict=True):
            parts.append(f"t.{quote(column.name)} = {cast(f's.{name}', column)}")
            if column.kind not in ("int", "bytes"):
                parts.append(f't.{quote(column.name)}::text = s.{name} COLLATE "C"')
        return " AND ".join(parts)

    def split(self, keys: Sequence[Key]) -> list[list[str]]:
        """Keys as one list of texts per key column; `possible` keys only."""
        if self.width == 1:
            return [["\\x" + key for key in keys] if self._hex[0] else list(keys)]
        rows = [params(self.table.key, key, POSTGRESQL) for key in keys]
        return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in self.table.key]

    def possible(self, key: Key) -> bool:
        """May it be a key of this table at all? (What a type says beyond that, only the server knows.)"""
        if self.width == 1:
            return self._fits[0](key)
        try:
            return all(fits(text) for fits, text in zip(self._fits, unpack(key, self.width), strict=True))
        except ValueError:
            return False

    # --- values ------------------------------------------------------------------------------------------------------

    @cached_property
    def _encoders(self) -> dict[int, Encoder]:
        return {}

    def column(self, index: int) -> Column:
        column = self.table.columns[index]
        assert column is not None, f"{self.entity}: field {index} has no place in {self.table.system}"
        return column

    def encoder(self, index: int, sample: Callable[[int], Raw]) -> Encoder:
        """Canonical -> text for this field's column. `sample` finds a value that stands there now, where it matters."""
        if index not in self._encoders:
            column, type = self.column(index), self.table.types[index]
            raw = sample(index) if column.kind == "text" and type in ("bool", "datetime") else None
            made = encoder(column, type, self.table, POSTGRESQL, raw)
            if raw is None and column.kind == "text" and type in ("bool", "datetime"):
                return made  # no value to learn from yet: asked again next time
            self._encoders[index] = made
        return self._encoders[index]

    def constants(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Column -> SQL, for `archive`, `restore`, `insert` and `stamp`."""
        return {name: self.constant(name, value) for name, value in values.items()}

    def constant(self, name: str, value: Value) -> str:
        sql = expression(value)
        if sql is not None:
            return f"({sql})"
        column = column_of(self.table, name)
        text = constant(column, value, POSTGRESQL)
        return "NULL" if text is None else cast(literal(text), column)

    def modified_type(self, session: Session) -> str:
        """The type of `modified`, in the database's own words."""
        if self._modified_type is None:
            rows = session.query(f"SELECT pg_typeof((SELECT {self.modified} FROM {self.name} t LIMIT 0))::text")
            self._modified_type = str(rows[0][0])
        return self._modified_type

    # --- keys that the database makes --------------------------------------------------------------------------------

    def key_default(self, name: str, session: Session) -> str | None:
        """SQL that makes a new value for this key column, as the column's own default would."""
        return self._made_by(session)[0].get(name)

    def identity_always(self, session: Session) -> bool:
        """May a value be written only with OVERRIDING SYSTEM VALUE?"""
        return self._made_by(session)[1]

    def _made_by(self, session: Session) -> tuple[dict[str, str], bool]:
        if self._defaults is None:
            rows = session.raw(DEFAULTS, [self.name])
            self._defaults = {n: made for n, made, _ in rows if made}, any(identity == "a" for _, _, identity in rows)
        return self._defaults

    @property
    def modified(self) -> str | None:
        """SQL of the row's own `modified`; names in a "sql:" text mean the table's columns."""
        if self.table.modified is None:
            return None
        sql = expression(self.table.modified)
        return f"({sql})" if sql is not None else f"t.{quote(self.table.modified)}"


def _any(text: str) -> bool:
    return "\0" not in text


def _fitting(column: Column) -> Callable[[str], bool]:
    if column.kind == "bytes":
        return lambda text: re.fullmatch(r"([0-9a-f]{2})*", text) is not None
    if column.kind != "int":
        return _any
    limit = 2 ** ((column.precision or 64) - 1)

    def whole(text: str) -> bool:
        return text.isascii() and text.removeprefix("-").isdigit() and -limit <= int(text) < limit

    return whole
