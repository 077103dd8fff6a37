"""A table in the order of (modified, key), for watermark capture (`adapters.watermark`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from adapters.convert import EPOCH, SQLITE, encoder
from adapters.local import lowest
from adapters.rows import modified_column, modified_stamp
from adapters.sqlite.bound import Bound
from adapters.sqlite.session import Session
from adapters.sqlite.sql import quote
from adapters.watermark import Mark
from config.records import Raw, Stamp


class Modified:
    """A row's version is the content of its mapped columns."""

    exact = False
    assumed = ""

    def __init__(self, session: Session, bound: Bound) -> None:
        self._session, self._bound = session, bound
        self._at = str(bound.modified)
        self._parts = [self._at, *(f"t.{quote(c.name)}" for c in bound.table.key)]
        self._order = ", ".join(self._parts)
        columns = [f"t.{quote(c.name)}" for c in bound.table.columns if c is not None]
        self._select = (
            f"SELECT {', '.join([bound.key_sql, self._at, *columns])} FROM {bound.sql} t"
            f" WHERE {self._at} IS NOT NULL AND {bound.addressed}"
        )
        self.moment = modified_stamp(bound.table)

    def newest(self) -> Mark | None:
        order = ", ".join(f"{part} DESC" for part in self._parts)
        return next(iter(self._marks(f" ORDER BY {order} LIMIT 1", ())), None)

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        if mark is None:
            return self._marks(f" ORDER BY {self._order} LIMIT ?", (limit,))
        parameters = (mark.at, *self._bound.key_params(mark.key), limit)
        return self._marks(f" AND {self._compare('>')} ORDER BY {self._order} LIMIT ?", parameters)

    def between(self, low: Raw, behind: Mark | None, top: Mark, limit: int) -> list[Mark]:
        first, given = f"{self._at} >= ?", (low,)
        if behind is not None:
            first, given = self._compare(">"), (behind.at, *self._bound.key_params(behind.key))
        parameters = (*given, top.at, *self._bound.key_params(top.key), limit)
        return self._marks(f" AND {first} AND {self._compare('<=')} ORDER BY {self._order} LIMIT ?", parameters)

    def spell(self, at: Stamp, like: Raw) -> Raw:
        """In the spelling of `like`: texts are compared as texts."""
        table = self._bound.table
        column = modified_column(table)
        assert column is not None
        if isinstance(like, str) and len(like) == 10:
            return f"{lowest(at, ZoneInfo(table.timezone)):%Y-%m-%d}"
        aware = not isinstance(like, str) or like.endswith("Z") or "+" in like[10:] or "-" in like[10:]
        moment = EPOCH + timedelta(microseconds=at)
        if not aware:
            moment = lowest(at, ZoneInfo(table.timezone))
        spelled: Raw = encoder(column, "datetime", table, SQLITE, like)(moment)
        return spelled

    def _compare(self, sign: str) -> str:
        marks = ", ".join("?" * (self._bound.width + 1))
        return f"({self._order}) {sign} ({marks})"

    def _marks(self, rest: str, parameters: tuple[Any, ...]) -> list[Mark]:
        width, found = self._bound.width, self._session.query(self._select + rest, parameters)
        return [Mark(row[width], self._bound.key(row), row[width + 1 :]) for row in found]
