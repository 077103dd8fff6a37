"""A PostgreSQL database that takes part: the port, put together from its parts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters.origin import Origin
from adapters.ports import Decoder, Transaction, Waker
from adapters.postgresql import horizon, statements
from adapters.postgresql.bound import Bound
from adapters.postgresql.capture import Capture
from adapters.postgresql.check import Check
from adapters.postgresql.describe import Describer
from adapters.postgresql.doorbell import Doorbell
from adapters.postgresql.log import Log
from adapters.postgresql.logical import slot
from adapters.postgresql.logical.bell import Several, StreamWaker
from adapters.postgresql.logical.capture import Logged
from adapters.postgresql.logical.check import IDENTITY, check_log, log_notes
from adapters.postgresql.objects import EVENTS, Objects
from adapters.postgresql.origin import origin
from adapters.postgresql.reading import Reader
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, literal, own
from adapters.postgresql.transaction import PostgresTransaction, taken
from adapters.rows import unproven, unstamped
from adapters.waking import ThreadWaker
from config.errors import Halt, Problem, Transient
from config.records import Batch, Crosswalk, Fence, Gid, Key, Reading, Stamp, Table, TableInfo, Value

TRIES = 5
PAUSE = 0.5  # seconds between two tries of `prepare` to get a lock: applications go on meanwhile
REPLACES = 140000  # the first version that can put a trigger in another one's place
OWN_TABLES = ("changes", "crosswalk", "fence")
STANDING = """
SELECT p.oid::regprocedure::text, coalesce(g.tgname, ''), coalesce(g.tgrelid::regclass::text, ''),
       coalesce(g.tgenabled::text, ''), coalesce(obj_description(p.oid, 'pg_proc'), ''),
       coalesce(g.tgparentid <> 0, false)  -- a partition's copy of its table's trigger
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_trigger g ON g.tgfoid = p.oid
WHERE n.nspname = $1 AND p.prorettype = 'trigger'::regtype ORDER BY 1, 2
"""


class PostgresSystem:
    """One database. Reading and writing have a connection each: a round reads while its transaction is open."""

    def __init__(self, config: Any, prefix: str) -> None:
        self.name: str = config.name
        self._config = config
        self._prefix = prefix
        self._session = Session(config)
        self._writer = Session(config)
        self._describer = Describer(config, self._session)
        self._reader = Reader(self._session, prefix)
        self._log = Log(self._session, prefix)
        self._bounds: dict[str, Bound] = {}
        self._logs = self._logged_tables()
        self._capture = self._captures()
        self._disturbed: Counter[str] = Counter()
        self._offset: Stamp = 0
        self._logged = False

    # --- tables ------------------------------------------------------------------------------------------------------

    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        return self._describer.describe(table, schema)

    def tables(self, schema: str | None) -> list[str]:
        return self._describer.tables(schema)

    def bind(self, tables: Sequence[Table]) -> None:
        self._logs.close()
        self._bounds = {table.entity: Bound(table) for table in tables}
        self._logs = self._logged_tables()
        self._capture = self._captures()

    def _captures(self) -> Capture:
        return Capture(list(self._bounds.values()), self._log, self._logs, self._session, self._config.overlap)

    def _logged_tables(self) -> Logged:
        bounds = [bound for bound in self._bounds.values() if bound.table.capture == "log"]
        return Logged(self._config, self._session, self._prefix, bounds)

    def decoders(self, entity: str) -> tuple[Decoder | None, ...]:
        return self._bounds[entity].decoders

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, keys: Mapping[str, Sequence[Key]]) -> dict[str, dict[Key, Reading]]:
        # Before `prepare` there is no log; once seen, it is there, and its loss is an error.
        self._logged = self._logged or self._log.exists()
        wanted = {self._bounds[entity]: some for entity, some in keys.items()}
        return self._reader.read(wanted, self._log if self._logged else None, self._logs, self._offset)

    def scan(self, entity: str, after: Key | None, limit: int) -> list[Reading]:
        return self._reader.scan(self._bounds[entity], after, limit, self._offset)

    def moved(self, entity: str, keys: Sequence[Key]) -> dict[Key, Key]:
        bound = self._bounds[entity]
        if bound.table.capture == "log":
            return self._logs.moved(bound, keys)
        self._logged = self._logged or self._log.exists()
        return self._log.moved(bound, keys) if self._logged and bound.table.capture == "trigger" else {}

    def count(self, entity: str) -> int:
        return self._reader.count(self._bounds[entity])

    def find(self, entity: str, fields: Sequence[int], values: Sequence[Sequence[Value]]) -> list[tuple[Key, ...]]:
        return self._reader.find(self._bounds[entity], fields, values)

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, Gid]:
        return self._reader.crosswalk(entity, system, keys)

    def links(self, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
        return self._reader.links(entity, gids)

    # --- capture -----------------------------------------------------------------------------------------------------

    def origin(self) -> Origin:
        bounds = list(self._bounds.values())
        parts = self._logs.parts() if self._logs else []
        return origin(self._session, self._config.target, Objects(self._prefix, None, bounds), bounds, parts)

    def attend(self, position: bytes | None) -> None:
        self._capture.attend(position)

    def changes(self, position: bytes | None, limit: int) -> Batch:
        return self._capture.changes(position, limit, self._offset)

    def acknowledge(self, position: bytes | None) -> None:
        self._capture.acknowledge(position)

    def backlog(self) -> int:
        return self._capture.backlog()

    def let_go(self) -> bool:
        return self._capture.let_go()

    # --- what stands there -------------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        return Check(self._session, self._prefix, list(self._bounds.values()), not self.prepared()).run()

    def notes(self) -> list[Problem]:
        polled = [b for b in self._bounds.values() if b.table.capture == "watermark" and b.modified is not None]
        found = []
        if polled and (grant := horizon.missing_grant(self._session)):
            found.append(unproven(self.name, grant))
        for bound in polled:
            count = self._session.query(f"SELECT count(*) FROM {bound.name} t WHERE {bound.modified} IS NULL")[0][0]
            found += [unstamped(bound.table, count)] if count else []
        for bound in self._bounds.values():
            if (
                bound.table.capture == "trigger"
                and bound.table.triggers == "statement"
                and not self._by_statement(bound)
            ):
                found.append(statements.kept(bound.table))
        return found + log_notes(self._session, self._objects().logged)

    def prepared(self) -> list[Problem]:
        found = [*self._missing_tables(), *self._missing_triggers(), *self._missing_log()]
        return [replace(problem, code="not-prepared") for problem in found] if found and self._bare() else found

    def _bare(self) -> bool:
        """Is there nothing at all of Accord's?"""
        tables = [f"{self._prefix}_{name}" for name in OWN_TABLES]
        rows = self._session.query(
            "SELECT NOT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = $1 AND c.relname = ANY($2::text[]))",
            [self._prefix, array(tables)],
        )
        return bool(rows[0][0]) and not self._functions()

    def _problem(self, message: str, entity: str | None = None, code: str = "prepared-differs") -> Problem:
        return Problem(code, message, "run `accord prepare`", system=self.name, entity=entity)

    def _missing_tables(self) -> Iterator[Problem]:
        rows = self._session.query(
            "SELECT c.relname, has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'",
            [self._prefix],
        )
        there: dict[str, bool] = dict(rows)
        for name in OWN_TABLES:
            table = f"{self._prefix}_{name}"
            if table not in there:
                yield self._problem(f"the table {self._prefix}.{table} is missing")
            elif not there[table]:
                yield self._problem(f"the account may not use {self._prefix}.{table}")

    def _missing_triggers(self) -> Iterator[Problem]:
        objects, standing = self._objects(), self._standing()
        wanted: set[tuple[str, str]] = set()
        for tag, group in objects.groups.items():
            table = self._regclass(group[0])
            for event in EVENTS:
                name = objects.trigger(group[0], event)
                wanted.add((name, table))
                enabled, mark = standing.get((name, table), ("", ""))
                if not enabled:
                    yield self._problem(f"the trigger {name} on {tag} is missing", group[0].entity, "no-trigger")
                elif enabled not in "OA":
                    yield self._problem(f"the trigger {name} on {tag} is disabled", group[0].entity, "no-trigger")
                elif mark != objects.mark(group):
                    text = f"the trigger {name} on {tag} was made for another mapping"
                    yield self._problem(text, group[0].entity)
        for name, table in standing:
            if name and (name, table) not in wanted:
                text = f"the trigger {name} belongs to {table}, which is not captured any more"
                yield self._problem(text)

    def _missing_log(self) -> Iterator[Problem]:
        """What the log's reader needs; where nothing is captured from the log, nothing of it may be left."""
        if self._logs:
            for text, entity, missed in self._logs.slots.missing():
                yield self._problem(text, entity, "no-trigger" if missed else "prepared-differs")
        elif self._logs.slots.ready() or self._logs.slots.names():
            yield self._problem(
                "the publication or the replication slot is left over: nothing is captured from the log"
            )

    def _standing(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(trigger, table) -> (enabled, mark), of all triggers that call a function of our schema."""
        rows = self._session.query(STANDING, [self._prefix])
        return {(trigger, table): (on, mark) for _, trigger, table, on, mark, part in rows if trigger and not part}

    def _regclass(self, bound: Bound) -> str:
        return str(self._session.query("SELECT coalesce(to_regclass($1)::text, $1)", [bound.name])[0][0])

    def _objects(self) -> Objects:
        account = self._config.target.get("user") or self._session.query("SELECT current_user")[0][0]
        bounds = list(self._bounds.values())
        by_statement = {b.tag for b in bounds if self._by_statement(b)}
        return Objects(self._prefix, account, bounds, by_statement, self._session.version >= REPLACES)

    def _by_statement(self, bound: Bound) -> bool:
        """Do its triggers fire once for each statement? Row triggers serve every table."""
        same = [b for b in self._bounds.values() if b.tag == bound.tag and b.table.capture == "trigger"]
        if not same or any(b.table.triggers != "statement" for b in same):
            return False
        keys = array([c.name for c in bound.table.key])
        return (True,) in self._session.query(statements.POSSIBLE, [bound.name, keys])

    def prepare_sql(self) -> str:
        return self._objects().script()

    def prepare(self) -> None:
        """Only what is missing or different: a second run takes no lock on any table of the application's."""
        objects = self._objects()
        if list(self._missing_tables()):
            self._retried(objects.base())
        for group in objects.groups.values():
            if any(p.entity == group[0].entity for p in self._missing_triggers()):
                self._retried(objects.captures(group))
        self._retried(self._stale_sql(objects))
        if list(self._missing_log()):
            slots = self._logs.slots
            if refused := [p for p in check_log(self._session, self._prefix, objects.logged) if p.code == IDENTITY]:
                raise Halt(refused)  # the server would refuse every UPDATE there as soon as it is published
            self._retried(
                slot.script(self._prefix, objects.logged) + slots.stale() if self._logs else slot.removal(self._prefix)
            )

    def _stale_sql(self, objects: Objects) -> str:
        """Drops the triggers and functions of tables that are not captured any more."""
        wanted = {self._regprocedure(objects.function(g[0])) for g in objects.groups.values()}
        return Objects.dropping([f for f in self._functions() if f not in wanted])

    def _functions(self) -> list[str]:
        return [row[0] for row in self._session.query(STANDING, [self._prefix])]

    def _regprocedure(self, function: str) -> str:
        return str(self._session.query("SELECT to_regprocedure($1)::text", [f"{function}()"])[0][0])

    def unprepare_sql(self) -> str:
        return self._objects().removal(self._functions())

    def unprepare(self) -> None:
        self._logs.close()
        self._retried(self.unprepare_sql())
        self._logged = False

    def _retried(self, script: str) -> None:
        """In one transaction; given up and tried again when a lock does not come within lock_timeout, so that nobody
        queues up behind us for longer."""
        if not script.strip():
            return
        for attempt in range(TRIES):
            try:
                self._writer.script(f"BEGIN; SET LOCAL client_min_messages = warning; {script}\nCOMMIT")
                return
            except Transient:
                self._writer.rollback()
                if attempt == TRIES - 1:
                    raise
                time.sleep(PAUSE)
            except Halt:
                self._writer.rollback()
                raise

    def link_count(self) -> int:
        if not self._session.query(f"SELECT to_regclass({literal(own(self._prefix, 'crosswalk'))})")[0][0]:
            return 0
        return int(self._session.query(f"SELECT count(*) FROM {own(self._prefix, 'crosswalk')}")[0][0])

    # --- the fence ---------------------------------------------------------------------------------------------------

    def clock(self) -> Stamp:
        """The best of three: the shortest round trip knows best when the server looked at its clock."""
        best = min(self._measured() for _ in range(3))
        self._offset = best[1]
        return self._offset

    def _measured(self) -> tuple[int, Stamp]:
        before = time.time_ns() // 1000
        server = int(self._session.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0][0])
        after = time.time_ns() // 1000
        return after - before, server - (before + after) // 2

    def fence(self) -> Fence | None:
        table = own(self._prefix, "fence")
        if not self._session.query(f"SELECT to_regclass({literal(table)})")[0][0]:
            return None
        rows = self._session.query(f"SELECT agent, epoch, round FROM {table}")
        return Fence(*rows[0]) if rows else None

    def take_fence(self, agent: str) -> Fence:
        table = own(self._prefix, "fence")
        rows = self._session.query(
            f"INSERT INTO {table} AS f (agent, epoch, round) VALUES ($1, 1, 0)"
            " ON CONFLICT (only_one) DO UPDATE SET epoch = f.epoch + 1 WHERE f.agent = excluded.agent"
            " RETURNING agent, epoch, round",
            [agent],
        )
        if not rows:
            raise taken(self._session, self._prefix)
        return Fence(*rows[0])

    def begin(self, fence: Fence) -> Transaction:
        return PostgresTransaction(
            self._writer, self._prefix, self.name, self._bounds, self._disturbed, self._logs.expect, fence
        )

    def waker(self) -> Waker | None:
        captured = {b.table.capture for b in self._bounds.values()}
        wakers: list[Waker] = []
        if "trigger" in captured:
            wakers.append(ThreadWaker(self.name, Doorbell(self._config, self._prefix, self._log.waiting)))
        if "log" in captured:
            wakers.append(StreamWaker(lambda: self._logs.backlog))
        return Several(wakers) if len(wakers) > 1 else next(iter(wakers), None)

    def close(self) -> None:
        self._logs.close()
        for session in (self._session, self._writer):
            session.close()
        self._describer.close()
