"""The usual edit, by a short way: people changed fields of one row, and every other system holds what was agreed.

Nearly all of what a busy agent does is this, so it is done without the objects that the long way needs. A record goes
this way only if nothing else can play a part: its links are all live, nothing of it is in review, pending or looked at
for another reason, its images stand for the agreed version, and the changed fields have no rule beyond ownership, no
reference and no part in a match rule. The other systems are not read: their rows are compared with the image, byte for
byte, as they are written (I3). Whatever turns out otherwise, before or after, goes the long way with what is known.
Both ways decide alike; the model tests run with and without this one.

The databases need as long for their share as the agent for its own, so the work is done in parts: while a source reads
one part, the state looks up the next; while a target writes one, the part before is encoded for the state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import compress, count
from operator import ne
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from agent import contact, outcome
from agent.applying import Errand, Intent, Target
from agent.casework import Bound, Case
from agent.merge import Merged, Rules, Side, time_of
from config.records import EMPTY, Entity, Key, Landing, Op, Outcome, Raw, Reading, Value, Write, WriteKind
from state.ports import Edited, Image, Plain, Version

if TYPE_CHECKING:
    from agent.round import Round

ON = True  # tests switch it off and compare
PART = 1000  # records


@dataclass(slots=True)
class Edit:
    """One record on the short way."""

    plain: Plain
    source: str
    reading: Reading
    changed: dict[int, Value]
    version: Version  # as it will be agreed
    outcomes: dict[str, Outcome] = field(default_factory=dict)  # of the writes; a system that failed is missing


@dataclass(slots=True)
class Part:
    """Some edits of one entity, on their way."""

    name: str
    edits: list[Edit]
    places: Mapping[str, frozenset[int]]  # by system: the fields that have one there
    targets: int = 0  # that have not said yet what became of it
    packed: Any = None  # those that landed as expected, encoded; None: not yet, or a target has failed since
    counts: Counter[str] = field(default_factory=Counter)  # how many of them were written, by system
    rest: list[Edit] = field(default_factory=list)  # the others


class Lane(NamedTuple):
    """What one system's edits of one entity may be, to go this way."""

    entity: Entity
    source: str
    bounds: Mapping[str, Bound]  # of all systems
    others: tuple[str, ...]
    fields: frozenset[int]
    holds: Mapping[int, tuple[Callable[[Value], Value], ...]]  # by field: what the others keep of a value
    reasons: dict[Any, tuple[tuple[str, ...], tuple[str, ...]]]  # remembered: a few combinations serve all records


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
        and all(b.fits[i] is None and b.table.road(i) is None for b in bounds.values())
    ]
    found = {}
    for source in bounds:
        fields = frozenset(i for i in plain if entity.fields[i].owner in (None, source) and i in bounds[source].places)
        others = tuple(s for s in bounds if s != source)
        holds = {i: tuple(h for s in others if (h := bounds[s].whole[i]) is not None) for i in fields}
        if fields:
            found[source] = Lane(entity, source, bounds, others, fields, holds, {})
    return found


# --- which records ------------------------------------------------------------------------------------------------


def find(round: Round) -> None:
    """Take the usual edits out of this round's looks, rows read."""
    if not ON:
        return
    asked: dict[str, list[tuple[str, Key]]] = {}  # system -> (entity, key)
    for (name, system), looks in round.looks.items():
        lane = round.engine.lanes[name].get(system)
        if lane is not None and open_to(round, name, system, lane):
            asked.setdefault(system, []).extend((name, key) for key, reason in looks.items() if reason == Op.UPDATE)
    parts = [(system, rows[n : n + PART]) for system, rows in asked.items() for n in range(0, len(rows), PART)]
    before: Callable[[], None] | None = None
    for system, rows in parts:
        taking = start(round, system, rows, single=len(parts) == 1)
        if before is not None:
            before()
        before = taking
    if before is not None:
        before()


