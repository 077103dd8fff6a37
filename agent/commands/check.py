"""`accord check`: is everything in order for a run? Says all that is not, and what to do; changes nothing."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace

import click

from adapters.ports import System
from agent import console, session
from agent.bind import Binding, bind
from agent.console import Output, number
from agent.lookups import attach
from config.errors import DONE, LOOK, UNREACHABLE, USAGE, AccordError, ConfigError, Problem, Transient
from config.model import Config
from state.lock import holder

SURE = (3, 51, 3)  # SQLite before it may lose a commit when two connections fold the log into the file at once
PATCHED = ((3, 44, 6), (3, 50, 7))  # releases of older lines that have the correction, too
FAR_OFF = 5_000_000  # µs; a clock that is further off than this deserves a word: the offset is allowed for


@click.command()
@console.common
@click.option("--only", multiple=True, metavar="ENTITY", help="Only this entity; may be given again.")
def command(out: Output, only: tuple[str, ...]) -> int:
    """Check configuration, connections, tables, privileges and what is prepared; says what to do."""
    config = session.open_config(out)
    session.only_known(config, only)
    files = sorted({source.name for source in config.sources.values()})
    out.say(f"{config.source.name}: {number(len(config.entities), 'entity', 'entities')} in {', '.join(files)}.")
    with session.open_systems(config) as systems:
        found = Checked(config, systems)
        found.run()
    found.keep(only)
    _tell(out, found, only)
    out.problems += [*found.wrong, *found.unreachable, *found.todo]
    return USAGE if found.wrong else UNREACHABLE if found.unreachable else LOOK if found.todo else DONE


class Checked:
    """All that was found, by what it means for the exit code."""

    def __init__(self, config: Config, systems: dict[str, System]) -> None:
        self.config, self.systems = config, systems
        self.wrong: list[Problem] = []  # the configuration does not fit
        self.unreachable: list[Problem] = []
        self.todo: list[Problem] = []  # something is to be done in a system, or here
        self.notes: list[Problem] = []  # worth knowing
        self.words: dict[str, list[str]] = {}  # system -> what there is to say of it
        self.next = ""

    def run(self) -> None:
        self._state()
        self._packages()
        up = [name for name, system in self.systems.items() if self._reached(name, system)]
        binding = bind(reduced(self.config, up), self.systems)
        self.wrong += binding.problems
        self.notes += binding.warnings
        for name in up:
            try:
                self._system(name, self.systems[name], binding)
            except AccordError as error:
                self._raised(error)

    def keep(self, only: tuple[str, ...]) -> None:
        """Only what concerns these entities, or all of them."""
        if only:
            for problems in (self.wrong, self.todo, self.notes):
                problems[:] = [p for p in problems if p.entity is None or p.entity in only]

    # --- here ---------------------------------------------------------------------------------------------------------

    def _state(self) -> None:
        path = self.config.agent.state
        try:
            session.look_at_state(self.config)
        except ConfigError as error:
            self.wrong += error.problems
            return
        folder = path.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            what = "cannot be written by this account" if folder.is_dir() else "is not there"
            hint = f"Make {folder} a folder that this account may write, or name another file as `state`."
            at = ("agent", "state")
            self.wrong.append(self.config.problem(at, "state-folder", f"the folder {folder} {what}.", hint))

    def _packages(self) -> None:
        dialects = {system.dialect for system in self.config.systems.values()}
        if "postgresql" in dialects:
            from psycopg import pq

            if pq.__impl__ == "python":
                message = "psycopg runs without its compiled part: reading is some ten times slower."
                self.notes.append(Problem("slow-driver", message, "Install psycopg[binary]."))
        if not _sure(sqlite3.sqlite_version_info):
            message = (
                f"SQLite {sqlite3.sqlite_version} may, very rarely, lose a change when two processes use one file."
            )
            hint = "Use a Python with SQLite 3.51.3 or newer when you can."
            self.notes.append(Problem("sqlite-version", message, hint))

    # --- in the systems -----------------------------------------------------------------------------------------------

    def _reached(self, name: str, system: System) -> bool:
        try:
            system.tables(None)
            offset = system.clock()
        except AccordError as error:
            self._raised(error)
            return False
        self.words[name] = ["reached"]
        if abs(offset) >= 1000:
            side = "ahead" if offset > 0 else "behind"
            self.words[name].append(f"its clock is {abs(offset) / 1000:,.0f} ms {side}")
        if abs(offset) > FAR_OFF:
            message = (
                f"its clock is {abs(offset) / 1e6:,.1f} s {'ahead of' if offset > 0 else 'behind'} this machine's."
            )
            hint = "The agent allows for it; but set the clocks, for the people who read the times."
            self.notes.append(Problem("clock", message, hint, system=name))
        return True

    def _raised(self, error: AccordError) -> None:
        where = self.unreachable if isinstance(error, Transient) else self.todo
        (self.wrong if isinstance(error, ConfigError) else where).extend(error.problems)

    def _system(self, name: str, system: System, binding: Binding) -> None:
        attach(system, name, binding.entities)
        wrong = system.check()
        self.todo += wrong
        if not wrong:
            self.notes += system.notes()
        self._fence(name, system)
        # Triggers are made for all tables together: what is there can be judged only when all are known.
        if binding.problems or self.unreachable:
            return
        missing = system.prepared()
        if not missing:
            self.words[name].append("prepared")
        elif any(p.code == "not-prepared" for p in missing):
            self.words[name].append("not prepared yet")
            self.next = "Next: `accord prepare` (`accord prepare --print` shows the SQL)."
        else:
            self.words[name].append("to be prepared again")
            self.todo += missing

    def _fence(self, name: str, system: System) -> None:
        fence = system.fence()
        if fence is not None and fence.agent != self.config.agent.name:
            message = (
                f'the agent "{fence.agent}" keeps this database, and this one is called "{self.config.agent.name}".'
            )
            hint = "Give this agent that name, or another `prefix`; or remove the other one by its `accord unprepare`."
            self.todo.append(Problem("other-agent", message, hint, system=name))


def reduced(config: Config, up: list[str]) -> Config:
    """The configuration as far as it concerns systems that answer: what is wrong there is found all the same."""
    if len(up) == len(config.systems):
        return config
    entities = {}
    for name, entity in config.entities.items():
        tables = {s: t for s, t in entity.systems.items() if s in up}
        fields = {}
        for field, spec in entity.fields.items():
            places = {s: c for s, c in spec.places.items() if s in up}
            if places and (spec.ref is None or any(s in up for s in config.entities[spec.ref].systems)):
                fields[field] = spec.model_copy(update={"places": places})
        if tables:
            entities[name] = entity.model_copy(update={"systems": tables, "fields": fields, "match": ()})
    return replace(config, entities=entities)


def _sure(version: tuple[int, ...]) -> bool:
    return version >= SURE or any(version[:2] == line[:2] and version >= line for line in PATCHED)


# --- telling ---------------------------------------------------------------------------------------------------------


def _tell(out: Output, found: Checked, only: tuple[str, ...]) -> None:
    config = found.config
    out.data["systems"] = {name: {"reached": name in found.words} for name in config.systems}
    for name, system in config.systems.items():
        words = "; ".join(found.words.get(name, ["not reached"]))
        out.data["systems"][name]["said"] = words
        out.say(f"{name} ({system.dialect}): {words}.")
    if agent := holder(config.agent.state):
        out.say(f'The agent "{agent[1]}" runs (process {agent[0]}).')
    out.data["notes"] = [str(note) for note in found.notes]
    for note in found.notes:
        out.say(f"Note: {note}")
    if not (found.wrong or found.unreachable or found.todo):
        out.say(f"Everything{' looked at' if only else ''} is in order. {found.next}".rstrip())
