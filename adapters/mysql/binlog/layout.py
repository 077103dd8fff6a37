"""How the rows of one table lie in the log: the event that comes before them says it (TABLE_MAP). Pure.

Only what is needed is decoded. All other columns are stepped over, so of every type that a server can send the length
must be known; one that is not known is `Unreadable`, never a guess.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Lengths of the types that have the same length in every row, by their number in the protocol.
FIXED = {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 0, 8: 8, 9: 3, 10: 3, 13: 1, 14: 3}
OLD_TIMES = {7: "TIMESTAMP", 11: "TIME", 12: "DATETIME"}
"""As they were kept before MariaDB 10.1: with fractions their length is not told."""
SECONDS = {17: 4, 18: 5, 19: 3}  # TIMESTAMP2, DATETIME2, TIME2 without their fraction
METADATA = {4: 1, 5: 1, 15: 2, 16: 2, 17: 1, 18: 1, 19: 1, 140: 1, 141: 2, 245: 1, 246: 2, 247: 2, 248: 2}
METADATA |= {249: 1, 250: 1, 251: 1, 252: 1, 253: 2, 254: 2, 255: 1}
INTEGERS = {1: 1, 2: 2, 3: 4, 8: 8, 9: 3}
NUMBERS = frozenset((1, 2, 3, 4, 5, 8, 9, 13, 246))  # of those the server says whether they are unsigned
DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes of so many decimal digits


class Unreadable(Exception):
    """What the log holds cannot be understood; (what it is, the setting that would change it)."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


class Column(NamedTuple):
    name: str
    type: int
    meta: int  # as the type says: a length, or precision and scale
    unsigned: bool
    choices: tuple[bytes, ...] = ()  # of an ENUM


class Map(NamedTuple):
    """A TABLE_MAP event."""

    number: int  # by which the events of rows name it
    schema: str
    table: str
    columns: tuple[Column, ...]


def table_map(body: bytes) -> Map:
    """Names of columns are '' where the server does not tell them."""
    number = int.from_bytes(body[:6], "little")
    schema, at = _short(body, 8)
    table, at = _short(body, at)
    count, at = packed(body, at)
    types = body[at : at + count]
    size, at = packed(body, at + count)
    metas = list(_metas(types, body[at : at + size]))
    at += size + (count + 7) // 8  # which columns may be NULL
    optional = dict(_optional(body, at))
    names = list(_texts(optional.get(4, b"")))
    choices = iter(list(_choices(optional.get(6, b""))))
    unsigned = _bits(optional.get(1, b""))
    columns = []
    for i, (type_, meta) in enumerate(zip(types, metas, strict=True)):
        real, length = type_, meta
        if type_ == 254:
            real, length = _string(meta)
        columns.append(
            Column(
                names[i].decode() if i < len(names) else "",
                real,
                length,
                type_ in NUMBERS and next(unsigned, False),
                next(choices, ()) if real == 247 else (),
            )
        )
    return Map(number, schema.decode(), table.decode(), tuple(columns))


def _short(body: bytes, at: int) -> tuple[bytes, int]:
    length = body[at]
    return body[at + 1 : at + 1 + length], at + length + 2  # and a zero


