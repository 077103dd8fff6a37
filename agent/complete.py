"""Up to when all changes of an entity in a system have been seen, and what holds that back: for `accord status`.

A round knows it when it is over: then nothing that its captures gave is left. It is kept in memory, asked for through
the socket, and written down beside other things (every few seconds at most) and when the agent ends: an agent that
has nothing to do writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from agent import contact
from agent.sweeping import Sweep, load
from config.errors import Transient
from config.records import Batch, Complete, Stamp

if TYPE_CHECKING:
    from agent.engine import Engine
    from agent.round import Round

NAME = "complete"  # named text of the state
SAVED = 5_000_000  # µs between two times that it is written down
GAP = "a sweep that looks for what may have been missed"
MORE = "further changes that wait to be read"


class Seen(NamedTuple):
    """What is known of one entity in one system."""

    at: Stamp | None  # everything that changed earlier has been seen; None: not known
    assumed: str  # what that rests on where it cannot be proved
    held_by: str  # what keeps `at` from being later
    as_of: Stamp  # when this was so


Told = dict[str, dict[str, Seen]]
"""By entity and system."""


class Completeness:
    """Of all systems of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._known: dict[tuple[str, str], Seen] = {}
        self._saved: Stamp = 0

    def take(self, round: Round) -> None:
        """The round is over, and what it decided is durable."""
        self._known = self._after(round)

    def meta(self, round: Round) -> Mapping[str, str]:
        """What becomes durable with a round that writes anyway."""
        if self.engine.clock() < self._saved + SAVED:
            return {}
        self._saved = self.engine.clock()
        return {NAME: json.dumps(self._told(self._after(round)), ensure_ascii=False)}

    def save(self) -> None:
        """The agent ends. What the state cannot take is not worth an error then."""
        told = self.told()
        if any(told.values()):
            with suppress(Transient):
                self.engine.state.put(NAME, json.dumps(told, ensure_ascii=False))

    def told(self) -> Told:
        """As it stands after the last round."""
        return self._told(self._known)

    def _after(self, round: Round) -> dict[tuple[str, str], Seen]:
        known = {place: seen for place, seen in self._known.items() if not self._is_gap(*place)}
        for system, batch in round.batches.items():
            for name, entity in self.engine.entities.items():
                if system in entity.tables and not self._is_gap(name, system):
                    seen = self._seen(name, system, batch, round.now)
                    if seen is not None:
                        known[name, system] = seen
        return known

    def _seen(self, entity: str, system: str, batch: Batch, now: Stamp) -> Seen | None:
        """What this batch tells; None: nothing, it stays as it was."""
        capture, found = self.engine.entities[entity].tables[system].capture, batch.complete.get(entity)
        if found is not None and capture == "watermark":
            return Seen(found.at, found.assumed, found.held_by, now)
        before = self._known.get((entity, system))
        if found is None and batch.more:
            found = Complete(None, held_by=MORE)
        if found is None and capture == "trigger":
            found = Complete(now)
        looked = self.engine.watch.looked.get(system)
        if found is None or looked is None or self.engine.watch.is_blind(entity, system):
            return None
        at = found.at if found.at is not None else before.at if before else None
        # No later than what it relies on (triggers, a publication) was last seen in its place.
        return Seen(None if at is None else min(at, looked), found.assumed, found.held_by, now)

    def _is_gap(self, entity: str, system: str) -> bool:
        sweep = self.engine.sweeper.waiting.get((entity, system))
        return sweep is not None and sweep.gap

    def _told(self, known: Mapping[tuple[str, str], Seen]) -> Told:
        found: Told = {}
        for name, entity in self.engine.entities.items():
            if self.engine.phases[name] == contact.LIVE:
                places = {s: self._with_reason(name, s, known.get((name, s))) for s in entity.tables}
                found[name] = {s: seen for s, seen in places.items() if seen is not None}
        return found

    def _with_reason(self, entity: str, system: str, seen: Seen | None) -> Seen | None:
        now = self.engine.clock()
        if self._is_gap(entity, system):
            return Seen(None, "", GAP, now)
        held = self._absent(entity, system)
        if held:
            return (seen or Seen(None, "", "", now))._replace(held_by=held, as_of=now)
        return seen

    def _absent(self, entity: str, system: str) -> str:
        down = self.engine.down.get(system)
        if down is not None:
            return f"{system}, which {'is halted' if down.halt else 'does not answer'}"
        return "triggers that are missing" if self.engine.watch.is_blind(entity, system) else ""


def stored(meta: Mapping[str, str]) -> Told:
    """What an agent has written down last. `meta`: all named texts."""
    found: dict[str, dict[str, list[Any]]] = json.loads(meta.get(NAME, "{}"))
    told = {entity: {system: Seen(*seen) for system, seen in places.items()} for entity, places in found.items()}
    for entity, places in told.items():
        for system, seen in places.items():
            sweep = load(meta.get(f"sweep:{entity}:{system}"), Sweep)
            if (sweep is not None and sweep.gap) or f"again:{entity}:{system}" in meta:
                places[system] = seen._replace(at=None, assumed="", held_by=GAP)
    return told
