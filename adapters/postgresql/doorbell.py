"""The agent is woken by NOTIFY, but only while it waits.

Committing a NOTIFY takes a lock that the whole server shares, and holds it until the commit is on the disk: an
application that notifies with every transaction commits one transaction at a time. So the agent holds an advisory
lock while it waits, and a trigger that finds it taken rings (NOTIFY); a trigger that does not holds it too, shared,
to the end of its transaction. So as soon as the agent has got the lock, whoever noted a change without ringing has
committed, and everybody after rings: one look at the log then misses nothing. While it works, nobody notifies.

A transaction that has notified cannot be prepared for a two-phase commit, the statement would fail (I12). Where the
server allows such transactions, nobody rings and the agent asks every `ASK` seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import psycopg

from adapters.postgresql.errors import translate
from adapters.postgresql.session import connect, settings
from adapters.postgresql.sql import literal, own, quote
from adapters.waking import Wait

ASK = 0.1
QUIET = 30.0  # seconds without a word after which the connection is tried
SINGLE_PHASE = "current_setting('max_prepared_transactions') = '0'"


def numbers(prefix: str) -> str:
    """The advisory lock's key: two numbers that no application is likely to use."""
    digest = hashlib.sha256(f"{prefix} doorbell".encode()).digest()
    first, second = (int.from_bytes(digest[i : i + 4], "big", signed=True) for i in (0, 4))
    return f"{first}, {second}"


def channel(prefix: str) -> str:
    """What is notified: a name of at most 63 bytes."""
    return f"{prefix[:10]}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"


def ring(prefix: str) -> str:
    """PL/pgSQL: what a trigger does when it has noted a change."""
    return f"""IF {SINGLE_PHASE} AND NOT pg_try_advisory_xact_lock_shared({numbers(prefix)}) THEN
        PERFORM pg_notify({literal(channel(prefix))}, '');
    END IF;"""


class Doorbell:
    """See `adapters.waking.Watch`. `waiting`: SQL, true where the log holds entries."""

    def __init__(self, config: Any, prefix: str, waiting: Callable[[], str]) -> None:
        self._config, self._waiting = config, waiting
        self._lock, self._channel = numbers(prefix), channel(prefix)
        self._exists = f"to_regclass({literal(own(prefix, 'changes'))}) IS NOT NULL"
        self._connection: psycopg.Connection[Any] | None = None
        self._single_phase = self._held = self._rung = False
        self._tries = 0

    def look(self, wait: Wait) -> bool:
        try:
            return self._look(wait)
        except psycopg.Error as error:
            raise translate(error, self._config.name) from error

    def _look(self, wait: Wait) -> bool:
        connection = self._connection or self._connect()
        if not self._held and self._ask(connection):
            return True
        if not self._held:
            # Somebody who noted a change while the agent worked has not committed yet, and will not ring.
            self._tries += 1
            wait(min(0.005 * 2**self._tries, ASK) if self._single_phase else ASK)
            return False
        if not self._rung:
            wait(QUIET, connection.fileno())
            self._listen(connection)
        if self._rung:
            self._let_go(connection)
        return self._rung

    def _ask(self, connection: psycopg.Connection[Any]) -> bool:
        """Take the lock if it can be had, and look at the log after that."""
        self._rung = False
        if self._single_phase:
            self._held = bool(self._value(connection, f"SELECT pg_try_advisory_lock({self._lock})"))
        found = bool(self._value(connection, f"SELECT {self._waiting()}"))
        if found or self._held:
            self._tries = 0
        if found and self._held:
            self._let_go(connection)
        return found

    def _let_go(self, connection: psycopg.Connection[Any]) -> None:
        self._held = False
        connection.execute(f"SELECT pg_advisory_unlock({self._lock})".encode())

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        """Take in what has come. A connection that is cut can be read, too, and says so here."""
        connection.pgconn.consume_input()
        while connection.pgconn.notifies() is not None:
            self._rung = True
        if not self._rung:
            connection.execute(b"SELECT")  # after a long silence: is it still there?

    def _value(self, connection: psycopg.Connection[Any], text: str) -> Any:
        row = connection.execute(text.encode()).fetchone()
        return row[0] if row else None

    def _connect(self) -> psycopg.Connection[Any]:
        connection = connect(self._config)
        try:
            connection.add_notify_handler(self._notified)
            connection.execute(settings(self._config.lock_timeout, self._config.statement_timeout).encode())
            self._single_phase = bool(self._value(connection, f"SELECT {SINGLE_PHASE}"))
            if not self._value(connection, f"SELECT {self._exists}"):
                raise psycopg.OperationalError("the change log is not there")
            connection.execute(f"LISTEN {quote(self._channel)}".encode())
        except BaseException:
            connection.close()
            raise
        self._connection, self._held = connection, False
        return connection

    def _notified(self, _: psycopg.Notify) -> None:
        """One that came with the answer to a question."""
        self._rung = True

    def close(self) -> None:
        connection, self._connection, self._held = self._connection, None, False
        if connection is not None:
            try:
                connection.close()
            except psycopg.Error:
                pass
