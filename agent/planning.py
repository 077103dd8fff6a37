"""What a run would do: the real rounds, on a copy of the state and on systems that only pretend to be written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from adapters.ports import System
from agent import contact
from agent.dryrun import MARK, DryRun
from agent.engine import Engine, Options, Stopped, now
from agent.values import show
from agent.watch import Recognising
from config.errors import Transient
from config.records import Entity, Fence, Gid, Value
from state.ports import Decided, Journal, Review, State

SAMPLES = 3
WRITES = ("create", "update", "delete", "archive", "restore")


class Sample(NamedTuple):
    """One example of what would happen."""

    record: str  # "crm:4711"
    system: str
    text: str  # "Acme GmbH", or "phone: 1 -> 2"
    note: str = ""


@dataclass(slots=True)
class EntityPlan:
    """What would happen to one entity."""

    name: str
    phase: str  # of the first contact: held, index, link, live
    rows: dict[str, int] = field(default_factory=dict)  # by system
    links: Counter[str] = field(default_factory=Counter)  # by rule
    writes: dict[str, Counter[str]] = field(default_factory=dict)  # action -> by system
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)  # (system, field) of updates
    lost: Counter[str] = field(default_factory=Counter)  # values that lose: conflict, override, stale
    reviews: Counter[str] = field(default_factory=Counter)  # by kind
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))  # by action
    updated: set[tuple[Gid, str]] = field(default_factory=set)  # (record, system) counted already
    withheld: dict[tuple[Gid, str], str] = field(default_factory=dict)  # (record, system) -> why it is not created

    @property
    def changes(self) -> bool:
        """Would anything be written, or linked?"""
        return bool(self.links or any(c for by in self.writes.values() for c in by.values()) or self.lost)


class Planner(Engine):
    """An engine that keeps what its rounds decided."""

    most = SAMPLES  # of each kind

    def __init__(
        self,
        name: str,
        entities: Mapping[str, Entity],
        systems: Mapping[str, System],
        state: State,
        options: Options | None = None,
    ) -> None:
        dry: dict[str, System] = {s: DryRun(system) for s, system in systems.items()}
        super().__init__(name, entities, dry, state, options=replace(options or Options(), sweeps={}))
        self.watch = Recognising(self)
        self.waiting.asked.clear()  # all questions that a run would leave are counted
        self.sweeper.waiting.clear()  # the plan looks at every row anyway
        self.plans = {n: EntityPlan(n, self.phases[n]) for n in self.order}
        self.seen_reviews: set[str] = set()

    def plan(self, progress: Callable[[str, int], None] = lambda entity, looked: None) -> dict[str, EntityPlan]:
        """Run everything to its end. `state` must be a copy that is thrown away."""
        self.start()
        for name in self.order:
            for system in self.entities[name].tables:
                self.plans[name].rows[system] = self.call(system, partial(self.systems[system].count, name))
        contacted = [n for n, phase in self.phases.items() if phase != contact.LIVE]
        for name in contacted:
            if self.phases[name] == contact.HELD:
                contact.accept(self.state, name)
        looked = 0
        while True:
            report = self.round()
            looked += report.looked
            progress(next((n for n in self.order if self.phases[n] != contact.LIVE), ""), looked)
            due = self.state.waiting(now())
            if not report.worked and (due is None or due > now()):
                break
        live = {n: e for n, e in self.entities.items() if n not in contacted}
        if live:
            self.sweep(live)
        return self.plans

    def _compare_fence(self, system: str, fence: Fence | None) -> None:
        """Fences are neither read nor written here; what an agent has in the air is looked at again."""
        if system in self.state.unsettled():
            self.state.settle(system, landed=False, again=True)

    def went_down(self, system: str, error: Stopped) -> None:
        """A plan without a system that must not be read would promise too little: what halts ends the plan."""
        if not isinstance(error, Transient):
            raise error
        super().went_down(system, error)

    def _plan_sweeps(self, system: str) -> None:
        """The plan looks at every row anyway."""

    def _ask_for_creations(self) -> None:
        """The plan looks at every row anyway."""

    def held_back(self, entity: str, gid: Gid, system: str, why: str) -> None:
        """Counted as it is in the end: another look may create it after all."""
        self.plans[entity].withheld[gid, system] = why

    def remember(self, decided: Decided) -> None:
        super().remember(decided)
        for line in decided.journal:
            self._line(line)
        for item in decided.reviews:
            self._review(item)

    def _line(self, line: Journal) -> None:
        plan = self.plans[line.entity]
        if line.action == "link":
            plan.links[line.rule] += 1
            self._sample(plan, "link", lambda: Sample(line.note, "", line.rule))
        elif line.action == "update":
            by = plan.writes.setdefault("update", Counter())
            if (line.gid, line.system) not in plan.updated:
                plan.updated.add((line.gid, line.system))
                by[line.system] += 1
            plan.fields[line.system, line.field] += 1
            text = f"{line.field}: {_show(line.before)} -> {_show(line.after)}"
            self._sample(plan, "update", lambda: Sample(self._record(line), line.system, text, line.rule))
        elif line.action in WRITES:
            plan.withheld.pop((line.gid, line.system), None)
            plan.writes.setdefault(line.action, Counter())[line.system] += 1
            self._sample(plan, line.action, lambda: Sample(self._record(line), line.system, self._title(line)))
        elif line.action in ("conflict", "override", "stale"):
            plan.lost[line.action] += 1
            text = f"{line.field}: {_show(line.before)} in {line.system} loses to {_show(line.after)}"
            self._sample(plan, line.action, lambda: Sample(self._record(line), line.system, text, line.rule))

    def _review(self, item: Review) -> None:
        if item.id in self.seen_reviews:
            return
        self.seen_reviews.add(item.id)
        plan = self.plans[item.entity]
        plan.reviews[item.kind] += 1
        self._sample(plan, "review", lambda: Sample(f"{item.system}:{item.key}", item.system, item.message, item.kind))

    def _sample(self, plan: EntityPlan, action: str, make: Callable[[], Sample]) -> None:
        if len(plan.samples[action]) < self.most:
            plan.samples[action].append(make())

    def _record(self, line: Journal) -> str:
        record = self.state.load(line.entity, [line.gid]).get(line.gid)
        keys = (
            [f"{s}:{link.key}" for s, link in record.links.items() if not link.key.startswith(MARK)] if record else []
        )
        return keys[0] if keys else line.gid

    def _title(self, line: Journal) -> str:
        """The record's first text: what a person calls it."""
        record = self.state.load(line.entity, [line.gid]).get(line.gid)
        values = record.version.values if record and record.version else ()
        types = [f.type for f in self.entities[line.entity].fields]
        return next((str(v) for v, t in zip(values, types, strict=False) if v is not None and t == "text"), "")


def _show(value: Value) -> str:
    return show(value, 40)
