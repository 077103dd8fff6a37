"""Rows of the crosswalk. Driver's errors come through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, own, unnest
from config.records import Crosswalk, Gid, Key

COLUMNS = ("entity", "gid", "system", "key")
SAME = "c.entity = s.entity AND c.system = s.system AND c.key = s.key"


class Links:
    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._table = own(prefix, "crosswalk")

    def claim(self, rows: Sequence[Crosswalk]) -> set[Crosswalk]:
        """Write these rows; those that this has brought in. One that stands there already stays as it is. Waits for a
        transaction that is about to write the same."""
        if not rows:
            return set()
        found = self._session.raw(
            f"INSERT INTO {self._table} (entity, gid, system, key) SELECT * FROM {unnest(COLUMNS)}"
            " ON CONFLICT (entity, system, key) DO NOTHING RETURNING entity, gid, system, key",
            _arrays(rows),
        )
        return {Crosswalk(*row) for row in found}

    def cut(self, entity: str, system: str, gids: Iterable[Gid]) -> None:
        """Remove what links these records to this system."""
        self._session.raw(
            f"DELETE FROM {self._table} c USING {unnest(('gid',), 3)}"
            " WHERE c.entity = $1 AND c.system = $2 AND c.gid = s.gid",
            [entity, system, array(list(gids))],
        )

    def take(self, rows: Sequence[Crosswalk]) -> None:
        """Links of rows that we have just written: what stood there of these keys is of rows that are gone."""
        self._session.raw(
            f"INSERT INTO {self._table} (entity, gid, system, key) SELECT * FROM {unnest(COLUMNS)}"
            " ON CONFLICT (entity, system, key) DO UPDATE SET gid = excluded.gid, since = excluded.since",
            _arrays(rows),
        )

    def held(self, entity: str, pairs: Iterable[tuple[str, Key]]) -> dict[tuple[str, Key], Gid]:
        """Who holds these (system, key)."""
        wanted = list(dict.fromkeys(pairs))
        rows = self._session.raw(
            f"SELECT c.system, c.key, c.gid FROM {unnest(('system', 'key'), 2)} JOIN {self._table} c"
            " ON c.entity = $1 AND c.system = s.system AND c.key = s.key",
            [entity, array([system for system, _ in wanted]), array([key for _, key in wanted])],
        )
        return {(system, key): gid for system, key, gid in rows}

    def of(self, entity: str, system: str, gids: Iterable[Gid]) -> list[tuple[Gid, Key]]:
        """The keys of these records in one system."""
        found = self._session.raw(
            f"SELECT c.gid, c.key FROM {unnest(('gid',), 3)} JOIN {self._table} c"
            " ON c.entity = $1 AND c.system = $2 AND c.gid = s.gid ORDER BY c.since",
            [entity, system, array(list(dict.fromkeys(gids)))],
        )
        return [(gid, key) for gid, key in found]

    def move(self, entity: str, system: str, keys: Sequence[tuple[Key, Key]]) -> None:
        """Rows that have got a new key take their links with them: (old, new)."""
        old, new = (array([pair[i] for pair in keys]) for i in (0, 1))
        gone = self._session.raw(
            f"DELETE FROM {self._table} c USING {unnest(('old', 'new'), 3)}"
            " WHERE c.entity = $1 AND c.system = $2 AND c.key = s.old RETURNING c.gid, s.new",
            [entity, system, old, new],
        )
        self.take([Crosswalk(entity, gid, system, key) for gid, key in gone])

    def write(self, rows: Sequence[Crosswalk]) -> list[Crosswalk]:
        """Write rows; those of other records that stand in the way."""
        self.claim(rows)
        found = self._session.raw(
            f"SELECT c.entity, c.gid, c.system, c.key FROM {unnest(COLUMNS)} JOIN {self._table} c"
            f" ON {SAME} AND c.gid <> s.gid",
            _arrays(rows),
        )
        return [Crosswalk(*row) for row in found]

    def remove(self, rows: Iterable[Crosswalk]) -> None:
        """Remove rows; one that is not there, or is another record's, is no error."""
        self._session.raw(
            f"DELETE FROM {self._table} c USING {unnest(COLUMNS)} WHERE {SAME} AND c.gid = s.gid", _arrays(list(rows))
        )


def _arrays(rows: Sequence[Crosswalk]) -> list[str]:
    return [array([row[i] for row in rows]) for i in range(len(COLUMNS))]
