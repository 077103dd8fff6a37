"""What the stream has brought and the rounds have not dealt with: handed out in order, and asked by readings.

Filled by the stream's thread, used by the system's. Whatever was handed out stays until it is acknowledged, because
readings ask when, and by whom, their columns were changed.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.mysql.binlog.events import Ended, Event, Gap, Item, Place, Txn, number_of
from adapters.waking import Bell
from config.records import Key, Stamp

FULL = 50_000  # items that wait, beyond which the stream is not read on
KEPT = 200_000  # changes handed out and not acknowledged; what is older loses its times

Written = Counter[tuple[str, Key]]
"""How often one of our own transactions wrote a row, by (tag, key)."""


class Position(NamedTuple):
    """Behind a transaction: by its GTIDs, and where it ends in which file, for a check of whose log it is."""

    state: str
    file: str
    at: int
    created: int


class Taken(NamedTuple):
    changes: dict[tuple[str, Key], str]  # (tag, key) -> what happened first
    gaps: dict[str, str]
    position: Position | None  # behind the last transaction that was taken whole; None: it stays
    more: bool
    place: Place  # all before it has been taken


@dataclass(slots=True)
class Story:
    """What others did to one key."""

    times: dict[str, Stamp] = field(default_factory=dict)  # by column
    everything: Stamp | None = None  # the row is new: all its columns
    was: Key | None = None
    reborn: bool = False
    left: Txn | None = None

    def add(self, event: Event, offset: Stamp) -> None:
        if event.op == "D":
            self.left, self.was, self.times, self.everything = event.txn, None, {}, None
            return
        if event.txn.own is not None:
            return
        at = moment(event.txn, offset)
        self.reborn = self.reborn or (self.left is not None and self.left is not event.txn)
        self.was, self.left = event.was or self.was, None
        if event.columns is None:
            self.everything = at
        else:
            self.times.update(dict.fromkeys(event.columns, at))


def moment(txn: Txn, offset: Stamp) -> Stamp:
    """The log knows the second; within it, when it came here, which is at once while nothing is behind."""
    begin = txn.at * 1_000_000 - offset
    return max(begin, min(txn.received, begin + 999_999))


class Backlog:
    def __init__(self, is_echo: Callable[[Event], bool]) -> None:
        """`is_echo`, asked in the stream's thread once for each: what the agent holds already is left out."""
        self._is_echo = is_echo
        self._change = threading.Condition()
        self._ahead: deque[Item] = deque()
        self._passed: deque[Event] = deque()
        self._index: dict[tuple[str, Key], deque[Event]] = {}
        self.reached: Place = (0, 0)  # all of the log before it is here
        self.error: BaseException | None = None
        self.stopped = False  # nobody wants any more
        self.bell = Bell()

    # --- the stream's thread -----------------------------------------------------------------------------------------

    def put(self, items: Iterable[Item], reached: Place) -> None:
        """Waits while it is full."""
        with self._change:
            self.reached = max(self.reached, reached)
            for item in items:
                self._add(item)
            self._change.notify_all()
            if self._ahead and not isinstance(self._ahead[0], Ended):
                self.bell.ring()
            while len(self._ahead) > FULL and not self.stopped:
                self._change.wait(1.0)

    def _add(self, item: Item) -> None:
        if isinstance(item, Event):
            if self._is_echo(item):
                return
            self._index.setdefault((item.tag, item.key), deque()).append(item)
        elif isinstance(item, Ended):
            item.txn.end = (number_of(item.file), self.reached[1])
            if self._ahead and isinstance(self._ahead[-1], Ended) and self._alone():
                self._ahead.pop()
        self._ahead.append(item)

    def _alone(self) -> bool:
        """Is the transaction whose end stands last one in which nothing happened that matters?"""
        return len(self._ahead) < 2 or isinstance(self._ahead[-2], Ended)

    def fail(self, error: BaseException) -> None:
        with self._change:
            self.error = error
            self._change.notify_all()
            self.bell.ring()

    # --- the system's ------------------------------------------------------------------------------------------------

    def wait(self, place: Place, seconds: float) -> bool:
        """Until all before this place is here, or it is full, or the time is over; is it all here?"""
        end = time.monotonic() + seconds
        with self._change:
            while self.reached < place and self.error is None and len(self._ahead) <= FULL:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._change.wait(left)
            return self.reached >= place

    def take(self, limit: int, visible: Place) -> Taken:
        """Up to `limit` distinct rows, of transactions that begin before `visible`: the server sends them before they
        can be seen in the tables."""
        changes: dict[tuple[str, Key], str] = {}
        gaps: dict[str, str] = {}
        position: Position | None = None
        with self._change:
            while self._ahead and self._ahead[0].txn.start < visible:
                item = self._ahead[0]
                if isinstance(item, Event):
                    if len(changes) >= limit and (item.tag, item.key) not in changes:
                        break
                    self._passed.append(item)
                    changes.setdefault((item.tag, item.key), item.op)
                elif isinstance(item, Gap):
                    gaps.setdefault(item.tag, item.why)
                else:
                    assert item.txn.end is not None
                    position = Position(item.state, item.file, item.txn.end[1], item.created)
                self._ahead.popleft()
            while len(self._passed) > KEPT:
                self._forget(self._passed.popleft())
            more = bool(self._ahead) and self._ahead[0].txn.start < visible
            place = self._ahead[0].txn.start if self._ahead else self.reached
            self._change.notify_all()
        return Taken(changes, gaps, position, more, place)

    def is_waiting(self) -> bool:
        """Is there something to hand out? May be asked by any thread."""
        with self._change:
            waiting = self._ahead
            return self.error is not None or len(waiting) > 1 or (bool(waiting) and not isinstance(waiting[0], Ended))

    def acknowledge(self, place: Place) -> None:
        """What ended up to here is dealt with."""
        with self._change:
            while self._passed and (end := self._passed[0].txn.end) is not None and end <= place:
                self._forget(self._passed.popleft())

    def _forget(self, event: Event) -> None:
        known = self._index[event.tag, event.key]
        known.popleft()
        if not known:
            del self._index[event.tag, event.key]

    def story(self, tag: str, key: Key, visible: Place, offset: Stamp) -> Story | None:
        """What is known of this key, as a reading sees it that shows all before `visible`."""
        with self._change:
            events = [e for e in self._index.get((tag, key), ()) if e.txn.start < visible]
        if not events:
            return None
        story = Story()
        for event in events:
            story.add(event, offset)
        return story

    def moves(self, tag: str, visible: Place) -> list[tuple[Key, Key]]:
        """Changes of keys, (old, new), in order."""
        with self._change:
            waiting = [item for item in self._ahead if isinstance(item, Event)]
            events = [*self._passed, *waiting]
        return [(e.was, e.key) for e in events if e.was is not None and e.tag == tag and e.txn.start < visible]

    def close(self) -> None:
        with self._change:
            self.stopped = True
            self._change.notify_all()
