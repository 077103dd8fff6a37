"""A table in the order of (modified, key), for watermark capture (`adapters.watermark`).

A row's version is its `xmin`, the number of the transaction that wrote it: it tells two edits with one stamp apart.
Views and foreign tables have none; there it is the content of the mapped columns.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from adapters.convert import EPOCH
from adapters.local import lowest
from adapters.postgresql.bound import Bound
from adapters.postgresql.session import Session
from adapters.postgresql.sql import cast, quote
from adapters.rows import modified_stamp
from adapters.watermark import Mark
from config.records import Key, Raw, Stamp

ELSEWHERE = {"m": "a materialized view: its rows show when it is refreshed", "f": "a foreign table"}


class Polled:
    def __init__(self, session: Session, bound: Bound) -> None:
        assert bound.modified is not None, f"{bound.entity}: watermark capture needs `modified`"
        self._session, self._bound, self._at = session, bound, bound.modified
        self._keys = [f"t.{quote(c.name)}" for c in bound.table.key]
        self._order = ", ".join([self._at, *self._keys])
        self.moment = modified_stamp(bound.table)

    @cached_property
    def _kind(self) -> str:
        text = "SELECT c.relkind::text FROM pg_class c WHERE c.oid = to_regclass($1)"
        return str(next(iter(self._session.query(text, [self._bound.name])), ("r",))[0])

    @property
    def exact(self) -> bool:
        return self._kind in "rp"

    @property
    def assumed(self) -> str:
        what = ELSEWHERE.get(self._kind)
        return f"{self._bound.table.name} is {what}" if what else ""

    @cached_property
    def _selected(self) -> str:
        version = "t.xmin::text" if self.exact else f"md5(ROW({self._bound.raws})::text)"
        return f"SELECT {self._bound.keys}, {self._at}::text, {version} FROM {self._bound.name} t"

    @cached_property
    def _type(self) -> str:
        return self._bound.modified_type(self._session)

    def newest(self) -> Mark | None:
        order = ", ".join(f"{part} DESC" for part in [self._at, *self._keys])
        return next(iter(self._rows(f"WHERE {self._at} IS NOT NULL ORDER BY {order} LIMIT 1", [])), None)

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        if mark is None:
            return self._rows(f"WHERE {self._at} IS NOT NULL ORDER BY {self._order} LIMIT {int(limit)}", [])
        where = self._compare(">", 1)
        return self._rows(f"WHERE {where} ORDER BY {self._order} LIMIT {int(limit)}", self._values(mark.at, mark.key))

    def between(self, low: Raw, behind: Mark | None, top: Mark, limit: int) -> list[Mark]:
        given = self._values(top.at, top.key)
        where = self._compare("<=", 1)
        if behind is None:
            where += f" AND {self._at} >= ${len(given) + 1}::{self._type}"
            given.append(str(low))
        else:
            where += f" AND {self._compare('>', len(given) + 1)}"
            given += self._values(behind.at, behind.key)
        return self._rows(f"WHERE {where} ORDER BY {self._order} LIMIT {int(limit)}", given)

    def spell(self, at: Stamp, like: Raw) -> Raw:
        if self._type == "timestamp with time zone":
            return f"{EPOCH + timedelta(microseconds=at):%Y-%m-%d %H:%M:%S.%f}+00"
        moment = lowest(at, ZoneInfo(self._bound.table.timezone))
        return f"{moment:%Y-%m-%d %H:%M:%S.%f}"[: 10 if self._type == "date" else None]

    def _compare(self, sign: str, first: int) -> str:
        given = [f"${first}::{self._type}"]
        given += [cast(f"${first + 1 + i}", c) for i, c in enumerate(self._bound.table.key)]
        return f"({self._order}) {sign} ({', '.join(given)})"

    def _values(self, at: Raw, key: Key) -> list[str | None]:
        return [str(at), *(column[0] for column in self._bound.split([key]))]

    def _rows(self, rest: str, given: list[str | None]) -> list[Mark]:
        bound = self._bound
        rows = self._session.query(f"{self._selected} {rest}", given)
        return [Mark(row[bound.width], bound.key(row), row[-1]) for row in rows]