def start(round: Round, system: str, rows: list[tuple[str, Key]], single: bool) -> Callable[[], None]:
    """Have the plain ones of these rows read. To be called: waits for the readings, and takes those that are edits.
    `single`: no other part follows."""
    wanted: dict[str, list[Key]] = {}
    for name, key in rows:
        wanted.setdefault(name, []).append(key)
    plains: dict[str, dict[Key, Plain]] = {}
    for name, keys in wanted.items():
        lane = round.engine.lanes[name][system]
        plain = round.state.plain(name, system, keys, lane.others)
        alone = {key: one for key, one in plain.items() if not busy(round, name, lane, one)}
        if alone:
            plains[name] = alone
    if not plains or system not in round.up:
        return lambda: None
    asked = {name: list(alone) for name, alone in plains.items()}
    answer = round.asking(system, partial(round.engine.systems[system].read, asked), at_once=single)

    def taking() -> None:
        found = answer()
        for name, alone in plains.items() if found is not None else ():
            take(round, name, round.engine.lanes[name][system], alone, (found or {}).get(name, {}))

    return taking


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
    edits, done, rules = round.edits.setdefault(name, {}), round.done[name, lane.source], round.rules(name)
    decoders, source = lane.bounds[lane.source].decoders, lane.source
    indexes = range(len(decoders))
    for key, plain in plains.items():
        reading = found.get(key)
        if reading is None or reading.archived or reading.reborn or reading.was is not None:
            continue
        raws, version = reading.raws, plain.version
        changed: dict[int, Value] = {}
        for i in compress(indexes, map(ne, raws, plain.raws[source])):
            decode = decoders[i]
            if i not in lane.fields or decode is None or not version.origins[i]:
                break
            raw = raws[i]
            try:
                value = None if raw is None else decode(raw)
            except ValueError:
                break
            if value == version.values[i] or (lane.holds[i] and not fitting(lane, i, value)):
                break
            changed[i] = value
        else:
            done.add(key)
            if changed:
                edits[plain.gid] = Edit(plain, source, reading, changed, agreed(lane, plain, reading, changed, rules))
            else:
                round.report.looked += 1


def fitting(lane: Lane, i: int, value: Value) -> bool:
    """Can every system hold it whole?"""
    return value is None or all(hold(value) == value for hold in lane.holds[i])


# --- what is agreed, and written ----------------------------------------------------------------------------------


def agreed(lane: Lane, plain: Plain, reading: Reading, changed: Mapping[int, Value], rules: Rules) -> Version:
    """The edit is agreed."""
    values, stamps, origins, named = plain.version
    new, when, times, tolerance = list(values), list(stamps), reading.times or EMPTY, rules.tolerance
    for i, value in changed.items():
        new[i] = value
        if i in times:  # as `time_of` has it
            at, least = times[i], stamps[i] + tolerance
            when[i] = at if at > least else least
        else:
            when[i] = time_of(reading, (i,), plain.seen[lane.source], stamps[i], rules)[1]
    known = origins, named, tuple(changed)
    if (reasons := lane.reasons.get(known)) is None:
        reasons = lane.reasons[known] = reasoned(lane, origins, named, changed)
    return Version(tuple(new), tuple(when), *reasons)


