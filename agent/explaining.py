"""Why is this record as it is? What the state knows of it, and what each system holds now. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from adapters.ports import System
from agent import address, contact, identity
from agent.address import Address
from agent.bind import bind
from agent.lookups import attach
from agent.places import Held, Place, Rows, Titles, Unknown, Unreadable, places
from agent.reasons import WITHHELD, Reasons, Sight, unknown_parents
from agent.values import show
from config.errors import ConfigError, Transient
from config.model import Config
from config.records import Entity, Gid, Key, Reading, Stamp, Value
from state.ports import Image, Journal, Pending, Record, Review
from state.store import Store

SAME, WAITS, TOLERATED, REVIEW, STORED, READ_ONLY, NEW, GONE, ABSENT, NOWHERE, UNREAD = (
    "same",
    "waits",
    "tolerated",
    "in review",
    "as stored",
    "never written",
    "not seen yet",
    "gone",
    "no row",
    "no column",
    "not asked",
)
QUIET = (SAME, GONE, ABSENT, NOWHERE, UNREAD)  # no difference in the field itself
LOSSES = ("conflict", "override", "stale", "person")
UNSEEN = "No round has looked at it yet."
MOST_BESIDE = 4  # rows that may be the same are shown beside a row in review
MOST = 500  # lines of the journal that are looked through


@dataclass(slots=True)
class Cell:
    """One field in one system."""

    state: str
    value: Held = None


@dataclass(slots=True)
class FieldView:
    """One field of the record."""

    name: str
    agreed: Value
    origin: str  # the system it came from; "person"
    changed: Stamp
    rule: str
    lost: list[Journal]  # values that lost to the agreed one
    cells: dict[str, Cell]


@dataclass(slots=True)
class Explained:
    """What there is to say. `record` is None for a row that belongs to none, and for a key that nobody knows."""

    entity: str
    name: str
    record: Record | None = None
    fields: list[FieldView] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # why it is not linked, or not everywhere
    unseen: bool = False  # a round has yet to look at it
    down: dict[str, str] = field(default_factory=dict)  # systems that do not answer, and their message
    seen: dict[str, Stamp] = field(default_factory=dict)  # of those: when the record was last read there

    @property
    def differ(self) -> int:
        return sum(any(c.state not in QUIET for c in f.cells.values()) for f in self.fields)

    @property
    def waits(self) -> int:
        return sum(any(c.state == WAITS for c in f.cells.values()) for f in self.fields)

    @property
    def unfinished(self) -> bool:
        """Is there something that a running agent does by itself?"""
        new = self.record is not None and any(c.state == NEW for f in self.fields for c in f.cells.values())
        return bool(self.unseen or new or self.waits or self.pending)

    @property
    def settled(self) -> bool:
        left = self.differ or self.pending or self.reviews or self.notes or self.down  # nobody knows what is in those
        return self.record is not None and not left


class Explainer:
    """Explains records of one entity. Systems that do not answer are left out."""

    def __init__(self, config: Config, name: str, systems: Mapping[str, System], state: Store) -> None:
        self.config, self.state, self.all = config.entities[name], state, systems
        self.down: dict[str, str] = {}
        self.entity = self._bind(config, name)
        self.systems = {s: systems[s] for s in self.entity.tables} if self.entity else {}
        self.places = places(self.entity, self.systems) if self.entity else {}
        self.rows = Rows(self.places, state)
        self.titles = Titles(state, config.systems)
        default = contact.INDEX if self.config.first_contact == "auto" else contact.HELD
        self.phase = state.get(f"phase:{name}") or default

    def _bind(self, config: Config, name: str) -> Entity | None:
        """The entity in the systems that answer. ConfigError: what is wrong with its mapping."""
        for s, table in self.config.systems.items():
            try:
                self.all[s].describe(table.table, table.schema_name)
            except Transient as error:
                self.down[s] = error.problem.message
        wanted = reduced(config, name, [s for s in config.systems if s not in self.down])
        found = bind(wanted, self.all)
        if found.problems:
            raise ConfigError(found.problems)
        for s, system in self.all.items():
            attach(system, s, found.entities)
        return found.entities.get(name)

    def explain(self, asked: Address) -> Explained:
        """The record or the row that this names; looked at again if a round went on meanwhile."""
        spelled = self._spelled(asked)
        for _ in range(3):
            before = self.state.last_round()
            told = self._explain(spelled)
            if self.state.last_round() == before:
                break
        told.down = self.down
        return told

    def _spelled(self, asked: Address) -> Address:
        """A key that is not there as it was written may be there in small letters: a uuid, hexadecimal bytes."""
        small = asked._replace(key=asked.key.lower())
        if asked.gid or small == asked or self._is_there(asked) or not self._is_there(small):
            return asked
        return small

    def _is_there(self, asked: Address) -> bool:
        return bool(self._resolve(asked) or self._read({asked.system: asked.key}))

    def _explain(self, asked: Address) -> Explained:
        name = self.config.name
        gid = asked.gid or self._resolve(asked)
        record = self.state.load(name, [gid]).get(gid) if gid else None
        if record is None and gid:
            heir = self.state.survivor(gid)
            record = self.state.load(name, [heir]).get(heir) if heir else None
        if record is not None:
            return self._record(record)
        if asked.gid:
            return Explained(name, asked.gid, notes=[f"The state knows no {name} with this gid."])
        return self._row(asked.system, asked.key)

    def _resolve(self, asked: Address) -> Gid | None:
        return self.state.resolve(self.config.name, asked.system, [asked.key]).get(asked.key)

    def _read(self, keys: Mapping[str, Key]) -> dict[str, Reading]:
        """The rows as they are now, of systems that answer."""
        out: dict[str, Reading] = {}
        for s, key in keys.items():
            if s not in self.systems or s in self.down:
                continue
            try:
                found = self.systems[s].read({self.config.name: [key]})
            except Transient as error:
                self.down[s] = error.problem.message
                continue
            row = found.get(self.config.name, {}).get(key)
            if row is not None:
                out[s] = row
        return out

    # --- a record -----------------------------------------------------------------------------------------------------

    def _record(self, record: Record) -> Explained:
        name = self.config.name
        keys = address.keys_of(record, self.config.systems, gone=True)
        rows = self._read(keys)
        held = self.rows.held({s: [row] for s, row in rows.items()})
        sight = Sight({s: r for s, r in rows.items() if not r.archived})
        sight.held = {s: held[s, r.key] for s, r in rows.items()}
        told = Explained(name, address.name(keys) or record.gid, record)
        told.pending = self.state.pending(name, record.gid)
        told.reviews = self.state.reviews(name, record.gid)
        told.seen = {s: image.seen for s, image in record.images.items() if s in self.down}
        lines = [e.line for e in self.state.journal(name, record.gid, MOST, actions=LOSSES)]
        for i, spec in enumerate(self.config.fields):
            cells = {s: self._cell(record, i, s, rows.get(s), sight) for s in self.config.systems}
            told.fields.append(self._field(record, i, spec, cells, lines))
        told.notes = list(self._absences(record, rows, sight))
        return told

    def _field(self, record: Record, i: int, name: str, cells: dict[str, Cell], lines: list[Journal]) -> FieldView:
        v = record.version
        if v is None:
            return FieldView(name, None, "", 0, "", [], cells)
        lost: dict[str, Journal] = {}
        for line in lines:
            if line.field == name and line.after == v.values[i]:
                lost.setdefault(line.system, line)
        return FieldView(name, v.values[i], v.origins[i], v.stamps[i], v.rules[i], list(lost.values()), cells)

    def _cell(self, record: Record, i: int, system: str, row: Reading | None, sight: Sight) -> Cell:
        if system not in list(self.config.fields.values())[i].places:
            return Cell(NOWHERE)
        image, link = record.images.get(system), record.links.get(system)
        if system in self.down:
            return self._last_seen(record, i, image)
        if row is None:
            return Cell(ABSENT if link is None else GONE)
        value = sight.held[system][i]
        if row.archived:
            return Cell(GONE, value)
        return Cell(self._state(record, i, system, row, value), value)

    def _last_seen(self, record: Record, i: int, image: Image | None) -> Cell:
        """Of a system that does not answer: what the state knows."""
        if image is None or image.stamps[i] < 0 or record.version is None:
            return Cell(UNREAD)
        same = image.values[i] == record.version.values[i]
        return Cell(SAME if same else WAITS, image.values[i])

    def _state(self, record: Record, i: int, system: str, row: Reading, value: Held) -> str:
        assert self.entity is not None
        unit = next(u for u in self.entity.units if i in u)
        frozen = record.frozen.get(self.entity.fields[unit[0]].name)
        version, image = record.version, record.images.get(system)
        place = self.places[system]
        same = version is not None and bool(version.origins[i]) and _same(place, i, version.values[i], value)
        if frozen is not None:
            return SAME if same and system not in frozen.values else REVIEW
        if same:
            return SAME
        if version is None or image is None or image.stamps[i] < 0 or image.raws[i] != row.raws[i]:
            return NEW
        if image.values[i] == version.values[i]:
            spec = self.entity.fields[i]
            tolerated = spec.owner not in (None, system) and spec.override == "tolerate"
            return TOLERATED if tolerated else STORED
        return WAITS if self.entity.tables[system].write else READ_ONLY

    def _absences(self, record: Record, rows: Mapping[str, Reading], sight: Sight) -> list[str]:
        """Why it is not in a system, or not agreed at all."""
        notes = []
        for system in self.config.systems:
            link = record.links.get(system)
            if system in self.down or (system in sight.rows and link is not None and link.existence != "gone"):
                continue
            if system in sight.rows:
                notes.append(f"{system}: its row is there again; the next round looks at it.")
            elif system in rows:
                notes.append(f"{system}: archived there, which counts as gone.")
            elif link is not None and link.existence == "gone":
                notes.append(f"{system}: people deleted it there.")
            elif link is not None:
                notes.append(f"{system}: its row is gone; the next round looks at it.")
            else:
                notes.append(f"{system}: not there. {self._why_not(record, system, sight)}")
        return notes

    def _why_not(self, record: Record, system: str, sight: Sight) -> str:
        assert self.entity is not None
        parents = "; ".join(filter(None, map(unknown_parents, sight.held.values())))
        if parents:
            return f"It waits for its parent: {parents}."
        reason, note = Reasons(self.entity, self.places, self.state, self.phase).absent(record, system, sight)
        if not reason:
            return "The next round creates it."
        if reason == WITHHELD:
            return f"create: {note}."
        return f"{reason.capitalize()}{': ' if note else ''}{note.rstrip('.')}."

    # --- a row that is no record --------------------------------------------------------------------------------------

    def _row(self, system: str, key: Key) -> Explained:
        shown = address.shown(system, key)
        told = Explained(self.config.name, shown)
        row = self._read({system: key}).get(system)
        if system in self.down:
            told.notes = [f"The state knows no record with this key, and {system} cannot be asked now."]
        elif row is None:
            told.notes = [self._gone(system, key)]
        else:
            told.reviews = [r for r in self._questions(system, key) if (r.system, r.key) == (system, key)]
            held = self._beside(told, system, row)
            told.notes = self._not_linked(system, row, held, told.reviews)
            told.unseen = told.notes[-1] == UNSEEN
        return told

    def _beside(self, told: Explained, system: str, row: Reading) -> tuple[Held, ...]:
        """The row, and beside it those that it may be the same as."""
        found = {(system, row.key): row}
        for item in told.reviews:
            for s, key in item.detail.get("candidates", ())[:MOST_BESIDE]:
                found.update(((s, key), r) for r in self._read({s: key}).values())
        by_system: dict[str, list[Reading]] = {}
        for (s, _), r in found.items():
            by_system.setdefault(s, []).append(r)
        held = self.rows.held(by_system)
        for i, (name, spec) in enumerate(self.config.fields.items()):
            cells = {
                address.shown(*at): Cell(NEW, held[at][i]) if at[0] in spec.places else Cell(NOWHERE) for at in found
            }
            told.fields.append(FieldView(name, None, "", 0, "", [], cells))
        return held[system, row.key]

    def _gone(self, system: str, key: Key) -> str:
        shown, name = address.shown(system, key), self.config.name
        table = self.config.systems[system].table
        gid = self.state.tomb(name, system, [key]).get(key)
        if gid is None:
            return f"Nobody knows {shown}: there is no such row in {table}, and Accord has never linked one."
        record = self.state.load(name, [gid]).get(gid)
        now = address.name(address.keys_of(record, self.config.systems)) if record else ""
        left = f"is now {now}" if now else "is in no system any more"
        return f"There is no {shown} any more: the row was deleted, or its key was changed. The record {left} ({gid})."

    def _questions(self, system: str, key: Key) -> list[Review]:
        return self.state.reviews_about([(self.config.name, system, key)])

    def _not_linked(self, system: str, row: Reading, held: tuple[Held, ...], reviews: list[Review]) -> list[str]:
        assert self.entity is not None
        name = self.config.name
        if row.archived:
            return [f"It is archived in {system}, which counts as gone: it is linked when it is alive again."]
        if self.phase == contact.HELD:
            accept = "look at `accord plan`, then say yes with `accord plan --accept`"
            return [f"First contact of {name} is held, so nothing of it is linked yet: {accept}."]
        if reviews:
            return ["A person has to say which record it is."]
        parents = unknown_parents(held)
        if parents:
            first = next(v for v in held if isinstance(v, Unknown))
            ask = f"`accord explain {first.entity} {address.shown(first.system, first.key)}` says why"
            return [f"It waits for its parent: {parents} ({ask})."]
        if self.phase != contact.LIVE:
            return [f"First contact of {name} is under way: rows are linked one by one."]
        notes = self._by_rule(system, row.key, held)
        reasons = Reasons(self.entity, self.places, self.state, self.phase)
        if not self.down and not reasons.created_elsewhere(system):
            return [*notes, "Accord may create it in no other system (create = false, or write = false)."]
        return [*notes, UNSEEN]

    def _by_rule(self, system: str, key: Key, held: tuple[Held, ...]) -> list[str]:
        """What each match rule says of the row, by what the state knows of other rows."""
        assert self.entity is not None
        names = [f.name for f in self.entity.fields]
        notes = []
        for rule, fields in enumerate(self.entity.match):
            said = identity.rule_name(self.entity.match, rule, names)
            values = [None if isinstance(held[i], (Unreadable, Unknown)) else held[i] for i in fields]
            blank = [names[i] for i, value in zip(fields, values, strict=True) if value is None]
            if blank:
                notes.append(f"{said}: does not match, {' and '.join(blank)} is blank.")
                continue
            hash = identity.match_hash(values)  # type: ignore[arg-type]
            found = self.state.matches(self.config.name, rule, [hash] if hash else [])
            others = [r for hits in found.values() for r in hits if (r.system, r.key) != (system, key)]
            shown = ", ".join(address.shown(r.system, r.key) for r in others[:5])
            notes.append(f"{said}: {f'found in {shown}' if others else 'no other row has this value'}.")
        return notes

    # --- small things -------------------------------------------------------------------------------------------------

    def plain(self, name: str, value: Held) -> Value:
        """For people: a parent by its key, a value that is none by what is wrong with it."""
        if isinstance(value, Unreadable):
            return f"unreadable: {value.why}"
        if isinstance(value, Unknown):
            return address.shown(value.system, value.key)
        ref = self.config.fields[name].ref
        if ref and isinstance(value, str):
            found = self.titles.key_of(ref, value)
            return address.shown(*found) if found else value
        return value

    def losses(self, view: FieldView) -> list[str]:
        """`crm lost +351 …`, in words."""
        tolerated = {s for s, cell in view.cells.items() if cell.state == TOLERATED}
        out = []
        for line in view.lost:
            value = show(self.plain(view.name, line.before), 30)
            if line.action == "override":
                out.append(
                    f"{line.system} tolerated {value}"
                    if line.system in tolerated
                    else f"{line.system}'s {value} undone"
                )
            elif line.action == "stale":
                out.append(f"{line.system}'s stale {value} undone")
            else:
                out.append(f"{line.system} lost {value}")
        return out


def _same(place: Place, i: int, agreed: Value, value: Held) -> bool:
    return agreed == value or place.becomes(i, agreed) == value


def reduced(config: Config, name: str, up: list[str]) -> Config:
    """The configuration of one entity and what it refers to, in these systems."""
    wanted: dict[str, None] = {}
    left = [name]
    while left:
        entity = config.entities[left.pop()]
        if entity.name not in wanted:
            wanted[entity.name] = None
            left += [f.ref for f in entity.fields.values() if f.ref]
    entities = {}
    for entity in (config.entities[n] for n in config.entities if n in wanted):
        tables = {s: table for s, table in entity.systems.items() if s in up}
        fields = {
            n: f.model_copy(update={"places": {s: c for s, c in f.places.items() if s in up}})
            for n, f in entity.fields.items()
        }
        entities[entity.name] = entity.model_copy(update={"systems": tables, "fields": fields})
    return replace(config, systems={s: config.systems[s] for s in up}, entities=entities)
