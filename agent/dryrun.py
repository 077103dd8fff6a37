"""A system that is only read, and pretends to be written: what `accord plan` runs the real round on.

Writes go into an overlay that later reads see, so that the plan follows its own creations and updates to the end
(a child finds the key of the parent that would be created). Nothing reaches the database but SELECT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.ports import Decoder, System, Transaction
from config.records import (
    Batch,
    Crosswalk,
    Fence,
    Key,
    Landing,
    Outcome,
    Raw,
    Reading,
    Table,
    Value,
    Write,
    WriteKind,
)

MARK = "\x1a"
"""Begins keys and stored forms that exist in the overlay only; a control character that no key holds."""


class DryRun:
    """Wraps a System: same port, reads pass, writes stay in memory."""

    def __init__(self, inner: System) -> None:
        self.inner, self.name = inner, inner.name
        self.bound: dict[str, Table] = {}
        self.rows: dict[tuple[str, Key], Reading | None] = {}  # None: deleted
        self.values: list[Value] = []  # what the stored forms of the overlay stand for

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # describe, tables, count, find, check, clock, …

    # --- capture: the plan looks at every row anyway -------------------------------------------------------------

    def changes(self, position: bytes | None, limit: int) -> Batch:
        return Batch([], None, False)

    def acknowledge(self, position: bytes | None) -> None:
        pass

    # --- reading, with the overlay on top ------------------------------------------------------------------------

    def bind(self, tables: Sequence[Table]) -> None:
        self.bound = {t.entity: t for t in tables}
        self.inner.bind(tables)

    def decoders(self, entity: str) -> tuple[Decoder | None, ...]:
        return tuple(None if d is None else self._decoder(d) for d in self.inner.decoders(entity))

    def _decoder(self, inner: Decoder) -> Decoder:
        def decode(raw: Raw) -> Value:
            return self.values[int(raw[1:])] if isinstance(raw, str) and raw.startswith(MARK) else inner(raw)

        return decode

    def read(self, keys: Mapping[str, Sequence[Key]]) -> dict[str, dict[Key, Reading]]:
        real = {e: [k for k in ks if (e, k) not in self.rows] for e, ks in keys.items()}
        out = self.inner.read({e: ks for e, ks in real.items() if ks})
        for entity, asked in keys.items():
            found = out.setdefault(entity, {})
            for key in asked:
                row = self.rows.get((entity, key))
                if row is not None:
                    found[key] = row
        return out

    def scan(self, entity: str, after: Key | None, limit: int) -> list[Reading]:
        rows = self.inner.scan(entity, after, limit)
        return [self.rows.get((entity, r.key), r) or r._replace(archived=True) for r in rows]

    def moved(self, entity: str, keys: Sequence[Key]) -> dict[Key, Key]:
        return {}

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, str]:
        return self.inner.crosswalk(entity, system, [k for k in keys if not k.startswith(MARK)])

    # --- writing, into the overlay -------------------------------------------------------------------------------

    def fence(self) -> Fence | None:
        return None

    def take_fence(self, agent: str) -> Fence:
        return Fence(agent, 1, 0)

    def begin(self, fence: Fence) -> Transaction:
        return DryTransaction(self)


class DryTransaction:
    """Everything lands; nothing is written."""

    def __init__(self, system: DryRun) -> None:
        self.system = system

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        return [self._apply(entity, w) for w in writes]

    def _apply(self, entity: str, write: Write) -> Outcome:
        system = self.system
        width = len(system.bound[entity].columns)
        before = write.expected or (None,) * width
        key = write.key if write.key is not None else f"{MARK}{entity}{len(system.rows)}"
        if write.kind is WriteKind.DELETE:
            system.rows[entity, key] = None
            return Outcome(Landing.LANDED, key, before, before)
        after = list(before)
        for i, value in write.values.items():
            after[i] = None if value is None else self._stored(value)
        row = Reading(key, tuple(after), archived=write.kind is WriteKind.ARCHIVE)
        system.rows[entity, key] = row
        return Outcome(Landing.LANDED, key, before, row.raws)

    def _stored(self, value: Value) -> str:
        self.system.values.append(value)
        return f"{MARK}{len(self.system.values) - 1}"

    def link(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        return []

    def unlink(self, rows: Sequence[Crosswalk]) -> None:
        pass

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass
