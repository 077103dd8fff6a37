"""The change log gives its room back when it is empty and large: a backlog of a million entries leaves a hundred
megabytes behind, of which vacuum cannot return the indexes.

Only emptying the table by TRUNCATE does, which takes a lock that no writer may hold meanwhile (I12). So it is never
waited for: whoever has noted a change and not committed keeps it from being had, and it is tried again later. It is
held within one statement of the server, for a few milliseconds and until the commit is on the local disk; no answer
of ours has to come in between, which a network could delay.
"""

from __future__ import annotations

import time

from adapters.postgresql.session import Session
from adapters.postgresql.sql import literal, own

LARGE = 16 * 1024 * 1024
"""Bytes with indexes: about 100,000 entries."""
EVERY = 60.0  # seconds between two looks at how large it is


class Room:
    def __init__(self, session: Session, prefix: str) -> None:
        self._session = session
        self._log, self._fence = own(prefix, "changes"), own(prefix, "fence")
        self._due = 0.0

    def give_back(self, floor: int) -> None:
        """Called when a poll has seen nothing. `floor`: no entry has an id up to this one, nor ever will."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY
        if self._session.query(self._worth_it())[0][0]:
            self._session.query(self._statement(floor))

    def empty(self) -> bool:
        """Whatever stands in it. False: it may not be done, or somebody would have to wait."""
        log = self._log
        if not self._session.query(f"SELECT has_table_privilege({literal(log)}, 'TRUNCATE')")[0][0]:
            return False
        self._session.script(
            f"DO $accord$ BEGIN LOCK TABLE {log} IN ACCESS EXCLUSIVE MODE NOWAIT; TRUNCATE {log};"
            " EXCEPTION WHEN lock_not_available THEN NULL; END $accord$"
        )
        return not self._session.query(f"SELECT EXISTS (SELECT FROM {log})")[0][0]

    def _worth_it(self) -> str:
        """SQL: is it large, and may it be done?"""
        log, fence = f"{literal(self._log)}::regclass", f"{literal(self._fence)}::regclass"
        return (
            f"SELECT pg_total_relation_size({log}) >= {LARGE} AND has_table_privilege({log}, 'TRUNCATE')"
            f" AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = {fence} AND attname = 'log_file')"
        )

    def _statement(self, floor: int) -> str:
        """The fence keeps which file the log had before: otherwise it would look as if others had emptied it. Whether
        something stands in the log is asked by the index from the floor on, which takes no time under the lock."""
        log, file = self._log, f"pg_relation_filenode({literal(self._log)})::text"
        return f"""DO $accord$
DECLARE
    before text;
BEGIN
    PERFORM set_config('synchronous_commit', 'local', true);  -- no standby keeps writers waiting
    PERFORM FROM {self._fence} FOR UPDATE NOWAIT;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    LOCK TABLE {log} IN ACCESS EXCLUSIVE MODE NOWAIT;
    IF (SELECT id FROM {log} WHERE id > {floor} ORDER BY id LIMIT 1) IS NULL THEN
        before := {file};
        TRUNCATE {log};
        UPDATE {self._fence} SET log_was = CASE WHEN log_file = before THEN log_was ELSE before END, log_file = {file};
    END IF;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $accord$"""
