"""Plain records: every link live, every image standing for the version. Read and written without a detour.

What the store kept of one from `read` to `write` is its row: id, the version's blob, the images' entries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from config.records import Gid, Key, Raw, Stamp, Value
from state.catalog import Catalog
from state.codec import (
    pack_images,
    pack_lines,
    pack_pair,
    pack_reasons,
    pack_row,
    pack_texts,
    pack_value,
    unpack_entries,
    unpack_pair,
    unpack_reasons,
    unpack_row,
)
from state.database import Database
from state.ports import Edited, Plain, Version

SLOT = 64  # as in state.reading
_TEXT = {str, bytes, type(None)}  # of these, what is equal is the same


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
        entries, last, row = unpack_entries(images), None, ()
        for at, lay, when, blob, stands in entries:
            name = wanted.get(at)
            if name is not None and stands is None and lay == layout:
                if blob != last:
                    last, row = blob, unpack_row(blob)
                raws[name], seen[name] = row, when
        if len(raws) == len(names):
            values, stamps = unpack_pair(agreed)
            version = Version(values, stamps, *unpack_reasons(reasons))
            memory = (id, agreed, entries)
            found[linked[0]] = Plain(gid, dict(zip(names, linked, strict=True)), version, raws, seen, memory)
    return found


class Packed(NamedTuple):
    """Edited records, encoded: what is left is to write them."""

    ids: dict[Gid, int]
    records: list[tuple[Any, ...]]
    journal: list[tuple[Any, ...]]  # all but the round and its time
    undo: dict[int, list[tuple[int, Sequence[Any] | None]]]  # by system: should its transaction not have landed


def pack(catalog: Catalog, edits: Iterable[Edited], at: Stamp) -> Packed:
    """Encode them. `at`: when they were read."""
    names = catalog.system_names
    packed = Packed({}, [], [], defaultdict(list))
    ids, records, journal, undo = packed
    for entity, plain, version, raws, written in edits:
        id, before, old = plain.memory
        ids[plain.gid] = id
        entries: list[Sequence[Any]] = []
        row, blob, text = None, b"", False
        for entry in old:
            system, layout, _, _, stands = entry
            name = names.get(system)
            new = raws.get(name) if name is not None else None
            if new is not None:
                if not text or new != row:
                    text = _TEXT.issuperset(map(type, new))
                    row, blob = new, pack_texts(new) if text else pack_row(new)
                entries.append((system, layout, at, blob, None))
                if name in written:
                    undo[system].append((id * SLOT + system, (*entry[:4], before)))
            elif name is None and stands is None:  # it stands for what was agreed when it still took part
                entries.append((*entry[:4], before))
            else:
                entries.append(entry)
        values, stamps, origins, rules = version
        agreed, reasons = pack_pair(values, stamps), pack_reasons(origins, rules)
        records.append((agreed, reasons, pack_images(entries), id))
        number, fields = catalog.entities[entity], catalog.now[entity].fields
        for system_name, some in written.items():
            journal += _lines((number, id, "update", system_name), fields, some, plain.version.values, version)
    return packed


def _lines(
    about: tuple[Any, ...], names: Sequence[str], fields: Sequence[int], old: Sequence[Value], new: Version
) -> Iterable[tuple[Any, ...]]:
    """What was written in one system: a row for the fields that were agreed by the same rule, from the same edit."""
    values, stamps, origins, rules = new
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i in fields:
        groups.setdefault((rules[i], origins[i], stamps[i], ""), []).append(i)
    lines = []
    for why, (i, *others) in groups.items():
        more = pack_lines([(names[n], old[n], values[n]) for n in others]) if others else None
        lines.append((*about, names[i], pack_value(old[i]), pack_value(values[i]), *why, len(others), more))
    return lines


def write(database: Database, packed: Packed) -> None:
    database.many("UPDATE record SET agreed = ?, reasons = ?, images = ? WHERE id = ?", packed.records)
