"""Why a record does not agree, where that is known: in review, waiting, tolerated … Reads the state only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent import address, contact, creating
from agent.places import Held, Place, Unknown, Unreadable
from config.expressions import ExpressionError
from config.records import Entity, Gid, Key, Reading
from state.ports import Pending, Record, Review, State

REVIEW = "in review"
PENDING = "waits to be written"
PARENT = "waits for its parent"
TOLERATED = "tolerated"
REWRITTEN = "stored in its own way"
READ_ONLY = "may not be written"
KEPT = "kept in one system only"
WITHHELD = "not created, by its condition"
CONTACT = "first contact under way"


@dataclass(slots=True)
class Sight:
    """A record as its rows are now."""

    rows: dict[str, Reading]  # by system; only those that are alive
    held: dict[str, tuple[Held, ...]] = field(default_factory=dict)


class Finding(NamedTuple):
    """A record, or a row that is none, that is not the same everywhere."""

    record: str  # "crm:4711 = erp:88"
    gid: Gid | None
    present: tuple[str, ...]  # systems that have it
    fields: Mapping[str, Mapping[str, Held]]  # fields that differ: what each system holds
    reason: str = ""  # one of the above; "" = not known
    note: str = ""

    @property
    def kind(self) -> str:
        return self.reason or ("differs" if self.fields else "only")


class Reasons:
    """What the state knows about one entity's records."""

    def __init__(self, entity: Entity, places: Mapping[str, Place], state: State, phase: str) -> None:
        self.entity, self.places, self.state, self.phase = entity, places, state, phase
        self.pending: dict[Gid, list[Pending]] = defaultdict(list)
        for p in state.pending(entity.name):
            self.pending[p.gid].append(p)
        self.reviews: dict[Gid, list[Review]] = defaultdict(list)
        self.asked: dict[tuple[str, Key], Review] = {}  # questions about rows that are no record
        for item in state.reviews(entity.name):
            if item.gid is None:
                self.asked[item.system, item.key] = item
            else:
                self.reviews[item.gid].append(item)

    # --- rows that are no record --------------------------------------------------------------------------------------

    def rows(self, system: str, rows: Mapping[Key, tuple[Held, ...]]) -> Iterator[Finding]:
        for key, held in rows.items():
            reason, note = self.row(system, key, held)
            yield Finding(address.shown(system, key), None, (system,), {}, reason, note)

    def row(self, system: str, key: Key, held: Sequence[Held]) -> tuple[str, str]:
        """Why a row belongs to no record."""
        item = self.asked.get((system, key))
        if item is not None:
            return REVIEW, f"{item.kind}, {item.id}"
        if self.phase != contact.LIVE:
            return CONTACT, ""
        parents = unknown_parents(held)
        if parents:
            return PARENT, parents
        if not self.created_elsewhere(system):
            return KEPT, "Accord may create it in no other system"
        return "", "it belongs to no record yet"

    def created_elsewhere(self, system: str) -> bool:
        """May Accord create a record of this row in another system?"""
        return any(s != system and self.may_create(s) for s in self.entity.tables)

    def may_create(self, system: str) -> bool:
        return creating.possible(self.entity, system)

    def held_back(self, record: Record, system: str, sight: Sight) -> str:
        """What `create` says against this record there; empty: nothing."""
        unread = {i for held in sight.held.values() for i, value in enumerate(held) if isinstance(value, Unreadable)}
        try:
            return creating.hindrance(self.entity, record, system, unread)
        except ExpressionError as error:
            return str(error).rstrip(".")

    # --- records ------------------------------------------------------------------------------------------------------

    def record(self, record: Record, sight: Sight, differing: Sequence[int]) -> Finding:
        """What there is to say of a record that does not agree."""
        fields = {
            self.entity.fields[i].name: {s: held[i] for s, held in sight.held.items() if self.places[s].has(i)}
            for i in differing
        }
        keys = {s: row.key for s, row in sight.rows.items()}
        finding = Finding(address.name(keys), record.gid, tuple(sight.rows), fields)
        parents = "; ".join(filter(None, map(unknown_parents, sight.held.values())))
        if parents:
            return finding._replace(reason=PARENT, note=parents)
        absent = [s for s in self.entity.tables if s not in sight.rows]
        found = [self.absent(record, s, sight) for s in absent] + [self.field(record, i, sight) for i in differing]
        unexplained = [note for reason, note in found if not reason]
        if unexplained:
            bad = {self.entity.fields[i].name for i in differing if not self.field(record, i, sight)[0]}
            left = {name: values for name, values in fields.items() if name in bad}
            return finding._replace(fields=left, note=unexplained[0])
        reason, note = found[0]
        return finding._replace(reason=reason, note=note)

    def absent(self, record: Record, system: str, sight: Sight) -> tuple[str, str]:
        """Why a record has no row there."""
        for item in self.reviews.get(record.gid, ()):
            if item.kind == "delete" or (item.kind == "refused" and item.system == system):
                return REVIEW, f"{item.kind}, {item.id}"
        for p in self.pending.get(record.gid, ()):
            if p.system == system:
                return PENDING, f"{system}: {p.message}"
        link = record.links.get(system)
        if link is None and not self.may_create(system):
            return KEPT, f"Accord may not create it in {system}"
        if link is None and creating.conditional(self.entity, system):
            why = self.held_back(record, system, sight)
            if why:
                return WITHHELD, why
        if link is None and (absent := self.absent_parent(record, system)):
            return PARENT, absent
        settled = link is not None and link.existence == "gone" and link.settled
        if settled and all(s in record.links and record.links[s].existence == "live" for s in sight.rows):
            return KEPT, f"deleted in {system}; the others keep it"
        if self.phase != contact.LIVE:
            return CONTACT, ""
        where = f"its row in {system} is gone" if link is not None else f"not in {system} yet"
        return "", where

    def absent_parent(self, record: Record, system: str) -> str:
        """A record that it refers to and that is not there; "" if there is none."""
        values = record.version.values if record.version is not None else ()
        for i in self.entity.refs if values else ():
            spec, gid = self.entity.fields[i], values[i]
            assert spec.ref is not None
            if gid and self.places[system].has(i) and not self.state.keys(spec.ref, system, [str(gid)]):
                return f"its {spec.name} ({spec.ref}) is not in {system} yet"
        return ""

    def field(self, record: Record, i: int, sight: Sight) -> tuple[str, str]:
        """Why a field differs."""
        name = self.entity.fields[i].name
        unit = next(u for u in self.entity.units if i in u)
        frozen = record.frozen.get(self.entity.fields[unit[0]].name)
        if frozen is not None:
            return REVIEW, f"conflict, {frozen.review}"
        for item in self.reviews.get(record.gid, ()):
            if (item.kind == "value" and item.field == name) or name in item.detail.get("fields", ()):
                return REVIEW, f"{item.kind}, {item.id}"
        strays = [s for s in sight.rows if self.places[s].has(i) and not self.holds_agreed(record, i, s, sight)]
        for p in self.pending.get(record.gid, ()):
            if p.system in strays:
                return PENDING, f"{p.system}: {p.message}"
        if strays and not any(self.entity.tables[s].write for s in strays):
            return READ_ONLY, f"{' and '.join(strays)}: write = false"
        if strays:
            return "", ""
        return self.stand_in(record, i, sight)

    def holds_agreed(self, record: Record, i: int, system: str, sight: Sight) -> bool:
        """Does it hold the agreed value, or what is known to stand for it there?"""
        version, image = record.version, record.images.get(system)
        if version is None or not version.origins[i]:
            return False
        if self.places[system].becomes(i, version.values[i]) == sight.held[system][i]:
            return True
        same = image is not None and image.raws[i] == sight.rows[system].raws[i]
        return image is not None and same and image.stamps[i] >= 0 and image.values[i] == version.values[i]

    def stand_in(self, record: Record, i: int, sight: Sight) -> tuple[str, str]:
        """All is as it should be, and yet not equal: another form is left standing for the agreed value somewhere."""
        version, spec = record.version, self.entity.fields[i]
        assert version is not None
        other = [
            s
            for s, place in self.places.items()
            if s in sight.held and place.has(i) and place.becomes(i, version.values[i]) != sight.held[s][i]
        ]
        if spec.owner is not None and spec.owner not in other and spec.override == "tolerate":
            return TOLERATED, f"{' and '.join(other)}: owner {spec.owner}"
        return REWRITTEN, " and ".join(other)


def unknown_parents(held: Sequence[Held]) -> str:
    """The rows that this one refers to and that are no records; "" if there are none."""
    missing = [v for v in held if isinstance(v, Unknown)]
    return ", ".join(f"{v.entity} {address.shown(v.system, v.key)} is no record yet" for v in missing)
