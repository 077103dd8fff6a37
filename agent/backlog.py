"""The health of the sources (I12): a database that has to keep more for this agent than was agreed is relieved of it.

Changes wait there while the agent does not run, cannot keep up, or has halted the system. Past `[log] max_backlog`
they are let go of, and all rows are compared instead: a sweep is asked for, durably, before anything is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from adapters.trail import size as size_of
from config.errors import Halt
from config.records import Stamp

if TYPE_CHECKING:
    from agent.engine import Engine, Stopped

SECOND = 1_000_000
EVERY = 10 * SECOND  # between two looks
FOREIGN = ("another-database", "restored")  # codes of halts: nothing is touched there


class Backlog:
    """Of all systems of one engine."""

    def __init__(self, engine: Engine, limit: int) -> None:
        self.engine, self.limit = engine, limit  # bytes; 0: whatever it is
        self._due: Stamp = 0
        self._warned: set[str] = set()

    def look(self) -> None:
        """At all systems that answer and are ours, if it is time."""
        engine, now = self.engine, self.engine.clock()
        if now < self._due or not self.limit:
            return
        self._due = now + EVERY
        sizes, failed = engine.side_by_side({s: engine.systems[s].backlog for s in engine.systems if self._ours(s)})
        self._failed(failed)
        for system, size in sizes.items():
            if size > self.limit:
                self._let_go(system, size)
            elif 2 * size > self.limit:
                self._warn(system, size)
            elif 4 * size < self.limit:
                self._warned.discard(system)

    def _ours(self, system: str) -> bool:
        """One that is halted answers, too, and goes on noting; but not if it may be somebody else's by now."""
        down = self.engine.down.get(system)
        return down is None or (isinstance(down.halt, Halt) and down.halt.problem.code not in FOREIGN)

    def _failed(self, failed: Mapping[str, Stopped]) -> None:
        for system, error in failed.items():
            if system not in self.engine.down:
                self.engine.went_down(system, error)

    def _warn(self, system: str, size: int) -> None:
        if system not in self._warned:
            self._warned.add(system)
            self.engine.notes.append(
                f"{system}: changes that wait there take {size_of(size)}. Past {size_of(self.limit)} (`max_backlog`) "
                "they are let go of, and all rows are compared instead."
            )

    def _let_go(self, system: str, size: int) -> None:
        engine = self.engine
        why = (
            f"changes that waited in {system} took {size_of(size)}, more than {size_of(self.limit)}, and were let go of"
        )
        for name, entity in engine.entities.items():
            if system in entity.tables and entity.tables[system].capture != "watermark":
                engine.sweeper.request(name, system, why, gap=True)
        done, failed = engine.side_by_side({system: partial(engine.systems[system].let_go)})
        self._failed(failed)
        if done.get(system):
            engine.notes.append(f"{system}: {why}. All rows are compared instead.")
