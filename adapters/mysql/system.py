"""MariaDB as a system that takes part: `adapters.ports.System`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import sqlalchemy.exc

from adapters import watermark
from adapters.mysql import capture, cascades, followers, horizon, links, objects, reader
from adapters.mysql.binlog.backlog import Written
from adapters.mysql.binlog.capture import Found, Listen, Logged
from adapters.mysql.cascades import Web
from adapters.mysql.check import DENIED, Check, account
from adapters.mysql.connection import Session
from adapters.mysql.describe import reflector
from adapters.mysql.errors import number_of
from adapters.mysql.objects import Trigger
from adapters.mysql.origin import origin
from adapters.mysql.sql import literal, qualified
from adapters.mysql.tables import Bound
from adapters.mysql.transaction import MariaTransaction, taken
from adapters.mysql.watermark import Marks
from adapters.origin import Origin
from adapters.polled import Tables
from adapters.ports import Decoder, Waker
from adapters.rows import unproven, unstamped
from adapters.waking import Ask, ThreadWaker
from config.errors import AccordError, Halt, Problem, Transient
from config.records import (
    Batch,
    Crosswalk,
    Fence,
    Gid,
    Key,
    Reading,
    Stamp,
    Table,
    TableInfo,
    Value,
)

NO_SUCH_TABLE = 1146
FORBIDDEN = 1142  # also said of a table that is not there, to an account without any right on it
WAKE = 0.1
TRIES = 3
"""How often `prepare` asks for a table's lock; between two tries the application gets its turn."""


