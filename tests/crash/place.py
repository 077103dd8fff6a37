"""One database of the world: its tables, a way in, and what is in it. SQL that PostgreSQL and MariaDB both take.

The same records stand in all systems, each under keys and column names of its own. `ledger` is the test's: whoever
edits writes down there, in the same transaction, what was replaced by what. So it holds exactly what has committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.servers import ADMIN, MariaServer, PostgresServer

TEXTS = {"customer": ("name", "phone", "note"), "visit": ("subject",)}
CODE = {"customer": "code", "visit": "number"}
PEOPLE = "people"


@dataclass(frozen=True)
class Place:
    """A system and its database."""

    system: str
    server: PostgresServer | MariaServer
    database: str

    @property
    def maria(self) -> bool:
        return isinstance(self.server, MariaServer)

    @property
    def uuid_keys(self) -> bool:
        """The first system has keys that Accord makes, the others those of the database."""
        return self.system == "crm"

    def column(self, field: str) -> str:
        return f"{self.system}_{field}"

    # --- connections -------------------------------------------------------------------------------------------------

    def connect(self, user: str = ADMIN) -> Any:
        """A connection of the test's own; each statement commits."""
        return self.server.connect(self.database, user)

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """One statement of the test's own; its rows."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(text, parameters or None)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Any]:
        """A cursor; all that it does commits, or none of it."""
        with connection.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            try:
                yield cursor
            except BaseException:
                connection.rollback()
                raise
            cursor.execute("COMMIT")

    # --- tables ------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Tables, and an account for people that may use them and nothing else (I12)."""
        serial = (
            "INTEGER PRIMARY KEY AUTO_INCREMENT" if self.maria else "INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
        )
        key = "VARCHAR(40) PRIMARY KEY" if self.uuid_keys else serial
        refers = "VARCHAR(40)" if self.uuid_keys else "INTEGER"
        c = self.column
        for text in (
            f"CREATE TABLE customer (id {key}, {c('code')} VARCHAR(80) NOT NULL, {c('name')} VARCHAR(80),"
            f" {c('phone')} VARCHAR(80), {c('note')} VARCHAR(80), {c('points')} INTEGER NOT NULL DEFAULT 0,"
            f" {c('vat')} VARCHAR(20))",
            "CREATE INDEX customer_code ON customer (" + c("code") + ")",
            f"CREATE TABLE visit (id {key}, {c('number')} VARCHAR(80) NOT NULL UNIQUE, {c('customer')} {refers},"
            f" {c('subject')} VARCHAR(80), FOREIGN KEY ({c('customer')}) REFERENCES customer (id))",
            f"CREATE TABLE ledger (seq {serial}, entity VARCHAR(20) NOT NULL, code VARCHAR(80) NOT NULL,"
            " field VARCHAR(20) NOT NULL, old VARCHAR(80), new VARCHAR(80))",
        ):
            self.sql(text)
        self.server.create_user(PEOPLE)
        who = f"'{PEOPLE}'@'%%'" if self.maria else PEOPLE
        for table in ("customer", "visit", "ledger"):
            on = f"`{self.database}`.{table}" if self.maria else table
            self.sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {on} TO {who}".replace("%%", "%"))

    # --- what is in it -----------------------------------------------------------------------------------------------

    def customers(self) -> list[tuple[Any, ...]]:
        """Key, code, name, phone, note, points; by code."""
        names = ", ".join(self.column(f) for f in ("code", "name", "phone", "note", "points"))
        return self.sql(f"SELECT id, {names} FROM customer ORDER BY 2")

    def visits(self) -> list[tuple[Any, ...]]:
        """Key, number, the customer's code, subject; by number."""
        c = self.column
        return self.sql(
            f"SELECT v.id, {c('number')}, {c('code')}, {c('subject')} FROM visit v"
            f" LEFT JOIN customer k ON k.id = v.{c('customer')} ORDER BY 2"
        )

    def ledger(self) -> list[tuple[str, str, str, str | None, str | None]]:
        """Entity, code, field, old, new; in the order of writing. Field '': the row as a whole."""
        return self.sql("SELECT entity, code, field, old, new FROM ledger ORDER BY seq")

    def crosswalk(self) -> list[tuple[Any, ...]]:
        """Entity, system, key, gid."""
        table = "accord_crosswalk" if self.maria else "accord.accord_crosswalk"
        system = "`system`" if self.maria else '"system"'
        key = "`key`" if self.maria else '"key"'
        return self.sql(f"SELECT entity, {system}, {key}, gid FROM {table} ORDER BY 1, 2, 3")

    def changes(self) -> int:
        """Changes that Accord has not yet taken note of."""
        table = "accord_changes" if self.maria else "accord.accord_changes"
        return int(self.sql(f"SELECT count(*) FROM {table}")[0][0])

    def marks(self) -> list[Any]:
        """Differs as soon as anybody writes to these tables, on PostgreSQL also when the rows look the same then."""
        hidden = "" if self.maria else "xmin::text, ctid::text, "
        crosswalk = "accord_crosswalk" if self.maria else "accord.accord_crosswalk"
        tables = ("customer", "visit", crosswalk)
        return [sorted(self.sql(f"SELECT {hidden}t.* FROM {t} t"), key=repr) for t in tables] + [self.changes()]
