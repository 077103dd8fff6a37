"""The in-memory database as Accord uses it: the `System` port over `memory.Memory`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from adapters.origin import Origin, Part
from adapters.ports import Decoder
from config.errors import Problem, Taken, Transient, Unreachable
from config.records import (
    Batch,
    Change,
    Crosswalk,
    Fence,
    Gid,
    Key,
    Landing,
    Op,
    Outcome,
    Raw,
    Reading,
    Stamp,
    Table,
    TableInfo,
    Value,
    Write,
    WriteKind,
)

from .memory import Entry, Memory, Refused, Row, Rows, decode, same


def sort_key(key: Key) -> tuple[int, Key]:
    """Keys in the order of the database: numbers by size."""
    return (len(key), key)


class MemorySystem(Memory):
    """A `System` without a server."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lose_commit: str | None = None  # the next COMMIT is cut off: after it has "landed", or was "lost"
        self.transaction: MemoryTransaction | None = None
        self.accord: Fence | None = None
        self.cross: dict[tuple[str, str, Key], Gid] = {}
        self.database = f"{self.name}1"  # which one it is
        self.generation = "1"  # of the triggers

    def bind(self, tables: Sequence[Table]) -> None:
        for table in tables:
            self.tables_.setdefault(table.entity, Rows(table)).table = table

    def up(self) -> None:
        """Every call but `clock` and `close` needs an answer."""
        if self.down:
            raise Unreachable(Problem("unreachable", f"{self.name} does not answer.", system=self.name))

    # --- capture -------------------------------------------------------------------------------------------------
    def origin(self) -> Origin:
        self.up()
        kinds = ("the triggers",) if not self.watermark else ()
        parts = [Part(kind, self.generation, tuple(self.tables_), self.broken) for kind in kinds]
        return Origin(self.database, self.database, self.name, f"the database {self.database}", tuple(parts))

    def backlog(self) -> int:
        self.up()
        return len(self.log)

    def let_go(self) -> bool:
        self.up()
        with self.mutex:
            self.log = []
        return True

    def attend(self, position: bytes | None) -> None:
        """What changed since then is noted by what `prepare` makes."""

    def changes(self, position: bytes | None, limit: int) -> Batch:
        self.up()
        with self.mutex:
            return self.polled(position, limit) if self.watermark else self.logged(position, limit)

    def logged(self, position: bytes | None, limit: int) -> Batch:
        """From the change log: entries go by id, and a position is the set of ids handed out last."""
        done = set(json.loads(position)) if position else set()
        entries = [e for e in self.log if not e.held and e.id not in done]
        if self.shuffle:
            self.shuffle.shuffle(entries)
        taken: dict[tuple[str, Key], Op] = {}
        ids: list[int] = []
        for entry in entries:
            if (entry.entity, entry.key) not in taken and len(taken) == limit:
                break
            taken[entry.entity, entry.key] = entry.op
            ids.append(entry.id)
        changes = [Change(entity, key, op) for (entity, key), op in taken.items()]
        return Batch(changes, json.dumps(ids).encode() if ids else position, len(ids) < len(entries))

    def polled(self, position: bytes | None, limit: int) -> Batch:
        """By watermark: rows that were committed later; what is gone is not seen. Sweeps come through the log."""
        since, done = json.loads(position) if position else (0, [])
        looks = [e for e in self.log if e.id not in done][:limit]
        rows = [(r.seq, e, k) for e, t in self.tables_.items() for k, r in t.rows.items() if r.seq > since]
        rows.sort()
        taken = rows[:limit]
        names = dict.fromkeys([(e, k) for _, e, k in taken] + [(e.entity, e.key) for e in looks])
        if not names:
            return Batch([], position, False)
        mark = [taken[-1][0] if taken else since, [e.id for e in looks]]
        return Batch([Change(e, k) for e, k in names], json.dumps(mark).encode(), len(taken) < len(rows))

    def acknowledge(self, position: bytes | None) -> None:
        self.up()
        if position is None:
            return
        known = json.loads(position)
        ids = set(known[1] if self.watermark else known)
        with self.mutex:
            self.log = [e for e in self.log if e.id not in ids]

    # --- reader --------------------------------------------------------------------------------------------------
    def read(self, keys: Mapping[str, Sequence[Key]]) -> dict[str, dict[Key, Reading]]:
        self.up()
        with self.mutex:
            return {
                entity: {k: self.reading(entity, k) for k in wanted if k in self.tables_[entity].rows}
                for entity, wanted in keys.items()
            }

    def reading(self, entity: str, key: Key) -> Reading:
        rows = self.tables_[entity]
        row = rows.rows[key]
        modified = row.modified - self.offset if rows.table.modified else None
        if self.watermark:
            return Reading(key, row.raws, row.archived, modified)
        entries = [e for e in self.log if e.entity == entity and e.key == key]
        times: dict[int, Stamp] = {}
        for entry in entries:
            for col in entry.cols:
                times[col] = max(times.get(col, 0), entry.at - self.offset)
        return Reading(key, row.raws, row.archived, modified, times, reborn(entries), self.former(entity, key))

    def former(self, entity: str, key: Key) -> Key | None:
        """The key that this row had when the log begins: a key may have been changed twice."""
        was = {e.key: e.was for e in self.log if e.entity == entity and e.was is not None}
        first, seen = key, set[Key]()
        while first in was and first not in seen:
            seen.add(first)
            first = was[first]
        return first if first != key else None

    def moved(self, entity: str, keys: Sequence[Key]) -> dict[Key, Key]:
        self.up()
        if self.watermark:
            return {}
        became = {e.was: e.key for e in self.log if e.entity == entity and e.was is not None}
        newest = {}
        for key in keys:
            last, seen = key, {key}
            while last in became and became[last] not in seen:
                last = became[last]
                seen.add(last)
            if last != key:
                newest[key] = last
        return newest

    def scan(self, entity: str, after: Key | None, limit: int) -> list[Reading]:
        self.up()
        with self.mutex:
            keys = sorted(self.tables_[entity].rows, key=sort_key)
            rest = [k for k in keys if after is None or sort_key(k) > sort_key(after)]
            return [self.reading(entity, k) for k in rest[:limit]]

    def count(self, entity: str) -> int:
        self.up()
        return len(self.tables_[entity].rows)

    def find(self, entity: str, fields: Sequence[int], values: Sequence[Sequence[Value]]) -> list[tuple[Key, ...]]:
        self.up()
        with self.mutex:
            rows = self.tables_[entity]
            return [matching(rows.table, rows.rows, fields, wanted) for wanted in values]

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, Gid]:
        self.up()
        with self.mutex:
            return {k: self.cross[entity, system, k] for k in keys if (entity, system, k) in self.cross}

    def links(self, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
        self.up()
        wanted = set(gids)
        with self.mutex:
            return [Crosswalk(e, g, s, k) for (e, s, k), g in self.cross.items() if e == entity and g in wanted]

    # --- system --------------------------------------------------------------------------------------------------
    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        return next((t.table.info for t in self.tables_.values() if t.table.name == table), None)

    def tables(self, schema: str | None) -> list[str]:
        return [t.table.name for t in self.tables_.values()]

    def decoders(self, entity: str) -> tuple[Decoder | None, ...]:
        table = self.tables_[entity].table
        return tuple(
            None if column is None else (lambda raw, kind=kind: decode(kind, raw))
            for column, kind in zip(table.columns, table.types, strict=True)
        )

    def check(self) -> list[Problem]:
        return []

    def notes(self) -> list[Problem]:
        return []

    def prepared(self) -> list[Problem]:
        return []

    def prepare_sql(self) -> str:
        return ""

    def prepare(self) -> None:
        self.up()

    def unprepare_sql(self) -> str:
        return ""

    def unprepare(self) -> None:
        self.up()
        self.log, self.cross, self.accord = [], {}, None

    def waker(self) -> None:
        return None

    def link_count(self) -> int:
        return len(self.cross)

    def clock(self) -> Stamp:
        self.up()
        return self.offset

    def fence(self) -> Fence | None:
        self.up()
        return self.accord

    def take_fence(self, agent: str) -> Fence:
        self.up()
        self.end()  # a server rolls back what a vanished client left open
        if self.accord is not None and self.accord.agent != agent:
            raise taken(self.name, self.accord)
        old = self.accord
        self.accord = Fence(agent, old.epoch + 1 if old else 1, old.round if old else 0)
        return self.accord

    def begin(self, fence: Fence) -> MemoryTransaction:
        self.up()
        self.end()
        if self.accord is None or (self.accord.agent, self.accord.epoch) != (fence.agent, fence.epoch):
            raise taken(self.name, self.accord)
        self.transaction = MemoryTransaction(self, fence)
        return self.transaction

    def end(self) -> None:
        """Roll back the open transaction, if there is one."""
        if self.transaction is not None:
            self.transaction.rollback()

    def close(self) -> None:
        self.end()


class MemoryTransaction:
    """Writes that nobody sees until `commit`; the rows that it touched are locked."""

    def __init__(self, system: MemorySystem, fence: Fence) -> None:
        self.system, self.fence, self.open = system, fence, True
        self.overlay: dict[str, dict[Key, Row | None]] = {}
        self.cross: dict[tuple[str, str, Key], Gid | None] = {}
        self.doomed: set[tuple[str, Key]] = set()

    def usable(self) -> None:
        self.system.up()
        if not self.open:
            raise Transient(Problem("cut", "The connection was cut.", system=self.system.name))

    def view(self, entity: str) -> dict[Key, Row]:
        """The rows as this transaction sees them: what is committed now, and its own writes."""
        rows = dict(self.system.tables_[entity].rows)
        for key, row in self.overlay.get(entity, {}).items():
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        return rows

    def claimed(self, entity: str, system: str, key: Key) -> Gid | None:
        place = (entity, system, key)
        return self.cross[place] if place in self.cross else self.system.cross.get(place)

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        self.usable()
        with self.system.mutex:
            self.doomed |= {(entity, w.key) for w in writes if w.kind is WriteKind.DELETE and w.key is not None}
            outcomes = [self.one(entity, w) for w in writes]
            for index, outcome in enumerate(outcomes):
                if outcome.landing is Landing.REJECTED:
                    outcomes[index] = self.one(entity, writes[index])
            return outcomes

    def one(self, entity: str, write: Write) -> Outcome:
        try:
            if write.kind is WriteKind.INSERT:
                return self.insert(entity, write)
            return self.change(entity, write)
        except Refused as error:
            return Outcome(Landing.REJECTED, write.key, message=str(error))

    def change(self, entity: str, write: Write) -> Outcome:
        """Update, delete, archive, restore: lock, compare as stored, write, read back (I3)."""
        assert write.key is not None and write.expected is not None
        row = self.view(entity).get(write.key)
        if row is None:
            return Outcome(Landing.MISSING, write.key)
        if row.archived and write.kind is not WriteKind.RESTORE:
            return Outcome(Landing.CHANGED, write.key, row.raws)
        whole = write.kind in (WriteKind.DELETE, WriteKind.ARCHIVE)
        compared = range(len(row.raws)) if whole else write.values
        if not all(same(row.raws[i], write.expected[i]) for i in compared):
            return Outcome(Landing.CHANGED, write.key, row.raws)
        if write.kind is WriteKind.DELETE:
            return self.delete(entity, write.key, row)
        rows = self.system.tables_[entity]
        raws, _ = self.system.written(rows, list(row.raws), self.encoded(rows.table, write.values))
        self.system.refuse(entity, rows, write.key, raws, self.view(entity))
        archived = {WriteKind.ARCHIVE: True, WriteKind.RESTORE: False}.get(write.kind, row.archived)
        self.put(entity, write.key, Row(tuple(raws), archived))
        return Outcome(Landing.LANDED, write.key, row.raws, tuple(raws))

    def delete(self, entity: str, key: Key, row: Row) -> Outcome:
        """Children go by their own key, never by cascade."""
        for child, child_key, rule in self.system.children(entity, key):
            if child_key in self.view(child) and (child, child_key) not in self.doomed and rule != "ignore":
                raise Refused(f"{child} {child_key} refers to {entity} {key}")
        self.put(entity, key, None)
        return Outcome(Landing.LANDED, key, row.raws)

    def insert(self, entity: str, write: Write) -> Outcome:
        """The crosswalk is claimed first; a row that matches stops the insert (I2, I3)."""
        view = self.view(entity)
        for system, key in write.links:
            gid = self.claimed(entity, system, key)
            own = None if gid is None else self.own_key(entity, gid, view)
            if gid is not None and own is not None:
                return Outcome(Landing.ADOPTED, own, gid=gid)
        rows = self.system.tables_[entity]
        for rule in write.guard:
            wanted = [write.values.get(i) for i in rule]
            found = matching(rows.table, view, rule, wanted)
            if found and None not in wanted:
                return Outcome(Landing.EXISTS, found=found)
        raws, _ = self.system.written(rows, None, self.encoded(rows.table, write.values))
        key = self.new_key(rows, write)
        if key in view:
            raise Refused(f"{entity}: key {key} is in use")
        self.system.refuse(entity, rows, key, raws, view)
        self.put(entity, key, Row(tuple(raws)))
        for system, other in (*write.links, (self.system.name, key)):
            self.cross[entity, system, other] = write.gid
        return Outcome(Landing.LANDED, key, None, tuple(raws))

    def own_key(self, entity: str, gid: Gid, view: Mapping[Key, Row]) -> Key | None:
        """The live row that the crosswalk here ties to this identity."""
        places = {**self.system.cross, **self.cross}
        mine = [k for (e, s, k), g in places.items() if e == entity and s == self.system.name and g == gid]
        return next((k for k in mine if k in view), None)

    def new_key(self, rows: Rows, write: Write) -> Key:
        if write.key is not None:
            return write.key
        if rows.table.new_key == "uuid":
            return uuid.uuid4().hex
        if rows.table.new_key == "copy":
            return write.links[0][1]
        return self.system.next_key(rows)

    def encoded(self, table: Table, values: Mapping[int, Value]) -> dict[int, Raw]:
        """Canonical -> what the column keeps."""
        return {i: self.system.stored(table, i, raw_of(table.types[i], v)) for i, v in values.items()}

    def put(self, entity: str, key: Key, row: Row | None) -> None:
        self.overlay.setdefault(entity, {})[key] = row
        self.system.locked.add((entity, key))

    def link(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        self.usable()
        standing = []
        for row in rows:
            place = (row.entity, row.system, row.key)
            gid = self.claimed(*place)
            if gid is not None and gid != row.gid:
                standing.append(Crosswalk(row.entity, gid, row.system, row.key))
            else:
                self.cross[place] = row.gid
        return standing

    def unlink(self, rows: Sequence[Crosswalk]) -> None:
        self.usable()
        for row in rows:
            if self.claimed(row.entity, row.system, row.key) == row.gid:
                self.cross[row.entity, row.system, row.key] = None

    def commit(self) -> None:
        self.usable()
        system, lost = self.system, self.system.lose_commit
        system.lose_commit = None
        if lost == "lost":
            self.rollback()
        else:
            with system.mutex:
                self.land()
        if lost:
            raise Transient(Problem("cut", "The connection was cut during COMMIT.", system=system.name))

    def land(self) -> None:
        system = self.system
        for entity, rows in self.overlay.items():
            for key, row in rows.items():
                system.accord_writes += 1
                if row is None:
                    system.tables_[entity].rows.pop(key, None)
                else:
                    held = Row(row.raws, row.archived)
                    system.publish(entity, key, list(row.raws), None, held)
                if system.echoes and not system.watermark:
                    system.ids += 1
                    op = Op.DELETE if row is None else Op.UPDATE
                    system.log.append(Entry(system.ids, entity, key, op, frozenset(), 0, -system.ids))
        for place, gid in self.cross.items():
            if gid is None:
                system.cross.pop(place, None)
            else:
                system.cross[place] = gid
        system.accord = Fence(self.fence.agent, self.fence.epoch, self.fence.round)
        self.ended()

    def rollback(self) -> None:
        if self.open:
            with self.system.mutex:
                self.ended()

    def ended(self) -> None:
        self.open = False
        if self.system.transaction is self:
            self.system.transaction = None
        self.system.unlock()


def reborn(entries: Sequence[Entry]) -> bool:
    """Deleted and inserted again under one key by different transactions."""
    gone = [e.txn for e in entries if e.op is Op.DELETE and e.was is None]
    made = [e.txn for e in entries if e.op is Op.INSERT and e.was is None]
    return bool(gone and made) and min(gone) < max(made)


def matching(table: Table, rows: Mapping[Key, Row], fields: Sequence[int], wanted: Sequence[Value]) -> tuple[Key, ...]:
    """Keys of live rows that hold these values in canonical form."""
    return tuple(
        key
        for key, row in rows.items()
        if not row.archived
        and all(decode(table.types[i], row.raws[i]) == v for i, v in zip(fields, wanted, strict=True))
    )


def raw_of(kind: str, value: Value) -> Raw:
    """Canonical -> raw; the column then keeps what it can."""
    if value is None:
        return None
    if kind in ("int", "bool"):
        assert isinstance(value, (int, Decimal)) and value == int(value)
        return int(value)
    if kind == "decimal":
        assert isinstance(value, (int, Decimal))
        return f"{value:f}"
    assert isinstance(value, str), f"the in-memory system stores no {type(value).__name__} as {kind}"
    return value


def taken(name: str, fence: Fence | None) -> Taken:
    who = f"{fence.agent}, start {fence.epoch}" if fence else "nobody"
    return Taken(Problem("taken", f"{name} is held by {who}.", system=name))
