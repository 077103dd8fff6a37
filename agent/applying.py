"""From decisions to rows: what is to be written in one system, in which order, and what became of it.

Parents before children, records that refer to each other in waves, deletes last and in reverse. The transaction
stays open: the state decides first (section 5 of the design, steps 7 to 9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from adapters.ports import System, Transaction
from agent.casework import Bound, Case
from agent.roads import refusal
from config.records import (
    Crosswalk,
    Entity,
    Fence,
    Gid,
    Key,
    Landing,
    Outcome,
    Reading,
    Value,
    Write,
    WriteKind,
)

if TYPE_CHECKING:
    from agent.usual import Part


class Intent(NamedTuple):
    """One row that is to be written. `values` still hold gids where the write holds keys."""

    case: Case
    kind: WriteKind
    values: Mapping[int, Value]


class Errand(NamedTuple):
    """Writes of a part of the usual edits of one entity in one system."""

    writes: list[Write]
    takers: list[dict[str, Outcome]]  # where their outcomes go, by system
    part: Part


@dataclass(slots=True)
class Target:
    """Everything that one round wants of one system, and how it went."""

    system: System
    intents: dict[str, list[Intent]] = field(default_factory=dict)  # by entity
    removals: dict[str, list[Intent]] = field(default_factory=dict)  # deletes and archives, by entity
    links: list[Crosswalk] = field(default_factory=list)  # of links made by match
    unlinks: list[Crosswalk] = field(default_factory=list)  # of keys that speak for nobody any more
    errands: dict[str, list[Errand]] = field(default_factory=dict)  # by entity: of `agent.usual`
    transaction: Transaction | None = None
    outcomes: list[tuple[Intent, Outcome]] = field(default_factory=list)
    orphans: list[Intent] = field(default_factory=list)  # inserts whose parent is not there
    clashes: list[Crosswalk] = field(default_factory=list)  # crosswalk rows of other records in the way

    @property
    def empty(self) -> bool:
        return not (self.intents or self.removals or self.links or self.unlinks or self.errands)


class Encoder(NamedTuple):
    """What turns an intent into a write for one system."""

    entity: Entity
    bound: Bound
    parents: Callable[[str, Gid], Key | None]  # (parent entity, gid) -> key in this system, new ones included


def unfit(bound: Bound, values: Mapping[int, Value]) -> tuple[int, str] | None:
    """The first value that this system cannot hold whole and may not cut: (field, why)."""
    for i, value in values.items():
        column, road, hold = bound.table.columns[i], bound.table.road(i), bound.whole[i]
        if (road is None and (hold is None or value is None or hold(value) == value)) or column is None:
            continue
        if i not in bound.refs and (why := refusal(column, road, hold, value)) is not None:
            return i, why
    return None


def encode(encoder: Encoder, intent: Intent) -> Write:
    """The write of one intent, whose parents all have a key here."""
    bound, case = encoder.bound, intent.case
    system = bound.table.system
    reading = case.readings.get(system)
    values: dict[int, Value] = {}
    for i, value in intent.values.items():
        parent = bound.refs.get(i)
        if parent is not None and value is not None:
            values[i] = encoder.parents(parent, str(value))
        else:
            f, road = bound.fits[i], bound.table.road(i)
            fitted = value if f is None or value is None else f(value)
            values[i] = fitted if road is None else road.write(fitted, held(bound, i, reading))
    record = case.record
    links = tuple((s, link.key) for s, link in record.links.items() if link.existence == "live" or s == system)
    if intent.kind is WriteKind.INSERT:
        guard = tuple(rule for rule in encoder.entity.match if all(values.get(i) is not None for i in rule))
        return Write(intent.kind, record.gid, None, values, None, links, guard)
    return Write(intent.kind, record.gid, record.links[system].key, values, reading.raws if reading else None, links)


def held(bound: Bound, i: int, reading: Reading | None) -> Value:
    """What the column holds now, before its road; None where that cannot be told, or for a new row."""
    decode, raw = bound.plain[i], reading.raws[i] if reading is not None else None
    try:
        return None if decode is None or raw is None else decode(raw)
    except ValueError:
        return None


def apply(
    target: Target,
    fence: Fence,
    order: Sequence[str],
    encoders: Mapping[str, Encoder],
    made: dict[tuple[str, Gid], Key],
    arrived: SimpleQueue[Part | None],
    passed: Callable[[str], None],
) -> None:
    """Write everything wanted in one system in one transaction, and leave it open. Runs in the system's thread.

    `made` takes the keys of rows inserted here, for the references of their children; `arrived` each part of the usual
    edits as soon as it is written, and None at the end, whatever that is.
    """
    try:
        _apply(target, fence, order, encoders, made, arrived)
        passed(f"applying:{target.system.name}")
    finally:
        arrived.put(None)


def _apply(
    target: Target,
    fence: Fence,
    order: Sequence[str],
    encoders: Mapping[str, Encoder],
    made: dict[tuple[str, Gid], Key],
    arrived: SimpleQueue[Part | None],
) -> None:
    target.transaction = transaction = target.system.begin(fence)
    if target.unlinks:
        transaction.unlink(target.unlinks)
    if target.links:
        target.clashes = transaction.link(target.links)
    for entity in order:
        if entity in target.intents:
            _waves(target, transaction, encoders[entity], target.intents[entity], made)
        if entity in target.errands:
            _run(target, transaction, entity, target.errands[entity], arrived)
    for entity in reversed(order):
        if entity in target.removals:
            _carry_out(target, transaction, encoders[entity], target.removals[entity], made)


def _run(
    target: Target, transaction: Transaction, entity: str, errands: list[Errand], arrived: SimpleQueue[Part | None]
) -> None:
    """The usual edits, part by part. What is refused may have waited for a part behind: it is tried once more."""
    name, refused = target.system.name, []
    for errand in errands:
        done = transaction.apply(entity, errand.writes)
        for write, taker, outcome in zip(errand.writes, errand.takers, done, strict=True):
            taker[name] = outcome
            if outcome.landing is Landing.REJECTED:
                refused.append((write, taker))
        arrived.put(errand.part)
    if refused and len(errands) > 1:
        done = transaction.apply(entity, [write for write, _ in refused])
        for (_, taker), outcome in zip(refused, done, strict=True):
            taker[name] = outcome


def _waves(
    target: Target,
    transaction: Transaction,
    encoder: Encoder,
    intents: list[Intent],
    made: dict[tuple[str, Gid], Key],
) -> None:
    """Records of one entity that refer to each other: those whose parent is there first, a circle with a gap."""
    left = intents
    while left:
        ready, waiting = _split(encoder, left)
        if not ready:
            coming = {i.case.record.gid for i in left}
            left = [i for i in left if not _carry_gap(target, transaction, encoder, i, coming, made)]
            target.orphans.extend(left)
            return
        _carry_out(target, transaction, encoder, ready, made)
        left = waiting


def _split(encoder: Encoder, intents: list[Intent]) -> tuple[list[Intent], list[Intent]]:
    if not encoder.bound.refs:
        return intents, []
    ready: list[Intent] = []
    waiting: list[Intent] = []
    for intent in intents:
        lacking = any(
            value is not None and encoder.parents(parent, str(value)) is None
            for i, parent in encoder.bound.refs.items()
            if (value := intent.values.get(i)) is not None
        )
        (waiting if lacking else ready).append(intent)
    return ready, waiting


def _carry_gap(
    target: Target,
    transaction: Transaction,
    encoder: Encoder,
    intent: Intent,
    coming: set[Gid],
    made: dict[tuple[str, Gid], Key],
) -> bool:
    """A circle within the entity: insert with the reference empty where that is allowed; the next look fills it."""
    gaps = [
        i
        for i, parent in encoder.bound.refs.items()
        if (value := intent.values.get(i)) is not None and encoder.parents(parent, str(value)) is None
    ]
    columns = [encoder.bound.table.columns[i] for i in gaps]
    in_circle = all(intent.values[i] in coming for i in gaps) and all(c is not None and c.nullable for c in columns)
    if not in_circle or intent.kind is not WriteKind.INSERT:
        return False
    left = Intent(intent.case, intent.kind, {**intent.values, **dict.fromkeys(gaps)})
    _carry_out(target, transaction, encoder, [left], made)
    return True


def _carry_out(
    target: Target,
    transaction: Transaction,
    encoder: Encoder,
    intents: list[Intent],
    made: dict[tuple[str, Gid], Key],
) -> None:
    entity = encoder.entity.name
    writes = [encode(encoder, intent) for intent in intents]
    for intent, outcome in zip(intents, transaction.apply(entity, writes), strict=True):
        if outcome.landing is Landing.LANDED and intent.kind is WriteKind.INSERT and outcome.key is not None:
            made[entity, intent.case.record.gid] = outcome.key
        target.outcomes.append((intent, outcome))
