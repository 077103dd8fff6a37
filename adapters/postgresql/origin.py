"""Which database this is, and whether the triggers, the change log and the tables are the ones that they were.

All of it stands in the catalog, which any account may read. A row of `pg_trigger` is written anew when its trigger is
switched off or on: its `xmin` gives away that this was done between two looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.origin import LOG, TABLE, TRIGGER, Origin, Part, host_of
from adapters.postgresql.bound import Bound
from adapters.postgresql.objects import EVENTS, Objects
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array
from config.urls import Target

DATABASE = """
SELECT d.oid::text, current_database()::text, pg_postmaster_start_time()::text,
       has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       has_function_privilege('pg_catalog.pg_control_checkpoint()', 'EXECUTE'),
       (SELECT string_agg(coalesce(r.rolname, 'everybody'), ', ') FROM pg_db_role_setting s
        LEFT JOIN pg_roles r ON r.oid = s.setrole
        WHERE s.setdatabase IN (0, d.oid) AND 'session_replication_role=replica' = ANY(s.setconfig))
FROM pg_database d WHERE d.datname = current_database()
"""
# A trigger on a partitioned table has a copy on each partition, which may be switched off by itself.
TRIGGERS = """
SELECT concat_ws('/', g.oid, g.xmin, g.tgenabled::text, p.oid, p.xmin, c.ids), g.tgenabled::text || coalesce(c.on, '')
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w(name, tbl, n)
LEFT JOIN pg_trigger g ON g.tgname = w.name AND g.tgrelid = to_regclass(w.tbl)
LEFT JOIN pg_proc p ON p.oid = g.tgfoid
LEFT JOIN LATERAL (SELECT string_agg(concat(k.oid, '.', k.xmin), ',' ORDER BY k.oid) AS ids,
                          string_agg(k.tgenabled::text, '' ORDER BY k.oid) AS on
                   FROM pg_trigger k WHERE k.tgparentid = g.oid) c ON true
ORDER BY w.n
"""
TABLES = """
SELECT concat_ws('/', r.oid, r.relfilenode,
                 (SELECT md5(string_agg(concat_ws('.', t.relid::oid, pg_relation_filenode(t.relid)), ','
                                        ORDER BY t.relid)) FROM pg_partition_tree(r.oid) t))
FROM unnest($1::text[]) WITH ORDINALITY w(tbl, n) LEFT JOIN pg_class r ON r.oid = to_regclass(w.tbl) ORDER BY w.n
"""


def origin(
    session: Session, target: Target, objects: Objects, bounds: list[Bound], more: Sequence[Part] = ()
) -> Origin:
    """Reads only. `more`: parts of captures of another kind."""
    oid, name, started, may_system, may_timeline, replica = session.query(DATABASE)[0]
    system = session.query("SELECT system_identifier::text FROM pg_control_system()")[0][0] if may_system else "unknown"
    place = f"{host_of(target)}/{name}"
    told = f'the database "{name}" at {host_of(target)} (server {system}, database {oid})'
    parts = [*_tables(session, bounds), *_triggers(session, objects), *more]
    everything = tuple(b.entity for b in bounds)
    if may_timeline:
        line = session.query("SELECT timeline_id::text FROM pg_control_checkpoint()")[0][0]
        parts.append(Part("the server", line, everything, changed="failed over, or was recovered to an earlier moment"))
    if replica and objects.groups:
        why = f"do not fire for {replica} (session_replication_role = replica is set there)"
        captured = tuple(b.entity for group in objects.groups.values() for b in group)
        parts.append(Part("the triggers", replica, captured, why, "did not fire for some accounts"))
    return Origin(f"{system}/{oid}", f"{system}/{oid}/{started}", place, told, tuple(parts))


def _tables(session: Session, bounds: list[Bound]) -> Iterator[Part]:
    rows = session.query(TABLES, [array([b.name for b in bounds])])
    for bound, (id,) in zip(bounds, rows, strict=True):
        yield Part(f"the table {bound.tag}", id, (bound.entity,), "" if id else "is missing", TABLE)


def _triggers(session: Session, objects: Objects) -> Iterator[Part]:
    """The triggers of each captured table, and the log that they write."""
    if not objects.groups:
        return
    captured = [(group, event) for group in objects.groups.values() for event in EVENTS]
    names = [objects.trigger(group[0], event) for group, event in captured]
    rows = session.query(TRIGGERS, [array(names), array([group[0].name for group, _ in captured])])
    for (group, _), name, (id, enabled) in zip(captured, names, rows, strict=True):
        why = "is missing" if not enabled else "is switched off" if set(enabled) - {"O", "A"} else ""
        yield Part(f"the trigger {name} on {group[0].tag}", id, tuple(b.entity for b in group), why, TRIGGER)
    log = _log(session, objects)
    entities = tuple(b.entity for group in objects.groups.values() for b in group)
    yield Part("the change log", log, entities, "" if log else "is missing", LOG)


def _log(session: Session, objects: Objects) -> str:
    """It stays the same one when Accord gives its room back (`room.give_back`), not when others empty it."""
    log, fence = objects.name("changes"), objects.name("fence")
    found = session.query(
        "SELECT c.oid::text, pg_relation_filenode(c.oid)::text,"
        " coalesce(has_table_privilege(to_regclass($2), 'SELECT'), false)"
        " FROM pg_class c WHERE c.oid = to_regclass($1)",
        [log, fence],
    )
    if not found:
        return ""
    oid, file, readable = found[0]
    # By way of a document: a fence that an earlier version made has no such columns.
    told = f"SELECT f ->> 'log_was' FROM (SELECT to_jsonb(t) AS f FROM {fence} t) s WHERE f ->> 'log_file' = $1"
    rows = session.query(told, [file]) if readable else []
    return f"{oid}/{rows[0][0] if rows else file}"
