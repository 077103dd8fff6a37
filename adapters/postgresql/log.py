"""The change log that the triggers write: read, told to the readings, and let go of row by row.

A change is consumed by deleting exactly the rows that were read (I1, I11): order and gaps do not matter, and a
transaction that commits late loses nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adapters.keys import newest
from adapters.postgresql.bound import Bound
from adapters.postgresql.floor import Floor, Look, look
from adapters.postgresql.room import Room
from adapters.postgresql.session import Rows, Session
from adapters.postgresql.sql import array, literal, own, unnest
from adapters.rows import ENTRY
from config.records import Change, Key, Op, Reading, Stamp

OPS = {"I": Op.INSERT, "U": Op.UPDATE, "D": Op.DELETE}
PREFIX = 200
"""Characters of a key that the index holds: an entry of a btree may not be longer than a third of a page, and a
trigger that fails would make the application's own statement fail (I12)."""
MICROS = "(extract(epoch FROM c.changed_at) * 1000000)::bigint"
PAGES = 8
"""A record that changes often fills many entries: so many pages of them are read for one batch."""
SOME = 20_000
"""Entries that are let go of in one statement."""
PATIENCE = 5.0
"""Seconds after which other work has its turn, when a backlog is let go of."""
CHAIN = 20
"""A key that was changed so often within one backlog is followed no further."""


Range = list[int]  # first id, count
EMPTIED = "T"
"""The operation of an entry that speaks of a whole table: it was emptied by TRUNCATE."""


class Found(NamedTuple):
    """What a poll has found."""

    changes: list[Change]
    emptied: list[str]  # entities
    ranges: list[Range]  # the ids that this covers
    log: int  # that they are of: one that is made anew counts from 1 again
    more: bool


@dataclass(slots=True)
class Story:
    """What happened to one key, entry by entry."""

    times: dict[int, Stamp] = field(default_factory=dict)
    was: tuple[Key, int] | None = None  # the key before, and the entry that says so
    reborn: bool = False
    left: int | None = None  # the transaction in which the row that had this key left it

    def leave(self, txn: int) -> None:
        self.left, self.was, self.times = txn, None, {}

    def arrive(self, txn: int, was: tuple[Key, int] | None, fields: Sequence[int], stamp: Stamp) -> None:
        self.reborn = self.reborn or (self.left is not None and self.left != txn)
        self.was, self.left = was or self.was, None
        for i in fields:
            self.times[i] = max(stamp, self.times.get(i, stamp))


