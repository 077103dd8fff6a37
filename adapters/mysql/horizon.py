"""Which transactions are open on a MariaDB server. Two statements, in the order that the proof needs.

First the statements that run: `NOW()` in a statement is its start, which may lie long before its transaction begins
(it waits for a table's lock). Then the transactions, which outlive their statements. So a statement that has opened a
transaction between the two is in one of the lists. `trx_started` is when the transaction was noticed by InnoDB: it
began no earlier than the look before, or its statement was listed there. XA transactions that are prepared are listed
too, without a session.

InnoDB copies its list for readers at most every 0.1 s, and not at all while somebody reads it more often than that.
Our own transaction shows in it with the statement that it is running, so a number in that statement tells whether the
copy is of now. An old one proves nothing: then the look before stands, and the position with it. What was open at
that look may have committed since; where this goes on, it is read for now and then.

`trx_started` is local time of the server's machine, in whole seconds. In the year's hour that comes twice the earlier
one is meant.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from itertools import count
from typing import NamedTuple

from adapters.horizon import SECOND, Look, Open
from adapters.mysql.connection import Session
from adapters.mysql.errors import number_of
from adapters.mysql.sql import literal
from config.errors import AccordError

DENIED = 1227
EPOCH = "'1970-01-01'"
IDLE = ("Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID")
STATEMENTS = f"""
SELECT TIMESTAMPDIFF(MICROSECOND, {EPOCH}, UTC_TIMESTAMP(6)), ID, QUERY_ID, USER, COMMAND, TIME_MS, CONNECTION_ID(),
       GREATEST(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')),
                TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP() - INTERVAL 1 DAY,
                              CONVERT_TZ(UTC_TIMESTAMP() - INTERVAL 1 DAY, '+00:00', 'SYSTEM')))
FROM information_schema.PROCESSLIST WHERE COMMAND NOT IN ({", ".join(map(literal, IDLE))})
"""
TRANSACTIONS = f"""
SELECT /* accord look {{number}} */ trx_id, trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, {EPOCH}, trx_started), trx_query
FROM information_schema.INNODB_TRX
"""
BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
"""Registers our transaction at once. READ COMMITTED all the same: each statement after it has a snapshot of its own."""
CLUSTERED = """
SELECT 1 FROM information_schema.SESSION_VARIABLES WHERE VARIABLE_NAME = 'WSREP_ON' AND VARIABLE_VALUE = 'ON'
"""
TRIES = 5
PAUSE = 0.12  # seconds; the copy is renewed when nobody has read it for 0.1 s
STALE = 5 * SECOND  # so often is read what may have been committed by those that were open at an old look
REPLICA = "the server is a replica: its rows come with the stamps of their origin"
CLUSTER = "the server is a node of a cluster, which does not know what is open on the others"
UNSEEN = "another program reads information_schema.INNODB_TRX so often that the server does not renew it"

_numbers = count(1)


class Seen(NamedTuple):
    """What runs at a moment."""

    clock: int  # of the server, before anything was looked at
    own: str | None  # our connection
    zone: int  # seconds that the machine's local time is ahead of UTC
    assumed: str
    open: dict[str, Open]


class Horizon:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked = 0.0  # when we last read the list of transactions
        self._fresh = 0  # the clock when it was of now, or when we last gave up on that

    def look(self, before: Look | None) -> Look:
        """Within a transaction that `BEGIN` has begun. Gives `before` back where nothing newer can be known."""
        if before is not None and time.monotonic() - self._asked < PAUSE:
            return before
        for attempt in range(1 if before else TRIES):
            if attempt:
                time.sleep(PAUSE)
            seen = self._statements()
            try:
                transactions = self._transactions(seen)
            except AccordError as error:
                if number_of(error.__cause__ or error) != DENIED:
                    raise
                return Look(seen.clock, {}, hidden(self._session))
            if transactions is not None:
                self._fresh = seen.clock
                return Look(seen.clock, seen.open | transactions, seen.assumed)
        if before is None:
            return Look(seen.clock, seen.open, UNSEEN)
        if seen.clock < self._fresh + STALE:
            return before
        self._fresh = seen.clock
        return before._replace(open=_ended(before.open), held=UNSEEN)

    def _statements(self) -> Seen:
        clock, own, zone = 0, None, 0
        assumed = CLUSTER if self._clustered else ""
        found = {}
        for now, id, query, user, command, age, me, offset in self._session.query(STATEMENTS):
            clock, own, zone = int(now), me, int(offset)
            if command.startswith("Slave"):
                assumed = REPLICA
            elif id != me:
                since = clock - int(float(age) * 1000)
                found[f"statement {id} {query}"] = Open(since, f"session {id} of {user}")
        return Seen(clock, own, zone, assumed, found)

    @cached_property
    def _clustered(self) -> bool:
        return bool(self._session.query(CLUSTERED))

    def _transactions(self, seen: Seen) -> dict[str, Open] | None:
        """None: the list is an old copy."""
        number = next(_numbers)
        fresh, found = False, {}
        self._asked = time.monotonic()
        for id, thread, started, query in self._session.query(TRANSACTIONS.format(number=number)):
            if thread == seen.own:
                fresh = query is not None and f"look {number} *" in query
                continue
            key = f"transaction {id}" if id != "0" else f"transaction of {thread} since {started}"
            name = f"session {thread}" if thread != "0" else f"prepared XA transaction {id}"
            found[key] = Open((int(started) - seen.zone) * SECOND, name, late=True)
        return found if fresh else None


def _ended(open: Mapping[str, Open]) -> dict[str, Open]:
    """Each may be over, and a reading has to look for its rows; it may also go on, and hold the position."""
    return {f"perhaps {next(_numbers)}": transaction for transaction in open.values()}


def hidden(session: Session) -> str:
    return f"the account may not see the transactions of others ({grant(session)})"


def grant(session: Session) -> str:
    user, _, host = session.query("SELECT CURRENT_USER()")[0][0].rpartition("@")
    return f"GRANT PROCESS ON *.* TO {literal(user)}@{literal(host)};"


def missing_grant(session: Session) -> str | None:
    """What lets the account see what others do, if it may not."""
    try:
        session.query("SELECT COUNT(*) FROM information_schema.INNODB_TRX")
    except AccordError as error:
        if number_of(error.__cause__ or error) != DENIED:
            raise
        return grant(session)
    return None