class MariaSystem:
    """See `adapters.ports.System`. Connects at the first call; one session reads, another writes."""

    def __init__(self, config: Any, prefix: str) -> None:
        self.name: str = config.name
        self._config = config
        self._names = objects.Names(prefix, config.target["database"])
        self._session = Session(config)
        self._writer = Session(config, mark=self._names.mark)
        self._reflector = reflector(config, self._session)
        self._bounds: dict[str, Bound] = {}
        self._tables = Tables({}, 0)
        self._log: Logged | None = None
        self._web: Web | None = None  # as it was when it was asked for last,
        self._made: dict[str, str] = {}  # with the tables that were made at these times
        self._horizon = horizon.Horizon(self._session)
        self._offset: Stamp = 0

    # --- tables ------------------------------------------------------------------------------------------------------

    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        try:
            with self._session.errors(), self._reflecting():
                return self._reflector.describe(table, schema)
        except Halt as error:
            if number_of(error.__cause__ or error) not in DENIED:
                raise
            name = qualified(schema or self._names.database, table)
            message = f"the account may not see the table {table} (or there is none)."
            hint = f"run as an administrator: GRANT SELECT ON {name} TO {account(self._session)};"
            raise Halt(Problem("privilege", message, hint, system=self.name)) from error

    def tables(self, schema: str | None) -> list[str]:
        with self._session.errors(), self._reflecting():
            return self._reflector.tables(schema)

    @contextmanager
    def _reflecting(self) -> Iterator[None]:
        try:
            yield
        except sqlalchemy.exc.DBAPIError as error:
            raise (error.orig or error) from error

    def bind(self, tables: Sequence[Table]) -> None:
        self._bounds = {t.entity: Bound(t, self._session, self._names.database) for t in tables}
        polled = {e: Marks(self._session, b) for e, b in self._bounds.items() if b.polled}
        self._tables = Tables(polled, self._config.overlap)
        self._web = None
        logged = [b for b in self._bounds.values() if b.logged]
        self._log = Logged(self._config, self._session, self._names, logged) if logged else None

    def decoders(self, entity: str) -> tuple[Decoder | None, ...]:
        return self._bounds[entity].decoders

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, keys: Mapping[str, Sequence[Key]]) -> dict[str, dict[Key, Reading]]:
        log = self._names.changes if self._logged() else None
        return reader.read_all(self._session, self._bounds, keys, self._offset, log, self._telling)

    def _telling(self) -> reader.Tell:
        assert self._log is not None
        return partial(self._log.tell, visible=self._log.snapshot(), offset=self._offset)

    def _logged(self) -> bool:
        captured = any(b.captured for b in self._bounds.values())
        return captured and self._names.changes in objects.present_tables(self._session, self._names)

    def scan(self, entity: str, after: Key | None, limit: int) -> list[Reading]:
        return reader.scan(self._session, self._bounds[entity], after, limit, self._offset)

    def moved(self, entity: str, keys: Sequence[Key]) -> dict[Key, Key]:
        bound = self._bounds[entity]
        if bound.logged and self._log is not None:
            return self._log.moved(bound, keys)
        if not bound.captured or not self._logged():
            return {}
        return reader.moved(self._session, bound, self._names.changes, keys)

    def count(self, entity: str) -> int:
        return int(self._session.query(f"SELECT COUNT(*) FROM {self._bounds[entity].sql}")[0][0])

    def find(self, entity: str, fields: Sequence[int], values: Sequence[Sequence[Value]]) -> list[tuple[Key, ...]]:
        with self._session.errors():
            return reader.find(self._session, self._bounds[entity], fields, values)

    def crosswalk(self, entity: str, system: str, keys: Sequence[Key]) -> dict[Key, Gid]:
        try:
            with self._session.errors():
                found = links.held(self._session, self._names, entity, [(system, key) for key in keys])
        except AccordError as error:
            if self._is_no_table(error, self._names.crosswalk):
                return {}
            raise
        return {key: gid for (_, key), gid in found.items()}

    def links(self, entity: str, gids: Sequence[Gid]) -> list[Crosswalk]:
        try:
            with self._session.errors():
                return links.links_of(self._session, self._names, entity, gids)
        except AccordError as error:
            if self._is_no_table(error, self._names.crosswalk):
                return []
            raise

    def _is_no_table(self, error: AccordError, name: str) -> bool:
        """Is it because there is no such table of ours yet? `plan` needs none, and no right on any."""
        number = number_of(error.__cause__ or error)
        return number == NO_SUCH_TABLE or (
            number == FORBIDDEN and name not in objects.present_tables(self._session, self._names)
        )

    # --- capture -----------------------------------------------------------------------------------------------------

    def origin(self) -> Origin:
        with self._session.errors():
            bounds, places = list(self._bounds.values()), self._followed().places
            return origin(self._session, self._config.target, self._names, bounds, places, self._still_wanted)

    def attend(self, position: bytes | None) -> None:
        """What changed since then is noted by what `prepare` makes, and by the server's log."""
        if self._log is not None:
            self._log.attend(watermark.unpack(position).stream)

    def changes(self, position: bytes | None, limit: int) -> Batch:
        places = watermark.unpack(position)
        held = capture.load(places.log)
        room = self._tables.rest(limit)
        (found, more, gaps), ids = self._from_log(held, room if self._log is None else max(1, room // 2))
        read = Found([], b"", False, {})
        if self._log is not None:
            read = self._log.changes(places.stream, max(1, room - len(found)))
            found, more = found + read.changes, more or read.more
        with self._polling():
            polled = self._tables.changes(places.marks, self._horizon.look, max(0, limit - len(found)), self._offset)
        log = capture.dump(ids or held)
        position = watermark.pack(watermark.Places(log, polled.marks, read.noted))
        more = more or polled.more
        complete = {**polled.complete, **read.complete}
        return Batch(found + polled.changes, position, more, complete, gaps=gaps | read.gaps)

    @contextmanager
    def _polling(self) -> Iterator[None]:
        """One transaction, in which our own look shows; each statement sees what is committed by then."""
        if not self._tables:
            yield
            return
        self._session.query(horizon.BEGIN)
        try:
            yield
        finally:
            if self._session.open:
                self._session.query("COMMIT")

    def _from_log(self, held: capture.Ranges, limit: int) -> tuple[capture.Found, capture.Ranges]:
        tables = objects.by_table(self._bounds.values())
        if not tables:
            return capture.Found([], False, {}), []
        self._need(self._names.changes)
        return capture.log_changes(self._session, self._names.changes, tables, held, limit)

    def _need(self, table: str) -> None:
        if table not in objects.present_tables(self._session, self._names):
            message = "Accord's tables are missing."
            raise Halt(Problem("not-prepared", message, "run `accord prepare`", system=self.name))

    def acknowledge(self, position: bytes | None) -> None:
        places = watermark.unpack(position)
        held = capture.load(places.log)
        if held:
            capture.forget(self._session, self._names.changes, held)
        if self._log is not None:
            self._log.acknowledge(places.stream)

    def backlog(self) -> int:
        return capture.backlog(self._session, self._names.changes) if self._logged() else 0

    def let_go(self) -> bool:
        return capture.let_go(self._session, self._names.changes) if self._logged() else True

    # --- Accord's objects --------------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        done = not self.prepared()
        return Check(self._session, self._names, list(self._bounds.values()), self.name, done, self._followed()).run()

    def notes(self) -> list[Problem]:
        polled = [b for b in self._bounds.values() if b.polled]
        found = []
        if polled and (grant := horizon.missing_grant(self._session)):
            found.append(unproven(self.name, grant))
        for bound in polled:
            count = int(self._session.query(f"SELECT COUNT(*) FROM {bound.sql} t WHERE {bound.modified} IS NULL")[0][0])
            found += [unstamped(bound.table, count)] if count else []
        return found

    def _wanted(self) -> list[Trigger]:
        """The triggers that capture takes, by the foreign keys as they are now."""
        self._web = None
        return followers.wanted(self._names, list(self._bounds.values()), self._followed())

    def _still_wanted(self, made: Mapping[str, str]) -> list[Trigger]:
        """The same at little cost: asked again only where a table that plays a part was made or altered since."""
        if made != self._made:
            self._web, self._made = None, dict(made)
        return followers.wanted(self._names, list(self._bounds.values()), self._followed())

    def _followed(self) -> Web:
        """By which foreign keys rows that triggers note may be changed by the server itself."""
        captured = [b for b in self._bounds.values() if b.captured]
        if self._web is None:
            self._web = cascades.web(self._session, captured) if captured else Web((), {})
        return self._web

    def prepared(self) -> list[Problem]:
        return objects.problems(self._session, self._names, self._wanted(), self.name)

    def prepare_sql(self) -> str:
        return objects.prepare_script(self._names, self._wanted())

    def prepare(self) -> None:
        """DDL commits by itself: each step may be repeated, and a second run completes what a first one began."""
        wanted = self._wanted()
        statements = [text for _, text in objects.table_statements(self._names)] + objects.seed_statements(self._names)
        surplus = objects.present_triggers(self._session, self._names).keys() - {t.name for t in wanted}
        statements += [f"DROP TRIGGER IF EXISTS {name}" for name in surplus]
        statements += [t.create for t in wanted]
        maker = Session(self._config)
        try:
            for statement in (*objects.TRIGGER_SESSION, *statements):
                patiently(maker, statement)
        finally:
            maker.close()

    def unprepare_sql(self) -> str:
        found = objects.present_triggers(self._session, self._names)
        statements = objects.unprepare_statements(self._names, found)
        head = f"-- Removes every trace of Accord from {self._names.database}; the links go last."
        return "\n".join([head, *(f"{s};" for s in statements)]) + "\n"

    def unprepare(self) -> None:
        for statement in objects.unprepare_statements(
            self._names, objects.present_triggers(self._session, self._names)
        ):
            patiently(self._session, statement)

    def link_count(self) -> int:
        if self._names.crosswalk not in objects.present_tables(self._session, self._names):
            return 0
        return int(self._session.query(f"SELECT COUNT(*) FROM {self._names.crosswalk}")[0][0])

    # --- clock and fence ---------------------------------------------------------------------------------------------

    def clock(self) -> Stamp:
        """The best of three: the shortest round trip hides the least."""
        best: tuple[int, int] | None = None
        for _ in range(3):
            before = stamp_now()
            there = int(self._session.query("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))")[0][0])
            after = stamp_now()
            measured = (after - before, there - (before + after) // 2)
            best = measured if best is None else min(best, measured)
        assert best is not None
        self._offset = best[1]
        return self._offset

    def fence(self) -> Fence | None:
        if self._names.fence not in objects.present_tables(self._session, self._names):
            return None
        found = self._session.query(f"SELECT agent, epoch, round FROM {self._names.fence} WHERE id = 1")
        return Fence(found[0][0], int(found[0][1]), int(found[0][2])) if found else None

    def take_fence(self, agent: str) -> Fence:
        session, name = self._writer, self._names.fence
        self._need(name)
        session.query("START TRANSACTION")
        try:
            session.query(f"INSERT INTO {name} VALUES (1, {literal(agent)}, 0, 0) ON DUPLICATE KEY UPDATE id = 1")
            there, epoch, last = session.query(f"SELECT agent, epoch, round FROM {name} WHERE id = 1 FOR UPDATE")[0]
            if there != agent:
                raise taken(self.name, (there, epoch))
            session.query(f"UPDATE {name} SET epoch = epoch + 1 WHERE id = 1")
            session.query("COMMIT")
        except BaseException:
            session.close()  # and with it the transaction
            raise
        return Fence(agent, int(epoch) + 1, int(last))

    def begin(self, fence: Fence) -> MariaTransaction:
        self._need(self._names.fence)
        return MariaTransaction(self._writer, self._names, self._bounds, fence, self.name, self._expect)

    def _expect(self, own: tuple[str, int, int], written: Written) -> None:
        if self._log is not None:
            self._log.expect(own, written)

    def waker(self) -> Waker | None:
        """The server's log calls. For the change log of triggers there is nothing to wait for in this server: a
        question every `WAKE` seconds, by a session of its own."""
        ask: Ask | None = None
        if any(b.captured for b in self._bounds.values()):
            session, question = Session(self._config), f"SELECT 1 FROM {self._names.changes} LIMIT 1"
            ask = Ask(lambda: bool(session.query(question)), session.close, WAKE)
        if self._log is not None:
            return ThreadWaker(self.name, Listen(self._log, ask))
        return ThreadWaker(self.name, ask) if ask is not None else None

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
        self._session.close()
        self._writer.close()
        self._reflector.engine.dispose()


def stamp_now() -> Stamp:
    return time.time_ns() // 1000


def patiently(session: Session, statement: str) -> None:
    """Run DDL that may have to wait for a table's lock: not long at a time, because others queue behind it (I12)."""
    for last in (*[False] * (TRIES - 1), True):
        try:
            session.query(statement)
            return
        except Transient:
            if last:
                raise
            time.sleep(0.5)
