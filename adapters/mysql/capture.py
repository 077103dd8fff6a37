"""The change log that the triggers write: read in the order of its ids, emptied by exactly the ids that were read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from adapters.convert import MYSQL
from adapters.keys import normal
from adapters.mysql.connection import Session
from adapters.mysql.objects import LOST, UNKNOWN
from adapters.mysql.sql import chunks, literal, values
from adapters.mysql.tables import Bound
from adapters.rows import ENTRY
from config.errors import Halt, Problem
from config.records import Change, Key, Op

SOME = 20_000
"""Entries that are let go of in one statement."""
PATIENCE = 5.0
"""Seconds after which other work has its turn, when a backlog is let go of."""
OPS = {"I": Op.INSERT, "U": Op.UPDATE, "D": Op.DELETE}
FOLLOWED = "rows that refer to others were deleted or changed with them, and it could not be noted which"
Ranges = list[tuple[int, int]]


class Found(NamedTuple):
    changes: list[Change]
    more: bool
    gaps: dict[str, str]  # by entity


def log_changes(
    session: Session, changes: str, bounds: Mapping[str, Sequence[Bound]], held: Ranges, limit: int
) -> tuple[Found, Ranges]:
    """Up to `limit` distinct records, and the ids of all rows that speak of them.

    A lower bound on the id would not be safe: a transaction that commits late has low ids (I11). `held` are ids that
    were handed out before and are still there.
    """
    skip = sum(last - first + 1 for first, last in held)
    asked = skip + 4 * limit + 1
    rows = session.query(f"SELECT id, tbl, `key`, op FROM {changes} ORDER BY id LIMIT {asked}")
    known = set().union(*(range(first, last + 1) for first, last in held)) if held else set()
    records: dict[tuple[str, Key], Op] = {}
    gaps: dict[str, str] = {}
    taken: list[int] = []
    more = len(rows) == asked
    for text, tag, key, op in rows:
        number = int(text)
        if number in known:
            continue
        if op == LOST:
            raise lost(session.name, tag)
        if op == UNKNOWN:
            gaps |= {b.table.entity: FOLLOWED for b in bounds.get(tag, ())}
            taken.append(number)
            continue
        targets = [(b.table.entity, k) for b in bounds.get(tag, ()) for k in _normal(b, key)]
        if len(records) + sum(t not in records for t in targets) > limit and records:
            more = True
            break
        records.update((target, OPS.get(op, Op.LOOK)) for target in targets)
        taken.append(number)
    found = [Change(entity, key, op) for (entity, key), op in records.items()]
    return Found(found, more, gaps), ranges(taken)


def lost(system: str, table: str) -> Halt:
    message = f"the table {table} was altered: its trigger finds the primary key no more, and changes were not noted."
    hint = "correct the mapping, run `accord prepare`, and let a sweep find what was missed"
    return Halt(Problem("altered", message, hint, system=system))


def _normal(bound: Bound, key: str) -> list[Key]:
    try:
        return [normal(bound.table.key, key, MYSQL)]
    except ValueError:  # noted when the table had another key: that row is another one now
        return []


def ranges(numbers: Sequence[int]) -> Ranges:
    """Ascending numbers as (first, last) of runs without a gap: a gap may still be filled by a late commit."""
    found: Ranges = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def forget(session: Session, changes: str, held: Ranges) -> None:
    """Delete exactly these rows. May repeat.

    The server locks the row behind a range, too, and would wait for somebody who has written it and not committed: so
    the last row of each range goes by itself.
    """
    for first, last in held:
        if first != last:
            session.query(f"DELETE FROM {changes} WHERE id BETWEEN {first} AND {last - 1}")
    singles = [str(last) for _, last in held]
    for start, stop in chunks(singles, session.packet):
        session.query(f"DELETE FROM {changes} WHERE id IN ({','.join(singles[start:stop])})")


def backlog(session: Session, changes: str) -> int:
    """Bytes that waiting entries take, about: as many as there are ids from the first to the last."""
    return ENTRY * int(session.query(f"SELECT COALESCE(MAX(id) - MIN(id) + 1, 0) FROM {changes}")[0][0])


def let_go(session: Session, changes: str) -> bool:
    """Some entries at a time, so that nobody waits for long. False: there are more."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        rows = session.query(f"SELECT id FROM {changes} ORDER BY id LIMIT {SOME}")
        if not rows:
            return True
        forget(session, changes, ranges([int(id) for (id,) in rows]))
    return False


def dump(held: Ranges) -> bytes:
    return msgspec.msgpack.encode(held)


def load(text: bytes) -> Ranges:
    return msgspec.msgpack.decode(text, type=Ranges) if text else []


def drop_echo(session: Session, changes: str, bound: Bound, keys: Sequence[Key]) -> None:
    """Remove what the triggers noted of our own writes to these rows: their effect was read back (driver's errors).

    What an application's trigger did to *other* rows in our transaction stays, and is looked at.
    """
    literals = [f"({literal(key)})" for key in keys]
    for start, stop in chunks(literals, session.packet):
        session.raw(
            f"DELETE c FROM {values(['accord_k'], literals[start:stop])} STRAIGHT_JOIN {changes} c"
            f" ON c.tbl = {literal(bound.tag)}"
            " AND c.`key` = CONVERT(s.accord_k USING utf8mb4) COLLATE utf8mb4_nopad_bin WHERE c.own = 1"
        )
