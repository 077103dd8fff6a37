"""A connection to the file, opened when it is first needed; no driver's exception leaves it untranslated."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.bisect import Refusal
from config.errors import AccordError, Halt, Problem, Transient, Unreachable

Row = tuple[Any, ...]

_TRANSIENT = {
    sqlite3.SQLITE_BUSY: "somebody holds the file's lock for long; close what edits it",
    sqlite3.SQLITE_LOCKED: "",
    sqlite3.SQLITE_INTERRUPT: "",
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "look at the disk, and whether the file is on a network drive",
    sqlite3.SQLITE_SCHEMA: "",
}
_UNREACHABLE = {
    sqlite3.SQLITE_CANTOPEN: "check the path in the url, and that this account may read the file and its folder",
    sqlite3.SQLITE_NOTADB: "check the path in the url: this file is no SQLite database",
    sqlite3.SQLITE_PERM: "let this account read the file",
    sqlite3.SQLITE_AUTH: "let this account read the file",
}
_HALT = {
    sqlite3.SQLITE_READONLY: "let this account write the file and its folder",
    sqlite3.SQLITE_CORRUPT: "restore the file from a backup; `PRAGMA integrity_check` says what is broken",
}
_REFUSED = {
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: "map the column, or give it a value in `insert`",
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: "change one of the two rows that hold the value",
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "the key is taken; see `new_key`",
    sqlite3.SQLITE_CONSTRAINT_ROWID: "the key is taken; see `new_key`",
    sqlite3.SQLITE_CONSTRAINT_CHECK: "the table's CHECK forbids the value; correct it in one of the systems",
    sqlite3.SQLITE_CONSTRAINT_TRIGGER: "a trigger of the application refuses it; correct the record there",
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "the row that it refers to is missing there",
    3091:  # SQLITE_CONSTRAINT_DATATYPE, which the driver does not name
    "the table is STRICT; correct the value in one of the systems",
}
_AGAIN = (
    sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY,
)


def refusal(error: Exception) -> Refusal | None:
    """Is it about the row that was written? Else None: then it is about the file."""
    if isinstance(error, ValueError):  # our own: a value that a column cannot hold
        return Refusal(str(error), "correct the value in one of the systems")
    if isinstance(error, (OverflowError, sqlite3.DataError, sqlite3.InterfaceError)):
        return Refusal(str(error), "correct the value in one of the systems")
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if code & 0xFF not in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG):
        return None
    return Refusal(str(error), _REFUSED.get(code, ""), code in _AGAIN)


def translate(error: sqlite3.Error, system: str) -> AccordError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _TRANSIENT:
        return Transient(Problem("transient", f"{error}.", _TRANSIENT[code], system=system))
    if code in _UNREACHABLE:
        return Unreachable(Problem("unreachable", f"{error}.", _UNREACHABLE[code], system=system))
    hint = _HALT.get(code, "run `accord check`: the tables may have changed since they were mapped")
    return Halt(Problem("database", f"{error}.", hint, system=system))


def readable(text: bytes) -> Any:
    """Text as the database has it. Text that is not UTF-8 stays bytes: it is compared exactly, and cannot convert."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


class Session:
    """One connection. For one thread at a time."""

    def __init__(self, system: str, path: Path, lock_timeout: int) -> None:
        self.system = system
        self.path = path
        self.alone = 0  # when this connection last took the lock by `writing`: nobody else was writing (µs)
        self._seconds = lock_timeout / 1_000_000
        self._connection: sqlite3.Connection | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self.open()
        return self._connection

    @property
    def in_transaction(self) -> bool:
        """Is one open? A connection that was lost has none."""
        return self._connection is not None and self._connection.in_transaction

    def open(self) -> sqlite3.Connection:
        """A new connection. The file must be there: a mistyped path makes no empty database."""
        if not self.path.is_file():
            hint = "check the path in the url; the application makes the file, Accord does not"
            raise Unreachable(Problem("unreachable", f"there is no file {self.path}.", hint, system=self.system))
        name = f"{self.path.absolute().as_uri()}?mode=rw"
        with self.errors():
            made = sqlite3.connect(name, timeout=self._seconds, isolation_level=None, uri=True, check_same_thread=False)
            made.text_factory = readable
        return made

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.system) from error

    def query(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self.errors():
            return self.raw(text, parameters)

    def raw(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """As `query`, but the driver's own errors come through: for those who ask which rows are to blame."""
        return self.connection.execute(text, parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reading inside sees one state of the file."""
        self.query("BEGIN")
        try:
            yield
        finally:
            self.rollback()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One short transaction of our own: all or nothing."""
        self.query("BEGIN IMMEDIATE")
        self.alone = time.time_ns() // 1000
        try:
            yield
            self.query("COMMIT")
        finally:
            self.rollback()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        self.raw("SAVEPOINT accord")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:
                self.raw("ROLLBACK TO accord")
                self.raw("RELEASE accord")
            raise
        self.raw("RELEASE accord")

    def rollback(self) -> None:
        """Never raises."""
        try:
            if self._connection is not None and self.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
