"""Puts a configured table together for the tests: columns by name, without the agent's binder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.ports import System
from config.records import Field, Table, TableInfo, Value

TYPE_OF = {"float": "decimal", "time": "text"}


def table(system: System, entity: str, name: str, columns: Mapping[str, str | None], **options: Any) -> Table:
    """`columns`: field -> column, or "column:type"; None = no place. Options as in `config.records.Table`, and
    `schema`, `key` (a name or several; default: the primary key)."""
    schema = options.pop("schema", None)
    info = system.describe(name, schema)
    assert info is not None, f"there is no table {name}"
    key = options.pop("key", info.primary_key)
    placed = [_place(info, text) for text in columns.values()]
    return Table(
        entity=entity,
        system=system.name,
        schema=schema,
        name=name,
        key=tuple(info.columns[k] for k in ((key,) if isinstance(key, str) else key)),
        columns=tuple(column for column, _ in placed),
        types=tuple(type for _, type in placed),
        info=info,
        **options,
    )


def _place(info: TableInfo, text: str | None) -> tuple[Any, str]:
    if text is None:
        return None, "text"
    name, _, type = text.partition(":")
    column = info.columns[name]
    return column, type or TYPE_OF.get(column.kind, column.kind)


def fields(table: Table, names: Mapping[str, Any]) -> tuple[Field, ...]:
    return tuple(Field(name, type) for name, type in zip(names, table.types, strict=True))


def values(system: System, entity: str, raws: tuple[Any, ...]) -> tuple[Value, ...]:
    """The canonical values of a reading, by the adapter's own decoders."""
    return tuple(d(raw) if d else None for d, raw in zip(system.decoders(entity), raws, strict=True))
