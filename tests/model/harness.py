"""A world for the model tests: systems in memory, people who edit them, an engine that may die, and a clock.

Keys read as the system and a number: `a1` and `b1` are the rows that were loaded together. Acts of people advance the
clock by `STEP`, so that they are not simultaneous unless a test gives the time (`at`, in seconds).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent import crash, usual
from agent.engine import Engine, Options
from config.records import Entity, Key, Raw, Stamp
from state.ports import Decided, Journal
from state.store import Store

from .system import MemorySystem

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
STEP = 10 * SECOND
HOUR = 3600 * SECOND
QUIET = 30  # rounds after which a world that nobody touches must be quiet (I7)

Act = Callable[[], object]


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: the state writes for safety, and here nobody pulls the plug."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as path:
        yield Path(path)


def next_step(now: Stamp, tolerance: int) -> int:
    """A second (for `at`) that lies ahead and begins a step of the tolerance (in seconds)."""
    step = tolerance * SECOND
    return ((now // step + 2) * step - START) // SECOND


class Crash(BaseException):
    """The agent's process dies here."""


@contextmanager
def short_way(on: bool) -> Iterator[None]:
    """With or without the short way of the usual edit (agent/usual.py)."""
    before, usual.ON = usual.ON, on
    try:
        yield
    finally:
        usual.ON = before


ALL = 1_000_000
usual.PART = 2  # stories are short, and work is to be done in several parts


class Watched:
    """The state, with a copy of every journal line that became durable."""

    def __init__(self, inner: Any, journal: list[Journal]) -> None:
        self.inner, self.journal = inner, journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def commit(self, decided: Decided) -> None:
        self.inner.commit(decided)
        entries = self.inner.journal(limit=ALL, since=decided.round - 1)
        self.journal.extend(entry.line for entry in reversed(entries))


