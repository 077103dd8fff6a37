"""Whole records out of the file, and what is remembered of them until the round's commit.

What was loaded is kept (*known*), so that `commit` writes only what the round changed: a version or image that is
still the same object is not encoded again.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from config.records import Gid, Key, Stamp
from state.catalog import NEVER, Catalog
from state.codec import (
    Entry,
    unpack_entries,
    unpack_frozen,
    unpack_images,
    unpack_pair,
    unpack_reasons,
    unpack_row,
    unpack_stale,
)
from state.database import Database
from state.ports import Image, Link, Record, Stored, Version

SLOT = 64  # slots per record; a system's id is the rest
MOST_KNOWN = 50_000  # records: some 100 MB; beyond that a commit writes whole records again


class Known(NamedTuple):
    """A record as the file has it."""

    id: int
    entity: str
    version: Version | None
    agreed: bytes | None  # the version encoded; None: not in the layout of today
    layout: int
    stored: bytes | None  # the version encoded, in that layout
    reasons: bytes | None
    links: dict[str, Link]
    images: dict[str, Image]
    entries: dict[str, Entry]  # the images encoded; each stands for what it says itself
    others: list[Entry]  # of systems that do not take part any more
    frozen: bytes | None
    stale: bytes | None
    revived: Stamp | None


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector: it takes half of the time that many new records take, and finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Reading:
    """Loads records and answers by which id a gid goes."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self.database = database
        self.catalog = catalog
        self.known: dict[Gid, Known] = {}

    def load(self, entity: str, gids: Iterable[Gid]) -> dict[Gid, Record]:
        with uncollected():
            return self._load(entity, gids)

    def _load(self, entity: str, gids: Iterable[Gid]) -> dict[Gid, Record]:
        rows = self.database.among(
            "SELECT r.id, r.gid, r.layout, r.agreed, r.reasons, r.images, r.frozen, r.stale, r.revived "
            "FROM json_each(?) j CROSS JOIN record r ON r.gid = j.value AND r.entity = ?",
            gids,
            self.catalog.entities.get(entity, 0),
        )
        if len(self.known) + len(rows) > MOST_KNOWN:
            self.known.clear()
        found: dict[int, Record] = {}
        for id, gid, layout, agreed, reasons, images, frozen, stale, revived in rows:
            version = None if agreed is None else self._version(layout, agreed, reasons)
            record = Record(gid, entity, {}, version, {}, unpack_frozen(frozen), unpack_stale(stale), revived)
            usable = agreed if self.catalog.layouts[layout].places is None else None
            known = Known(id, entity, version, usable, layout, agreed, reasons, {}, {}, {}, [], frozen, stale, revived)
            if images is not None:
                self._images(record, known, images)
            found[id], self.known[gid] = record, known
        self._links(found)
        return {record.gid: record for record in found.values()}

    def _version(self, layout: int, agreed: bytes, reasons: bytes) -> Version:
        values, stamps = unpack_pair(agreed)
        origins, rules = unpack_reasons(reasons)
        lay = self.catalog.layouts[layout]
        if lay.places is None:
            return Version(values, stamps, origins, rules)
        return Version(lay.mapped(values, None), lay.mapped(stamps, 0), lay.mapped(origins, ""), lay.mapped(rules, ""))

    def _images(self, record: Record, known: Known, images: bytes) -> None:
        names, layouts, version = self.catalog.system_names, self.catalog.layouts, record.version
        for entry in unpack_images(images):
            stands = entry.stands
            whole = entry if stands is not None else entry._replace(stands=known.stored)
            name = names.get(entry.system)
            if name is None:
                known.others.append(whole)
                continue
            lay = layouts[entry.layout]
            if version is not None and (stands is None or (stands == known.agreed and lay.places is None)):
                values, stamps = version.values, version.stamps
                raws = unpack_row(entry.raws)
                image = Image(raws if lay.places is None else lay.mapped(raws, None), values, stamps, entry.seen)
                if lay.places is not None:  # fields that the old layout has not were never seen
                    seen = tuple(NEVER if at is None else s for at, s in zip(lay.places, stamps, strict=True))
                    image = image._replace(stamps=seen)
            else:
                values, stamps = unpack_pair(whole.stands or b"")
                image = Image(unpack_row(entry.raws), values, stamps, entry.seen)
                if lay.places is not None:
                    image = Image(
                        lay.mapped(image.raws, None), lay.mapped(values, None), lay.mapped(stamps, NEVER), entry.seen
                    )
            known.entries[name] = whole
            known.images[name] = record.images[name] = image

    def _links(self, found: dict[int, Record]) -> None:
        """Links of the records, all systems at once."""
        names, known = self.catalog.system_names, self.known
        for id, key, existence, settled, archived in self.database.among(
            "SELECT s.id, s.key, s.existence, s.settled, s.archived "
            f"FROM json_each(?) j CROSS JOIN side s ON s.id BETWEEN j.value * {SLOT} AND j.value * {SLOT} + {SLOT - 1}",
            found,
        ):
            name = names.get(id % SLOT)
            if name is not None:  # None: a system that does not take part any more
                record = found[id // SLOT]
                link = Link(key, existence, settled == 1, archived == 1)
                known[record.gid].links[name] = record.links[name] = link

    def forget(self) -> None:
        """The file has moved on."""
        self.known.clear()

    def ids(self, gids: Iterable[Gid]) -> dict[Gid, int]:
        """The ids of records that the file has, a joined one's survivor included."""
        wanted = set(gids)
        ids = {gid: known.id for gid in wanted if (known := self.known.get(gid)) is not None}
        for sql in (
            "SELECT r.gid, r.id FROM json_each(?) j CROSS JOIN record r ON r.gid = j.value",
            "SELECT a.gid, a.record FROM json_each(?) j CROSS JOIN alias a ON a.gid = j.value",
        ):
            if missing := wanted - ids.keys():
                ids.update(self.database.among(sql, missing))
        return ids

    def resolve(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Gid]:
        return dict(
            self.database.among(
                "SELECT s.key, r.gid FROM json_each(?) j CROSS JOIN side s "
                "ON s.entity = ? AND s.system = ? AND s.key = j.value AND s.speaks = 1 "
                f"CROSS JOIN record r ON r.id = s.id / {SLOT}",
                keys,
                *self.place(entity, system),
            )
        )

    def stored(self, entity: str, system: str, keys: Iterable[Key]) -> dict[Key, Stored]:
        current = {id for id, layout in self.catalog.layouts.items() if layout.places is None}
        place = self.place(entity, system)
        found: dict[Key, Stored] = {}
        for key, existence, settled, archived, images in self.database.among(
            "SELECT s.key, s.existence, s.settled, s.archived, r.images FROM json_each(?) j CROSS JOIN side s "
            "ON s.entity = ? AND s.system = ? AND s.key = j.value AND s.speaks = 1 "
            f"CROSS JOIN record r ON r.id = s.id / {SLOT}",
            keys,
            *place,
        ):
            blobs = (blob for at, layout, _, blob, _ in unpack_entries(images) if at == place[1] and layout in current)
            raws = next(map(unpack_row, blobs), None)
            found[key] = Stored(existence, settled == 1, archived == 1, raws)
        return found

    def keys_of(self, slots: Iterable[int], avoid: Collection[int] = ()) -> dict[int, tuple[int, int, Key]]:
        """By slot: (entity, system, key) by which its record can be looked at, best not in the slot's own system."""
        best: dict[int, tuple[Any, ...]] = {}
        for slot, id, entity, system, key, existence in self.database.among(
            "SELECT j.value, s.id, s.entity, s.system, s.key, s.existence FROM json_each(?) j CROSS JOIN side s "
            f"ON s.id BETWEEN j.value / {SLOT} * {SLOT} AND j.value / {SLOT} * {SLOT} + {SLOT - 1} AND s.speaks = 1",
            slots,
        ):
            if system not in avoid:
                choice = (existence == "gone", id == slot, id, entity, system, key)
                best[slot] = min(best.get(slot, choice), choice)
        return {slot: choice[3:] for slot, choice in best.items()}

    def place(self, entity: str, system: str) -> tuple[int, int]:
        return self.catalog.entities.get(entity, 0), self.catalog.systems.get(system, 0)
