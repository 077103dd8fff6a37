"""SQLite: a file per test. It knows no accounts, so the application account is a connection of its own."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from adapters.open import open_system
from adapters.ports import System
from tests.conformance.backend import Run

TYPES = {
    "auto": "INTEGER PRIMARY KEY",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "text": "VARCHAR(200)",
    "text20": "VARCHAR(20)",
    "char10": "CHAR(10)",
    "char1": "CHAR(1)",
    "long": "TEXT",
    "decimal": "NUMERIC(12, 2)",
    "exact": "NUMERIC(30, 10)",
    "double": "DOUBLE",
    "real": "REAL",
    "bool": "BOOLEAN",
    "date": "DATE",
    "datetime": "DATETIME",
    "seconds": "DATETIME(0)",
    "zoned": "DATETIME",
    "time": "TIME",
    "bytes": "BLOB",
    "json": "JSON",
    "uuid": "UUID",
    "unknown": "GEOMETRY",
}


@dataclass
class SqliteDatabase:
    folder: Path
    systems: list[System] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "application.db"

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=5)

    def define(self, *statements: str) -> None:
        for statement in statements:
            self.sql(statement)

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(self._connect()) as connection:
            return connection.execute(text, parameters).fetchall()

    app = sql

    @contextmanager
    def people(self) -> Iterator[Run]:
        with closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda text, *parameters: connection.execute(text, parameters).fetchall()
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def script(self, text: str) -> None:
        with closing(self._connect()) as connection:
            connection.executescript(text)

    def dump(self) -> list[str]:
        return [str(row) for row in self.sql("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2")]

    def system(self, name: str = "crm", **options: Any) -> System:
        prefix = options.pop("prefix", "accord")
        given = {"lock_timeout": 300_000, "statement_timeout": 60_000_000, "overlap": 5_000_000, **options}
        config = SimpleNamespace(name=name, dialect="sqlite", target={"path": self.path}, secret=lambda: None, **given)
        system = open_system(config, prefix)
        self.systems.append(system)
        return system

    def blind(self) -> None:
        return None

    def close(self) -> None:
        for system in self.systems:
            system.close()
        shutil.rmtree(self.folder)


class Sqlite:
    name = "sqlite"
    mode = "trigger"
    types = TYPES
    schema = None
    sequence = "(SELECT coalesce(max(id), 0) + 1 FROM numbers)"
    setup: Sequence[str] = ("CREATE TABLE numbers (id INTEGER PRIMARY KEY)", "INSERT INTO numbers VALUES (41)")
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    options: Mapping[str, Any] = MappingProxyType({})
    single = True

    def create(self) -> SqliteDatabase:
        return SqliteDatabase(Path(tempfile.mkdtemp(prefix="accord-sqlite-")))

    def quote(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS TEXT)"

    def hex(self, expression: str) -> str:
        return f"hex({expression})"

    def bytes(self, value: bytes) -> str:
        return f"X'{value.hex()}'"

    def exact(self, text: str) -> str:
        return f"X'{text.encode().hex()}'"

    def zoned(self, text: str) -> str:
        return f"'{text}'"

    def upper_trigger(self, table: str, column: str, key: str) -> list[str]:
        body = f"UPDATE {table} SET {column} = upper({column}) WHERE {key} = NEW.{key}; END"
        return [
            f"CREATE TRIGGER app_upper_insert AFTER INSERT ON {table} BEGIN {body}",
            f"CREATE TRIGGER app_upper_update AFTER UPDATE ON {table} BEGIN {body}",
        ]

    def touch_trigger(self, table: str, key: str, other: str, other_key: str, column: str) -> list[str]:
        return [
            f"CREATE TRIGGER app_touch AFTER UPDATE ON {table} BEGIN "
            f"UPDATE {other} SET {column} = 'touched' WHERE {other_key} = NEW.{key}; END"
        ]


def make(request: pytest.FixtureRequest) -> Sqlite:
    return Sqlite()
