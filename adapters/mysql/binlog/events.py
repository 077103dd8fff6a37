"""From the packets of the log to what happened to which key: transactions, changes of rows, and gaps. Pure.

The log is a sequence of events. One of GTID begins a transaction, XID or COMMIT ends it, TABLE_MAP says how the rows
that follow it lie. What cannot be understood is `Unreadable`; nothing is ever passed over because of that.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.convert import MYSQL
from adapters.keys import key_of
from adapters.mysql.binlog import layout
from adapters.mysql.binlog.layout import Image, Unreadable
from adapters.mysql.binlog.values import Show, shower
from config.records import Column, Key, Raw

HEADER = struct.Struct("<IBIIIH")
QUERY, ROTATE, FORMAT, XID, TABLE_MAP, INCIDENT, XA_PREPARE, GTID = 2, 4, 15, 16, 19, 26, 38, 162
ROWS = {23: "I", 24: "U", 25: "D"}
IGNORED = frozenset((0, 3, 5, 13, 14, 27, 160, 161, 163, 164))
"""STOP, variables of statements, heartbeats, annotations, checkpoints, lists of GTIDs, keys of an encrypted log (the
server decrypts before it sends)."""
COMPRESSED = frozenset(range(165, 172))
LOADS = frozenset((9, 11, 17, 18))
IGNORABLE = 0x80
STANDALONE, GROUP, PREPARED, COMPLETED = 1, 2, 64, 128  # flags of a GTID event

ROW_FORMAT = "SET GLOBAL binlog_format = 'ROW'; and see that no session sets it otherwise"
ROW_IMAGE = "SET GLOBAL binlog_row_image = 'FULL'; and see that no session sets it otherwise"
METADATA = "SET GLOBAL binlog_row_metadata = 'FULL'; and see that no session sets it otherwise"
UNCOMPRESSED = "SET GLOBAL log_bin_compress = OFF; and see that no session sets it otherwise"

Place = tuple[int, int]
"""In which file of the log (they are numbered), and at which byte."""


@dataclass(slots=True, eq=False)
class Txn:
    """A transaction, while it is read and for as long as something is asked about it."""

    start: Place
    at: int  # when its rows were changed, in seconds on the server's clock
    received: int  # µs on the agent's clock
    own: tuple[str, int, int] | None = None  # agent, epoch and round, if an agent of Accord has made it
    end: Place | None = None  # None: not read to its end yet


class Event(NamedTuple):
    """What happened to one row."""

    txn: Txn
    tag: str
    key: Key
    op: str  # I U D
    columns: frozenset[str] | None = None  # watched columns that changed; None: all
    was: Key | None = None


class Gap(NamedTuple):
    """Something that no key is known of happened to a table."""

    txn: Txn
    tag: str
    why: str


class Ended(NamedTuple):
    """A transaction is over; `state` is the GTID position behind it."""

    txn: Txn
    state: str
    file: str
    created: int  # of the file


Item = Event | Gap | Ended


@dataclass(frozen=True)
class Target:
    """A table that is captured."""

    tag: str
    key: tuple[Column, ...]
    watched: frozenset[str]
    charsets: Mapping[str, str]


@dataclass(frozen=True)
class Parent:
    """A table whose deletes, and whose changes in some columns, the server carries on to others without a word."""

    columns: frozenset[str]
    changed: tuple[str, ...]  # the captured tables that follow a change of these columns,
    deleted: tuple[str, ...]  # and a delete

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.changed, *self.deleted)))


@dataclass
class Watched:
    """What is looked for, by (schema, table)."""

    targets: Mapping[tuple[str, str], Target]
    parents: Mapping[tuple[str, str], Parent] = field(default_factory=dict)
    fence: tuple[str, str] = ("", "")
    lower: bool = False  # the server keeps names in lower case

    def place(self, schema: str, table: str) -> tuple[str, str]:
        return (schema.lower(), table.lower()) if self.lower else (schema, table)


class Plan(NamedTuple):
    """How the events of one TABLE_MAP are read."""

    map: layout.Map
    target: Target | None
    parent: Parent | None
    fence: bool
    widths: layout.Widths
    key: Sequence[int]
    show: Sequence[Show]
    watched: Sequence[int]


class Decoder:
    """Feed it the events in order."""

    def __init__(
        self, watched: Watched, state: str, checksum: bool, lenient: Place = (0, 0), first: tuple[str, int] = ("", 0)
    ) -> None:
        """`checksum`: do events end with one until the file says so itself? `first`: the file in which `state` was
        reached, and when that was created; 0 = not known."""
        self._watched = watched
        self._domains: dict[str, str] = {gtid.split("-")[0]: gtid for gtid in state.split(",") if gtid}
        self._lenient = lenient  # what cannot be read in transactions before it is a gap
        self._known: dict[bytes, Plan | Unreadable | None] = {}
        self._plans: dict[int, Plan | Unreadable | None] = {}
        self._prepared: dict[bytes, list[Event | Gap]] = {}
        self._checksum = 4 if checksum else 0
        self._first = first
        self._txn: Txn | None = None
        self._gtid = self._domain = ""
        self._xid, self._flags = b"", 0
        self._wrap = 0
        self.file, self.created = "", 0
        self.reached: Place = (0, 0)

    @property
    def state(self) -> str:
        return ",".join(self._domains.values())

    def feed(self, event: bytes, now: int) -> Iterator[Item]:
        """`event` without the packet's first byte; `now`: µs on the agent's clock."""
        at, type_, server, size, log_pos, flags = HEADER.unpack_from(event)
        if self._checksum and zlib.crc32(event[:-4]) != int.from_bytes(event[-4:], "little"):
            raise OSError("an event of the binary log was damaged on its way: its checksum is wrong")
        body = event[19 : len(event) - self._checksum] if type_ != FORMAT else event[19:]
        if type_ == ROTATE:
            self._rotate(body)
        elif type_ == FORMAT:
            self.created = at
            if self._first[0] == self.file and self._first[1] not in (0, at):
                raise Lost(f"{self.file} is another file than before")
            self._checksum = 4 if body[-5] == 1 else 0
        elif type_ == GTID:
            self._begin(body, server, at, now, log_pos - size)
        elif type_ == TABLE_MAP:
            self._map(body)
        elif type_ in ROWS:
            yield from self._held(self._rows(body, ROWS[type_]))
        elif type_ == QUERY:
            yield from self._query(body)
        elif type_ in (XID, XA_PREPARE):
            yield from self._end()
        elif type_ not in IGNORED:
            yield from self._held(self._unknown(type_, flags))
        if log_pos and type_ not in (ROTATE, FORMAT):
            self.reached = (self.reached[0], log_pos + self._wrapped(log_pos))
            if type_ in (XID, XA_PREPARE, QUERY) and self._txn is None:
                self._wrap = self._wrapped(log_pos)

    def _wrapped(self, log_pos: int) -> int:
        return self._wrap + (1 << 32 if log_pos + self._wrap < self.reached[1] - (1 << 31) else 0)

    # --- files and transactions --------------------------------------------------------------------------------------

    def _rotate(self, body: bytes) -> None:
        self.file = body[8:].decode()
        self.reached, self._wrap = (number_of(self.file), int.from_bytes(body[:8], "little")), 0

    def _begin(self, body: bytes, server: int, at: int, now: int, start: int) -> None:
        seq, domain, flags = struct.unpack_from("<QIB", body)
        self._domain, self._gtid, self._flags = str(domain), f"{domain}-{server}-{seq}", flags
        self._xid = _xid(body, 13 + (8 if flags & GROUP else 0)) if flags & (PREPARED | COMPLETED) else b""
        self._txn = Txn((self.reached[0], start + self._wrap), at, now)
        if flags & PREPARED:
            self._prepared[self._xid] = []

    def _end(self) -> Iterator[Item]:
        txn, self._txn, self._flags = self._txn, None, 0
        if txn is None:
            return
        self._domains[self._domain] = self._gtid
        yield Ended(txn, self.state, self.file, self.created)

    def _held(self, items: Iterator[Event | Gap]) -> Iterator[Item]:
        """What was only prepared (XA) is kept until it is committed."""
        for item in items:
            if self._flags & PREPARED:
                self._prepared[self._xid].append(item)
            else:
                yield item

    def _now(self) -> Txn:
        if self._txn is None:  # an event of rows outside of a transaction: a file from before GTIDs
            self._txn = Txn(self.reached, 0, 0)
        return self._txn

    def _all(self, why: str) -> Iterator[Gap]:
        for target in self._watched.targets.values():
            yield Gap(self._now(), target.tag, why)

    def _bad(self, error: Unreadable) -> None:
        """It stops here; but what a person has been told of is passed, and swept."""
        if self._now().start >= self._lenient:
            raise Stopped(error.what, error.hint)

    # --- statements --------------------------------------------------------------------------------------------------

    def _query(self, body: bytes) -> Iterator[Item]:
        schema_length, extra = body[8], body[11] | body[12] << 8
        text = body[13 + extra + schema_length + 1 :].decode("utf-8", "replace")
        schema = body[13 + extra : 13 + extra + schema_length].decode("utf-8", "replace")
        kind = statement(text)
        if kind == "xa":
            yield from self._completed("COMMIT" in text[:12].upper())
        elif kind == "ddl":
            yield from self._altered(schema, text)
        elif kind == "rows":
            yield from self._statement(schema, text)
        if kind in ("end", "xa") or self._flags & STANDALONE:
            yield from self._end()

    def _completed(self, commit: bool) -> Iterator[Item]:
        items = self._prepared.pop(self._xid, None)
        if items is None and commit:
            yield from self._all("a transaction was committed that was prepared before the log was read")
        for item in items or () if commit else ():
            yield item._replace(txn=self._now())

    def _altered(self, schema: str, text: str) -> Iterator[Gap]:
        for tag in self._named(schema, text):
            yield Gap(self._now(), tag, f"its table was altered or emptied: {text[:60].strip()}")

    def _named(self, schema: str, text: str) -> list[str]:
        """Which tables a statement may be about: their names stand in it, and their database is meant or named."""
        found = text.lower()
        dropped = re.match(r"\s*drop\s+(database|schema)\b", found)
        places = {place: [target.tag] for place, target in self._watched.targets.items()}
        for place, parent in self._watched.parents.items():
            places[place] = [*places.get(place, ()), *parent.tags]
        tags: list[str] = []
        for (database, table), reached in places.items():
            if (dropped and database.lower() in found) or (
                table.lower() in found and (database.lower() in found or schema.lower() == database.lower())
            ):
                tags += reached
        return list(dict.fromkeys(tags))

    def _statement(self, schema: str, text: str) -> Iterator[Gap]:
        what = f"a statement was logged in place of the rows that it changed: {text[:60].strip()}"
        if self._named(schema, text):
            self._bad(Unreadable(what, ROW_FORMAT))
        yield from self._all(what)

    def _unknown(self, type_: int, flags: int) -> Iterator[Gap]:
        if type_ == INCIDENT:
            yield from self._all("the server says that its log has lost events")
        elif type_ in COMPRESSED:
            self._bad(Unreadable("the log holds compressed events", UNCOMPRESSED))
            yield from self._all("the log held compressed events")
        elif type_ in LOADS:
            self._bad(Unreadable("LOAD DATA was logged as a statement", ROW_FORMAT))
            yield from self._all("LOAD DATA was logged as a statement")
        elif not flags & IGNORABLE:
            hint = 'use capture = "trigger", or a version of the server that Accord knows'
            self._bad(Unreadable(f"the log holds an event of an unknown kind ({type_})", hint))
            yield from self._all(f"the log held an event of an unknown kind ({type_})")

    # --- rows --------------------------------------------------------------------------------------------------------

    def _map(self, body: bytes) -> None:
        number = int.from_bytes(body[:6], "little")
        if body not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[body] = self._plan(body)
        self._plans[number] = self._known[body]

    def _plan(self, body: bytes) -> Plan | Unreadable | None:
        """None: a table that does not matter."""
        map_ = layout.table_map(body)
        place = self._watched.place(map_.schema, map_.table)
        target, parent = self._watched.targets.get(place), self._watched.parents.get(place)
        if target is None and parent is None and place != self._watched.fence:
            return None
        names = [column.name for column in map_.columns]
        key = [names.index(c.name) for c in target.key if c.name in names] if target else []
        show: list[Show] = []
        try:
            show = [_show(target, map_.columns[i]) for i in key] if target else []
        except Unreadable as error:
            return error
        wanted = (target.watched if target else frozenset()) | (parent.columns if parent else frozenset())
        watched = [i for i, name in enumerate(names) if name in wanted]
        return Plan(map_, target, parent, place == self._watched.fence, [], key, show, watched)

    def _rows(self, body: bytes, op: str) -> Iterator[Event | Gap]:
        head = layout.rows_head(body, op == "U")
        if head.number not in self._plans:
            self._bad(Unreadable("rows of a table that the log has not described", METADATA))
            return
        plan = self._plans[head.number]
        if plan is None:
            return
        if isinstance(plan, Unreadable):
            self._bad(plan)
            yield from self._all(plan.what)
            return
        try:
            yield from self._changes(plan, head, body, op)
        except (Unreadable, struct.error, IndexError, ValueError) as error:
            found = (
                error if isinstance(error, Unreadable) else Unreadable(f"its rows cannot be read ({error})", METADATA)
            )
            table = f"{plan.map.schema}.{plan.map.table}"
            self._bad(Unreadable(f"in a change of {table}: {found.what}", found.hint))
            yield from self._passed(plan, found.what)

    def _passed(self, plan: Plan, why: str) -> Iterator[Gap]:
        tags = [plan.target.tag] if plan.target else []
        for tag in [*tags, *(plan.parent.tags if plan.parent else ())]:
            yield Gap(self._now(), tag, why)

    def _changes(self, plan: Plan, head: layout.Rows, body: bytes, op: str) -> Iterator[Event | Gap]:
        if not all(column.name for column in plan.map.columns):
            raise Unreadable("the log does not tell the names of its columns", METADATA)
        target = plan.target
        if target is not None and len(plan.key) < len(target.key):
            yield Gap(self._now(), target.tag, "its key is not what it was")
            return
        before, after = (_Present(plan, bits) for bits in head.present)
        at, end, told = head.at, len(body), op == "I" or plan.parent is None
        while at < end:
            old, at = layout.image(body, at, before.widths)
            new = old
            if op == "U":
                new, at = layout.image(body, at, after.widths)
            changed = frozenset(plan.map.columns[i].name for i in plan.watched if old[before.at[i]] != new[after.at[i]])
            if plan.fence:
                self._mark(plan, after, new)
            if target is not None:
                yield from self._event(target, op, before.key(old), after.key(new), changed)
            if plan.parent and not told and (op == "D" or changed & plan.parent.columns):
                told = True
                for tag in plan.parent.deleted if op == "D" else plan.parent.changed:
                    why = f"rows of {plan.map.table} changed, and the server changes what refers to them without a word"
                    yield Gap(self._now(), tag, why)

    def _event(
        self, target: Target, op: str, old: Key | None, new: Key | None, changed: frozenset[str]
    ) -> Iterator[Event]:
        txn = self._now()
        if op != "U":
            if new is not None:
                yield Event(txn, target.tag, new, op)
        elif old != new:
            if old is not None:
                yield Event(txn, target.tag, old, "D")
            if new is not None:
                yield Event(txn, target.tag, new, "I", changed & target.watched, old)
        elif new is not None and changed & target.watched:
            yield Event(txn, target.tag, new, "U", changed & target.watched)

    def _mark(self, plan: Plan, present: _Present, row: Image) -> None:
        found = {plan.map.columns[i].name: row[n] for i, n in present.at.items()}
        agent, epoch, round = found.get("agent"), found.get("epoch"), found.get("round")
        if agent is not None and epoch is not None and round is not None:
            numbers = int.from_bytes(epoch, "little"), int.from_bytes(round, "little")
            self._now().own = agent.decode(), *numbers


class Stopped(Exception):
    """The log cannot be read on; (what it is, the setting that would change it)."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


