"""The usual edit, by a short way: people changed fields of one row, and every other system holds what was agreed.

Nearly all of what a busy agent does is this, so it is done without the objects that the long way needs. A record goes
this way only if nothing else can play a part: its links are all live, nothing of it is in review, pending or looked at
for another reason, its images stand for the agreed version, and the changed fields have no rule beyond ownership, no
reference and no part in a match rule. The other systems are not read: their rows are compared with the image, byte for
byte, as they are written (I3). Whatever turns out otherwise, before or after, goes the long way with what is known.
Both ways decide alike; the model tests run with and without this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent import contact, outcome
from agent.applying import Intent, Target
from agent.casework import Bound, Case
from agent.merge import Merged, Rules, Side, time_of
from config.records import Entity, Key, Landing, Op, Outcome, Raw, Reading, Value, Write, WriteKind
from state.ports import Edited, Image, Journal, Plain, Version

if TYPE_CHECKING:
    from agent.round import Round

ON = True  # tests switch it off and compare


@dataclass(slots=True)
class Edit:
    """One record on the short way."""

    plain: Plain
    source: str
    reading: Reading
    changed: dict[int, Value]
    version: Version | None = None  # as it will be agreed
    writes: dict[str, Write] = field(default_factory=dict)  # by system
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # of the writes; a system that failed is missing


class Lane(NamedTuple):
    """What one system's edits of one entity may be, to go this way."""

    entity: Entity
    source: str
    bounds: Mapping[str, Bound]  # of all systems
    others: tuple[str, ...]
    fields: frozenset[int]


def lanes(entity: Entity, bounds: Mapping[str, Bound]) -> dict[str, Lane]:
    """By source system; none where the entity has groups, or a system is only read or watches for stale saves."""
    if len(entity.units) != len(entity.fields) or len(bounds) < 2:
        return {}
    if any(b.stale_window or not b.table.write for b in bounds.values()):
        return {}
    matched = {i for rule in entity.match for i in rule}
    plain = [
        i
        for i, spec in enumerate(entity.fields)
        if i not in matched
        and spec.ref is None
        and spec.conflict != "sum"
        and all(b.fits[i] is None for b in bounds.values())
    ]
    found = {}
    for source in bounds:
        fields = frozenset(i for i in plain if entity.fields[i].owner in (None, source) and i in bounds[source].places)
        if fields:
            found[source] = Lane(entity, source, bounds, tuple(s for s in bounds if s != source), fields)
    return found


# --- which records ------------------------------------------------------------------------------------------------


def find(round: Round) -> None:
    """Take the usual edits out of this round's looks, rows read."""
    if not ON:
        return
    asked: dict[str, dict[str, dict[Key, Plain]]] = {}  # system -> entity -> key
    for (name, system), looks in round.looks.items():
        lane = round.engine.lanes[name].get(system)
        if lane is None or not open_to(round, name, system, lane):
            continue
        keys = [key for key, reason in looks.items() if reason == Op.UPDATE]
        plain = round.state.plain(name, system, keys, lane.others) if keys else {}
        alone = {key: one for key, one in plain.items() if not busy(round, name, lane, one)}
        if alone:
            asked.setdefault(system, {})[name] = alone
    reads = {
        s: partial(round.engine.systems[s].read, {name: list(keys) for name, keys in by_entity.items()})
        for s, by_entity in asked.items()
    }
    for system, found in round.ask(reads).items():
        for name, plains in asked[system].items():
            take(round, name, round.engine.lanes[name][system], plains, found.get(name, {}))


def open_to(round: Round, name: str, system: str, lane: Lane) -> bool:
    """May edits of this entity from this system go the short way in this round?"""
    if round.engine.phases[name] != contact.LIVE or any(s not in round.up for s in (system, *lane.others)):
        return False
    return not any((name, s) in round.engine.empty for s in lane.bounds)


def busy(round: Round, name: str, lane: Lane, plain: Plain) -> bool:
    """Does anything else play a part in this record now?"""
    engine, gid = round.engine, plain.gid
    if gid in engine.open_items or (engine.pending and any((gid, s) in engine.pending for s in engine.systems)):
        return True
    looks = round.looks
    return any((place := (name, s)) in looks and plain.keys[s] in looks[place] for s in lane.others)


def take(round: Round, name: str, lane: Lane, plains: Mapping[Key, Plain], found: Mapping[Key, Reading]) -> None:
    """Those whose reading is an edit of the usual kind, or no edit at all; the others stay among the looks."""
    edits, done = round.edits.setdefault(name, {}), round.done[name, lane.source]
    decoders, fields, source = lane.bounds[lane.source].decoders, lane.fields, lane.source
    for key, plain in plains.items():
        reading = found.get(key)
        if reading is None or reading.archived or reading.reborn or reading.was is not None:
            continue
        old, raws = plain.raws[source], reading.raws
        changed: dict[int, Value] = {}
        if raws != old:
            for i, raw in enumerate(raws):
                if raw == old[i]:
                    continue
                decode = decoders[i]
                if i not in fields or decode is None or not plain.version.origins[i]:
                    break
                try:
                    value = None if raw is None else decode(raw)
                except ValueError:
                    break
                if value == plain.version.values[i] or not fitting(lane, i, value):
                    break
                changed[i] = value
            else:
                edits[plain.gid] = Edit(plain, source, reading, changed)
                done.add(key)
            continue
        round.report.looked += 1
        done.add(key)


