"""What follows when a system is not what it was: another database, or one in which changes may have been missed. Pure.

The state keeps for each system the origin that was last seen there (`origin:SYSTEM`), beside the position that belongs
to it. An adapter says what it sees (`adapters/origin.py`); here it is compared.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping

from adapters.origin import Origin, Part
from config.errors import Problem

REMOVED = "Accord's objects were removed there and made again"
HINT = "Mend its url: nothing was written there. If it was moved or restored there on purpose: `accord restored {}`."


def load(text: str | None) -> Origin | None:
    if not text:
        return None
    database, instance, place, told, parts = json.loads(text)
    return Origin(database, instance, place, told, tuple(Part(n, i, tuple(e), b, c) for n, i, e, b, c in parts))


def dump(origin: Origin) -> str:
    return json.dumps(origin, ensure_ascii=False)


def is_another(known: Origin, now: Origin) -> bool:
    """Is it another database, or perhaps a copy? A database that is another one where the same server or file holds it
    at the same place has lost Accord's objects: the fence tells what else it has lost."""
    moved, other = known.place != now.place, known.instance != now.instance
    if known.database != now.database:
        return moved or other
    return moved and other


def another(system: str, known: Origin, now: Origin) -> Problem:
    message = f"{system} is another database than before: it was {known.told}, it is {now.told}."
    return Problem("another-database", message, HINT.format(system), system=system)


def gaps(known: Origin, now: Origin) -> dict[str, str]:
    """By entity: why its changes may not all have been captured."""
    before = {part.name: part for part in known.parts}
    reasons: dict[str, list[str]] = defaultdict(list)
    for part in now.parts:
        old = before.get(part.name)
        if old is not None and old.id == part.id:
            continue
        word = "is new" if old is None else part.broken or part.changed
        for entity in part.entities:
            reasons[entity].append(f"{part.name} {word}")
    return {entity: _first(found) for entity, found in reasons.items()}


def blind(now: Origin) -> dict[str, str]:
    """By entity: why its changes are not captured now."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for part in now.parts:
        if part.broken:
            for entity in part.entities:
                reasons[entity].append(f"{part.name} {part.broken}")
    return {entity: _first(found) for entity, found in reasons.items()}


def still(known: Mapping[str, list[str]], now: Mapping[str, str], at: str) -> dict[str, list[str]]:
    """What `blind` says, each with the time since when it is so."""
    return {entity: [known[entity][0] if entity in known else at, why] for entity, why in now.items()}


def _first(reasons: list[str]) -> str:
    more = len(reasons) - 1
    return reasons[0] if not more else f"{reasons[0]} (and {more} more)"
