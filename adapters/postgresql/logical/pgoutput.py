"""What the plugin `pgoutput` sends, taken apart: protocol version 1, values as text. Pure.

With version 1 a transaction is sent when it has been committed, however large it is (the server keeps it on its disk
until then); the later versions, which send parts of transactions that may still be rolled back, would only help those
who could do something with them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from adapters.keys import pack
from config.records import Column, Key, Stamp

EPOCH = 946_684_800_000_000
"""PostgreSQL counts microseconds since 2000."""
SHORT = 64
"""Bytes of a value that are kept to be compared; of a longer one, a number that stands for it."""


class Unchanged:
    """A large value that was not sent because it is as it was."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Unchanged()
Sent = bytes | Unchanged | None
"""A column's value as it was sent; None: NULL."""
Kept = bytes | int | Unchanged | None
"""The same as it is kept to be compared."""
Image = tuple[Kept, ...]


class Begin(NamedTuple):
    at: Stamp  # when it was committed, by the server's clock
    xid: int  # 32 bits


class Commit(NamedTuple):
    end: int  # position in the log behind it


class Row(NamedTuple):
    """A row that was inserted (I), updated (U) or deleted (D)."""

    op: str
    tag: str  # which table
    key: Key
    was: Key | None  # U: the key that it had before, where it is another one
    image: Image  # I, U: the watched columns


class Truncate(NamedTuple):
    tags: tuple[str, ...]


Message = Begin | Commit | Row | Truncate


class Unreadable(Exception):
    """The log cannot say which row was changed. The text says why."""


class Layout(NamedTuple):
    """A table that is captured: the columns of its key, and those whose changes are told apart."""

    tag: str
    key: Sequence[Column]
    watched: Sequence[str]


class Relation(NamedTuple):
    """A table as the log has described it last."""

    layout: Layout
    key: tuple[int, ...]  # places of the key's columns
    spell: tuple[Callable[[str], str] | None, ...]
    watched: tuple[int | None, ...]  # places of the watched columns; None: it has none of that name


class Decoder:
    """Keeps what the log has told of the tables: one for each stream."""

    def __init__(self, layouts: Mapping[tuple[str, str], Layout]) -> None:
        """`layouts`: by schema and name; the schema is empty where it is not known."""
        self._layouts = layouts
        self._relations: dict[int, Relation] = {}

    def message(self, data: bytes) -> Message | None:
        """None: nothing of interest. `Unreadable`."""
        kind = data[0]
        if kind in b"IUD":
            relation = self._relations.get(int.from_bytes(data[1:5], "big"))
            return None if relation is None else _row(chr(kind), relation, data)
        if kind == 0x42:  # B
            at, xid = struct.unpack_from(">qI", data, 9)
            return Begin(at + EPOCH, xid)
        if kind == 0x43:  # C
            return Commit(struct.unpack_from(">Q", data, 10)[0])
        if kind == 0x52:  # R
            self._describe(data)
        if kind == 0x54:  # T
            count = int.from_bytes(data[1:5], "big")
            found = [self._relations.get(oid) for oid in struct.unpack_from(f">{count}I", data, 6)]
            return Truncate(tuple(r.layout.tag for r in found if r is not None))
        return None  # types, origins, messages of others

    def _describe(self, data: bytes) -> None:
        oid = int.from_bytes(data[1:5], "big")
        schema, at = _text(data, 5)
        name, at = _text(data, at)
        layout = self._layouts.get((schema or "pg_catalog", name)) or self._layouts.get(("", name))
        if layout is None:
            return
        columns: dict[str, int] = {}
        identity: list[int] = []
        count, at = int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
        for place in range(count):
            if data[at] & 1:
                identity.append(place)
            column, at = _text(data, at + 1)
            columns[column] = place
            at += 8  # type and modifier
        self._relations[oid] = Relation(
            layout,
            _places(layout, columns, identity),
            tuple(spelling(column) for column in layout.key),
            tuple(columns.get(name) for name in layout.watched),
        )


def _places(layout: Layout, columns: Mapping[str, int], identity: Sequence[int]) -> tuple[int, ...]:
    """A column of the key that was renamed meanwhile is the one of the identity that is left over."""
    names = [column.name for column in layout.key]
    left = [place for place in identity if place not in {columns.get(name) for name in names}]
    missing = [name for name in names if name not in columns]
    if missing and (len(missing) > 1 or len(left) != 1):
        raise Unreadable(f"the log knows no column {missing[0]} of {layout.tag}")
    return tuple(columns[name] if name in columns else left[0] for name in names)


def _row(op: str, relation: Relation, data: bytes) -> Row | None:
    """None: a row without a key, which is no record."""
    at, old, new, whole = 5, None, None, True
    if data[at] in b"KO":
        whole = data[at] == 0x4F  # O: all columns; K: those of the identity, the others are sent as NULL
        old, at = values(data, at + 1)
    if op != "D":
        new, at = values(data, at + 1)
    if new is None:
        gone = _key(relation, old or (), (), whole)
        return None if gone is None else Row(op, relation.layout.tag, gone, None, ())
    key = _key(relation, new, old or ())
    was = None if old is None else _key(relation, old, (), whole)
    if key is None:
        return None if was is None else Row("D", relation.layout.tag, was, None, ())
    if op == "U" and old is not None and was is None:
        op = "I"
    image = tuple(UNCHANGED if p is None or p >= len(new) else _kept(new[p]) for p in relation.watched)
    return Row(op, relation.layout.tag, key, None if was == key else was, image)


def values(data: bytes, at: int) -> tuple[list[Sent], int]:
    """One row's values, and where it ends."""
    found: list[Sent] = []
    count, at = int.from_bytes(data[at : at + 2], "big"), at + 2
    for _ in range(count):
        kind = data[at]
        if kind in b"tb":
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            found.append(data[at + 5 : end])
            at = end
        else:
            found.append(None if kind == 0x6E else UNCHANGED)
            at += 1
    return found, at


def _key(relation: Relation, row: Sequence[Sent], before: Sequence[Sent], whole: bool = True) -> Key | None:
    """`before`: the row's identity before, for values that are too large to be sent twice. None: a column of the key
    holds NULL, as one that is only unique may; `whole`: what is sent as NULL is NULL."""
    texts = []
    for place, spell in zip(relation.key, relation.spell, strict=True):
        value = row[place] if place < len(row) else None
        if isinstance(value, Unchanged) and before:
            value = before[place]
        if value is None and whole and place < len(row):
            return None
        if not isinstance(value, bytes):
            raise Unreadable(f"the log does not say which row of {relation.layout.tag} was changed")
        text = value.decode()
        texts.append(text if spell is None else spell(text))
    return texts[0] if len(texts) == 1 else pack(texts)


def spelling(column: Column) -> Callable[[str], str] | None:
    """What a cast to text makes of it and the log does not."""
    if column.padded:
        return lambda text: text.rstrip(" ")
    if column.kind == "bytes":
        return lambda text: text.removeprefix("\\x")
    if column.kind == "bool":
        return lambda text: {"t": "true", "f": "false"}.get(text, text)
    if column.native == "inet":
        return lambda text: text if "/" in text else text + ("/128" if ":" in text else "/32")
    return None


def _kept(value: Sent) -> Kept:
    return hash(value) if isinstance(value, bytes) and len(value) > SHORT else value


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
