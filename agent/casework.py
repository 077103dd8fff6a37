"""One record under the round's eyes, and how readings become the sides of a merge.

Decoding is lazy: a stored form that equals the image's stands for what the image says and is never decoded, so an
unchanged record costs a comparison of two tuples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.merge import NEVER, Merged, Side
from agent.values import Fit
from config.records import Entity, Gid, Key, Raw, Reading, Table, Value
from state.ports import Image, Record

Decoder = Callable[[Raw], Value]
RefFinder = Callable[[str, str, Key], Gid | None]
"""(parent entity, system, key) -> gid of the parent; None if it is not known (yet)."""


BURIED = "†"
"""Begins the key of a link whose row is gone and whose key speaks for another record now. No row has such a key."""


class Bound(NamedTuple):
    """One entity in one system, ready for use."""

    table: Table
    rank: int
    decoders: tuple[Decoder | None, ...]
    fits: tuple[Fit | None, ...]
    places: tuple[int, ...]  # indexes of the fields that have a column here
    refs: Mapping[int, str]  # field index -> parent entity
    stale_window: int
    whole: tuple[Fit | None, ...] = ()  # of fields that this system may not cut
    plain: tuple[Decoder | None, ...] = ()  # as `decoders`, before the road: what the column itself holds
    given: frozenset[int] = frozenset()  # fields whose column gets a constant on insert: an empty value gives way

    def decode(self, i: int, raw: Raw) -> Value:
        """Canonical value of a stored form; a ref gives the parent's Key. ValueError says why it does not convert."""
        decoder = self.decoders[i]
        return None if decoder is None or raw is None else decoder(raw)


class Bad(NamedTuple):
    """A value that does not convert: the field is left alone everywhere until it does."""

    system: str
    field: int
    message: str


class UnknownParent(Exception):
    """A reference to a record that is not known (yet)."""

    def __init__(self, entity: str, system: str, key: Key) -> None:
        super().__init__(entity, system, key)
        self.entity, self.system, self.key = entity, system, key


@dataclass(slots=True)
class Case:
    """A record, what was read of it, and what was decided."""

    record: Record
    readings: dict[str, Reading | None] = field(default_factory=dict)  # by system that was read; None = gone
    sides: dict[str, Side] = field(default_factory=dict)  # live ones
    bad: list[Bad] = field(default_factory=list)
    merged: Merged | None = None
    turned: list[str] = field(default_factory=list)
    relink: bool = False  # its crosswalk rows are to be written (again)
    relook: bool = False  # a row that it points to through a lookup says something else now
    stopped: bool = False  # nothing is inserted for it


def changed_fields(
    bound: Bound, reading: Reading, image: Image | None, find: RefFinder, bad: list[Bad], relook: bool = False
) -> dict[int, Value]:
    """The fields whose value differs from the image's stored form, in canonical form; without an image: all.

    `relook`: fields with a lookup are compared with what the image stands for, whatever is stored."""
    looked = tuple(i for i in bound.places if bound.table.lookups and bound.table.lookups[i]) if relook else ()
    if image is None:
        candidates: Sequence[int] = bound.places
    elif reading.raws == image.raws and NEVER not in image.stamps and not looked:
        return {}
    else:
        candidates = [
            i for i in bound.places if reading.raws[i] != image.raws[i] or image.stamps[i] == NEVER or i in looked
        ]
    out: dict[int, Value] = {}
    for i in candidates:
        try:
            value = bound.decode(i, reading.raws[i])
            if image is not None and image.stamps[i] != NEVER and _same(bound, i, value, image, i in looked):
                continue  # another spelling of the same value
            out[i] = _gid(bound, i, value, find)
        except ValueError as error:
            bad.append(Bad(bound.table.system, i, str(error)))
    return out


def _same(bound: Bound, i: int, value: Value, image: Image, relook: bool) -> bool:
    """Does the image hold this value? `relook`: what its stored form stood for is not what it would stand for now."""
    try:
        return value == (image.values[i] if relook else bound.decode(i, image.raws[i]))
    except ValueError:
        return False


def _gid(bound: Bound, i: int, value: Value, find: RefFinder) -> Value:
    parent = bound.refs.get(i)
    if parent is None or value is None:
        return value
    gid = find(parent, bound.table.system, str(value))
    if gid is None:
        raise UnknownParent(parent, bound.table.system, str(value))
    return gid


def side_of(bound: Bound, case: Case, reading: Reading, find: RefFinder) -> Side:
    """One system's part in the merge of this record. Raises UnknownParent."""
    image = case.record.images.get(bound.table.system)
    changed = changed_fields(bound, reading, image, find, case.bad, case.relook)
    return Side(bound.table, bound.rank, reading, image, changed, bound.fits, bound.decode, bound.stale_window)


def is_quiet(case: Case, wanted_in: Sequence[str]) -> bool:
    """Nothing has changed and nothing is wanted: the most frequent answer, and the cheapest."""
    record = case.record
    version = record.version
    if version is None or record.new or record.frozen or case.relink or case.relook:
        return False
    if any(system not in record.links for system in wanted_in):
        return False
    for system, reading in case.readings.items():
        image, link = record.images.get(system), record.links[system]
        if reading is None or reading.archived:
            if link.existence == "live" or not link.settled:
                return False
            continue
        if image is None or link.existence != "live":
            return False
        if reading.raws != image.raws or image.stamps != version.stamps or image.values != version.values:
            return False
    # What waits for a system that could not be read, or follows from a row that is gone there, goes on waiting, also
    # when the others have no news (I5).
    absent = record.links.keys() - case.readings.keys() if len(case.readings) < len(record.links) else ()
    return not any(
        not record.links[system].settled or (system in record.images and record.images[system].values != version.values)
        for system in absent
    )


def ref_keys(bound: Bound, reading: Reading, image: Image | None) -> list[tuple[str, Key]]:
    """(parent entity, key) of the references in a reading that differ from the image's."""
    out: list[tuple[str, Key]] = []
    for i, parent in bound.refs.items():
        raw = reading.raws[i]
        if raw is None or (image is not None and raw == image.raws[i] and image.stamps[i] != NEVER):
            continue
        try:
            key = bound.decode(i, raw)
        except ValueError:
            continue
        if key is not None:
            out.append((parent, str(key)))
    return out


def topological(entities: Mapping[str, Entity]) -> list[str]:
    """Parents before children; entities that refer to each other in a circle keep their order in the configuration."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for spec in entities[name].fields:
            if spec.ref is not None and spec.ref in entities:
                visit(spec.ref)
        order.append(name)

    for name in entities:
        visit(name)
    return order
