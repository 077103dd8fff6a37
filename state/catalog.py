"""Names and their ids, and the layouts of blobs: what a changed mapping does to what was stored before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.errors import ConfigError, Problem
from config.records import Gid
from state.codec import unpack_pair
from state.database import Database

NEVER = -1
"""The stamp of a field that an image never saw: the field was mapped after the image was taken."""

MOST_SYSTEMS = 63  # a slot keeps the system in 6 bits


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of an entity, in the order of the blobs that carry this layout's id."""

    id: int
    fields: tuple[str, ...]
    refs: tuple[str, ...]
    places: tuple[int | None, ...] | None = None  # where each field of today stands in here; None = all the same

    def mapped(self, row: Sequence[Any], absent: Any) -> tuple[Any, ...]:
        """A row of this layout in the order of today's fields."""
        if self.places is None:
            return tuple(row)
        return tuple(absent if place is None else row[place] for place in self.places)


class Catalog:
    """The names that the configuration speaks of now, and what the file knows them by."""

    def __init__(
        self,
        database: Database,
        entities: Mapping[str, Sequence[str]],
        systems: Sequence[str],
        refs: Mapping[str, Sequence[str]] | None,
        readonly: bool,
    ) -> None:
        if len(systems) > MOST_SYSTEMS:
            raise ConfigError(
                Problem("too-many-systems", f"{len(systems)} systems take part.", f"At most {MOST_SYSTEMS} can.")
            )
        self.systems = _named(database, "system", systems, readonly)
        self.entities = _named(database, "entity", tuple(entities), readonly)
        self.system_names = {number: name for name, number in self.systems.items()}
        self.entity_names = {number: name for name, number in self.entities.items()}
        self.layouts: dict[int, Layout] = {}
        self.now: dict[str, Layout] = {}  # by entity: the layout in use
        for name, fields in entities.items():
            self._lay_out(database, name, tuple(fields), None if refs is None else tuple(refs.get(name, ())), readonly)

    def _lay_out(
        self,
        database: Database,
        entity: str,
        fields: tuple[str, ...],
        refs: tuple[str, ...] | None,
        readonly: bool,
    ) -> None:
        number = self.entities[entity]
        known = [
            Layout(id, tuple(json.loads(names)), tuple(json.loads(references)))
            for id, names, references in database.rows(
                "SELECT id, fields, refs FROM layout WHERE entity = ? ORDER BY id", (number,)
            )
        ]
        if refs is None:  # nobody says: as it was
            refs = tuple(f for f in known[-1].refs if f in fields) if known else ()
        for layout in known:
            places = tuple(layout.fields.index(f) if f in layout.fields else None for f in fields)
            self.layouts[layout.id] = Layout(
                layout.id, layout.fields, layout.refs, None if layout.fields == fields else places
            )
        if known and (known[-1].fields, known[-1].refs) == (fields, refs):
            self.now[entity] = self.layouts[known[-1].id]
            return
        id = -number if readonly else self._add_layout(database, number, fields, refs)
        self.now[entity] = self.layouts[id] = Layout(id, fields, refs)
        if known and not readonly and set(known[-1].refs) != set(refs):
            self._refer_anew(database, number, self.now[entity])

    @staticmethod
    def _add_layout(database: Database, entity: int, fields: tuple[str, ...], refs: tuple[str, ...]) -> int:
        database.rows(
            "INSERT INTO layout (entity, fields, refs) VALUES (?, ?, ?)",
            (entity, json.dumps(fields), json.dumps(refs)),
        )
        return int(database.value("SELECT last_insert_rowid()"))

    def _refer_anew(self, database: Database, entity: int, now: Layout) -> None:
        """Other fields are references than before: read them out of all versions of the entity."""
        database.rows("DELETE FROM ref WHERE child IN (SELECT id FROM record WHERE entity = ?)", (entity,))
        found: list[tuple[int, str, Gid]] = []
        for id, layout, agreed in database.rows(
            "SELECT id, layout, agreed FROM record WHERE entity = ? AND agreed IS NOT NULL", (entity,)
        ):
            values = self.layouts[layout].mapped(unpack_pair(agreed)[0], None)
            found += [
                (id, name, value) for name in now.refs if isinstance(value := values[now.fields.index(name)], str)
            ]
        database.many(
            "INSERT INTO ref (child, field, parent) SELECT ?1, ?2, id FROM record WHERE gid = ?3 "
            "UNION SELECT ?1, ?2, record FROM alias WHERE gid = ?3",
            found,
        )


def _named(database: Database, table: str, names: Sequence[str], readonly: bool) -> dict[str, int]:
    if not readonly:
        database.many(f"INSERT INTO {table} (name) VALUES (?) ON CONFLICT DO NOTHING", [(n,) for n in names])
    known = dict(database.rows(f"SELECT name, id FROM {table}"))
    # A reader may know a name that the file does not: it gets an id that no row has.
    return {name: known.get(name, -1 - place) for place, name in enumerate(names)}
