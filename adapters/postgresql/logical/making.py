"""The replication slot is made: in a thread, because that may take as long as somebody's transaction.

The server makes a slot that begins with now only when all transactions have ended that had written something by then:
what they still write could not be read whole. It waits for them and for no later ones, so it comes to its end also
where some transaction is always open; but not if it is broken off and begun again, as under a lock_timeout. While it
waits, nobody has to wait for it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg

from adapters.postgresql.errors import translate
from adapters.postgresql.session import connect
from config.errors import AccordError

MAKE = "SELECT (lsn - '0/0'::pg_lsn)::bigint FROM pg_create_logical_replication_slot(%s, 'pgoutput')"
LEAVE = 5.0  # seconds that `close` waits for the thread


class Slot(NamedTuple):
    name: str
    confirmed: int  # the server keeps the log from here on


class Making:
    """One slot under way. For the system's thread."""

    def __init__(self, config: Any, name: str) -> None:
        self._config, self._name = config, name
        self._connection: psycopg.Connection[Any] | None = None
        self._slot: Slot | None = None
        self._error: AccordError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"accord-{config.name}-slot", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> Slot | None:
        """The slot; None: it is not there yet. Raises what kept it from being made."""
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return self._slot

    def close(self) -> None:
        """Breaks it off: what is not whole goes by itself. Never raises."""
        self._closed = True
        if self._thread.is_alive() and (connection := self._connection) is not None:
            with suppress(psycopg.Error):
                connection.cancel()
        self._thread.join(LEAVE)

    def _run(self) -> None:
        try:
            self._connection = connect(self._config)
            with self._connection as connection:
                connection.execute("SET lock_timeout = 0; SET statement_timeout = 0")
                if not self._closed:
                    row = connection.execute(MAKE, [self._name]).fetchone()
                    assert row is not None
                    self._slot = Slot(self._name, int(row[0]))
        except psycopg.Error as error:
            self._error = translate(error, self._config.name)
        except AccordError as error:
            self._error = error
