"""One round becomes durable: everything in a `Decided`, in one transaction, a few statements per kind of thing.

Runs inside the store's transaction; on any error the caller rolls back and nothing has happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any

from msgspec.json import encode as to_json

from config.records import Gid, Key, Stamp
from state import plain
from state.catalog import Catalog
from state.codec import (
    Entry,
    pack_frozen,
    pack_images,
    pack_pair,
    pack_reasons,
    pack_row,
    pack_stale,
    pack_undo,
    pack_value,
    replaced,
    unpack_images,
)
from state.database import Database
from state.matching import index
from state.ports import Decided, Image, Link, Prepared, Record, Review, Version
from state.reading import SLOT, Known, Reading
from state.settling import NO_IMAGE, UPSERT_SIDE

LINE = (
    "INSERT INTO journal (round, at, entity, record, action, system, field, before, after, rule, origin, changed_at, "
    "note, extra, more) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Writing:
    """Writes one Decided."""

    def __init__(self, database: Database, catalog: Catalog, reading: Reading, decided: Decided) -> None:
        self.database = database
        self.catalog = catalog
        self.reading = reading
        self.decided = decided
        self.at = decided.at
        self.ids: dict[Gid, int] = {}
        self.new: list[Gid] = []  # records that the file has not
        self.agreed: dict[Gid, tuple[Version, bytes]] = {}  # encoded in this commit; images are often equal to it
        self.tombs: list[tuple[int, int, Key, int, Stamp]] = []
        self.waiting: list[Prepared] = []  # links that open transactions make or change
        self.landing: dict[tuple[Gid, str], Image] = {}  # images of open updates, written at once
        self.undo: dict[int, list[tuple[int, Sequence[Any] | None]]] = defaultdict(list)  # by system: what they were

    def write(self) -> None:
        losers = {loser for loser, _ in self.decided.merged}
        records = [record for record in self.decided.records if record.gid not in losers]
        edited: dict[Gid, int] = {}
        for packed in self.decided.edited:
            plain.write(self.database, packed)
            edited |= packed.ids
            for system, rows in packed.undo.items():
                self.undo[system] += rows
        self._identify(records, edited)
        self._land_at_once(records)
        self._merge()
        self._bury()
        self._records(records)
        self._refs(records)
        self._prepare()
        self._journal()
        self._reviews()
        self._pending()
        self._looks()
        index(self.database, self.catalog, self.decided)
        self._rest()

    # --- identity -----------------------------------------------------------------------------------------------------

    def _identify(self, records: Sequence[Record], edited: dict[Gid, int]) -> None:
        """Ids for every gid that is spoken of; new records get theirs here. `edited`: ids that are known already."""
        d = self.decided
        named: set[Gid] = {record.gid for record in records}
        named.update(p.gid for p in d.prepared)
        named.update(line.gid for line in d.journal if line.gid)
        named.update(r.gid for r in d.reviews if r.gid)
        named.update(p.gid for p in d.pending)
        named.update(gid for gid, _ in d.unpended)
        named.update(gid for *_, gid in d.tombs)
        named.update(gid for pair in d.merged for gid in pair)
        named.update(self._parents(records))
        self.ids = self.reading.ids(named - edited.keys()) | edited
        self.new = [record.gid for record in records if record.gid not in self.ids]
        first = int(self.database.value("SELECT coalesce(max(id), 0) + 1 FROM record"))
        self.ids.update((gid, first + place) for place, gid in enumerate(self.new))

    def _parents(self, records: Iterable[Record]) -> Iterable[Gid]:
        for record in records:
            if self.catalog.now[record.entity].refs:
                yield from self._ref_values(record).values()

    def _ref_values(self, record: Record) -> dict[str, Gid]:
        layout = self.catalog.now[record.entity]
        if not layout.refs or record.version is None:
            return {}
        pairs = ((name, record.version.values[layout.fields.index(name)]) for name in layout.refs)
        return {name: value for name, value in pairs if isinstance(value, str) and value}

    def _id(self, gid: Gid, what: str) -> int:
        try:
            return self.ids[gid]
        except KeyError:
            raise ValueError(
                f"{what} speaks of record {gid}, which is neither in the state nor in this round"
            ) from None

    def _merge(self) -> None:
        """The same record after all: the survivor gets all that the loser had; a key too many becomes a tomb."""
        run = self.database.rows
        for loser, survivor in self.decided.merged:
            heir = self._id(survivor, "a merge")
            gone = self.ids.get(loser)
            self.reading.known.pop(survivor, None)
            self.reading.known.pop(loser, None)
            run("INSERT OR REPLACE INTO alias (gid, record, at) VALUES (?, ?, ?)", (loser, heir, self.at))
            self.ids[loser] = heir
            if gone is None or gone == heir:
                continue
            span = (gone * SLOT, gone * SLOT + SLOT - 1)
            shift = (heir - gone) * SLOT
            run(
                "INSERT OR REPLACE INTO tomb SELECT entity, system, key, ?, ? FROM side s WHERE s.id BETWEEN ? AND ? "
                "AND s.speaks = 1 AND EXISTS (SELECT 1 FROM side o WHERE o.id = s.id + ?)",
                (heir, self.at, *span, shift),
            )
            self._inherit(gone, heir)
            for table in ("side", "prepared", "pending"):
                run(f"UPDATE OR IGNORE {table} SET id = id + ? WHERE id BETWEEN ? AND ?", (shift, *span))
                run(f"DELETE FROM {table} WHERE id BETWEEN ? AND ?", span)
            for table in ("tomb", "journal", "review", "alias"):
                run(f"UPDATE {table} SET record = ? WHERE record = ?", (heir, gone))
            run("UPDATE ref SET parent = ? WHERE parent = ?", (heir, gone))
            run("DELETE FROM ref WHERE child = ?", (gone,))
            run("DELETE FROM record WHERE id = ?", (gone,))
            self.ids = {gid: heir if id == gone else id for gid, id in self.ids.items()}

    def _inherit(self, gone: int, heir: int) -> None:
        """Images of systems in which only the loser has a row go over to the survivor with it."""
        rows = {
            id: (layout, agreed, images)
            for id, layout, agreed, images in self.database.rows(
                "SELECT id, layout, agreed, images FROM record WHERE id IN (?, ?)", (gone, heir)
            )
        }
        linked = {id % SLOT for (id,) in self.database.rows(
            "SELECT id FROM side WHERE id BETWEEN ? AND ?", (heir * SLOT, heir * SLOT + SLOT - 1)
        )}  # fmt: skip
        layout, agreed, images = rows[heir]
        for entry in unpack_images(rows[gone][2]):
            if entry.system not in linked:
                whole = entry if entry.stands is not None else entry._replace(stands=rows[gone][1])
                images = replaced(images, entry.system, whole, layout, agreed)
        self.database.rows("UPDATE record SET images = ? WHERE id = ?", (images, heir))

    def _bury(self) -> None:
        """Keys that speak for nobody any more: their links end here, whoever holds them still."""
        for entity, system, key, gid in self.decided.tombs:
            place = self.reading.place(entity, system)
            id = self._id(gid, "a tomb")
            self.tombs.append((*place, key, id, self.at))
            self.database.rows("DELETE FROM side WHERE id = ? AND key = ?", (id * SLOT + place[1], key))
            known = self.reading.known.get(gid)
            if known is not None and (link := known.links.get(system)) is not None and link.key == key:
                del known.links[system]

    # --- records ------------------------------------------------------------------------------------------------------

    def _records(self, records: Sequence[Record]) -> None:
        rows: list[tuple[Any, ...]] = []
        sides: list[list[Any]] = []
        removed: list[tuple[int]] = []
        new = set(self.new)
        added: list[tuple[Any, ...]] = []
        before = self._before([record for record in records if record.gid not in new])
        for record in records:
            known = before.get(record.gid)
            if (row := self._row(record, known)) is None:
                pass
            elif known is None:
                added.append((*row, record.gid, self.catalog.entities[record.entity]))
            else:
                rows.append(row)
            self._side_rows(record, known, sides, removed)
        self.database.many(
            "INSERT INTO record (layout, agreed, reasons, images, frozen, stale, revived, id, gid, entity) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            added,
        )
        self.database.many(
            "UPDATE record SET layout = ?, agreed = ?, reasons = ?, images = ?, frozen = ?, stale = ?, revived = ? "
            "WHERE id = ?",
            rows,
        )
        self.database.many("UPDATE side SET speaks = 0 WHERE id = ?", [(side[0],) for side in sides])
        self.database.many("DELETE FROM side WHERE id = ?", removed)
        self._entomb()
        self._claim(sides)
        self.database.many(UPSERT_SIDE.format("VALUES (?, ?, ?, ?, ?, ?, ?, ?)"), sides)

    def _before(self, records: Sequence[Record]) -> dict[Gid, Known]:
        """What the file has of these records: remembered from the load, or the links at least."""
        known = self.reading.known
        before = {record.gid: known[record.gid] for record in records if record.gid in known}
        joined = self.database.among(
            "SELECT a.gid FROM json_each(?) j JOIN alias a ON a.gid = j.value",
            [record.gid for record in records if record.gid not in before],
        )
        if joined:
            raise ValueError(f"record {joined[0][0]} was joined with another and cannot be written any more")
        names = self.catalog.system_names
        strangers = {
            id: Known(id, record.entity, None, None, 0, None, None, {}, {}, {}, [], None, None, None)
            for record in records
            if record.gid not in before and (id := self.ids[record.gid])
        }
        for id, agreed, images in self.database.among(
            "SELECT r.id, r.agreed, r.images FROM json_each(?) j CROSS JOIN record r ON r.id = j.value", strangers
        ):
            for entry in unpack_images(images):
                if entry.system not in names:
                    whole = entry if entry.stands is not None else entry._replace(stands=agreed)
                    strangers[id].others.append(whole)
        for id, key, existence, settled, archived in self.database.among(
            "SELECT s.id, s.key, s.existence, s.settled, s.archived FROM json_each(?) j "
            f"CROSS JOIN side s ON s.id BETWEEN j.value * {SLOT} AND j.value * {SLOT} + {SLOT - 1}",
            strangers,
        ):
            if (name := names.get(id % SLOT)) is not None:
                strangers[id // SLOT].links[name] = Link(key, existence, settled == 1, archived == 1)
        before.update((r.gid, strangers[self.ids[r.gid]]) for r in records if r.gid not in before)
        return before

    def _row(self, record: Record, known: Known | None) -> tuple[Any, ...] | None:
        """All columns of the record; None: nothing of it has changed."""
        frozen, stale = pack_frozen(record.frozen), pack_stale(record.stale)
        version, layout = record.version, self.catalog.now[record.entity].id
        agreed = reasons = None
        if version is not None and known is not None and version is known.version:
            rest = frozen, stale, record.revived
            if rest == (known.frozen, known.stale, known.revived) and not self._images_changed(record, known):
                return None
            layout, agreed = known.layout, known.stored  # as it is, in the layout that it has
            if known.agreed is not None:
                self.agreed[record.gid] = (version, known.agreed)
            reasons = known.reasons
        elif version is not None:
            agreed = pack_pair(version.values, version.stamps)
            reasons = pack_reasons(version.origins, version.rules)
            self.agreed[record.gid] = (version, agreed)
        images = pack_images(self._entries(record, known, layout, agreed))
        return (layout, agreed, reasons, images, frozen, stale, record.revived, self.ids[record.gid])

    def _images_changed(self, record: Record, known: Known) -> bool:
        images, old, gid = record.images, known.images, record.gid
        return images.keys() != old.keys() or any(
            image is not old[system] or (gid, system) in self.landing for system, image in images.items()
        )

    def _entries(self, record: Record, known: Known | None, layout: int, agreed: bytes | None) -> list[Entry]:
        """The images of all systems, encoded; and for `undo`, what an open update may have to be taken back to."""
        entries, gid = list(known.others) if known else [], record.gid
        for system, number in self.catalog.systems.items():
            image = record.images.get(system)
            entry = None
            if image is not None:
                old = known is not None and known.images.get(system) is image
                entry = known.entries[system] if old and known else self._entry(record.entity, gid, number, image)
            if self.landing and (new := self.landing.get((gid, system))) is not None:
                self.undo[number].append((self.ids[gid] * SLOT + number, entry))
                entry = self._entry(record.entity, gid, number, new)
            if entry is not None:
                entries.append(entry)
        return [e._replace(stands=None) if e.stands == agreed and e.layout == layout else e for e in entries]

    def _entry(self, entity: str, gid: Gid, system: int, image: Image) -> Entry:
        version, agreed = self.agreed.get(gid, (None, b""))
        same = version is not None and _same(image.values, version.values) and _same(image.stamps, version.stamps)
        stands = agreed if same else pack_pair(image.values, image.stamps)
        return Entry(system, self.catalog.now[entity].id, image.seen, pack_row(image.raws), stands)

    def _side_rows(
        self, record: Record, known: Known | None, sides: list[list[Any]], removed: list[tuple[int]]
    ) -> None:
        entity, id, systems = self.catalog.entities[record.entity], self.ids[record.gid], self.catalog.systems
        old = known.links if known else {}
        if not record.links.keys() <= systems.keys():
            raise ValueError(
                f"record {record.gid} has links to {', '.join(record.links)}; the state knows {', '.join(systems)}"
            )
        if record.links == old:
            return
        for system, number in systems.items():
            link, past = record.links.get(system), old.get(system)
            if link == past:
                continue
            if past is not None and (link is None or link.key != past.key):
                self.tombs.append((entity, number, past.key, id, self.at))
            if link is None:
                removed.append((id * SLOT + number,))
            else:
                sides.append([id * SLOT + number, entity, number, *_link(link)])

    def _entomb(self) -> None:
        self.database.many(
            "INSERT OR REPLACE INTO tomb (entity, system, key, record, at) VALUES (?, ?, ?, ?, ?)", self.tombs
        )
        self.tombs.clear()

    def _claim(self, sides: list[list[Any]]) -> None:
        """A key speaks for one record: a record that is gone gives way, of two that are there one is wrong."""
        by_place: dict[tuple[int, int], dict[Key, list[Any]]] = defaultdict(dict)
        for side in sides:
            if side[7]:
                other = by_place[side[1], side[2]].setdefault(side[3], side)
                if other is not side:
                    self._give_way(side, other)
        for place, claims in by_place.items():
            for id, key, existence, archived in self.database.among(
                "SELECT s.id, s.key, s.existence, s.archived FROM json_each(?) j CROSS JOIN side s "
                "ON s.entity = ? AND s.system = ? AND s.key = j.value AND s.speaks = 1",
                claims,
                *place,
            ):
                holder = [id, *place, key, existence, 1, archived, 1]
                self._give_way(claims[key], holder)
                if not holder[7]:
                    self.database.rows("UPDATE side SET speaks = 0 WHERE id = ?", (id,))

    def _give_way(self, one: list[Any], other: list[Any]) -> None:
        for side in (other, one):
            if side[4] == "gone" and not side[6]:
                side[7] = 0
                return
        entity, system = self.catalog.entity_names[one[1]], self.catalog.system_names[one[2]]
        gids = self.database.rows("SELECT gid FROM record WHERE id IN (?, ?)", (one[0] // SLOT, other[0] // SLOT))
        names = " and ".join(gid for (gid,) in gids)
        raise ValueError(f"{entity} {system}:{one[3]} cannot be the key of two records: {names}")

    def _refs(self, records: Sequence[Record]) -> None:
        dropped: list[tuple[int, str]] = []
        found: list[tuple[int, str, int]] = []
        for record in records:
            known = self.reading.known.get(record.gid)
            if not self.catalog.now[record.entity].refs or (known is not None and known.version is record.version):
                continue
            id, parents = self.ids[record.gid], self._ref_values(record)
            for name in self.catalog.now[record.entity].refs:
                if name in parents:
                    found.append((id, name, self._id(parents[name], f"{record.entity}.{name}")))
                else:
                    dropped.append((id, name))
        self.database.many("DELETE FROM ref WHERE child = ? AND field = ?", dropped)
        self.database.many(
            "INSERT INTO ref (child, field, parent) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET parent = excluded.parent WHERE parent <> excluded.parent",
            found,
        )

    # --- open transactions --------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        open_now = {system for (system,) in self.database.rows("SELECT system FROM unsettled")}
        for system in self.decided.writing:
            if self.catalog.systems[system] in open_now:
                raise ValueError(f"{system} has a transaction of unknown outcome: it must be settled before another")
        self.database.many(
            "INSERT INTO unsettled (system, round) VALUES (?, ?)",
            [(self.catalog.systems[system], self.decided.round) for system in self.decided.writing],
        )
        undo = [(system, pack_undo(rows)) for system, rows in self.undo.items()]
        self.database.many("INSERT INTO undo (system, images) VALUES (?, ?)", undo)
        rows = [self._prepared_row(prepared) for prepared in self.waiting]
        self.database.many("INSERT INTO prepared VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def _land_at_once(self, records: Sequence[Record]) -> None:
        """Updates under an unchanged link: their image is written now, with what it was before kept for `undo`."""
        links = {record.gid: record.links for record in records}
        rest: list[Prepared] = []
        for prepared in self.decided.prepared:
            if prepared.system not in self.decided.writing:
                raise ValueError(f"{prepared.system} is prepared, but has no transaction in this round")
            known = links.get(prepared.gid)
            if prepared.image is not None and known is not None and known.get(prepared.system) == prepared.link:
                self.landing[prepared.gid, prepared.system] = prepared.image
            else:
                rest.append(prepared)
        self.waiting = rest

    def _prepared_row(self, prepared: Prepared) -> tuple[Any, ...]:
        entity = self._entity_of(prepared.gid)
        id, system = self._id(prepared.gid, "prepared"), self.catalog.systems[prepared.system]
        blobs: tuple[Any, ...] = NO_IMAGE
        if prepared.image is not None:
            blobs = self._entry(entity, prepared.gid, system, prepared.image)[1:]
        key, existence, settled, archived, _ = _link(prepared.link)
        return (id * SLOT + system, self.catalog.entities[entity], system, key, existence, settled, archived, *blobs)

    def _entity_of(self, gid: Gid) -> str:
        if not hasattr(self, "_entities"):
            self._entities = {record.gid: record.entity for record in self.decided.records}
        if gid not in self._entities:
            known = self.reading.known.get(gid)
            number = self.database.value("SELECT entity FROM record WHERE id = ?", (self._id(gid, "prepared"),))
            self._entities[gid] = known.entity if known else self.catalog.entity_names[number]
        return self._entities[gid]

    # --- what people read ---------------------------------------------------------------------------------------------

    def _journal(self) -> None:
        d, entities = self.decided, self.catalog.entities
        self.database.many(
            LINE,
            [
                (
                    d.round, d.at, entities[line.entity], self._id(line.gid, "the journal") if line.gid else None,
                    line.action, line.system, line.field, pack_value(line.before), pack_value(line.after),
                    line.rule, line.origin, line.changed_at, line.note, 0, None,
                )
                for line in d.journal
            ],
        )  # fmt: skip
        for packed in d.edited:
            self.database.many(LINE, ((d.round, d.at, *line) for line in packed.journal))

    def _reviews(self) -> None:
        """Closed first: what is asked again in the same round stays open."""
        self.database.many(
            "UPDATE review SET closed = ? WHERE id = ? AND closed IS NULL",
            [(self.at, id) for id in self.decided.closed],
        )
        named = [(id,) for id in self.decided.closed] + [(review.id,) for review in self.decided.reviews]
        self.database.many("DELETE FROM review_row WHERE review = ?", named)
        self.database.many(
            "INSERT INTO review (id, kind, entity, record, system, key, field, message, hint, detail, since) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, "
            "record = excluded.record, system = excluded.system, key = excluded.key, field = excluded.field, "
            "message = excluded.message, hint = excluded.hint, detail = excluded.detail, closed = NULL, "
            "since = CASE WHEN closed IS NULL THEN since ELSE excluded.since END",
            [self._review_row(review) for review in self.decided.reviews],
        )
        self.database.many(
            "INSERT OR IGNORE INTO review_row (entity, system, key, review) VALUES (?, ?, ?, ?)",
            [
                (self.catalog.entities[review.entity], system, key, review.id)
                for review in self.decided.reviews
                for system, key in _named_rows(review)
            ],
        )

    def _review_row(self, review: Review) -> tuple[Any, ...]:
        record = self._id(review.gid, "a review") if review.gid else None
        return (
            review.id, review.kind, self.catalog.entities[review.entity], record, review.system, review.key,
            review.field, review.message, review.hint, to_json(dict(review.detail)).decode(), review.since,
        )  # fmt: skip

    # --- what is still to be done -------------------------------------------------------------------------------------

    def _pending(self) -> None:
        systems, entities = self.catalog.systems, self.catalog.entities
        self.database.many(
            "DELETE FROM pending WHERE id = ?",
            [(self.ids[gid] * SLOT + systems[s],) for gid, s in self.decided.unpended if gid in self.ids],
        )
        self.database.many(
            "INSERT OR REPLACE INTO pending (id, entity, reason, message, since, due, attempts) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (self._id(p.gid, "pending") * SLOT + systems[p.system], entities[p.entity], *p[3:])
                for p in self.decided.pending
            ],
        )

    def _looks(self) -> None:
        """Done first: a look that is asked for again in the same round stays. Of two, the earlier is due."""
        self.database.many(
            "DELETE FROM look WHERE entity = ? AND system = ? AND key = ?",
            [(*self.reading.place(entity, system), key) for entity, system, key in self.decided.looked],
        )
        self.database.many(
            "INSERT INTO look (entity, system, key, due, reason) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET due = excluded.due, reason = excluded.reason WHERE excluded.due < due",
            [(self.catalog.entities[x.entity], self.catalog.systems[x.system], *x[2:]) for x in self.decided.looks],
        )

    def _rest(self) -> None:
        d = self.decided
        self.database.many(
            "INSERT OR REPLACE INTO position (system, value) VALUES (?, ?)",
            [(self.catalog.systems[system], value) for system, value in d.positions.items()],
        )
        self.database.many("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", d.meta.items())
        self.database.rows("INSERT OR REPLACE INTO round (one, number, at) VALUES (1, ?, ?)", (d.round, d.at))


def _link(link: Link) -> tuple[Key, str, int, int, int]:
    return link.key, link.existence, int(link.settled), int(link.archived), 1


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Identical items: equality would take 1 for True and Decimal('1.5') for Decimal('1.50')."""
    return one is other or (len(one) == len(other) and all(map(is_, one, other)))


def _named_rows(review: Review) -> list[tuple[str, Key]]:
    """The row itself, and `detail["candidates"]`: pairs of system and key."""
    rows = [(review.system, review.key)] if review.key else []
    for candidate in review.detail.get("candidates", ()):
        if isinstance(candidate, dict):
            rows.append((candidate["system"], candidate["key"]))
        else:
            rows.append((candidate[0], candidate[1]))
    return rows
