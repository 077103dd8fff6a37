"""Sees committed changes: by the change log for tables with triggers, by their `modified` for the others.

A position is JSON: the ids of the log's entries that were handed out (as ranges), and a mark per polled table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.postgresql.bound import Bound
from adapters.postgresql.log import Log, Range
from adapters.postgresql.watermark import REMEMBERED, Mark, Watermark
from config.records import Batch, Change, Key

KEPT = 8
"""Positions whose full marks are kept in memory: the one that is stored, and those that may still be repeated."""

Stamped = Callable[[Bound], tuple[str, str]]
"""A table -> (SQL of its `modified`, the type of it)."""


class Capture:
    def __init__(self, bounds: Sequence[Bound], log: Log, watermark: Watermark, stamped: Stamped) -> None:
        self._by_tag: dict[str, list[Bound]] = {}
        for bound in bounds:
            if bound.table.capture == "trigger":
                self._by_tag.setdefault(bound.tag, []).append(bound)
        self._polled = [b for b in bounds if b.table.capture == "watermark"]
        self._log, self._watermark, self._stamped = log, watermark, stamped
        self._marks: dict[bytes | None, dict[str, Mark]] = {}
        self._serial = 0

    def changes(self, position: bytes | None, limit: int) -> Batch:
        changes: list[Change] = []
        ids: list[Range] = []
        log, more = 0, False
        if self._by_tag:
            changes, ids, log, more = self._log.changes(self._by_tag, limit)
        before = self._before(position)
        marks: dict[str, Mark] = {}
        for bound in self._polled:
            keys, marks[bound.entity], waiting = self._poll(bound, before, position, limit - len(changes))
            changes += [Change(bound.entity, key) for key in keys]
            more = more or waiting
        if not ids and marks == before and position is not None and not json.loads(position)["ids"]:
            return Batch(changes, position, more)
        return Batch(changes, self._remember(ids, log, marks), more)

    def acknowledge(self, position: bytes | None) -> None:
        content: dict[str, Any] = json.loads(position) if position else {}
        if content.get("ids"):
            self._log.forget(content["ids"], content["log"])

    def _poll(
        self, bound: Bound, before: Mapping[str, Mark], position: bytes | None, limit: int
    ) -> tuple[list[Key], Mark, bool]:
        stamp, type = self._stamped(bound)
        mark = before.get(bound.entity)
        if mark is None:  # polled for the first time: the engine scans what is there
            return [], self._watermark.start(bound, stamp, type), False
        if limit <= 0:
            return [], mark, True
        return self._watermark.poll(bound, stamp, type, mark, limit)

    def _before(self, position: bytes | None) -> dict[str, Mark]:
        if position in self._marks:
            return self._marks[position]
        stored = json.loads(position).get("marks", {}) if position else {}
        return {entity: Mark(low, dict(seen)) for entity, (low, seen) in stored.items()}

    def _remember(self, ids: Sequence[Range], log: int, marks: dict[str, Mark]) -> bytes:
        self._serial += 1
        stored = {entity: (mark.low, dict(list(mark.seen.items())[-REMEMBERED:])) for entity, mark in marks.items()}
        content = {"log": log, "ids": ids, "marks": stored, "n": self._serial}
        position = json.dumps(content, separators=(",", ":")).encode()
        self._marks[position] = marks
        while len(self._marks) > KEPT:
            del self._marks[next(iter(self._marks))]
        return position
