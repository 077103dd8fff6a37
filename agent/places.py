"""One entity in one system as those commands see it that only look: what a row says, and whether two rows say the same.

Nothing of the merge is used: values are decoded, and compared after what each column can hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from adapters.ports import Decoder, System
from agent.roads import ways
from agent.values import Fit
from config.records import Entity, Gid, Key, Reading, Table, Value
from state.ports import State


class Unreadable(NamedTuple):
    """A stored form that is no value of the field's type."""

    why: str


class Unknown(NamedTuple):
    """A reference to a row that is no record (yet)."""

    entity: str
    system: str
    key: Key


Held = Value | Unreadable | Unknown
"""What a system holds in a field; a reference is the parent's gid."""


class Place(NamedTuple):
    """One entity in one system."""

    table: Table
    decoders: tuple[Decoder | None, ...]
    fits: tuple[Fit | None, ...]
    refs: Mapping[int, str]  # field index -> parent entity

    def has(self, i: int) -> bool:
        return self.table.columns[i] is not None

    def becomes(self, i: int, value: Held) -> Held:
        """What a value becomes in this column."""
        fit = self.fits[i]
        return value if fit is None or value is None or isinstance(value, (Unreadable, Unknown)) else fit(value)


def places(entity: Entity, systems: Mapping[str, System]) -> dict[str, Place]:
    """By system, in the order of the configuration."""
    return {s: _place(entity, table, systems[s]) for s, table in entity.tables.items()}


def _place(entity: Entity, table: Table, system: System) -> Place:
    way = ways(entity, table, system)
    pairs = enumerate(zip(table.columns, entity.fields, strict=True))
    refs = {i: spec.ref for i, (column, spec) in pairs if column is not None and spec.ref is not None}
    return Place(table, way.decoders, way.fits, refs)


def alike(i: int, one: Place, a: Held, other: Place, b: Held) -> bool:
    """Is it the same value, as far as both columns can hold it?"""
    if isinstance(a, Unreadable) or isinstance(b, Unreadable):
        return False
    return a == b or other.becomes(i, a) == b or one.becomes(i, b) == a


class Rows:
    """Decodes rows; the references of many are looked up together."""

    def __init__(self, places: Mapping[str, Place], state: State) -> None:
        self.places, self.state = places, state

    def held(self, readings: Mapping[str, Iterable[Reading]]) -> dict[tuple[str, Key], tuple[Held, ...]]:
        """What these rows hold, by (system, key); one item per field, None where there is no place."""
        out: dict[tuple[str, Key], tuple[Held, ...]] = {}
        for system, rows in readings.items():
            place = self.places[system]
            decoded = {
                row.key: [_decode(d, raw) for d, raw in zip(place.decoders, row.raws, strict=True)] for row in rows
            }
            self._refer(system, place, decoded)
            out.update(((system, key), tuple(values)) for key, values in decoded.items())
        return out

    def _refer(self, system: str, place: Place, decoded: dict[Key, list[Held]]) -> None:
        asked: dict[str, set[Key]] = defaultdict(set)
        for i, parent in place.refs.items():
            asked[parent].update(str(v[i]) for v in decoded.values() if v[i] is not None and not _odd(v[i]))
        gids: dict[tuple[str, Key], Gid] = {}
        for parent, keys in asked.items():
            gids.update(((parent, k), gid) for k, gid in self.state.resolve(parent, system, keys).items())
        for i, parent in place.refs.items():
            for values in decoded.values():
                if values[i] is not None and not _odd(values[i]):
                    key = str(values[i])
                    values[i] = gids.get((parent, key)) or Unknown(parent, system, key)


def _odd(value: Held) -> bool:
    return isinstance(value, (Unreadable, Unknown))


def _decode(decoder: Decoder | None, raw: object) -> Held:
    if decoder is None or raw is None:
        return None
    try:
        return decoder(raw)  # type: ignore[arg-type]
    except ValueError as error:
        return Unreadable(str(error))


class Titles:
    """What people call a parent that a field refers to: `crm:12`."""

    def __init__(self, state: State, systems: Iterable[str]) -> None:
        self.state, self.systems = state, list(systems)
        self.key_of = lru_cache(maxsize=10_000)(self._key_of)

    def _key_of(self, entity: str, gid: Gid) -> tuple[str, Key] | None:
        for system in self.systems:
            key = self.state.keys(entity, system, [gid]).get(gid)
            if key is not None:
                return system, key
        return None