class World:
    """Systems, people, and one engine after another on one state."""

    def __init__(
        self,
        folder: Path,
        *entities: Entity,
        systems: str = "ab",
        options: Mapping[str, Any] | None = None,
        watermark: str = "",
        silent_cascade: bool = False,
    ) -> None:
        self.now: Stamp = START
        self.folder, self.states = folder, 0
        self.entities = {e.name: e for e in entities}
        self.options = dict(options or {})
        self.systems = {
            name: MemorySystem(name, lambda: self.now, watermark=name in watermark, silent_cascade=silent_cascade)
            for name in systems
        }
        for name, system in self.systems.items():
            system.bind([e.tables[name] for e in entities if name in e.tables])
        self.main = entities[0].name
        self.journal: list[Journal] = []
        self.loaded = dict.fromkeys(self.entities, 0)
        self.acts: dict[str, list[Act]] = {}
        self.crash_at: str | None = None
        self.rounds = 0
        self.state: Any = None
        self.engine: Any = None

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- people --------------------------------------------------------------------------------------------------
    def of(self, key: Key) -> MemorySystem:
        """The system that a key like `b1` belongs to."""
        return self.systems[key[0]]

    def stamp(self, at: int | None) -> Stamp | None:
        self.now += STEP
        return None if at is None else START + at * SECOND

    def load(self, entity: str | None = None, only: str = "", **values: Any) -> int:
        """A record that stood in every system before Accord came; returns its number: `a1`, `b1` … for 1."""
        entity = entity or self.main
        self.loaded[entity] += 1
        number = self.loaded[entity]
        for name, system in self.systems.items():
            if entity in system.tables_ and (not only or name in only):
                row = {"m": f"m{number}", **values}
                own = {k: v for k, v in row.items() if k in system.names(entity)}
                system.load(entity, f"{name}{number}", **own)
        return number

    def put(self, key: Key, entity: str | None = None, at: int | None = None, **values: Any) -> None:
        """One row that stood there before Accord came, last changed at that second."""
        self.of(key).load(entity or self.main, key, at=self.stamp(at), **values)

    def edit(self, key: Key, entity: str | None = None, at: int | None = None, **values: Any) -> None:
        """A person changes columns of a row."""
        self.of(key).update(entity or self.main, key, at=self.stamp(at), **values)

    def create(self, system: str, entity: str | None = None, at: int | None = None, **values: Any) -> Key:
        """A person enters a row; returns its key."""
        return self.systems[system].insert(entity or self.main, at=self.stamp(at), **values)

    def delete(self, key: Key, entity: str | None = None, at: int | None = None) -> None:
        """A person deletes a row."""
        self.of(key).delete(entity or self.main, key, at=self.stamp(at))

    def row(self, key: Key, entity: str | None = None) -> dict[str, Raw] | None:
        """The row as its system holds it."""
        return self.of(key).get(entity or self.main, key)

    def get(self, key: Key, field: str = "n", entity: str | None = None) -> Raw:
        """One column of a row that must be there."""
        row = self.row(key, entity)
        assert row is not None, f"{key} is gone"
        return row[field]

    def all(self, field: str = "n", number: int = 1, entity: str | None = None) -> list[Raw]:
        """One column of the rows that were loaded together, in the order of the systems; "gone" for no row."""
        rows = [self.row(f"{name}{number}", entity) for name in self.systems]
        return ["gone" if row is None else row.get(field) for row in rows]

    def column(self, system: str, field: str = "n", entity: str | None = None) -> list[Raw]:
        """One column of all rows of a system, sorted."""
        names = self.systems[system].names(entity or self.main)
        rows = self.systems[system].rows(entity or self.main).values()
        return sorted((r.raws[names.index(field)] for r in rows), key=repr)

    # --- Accord --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """A new engine on the state and the systems as they are."""
        self.build()
        self.engine.start()

    def build(self) -> None:
        """The engine, not started."""
        self.state = Watched(self.open_state(), self.journal)
        self.engine = Engine(
            name="acme",
            entities=self.entities,
            systems=self.systems,
            state=self.state,
            clock=lambda: self.now,
            options=self.engine_options(),
        )

    def engine_options(self) -> Options:
        """`stale` is the window of every system, the rest as the engine names it."""
        options = dict(self.options)
        stale = options.pop("stale", 0)
        return Options(stale_windows=dict.fromkeys(self.systems, stale), **options)

    def open_state(self) -> Any:
        fields = {e.name: [f.name for f in e.fields] for e in self.entities.values()}
        refs = {e.name: [f.name for f in e.fields if f.ref] for e in self.entities.values()}
        return Store.open(self.folder / f"state{self.states}.db", fields, list(self.systems), refs=refs)

    def stop(self) -> None:
        """The process is gone: open transactions end, nothing more is written anywhere."""
        crash.hook = None
        if self.engine is not None:
            self.engine.close()
        if self.state is not None:
            self.state.inner.close()
        self.engine = self.state = None
        for system in self.systems.values():
            system.end()

    def lose_state(self) -> None:
        """The state file is gone; the agent begins with an empty one."""
        self.stop()
        self.states += 1

    def hook(self, point: str) -> None:
        """The round passes a named point: people act, or the process dies."""
        for act in self.acts.pop(point, []):
            act()
        if point == self.crash_at:
            self.crash_at = None
            raise Crash(point)

    def round(self, crash_at: str | None = None, **during: Act) -> bool:
        """One round; True if it did anything. `read=…`: people act at that point (`applied_b` is `applied:b`)."""
        for point, act in during.items():
            self.acts.setdefault(point.replace("_", ":"), []).append(act)
        self.crash_at, self.rounds = crash_at, self.rounds + 1
        crash.hook = self.hook
        try:
            if self.engine is None:
                self.start()
            worked = bool(self.engine.round().worked)
        except Crash:
            self.stop()
            worked = True
        finally:
            crash.hook = None
            self.crash_at = None
            self.acts.clear()
        return worked

    def during(self, point: str, act: Act) -> bool:
        """One round in which somebody acts at a named point."""
        self.acts.setdefault(point, []).append(act)
        return self.round()

    def settle(self) -> None:
        """Rounds until nothing happens any more. A refused record may be tried again for ever, but to no effect."""
        idle = 0
        for _ in range(QUIET):
            before = self.effect()
            worked = self.round()
            if self.effect() != before:
                idle = 0
            elif not worked:
                idle += 1
                self.now += HOUR
            if idle == 3:
                return
        raise AssertionError(f"not quiet after {QUIET} rounds: {[tuple(j) for j in self.journal[-6:]]}")

    def settle_now(self) -> None:
        """Rounds until nothing is due; the clock stands still."""
        for _ in range(QUIET):
            if not self.round():
                return
        raise AssertionError("not quiet")

    def effect(self) -> tuple[int, int, list[str]]:
        """All that can be seen of what Accord has done: rows, journal lines, open questions."""
        open_items = sorted(r.id for r in self.state.reviews()) if self.state is not None else []
        return self.written(), len(self.journal), open_items

    def still(self) -> None:
        """Nobody edits: a sweep of every system and further rounds write nothing (I7)."""
        before = self.written()
        for system in self.systems.values():
            system.sweep()
        self.settle()
        assert self.written() == before, f"written without an edit: {[tuple(j) for j in self.journal[-4:]]}"

    def written(self) -> int:
        """Rows that Accord has written so far, in all systems."""
        return sum(s.accord_writes for s in self.systems.values())

    # --- what the journal and the review list say ------------------------------------------------------------------
    def lines(self, *actions: str, entity: str | None = None) -> list[Journal]:
        return [j for j in self.journal if j.action in actions and (entity is None or j.entity == entity)]

    def named(self, value: Any, *actions: str) -> bool:
        """Does a line about something lost name this value?"""
        return any(value in (j.before, j.after) for j in self.lines(*(actions or LOSSES)))

    def reviews(self) -> list[Any]:
        if self.engine is None:
            self.start()
        return list(self.state.reviews())

    def kinds(self) -> list[str]:
        """What is in review, by kind."""
        return sorted(r.kind for r in self.reviews())


LOSSES = ("conflict", "override", "stale", "delete", "archive", "narrowed")
"""Actions of journal lines that say which value lost, and why (I5)."""
