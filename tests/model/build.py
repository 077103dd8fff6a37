"""Entities for the model tests, put together without a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.records import Column, Entity, Field, Table, TableInfo


def column(name: str, kind: str, *, length: int | None = None, scale: int | None = None) -> Column:
    """A column of a system in memory; a negative scale keeps tens."""
    return Column(name, kind, kind, length=length, scale=scale)


def make_entity(
    name: str,
    fields: Sequence[Field],
    systems: Sequence[str],
    *,
    columns: Mapping[tuple[str, str], Column] | None = None,
    places: Mapping[str, Sequence[str]] | None = None,
    tables: Mapping[str, Any] | None = None,
    watermark: Sequence[str] = (),
    modified: Sequence[str] = (),
    **options: Any,
) -> Entity:
    """An entity over these systems. `places`: the fields that a system has (all, if it is not named)."""
    made: dict[str, Table] = {}
    for system in systems:
        own = [
            (columns or {}).get((system, f.name)) or column(f.name, "text" if f.type == "ref" else f.type)
            if places is None or f.name in places.get(system, [f.name])
            else None
            for f in fields
        ]
        key = column("id", "text")
        info = TableInfo(None, name, {c.name: c for c in (key, *own) if c is not None}, ("id",))
        extra: dict[str, Any] = {"modified": "modified"} if system in (*watermark, *modified) else {}
        extra |= {"capture": "watermark"} if system in watermark else {}
        extra |= (tables or {}).get(system, {})
        made[system] = Table(name, system, None, name, (key,), tuple(own), tuple(f.type for f in fields), info, **extra)
    options.setdefault("first_contact", "auto")
    for per_system in ("delete", "create"):
        value = options.get(per_system, {"delete": "propagate", "create": True}[per_system])
        options[per_system] = value if isinstance(value, Mapping) else dict.fromkeys(systems, value)
    return Entity(name, tuple(fields), made, units=units(fields), **options)


def units(fields: Sequence[Field]) -> tuple[tuple[int, ...], ...]:
    """Fields that are merged as one value: singles, and groups."""
    groups: dict[str, list[int]] = {}
    for index, field in enumerate(fields):
        groups.setdefault(field.group or f"{index}", []).append(index)
    return tuple(tuple(group) for group in groups.values())


def fields_of(names: str | Sequence[Field | str]) -> list[Field]:
    """`m` is text and the match field; single letters are whole numbers."""
    named = [Field(f, "int") if isinstance(f, str) else f for f in names]
    return [Field("m", "text"), *named]


def things(names: str | Sequence[Field | str] = "np", systems: str = "ab", **options: Any) -> Entity:
    """The entity `thing`: matched by `m` unless `match=()`."""
    return make_entity("thing", fields_of(names), systems, **{"match": ((0,),), **options})
