"""Tables as the database describes them, by SQLAlchemy's inspector: one code for all dialects.

What a dialect says better than the inspector (a type's exact words, generated keys) comes in by `Refine`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError, SAWarning
from sqlalchemy.types import TypeEngine

from config.records import Column, ForeignKey, TableInfo

Refine = Callable[[str | None, str, Mapping[str, Column], tuple[str, ...]], Mapping[str, Column]]
"""(schema, table, columns, primary key) -> columns, corrected by what only the dialect knows."""

_SIZES = {"TINYINT": 8, "SMALLINT": 16, "SMALLINTEGER": 16, "MEDIUMINT": 24, "BIGINT": 64, "BIGINTEGER": 64}
_TEXTUAL = ("CITEXT", "INET", "CIDR", "MACADDR", "MACADDR8", "XML", "SET", "INET4", "INET6")
_FRACTION = {"postgresql": 6, "sqlite": 6}  # where the type does not say; MariaDB's `Refine` tells it


@dataclass(slots=True)
class Reflector:
    """Describes the tables behind an engine. What it has read of foreign keys is kept until `forget`."""

    engine: sa.Engine
    refine: Refine | None = None
    hidden: tuple[str, ...] = ("information_schema", "performance_schema", "mysql", "sys")
    foreign: Callable[[], list[ForeignKey]] | None = None  # all foreign keys, where the inspector is slow or wrong
    _foreign: list[ForeignKey] | None = field(default=None)

    def forget(self) -> None:
        self._foreign = None

    def tables(self, schema: str | None) -> list[str]:
        """Names of the tables and views in `schema`, in order."""
        with quiet(), self.engine.connect() as connection:
            inspector = sa.inspect(connection)
            return sorted({*inspector.get_table_names(schema), *inspector.get_view_names(schema)})

    def describe(self, table: str, schema: str | None) -> TableInfo | None:
        """The table, None if there is none. A column of a type that Accord does not know has the kind ''."""
        with quiet(), self.engine.connect() as connection:
            inspector = sa.inspect(connection)
            try:
                described = inspector.get_columns(table, schema)
            except NoSuchTableError:
                return None
            key = tuple(inspector.get_pk_constraint(table, schema)["constrained_columns"])
            columns: Mapping[str, Column] = {c["name"]: self._column(c) for c in described}
            unique = tuple(_unique(inspector, table, schema, key))
            foreign = self._foreign_keys(inspector)
        if self.refine is not None:
            columns = self.refine(schema, table, columns, key)
        here = schema or self.engine.dialect.default_schema_name
        return TableInfo(
            schema,
            table,
            columns,
            key,
            unique,
            tuple(f for f in foreign if f.table == table and self._same(f.schema, here)),
            tuple(f for f in foreign if f.to_table == table and self._same(f.to_schema, here)),
        )

    def _same(self, one: str | None, here: str | None) -> bool:
        return (one or self.engine.dialect.default_schema_name) == here

    def _column(self, described: Any) -> Column:
        type, domain = described["type"], None
        while hasattr(type, "data_type"):  # a domain: what it is made of
            domain, type = getattr(type, "name", None), type.data_type
        has_default = (
            described.get("default") is not None
            or described.get("autoincrement") is True
            or bool(described.get("identity") or described.get("computed"))
        )
        column = Column(described["name"], "", domain or self._native(type), bool(described["nullable"]), has_default)
        return replace(column, **_traits(type, self.engine.dialect.name))

    def _native(self, type: TypeEngine[Any]) -> str:
        if isinstance(type, sa.types.NullType):
            return ""
        try:
            return str(type.compile(self.engine.dialect))
        except Exception:  # a type that the inspector knows, but cannot spell
            return repr(type)

    def _foreign_keys(self, inspector: Any) -> list[ForeignKey]:
        if self._foreign is None:
            self._foreign = self.foreign() if self.foreign else self._inspected(inspector)
        return self._foreign

    def _inspected(self, inspector: Any) -> list[ForeignKey]:
        seen = [s for s in inspector.get_schema_names() if s not in self.hidden]
        return [f for s in seen for f in _foreign_of(inspector, s)]


class quiet(warnings.catch_warnings):
    """Unknown types are reported by us, with their column's name; the inspector's own warning is turned off."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", SAWarning)


