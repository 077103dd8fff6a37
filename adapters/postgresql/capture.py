"""Sees committed changes: by the change log for tables with triggers, by their `modified` for the others."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adapters import watermark
from adapters.polled import Tables
from adapters.postgresql import horizon
from adapters.postgresql.bound import Bound
from adapters.postgresql.log import Log, Range
from adapters.postgresql.session import Session
from adapters.postgresql.watermark import Polled
from adapters.watermark import Places
from config.records import Batch, Change, Stamp


class Capture:
    def __init__(self, bounds: Sequence[Bound], log: Log, session: Session, overlap: int) -> None:
        self._by_tag: dict[str, list[Bound]] = {}
        for bound in bounds:
            if bound.table.capture == "trigger":
                self._by_tag.setdefault(bound.tag, []).append(bound)
        polled = {b.entity: Polled(session, b) for b in bounds if b.table.capture == "watermark"}
        self._log, self._session, self._tables = log, session, Tables(polled, overlap)

    def changes(self, position: bytes | None, limit: int, offset: Stamp) -> Batch:
        """`offset`: the server's clock minus the agent's."""
        changes: list[Change] = []
        emptied: list[str] = []
        noted, more = b"", False
        if self._by_tag:
            changes, emptied, ids, log, more = self._log.changes(self._by_tag, self._tables.rest(limit))
            noted = _pack(ids, log) if ids else b""
        polled = self._tables.changes(
            watermark.unpack(position).marks, lambda _: horizon.look(self._session), limit - len(changes), offset
        )
        places = Places(noted, polled.marks)
        more = more or polled.more
        return Batch(changes + polled.changes, watermark.pack(places), more, polled.complete, emptied)

    def acknowledge(self, position: bytes | None) -> None:
        noted = watermark.unpack(position).log
        if noted:
            log, ids = json.loads(noted)
            self._log.forget(ids, log)

    def backlog(self) -> int:
        return self._log.backlog() if self._by_tag and self._log.exists() else 0

    def let_go(self) -> bool:
        return self._log.let_go() if self._by_tag and self._log.exists() else True


def _pack(ids: Sequence[Range], log: int) -> bytes:
    return json.dumps([log, ids], separators=(",", ":")).encode()
