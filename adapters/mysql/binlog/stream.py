"""The connection by which the server sends its log, and the thread that reads it into the backlog.

The server takes it for a replica. That takes REPLICATION SLAVE and no right on any table. No library is used for the
log; of PyMySQL only the login, TLS and the packets.
"""

from __future__ import annotations

import secrets
import struct
import threading
import time
from typing import Any

import pymysql

from adapters.mysql.binlog.backlog import Backlog
from adapters.mysql.binlog.events import Decoder, Lost, Stopped
from adapters.mysql.connection import driver_options
from adapters.mysql.errors import translate
from adapters.mysql.sql import literal
from config.errors import AccordError

DUMP = 0x12
HEARTBEAT = 5  # seconds between two signs of life while nothing happens
SILENCE = 20.0  # seconds without one, after which the connection is given up
WRITE_TIMEOUT = 3600  # seconds that the server waits while the backlog is full


class Stream:
    """Connects at once, in the caller's thread; then a thread of its own reads until `close` or an error."""

    def __init__(self, config: Any, state: str, decoder: Decoder, backlog: Backlog) -> None:
        self._name, self._decoder, self._backlog = config.name, decoder, backlog
        self._closed = False
        try:
            self._connection = _connect(config, state)
        except (pymysql.err.Error, OSError) as error:
            raise translate(error, self._name) from error
        self._thread = threading.Thread(target=self._run, name=f"accord-{self._name}-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._closed:
                packet = self._connection._read_packet()
                events = self._decoder.feed(packet._data[1:], time.time_ns() // 1000)
                self._backlog.put(list(events), self._decoder.reached)
        except Exception as error:
            if not self._closed:
                self._backlog.fail(self._translated(error))
        finally:
            self._connection._force_close()

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, (Stopped, Lost, AccordError)):
            return error
        if isinstance(error, pymysql.err.MySQLError) and error.args and error.args[0] == 1236:
            return Lost(str(error.args[1]))
        return translate(error, self._name)

    def close(self) -> None:
        """Never raises."""
        self._closed = True
        self._backlog.close()
        try:
            self._connection._sock.shutdown(2)
        except (OSError, AttributeError):
            pass
        self._thread.join(2.0)


def _connect(config: Any, state: str) -> Any:
    options = {**driver_options(config), "read_timeout": SILENCE, "database": None}
    connection: Any = pymysql.connect(**options)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SET @master_binlog_checksum = @@global.binlog_checksum, @mariadb_slave_capability = 4,"
                f" @master_heartbeat_period = {HEARTBEAT * 10**9}, @slave_connect_state = {literal(state)},"
                " @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0,"
                f" SESSION net_write_timeout = {WRITE_TIMEOUT}"
            )
        # The server ends an older connection with the same number: so each has one of its own.
        number = 1 << 30 | secrets.randbits(30)
        connection._execute_command(DUMP, struct.pack("<IHI", 4, 0, number))
    except BaseException:
        connection.close()
        raise
    return connection
