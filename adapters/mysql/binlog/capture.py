"""Capture from the log: batches and positions from what the stream brings, and what readings know of it.

A position is always behind a whole transaction. Of a large one, batches are handed out under the position before it;
after a crash it comes again. The stream goes on by itself where the next call asks for what comes behind the last
answer, and is begun again at the position that is asked for in all other cases.

The server sends a transaction before it can be seen in the tables: it is written to the log first. So nothing is
handed out that a snapshot of this very moment does not show; a look that came too early would find nothing changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from adapters.keys import newest, oldest
from adapters.mysql import cascades
from adapters.mysql.binlog.backlog import Backlog, Position, Story, Taken, Written
from adapters.mysql.binlog.events import Decoder, Event, Lost, Parent, Place, Stopped, Target, Watched, number_of
from adapters.mysql.binlog.settings import wrong
from adapters.mysql.binlog.stream import Stream
from adapters.mysql.connection import Session
from adapters.mysql.objects import Names
from adapters.mysql.sql import literal
from adapters.mysql.tables import Bound
from adapters.trail import Trail
from adapters.waking import Ask, Wait
from config.errors import AccordError, Halt, Problem, Transient
from config.records import Change, Complete, Key, Op, Reading, Stamp

OPS = {"I": Op.INSERT, "U": Op.UPDATE, "D": Op.DELETE}
CATCH_UP = 0.05  # seconds that a call waits for what is committed already and has not come yet
TIMES = 0.02  # seconds that a reading waits for the times of what it sees
SURE = 2.0  # seconds that it waits where it must know
STRIDE = 16 << 20  # bytes of log, and
PACE = 30.0  # seconds, after which a position is worth being written down though nothing was changed
OURS = 64  # transactions of our own that are remembered until they come by
SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


class Found(NamedTuple):
    """What one call of `changes` gives."""

    changes: list[Change]
    noted: bytes
    more: bool
    gaps: dict[str, str]  # by entity
    complete: Mapping[str, Complete] = {}


class Logged:
    """The tables of one system whose changes come from the log."""

    def __init__(self, config: Any, session: Session, names: Names, bounds: Sequence[Bound]) -> None:
        self._config, self._session, self._names = config, session, names
        self._groups = {b.tag: [x for x in bounds if x.tag == b.tag] for b in bounds}
        self._bounds = list(bounds)
        self._stream: Stream | None = None
        self._backlog: Backlog | None = None
        self._begun: Position | None = None  # where capture began, until a position is written down
        self._given: Position | None = None  # the last answer's
        self._owed = False  # it had changes, and is not acknowledged yet
        self._at = 0.0  # when another position was given last
        self._lenient: Place = (0, 0)  # what cannot be read before it is swept
        self._halted = True  # a person has acted since: there was a start
        self._lost = ""  # why the log behind the position cannot be had any more
        self._missed = ""  # the same, where it goes on behind a gap that nobody has been told of
        self._trail: Trail[Place] = Trail()
        self._ours: dict[tuple[str, int, int], Written] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def backlog(self) -> Backlog | None:
        return self._backlog

    # --- capture -----------------------------------------------------------------------------------------------------

    def attend(self, noted: bytes) -> None:
        """From now on nothing is missed, also while no position is written down yet."""
        self._follow(_load(noted))

    def changes(self, noted: bytes, limit: int) -> Found:
        at = _load(noted)
        self._follow(at)
        backlog = self._backlog
        assert backlog is not None
        if self._missed:
            missed, self._missed, self._given = self._missed, "", self._begun
            assert self._given is not None
            return Found([], _dump(self._given), True, dict.fromkeys((b.table.entity for b in self._bounds), missed))
        asked = time.time_ns() // 1000
        visible = self._visible()
        self._trail.mark(asked, visible)
        whole = backlog.wait(visible, CATCH_UP)
        taken = backlog.take(limit, visible)
        if not taken.changes and not taken.gaps and backlog.error is not None:
            self._failed(backlog.error)
            return self.changes(noted, limit)
        changes, gaps = self._entities(taken)
        self._owed = self._owed or bool(changes)
        self._given = self._next(at, taken.position, bool(changes or gaps))
        return Found(changes, _dump(self._given), taken.more or not whole, gaps, self._complete(taken))

    def _complete(self, taken: Taken) -> dict[str, Complete]:
        """The log's own seconds tell nothing: they are of statements, not of commits."""
        held = "changed rows that wait to be looked at" if taken.more else "binary log that is not read yet"
        found = self._trail.complete(lambda place: place <= taken.place, None, held)
        return {bound.table.entity: found for bound in self._bounds}

    def _entities(self, taken: Taken) -> tuple[list[Change], dict[str, str]]:
        changes = [
            Change(bound.table.entity, key, OPS[op])
            for (tag, key), op in taken.changes.items()
            for bound in self._groups.get(tag, ())
        ]
        gaps = {bound.table.entity: why for tag, why in taken.gaps.items() for bound in self._groups.get(tag, ())}
        return changes, gaps

    def _next(self, at: Position | None, new: Position | None, changed: bool) -> Position:
        """The position of this answer. One in which nothing new stands is not worth a write, but now and then."""
        base = at or self._begun
        assert base is not None
        if new is None or new == base:
            return base
        due = new.file != base.file or new.at - base.at >= STRIDE or time.monotonic() - self._at >= PACE
        if not changed and not due and at is not None:
            return base
        self._at = time.monotonic()
        return new

    def acknowledge(self, noted: bytes) -> None:
        at = _load(noted)
        if at is None or self._backlog is None:
            return
        self._backlog.acknowledge((number_of(at.file), at.at))
        if at == self._given:
            self._owed = False

    # --- the stream --------------------------------------------------------------------------------------------------

    def _follow(self, at: Position | None) -> None:
        """Let the stream run behind this position; where its log is gone, from now on."""
        if self._stream is not None and not self._owed and at in (self._given, None):
            return
        self._stop()
        if problems := list(wrong(self._session, self._session.name)):
            raise Halt(problems)
        if self._halted:  # what is in the log by now cannot be had again, and is swept
            self._lenient, self._halted = self._visible(), False
        begin = at or self._begun or self._now()
        lost, self._lost = self._lost or self._whose(begin), ""
        if lost:
            begin = self._now()
            self._trail = Trail()
        if at is None or lost:
            self._begun = begin
        self._start(begin)
        self._given, self._missed = at, lost

    def _start(self, begin: Position) -> None:
        backlog = self._backlog = Backlog(self._is_echo)
        checksum = self._session.query("SELECT @@global.binlog_checksum")[0][0] != "NONE"
        decoder = Decoder(self._watched(), begin.state, checksum, self._lenient, (begin.file, begin.created))
        self._stream = Stream(self._config, begin.state, decoder, backlog)
        self._owed, self._at = False, time.monotonic()

    def _whose(self, at: Position) -> str:
        """Is this position's log still the one on this server?"""
        if not at.file:
            return ""
        found = self._session.query(f"SELECT BINLOG_GTID_POS({literal(at.file)}, {at.at})")[0][0]
        if found is None:
            return f"the binary log up to which all was seen ({at.file}) is gone from the server"
        if set(str(found).split(",")) != set(at.state.split(",")):
            return f"the server's binary log is another one than before ({at.file} does not hold what was read in it)"
        return ""

    def _failed(self, error: BaseException) -> None:
        """The stream has ended. Tried again at once where that can help; else raises."""
        self._stop()
        name = self._session.name
        if isinstance(error, Lost):
            self._lost = f"the binary log behind what was read is gone ({error})"
            return
        if isinstance(error, Stopped):
            self._halted = True
            hint = f"run as an administrator: {error.hint}; then `accord review retry --all`: what was missed is swept"
            raise Halt(Problem("binlog", f"the binary log cannot be read on: {error.what}.", hint, system=name))
        if isinstance(error, AccordError):
            raise error
        raise Halt(Problem("binlog", f"the binary log cannot be read on: {error!r}", system=name)) from error

    def _stop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Never raises."""
        self._stop()

    def _watched(self) -> Watched:
        targets = {}
        for tag, group in self._groups.items():
            first = group[0]
            charsets = {name: charset for name, (charset, _) in first.charsets.items()}
            names = frozenset(column.name for b in group for column in b.watched)
            targets[first.database, first.table.name] = Target(tag, first.table.key, names, charsets)
        lower = self._session.query("SELECT @@lower_case_table_names")[0][0] != "0"
        parents = _parents(cascades.web(self._session, self._bounds), self._bounds)
        fence = (self._names.database, f"{self._names.prefix}_fence")
        watched = Watched(targets, parents, fence, lower)
        if not lower:
            return watched
        targets = {watched.place(*place): target for place, target in targets.items()}
        parents = {watched.place(*place): parent for place, parent in parents.items()}
        return Watched(targets, parents, watched.place(*fence), True)

    # --- where the server is -----------------------------------------------------------------------------------------

    def _visible(self) -> Place:
        """A snapshot of this moment shows all of the log before it."""
        self._session.query(SNAPSHOT)
        try:
            return self.snapshot()
        finally:
            if self._session.open:
                self._session.query("COMMIT")

    def snapshot(self) -> Place:
        """Of the transaction that is open, begun WITH CONSISTENT SNAPSHOT: it shows all of the log before it."""
        file, at = self._snapshot()
        return number_of(file), at

    def _snapshot(self) -> tuple[str, int]:
        found = {str(row[0]): row[1] for row in self._session.query("SHOW STATUS LIKE 'binlog_snapshot_%'")}
        file = str(found.get("Binlog_snapshot_file", ""))
        if not file:
            raise Halt(list(wrong(self._session, self._session.name)) or [self._problem("there is no binary log.")])
        return file, int(found["Binlog_snapshot_position"])

    def _now(self) -> Position:
        self._session.query(SNAPSHOT)
        try:
            file, at = self._snapshot()
        finally:
            if self._session.open:
                self._session.query("COMMIT")
        state = self._session.query(f"SELECT BINLOG_GTID_POS({literal(file)}, {at})")[0][0]
        return Position(str(state or ""), file, at, 0)

    def _problem(self, text: str) -> Problem:
        return Problem("binlog", text, system=self._session.name)

    # --- our own transactions ----------------------------------------------------------------------------------------

    def expect(self, own: tuple[str, int, int], written: Written) -> None:
        """A transaction of our own is about to be committed. Called in the system's thread."""
        if self._groups:
            self._ours[own] = written
            while len(self._ours) > OURS:
                del self._ours[next(iter(self._ours))]

    def _is_echo(self, event: Event) -> bool:
        """Is it what we have written ourselves, and have read back? All else in our transactions was done by others.

        In the stream's thread. What is written is put down before the commit, so it is there when this is asked.
        """
        written = self._ours.get(event.txn.own) if event.txn.own is not None else None
        if written is None or written[event.tag, event.key] <= 0:
            return False
        written[event.tag, event.key] -= 1
        return True

    # --- what readings know of it ------------------------------------------------------------------------------------

    def tell(self, bound: Bound, readings: dict[Key, Reading], visible: Place, offset: Stamp) -> None:
        """Add to each reading what the log knows of its key. What has not come yet has no time."""
        backlog = self._backlog
        if backlog is None or not backlog.wait(visible, TIMES):
            return
        moves: Mapping[Key, Key] | None = None
        for key, found in readings.items():
            story = backlog.story(bound.tag, key, visible, offset)
            if story is None:
                continue
            was = None
            if story.was is not None:
                moves = moves or {new: old for old, new in backlog.moves(bound.tag, visible)}
                was = oldest(moves, key)
            same = story.was is not None and was is None
            times = dict(_times(bound, story))
            readings[key] = found._replace(times=times, reborn=story.reborn and not same, was=was)

    def moved(self, bound: Bound, keys: Sequence[Key]) -> dict[Key, Key]:
        """Old key -> newest key. `Transient` where the log has not been read so far that it could be known."""
        backlog = self._backlog
        if backlog is None:
            return {}
        visible = self._visible()
        if not backlog.wait(visible, SURE):
            text = "its binary log is not read up to now: what became of rows that are gone cannot be told yet."
            raise Transient(Problem("log", text, system=self._session.name))
        return newest(backlog.moves(bound.tag, visible), keys)


