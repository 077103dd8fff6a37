"""The SQLite file: open, create, migrate, copy; and what goes wrong with files, in plain sentences."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from config.errors import AccordError, ConfigError, Problem, Transient
from state.codec import Entry, pack_images, replaced

APPLICATION = 0x41434F52  # "ACOR" in the file's header: what tells a state file from any other SQLite file
HERE = Path(__file__).parent
BUSY = 5000  # ms: another process may hold the write lock for the moment of a checkpoint
CACHE = 32_000  # KiB of pages
CHECKPOINT = 16_000  # pages (64 MB) of log before it is folded into the file, which waits for the disk twice

_PASSING = ("busy", "locked", "full", "disk i/o")


def migrations() -> list[tuple[int, str]]:
    """(number, script), in order."""
    files = sorted((HERE / "migrations").glob("*.sql"))
    return [(int(f.name.split("_")[0]), f.read_text(encoding="utf-8")) for f in files]


def version() -> int:
    """The schema that this program writes."""
    return migrations()[-1][0]


class Database:
    """A connection, with errors in plain words. Values of a state file that is not ours never get past `open`."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None) -> None:
        self.path = path
        self.connection = connection
        connection.create_function("unhexed", 1, bytes.fromhex, deterministic=True)
        connection.create_function("unpacked", 1, from_json, deterministic=True)
        connection.create_function("with_image", 8, _with_image, deterministic=True)
        connection.create_aggregate("gathered", 7, _Gathered)  # type: ignore[arg-type]

    def rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        try:
            return self.connection.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._said(error) from error

    def among(self, sql: str, items: Iterable[str | int], *parameters: Any) -> list[Any]:
        """Rows that belong to any of the items: the statement starts with `… json_each(?) j` and compares `j.value`."""
        text = to_json(list(items)).decode()
        if "\\u0000" in text:  # json_each ends a text at NUL: such items (a strange key) travel as JSON within JSON
            text = to_json([to_json(item).decode() for item in from_json(text)]).decode()
            sql = sql.replace("j.value", "unpacked(j.value)")
        return self.rows(sql, (text, *parameters))

    def value(self, sql: str, parameters: Iterable[Any] = ()) -> Any:
        """The first column of the first row; None if there is no row."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    def many(self, sql: str, rows: Iterable[Any]) -> None:
        try:
            self.connection.executemany(sql, rows)
        except sqlite3.DatabaseError as error:
            raise self._said(error) from error

    @contextmanager
    def transaction(self, durable: bool = True) -> Iterator[None]:
        """All or nothing. Durable on return; otherwise it may be lost with the power, but never torn or reordered."""
        if not durable:
            self.rows("PRAGMA synchronous = NORMAL")
        try:
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
        finally:
            if not durable:
                self.rows("PRAGMA synchronous = FULL")

    def copy(self) -> Database:
        """All of it in a nameless file that vanishes when it is closed."""
        twin = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        try:
            self.connection.backup(twin)
        except sqlite3.DatabaseError as error:
            twin.close()
            raise self._said(error) from error
        return Database(_scratch(twin), self.path)

    def close(self) -> None:
        self.connection.close()

    def _said(self, error: sqlite3.DatabaseError) -> Exception:
        return file_error(self.path, error) or error


def _with_image(images: bytes | None, layout: int, agreed: bytes | None, system: int, *image: Any) -> bytes | None:
    """A record's images with this one of a system; its `raws` are NULL: with none."""
    return replaced(images, system, None if image[2] is None else Entry(system, *image), layout, agreed)


class _Gathered:
    """The images of a record, of which each was a row (schema 1)."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def step(
        self, system: int, layout: int, seen: int, raws: bytes, stands: bytes, now: int, agreed: bytes | None
    ) -> None:
        same = layout == now and stands == agreed
        self.entries.append(Entry(system, layout, seen, raws, None if same else stands))

    def finalize(self) -> bytes | None:
        return pack_images(self.entries)


def _scratch(connection: sqlite3.Connection) -> sqlite3.Connection:
    for setting in ("journal_mode = MEMORY", "synchronous = OFF", "foreign_keys = ON", f"cache_size = -{CACHE}"):
        connection.execute(f"PRAGMA {setting}").fetchall()
    return connection


def scratch() -> Database:
    """An empty state that is thrown away."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database = Database(_scratch(connection), None)
    _create(database)
    return database


