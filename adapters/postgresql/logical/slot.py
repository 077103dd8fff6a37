"""The publication, which says what the log is read for, and the slot, by which the server keeps the log for us.

`prepare` makes the publication. The slot is made by the agent itself when it starts: from then on the server keeps all
of its log until the agent has dealt with it, so nobody makes one before it is needed. Its name is another one each
time it is made: so a slot that was dropped and made again is known to be another one.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from adapters.origin import Part
from adapters.postgresql.bound import Bound
from adapters.postgresql.logical.making import Slot
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, literal, quote

OPERATIONS = ("insert", "update", "delete", "truncate")
LOOKS = 100  # whether a connection that was ended is gone,
PAUSE = 0.05  # seconds apart
GONE = "was dropped, or had fallen too far behind"
SLOTS = """
SELECT s.slot_name::text, s.plugin::text, s.wal_status IS NOT DISTINCT FROM 'lost', s.active_pid,
       (s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint
FROM pg_replication_slots s WHERE s.database = current_database() AND s.slot_name ~ $1 ORDER BY 1
"""
HOLDER = """
SELECT held FROM (
    SELECT concat('session ', a.pid, ' of ' || a.usename) AS held, a.backend_xid AS xid FROM pg_stat_activity a
    UNION ALL SELECT concat('prepared transaction ', p.gid), p.transaction FROM pg_prepared_xacts p) t
WHERE t.xid IS NOT NULL ORDER BY age(t.xid) DESC LIMIT 1
"""
PUBLICATION = """
SELECT concat_ws('/', p.oid, p.xmin), p.pubviaroot,
       array_to_string(ARRAY[CASE WHEN NOT p.pubinsert THEN 'inserts' END, CASE WHEN NOT p.pubupdate THEN 'updates' END,
                             CASE WHEN NOT p.pubdelete THEN 'deletes' END,
                             CASE WHEN NOT p.pubtruncate THEN 'truncations' END], ', ')
FROM pg_publication p WHERE p.pubname = $1
"""
# By table: its entry in the publication, and the rows of its parts that are known by other columns than the key.
PUBLISHED = """
SELECT coalesce(concat_ws('/', r.oid, r.xmin), ''), c.relpersistence::text,
    (SELECT string_agg(DISTINCT l.oid::regclass::text, ', ') FROM pg_class l
     WHERE l.oid IN (SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE t.isleaf UNION ALL SELECT c.oid)
       AND l.relkind = 'r' AND l.relreplident <> 'f' AND NOT coalesce(
           (SELECT array_agg(a.attname::text) @> string_to_array(w.key, E'\\x1f')
            FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
            WHERE i.indexrelid = pg_get_replica_identity_index(l.oid)), false)),
    n.nspname::text, c.relname::text, c.relkind::text = 'p',
    -- Since PostgreSQL 15 an entry may leave out rows and columns.
    coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY w(tbl, key, n)
LEFT JOIN pg_class c ON c.oid = to_regclass(w.tbl) LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication p ON p.pubname = $3 LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
ORDER BY w.n
"""


class Published(NamedTuple):
    """One table in the publication."""

    id: str  # "": it is not in it
    persistence: str  # "u": unlogged; "": there is no such table
    strange: str  # tables or partitions whose changes do not name the key
    name: tuple[str, str] | None  # schema and table, as the log names it
    parted: bool  # it has partitions
    partial: bool  # only some of its rows or columns are published


class Slots:
    """What stands in the database for the log's reader."""

    def __init__(self, session: Session, prefix: str, bounds: Sequence[Bound]) -> None:
        self._session, self.publication = session, publication_of(prefix)
        self._bounds = list({b.tag: b for b in bounds}.values())
        self._entities = {tag: tuple(b.entity for b in bounds if b.tag == tag) for tag in (b.tag for b in bounds)}
        self._prefix, self._pattern = prefix, pattern(prefix)

    @property
    def bounds(self) -> list[Bound]:
        """One for each table."""
        return self._bounds

    # --- the slot ----------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Has `prepare` been there?"""
        return bool(self._session.query("SELECT 1 FROM pg_publication WHERE pubname = $1", [self.publication]))

    def take(self, slot: str | None, lsn: int) -> Slot | None:
        """The slot that keeps all behind this position of that slot; those that do not go. None: there is none. With no
        slot given any will do."""
        found: Slot | None = None
        for name, plugin, lost, active, confirmed in self._session.query(SLOTS, [self._pattern]):
            half = confirmed is None  # somebody who is gone was making it
            if half or lost or plugin != "pgoutput" or found is not None or (name == slot and confirmed > lsn):
                self.drop(name, active)
            else:
                found = Slot(name, confirmed)
        return found

    def new_name(self) -> str:
        return f"{stem(self._prefix)}{secrets.token_hex(4)}"

    def waits_for(self) -> str:
        """Whose transaction keeps a slot from being made, as far as one can see: the oldest that has written."""
        rows = self._session.query(HOLDER)
        return str(rows[0][0]) if rows else "what was open already"

    def drop(self, name: str, active: int | None = None) -> None:
        if active:
            self.hang_up(active)
        text = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1"
        self._session.query(text, [name])

    def drop_all(self) -> None:
        for name, _, _, active, _ in self._session.query(SLOTS, [self._pattern]):
            self.drop(name, active)

    def hang_up(self, pid: int) -> None:
        """End a connection that reads one of our slots, and wait until it is gone (for some seconds)."""
        reads = "FROM pg_replication_slots WHERE active_pid = $1::int"
        self._session.query(f"SELECT pg_terminate_backend(active_pid) {reads}", [str(pid)])
        for _ in range(LOOKS):
            if not self._session.query(f"SELECT 1 {reads}", [str(pid)]):
                return
            time.sleep(PAUSE)

    def kept(self) -> int:
        """Bytes of log that the server keeps for us."""
        text = "SELECT coalesce(max(pg_current_wal_lsn() - restart_lsn), 0)::bigint FROM pg_replication_slots"
        ours = "database = current_database() AND slot_name ~ $1"  # one that is being made keeps log, too
        return int(self._session.query(f"{text} WHERE {ours}", [self._pattern])[0][0])

    def names(self) -> list[str]:
        """Without one that is being made."""
        return [row[0] for row in self._session.query(SLOTS, [self._pattern]) if row[4] is not None]

    # --- what capture relies on --------------------------------------------------------------------------------------

    def published(self) -> dict[str, Published]:
        """By the table's tag."""
        keys = ["\x1f".join(c.name for c in b.table.key) for b in self._bounds]
        rows = self._session.query(PUBLISHED, [array([b.name for b in self._bounds]), array(keys), self.publication])
        return {
            b.tag: Published(id, kind or "", strange or "", (schema, name) if name else None, bool(parted), partial)
            for b, (id, kind, strange, schema, name, parted, partial) in zip(self._bounds, rows, strict=True)
        }

    def parts(self, waiting: str) -> Iterator[Part]:
        """`waiting`: why the slot is not made yet."""
        everything = tuple(e for entities in self._entities.values() for e in entities)
        rows = self._session.query(PUBLICATION, [self.publication])
        id, by_root, missing = rows[0] if rows else ("", True, "")
        why = "is missing" if not rows else f"leaves out {missing}" if missing else ""
        yield Part(f"the publication {self.publication}", id, everything, why)
        # One that is missing is made again by the agent itself: a gap, and no reason to wait for people.
        yield Part("the replication slot", ",".join(self.names()), everything, waiting, GONE)
        for tag, found in self.published().items():
            why = "is missing" if not found.id else ""
            if found.partial:
                why = "leaves out rows or columns"
            elif found.parted and not by_root:
                why = "names its partitions, not the table (publish_via_partition_root)"
            elif found.strange:
                why = f"does not name the key of {found.strange} (its replica identity)"
            strange = f"/{found.strange}" if found.strange else ""
            changed = "was taken out for a while"
            name = f"the entry of {tag} in the publication {self.publication}"
            yield Part(name, found.id + strange, self._entities[tag], why, changed)

    # --- what `prepare` makes ----------------------------------------------------------------------------------------

    def missing(self) -> Iterator[tuple[str, str | None, bool]]:
        """What is to be made, in words, with the entity that it is about; and whether changes are missed meanwhile."""
        rows = self._session.query(PUBLICATION, [self.publication])
        if not rows:
            yield f"the publication {self.publication} is missing", None, True
        elif rows[0][2]:
            yield f"the publication {self.publication} leaves out {rows[0][2]}", None, True
        elif not rows[0][1]:
            yield f"the publication {self.publication} is not by the root of partitioned tables", None, False
        for tag, found in self.published().items():
            if rows and not found.id:
                yield f"the table {tag} is not in the publication {self.publication}", self._entities[tag][0], True
            elif found.partial:
                text = f"the publication {self.publication} leaves out rows or columns of {tag}"
                yield text, self._entities[tag][0], True
        for (tag,) in self._left_over():
            yield f"the table {tag} is in the publication {self.publication} and not captured any more", None, False

    def stale(self) -> str:
        """SQL that takes out of the publication what is not captured from the log any more."""
        name = quote(self.publication)
        return "\n".join(f"ALTER PUBLICATION {name} DROP TABLE {table};" for (table,) in self._left_over())

    def _left_over(self) -> list[tuple[str]]:
        rows = self._session.query(
            "SELECT r.prrelid::regclass::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
            " WHERE p.pubname = $1 AND r.prrelid NOT IN"
            " (SELECT o FROM (SELECT to_regclass(t)::oid AS o FROM unnest($2::text[]) t) s WHERE o IS NOT NULL)",
            [self.publication, array([b.name for b in self._bounds])],
        )
        return [(row[0],) for row in rows]


def publication_of(prefix: str) -> str:
    return f"{prefix}_log"


def stem(prefix: str) -> str:
    """What the names of our slots begin with; they are unique on the whole server."""
    return f"{re.sub('[^a-z0-9_]', '_', prefix.lower())[:40]}_log_"


def pattern(prefix: str) -> str:
    return f"^{stem(prefix)}[0-9a-f]{{8}}$"


def script(prefix: str, bounds: Sequence[Bound]) -> str:
    """Makes the publication and puts the tables into it; what is there already stays as it is."""
    if not bounds:
        return ""
    name, known = quote(publication_of(prefix)), literal(publication_of(prefix))
    options = f"publish = '{', '.join(OPERATIONS)}', publish_via_partition_root = true"
    parts = [
        f"""
-- What the agent reads in the server's log: rows of these tables. To put a table into it takes the table's owner.
-- The agent makes a replication slot for itself when it starts (it needs the attribute REPLICATION for that), and
-- `accord unprepare` drops it: while there is one, the server keeps its log until the agent has read it.
DO $accord$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_publication WHERE pubname = {known}) THEN
        CREATE PUBLICATION {name} WITH ({options});
    ELSIF NOT EXISTS (SELECT 1 FROM pg_publication WHERE pubname = {known} AND pubinsert AND pubupdate AND pubdelete
                      AND pubtruncate AND pubviaroot) THEN
        ALTER PUBLICATION {name} SET ({options});
    END IF;
END $accord$;"""
    ]
    for bound in {b.tag: b for b in bounds}.values():
        table = literal(bound.name)
        parts.append(
            f"""DO $accord$ BEGIN
    IF EXISTS (SELECT 1 FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
               WHERE p.pubname = {known} AND r.prrelid = {table}::regclass
               AND coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL) THEN
        ALTER PUBLICATION {name} DROP TABLE {bound.name};
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
                   WHERE p.pubname = {known} AND r.prrelid = {table}::regclass) THEN
        IF EXISTS (SELECT 1 FROM pg_class c WHERE c.oid = {table}::regclass AND c.relkind = 'r'
                   AND c.relreplident <> 'f' AND pg_get_replica_identity_index(c.oid) IS NULL) THEN
            RAISE EXCEPTION 'The server would refuse every UPDATE of %: give it a REPLICA IDENTITY first.', {table};
        END IF;
        ALTER PUBLICATION {name} ADD TABLE {bound.name};
    END IF;
END $accord$;"""
        )
    return "\n".join([*parts, ""])


def removal(prefix: str) -> str:
    """Slots and publication. Whoever reads a slot is cut off first."""
    ours = f"database = current_database() AND slot_name ~ {literal(pattern(prefix))}"
    return f"""DO $accord$ BEGIN
    PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND {ours};
    FOR look IN 1..{LOOKS} LOOP
        EXIT WHEN NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE active AND {ours});
        PERFORM pg_sleep({PAUSE});
    END LOOP;
END $accord$;
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE {ours};
DROP PUBLICATION IF EXISTS {quote(publication_of(prefix))};
"""
