"""Verify before read: is each system still the database that it was, and does capture there see everything?

Looked at whenever a system is taken in, before its fence is, and every few seconds while it takes part. Another
database halts. Where changes may have been missed, sweeps are asked for, durably, before what was seen is remembered:
so a crash in between finds the same gap again. Triggers that are gone can be made again by `accord prepare` only;
until then their tables are swept from time to time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from adapters.origin import WAITED_FOR, Origin
from agent import origins
from config.errors import Halt
from config.records import Stamp

if TYPE_CHECKING:
    from agent.engine import Engine

SECOND = 1_000_000
EVERY = 3 * SECOND  # between two looks while a system takes part


class Watch:
    """Of all systems of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.known: dict[str, Origin] = {}
        self.blind: dict[str, dict[str, list[str]]] = {}  # system -> entity -> [since, why nothing is captured]
        self.looked: dict[str, Stamp] = {}  # by system: up to then, it was what is known
        self._due: Stamp = 0
        for system in engine.systems:
            found = origins.load(engine.state.get(f"origin:{system}"))
            if found is not None:
                self.known[system] = found
            self.blind[system] = json.loads(engine.state.get(f"blind:{system}") or "{}")

    def look(self) -> None:
        """At all that take part, if it is time. One that halts, or does not answer, is left out from now on."""
        engine, now = self.engine, self.engine.clock()
        if now < self._due:
            return
        self._due = now + EVERY
        up = [s for s in engine.systems if s not in engine.down]
        answers, failed = engine.side_by_side({s: engine.systems[s].origin for s in up})
        for system, error in failed.items():
            engine.went_down(system, error)
        for system, found in answers.items():
            try:
                self.recognise(system, found)
            except Halt as error:
                engine.went_down(system, error)
            else:
                self.remember(system, found)
                self.looked[system] = now

    def take_in(self, system: str) -> None:
        """In the system's own thread, before its fence is taken. `Halt`: it is another database."""
        self.recognise(system, self.engine.systems[system].origin())

    def attend(self, system: str) -> None:
        """Its changes are wanted from where the state is. Once the fence is ours: an agent that has no business there
        must not cut off the one that reads there now, nor have a log kept."""
        self.engine.systems[system].attend(self.engine.state.position(system))

    def is_blind(self, entity: str, system: str) -> bool:
        """Are its changes not captured now?"""
        return entity in self.blind.get(system, ())

    def recognise(self, system: str, found: Origin) -> None:
        """`Halt`: it is another database."""
        known = self.known.get(system)
        if known is not None and origins.is_another(known, found):
            raise Halt(origins.another(system, known, found))

    def remember(self, system: str, found: Origin) -> None:
        """Ask for the sweeps that it takes, then keep it as what is known."""
        engine, known = self.engine, self.known.get(system)
        removed = engine.state.get(f"unprepared:{system}")
        if known is not None:
            gaps = origins.gaps(known, found)
        else:
            gaps = dict.fromkeys(engine.entities, origins.REMOVED) if removed else {}
        for entity, why in gaps.items():
            if engine.library.changed(system, entity):
                continue
            if system in engine.entities[entity].tables:
                engine.sweeper.request(entity, system, why, gap=True)
        if known != found:
            engine.state.put(f"origin:{system}", origins.dump(found))
            self.known[system] = found
        if removed:
            engine.state.put(f"unprepared:{system}", None)
        self._say(system, origins.blind(found))

    def _say(self, system: str, blind: dict[str, str]) -> None:
        """What is not captured now stands in the state, for `accord status`, and once in the log."""
        before = self.blind[system]
        now = origins.still(before, blind, str(self.engine.clock()))
        if now == before:
            return
        self.blind[system] = now
        self.engine.state.put(f"blind:{system}", json.dumps(now, ensure_ascii=False) if now else None)
        for entity in before.keys() - now.keys():
            self.engine.notes.append(f"{system}: changes of {entity} are captured again.")
        for entity, (_, why) in now.items():
            if before.get(entity, ["", ""])[1] != why:
                hint = "" if why.endswith(WAITED_FOR) else "Run `accord prepare`. "
                hint += "Until then its rows are swept from time to time."
                self.engine.notes.append(f"{system}: changes of {entity} are not captured: {why}. {hint}")


class Recognising(Watch):
    """For those that only look: another database halts, all else is somebody else's business."""

    def look(self) -> None:
        pass

    def attend(self, system: str) -> None:
        pass

    def remember(self, system: str, found: Origin) -> None:
        pass
