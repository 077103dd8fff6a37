"""A system that was restored from a backup is taken in again: what differs there is no edit (MODEL A2).

The agreed values are to be written there once more. What is wanted follows from version and image alone, so nothing is
planned here: the images of that system are made to say what it holds now, and the rounds that follow do the rest.

| the row there | becomes |
|---|---|
| holds other values | the image holds them, and stands for them: the agreed ones are written over them |
| is not there (it came after the backup) | the link ends: the record is created there again, under a new key |
| is there again (it was deleted after the backup) | it is deleted again, as `delete` says there |
| is archived again | it is restored |
| belongs to nobody | the sweep that follows looks at it, as at any other row |

No agent runs meanwhile. Every page is committed by itself and may be repeated; only the last step lets the system go
on. `moved` is for the other case: the database was moved or Accord's objects were made again, and what differs there
was edited by people.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from agent import contact, origins
from agent.casework import BURIED, Bound
from agent.engine import UNLINKS, Engine
from agent.merge import NEVER, review_id
from config.errors import Halt
from config.records import Entity, Gid, Key, Reading, Value
from state.ports import Decided, Frozen, Image, Journal, Link, Look, Record
from state.store import Store

RULE = "restored from a backup"
UNREADABLE = "\x1a"  # what an image stands for where the stored form is no value: nothing that could be agreed


class Restoring:
    """One system of an engine that was not started. `counts` says what was found."""

    def __init__(self, engine: Engine, state: Store, system: str, moved: bool, dry: bool = False) -> None:
        self.engine, self.state, self.system, self.moved = engine, state, system, moved
        self.adapter, self.dry = (
            engine.systems[system],
            dry,
        )  # dry: `state` is a copy, and nothing is told to the system
        self.counts: Counter[str] = Counter()
        self.unlinks: list[Any] = json.loads(state.get(UNLINKS) or "[]")  # crosswalk rows of links that ended
        fence = engine.call(system, self.adapter.fence)
        self.at = fence.round if fence is not None else 0
        self.known = int(state.get(f"landed:{system}") or 0)

    @property
    def is_behind(self) -> bool:
        """Has the database gone back, as far as the fence tells?"""
        return self.at < self.known

    def run(self, progress: Callable[[int], None] = lambda rows: None) -> None:
        """Durable on return. `Halt`: Accord's objects are not there."""
        missing = self.engine.call(self.system, self.adapter.prepared)
        if any(problem.code != "no-trigger" for problem in missing):
            raise Halt(missing)
        self.engine.call(self.system, self.adapter.clock)
        open_round = self.state.unsettled().get(self.system)
        if open_round is not None:
            self.state.settle(self.system, landed=self.at >= open_round, again=True)
        if not self.moved:
            self.drain()
            for name in self.engine.order:
                if self.system in self.engine.entities[name].tables and self.engine.phases[name] != contact.HELD:
                    for gids in self.pages(name):
                        self.page(name, gids)
                        progress(len(gids))
        self.let_go_on()

    def let_go_on(self) -> None:
        """Everything there is compared once more, from now on with what it holds: the last step."""
        state, system = self.state, self.system
        why = "it was moved" if self.moved else "it was restored from a backup"
        for name, entity in self.engine.entities.items():
            if system in entity.tables:
                self.engine.sweeper.request(name, system, why, gap=True)
        state.put(f"origin:{system}", origins.dump(self.engine.call(system, self.adapter.origin)))
        state.put(f"landed:{system}", str(self.at))

    def drain(self) -> None:
        """What the change log says is of the time before: every row is looked at anyway."""
        position, more = self.state.position(self.system), True
        while more:
            changes = partial(self.adapter.changes, position, self.engine.options.batch)
            batch = self.engine.call(self.system, changes)
            if batch.position is not None and batch.position != position:
                decided = self.decided()
                decided.positions[self.system] = batch.position
                self.state.commit(decided)
            if self.dry:
                return
            self.engine.call(self.system, partial(self.adapter.acknowledge, batch.position))
            position, more = batch.position, batch.more

    def decided(self) -> Decided:
        return Decided(max(self.state.last_round(), self.engine.floor, self.at) + 1, self.engine.clock())

    # --- page by page -----------------------------------------------------------------------------------------------

    def pages(self, name: str) -> Iterable[list[Gid]]:
        after: Gid | None = None
        while gids := self.state.walk(name, after, self.engine.options.batch):
            yield gids
            after = gids[-1]

    def page(self, name: str, gids: list[Gid]) -> None:
        """What the system holds for these records now becomes what it was last seen to hold."""
        entity, decided = self.engine.entities[name], self.decided()
        records = [r for r in self.state.load(name, gids).values() if self.key_of(r)]
        read = partial(self.adapter.read, {name: [self.key_of(r) for r in records]})
        rows = self.engine.call(self.system, read).get(name, {}) if records else {}
        lost = {r.gid: r for r in records if self.is_lost(entity, r, rows.get(self.key_of(r)))}
        before = self.keys_before(name, list(lost.values()))
        for record in records:
            if record.gid not in lost:
                self.take(entity, record, rows[self.key_of(record)], decided)
            elif record.links[self.system].existence != "gone":
                self.end(entity, record, before.get(record.gid), decided)
        decided.records = [r for r in records if r.dirty]
        if decided.records:
            decided.meta[UNLINKS] = json.dumps(self.unlinks, ensure_ascii=False)
            self.state.commit(decided)

    def key_of(self, record: Record) -> Key:
        """Its key there; empty where it has none."""
        link = record.links.get(self.system)
        return "" if link is None or link.key.startswith(BURIED) else link.key

    def is_lost(self, entity: Entity, record: Record, row: Reading | None) -> bool:
        """Is its row not there, or does another one stand under its key?

        The numbers of a sequence went back, too: what was entered since may have got a key that stood for a record
        which came after the backup. A record that was known before has its own row there.
        """
        if row is None:
            return True
        image, fields = record.images.get(self.system), {i for rule in entity.match for i in rule}
        if image is None or not fields or any(row.raws[i] == image.raws[i] for i in fields):
            return False
        lines = self.state.journal(entity.name, record.gid, limit=10_000, actions=("link", "create"))
        return not any(line.round <= self.at for line in lines)

    def keys_before(self, name: str, lost: list[Record]) -> dict[Gid, Reading]:
        """Rows that the crosswalk there, which went back too, names for these records under other keys."""
        if not lost:
            return {}
        links = self.engine.call(self.system, partial(self.adapter.links, name, [r.gid for r in lost]))
        keys = {row.key: row.gid for row in links if row.system == self.system}
        found = self.engine.call(self.system, partial(self.adapter.read, {name: list(keys)})) if keys else {}
        taken = self.state.resolve(name, self.system, keys)
        return {keys[key]: row for key, row in found.get(name, {}).items() if key not in taken}

    # --- one record -------------------------------------------------------------------------------------------------

    def end(self, entity: Entity, record: Record, before: Reading | None, decided: Decided) -> None:
        """Its row is not there: it is created again, unless it is there under the key that it had before."""
        old = record.links[self.system]
        self.unlinks.append((entity.name, record.gid, self.system, old.key))
        decided.unmatched.append((entity.name, self.system, old.key))
        if before is not None:
            record.links[self.system] = Link(before.key)
            record.dirty = True
            self.take(entity, record, before, decided)
            return
        del record.links[self.system]
        record.images.pop(self.system, None)
        record.dirty = True
        self.counts["create"] += 1
        self.look(entity, record, decided)

    def take(self, entity: Entity, record: Record, row: Reading, decided: Decided) -> None:
        """Its row is there."""
        link, version = record.links[self.system], record.version
        if version is None:
            return
        if row.archived and link.existence == "live":
            self.unarchive(entity, record, decided)
            return
        if row.archived:
            return
        if link.existence == "gone":
            self.delete_again(record)
        old = record.images.get(self.system)
        image = self.image(entity, record, row, old)
        if old is None or image.raws != old.raws or image.values != old.values:
            record.images[self.system] = image
            record.dirty = True
            decided.journal += self.lines(entity, record, image)
            self.counts["update"] += image.values != version.values and link.existence != "gone"
        if record.dirty:
            self.look(entity, record, decided)

    def delete_again(self, record: Record) -> None:
        """People had deleted the record: the systems where it is gone say so once more."""
        record.links[self.system] = Link(record.links[self.system].key)
        for system, link in record.links.items():
            if link.existence == "gone":
                record.links[system] = link._replace(settled=False)
        record.dirty = True
        self.counts["delete"] += 1

    def unarchive(self, entity: Entity, record: Record, decided: Decided) -> None:
        """It lives elsewhere: as if a person had said that it does."""
        living = [s for s, k in record.links.items() if s != self.system and k.existence == "live"]
        if not living:
            return
        record.links[self.system] = record.links[self.system]._replace(existence="gone", settled=False, archived=True)
        record.frozen[""] = Frozen({}, {}, {}, review_id("delete", entity.name, record.gid), living[0])
        record.dirty = True
        self.counts["restore"] += 1
        self.look(entity, record, decided)

    def look(self, entity: Entity, record: Record, decided: Decided) -> None:
        """By any of its rows: the next round writes what is wanted."""
        system, link = next(((s, k) for s, k in record.links.items() if not k.key.startswith(BURIED)), (None, None))
        if system is not None and link is not None:
            decided.looks.append(Look(entity.name, system, link.key, 0, "restored"))

    # --- values -----------------------------------------------------------------------------------------------------

    def image(self, entity: Entity, record: Record, row: Reading, old: Image | None) -> Image:
        """What the row holds, and what it stands for. Fields in review stay as they were frozen."""
        assert record.version is not None
        bound, version = self.engine.bound[entity.name][self.system], record.version
        raws, values = list(row.raws), list(old.values if old is not None else version.values)
        stamps = old.stamps if old is not None else version.stamps
        frozen = {i for unit in entity.units if entity.fields[unit[0]].name in record.frozen for i in unit}
        for i in bound.places:
            if old is not None and i in frozen:
                raws[i] = old.raws[i]
            elif old is None or row.raws[i] != old.raws[i] or stamps[i] == NEVER:
                values[i] = self.value(bound, i, row, version.values[i])
        return Image(tuple(raws), tuple(values), stamps, self.engine.clock())

    def value(self, bound: Bound, i: int, row: Reading, agreed: Value) -> Value:
        """What a stored form stands for: the agreed value, if that is what it becomes in this column."""
        try:
            value = bound.decode(i, row.raws[i])
        except ValueError:
            return UNREADABLE
        parent = bound.refs.get(i)
        if parent is not None and value is not None:
            return self.state.resolve(parent, self.system, [str(value)]).get(str(value), UNREADABLE)
        fit = bound.fits[i]
        same = value == agreed or (fit is not None and agreed is not None and fit(agreed) == value)
        return agreed if same else value

    def lines(self, entity: Entity, record: Record, image: Image) -> Iterable[Journal]:
        """What is written over stands in the journal (I5)."""
        version, bound = record.version, self.engine.bound[entity.name][self.system]
        assert version is not None
        return [
            Journal(
                entity.name,
                record.gid,
                "override",
                self.system,
                entity.fields[i].name,
                None if image.values[i] == UNREADABLE else image.values[i],
                version.values[i],
                RULE,
                version.origins[i],
                None,
            )
            for i in bound.places
            if image.values[i] != version.values[i] and bound.table.write
        ]