class Lost(Exception):
    """The server does not have the log behind this position any more."""


class _Present:
    """The columns that one kind of image holds."""

    def __init__(self, plan: Plan, bits: int) -> None:
        columns = plan.map.columns
        there = [i for i in range(len(columns)) if bits >> i & 1]
        self.at = {i: n for n, i in enumerate(there)}
        missing = [columns[i].name for i in (*plan.key, *plan.watched) if i not in self.at]
        if missing:
            raise Unreadable(f"the log does not hold the whole row ({', '.join(missing)} is not in it)", ROW_IMAGE)
        self.widths = layout.widths([columns[i] for i in there])
        self._places = [self.at[i] for i in plan.key]
        self._show = plan.show
        self._key = plan.target.key if plan.target else ()

    def key(self, row: Image) -> Key | None:
        """None: a row with NULL in its key, which is no row."""
        raws: list[Raw] = []
        for place, show in zip(self._places, self._show, strict=True):
            stored = row[place]
            if stored is None:
                return None
            raws.append(show(stored))
        return key_of(self._key, raws, MYSQL)


def _show(target: Target, column: layout.Column) -> Show:
    native = next(c.native for c in target.key if c.name == column.name)
    found = shower(column, native, target.charsets.get(column.name))
    if found is None:
        hint = 'use capture = "trigger" for it'
        raise Unreadable(f"the key column {column.name} is of a type that is not understood ({native})", hint)
    return found


