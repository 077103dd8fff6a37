"""What would keep `prepare` or `run` from working. Reads only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from adapters.rows import expression
from adapters.sqlite.bound import Bound
from adapters.sqlite.session import Session
from config.errors import AccordError, Problem

OLDEST = (3, 35, 0)  # RETURNING, MATERIALIZED


def check(session: Session, bounds: Sequence[Bound]) -> Iterator[Problem]:
    if sqlite3.sqlite_version_info < OLDEST:
        hint = "use a Python that is built with a newer one"
        message = f"SQLite {sqlite3.sqlite_version} is too old: 3.35 is needed."
        yield Problem("too-old", message, hint, system=session.system)
    yield from _file(session, bounds)
    for bound in bounds:
        yield from _table(session, bound)


def _file(session: Session, bounds: Sequence[Bound]) -> Iterator[Problem]:
    session.query("SELECT 1 FROM sqlite_master LIMIT 1")  # opens it: says clearly what is wrong with the file
    writes = any(b.table.write or b.captured for b in bounds)
    for path in (session.path, session.path.parent):
        if writes and not os.access(path, os.W_OK):
            hint = "let this account write it: SQLite keeps its journal beside the file"
            yield Problem("read-only", f"{path} cannot be written.", hint, system=session.system)


def _table(session: Session, bound: Bound) -> Iterator[Problem]:
    table = bound.table
    where: dict[str, Any] = {"system": session.system, "entity": table.entity}
    kind = session.query("SELECT type FROM sqlite_master WHERE name = ? AND type IN ('table', 'view')", (table.name,))
    if kind and kind[0][0] == "view" and (bound.captured or table.write):
        hint = 'map the table behind it, or read it only: capture = "watermark", write = false'
        yield Problem("view", f"{table.name} is a view: it has no triggers and no rows of its own.", hint, **where)
    for place, text in _expressions(bound):
        try:
            session.query(f"EXPLAIN SELECT ({text}) FROM {bound.sql} t")
        except AccordError as error:
            message = f"{place}: SQLite does not understand sql:{text}: {error.problem.message}"
            yield Problem("bad-expression", message, "correct the expression", **where)


def _expressions(bound: Bound) -> Iterator[tuple[str, str]]:
    table = bound.table
    given = {"modified": table.modified, "new_key": table.new_key}
    for option in ("archive", "restore", "insert", "stamp"):
        given |= {f"{option}.{name}": value for name, value in getattr(table, option).items()}
    for place, value in given.items():
        text = expression(value)
        if text is not None:
            yield place, text
