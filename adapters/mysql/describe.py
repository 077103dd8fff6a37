"""Tables as MariaDB describes them: what SQLAlchemy's inspector does not tell, or tells for other servers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pymysql
import sqlalchemy as sa

from adapters.mysql.connection import Session, driver_options
from adapters.mysql.sql import literal
from adapters.reflect import Reflector
from config.records import Column, ForeignKey

CODECS = {
    "ascii": "ascii",
    "latin1": "cp1252",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "tis620": "tis_620",
    "sjis": "shift_jis",
    "cp932": "cp932",
    "ujis": "euc_jp",
    "gbk": "gbk",
    "gb2312": "gb2312",
    "big5": "big5",
    "euckr": "euc_kr",
    "utf8": "utf8mb3",
    "utf8mb3": "utf8mb3",
    "ucs2": "utf8mb3",
}
"""Character sets that hold less than Unicode, as Python's codecs ("utf8mb3": the basic plane only)."""

TEXTS = ("uuid", "inet4", "inet6", "json")


def reflector(config: Any, session: Session) -> Reflector:
    engine = sa.create_engine("mariadb+pymysql://", creator=lambda: _connect(config), pool_size=1, pool_pre_ping=True)
    database = config.target["database"]
    return Reflector(
        engine,
        refine=lambda schema, table, columns, key: _refine(session, schema or database, table, columns),
        foreign=lambda: _foreign(session, database),
    )


def _connect(config: Any) -> Any:
    return pymysql.connect(**driver_options(config))


def _refine(session: Session, schema: str, table: str, columns: Mapping[str, Column]) -> dict[str, Column]:
    rows = session.query(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, EXTRA, COLUMN_DEFAULT,"
        " IS_GENERATED, DATETIME_PRECISION"
        " FROM information_schema.COLUMNS"
        f" WHERE TABLE_SCHEMA = {literal(schema)} AND TABLE_NAME = {literal(table)}"
    )
    found = dict(columns)
    for name, word, native, charset, extra, default, generated, fraction in rows:
        if name not in found:
            continue
        column = found[name]
        made = "auto_increment" in extra.lower() or generated == "ALWAYS"
        known = column.has_default or made or (default is not None and default != "NULL")
        column = replace(column, native=native, has_default=known, charset=CODECS.get(charset or ""))
        if fraction is not None and word != "date":
            # A TIMESTAMP is kept in UTC and shown in the session's zone, which is always UTC for Accord.
            column = replace(column, fraction=int(fraction), zoned=word == "timestamp")
        if word in TEXTS:
            column = replace(column, kind="text", length=None)
        if word in ("float", "double"):
            column = replace(column, kind="float", precision=24 if word == "float" else 53)
        found[name] = column
    return found


def _foreign(session: Session, database: str) -> list[ForeignKey]:
    """All foreign keys that the account can see, in all databases."""
    rows = session.query(
        "SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,"
        " k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.DELETE_RULE"
        " FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r"
        " ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.TABLE_NAME = k.TABLE_NAME"
        " AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME"
        " WHERE k.REFERENCED_TABLE_NAME IS NOT NULL"
        " ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION"
    )
    found: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault(row[:3], []).append(row)

    def schema(name: str) -> str | None:
        return None if name == database else name

    return [
        ForeignKey(
            schema(parts[0][0]),
            parts[0][1],
            tuple(p[3] for p in parts),
            schema(parts[0][4]),
            parts[0][5],
            tuple(p[6] for p in parts),
            parts[0][7].lower(),
        )
        for parts in found.values()
    ]
