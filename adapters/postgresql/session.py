"""One session with a PostgreSQL server: how it is set up, and that no driver's exception leaves it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from adapters.postgresql.errors import cannot_connect, translate
from adapters.postgresql.sql import literal
from config.errors import Halt, Problem

OLDEST = 130000
IDLE_SECONDS = 30.0
"""After so long without a word the connection is tried before it is used: firewalls drop idle ones silently."""

Rows = list[tuple[Any, ...]]


class Session:
    """A connection that is opened when it is first needed, and again after it was lost. For one thread.

    Outside of `transaction` each statement is a transaction of its own.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._connection: psycopg.Connection[Any] | None = None
        self._used = 0.0
        self._waiting: list[str] = []
        self.name: str = config.name

    def query(self, text: str, parameters: Sequence[str | None] = ()) -> Rows:
        """Run one statement ($1 … are its parameters, all as text); all its rows."""
        with self.errors():
            return self.raw(text, parameters)

    def raw(self, text: str, parameters: Sequence[str | None] = ()) -> Rows:
        """As `query`, but the driver's own errors come through: for those who ask which rows are to blame."""
        cursor = self._send(self._alive(), text, parameters)
        self._used = time.monotonic()
        return cursor.fetchall() if cursor.description is not None else []

    def later(self, text: str) -> None:
        """One statement that has no rows. It goes to the server together with the next one, which saves the way there
        and back; what is wrong with it is said then."""
        self._waiting.append(text)

    def _send(
        self, connection: psycopg.Connection[Any], text: str, parameters: Sequence[str | None] = ()
    ) -> psycopg.Cursor[Any]:
        """The statements that wait, and this one."""
        if not self._waiting:
            return connection.execute(text.encode(), parameters or None)
        before, self._waiting = self._waiting, []
        with connection.pipeline():
            for one in before:
                connection.execute(one.encode())
            return connection.execute(text.encode(), parameters or None)

    def script(self, text: str) -> None:
        """Run several statements."""
        self.query(text)

    @contextmanager
    def transaction(self, begin: str) -> Iterator[None]:
        """From `begin` to COMMIT; rolled back when the body raises."""
        self.later(begin)
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self.commit()

    def commit(self) -> None:
        """Durable on return. `Transient` when the server rolled back instead, or did not answer."""
        with self.errors():
            if self._connection is None:  # a new one would commit nothing, and say that it had
                raise psycopg.OperationalError("the connection was lost, and the transaction with it")
            cursor = self._send(self._connection, "COMMIT")
            if cursor.statusmessage != "COMMIT":
                raise psycopg.OperationalError("the server rolled the transaction back instead of committing it")

    def rollback(self) -> None:
        """Never raises. A connection that cannot roll back is let go of."""
        self._waiting.clear()
        if self._connection is None:
            return
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What fails inside is undone. A connection that is lost needs no undoing."""
        self.later("SAVEPOINT accord")
        try:
            yield
        except BaseException:
            if self.open:
                self.later("ROLLBACK TO SAVEPOINT accord")
                self.later("RELEASE SAVEPOINT accord")
            raise
        self.later("RELEASE SAVEPOINT accord")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """What fails inside may be tried another way: under a savepoint when a transaction is open."""
        idle = self._connection is None or self._connection.info.transaction_status == TransactionStatus.IDLE
        if idle and not self._waiting:
            yield
        else:
            with self.savepoint():
                yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a driver's error into one of ours; a connection that is lost is let go of."""
        try:
            yield
        except psycopg.Error as error:
            found = translate(error, self.name)
            if self._connection is not None and self._connection.closed:
                self._connection = None
                self._waiting.clear()
            raise found from error

    @property
    def version(self) -> int:
        """The server's: 150004 for 15.4."""
        with self.errors():
            return int(self._alive().info.server_version)

    @property
    def open(self) -> bool:
        return self._connection is not None and not self._connection.closed

    def close(self) -> None:
        """Never raises."""
        connection, self._connection = self._connection, None
        self._waiting.clear()
        if connection is not None:
            try:
                connection.close()
            except psycopg.Error:
                pass

    def _alive(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = self._connect()
        elif time.monotonic() - self._used > IDLE_SECONDS:
            self._try(self._connection)
        return self._connection

    def _try(self, connection: psycopg.Connection[Any]) -> None:
        """Open anew what the server or the network has closed meanwhile; a transaction is lost with it."""
        if connection.info.transaction_status != TransactionStatus.IDLE:
            return
        try:
            connection.execute("SELECT")
        except psycopg.OperationalError:
            self.close()
            self._connection = self._connect()

    def _connect(self) -> psycopg.Connection[Any]:
        connection = connect(self._config, psycopg.RawCursor)
        try:
            _check_version(connection, self.name)
            connection.execute(settings(self._config.lock_timeout, self._config.statement_timeout).encode())
        except BaseException:
            connection.close()
            raise
        self._used = time.monotonic()
        return connection


def connect(config: Any, cursors: type[Any] = psycopg.Cursor) -> psycopg.Connection[Any]:
    """A new connection, autocommit. `Unreachable` says why there is none."""
    try:
        return psycopg.connect(
            autocommit=True,
            cursor_factory=cursors,
            prepare_threshold=None,  # prepared statements do not survive a pooler between us and the server
            **parameters(config),
        )
    except psycopg.OperationalError as error:
        raise cannot_connect(error, config.name) from error


def parameters(config: Any) -> dict[str, Any]:
    """What libpq is told of the server."""
    target = config.target
    given: dict[str, Any] = {
        "host": target.get("socket") or target.get("host") or None,
        "port": target.get("port") or 5432,
        "user": target.get("user"),
        "password": config.secret(),
        "dbname": target["database"],
        "connect_timeout": 10,
        "application_name": "accord",
        "client_encoding": "utf8",
        # A network that has swallowed an answer is noticed within a minute or so.
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,  # ms; for what was sent and never acknowledged, where keepalives do not count
    }
    return given | (target.get("options") or {})


def spelling() -> dict[str, str]:
    """What the text of a value depends on (I3): exact, and the same for all sessions."""
    return {
        "datestyle": "ISO, MDY",
        "timezone": "UTC",
        "intervalstyle": "iso_8601",
        "bytea_output": "hex",
        "extra_float_digits": "1",
        "xmloption": "content",
        "standard_conforming_strings": "on",
    }


def settings(lock_timeout: int, statement_timeout: int) -> str:
    """Everything that a session of ours relies on, whatever the server's or the account's defaults. Times in
    microseconds."""
    pairs = {
        **spelling(),
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "lock_timeout": f"{max(1, lock_timeout // 1000)}ms",
        "statement_timeout": f"{max(1, statement_timeout // 1000)}ms",
        # Our statements are many and small, and driven by keys: by index, in one process, planned and not compiled.
        "random_page_cost": "1.1",
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
        # A row that a policy hides would look deleted: the server shall refuse the query instead.
        "row_security": "off",
    }
    durable = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    return "; ".join([*(f"SET {name} = {literal(value)}" for name, value in pairs.items()), durable])


def _check_version(connection: psycopg.Connection[Any], system: str) -> None:
    if connection.info.server_version < OLDEST:
        version = connection.info.parameter_status("server_version")
        message = f"the server is PostgreSQL {version}: Accord needs 13 or later"
        raise Halt(Problem("server-version", message, "upgrade the server", system=system))
