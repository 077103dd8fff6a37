"""What people did, and what became of it: judges I3 and I5 by value identity, from outside.

Every edit enters a value that nobody else ever enters: its *mark* is the value without its last two digits, so that a
column that rounds to hundreds or a trigger that adds one keeps the mark. The ledger knows which marks the author of
each edit had seen (the cell's content, and all that its author had seen). In the end an edit is accounted for if its
value, or one whose author had seen it, is held by a system, was deleted by somebody who saw it, or stands in a line
of the journal that says by which rule it lost.

Left out, for nobody can know it: a form that is saved over an edit of a colleague in the same system before Accord
looked, or that was opened before one (Accord knows only the values that it replaced itself), and an edit over a stale
save before Accord looked.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from config.records import Key, Raw

from .harness import World

GRAIN = 100
LOST = ("conflict", "override", "stale", "entered again", "narrowed", "person", "delete", "archive")
Cell = tuple[str, Key, int]


def number(raw: Raw) -> int:
    """A stored number, whatever its column's type."""
    assert isinstance(raw, (int, str)), f"{raw!r} is no number"
    return int(Decimal(raw))


def mark(value: object) -> int | None:
    """Which edit this value comes from; None for text, empty and what is no edit."""
    if isinstance(value, (int, Decimal)):
        return int(value) // GRAIN
    if isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdigit():
        return int(Decimal(value)) // GRAIN
    return None


class Ledger:
    """Watches one entity of a world; `fields` are the indexes whose values are marked."""

    def __init__(self, world: World, fields: Iterable[int]) -> None:
        self.world, self.fields = world, tuple(fields)
        self.seen: dict[int, frozenset[int]] = {}
        self.home: dict[int, str] = {}  # the system in which it was entered
        self.gone: set[int] = set()  # deleted by somebody who saw it
        self.forgiven: set[int] = set()
        self.displaced: dict[Cell, tuple[int, int]] = {}  # a stale save: (what it holds now, what it displaced)
        self.replaced: dict[Cell, set[int]] = {}  # what people of that system replaced there themselves
        self.last = 0
        for name, system in world.systems.items():
            system.watch = lambda entity, key, before, after, name=name: self.note(name, key, before, after)

    def fresh(self) -> int:
        """A value that nobody else enters."""
        self.last += 1
        return self.last * GRAIN + 1

    def note(self, system: str, key: Key, before: tuple[Raw, ...] | None, after: tuple[Raw, ...] | None) -> None:
        for index in self.fields:
            old = mark(before[index]) if before is not None else None
            new = mark(after[index]) if after is not None else None
            if after is None:
                self.gone |= self.closure([old])
            elif new is not None and new != old:
                self.entered((system, key, index), old, new)

    def entered(self, cell: Cell, old: int | None, new: int) -> None:
        if new in self.seen:  # a form brought an older value back
            if old is not None:
                self.displaced[cell] = (new, old)
                if self.home.get(old) == cell[0] or new in self.replaced.get(cell, ()):
                    self.forgiven |= self.closure([old])
            return
        if old is not None:
            self.replaced.setdefault(cell, set()).add(old)
        holds, displaced = self.displaced.get(cell, (None, None))
        saw = [old, displaced] if old is not None and holds == old else [old]
        self.seen[new] = frozenset(self.closure(saw))
        self.home[new] = cell[0]

    def closure(self, marks: Iterable[int | None]) -> set[int]:
        """These edits, and all that their authors had seen."""
        known = {m for m in marks if m is not None}
        return known.union(*(self.seen.get(m, frozenset()) for m in known)) if known else known

    def held(self) -> set[int]:
        entity = self.world.main
        rows = [r for s in self.world.systems.values() for r in s.rows(entity).values()]
        return {m for r in rows for i in self.fields if (m := mark(r.raws[i])) is not None}

    def missing(self) -> set[int]:
        """Edits that vanished without a word."""
        journaled = [mark(v) for j in self.world.lines(*LOST) for v in (j.before,)]
        accounted = self.closure([*self.held(), *journaled, *self.gone, *self.forgiven])
        return set(self.seen) - accounted
