"""The records that flow through Accord. All layers speak these and nothing else.

A value exists in two forms. *Raw* is what the driver gave: exact, comparable byte for byte, the only form in which
a row is compared before it is written (invariant I3). *Canonical* is the one form in which systems are compared
with each other. Fields are addressed by their index in `Entity.fields`: every tuple below that holds one item per
field is in that order, with `None` where a system has no place for the field.

Times are integers: microseconds since 1970-01-01 UTC on the agent's clock (adapters correct by the measured offset).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from config.expressions import Expression

Value = str | int | Decimal | bool | date | datetime | bytes | None
"""Canonical: text, int, Decimal, bool, date, aware UTC datetime, bytes, gid (as text), None = empty."""

Raw = str | bytes | int | float | None
"""As stored, in a form private to the adapter that serialises losslessly and is equal only if the column is."""

Key = str
"""A primary key as text: the column's text; a composite key is a compact JSON array of texts, e.g. '["12","3"]'."""

Gid = str
"""A record's identity for life: a UUID as 32 hex digits, minted at first sight."""

Stamp = int
"""Microseconds since the epoch, UTC, on the agent's clock."""


class Op(StrEnum):
    """What a capture says happened. It is a hint: the reading decides."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    LOOK = "look"  # nothing is known but that somebody should look (watermark, sweep, retry)


class Change(NamedTuple):
    """`Look at this record again.` A change carries no data."""

    entity: str
    key: Key
    op: Op = Op.LOOK


class Complete(NamedTuple):
    """Up to when a capture has missed nothing: all that was changed earlier, as its stamp says, has been handed out."""

    at: Stamp | None  # None: not known yet
    assumed: str = ""  # what it rests on where it cannot be proved, and what to do about it
    held_by: str = ""  # what keeps it from being later: `session 4711 of shop, open for 42 s`


class Batch(NamedTuple):
    """What a capture hands over: distinct records, and the position behind them.

    `position` is opaque and goes back to the same capture: stored by the state with the round, then acknowledged.
    `more` says that the source has further changes waiting now.
    `complete` by entity, where a capture can say it; triggers without more to give are complete up to this call.
    `emptied`: entities of whose table rows went without a change of their own (TRUNCATE): which, a sweep finds.
    `gaps`: entity -> why changes of it may have been missed: a sweep finds them.
    """

    changes: list[Change]
    position: bytes | None
    more: bool
    complete: Mapping[str, Complete] = {}
    emptied: Sequence[str] = ()
    gaps: Mapping[str, str] = {}


class Reading(NamedTuple):
    """What one system held for one record at the instant of this round's snapshot.

    A key that was asked for and has no reading is gone. A system that was not asked has no readings at all.
    """

    key: Key
    raws: tuple[Raw, ...]  # one per field; None where there is no place (or SQL NULL)
    archived: bool = False  # the row exists but counts as gone; its values are read all the same
    modified: Stamp | None = None  # the row's own `modified`, when one is mapped
    times: Mapping[int, Stamp] | None = None  # field index -> last change of that column, from the change log
    reborn: bool = False  # deleted and inserted again under this key by different transactions: another record
    was: Key | None = None  # the key that this row had before its primary key was changed


class WriteKind(StrEnum):
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    ARCHIVE = "archive"  # set the archive columns; the row counts as gone from then on
    RESTORE = "restore"  # set the restore columns (and `values`): an archived row is alive again


class Write(NamedTuple):
    """One row to be written in one system, under compare-and-set (I3), only the columns named (I4)."""

    kind: WriteKind
    gid: Gid
    key: Key | None  # None: an insert whose key is not known yet
    values: Mapping[int, Value]  # field index -> the column's value, already fitted; a ref is the parent's Key here
    expected: tuple[Raw, ...] | None  # raws of the reading that was merged (None: an insert). An update compares only
    #   the fields in `values`, a delete or archive all mapped ones; the others tell an edit from a side effect
    links: tuple[tuple[str, Key], ...] = ()  # insert only: every (system, key) of the record known so far (I2)
    guard: tuple[tuple[int, ...], ...] = ()  # insert only: match rules; a row that matches one now stops the insert


class Landing(StrEnum):
    LANDED = "landed"
    CHANGED = "changed"  # compare-and-set failed: somebody was faster; read and merge again
    MISSING = "missing"  # the row is not there any more; read and merge again
    EXISTS = "exists"  # insert only: a row matches now (`found`); identify again
    ADOPTED = "adopted"  # insert only: the crosswalk there knows the record already, as `gid` and `key`
    REJECTED = "rejected"  # the database refused it: `error`


class Outcome(NamedTuple):
    """What became of one Write, inside a transaction that is still open."""

    landing: Landing
    key: Key | None = None  # the row's key there (generated for an insert)
    before: tuple[Raw, ...] | None = None  # all mapped fields, locked, right before the write
    after: tuple[Raw, ...] | None = None  # all mapped fields as stored by the write, triggers included
    gid: Gid | None = None  # ADOPTED: the identity that the crosswalk there holds
    found: tuple[Key, ...] = ()  # EXISTS: keys of the rows that match
    message: str = ""  # REJECTED: the database's own words
    hint: str = ""  # REJECTED: what to do


class Crosswalk(NamedTuple):
    """One row of `accord_crosswalk` in a system: this key of that system is this record."""

    entity: str
    gid: Gid
    system: str
    key: Key


class Fence(NamedTuple):
    """The row of `accord_fence` in a system (I9): who writes, since which start, and the last round that landed."""

    agent: str
    epoch: int
    round: int


# --- what a table is -------------------------------------------------------------------------------------------------

KINDS = ("text", "int", "decimal", "float", "bool", "date", "datetime", "time", "bytes")
"""Kinds of columns. A float enters as the exact decimal of its shortest form; a time of day is text canonically."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the database describes it."""

    name: str
    kind: str  # one of KINDS
    native: str  # the type in the database's own words, for messages and casts
    nullable: bool = True
    has_default: bool = False  # also generated keys
    length: int | None = None  # text: at most so many characters; bytes: so many bytes
    precision: int | None = None  # decimal: digits in all; int: bits (16, 32, 64); float: bits of the mantissa (24, 53)
    scale: int | None = None  # decimal: digits after the point; None = any
    fraction: int | None = None  # datetime, time: digits of a second kept (0 to 6)
    zoned: bool = False  # datetime with time zone
    padded: bool = False  # CHAR(n): trailing blanks mean nothing
    charset: str | None = None  # a Python codec when the column cannot hold all of Unicode ("latin-1", "utf8mb3")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference from `table.columns` to `to_table.to_columns`."""

    schema: str | None
    table: str
    columns: tuple[str, ...]
    to_schema: str | None
    to_table: str
    to_columns: tuple[str, ...]
    on_delete: str  # "no action", "restrict", "cascade", "set null", "set default"


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table as the database describes it, before any mapping."""

    schema: str | None
    name: str
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()  # unique constraints and indexes beside the primary key
    foreign_keys: tuple[ForeignKey, ...] = ()  # out of this table
    referenced_by: tuple[ForeignKey, ...] = ()  # into this table, from all tables that the account may see


# --- what an entity is, once configuration and database are put together ---------------------------------------------


class Road(NamedTuple):
    """What lies between the value of a column and the canonical value of its field: a map, formats (see `agent.roads`).

    Both directions raise ValueError with a plain sentence for a value that has no counterpart on the other end.
    """

    type: str  # canonical type as which the column itself is read and written
    read: Callable[[Value], Value]  # the column's value -> canonical
    write: Callable[[Value, Value], Value]  # canonical, and what the column holds now -> the column's value
    partial: bool = False  # only a part of the column is the value


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute of an entity."""

    name: str
    type: str  # text int decimal bool date datetime bytes ref
    scale: int | None = None  # decimal(n)
    ref: str | None = None  # type "ref": the entity that it refers to
    owner: str | None = None  # the system that owns it
    override: str = "restore"  # restore | tolerate: what becomes of an edit by another system
    conflict: str = "latest"  # latest | prefer:SYSTEM | sum | review
    group: str | None = None  # fields of one group are merged and compared as one value
    lossy: frozenset[str] = frozenset()  # systems that may store the value cut, rounded or re-coded


