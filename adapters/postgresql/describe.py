"""What PostgreSQL's catalog says of tables better than the inspector: exact types, and all foreign keys at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from adapters.postgresql.errors import translate
from adapters.postgresql.session import Session, connect
from adapters.postgresql.sql import qualified
from adapters.reflect import Reflector
from config.records import Column, ForeignKey, TableInfo

BASE_TYPES = """
WITH RECURSIVE base AS (
    SELECT a.attname AS name, y.oid, y.typtype, y.typbasetype
    FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.name, y.oid, y.typtype, y.typbasetype FROM base b JOIN pg_type y ON y.oid = b.typbasetype
    WHERE b.typtype = 'd')
SELECT name, format_type(oid, -1) FROM base WHERE typtype <> 'd'
"""
FOREIGN_KEYS = """
SELECT n.nspname, r.relname, tn.nspname, tr.relname, c.confdeltype,
       (SELECT array_agg(a.attname ORDER BY u.i) FROM unnest(c.conkey) WITH ORDINALITY AS u(attnum, i)
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = u.attnum),
       (SELECT array_agg(a.attname ORDER BY u.i) FROM unnest(c.confkey) WITH ORDINALITY AS u(attnum, i)
        JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = u.attnum)
FROM pg_constraint c
JOIN pg_class r ON r.oid = c.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_class tr ON tr.oid = c.confrelid JOIN pg_namespace tn ON tn.oid = tr.relnamespace
WHERE c.contype = 'f' AND c.conparentid = 0 ORDER BY 1, 2, c.conname
"""
ON_DELETE = {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}
# Encodings that cannot hold all of Unicode, as Python calls them.
CODECS = {"LATIN1": "latin-1", "LATIN2": "iso8859-2", "LATIN9": "iso8859-15", "WIN1250": "cp1250", "WIN1252": "cp1252"}


@dataclass
class Describer:
    """Describes tables for one system; it connects for each question, by connections of the inspector's own."""

    config: Any
    session: Session

    def __post_init__(self) -> None:
        def creator() -> psycopg.Connection[Any]:
            return connect(self.config)

        engine = sa.create_engine("postgresql+psycopg://", creator=creator, poolclass=sa.pool.StaticPool)
        self.reflector = Reflector(engine, self._refine, ("information_schema", "pg_catalog"), self._foreign_keys)

    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        info: TableInfo | None = self._asked(lambda: self.reflector.describe(table, schema))
        return info

    def tables(self, schema: str | None) -> list[str]:
        names: list[str] = self._asked(lambda: self.reflector.tables(schema))
        return names

    def close(self) -> None:
        self.reflector.forget()
        self.reflector.engine.dispose()

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except DBAPIError as error:
            self.close()
            if isinstance(error.orig, psycopg.Error):
                raise translate(error.orig, self.config.name) from error
            raise

    def _refine(
        self, schema: str | None, table: str, columns: Mapping[str, Column], key: tuple[str, ...]
    ) -> Mapping[str, Column]:
        """`native` becomes the type without its length: a cast to a length would cut silently what an assignment
        refuses. A domain is cast to what it is made of, and checked when it is assigned."""
        natives: dict[str, str] = dict(self.session.query(BASE_TYPES, [qualified(schema, table)]))
        codec = CODECS.get(self.session.query("SHOW server_encoding")[0][0])
        return {
            name: replace(c, native=natives.get(name, c.native), charset=codec if c.kind == "text" else c.charset)
            for name, c in columns.items()
        }

    def _foreign_keys(self) -> list[ForeignKey]:
        return [
            ForeignKey(schema, table, tuple(columns), to_schema, to_table, tuple(to_columns), ON_DELETE[on_delete])
            for schema, table, to_schema, to_table, on_delete, columns, to_columns in self.session.query(FOREIGN_KEYS)
        ]
