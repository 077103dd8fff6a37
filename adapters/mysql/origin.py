"""Which database this is, and whether the triggers, the change log and the tables are the ones that they were.

MariaDB gives a database no identity of its own. When the crosswalk was made tells it from a copy that was loaded from
a dump; `server_uid`, which follows the machine and the port, tells the server from another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from adapters.mysql.connection import Session
from adapters.mysql.objects import Names, by_table, triggers
from adapters.mysql.sql import literal, qualified
from adapters.mysql.tables import Bound
from adapters.origin import LOG, TABLE, TRIGGER, Origin, Part, host_of
from config.urls import Target

FIRST = 10**15
"""All ids of the change log are above it (see `objects.seed_statements`), unless somebody has truncated it."""

SERVER = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'SERVER_UID'"


def origin(session: Session, target: Target, names: Names, bounds: Sequence[Bound]) -> Origin:
    """Reads only."""
    found = session.query(SERVER)
    server = found[0][0] if found else "unknown"
    host, database = session.query("SELECT @@hostname, DATABASE()")[0]
    own = [names.changes, names.crosswalk]
    made = dict(_tables(session, {(b.database, b.table.name) for b in bounds}, names))
    place = f"{host_of(target)}/{database}"
    told = f'the database "{database}" at {host_of(target)} (on {host}, server {server})'
    parts = [
        *(Part("the server", server, tuple(b.table.entity for b in bounds), changed="was moved or replaced"),),
        *_business(bounds, made),
        *_captured(session, names, bounds, made.get(own[0], "")),
        *_logged(bounds, made.get(own[1], "")),
    ]
    return Origin(f"{database}/{made.get(own[1], '')}", server, place, told, tuple(parts))


def _tables(session: Session, business: Iterable[tuple[str, str]], names: Names) -> Iterator[tuple[str, str]]:
    """Qualified name -> when it was made, of the application's tables and of Accord's own."""
    pairs = {*business, *((names.database, f"{names.prefix}_{table}") for table in ("changes", "crosswalk"))}
    for schema in sorted({schema for schema, _ in pairs}):
        listed = ", ".join(literal(table) for s, table in sorted(pairs) if s == schema)
        rows = session.query(
            "SELECT TABLE_NAME, CREATE_TIME, AUTO_INCREMENT FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = {literal(schema)} AND TABLE_NAME IN ({listed})"
        )
        for table, at, following in rows:
            name = qualified(schema, table)
            emptied = name == names.changes and int(following or 0) < FIRST
            yield name, f"{at}/emptied" if emptied else str(at)


def _business(bounds: Sequence[Bound], made: dict[str, str]) -> Iterator[Part]:
    for bound in bounds:
        id = made.get(qualified(bound.database, bound.table.name), "")
        yield Part(f"the table {bound.tag}", id, (bound.table.entity,), "" if id else "is missing", TABLE)


def _captured(session: Session, names: Names, bounds: Sequence[Bound], log: str) -> Iterator[Part]:
    """The triggers of each captured table, and the log that they write."""
    entities = {qualified(g[0].database, g[0].table.name): _names(g) for g in by_table(bounds).values()}
    if not entities:
        return
    there: dict[tuple[str, str], str] = {}  # a table that is renamed takes its triggers along
    for schema in sorted({b.database for b in bounds}):
        rows = session.query(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, CREATED FROM information_schema.TRIGGERS"
            f" WHERE TRIGGER_SCHEMA = {literal(schema)}"
        )
        there |= {(qualified(schema, name), qualified(schema, table)): str(at) for name, table, at in rows}
    for trigger in triggers(names, bounds):
        id = there.get((trigger.name, trigger.table), "")
        name = f"the trigger {trigger.name} on {trigger.table}".replace("`", "")
        yield Part(name, id, entities[trigger.table], "" if id else "is missing", TRIGGER)
    everything = tuple(entity for group in entities.values() for entity in group)
    yield Part("the change log", log, everything, "" if log else "is missing", LOG)


def _logged(bounds: Sequence[Bound], made: str) -> Iterator[Part]:
    """Where the log itself stands is part of the position; here is whether, and since when, it is read at all."""
    for bound in bounds:
        if bound.logged:
            broken = "" if made else "is not read: Accord's tables are missing"
            yield Part(f"the binary log for {bound.tag}", made, (bound.table.entity,), broken)


def _names(group: Sequence[Bound]) -> tuple[str, ...]:
    return tuple(bound.table.entity for bound in group)
