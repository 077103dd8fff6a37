"""One session with a MariaDB server: how it is set up, and that no driver's exception leaves it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import CLIENT, SERVER_STATUS

from adapters.mysql.errors import translate
from adapters.mysql.sql import quote
from config.errors import Halt, Problem

OLDEST = (10, 6)
LOCAL = (None, "localhost", "127.0.0.1", "::1")
IDLE_SECONDS = 30.0
"""After so long without a word the connection is tried before it is used: firewalls drop idle ones silently."""

Rows = tuple[tuple[Any, ...], ...]

# Our statements are strict whatever the server's default is: a value that does not fit is refused, never cut. Zero
# dates that stand in a row stay as they are (no NO_ZERO_DATE), and a copied key 0 is a key (NO_AUTO_VALUE_ON_ZERO).
MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"


class Session:
    """A connection that is opened when it is first needed, and again after it was lost. For one thread.

    `mark`: the session variable by which the triggers know that it is Accord who writes; only the writing session
    carries it.
    """

    def __init__(self, config: Any, mark: str | None = None) -> None:
        self._config = config
        self._mark = mark
        self._connection: Any = None
        self._used = 0.0
        self._packet = 1 << 20
        self._depth = 0
        self.name: str = config.name

    @property
    def packet(self) -> int:
        """Bytes that one statement may have on this server, with room to spare."""
        return self._packet

    def query(self, text: str) -> Rows:
        """Run one statement; all its rows. Values are text or bytes as the server sent them."""
        with self.errors():
            return self.raw(text)

    def raw(self, text: str) -> Rows:
        """As `query`, but the driver's own errors come through: for those who ask which rows are to blame."""
        connection = self._alive()
        with connection.cursor() as cursor:
            cursor.execute(text)
            self._used = time.monotonic()
            return tuple(cursor.fetchall())

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn a driver's error into one of ours; a connection that is lost is let go of."""
        try:
            yield
        except (pymysql.err.Error, OSError) as error:
            found = translate(error, self.name)
            if self._connection is not None and not self._connection.open:
                self._connection = None
            raise found from error

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What fails inside is undone. After a deadlock or a cut there is nothing left to undo. May be nested."""
        self._depth += 1
        name = f"accord_{self._depth}"
        try:
            self.raw(f"SAVEPOINT {name}")
            yield
        except BaseException:
            try:
                self.raw(f"ROLLBACK TO SAVEPOINT {name}")
            except (pymysql.err.Error, OSError):
                pass  # the first error says what happened
            raise
        finally:
            self._depth -= 1

    @property
    def open(self) -> bool:
        return self._connection is not None and bool(self._connection.open)

    def close(self) -> None:
        """Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except (pymysql.err.Error, OSError):
                pass

    def _alive(self) -> Any:
        if self._connection is None:
            self._connection = self._connect()
        elif time.monotonic() - self._used > IDLE_SECONDS and not self._in_transaction:
            self._connection.ping(reconnect=False)
        return self._connection

    @property
    def _in_transaction(self) -> bool:
        return bool(self._connection.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    def _connect(self) -> Any:
        # conv={}: raws are what the server says, text and bytes, exact.
        connection: Any = pymysql.connect(**driver_options(self._config), conv={}, client_flag=CLIENT.FOUND_ROWS)
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT VERSION(), @@max_allowed_packet")
            version, packet = cursor.fetchone()
            self._check_version(version)
            self._packet = int(packet) * 3 // 4
            cursor.execute(settings(self._config.lock_timeout, self._config.statement_timeout, self._mark))
        self._used = time.monotonic()

    def _check_version(self, version: str) -> None:
        numbers = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)", version)
        found = (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)
        if "mariadb" not in version.lower() or found < OLDEST:
            message = f"the server is {version}: Accord needs MariaDB 10.6 or later; MySQL has not been tried."
            raise Halt(Problem("server-version", message, "use a MariaDB server", system=self.name))


def driver_options(config: Any) -> dict[str, Any]:
    """How to reach the server, for every connection of ours."""
    target, statement = config.target, config.statement_timeout / 1e6
    tls = {n: v for n, v in (target.get("options") or {}).items() if n in ("ssl_ca", "ssl_cert", "ssl_key")}
    return {
        "host": target.get("host") or "localhost",
        "port": int(target.get("port") or 3306),
        "unix_socket": target.get("socket"),
        "user": target.get("user"),
        "password": config.secret() or "",
        "database": target["database"],
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": 10,
        # The server gives up first and says why; this is for a network that has swallowed the answer.
        "read_timeout": statement + 30,
        "write_timeout": statement + 30,
        "program_name": "accord",
        # On this machine nobody listens, and each encrypted connection would first read all certificates (50 ms).
        "ssl_disabled": (not tls and (target.get("socket") is not None or target.get("host") in LOCAL)) or None,
        **tls,
    }


def settings(lock_timeout: int, statement_timeout: int, mark: str | None) -> str:
    """One SET statement: everything that a session of ours relies on. Times in microseconds."""
    seconds = max(1, round(lock_timeout / 1e6))  # whole seconds are the finest that the server knows
    pairs = {
        "time_zone": "'+00:00'",
        "sql_mode": f"'{MODE}'",
        "tx_isolation": "'READ-COMMITTED'",
        "innodb_lock_wait_timeout": seconds,
        "lock_wait_timeout": seconds,
        "max_statement_time": statement_timeout / 1e6,
        "foreign_key_checks": 1,
        "unique_checks": 1,
        "sql_safe_updates": 0,
        "sql_select_limit": "DEFAULT",
        # A long IN list would become a materialised join that locks rows which it only looks at.
        "in_predicate_conversion_threshold": 0,
    }
    text = "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in pairs.items())
    return text + (f", @{quote(mark)} = 1" if mark else "")
