"""`Store`: the agent's memory in one SQLite file (state.ports.State).

One writer, WAL, `synchronous=FULL`: what `commit` and `put` wrote survives the loss of power. `settle` does not wait
for the disk: should it be lost, the fence tells again at the next start. Readers open the same file beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from config.records import Gid, Key, Stamp
from state import database, plain, reports
from state.catalog import Catalog
from state.database import Database
from state.plain import Packed
from state.ports import Decided, Edited, Look, MatchRow, Pending, Plain, Record, Review, Stored
from state.reading import SLOT, Reading, uncollected
from state.settling import settle
from state.writing import Writing

Fields = Mapping[str, Sequence[str]]

PENDING = (
    f"SELECT r.gid, p.entity, p.id % {SLOT}, p.reason, p.message, p.since, p.due, p.attempts "
    f"FROM pending p JOIN record r ON r.id = p.id / {SLOT} "
)
REVIEW = (
    "SELECT v.id, v.kind, v.entity, r.gid, v.system, v.key, v.field, v.message, v.hint, v.detail, v.since "
    "FROM review v LEFT JOIN record r ON r.id = v.record "
)


class Store:
    """Implements `State`. Make one with `open` or `scratch`."""

    def __init__(
        self, data: Database, entities: Fields, systems: Sequence[str], refs: Fields | None, readonly: bool
    ) -> None:
        self.database = data
        self.readonly = readonly
        self._names = entities, systems, refs
        if readonly:
            self.catalog = Catalog(data, *self._names, readonly)
        else:
            with data.transaction():
                self.catalog = Catalog(data, *self._names, readonly)
        self._reading = Reading(data, self.catalog)

    @classmethod
    def open(
        cls,
        path: str | Path,
        entities: Fields,
        systems: Sequence[str],
        *,
        refs: Fields | None = None,
        readonly: bool = False,
    ) -> Store:
        """Open the file; a writer makes it (mode 0600), or brings it to the present schema.

        `entities`: field names in the order of `Entity.fields`; `refs`: those that are references (None: as before).
        A writer should hold the `StateLock`. ConfigError: no state file, a newer or a damaged one, a folder that
        cannot be written.
        """
        path = Path(path)
        data = database.readable(path) if readonly else database.writable(path)
        try:
            return cls(data, entities, systems, refs, readonly)
        except BaseException:
            data.close()
            raise

    @classmethod
    def scratch(
        cls, path: str | Path | None, entities: Fields, systems: Sequence[str], *, refs: Fields | None = None
    ) -> Store:
        """A state that is written freely and thrown away: a copy of the file at `path`, or empty if there is none."""
        if path is None or not Path(path).exists():
            return cls(database.scratch(), entities, systems, refs, False)
        with_file = database.readable(Path(path))
        try:
            return cls(with_file.copy(), entities, systems, refs, False)
        finally:
            with_file.close()

    def copy(self) -> Store:
        """The same as it is now, for a dry run: written freely and thrown away when it is closed."""
        return Store(self.database.copy(), *self._names, False)

    def close(self) -> None:
        self.database.close()

    # --- records ------------------------------------------------------------------------------------------------------

    def last_round(self) -> int:
        return self.database.value("SELECT number FROM round") or 0

    def resolve(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Gid]:
        return self._reading.resolve(entity, system, keys)

    def load(self, entity: str, gids: Iterable[Gid]) -> dict[Gid, Record]:
        return self._reading.load(entity, gids)

    def plain(self, entity: str, system: str, keys: Iterable[Key], others: Sequence[str]) -> dict[Key, Plain]:
        with uncollected():
            return plain.read(self.database, self.catalog, entity, system, keys, others)

    def pack(self, edits: Sequence[Edited], at: Stamp) -> Packed:
        with uncollected():
            return plain.pack(self.catalog, edits, at)

    def keys(self, entity: str, system: str, gids: Iterable[Gid]) -> dict[Gid, Key]:
        """Keys of rows that are there: of live records, and of those that are held."""
        entity_id, system_id = self._reading.place(entity, system)
        rows = self.database.among(
            "SELECT r.gid, s.key FROM json_each(?) j CROSS JOIN record r ON r.gid = j.value AND r.entity = ? "
            f"CROSS JOIN side s ON s.id = r.id * {SLOT} + ? WHERE s.speaks = 1 AND s.existence <> 'gone'",
            gids,
            entity_id,
            system_id,
        )
        return dict(rows)

    def children(self, gids: Iterable[Gid]) -> dict[Gid, list[tuple[str, Gid]]]:
        parents = self._reading.ids(gids)
        asked: dict[int, list[Gid]] = defaultdict(list)
        for gid, id in parents.items():
            asked[id].append(gid)
        found: dict[Gid, list[tuple[str, Gid]]] = defaultdict(list)
        for parent, entity, child in self.database.among(
            "SELECT DISTINCT f.parent, r.entity, r.gid FROM json_each(?) j CROSS JOIN ref f ON f.parent = j.value "
            "CROSS JOIN record r ON r.id = f.child ORDER BY f.child",
            asked,
        ):
            if entity in self.catalog.entity_names:
                for gid in asked[parent]:
                    found[gid].append((self.catalog.entity_names[entity], child))
        return dict(found)

    def tomb(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Gid]:
        rows = self.database.among(
            "SELECT t.key, r.gid FROM json_each(?) j CROSS JOIN tomb t "
            "ON t.entity = ? AND t.system = ? AND t.key = j.value CROSS JOIN record r ON r.id = t.record",
            keys,
            *self._reading.place(entity, system),
        )
        return dict(rows)

    def survivor(self, gid: Gid) -> Gid | None:
        """The record that this one was joined with; None: it never was."""
        found: Gid | None = self.database.value(
            "SELECT r.gid FROM alias a JOIN record r ON r.id = a.record WHERE a.gid = ?", (gid,)
        )
        return found

    def walk(self, entity: str, after: Gid | None, limit: int) -> list[Gid]:
        """All records of an entity, in order of gid."""
        rows = self.database.rows(
            "SELECT gid FROM record WHERE gid > ? AND entity = ? ORDER BY gid LIMIT ?",
            (after or "", self.catalog.entities.get(entity, 0), limit),
        )
        return [gid for (gid,) in rows]

    def links(self, entity: str, system: str, after: Key | None, limit: int) -> list[tuple[Key, Gid]]:
        """Keys of rows that should be there: of live records, and of those that are held."""
        return self.database.rows(
            f"SELECT s.key, r.gid FROM side s CROSS JOIN record r ON r.id = s.id / {SLOT} "
            f"WHERE s.entity = ? AND s.system = ? AND s.speaks = 1 AND s.key {_behind(after)} ? "
            "AND s.existence <> 'gone' ORDER BY s.key LIMIT ?",
            (*self._reading.place(entity, system), after or "", limit),
        )

    def stored(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Stored]:
        return self._reading.stored(entity, system, keys)

    # --- match index --------------------------------------------------------------------------------------------------

    def matches(self, entity: str, rule: int, hashes: Iterable[bytes]) -> dict[bytes, list[MatchRow]]:
        found: dict[bytes, list[MatchRow]] = defaultdict(list)
        names = self.catalog.system_names
        for hash, system, key, gid in self.database.among(
            "SELECT m.hash, c.system, c.key, r.gid FROM json_each(?) j "
            "CROSS JOIN match m ON m.entity = ? AND m.rule = ? AND m.hash = unhexed(j.value) "
            "CROSS JOIN candidate c ON c.id = m.candidate "
            "LEFT JOIN side s ON s.entity = c.entity AND s.system = c.system AND s.key = c.key AND s.speaks = 1 "
            f"LEFT JOIN record r ON r.id = s.id / {SLOT} ORDER BY c.system, c.key",
            {hash.hex() for hash in hashes},
            self.catalog.entities.get(entity, 0),
            rule,
        ):
            if system in names:
                found[hash].append(MatchRow(names[system], key, gid))
        return dict(found)

    def unlinked(self, entity: str, after: tuple[str, Key] | None, limit: int) -> list[tuple[str, Key]]:
        found: list[tuple[str, Key]] = []
        for system in sorted(self.catalog.systems):
            if after is not None and system < after[0]:
                continue
            behind = after[1] if after is not None and system == after[0] else None
            rows = self.database.rows(
                f"SELECT c.key FROM candidate c WHERE c.entity = ? AND c.system = ? AND c.key {_behind(behind)} ? "
                "AND NOT EXISTS (SELECT 1 FROM side s WHERE s.entity = c.entity AND s.system = c.system "
                "AND s.key = c.key AND s.speaks = 1) ORDER BY c.key LIMIT ?",
                (*self._reading.place(entity, system), behind or "", limit - len(found)),
            )
            found += [(system, key) for (key,) in rows]
            if len(found) >= limit:
                break
        return found

    # --- what is to be done -------------------------------------------------------------------------------------------

    def due(self, now: Stamp, limit: int, skip: Collection[str] = ()) -> list[Look]:
        """A pending record of which no key outside `skip` is known stays for later too: nobody could read it."""
        skipped = [self.catalog.systems[system] for system in skip if system in self.catalog.systems]
        left_out = to_json(skipped).decode()
        rows = self.database.rows(
            "SELECT entity, system, key, due, reason FROM look "
            "WHERE due <= ? AND system NOT IN (SELECT value FROM json_each(?)) ORDER BY due LIMIT ?",
            (now, left_out, limit),
        )
        waiting = self.database.rows(
            f"SELECT id, due FROM pending WHERE due <= ? AND id % {SLOT} NOT IN (SELECT value FROM json_each(?)) "
            "ORDER BY due LIMIT ?",
            (now, left_out, limit),
        )
        keys = self._reading.keys_of((slot for slot, _ in waiting), skipped)
        rows += [(*keys[slot], due, "retry") for slot, due in waiting if slot in keys]
        entities, systems = self.catalog.entity_names, self.catalog.system_names
        looks = [Look(entities[e], systems[s], *rest) for e, s, *rest in rows if e in entities and s in systems]
        return sorted(looks, key=lambda look: look.due)[:limit]

    def waiting(self, now: Stamp) -> Stamp | None:
        """When the next look or retry becomes due, after `now`."""
        found: Stamp | None = self.database.value(
            "SELECT min(due) FROM (SELECT min(due) AS due FROM look WHERE due > ?1 "
            "UNION ALL SELECT min(due) FROM pending WHERE due > ?1)",
            (now,),
        )
        return found

    def pending(self, entity: str | None = None, gid: Gid | None = None) -> list[Pending]:
        rows = self.database.rows(
            f"{PENDING} WHERE (?1 IS NULL OR p.entity = ?1) AND (?2 IS NULL OR r.gid = ?2) ORDER BY p.since, p.id",
            (self._entity_id(entity), gid),
        )
        entities, systems = self.catalog.entity_names, self.catalog.system_names
        return [
            Pending(gid, entities[e], systems[s], *rest) for gid, e, s, *rest in rows if e in entities and s in systems
        ]

    def position(self, system: str) -> bytes | None:
        found: bytes | None = self.database.value(
            "SELECT value FROM position WHERE system = ?", (self.catalog.systems.get(system, 0),)
        )
        return found

    def unsettled(self) -> dict[str, int]:
        names = self.catalog.system_names
        rows = self.database.rows("SELECT system, round FROM unsettled")
        return {names[system]: round for system, round in rows if system in names}

    # --- what people read ---------------------------------------------------------------------------------------------

    def review(self, id: str) -> Review | None:
        """An open item."""
        found = self._reviews("WHERE v.id = ? AND v.closed IS NULL", (id,))
        return found[0] if found else None

    def reviews(self, entity: str | None = None, gid: Gid | None = None) -> list[Review]:
        """Open items, the oldest first."""
        return self._reviews(
            "WHERE v.closed IS NULL AND (?1 IS NULL OR v.entity = ?1) AND (?2 IS NULL OR r.gid = ?2) "
            "ORDER BY v.since, v.id",
            (self._entity_id(entity), gid),
        )

    def reviews_about(self, rows: Iterable[tuple[str, str, Key]]) -> list[Review]:
        keys: dict[tuple[int, str], list[Key]] = defaultdict(list)
        for entity, system, key in rows:
            keys[self.catalog.entities.get(entity, 0), system].append(key)
        ids: set[str] = set()
        for place, named in keys.items():
            found = self.database.among(
                "SELECT n.review FROM json_each(?) j CROSS JOIN review_row n "
                "ON n.entity = ? AND n.system = ? AND n.key = j.value",
                named,
                *place,
            )
            ids.update(id for (id,) in found)
        open_items = "WHERE v.closed IS NULL AND v.id IN (SELECT value FROM json_each(?)) ORDER BY v.since, v.id"
        return self._reviews(open_items, (to_json(sorted(ids)).decode(),)) if ids else []

    def _reviews(self, where: str, parameters: Sequence[object]) -> list[Review]:
        entities = self.catalog.entity_names
        return [
            Review(id, kind, entities[e], gid, system, key, field, message, hint, from_json(detail), since)
            for id, kind, e, gid, system, key, field, message, hint, detail, since in self.database.rows(
                REVIEW + where, parameters
            )
            if e in entities
        ]

    def journal(
        self,
        entity: str | None = None,
        gid: Gid | None = None,
        limit: int = 100,
        *,
        actions: Sequence[str] = (),
        since: int = 0,
    ) -> list[reports.Entry]:
        """Newest first; only these actions, only rounds after `since`. A joined record's gid gives its survivor's."""
        record = None if gid is None else self._reading.ids([gid]).get(gid, 0)
        return reports.journal(self.database, entity, record, actions, since, limit)

    def last_lines(self, gid: Gid) -> dict[str, reports.Entry]:
        """By field ('' = the record as a whole): the last line of the journal."""
        return reports.last(self.database, self._reading.ids([gid]).get(gid, 0))

    def summary(self, since: int = 0) -> list[reports.Count]:
        """The journal in numbers: lines of rounds after `since`, by entity, action, system and rule."""
        return reports.summary(self.database, since)

    def status(self) -> reports.Status:
        return reports.status(self.database, self.catalog)

    def get(self, name: str) -> str | None:
        found: str | None = self.database.value("SELECT value FROM meta WHERE name = ?", (name,))
        return found

    def _entity_id(self, entity: str | None) -> int | None:
        return None if entity is None else self.catalog.entities.get(entity, 0)

    # --- what writes --------------------------------------------------------------------------------------------------

    def commit(self, decided: Decided) -> None:
        try:
            with uncollected(), self.database.transaction():
                Writing(self.database, self.catalog, self._reading, decided).write()
        finally:
            self._reading.forget()

    def settle(self, system: str, landed: bool, again: bool = False) -> None:
        """Seen by readers at once; may be lost with the power, never without what was written before it."""
        try:
            with self.database.transaction(durable=False):
                if landed and (round := self.unsettled().get(system)) is not None:
                    self.database.rows("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"landed:{system}", str(round)))
                settle(self.database, self._reading, self.catalog.systems[system], landed, again)
        finally:
            self._reading.forget()

    def put(self, name: str, value: str | None) -> None:
        with self.database.transaction():
            if value is None:
                self.database.rows("DELETE FROM meta WHERE name = ?", (name,))
            else:
                self.database.rows("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))


def _behind(key: Key | None) -> str:
    """How keys behind this one compare with it; all keys are behind None, the empty one too."""
    return ">=" if key is None else ">"
