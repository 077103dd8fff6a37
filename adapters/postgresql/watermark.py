"""Capture by polling each table's `modified`, for databases in which Accord may make no triggers.

A poll takes the rows at or above a low mark and leaves out those that it has handed out already in this very version
(`xmin` tells: two edits within one second have the same stamp). The low mark never passes the start of the oldest
open transaction, less the overlap: that transaction may still commit rows stamped with its start (I11). Rows above
the low mark are taken at once all the same, so a dump that runs all night delays nothing.

A position says what was handed out. It grows with what lies above the low mark; beyond `REMEMBERED` rows it is
kept in memory only, and a new process looks at those rows once more, which is harmless.
"""

from __future__ import annotations

from typing import NamedTuple

from adapters.postgresql.bound import Bound
from adapters.postgresql.session import Rows, Session
from adapters.postgresql.sql import literal, quote
from config.records import Key, Stamp

REMEMBERED = 2000
# The start of the oldest transaction that may still write, prepared ones included; NULL where the account does not
# see what others do.
OLDEST = """
SELECT CASE WHEN pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN
    least(
        (SELECT min(xact_start) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'),
        (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()),
        clock_timestamp())
    END
"""


class Mark(NamedTuple):
    """How far one table has been polled: the low mark as the database spells it (None: from the beginning), and what
    has been handed out at or above it, key -> version."""

    low: str | None
    seen: dict[Key, str]


class Watermark:
    def __init__(self, session: Session, overlap: Stamp) -> None:
        self._session = session
        self._overlap = overlap

    def start(self, bound: Bound, stamp: str, type: str) -> Mark:
        """Where to begin when a scan has seen everything: what is visible now is not handed out, what comes late is."""
        horizon = self._horizon(type, bound.table.timezone)
        low = self._session.query(f"SELECT least(max({stamp}), {horizon})::text FROM {bound.name} t")[0][0]
        if low is None:
            return Mark(None, {})
        rows = self._rows(bound, stamp, type, low, None)
        return Mark(low, {bound.key(row): row[bound.width] for row in rows})

    def poll(self, bound: Bound, stamp: str, type: str, mark: Mark, limit: int) -> tuple[list[Key], Mark, bool]:
        """Up to `limit` keys that are new since `mark`, the mark behind them, and whether more is waiting."""
        size = len(mark.seen) + limit + 1
        rows = self._rows(bound, stamp, type, mark.low, size)
        taken: list[tuple[Key, str, str, bool]] = []
        keys: list[Key] = []
        for row in rows:
            key, (version, spelled, above) = bound.key(row), row[bound.width : bound.width + 3]
            if mark.seen.get(key) != version:
                if len(keys) == limit:
                    break
                keys.append(key)
            taken.append((key, version, spelled, above))
        if not taken:
            return [], mark, bool(rows)
        _, _, last, above = taken[-1]
        low = rows[0][-1] if above else last
        seen = {k: v for k, v, spelled, high in taken if (high if above else spelled == last)}
        return keys, Mark(low, seen), len(taken) < len(rows) or len(rows) == size

    def _rows(self, bound: Bound, stamp: str, type: str, low: str | None, size: int | None) -> Rows:
        """Key columns, version, stamp, whether the stamp is at or above the horizon, and the horizon."""
        where = f"{stamp} >= $1" if low is not None else f"{stamp} IS NOT NULL"
        order = ", ".join(f"t.{quote(c.name)}" for c in bound.table.key)
        return self._session.query(
            f"WITH h AS MATERIALIZED (SELECT {self._horizon(type, bound.table.timezone)} AS accord_h)"
            f" SELECT {bound.keys}, t.xmin::text, {stamp}::text, {stamp} >= h.accord_h, h.accord_h::text"
            f" FROM {bound.name} t, h WHERE {where} ORDER BY {stamp}, {order}"
            + (f" LIMIT {size}" if size is not None else ""),
            [low] if low is not None else [],
        )

    def _horizon(self, type: str, timezone: str) -> str:
        """SQL: all that is stamped below it has been committed, or never will be; in the type of the stamps."""
        oldest = f"(coalesce(({OLDEST}), clock_timestamp()) - interval '{self._overlap} microseconds')"
        if type == "timestamp with time zone":
            return oldest
        return f"({oldest} AT TIME ZONE {literal(timezone)})::{type}"
