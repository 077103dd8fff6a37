"""A SQLite file that takes part: the port, put together from its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.origin import Origin
from adapters.ports import Decoder, Transaction, Waker
from adapters.rows import unstamped
from adapters.sqlite import objects, reader
from adapters.sqlite.bound import Bound
from adapters.sqlite.capture import Captures
from adapters.sqlite.check import check
from adapters.sqlite.describe import Describer
from adapters.sqlite.objects import Made, Names
from adapters.sqlite.origin import origin
from adapters.sqlite.session import Session
from adapters.sqlite.watch import FileWatch
from adapters.sqlite.writer import SqliteTransaction, not_prepared, taken
from adapters.waking import ThreadWaker
from config.errors import Problem
from config.records import Batch, Crosswalk, Fence, Gid, Key, Reading, Stamp, Table, TableInfo, Value


class SqliteSystem:
    """One file. Reading and writing have a connection each: a round reads while its transaction is open."""

    def __init__(self, config: Any, prefix: str) -> None:
        self.name: str = config.name
        self._config = config
        self._names = Names.of(prefix)
        path = Path(config.target["path"])
        self._session = Session(self.name, path, config.lock_timeout)
        self._writer = Session(self.name, path, config.lock_timeout)
        self._describer = Describer(self._session)
        self._bounds: dict[str, Bound] = {}
        self._captures = Captures(self._session, self._writer, self._names, {}, 0)

    # --- tables ------------------------------------------------------------------------------------------------------

    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        return None if schema not in (None, "main") else self._describer.describe(table)

    def tables(self, schema: str | None) -> list[str]:
        return [] if schema not in (None, "main") else self._describer.tables()

    def bind(self, tables: Sequence[Table]) -> None:
        self._bounds = {table.entity: Bound(table) for table in tables}
        self._captures = Captures(self._session, self._writer, self._names, self._bounds, self._config.overlap)

    def decoders(self, entity: str) -> tuple[Decoder | None, ...]:
        return self._bounds[entity].decoders

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, keys: Mapping[str, Sequence[Key]]) -> dict[str, dict[Key, Reading]]:
        with self._session.snapshot():
            logged = self._exists("changes")
            return {entity: self._read(self._bounds[entity], wanted, logged) for entity, wanted in keys.items()}

    def _read(self, bound: Bound, keys: Sequence[Key], logged: bool) -> dict[Key, Reading]:
        rows = reader.rows(self._session, bound, keys)
        readings = {key: bound.reading(row) for key, row in rows.items()}
        return reader.timed(self._session, self._names, bound, readings) if logged and bound.captured else readings

    def scan(self, entity: str, after: Key | None, limit: int) -> list[Reading]:
        return reader.scan(self._session, self._bounds[entity], after, limit)

    def moved(self, entity: str, keys: Sequence[Key]) -> dict[Key, Key]:
        bound = self._bounds[entity]
        if not bound.captured or not self._exists("changes"):
            return {}
        return reader.moved(self._session, self._names, bound, keys)

    def count(self, entity: str) -> int:
        return int(self._session.query(f"SELECT count(*) FROM {self._bounds[entity].sql}")[0][0])

    def find(self, entity: str, fields: Sequence[int], values: Sequence[Sequence[Value]]) -> list[tuple[Key, ...]]:
        return reader.find(self._session, self._bounds[entity], fields, values)

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, Gid]:
        if not self._exists("crosswalk"):
            return {}
        held = reader.holders(self._session, self._names, entity, [(system, key) for key in keys])
        return {key: gid for (_, key), gid in held.items()}

    def links(self, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
        return reader.links(self._session, self._names, entity, gids) if self._exists("crosswalk") else []

    def _exists(self, name: str) -> bool:
        return reader.exists(self._session, f"{self._names.prefix}_{name}")

    # --- capture -----------------------------------------------------------------------------------------------------

    def origin(self) -> Origin:
        path = Path(self._config.target["path"])
        return origin(self._session, path, self._names, list(self._bounds.values()))

    def attend(self, position: bytes | None) -> None:
        """What changed since then is noted by what `prepare` makes."""

    def changes(self, position: bytes | None, limit: int) -> Batch:
        if self._captures.log is not None and not self._exists("changes"):
            raise not_prepared(self.name)
        return self._captures.changes(position, limit)

    def acknowledge(self, position: bytes | None) -> None:
        if position is not None and self._exists("changes"):
            self._captures.acknowledge(position)

    def backlog(self) -> int:
        return log.backlog() if (log := self._captures.log) is not None and self._exists("changes") else 0

    def let_go(self) -> bool:
        return log.let_go() if (log := self._captures.log) is not None and self._exists("changes") else True

    # --- what stands there -------------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        return list(check(self._session, list(self._bounds.values())))

    def notes(self) -> list[Problem]:
        found = []
        for bound in self._bounds.values():
            if not bound.captured:
                text = f"SELECT count(*) FROM {bound.sql} t WHERE {bound.modified} IS NULL"
                count = self._session.query(text)[0][0]
                found += [unstamped(bound.table, count)] if count else []
        return found

    def prepared(self) -> list[Problem]:
        present = {made.name: made for made in self._present()}
        wanted = objects.tables(self._names) + objects.triggers(self._names, self._bounds.values())
        return [*self._missing(wanted, present), *self._left(wanted, present)]

    def _missing(self, wanted: Sequence[Made], present: Mapping[str, Made]) -> Iterator[Problem]:
        hint = "run `accord prepare`"
        code = "prepared-differs" if present else "not-prepared"
        for made in wanted:
            found = present.get(made.name)
            if found is None:
                message = f"the {made.type} {made.name} is missing."
                lone = present and made.type == "trigger"
                yield Problem("no-trigger" if lone else code, message, hint, system=self.name)
            elif found != made:
                message = f"the {made.type} {made.name} was made for another mapping, or was changed."
                yield Problem(code, message, hint, system=self.name)

    def _left(self, wanted: Sequence[Made], present: Mapping[str, Made]) -> Iterator[Problem]:
        names = {made.name for made in wanted}
        for made in present.values():
            if made.type == "trigger" and made.name not in names:
                message = f"the trigger {made.name} belongs to a table that is not captured any more."
                yield Problem("prepared-differs", message, "run `accord prepare`", system=self.name)

    def _present(self) -> list[Made]:
        """Accord's objects that stand there now, triggers on any table."""
        p = self._names.prefix
        rows = self._session.query("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        own = (f"{p}_changes", f"{p}_crosswalk", f"{p}_fence", f"{p}_origin")
        return [
            Made(type, name, sql)
            for type, name, table, sql in rows
            if (type != "trigger" and table in own)
            or (type == "trigger" and name.startswith(f"{p}_") and self._names.changes in sql)
        ]

    def prepare_sql(self) -> str:
        statements = objects.prepare(self._names, list(self._bounds.values()), self._present())
        return objects.script("What Accord needs here: its tables, and triggers that note changes.", statements)

    def prepare(self) -> None:
        self._run(objects.prepare(self._names, list(self._bounds.values()), self._present()))

    def unprepare_sql(self) -> str:
        statements = objects.unprepare(self._names, self._present())
        return objects.script("Removes all that Accord made here; the links between systems go last.", statements)

    def unprepare(self) -> None:
        self._run(objects.unprepare(self._names, self._present()))

    def _run(self, statements: Sequence[str]) -> None:
        with self._writer.writing():
            for statement in statements:
                self._writer.query(statement)

    def link_count(self) -> int:
        if not self._exists("crosswalk"):
            return 0
        return int(self._session.query(f"SELECT count(*) FROM {self._names.crosswalk}")[0][0])

    # --- the fence ---------------------------------------------------------------------------------------------------

    def clock(self) -> Stamp:
        """The file has no clock: its writers are on this machine, or on one whose clock nobody can ask."""
        return 0

    def fence(self) -> Fence | None:
        if not self._exists("fence"):
            return None
        rows = self._session.query(f"SELECT agent, epoch, round FROM {self._names.fence}")
        return Fence(*rows[0]) if rows else None

    def take_fence(self, agent: str) -> Fence:
        if not self._exists("fence"):
            raise not_prepared(self.name)
        fence = self._names.fence
        with self._writer.writing():
            rows = self._writer.query(f"SELECT agent, epoch, round FROM {fence}")
            if not rows:
                self._writer.query(f"INSERT INTO {fence} (agent, epoch, round) VALUES (?, 1, 0)", (agent,))
                return Fence(agent, 1, 0)
            if rows[0][0] != agent:
                raise taken(self._writer, self._names)
            self._writer.query(f"UPDATE {fence} SET epoch = epoch + 1, writing = 0")
            return Fence(agent, rows[0][1] + 1, rows[0][2])

    def begin(self, fence: Fence) -> Transaction:
        return SqliteTransaction(self._writer, self._names, self._bounds, fence)

    def waker(self) -> Waker | None:
        if self._captures.log is None:
            return None
        return ThreadWaker(self.name, FileWatch(self.name, Path(self._config.target["path"]), self._names))

    def close(self) -> None:
        for session in (self._session, self._writer):
            session.rollback()
            session.close()
