"""All tables of one system that have watermark capture: one look at what is open, then each is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from adapters import horizon
from adapters.horizon import Look
from adapters.watermark import Known, Page, Position, Source, following, resume, start
from config.records import Change, Complete, Stamp


class Polled(NamedTuple):
    changes: list[Change]
    marks: dict[str, Position]
    more: bool
    complete: dict[str, Complete]


class Tables:
    """The tables of one system that have watermark capture, by entity."""

    def __init__(self, sources: Mapping[str, Source], overlap: int) -> None:
        self._sources, self._overlap = sources, overlap
        self._known: dict[str, tuple[Position, Known]] = {}  # the position that each was left at
        self._look: Look | None = None
        self._served: set[str] = set()  # those that had their turn when others had not: they come last

    def __bool__(self) -> bool:
        return bool(self._sources)

    def rest(self, limit: int) -> int:
        """Of so many changes, how many a change log beside these tables may give: a backlog there starves no table."""
        return max(1, limit * 3 // 4) if self._sources else limit

    def changes(
        self, marks: Mapping[str, Position], look: Callable[[Look | None], Look], limit: int, offset: Stamp
    ) -> Polled:
        """Up to `limit` changes behind these positions. `look` is given the last look, which it may give back when
        there is nothing newer; `offset`: the server's clock minus the agent's."""
        if not self._sources:
            return Polled([], {}, False, {})
        now = self._see(marks, look)
        polled = Polled([], {e: marks[e] for e in self._sources if e in marks}, False, {})
        order = sorted(self._sources, key=lambda entity: entity in self._served)
        self._served.clear()
        more = False
        for entity in order:
            if len(polled.changes) >= limit and entity in marks:
                return polled._replace(more=True)  # maybe: the next call looks
            page = self._poll(entity, marks.get(entity), now, max(0, limit - len(polled.changes)))
            polled.changes.extend(Change(entity, mark.key) for mark in page.marks)
            polled.marks[entity] = page.position
            self._served.add(entity)
            more = more or page.more
            read_at = self._known[entity][1].look
            if not page.more and read_at is not None:
                polled.complete[entity] = self._complete(entity, read_at, offset)
        return polled._replace(more=more)

    def _see(self, marks: Mapping[str, Position], look: Callable[[Look | None], Look]) -> Look:
        new = look(self._look)
        if new is not self._look:
            floor = min((marks[e].low for e in self._sources if e in marks), default=None)
            self._look = horizon.follow(self._look, floor, new)
        assert self._look is not None
        return self._look

    def _poll(self, entity: str, position: Position | None, now: Look, limit: int) -> Page:
        source = self._sources[entity]
        if position is None:
            position, known = start(source, now, self._overlap)
            self._known[entity] = position, known
            return Page([], position, False)
        at, known = self._known.get(entity, (None, Known()))
        if at != position:
            known = resume(source, position)
        page = following(source, position, known, now, limit, self._overlap)
        self._known[entity] = page.position, known
        return page

    def _complete(self, entity: str, look: Look, offset: Stamp) -> Complete:
        source, (_, known) = self._sources[entity], self._known[entity]
        late = ""
        if known.late:
            late = f"a row came stamped {horizon.span(known.late)} too early: are `timezone` and `overlap` right?"
        return horizon.complete(look, self._overlap, offset, "; ".join(filter(None, (source.assumed, late))))
