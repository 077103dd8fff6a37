"""One database with tables, bound, prepared and fenced: what most tests of the suite start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.ports import System, Transaction
from config.records import Fence, Key, Outcome, Reading, Table, Value, Write, WriteKind
from tests.conformance import tables
from tests.conformance.backend import Backend, Database

CUSTOMER = {"id": "auto", "name": "text NOT NULL", "email": "text", "credit": "decimal", "note": "text"}
FIELDS = {"name": "name", "email": "email", "credit": "credit"}


class World:
    """Tables are made with words of `backend.TYPES`; the agent under test is called `agent`."""

    def __init__(self, backend: Backend, db: Database) -> None:
        self.backend = backend
        self.db = db
        self.columns: dict[str, list[str]] = {}
        self.tables: dict[str, Table] = {}
        self._round = 0
        self._gids = 0
        self.system: System = db.system()
        self.fence = Fence("agent", 0, 0)

    def create(self, name: str, columns: Mapping[str, str], *constraints: str, schema: str | None = None) -> str:
        """A table of the application; its quoted name."""
        q = self.backend.quote
        table = q(name) if schema is None else f"{q(schema)}.{q(name)}"
        parts = [f"{q(column)} {self._type(type)}" for column, type in columns.items()]
        self.db.define(f"CREATE TABLE {table} ({', '.join([*parts, *constraints])})")
        return table

    def _type(self, text: str) -> str:
        word, _, rest = text.partition(" ")
        return f"{self.backend.types[word]} {rest}".strip()

    def bind(self, entities: Mapping[str, tuple[str, Mapping[str, str | None], Mapping[str, Any]]]) -> World:
        """entity -> (table, field -> column, options). Describes and binds; nothing is prepared."""
        for entity, (name, columns, options) in entities.items():
            given = {**self.backend.options, **options}
            self.tables[entity] = tables.table(self.system, entity, name, columns, **given)
            self.columns[entity] = list(columns)
        self.system.bind(list(self.tables.values()))
        return self

    def start(self) -> World:
        self.system.prepare()
        self.system.attend(None)
        self.fence = self.system.take_fence("agent")
        return self

    # --- reading -----------------------------------------------------------------------------------------------------

    def reading(self, entity: str, key: Key) -> Reading:
        return self.system.read({entity: [key]})[entity][key]

    def values(self, entity: str, key: Key) -> dict[str, Value]:
        return self.named(entity, self.reading(entity, key).raws)

    def named(self, entity: str, raws: tuple[Any, ...] | None) -> dict[str, Value]:
        assert raws is not None
        return dict(zip(self.columns[entity], tables.values(self.system, entity, raws), strict=True))

    def drain(self, limit: int = 100) -> list[tuple[str, Key]]:
        """What capture sees now, acknowledged."""
        found: list[tuple[str, Key]] = []
        position, more = None, True
        while more:
            batch = self.system.changes(position, limit)
            found += [(c.entity, c.key) for c in batch.changes]
            self.system.acknowledge(batch.position)
            position, more = batch.position, batch.more
        return found

    # --- writing -----------------------------------------------------------------------------------------------------

    def begin(self) -> Transaction:
        self._round += 1
        return self.system.begin(self.fence._replace(round=self._round))

    def apply(self, entity: str, *writes: Write) -> list[Outcome]:
        """In one transaction, committed."""
        transaction = self.begin()
        outcomes = transaction.apply(entity, writes)
        transaction.commit()
        return outcomes

    def insert(self, entity: str, values: Mapping[str, Value], **more: Any) -> Write:
        given = {self.index(entity, name): value for name, value in values.items()}
        return Write(WriteKind.INSERT, more.pop("gid", None) or self.gid(), more.pop("key", None), given, None, **more)

    def update(self, entity: str, key: Key, values: Mapping[str, Value], reading: Reading | None = None) -> Write:
        """On the reading given, else on one made now."""
        return self.change(WriteKind.UPDATE, entity, key, values, reading)

    def change(
        self,
        kind: WriteKind,
        entity: str,
        key: Key,
        values: Mapping[str, Value] | None = None,
        reading: Reading | None = None,
    ) -> Write:
        given = {self.index(entity, name): value for name, value in (values or {}).items()}
        seen = reading or self.reading(entity, key)
        return Write(kind, self.gid(), key, given, seen.raws)

    def index(self, entity: str, name: str) -> int:
        return self.columns[entity].index(name)

    def indexes(self, entity: str, *names: str) -> tuple[int, ...]:
        return tuple(self.index(entity, name) for name in names)

    def gid(self) -> str:
        self._gids += 1
        return f"{self._gids:032x}"


def customers(backend: Backend, db: Database, rows: Sequence[tuple[Any, ...]] = (), **options: Any) -> World:
    """The standard world: one entity `customer` (fields name, email, credit; the column note is not mapped)."""
    world = World(backend, db)
    world.create("customer", CUSTOMER)
    for row in rows:
        db.sql("INSERT INTO customer (id, name, email, credit) VALUES (?, ?, ?, ?)", *row)
    return world.bind({"customer": ("customer", FIELDS, options)}).start()
