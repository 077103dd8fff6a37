"""Rows that are there: updated, archived, restored, deleted. Compare and set, set by set, read back (I3, I4).

The usual update is one statement: the rows are compared and written at once, and RETURNING shows what is stored. When
a column that was not written differs from the reading, or the row turns out to be archived, only a look at the locked
row *before* the write tells a side effect of our statement from what somebody else did: then the batch is undone, and
done again with locks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import psycopg

from adapters.postgresql.bound import Bound, Held, Raws
from adapters.postgresql.errors import Refused, refusal
from adapters.postgresql.reading import encoded, encoders, stored_now
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, cast, qualified, quote, unnest
from config.records import ForeignKey, Key, Landing, Outcome, Write, WriteKind

DISTURBED = 2
"""So often may the fast way be undone for a table before its batches are locked from the start."""
SKIPPED = "the database took the statement, but a trigger or rule of its own left the row as it was"
CASCADES = ("cascade", "set null", "set default")


class Batch:
    """The updates, archives, restores and deletes of one call; `run` may be called for any part of them."""

    def __init__(
        self, session: Session, bound: Bound, writes: Sequence[Write], disturbed: Counter[str], noisy: bool
    ) -> None:
        self._session = session
        self._bound = bound
        self._writes = writes
        self._disturbed = disturbed
        self._noisy = noisy
        self._texts: dict[int, list[str | None]] = {}
        self._loosened: dict[int, Held] = {}
        self._going = {w.key for w in writes if w.kind is WriteKind.DELETE}

    def run(self, some: Sequence[int]) -> dict[int, Outcome]:
        """Driver's errors, and `Refused`, when a row cannot be written."""
        outcomes: dict[int, Outcome] = {}
        groups: dict[tuple[WriteKind, tuple[int, ...]], list[int]] = {}
        for i in some:
            groups.setdefault((self._writes[i].kind, tuple(sorted(self._writes[i].values))), []).append(i)
        for (kind, fields), members in groups.items():
            possible = [i for i in members if self._bound.possible(self._writes[i].key or "")]
            outcomes |= {i: Outcome(Landing.MISSING, self._writes[i].key) for i in set(members) - set(possible)}
            if not possible:
                continue
            if kind is WriteKind.DELETE:
                outcomes |= self._delete(possible)
            else:
                outcomes |= self._update(kind, fields, possible)
        return outcomes

    # --- updates, archives, restores ---------------------------------------------------------------------------------

    def _update(self, kind: WriteKind, fields: Sequence[int], some: Sequence[int]) -> dict[int, Outcome]:
        texts = self._encoded(some, fields)
        pairs = self._constants(kind, fields)
        known = all(self._writes[i].expected is not None for i in some) and not self._loosened
        able = kind is not WriteKind.ARCHIVE and known and (pairs or fields)  # afterwards every row is archived
        if able and self._disturbed[self._bound.tag] < DISTURBED:
            try:
                with self._session.savepoint():
                    return self._at_once(kind, fields, some, texts, pairs)
            except _Disturbed:
                self._disturbed[self._bound.tag] += 1
            except psycopg.Error as error:
                if len(some) > 1 or not self._bound.archives or refusal(error) is None:
                    raise  # else: what is refused may be archived by now
        return self._locked(kind, fields, some, texts, pairs)

    def _at_once(
        self,
        kind: WriteKind,
        fields: Sequence[int],
        some: Sequence[int],
        texts: Sequence[Sequence[str | None]],
        pairs: Sequence[str],
    ) -> dict[int, Outcome]:
        """Compare and set in one statement."""
        bound, compared = self._bound, self._compared(kind, fields)
        old = [f"accord_o{n}" for n in range(len(compared))]
        same = [
            f't.{quote(bound.column(i).name)}::text COLLATE "C" IS NOT DISTINCT FROM s.{name}'
            for i, name in zip(compared, old, strict=True)
        ]
        expected = [self._writes[i].expected or () for i in some]
        arrays = [array([e[i] for e in expected]) for i in compared]
        stored = self._set(fields, some, texts, pairs, old, same, arrays)
        if self._noisy:
            stored = self._again(stored)
        others = [f for f, _ in bound.columns if f not in fields]
        unwritten: Callable[[Raws], Any] = itemgetter(*others) if others else lambda raws: None
        outcomes: dict[int, Outcome] = {}
        for i, before in zip(some, expected, strict=True):
            if i not in stored:
                continue
            key, (after, archived) = stored[i]
            if unwritten(after) != unwritten(before) or (archived and kind is WriteKind.UPDATE):
                raise _Disturbed
            outcomes[i] = Outcome(Landing.LANDED, key, before, after)
        left = [i for i in some if i not in outcomes]
        return outcomes | (self._left(kind, fields, left, pairs) if left else {})

    def _left(
        self, kind: WriteKind, fields: Sequence[int], left: Sequence[int], pairs: Sequence[str]
    ) -> dict[int, Outcome]:
        """Rows that the statement passed over: gone, changed, or (rarely) skipped by a trigger or changed back."""
        outcomes = self._judged(kind, fields, self._rows(left), left)
        again = [i for i in left if i not in outcomes]
        texts = self._encoded(again, fields)
        return outcomes | (self._locked(kind, fields, again, texts, pairs) if again else {})

    def _locked(
        self,
        kind: WriteKind,
        fields: Sequence[int],
        some: Sequence[int],
        texts: Sequence[Sequence[str | None]],
        pairs: Sequence[str],
    ) -> dict[int, Outcome]:
        """Lock, compare, write, read back."""
        found = self._rows(some, "FOR NO KEY UPDATE OF t") | {i: h for i, h in self._loosened.items() if i in some}
        outcomes = self._judged(kind, fields, found, some)
        before = {i: held.raws for i, held in found.items()}
        good = [(i, t) for i, t in zip(some, texts, strict=True) if i not in outcomes]
        if not good:
            return outcomes
        indexes = [i for i, _ in good]
        if not pairs and not fields:
            keys = {i: self._writes[i].key or "" for i in indexes}
            return outcomes | {i: Outcome(Landing.LANDED, keys[i], before[i], before[i]) for i in indexes}
        stored = self._set(fields, indexes, [t for _, t in good], pairs)
        if len(stored) < len(indexes):
            raise Refused(SKIPPED, "look at the triggers of the table")
        if self._noisy:
            stored = self._again(stored)
        return outcomes | {i: Outcome(Landing.LANDED, stored[i][0], before[i], stored[i][1].raws) for i in indexes}

    def _set(
        self,
        fields: Sequence[int],
        some: Sequence[int],
        texts: Sequence[Sequence[str | None]],
        pairs: Sequence[str],
        names: Sequence[str] = (),
        tests: Sequence[str] = (),
        arrays: Sequence[str] = (),
    ) -> dict[int, tuple[Key, Held]]:
        """Write `fields` and `pairs` where `tests` hold; what is stored in the rows that were written."""
        bound = self._bound
        new = [f"accord_n{n}" for n in range(len(fields))]
        sets = [
            f"{quote(bound.column(i).name)} = {cast(f's.{name}', bound.column(i))}"
            for i, name in zip(fields, new, strict=True)
        ]
        keys = bound.split([self._writes[i].key or "" for i in some])
        rows = self._session.raw(
            f"UPDATE {bound.name} AS t SET {', '.join([*sets, *pairs])}"
            f" FROM {unnest([*bound.names, *new, *names], ordinal='accord_i')}"
            f" WHERE {' AND '.join([bound.on, *tests])} RETURNING s.accord_i, {bound.keys}, {bound.whole}",
            [array(c) for c in keys] + [array(list(c)) for c in zip(*texts, strict=True)] + list(arrays),
        )
        return {some[i - 1]: (bound.key(row), bound.held(row[bound.width :])) for i, *row in rows}

    def _constants(self, kind: WriteKind, fields: Sequence[int]) -> list[str]:
        """SET clauses of what is written on every write, and of what archives or restores."""
        table = self._bound.table
        values = dict(table.stamp)
        if kind is WriteKind.ARCHIVE:
            values |= table.archive
        elif kind is WriteKind.RESTORE:
            values |= table.restore
        written = {self._bound.column(i).name for i in fields}
        return [f"{quote(n)} = {v}" for n, v in self._bound.constants(values).items() if n not in written]

    def _compared(self, kind: WriteKind, fields: Sequence[int]) -> Sequence[int]:
        """An update compares what it replaces, an archive or delete all that is mapped (I3)."""
        whole = kind in (WriteKind.ARCHIVE, WriteKind.DELETE)
        return [i for i, _ in self._bound.columns] if whole else fields

    def _judged(
        self, kind: WriteKind, fields: Sequence[int], rows: dict[int, Held], some: Iterable[int]
    ) -> dict[int, Outcome]:
        """Outcomes of those that may not be written: the row is gone, is archived by now (which counts as gone), or
        holds something else than was merged."""
        compared = self._compared(kind, fields)
        outcomes: dict[int, Outcome] = {}
        for i in some:
            write, held = self._writes[i], rows.get(i)
            if held is None:
                outcomes[i] = Outcome(Landing.MISSING, write.key)
            elif (held.archived and kind is not WriteKind.RESTORE) or (
                write.expected is not None and any(held.raws[f] != write.expected[f] for f in compared)
            ):
                outcomes[i] = Outcome(Landing.CHANGED, write.key, before=held.raws)
        return outcomes

    def _rows(self, some: Sequence[int], lock: str = "") -> dict[int, Held]:
        bound = self._bound
        keys = bound.split([self._writes[i].key or "" for i in some])
        # Locked in one order everywhere, so that two batches do not wait for each other.
        order = " ORDER BY " + ", ".join(f"t.{quote(c.name)}" for c in bound.table.key) if lock else ""
        rows = self._session.raw(
            f"SELECT s.accord_i, {bound.whole} FROM {unnest(bound.names, ordinal='accord_i')}"
            f" JOIN {bound.name} t ON {bound.on}{order} {lock}",
            [array(c) for c in keys],
        )
        return {some[i - 1]: bound.held(row) for i, *row in rows}

    def _again(self, stored: dict[int, tuple[Key, Held]]) -> dict[int, tuple[Key, Held]]:
        """Read once more what triggers may have changed after the statement; a row that they deleted stays as read."""
        now = stored_now(self._session, self._bound, [key for key, _ in stored.values()])
        return {i: (key, held._replace(raws=now.get(key, held.raws))) for i, (key, held) in stored.items()}

    def _encoded(self, some: Sequence[int], fields: Sequence[int]) -> list[list[str | None]]:
        missing = [i for i in some if i not in self._texts]
        if missing:
            encode = encoders(self._session, self._bound, fields)
            self._texts.update((i, encoded(encode, self._writes[i], fields)) for i in missing)
        return [self._texts[i] for i in some]

    def loosen(self, some: Sequence[int]) -> None:
        """Rows that swap unique values let go of them first, where the columns may be empty; they are compared as they
        were before."""
        bound = self._bound
        unique = {name for columns in bound.table.info.unique for name in columns}
        updates = [i for i in some if self._writes[i].kind is WriteKind.UPDATE]
        fields = {f for i in updates for f in self._writes[i].values}
        names = [c.name for f, c in bound.columns if f in fields and c.name in unique and c.nullable]
        if not names:
            return
        self._loosened = self._rows(updates, "FOR UPDATE OF t")
        updates = [i for i, held in self._loosened.items() if not held.archived]
        self._session.raw(
            f"UPDATE {bound.name} AS t SET {', '.join(f'{quote(n)} = NULL' for n in names)}"
            f" FROM {unnest(bound.names)} WHERE {bound.on}",
            [array(c) for c in bound.split([self._writes[i].key or "" for i in updates])],
        )

    # --- deletes -----------------------------------------------------------------------------------------------------

    def _delete(self, some: Sequence[int]) -> dict[int, Outcome]:
        """Lock, compare all that is mapped, see that nothing goes with it, delete."""
        bound = self._bound
        before = self._rows(some, "FOR UPDATE OF t")
        outcomes = self._judged(WriteKind.DELETE, (), before, some)
        good = [i for i in some if i not in outcomes]
        for foreign in bound.table.info.referenced_by:
            if foreign.on_delete in CASCADES and good:
                outcomes |= self._children(foreign, good)
                good = [i for i in good if i not in outcomes]
        if good:
            keys = bound.split([self._writes[i].key or "" for i in good])
            gone = self._session.raw(
                f"DELETE FROM {bound.name} AS t USING {unnest(bound.names)} WHERE {bound.on} RETURNING 1",
                [array(c) for c in keys],
            )
            if len(gone) < len(good):
                raise Refused(SKIPPED, "look at the triggers of the table")
        return outcomes | {i: Outcome(Landing.LANDED, self._writes[i].key, before=before[i].raws) for i in good}

    def _children(self, foreign: ForeignKey, some: Sequence[int]) -> dict[int, Outcome]:
        """Deletes that would take rows of other tables with them, or cut them off: those are deleted by key, never by
        cascade. The parent is locked, so no child can join meanwhile."""
        bound = self._bound
        on = [f"c.{quote(a)} = t.{quote(b)}" for a, b in zip(foreign.columns, foreign.to_columns, strict=True)]
        child = qualified(foreign.schema, foreign.table)
        itself = foreign.table == bound.table.name and bound.table.schema in (None, foreign.schema)
        arrays = [array(c) for c in bound.split([self._writes[i].key or "" for i in some])]
        if itself:  # rows of this table that are deleted in the same call do not count
            own = ", ".join(f"c.{quote(k.name)}::text" for k in bound.table.key)
            going = unnest(bound.names, len(arrays) + 1).replace(" AS s(", " AS g(")
            on.append(f"({own}) NOT IN (SELECT {', '.join(f'g.{n}' for n in bound.names)} FROM {going})")
            arrays += [array(c) for c in bound.split([k for k in self._going if k is not None and bound.possible(k)])]
        rows = self._session.raw(
            f"SELECT s.accord_i, count(*) FROM {unnest(bound.names, ordinal='accord_i')}"
            f" JOIN {bound.name} t ON {bound.on} JOIN {child} c ON {' AND '.join(on)} GROUP BY 1",
            arrays,
        )
        outcomes: dict[int, Outcome] = {}
        for i, count in rows:
            what = f"{count} {'row' if count == 1 else 'rows'} of {foreign.table}"
            message = f"{what} would be changed with it (ON DELETE {foreign.on_delete.upper()})"
            key = self._writes[some[i - 1]].key
            outcomes[some[i - 1]] = Outcome(Landing.REJECTED, key, message=message, hint="settle those rows first")
        return outcomes


class _Disturbed(Exception):
    """A column that was not written differs from the reading, or the row is archived."""
