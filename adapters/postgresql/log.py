"""The change log that the triggers write: read, told to the readings, and let go of row by row.

A change is consumed by deleting exactly the rows that were read (I1, I11): order and gaps do not matter, and a
transaction that commits late loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapters.postgresql.bound import Bound
from adapters.postgresql.session import Rows, Session
from adapters.postgresql.sql import array, literal, own, unnest
from config.records import Change, Key, Op, Reading, Stamp

OPS = {"I": Op.INSERT, "U": Op.UPDATE, "D": Op.DELETE}
PREFIX = 200
"""Characters of a key that the index holds: an entry of a btree may not be longer than a third of a page, and a
trigger that fails would make the application's own statement fail (I12)."""
MICROS = "(extract(epoch FROM c.changed_at) * 1000000)::bigint"
PAGES = 8
"""A record that changes often fills many entries: so many pages of them are read for one batch."""
CHAIN = 20
"""A key that was changed so often within one backlog is followed no further."""


Range = list[int]  # first id, count


@dataclass(slots=True)
class Story:
    """What happened to one key, entry by entry."""

    times: dict[int, Stamp] = field(default_factory=dict)
    was: Key | None = None
    reborn: bool = False
    left: int | None = None  # the transaction in which the row that had this key left it

    def leave(self, txn: int) -> None:
        self.left, self.was, self.times = txn, None, {}

    def arrive(self, txn: int, was: Key | None, fields: Sequence[int], stamp: Stamp) -> None:
        self.reborn = self.reborn or (self.left is not None and self.left != txn)
        self.was, self.left = was or self.was, None
        for i in fields:
            self.times[i] = max(stamp, self.times.get(i, stamp))


class Log:
    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self.name = own(prefix, "changes")

    def exists(self) -> bool:
        return bool(self._session.query(f"SELECT to_regclass({literal(self.name)}) IS NOT NULL")[0][0])

    # --- what the readings know of it --------------------------------------------------------------------------------

    def tell(self, bound: Bound, readings: dict[Key, Reading], offset: Stamp) -> None:
        """Add to each reading what the log knows of its key in the snapshot that is open. Driver's errors."""
        fields = {column.name: i for i, column in bound.columns}
        parsed: dict[str | None, list[int]] = {None: list(fields.values())}
        stories: dict[Key, Story] = {}
        for key, op, cols, was, micros, txn in self._entries(bound, list(readings)):
            if cols not in parsed:
                parsed[cols] = [fields[n] for n in json.loads(cols or "[]") if n in fields]
            story = stories.get(key)
            if story is None:
                story = stories[key] = Story()
            if op == "D":
                story.leave(txn)
            else:
                story.arrive(txn, was, parsed[cols], micros - offset)
        for key, story in stories.items():
            was = story.was and self._origin(bound, key, story.was)
            found = readings[key]
            readings[key] = Reading(key, found.raws, found.archived, found.modified, story.times, story.reborn, was)

    def _entries(self, bound: Bound, keys: Sequence[Key]) -> Rows:
        """What others did to these keys, in order."""
        return self._session.raw(
            f"SELECT c.key, c.op::text, to_json(c.cols)::text, c.was, {MICROS}, c.txn FROM {self._of(['k'])}"
            " WHERE NOT c.own ORDER BY c.id",
            [array(keys), bound.tag],
        )

    def _of(self, names: Sequence[str]) -> str:
        """The entries of the keys s.k of the table $2, each key by the index, however full the log is."""
        return (
            f"{unnest(names)} CROSS JOIN LATERAL (SELECT * FROM {self.name} e"
            f" WHERE e.tbl = $2 AND left(e.key, {PREFIX}) = left(s.k, {PREFIX}) AND e.key = s.k OFFSET 0) c"
        )

    def _origin(self, bound: Bound, key: Key, was: Key) -> Key | None:
        """The key that the row had before all the changes of it that wait here. None: the same as now."""
        for _ in range(CHAIN):
            former = [entry[3] for entry in self._entries(bound, [was]) if entry[3] is not None]
            if not former:
                break
            was = str(former[-1])
            if was == key:
                return None
        return was

    # --- consuming ---------------------------------------------------------------------------------------------------

    def changes(self, bounds: Mapping[str, Sequence[Bound]], limit: int) -> tuple[list[Change], list[Range], int, bool]:
        """Up to `limit` distinct records in the order of their first entry, the ids that this covers, the log that they
        are of (one that is made anew counts from 1 again), and whether more is waiting."""
        changes: dict[tuple[str, Key], Change] = {}
        ranges: list[Range] = []
        log = last = 0
        for _ in range(PAGES):
            rows = self._session.query(
                f"SELECT id, tbl, key, op::text, tableoid::bigint FROM {self.name} WHERE id > {last}"
                f" ORDER BY id LIMIT {limit}"
            )
            for last, tag, key, op, log in rows:
                targets = [(bound.entity, key) for bound in bounds.get(tag, ())]
                if len(changes) >= limit and any(target not in changes for target in targets):
                    return list(changes.values()), ranges, log, True
                for target in targets:
                    changes[target] = Change(*target, OPS.get(op, Op.LOOK))
                _extend(ranges, last)
            if len(rows) < limit:
                return list(changes.values()), ranges, log, False
            if 2 * len(changes) > limit:
                break
        return list(changes.values()), ranges, log, True

    def forget(self, ranges: Sequence[Range], log: int) -> None:
        """Delete exactly these entries of that log; those that are gone already are no error."""
        first, count = ("{" + ",".join(str(r[i]) for r in ranges) + "}" for i in (0, 1))
        self._session.query(
            f"DELETE FROM {self.name} c USING unnest($1::bigint[], $2::bigint[]) AS s(first, count)"
            " WHERE c.id >= s.first AND c.id < s.first + s.count AND c.tableoid = $3::oid",
            [first, count, str(log)],
        )


def _extend(ranges: list[Range], id: int) -> None:
    """Ascending ids as [first, count]; a gap is no part of a range: it may still be filled by a late commit."""
    if ranges and id == ranges[-1][0] + ranges[-1][1]:
        ranges[-1][1] += 1
    else:
        ranges.append([id, 1])
