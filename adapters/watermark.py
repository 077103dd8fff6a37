"""Watermark capture: which rows are new by `(modified, key)`, and how far one table is known to be complete.

Rows behind the newest one seen (`top`) are taken as soon as they are there, in keyset order, ties included. A row
that commits late is stamped below it. Such rows are looked for from the moment below which none can come any more
(`adapters.horizon` holds the argument); that moment, `low`, is what a position stands for: who starts from it sees
all that was not handed out. A call reads only what may have come into sight since the one before, so a transaction
that stays open for a day costs nothing until it ends, and then one reading of that day, page by page.

What was handed out is remembered (`adapters.remembered`) by key, stamp and version. Two edits of a row may carry one
stamp: where the database has no version of its own to tell them apart, the content does, and a row is handed out once
more when the tick of the clock that stamped it is over.

Deletes, edits that leave `modified` alone, and rows without it are not seen here: the sweep finds them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from adapters import horizon
from adapters.horizon import SECOND, Look
from adapters.remembered import Remembered, name_of
from config.records import Key, Raw, Stamp

PAGE = 2000  # rows of one statement that looks for late ones
PAGES = 25  # such statements in one call; then the round goes on
DAY = 86_400 * SECOND


class Mark(NamedTuple):
    """A row: its place in the order of (modified, key), and what tells two states of it with one stamp apart."""

    at: Any  # Raw
    key: Key
    version: Any = None


class Source(Protocol):
    """What an adapter gives for one table; one statement each. Rows without `modified` do not take part."""

    @property
    def exact(self) -> bool:
        """Does a version differ after every change, whatever its content?"""
        ...

    @property
    def assumed(self) -> str:
        """Why the transactions of this database prove nothing about this table (it is filled from elsewhere)."""
        ...

    def newest(self) -> Mark | None:
        """The last row in the order of (modified, key)."""
        ...

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        """The next rows strictly behind the mark, in order; None = from the beginning."""
        ...

    def between(self, low: Raw, behind: Mark | None, top: Mark, limit: int) -> list[Mark]:
        """The next rows from `low` (inclusive), strictly behind `behind`, up to `top` (inclusive), in order."""
        ...

    def spell(self, at: Stamp, like: Raw) -> Raw:
        """The lowest that the column may hold of what is stamped at `at` (server's clock) or later; spelled `like`."""
        ...

    def moment(self, at: Raw) -> Stamp | None:
        """The stamp as a time; None if it is none."""
        ...


class Position(msgspec.Struct, array_like=True, frozen=True):
    """How far one table has been seen."""

    top: tuple[Any, Key] | None  # the last row in order that was handed out
    low: Stamp  # late rows are looked for from here on
    cursor: tuple[Any, Key] | None = None  # a look for late rows is under way: it has come to here,
    then: Stamp = 0  # and this is what `low` becomes when it is done
    seen: bytes = b""  # what was handed out last, see `Remembered.stored`


class Page(NamedTuple):
    marks: list[Mark]
    position: Position
    more: bool


@dataclass
class Known:
    """What this process knows beyond a position: it saves work, and is never needed."""

    look: Look | None = None  # before the last reading that came to its end
    pending: Look | None = None  # before the one that is under way
    seen: Remembered = field(default_factory=Remembered)
    late: int = 0  # the most that a row was stamped before what was held to be complete (µs)


def tick(at: Raw) -> int:
    """The finest step (µs) of a stamp that is spelled so."""
    if isinstance(at, str) and len(at) == len("2026-11-24"):
        return DAY
    fraction = re.search(r"\.(\d{1,6})", at) if isinstance(at, str) else None
    if fraction is not None:
        return int(10 ** (6 - len(fraction[1])))
    return 1 if isinstance(at, float) else SECOND


# --- one call for one table ------------------------------------------------------------------------------------------


def start(source: Source, look: Look, overlap: int) -> tuple[Position, Known]:
    """The position of now: what can be seen by now is the scan's business, which comes after."""
    known = Known(look)
    low, newest, behind = horizon.bound(look, overlap), source.newest(), None
    for _ in range(PAGES if newest is not None else 0):
        assert newest is not None
        rows = source.between(source.spell(low, newest.at), behind, newest, PAGE)
        known.seen.block(source.moment(rows[-1].at) if rows else None)
        for mark in rows:
            known.seen.add(name_of(mark), True)
        if len(rows) < PAGE:
            break
        behind = rows[-1]
    return Position(newest and (newest.at, newest.key), low, seen=known.seen.stored()), known


def resume(source: Source, position: Position) -> Known:
    """What another process has left."""
    return Known(seen=Remembered(position.seen, source.moment(position.top[0]) if position.top else None))


def following(source: Source, position: Position, known: Known, look: Look, limit: int, overlap: int) -> Page:
    """Up to `limit` rows that were not handed out. `look` was taken before this call, which reads only now.

    `known` fits the position that was given, and afterwards the one that is returned.
    """
    return _Call(source, position, known, look, limit, overlap).run()


class _Call:
    def __init__(self, source: Source, position: Position, known: Known, look: Look, limit: int, overlap: int) -> None:
        self.source, self.position, self.known = source, position, known
        self.look, self.limit, self.overlap = look, limit, overlap
        self.found: list[Mark] = []
        self.top = position.top and Mark(*position.top)
        self.low, self.then = position.low, position.then
        self.cursor = position.cursor and Mark(*position.cursor)

    def run(self) -> Page:
        if self._nothing_happened():
            self.known.look = self.look
            return Page([], self.position, False)
        more = self._fresh() or self._late()
        top = self.top and (self.top.at, self.top.key)
        cursor = self.cursor and (self.cursor.at, self.cursor.key)
        if not self.found and (top, cursor) == (self.position.top, self.position.cursor):
            return Page([], self.position, more)  # nobody writes a position in which nothing is new
        then = self.then if cursor else 0
        return Page(self.found, Position(top, self.low, cursor, then, self.known.seen.stored()), more)

    def _nothing_happened(self) -> bool:
        before, settled = self.known.look, self.cursor is None and not self.known.seen.unsettled
        return settled and before is not None and before.version is not None and before.version == self.look.version

    def _fresh(self) -> bool:
        """Rows behind the newest one; is there more of them?"""
        rows = self.source.after(self.top, self.limit)
        if not rows:
            return False
        first, last = self.source.moment(rows[0].at), self.source.moment(rows[-1].at)
        self.known.seen.block(last)
        for mark in rows:
            self._take(mark)
        if first is not None and self.top is not None:
            self.known.late = max(self.known.late, self.position.low - first)
        self.top = rows[-1]
        return len(rows) == self.limit

    def _late(self) -> bool:
        """Rows that came into sight at or below the newest one; is there more to be looked at?"""
        if self.cursor is None:
            self.known.pending, self.then = self.look, horizon.bound(self.look, self.overlap)
        if self.top is not None and (low := self._lowest(self.top)) is not None and self._between(low, self.top):
            return True
        self.low, self.cursor = self.then, None
        self.known.look, self.known.pending = self.known.pending, None
        self.known.seen.forget(self.low)
        return False

    def _lowest(self, top: Mark) -> Raw:
        """From where they are looked for; None: no row can have come at or below the newest one."""
        before = self.known.look
        whole = before is None or self.cursor is not None
        if whole or before is None:
            low = self.source.spell(horizon.resumed(self.low, self.look), top.at)
        else:
            low = self.source.spell(horizon.since(before, self.look, self.overlap), top.at)
        newest, lowest = self.source.moment(top.at), self.source.moment(low)
        return None if newest is not None and lowest is not None and newest < lowest else low

    def _between(self, low: Raw, top: Mark) -> bool:
        for _ in range(PAGES):
            rows = self.source.between(low, self.cursor, top, PAGE)
            self.known.seen.block(self.source.moment(rows[-1].at) if rows else None)
            for mark in rows:
                if not self._take(mark):
                    return True
                self.cursor = mark
            if len(rows) < PAGE:
                return False
        return True

    def _take(self, mark: Mark) -> bool:
        """Hand it out if it was not yet; False when the limit forbids."""
        name, final = name_of(mark), self._is_final(mark)
        if self.known.seen.wants(name, final):
            if len(self.found) == self.limit:
                return False
            self.found.append(mark)
            self.known.seen.add(name, final)
        return True

    def _is_final(self, mark: Mark) -> bool:
        """Will no other edit get the same stamp? (Two within one microsecond are none of people's.)"""
        step = 1 if self.source.exact else tick(mark.at)
        at = None if step == 1 else self.source.moment(mark.at)
        return at is None or at + step <= self.look.clock


class Places(msgspec.Struct, array_like=True, frozen=True):
    """The position of a system: the change log's, one per entity with watermark capture, and the database log's."""

    log: bytes = b""  # private to the adapter
    marks: dict[str, Position] = {}
    stream: bytes = b""  # private to the adapter


# Made here, in one thread: two threads that decode a Struct for the first time at once end the process (msgspec 0.22).
_decode = msgspec.msgpack.Decoder(Places).decode


def pack(places: Places) -> bytes:
    return msgspec.msgpack.encode(places)


def unpack(position: bytes | None) -> Places:
    """A position that is spelled in no way that we know says nothing: as if there were none."""
    try:
        return Places() if position is None else _decode(position)
    except msgspec.DecodeError:
        return Places()
