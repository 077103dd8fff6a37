"""MariaDB: a database and an application account per test, on the run's own server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from adapters.open import open_system
from adapters.ports import System
from tests.conformance.backend import Run
from tests.servers import ADMIN, PASSWORD, MariaServer, program

TYPES = {
    "auto": "INT NOT NULL AUTO_INCREMENT PRIMARY KEY",
    "int": "INT",
    "bigint": "BIGINT",
    "text": "VARCHAR(200)",
    "text20": "VARCHAR(20)",
    "char10": "CHAR(10)",
    "char1": "CHAR(1)",
    "long": "LONGTEXT",
    "decimal": "DECIMAL(12, 2)",
    "exact": "DECIMAL(30, 10)",
    "double": "DOUBLE",
    "real": "FLOAT",
    "bool": "BOOLEAN",
    "date": "DATE",
    "datetime": "DATETIME(6)",
    "seconds": "DATETIME(0)",
    "zoned": "TIMESTAMP(6) NULL",
    "time": "TIME(6)",
    "bytes": "LONGBLOB",
    "bytes16": "VARBINARY(16)",
    "json": "JSON",
    "uuid": "UUID",
    "unknown": "GEOMETRY",
}


def run(connection: Any, text: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        # With parameters the driver takes % for its own; without any it leaves the text alone.
        cursor.execute(text.replace("%", "%%").replace("?", "%s") if parameters else text, parameters or None)
        return list(cursor.fetchall())


@dataclass
class MariaDatabase:
    server: MariaServer
    name: str
    account: str
    systems: list[System] = field(default_factory=list)
    connections: dict[str, Any] = field(default_factory=dict)
    accounts: list[str] = field(default_factory=list)

    def define(self, *statements: str) -> None:
        for statement in statements:
            self.sql(statement)
        for schema, name in self.sql(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA IN (?, ?) AND TABLE_NAME NOT LIKE 'accord%'",
            self.name,
            f"{self.name}_other",
        ):
            table = f"{quote(schema)}.{quote(name)}"
            self.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO '{self.account}'@'%'")

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return run(self._connection(ADMIN), text, parameters)

    def app(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return run(self._connection(self.account), text, parameters)

    def _connection(self, account: str) -> Any:
        """One for each account, autocommit."""
        if account not in self.connections:
            self.connections[account] = self.server.connect(self.name, account)
        return self.connections[account]

    @contextmanager
    def people(self) -> Iterator[Run]:
        with closing(self.server.connect(self.name, self.account)) as connection:
            connection.begin()
            try:
                yield lambda text, *parameters: run(connection, text, parameters)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def script(self, text: str) -> None:
        command = [program("mariadb"), "--no-defaults", f"--socket={self.server.socket_path}"]
        command += [f"--user={ADMIN}", f"--password={PASSWORD}", "--default-character-set=utf8mb4", self.name]
        done = subprocess.run(command, input=text, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr

    def dump(self) -> list[str]:
        found = []
        for name, kind in self.sql(
            "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = ?", self.name
        ):
            made = self.sql(f"SHOW CREATE {'VIEW' if kind == 'VIEW' else 'TABLE'} {quote(name)}")[0][1]
            found.append(re.sub(r" AUTO_INCREMENT=\d+", "", made))
        for what, columns in (
            ("TRIGGERS", "TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT, SQL_MODE, DEFINER"),
            ("ROUTINES", "ROUTINE_NAME, ROUTINE_DEFINITION"),
            ("EVENTS", "EVENT_NAME, EVENT_DEFINITION"),
            ("SCHEMATA", "SCHEMA_NAME, DEFAULT_COLLATION_NAME"),
        ):
            schema = {"SCHEMATA": "SCHEMA_NAME"}.get(what, f"{what.removesuffix('S')}_SCHEMA")
            rows = self.sql(f"SELECT {columns} FROM information_schema.{what} WHERE {schema} = ?", self.name)
            found += [f"{what}: {row}" for row in rows]
        found += [str(row) for row in self.sql("SELECT * FROM mysql.tables_priv WHERE Db = ?", self.name)]
        return sorted(found)

    def system(self, name: str = "crm", **options: Any) -> System:
        prefix = options.pop("prefix", "accord")
        given: dict[str, Any] = {
            "lock_timeout": 1_000_000,
            "statement_timeout": 60_000_000,
            "overlap": 5_000_000,
            **options,
        }
        user, password = given.pop("user", ADMIN), given.pop("password", PASSWORD)
        target = {"host": self.server.host, "port": self.server.port, "user": user, "database": self.name}
        config = SimpleNamespace(name=name, dialect="mysql", target=target, secret=lambda: password, **given)
        system = open_system(config, prefix)
        self.systems.append(system)
        return system

    def blind(self) -> dict[str, Any]:
        self.accounts.append(self.server.create_user(f"blind_{self.name}"))
        self.sql(f"GRANT SELECT ON {quote(self.name)}.* TO '{self.accounts[-1]}'@'%'")
        return {"user": self.accounts[-1]}

    def close(self) -> None:
        for system in self.systems:
            system.close()
        for connection in self.connections.values():
            connection.close()
        for name in (self.name, f"{self.name}_other"):
            self.server.drop_database(name)
        with closing(self.server.connect()) as connection:
            for account in (self.account, *self.accounts):
                run(connection, f"DROP USER '{account}'@'%'", ())


class Maria:
    name = "mariadb"
    mode = "trigger"
    types = TYPES
    schema = None
    sequence = "NEXTVAL(numbers)"
    setup = ("CREATE SEQUENCE numbers START WITH 42",)
    now = "UTC_TIMESTAMP(6)"
    options: Mapping[str, Any] = MappingProxyType({})
    single = False

    def __init__(self, server: MariaServer) -> None:
        self._server = server

    def create(self) -> MariaDatabase:
        name = self._server.create_database()
        account = self._server.create_user(f"app_{name}")
        with closing(self._server.connect()) as connection:
            run(connection, f"GRANT USAGE ON *.* TO '{account}'@'%'", ())
            # USE needs some right on the database; this one gives nothing of its tables.
            run(connection, f"GRANT CREATE TEMPORARY TABLES ON {quote(name)}.* TO '{account}'@'%'", ())
        return MariaDatabase(self._server, name, account)

    def quote(self, name: str) -> str:
        return quote(name)

    def text(self, expression: str) -> str:
        return f"CAST({expression} AS CHAR)"

    def hex(self, expression: str) -> str:
        return f"HEX({expression})"

    def bytes(self, value: bytes) -> str:
        return f"x'{value.hex()}'"

    def exact(self, text: str) -> str:
        return text

    def zoned(self, text: str) -> str:
        return f"CONVERT_TZ('{text}', '+00:00', @@session.time_zone)"

    def upper_trigger(self, table: str, column: str, key: str) -> list[str]:
        return [
            f"CREATE TRIGGER app_upper_{event.lower()} BEFORE {event} ON {table} FOR EACH ROW"
            f" SET NEW.{column} = UPPER(NEW.{column})"
            for event in ("INSERT", "UPDATE")
        ]

    def touch_trigger(self, table: str, key: str, other: str, other_key: str, column: str) -> list[str]:
        return [
            f"CREATE TRIGGER app_touch AFTER UPDATE ON {table} FOR EACH ROW"
            f" UPDATE {other} SET {column} = 'touched' WHERE {other_key} = NEW.{key}"
        ]


def quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def make(request: pytest.FixtureRequest) -> Maria:
    return Maria(request.getfixturevalue("mariadb"))
