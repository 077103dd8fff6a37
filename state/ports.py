"""The state's port: what a round reads from the agent's memory, and the one place that writes it.

A round loads `Record`s, changes them in place, and hands the changed ones to `commit` inside a `Decided`: one
transaction, durable on return. Nothing else moves a position. Records are addressed by gid; the store's integer ids
stay inside it. One thread uses a State; commands open their own, read-only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from config.records import Gid, Key, Raw, Stamp, Value


class Version(NamedTuple):
    """The agreed record: one item per field, in the order of `Entity.fields`."""

    values: tuple[Value, ...]
    stamps: tuple[Stamp, ...]  # when the value was changed there
    origins: tuple[str, ...]  # the system it came from; "person"; "" = no value yet
    rules: tuple[str, ...]  # by which rule it was agreed: "only change", "latest", "owner crm", …


class Image(NamedTuple):
    """What one system was last seen to hold; one item per field."""

    raws: tuple[Raw, ...]  # the stored form
    values: tuple[Value, ...]  # the value that it stands for
    stamps: tuple[Stamp, ...]  # the stamp of the version that it stands for; -1: this field was never seen there
    seen: Stamp  # when it was read


class Link(NamedTuple):
    """The record's current key in one system. Old keys are tombstones and not here."""

    key: Key
    existence: str = "live"  # live | gone (people deleted or archived it) | held (a person must say what happens)
    settled: bool = True  # gone only: the other systems have done what their `delete` says
    archived: bool = False  # gone, but the row is still there under this key


class Stored(NamedTuple):
    """What is remembered of one row: enough to tell whether it has changed, without its record."""

    existence: str  # as in Link
    settled: bool
    archived: bool
    raws: tuple[Raw, ...] | None  # the image's stored form; None: no image, or one of an older mapping


class Frozen(NamedTuple):
    """A field (or group) in review: what each system held when it was frozen."""

    raws: dict[str, tuple[Raw, ...]]  # system -> raws of the unit's fields, in the unit's order
    values: dict[str, tuple[Value, ...]]  # the same in canonical form: a system that is down takes part with these
    stamps: dict[str, Stamp]  # system -> when it was changed there
    review: str  # id of the review item; "": closed, the answer is being carried out
    choice: str | None = None  # a person's choice: the system whose value is to be agreed


@dataclass(slots=True)
class Record:
    """Everything that is known of one record. A round changes it in place and says so in `dirty`."""

    gid: Gid
    entity: str
    links: dict[str, Link] = field(default_factory=dict)  # by system
    version: Version | None = None
    images: dict[str, Image] = field(default_factory=dict)  # by system
    frozen: dict[str, Frozen] = field(default_factory=dict)  # by unit: name of its first field
    stale: dict[tuple[str, str], list[Replaced]] = field(default_factory=dict)  # (system, field) -> values replaced
    revived: Stamp | None = None  # when a person or an update last decided that the record lives
    new: bool = False  # minted in this round
    dirty: bool = False


class Replaced(NamedTuple):
    """A stored value that Accord replaced (stale saves are recognised by it)."""

    raw: Raw
    at: Stamp
    restored: bool = False  # it came back once and was restored: the next time it is accepted


class Look(NamedTuple):
    """A record that the agent itself wants to look at (again)."""

    entity: str
    system: str
    key: Key
    due: Stamp = 0
    reason: str = ""  # "first contact", "compare-and-set", "retry", "parent", "sweep", …


class Pending(NamedTuple):
    """A record that could not be settled yet. One per (gid, system)."""

    gid: Gid
    entity: str
    system: str  # where something is wanted and could not be done
    reason: str  # "down", "halted", "parent", "match", "refused"
    message: str
    since: Stamp
    due: Stamp  # next try
    attempts: int


class Journal(NamedTuple):
    """One line of what was decided and written. Values are canonical; `before`/`after` may be None."""

    entity: str
    gid: Gid
    action: str  # link create update delete archive restore conflict override stale adopt review person …
    system: str  # where it was written, or whose value it is about; "" = the record as a whole
    field: str  # "" = the record as a whole
    before: Value
    after: Value
    rule: str  # "latest", "owner crm", "match email", …
    origin: str  # the system whose edit caused it
    changed_at: Stamp | None
    note: str = ""


class Review(NamedTuple):
    """A question that only a person can answer. The id is stable: the same question asked again is the same item."""

    id: str  # short, typeable, unique: derived from entity, record and kind
    kind: str  # ambiguous duplicate conflict delete refused lossy value loop
    entity: str
    gid: Gid | None  # None: a row that is no record yet
    system: str
    key: Key
    field: str
    message: str  # one sentence
    hint: str  # what to do
    detail: Mapping[str, Any]  # JSON-able: values, the statement refused …; "candidates": [[system, key]]
    since: Stamp


class MatchRow(NamedTuple):
    """One row of the match index (linked and unlinked rows alike)."""

    system: str
    key: Key
    gid: Gid | None


class Prepared(NamedTuple):
    """What an open transaction stored for one record in one system: image and link if it lands."""

    system: str
    gid: Gid
    image: Image | None  # None: the row was deleted
    link: Link


class Plain(NamedTuple):
    """A record of which every link is live and every image stands for the version; nothing of it is in review."""

    gid: Gid
    keys: dict[str, Key]  # by system: those that were asked for
    version: Version
    raws: dict[str, tuple[Raw, ...]]  # by system: the image's
    seen: dict[str, Stamp]  # by system: the image's
    memory: Any  # the store's own


class Edited(NamedTuple):
    """A plain record that was edited in one system; all others that have a place for it are written."""

    entity: str
    plain: Plain
    version: Version
    raws: dict[str, tuple[Raw, ...]]  # by system: what it stores for the version; of all others the image stays
    written: dict[str, tuple[int, ...]]  # by system whose transaction is still open: the fields, each of it journaled


