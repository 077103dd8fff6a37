"""One transaction that writes: rows are locked, compared byte for byte, written set by set, and read back (I3, I4).

MariaDB cannot say which rows of an UPDATE landed, so every batch is locked and compared first. Comparison happens
here, on raws, never in SQL: the server takes 'Acme' for 'ACME ' and finds no FLOAT equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from adapters.bisect import Refusal, settle
from adapters.keys import sort_key
from adapters.mysql import links
from adapters.mysql.capture import drop_echo
from adapters.mysql.connection import Session
from adapters.mysql.errors import refusal
from adapters.mysql.inserts import Inserts
from adapters.mysql.objects import Names
from adapters.mysql.reader import rows_of
from adapters.mysql.sql import chunks, qualified, quote, values
from adapters.mysql.tables import VALUE, Bound
from config.errors import Problem, Taken
from config.records import Crosswalk, Fence, ForeignKey, Key, Landing, Outcome, Raw, Value, Write, WriteKind

Rows = dict[Key, tuple[Raw, ...]]


WOULD = {"cascade": "would be deleted with it", "set null": "would lose the reference"}
"""What the database would do to children without a word. (It refuses itself where it would not.)"""


@dataclass(frozen=True, slots=True)
class _Group:
    """Updates of one kind that write the same fields."""

    bound: Bound
    kind: WriteKind
    fields: tuple[int, ...]
    writes: Sequence[Write]
    literals: Mapping[int, str]  # place among the writes -> its row of literals

    @property
    def constants(self) -> dict[str, Value]:
        table = self.bound.table
        own = {WriteKind.ARCHIVE: table.archive, WriteKind.RESTORE: table.restore}.get(self.kind, {})
        return {**table.stamp, **own}


class MariaTransaction:
    """See `adapters.ports.Transaction`."""

    def __init__(self, session: Session, names: Names, bounds: dict[str, Bound], fence: Fence, system: str) -> None:
        self._session = session
        self._names = names
        self._bounds = bounds
        self._system = system
        self._begin(fence)

    def _begin(self, fence: Fence) -> None:
        session, where = self._session, f"{self._names.fence} WHERE id = 1"
        session.query("START TRANSACTION")
        found = session.query(f"SELECT agent, epoch FROM {where} FOR UPDATE")
        if not found or (found[0][0], int(found[0][1])) != (fence.agent, fence.epoch):
            self.rollback()
            raise taken(self._system, found[0][0] if found else None, fence.agent)
        session.query(f"UPDATE {self._names.fence} SET round = {fence.round} WHERE id = 1")

    # --- the port ----------------------------------------------------------------------------------------------------

    def apply(self, entity: str, writes: Sequence[Write]) -> list[Outcome]:
        bound = self._bounds[entity]
        outcomes: dict[int, Outcome] = {}
        with self._session.errors():
            known = [i for i, w in enumerate(writes) if w.kind is not WriteKind.INSERT]
            fresh = [i for i, w in enumerate(writes) if w.kind is WriteKind.INSERT]
            outcomes.update(zip(known, self._change(bound, [writes[i] for i in known]), strict=True))
            inserts = Inserts(self._session, self._names, bound, self._system)
            outcomes.update(zip(fresh, inserts.run([writes[i] for i in fresh]), strict=True))
            self._read_back(bound, writes, outcomes)
        return [outcomes[i] for i in range(len(writes))]

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
        self._session.query("COMMIT")

    def rollback(self) -> None:
        try:
            self._session.raw("ROLLBACK")
        except Exception:  # the connection is lost, and with it the transaction
            self._session.close()

    # --- updates, archives, restores, deletes ------------------------------------------------------------------------

    def _change(self, bound: Bound, writes: Sequence[Write]) -> list[Outcome]:
        """Everything that changes rows that are there."""
        ordered = sorted({w.key for w in writes if w.key is not None}, key=_lock_order(bound))
        before = rows_of(self._session, bound, ordered, lock=True)
        outcomes: list[Outcome | None] = [self._compared(bound, w, before) for w in writes]
        deletes = [i for i, o in enumerate(outcomes) if o is None and writes[i].kind is WriteKind.DELETE]
        refused = self._cascades(bound, [writes[i].key or "" for i in deletes])
        for i in deletes:
            text = refused.get(writes[i].key or "")
            if text is not None:
                hint = "delete or move those rows first, or map their table: children are deleted by key"
                outcomes[i] = Outcome(Landing.REJECTED, writes[i].key, message=text, hint=hint)
        updates = [i for i, o in enumerate(outcomes) if o is None and writes[i].kind is not WriteKind.DELETE]
        deletes = [i for i in deletes if outcomes[i] is None]
        for indexes, run in ((updates, self._update), (deletes, self._delete)):
            for i, key in zip(indexes, run(bound, [writes[i] for i in indexes]), strict=True):
                own = writes[i].key or ""
                raws = bound.raws(before[own])
                outcomes[i] = (
                    Outcome(Landing.REJECTED, own, raws, message=key.message, hint=key.hint)
                    if isinstance(key, Refusal)
                    else Outcome(Landing.LANDED, key, raws)
                )
        return [o for o in outcomes if o is not None]

    def _compared(self, bound: Bound, write: Write, before: Rows) -> Outcome | None:
        """None: the row holds what the merge saw, so it may be written."""
        row = before.get(write.key or "")
        if row is None:
            return Outcome(Landing.MISSING, write.key)
        raws = bound.raws(row)
        whole = write.kind in (WriteKind.DELETE, WriteKind.ARCHIVE)
        fields: Iterable[int] = bound.places if whole else write.values
        if write.expected is None or any(raws[i] != write.expected[i] for i in fields):
            return Outcome(Landing.CHANGED, write.key, before=raws)
        return None

    def _update(self, bound: Bound, writes: Sequence[Write]) -> list[Refusal | Key]:
        """One statement per set of columns; the key of each row afterwards."""
        results: dict[int, Refusal | Key] = {}
        groups: dict[tuple[WriteKind, tuple[int, ...]], list[int]] = {}
        literals: dict[int, str] = {}
        for n, write in enumerate(writes):
            fields = tuple(sorted(write.values))
            try:
                cells = [bound.encode(i, write.values[i]) for i in fields]
            except ValueError as error:
                results[n] = Refusal(str(error), "correct the value, or widen the column")
                continue
            literals[n] = "(" + ",".join([bound.key_literals(write.key or ""), *cells]) + ")"
            groups.setdefault((write.kind, fields), []).append(n)
        for (kind, fields), members in groups.items():
            group = _Group(bound, kind, fields, writes, literals)
            attempt, loosen = partial(self._set, group), partial(self._loosen, group)
            done = settle(members, attempt, self._session.savepoint, refusal, loosen)
            results.update(zip(members, done, strict=True))
        return [results[n] for n in range(len(writes))]

    def _set(self, group: _Group, members: Sequence[int]) -> list[Key]:
        bound, names = group.bound, [f"{VALUE}{n}" for n in range(len(group.fields))]
        columns = [bound.column(i).name for i in group.fields]
        pairs = [f"t.{quote(c)} = s.{name}" for c, name in zip(columns, names, strict=True)]
        pairs += [f"t.{quote(c)} = {bound.constant(c, v)}" for c, v in group.constants.items() if c not in columns]
        literals = [group.literals[n] for n in members]
        for start, stop in chunks(literals if pairs else [], self._session.packet):
            source = values([*bound.key_names, *names], literals[start:stop])
            self._session.raw(f"UPDATE {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key} SET {', '.join(pairs)}")
        keys = [group.writes[n].key or "" for n in members]
        return self._rename(group, members, keys) if bound.keyed(group.fields) else keys

    def _rename(self, group: _Group, members: Sequence[int], keys: Sequence[Key]) -> list[Key]:
        """A field that was written is part of the key: the row has a new key, and its link goes with it."""
        bound, entity = group.bound, group.bound.table.entity
        new = [bound.changed_key(key, group.writes[n].values) for n, key in zip(members, keys, strict=True)]
        held = links.held(self._session, self._names, entity, [(self._system, key) for key in keys])
        moved = [
            (gid, old, key)
            for old, key in zip(keys, new, strict=True)
            if old != key and (gid := held.get((self._system, old))) is not None
        ]
        links.remove(self._session, self._names, [Crosswalk(entity, g, self._system, old) for g, old, _ in moved])
        fresh = [Crosswalk(entity, g, self._system, key) for g, _, key in moved]
        links.claim(self._session, self._names, fresh, take=True)
        return new

    def _loosen(self, group: _Group, members: Sequence[int]) -> None:
        """Rows that swap unique values let go of them first, where the columns may be empty."""
        bound = group.bound
        unique = {name for columns in bound.table.info.unique for name in columns}
        columns = [c.name for c in map(bound.column, group.fields) if c.name in unique and c.nullable]
        if columns:
            source = values(bound.key_names, [f"({bound.key_literals(group.writes[n].key or '')})" for n in members])
            pairs = ", ".join(f"t.{quote(name)} = NULL" for name in columns)
            self._session.raw(f"UPDATE {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key} SET {pairs}")

    def _delete(self, bound: Bound, writes: Sequence[Write]) -> list[Refusal | Key]:
        def attempt(keys: Sequence[Key]) -> Sequence[Key]:
            literals = [f"({bound.key_literals(key)})" for key in keys]
            for start, stop in chunks(literals, self._session.packet):
                source = values(bound.key_names, literals[start:stop])
                self._session.raw(f"DELETE t FROM {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key}")
            return keys

        return settle([w.key or "" for w in writes], attempt, self._session.savepoint, refusal)

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


def taken(system: str, there: str | None, agent: str) -> Taken:
    """Somebody else holds the fence (I9)."""
    if there is None:
        text, hint = "the fence is empty: the database was prepared anew, or restored.", "start this agent again"
    elif there != agent:
        text, hint = f"the agent {there!r} writes here.", "give this agent another prefix, or stop that one"
    else:
        text, hint = f"another start of the agent {agent!r} has taken over.", "run one agent only"
    return Taken(Problem("taken", text, hint, system=system))
