"""A random story: what people, captures, servers and crashes do, step by step; and what must hold in the end.

A story is a list of small tuples of numbers, so that every list is a story and a failing one shrinks. Numbers are
taken modulo what there is to choose from.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import reviewing
from config.expressions import condition
from config.records import Field, Key, Raw, Road

from .build import column, make_entity
from .harness import SECOND, World
from .ledger import GRAIN, Ledger, number

Step = tuple[int, int, int, int]
POINTS = ("captured", "read", "merged", "applying", "decided", "applied", "recorded", "acknowledged")
NARROW, ADDS_ONE = 1, 2  # field indexes: n is rounded in a lossy system, p is bumped by the trigger of a rewriting one


@dataclass(frozen=True)
class Mode:
    """What may happen in a story."""

    systems: str = "ab"
    acts: tuple[str, ...] = ("edit", "round", "crash", "during")
    lossy: bool = False  # b rounds n to hundreds
    spelled: bool = False  # b spells n otherwise, in many ways of which the lowest digits are no part of the value
    rewrite: bool = False  # b: n written -> p + 1
    rules: dict[str, str] = field(default_factory=dict)  # field -> conflict rule
    owner: dict[str, str] = field(default_factory=dict)
    watermark: str = ""
    delete_conflict: str = "update_wins"
    match: bool = True
    forms: bool = False
    records: int = 2
    create: bool = False  # b gets a record only when p was entered after q


SPELLED = Road(
    "int",
    lambda value: value // GRAIN * GRAIN + value % 2 if isinstance(value, int) else value,
    lambda value, held: value + 6 if isinstance(value, int) else value,
)
"""How b spells n: in the lowest digits only odd and even differ; what Accord writes ends with 6 or 7."""


def bump(raws: list[Raw], old: list[Raw] | None, named: set[int]) -> None:
    """A trigger of the application: whoever writes n, p is one more."""
    value = raws[ADDS_ONE]
    if NARROW in named and old is not None and isinstance(value, int) and value % GRAIN < 40:
        raws[ADDS_ONE] = value + 1


class Story:
    """One world and the ledger of what people did to it."""

    def __init__(self, mode: Mode, folder: Path) -> None:
        self.mode = mode
        self.world = world = World(
            folder,
            self.entity(),
            systems=mode.systems,
            options={"threads": False, "stale": 10**6 * SECOND if mode.forms else 0},
            watermark=mode.watermark,
        )
        self.sums = [i for i, f in enumerate(world.entities["thing"].fields) if f.conflict == "sum"]
        self.ledger = Ledger(world, [i for i in (1, 2, 3) if i not in self.sums])
        self.totals: dict[Raw, int] = {}
        self.forms: list[tuple[str, Key, dict[str, Raw]]] = []
        self.labels = 0
        if mode.rewrite:
            world.systems["b"].tables_["thing"].triggers.append(bump)
        for _ in range(mode.records):
            values: dict[str, Any] = {n: 50 if self.is_sum(n) else self.ledger.fresh() // GRAIN * GRAIN for n in "npq"}
            place = world.load(**values, only="" if mode.match else mode.systems[0])
            self.totals[f"m{place}"] = 50
        for system in world.systems.values():
            for row in system.rows("thing").values():
                for index in self.ledger.fields:
                    value = row.raws[index]
                    self.ledger.seen.setdefault(number(value) // GRAIN, frozenset())
        world.settle()

    def entity(self) -> Any:
        mode = self.mode
        kind = "decimal" if mode.lossy else "int"
        fields = [Field("m", "text")]
        for name in "npq":
            lossy = frozenset("b") if mode.lossy and name == "n" else frozenset()
            rule = mode.rules.get(name, "latest")
            type = kind if name == "n" else "int"
            fields.append(Field(name, type, conflict=rule, owner=mode.owner.get(name), lossy=lossy))
        columns = {("b", "n"): column("n", "decimal", scale=-2)} if mode.lossy else {}
        return make_entity(
            "thing",
            fields,
            mode.systems,
            columns=columns,
            match=((0,),) if mode.match else (),
            delete_conflict=mode.delete_conflict,
            watermark=mode.watermark,
            tables={"b": {"roads": (None, SPELLED, None, None)}} if mode.spelled else {},
            create=self.may_create(fields),
        )

    def may_create(self, fields: Sequence[Field]) -> dict[str, Any]:
        """Fresh values grow, so of two fields the one that was entered later is greater."""
        said: dict[str, Any] = dict.fromkeys(self.mode.systems, True)
        if self.mode.create:
            said["b"] = condition("p > q", {f.name: f.type for f in fields})
        return said

    def is_sum(self, name: str) -> bool:
        return self.mode.rules.get(name) == "sum"

    # --- steps -----------------------------------------------------------------------------------------------------
    def tell(self, steps: Sequence[Step]) -> None:
        """Let it all happen."""
        for step in steps:
            act = self.mode.acts[step[0] % len(self.mode.acts)]
            getattr(self, act)(step)

    def retell(self, steps: Sequence[tuple[str, int, int, int]]) -> None:
        """The same with names for numbers, so that a story stays what it was when a mode learns more acts."""
        for act, *numbers in steps:
            step = (self.mode.acts.index(act), *numbers)
            getattr(self, act)(step)

    def pick(self, step: Step) -> tuple[str, Key | None]:
        """A system, and one of its rows."""
        system = self.mode.systems[step[1] % len(self.mode.systems)]
        keys = list(self.world.systems[system].rows("thing"))
        return system, keys[step[2] % len(keys)] if keys else None

    def edit(self, step: Step) -> None:
        _, key = self.pick(step)
        if key is None:
            return
        name = "npq"[step[3] % 3]
        if self.is_sum(name):
            self.add(key, name, 1 + step[3])
        else:
            self.world.edit(key, **self.entered(name))

    def value(self, name: str) -> Raw:
        value = self.ledger.fresh()
        return f"{value}" if self.mode.lossy and name == "n" else value

    def entered(self, *names: str) -> dict[str, Any]:
        """A fresh value for each of these fields."""
        return {name: self.value(name) for name in names}

    def add(self, key: Key, name: str, delta: int) -> None:
        row = self.world.row(key)
        assert row is not None and isinstance(row[name], int)
        system = self.world.of(key)
        if ("thing", key) not in system.locked:  # a relative update waits; here it just comes another time
            self.totals[row["m"]] += delta
            self.world.edit(key, **dict[str, Any]({name: number(row[name]) + delta}))

    def both(self, step: Step) -> None:
        """One person saves several fields at once."""
        _, key = self.pick(step)
        if key is not None:
            names = [n for n in "npq" if not self.is_sum(n)]
            self.world.edit(key, **self.entered(*names))

    def create(self, step: Step) -> None:
        system = self.mode.systems[step[1] % len(self.mode.systems)]
        self.labels += 1
        label = f"new{self.labels}"
        values: dict[str, Any] = {n: 50 if self.is_sum(n) else self.value(n) for n in "npq"}
        self.totals[label] = 50
        self.world.create(system, m=label, **values)

    def respell(self, step: Step) -> None:
        """Somebody writes the same value of b otherwise: no edit."""
        keys = list(self.world.systems["b"].rows("thing"))
        if keys:
            key = keys[step[2] % len(keys)]
            row = self.world.row(key)
            assert row is not None
            n = number(row["n"])
            self.world.edit(key, n=n // GRAIN * GRAIN + 20 + 2 * step[3] + n % 2)

    def twins(self, step: Step) -> None:
        """The same is entered in two systems at once."""
        self.labels += 1
        for offset in (0, 1):
            system = self.mode.systems[(step[1] + offset) % len(self.mode.systems)]
            self.world.create(system, m=f"twin{self.labels}", **self.entered(*"npq"))

    def delete(self, step: Step) -> None:
        _, key = self.pick(step)
        if key is not None:
            self.world.delete(key)

    def rekey(self, step: Step) -> None:
        """A primary key is changed; a second time only after the first was seen (that is a trace of its own)."""
        system, key = self.pick(step)
        table = self.world.systems[system]
        if key is not None and table.former("thing", key) is None:
            table.rekey("thing", key, table.next_key(table.tables_["thing"]), at=self.world.stamp(None))

    def open(self, step: Step) -> None:
        system, key = self.pick(step)
        if key is not None and (form := self.world.row(key)):
            self.forms.append((system, key, form))

    def save(self, step: Step) -> None:
        if not self.forms:
            return
        system, key, form = self.forms[step[1] % len(self.forms)]
        name = "npq"[step[2] % 3]
        self.world.stamp(None)
        self.world.systems[system].save("thing", key, form, **self.entered(name))

    def down(self, step: Step) -> None:
        self.world.systems[self.mode.systems[step[1] % len(self.mode.systems)]].down = True

    def up(self, step: Step) -> None:
        self.world.systems[self.mode.systems[step[1] % len(self.mode.systems)]].down = False
        self.world.now += 3600 * SECOND

    def round(self, step: Step) -> None:
        self.world.round()

    def point(self, step: Step) -> str:
        name = POINTS[step[1] % len(POINTS)]
        return f"{name}:{self.mode.systems[step[2] % len(self.mode.systems)]}" if name.startswith("appl") else name

    def answer(self, step: Step) -> None:
        """Somebody answers a question, and takes any side of it."""
        items = [item for item in self.world.reviews() if reviewing.takes(item)]
        if items:
            item = items[step[1] % len(items)]
            sides = reviewing.takes(item)
            reviewing.resolve(self.world.state, item.id, sides[step[2] % len(sides)], "a tester", self.world.now)

    def crash(self, step: Step) -> None:
        self.world.round(crash_at=self.point(step))

    def during(self, step: Step) -> None:
        """Somebody edits (or deletes, or creates) at a named point of the round."""
        acts: list[Callable[[Step], None]] = [self.edit]
        acts += [getattr(self, a) for a in ("delete", "create", "save", "rekey") if a in self.mode.acts]
        act = acts[step[3] % len(acts)]
        other = (step[0], step[2] + step[3], step[3], step[2])
        self.world.during(self.point(step), lambda: act(other))

    def cut(self, step: Step) -> None:
        """The connection breaks during a COMMIT."""
        system = self.world.systems[self.mode.systems[step[1] % len(self.mode.systems)]]
        system.lose_commit = ("landed", "lost")[step[2] % 2]
        self.world.round()

    def hold(self, step: Step) -> None:
        self.world.systems[self.mode.systems[step[1] % len(self.mode.systems)]].hold(1 + step[2] % 3)

    def release(self, step: Step) -> None:
        self.world.systems[self.mode.systems[step[1] % len(self.mode.systems)]].release()

    def repeat(self, step: Step) -> None:
        system = self.world.systems[self.mode.systems[step[1] % len(self.mode.systems)]]
        system.repeat(1 + step[2] % 4, random.Random(step[3]))

    def disorder(self, step: Step) -> None:
        for system in self.world.systems.values():
            system.shuffle = random.Random(step[1])
            system.echoes = bool(step[2] % 2)

    def gap(self, step: Step) -> None:
        """What people did in a system since the last round was captured by nobody; Accord hears that it was so."""
        system = self.mode.systems[step[1] % len(self.mode.systems)]
        self.world.systems[system].log.clear()
        if self.world.engine is None:
            self.world.start()
        self.world.engine.sweeper.request("thing", system, "a story", gap=True)

    def lose(self, step: Step) -> None:
        """The state file is lost."""
        self.world.lose_state()

    # --- the end -----------------------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Everything is up again and nobody edits any more; then everything that must hold, holds."""
        for system in self.world.systems.values():
            system.down = False
            system.lose_commit = None
            system.release()
        self.world.now += 3600 * SECOND
        if "gap" not in self.mode.acts:  # there the sweeps that were asked for must do
            for system in self.world.systems.values():  # what a watermark cannot see, a sweep finds
                system.sweep()
        self.world.settle()
        self.agree()
        missing = self.ledger.missing()
        assert not missing, f"lost without a word: {missing} (I5)"
        self.world.still()
        self.agree()

    def asked(self) -> set[Raw]:
        """Labels of the records that wait for a person."""
        asked: set[Raw] = set()
        for review in self.world.reviews():
            keys = [review.key] if review.key else []
            if review.gid:
                record = self.world.state.load("thing", [review.gid])[review.gid]
                keys += [link.key for link in record.links.values()]
            asked |= {row["m"] for key in keys if (row := self.world.row(key))}
        return asked

    def agree(self) -> None:
        """Every record that is not in review is the same in every system, and once in each (I2)."""
        asked = self.asked()
        labels: dict[Raw, dict[str, tuple[Raw, ...]]] = {}
        for name, system in self.world.systems.items():
            for key, row in system.rows("thing").items():
                held = labels.setdefault(row.raws[0], {})
                assert name not in held, f"{row.raws[0]!r} is twice in {name}, as {key} too (I2)"
                held[name] = row.raws
        for label, held in labels.items():
            if label not in asked:
                everywhere = set(self.mode.systems)
                if self.mode.create and "b" not in held:
                    row = next(iter(held.values()))
                    assert number(row[2]) <= number(row[3]), f"{label!r} is not in b, though p > q"
                    everywhere -= {"b"}
                assert set(held) == everywhere, f"{label!r} is only in {sorted(held)}"
                self.equal(label, held)

    def equal(self, label: Raw, held: dict[str, tuple[Raw, ...]]) -> None:
        for index in (1, 2, 3):
            found = {system: number(raws[index]) for system, raws in held.items()}
            if index in self.sums:
                assert set(found.values()) == {self.totals[label]}, f"{label!r}: {found}, not {self.totals[label]}"
            elif index == NARROW and self.mode.lossy:
                whole = {v for s, v in found.items() if s != "b"}
                assert len(whole) == 1 and found["b"] == whole.pop() // GRAIN * GRAIN, f"{label!r}: n is {found}"
            elif index == NARROW and self.mode.spelled:
                assert len({v // GRAIN for v in found.values()}) == 1, f"{label!r}: n is {found}"
                assert {v % GRAIN for s, v in found.items() if s != "b"} <= {0, 1}, (
                    f"{label!r}: b's spelling got out: {found}"
                )
            elif index == ADDS_ONE and self.mode.rewrite:
                assert len({v // GRAIN for v in found.values()}) == 1, f"{label!r}: {index} is {found}"
            else:
                assert len(set(found.values())) == 1, f"{label!r}: {index} is {found}"