def _xid(body: bytes, at: int) -> bytes:
    """The name of a transaction in two phases: a format, two lengths, two texts."""
    return body[at : at + 6 + body[at + 4] + body[at + 5]]


def number_of(file: str) -> int:
    """The number at the end of a file's name: files are in this order."""
    return int(file.rpartition(".")[2] or 0)


_COMMENTS = re.compile(r"\s*(/\*(?!!).*?\*/|--[^\n]*\n|#[^\n]*\n|/\*M?!\d*)\s*", re.S)
_OTHER = (
    r"(or\s+replace\s+)?(definer\s*=\s*\S+\s+|algorithm\s*=\s*\S+\s+|sql\s+security\s+\S+\s+|aggregate\s+)*"
    r"(user|role|view|trigger|procedure|function|event|package|server|sequence)\b"
)


def statement(text: str) -> str:
    """What a statement in the log is: `begin`, `end`, `xa`, `ddl`, `rows` (it may have changed some), or `none`."""
    while found := _COMMENTS.match(text):
        text = text[found.end() :]
    word, _, rest = text.strip().partition(" ")
    word, rest = word.lower().rstrip(";"), rest.strip().lower()
    if word in ("commit", "rollback"):
        return "none" if rest.startswith("to ") else "end"
    if word == "xa":
        return "xa" if rest.startswith(("commit", "rollback")) else "none"
    if word in ("begin", "start", "savepoint", "release", "set", "flush", "grant", "revoke", "analyze", "optimize"):
        return "none"
    if word in ("create", "alter", "drop") and re.match(_OTHER, rest):
        return "none"
    return "ddl" if word in ("create", "alter", "drop", "rename", "truncate", "repair") else "rows"
