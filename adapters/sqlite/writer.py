"""The one place that writes rows: compare, claim, write, read back, in one transaction that stays open.

`BEGIN IMMEDIATE` takes the file's only write lock, so nobody writes between what is read here and what is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from adapters.bisect import Refusal, settle
from adapters.sqlite import children, reader
from adapters.sqlite.bound import Bound
from adapters.sqlite.inserts import Inserter
from adapters.sqlite.objects import Names
from adapters.sqlite.session import Row, Session, refusal
from adapters.sqlite.sql import quote
from config.errors import Halt, Problem, Taken, Transient
from config.records import Crosswalk, Fence, Key, Landing, Outcome, Raw, Write, WriteKind

REPLACING = (WriteKind.UPDATE, WriteKind.ARCHIVE, WriteKind.RESTORE)


class Job(NamedTuple):
    """A write that passed all comparisons and is to be carried out."""

    place: int  # among the writes
    write: Write
    before: tuple[Raw, ...] | None = None


class SqliteTransaction:
    """A transaction under the fence (I9), open until `commit`."""

    def __init__(self, session: Session, names: Names, bounds: dict[str, Bound], fence: Fence) -> None:
        self._session = session
        self._names = names
        self._bounds = bounds
        try:
            self._begin(fence)
        except BaseException:
            session.rollback()
            raise

    def _begin(self, fence: Fence) -> None:
        self._session.query("BEGIN IMMEDIATE")
        if not reader.exists(self._session, f"{self._names.prefix}_fence"):
            raise not_prepared(self._session.system)
        landed = self._session.query(
            f"UPDATE {self._names.fence} SET round = ?, writing = 1 WHERE agent = ? AND epoch = ? RETURNING 1",
            (fence.round, fence.agent, fence.epoch),
        )
        if not landed:
            raise taken(self._session, self._names)
        for bound in self._bounds.values():
            bound.look_again()
        self._noted = self._session.query(f"SELECT coalesce(max(id), 0) FROM {self._names.changes}")[0][0]

    # --- apply -------------------------------------------------------------------------------------------------------

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        bound = self._bounds[entity]
        outcomes: dict[int, Outcome] = {}
        jobs = [*self._compared(bound, writes, outcomes), *self._claimed(bound, writes, outcomes)]
        with self._session.errors():
            attempt, savepoint = partial(self._carry_out, bound), self._session.savepoint
            landed = settle(jobs, attempt, savepoint, refusal, self._loosen(bound))
        done: dict[int, Key] = {}
        for job, result in zip(jobs, landed, strict=True):
            if isinstance(result, Refusal):
                outcomes[job.place] = rejected(job, result)
            else:
                done[job.place] = result
        self._read_back(bound, jobs, done, outcomes)
        self._forget_echo(bound, [*done.values(), *(w.key for i, w in enumerate(writes) if i in done and w.key)])
        return [outcomes[i] for i in range(len(writes))]

    def _compared(self, bound: Bound, writes: Sequence[Write], outcomes: dict[int, Outcome]) -> list[Job]:
        """Compare-and-set (I3): what stands in the row now against what the merge has seen."""
        known = {i: w for i, w in enumerate(writes) if w.kind is not WriteKind.INSERT}
        rows = reader.rows(self._session, bound, [w.key for w in known.values() if w.key is not None])
        jobs: list[Job] = []
        for i, write in known.items():
            row = None if write.key is None else rows.get(write.key)
            if row is None:
                outcomes[i] = Outcome(Landing.MISSING, write.key)
                continue
            before = bound.raws(row)
            if self._holds(bound, write, row):
                jobs.append(Job(i, write, before))
            else:
                outcomes[i] = Outcome(Landing.CHANGED, write.key, before)
        return children.refuse(self._session, bound, jobs, outcomes)

    @staticmethod
    def _holds(bound: Bound, write: Write, row: Row) -> bool:
        if write.expected is None or (write.kind is not WriteKind.RESTORE and bound.archived(row)):
            return False  # what people archived meanwhile counts as gone
        before = bound.raws(row)
        whole = write.kind in (WriteKind.DELETE, WriteKind.ARCHIVE)
        return all(same(before[i], write.expected[i]) for i in (bound.places if whole else write.values))

    def _claimed(self, bound: Bound, writes: Sequence[Write], outcomes: dict[int, Outcome]) -> list[Job]:
        inserts = [(i, w) for i, w in enumerate(writes) if w.kind is WriteKind.INSERT]
        if not inserts:
            return []
        inserter = Inserter(self._session, self._names, bound)
        return [Job(i, w) for i, w in inserter.claimed(inserts, outcomes)]

    # --- writing -----------------------------------------------------------------------------------------------------

    def _carry_out(self, bound: Bound, jobs: Sequence[Job]) -> list[Key]:
        """Write them all, or raise; the key of each row afterwards."""
        keys: dict[int, Key] = {}
        self._update(bound, [j for j in jobs if j.write.kind in REPLACING], keys)
        inserts = [j for j in jobs if j.write.kind is WriteKind.INSERT]
        made = Inserter(self._session, self._names, bound).insert([j.write for j in inserts])
        keys.update(zip([j.place for j in inserts], made, strict=True))
        deletes = [j for j in jobs if j.write.kind is WriteKind.DELETE]
        self._many(f"DELETE FROM {bound.sql} WHERE {bound.where_key}", [bound.key_params(_key(j)) for j in deletes])
        keys.update({j.place: _key(j) for j in deletes})
        return [keys[j.place] for j in jobs]

    def _update(self, bound: Bound, jobs: Sequence[Job], keys: dict[int, Key]) -> None:
        """Only the columns named, and the stamp's (I4); rows that change the same columns together."""
        groups: dict[tuple[WriteKind, tuple[int, ...]], list[Job]] = {}
        for job in jobs:
            groups.setdefault((job.write.kind, tuple(job.write.values)), []).append(job)
        for (kind, fields), group in groups.items():
            names = [quote(bound.column(i).name) for i in fields]
            sets = [f"{name} = ?" for name in names]
            sets += [f"{quote(n)} = {v}" for n, v in self._constants(bound, kind).items() if quote(n) not in names]
            encoded = [[bound.encode(i, job.write.values[i], self._session) for i in fields] for job in group]
            if sets:
                rows = [(*new, *bound.key_params(_key(job))) for job, new in zip(group, encoded, strict=True)]
                self._many(f"UPDATE {bound.sql} SET {', '.join(sets)} WHERE {bound.where_key}", rows)
            keys.update({job.place: _key(job) for job in group})
            if bound.keyed(fields):
                self._rename(bound, fields, group, encoded, keys)

    @staticmethod
    def _constants(bound: Bound, kind: WriteKind) -> dict[str, str]:
        table = bound.table
        own = {WriteKind.ARCHIVE: table.archive, WriteKind.RESTORE: table.restore}.get(kind, {})
        return bound.constants({**table.stamp, **own})

    def _rename(
        self, bound: Bound, fields: Sequence[int], jobs: Sequence[Job], encoded: list[list[Any]], keys: dict[int, Key]
    ) -> None:
        """A field that was written is part of the key: the row has a new key, and its link goes with it."""
        for job, new in zip(jobs, encoded, strict=True):
            keys[job.place] = bound.changed_key(_key(job), dict(zip(fields, new, strict=True)))
        moved = [(_key(job), keys[job.place]) for job in jobs if keys[job.place] != job.write.key]
        name, entity = self._session.system, bound.table.entity
        text = f"UPDATE OR REPLACE {self._names.crosswalk} SET key = ? WHERE entity = ? AND system = ? AND key = ?"
        self._many(text, [(new, entity, name, old) for old, new in moved])

    def _many(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._session.connection.executemany(text, rows)

    def _loosen(self, bound: Bound) -> Any:
        """Frees unique values that rows of one batch swap with each other: NULL for a moment, where NULL may stand."""
        unique = {name for columns in bound.table.info.unique for name in columns}
        able = {i for i in bound.places if bound.column(i).name in unique and bound.column(i).nullable}

        def loosen(jobs: Sequence[Job]) -> None:
            for job in jobs:
                names = [quote(bound.column(i).name) for i in job.write.values if i in able]
                if names and job.write.kind in REPLACING:
                    sets = ", ".join(f"{name} = NULL" for name in names)
                    text = f"UPDATE {bound.sql} SET {sets} WHERE {bound.where_key}"
                    self._session.raw(text, bound.key_params(_key(job)))

        return loosen if able else None

    # --- after writing -----------------------------------------------------------------------------------------------

    def _read_back(self, bound: Bound, jobs: Sequence[Job], done: dict[int, Key], outcomes: dict[int, Outcome]) -> None:
        there = [done[j.place] for j in jobs if j.place in done and j.write.kind is not WriteKind.DELETE]
        rows: dict[Key, Row] = reader.rows(self._session, bound, there)
        for job in jobs:
            if job.place in done:
                key = done[job.place]
                row = None if job.write.kind is WriteKind.DELETE else rows.get(key)
                after = None if row is None else bound.raws(row)
                outcomes[job.place] = Outcome(Landing.LANDED, key, job.before, after)

    def _forget_echo(self, bound: Bound, keys: Sequence[Key]) -> None:
        """What our own writes noted since this transaction began. What an application's trigger did to *other* records
        stays noted: that is a change like any other."""
        if bound.captured and keys:
            text = f"DELETE FROM {self._names.changes} WHERE tbl = ? AND key = ? AND id > ?"
            with self._session.errors():
                self._many(text, [(bound.table.name, key, self._noted) for key in keys])

    # --- links -------------------------------------------------------------------------------------------------------

    def link(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        with self._session.errors():
            self._many(
                f"INSERT INTO {self._names.crosswalk} (entity, gid, system, key, since) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                [(*row, since()) for row in rows],
            )
        asked = set(rows)
        return [row for row in self._standing(rows) if row not in asked]

    def _standing(self, rows: Sequence[Crosswalk]) -> Iterator[Crosswalk]:
        by_entity: dict[str, list[tuple[str, Key]]] = {}
        for row in rows:
            by_entity.setdefault(row.entity, []).append((row.system, row.key))
        for entity, pairs in by_entity.items():
            held = reader.holders(self._session, self._names, entity, dict.fromkeys(pairs))
            yield from (Crosswalk(entity, gid, system, key) for (system, key), gid in held.items())

    def unlink(self, rows: Sequence[Crosswalk]) -> None:
        with self._session.errors():
            self._many(
                f"DELETE FROM {self._names.crosswalk} WHERE entity = ? AND gid = ? AND system = ? AND key = ?", rows
            )

    # --- the end -----------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        if not self._session.in_transaction:  # a new connection would write, and commit, something of its own
            message = "the connection was lost, and the transaction with it."
            raise Transient(Problem("lost", message, system=self._session.system))
        try:
            self._session.query(f"UPDATE {self._names.fence} SET writing = 0")
            self._session.query("COMMIT")
        finally:
            self._session.rollback()

    def rollback(self) -> None:
        self._session.rollback()


def _key(job: Job) -> Key:
    assert job.write.key is not None
    return job.write.key


def same(one: Raw, other: Raw) -> bool:
    """Equal as stored: 1 is not 1.0, and text is not bytes."""
    return type(one) is type(other) and one == other


def since() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def rejected(job: Job, refusal: Refusal) -> Outcome:
    return Outcome(Landing.REJECTED, job.write.key, job.before, message=refusal.message, hint=refusal.hint)


def not_prepared(system: str) -> Halt:
    problem = Problem("not-prepared", "Accord's tables are missing.", "run `accord prepare`", system=system)
    return Halt(problem)


def taken(session: Session, names: Names) -> Taken:
    """Who stands in the fence, for a person."""
    row = session.query(f"SELECT agent, epoch FROM {names.fence}")
    who = f"agent {row[0][0]!r} (start {row[0][1]})" if row else "nobody"
    message = f"the fence there belongs to {who} now: another agent writes to this database, or has started since."
    return Taken(
        Problem("taken", message, "let only one agent run; `accord status` tells which", system=session.system)
    )
