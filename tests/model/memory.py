"""A database in memory: rows, the people who edit them, a change log, and the ways in which a real one surprises.

This is the part that people see: `insert`, `update`, `delete`, `rekey`, `save`. What Accord sees is in `system.py`.
Nothing here knows of records, images or versions: it is a table, a log and a lock, judged by tests from outside.

Switches, each a trap that a real database sets: columns that keep less than they were given (`Column.length`,
`Column.scale`), triggers that rewrite what was written (`triggers`), unique columns, foreign keys that cascade
without a trace in the log, captures that hold back, repeat, shuffle and coalesce, no log at all (watermark).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from config.records import Key, Op, Raw, Stamp, Table, Value

Trigger = Callable[[list[Raw], list[Raw] | None, set[int]], None]
"""(new raws, changed in place; old raws or None; fields named by the statement)."""


Watch = Callable[[str, Key, tuple[Raw, ...] | None, tuple[Raw, ...] | None], None]
"""Told of every statement of a person that did something: (entity, key, raws before, raws after)."""


class Refused(Exception):
    """The database refuses a statement: a unique column, a foreign key."""


@dataclass(frozen=True)
class Row:
    """One row as committed. Rows are never changed in place, so a snapshot is a shallow copy."""

    raws: tuple[Raw, ...]
    archived: bool = False
    modified: Stamp = 0
    seq: int = 0  # commit order: what a watermark goes by


@dataclass
class Entry:
    """One row of the change log."""

    id: int
    entity: str
    key: Key
    op: Op
    cols: frozenset[int]
    at: Stamp
    txn: int
    was: Key | None = None
    held: bool = False  # the capture does not give it out yet


@dataclass
class Rows:
    """One table."""

    table: Table
    rows: dict[Key, Row] = field(default_factory=dict)
    counter: int = 0
    unique: tuple[int, ...] = ()
    triggers: list[Trigger] = field(default_factory=list)
    cascade: dict[int, tuple[str, str]] = field(default_factory=dict)  # ref field -> (parent entity, on delete)


def same(left: Raw, right: Raw) -> bool:
    """Byte for byte, NULL-safe: 1 is not 1.0, 'a' is not 'A', 'x' is not 'x '."""
    return type(left) is type(right) and left == right


def decode(kind: str, raw: Raw) -> Value:
    """Raw -> canonical: decimals are stored as text, blank text is nothing, trailing blanks mean nothing."""
    if raw is None:
        return None
    if kind == "decimal":
        return Decimal(str(raw))
    if kind == "int":
        return int(raw)
    if kind == "bool":
        return bool(raw)
    return str(raw).rstrip() or None


class Memory:
    """One database, as its own people use it."""

    def __init__(self, name: str, clock: Callable[[], Stamp], *, watermark: bool = False, silent_cascade: bool = False):
        self.name, self.now = name, clock
        self.watermark, self.silent_cascade = watermark, silent_cascade
        self.offset = 0  # this server's clock is ahead by so many microseconds
        self.tables_: dict[str, Rows] = {}
        self.log: list[Entry] = []
        self.history: list[Entry] = []  # everything ever logged, for captures that repeat
        self.ids = self.seq = self.txn = 0
        self.in_txn = False
        self.down = False
        self.mutex = threading.RLock()
        self.locked: set[tuple[str, Key]] = set()  # rows under an open transaction of Accord
        self.waiting: list[Callable[[], object]] = []  # people's statements that wait for those locks
        self.shuffle: random.Random | None = None
        self.broken = ""  # why no trigger notes anything: "is missing"
        self.echoes = False  # Accord's own writes are captured like anybody's
        self.accord_writes = 0  # rows that Accord wrote, for "a further round writes nothing"
        self.watch: Watch | None = None  # sees what people did to a row: (entity, key, before, after)

    # --- what people do ------------------------------------------------------------------------------------------
    def rows(self, entity: str) -> dict[Key, Row]:
        """The committed rows."""
        return self.tables_[entity].rows

    def get(self, entity: str, key: Key) -> dict[str, Raw] | None:
        """One committed row by field name; None if there is none."""
        rows = self.tables_[entity]
        row = rows.rows.get(key)
        return None if row is None else dict(zip(self.names(entity), row.raws, strict=True))

    def names(self, entity: str) -> list[str]:
        """Names of the fields, in order; a column is called like its field."""
        return [c.name if c else "" for c in self.tables_[entity].table.columns]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Everything inside is one transaction of a person."""
        self.txn += 1
        self.in_txn = True
        try:
            yield
        finally:
            self.in_txn = False

    def insert(self, entity: str, key: Key | None = None, *, at: Stamp | None = None, **values: Raw) -> Key:
        """A person enters a row. Returns its key."""
        with self.mutex:
            rows = self.tables_[entity]
            key = key or self.next_key(rows)
            raws, _ = self.written(rows, None, self.by_index(entity, values))
            self.refuse(entity, rows, key, raws)
            self.publish(entity, key, raws, at)
            self.note(entity, key, Op.INSERT, frozenset(range(len(raws))), at)
            self.tell(entity, key, None, tuple(raws))
            return key

    def load(self, entity: str, key: Key, *, at: Stamp | None = None, **values: Raw) -> None:
        """A row that was there before anybody kept a log."""
        rows = self.tables_[entity]
        raws, _ = self.written(rows, None, self.by_index(entity, values))
        self.publish(entity, key, raws, at)
        rows.counter = max(rows.counter, int(key.removeprefix(self.name)))

    def update(self, entity: str, key: Key, *, at: Stamp | None = None, **values: Raw) -> None:
        """A person changes some columns of a row; waits for a lock; nothing happens where the row is gone."""
        with self.mutex:
            if (entity, key) in self.locked:
                self.waiting.append(lambda: self.update(entity, key, at=at, **values))
                return
            rows = self.tables_[entity]
            row = rows.rows.get(key)
            if row is None:
                return
            raws, changed = self.written(rows, list(row.raws), self.by_index(entity, values))
            if not changed:
                return
            self.refuse(entity, rows, key, raws)
            self.publish(entity, key, raws, at, row)
            self.note(entity, key, Op.UPDATE, frozenset(changed), at)
            self.tell(entity, key, row.raws, tuple(raws))

    def delete(self, entity: str, key: Key, *, at: Stamp | None = None) -> None:
        """A person deletes a row; the foreign keys of the tables act as they were declared."""
        with self.mutex:
            if (entity, key) in self.locked:
                self.waiting.append(lambda: self.delete(entity, key, at=at))
                return
            row = self.tables_[entity].rows.pop(key, None)
            if row is None:
                return
            self.seq += 1
            self.tell(entity, key, row.raws, None)
            self.note(entity, key, Op.DELETE, frozenset(), at)
            for child, child_key, rule in self.children(entity, key):
                self.orphan(child, child_key, rule, entity, at)

    def archive(self, entity: str, key: Key, archived: bool = True, *, at: Stamp | None = None) -> None:
        """A person marks a row as gone, or takes it back."""
        with self.mutex:
            row = self.tables_[entity].rows[key]
            self.publish(entity, key, list(row.raws), at, replace(row, archived=archived))
            self.note(entity, key, Op.UPDATE, frozenset(), at)

    def rekey(self, entity: str, key: Key, new: Key, *, at: Stamp | None = None) -> None:
        """A person gives a row another primary key, in one statement."""
        with self.mutex:
            if (entity, key) in self.locked:
                self.waiting.append(lambda: self.rekey(entity, key, new, at=at))
                return
            rows = self.tables_[entity]
            row = rows.rows.pop(key, None)
            if row is None:
                return
            self.publish(entity, new, list(row.raws), at, row)
            self.note(entity, key, Op.DELETE, frozenset(), at)
            self.note(entity, new, Op.INSERT, frozenset(), at, was=key)

    def open_form(self, entity: str, key: Key) -> dict[str, Raw] | None:
        """What a form shows when it is opened; `save` writes all of it back."""
        return self.get(entity, key)

    def save(self, entity: str, key: Key, form: Mapping[str, Raw], *, at: Stamp | None = None, **values: Any) -> None:
        """A form is saved: every column as it was when the form was opened, but for what the person changed."""
        merged: dict[str, Any] = {**form, **values}
        self.update(entity, key, at=at, **merged)

    # --- what a capture does to events ---------------------------------------------------------------------------
    def hold(self, count: int = 1) -> None:
        """The capture keeps the last events back."""
        for entry in self.log[-count:]:
            entry.held = True

    def release(self) -> None:
        """The capture gives out what it kept back."""
        for entry in self.log:
            entry.held = False

    def repeat(self, count: int = 1, rng: random.Random | None = None) -> None:
        """Old events come again. They carry no times: the columns that they changed were read long ago."""
        chosen = rng.sample(self.history, min(count, len(self.history))) if rng else self.history[-count:]
        for entry in chosen:
            op = Op.UPDATE if entry.op is Op.INSERT else entry.op
            self.ids += 1
            self.log.append(replace(entry, id=self.ids, op=op, cols=frozenset(), was=None, held=False))

    def sweep(self) -> None:
        """Look at everything that is or ever was here."""
        keys = {(e, k) for e, rows in self.tables_.items() for k in rows.rows}
        for entity, key in sorted(keys | {(e.entity, e.key) for e in self.history}):
            self.ids += 1
            self.log.append(Entry(self.ids, entity, key, Op.LOOK, frozenset(), 0, -self.ids))

    # --- shared with what Accord does ----------------------------------------------------------------------------
    def by_index(self, entity: str, values: Mapping[str, Raw]) -> dict[int, Raw]:
        names = self.names(entity)
        return {names.index(n): self.stored(self.tables_[entity].table, names.index(n), v) for n, v in values.items()}

    def stored(self, table: Table, index: int, raw: Raw) -> Raw:
        """What the column keeps of a raw value: cut to its length, rounded to its scale."""
        column = table.columns[index]
        if column is None or raw is None:
            return raw
        if table.types[index] == "decimal":
            exact = Decimal(str(raw))
            if column.scale is not None:
                exact = exact.quantize(Decimal(1).scaleb(-column.scale), ROUND_HALF_UP)
            return f"{exact:f}"
        if isinstance(raw, str) and column.length is not None:
            return raw[: column.length]
        return raw

    def written(self, rows: Rows, old: list[Raw] | None, values: dict[int, Raw]) -> tuple[list[Raw], set[int]]:
        """The row after a statement and its triggers, and the fields in which it differs from before."""
        raws: list[Raw] = list(old) if old is not None else [None] * len(rows.table.columns)
        for index, raw in values.items():
            raws[index] = raw
        for trigger in rows.triggers:
            trigger(raws, old, set(values))
        before = old if old is not None else [None] * len(raws)
        return raws, {i for i, (x, y) in enumerate(zip(before, raws, strict=True)) if not same(x, y)}

    def refuse(self, entity: str, rows: Rows, key: Key, raws: list[Raw], view: Mapping[Key, Row] | None = None) -> None:
        """Raise `Refused` where a unique column holds the value already, or a parent is missing."""
        view = rows.rows if view is None else view
        for index in rows.unique:
            for other, row in view.items():
                if other != key and raws[index] is not None and same(row.raws[index], raws[index]):
                    raise Refused(f"{entity}: {raws[index]!r} is in use by {other}")

    def next_key(self, rows: Rows) -> Key:
        rows.counter += 1
        return f"{self.name}{rows.counter}"

    def tell(self, entity: str, key: Key, before: tuple[Raw, ...] | None, after: tuple[Raw, ...] | None) -> None:
        if self.watch is not None:
            self.watch(entity, key, before, after)

    def publish(self, entity: str, key: Key, raws: list[Raw], at: Stamp | None, row: Row | None = None) -> None:
        self.seq += 1
        archived = row.archived if row else False
        stamp = self.now() + self.offset if at is None else at
        self.tables_[entity].rows[key] = Row(tuple(raws), archived, stamp, self.seq)

    def note(
        self, entity: str, key: Key, op: Op, cols: frozenset[int], at: Stamp | None, was: Key | None = None
    ) -> None:
        if not self.in_txn:
            self.txn += 1
        self.ids += 1
        stamp = self.now() + self.offset if at is None else at
        entry = Entry(self.ids, entity, key, op, cols, stamp, self.txn, was)
        self.history.append(entry)
        if not self.watermark and not self.broken:
            self.log.append(entry)

    def children(self, entity: str, key: Key) -> list[tuple[str, Key, str]]:
        """Rows of this database that a foreign key ties to this row: (entity, key, what the key does)."""
        return [
            (child, child_key, rule)
            for child, rows in self.tables_.items()
            for index, (parent, rule) in rows.cascade.items()
            if parent == entity
            for child_key, row in rows.rows.items()
            if row.raws[index] == key
        ]

    def orphan(self, child: str, key: Key, rule: str, parent: str, at: Stamp | None) -> None:
        """What `on delete` does to a child. Some servers log nothing of it (`silent_cascade`)."""
        rows = self.tables_[child]
        if rule == "cascade":
            rows.rows.pop(key, None)
            self.seq += 1
            if not self.silent_cascade:
                self.note(child, key, Op.DELETE, frozenset(), at)
        elif rule == "set null":
            raws = list(rows.rows[key].raws)
            cols = {i for i, (p, _) in rows.cascade.items() if p == parent}
            for index in cols:
                raws[index] = None
            self.publish(child, key, raws, at, rows.rows[key])
            if not self.silent_cascade:
                self.note(child, key, Op.UPDATE, frozenset(cols), at)

    def unlock(self) -> None:
        """An open transaction of Accord has ended: people who waited for its locks go on."""
        self.locked.clear()
        waiting, self.waiting = self.waiting, []
        for statement in waiting:
            statement()
