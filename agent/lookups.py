"""Lookups: the column holds the key of a row in a reference table; what is agreed is that row's code or name.

A reference table takes part like an entity's table, so capture sees its changes; but nothing of it is ever written, and
its rows are no records. All its words are held in memory. They are read when the agent starts and when a row there has
changed; the records that point to a row whose word is another one now, or that is new, are looked at again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from adapters.convert import say
from adapters.ports import System
from agent.roads import turn
from config.errors import Halt, Problem
from config.records import Entity, Key, Road, Table, Value
from state.ports import Look

if TYPE_CHECKING:
    from agent.round import Round

LIMIT = 20_000
"""Rows of a reference table: more of them are an entity, to which a field refers by `ref`."""
CHUNK = 5_000
EVERY = 60_000_000
"""Microseconds after which a reference table is read again in which capture sees nothing (`watermark`)."""
RELOOK = "lookup"
"""Why a record is looked at whose reference row says something else now."""


class Lookup:
    """One reference table of one system: key -> word, and back."""

    def __init__(self, table: Table, where: Mapping[int, Value], word: Road | None) -> None:
        self.table, self.where, self.word = table, where, word
        self.system: System | None = None  # where nobody else reads the words: they are read when first needed
        self.words: dict[Key, str] | None = None
        self.missed = False  # a key was met that is no row, perhaps not yet
        self.keys: dict[str, list[Key]] = {}

    @property
    def name(self) -> str:
        return self.table.entity

    def read(self, key: Value) -> Value:
        """The word of the row with this key. ValueError: no such row."""
        word = self._known().get(str(key)) if key is not None else None
        if word is None and key is not None:
            self.missed = True
            raise ValueError(f"{self.table.name} has no row {say(key)} with a value for {self.shown}")
        return word

    def write(self, word: Value) -> Value:
        """The key of the row with this word. ValueError: none has it, or several have."""
        if word is None:
            return None
        self._known()
        keys = self.keys.get(str(word), ())
        if len(keys) != 1:
            where = f"of {self.table.name} in {self.table.system}"
            which = f"several rows ({', '.join(keys[:3])}) {where} stand" if keys else f"no row {where} stands"
            raise ValueError(f"{which} for {say(str(word))}")
        return keys[0]

    @property
    def shown(self) -> str:
        return self.name.removeprefix(PREFIX)

    def _known(self) -> dict[Key, str]:
        if self.words is None and self.system is not None:
            self.take(self.load(self.system))
        return self.words or {}

    def load(self, system: System) -> dict[Key, str]:
        """All rows that count, as they are now. `Halt`: too many."""
        decoders = system.decoders(self.name)
        words: dict[Key, str] = {}
        after, seen = None, 0
        while rows := system.scan(self.name, after, CHUNK):
            after, seen = rows[-1].key, seen + len(rows)
            if seen > LIMIT:
                raise Halt(self._too_many())
            for row in rows:
                try:
                    values = [None if d is None or r is None else d(r) for d, r in zip(decoders, row.raws, strict=True)]
                    word = values[0] if self.word is None else self.word.read(values[0])
                except ValueError:
                    continue
                if isinstance(word, str) and all(values[i] == value for i, value in self.where.items()):
                    words[row.key] = word
        return words

    def take(self, words: dict[Key, str]) -> None:
        self.words, self.missed = words, False
        self.keys = {}
        for key, word in words.items():
            self.keys.setdefault(word, []).append(key)

    def _too_many(self) -> Problem:
        message = f"{self.table.name} has more than {LIMIT:,} rows, which is too many for a lookup."
        hint = "Map the table as an entity, and the field with ref = that entity."
        return Problem("lookup-size", message, hint, system=self.table.system)


PREFIX = "lookups."
"""Begins the names under which reference tables take part; no entity is called so."""


def lookups(entities: Iterable[Entity], system: str) -> dict[str, Lookup]:
    """Those of one system that these entities use."""
    found: dict[str, Lookup] = {}
    for entity in entities:
        table = entity.tables.get(system)
        for lookup in table.lookups if table is not None else ():
            if lookup is not None:
                found[lookup.name] = lookup
    return found


def attach(system: System, name: str, entities: Mapping[str, Entity], at_once: bool = True) -> None:
    """The tables of these entities take part, reference tables included. `at_once`: words are read when needed first,
    for commands in one thread; the engine reads them itself."""
    used = lookups(entities.values(), name)
    tables = [e.tables[name] for e in entities.values() if name in e.tables]
    system.bind([*tables, *(lookup.table for lookup in used.values())])
    for lookup in used.values():
        lookup.system = system if at_once else None


class Library:
    """All lookups of the engine, kept up."""

    def __init__(self, entities: Mapping[str, Entity], systems: Iterable[str]) -> None:
        self.entities = entities
        self.all = {(s, name): lookup for s in systems for name, lookup in lookups(entities.values(), s).items()}
        self.stale = set(self.all)
        self.read_at: dict[tuple[str, str], int] = {}
        self.fresh: set[tuple[str, str]] = set()  # read in the last round that read any

    def changed(self, system: str, name: str) -> bool:
        """Is this the name of a reference table? Then something in it has changed."""
        if (system, name) not in self.all:
            return False
        self.stale.add((system, name))
        return True

    def again(self) -> None:
        """The last round was given up, and with it who is to be looked at again."""
        self.stale |= self.fresh

    def refresh(self, round: Round) -> None:
        """Read what has changed; whoever points to a row that says something else now is looked at again."""
        for place, lookup in self.all.items():
            blind = lookup.table.capture == "watermark" or place[1] in round.engine.watch.blind.get(place[0], ())
            if blind and (lookup.missed or round.now - self.read_at.get(place, 0) > EVERY):
                self.stale.add(place)
        due = [place for place in self.stale if place[0] in round.up]
        if not due:
            return
        self.fresh = set(due)
        jobs: dict[str, dict[str, Callable[[], dict[Key, str]]]] = {}
        for s, name in due:
            jobs.setdefault(s, {})[name] = partial(self.all[s, name].load, round.engine.systems[s])
        answers = round.ask({s: partial(_all, of) for s, of in jobs.items()})
        others: dict[str, dict[str, list[Key]]] = {}
        for s, found in answers.items():
            for name, words in found.items():
                known = round.state.get(_meta(s, name))
                before = json.loads(known) if known else words
                if before != words or known is None:
                    round.decided.meta[_meta(s, name)] = json.dumps(words, ensure_ascii=False)
                keys = [k for k in {**before, **words} if before.get(k) != words.get(k)]
                if keys:
                    others.setdefault(s, {})[name] = keys
                self.all[s, name].take(words)
                self.read_at[s, name] = round.now
                self.stale.discard((s, name))
        if others:
            self._look_again(round, others)

    def _look_again(self, round: Round, others: Mapping[str, Mapping[str, list[Key]]]) -> None:
        for s, changed in others.items():
            for entity in self.entities.values():
                table = entity.tables.get(s)
                for i, lookup in enumerate(table.lookups if table is not None else ()):
                    if lookup is None or lookup.name not in changed:
                        continue
                    values = [[key] for key in changed[lookup.name]]
                    job = partial(round.engine.systems[s].find, entity.name, [i], values)
                    answer = round.ask({s: job} if s in round.up else {}).get(s)
                    if answer is None:  # who points there is not known: what they say now is no news yet
                        round.decided.meta.pop(_meta(s, lookup.name), None)
                        self.stale.add((s, lookup.name))
                    round.report.worked |= any(answer or ())
                    for found in answer or ():
                        round.decided.looks += [Look(entity.name, s, key, round.now, RELOOK) for key in found]


def _all(jobs: Mapping[str, Callable[[], dict[Key, str]]]) -> dict[str, dict[Key, str]]:
    return {name: job() for name, job in jobs.items()}


def _meta(system: str, name: str) -> str:
    return f"{name}:{system}"


def road(lookup: Lookup) -> Road:
    return Road("ref", lookup.read, lambda word, held: lookup.write(word))


def constant(value: Value, type: str) -> Value:
    """A constant of `where` as the column's value. ValueError: the column cannot hold it."""
    return None if value == "sql:null" else turn(value, type)
