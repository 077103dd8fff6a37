"""What the log has brought and the agent has not dealt with: in order, and key by key. Between two threads.

Two things are asked of it: what is to be looked at (`take`), and what happened to a key, up to a snapshot (`story`).
A transaction of Accord's own is known by its number. What it wrote itself is an echo; everything else in it, which the
application's triggers did, is a change, though one whose time says nothing.

It is bounded: where much is waiting it keeps keys only, then the stream stops reading.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from adapters.postgresql.logical.pgoutput import UNCHANGED, Image, Row
from config.errors import AccordError
from config.records import Key, Stamp

RICH = 20_000  # rows that are kept with their values; of those behind them only the key is
FULL = 300_000  # rows; about 100 MB
OWN = 64  # transactions of our own whose echo may still come
CHAIN = 20  # a key that was changed so often within one backlog is followed no further

Tagged = tuple[str, Key]


class Txn(NamedTuple):
    at: Stamp  # when it was committed, by the server's clock
    xid: int
    own: bool


class Event(NamedTuple):
    number: int
    txn: Txn
    op: str
    tag: str
    key: Key
    was: Key | None
    image: Image | None  # None: not kept
    echo: bool


class Border(NamedTuple):
    """Behind it a transaction ends."""

    lsn: int


class Emptied(NamedTuple):
    """A table that lost all its rows at once (TRUNCATE)."""

    tag: str


class Snapshot(NamedTuple):
    """What a reading sees: transactions below `low`, and those below `high` that were not open."""

    low: int
    high: int
    open: frozenset[int]

    def sees(self, xid: int) -> bool:
        """`xid`: the lower 32 bits."""
        whole = (self.high & ~0xFFFFFFFF) | xid
        if whole > self.high + 0x80000000:
            whole -= 1 << 32
        elif whole < self.high - 0x80000000:
            whole += 1 << 32
        return whole < self.low or (whole < self.high and whole not in self.open)


class Taken(NamedTuple):
    events: list[Event]
    lsn: int | None  # all up to here has been taken; None: not even one transaction
    more: bool
    emptied: list[str]  # tables
    echoes: bool  # were there any of our own
    unseen: bool  # the next one cannot be seen by others yet


class Story(NamedTuple):
    """What happened to one key."""

    times: dict[int, Stamp]  # by watched column: when others changed it last, by the server's clock
    reborn: bool
    was: Key | None
    image: Image | None  # what it holds now, as far as is known


class Backlog:
    def __init__(self, start: int, own: Mapping[int, Counter[Tagged]] | None = None) -> None:
        """`start`: the position in the log from which it is read; `own`: as the backlog before had it `expected`."""
        self._changed = threading.Condition()
        self._items: deque[Event | Border | Emptied] = deque()
        self._stories: dict[Tagged, deque[Event]] = {}
        self._taken: deque[Event] = deque()  # handed out, not acknowledged
        self._moves: deque[Event] = deque()
        self._number = self._waiting = 0
        self._txn: Txn | None = None
        self._left: Counter[Tagged] = Counter()  # what the echo of the transaction that is coming still may be
        self._own: dict[int, Counter[Tagged]] = dict(own or {})
        self.received = start
        self.error: AccordError | None = None
        self.unreadable = ""
        self._call: Callable[[], None] | None = None
        self._pressed = False  # somebody must know all that has been committed

    # --- the stream's side -------------------------------------------------------------------------------------------

    def begin(self, at: Stamp, xid: int) -> None:
        with self._changed:
            own = self._own.get(xid)
            for earlier in list(self._own) if own is not None else ():
                del self._own[earlier]
                if earlier == xid:
                    break
            self._txn, self._left = Txn(at, xid, own is not None), own if own is not None else Counter()

    def put(self, row: Row) -> None:
        with self._changed:
            if row.was is not None:
                self._add(row._replace(op="D", key=row.was, was=None))
            self._add(row)

    def _add(self, row: Row) -> None:
        assert self._txn is not None
        place = (row.tag, row.key)
        echo = self._left[place] > 0
        if echo:
            self._left[place] -= 1
        self._number += 1
        image = row.image if self._waiting < RICH else None
        event = Event(self._number, self._txn, row.op, row.tag, row.key, row.was, image, echo)
        self._items.append(event)
        self._stories.setdefault(place, deque()).append(event)
        if row.was is not None:
            self._moves.append(event)
        self._waiting += 1
        if not echo:
            self._ring()

    def empty(self, tags: Sequence[str]) -> None:
        with self._changed:
            self._items.extend(Emptied(tag) for tag in tags)
            self._ring()

    def commit(self, lsn: int) -> None:
        with self._changed:
            self._txn = None
            self._items.append(Border(lsn))
            self._reach(lsn)

    def heard(self, lsn: int) -> None:
        """The server says that it has sent all up to here."""
        with self._changed:
            if self._txn is None:
                self._reach(lsn)

    def _reach(self, lsn: int) -> None:
        if lsn > self.received:
            self.received = lsn
            self._changed.notify_all()

    def fail(self, error: AccordError, unreadable: str = "") -> None:
        with self._changed:
            self.error, self.unreadable = error, unreadable
            self._changed.notify_all()
            self._ring()

    @property
    def full(self) -> bool:
        return self._waiting >= FULL and not self._pressed

    def _ring(self) -> None:
        if self._call is not None:
            self._call()
            self._call = None

    @property
    def waiting(self) -> int:
        """Rows that nobody has asked for yet."""
        return self._waiting

    @property
    def coming(self) -> bool:
        """Is a transaction in the middle of being read?"""
        return self._txn is not None

    # --- the agent's side --------------------------------------------------------------------------------------------

    def expect(self, xid: int, written: Iterable[Tagged]) -> None:
        """This transaction of our own is about to be committed, and has written these rows."""
        with self._changed:
            self._own[xid & 0xFFFFFFFF] = Counter(written)
            while len(self._own) > OWN:
                del self._own[next(iter(self._own))]

    def expected(self) -> dict[int, Counter[Tagged]]:
        """For the next stream."""
        with self._changed:
            return dict(self._own)

    def call(self, ring: Callable[[], None] | None) -> None:
        """Ring once as soon as there is something to be looked at; None: not any more."""
        with self._changed:
            self._call = ring
            if self.error is not None or self._any():
                self._ring()

    def _any(self) -> bool:
        """Is there something to be looked at?"""
        return any(not isinstance(i, Border) and not (isinstance(i, Event) and i.echo) for i in self._items)

    def wait(self, lsn: int, seconds: float, enough: int | None = None) -> bool:
        """Until all up to `lsn` has come; given up when that takes too long, when the stream has failed or stopped
        reading, or when `enough` rows are waiting."""
        end = time.monotonic() + seconds
        with self._changed:
            while not has_come(self.received, lsn):
                left = end - time.monotonic()
                if left <= 0 or self.error is not None or self.full or (enough is not None and self._waiting >= enough):
                    return False
                self._changed.wait(min(left, 0.01 if enough is not None else left))
            return True

    def press(self, lsn: int, seconds: float) -> bool:
        """`wait`, and meanwhile the stream reads on beyond the bound: of what it brings, keys only are kept."""
        self._pressed = True
        try:
            return self.wait(lsn, seconds)
        finally:
            self._pressed = False

    def ends(self, tag: str, key: Key) -> bool:
        """Is the last that has come of this key that its row went?"""
        with self._changed:
            events = self._stories.get((tag, key))
            return events is not None and events[-1].op == "D"

    def take(self, limit: int, snapshot: Snapshot) -> Taken:
        """The next rows, up to `limit` distinct ones that are no echo.

        The log tells of a commit before others can see it (long before, where it waits for a standby): what the
        snapshot does not see stays, for a reading would find nothing changed."""
        with self._changed:
            events: list[Event] = []
            seen: set[Tagged] = set()
            lsn: int | None = None
            emptied: list[str] = []
            echoes = unseen = False
            while self._items:
                item = self._items[0]
                if isinstance(item, Event) and not snapshot.sees(item.txn.xid):
                    unseen = True
                    break
                if isinstance(item, Border):
                    lsn = item.lsn
                elif isinstance(item, Emptied):
                    emptied.append(item.tag)
                elif not item.echo:
                    place = (item.tag, item.key)
                    if place not in seen and len(seen) >= limit:
                        break
                    seen.add(place)
                    events.append(item)
                self._items.popleft()
                if isinstance(item, Event):
                    echoes = echoes or item.echo
                    self._taken.append(item)
                    self._waiting -= 1
            if not self._items and self._txn is None:
                lsn = self.received
            return Taken(events, lsn, self._any(), emptied, echoes, unseen)

    def forget(self) -> None:
        """What was taken is dealt with."""
        with self._changed:
            while self._taken:
                event = self._taken.popleft()
                place = (event.tag, event.key)
                story = self._stories[place]
                story.popleft()  # it was put there, and is taken from there, in the order of the log
                if not story:
                    del self._stories[place]
                if event.was is not None:
                    self._moves.popleft()

    # --- what the readings know of it --------------------------------------------------------------------------------

    def story(self, tag: str, key: Key, snapshot: Snapshot) -> Story | None:
        with self._changed:
            events = [e for e in self._stories.get((tag, key), ()) if snapshot.sees(e.txn.xid)]
            return self._story(tag, key, events, snapshot) if events else None

    def _story(self, tag: str, key: Key, events: Sequence[Event], snapshot: Snapshot) -> Story:
        times: dict[int, Stamp] = {}
        image: Image | None = None
        moved: Event | None = None
        left: Txn | None = None
        known, reborn = True, False
        for event in events:
            if event.op == "D":
                image, moved, left = None, None, None if event.txn.own else event.txn
                times.clear()
                continue
            reborn = reborn or (not event.txn.own and left is not None and left is not event.txn)
            left, moved = None, event if event.was is not None else moved
            if event.image is None:
                known = False
                continue
            if not event.txn.own:
                times |= dict.fromkeys(_changed(image, event.image), event.txn.at)
            image = event.image if image is None else _onto(image, event.image)
        was = None if moved is None else self._origin(moved, snapshot)
        same = was == key  # it had another key for a while
        return Story(times if known else {}, reborn and not same, None if same else was, image if known else None)

    def _origin(self, moved: Event, snapshot: Snapshot) -> Key | None:
        """The key before all changes of key that wait here; None where the row was made under a key that waits here,
        too."""
        was, number = moved.was, moved.number
        for _ in range(CHAIN):
            assert was is not None
            events = [e for e in self._stories.get((moved.tag, was), ()) if e.number < number]
            arrivals = [e for e in events if e.op == "I" or e.was is not None]
            if not arrivals:
                return was
            last = arrivals[-1]
            if last.was is not None:
                was, number = last.was, last.number
            elif any(e.op == "D" and e.txn is last.txn and e.number < last.number for e in events):
                number = last.number  # deleted and inserted by one transaction: the same row
            else:
                return None
        return None

    def moves(self, tag: str) -> list[tuple[Key, Key]]:
        """Changes of key, in order: (old, new)."""
        with self._changed:
            return [(e.was, e.key) for e in self._moves if e.tag == tag and e.was is not None]


def _changed(before: Image | None, after: Image) -> list[int]:
    if before is None:
        return [i for i, value in enumerate(after) if value is not UNCHANGED]
    return [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if b is not UNCHANGED and a != b]


def _onto(before: Image, after: Image) -> Image:
    return tuple(a if b is UNCHANGED else b for a, b in zip(before, after, strict=True))


def has_come(received: int, lsn: int) -> bool:
    """Behind the end of a page of the log stands the header of the next, which is no end of any record."""
    return received >= lsn or (lsn % 8192 <= 40 and received >= lsn - lsn % 8192)
