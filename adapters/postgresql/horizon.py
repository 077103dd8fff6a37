"""Which transactions are open in a PostgreSQL database. One statement.

`pg_stat_activity` shows a transaction from its first statement until it is over and its rows can be seen; its
`xact_start` is what `now()` says in it. The snapshot's xmin would prove nothing: a transaction that has only read so
far has no number yet, and may stamp its rows with its start all the same. Prepared transactions are asked for after
the sessions, so that one which is prepared meanwhile is in one of the two; when it began is known only from the look
before. Vacuum and parallel workers write no rows of their own.

What others do is hidden from an account without pg_read_all_stats: their `xact_start` is NULL, which must not be
read as "no transaction". A standby does not know what is open on its primary.
"""

from __future__ import annotations

from adapters.horizon import Look, Open
from adapters.postgresql.session import Session
from adapters.postgresql.sql import quote

MICROS = "(extract(epoch FROM {}) * 1000000)::bigint"
HIDDEN = "a.query = '<insufficient privilege>' AND a.xact_start IS NULL AND a.state IS NULL"
LOOK = f"""
SELECT 'clock', {MICROS.format("statement_timestamp()")}, current_user::text,
       CASE WHEN pg_is_in_recovery() THEN 'standby'
            WHEN NOT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') THEN 'hidden' ELSE '' END
UNION ALL
SELECT concat_ws(' ', a.pid, a.xact_start), {MICROS.format("a.xact_start")},
       concat('session ', a.pid, ' of ' || a.usename),
       CASE WHEN {HIDDEN} THEN 'hidden' WHEN a.state = 'disabled' THEN 'disabled'
            WHEN a.backend_type LIKE 'logical replication%' THEN 'replicated' ELSE '' END
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
  AND a.backend_type IS DISTINCT FROM 'parallel worker'
  AND (a.xact_start IS NOT NULL OR a.state = 'disabled' OR a.query = '<insufficient privilege>'
       OR a.backend_type LIKE 'logical replication%')
UNION ALL
SELECT 'subscription', NULL, '', 'replicated' FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database()
UNION ALL
SELECT concat_ws(' ', 'prepared', p.transaction, p.prepared), {MICROS.format("p.prepared")},
       concat('prepared transaction ', p.gid), 'prepared'
FROM pg_prepared_xacts p WHERE p.database = current_database()
"""
REASONS = {
    "standby": "the server is a standby, which does not know what is open on its primary",
    "hidden": "the account may not see the transactions of others",
    "disabled": "track_activities is off for a session, so that its transactions do not show",
    "replicated": "rows come by logical replication, with the stamps of their origin",
}


def look(session: Session) -> Look:
    """Ours errors."""
    clock, who, marks, found = 0, "", set(), {}
    for name, since, text, mark in session.query(LOOK):
        if name == "clock":
            clock, who = since, text
        elif since is not None:
            found[name] = Open(since, text, mark == "prepared")
        marks.add(mark)
    reasons = [f"{text} ({grant(who)})" if m == "hidden" else text for m, text in REASONS.items() if m in marks]
    return Look(clock, found, "; ".join(reasons))


def grant(account: str) -> str:
    return f"GRANT pg_read_all_stats TO {quote(account)};"


def missing_grant(session: Session) -> str | None:
    """What lets the account see what others do, if it may not."""
    who, sees = session.query("SELECT current_user::text, pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")[0]
    return None if sees else grant(who)
