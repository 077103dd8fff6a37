"""Capture from the log: batches and positions from what the stream brings, and what readings know of it.

A position is always behind a whole transaction. Of a large one, batches are handed out under the position before it;
after a crash it comes again. The stream goes on by itself where the next call asks for what comes behind the last
answer, and is begun again at the position that is asked for in all other cases.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from adapters.keys import newest
from adapters.origin import WAITED_FOR, Part
from adapters.postgresql.bound import Bound
from adapters.postgresql.log import OPS
from adapters.postgresql.logical.backlog import Backlog, Snapshot, Story, Tagged, Taken, has_come
from adapters.postgresql.logical.making import Making, Slot
from adapters.postgresql.logical.pgoutput import Decoder, Layout, spelling
from adapters.postgresql.logical.slot import Slots
from adapters.postgresql.logical.stream import Stream
from adapters.postgresql.objects import watched
from adapters.postgresql.session import Session
from adapters.trail import Trail, size
from config.errors import AccordError, Problem, Transient
from config.records import Change, Complete, Key, Op, Raw, Reading, Stamp

CATCH_UP = 0.05  # seconds that a call waits for what is committed already and has not come yet
TIMES = 0.02  # seconds that a reading waits for the times of what it sees
MOMENT = 0.001  # seconds, the longer the more often, between two looks whether a commit can be seen,
MOMENTS = 8  # so often in one call
SOON = 0.5  # seconds that a call waits for the slot that is being made
SURE = 2.0  # seconds that it waits where it must know
LONG = 60.0  # seconds, the same where much has to be read first
STRIDE = 1 << 20  # bytes of log, and
PACE = 30.0  # seconds, after which a position is worth being written down though nothing was changed
NOW = "(pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint"
WRITTEN = "(pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"


class Noted(NamedTuple):
    """What is written down: the slot, and how far all of its log is dealt with."""

    slot: str
    lsn: int


class Found(NamedTuple):
    """What one call of `changes` gives."""

    changes: list[Change]
    emptied: list[str]  # entities whose tables were emptied
    noted: bytes  # the position behind
    more: bool
    complete: dict[str, Complete]  # by entity


class End(NamedTuple):
    """Of the log, as a snapshot was taken."""

    flushed: int
    written: int  # a commit that does not wait for the disk can be seen before it is flushed, let alone sent


class Logged:
    """The tables of one system whose changes come from the log."""

    def __init__(self, config: Any, session: Session, prefix: str, bounds: Sequence[Bound]) -> None:
        self._config, self._session = config, session
        self.slots = Slots(session, prefix, bounds)
        self._groups = {b.tag: [x for x in bounds if x.tag == b.tag] for b in bounds}
        self._names = {tag: [c.name for c in watched(group)] for tag, group in self._groups.items()}
        self._stream: Stream | None = None
        self._making: Making | None = None
        self._last_pid = 0
        self._own: dict[int, Counter[Tagged]] = {}
        self._slot = ""
        self._given: Noted | None = None  # the last answer's position
        self._owed = False  # it had changes, and is not acknowledged yet
        self._passed = 0  # all up to here has been taken from the backlog
        self._at = 0.0  # when a position was given last
        self._trail: Trail[int] = Trail()
        self._committed: Stamp | None = None  # when the last that was handed out was committed, by the server's clock

    def __bool__(self) -> bool:
        return bool(self._groups)

    # --- capture -----------------------------------------------------------------------------------------------------

    def attend(self, noted: bytes) -> None:
        """The log is read from here on, also before the first call of `changes`."""
        if self._groups:
            self._follow(_load(noted))

    def changes(self, noted: bytes, limit: int, offset: Stamp) -> Found:
        """`offset`: the server's clock minus the agent's."""
        at = _load(noted)
        backlog = self._follow(at)
        if backlog is None:
            return Found([], [], noted, False, {})
        asked = time.time_ns() // 1000
        target, written = self._session.query(f"SELECT {NOW}, {WRITTEN}")[0]
        self._trail.mark(asked, written)
        whole = backlog.wait(target, CATCH_UP, limit)
        taken = self._visible(backlog, limit)
        if not taken.events and not taken.emptied:
            self._look_for_failure(backlog)
        if taken.lsn is not None:
            self._passed = max(self._passed, taken.lsn)
        changes: dict[Tagged, Change] = {}
        for event in taken.events:
            for bound in self._groups.get(event.tag, ()):
                changes[bound.entity, event.key] = Change(bound.entity, event.key, OPS.get(event.op, Op.LOOK))
        emptied = [bound.entity for tag in taken.emptied for bound in self._groups.get(tag, ())]
        self._owed = self._owed or bool(changes or emptied)
        self._given = self._next(at, bool(changes or emptied) or taken.echoes)
        more = taken.more or not whole
        complete = self._complete(backlog, taken, target, written, offset)
        return Found(list(changes.values()), emptied, _dump(self._given), more, complete)

    def _complete(
        self, backlog: Backlog, taken: Taken, target: int, written: int, offset: Stamp
    ) -> dict[str, Complete]:
        """`target`, `written`: the end of the log, on the disk and in all."""
        if taken.events:
            self._committed = taken.events[-1].txn.at
        if taken.unseen:
            held = "a commit that others cannot see yet"
        elif taken.more:
            held = f"{backlog.waiting} changed rows that wait to be looked at"
        elif backlog.coming:
            held = "a large transaction that is being read from the log"
        elif has_come(backlog.received, target):
            held = "what the server has not written to its disk yet"
        else:
            held = f"{size(written - backlog.received)} of the server's log that wait to be read"
        committed = None if self._committed is None else self._committed - offset
        found = self._trail.complete(lambda lsn: has_come(self._passed, lsn), committed, held)
        return {bound.entity: found for group in self._groups.values() for bound in group}

    def _visible(self, backlog: Backlog, limit: int) -> Taken:
        """What waits and can be seen by now. A commit stands in the log some moments before that."""
        for attempt in range(MOMENTS):
            with self._session.errors():
                taken = backlog.take(limit, self.snapshot()[0])
            if taken.events or taken.emptied or not taken.more:
                break
            time.sleep(MOMENT * attempt)
        return taken

    def _next(self, at: Noted | None, seen: bool) -> Noted:
        """The position of this answer. One behind which nothing was seen is not worth a write, but now and then: the
        server lets go of nothing before it is acknowledged, whatever is written there that does not concern us."""
        base = at if at is not None and at.slot == self._slot else None
        due = self._passed - base.lsn >= STRIDE or time.monotonic() - self._at >= PACE if base else True
        if base is not None and not ((seen or due) and self._passed > base.lsn):
            return base
        self._at = time.monotonic()
        return Noted(self._slot, self._passed)

    def acknowledge(self, noted: bytes) -> None:
        at = _load(noted)
        if self._stream is None or at is None or at.slot != self._slot:
            return
        self._stream.acknowledge(at.lsn)
        if at == self._given:
            self._owed = False
            self._stream.backlog.forget()

    def _follow(self, at: Noted | None) -> Backlog | None:
        """The backlog behind this position, with the stream that fills it; None: nothing is published."""
        stream = self._stream
        if stream is not None and not self._owed and (at == self._given or at is None):
            return stream.backlog
        self._stop()
        if not self.slots.ready():
            self._break_off()
            self.slots.drop_all()  # what it keeps could not be read, and would grow
            return None
        slot = self._slot_behind(at)
        if slot is None:
            return None
        if self._last_pid:
            self.slots.hang_up(self._last_pid)  # it may not have noticed yet that nobody listens
        start = max(at.lsn, slot.confirmed) if at is not None and at.slot == slot.name else slot.confirmed
        self._start(slot.name, start)
        assert self._stream is not None
        self._given, self._passed, self._at = at, start, time.monotonic()
        return self._stream.backlog

    def _slot_behind(self, at: Noted | None) -> Slot | None:
        """The slot that is there, or a new one; None: it is still being made."""
        making = self._making
        if making is None:
            found = self.slots.take(at.slot if at else None, at.lsn if at else 0)
            if found is not None:
                return found
            making = self._making = Making(self._config, self.slots.new_name())
        try:
            found = making.wait(SOON)
        except AccordError:
            self._making = None
            raise
        if found is not None:
            self._making = None
        return found

    def _break_off(self) -> None:
        making, self._making = self._making, None
        if making is not None:
            making.close()

    def _start(self, slot: str, start: int) -> None:
        if slot != self._slot:  # perhaps of a server that counts its transactions from an earlier moment (failover)
            self._own, self._trail, self._committed = {}, Trail(), None
        backlog = Backlog(start, self._own)
        timeout = self._session.query("SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout'")[0][0]
        self._slot, self._owed = slot, False
        publication = self.slots.publication
        self._stream = Stream(self._config, slot, publication, start, self._decoder(), backlog, timeout / 1000)

    def _decoder(self) -> Decoder:
        layouts: dict[tuple[str, str], Layout] = {}
        for tag, found in self.slots.published().items():
            table = self._groups[tag][0].table
            name = found.name or (table.schema or "", table.name)  # it may be made again while the stream runs
            layouts[name] = Layout(tag, table.key, self._names[tag])
        return Decoder(layouts)

    def _look_for_failure(self, backlog: Backlog) -> None:
        """Once all that came before it is handed out."""
        if backlog.error is None:
            return
        self._stop()
        if backlog.unreadable:
            # The log behind this cannot be read, also not later: a new slot, and a sweep of what was missed.
            self.slots.drop(self._slot, self._last_pid)  # who read it may not be quite gone yet
        raise backlog.error

    def let_go(self) -> None:
        """The server keeps nothing for us any more. The next call of `changes` begins with now."""
        self._stop()
        self._break_off()
        self.slots.drop_all()

    def _stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._last_pid, self._own = stream.pid, stream.backlog.expected()
            stream.close()

    def close(self) -> None:
        self._stop()
        self._break_off()

    @property
    def backlog(self) -> Backlog | None:
        """Of the stream that runs now."""
        return self._stream.backlog if self._stream is not None else None

    def expect(self, xid: int, written: Sequence[Tagged]) -> None:
        """A transaction of our own is about to be committed."""
        if self._stream is not None:
            self._stream.backlog.expect(xid, (place for place in written if place[0] in self._groups))

    # --- what the readings know of it --------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        waiting = (
            "" if self._making is None else f"cannot be made before {self.slots.waits_for()} has ended{WAITED_FOR}"
        )
        return list(self.slots.parts(waiting))

    def snapshot(self) -> tuple[Snapshot, End]:
        """Of the transaction that is open, and up to where the log holds what it sees. Driver's errors."""
        text, flushed, written = self._session.raw(f"SELECT pg_current_snapshot()::text, {NOW}, {WRITTEN}")[0]
        low, high, several = text.split(":")
        return Snapshot(int(low), int(high), frozenset(int(x) for x in several.split(",") if x)), End(flushed, written)

    def tell(self, bound: Bound, readings: dict[Key, Reading], snapshot: Snapshot, end: End, offset: Stamp) -> None:
        """Add to each reading what the log knows of its key. What the reading shows and the log has not brought yet has
        no time."""
        backlog = self.backlog
        if backlog is None:
            return
        whole = backlog.wait(end.flushed, TIMES) and has_come(backlog.received, end.written)
        names = self._names[bound.tag]
        place = {i: names.index(column.name) for i, column in bound.columns}
        for key, found in list(readings.items()):
            story = backlog.story(bound.tag, key, snapshot)
            if story is None:
                continue
            times: dict[int, Stamp] | None = None
            if whole or _shows(bound, found.raws, story, place):
                times = {i: story.times[p] - offset for i, p in place.items() if p in story.times}
            readings[key] = Reading(key, found.raws, found.archived, found.modified, times, story.reborn, story.was)

    def moved(self, bound: Bound, keys: Sequence[Key]) -> dict[Key, Key]:
        """Old key -> newest key. `Transient` where the log has not been read so far that it could be known."""
        backlog = self.backlog
        if backlog is None:
            return {}
        # A commit that did not wait for the disk is seen before the log is sent; ours does wait, and comes behind it.
        self._session.query("SELECT pg_logical_emit_message(true, 'accord', '')")
        lsn = int(self._session.query(f"SELECT {NOW}")[0][0])
        whole = backlog.wait(lsn, SURE)
        if not whole and backlog.full:  # what has not been read may tell that a row lives on under another key
            whole = all(backlog.ends(bound.tag, key) for key in keys) or backlog.press(lsn, LONG)
        if not whole:
            message = "its log is not read up to now: what became of rows that are gone cannot be told yet"
            raise backlog.error or Transient(Problem("log", message, system=self._session.name))
        return newest(backlog.moves(bound.tag), keys)


def _shows(bound: Bound, raws: Sequence[Raw], story: Story, place: Mapping[int, int]) -> bool:
    """Does the reading hold just what the log has told of it?"""
    if story.image is None:
        return False
    for i, column in bound.columns:
        raw, value = raws[i], story.image[place[i]]
        if isinstance(value, bytes) and column.kind != "bytes" and (spell := spelling(column)) is not None:
            value = spell(value.decode()).encode()
        sent = raw.encode() if isinstance(raw, str) else None
        if value != sent and not (isinstance(value, int) and sent is not None and hash(sent) == value):
            return False
    return True


def _load(noted: bytes) -> Noted | None:
    return Noted(*json.loads(noted)) if noted else None


def _dump(noted: Noted) -> bytes:
    return json.dumps(noted, separators=(",", ":")).encode()
