"""What people ask of the memory: the journal, and how things stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from config.records import Stamp
from state.catalog import Catalog
from state.codec import unpack_lines, unpack_value
from state.database import Database
from state.ports import Journal
from state.reading import SLOT


class Entry(NamedTuple):
    """A line of the journal, and when it was decided."""

    seq: int
    round: int
    at: Stamp
    line: Journal


class Count(NamedTuple):
    """How many lines of one kind the journal has."""

    entity: str
    action: str
    system: str
    rule: str
    lines: int


@dataclass(slots=True)
class Status:
    """How things stand. Everything is counted in the state; no system is asked."""

    round: int = 0
    at: Stamp | None = None  # when the last round was decided; None: there was none
    records: dict[str, int] = field(default_factory=dict)  # entity -> records
    links: dict[tuple[str, str], int] = field(default_factory=dict)  # (entity, system) -> keys that speak for a record
    absent: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (entity, system, gone or held) -> records
    unlinked: dict[tuple[str, str], int] = field(default_factory=dict)  # (entity, system) -> rows that are no record
    pending: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (entity, system, reason) -> records
    reviews: dict[tuple[str, str], int] = field(default_factory=dict)  # (entity, kind) -> open items
    looks: int = 0  # rows that the agent wants to look at
    next: Stamp | None = None  # when the next look or retry is due
    positions: tuple[str, ...] = ()  # systems that have a position
    unsettled: dict[str, int] = field(default_factory=dict)  # system -> round of unknown outcome
    meta: dict[str, str] = field(default_factory=dict)  # named texts: first-contact phases and the like


ENTRY = (
    "SELECT j.seq, j.round, j.at, e.name, coalesce(r.gid, ''), j.action, j.system, j.field, j.before, j.after, j.rule, "
    "j.origin, j.changed_at, j.note, j.more "
    "FROM journal j JOIN entity e ON e.id = j.entity LEFT JOIN record r ON r.id = j.record "
)


def _entries(row: Sequence[Any]) -> list[Entry]:
    """The lines of one row, the last first."""
    seq, round, at, entity, gid, action, system, name, before, after, rule, origin, changed_at, note, more = row
    fields = [(name, unpack_value(before), unpack_value(after)), *unpack_lines(more)]
    return [
        Entry(seq, round, at, Journal(entity, gid, action, system, name, old, new, rule, origin, changed_at, note))
        for name, old, new in reversed(fields)
    ]


def journal(
    database: Database, entity: str | None, record: int | None, actions: Sequence[str], since: int, limit: int
) -> list[Entry]:
    """Newest first. `record` is an id; `since`: only rounds after this one."""
    where, parameters = ["j.round > ?"], [since]
    for condition, value in (("e.name = ?", entity), ("j.record = ?", record)):
        if value is not None:
            where.append(condition)
            parameters.append(value)  # type: ignore[arg-type]
    if actions:
        where.append(f"j.action IN ({', '.join('?' * len(actions))})")
    sql = f"{ENTRY} WHERE {' AND '.join(where)} ORDER BY j.seq DESC LIMIT ?"
    rows = database.rows(sql, (*parameters, *actions, limit))
    return [entry for row in rows for entry in _entries(row)][:limit]


def last(database: Database, record: int) -> dict[str, Entry]:
    """By field ('' = the record as a whole): the newest line."""
    found: dict[str, Entry] = {}
    for row in database.rows(f"{ENTRY} WHERE j.record = ? ORDER BY j.seq DESC", (record,)):
        for entry in _entries(row):
            found.setdefault(entry.line.field, entry)
    return found


def summary(database: Database, since: int) -> list[Count]:
    """Lines of rounds after `since`, by entity, action, system and rule."""
    rows = database.rows(
        "SELECT e.name, action, system, rule, sum(1 + extra) FROM journal j JOIN entity e ON e.id = j.entity "
        "WHERE round > ? GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        (since,),
    )
    return [Count(*row) for row in rows]


def status(database: Database, catalog: Catalog) -> Status:
    rows, systems, entities = database.rows, catalog.system_names, catalog.entity_names

    def counted(sql: str) -> dict[Any, int]:
        """(entity, system, …) -> count, for those that the configuration names."""
        return {(entities[e], systems[s], *rest): n for e, s, *rest, n in rows(sql) if e in entities and s in systems}

    result = Status()
    for result.round, result.at in rows("SELECT number, at FROM round"):
        pass
    by_entity = rows("SELECT entity, count(*) FROM record GROUP BY entity")
    result.records = {entities[e]: n for e, n in by_entity if e in entities}
    result.links = counted("SELECT entity, system, count(*) FROM side WHERE speaks = 1 GROUP BY 1, 2")
    result.absent = counted(
        "SELECT entity, system, existence, count(*) FROM side WHERE existence <> 'live' GROUP BY 1, 2, 3"
    )
    result.unlinked = counted(
        "SELECT c.entity, c.system, count(*) FROM candidate c WHERE NOT EXISTS (SELECT 1 FROM side s "
        "WHERE s.entity = c.entity AND s.system = c.system AND s.key = c.key AND s.speaks = 1) GROUP BY 1, 2"
    )
    result.pending = counted(f"SELECT entity, id % {SLOT}, reason, count(*) FROM pending GROUP BY 1, 2, 3")
    by_kind = rows("SELECT entity, kind, count(*) FROM review WHERE closed IS NULL GROUP BY 1, 2")
    result.reviews = {(entities[e], kind): n for e, kind, n in by_kind if e in entities}
    result.looks = int(database.value("SELECT count(*) FROM look"))
    due = (database.value("SELECT min(due) FROM look"), database.value("SELECT min(due) FROM pending"))
    result.next = min((at for at in due if at is not None), default=None)
    result.positions = tuple(systems[s] for (s,) in rows("SELECT system FROM position ORDER BY 1") if s in systems)
    result.unsettled = {systems[s]: n for s, n in rows("SELECT system, round FROM unsettled") if s in systems}
    result.meta = dict(rows("SELECT name, value FROM meta"))
    return result
