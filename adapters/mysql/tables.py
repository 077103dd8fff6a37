"""A bound table in MariaDB's terms: what is selected, how rows become readings, how values become literals."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cached_property

from adapters import rows
from adapters.convert import MYSQL, Decoder, Encoder, constant, decoder, encoder, is_text
from adapters.keys import key_of, pack, params, unpack
from adapters.mysql.connection import Session
from adapters.mysql.sql import like, literal, qualified, quote
from config.records import Column, Key, Raw, Reading, Stamp, Table, Value

KEY, VALUE = "accord_k", "accord_c"
"""How the columns of literal rows are called: unlikely in a table, so that expressions of the mapping stay clear."""


class Bound:
    """One entity's table. Knows no rows; asks the server once for the key's collation and for samples."""

    def __init__(self, table: Table, session: Session, database: str) -> None:
        self.table = table
        self.session = session
        self.database = table.schema or database
        self.sql = qualified(table.schema, table.name)
        self.tag = table.name if self.database == database else f"{self.database}.{table.name}"
        self.width = len(table.key)
        self.places = [i for i, c in enumerate(table.columns) if c is not None]
        self.single = False  # its stored values differ from what is written: rows are inserted one at a time
        self.captured = table.capture == "trigger"
        self.logged = table.capture == "log"
        self.polled = table.capture == "watermark" and table.modified is not None
        self._archived = rows.archived(table)
        self.stamp = rows.modified_stamp(table)
        self.decoders = tuple(self._decoder(i) for i in range(len(table.columns)))

    # --- reading -----------------------------------------------------------------------------------------------------

    @cached_property
    def selected(self) -> str:
        """Key columns, then one column per placed field, then those that tell of archiving, then `modified`."""
        parts = [raw(c, "t.") for c in self.table.key]
        parts += [raw(c, "t.") for c in self.table.columns if c is not None]
        parts += [raw(c, "t.") for c in rows.archive_columns(self.table)]
        return ", ".join([*parts, self.modified or "NULL"])

    @property
    def modified(self) -> str | None:
        """The expression of the row's own time stamp."""
        given = self.table.modified
        if given is None:
            return None
        inner = rows.expression(given)
        return f"t.{quote(given)}" if inner is None else f"({inner})"

    def key(self, row: Sequence[Raw]) -> Key:
        return key_of(self.table.key, row[: self.width], MYSQL)

    def raws(self, row: Sequence[Raw]) -> tuple[Raw, ...]:
        found = row[self.width : self.width + len(self.places)]
        if len(self.places) == len(self.table.columns):
            return tuple(found)
        raws: list[Raw] = [None] * len(self.table.columns)
        for i, value in zip(self.places, found, strict=True):
            raws[i] = value
        return tuple(raws)

    def archived(self, row: Sequence[Raw]) -> bool:
        return self._archived(row[self.width + len(self.places) : -1])

    def reading(self, row: Sequence[Raw], offset: Stamp) -> Reading:
        """`offset`: the server's clock minus the agent's."""
        stamp = self.stamp(row[-1])
        return Reading(self.key(row), self.raws(row), self.archived(row), None if stamp is None else stamp - offset)

    def canonical(self, raws: Sequence[Raw], fields: Sequence[int]) -> tuple[Value, ...]:
        """These fields in canonical form; what does not convert is None, which is equal to nothing."""
        found: list[Value] = []
        for i in fields:
            decode = self.decoders[i]
            try:
                found.append(decode(raws[i]) if decode else None)
            except ValueError:
                found.append(None)
        return tuple(found)

    @property
    def watched(self) -> list[Column]:
        """The columns whose change is a change of the record, the key's apart."""
        columns = [c for c in self.table.columns if c is not None]
        return columns + [self.table.info.columns[name] for name in (*self.table.archive, *self.table.restore)]

    def column(self, index: int) -> Column:
        """The column of a field. ValueError if the field has no place here."""
        column = self.table.columns[index]
        if column is None:
            raise ValueError("the field has no column here")
        return column

    @cached_property
    def addressed(self) -> str:
        """A row with NULL in its key cannot be addressed, so it is not there."""
        return " AND ".join(f"t.{quote(c.name)} IS NOT NULL" for c in self.table.key)

    def changed_key(self, key: Key, written: Mapping[int, Value]) -> Key:
        """The key of a row after these values were written into it."""
        texts = list(unpack(key, self.width))
        for i, value in written.items():
            for n, column in enumerate(self.table.key):
                if column.name == self.column(i).name:
                    encode = self.encoders[i]
                    texts[n] = key_of((column,), (encode(value) if encode else None,), MYSQL)
        return pack(texts)

    def keyed(self, fields: Sequence[int]) -> bool:
        """Is one of these fields part of the key?"""
        names = {c.name for c in self.table.key}
        return any(self.column(i).name in names for i in fields)

    # --- joining by key ----------------------------------------------------------------------------------------------

    @cached_property
    def charsets(self) -> dict[str, tuple[str, str]]:
        """Column -> (character set, collation), as they are now."""
        found = self.session.query(
            "SELECT COLUMN_NAME, CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS"
            f" WHERE TABLE_SCHEMA = {literal(self.database)} AND TABLE_NAME = {literal(self.table.name)}"
            " AND CHARACTER_SET_NAME IS NOT NULL"
        )
        return {name: (charset, collation) for name, charset, collation in found}

    def like(self, column: Column, expression: str) -> str:
        return like(column, self.charsets.get(column.name), expression)

    @cached_property
    def key_names(self) -> list[str]:
        return [f"{KEY}{i}" for i in range(self.width)]

    @cached_property
    def on_key(self) -> str:
        """The rows of literals `s` meet the table `t` by its key, by index."""
        pairs = zip(self.table.key, self.key_names, strict=True)
        return " AND ".join(f"t.{quote(c.name)} = {self.like(c, 's.' + name)}" for c, name in pairs)

    def key_literals(self, key: Key) -> str:
        """The key's columns, comma-separated. ValueError if the text cannot be a key here."""
        return ",".join(map(literal, params(self.table.key, key, MYSQL)))

    def key_cells(self, key: Key) -> dict[str, str]:
        """Key column -> literal."""
        given = params(self.table.key, key, MYSQL)
        return {c.name: literal(v) for c, v in zip(self.table.key, given, strict=True)}

    # --- writing -----------------------------------------------------------------------------------------------------

    @cached_property
    def encoders(self) -> tuple[Encoder | None, ...]:
        return tuple(self._encoder(i) for i in range(len(self.table.columns)))

    def encode(self, index: int, value: Value) -> str:
        """A canonical value as a literal for the field's column. ValueError says why it cannot be one."""
        encode = self.encoders[index]
        if encode is None:
            raise ValueError("the field has no column here")
        return literal(encode(value))

    def constant(self, name: str, value: Value) -> str:
        """A constant of the mapping, or its `sql:` expression, as it stands in a statement."""
        inner = rows.expression(value)
        if inner is not None:
            return f"({inner})"
        return literal(constant(self.table.info.columns[name], value, MYSQL))

    def _decoder(self, index: int) -> Decoder | None:
        column = self.table.columns[index]
        if column is None:
            return None
        inner = decoder(column, self.table.types[index], self.table, MYSQL)
        return _single(inner) if column.kind == "float" and column.precision == 24 else inner

    def _encoder(self, index: int) -> Encoder | None:
        column = self.table.columns[index]
        if column is None:
            return None
        sample = None
        if is_text(column) and self.table.types[index] in ("bool", "datetime"):
            name = quote(column.name)
            found = self.session.query(f"SELECT {name} FROM {self.sql} WHERE {name} <> '' LIMIT 1")
            sample = found[0][0] if found else None
        return encoder(column, self.table.types[index], self.table, MYSQL, sample)


