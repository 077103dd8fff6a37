"""Watermark capture: which rows are new by `(modified, key)`; the position and its rules, without any SQL.

A row may become visible with a stamp that is already behind the watermark: its transaction was open while others
committed. So the stretch behind the watermark is looked at again, `overlap` wide, until nothing late can come there
any more; what was handed out from it is remembered by (key, stamp) and not handed out twice. Deletes, and edits that
leave `modified` alone, are not seen here: the sweep finds them.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec

from config.records import Change, Key, Raw, Stamp

HASH = 8  # bytes: of a million rows in one overlap, one in twenty million runs would pass over a row by collision


class Mark(NamedTuple):
    """A place in the order of (modified, key)."""

    at: Any  # Raw
    key: Key


class Source(Protocol):
    """What an adapter gives for one table, all that one call below asks for in one snapshot. Rows without `modified`
    do not take part."""

    def newest(self) -> Mark | None:
        """The last row in the order of (modified, key)."""
        ...

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        """The next rows strictly behind the mark, in order; None = from the beginning."""
        ...

    def between(self, low: Raw, mark: Mark) -> list[Mark]:
        """All rows from `low` (inclusive) up to the mark (inclusive)."""
        ...

    def earlier(self, at: Raw, by: int) -> Raw:
        """The stamp `by` microseconds before `at`, in the column's own form."""
        ...


class Position(msgspec.Struct, array_like=True, frozen=True):
    """How far one table has been seen."""

    mark: Mark | None = None  # everything up to here has been handed out, but for what commits late
    low: Any = None  # Raw; late rows are looked for from here on; None: none can come any more
    reached: Stamp = 0  # when the mark was reached, on the agent's clock
    seen: bytes = b""  # hashes of (key, stamp) handed out between `low` and the mark


class Page(NamedTuple):
    marks: list[Mark]
    position: Position
    more: bool


def start(source: Source, now: Stamp, overlap: int) -> Position:
    """The position of now: everything older is the scan's business."""
    newest = source.newest()
    if newest is None:
        return Position(reached=now)
    low = source.earlier(newest.at, overlap)
    return Position(newest, low, now, _hashes(source.between(low, newest)))


def following(source: Source, position: Position, limit: int, now: Stamp, overlap: int) -> Page:
    """Up to `limit` rows behind the position, late ones included once the end is reached."""
    fresh = source.after(position.mark, limit)
    more = len(fresh) == limit
    mark = fresh[-1] if fresh else position.mark
    if mark is None:
        return Page([], position, False)
    reached = now if fresh else position.reached
    seen = position.seen + _hashes(fresh)
    low = position.low if position.low is not None or not fresh else source.earlier(fresh[0].at, overlap)
    if more or low is None:  # a big step forward: late rows are looked for when it is done
        return Page(fresh, Position(mark, low, reached, seen), more)
    known = {seen[i : i + HASH] for i in range(0, len(seen), HASH)}
    window = source.between(low, mark)
    late = [m for m in window if _hash(m) not in known]
    if len(fresh) + len(late) > limit:
        late = late[: limit - len(fresh)]
        return Page(fresh + late, Position(mark, low, reached, seen + _hashes(late)), True)
    return Page(fresh + late, _caught_up(source, mark, reached, window, now, overlap), False)


def _caught_up(source: Source, mark: Mark, reached: Stamp, window: list[Mark], now: Stamp, overlap: int) -> Position:
    """All of the window is handed out. Once the overlap has passed since the mark was reached, nothing late can come.

    What is remembered is the window that was compared, not a newer look: a row that came meanwhile would be missed.
    """
    if now >= reached + overlap:
        return Position(mark, None, reached)
    return Position(mark, source.earlier(mark.at, overlap), reached, _hashes(window))


def _hashes(marks: list[Mark]) -> bytes:
    return b"".join(map(_hash, marks))


def _hash(mark: Mark) -> bytes:
    return blake2b(repr(tuple(mark)).encode(), digest_size=HASH).digest()


class Places(msgspec.Struct, array_like=True, frozen=True):
    """The position of a system: the change log's, and one per entity with watermark capture."""

    log: bytes = b""  # private to the adapter
    marks: dict[str, Position] = {}


def pack(places: Places) -> bytes:
    return msgspec.msgpack.encode(places)


def unpack(position: bytes | None) -> Places:
    return Places() if position is None else msgspec.msgpack.decode(position, type=Places)


def changes(entity: str, page: Page) -> list[Change]:
    return [Change(entity, mark.key) for mark in page.marks]