def writable(path: Path) -> Database:
    """Open for writing; make the file (mode 0600) or bring it to the present schema where that is needed."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise folder_error(path, error) from error
    database = _connect(path, "rw")
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: Database) -> None:
    have = _recognised(database, new=True)
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        database.rows(f"PRAGMA {setting}")
    database.rows(f"PRAGMA cache_size = -{CACHE}")
    database.rows(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")
    if have == 0:
        _create(database)
    elif have < version():
        migrate(database)


def readable(path: Path) -> Database:
    """Open for reading only. A file of an older schema is brought up in a copy; the file stays as it is."""
    if not path.exists():
        raise ConfigError(
            Problem(
                "no-state",
                f"{path} does not exist.",
                "It is made by the first `accord run`; or mend `state` in the configuration.",
            )
        )
    database = _connect(path, "ro")
    try:
        have = _recognised(database, new=False)
        if have == version():
            return database
        twin = database.copy()
        migrate(twin)
    except BaseException:
        database.close()
        raise
    database.close()
    return twin


def _connect(path: Path, mode: str) -> Database:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
    except sqlite3.DatabaseError as error:
        raise file_error(path, error) or error from error
    database = Database(connection, path)
    database.rows(f"PRAGMA busy_timeout = {BUSY}")
    return database


def _recognised(database: Database, new: bool) -> int:
    """The file's schema version; 0 = a new, empty file. ConfigError: no state file, or one of a newer Accord."""
    try:
        mark = database.value("PRAGMA application_id")
        have = int(database.value("PRAGMA user_version"))
        empty = database.value("SELECT count(*) FROM sqlite_schema") == 0
    except AccordError:
        database.close()
        raise
    if new and empty and mark == 0:
        return 0
    if mark != APPLICATION:
        raise ConfigError(
            Problem(
                "no-state-file",
                f"{database.path} is not a state file of Accord.",
                "Name another file as `state`; this one stays as it is.",
            )
        )
    if have > version():
        raise ConfigError(
            Problem(
                "newer-state",
                f"{database.path} was written by a newer Accord (schema {have}; this one knows up to {version()}).",
                "Install that version again, or bring back the state file that was saved before it ran.",
            )
        )
    return have


def _create(database: Database) -> None:
    _script(database, (HERE / "schema.sql").read_text(encoding="utf-8"), version())


def migrate(database: Database) -> None:
    """Apply the migrations that the file lacks, each whole or not at all."""
    have = int(database.value("PRAGMA user_version"))
    for number, script in migrations():
        if number > have:
            _script(database, script, number)


def _script(database: Database, script: str, number: int) -> None:
    marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number};"
    try:
        database.connection.executescript(f"BEGIN IMMEDIATE; {script}; {marks} COMMIT;")
    except sqlite3.DatabaseError as error:
        if database.connection.in_transaction:
            database.connection.execute("ROLLBACK")
        raise file_error(database.path, error) or error from error


def folder_error(path: Path, error: OSError) -> ConfigError:
    """The file or its folder cannot be used."""
    what = (error.strerror or str(error)).lower()
    hint = f"Make {path.parent} a folder that this account may write, or name another file as `state`."
    return ConfigError(Problem("state-folder", f"{path} cannot be opened for writing: {what}.", hint))


def file_error(path: Path | None, error: sqlite3.DatabaseError) -> AccordError | None:
    """What is wrong with the file, and what a person can do; None: nothing is, the statement is a defect."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and any(word in text.lower() for word in _PASSING):
        hint = "Make room on the disk." if "full" in text or "I/O" in text else "It is tried again."
        return Transient(Problem("state-busy", f"{path} could not be used: {text}.", hint))
    if "not a database" in text:
        return ConfigError(
            Problem(
                "no-state-file",
                f"{path} is not a state file of Accord.",
                "Name another file as `state`; this one stays as it is.",
            )
        )
    if "malformed" in text or "corrupt" in text:
        hint = "Bring back its last backup, or move it away: it is then rebuilt from the links in the systems."
        return ConfigError(Problem("corrupt-state", f"{path} is damaged ({text}).", hint))
    if "readonly" in text or "unable to open" in text:
        hint = "Give this account the right to write the file and its folder, or name another file as `state`."
        return ConfigError(Problem("state-folder", f"{path} cannot be opened: {text}.", hint))
    return None
