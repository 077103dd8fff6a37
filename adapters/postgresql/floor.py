"""Up to which id nothing can stand in the change log any more: a poll begins behind it.

Without this a poll walks over every entry that was consumed and is not vacuumed yet, a million of them while somebody's
dump holds an old snapshot. Why no late commit can fall below the floor:

1. Ids come from a sequence that only grows and hands out one at a time (its cache is 1): when its last value is seen
   to be V, every id up to V has been drawn.
2. Who draws one has a transaction number by then: the triggers ask for it first.
3. A number X that is given to *us* after V was seen is higher than any number given before. So whoever drew an id up
   to V has one below X. (The snapshot's xmax would not do: it is one more than the last that has *ended*, and a
   transaction with a higher number may have drawn long since.)
4. A snapshot whose xmin has reached X knows every transaction below X as ended, prepared ones included. What they
   noted under ids up to V can be seen in it; what was rolled back, to a savepoint or as a whole, never will be.

So in that snapshot, and in every later one, what stands up to V is all that ever will; and as nobody but the agent
deletes, the floor is just below the first entry that can be seen. It is only a shortcut: it lives in the process, and
ends when the log or its sequence is another one (`TRUNCATE … RESTART IDENTITY` is seen by their files), with each
session that is new (after a crash of the server, ids of transactions that were not on the disk are drawn again), and
every ten minutes, in case somebody sets the sequence back by hand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from adapters.postgresql.sql import literal

LAG = 1000
"""So many ids may lie between the floor and the last one: a poll passes over them in no time."""
RENEWED = 600.0  # seconds


def look(log: str) -> str:
    """SQL: one row of `Look`, in the shape of an entry of the log. Of one snapshot with all that the statement reads.

    The sequence tells its last value only to an account that may read it.
    """
    sequence = f"pg_get_serial_sequence({literal(log)}, 'id')::regclass"
    return (
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,"
        " concat_ws(' ', pg_postmaster_start_time(), c.oid, pg_relation_filenode(c.oid),"
        " pg_relation_filenode(q.seqrelid),"
        " CASE WHEN q.seqcache = 1 AND q.seqincrement > 0 AND NOT q.seqcycle THEN 'sound' END),"
        " CASE WHEN has_sequence_privilege(q.seqrelid, 'SELECT') THEN pg_sequence_last_value(q.seqrelid)::text END,"
        " pg_backend_pid()::text, c.oid::bigint"
        f" FROM pg_class c JOIN pg_sequence q ON q.seqrelid = {sequence} WHERE c.oid = {literal(log)}::regclass"
    )


class Look(NamedTuple):
    """What a poll sees beside the entries."""

    xmin: int  # every transaction below has ended
    what: str  # which log and sequence these are
    last: str | None  # the last id that was drawn
    session: str
    log: int  # oid

    @property
    def sound(self) -> bool:
        return self.what.endswith("sound")


@dataclass(slots=True)
class Floor:
    id: int = 0
    """No entry has an id up to this one, nor ever will."""
    _over: int = 0  # everybody who drew an id up to this one has ended
    _mark: tuple[int, int] | None = None  # an id, and the number of a transaction later than all that drew up to it
    _seen: int = 0  # the last id that is known to have been drawn
    _what: str = ""
    _sessions: frozenset[str] = frozenset()
    _since: float = 0.0

    def holds(self, look: Look) -> bool:
        """May it be relied on? If not it is 0 again."""
        now = time.monotonic()
        same = look.what == self._what and look.session in self._sessions and now - self._since < RENEWED
        if not same:
            # Sessions are kept: behind a pooler each poll may have another one of a few.
            known = self._sessions if look.what == self._what else frozenset()
            self._over = self._seen = self.id = 0
            self._mark, self._what, self._since = None, look.what, now
            self._sessions = known | {look.session}
        return same

    def rise(self, look: Look, first: int | None, last: int) -> None:
        """After `holds`. What a poll from here on saw: the first entry there is, the last id that was read."""
        if self._mark is not None and look.xmin >= self._mark[1]:
            self._over, self._mark = self._mark[0], None
        self._seen = max(self._seen, last, int(look.last or 0))
        self.id = max(self.id, self._over if first is None else min(self._over, first - 1))

    @property
    def is_high(self) -> bool:
        """Has it risen to about the last id that was drawn?"""
        return self.id > 0 and self._seen - self.id <= LAG

    def wants_mark(self, look: Look) -> bool:
        """Is it time for `mark`?"""
        return look.sound and self._mark is None and self._seen - self._over > LAG

    def mark(self, txn: int) -> None:
        """`txn`: the number of a transaction of ours that was begun after `rise`."""
        self._mark = (self._seen, txn)
