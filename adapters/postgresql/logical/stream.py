"""The replication connection: a thread that reads the log and tells the server up to where it is dealt with."""

from __future__ import annotations

import select
import struct
import threading
import time
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGconn, PGresult

from adapters.postgresql.errors import cannot_connect, translate
from adapters.postgresql.logical.backlog import Backlog
from adapters.postgresql.logical.pgoutput import EPOCH, Begin, Commit, Decoder, Row, Truncate, Unreadable
from adapters.postgresql.session import parameters, spelling
from adapters.postgresql.sql import literal, quote
from adapters.waking import Bell
from config.errors import AccordError, Halt, Problem, Transient, Unreachable

EVERY = 10.0  # seconds between two reports to the server, at most
COPY_BOTH = 8
SKIPPED = b"55000"  # object not in prerequisite state
TRIES = 20
PAUSE = 0.1  # seconds between two tries to get at the slot


def spell(lsn: int) -> str:
    """A position in the log, as the server writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class Stream:
    """Reads the slot from `start` on into `backlog` until it is closed; what fails is told there."""

    def __init__(
        self, config: Any, slot: str, publication: str, start: int, decoder: Decoder, backlog: Backlog, timeout: float
    ) -> None:
        """`timeout`: seconds after which the server gives up one that does not answer; 0: never."""
        self._config, self._slot, self._publication = config, slot, publication
        self._decoder, self.backlog = decoder, backlog
        self._start = self._done = start
        self._every = min(EVERY, timeout / 4) if timeout else EVERY
        self._reported = (0, 0)
        self._due = 0.0
        self._bell = Bell()
        self._ended = False
        self.pid = 0
        """The server's process at the other end; 0: there was none yet."""
        self._skipped = ""  # what the server says when it goes on without the publication
        self._thread = threading.Thread(target=self._run, name=f"accord-{config.name}-log", daemon=True)
        self._thread.start()

    # --- for the system's thread -------------------------------------------------------------------------------------

    def acknowledge(self, lsn: int) -> None:
        """All up to here is durable: the server may let go of it (I1)."""
        self._done = max(self._done, lsn)
        self._bell.ring()

    def close(self) -> None:
        """Never raises."""
        self._ended = True
        self._bell.ring()
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._bell.close()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        name = self._config.name
        try:
            connection = self._connect()
            try:
                self._read(connection)
                self._report(connection)  # what was acknowledged last: else it would be sent again
            finally:
                connection.finish()
        except psycopg.Error as error:
            # A slot or a publication that is missing: what is behind this cannot be read any more.
            missing = str(error) if isinstance(error, psycopg.errors.UndefinedObject) else ""
            self.backlog.fail(self._translated(error), missing)
        except AccordError as error:
            self.backlog.fail(error)
        except Unreadable as error:
            self.backlog.fail(Transient(Problem("log", str(error), system=name)), str(error))
        except Exception as error:  # whatever it is, the rounds must hear of it
            self.backlog.fail(Halt(Problem("log", f"reading the log failed: {error!r}", system=name)))

    def _translated(self, error: psycopg.Error) -> AccordError:
        found = translate(error, self._config.name)
        # What the slot or the publication lacks is looked into before the stream starts again.
        return found if isinstance(found, Transient | Unreachable) else Transient(found.problem)

    def _connect(self) -> PGconn:
        wanted = spelling() | {"client_min_messages": "warning"}  # whatever the account has: `_heed` relies on them
        settings = " ".join(f"-c {name}={value.replace(' ', '')}" for name, value in wanted.items())
        given = parameters(self._config) | {"replication": "database", "options": settings}
        connection = pq.PGconn.connect(make_conninfo(**given).encode())
        try:
            if connection.status != pq.ConnStatus.OK:
                error = psycopg.OperationalError(_words(connection))
                raise cannot_connect(error, self._config.name)
            self.pid = connection.backend_pid
            connection.notice_handler = self._heed
            self._begin(connection)
        except BaseException:
            connection.finish()
            raise
        return connection

    def _heed(self, notice: PGresult) -> None:
        """A publication that is missing is an error before PostgreSQL 18. Since then the server warns, and passes over
        what the publication would have held."""
        words = (notice.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        if notice.error_field(DiagnosticField.SQLSTATE) == SKIPPED and self._publication in words:
            self._skipped = words

    def _begin(self, connection: PGconn) -> None:
        """Who read the slot before us may not be quite gone yet."""
        for attempt in range(TRIES):
            text = f"START_REPLICATION SLOT {quote(self._slot)} LOGICAL {spell(self._start)}"
            names = literal(quote(self._publication))
            result = connection.exec_(f"{text} (proto_version '1', publication_names {names})".encode())
            if result.status == COPY_BOTH:
                return
            error = _error(connection, result)
            if not isinstance(error, psycopg.errors.ObjectInUse) or self._ended or attempt == TRIES - 1:
                raise error
            time.sleep(PAUSE)

    def _read(self, connection: PGconn) -> None:
        backlog = self.backlog
        while not self._ended:
            self._report(connection)
            if backlog.full:
                self._wait(None)
                continue
            size, data = connection.get_copy_data(1)
            if self._skipped:  # before anything that stands behind the warning is taken
                raise psycopg.errors.UndefinedObject(self._skipped)
            if size > 0:
                self._take(bytes(data), connection)
            elif size == 0:
                self._report(connection)
                if self._wait(connection.socket):
                    connection.consume_input()
            else:
                result = connection.get_result()
                raise _error(connection, result) if result is not None else psycopg.OperationalError("the stream ended")

    def _wait(self, socket: int | None) -> bool:
        """Until the server or the agent has something to say, or the next report is due."""
        seconds = max(0.0, self._due - time.monotonic())
        if socket is None:
            seconds = min(seconds, 0.05)
        ready, _, _ = select.select([self._bell.fileno(), *([] if socket is None else [socket])], [], [], seconds)
        if self._bell.fileno() in ready:
            self._bell.clear()
        return socket in ready

    def _take(self, data: bytes, connection: PGconn) -> None:
        if data[0] == 0x77:  # w: what the plugin says, behind 24 bytes of positions and time
            message = self._decoder.message(data[25:])
            if isinstance(message, Row):
                self.backlog.put(message)
            elif isinstance(message, Begin):
                self.backlog.begin(message.at, message.xid)
            elif isinstance(message, Commit):
                self.backlog.commit(message.end)
            elif isinstance(message, Truncate):
                self.backlog.empty(message.tags)
        elif data[0] == 0x6B:  # k: the server has come so far; it may want an answer
            lsn, _, wants = struct.unpack_from(">QqB", data, 1)
            self.backlog.heard(lsn)
            if wants:
                self._due = 0.0

    def _report(self, connection: PGconn) -> None:
        now = time.monotonic()
        if now < self._due and self._done == self._reported[1]:
            return
        received = max(self.backlog.received, self._done)
        micros = time.time_ns() // 1000 - EPOCH
        connection.put_copy_data(struct.pack(">cQQQqB", b"r", received, self._done, self._done, micros, 0))
        connection.flush()
        self._reported, self._due = (received, self._done), now + self._every


def _error(connection: PGconn, result: PGresult) -> psycopg.Error:
    """The server's error, as the driver would raise it."""
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    try:
        kind: type[psycopg.Error] = psycopg.errors.lookup((state or b"").decode())
    except KeyError:
        kind = psycopg.OperationalError
    words = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    return kind(words or _words(connection))


def _words(connection: PGconn) -> str:
    return connection.error_message.decode(errors="replace").strip() or "the connection was lost"
