"""Plain records: every link live, every image standing for the version. Read and written without a detour.

What the store kept of one from `read` to `write` is its row: id, the version's blob, the images' entries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from config.records import Key, Raw, Stamp
from state.catalog import Catalog
from state.codec import (
    pack_images,
    pack_pair,
    pack_reasons,
    pack_row,
    unpack_entries,
    unpack_pair,
    unpack_reasons,
    unpack_row,
)
from state.database import Database
from state.ports import Edited, Plain, Version

SLOT = 64  # as in state.reading


def read(
    database: Database, catalog: Catalog, entity: str, system: str, keys: Iterable[Key], others: Sequence[str]
) -> dict[Key, Plain]:
    """By key, those that are plain in all these systems; the rest is missing."""
    number, layout = catalog.entities[entity], catalog.now[entity].id
    names = [system, *others]
    wanted = {catalog.systems[name]: name for name in names}
    joins = "".join(
        f" CROSS JOIN side s{n} ON s{n}.id = r.id * {SLOT} + {catalog.systems[name]} AND s{n}.existence = 'live'"
        f" AND s{n}.speaks = 1"
        for n, name in enumerate(others)
    )
    found: dict[Key, Plain] = {}
    for id, gid, agreed, reasons, images, *linked in database.among(
        f"SELECT r.id, r.gid, r.agreed, r.reasons, r.images, k.key{''.join(f', s{n}.key' for n in range(len(others)))} "
        "FROM json_each(?) j CROSS JOIN side k ON k.entity = ? AND k.system = ? AND k.key = j.value AND k.speaks = 1 "
        f"AND k.existence = 'live' CROSS JOIN record r ON r.id = k.id / {SLOT} AND r.layout = ? "
        f"AND r.agreed IS NOT NULL AND r.images IS NOT NULL AND r.frozen IS NULL AND r.stale IS NULL{joins}",
        keys,
        number,
        catalog.systems[system],
        layout,
    ):
        raws: dict[str, tuple[Raw, ...]] = {}
        seen: dict[str, Stamp] = {}
        entries = unpack_entries(images)
        for at, lay, when, blob, stands in entries:
            name = wanted.get(at)
            if name is not None and stands is None and lay == layout:
                raws[name], seen[name] = unpack_row(blob), when
        if len(raws) == len(names):
            version = Version(*unpack_pair(agreed), *unpack_reasons(reasons))
            memory = (id, agreed, entries)
            found[linked[0]] = Plain(gid, dict(zip(names, linked, strict=True)), version, raws, seen, memory)
    return found


def write(
    database: Database, catalog: Catalog, edits: Iterable[Edited], at: Stamp
) -> tuple[dict[str, int], dict[int, list[tuple[int, Sequence[Any] | None]]]]:
    """Write them. Returns the ids by gid, and by system what to bring back should its transaction not have landed."""
    numbers = catalog.systems
    present = frozenset(catalog.system_names)
    ids: dict[str, int] = {}
    rows: list[tuple[Any, ...]] = []
    undo: dict[int, list[tuple[int, Sequence[Any] | None]]] = defaultdict(list)
    for plain, version, raws, opened in edits:
        id, before, old = plain.memory
        ids[plain.gid] = id
        new = {numbers[system]: row for system, row in raws.items()}
        entries: list[Sequence[Any]] = []
        for entry in old:
            system, layout, when, blob, stands = entry
            row = new.get(system)
            if row is not None:
                entries.append((system, layout, at, pack_row(row), None))
            elif stands is None and system not in present:  # it stands for what was agreed when it still took part
                entries.append((system, layout, when, blob, before))
            else:
                entries.append(entry)
            if opened and catalog.system_names.get(system) in opened:
                undo[system].append((id * SLOT + system, (system, layout, when, blob, before)))
        agreed = pack_pair(version.values, version.stamps)
        rows.append((agreed, pack_reasons(version.origins, version.rules), pack_images(entries), id))
    database.many("UPDATE record SET agreed = ?, reasons = ?, images = ? WHERE id = ?", rows)
    return ids, undo
