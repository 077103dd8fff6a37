"""The oracle: what the systems, the people's ledger and the journal say, by SQL of the test's own.

No record lost or doubled, all systems alike, and every edit accounted for: its value is there, or somebody who saw it
replaced it, or the journal names the rule by which it lost (I5).
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tests.crash.place import CODE, TEXTS, Place

LOSSES = ("conflict", "override", "stale")


class Journal:
    """What the state says: who lost to which rule, and what is left."""

    def __init__(self, state: Path) -> None:
        with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as db:
            lines = db.execute(
                "SELECT e.name, j.record, j.action, j.field, j.before, j.rule"
                " FROM journal j JOIN entity e ON e.id = j.entity"
            ).fetchall()
            sides = db.execute(
                "SELECT e.name, s.name, d.key, d.id >> 6 FROM side d JOIN entity e ON e.id = d.entity"
                " JOIN system s ON s.id = d.system WHERE d.existence = 'live'"
            ).fetchall()
            self.open = db.execute("SELECT kind, system, key, message FROM review WHERE closed IS NULL").fetchall()
            self.pending = db.execute("SELECT reason, message FROM pending").fetchall()
            self.unsettled = db.execute("SELECT * FROM unsettled").fetchall()
        self.losers: set[str] = set()
        self.revived: set[tuple[str, int]] = set()
        for entity, record, action, field, before, rule in lines:
            if action in LOSSES and rule and field:
                value = msgspec.msgpack.decode(before)
                if isinstance(value, str):
                    self.losers.add(value)
            elif action == "conflict" and rule == "update_wins":
                self.revived.add((entity, record))
        self.records = {(entity, system, key): record for entity, system, key, record in sides}


def judge(places: Sequence[Place], state: Path) -> None:
    """Fails with all that is wrong."""
    wrong = [*doubles(places), *differences(places)]
    journal = Journal(state)
    wrong += [f"open: {item}" for item in journal.open] + [f"pending: {item}" for item in journal.pending]
    wrong += [f"unknown outcome: {item}" for item in journal.unsettled]
    wrong += [*lost_records(places, journal), *lost_values(places, journal), *wrong_sums(places), *bad_links(places)]
    assert not wrong, "\n".join(wrong[:30])


def doubles(places: Sequence[Place]) -> list[str]:
    """Records that stand twice in one system (I2)."""
    return [
        f"{place.system} holds {entity} {code} {count} times"
        for place in places
        for entity, rows in contents(place).items()
        for code, count in Counter(row[1] for row in rows).items()
        if count > 1
    ]


def contents(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    return {"customer": place.customers(), "visit": place.visits()}


def differences(places: Sequence[Place]) -> list[str]:
    """Records that are not the same everywhere."""
    wrong = []
    for entity in CODE:
        held = {place.system: {row[1]: row[2:] for row in contents(place)[entity]} for place in places}
        for code in sorted(set().union(*held.values())):
            if len({rows.get(code) for rows in held.values()}) > 1:
                wrong.append(
                    f"{entity} {code} differs: " + ", ".join(f"{s} {rows.get(code)}" for s, rows in held.items())
                )
    return wrong


def lost_records(places: Sequence[Place], journal: Journal) -> list[str]:
    """Records that are gone and nobody deleted, or that are there though somebody did and no rule says so."""
    wrong = []
    for entity in CODE:
        lines = [line for place in places for line in place.ledger() if line[0] == entity and line[2] == ""]
        added = {code for _, code, _, _, new in lines if new is not None}
        removed = {code for _, code, _, _, new in lines if new is None}
        there: dict[str, set[int | None]] = defaultdict(set)
        for place in places:
            for row in contents(place)[entity]:
                there[row[1]].add(journal.records.get((entity, place.system, str(row[0]))))
        wrong += [f"{entity} {code} is lost" for code in sorted(added - removed - there.keys())]
        wrong += [f"{entity} {code}: nobody entered it" for code in sorted(there.keys() - added)]
        for code, records in there.items():
            if len(records) != 1 or None in records:
                wrong.append(f"{entity} {code} is no one record: {records}")
            elif code in removed and not any((entity, r) in journal.revived for r in records):
                wrong.append(f"{entity} {code} was deleted and is there, and no rule says so")
    return wrong


def lost_values(places: Sequence[Place], journal: Journal) -> list[str]:
    """Values that people entered, that are nowhere, and of which nothing tells why (I3, I5)."""
    ledgers = {place.system: place.ledger() for place in places}
    seen = {old for lines in ledgers.values() for *_, old, _ in lines}
    held: set[tuple[str, str, Any]] = set()
    for place in places[:1]:  # they are alike, which is judged elsewhere
        for row in place.customers():
            held.update(("customer", row[1], value) for value in row[2:])
        for row in place.visits():
            held.update(("visit", row[1], value) for value in row[2:])
    return [
        f"{system}: {entity} {code}: {field} {new} (in place of {old}) is lost"
        for system, lines in ledgers.items()
        for entity, code, field, old, new in lines
        if field in TEXTS[entity] and new is not None
        if (entity, code, new) not in held and new not in seen and new not in journal.losers
    ]


def wrong_sums(places: Sequence[Place]) -> list[str]:
    """Counters that are not the sum of what everybody did: something was applied twice, or not at all."""
    total: Counter[str] = Counter()
    removed = set()
    for place in places:
        for entity, code, field, old, new in place.ledger():
            if entity == "customer" and field == "points" and new is not None:
                total[code] += int(new) - int(old or 0)
            elif entity == "customer" and field == "" and new is None:
                removed.add(code)
    return [
        f"{place.system}: {row[1]} has {row[5]} points, it should have {total[row[1]]}"
        for place in places
        for row in place.customers()
        if row[1] not in removed and row[5] != total[row[1]]
    ]


def bad_links(places: Sequence[Place]) -> list[str]:
    """Every key stands in a crosswalk, and wherever it stands it is tied to the record's one gid (I2, I10)."""
    wrong = []
    for entity in CODE:
        keys: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for place in places:
            for row in contents(place)[entity]:
                keys[row[1]].append((place.system, str(row[0])))
        walks = {p.system: {(s, k): gid for e, s, k, gid in p.crosswalk() if e == entity} for p in places}
        for code, known in keys.items():
            gids = {key: {walk[key] for walk in walks.values() if key in walk} for key in known}
            if not all(gids.values()) or len(set().union(*gids.values())) != 1:
                wrong.append(f"{entity} {code}: the crosswalks say {gids}")
    return wrong