def fitting(lane: Lane, i: int, value: Value) -> bool:
    """Can every system hold it whole?"""
    if value is None:
        return True
    return all((hold := lane.bounds[s].whole[i]) is None or hold(value) == value for s in lane.others)


# --- what is agreed, and written ----------------------------------------------------------------------------------


def merge(round: Round, name: str, rules: Rules) -> None:
    """The edit is agreed, and wanted wherever the fields have a place."""
    edits = round.edits.get(name)
    if not edits:
        return
    lanes, kinds = round.engine.lanes[name], round.engine.entities[name].fields
    places = {s: frozenset(b.places) for s, b in round.engine.bound[name].items()}
    to: dict[str, list[tuple[Edit, Write]]] = {}
    for gid, edit in edits.items():
        round.report.looked += 1
        plain, source = edit.plain, edit.source
        values, stamps = list(plain.version.values), list(plain.version.stamps)
        origins, named = list(plain.version.origins), list(plain.version.rules)
        for i, value in edit.changed.items():
            stamps[i] = time_of(edit.reading, (i,), plain.seen[source], stamps[i], rules)[1]
            values[i], origins[i] = value, source
            named[i] = f"owner {source}" if kinds[i].owner == source else "only change"
        edit.version = Version(tuple(values), tuple(stamps), tuple(origins), tuple(named))
        for system in lanes[source].others:
            wanted = {i: v for i, v in edit.changed.items() if i in places[system]}
            if wanted:
                links = tuple(plain.keys.items())
                write = Write(WriteKind.UPDATE, gid, plain.keys[system], wanted, plain.raws[system], links)
                edit.writes[system] = write
                to.setdefault(system, []).append((edit, write))
    for system, pairs in to.items():
        if system in round.up:
            target = round.targets.setdefault(system, Target(round.engine.systems[system]))
            target.edits[name] = [write for _, write in pairs]
            target.takers[name] = [edit.outcomes for edit, _ in pairs]


# --- what became of it --------------------------------------------------------------------------------------------


def settle(round: Round) -> None:
    """What landed as expected is remembered in short; everything else by the long way."""
    for name, edits in round.edits.items():
        for edit in edits.values():
            if all(straight(edit, system) for system in edit.writes):
                remember(round, name, edit)
            else:
                at_length(round, name, edit)


def straight(edit: Edit, system: str) -> bool:
    """Did it land, and differs the row from its image in what was written only?"""
    done = edit.outcomes.get(system)
    if done is None or done.landing is not Landing.LANDED or done.after is None or done.key != edit.plain.keys[system]:
        return False
    before, after = edit.plain.raws[system], done.after
    return all(after[i] == raw or i in edit.changed for i, raw in enumerate(before))


def remember(round: Round, name: str, edit: Edit) -> None:
    plain, version, decided = edit.plain, edit.version, round.decided
    assert version is not None
    raws: dict[str, tuple[Raw, ...]] = {edit.source: edit.reading.raws}
    fields = round.engine.entities[name].fields
    for system, write in edit.writes.items():
        raws[system] = edit.outcomes[system].after or ()
        counts = round.report.written.setdefault(system, {})
        counts["update"] = counts.get("update", 0) + 1
        for i, after in write.values.items():
            decided.journal.append(
                Journal(
                    name,
                    plain.gid,
                    "update",
                    system,
                    fields[i].name,
                    plain.version.values[i],
                    after,
                    version.rules[i],
                    version.origins[i],
                    version.stamps[i],
                )
            )
    decided.edited.append(Edited(plain, version, raws, tuple(edit.writes)))


def at_length(round: Round, name: str, edit: Edit) -> None:
    """As the long way would have it from here on."""
    plain, version, source = edit.plain, edit.version, edit.source
    assert version is not None
    bounds, record = round.engine.bound[name], round.state.load(name, [plain.gid])[plain.gid]
    case = round.cases[name][plain.gid] = Case(record)
    for system, bound in bounds.items():
        changed = edit.changed if system == source else {}
        reading = edit.reading if system == source else Reading(plain.keys[system], plain.raws[system])
        image = record.images[system]
        case.readings[system] = reading
        case.sides[system] = Side(
            bound.table, bound.rank, reading, image, changed, bound.fits, bound.decode, bound.stale_window
        )
        if system != source and system not in edit.writes:  # no place there: nothing to hold, nothing to want
            record.images[system] = image._replace(values=version.values, stamps=version.stamps)
    record.version, record.dirty = version, True
    record.images[source] = Image(edit.reading.raws, version.values, version.stamps, round.now)
    case.merged = Merged(version, dict(record.images), accepted={source})
    for system, write in edit.writes.items():
        intent = Intent(case, WriteKind.UPDATE, write.values)
        done = edit.outcomes.get(system)
        if done is None:
            round.pend(case, system, "down", f"{system} did not take it")
        elif done.landing is Landing.LANDED:
            outcome.landed(round, system, intent, done)
            outcome.count(round, system, intent)
        else:
            outcome.missed(round, system, intent, done)
