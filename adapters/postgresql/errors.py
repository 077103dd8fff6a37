"""What PostgreSQL's error codes mean to Accord, and what a person can do about each."""

from __future__ import annotations

import re

import psycopg

from adapters.bisect import Refusal
from config.errors import AccordError, Halt, Problem, Transient, Unreachable

UNREACHABLE = {
    "28": "check user and password, and that pg_hba.conf lets the account in from this host",
    "3D": "check the database's name in the url",
    "53300": "the server has no connection left; raise max_connections, or close some",
    "57P03": "",  # the server is starting up
}
TRANSIENT = {
    "08": "",
    "40": "",  # serialization failure, deadlock
    "53": "the server is short of memory, disk or connections",
    "57014": "the statement took longer than statement_timeout, or somebody cancelled it",
    "57P": "",  # the server shuts down, or an administrator cut the connection
    "55P03": "somebody holds the row or the table for long; pg_stat_activity tells who",
    "25P0": "the connection was idle in a transaction for longer than the server allows",
    "58": "the server cannot read or write its files; its log tells more",
}
HALT = {
    "25006": "the server is read-only; point Accord to the one that takes writes",
    "3F": "run `accord check`; Accord's own schema is made by `accord prepare`",
    "42501": "run the GRANT that `accord check` prints",
    "42703": "the table has changed; correct the mapping",
    "42P01": "run `accord check`; Accord's own tables are made by `accord prepare`",
    "53100": "make room on the server's disk",
}
REFUSED = {
    "22001": "shorten the value, or widen the column",
    "22003": "the number is too large for the column; correct it, or widen the column",
    "22021": "the database's encoding cannot hold the value; correct it",
    "22P02": "the column does not take this value; correct it",
    "22P05": "the database's encoding cannot hold the value; correct it",
    "23502": "give the field a value, or give the column a constant by `insert`",
    "23503": "the row that it refers to is not there, or rows of another table refer to this one",
    "23505": "another row there has this value already; change one of the two",
    "23514": "a CHECK constraint refused it; correct the value",
    "23P01": "another row there excludes this one; change one of the two",
    "428C9": "the database computes this column itself; take it out of the mapping, or let its system own it",
    "P0001": "an application's trigger refused it; see its message",
}
# Classes of codes that are about the values of a row: data, integrity, the application's own triggers and functions,
# a view's CHECK OPTION, a size limit (an index entry).
ROW_CLASSES = ("21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0")
AGAIN = ("23503", "23505", "23P01", "23001")
"""Unique and foreign-key refusals: they may go away once the other writes of the transaction are done."""


def words_of(error: psycopg.Error) -> str:
    """The server's own words in one line: message and detail, without position and context."""
    diag = error.diag
    text = ". ".join(t.rstrip(".") for t in (diag.message_primary, diag.message_detail) if t) or str(error)
    return re.sub(r"\s+", " ", text).strip() or error.__class__.__name__


def translate(error: psycopg.Error, system: str) -> AccordError:
    """The error of ours for a driver's error outside of a write."""
    state, words = error.sqlstate or "", words_of(error)
    hint = _lookup(UNREACHABLE, state)
    if hint is not None:
        return Unreachable(Problem("unreachable", words, hint, system=system))
    if state in ("42P01", "3F000") and re.search(r"_(changes|crosswalk|fence)\"", words):
        return Halt(Problem("not-prepared", words, "run `accord prepare`", system=system))
    halt = _lookup(HALT, state)
    if halt is None:
        hint = _lookup(TRANSIENT, state)
        lost = not state and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        if hint is not None or lost:
            return Transient(Problem("transient", words, hint or "", system=system))
    return Halt(Problem("database", words, halt or error.diag.message_hint or "", system=system))


def cannot_connect(error: psycopg.Error, system: str) -> Unreachable:
    """No connection could be made. libpq gives no code here, only words in the server's language."""
    words = re.sub(r"\s+", " ", str(error)).strip()
    hint = "check host and port in the url, and that the server runs"
    if re.search(r"password|authentication|pg_hba|role ", words):
        hint = UNREACHABLE["28"]
    elif "database" in words:
        hint = UNREACHABLE["3D"]
    return Unreachable(Problem("unreachable", words, hint, system=system))


def refusal(error: Exception) -> Refusal | None:
    """Is this error about the rows of one statement? None: it is about the connection, the server or the account."""
    if isinstance(error, Refused):
        return error.refusal
    if isinstance(error, UnicodeError) or (isinstance(error, psycopg.DataError) and not error.sqlstate):
        return Refusal(str(error), "the text holds characters that no database text can hold; correct it")
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    if state[:2] not in ROW_CLASSES and state not in REFUSED:
        return None
    hint = REFUSED.get(state) or error.diag.message_hint or ""
    return Refusal(words_of(error), hint, state in AGAIN)


class Refused(Exception):
    """Accord itself sees that rows of a statement cannot be written; bisected like the server's own refusals."""

    def __init__(self, message: str, hint: str = "", again: bool = False) -> None:
        super().__init__(message)
        self.refusal = Refusal(message, hint, again)


def _lookup(table: dict[str, str], state: str) -> str | None:
    """The longest entry that the code begins with."""
    for length in (5, 4, 3, 2):
        if state and state[:length] in table:
            return table[state[:length]]
    return None
