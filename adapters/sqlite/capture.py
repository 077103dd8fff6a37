"""What has changed: from the change log, and for tables with watermark capture from their `modified`."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from adapters import watermark
from adapters.convert import EPOCH, SQLITE, encoder, to_datetime
from adapters.keys import normal
from adapters.rows import modified_column
from adapters.sqlite.bound import Bound
from adapters.sqlite.objects import Names
from adapters.sqlite.session import Row, Session
from adapters.sqlite.sql import quote
from adapters.watermark import Mark, Places
from config.records import Batch, Change, Key, Op, Raw, Stamp


def now() -> Stamp:
    return time.time_ns() // 1000


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


def _pack(low: int, high: int) -> bytes:
    return f"{low}-{high}".encode() if high else b""


class Modified:
    """One table's rows in the order of (modified, key)."""

    def __init__(self, session: Session, bound: Bound) -> None:
        self._session = session
        self._bound = bound
        self._at = bound.modified
        self._parts = [str(self._at), *(f"t.{quote(c.name)}" for c in bound.table.key)]
        self._order = ", ".join(self._parts)

    def newest(self) -> Mark | None:
        order = ", ".join(f"{part} DESC" for part in self._parts)
        rows = self._marks(f"ORDER BY {order} LIMIT 1", ())
        return rows[0] if rows else None

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        condition = ""
        parameters: tuple[object, ...] = ()
        if mark is not None:
            condition = f"AND {self._compare('>')} "
            parameters = (mark.at, *self._bound.key_params(mark.key))
        return self._marks(f"{condition}ORDER BY {self._order} LIMIT ?", (*parameters, limit))

    def between(self, low: Raw, mark: Mark) -> list[Mark]:
        parameters = (low, mark.at, *self._bound.key_params(mark.key))
        return self._marks(f"AND {self._at} >= ? AND {self._compare('<=')} ORDER BY {self._order}", parameters)

    def earlier(self, at: Raw, by: int) -> Raw:
        """In the spelling of `at`: texts are compared as texts."""
        table = self._bound.table
        column = modified_column(table)
        assert column is not None
        zone = ZoneInfo("UTC" if column.zoned else table.timezone)
        try:
            moment = to_datetime(at, zone)
        except ValueError:
            return at
        earlier: Raw = encoder(column, "datetime", table, SQLITE, at)(_minus(moment, by))
        return earlier

    def _compare(self, sign: str) -> str:
        marks = ", ".join("?" * (self._bound.width + 1))
        return f"({self._order}) {sign} ({marks})"

    def _marks(self, rest: str, parameters: tuple[object, ...]) -> list[Mark]:
        bound = self._bound
        text = (
            f"SELECT {bound.key_sql}, {self._at} FROM {bound.sql} t WHERE {self._at} IS NOT NULL AND {bound.addressed} "
        )
        return [Mark(row[-1], bound.key(row)) for row in self._session.query(text + rest, parameters)]


def _minus(moment: datetime, by: int) -> datetime:
    return max(EPOCH, moment - timedelta(microseconds=by))


class Captures:
    """Both kinds under one position."""

    def __init__(self, session: Session, names: Names, bounds: dict[str, Bound], overlap: int) -> None:
        by_table: dict[str, list[Bound]] = {}
        for bound in bounds.values():
            if bound.captured:
                by_table.setdefault(bound.table.name, []).append(bound)
        self._session = session
        self.log = Log(session, names, by_table) if by_table else None
        self._modified = {e: Modified(session, b) for e, b in bounds.items() if not b.captured}
        self._overlap = overlap

    def changes(self, position: bytes | None, limit: int) -> Batch:
        places = watermark.unpack(position)
        found: list[Change] = []
        log, more = b"", False
        if self.log is not None:
            found, log, more = self.log.changes(limit)
        marks = dict(places.marks)
        for entity in self._modified:
            if entity in marks and len(found) >= limit:
                more = True  # maybe: the next call looks
                continue
            page = self._page(entity, marks.get(entity), limit - len(found))
            found += watermark.changes(entity, page)
            marks[entity], more = page.position, more or page.more
        return Batch(found, watermark.pack(Places(log, marks)), more)

    def _page(self, entity: str, position: watermark.Position | None, limit: int) -> watermark.Page:
        """In one snapshot: what commits between two of these statements must not count as handed out."""
        source = self._modified[entity]
        with self._session.snapshot():
            if position is None:
                return watermark.Page([], watermark.start(source, now(), self._overlap), False)
            return watermark.following(source, position, limit, now(), self._overlap)

    def acknowledge(self, position: bytes | None) -> None:
        places = watermark.unpack(position)
        if self.log is not None and places.log:
            self.log.acknowledge(places.log)
