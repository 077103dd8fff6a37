"""The demo's own check: what became of every single edit, judged from both databases with plain SQL.

The ledger says what people did, the two databases say what there is now, and `accord_crosswalk` in them says which rows
are the same record. An edit that is not there any more must have been replaced by somebody who saw it, or be named in
the journal with the rule by which it lost, or wait in review. Anything else is `MISSING`, and Accord would be at fault.
"""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from agent.demo.world import World
from state.ports import Journal, Review

SYSTEMS = ("crm", "erp")
LOSING = ("conflict", "override", "stale", "person")  # the journal's actions that name a value that lost: `before`


class Fate(StrEnum):
    """What became of an edit."""

    KEPT = "kept"  # it stands in both systems
    REPLACED = "replaced"  # somebody saw it and changed it again
    LOST = "lost"  # by a rule that the journal names
    REVIEW = "review"  # a person has to say
    MISSING = "missing"  # nobody can say where it went


class Edit(NamedTuple):
    """One line of the ledger."""

    at: str
    who: str
    system: str
    op: str
    table: str
    key: str
    column: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Account:
    """An edit and its fate; `entity`, `gid` and `field` say what was edited ("" = the record as a whole)."""

    edit: Edit
    fate: Fate
    entity: str
    gid: str | None
    field: str
    rule: str = ""  # LOST: the journal's word for it


@dataclass
class Place:
    """An entity in one system, as the mapping says."""

    entity: str
    table: str
    fields: dict[str, str] = field(default_factory=dict)  # column -> field
    archive: dict[str, Any] = field(default_factory=dict)


def read_ledger(folder: Path) -> list[Edit]:
    """All edits, in the order in which they were committed."""
    path = folder / "ledger.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Edit(**json.loads(line)) for line in lines]


def plain(value: Any) -> str | None:
    """A value in a form that is the same for both systems and for the journal; nothing and '' are one."""
    if value is None or value == "":
        return None
    if isinstance(value, bool | int | float | Decimal):
        return f"{Decimal(str(int(value) if isinstance(value, bool) else value)).normalize():f}"
    return value.isoformat() if isinstance(value, date) else str(value)


class Facts:
    """Both databases as they are now, read with plain SQL, and how the mapping connects them."""

    def __init__(self, folder: Path) -> None:
        self.places: dict[str, dict[str, Place]] = {}  # entity -> system -> place
        self.refs: dict[tuple[str, str], str] = {}  # (entity, field) -> entity that it refers to
        self.sums: set[tuple[str, str]] = set()  # (entity, field)
        self.unique: dict[str, list[str]] = {}  # entity -> fields that alone say who a record is
        self.rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}  # (system, table) -> key -> row
        self.gids: dict[tuple[str, str, str], str] = {}  # (entity, system, key) -> gid
        self.keys: dict[tuple[str, str, str], str] = {}  # (entity, gid, system) -> key
        for path in sorted((folder / "entities").glob("*.toml")):
            for entity, section in tomllib.loads(path.read_text(encoding="utf-8")).items():
                self._entity(entity, section)
        for system in SYSTEMS:
            with closing(sqlite3.connect(f"file:{folder / system}.db?mode=ro", uri=True)) as db:
                self._read(db, system)

    def _entity(self, entity: str, section: dict[str, Any]) -> None:
        self.places[entity] = {s: Place(entity, section[s]["table"]) for s in SYSTEMS}
        self.unique[entity] = [rule[0] for rule in section["match"] if len(rule) == 1]
        for system, place in self.places[entity].items():
            place.archive = section[system].get("archive", {})
            place.fields = {options[system]: name for name, options in section["fields"].items()}
        for name, options in section["fields"].items():
            if "ref" in options:
                self.refs[entity, name] = options["ref"]
            if options.get("conflict") == "sum":
                self.sums.add((entity, name))

    def _read(self, db: sqlite3.Connection, system: str) -> None:
        db.row_factory = sqlite3.Row
        for places in self.places.values():
            table = places[system].table
            self.rows[system, table] = {str(row["id"]): dict(row) for row in db.execute(f"SELECT * FROM {table}")}
        for row in db.execute("SELECT entity, gid, system, key FROM accord_crosswalk"):
            self.gids[row["entity"], row["system"], row["key"]] = row["gid"]
            self.keys[row["entity"], row["gid"], row["system"]] = row["key"]

    def place(self, system: str, table: str) -> Place:
        """What a table of a system is about."""
        return next(p[system] for p in self.places.values() if p[system].table == table)

    def row(self, entity: str, system: str, key: str | None) -> dict[str, Any] | None:
        """The row of a record, if it is there and not archived."""
        place = self.places[entity][system]
        row = self.rows[system, place.table].get(key or "")
        gone = row is None or (place.archive and all(row[c] == v for c, v in place.archive.items()))
        return None if gone else row

    def canonical(self, entity: str, system: str, name: str, value: Any) -> str | None:
        """A column's value in the common form; a reference becomes the other record's gid."""
        target = self.refs.get((entity, name))
        if target and value is not None:
            return self.gids.get((target, system, str(value)), f"{system}:{value}")
        return plain(value)

    def value(self, entity: str, system: str, key: str | None, name: str) -> str | None:
        """What a system holds in a field now; archived rows are looked at too."""
        place = self.places[entity][system]
        row = self.rows[system, place.table].get(key or "", {})
        column = next(c for c, f in place.fields.items() if f == name)
        return self.canonical(entity, system, name, row.get(column))

    def count(self, entity: str, system: str, name: str, value: str | None) -> int:
        """How many live rows of a system hold this value in a field."""
        rows = self.rows[system, self.places[entity][system].table]
        return sum(1 for k in rows if self.row(entity, system, k) and self.value(entity, system, k, name) == value)


