"""The change log that the triggers write: read, told to the readings, and let go of row by row.

A change is consumed by deleting exactly the rows that were read (I1, I11): order and gaps do not matter, and a
transaction that commits late loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from adapters.postgresql.bound import Bound
from adapters.postgresql.session import Rows, Session
from adapters.postgresql.sql import array, literal, qualified, unnest
from config.records import Change, Key, Op, Reading, Stamp

OPS = {"I": Op.INSERT, "U": Op.UPDATE, "D": Op.DELETE}
PREFIX = 200
"""Characters of a key that the index holds: an entry of a btree may not be longer than a third of a page, and a
trigger that fails would make the application's own statement fail (I12)."""
MICROS = "(extract(epoch FROM c.changed_at) * 1000000)::bigint"
CHAIN = 20
"""A key that was changed so often within one backlog is followed no further."""


class Log:
    def __init__(self, session: Session, schema: str) -> None:
        self._session = session
        self.name = qualified(schema, "accord_changes")

    def exists(self) -> bool:
        return bool(self._session.query(f"SELECT to_regclass({literal(self.name)}) IS NOT NULL")[0][0])

    # --- what the readings know of it --------------------------------------------------------------------------------

    def tell(self, bound: Bound, readings: dict[Key, Reading], offset: Stamp) -> None:
        """Add to each reading what the log knows of its key in the snapshot that is open. Driver's errors."""
        fields = {column.name: i for i, column in bound.columns}
        parsed: dict[str | None, list[int]] = {None: list(fields.values())}
        story: dict[Key, list[tuple[str, str | None, str | None, int, int]]] = {}
        for key, *entry in self._entries(bound, list(readings)):
            story.setdefault(key, []).append((entry[0], entry[1], entry[2], entry[3], entry[4]))
        for key, entries in story.items():
            times: dict[int, Stamp] = {}
            left = was = None  # the transaction in which the row that had this key before left it
            reborn = False
            for op, cols, former, micros, txn in entries:
                if op == "D":
                    left, was, times = txn, None, {}
                    continue
                reborn = reborn or (left is not None and left != txn)
                was, left = former or was, None
                if cols not in parsed:
                    parsed[cols] = [fields[n] for n in json.loads(cols or "[]") if n in fields]
                for i in parsed[cols]:
                    times[i] = max(micros - offset, times.get(i, micros - offset))
            former = was and self._origin(bound, key, was)
            readings[key] = readings[key]._replace(times=times, reborn=reborn, was=former)

    def _entries(self, bound: Bound, keys: Sequence[Key]) -> Rows:
        """What others did to these keys, in order."""
        return self._session.raw(
            f"SELECT c.key, c.op::text, to_json(c.cols)::text, c.was, {MICROS}, c.txn FROM {unnest(['k'])}"
            f" JOIN {self.name} c ON c.tbl = $2 AND left(c.key, {PREFIX}) = left(s.k, {PREFIX}) AND c.key = s.k"
            " WHERE NOT c.own ORDER BY c.id",
            [array(keys), bound.tag],
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

    def changes(
        self, bounds: Mapping[str, Sequence[Bound]], limit: int, normal: Callable[[Bound, Key], Key]
    ) -> tuple[list[Change], list[int], int, bool]:
        """Up to `limit` distinct records in the order of their first entry, the ids that this covers, the log that
        they are of (one that is made anew counts from 1 again), and whether more is waiting."""
        window = 2 * limit  # entries looked at: a record that changes often takes several
        rows = self._session.query(
            f"""WITH head AS (SELECT id, tbl, key, op, tableoid AS log FROM {self.name} ORDER BY id LIMIT {window})
            SELECT tbl, key, (array_agg(op::text ORDER BY id DESC))[1], array_agg(id), log::bigint,
                   sum(count(*)) OVER ()
            FROM head GROUP BY tbl, key, log ORDER BY min(id) LIMIT {limit + 1}"""
        )
        more = len(rows) > limit or (bool(rows) and int(rows[0][5]) >= window)
        changes: dict[tuple[str, Key], Change] = {}
        ids: list[int] = []
        for tag, key, op, some, _, _ in rows[:limit]:
            ids += some
            for bound in bounds.get(tag, ()):
                spelled = normal(bound, key)
                changes[bound.entity, spelled] = Change(bound.entity, spelled, OPS.get(op, Op.LOOK))
        return list(changes.values()), sorted(ids), int(rows[0][4]) if rows else 0, more

    def forget(self, ids: Sequence[int], log: int) -> None:
        """Delete exactly these entries of that log; those that are gone already are no error."""
        self._session.query(
            f"DELETE FROM {self.name} WHERE id = ANY($1::bigint[]) AND tableoid = $2::oid",
            ["{" + ",".join(map(str, ids)) + "}", str(log)],
        )