@dataclass(frozen=True, slots=True)
class Table:
    """One entity in one system: the main table and how its columns stand for the fields."""

    entity: str
    system: str
    schema: str | None
    name: str
    key: tuple[Column, ...]
    columns: tuple[Column | None, ...]  # one per field
    types: tuple[str, ...]  # of each field: the canonical type as which its column is read (Field.type, or its road's)
    info: TableInfo
    new_key: str | None = None  # None: the database makes it; "uuid", "copy", "sql:…"
    modified: str | None = None  # a column's name, or "sql:…"
    archive: Mapping[str, Value] = field(default_factory=dict)
    restore: Mapping[str, Value] = field(default_factory=dict)
    insert: Mapping[str, Value] = field(default_factory=dict)  # constants, or text "sql:…", only on insert
    stamp: Mapping[str, Value] = field(default_factory=dict)  # the same, on every write (inserts included)
    blank: str | None = None  # how this system stores an empty text: None = NULL; '' (a NOT NULL column always '')
    capture: str = "trigger"
    triggers: str = "row"  # row statement: how often they fire
    write: bool = True
    timezone: str = "UTC"  # of naive date-times
    creates: bool = True  # may Accord insert rows here
    deletes: bool = True  # may Accord delete rows here (`propagate`, or a person who says so)
    roads: tuple[Road | None, ...] = ()  # one per field, or none at all; adapters know nothing of them
    lookups: tuple[Any, ...] = ()  # the same: the `agent.lookups.Lookup` at the end of the road

    def road(self, i: int) -> Road | None:
        return self.roads[i] if self.roads else None


@dataclass(frozen=True, slots=True)
class Entity:
    """A kind of business record kept in agreement."""

    name: str
    fields: tuple[Field, ...]
    tables: Mapping[str, Table]  # by system, in the order of the systems
    match: tuple[tuple[int, ...], ...] = ()  # rules in order; each the indexes of fields that must all be equal
    delete: Mapping[str, str] = field(default_factory=dict)  # by system: propagate archive ignore review
    delete_conflict: str = "review"  # update_wins delete_wins review
    create: Mapping[str, bool | Expression] = field(default_factory=dict)  # by system; may Accord create records there
    first_contact: str = "plan"  # plan | auto
    units: tuple[tuple[int, ...], ...] = ()  # fields merged as one value: singles, and groups
    tolerance: int | None = None  # µs: edits this close are simultaneous; None: as the agent says

    def index(self, name: str) -> int:
        return next(i for i, f in enumerate(self.fields) if f.name == name)

    @property
    def refs(self) -> tuple[int, ...]:
        return tuple(i for i, f in enumerate(self.fields) if f.ref is not None)


EMPTY: Mapping[int, Stamp] = {}
