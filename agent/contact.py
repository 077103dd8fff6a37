"""First contact of an entity: held until a person accepts it, then indexed, then linked row by row.

    held     nothing is read or written for it; `accord plan --accept` (or first_contact = "auto") goes on
    index    all rows of all systems are scanned into the match index; changes meanwhile only keep it up
    link     every unlinked row is looked at: links by rule, creations, review; changes are taken as ever
    live     changes only

Parents come first: a child's first contact starts when the entities that it refers to are live. Every step is
resumable: phase and cursors stand in the state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from agent import identity
from agent.casework import UnknownParent
from config.model import EntityConfig
from config.records import Entity, Key, Reading, Value
from state.ports import State

if TYPE_CHECKING:
    from agent.engine import Engine
    from agent.round import Round

HELD, INDEX, LINK, LIVE = "held", "index", "link", "live"


def load_phases(state: State, entities: Mapping[str, Entity] | Mapping[str, EntityConfig]) -> dict[str, str]:
    """Where each entity stands."""
    out = {}
    for name, entity in entities.items():
        stored = state.get(f"phase:{name}")
        out[name] = stored or (INDEX if entity.first_contact == "auto" else HELD)
    return out


def accept(state: State, entity: str) -> None:
    """The acceptance of an entity's first contact, and nothing else."""
    state.put(f"phase:{entity}", INDEX)


def phases(round: Round) -> dict[str, str]:
    """The phases as of now: an acceptance given meanwhile is seen."""
    engine = round.engine
    for name, phase in engine.phases.items():
        if phase == HELD:
            engine.phases[name] = engine.state.get(f"phase:{name}") or HELD
    round.report.held = [name for name, phase in engine.phases.items() if phase == HELD]
    return engine.phases


def step(round: Round, now: dict[str, str]) -> None:
    """Take one step in each first contact that is under way."""
    engine = round.engine
    for name in engine.order:
        if now[name] not in (INDEX, LINK) or not _parents_live(engine, name, now):
            continue
        if now[name] == INDEX:
            _index(round, name)
        else:
            _link(round, name)
        return  # one entity at a time: its children need it whole


def _parents_live(engine: Engine, name: str, now: dict[str, str]) -> bool:
    before = engine.order[: engine.order.index(name)]
    parents = {f.ref for f in engine.entities[name].fields if f.ref and f.ref != name}
    return all(now[p] == LIVE for p in parents if p in before)


def _index(round: Round, name: str) -> None:
    """Scan the next chunk of each system into the match index."""
    engine, limit = round.engine, round.engine.options.batch
    cursors: dict[str, Key | None] = json.loads(engine.state.get(f"cursor:{name}") or "{}")
    left = [s for s in engine.entities[name].tables if cursors.get(s, "") is not None]
    for system in left:
        if system not in round.up:
            continue
        scan = partial(engine.systems[system].scan, name, cursors.get(system), limit)
        rows = round.ask({system: scan}).get(system)
        if rows is None:
            continue
        round.report.worked = True
        for reading in rows:
            _index_row(round, name, system, reading)
        cursors[system] = rows[-1].key if len(rows) == limit else None
    round.decided.meta[f"cursor:{name}"] = json.dumps(cursors)
    if left and all(cursors.get(s, "") is None for s in engine.entities[name].tables):
        _turn(round, name, LINK)


def _link(round: Round, name: str) -> None:
    """Look at the next unlinked rows."""
    engine = round.engine
    cursor = engine.state.get(f"walk:{name}")
    after: tuple[str, Key] | None = tuple(json.loads(cursor)) if cursor else None
    round.report.worked = True
    rows = engine.state.unlinked(name, after, engine.options.batch)
    for system, key in rows:
        round.looks[name, system].setdefault(key, "first contact")
    if rows:
        round.decided.meta[f"walk:{name}"] = json.dumps(rows[-1])
    else:
        _turn(round, name, LIVE)


def _turn(round: Round, name: str, phase: str) -> None:
    """The next phase begins with the next round, if this one becomes durable."""
    round.decided.meta[f"phase:{name}"] = phase
    round.report.worked = True


def index_change(round: Round, name: str, system: str, key: Key) -> None:
    """A change during the first contact: the row is read for the index; when its turn comes it is read again."""
    round.index_only.setdefault(system, {}).setdefault(name, []).append(key)


def index_changes(round: Round) -> None:
    """Read the rows that changed during a first contact, and keep the index up."""
    for system, keys in round.index_only.items():
        found = round.ask({system: partial(round.engine.systems[system].read, keys)}).get(system)
        if found is None:
            continue
        for name, asked in keys.items():
            for key in asked:
                reading = found.get(name, {}).get(key)
                if reading is None:
                    round.decided.unmatched.append((name, system, key))
                else:
                    _index_row(round, name, system, reading)


def _index_row(round: Round, name: str, system: str, reading: Reading) -> None:
    if reading.archived:
        round.decided.unmatched.append((name, system, reading.key))
        return
    bound = round.engine.bound[name][system]

    def value(i: int) -> Value:
        canonical = bound.decode(i, reading.raws[i])
        parent = bound.refs.get(i)
        if parent is None or canonical is None:
            return canonical
        return round.find_parent(parent, system, str(canonical))

    def safe(i: int) -> Value:
        try:
            return value(i)
        except (ValueError, UnknownParent):
            return None

    values = identity.hashes(round.engine.entities[name].match, safe)
    round.decided.matches.append((name, system, reading.key, values))
