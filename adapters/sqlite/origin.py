"""Which file this is, and whether the triggers, the change log and the tables are the ones that they were.

`accord_origin` holds a random id of the database, and one that `prepare` draws anew whenever it makes a trigger or
the change log: nothing else in a SQLite file tells a trigger from one of the same text that was made later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.origin import LOG, TABLE, TRIGGER, Origin, Part
from adapters.sqlite import objects
from adapters.sqlite.bound import Bound
from adapters.sqlite.objects import Names
from adapters.sqlite.session import Session


def origin(session: Session, path: Path, names: Names, bounds: Sequence[Bound]) -> Origin:
    """Reads only."""
    with session.snapshot():
        rows = session.query("SELECT type, name, tbl_name, rowid, rootpage FROM sqlite_master")
        there = {(type, name): f"{table}/{rowid}/{page}" for type, name, table, rowid, page in rows}
        known = ("table", f"{names.prefix}_origin") in there
        found = session.query(f"SELECT database, triggers FROM {names.origin}") if known else []
        database, made = found[0] if found else ("", "")
        parts = [*_tables(bounds, there), *_captured(session, names, bounds, there, made)]
    inode = str(path.stat().st_ino)
    entities = tuple(b.table.entity for b in bounds)
    parts.append(Part("the file", inode, entities, changed="was replaced by another one"))
    told = f"the file {path} (database {database or 'not prepared'}, inode {inode})"
    return Origin(database, inode, str(path.absolute()), told, tuple(parts))


def _tables(bounds: Sequence[Bound], there: dict[tuple[str, str], str]) -> Iterator[Part]:
    for bound in bounds:
        id = there.get(("table", bound.table.name), there.get(("view", bound.table.name), ""))
        yield Part(f"the table {bound.table.name}", id, (bound.table.entity,), "" if id else "is missing", TABLE)


def _captured(
    session: Session, names: Names, bounds: Sequence[Bound], there: dict[tuple[str, str], str], made: str
) -> Iterator[Part]:
    captured = {b.table.name: tuple(o.table.entity for o in bounds if o.table.name == b.table.name) for b in bounds}
    wanted = objects.triggers(names, bounds)
    if not wanted:
        return
    for trigger in wanted:
        table = next(name for name in captured if trigger.name in _names(names, name))
        id = there.get(("trigger", trigger.name), "")
        id = id if id.startswith(f"{table}/") else ""  # a table that is renamed takes its triggers along
        why = "" if id else "is missing"
        yield Part(f"the trigger {trigger.name}", id and f"{made}/{id}", captured[table], why, TRIGGER)
    log = there.get(("table", f"{names.prefix}_changes"), "")
    # The row with the highest id always stays (see `objects.seed`): a log without any was emptied by somebody.
    state = "full" if log and session.query(f"SELECT 1 FROM {names.changes} LIMIT 1") else "empty"
    entities = tuple(b.table.entity for b in bounds if b.captured)
    yield Part("the change log", log and f"{made}/{log}/{state}", entities, "" if log else "is missing", LOG)


def _names(names: Names, table: str) -> set[str]:
    return {names.trigger(table, event) for event in ("insert", "update", "delete")}
