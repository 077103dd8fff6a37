"""Children are deleted by key, never by cascade: a delete whose row others refer to is refused here.

SQLite enforces foreign keys only where a connection asks for it; ours never does, so nothing cascades behind our back,
and what the database would refuse is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.convert import SQLITE
from adapters.keys import key_of
from adapters.sqlite.bound import Bound
from adapters.sqlite.reader import among
from adapters.sqlite.session import Session
from adapters.sqlite.sql import quote
from config.records import ForeignKey, Key, Landing, Outcome, WriteKind

if TYPE_CHECKING:
    from adapters.sqlite.writer import Job

WOULD = {
    "cascade": "would be deleted with it",
    "set null": "would lose the reference",
    "set default": "would be changed",
}


def refuse(session: Session, bound: Bound, jobs: list[Job], outcomes: dict[int, Outcome]) -> list[Job]:
    """The jobs without the deletes of rows that still have children; those are REJECTED."""
    deletes = {j.write.key: j for j in jobs if j.write.kind is WriteKind.DELETE and j.write.key is not None}
    left = dict(deletes)
    refused = True
    while refused and left:  # a row that stays may itself be the child of another one
        refused = False
        for fk in bound.table.info.referenced_by:
            for key, count in _children(session, bound, fk, list(left)).items():
                job, refused = left.pop(key), True
                outcomes[job.place] = _refused(job, fk, count)
    return [j for j in jobs if j.write.kind is not WriteKind.DELETE or j.write.key in left]


def _children(session: Session, bound: Bound, fk: ForeignKey, keys: Sequence[Key]) -> dict[Key, int]:
    """How many rows refer to each of these rows, without those that are deleted in the same call."""
    own = fk.table == bound.table.name
    pairs = zip(fk.columns, fk.to_columns, strict=True)
    on = " AND ".join(f"c.{quote(child)} = t.{quote(parent)}" for child, parent in pairs)
    child_key = ", ".join(f"c.{quote(c.name)}" for c in bound.table.key) if own else "1"
    counts: dict[Key, int] = {}
    dying = set(keys)
    for condition, parameters in among(bound, [bound.key_params(key) for key in keys]):
        text = (
            f"SELECT {bound.key_sql}, {child_key} FROM {bound.sql} t JOIN {quote(fk.table)} c ON {on} WHERE {condition}"
        )
        for row in session.query(text, parameters):
            key = bound.key(row)
            if key in dying and not (own and key_of(bound.table.key, row[bound.width :], SQLITE) in dying):
                counts[key] = counts.get(key, 0) + 1
    return counts


def _refused(job: Job, fk: ForeignKey, count: int) -> Outcome:
    rows = f"{count} row{'s' if count > 1 else ''} of {fk.table}"
    rule = f"ON DELETE {fk.on_delete.upper()}"
    what = WOULD.get(fk.on_delete, "would be left without it")
    message = f"{rows} refer{'s' if count == 1 else ''} to it by {', '.join(fk.columns)} and {what} ({rule})"
    hint = (
        f"delete or move the rows of {fk.table} first, or map the table: children are deleted by key, never by cascade"
    )
    return Outcome(Landing.REJECTED, job.write.key, job.before, message=message, hint=hint)
