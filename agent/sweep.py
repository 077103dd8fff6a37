"""The sweep: what capture cannot have seen is found by comparing whole tables with what the state remembers of them.

A sweep of an entity in a system has two parts. `rows` walks the table in key order and compares each row, as stored,
with its image; `links` walks the keys that should be there and asks for them. Only rows that differ, that no record
is known of, or that are gone are looked at, by an ordinary round, which reads them again and decides: a sweep itself
concludes nothing. A chunk rides on each live round, so changes keep flowing, and chunks are spaced out so that not
more than `rows_per_second` are read.

A sweep is a named text in the state (`sweep:ENTITY:SYSTEM`) from the moment it is asked for until its end, with how
far it has come: it survives a restart. What is looked at and how far the sweep has come become durable in one
transaction; where nothing differs it is written down every few seconds only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from agent import contact
from agent.schedule import following
from agent.sweeping import LINKS, ROWS, Sweep, Swept, dump, load, name
from config.errors import Halt, Taken, Transient
from config.records import Key, Reading, Stamp
from state.ports import Look, Stored

if TYPE_CHECKING:
    from agent.engine import Engine

SECOND = 1_000_000
CHUNK = 1000  # rows at most that one round takes along: more would hold up the changes that wait
SAVED = 5 * SECOND  # how often the place of a sweep that finds nothing is written down
LONG = 10_000  # rows; the beginning of a sweep of more is worth a line in the log
REASON = "sweep"  # of the looks that a sweep asks for


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next part of a sweep: what is to be looked at, and where the sweep stands when that is done."""

    looks: list[Look] = field(default_factory=list)
    sweep: Sweep | None = None
    read: int = 0  # rows
    over: bool = False

    @property
    def meta(self) -> dict[str, str]:
        """What becomes durable with the looks."""
        return {} if self.sweep is None or not self.looks else {name(self.sweep): dump(self.sweep)}


NOTHING = Chunk()