@dataclass(slots=True)
class Decided:
    """All that one round decided; committed before any target is (invariant: MODEL A1)."""

    round: int
    at: Stamp
    records: list[Record] = field(default_factory=list)  # dirty ones: versions, images, links, frozen, stale
    edited: list[Any] = field(default_factory=list)  # others than these: what `State.pack` gave for them
    prepared: list[Prepared] = field(default_factory=list)
    writing: tuple[str, ...] = ()  # systems that have an open transaction in this round
    journal: list[Journal] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)  # opened or asked again
    closed: list[str] = field(default_factory=list)  # review ids answered by the facts, or by a person
    pending: list[Pending] = field(default_factory=list)
    unpended: list[tuple[Gid, str]] = field(default_factory=list)  # (gid, system) that is settled now
    looks: list[Look] = field(default_factory=list)
    looked: list[tuple[str, str, Key]] = field(default_factory=list)  # (entity, system, key) done
    matches: list[tuple[str, str, Key, tuple[bytes | None, ...]]] = field(default_factory=list)
    #   (entity, system, key, hash per rule; None = a blank in the rule): replaces what the index holds of that row
    unmatched: list[tuple[str, str, Key]] = field(default_factory=list)  # rows that are gone
    tombs: list[tuple[str, str, Key, Gid]] = field(default_factory=list)  # keys that speak for nobody any more
    merged: list[tuple[Gid, Gid]] = field(default_factory=list)  # (loser, survivor): same record after all
    positions: dict[str, bytes] = field(default_factory=dict)  # by system
    meta: dict[str, str] = field(default_factory=dict)


class State(Protocol):
    """The agent's memory."""

    # --- what a round reads -------------------------------------------------------------------------------------
    def last_round(self) -> int: ...

    def resolve(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Gid]:
        """Which record each key speaks for now; unknown keys are missing."""
        ...

    def load(self, entity: str, gids: Iterable[Gid]) -> dict[Gid, Record]:
        """Whole records, ready to be changed. Unknown gids are missing. A few statements in all."""
        ...

    def plain(self, entity: str, system: str, keys: Iterable[Key], others: Sequence[str]) -> dict[Key, Plain]:
        """Of the records that these keys speak for, those that are plain and have live links to all the others."""
        ...

    def keys(self, entity: str, system: str, gids: Iterable[Gid]) -> dict[Gid, Key]:
        """The live keys of these records there (for references)."""
        ...

    def children(self, gids: Iterable[Gid]) -> dict[Gid, list[tuple[str, Gid]]]:
        """Records whose agreed refs point to these: gid -> [(entity, gid)]."""
        ...

    def tomb(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Gid]:
        """Keys that once spoke for a record."""
        ...

    def matches(self, entity: str, rule: int, hashes: Iterable[bytes]) -> dict[bytes, list[MatchRow]]:
        """All rows of all systems with this match value."""
        ...

    def unlinked(self, entity: str, after: tuple[str, Key] | None, limit: int) -> list[tuple[str, Key]]:
        """Indexed rows that belong to no record yet, in order of (system, key): first contact walks these."""
        ...

    def due(self, now: Stamp, limit: int, skip: Collection[str] = ()) -> list[Look]:
        """Looks and pending retries whose time has come, oldest first.

        A pending record is given by one of its live keys. What only concerns systems in `skip` (a look at a row
        there, something wanted there) stays for later.
        """
        ...

    def waiting(self, now: Stamp) -> Stamp | None:
        """When the next look or retry is due; None if there is none."""
        ...

    def links(self, entity: str, system: str, after: Key | None, limit: int) -> list[tuple[Key, Gid]]:
        """Live links there in key order, behind `after`: a sweep compares them with the rows."""
        ...

    def stored(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Stored]:
        """What these rows were last seen to hold; keys that speak for no record are missing. One statement."""
        ...

    def position(self, system: str) -> bytes | None: ...

    def unsettled(self) -> dict[str, int]:
        """Systems with a transaction of unknown outcome, and its round."""
        ...

    def review(self, id: str) -> Review | None: ...

    def reviews(self, entity: str | None = None, gid: Gid | None = None) -> list[Review]: ...

    def reviews_about(self, rows: Iterable[tuple[str, str, Key]]) -> list[Review]:
        """Items that name one of these (entity, system, key) as their row or as a candidate."""
        ...

    def pending(self, entity: str | None = None, gid: Gid | None = None) -> list[Pending]: ...

    def get(self, name: str) -> str | None:
        """A named text: first-contact phases, acceptances, sweep cursors, epochs."""
        ...

    def pack(self, edits: Sequence[Edited], at: Stamp) -> Any:
        """Encode edits for `Decided.edited`: the dear part of writing them, done while targets are still at work.
        `at`: the round's. Changes nothing."""
        ...

    # --- what writes --------------------------------------------------------------------------------------------
    def commit(self, decided: Decided) -> None:
        """The round becomes durable, whole or not at all. The only place that moves a position."""
        ...

    def settle(self, system: str, landed: bool, again: bool = False) -> None:
        """The open transaction there has landed: `prepared` becomes image and link; or it has not: it is dropped.

        `again`: the records are looked at once more (after a commit of unknown outcome). What has landed is also
        remembered as the named text `landed:SYSTEM`, the round's number.
        Need not be durable on return: the fence tells again at the next start.
        """
        ...

    def put(self, name: str, value: str | None) -> None:
        """Set or remove a named text, durably."""
        ...

    def close(self) -> None: ...


Rows = Sequence[tuple[Any, ...]]
