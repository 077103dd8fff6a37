"""The road of a value: column -> map -> format -> canonical, and back.

An adapter reads and writes columns and knows nothing of roads; `read` stands behind its decoder, `write` before it
gets a value. What has no counterpart on the other end (a word that is not in the map, a number that is no phone
number) is a ValueError, and its record goes to a person: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from adapters import convert
from adapters.ports import Decoder, System
from agent.values import Fit, fitter, harmless, loss, rounding, whole
from config.formats.parse import chain, parse
from config.records import Column, Entity, Raw, Road, Table, Value
from config.values import Map

COLUMN_TYPES = {"int": "int", "decimal": "decimal", "float": "decimal", "bool": "bool"}
"""As what a column is read that has a map or a format; all others as text."""

REST = "*"


def road(column: Column, spec: str, map: Map, formats: Iterable[str]) -> Road | None:
    """The road between `column` and a canonical value of the type `spec`; None where there is nothing in between."""
    format = chain([parse(name) for name in formats]) if formats else None
    if not map and format is None:
        return None
    base = "ref" if spec == "ref" else COLUMN_TYPES.get(column.kind, "text")
    words = Words(column, map) if map else None

    def read(value: Value) -> Value:
        word = text_of(value)
        if words is not None:
            word = words.read(word)
        return turn(word if format is None or word is None else format.read(word), spec)

    def write(value: Value, held: Value) -> Value:
        word: Value = value
        if format is not None:
            now = text_of(held)
            if words is not None and now is not None:
                now = words.known(now)
            word = format.write(turn(value, format.kind), now)
        word = text_of(word)
        return turn(word if words is None else words.write(word), base)

    return Road(base, read, write, format is not None and format.partial)


class Words:
    """A map: what a system holds = the agreed word."""

    def __init__(self, column: Column, map: Map) -> None:
        self.column = column.name
        self.to: dict[str, str] = {}
        self.back: dict[str, str] = {}
        for held, word in map:
            if held == REST:
                self.to[REST] = word
                continue
            spelled = as_held(column, held)
            self.to[spelled] = word
            self.back.setdefault(word, spelled)
        self.rest = self.to.pop(REST, None)

    def read(self, held: str | None) -> str | None:
        """The agreed word. ValueError: not in the map."""
        word = self.to.get(held or "")
        if word is None and held is not None:
            if self.rest is None:
                raise ValueError(f"{convert.say(held)} is not in the map of {self.column}")
            word = held if self.rest == REST else self.rest
        return word or None

    def has(self, word: str) -> bool:
        """Does some value stand for the word?"""
        return word in self.back or (self.rest == REST and word not in self.to)

    def known(self, held: str) -> str | None:
        """As `read`; None where that says nothing."""
        try:
            return self.read(held)
        except ValueError:
            return None

    def write(self, word: str | None) -> str | None:
        """The first held value that stands for the word. ValueError: there is none."""
        held = self.back.get(word or "")
        if held is None and word is not None:
            if self.rest != REST or word in self.to:  # as it is, it would be read as another word
                raise ValueError(f"no value of {self.column} stands for {convert.say(word)}: it is not in the map")
            held = word
        return held or None


def as_held(column: Column, held: str) -> str:
    """The key of a map as the column's own value is spelled. ValueError where the column cannot hold it."""
    type = COLUMN_TYPES.get(column.kind, "text")
    return text_of(turn(held, type)) or ""


def holds(column: Column, held: str) -> bool:
    """Can the column hold what is the key of a map?"""
    try:
        as_held(column, held)
    except ValueError:
        return False
    return True


def gives(column: Column, map: Map, formats: Iterable[str]) -> str:
    """The type of value that comes from a column, where nothing else is said."""
    if formats:
        return chain([parse(name) for name in formats]).kind
    return "text" if map else column.kind


def text_of(value: Value) -> str | None:
    """A value as the text that maps and formats see: numbers without useless zeros, `true`, `2026-11-24`."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value.normalize() + 0, "f") if value.is_finite() else str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f").removesuffix(".000000")
    return value.isoformat() if isinstance(value, date) else value.hex() if isinstance(value, bytes) else str(value)


TURNS: Mapping[str, Callable[[str], Value]] = {
    "int": convert.to_int,
    "decimal": convert.to_decimal,
    "bool": convert.to_bool,
    "date": lambda text: convert.to_date(text, UTC),
    "datetime": lambda text: convert.to_datetime(text, UTC),
}


def turn(value: Value, type: str) -> Value:
    """The value as one of another type. ValueError says why it is none."""
    if value is None:
        return None
    if type == "datetime" and isinstance(value, datetime):
        return value
    if type == "date" and isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and type not in TURNS:
        return value
    text = text_of(value)
    assert text is not None
    return TURNS[type](text) if type in TURNS else text


# --- bound to a system ---------------------------------------------------------------------------------------------


class Ways(NamedTuple):
    """How the values of one entity come from one system and go there; one item per field, None: nothing to do."""

    decoders: tuple[Decoder | None, ...]  # stored form -> canonical
    plain: tuple[Decoder | None, ...]  # stored form -> the column's value
    fits: tuple[Fit | None, ...]  # what a value becomes there
    whole: tuple[Fit | None, ...]  # gives another value back for one that may not be cut and is


def ways(entity: Entity, table: Table, system: System) -> Ways:
    plain = system.decoders(entity.name)
    found: list[tuple[Decoder | None, Fit | None, Fit | None]] = []
    for i, spec in enumerate(entity.fields):
        column, road, decoder = table.columns[i], table.road(i), plain[i]
        if column is None or decoder is None:
            found.append((None, None, None))
            continue
        lossy = table.system in spec.lossy
        fit = None if spec.ref else fitter(column) if lossy else harmless(column)
        strict = None if spec.ref or lossy else whole(column)
        if road is not None:
            decoder = behind(decoder, road)
            fit, strict = through(road, fit), None if lossy else through(road, strict)
        found.append((rounding(decoder, spec.scale), fit, strict))
    return Ways(tuple(d for d, _, _ in found), plain, tuple(f for _, f, _ in found), tuple(s for _, _, s in found))


def behind(decoder: Decoder, road: Road) -> Decoder:
    def decode(raw: Raw) -> Value:
        return road.read(decoder(raw))

    return decode


def through(road: Road, fit: Fit | None) -> Fit:
    """What comes back of a value that is written there; itself where it cannot be written, which `refusal` tells."""

    def come_back(value: Value) -> Value:
        try:
            stored = road.write(value, None)
            return road.read(stored if fit is None or stored is None else fit(stored))
        except ValueError:
            return value

    return come_back


def refusal(column: Column, road: Road | None, whole: Fit | None, value: Value) -> str | None:
    """Why a value cannot be written there, or not whole where it may not be cut; None if it can."""
    stored = value
    if road is not None:
        try:
            stored = road.write(value, None)
        except ValueError as error:
            return f"{column.name}: {error}"
    if whole is None or value is None or whole(value) == value:
        return None
    return loss(column, stored) or f"{convert.say(text_of(value))} does not fit into {column.name} ({column.native})"