class Log:
    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self.name = own(prefix, "changes")
        self._floor = Floor()
        self._room = Room(session, prefix)

    def exists(self) -> bool:
        return bool(self._session.query(f"SELECT to_regclass({literal(self.name)}) IS NOT NULL")[0][0])

    def waiting(self) -> str:
        """SQL: are there entries? May be asked by any thread, through a connection of its own."""
        # By the index: a scan would walk over all that is not vacuumed yet.
        return f"(SELECT id FROM {self.name} WHERE id > {self._floor.id} ORDER BY id LIMIT 1) IS NOT NULL"

    # --- what the readings know of it --------------------------------------------------------------------------------

    def tell(self, bound: Bound, readings: dict[Key, Reading], offset: Stamp) -> None:
        """Add to each reading what the log knows of its key in the snapshot that is open. Driver's errors."""
        fields = {column.name: i for i, column in bound.columns}
        parsed: dict[str | None, list[int]] = {None: list(fields.values())}
        stories: dict[Key, Story] = {}
        for key, op, cols, was, micros, txn, id in self._entries(bound, list(readings)):
            if cols not in parsed:
                parsed[cols] = [fields[n] for n in json.loads(cols or "[]") if n in fields]
            story = stories.get(key)
            if story is None:
                story = stories[key] = Story()
            if op == "D":
                story.leave(txn)
            else:
                story.arrive(txn, was and (was, id), parsed[cols], micros - offset)
        origins = self._origins(bound, {key: story.was for key, story in stories.items() if story.was is not None})
        for key, story in stories.items():
            origin = origins.get(key)
            same = origin == key  # it had another key for a while
            was, reborn = None if same else origin, story.reborn and not same
            found = readings[key]
            readings[key] = Reading(key, found.raws, found.archived, found.modified, story.times, reborn, was)

    def _entries(self, bound: Bound, keys: Sequence[Key]) -> Rows:
        """What others did to these keys, in order."""
        return self._session.raw(
            f"SELECT c.key, c.op::text, to_json(c.cols)::text, c.was, {MICROS}, c.txn, c.id FROM {self._of(['k'])}"
            " WHERE NOT c.own ORDER BY c.id",
            [array(keys), bound.tag],
        )

    def _of(self, names: Sequence[str]) -> str:
        """The entries of the keys s.k of the table $2, each key by the index, however full the log is."""
        return (
            f"{unnest(names)} CROSS JOIN LATERAL (SELECT * FROM {self.name} e"
            f" WHERE e.tbl = $2 AND left(e.key, {PREFIX}) = left(s.k, {PREFIX}) AND e.key = s.k OFFSET 0) c"
        )

    def _origins(self, bound: Bound, moved: dict[Key, tuple[Key, int]]) -> dict[Key, Key]:
        """The key that each row had before all its changes of key that wait here. `moved`: the key before the last
        change, and the entry that says so. A row that was made under a key that waits here too is missing."""
        found: dict[Key, Key] = {}
        for _ in range(CHAIN):
            if not moved:
                break
            entries: dict[Key, list[tuple[Any, ...]]] = {}
            for entry in self._entries(bound, list({was for was, _ in moved.values()})):
                entries.setdefault(entry[0], []).append(entry)
            further: dict[Key, tuple[Key, int]] = {}
            for key, (was, id) in moved.items():
                earlier = [e for e in entries.get(was, ()) if e[6] < id]
                arrivals = [e for e in earlier if e[1] == "I" or e[3] is not None]
                if not arrivals:
                    found[key] = was
                    continue
                _, _, _, former, _, txn, arrived = arrivals[-1]
                if former is not None:
                    further[key] = (former, arrived)
                elif any(e[1] == "D" and e[5] == txn and e[6] < arrived for e in earlier):
                    further[key] = (was, arrived)  # deleted and inserted by one transaction: the same row
            moved = further
        return found

    def moved(self, bound: Bound, keys: Sequence[Key]) -> dict[Key, Key]:
        """Old key -> newest key, from all key changes that the log holds (there are few)."""
        entries = self._session.query(
            f"SELECT was, key FROM {self.name} WHERE tbl = $1 AND was IS NOT NULL ORDER BY id", [bound.tag]
        )
        return newest(entries, keys)

    # --- consuming ---------------------------------------------------------------------------------------------------

    def changes(self, bounds: Mapping[str, Sequence[Bound]], limit: int) -> Found:
        """Up to `limit` distinct records in the order of their first entry."""
        changes: dict[tuple[str, Key], Change] = {}
        ranges: list[Range] = []
        emptied: dict[str, None] = {}
        last = 0
        seen, rows = self._first(limit)
        for page in range(PAGES):
            if page:
                rows = self._session.query(self._page(last, limit))
            for last, tag, key, op, _ in rows:
                entities = [bound.entity for bound in bounds.get(tag, ())]
                if op == EMPTIED:
                    emptied.update(dict.fromkeys(entities))
                targets = [] if op == EMPTIED else [(entity, key) for entity in entities]
                if len(changes) >= limit and any(target not in changes for target in targets):
                    return Found(list(changes.values()), list(emptied), ranges, seen.log, True)
                for target in targets:
                    changes[target] = Change(*target, OPS.get(op, Op.LOOK))
                _extend(ranges, last)
            if len(rows) < limit:
                return Found(list(changes.values()), list(emptied), ranges, seen.log, False)
            if 2 * len(changes) > limit:
                break
        return Found(list(changes.values()), list(emptied), ranges, seen.log, True)

    def _page(self, after: int, limit: int) -> str:
        return f"SELECT id, tbl, key, op::text, 0::bigint FROM {self.name} WHERE id > {after} ORDER BY id LIMIT {limit}"

    def _first(self, limit: int) -> tuple[Look, Rows]:
        """The first entries, from the floor on, which rises by what is seen."""
        floor, before = self._floor, self._floor.id
        seen, rows = self._from(before, limit)
        if not floor.holds(seen) and before:
            seen, rows = self._from(0, limit)
            floor.holds(seen)
        floor.rise(seen, rows[0][0] if rows else None, rows[-1][0] if rows else 0)
        if floor.wants_mark(seen):
            floor.mark(int(self._session.query("SELECT txid_current()")[0][0]))
        elif floor.is_high and not rows:
            self._room.give_back(floor.id)
        return seen, rows

    def _from(self, after: int, limit: int) -> tuple[Look, Rows]:
        """In one statement, and so in one snapshot."""
        found = self._session.query(f"{look(self.name)} UNION ALL ({self._page(after, limit)})")
        return Look(*next(row for row in found if row[4])), sorted(row for row in found if not row[4])

    def forget(self, ranges: Sequence[Range], log: int) -> None:
        """Delete exactly these entries of that log; those that are gone already are no error."""
        first, count = ("{" + ",".join(str(r[i]) for r in ranges) + "}" for i in (0, 1))
        self._session.query(
            f"DELETE FROM {self.name} c USING unnest($1::bigint[], $2::bigint[]) AS s(first, count)"
            " WHERE c.id >= s.first AND c.id < s.first + s.count AND c.tableoid = $3::oid",
            [first, count, str(log)],
        )

    # --- room --------------------------------------------------------------------------------------------------------

    def backlog(self) -> int:
        """Bytes that waiting entries take, about: as many as there are ids from the first to the last."""
        end = f"(SELECT id FROM {self.name} WHERE id > {self._floor.id} ORDER BY id {{}} LIMIT 1)"
        return ENTRY * int(
            self._session.query(f"SELECT coalesce({end.format('DESC')} - {end.format('')} + 1, 0)")[0][0]
        )

    def let_go(self) -> bool:
        """By emptying the log, if nobody has to wait for that; else by deleting, some entries at a time."""
        end = time.monotonic() + PATIENCE
        if self._room.empty():
            return True
        while time.monotonic() < end:
            some = f"SELECT id FROM {self.name} WHERE id > {self._floor.id} ORDER BY id LIMIT {SOME}"
            if not self._session.query(f"DELETE FROM {self.name} WHERE id = ANY (ARRAY({some})) RETURNING 1"):
                return True
        return False


def _extend(ranges: list[Range], id: int) -> None:
    """Ascending ids as [first, count]; a gap is no part of a range: it may still be filled by a late commit."""
    if ranges and id == ranges[-1][0] + ranges[-1][1]:
        ranges[-1][1] += 1
    else:
        ranges.append([id, 1])
