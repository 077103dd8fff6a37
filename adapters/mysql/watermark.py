"""A table in the order of (modified, key), for watermark capture (`adapters.watermark`)."""

from __future__ import annotations

from functools import cached_property
from zoneinfo import ZoneInfo

from adapters.local import lowest
from adapters.mysql.connection import Session
from adapters.mysql.reader import beyond
from adapters.mysql.sql import literal, quote
from adapters.mysql.tables import Bound
from adapters.rows import modified_column
from adapters.watermark import Mark
from config.records import Raw, Stamp


class Marks:
    """A row's version is the content of its mapped columns: the server has no number for it."""

    exact = False
    assumed = ""

    def __init__(self, session: Session, bound: Bound) -> None:
        assert bound.modified is not None, f"{bound.table.entity}: watermark capture needs `modified`"
        self._session = session
        self._bound = bound
        self._at = bound.modified
        keys = [f"t.{quote(c.name)}" for c in bound.table.key]
        columns = [f"QUOTE(t.{quote(c.name)})" for c in bound.table.columns if c is not None]
        version = f"MD5(CONCAT_WS(',', {', '.join(columns)}))" if columns else "NULL"
        self._select = (
            f"SELECT {self._at}, {version}, {', '.join(keys)} FROM {bound.sql} t WHERE {self._at} IS NOT NULL"
        )
        self._order = [self._at, *keys]
        self.moment = bound.stamp

    @cached_property
    def _zone(self) -> ZoneInfo:
        column = modified_column(self._bound.table)
        return ZoneInfo("UTC" if column is not None and column.zoned else self._bound.table.timezone)

    def newest(self) -> Mark | None:
        order = ", ".join(f"{name} DESC" for name in self._order)
        return next(iter(self._marks(f" ORDER BY {order} LIMIT 1")), None)

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        where = "" if mark is None else f" AND {self._behind(mark)}"
        return self._marks(f"{where} ORDER BY {', '.join(self._order)} LIMIT {int(limit)}")

    def between(self, low: Raw, behind: Mark | None, top: Mark, limit: int) -> list[Mark]:
        first = f"{self._at} >= {literal(low)}" if behind is None else self._behind(behind)
        where = f" AND {first} AND {self._at} <= {literal(top.at)} AND NOT ({self._behind(top)})"
        return self._marks(f"{where} ORDER BY {', '.join(self._order)} LIMIT {int(limit)}")

    def spell(self, at: Stamp, like: Raw) -> Raw:
        text = f"{lowest(at, self._zone):%Y-%m-%d %H:%M:%S.%f}"
        return text[:10] if isinstance(like, str) and len(like) == 10 else text

    def _behind(self, mark: Mark) -> str:
        at = f"{self._at} > {literal(mark.at)}"
        return f"{self._at} >= {literal(mark.at)} AND ({at} OR ({beyond(self._bound, mark.key)}))"

    def _marks(self, rest: str) -> list[Mark]:
        found = self._session.query(self._select + rest)
        return [Mark(at, self._bound.key(key), version) for at, version, *key in found]