def _times(bound: Bound, story: Story) -> Iterator[tuple[int, Stamp]]:
    for i in bound.places:
        at = story.times.get(bound.column(i).name, story.everything)
        if at is not None:
            yield i, at


class Listen:
    """Wakes the agent when the stream has brought something: `adapters.waking.Watch`."""

    def __init__(self, logged: Logged, other: Ask | None = None) -> None:
        """`other`: what is asked beside it, every so often."""
        self._logged, self._other = logged, other

    def look(self, wait: Wait) -> bool:
        backlog = self._logged.backlog
        if backlog is not None:
            backlog.bell.clear()
            if backlog.is_waiting():
                return True
        bells = (backlog.bell.fileno(),) if backlog is not None else ()
        if self._other is None:
            wait(1.0, *bells)
            return False
        return self._other.look(lambda seconds: wait(seconds, *bells))

    def close(self) -> None:
        if self._other is not None:
            self._other.close()


def _parents(web: cascades.Web, bounds: Sequence[Bound]) -> dict[cascades.Place, Parent]:
    """The tables from which foreign keys lead to captured ones."""
    tags = {(b.database.lower(), b.table.name.lower()): b.tag for b in bounds}

    def reached(paths: Sequence[cascades.Path]) -> tuple[str, ...]:
        places = {place for path in paths for place in (web.reached(path.place) if path.round else (path.place,))}
        return tuple(sorted({tags[schema.lower(), table.lower()] for schema, table in places}))

    found = {}
    for place in web.parents:
        deletes, updates = web.deletes(place), web.updates(place)
        columns = frozenset(name for path in updates for name in path.steps[0].edge.to)
        if deletes or updates:
            found[place] = Parent(columns, reached(updates), reached(deletes))
    return found


def _load(noted: bytes) -> Position | None:
    return Position(*json.loads(noted)) if noted else None


def _dump(noted: Position) -> bytes:
    return json.dumps(noted, separators=(",", ":")).encode()
