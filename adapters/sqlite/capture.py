"""What has changed: from the change log, and for tables with watermark capture from their `modified`."""

from __future__ import annotations

import time

from adapters import watermark
from adapters.convert import SQLITE
from adapters.keys import normal
from adapters.polled import Tables
from adapters.rows import ENTRY
from adapters.sqlite.bound import Bound
from adapters.sqlite.horizon import Horizon
from adapters.sqlite.objects import Names
from adapters.sqlite.session import Row, Session
from adapters.sqlite.watermark import Modified
from adapters.watermark import Places
from config.records import Batch, Change, Key, Op

SOME = 20_000
"""Entries that are let go of in one statement."""
PATIENCE = 5.0
"""Seconds after which other work has its turn, when a backlog is let go of."""


class Log:
    """The change log. Ids grow in the order of commits, because only one transaction writes at a time: everything up
    to an id that was seen has been seen."""

    def __init__(self, session: Session, names: Names, bounds: dict[str, list[Bound]]) -> None:
        self._session = session
        self._names = names
        self._bounds = bounds  # by table

    def changes(self, limit: int) -> tuple[list[Change], bytes, bool]:
        """Up to `limit` distinct records, the range of ids that they were noted under, and whether there are more."""
        found: dict[tuple[str, Key], Change] = {}
        low = high = 0
        for id, table, text, op in self._entries(limit):
            noted = [
                Change(b.table.entity, key, Op(op)) for b in self._bounds.get(table, ()) for key in self._key(b, text)
            ]
            new = [c for c in noted if (c.entity, c.key) not in found]
            if len(found) + len(new) > limit and found:
                return list(found.values()), _pack(low, high), True
            found.update({(c.entity, c.key): c for c in noted})
            low, high = low or id, id
        more = bool(high) and bool(self._rows(f"id > {high}", 1))
        return list(found.values()), _pack(low, high), more

    def _entries(self, limit: int) -> list[Row]:
        """Enough entries for `limit` records, unless a record stands there many times: then the next call goes on."""
        return self._rows("1", 4 * limit)

    def _rows(self, condition: str, limit: int) -> list[Row]:
        return self._session.query(
            f"SELECT id, tbl, key, op FROM {self._names.changes} WHERE {condition} AND tbl <> '' ORDER BY id LIMIT ?",
            (limit,),
        )

    def _key(self, bound: Bound, text: str) -> list[Key]:
        try:
            return [normal(bound.table.key, text, SQLITE)]
        except ValueError:  # noted when the table had another key: that row is another one now
            return []

    def acknowledge(self, position: bytes) -> None:
        """Remove exactly what was handed out. The highest id stays, emptied (see `objects.seed`)."""
        low, high = map(int, position.split(b"-"))
        log = self._names.changes
        with self._session.writing():
            highest = f"(SELECT max(id) FROM {log})"
            self._session.query(f"DELETE FROM {log} WHERE id BETWEEN ? AND ? AND id < {highest}", (low, high))
            self._session.query(
                f"UPDATE {log} SET tbl = '', key = NULL, was = NULL, op = NULL, cols = NULL WHERE id BETWEEN ? AND ?",
                (low, high),
            )
            self._session.query(f"DELETE FROM {log} WHERE tbl = '' AND id < {highest}")

    def backlog(self) -> int:
        """Bytes that waiting entries take, about: as many as there are ids from the first to the last."""
        end = f"(SELECT id FROM {self._names.changes} WHERE tbl <> '' ORDER BY id {{}} LIMIT 1)"
        rows = self._session.query(f"SELECT coalesce({end.format('DESC')} - {end.format('')} + 1, 0)")
        return ENTRY * int(rows[0][0])

    def let_go(self) -> bool:
        """Some entries at a time, so that nobody waits for long. False: there are more."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            rows = self._rows("1", SOME)
            if not rows:
                return True
            self.acknowledge(_pack(rows[0][0], rows[-1][0]))
        return False


def _pack(low: int, high: int) -> bytes:
    return f"{low}-{high}".encode() if high else b""


class Captures:
    """Both kinds under one position."""

    def __init__(self, session: Session, writer: Session, names: Names, bounds: dict[str, Bound], overlap: int) -> None:
        by_table: dict[str, list[Bound]] = {}
        for bound in bounds.values():
            if bound.captured:
                by_table.setdefault(bound.table.name, []).append(bound)
        self.log = Log(session, names, by_table) if by_table else None
        self._tables = Tables({e: Modified(session, b) for e, b in bounds.items() if not b.captured}, overlap)
        self._horizon = Horizon(session, writer)

    def changes(self, position: bytes | None, limit: int) -> Batch:
        places = watermark.unpack(position)
        found: list[Change] = []
        log, more = b"", False
        if self.log is not None:
            found, log, more = self.log.changes(self._tables.rest(limit))
        polled = self._tables.changes(places.marks, self._horizon.look, limit - len(found), 0)
        marks = watermark.pack(Places(log, polled.marks))
        return Batch(found + polled.changes, marks, more or polled.more, polled.complete)

    def acknowledge(self, position: bytes | None) -> None:
        places = watermark.unpack(position)
        if self.log is not None and places.log:
            self.log.acknowledge(places.log)
