"""Which database this is, and whether the triggers, the change log and the tables are the ones that they were.

MariaDB gives a database no identity of its own. When the crosswalk was made tells it from a copy that was loaded from
a dump; `server_uid`, which follows the machine and the port, tells the server from another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from adapters.mysql.cascades import Place
from adapters.mysql.connection import Session
from adapters.mysql.objects import Names, Trigger, by_table, plain
from adapters.mysql.sql import literal, qualified
from adapters.mysql.tables import Bound
from adapters.origin import LOG, TABLE, TRIGGER, Origin, Part, host_of
from config.urls import Target

FIRST = 10**15
"""All ids of the change log are above it (see `objects.seed_statements`), unless somebody has truncated it."""

SERVER = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES WHERE VARIABLE_NAME = 'SERVER_UID'"


def origin(
    session: Session,
    target: Target,
    names: Names,
    bounds: Sequence[Bound],
    places: Iterable[Place],
    wanted: Callable[[Mapping[str, str]], Sequence[Trigger]],
) -> Origin:
    """Reads only. `places`: more tables by which `wanted`, given when each of all tables was made, tells the triggers
    that capture takes."""
    found = session.query(SERVER)
    server = found[0][0] if found else "unknown"
    host, database = session.query("SELECT @@hostname, DATABASE()")[0]
    own = [names.changes, names.crosswalk]
    business = {(b.database, b.table.name) for b in bounds}
    made = dict(_tables(session, business | set(places), names))
    triggers = wanted({name: at for name, at in made.items() if name not in own})
    place = f"{host_of(target)}/{database}"
    told = f'the database "{database}" at {host_of(target)} (on {host}, server {server})'
    parts = [
        *(Part("the server", server, tuple(b.table.entity for b in bounds), changed="was moved or replaced"),),
        *_business(bounds, made),
        *_captured(session, triggers, bounds, made.get(own[0], "")),
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


def _captured(session: Session, triggers: Sequence[Trigger], bounds: Sequence[Bound], log: str) -> Iterator[Part]:
    """The triggers that capture takes, and the log that they write."""
    if not triggers:
        return
    there: dict[tuple[str, str], tuple[str, str]] = {}  # a table that is renamed takes its triggers along
    following = ", ".join(literal(t.name.rpartition("`.`")[2][:-1]) for t in triggers if t.follows) or "''"
    for schema in sorted({t.place[0] for t in triggers}):
        rows = session.query(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, CREATED,"
            f" IF(TRIGGER_NAME IN ({following}), ACTION_STATEMENT, '') FROM information_schema.TRIGGERS"
            f" WHERE TRIGGER_SCHEMA = {literal(schema)}"
        )
        there |= {(qualified(schema, n), qualified(schema, table)): (str(at), body) for n, table, at, body in rows}
    for trigger in triggers:
        id, body = there.get((trigger.name, trigger.table), ("", ""))
        name = f"the trigger {trigger.name} on {trigger.table}".replace("`", "")
        broken = "" if id else "is missing"
        if id and trigger.follows and plain(body) != plain(trigger.body):
            broken = "was made for other foreign keys"
        yield Part(name, id, trigger.entities, broken, TRIGGER)
    everything = tuple(bound.table.entity for group in by_table(bounds).values() for bound in group)
    yield Part("the change log", log, everything, "" if log else "is missing", LOG)


def _logged(bounds: Sequence[Bound], made: str) -> Iterator[Part]:
    """Where the log itself stands is part of the position; here is whether, and since when, it is read at all."""
    for bound in bounds:
        if bound.logged:
            broken = "" if made else "is not read: Accord's tables are missing"
            yield Part(f"the binary log for {bound.tag}", made, (bound.table.entity,), broken)