def account(
    folder: Path, ledger: list[Edit], world: World, journal: Iterable[Journal], reviews: Iterable[Review]
) -> list[Account]:
    """The fate of every edit in the ledger, in its order."""
    return _Auditor(Facts(folder), ledger, world, list(journal), list(reviews)).all()


class _Auditor:
    def __init__(
        self, facts: Facts, ledger: list[Edit], world: World, journal: list[Journal], reviews: list[Review]
    ) -> None:
        self.facts, self.ledger, self.reviews = facts, ledger, reviews
        self.losses: dict[tuple[str, str | None, str, str], list[Journal]] = {}
        for line in journal:
            if line.action in LOSING:
                self.losses.setdefault((line.entity, line.gid, line.field, line.system), []).append(line)
        self.partners = dict(self._partners(world))

    def _partners(self, world: World) -> Iterator[tuple[tuple[str, str, str], str]]:
        """Who was whose partner at the start: when both rows are gone, no crosswalk says it any more."""
        for entity, records in (("order_line", world.lines), ("customer", world.customers)):
            for crm, erp in records:
                yield (entity, "crm", str(crm)), str(erp)
                yield (entity, "erp", str(erp)), str(crm)

    def all(self) -> list[Account]:
        return [self.one(number, edit) for number, edit in enumerate(self.ledger)]

    def one(self, number: int, edit: Edit) -> Account:
        place = self.facts.place(edit.system, edit.table)
        gid = self.facts.gids.get((place.entity, edit.system, edit.key))
        name = place.fields.get(edit.column, "")
        if edit.op == "insert":
            fate, rule = self.entered(number, edit, place, gid)
        elif name:
            value = self.facts.canonical(place.entity, edit.system, name, edit.after)
            fate, rule = self.changed(number, edit, place.entity, gid, name, value)
        else:
            fate, rule = self.given_up(edit, place.entity, gid)
        return Account(edit, fate, place.entity, gid, name, rule)

    def changed(
        self, number: int, edit: Edit, entity: str, gid: str | None, name: str, value: str | None
    ) -> tuple[Fate, str]:
        """A field was given a value."""
        if (entity, name) in self.facts.sums and edit.op == "update":
            held = self.counted(entity, gid, edit, name)
        else:
            held = self.now(entity, edit, gid, name) == {value}
        if held:
            return Fate.KEPT, ""
        if self.seen_later(number, entity, gid, name, value):
            return Fate.REPLACED, ""
        if self.waits(entity, gid, edit, name):
            return Fate.REVIEW, ""
        losses = self.losses.get((entity, gid, name, edit.system), [])
        rule = next((line.rule for line in losses if plain(line.before) == value), "")
        return (Fate.LOST, rule) if rule else (Fate.MISSING, "")

    def now(self, entity: str, edit: Edit, gid: str | None, name: str) -> set[str | None]:
        """What the systems hold: one value when they agree."""
        other = "erp" if edit.system == "crm" else "crm"
        partner = self.partner(entity, edit, gid)
        if partner is None:
            return set()
        return {
            self.facts.value(entity, edit.system, edit.key, name),
            self.facts.value(entity, other, partner, name),
        }

    def partner(self, entity: str, edit: Edit, gid: str | None) -> str | None:
        """The same record's key in the other system."""
        other = "erp" if edit.system == "crm" else "crm"
        linked = self.facts.keys.get((entity, gid, other)) if gid else None
        return linked or self.partners.get((entity, edit.system, edit.key))

    def counted(self, entity: str, gid: str | None, edit: Edit, name: str) -> bool:
        """A counter stands where all that people added has brought it."""
        edits = [e for e in self.ledger if self.same(e, entity, gid, name)]
        total = edits[0].before + sum(e.after - e.before for e in edits)
        return self.now(entity, edit, gid, name) == {plain(total)}

    def same(self, edit: Edit, entity: str, gid: str | None, name: str) -> bool:
        """Is this an edit of that field of that record?"""
        place = self.facts.place(edit.system, edit.table)
        return (
            place.entity == entity
            and place.fields.get(edit.column) == name
            and self.facts.gids.get((entity, edit.system, edit.key)) == gid
        )

    def seen_later(self, number: int, entity: str, gid: str | None, name: str, value: str | None) -> bool:
        """Somebody changed the field again, having this value before their eyes."""
        return any(
            self.same(later, entity, gid, name)
            and self.facts.canonical(entity, later.system, name, later.before) == value
            for later in self.ledger[number + 1 :]
        )

    def waits(self, entity: str, gid: str | None, edit: Edit, name: str) -> bool:
        """Is the field, or the whole record, in review?"""
        for item in self.reviews:
            mine = (gid is not None and item.gid == gid) or (item.system, item.key) == (edit.system, edit.key)
            if item.entity == entity and mine and item.field in ("", name):
                return True
        return False

    def entered(self, number: int, edit: Edit, place: Place, gid: str | None) -> tuple[Fate, str]:
        """A row was entered: it stands once in each system, with what was typed (blanks may have been filled)."""
        entity = place.entity
        if self.waits(entity, gid, edit, ""):
            return Fate.REVIEW, ""
        other = "erp" if edit.system == "crm" else "crm"
        if not self.facts.row(entity, other, self.partner(entity, edit, gid)):
            return self.ended(entity, gid, edit.system)
        typed = {name: edit.after.get(column) for column, name in place.fields.items()}
        typed = {n: self.facts.canonical(entity, edit.system, n, v) for n, v in typed.items()}
        for name in self.facts.unique[entity]:
            if typed[name] and any(self.facts.count(entity, s, name, typed[name]) > 1 for s in SYSTEMS):
                return Fate.MISSING, ""
        fates = [self.changed(number, edit, entity, gid, n, v) for n, v in typed.items() if v is not None]
        return next((f for f in fates if f[0] is Fate.MISSING), (Fate.KEPT, ""))

    def given_up(self, edit: Edit, entity: str, gid: str | None) -> tuple[Fate, str]:
        """A row was deleted or archived: the same has happened on the other side."""
        if self.waits(entity, gid, edit, ""):
            return Fate.REVIEW, ""
        other = "erp" if edit.system == "crm" else "crm"
        here = self.facts.row(entity, edit.system, edit.key)
        there = self.facts.row(entity, other, self.partner(entity, edit, gid))
        return (Fate.KEPT, "") if not here and not there else self.ended(entity, gid, edit.system)

    def ended(self, entity: str, gid: str | None, system: str) -> tuple[Fate, str]:
        """One side gave the record up and the other did not follow, or the reverse: does the journal say why?"""
        losses = self.losses.get((entity, gid, "", system), [])
        return (Fate.LOST, losses[-1].rule) if losses else (Fate.MISSING, "")