def raw(column: Column, prefix: str = "") -> str:
    """The expression that gives exactly what the column holds: a FLOAT shows only six digits of itself."""
    name = prefix + quote(column.name)
    return f"CAST({name} AS DOUBLE)" if column.kind == "float" else name


def pack_sql(columns: Sequence[Column], prefix: str) -> str:
    """The key of a row as `adapters.keys.pack` spells it, in SQL; `prefix`: NEW. or OLD. or an alias."""
    return pack_columns(columns, {c.name: prefix + quote(c.name) for c in columns})


def pack_columns(columns: Sequence[Column], given: Mapping[str, str]) -> str:
    """The same for a key whose columns hold these expressions."""
    texts = [_text_sql(c, given[c.name]) for c in columns]
    if len(texts) == 1:
        return texts[0]
    return "CONCAT('[', " + ", ',', ".join(f"JSON_QUOTE({t})" for t in texts) + ", ']')"


def _text_sql(column: Column, name: str) -> str:
    if column.kind == "bytes":
        return f"LOWER(HEX({name}))"
    return f"CAST({name} + 0 AS CHAR)" if column.kind == "int" else f"CAST({name} AS CHAR)"


def _single(inner: Decoder) -> Decoder:
    """A FLOAT stands for the exact decimal of its own shortest spelling: 0.1, not 0.10000000149011612."""

    def decode(value: Raw) -> Value:
        return inner(shortest(value)) if isinstance(value, str) else inner(value)

    return decode


def shortest(text: str) -> str:
    number = float(text)
    for digits in range(6, 10):
        spelling = f"{number:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(spelling)))[0] == number:
            return spelling
    return text
