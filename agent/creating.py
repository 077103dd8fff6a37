"""Is a record to be created in a system where it is not? What `create` says: yes, no, or a condition. Pure.

A condition is asked over the agreed record, whenever the record is looked at and is not there. A record whose condition
does not hold (yet) is known and watched as any other; it is only not created. Once it is there, nobody asks any more.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from config.records import Entity
from state.ports import Record

UNSAID: frozenset[int] = frozenset()


def possible(entity: Entity, system: str) -> bool:
    """May records of this entity be created there at all, now or when a condition holds?"""
    return entity.create.get(system, True) is not False and entity.tables[system].write


def conditional(entity: Entity, system: str) -> bool:
    """Does it depend on the record?"""
    return possible(entity, system) and not isinstance(entity.create.get(system, True), bool)


def hindrance(entity: Entity, record: Record, system: str, unread: Collection[int] = UNSAID) -> str:
    """Why the record is not to be created there now, `won is false`; empty: it is.

    A field that nobody can read, or that is in review, is no ground to create anything. Raises `ExpressionError`.
    """
    said = entity.create.get(system, True)
    if isinstance(said, bool) or record.version is None:
        return "" if said and record.version is not None else "false"
    if open_ := said.uses & in_review(entity, record):
        return f"{entity.fields[min(open_)].name} is in review"
    if bad := said.uses & set(unread):
        return f"{entity.fields[min(bad)].name} cannot be read"
    return "" if said.holds(record.version.values) else said.why_not(record.version.values)


def depending(entities: Mapping[str, Entity]) -> frozenset[tuple[str, str]]:
    """(entity, system) where it depends on the record, or on a parent's, whether it is created there."""
    found = {(name, s) for name, entity in entities.items() for s in entity.tables if conditional(entity, s)}
    before = -1
    while before < len(found):
        before = len(found)
        found |= {
            (name, s)
            for name, entity in entities.items()
            for s in entity.tables
            if possible(entity, s) and any((f.ref, s) in found for f in entity.fields if f.ref is not None)
        }
    return frozenset(found)


def in_review(entity: Entity, record: Record) -> set[int]:
    """The fields that a person is asked about."""
    if not record.frozen:
        return set()
    return {i for unit in entity.units if entity.fields[unit[0]].name in record.frozen for i in unit}


def written(entity: Entity) -> str:
    """What `create` says in each system, to be compared with what it said before."""
    return json.dumps({s: said if isinstance(said, bool) else said.text for s, said in entity.create.items()})


def turned(entity: Entity, before: str | None) -> list[str]:
    """Systems in which records may have to be created that were not to be, before `create` was changed.

    `before`: what `written` gave then; None: not known, as of a time when there were no conditions.
    """
    old = json.loads(before) if before is not None else {}
    now = json.loads(written(entity))
    return [s for s, said in now.items() if said is not False and old.get(s, True if said is True else None) != said]