def packed(body: bytes, at: int) -> tuple[int, int]:
    """A number of the protocol's variable length, and where it ends."""
    first = body[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(body[at + 1 : at + 1 + size], "little"), at + 1 + size


def _metas(types: bytes, block: bytes) -> Iterator[int]:
    at = 0
    for type_ in types:
        size = METADATA.get(type_, 0)
        order = "big" if type_ in (246, 247, 248, 254) else "little"
        yield int.from_bytes(block[at : at + size], order)  # type: ignore[arg-type]
        at += size


def _string(meta: int) -> tuple[int, int]:
    """CHAR, BINARY, ENUM and SET share a number; long CHARs borrow two bits of it."""
    first, second = meta >> 8, meta & 0xFF
    if first & 0x30 != 0x30:
        return first | 0x30, second | (((first & 0x30) ^ 0x30) << 4)
    return first, second


def _optional(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(body):
        kind = body[at]
        size, at = packed(body, at + 1)
        yield kind, body[at : at + size]
        at += size


def _bits(block: bytes) -> Iterator[bool]:
    for byte in block:
        for n in range(7, -1, -1):
            yield bool(byte >> n & 1)


def _texts(block: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(block):
        size, at = packed(block, at)
        yield block[at : at + size]
        at += size


def _choices(block: bytes) -> Iterator[tuple[bytes, ...]]:
    at = 0
    while at < len(block):
        count, at = packed(block, at)
        found = []
        for _ in range(count):
            size, at = packed(block, at)
            found.append(block[at : at + size])
            at += size
        yield tuple(found)


# --- rows ------------------------------------------------------------------------------------------------------------

Widths = Sequence[tuple[int, int]]
"""Of each column: (bytes that hold its length, 0) or (0, its length)."""


def widths(columns: Sequence[Column]) -> list[tuple[int, int]]:
    return [_width(column) for column in columns]


def _width(column: Column) -> tuple[int, int]:
    type_, meta = column.type, column.meta
    if type_ in FIXED:
        return 0, FIXED[type_]
    if type_ in SECONDS:
        return 0, SECONDS[type_] + (meta + 1) // 2
    if type_ in (15, 141, 253):
        return (1 if meta < 256 else 2), 0
    if type_ == 254:
        return (1 if meta < 256 else 2), 0
    if type_ in (249, 250, 251, 252, 255, 245, 140):
        return meta, 0
    if type_ in (247, 248):
        return 0, meta
    if type_ == 246:
        return 0, decimal_width(meta >> 8, meta & 0xFF)
    if type_ == 16:
        return 0, (meta >> 8) + ((meta & 0xFF) > 0)
    name = column.name or "a column"
    if type_ in OLD_TIMES:
        hint = "SET GLOBAL mysql56_temporal_format = ON; then rebuild the table: ALTER TABLE … FORCE"
        raise Unreadable(f"{name} is a {OLD_TIMES[type_]} in the format of servers before MariaDB 10.1", hint)
    raise Unreadable(f"{name} is of a type that Accord does not know ({type_})", 'use capture = "trigger"')


def decimal_width(precision: int, scale: int) -> int:
    whole = precision - scale
    return whole // 9 * 4 + DIGITS[whole % 9] + scale // 9 * 4 + DIGITS[scale % 9]


Image = list[bytes | None]
"""A row's columns as they are stored, in the order of those that are present."""


def image(body: bytes, at: int, widths: Widths) -> tuple[Image, int]:
    """One row, and where it ends."""
    count = len(widths)
    size = (count + 7) >> 3
    nulls = int.from_bytes(body[at : at + size], "little")
    at += size
    found: Image = []
    add = found.append
    for prefix, length in widths:
        if nulls & 1:
            add(None)
        else:
            if prefix == 1:
                length = body[at]
                at += 1
            elif prefix:
                length = int.from_bytes(body[at : at + prefix], "little")
                at += prefix
            add(body[at : at + length])
            at += length
        nulls >>= 1
    if at > len(body):
        raise struct.error("a row is longer than its event")
    return found, at


class Rows(NamedTuple):
    """An event of rows: which table, and whether it is the last of its statement."""

    number: int
    last: bool
    present: tuple[int, int]  # bit maps: columns of the (first) image, and of the one after an UPDATE
    at: int  # where the rows begin
    width: int  # columns of the table


def rows_head(body: bytes, update: bool) -> Rows:
    number = int.from_bytes(body[:6], "little")
    flags = body[6] | body[7] << 8
    count, at = packed(body, 8)
    size = (count + 7) // 8
    first = int.from_bytes(body[at : at + size], "little")
    at += size
    second = first
    if update:
        second = int.from_bytes(body[at : at + size], "little")
        at += size
    return Rows(number, bool(flags & 1), (first, second), at, count)