def _foreign_of(inspector: Any, schema: str | None) -> list[ForeignKey]:
    found = inspector.get_multi_foreign_keys(schema)
    return [
        ForeignKey(
            schema,
            table,
            tuple(f["constrained_columns"]),
            f["referred_schema"] or schema,
            f["referred_table"],
            tuple(f["referred_columns"]) or tuple(f["constrained_columns"]),
            str(f.get("options", {}).get("ondelete") or "no action").lower(),
        )
        for (_, table), keys in found.items()
        for f in keys
    ]


def _unique(inspector: Any, table: str, schema: str | None, key: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Unique constraints and whole unique indexes (one with a condition proves nothing) beside the primary key."""
    found = [tuple(c["column_names"]) for c in inspector.get_unique_constraints(table, schema)]
    for index in inspector.get_indexes(table, schema):
        partial = any(name.endswith("_where") and value is not None for name, value in _options(index))
        if index["unique"] and None not in index["column_names"] and not partial:
            found.append(tuple(index["column_names"]))
    return [columns for columns in dict.fromkeys(found) if columns != key]


def _options(index: Any) -> list[tuple[str, Any]]:
    return list(index.get("dialect_options", {}).items())


def _traits(type: TypeEngine[Any], dialect: str) -> dict[str, Any]:
    """What a type means to us. {} = a type that we do not know (kind '')."""
    name = type.__class__.__name__.upper()
    if isinstance(type, sa.Boolean) or (name == "TINYINT" and getattr(type, "display_width", None) == 1):
        return {"kind": "bool"}
    if name == "BIT":  # MariaDB: BIT(1) is a boolean, wider ones are sets of bits; PostgreSQL: texts of 0 and 1
        return {"kind": "bool"} if getattr(type, "length", None) in (None, 1) and dialect != "postgresql" else {}
    if isinstance(type, sa.Integer) or name in ("YEAR", "OID"):
        return {"kind": "int", "precision": 64 if dialect == "sqlite" else _SIZES.get(name, 32)}
    if isinstance(type, sa.Float):
        return {"kind": "float"}
    if isinstance(type, sa.Numeric) and name != "INTERVAL":
        return {"kind": "decimal", "precision": type.precision, "scale": type.scale}
    return _times(type, name, dialect) or _texts(type, name)


def _times(type: TypeEngine[Any], name: str, dialect: str) -> dict[str, Any]:
    if isinstance(type, sa.Interval) or name == "INTERVAL":
        return {}
    if isinstance(type, sa.Date):
        return {"kind": "date"}
    if not isinstance(type, (sa.DateTime, sa.Time)):
        return {}
    said = getattr(type, "precision", None)
    fraction = said if said is not None else _FRACTION.get(dialect, 0)
    zoned = dialect != "sqlite" and bool(getattr(type, "timezone", False))
    return {"kind": "datetime" if isinstance(type, sa.DateTime) else "time", "fraction": fraction, "zoned": zoned}


def _texts(type: TypeEngine[Any], name: str) -> dict[str, Any]:
    if isinstance(type, sa.types._Binary):
        return {"kind": "bytes", "length": getattr(type, "length", None)}
    if isinstance(type, (sa.Uuid, sa.JSON)) or name in _TEXTUAL:
        return {"kind": "text"}
    if isinstance(type, sa.Enum):
        return {"kind": "text"}
    if not isinstance(type, sa.String):
        return {}
    return {"kind": "text", "length": type.length, "padded": isinstance(type, (sa.CHAR, sa.NCHAR))}
