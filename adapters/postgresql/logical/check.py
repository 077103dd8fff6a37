"""What would keep the log from being captured. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from adapters.postgresql.bound import Bound
from adapters.postgresql.logical.slot import Slots
from adapters.postgresql.session import Session
from adapters.postgresql.sql import quote
from config.errors import Problem

IDENTITY = "replica-identity"
ABOUT = """
SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int,
       current_setting('max_wal_senders')::int,
       (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_stat_replication),
       r.rolreplication OR r.rolsuper, quote_ident(r.rolname)
FROM pg_roles r WHERE r.rolname = current_user
"""
OWNERS = """
SELECT pg_has_role(c.relowner, 'USAGE'), c.relkind::text, quote_ident(pg_get_userbyid(c.relowner))
FROM pg_class c WHERE c.oid = to_regclass($1)
"""


def check_log(session: Session, prefix: str, bounds: Sequence[Bound]) -> Iterator[Problem]:
    """`bounds`: those that are captured from the log."""
    if not bounds:
        return
    slots = Slots(session, prefix, bounds)
    yield from _server(session, bool(slots.names()))
    published = slots.published()
    for bound in slots.bounds:
        found = published[bound.tag]
        name, about = bound.table.name, partial(Problem, system=session.name, entity=bound.entity)
        if found.persistence == "u":
            hint = f'run as its owner: ALTER TABLE {bound.name} SET LOGGED; or use capture = "trigger"'
            yield about("unlogged", f"changes of {name} are not in the log: the table is unlogged", hint)
        if found.strange:
            columns = ", ".join(quote(c.name) for c in bound.table.key)
            text = (
                f"the log would not name the key ({columns}) of changed rows of {found.strange}, or it has no replica"
            )
            text += " identity at all: then the server would refuse every UPDATE and DELETE once the table is published"
            hint = f"run as its owner: ALTER TABLE {found.strange} REPLICA IDENTITY USING INDEX … (a unique index that"
            hint += ' holds the key, which must be NOT NULL), or … REPLICA IDENTITY FULL; or use capture = "trigger"'
            yield about(IDENTITY, text, hint)
        if not found.id:
            yield from _owner(session, bound)


def _server(session: Session, has_slot: bool) -> Iterator[Problem]:
    level, most, senders, slots, busy, may, who = session.query(ABOUT)[0]
    hint = "in postgresql.conf, then restart the server"
    if level != "logical":
        yield Problem("wal-level", f"wal_level is {level}", f"set wal_level = logical {hint}", system=session.name)
    if not has_slot and slots >= most:
        text = f"all {most} replication slots of the server are taken"
        yield Problem("slots", text, f"raise max_replication_slots {hint}", system=session.name)
    if not has_slot and busy >= senders:
        text = f"all {senders} of max_wal_senders are in use"
        yield Problem("slots", text, f"raise max_wal_senders {hint}", system=session.name)
    if not may:
        hint = f"run as a superuser: ALTER ROLE {who} REPLICATION;"
        yield Problem("privilege", "the account may not read the log", hint, system=session.name)


def _owner(session: Session, bound: Bound) -> Iterator[Problem]:
    for owns, kind, owner in session.query(OWNERS, [bound.name]):
        about = partial(Problem, system=session.name, entity=bound.entity)
        if kind not in "rp":
            text = f"{bound.table.name} is no table: the log holds no rows of it"
            hint = 'map the table behind it, or read it only: capture = "watermark", write = false'
            yield about("view", text, hint)
        elif not owns:
            text = f"only its owner {owner} may have the log read for {bound.table.name}"
            yield about("privilege", text, "let the owner run what `accord prepare --print` says")


def log_notes(session: Session, bounds: Sequence[Bound]) -> list[Problem]:
    """What the server would keep for us while no agent runs."""
    if not bounds:
        return []
    size = session.query(
        "SELECT setting, current_setting('max_slot_wal_keep_size') FROM pg_settings"
        " WHERE name = 'max_slot_wal_keep_size'"
    )[0]
    if size[0] != "-1":
        text = f"the server keeps up to {size[1]} of its log for the agent (max_slot_wal_keep_size)"
        hint = "an agent that falls behind by more makes a new slot and compares all rows: nothing is to be done"
    else:
        text = "while the agent does not run, the server keeps all of its log for it, until its disk is full"
        hint = "set max_slot_wal_keep_size (say 10GB): past it the agent makes a new slot and compares all rows"
    return [Problem("log-kept", text, hint, system=session.name)]
