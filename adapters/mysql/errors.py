"""What MariaDB's error numbers mean to Accord, and what a person can do about each."""

from __future__ import annotations

import re

import pymysql

from adapters.bisect import Refusal
from config.errors import AccordError, Halt, Problem, Transient, Unreachable

UNREACHABLE = {
    1040: "the server has no connection left; raise max_connections, or close some",
    1044: "the account may not use this database; run the GRANT that `accord check` prints",
    1045: "check user and password in accord.toml, and that the account may log in from this host",
    1049: "check the database's name in the url",
    1130: "allow the account to log in from this host",
    1129: "the server has blocked this host after too many errors; run FLUSH HOSTS there",
    1698: "give the account a password; this one may log in by socket only",
    2002: "check host and port in the url, and that the server runs",
    2003: "check host and port in the url, and that the server runs",
    2005: "check the host's name in the url",
    2026: "check the ssl_ca, ssl_cert and ssl_key options of the url",
}
TRANSIENT = {
    1020: "",  # the row changed since the snapshot (MariaDB 11)
    1053: "",  # the server shuts down
    1158: "",
    1159: "",
    1160: "",
    1161: "",
    1205: "somebody holds the row or the table for long; `SHOW PROCESSLIST` tells who",
    1213: "",  # deadlock: the whole transaction is gone
    1226: "the account's limits on the server are used up",
    1317: "",  # somebody killed the statement
    1927: "",  # somebody killed the connection
    1969: "the statement took longer than statement_timeout",
    2006: "",
    2013: "",
    2014: "",
}
HALT = {
    1021: "make room on the server's disk",
    1114: "make room on the server's disk",
    1142: "run the GRANT that `accord check` prints",
    1143: "run the GRANT that `accord check` prints",
    1054: "the table has changed; correct the mapping",
    1064: "",
    1146: "run `accord check`; Accord's own tables are made by `accord prepare`",
    1153: "raise max_allowed_packet on the server",
    1227: "run the GRANT that `accord check` prints",
    1290: "the server is read-only; point Accord to the one that takes writes",
    1370: "run the GRANT that `accord check` prints",
    1419: "set log_bin_trust_function_creators = 1 on the server (its binary log is on), or let an administrator run "
    "`accord prepare --print`",
    1449: "the account that an application's trigger runs as does not exist; create it or the trigger anew",
    1665: "set binlog_format to ROW or MIXED on the server",
    1792: "",
    1836: "the server is read-only; point Accord to the one that takes writes",
}
REFUSED = {
    1048: "give the field a value, or map the column to a constant by `insert`",
    1062: "another row there has this value already; change one of the two",
    1264: "the number is too large for the column; correct it, or widen the column",
    1265: "the column does not take this value; correct it",
    1292: "the column does not take this value; correct it",
    1364: "the column has no default: map it, or give it a constant by `insert`",
    1366: "the column's character set or type cannot hold the value; correct it, or alter the column",
    1406: "shorten the value, or widen the column",
    1451: "rows of another table refer to this one",
    1452: "the row that it refers to is not there",
    1644: "an application's trigger refused it; see its message",
    4025: "a CHECK constraint refused it; correct the value",
}
AGAIN = {1062, 1451, 1452}
"""Unique and foreign-key refusals: they may go away once the other writes of the transaction are done."""


def number_of(error: BaseException) -> int:
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def words_of(error: BaseException) -> str:
    """The server's own words, without the numbers around them."""
    args: tuple[object, ...] = error.args
    text = str(args[1] if len(args) > 1 else error)
    return re.sub(r"\s+", " ", text).strip() or error.__class__.__name__


def translate(error: BaseException, system: str) -> AccordError:
    """The error of ours for a driver's error outside of a write."""
    number, words = number_of(error), words_of(error).rstrip(".") + "."
    if number in UNREACHABLE:
        return Unreachable(Problem("unreachable", words, UNREACHABLE[number], system=system))
    lost = isinstance(error, (pymysql.err.InterfaceError, OSError)) or number == 0
    if number in TRANSIENT or lost:
        return Transient(Problem("transient", words, TRANSIENT.get(number, ""), system=system))
    return Halt(Problem("database", words, HALT.get(number, ""), system=system))


def refusal(error: BaseException) -> Refusal | None:
    """Is this error about the rows of one statement? None: it is about the connection, the server or the account."""
    number = number_of(error)
    if not isinstance(error, pymysql.err.MySQLError) or not number or (number >= 2000 and number < 3000):
        return None
    if number in UNREACHABLE or number in TRANSIENT or number in HALT:
        return None
    return Refusal(words_of(error), REFUSED.get(number, ""), number in AGAIN)
