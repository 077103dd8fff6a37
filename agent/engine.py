"""The engine: systems, state and entities put together, and rounds run on them.

It owns what lasts longer than one round: which systems are down or halted and when they are tried again, the epochs
of the fences, what is pending. One thread per system does that system's calls; the round's thread does the rest.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from adapters.ports import System
from agent import contact, crash, creating, usual
from agent.backlog import Backlog
from agent.casework import Bound, topological
from agent.complete import Completeness, Told
from agent.identity import Row
from agent.lookups import Library, attach
from agent.roads import ways
from agent.round import Abandoned, Report, Round
from agent.sweep import NOTHING, Chunk, Sweeper
from agent.waiting import Waiting
from agent.watch import Watch
from config.errors import Halt, Problem, Taken, Transient
from config.records import Crosswalk, Entity, Fence, Gid, Stamp
from state.ports import Decided, Pending, State

T = TypeVar("T")
Stopped = Transient | Halt | Taken
"""What stops one system, and no other: it does not answer, or going on there could do harm."""

SECOND = 1_000_000
LONGEST_PAUSE = 300 * SECOND  # between two tries of a system that is down, or of a refused record: five minutes
RECHECK = 300 * SECOND  # between two looks at a system that is halted
OWN = ("old-state",)  # codes of halts that are about the agent's own memory: they end the whole run
UNLINKS = "unlinks"  # named text of the state: crosswalk rows that are to go from all systems
ANSWERED = ("value", "refused", "crosswalk")  # kinds of review that the facts answer by themselves


def now() -> Stamp:
    """The agent's clock."""
    return time.time_ns() // 1000


def mint() -> Gid:
    """A new identity: a UUID of version 7, whose order is the order of minting."""
    ms = time.time_ns() // 1_000_000
    value = ms << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return f"{value:032x}"


@dataclass(frozen=True, slots=True)
class Options:
    """What the configuration says of the engine as a whole; times in microseconds."""

    batch: int = 2000  # records per round
    tolerance: int = SECOND  # edits this close are simultaneous
    stale_windows: Mapping[str, int] = field(default_factory=dict)  # by system; 0 = off
    parent_retry: int = 2 * SECOND
    first_pause: int = SECOND  # before a failed thing is tried again; doubles up to LONGEST_PAUSE
    threads: bool = True  # one per system; off: everything in the caller's thread
    rows_per_second: int = 0  # that a sweep reads; 0 = as fast as it can
    max_backlog: int = 0  # bytes that a system may have to keep for us; 0 = any
    blind: int = 600 * SECOND  # between two sweeps while changes are not captured
    sweeps: Mapping[str, str] = field(default_factory=dict)  # by entity: when it is swept ("daily 03:00")


@dataclass(slots=True)
class Down:
    """A system that takes no part, and when it is tried again."""

    since: Stamp
    due: Stamp
    attempts: int
    message: str
    halt: Halt | Taken | None = None  # it answers, but going on could do harm; None: it does not answer


