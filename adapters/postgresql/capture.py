"""Sees committed changes: by the change log for tables with triggers, by their `modified` for the others."""

from __future__ import annotations

import json
from collections.abc import Sequence

from adapters import watermark
from adapters.polled import Tables
from adapters.postgresql import horizon
from adapters.postgresql.bound import Bound
from adapters.postgresql.log import Log, Range
from adapters.postgresql.logical.capture import Found, Logged
from adapters.postgresql.session import Session
from adapters.postgresql.watermark import Polled
from adapters.watermark import Places
from config.records import Batch, Change, Stamp


class Capture:
    def __init__(self, bounds: Sequence[Bound], log: Log, logs: Logged, session: Session, overlap: int) -> None:
        self._by_tag: dict[str, list[Bound]] = {}
        for bound in bounds:
            if bound.table.capture == "trigger":
                self._by_tag.setdefault(bound.tag, []).append(bound)
        polled = {
            b.entity: Polled(session, b) for b in bounds if b.table.capture == "watermark" and b.modified is not None
        }
        self._log, self._logs, self._session, self._tables = log, logs, session, Tables(polled, overlap)

    def attend(self, position: bytes | None) -> None:
        self._logs.attend(watermark.unpack(position).stream)

    def changes(self, position: bytes | None, limit: int, offset: Stamp) -> Batch:
        """`offset`: the server's clock minus the agent's."""
        changes: list[Change] = []
        emptied: list[str] = []
        places = watermark.unpack(position)
        noted, more, read = b"", False, Found([], [], b"", False, {})
        if self._by_tag:
            changes, emptied, ids, log, more = self._log.changes(self._by_tag, self._tables.rest(limit))
            noted = _pack(ids, log) if ids else b""
        if self._logs:
            read = self._logs.changes(places.stream, max(1, self._tables.rest(limit) - len(changes)), offset)
            changes, emptied = changes + read.changes, emptied + read.emptied
        polled = self._tables.changes(
            places.marks, lambda _: horizon.look(self._session), max(0, limit - len(changes)), offset
        )
        behind = watermark.pack(Places(noted, polled.marks, read.noted))
        more = more or read.more or polled.more
        return Batch(changes + polled.changes, behind, more, {**polled.complete, **read.complete}, emptied)

    def acknowledge(self, position: bytes | None) -> None:
        places = watermark.unpack(position)
        if places.stream:
            self._logs.acknowledge(places.stream)
        noted = places.log
        if noted:
            log, ids = json.loads(noted)
            self._log.forget(ids, log)

    def backlog(self) -> int:
        kept = self._log.backlog() if self._by_tag and self._log.exists() else 0
        return kept + (self._logs.slots.kept() if self._logs else 0)

    def let_go(self) -> bool:
        if self._logs:
            self._logs.let_go()
        return self._log.let_go() if self._by_tag and self._log.exists() else True


def _pack(ids: Sequence[Range], log: int) -> bytes:
    return json.dumps([log, ids], separators=(",", ":")).encode()
