"""One transaction that writes: rows are locked, compared byte for byte, written set by set, and read back (I3, I4).

MariaDB cannot say which rows of an UPDATE landed, so every batch is locked and compared first. Comparison happens
here, on raws, never in SQL: the server takes 'Acme' for 'ACME ' and finds no FLOAT equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from config.records import Crosswalk, Fence, ForeignKey, Key, Landing, Outcome, Raw, Write, WriteKind

Rows = dict[Key, tuple[Raw, ...]]


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
        going = {writes[i].key for i in deletes}
        for i, text in self._cascades(bound, [(i, writes[i].key) for i in deletes], going).items():
            outcomes[i] = Outcome(Landing.REJECTED, writes[i].key, message=text, hint="settle those rows first")
        updates = [i for i, o in enumerate(outcomes) if o is None and writes[i].kind is not WriteKind.DELETE]
        deletes = [i for i in deletes if outcomes[i] is None]
        for indexes, run in ((updates, self._update), (deletes, self._delete)):
            for i, refused in zip(indexes, run(bound, [writes[i] for i in indexes]), strict=True):
                key = writes[i].key
                assert key is not None
                outcomes[i] = (
                    Outcome(Landing.REJECTED, key, message=refused.message, hint=refused.hint)
                    if isinstance(refused, Refusal)
                    else Outcome(Landing.LANDED, key, before=bound.raws(before[key]))
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
        if write.expected is not None and any(raws[i] != write.expected[i] for i in fields):
            return Outcome(Landing.CHANGED, write.key, before=raws)
        return None

    def _update(self, bound: Bound, writes: Sequence[Write]) -> list[Refusal | bool]:
        """One statement per set of columns; what it says about each write."""
        results: dict[int, Refusal | bool] = {}
        groups: dict[tuple[WriteKind, tuple[int, ...]], list[int]] = {}
        literals: list[str] = []
        for n, write in enumerate(writes):
            fields = tuple(sorted(write.values))
            try:
                cells = [bound.encode(i, write.values[i]) for i in fields]
            except ValueError as error:
                results[n] = Refusal(str(error), "correct the value, or widen the column")
                cells = []
            literals.append("(" + ",".join([bound.key_literals(write.key or ""), *cells]) + ")")
            if n not in results:
                groups.setdefault((write.kind, fields), []).append(n)
        for (kind, fields), members in groups.items():
            done = settle(
                members,
                lambda some, kind=kind, fields=fields: self._set(bound, kind, fields, [literals[n] for n in some]),  # type: ignore[misc]
                self._session.savepoint,
                refusal,
                lambda some, fields=fields: self._loosen(bound, fields, [writes[n].key or "" for n in some]),  # type: ignore[misc]
            )
            results.update(zip(members, done, strict=True))
        return [results[n] for n in range(len(writes))]

    def _set(self, bound: Bound, kind: WriteKind, fields: Sequence[int], literals: Sequence[str]) -> list[bool]:
        table, names = bound.table, [f"{VALUE}{n}" for n in range(len(fields))]
        constants = dict(table.stamp)
        if kind in (WriteKind.ARCHIVE, WriteKind.RESTORE):
            constants |= table.archive if kind is WriteKind.ARCHIVE else table.restore
        written = {c.name for i in fields if (c := table.columns[i]) is not None}
        pairs = [f"t.{quote(n)} = {bound.constant(n, v)}" for n, v in constants.items() if n not in written]
        for i, name in zip(fields, names, strict=True):
            column = table.columns[i]
            assert column is not None
            pairs.append(f"t.{quote(column.name)} = s.{name}")
        if pairs:
            for start, stop in chunks(literals, self._session.packet):
                source = values([*bound.key_names, *names], literals[start:stop])
                self._session.raw(
                    f"UPDATE {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key} SET {', '.join(pairs)}"
                )
        return [True] * len(literals)

    def _loosen(self, bound: Bound, fields: Sequence[int], keys: Sequence[Key]) -> None:
        """Rows that swap unique values let go of them first, where the columns may be empty."""
        unique = {name for columns in bound.table.info.unique for name in columns}
        columns = [c for i in fields if (c := bound.table.columns[i]) is not None and c.name in unique and c.nullable]
        if not columns:
            return
        literals = [f"({bound.key_literals(key)})" for key in keys]
        source = values(bound.key_names, literals)
        pairs = ", ".join(f"t.{quote(c.name)} = NULL" for c in columns)
        self._session.raw(f"UPDATE {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key} SET {pairs}")

    def _delete(self, bound: Bound, writes: Sequence[Write]) -> list[Refusal | bool]:
        def attempt(some: Sequence[Write]) -> list[bool]:
            literals = [f"({bound.key_literals(w.key or '')})" for w in some]
            for start, stop in chunks(literals, self._session.packet):
                source = values(bound.key_names, literals[start:stop])
                self._session.raw(f"DELETE t FROM {source} STRAIGHT_JOIN {bound.sql} t ON {bound.on_key}")
            return [True] * len(some)

        return settle(writes, attempt, self._session.savepoint, refusal)

    def _cascades(
        self, bound: Bound, items: Sequence[tuple[int, Key | None]], going: set[Key | None]
    ) -> dict[int, str]:
        """Deletes that would take rows of other tables with them, or cut them off: those are deleted by key, never
        by cascade. (MariaDB fires no trigger and logs nothing for what a cascade does.)"""
        found: dict[int, str] = {}
        indexes = {key: i for i, key in items}
        for foreign in bound.table.info.referenced_by if items else ():
            if foreign.on_delete not in ("cascade", "set null", "set default"):
                continue
            for key, count in self._children(bound, foreign, list(indexes), going).items():
                rows = "row" if count == 1 else "rows"
                rule = f"ON DELETE {foreign.on_delete.upper()}"
                found.setdefault(indexes[key], f"{count} {rows} of {foreign.table} would be changed with it ({rule})")
        return found

    def _children(
        self, bound: Bound, foreign: ForeignKey, keys: Sequence[Key | None], going: set[Key | None]
    ) -> dict[Key, int]:
        """How many rows refer to each of these, but for rows of the same table that go in the same call."""
        itself = foreign.table == bound.table.name and (foreign.schema or "") == (bound.table.schema or "")
        theirs = [f"c.{quote(k.name)}" for k in bound.table.key] if itself else []
        on = " AND ".join(
            f"c.{quote(one)} = t.{quote(other)}" for one, other in zip(foreign.columns, foreign.to_columns, strict=True)
        )
        ours = [f"t.{quote(k.name)}" for k in bound.table.key]
        literals = [f"({bound.key_literals(key or '')})" for key in keys]
        counts: dict[Key, int] = {}
        for start, stop in chunks(literals, self._session.packet):
            rows = self._session.raw(
                f"SELECT {', '.join([*ours, *theirs])} FROM {values(bound.key_names, literals[start:stop])}"
                f" STRAIGHT_JOIN {bound.sql} t ON {bound.on_key}"
                f" STRAIGHT_JOIN {qualified(foreign.schema, foreign.table)} c ON {on}"
            )
            for row in rows:
                if not itself or bound.key(row[bound.width :]) not in going:
                    key = bound.key(row)
                    counts[key] = counts.get(key, 0) + 1
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
            drop_echo(self._session, self._names.changes, bound, keys)


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
        text, hint = "the fence is empty: the database was prepared anew, or restored", "start this agent again"
    elif there != agent:
        text, hint = f"the agent {there!r} writes here", "give this agent another prefix, or stop that one"
    else:
        text, hint = f"another start of the agent {agent!r} has taken over", "run one agent only"
    return Taken(Problem("fence-taken", text, hint, system=system))