class Engine:
    """Keeps the systems in agreement. `start` once, then `round` for ever."""

    starting = False

    def __init__(
        self,
        name: str,
        entities: Mapping[str, Entity],
        systems: Mapping[str, System],
        state: State,
        clock: Callable[[], Stamp] = now,
        options: Options | None = None,
        mint: Callable[[], Gid] = mint,
    ) -> None:
        self.name, self.entities, self.systems, self.state = name, entities, systems, state
        self.clock, self.options, self._mint = clock, options or Options(), mint
        self.order = topological(entities)
        self.ranks = {s: i for i, s in enumerate(systems)}
        for s, system in systems.items():
            attach(system, s, entities, at_once=False)
        self.library = Library(entities, systems)
        self.bound = {name: {s: self._bind(entity, s) for s in entity.tables} for name, entity in entities.items()}
        self.lanes = {name: usual.lanes(entity, self.bound[name]) for name, entity in entities.items()}
        self.depending = creating.depending(entities)
        self.phases = contact.load_phases(state, entities)
        self.down: dict[str, Down] = {}
        self.returned: dict[str, Down] = {}  # why a system took no part until it was last tried
        self.heard: set[str] = set()  # systems that were asked for changes: from where, is durable
        self.started = False
        self.contested = False  # another agent has one of the systems: are the others ours?
        self.attempts: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.floor = 0  # rounds are numbered above what any fence holds, also when the state is new (MODEL A1)
        self.pending: dict[tuple[Gid, str], Pending] = {(p.gid, p.system): p for p in state.pending()}
        self.open_items: dict[Gid, set[str]] = {}
        self.has_identity_items = False
        for item in state.reviews():
            self._note_item(item.kind, item.gid, item.id)
        self.empty = {(r.entity, r.system) for r in state.reviews() if r.kind == "empty"}  # tables that lost all rows
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._begun: dict[str, Future[Any]] = {}  # by system: the last job that was not waited for at once
        self.notes: list[str] = []  # sentences for the log
        self.sweeper = Sweeper(self, self.options.rows_per_second, self.notes.append)
        self.watch = Watch(self)
        self.backlog = Backlog(self, self.options.max_backlog)
        self.waiting = Waiting(self)
        self.complete = Completeness(self)
        self.unlinks = self._load_unlinks()

    def _bind(self, entity: Entity, system: str) -> Bound:
        table = entity.tables[system]
        places = tuple(i for i, c in enumerate(table.columns) if c is not None)
        way = ways(entity, table, self.systems[system])
        refs = {i: ref for i in places if (ref := entity.fields[i].ref) is not None}
        window = self.options.stale_windows.get(system, 0)
        given = frozenset(i for i in places if (c := table.columns[i]) is not None and c.name in table.insert)
        return Bound(
            table, self.ranks[system], way.decoders, way.fits, places, refs, window, way.whole, way.plain, given
        )

    # --- running ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the fences, settle what an earlier run left open. A system that does not answer is tried again later.

        `Halt`, `Taken`: what halts a system leaves fewer than two that could be kept in agreement.
        """
        for system in self.systems:
            try:
                self.call(system, partial(self._recover, system))
                self._plan_sweeps(system)
            except (Transient, Halt, Taken) as error:
                self.went_down(system, error)
        self._must_go_on(1 if self.started else 2)
        self._ask_for_creations()
        self.started = True

    def round(self, called: Collection[str] = ()) -> Report:
        """One round, with a part of a sweep. `Halt`, `Taken`: no system is left that could go on.

        `called`: systems by whom the agent was woken. Then nothing else comes first, and nobody else is asked for
        changes: a round without this is to follow before the agent waits again, or when it has waited.
        """
        if not called:
            self._wake()
        self._must_go_on(1)
        chunk = NOTHING if called else self._in_between()
        round = Round(self, chunk.looks, called)
        round.decided.meta.update(chunk.meta)
        unlinked = self._unlink(round)
        report = self._run(round)
        if report is None:
            return Report(round.number, worked=True, down=list(self.down))
        self.heard.update(round.batches)
        self.complete.take(round)
        self._unlinked([place for place in unlinked if place[0] not in self.down])
        self.sweeper.passed(chunk)
        due = self.sweeper.next_due()
        report.worked |= due is not None and due <= self.clock()
        return report

    def _in_between(self) -> Chunk:
        """What is done between rounds when it is time; the part of a sweep that the next one takes along."""
        self.watch.look()
        self.backlog.look()
        self.sweeper.tick()
        return self.sweeper.next()

    def _run(self, round: Round) -> Report | None:
        """None: it was given up whole. What rode on it, a chunk of a sweep, has not passed."""
        try:
            return round.run()
        except Abandoned as abandoned:
            self.library.again()
            self.went_down(abandoned.system, abandoned.error)
            return None

    def _unlink(self, round: Round) -> list[tuple[str, Crosswalk]]:
        """Crosswalk rows that speak for nobody since a system was restored go before anything else is written there."""
        places = [(s, row) for s, rows in self.unlinks.items() for row in rows if s in round.up]
        for system, row in places:
            round.unlink_in(system, row)
        return places

    def _unlinked(self, places: list[tuple[str, Crosswalk]]) -> None:
        if places:
            for system, row in places:
                self.unlinks[system].remove(row)
            left = [row for rows in self.unlinks.values() for row in rows]
            self.state.put(UNLINKS, json.dumps(list(dict.fromkeys(left))) if left else None)

    def _load_unlinks(self) -> dict[str, list[Crosswalk]]:
        rows = [Crosswalk(*row) for row in json.loads(self.state.get(UNLINKS) or "[]")]
        return {
            s: [row for row in rows if row.entity in self.entities and s in self.entities[row.entity].tables]
            for s in self.systems
            if self._writes(s)
        }

    def _plan_sweeps(self, system: str) -> None:
        """What a watermark does not show is swept."""
        for name, entity in self.entities.items():
            if system in entity.tables and entity.tables[system].capture == "watermark":
                self.sweeper.request(name, system, "the agent started, and a watermark shows no deletes")

    def _ask_for_creations(self) -> None:
        """Where `create` says something else than before, records that are not there are looked at once more."""
        for name, entity in self.entities.items():
            known, now = f"create:{name}", creating.written(entity)
            before = self.state.get(known)
            if before == now:
                continue
            new = before is None and self.phases[name] != contact.LIVE  # the first contact asks everything
            missing = [] if new else creating.turned(entity, before)
            for system in entity.tables:
                if self.phases[name] != contact.HELD and any(s != system for s in missing):
                    self.sweeper.look_for_missing(name, system, missing)
            self.state.put(known, now)

    def settle(self, max_rounds: int = 10_000) -> list[Report]:
        """Rounds until nothing is left that is due now."""
        reports = []
        for _ in range(max_rounds):
            report = self.round()
            reports.append(report)
            due = self.state.waiting(self.clock())
            if not report.worked and (due is None or due > self.clock()):
                break
        return reports

    def sweep(self, entities: Mapping[str, Entity] | None = None) -> list[Report]:
        """Look at every row of every system, and at every linked row that is not there any more."""
        reports = []
        for name in [n for n in self.order if entities is None or n in entities]:
            for system in self.entities[name].tables:
                for looks in self.sweeper.everything(name, system):
                    report = self._run(Round(self, looks))
                    reports += [report] if report is not None else []
        return reports + self.settle()

    def close(self) -> None:
        """Let go of connections and threads. The state is the caller's."""
        for system in self.systems.values():
            system.close()
        for pool in self._threads.values():
            pool.shutdown(wait=True)

    # --- calling systems ----------------------------------------------------------------------------------------------

    def call(self, system: str, job: Callable[[], T]) -> T:
        """One call to one system. The caller waits, so it is made in the caller's thread (to hand it to another one
        takes as long as a small statement), unless something else is under way there."""
        begun = self._begun.pop(system, None)
        if begun is None or begun.done():
            return job()
        return self._pool(system).submit(job).result()

    def begin(self, system: str, job: Callable[[], T]) -> Callable[[], T]:
        """The same in the system's thread, without waiting yet: to be called for what the job gives, or raises."""
        if not self.options.threads:
            return job
        self._begun[system] = begun = self._pool(system).submit(job)
        return begun.result

    def side_by_side(
        self, jobs: Mapping[str, Callable[[], T]], meanwhile: Callable[[], None] | None = None
    ) -> tuple[dict[str, T], dict[str, Stopped]]:
        """One job per system; the systems that could not answer now, or must not go on, come with their error.
        The caller's thread does one of the jobs, or `meanwhile`."""
        answers: dict[str, T] = {}
        failed: dict[str, Stopped] = {}
        waiting: dict[str, Future[T]] = {}
        steps: list[Callable[[], None]] = [
            partial(self._collect, system, job, waiting, answers, failed) for system, job in jobs.items()
        ]
        if self.options.threads:
            others = list(jobs.items())[0 if meanwhile is not None else 1 :]
            waiting.update((s, self._pool(s).submit(job)) for s, job in others)
            steps[:0] = [meanwhile] if meanwhile is not None else []
        else:
            steps += [meanwhile] if meanwhile is not None else []
        first: BaseException | None = None
        for step in steps:
            try:
                step()
            except BaseException as error:
                first = first or error
        if first is not None:
            raise first
        return answers, failed

    def _collect(
        self,
        system: str,
        job: Callable[[], T],
        waiting: Mapping[str, Future[T]],
        answers: dict[str, T],
        failed: dict[str, Stopped],
    ) -> None:
        try:
            answers[system] = waiting[system].result() if system in waiting else self.call(system, job)
        except (Transient, Halt, Taken) as error:
            failed[system] = error

    def _pool(self, system: str) -> ThreadPoolExecutor:
        if system not in self._threads:
            self._threads[system] = ThreadPoolExecutor(1, thread_name_prefix=f"accord-{system}")
        return self._threads[system]

    # --- systems that are down, or halted -----------------------------------------------------------------------------

    def went_down(self, system: str, error: Stopped) -> None:
        """The system is left alone for a while: longer each time, if it does not answer; else for a fixed time."""
        now, halt = self.clock(), None if isinstance(error, Transient) else error
        if error.problem.code in OWN:
            raise error
        attempts = self.attempts[system] = self.attempts.get(system, 0) + 1
        pause = RECHECK if halt else self._pause(attempts)
        found = Down(now, now + pause, attempts, error.problem.message, halt)
        if self._is_the_same(system, found):
            found.since = (self.down.get(system) or self.returned[system]).since
        self.down[system] = found
        self.contested |= isinstance(halt, Taken)

    def _is_the_same(self, system: str, found: Down) -> bool:
        """Has this been so since earlier: without a break, or did it only show again as soon as it was tried?"""
        before, back = self.down.get(system), self.returned.get(system)
        if before is not None:
            return (before.halt is None) == (found.halt is None)
        if back is None or back.halt is None or found.halt is None:
            return False
        return back.message == found.message and found.since <= back.due + RECHECK

    def doubt(self, system: str, error: Stopped) -> None:
        """A commit of unknown outcome: the fence tells, as soon as the system answers."""
        self.went_down(system, error)
        if isinstance(error, Transient):
            self.down[system].due = self.clock()

    def is_halted(self, system: str) -> bool:
        """Does it take no part because going on could do harm, not because it does not answer?"""
        down = self.down.get(system)
        return down is not None and down.halt is not None

    def seen(self) -> Told | None:
        """Up to when each system has been seen whole."""
        return self.complete.told()

    def try_again(self) -> None:
        """Somebody asks: what is down or halted is tried in the next round."""
        for down in self.down.values():
            down.due = min(down.due, self.clock())

    def _wake(self) -> None:
        for system in [s for s, d in self.down.items() if d.due <= self.clock()]:
            try:
                self.call(system, partial(self._recover, system))
                if self.is_halted(system):
                    self.call(system, partial(self._try_out, system))
            except (Transient, Halt, Taken) as error:
                self.went_down(system, error)
            else:
                self.returned[system] = self.down.pop(system)

    def _try_out(self, system: str) -> None:
        """Would a round there halt again? Raises what it would."""
        adapter = self.systems[system]
        if missing := adapter.prepared():
            raise Halt(missing)
        for name, entity in self.entities.items():
            if system in entity.tables:
                adapter.scan(name, None, 1)

    def _must_go_on(self, least: int) -> None:
        """Raises what halts a system if fewer than `least` are left, or none that this agent may write."""
        if self.contested:
            self._ask_fences()
        halts = {s: d.halt for s, d in self.down.items() if d.halt is not None}
        if not halts:
            return
        written = [s for s in self.systems if self._writes(s)]
        taken_over = bool(written) and all(isinstance(halts.get(s), Taken) for s in written)
        if taken_over or len(self.systems) - len(halts) < min(least, len(self.systems)):
            raise next(h for h in halts.values() if isinstance(h, Taken) or not taken_over)

    def _ask_fences(self) -> None:
        """Another agent holds a system, perhaps all: a system where nothing is written just now would not say so."""
        self.contested = False
        for system in [s for s in self.epochs if s not in self.down]:
            try:
                self.call(system, partial(self._must_be_ours, system))
            except (Transient, Halt, Taken) as error:
                self.went_down(system, error)
                self.contested = True

    def _must_be_ours(self, system: str) -> None:
        """Raises `Taken` where the fence is another's. Waits for a COMMIT that is under way there."""
        self.systems[system].begin(Fence(self.name, self.epochs[system], 0)).rollback()

    def _writes(self, system: str) -> bool:
        return any(e.tables[system].write for e in self.entities.values() if system in e.tables)

    def _recover(self, system: str) -> None:
        """Fence and clock, and what is known of a transaction whose outcome is unknown (section 5, after step 10)."""
        adapter = self.systems[system]
        adapter.clock()
        self.watch.take_in(system)
        if self._writes(system):
            if system not in self.epochs:
                self.epochs[system] = adapter.take_fence(self.name).epoch
            if system in self.state.unsettled() or self.is_halted(system):  # a COMMIT may still be under way there
                self._must_be_ours(system)
            self._compare_fence(system, adapter.fence())
        self.watch.attend(system)
        self.attempts.pop(system, None)

    def _compare_fence(self, system: str, fence: Fence | None) -> None:
        """What the fence there says of an open transaction, and of a database or a state that went back in time."""
        open_round = self.state.unsettled().get(system)
        at = fence.round if fence is not None else 0
        known = self.state.get(f"landed:{system}")
        if known is not None and at < int(known):
            message = f"{system} was restored from a backup: round {known} had landed there, it is back at round {at}."
            hint = (
                f"Nothing is read or written there: a rollback is no mass edit. `accord restored {system}` shows what "
                "was agreed since and would be written again; if Accord's objects were only made anew, say --moved."
            )
            raise Halt(Problem("restored", message, hint, system=system))
        if known is not None and at > max(int(known), open_round or 0):  # also when the state has counted on since
            message = f"the state is older than {system}: round {at} has landed there, the state knows {known}."
            raise Halt(Problem("old-state", message, "Bring back the newest state file.", system=system))
        self.floor = max(self.floor, at)
        if open_round is not None:
            self.state.settle(system, landed=at >= open_round, again=True)

    def back_off(self, attempts: int, system: str) -> int:
        """How long a pending thing waits: doubling, and at least until its system is tried again."""
        pause = self._pause(attempts)
        down = self.down.get(system)
        return max(pause, down.due - self.clock()) if down and not down.halt else pause

    def _pause(self, attempts: int) -> int:
        return min(self.options.first_pause << min(attempts - 1, 20), LONGEST_PAUSE)

    # --- small things -------------------------------------------------------------------------------------------------

    def may_create(self, entity: str, system: str) -> bool:
        """May Accord create records of this entity there, now or when a condition holds?"""
        return creating.possible(self.entities[entity], system)

    def held_back(self, entity: str, gid: Gid, system: str, why: str) -> None:
        """A record is not created there, because its `create` says so. For the plan."""

    def mint(self, entity: str, row: Row) -> Gid:
        """A new record's identity."""
        return self._mint()

    def remember(self, decided: Decided) -> None:
        """What is kept in memory follows what has become durable."""
        self.waiting.remember(decided)
        for key in decided.unpended:
            self.pending.pop(key, None)
        for p in decided.pending:
            self.pending[p.gid, p.system] = p
        for items in self.open_items.values():
            items.difference_update(decided.closed)
        self.open_items = {gid: items for gid, items in self.open_items.items() if items}
        for item in decided.reviews:
            self._note_item(item.kind, item.gid, item.id)
        for name in self.entities:
            phase = decided.meta.get(f"phase:{name}")
            if phase:
                self.phases[name] = phase

    def _note_item(self, kind: str, gid: Gid | None, id: str) -> None:
        if gid is None:
            self.has_identity_items = True
        elif kind in ANSWERED:
            self.open_items.setdefault(gid, set()).add(id)

    def down_problem(self, system: str) -> Problem:
        """For people: why this system takes no part."""
        down = self.down[system]
        return down.halt.problem if down.halt else Problem("unreachable", down.message, system=system)


__all__ = ["Engine", "Options", "crash"]
