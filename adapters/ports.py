"""The ports: what a database must be able to do to take part.

A `System` is one database. Its parts are narrow on purpose, and each docstring is a contract: may it repeat, what is
durable on return, which errors. The conformance suite (`tests/conformance`) checks every sentence here against a
real server, with SQL of its own through a second connection; a new adapter is done when the suite passes.

Errors: `Transient` (a lock timeout, a cut connection: the same call may succeed later), `Unreachable` (no answer,
account refused), `Halt` (going on could do harm). No driver's exception leaves an adapter.
A connection is used by one thread at a time; the engine never calls two methods of one System at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from adapters.origin import Origin
from config.errors import Problem
from config.records import (
    Batch,
    Crosswalk,
    Fence,
    Gid,
    Key,
    Outcome,
    Raw,
    Reading,
    Stamp,
    Table,
    TableInfo,
    Value,
    Write,
)

Decoder = Callable[[Raw], Value]
"""Raw -> canonical. Raises ValueError (text says why) for a value that does not convert: the record goes to review."""


class Capture(Protocol):
    """Sees committed changes of the bound tables."""

    def origin(self) -> Origin:
        """What positions belong to now: which database this is, and all that capture relies on. Reads only, quickly.

        The same at each look, also from another process, as long as nothing was missed: neither Accord's own work nor
        what people do to rows changes it, nor a `prepare` that finds everything in place. Works before `prepare`.
        """
        ...

    def attend(self, position: bytes | None) -> None:
        """From now on the changes behind `position` are wanted: what lets the database keep them for us is made, where
        it takes that (a replication slot). Called when an agent has recognised the system and takes it in, never by
        commands that only look. Where changes behind `position` are not kept any more, the origin is another
        one afterwards. Nothing before `prepare`. May repeat."""
        ...

    def changes(self, position: bytes | None, limit: int) -> Batch:
        """Up to `limit` distinct records that changed behind `position`. May repeat; misses nothing that is committed.

        Own writes whose effect the agent already holds (see `Transaction`) need not appear. `Batch.complete` says of
        entities with watermark capture up to when all is seen, by which proof or assumption; those that have more to
        give are left out.
        """
        ...

    def acknowledge(self, position: bytes | None) -> None:
        """What `changes` gave up to this position is durable in the state: let go of exactly that (I1). May repeat."""
        ...

    def backlog(self) -> int:
        """Bytes, about, that this database keeps for this agent and would not keep without it. Quick; 0 before
        `prepare`, and where nothing is kept."""
        ...

    def let_go(self) -> bool:
        """Let go of all that `backlog` counts, as far as that can be done without keeping anybody waiting; False:
        something is left. The changes are lost: whoever calls it has asked for sweeps. May repeat."""
        ...


class Reader(Protocol):
    """Reads records of the bound tables, raw and exact."""

    def read(self, keys: Mapping[str, Sequence[Key]]) -> dict[str, dict[Key, Reading]]:
        """For each entity the readings of these keys, all in one consistent snapshot, a few statements in all.

        Keys that are gone are missing from the answer. Readings carry the last change of each column up to this
        very snapshot (`times`), own writes left out, where a change log knows it.
        """
        ...

    def scan(self, entity: str, after: Key | None, limit: int) -> list[Reading]:
        """The next rows in key order (keyset, stable while others write), archived ones included. Empty: the end."""
        ...

    def moved(self, entity: str, keys: Sequence[Key]) -> dict[Key, Key]:
        """Old key -> newest key of rows whose primary key was changed, as far as the change log tells; else missing.

        {} where there is no change log (watermark), and before `prepare`.
        """
        ...

    def count(self, entity: str) -> int:
        """How many rows the table has now."""
        ...

    def find(self, entity: str, fields: Sequence[int], values: Sequence[Sequence[Value]]) -> list[tuple[Key, ...]]:
        """For each tuple of canonical values: keys of rows that may hold them in these fields. One statement.

        A proposal by the server's own equality: may give too many, the caller compares canonical forms.
        """
        ...

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, Gid]:
        """What this system's `accord_crosswalk` says of keys of `system` (any system). {} before `prepare`."""
        ...

    def links(self, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
        """All crosswalk rows of these records in this system. [] before `prepare`."""
        ...


class Transaction(Protocol):
    """One READ COMMITTED transaction of one system, left open until `commit`.

    Begins by checking and marking the fence: `Taken` if another agent or a newer epoch stands there.
    """

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        """Carry out the writes of one entity; one outcome per write, in order. Set-based.

        Rows are locked, compared with `expected` byte for byte and NULL-safe, written, read back. A row that counts
        as archived by now is CHANGED too, whatever its fields hold: only a RESTORE may land on it. Inserts claim
        their crosswalk rows first: all of `links`, and the new row's own (I2); where an update changes the row's key,
        its own crosswalk row goes with it, and the outcome says the new key. A statement that fails is bisected
        under savepoints to the failing writes (REJECTED); a unique or foreign-key refusal is tried once more after
        the rest. Change-log rows that only echo these writes are removed in the same transaction.
        Raises `Transient` or `Halt`; the transaction is then lost and must be rolled back.
        """
        ...

    def link(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        """Write crosswalk rows; returns rows of other records that stand in the way (same entity, system and key)."""
        ...

    def unlink(self, rows: Sequence[Crosswalk]) -> None:
        """Remove crosswalk rows. Rows that are not there are no error."""
        ...

    def commit(self) -> None:
        """Durable on return. `Transient` = outcome unknown: the fence tells."""
        ...

    def rollback(self) -> None:
        """Never raises."""
        ...


class Waker(Protocol):
    """Wakes the agent when a system's change log holds something. It has threads and connections of its own, so it
    works beside calls to its System. All methods are for one thread, that of the rounds.

    It may wake without need, and while its connection is cut it does not wake: a poll stands behind it.
    """

    def fileno(self) -> int:
        """A descriptor that can be read from the moment at which it rings."""
        ...

    def arm(self) -> None:
        """The agent is about to wait: ring once, as soon as there is an entry, one that is there already included."""
        ...

    def clear(self) -> None:
        """The agent is awake: stop ringing, until it is armed again."""
        ...

    def close(self) -> None:
        """Never raises. The last call."""
        ...


class System(Reader, Capture, Protocol):
    """One database that takes part."""

    name: str

    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        """The table as the database knows it; None if there is none. A column of an unknown type has the kind ''."""
        ...

    def tables(self, schema: str | None) -> list[str]:
        """Names of the tables that the account can see: for `Did you mean …`."""
        ...

    def bind(self, tables: Sequence[Table]) -> None:
        """From now on these tables take part. Called once, before anything below.

        `Halt` names a column that is in use and of an unknown type.
        """
        ...

    def decoders(self, entity: str) -> tuple[Decoder | None, ...]:
        """One per field: raw -> canonical. A ref decodes to the parent's Key. None where there is no place."""
        ...

    def check(self) -> list[Problem]:
        """What would keep `prepare` or `run` from working: privileges, settings, expressions. Reads only."""
        ...

    def notes(self) -> list[Problem]:
        """What is worth knowing and keeps nothing from working: a right that would make a proof of an assumption,
        rows that capture does not see. Reads only; may count rows."""
        ...

    def prepared(self) -> list[Problem]:
        """Is what `prepare` makes there, and made for the tables as they are mapped now? Reads only.

        The code of each problem is "not-prepared" where nothing of Accord's is there yet, "no-trigger" of a trigger
        (or what stands for one where the database's log is read) that is missing or switched off, else
        "prepared-differs".
        """
        ...

    def prepare_sql(self) -> str:
        """The script that a DBA may run instead of `prepare`. It runs as it is, and twice."""
        ...

    def prepare(self) -> None:
        """Create or renew Accord's objects. Idempotent."""
        ...

    def unprepare_sql(self) -> str:
        """The script that removes every trace, the crosswalk last."""
        ...

    def unprepare(self) -> None:
        """Remove every trace. Idempotent."""
        ...

    def link_count(self) -> int:
        """Crosswalk rows that `unprepare` would remove; 0 if there is no table."""
        ...

    def clock(self) -> Stamp:
        """The server's clock minus the agent's, in microseconds, measured now; also used for `times` from now on."""
        ...

    def fence(self) -> Fence | None:
        """The fence row; None before `prepare` or before the first agent."""
        ...

    def take_fence(self, agent: str) -> Fence:
        """Raise the epoch: older agents are stopped (I9). `Taken` if another agent's name stands there."""
        ...

    def begin(self, fence: Fence) -> Transaction:
        """Open a transaction for `fence.round`; `Taken` if the row there is not this agent's epoch."""
        ...

    def waker(self) -> Waker | None:
        """A new waker for the tables that are bound; None where nothing is written into a change log. Connects later,
        by itself; closed by the caller."""
        ...

    def close(self) -> None:
        """Let go of connections. The next call connects again. Never raises."""
        ...


Factory = Callable[..., System]