class Sweeper:
    """The sweeps of one engine. `say` hears in plain words what begins and ends."""

    def __init__(self, engine: Engine, rows_per_second: int, say: Callable[[str], None]) -> None:
        self.engine, self.rate, self.say = engine, rows_per_second, say
        self.waiting: dict[tuple[str, str], Sweep] = {}
        self.again: dict[tuple[str, str], str] = {}  # gaps since it began: a second sweep follows, and why
        self._riding: tuple[str, str] | None = None  # the one of which a chunk is under way
        self.due: Stamp = 0  # not before: the next chunk
        self._saved: Stamp = 0
        for entity in engine.order:
            for system in engine.entities[entity].tables:
                sweep = load(engine.state.get(f"sweep:{entity}:{system}"), Sweep)
                again = engine.state.get(f"again:{entity}:{system}")
                if again is not None:
                    self.again[entity, system] = again
                if sweep is not None:
                    self.waiting[entity, system] = replace(sweep, gap=sweep.gap or again is not None)
        self._scheduled: dict[tuple[str, str], Stamp] = {}  # when each is swept by the clock
        self._tick: Stamp = 0

    # --- asking ---------------------------------------------------------------------------------------------------

    def request(self, entity: str, system: str, reason: str, gap: bool = False) -> None:
        """Durable on return. One that is under way goes on; after a gap a second one follows, for what the first has
        passed may have changed unseen (it does not begin anew, or gap after gap it would never end). Before the first
        contact nothing is known that could have changed."""
        if self.engine.phases[entity] == contact.HELD:
            return
        place = (entity, system)
        old = self.waiting.get(place)
        if old is None or (gap and old.begun is None and self._riding != place):
            self._put(Sweep(entity, system, reason, self.engine.clock(), gap))
        elif gap:  # apart from the sweep's own text, which the round under way may be about to write
            self.engine.state.put(f"again:{entity}:{system}", reason)
            self.again[place] = reason
            self.waiting[place] = replace(old, gap=True)

    def look_for_missing(self, entity: str, system: str, missing: Sequence[str]) -> None:
        """Sweep once, also for rows whose records are not in these systems: `create` has changed. Durable on return."""
        old = self.waiting.get((entity, system))
        lost = {*missing, *(old.missing if old is not None else ())}
        gap = old is not None and old.gap
        self._put(Sweep(entity, system, "create says something else", self.engine.clock(), gap, missing=sorted(lost)))

    def _put(self, sweep: Sweep) -> None:
        self.engine.state.put(name(sweep), dump(sweep))
        self.waiting[sweep.entity, sweep.system] = sweep
        self._saved = self.engine.clock()

    # --- by the clock ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Ask for the sweeps whose time has come, or came while no agent ran."""
        now = self.engine.clock()
        if now < self._tick:
            return
        self._tick = now + SECOND
        self._look_around(now)
        for entity, schedule in self.engine.options.sweeps.items():
            if schedule == "off" or self.engine.phases[entity] != contact.LIVE:
                continue
            for system in self.engine.entities[entity].tables:
                due = self._scheduled.get((entity, system)) or self._schedule(entity, system, schedule)
                if due is not None and due <= now and (entity, system) not in self.waiting:
                    self.request(entity, system, f"{schedule}, as configured")

    def _look_around(self, now: Stamp) -> None:
        """While changes are not captured, a sweep follows the last one after a while."""
        for system, entities in self.engine.watch.blind.items():
            for entity in entities.keys() & self.engine.entities.keys():  # a lookup's table is read whole: `Library`
                swept = load(self.engine.state.get(f"swept:{entity}:{system}"), Swept)
                over = swept is None or swept.at + self.engine.options.blind <= now
                if over and (entity, system) not in self.waiting:
                    self.request(entity, system, "changes are not captured")

    def _schedule(self, entity: str, system: str, schedule: str) -> Stamp | None:
        """The first time after the last sweep; where there was none, after this entity was first kept in agreement."""
        state, known = self.engine.state, f"unswept:{entity}:{system}"
        since = load(state.get(f"swept:{entity}:{system}"), Swept)
        if since is None and state.get(known) is None:
            state.put(known, str(self.engine.clock()))
        found = following(schedule, since.at if since is not None else int(state.get(known) or 0))
        if found is not None:
            self._scheduled[entity, system] = found
        return found

    # --- running ---------------------------------------------------------------------------------------------------

    def next_due(self) -> Stamp | None:
        """When the next chunk may be read; None: there is nothing to sweep now."""
        return self.due if self._next() is not None else None

    def _next(self) -> Sweep | None:
        """The first that can go on: its system answers, and its entity's first contact is over.

        Capture comes first: a watermark that begins begins with now, and what is changed between a row's comparison
        and that moment would be seen by neither.
        """
        down, phases, heard = self.engine.down, self.engine.phases, self.engine.heard
        for sweep in self.waiting.values():
            if sweep.system in heard and sweep.system not in down and phases[sweep.entity] == contact.LIVE:
                return sweep
        return None

    def next(self) -> Chunk:
        """The next chunk, if it is time."""
        now = self.engine.clock()
        self._riding = None
        sweep = self._next()
        if sweep is None or now < self.due:
            return NOTHING
        try:
            if sweep.begun is None:
                sweep = self._begin(sweep, now)
            chunk = self._chunk(sweep)
        except (Transient, Halt, Taken) as error:
            self.engine.went_down(sweep.system, error)
            return NOTHING
        if self.rate:
            self.due = now + chunk.read * SECOND // self.rate
        self._riding = (sweep.entity, sweep.system)
        return chunk

    def _begin(self, sweep: Sweep, now: Stamp) -> Sweep:
        total = self.engine.call(sweep.system, partial(self.engine.systems[sweep.system].count, sweep.entity))
        if sweep.gap or total >= LONG:
            self.say(f"{sweep.system}: sweep of {sweep.entity} begins, {total:,} rows: {sweep.reason}.")
        return replace(sweep, begun=now, total=total)

    def _chunk(self, sweep: Sweep) -> Chunk:
        limit = min(CHUNK, self.engine.options.batch, self.rate or CHUNK)
        keys, found = self._rows(sweep, limit) if sweep.part == ROWS else self._links(sweep, limit)
        looks = [Look(sweep.entity, sweep.system, key, 0, REASON) for key in found]
        if keys:
            compared = len(keys) if sweep.part == ROWS else 0
            moved = replace(sweep, after=keys[-1], rows=sweep.rows + compared, found=sweep.found + len(looks))
            return Chunk(looks, moved, len(keys))
        if sweep.part == ROWS:
            return Chunk([], replace(sweep, part=LINKS, after=None))
        return Chunk([], sweep, over=True)

    def _rows(self, sweep: Sweep, limit: int) -> tuple[list[Key], list[Key]]:
        """Keys of the next rows, and of those among them that are to be looked at."""
        scan = partial(self.engine.systems[sweep.system].scan, sweep.entity, sweep.after, limit)
        rows: list[Reading] = self.engine.call(sweep.system, scan)
        keys = [row.key for row in rows]
        stored = self.engine.state.stored(sweep.entity, sweep.system, keys)
        alone = self._not_there(sweep, keys) if sweep.missing else ()
        return keys, [row.key for row in rows if row.key in alone or differs(row, stored.get(row.key))]

    def _not_there(self, sweep: Sweep, keys: list[Key]) -> set[Key]:
        """Of these rows, those whose records are not in every system where they may be created by now."""
        state, gids = self.engine.state, self.engine.state.resolve(sweep.entity, sweep.system, keys)
        there = [state.keys(sweep.entity, s, gids.values()) for s in sweep.missing if s != sweep.system]
        return {key for key, gid in gids.items() if not all(gid in known for known in there)}

    def _links(self, sweep: Sweep, limit: int) -> tuple[list[Key], list[Key]]:
        """The next keys that should be there, and those that are not."""
        links = self.engine.state.links(sweep.entity, sweep.system, sweep.after, limit)
        keys = [key for key, _ in links]
        if not keys:
            return [], []
        read = partial(self.engine.systems[sweep.system].read, {sweep.entity: keys})
        there = self.engine.call(sweep.system, read).get(sweep.entity, {})
        return keys, [key for key in keys if key not in there]

    def passed(self, chunk: Chunk) -> None:
        """The round that took the chunk along is done."""
        self._riding = None
        if chunk.sweep is None:
            return
        place = (chunk.sweep.entity, chunk.sweep.system)
        sweep = replace(chunk.sweep, gap=chunk.sweep.gap or place in self.again)
        if chunk.over:
            self._finish(sweep)
            return
        self.waiting[place] = sweep
        now = self.engine.clock()
        if chunk.looks:
            self._saved = now  # with the round
        elif now - self._saved >= SAVED:
            self._put(sweep)

    def _finish(self, sweep: Sweep) -> None:
        """Said first, removed then: a crash in between ends it once more."""
        now = self.engine.clock()
        swept = Swept(now, sweep.reason, sweep.begun or now, sweep.rows, sweep.found)
        self.engine.state.put(f"swept:{sweep.entity}:{sweep.system}", dump(swept))
        place = (sweep.entity, sweep.system)
        if (again := self.again.pop(place, None)) is not None:
            self._put(Sweep(*place, again, now, gap=True))
            self.engine.state.put(f"again:{sweep.entity}:{sweep.system}", None)
        else:
            self.engine.state.put(name(sweep), None)
            del self.waiting[place]
        self._scheduled.pop(place, None)
        seconds = (now - swept.begun) / SECOND
        text = f"{sweep.system}: sweep of {sweep.entity} is done: {sweep.rows:,} rows in {seconds:.1f} s"
        self.say(f"{text}, {sweep.found:,} of them had changed unseen." if sweep.found else f"{text}, as they were.")

    # --- all at once -----------------------------------------------------------------------------------------------

    def everything(self, entity: str, system: str) -> Iterator[list[Look]]:
        """Every row of a table, and every key that should be there and is not, chunk by chunk."""
        sweep = Sweep(entity, system, "", 0)
        for part in (self._rows, self._links):
            sweep = replace(sweep, after=None)
            while found := part(sweep, self.engine.options.batch):
                keys, differing = found
                if not keys:
                    break
                chosen = keys if part == self._rows else differing
                yield [Look(entity, system, key, 0, REASON) for key in chosen]
                sweep = replace(sweep, after=keys[-1])


def differs(row: Reading, stored: Stored | None) -> bool:
    """Is there anything to be seen in this row? What `casework.is_quiet` says of one system's reading, without the
    record: whether something is wanted there is not the sweep's business."""
    if row.archived:
        return stored is not None and (stored.existence == "live" or not stored.settled or not stored.archived)
    return stored is None or stored.existence != "live" or row.raws != stored.raws
