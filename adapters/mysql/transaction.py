"""One transaction that writes: rows are locked, compared byte for byte, written set by set, and read back (I3, I4).

MariaDB cannot say which rows of an UPDATE landed, so every batch is locked and compared first. Comparison happens
here, on raws, never in SQL: the server takes 'Acme' for 'ACME ' and finds no FLOAT equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from adapters.bisect import Refusal, settle
from adapters.keys import sort_key
from adapters.mysql import links
from adapters.mysql.capture import drop_echo
from adapters.mysql.connection import Session
from adapters.mysql.errors import refusal
from adapters.mysql.inserts import Insert, Inserts
from adapters.mysql.objects import Names
from adapters.mysql.reader import rows_of
from adapters.mysql.sql import chunks, qualified, quote, values
from adapters.mysql.tables import VALUE, Bound
from config.errors import Problem, Taken, Transient
from config.records import Crosswalk, Fence, ForeignKey, Key, Landing, Outcome, Raw, Write, WriteKind

WOULD = {"cascade": "would be deleted with it", "set null": "would lose the reference"}
"""What the database would do to children without a word. (It refuses itself where it would not.)"""


REPLACING = (WriteKind.UPDATE, WriteKind.ARCHIVE, WriteKind.RESTORE)


class Job(NamedTuple):
    """A write that passed all comparisons and is to be carried out."""

    place: int  # among the writes
    write: Write
    before: tuple[Raw, ...] | None = None
    literals: str = ""  # update or delete: its row of literals
    insert: Insert | None = None

    @property
    def key(self) -> Key:
        return self.write.key or ""

    @property
    def fields(self) -> tuple[int, ...]:
        """What is written beside the key; nothing for a delete."""
        return () if self.write.kind is WriteKind.DELETE else tuple(sorted(self.write.values))

    def rejected(self, refusal: Refusal) -> Outcome:
        return Outcome(Landing.REJECTED, self.write.key, self.before, message=refusal.message, hint=refusal.hint)


Expect = Callable[[tuple[str, int, int], Counter[tuple[str, Key]]], None]
"""Told before a commit: agent, epoch and round, and how often each row was written, by (tag, key)."""


class MariaTransaction:
    """See `adapters.ports.Transaction`."""

    def __init__(
        self, session: Session, names: Names, bounds: dict[str, Bound], fence: Fence, system: str, expect: Expect
    ) -> None:
        self._session = session
        self._names = names
        self._bounds = bounds
        self._system = system
        self._expect = expect
        self._own = (fence.agent, fence.epoch, fence.round)
        self._written: Counter[tuple[str, Key]] = Counter()
        self._begin(fence)

    def _begin(self, fence: Fence) -> None:
        session, where = self._session, f"{self._names.fence} WHERE id = 1"
        session.query("START TRANSACTION")
        found = session.query(f"SELECT agent, epoch FROM {where} FOR UPDATE")
        if not found or (found[0][0], int(found[0][1])) != (fence.agent, fence.epoch):
            self.rollback()
            raise taken(self._system, found[0] if found else None)
        session.query(f"UPDATE {self._names.fence} SET round = {fence.round} WHERE id = 1")

    # --- the port ----------------------------------------------------------------------------------------------------

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        bound = self._bounds[entity]
        outcomes: dict[int, Outcome] = {}
        with self._session.errors():
            jobs = self._compared(bound, writes, outcomes)
            inserts = Inserts(self._session, self._names, bound, self._system)
            fresh = [i for i, w in enumerate(writes) if w.kind is WriteKind.INSERT]
            items = inserts.begin([writes[i] for i in fresh])
            jobs += [Job(i, x.write, insert=x) for i, x in zip(fresh, items, strict=True) if x.outcome is None]
            self._carry_out(bound, jobs, inserts, outcomes)
            inserts.finish(items)
            outcomes.update((i, x.outcome) for i, x in zip(fresh, items, strict=True) if x.outcome is not None)
            self._read_back(bound, writes, outcomes)
        for i, write in enumerate(writes):
            self._count(bound, write, outcomes[i])
        return [outcomes[i] for i in range(len(writes))]

    def _count(self, bound: Bound, write: Write, outcome: Outcome) -> None:
        """What of the log only echoes this write. One that changed nothing is not logged at all."""
        shows = write.kind is WriteKind.ARCHIVE or outcome.before is None or outcome.before != outcome.after
        if outcome.landing is Landing.LANDED and shows:
            self._written.update({(bound.tag, key) for key in (write.key, outcome.key) if key is not None})

    def link(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        standing: list[Crosswalk] = []
        with self._session.errors():
            for entity in dict.fromkeys(row.entity for row in rows):
                ours = [row for row in rows if row.entity == entity]
                links.claim(self._session, self._names, ours)
                pairs = {(row.system, row.key): row.gid for row in ours}
                found = links.held(self._session, self._names, entity, pairs)
                standing += [Crosswalk(entity, g, *pair) for pair, g in found.items() if g != pairs[pair]]
        return standing

    def unlink(self, rows: Sequence[Crosswalk]) -> None:
        with self._session.errors():
            links.remove(self._session, self._names, rows)

    def commit(self) -> None:
        if not self._session.open:  # a new connection would commit nothing, and say that it had
            text = "the connection was lost, and the transaction with it"
            raise Transient(Problem("lost", text, "it is tried again by itself", system=self._session.name))
        self._expect(self._own, self._written)
        self._session.query("COMMIT")

    def rollback(self) -> None:
        try:
            self._session.raw("ROLLBACK")
        except Exception:  # the connection is lost, and with it the transaction
            self._session.close()

    # --- compare -----------------------------------------------------------------------------------------------------

    def _compared(self, bound: Bound, writes: Sequence[Write], outcomes: dict[int, Outcome]) -> list[Job]:
        """Lock the rows and compare them with what the merge has seen (I3); those that may be written."""
        known = {i: w for i, w in enumerate(writes) if w.kind is not WriteKind.INSERT}
        ordered = sorted({w.key for w in known.values() if w.key is not None}, key=_lock_order(bound))
        rows = rows_of(self._session, bound, ordered, lock=True)
        jobs: list[Job] = []
        for i, write in known.items():
            row = rows.get(write.key or "")
            if row is None:
                outcomes[i] = Outcome(Landing.MISSING, write.key)
                continue
            before = bound.raws(row)
            if self._holds(bound, write, row):
                jobs += self._encoded(bound, Job(i, write, before), outcomes)
            else:
                outcomes[i] = Outcome(Landing.CHANGED, write.key, before)
        refused = self._cascades(bound, [j.key for j in jobs if j.write.kind is WriteKind.DELETE])
        hint = "delete or move those rows first, or map their table: children are deleted by key, never by cascade"
        for job in jobs:
            if job.write.kind is WriteKind.DELETE and job.key in refused:
                outcomes[job.place] = job.rejected(Refusal(refused[job.key], hint))
        return [j for j in jobs if j.place not in outcomes]

    @staticmethod
    def _holds(bound: Bound, write: Write, row: Sequence[Raw]) -> bool:
        if write.expected is None or (write.kind is not WriteKind.RESTORE and bound.archived(row)):
            return False  # what people archived meanwhile counts as gone
        before = bound.raws(row)
        whole = write.kind in (WriteKind.DELETE, WriteKind.ARCHIVE)
        fields: Iterable[int] = bound.places if whole else write.values
        return all(before[i] == write.expected[i] for i in fields)

    @staticmethod
    def _encoded(bound: Bound, job: Job, outcomes: dict[int, Outcome]) -> list[Job]:
        """With its row of literals: the key, then the fields in order. [] if a value cannot be written."""
        try:
            cells = [bound.encode(i, job.write.values[i]) for i in job.fields]
        except ValueError as error:
            outcomes[job.place] = job.rejected(Refusal(str(error), "correct the value, or widen the column"))
            return []
        return [job._replace(literals="(" + ",".join([bound.key_literals(job.key), *cells]) + ")")]

    # --- write -------------------------------------------------------------------------------------------------------

    def _carry_out(self, bound: Bound, jobs: Sequence[Job], inserts: Inserts, outcomes: dict[int, Outcome]) -> None:
        """Updates, then inserts, then deletes, in as few statements as can be; what fails is bisected to its rows."""

        def attempt(some: Sequence[Job]) -> list[Key]:
            keys = self._update(bound, [j for j in some if j.write.kind in REPLACING])
            fresh = {id(j.insert): j.place for j in some if j.insert is not None}
            made = inserts.insert([j.insert for j in some if j.insert is not None])
            keys |= {fresh[n]: key for n, key in made.items()}
            keys |= self._delete(bound, [j for j in some if j.write.kind is WriteKind.DELETE])
            return [keys[j.place] for j in some]

        done = settle(jobs, attempt, self._session.savepoint, refusal, partial(self._loosen, bound))
        for job, key in zip(jobs, done, strict=True):
            if job.insert is not None:
                job.insert.reject(key.message, key.hint) if isinstance(key, Refusal) else job.insert.land(key)
            elif isinstance(key, Refusal):
                outcomes[job.place] = job.rejected(key)
            else:
                outcomes[job.place] = Outcome(Landing.LANDED, key, job.before)

    def _update(self, bound: Bound, jobs: Sequence[Job]) -> dict[int, Key]:
        """One statement per kind and set of columns; place -> the key of the row afterwards."""
        groups: dict[tuple[WriteKind, tuple[int, ...]], list[Job]] = {}
        for job in jobs:
            groups.setdefault((job.write.kind, job.fields), []).append(job)
        keys: dict[int, Key] = {}
        for (kind, fields), group in groups.items():
            self._set(bound, kind, fields, [j.literals for j in group])
            after = self._rename(bound, group) if bound.keyed(fields) else [j.key for j in group]
            keys.update(zip([j.place for j in group], after, strict=True))
        return keys

    def _set(self, bound: Bound, kind: WriteKind, fields: Sequence[int], literals: Sequence[str]) -> None:
        """Only the columns named, and the stamp's (I4)."""
        names = [f"{VALUE}{n}" for n in range(len(fields))]
        columns = [bound.column(i).name for i in fields]
        own = {WriteKind.ARCHIVE: bound.table.archive, WriteKind.RESTORE: bound.table.restore}.get(kind, {})
        constants = {**bound.table.stamp, **own}
        pairs = [f"t.{quote(c)} = s.{name}" for c, name in zip(columns, names, strict=True)]
        pairs += [f"t.{quote(c)} = {bound.constant(c, v)}" for c, v in constants.items() if c not in columns]
        for start, stop in chunks(literals if pairs else [], self._session.packet):
            source = values([*bound.key_names, *names], literals[start:stop])
            self._session.raw(f"UPDATE {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key} SET {', '.join(pairs)}")

    def _rename(self, bound: Bound, jobs: Sequence[Job]) -> list[Key]:
        """A field that was written is part of the key: the row has a new key, and its link goes with it."""
        entity = bound.table.entity
        new = [bound.changed_key(j.key, j.write.values) for j in jobs]
        held = links.held(self._session, self._names, entity, [(self._system, j.key) for j in jobs])
        moved = [
            (gid, job.key, key)
            for job, key in zip(jobs, new, strict=True)
            if job.key != key and (gid := held.get((self._system, job.key))) is not None
        ]
        links.remove(self._session, self._names, [Crosswalk(entity, g, self._system, old) for g, old, _ in moved])
        fresh = [Crosswalk(entity, g, self._system, key) for g, _, key in moved]
        links.claim(self._session, self._names, fresh, take=True)
        return new

    def _loosen(self, bound: Bound, jobs: Sequence[Job]) -> None:
        """Rows that swap unique values let go of them first, where the columns may be empty."""
        unique = {name for columns in bound.table.info.unique for name in columns}
        able = {i for i in bound.places if bound.column(i).name in unique and bound.column(i).nullable}
        groups: dict[tuple[int, ...], list[str]] = {}
        for job in jobs:
            freed = tuple(i for i in job.fields if i in able)
            if freed and job.write.kind in REPLACING:
                groups.setdefault(freed, []).append(f"({bound.key_literals(job.key)})")
        for fields, literals in groups.items():
            pairs = ", ".join(f"t.{quote(bound.column(i).name)} = NULL" for i in fields)
            source = values(bound.key_names, literals)
            self._session.raw(f"UPDATE {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key} SET {pairs}")

    def _delete(self, bound: Bound, jobs: Sequence[Job]) -> dict[int, Key]:
        literals = [j.literals for j in jobs]
        for start, stop in chunks(literals, self._session.packet):
            source = values(bound.key_names, literals[start:stop])
            self._session.raw(f"DELETE t FROM {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key}")
        return {j.place: j.key for j in jobs}

    def _cascades(self, bound: Bound, keys: Sequence[Key]) -> dict[Key, str]:
        """Deletes that would take rows of other tables with them, or cut them off: children are deleted by key, never
        by cascade. (MariaDB fires no trigger and logs nothing for what a cascade does.)"""
        cascading = [f for f in bound.table.info.referenced_by if f.on_delete in WOULD]
        found: dict[Key, str] = {}
        going, refused = set(keys), bool(cascading)
        while refused and going:  # a row that stays may itself be the child of another one
            refused = False
            for foreign in cascading:
                for key, count in self._children(bound, foreign, going).items():
                    found[key] = _refers(foreign, count)
                    going.discard(key)
                    refused = True
        return found

    def _children(self, bound: Bound, foreign: ForeignKey, going: set[Key]) -> dict[Key, int]:
        """How many rows refer to each of these, but for rows of the same table that go in the same call."""
        itself = (foreign.table, foreign.schema) == (bound.table.name, bound.table.schema)
        theirs = [f"c.{quote(k.name)}" for k in bound.table.key] if itself else []
        pairs = zip(foreign.columns, foreign.to_columns, strict=True)
        on = " AND ".join(f"c.{quote(one)} = t.{quote(other)}" for one, other in pairs)
        ours = [f"t.{quote(k.name)}" for k in bound.table.key]
        literals = [f"({bound.key_literals(key)})" for key in going]
        counts: dict[Key, int] = {}
        for start, stop in chunks(literals, self._session.packet):
            rows = self._session.raw(
                f"SELECT {', '.join([*ours, *theirs])} FROM {values(bound.key_names, literals[start:stop])}"
                f" STRAIGHT_JOIN {bound.sql} t ON {bound.on_key}"
                f" STRAIGHT_JOIN {qualified(foreign.schema, foreign.table)} c ON {on}"
            )
            for row in rows:
                if not itself or bound.key(row[bound.width :]) not in going:
                    counts[bound.key(row)] = counts.get(bound.key(row), 0) + 1
        return counts

    # --- after the writes --------------------------------------------------------------------------------------------

    def _read_back(self, bound: Bound, writes: Sequence[Write], outcomes: dict[int, Outcome]) -> None:
        landed = {i: o for i, o in outcomes.items() if o.landing is Landing.LANDED and o.key is not None}
        if not landed:
            return
        keys = [o.key for o in landed.values() if o.key is not None]
        stored = rows_of(self._session, bound, keys)
        for i, outcome in landed.items():
            row = stored.get(outcome.key or "")
            if writes[i].kind is not WriteKind.DELETE and row is not None:
                outcomes[i] = outcome._replace(after=bound.raws(row))
        if bound.captured:
            before = [w.key for i, w in enumerate(writes) if i in landed and w.key is not None]
            drop_echo(self._session, self._names.changes, bound, list(dict.fromkeys([*keys, *before])))


def _refers(foreign: ForeignKey, count: int) -> str:
    rows = f"{count} row{'s' if count > 1 else ''} of {foreign.table} refer{'s' if count == 1 else ''} to it"
    rule = f"ON DELETE {foreign.on_delete.upper()}"
    return f"{rows} by {', '.join(foreign.columns)} and {WOULD[foreign.on_delete]} ({rule})"


def _lock_order(bound: Bound) -> Callable[[Key], tuple[Any, ...]]:
    """Rows are locked in one order everywhere, so that two batches do not wait for each other."""

    def order(key: Key) -> tuple[Any, ...]:
        try:
            return (0, *sort_key(bound.table, key))
        except ValueError:
            return (1, key)

    return order


def taken(system: str, there: Sequence[Raw] | None) -> Taken:
    """Somebody else holds the fence (I9). `there`: agent and epoch as they stand in it."""
    who = f"agent {there[0]!r} (start {there[1]!s})" if there else "nobody"
    text = f"the fence there belongs to {who} now: another agent writes to this database, or has started since."
    return Taken(Problem("taken", text, "let only one agent run; `accord status` tells which", system=system))
