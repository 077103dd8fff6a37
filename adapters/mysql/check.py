"""What would keep `prepare` or `run` from working on a MariaDB server. Reads only: rights are asked by EXPLAIN."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from adapters import rows
from adapters.mysql import followers
from adapters.mysql.binlog.settings import wrong
from adapters.mysql.binlog.values import KINDS, understood
from adapters.mysql.cascades import Web
from adapters.mysql.connection import Session
from adapters.mysql.errors import HALT, number_of
from adapters.mysql.objects import Names
from adapters.mysql.sql import literal, qualified, quote
from adapters.mysql.tables import Bound
from config.errors import AccordError, Problem

DENIED = (1142, 1143, 1044, 1370, 1227)


class Check:
    """Collects problems; each says what to do."""

    def __init__(
        self, session: Session, names: Names, bounds: Sequence[Bound], system: str, prepared: bool, web: Web
    ) -> None:
        self._session = session
        self._names = names
        self._bounds = bounds
        self._system = system
        self._prepared = prepared
        self._web = web
        self._grants: list[str] | None = None
        self._who = ""

    def run(self) -> list[Problem]:
        self._who = account(self._session)
        found = list(self._settings())
        for bound in self._bounds:
            found += [*self._engine(bound), *self._rights(bound), *self._expressions(bound)]
            found += self._key_type(bound) if bound.logged else ()
        found += self._cascades()
        if any(b.logged for b in self._bounds):
            found += [*wrong(self._session, self._system), *self._replica()]
        return found

    def _problem(self, code: str, message: str, hint: str = "", bound: Bound | None = None) -> Problem:
        return Problem(code, message, hint, system=self._system, entity=bound.table.entity if bound else None)

    # --- the server --------------------------------------------------------------------------------------------------

    def _settings(self) -> Iterator[Problem]:
        log, form, trusted, readonly = self._session.query(
            "SELECT @@log_bin, @@binlog_format, @@log_bin_trust_function_creators, @@read_only"
        )[0]
        if log == "1" and form == "STATEMENT":
            yield self._problem("binlog-format", "binlog_format is STATEMENT.", HALT[1665])
        writes = any(b.table.write for b in self._bounds)
        if readonly == "1" and writes and not self._granted("READ_ONLY ADMIN"):
            yield self._problem("read-only", "the server is read-only.", HALT[1290])
        captured = any(b.captured for b in self._bounds)
        if captured and not self._prepared and log == "1" and trusted == "0" and not self._granted("SUPER"):
            text = "the account may not create triggers while the server writes a binary log."
            yield self._problem("binlog-triggers", text, HALT[1419])
        if not self._prepared:
            missing = [
                r for r in ("CREATE", "DROP", "INDEX", "SELECT", "INSERT", "UPDATE", "DELETE") if not self._may(r)
            ]
            if missing:
                text = f"the account may not create Accord's tables in {self._names.database}."
                grant = f"GRANT {', '.join(missing)} ON {quote(self._names.database)}.* TO {self._who};"
                yield self._problem("privilege", text, f"run as an administrator: {grant}")

    def _may(self, right: str) -> bool:
        return self._granted(right, self._names.database)

    def _granted(self, right: str, database: str = "", table: str = "") -> bool:
        """Has the account (or a role of it that is in force) this right on all of the scope?"""
        if self._grants is None:
            self._grants = [text for (text,) in self._session.query("SHOW GRANTS")]
        for grant in self._grants:
            found = re.match(r"GRANT (.+?) ON (\S+|`.+?`\.\S+) TO ", grant)
            if found is None or not covers(found[2], database, table):
                continue
            words = {w.strip() for w in re.sub(r"\([^)]*\)", "(…)", found[1]).split(",")}
            if right in words or "ALL PRIVILEGES" in words:
                return True
        return False

    # --- a table -----------------------------------------------------------------------------------------------------

    def _engine(self, bound: Bound) -> Iterator[Problem]:
        found = self._session.query(
            "SELECT ENGINE, TABLE_TYPE FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = {literal(bound.database)} AND TABLE_NAME = {literal(bound.table.name)}"
        )
        for engine, kind in found:
            if kind != "BASE TABLE" and (bound.captured or bound.logged):
                text = f"{bound.table.name} is a view, which can have no triggers and is in no log."
                yield self._problem("view", text, 'use its table, or capture = "watermark"', bound)
            elif engine is not None and engine.lower() != "innodb":
                text = f"the table {bound.table.name} uses {engine}, which knows no transactions."
                hint = f"run: ALTER TABLE {bound.sql} ENGINE = InnoDB;"
                yield self._problem("engine", text, hint, bound)

    def _rights(self, bound: Bound) -> Iterator[Problem]:
        table = bound.table
        name = qualified(bound.database, table.name)
        mapped = list(dict.fromkeys([c.name for c in (*table.key, *table.columns) if c is not None]))
        written = [n for n in (*mapped, *table.archive, *table.restore, *table.stamp) if n not in self._key(bound)]
        tries = {"SELECT": f"SELECT {', '.join(map(quote, mapped))} FROM {name} LIMIT 0"}
        if table.write:
            pairs = ", ".join(f"{quote(n)} = {quote(n)}" for n in dict.fromkeys(written))
            tries["UPDATE"] = f"UPDATE {name} SET {pairs} WHERE 1 = 0" if pairs else "SELECT 1"
        if table.write and table.creates:
            names = ", ".join(map(quote, dict.fromkeys([*mapped, *table.insert, *table.stamp])))
            tries["INSERT"] = f"INSERT INTO {name} ({names}) SELECT {names} FROM {name} WHERE 1 = 0"
        if table.write and table.deletes:
            tries["DELETE"] = f"DELETE FROM {name} WHERE 1 = 0"
        missing = [right for right, text in tries.items() if not self._explains(text)]
        if bound.captured and not self._granted("TRIGGER", bound.database, table.name):
            missing.append("TRIGGER")
        if missing:
            text = f"the account lacks {', '.join(missing)} on the table {table.name}."
            grant = f"GRANT {', '.join(missing)} ON {name} TO {self._who};"
            yield self._problem("privilege", text, f"run as an administrator: {grant}", bound)

    def _key(self, bound: Bound) -> set[str]:
        return {c.name for c in bound.table.key}

    def _explains(self, text: str) -> bool:
        """EXPLAIN asks for the rights of the statement and does nothing."""
        try:
            self._session.query(f"EXPLAIN {text}")
        except AccordError as error:
            if number_of(error.__cause__ or error) in DENIED:
                return False
            raise
        return True

    def _expressions(self, bound: Bound) -> Iterator[Problem]:
        table = bound.table
        given = {"modified": table.modified, "new_key": table.new_key}
        for part in ("insert", "stamp", "archive", "restore"):
            given |= {f"{part}.{name}": value for name, value in getattr(table, part).items()}
        for place, value in given.items():
            text = rows.expression(value)
            if text is None:
                continue
            try:
                self._session.query(f"EXPLAIN SELECT ({text}) FROM {bound.sql} t")
            except AccordError as error:
                message = f"{place}: MariaDB does not understand sql:{text}: {error.problem.message}"
                yield self._problem("bad-expression", message, "correct the expression", bound)

    def _replica(self) -> Iterator[Problem]:
        if not self._granted("REPLICATION SLAVE"):
            text = "the account may not read the server's binary log."
            grant = f"GRANT REPLICATION SLAVE ON *.* TO {self._who};"
            yield self._problem("privilege", text, f"run as an administrator: {grant}")

    def _key_type(self, bound: Bound) -> Iterator[Problem]:
        for column in bound.table.key:
            charset, _ = bound.charsets.get(column.name, (None, ""))
            if not understood(column.native, charset):
                kind = column.native + (f" in {charset}" if charset else "")
                text = f"{bound.table.name}.{column.name} is part of the key and of a type that is not read: {kind}."
                hint = f'use capture = "trigger"; the log is understood for keys of {KINDS}'
                yield self._problem("key-type", text, hint, bound)

    def _cascades(self) -> Iterator[Problem]:
        """The triggers on the tables from which foreign keys lead to captured ones."""
        captured = [b for b in self._bounds if b.captured]
        there = {(b.database, b.table.name) for b in captured}
        found = followers.triggers(self._names, captured, self._web)
        for schema, table in sorted({trigger.place for trigger in found} - there):
            if self._granted("TRIGGER", schema, table):
                continue
            entities = sorted({e for t in found if t.place == (schema, table) for e in t.entities})
            text = f"the account lacks TRIGGER on the table {table}, with whose rows those of {', '.join(entities)} go."
            grant = f"GRANT TRIGGER ON {qualified(schema, table)} TO {self._who};"
            yield self._problem("privilege", text, f"run as an administrator: {grant}")
        for schema, table in sorted(self._web.children - there):
            name = qualified(schema, table)
            if not self._prepared and not self._explains(f"SELECT 1 FROM {name} LIMIT 0"):
                text = f"the account lacks SELECT on the table {table}, by which foreign keys lead to captured ones."
                yield self._problem(
                    "privilege", text, f"run as an administrator: GRANT SELECT ON {name} TO {self._who};"
                )


def account(session: Session) -> str:
    """The account as a GRANT names it."""
    user, _, host = session.query("SELECT CURRENT_USER()")[0][0].rpartition("@")
    return f"{literal(user)}@{literal(host)}"


def covers(scope: str, database: str, table: str) -> bool:
    """Does the scope of a grant (`*.*`, `crm`.*, `crm`.`party`) cover the whole of database or table?"""
    there, _, rest = scope.replace("`", "").replace("\\_", "_").partition(".")
    if there == "*":
        return True
    return bool(database) and there in (database, "%") and rest in ("*", table)
