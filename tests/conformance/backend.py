"""What the conformance suite needs of a database, beside the adapter: SQL of its own, by connections of its own.

A new adapter brings one module in `factories/` with a function

    def make(request: pytest.FixtureRequest) -> Backend

and runs the whole suite. The module's name is the name in `pytest -k`. The oracle is always SQL by `Database.sql`,
never the adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from adapters.ports import System

Run = Callable[..., list[tuple[Any, ...]]]
"""(sql, *parameters) -> rows; `?` marks a parameter, rows are [] for a statement that gives none."""

TYPES = (
    "auto",  # a generated integer key, PRIMARY KEY included; what is generated must not meet explicit keys below 100
    "int",
    "bigint",
    "text",  # up to 200 characters
    "text20",
    "char10",  # padded where the database pads
    "char1",
    "long",  # unlimited text
    "decimal",  # 12 digits, 2 after the point
    "exact",  # 30 digits, 10 after the point, kept exactly; may be bytes in disguise
    "double",
    "real",  # single precision where there is one
    "bool",
    "date",
    "datetime",  # without time zone, microseconds
    "seconds",  # without time zone, whole seconds where the type can say so
    "zoned",  # with time zone where there is one, else the same as datetime
    "time",
    "bytes",
    "json",
    "uuid",  # where there is none: 36 characters
    "unknown",  # a type that Accord does not know
)


class Database(Protocol):
    """One empty database of its own per test."""

    def define(self, *statements: str) -> None:
        """Run DDL as the owner; then the application account gets SELECT, INSERT, UPDATE, DELETE on every table that
        is there, USAGE of sequences where needed, and no other right: none on what Accord makes later."""
        ...

    def sql(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As the owner, in a transaction of its own, by a connection that the adapter does not know."""
        ...

    def app(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As the application account, in a transaction of its own."""
        ...

    def people(self) -> AbstractContextManager[Run]:
        """One transaction of the application account: committed at the end, rolled back when the body raises."""
        ...

    def script(self, text: str) -> None:
        """Run a script as a DBA would, by the database's own client where there is one. An error raises."""
        ...

    def dump(self) -> list[str]:
        """Every object of the database, in words: equal lists = nothing was added, changed or left behind."""
        ...

    def system(self, name: str = "crm", **options: Any) -> System:
        """The adapter under test; `options`: prefix, lock_timeout, overlap (microseconds)."""
        ...

    def blind(self) -> dict[str, Any] | None:
        """Options for `system` by which its account may not see what other sessions do; that which `system` has else
        may. None where there are no accounts."""
        ...

    def close(self) -> None:
        """Close every connection and remove the database. Systems opened here are closed too."""
        ...


class Backend(Protocol):
    """One kind of database, and how its SQL differs."""

    name: str
    mode: str  # how changes are captured where a test does not say it: "trigger" or "log"
    types: Mapping[str, str]  # one entry for each of TYPES
    schema: str | None  # a schema other than the default in which the suite may make tables; None: there are none
    sequence: str | None  # an expression that gives the next number of a sequence; `setup` makes it
    setup: tuple[str, ...]  # DDL for `sequence`, run by `define`
    now: str  # an expression for the current time, for `stamp` and `modified`
    options: Mapping[str, Any]  # of every table that the suite maps
    single: bool  # only one transaction may write at a time (locks are on the whole database)

    def create(self) -> Database: ...

    def quote(self, name: str) -> str: ...

    def text(self, expression: str) -> str:
        """SQL: the value as text, as the database spells it."""
        ...

    def hex(self, expression: str) -> str:
        """SQL: the bytes of a bytes value in upper-case hexadecimal."""
        ...

    def bytes(self, value: bytes) -> str:
        """SQL: a literal for a bytes value."""
        ...

    def exact(self, text: str) -> str:
        """SQL: a literal for a value of the type `exact`, e.g. X'31322E3530' where decimals are kept as bytes."""
        ...

    def zoned(self, text: str) -> str:
        """SQL: a literal of the type `zoned` for this moment, given in UTC without an offset."""
        ...

    def upper_trigger(self, table: str, column: str, key: str) -> list[str]:
        """DDL: the application rewrites `column` to upper case whenever a row is inserted or updated."""
        ...

    def touch_trigger(self, table: str, key: str, other: str, other_key: str, column: str) -> list[str]:
        """DDL: an update of `table` sets `column` of the row of `other` with the same key to 'touched'."""
        ...


@contextmanager
def closing(database: Database) -> Iterator[Database]:
    try:
        yield database
    finally:
        database.close()