def reasoned(
    lane: Lane, origins: tuple[str, ...], named: tuple[str, ...], changed: Mapping[int, Value]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Where each field's value is from, and by which rule."""
    source, froms, rules = lane.source, list(origins), list(named)
    for i in changed:
        froms[i] = source
        rules[i] = f"owner {source}" if lane.entity.fields[i].owner == source else "only change"
    return tuple(froms), tuple(rules)


def merge(round: Round, name: str) -> None:
    """The edits are wanted wherever their fields have a place."""
    edits = list(round.edits.get(name, {}).values())
    round.report.looked += len(edits)
    places = {s: frozenset(b.places) for s, b in round.engine.bound[name].items()}
    for n in range(0, len(edits), PART):
        part = Part(name, edits[n : n + PART], places)
        round.parts.append(part)
        for system, held in places.items():
            writes: list[Write] = []
            takers: list[dict[str, Outcome]] = []
            for edit in part.edits if system in round.up else ():
                if edit.source != system and (values := wanted(edit, held)):
                    plain = edit.plain
                    writes.append(Write(WriteKind.UPDATE, plain.gid, plain.keys[system], values, plain.raws[system]))
                    takers.append(edit.outcomes)
            if writes:
                part.targets += 1
                target = round.targets.setdefault(system, Target(round.engine.systems[system]))
                target.errands.setdefault(name, []).append(Errand(writes, takers, part))


def wanted(edit: Edit, places: frozenset[int]) -> dict[int, Value]:
    """What is to be written in a system that has these places."""
    changed = edit.changed
    return changed if places.issuperset(changed) else {i: v for i, v in changed.items() if i in places}


# --- what became of it --------------------------------------------------------------------------------------------


def follow(round: Round, arrived: SimpleQueue[Part | None], jobs: int) -> None:
    """Encode each part as soon as all its targets have written it. None: a target is through, or has failed."""
    while jobs:
        part = arrived.get()
        if part is None:
            jobs -= 1
            continue
        part.targets -= 1
        if not part.targets:
            pack(round, part)


def settle(round: Round) -> None:
    """What landed as expected is remembered in short; everything else by the long way."""
    for part in round.parts:
        if part.packed is None:
            pack(round, part)
        round.decided.edited.append(part.packed)
        for system, written in part.counts.items():
            counts = round.report.written.setdefault(system, {})
            counts["update"] = counts.get("update", 0) + written
        for edit in part.rest:
            at_length(round, part.name, edit)


def pack(round: Round, part: Part) -> None:
    """Encode those that landed as expected."""
    part.rest, part.counts = [], Counter()
    part.packed = round.state.pack([e for edit in part.edits if (e := remember(part, edit)) is not None], round.now)


def remember(part: Part, edit: Edit) -> Edited | None:
    """What is to be remembered of it, if it has landed everywhere as expected; else it is one of the rest."""
    source, raws, written = edit.source, {edit.source: edit.reading.raws}, {}
    for system, places in part.places.items():
        if system == source:
            continue
        fields = tuple(wanted(edit, places))
        if not fields:
            continue
        after = straight(edit, system, fields)
        if after is None:
            part.rest.append(edit)
            return None
        raws[system], written[system] = after, fields
    for system in written:
        part.counts[system] += 1
    return Edited(part.name, edit.plain, edit.version, raws, written)


def straight(edit: Edit, system: str, fields: tuple[int, ...]) -> tuple[Raw, ...] | None:
    """What the row holds, if the write landed and the row differs from its image in what was written only."""
    done, plain = edit.outcomes.get(system), edit.plain
    if done is None or done.landing is not Landing.LANDED or done.key != plain.keys[system]:
        return None
    after = done.after
    if after is None:
        return None
    differ = compress(count(), map(ne, after, plain.raws[system]))
    return after if all(map(fields.__contains__, differ)) else None


def at_length(round: Round, name: str, edit: Edit) -> None:
    """As the long way would have it from here on."""
    plain, version, source = edit.plain, edit.version, edit.source
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
        if system != source and not wanted(
            edit, frozenset(bound.places)
        ):  # no place there: nothing to hold, nothing to want
            record.images[system] = image._replace(values=version.values, stamps=version.stamps)
    record.version, record.dirty = version, True
    record.images[source] = Image(edit.reading.raws, version.values, version.stamps, round.now)
    case.merged = Merged(version, dict(record.images), accepted={source})
    for system, bound in bounds.items():
        values = wanted(edit, frozenset(bound.places))
        if system == source or not values:
            continue
        intent = Intent(case, WriteKind.UPDATE, values)
        done = edit.outcomes.get(system)
        if done is None:
            round.pend(case, system, "down", f"{system} did not take it")
        elif done.landing is Landing.LANDED:
            outcome.landed(round, system, intent, done)
            outcome.count(round, system, intent)
        else:
            outcome.missed(round, system, intent, done)
