"""The match index: rows of the systems, linked or not, by the hash of their match values."""

from __future__ import annotations

from collections import defaultdict

from config.records import Key
from state.catalog import Catalog
from state.codec import pack_row, unpack_row
from state.database import Database
from state.ports import Decided


def index(database: Database, catalog: Catalog, decided: Decided) -> None:
    """Bring the match index up to what the round saw."""
    by_place: dict[tuple[int, int], dict[Key, bytes | None]] = defaultdict(dict)
    for entity, system, key, hashes in decided.matches:
        by_place[catalog.entities[entity], catalog.systems[system]][key] = pack_row(hashes)
    for entity, system, key in decided.unmatched:
        by_place[catalog.entities[entity], catalog.systems[system]][key] = None
    free = int(database.value("SELECT coalesce(max(id), 0) + 1 FROM candidate")) if by_place else 0
    for place, wanted in by_place.items():
        free = _index(database, place, wanted, free)


def _index(database: Database, place: tuple[int, int], wanted: dict[Key, bytes | None], free: int) -> int:
    """Rows of one table: only those whose match values changed are touched."""
    have = {
        key: (id, hashes)
        for key, id, hashes in database.among(
            "SELECT c.key, c.id, c.hashes FROM json_each(?) j CROSS JOIN candidate c "
            "ON c.entity = ? AND c.system = ? AND c.key = j.value",
            wanted,
            *place,
        )
    }
    old, new, gone, added, changed = [], [], [], [], []
    for key, blob in wanted.items():
        id, had = have.get(key, (None, None))
        if blob == had:
            continue
        if id is not None and had is not None:
            old += _entries(place[0], had, id)
        if blob is None:
            gone.append((id,))
            continue
        if id is None:
            id, free = free, free + 1
            added.append((id, *place, key, blob))
        else:
            changed.append((blob, id))
        new += _entries(place[0], blob, id)
    many = database.many
    many("DELETE FROM match WHERE entity = ? AND rule = ? AND hash = ? AND candidate = ?", old)
    many("DELETE FROM candidate WHERE id = ?", gone)
    many("INSERT INTO candidate (id, entity, system, key, hashes) VALUES (?, ?, ?, ?, ?)", added)
    many("UPDATE candidate SET hashes = ? WHERE id = ?", changed)
    many("INSERT INTO match (entity, rule, hash, candidate) VALUES (?, ?, ?, ?)", new)
    return free


def _entries(entity: int, hashes: bytes, candidate: int) -> list[tuple[int, int, bytes, int]]:
    return [(entity, rule, hash, candidate) for rule, hash in enumerate(unpack_row(hashes)) if hash is not None]
