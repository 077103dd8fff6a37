"""From the configuration's file to an engine that runs: the steps that commands share."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from adapters.open import open_system
from adapters.ports import System
from agent.bind import bind, nearest
from agent.console import Output
from agent.engine import Engine, Options
from agent.lookups import attach
from config.errors import ConfigError, Problem
from config.load import load
from config.model import Config
from config.records import Entity
from state.ports import State
from state.store import Store

COLLECT = (200_000, 20, 100)
"""A round makes some 100,000 objects that live as long as it does: looking for garbage among them costs a quarter
of its time."""


@dataclass
class Bound:
    """The configuration and its systems, put together. The systems connect when they are first asked."""

    config: Config
    systems: dict[str, System]
    entities: dict[str, Entity] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)


def open_config(out: Output) -> Config:
    """The configuration that the command line, the environment or the working directory names. ConfigError."""
    return load(out.config)


def only_known(config: Config, only: Iterable[str]) -> None:
    """`--only` names entities that there are; else ConfigError with the nearest."""
    for name in only:
        if name not in config.entities:
            hint = nearest(name, config.entities) or f"There are: {', '.join(config.entities)}."
            raise ConfigError(Problem("no-entity", f'--only: there is no entity "{name}". {hint}'))


@contextmanager
def open_systems(config: Config) -> Iterator[dict[str, System]]:
    """The systems, not connected yet; closed at the end."""
    systems = {name: open_system(system, config.agent.prefix) for name, system in config.systems.items()}
    try:
        yield systems
    finally:
        for system in systems.values():
            system.close()


@contextmanager
def open_bound(config: Config, only: Iterable[str] = ()) -> Iterator[Bound]:
    """Systems and entities, every table and column looked up; the tables take part (`System.bind`).

    `only`: these entities and what they refer to; none = all. Raises ConfigError with all that does not fit, and
    Unreachable.
    """
    wanted = list(only)
    only_known(config, wanted)
    with open_systems(config) as systems:
        bound = bound_to(config, systems, wanted)
        take_part(bound)
        yield bound


def bound_to(config: Config, systems: Mapping[str, System], only: Iterable[str] = ()) -> Bound:
    """Look everything up. Raises ConfigError with all problems, and Unreachable."""
    found = bind(config, systems, list(only) or None)
    if found.problems:
        raise ConfigError(found.problems)
    return Bound(config, dict(systems), found.entities, found.warnings)


def take_part(bound: Bound) -> None:
    """Tell each system its tables: for commands that work without an engine, which does this itself."""
    for name, system in bound.systems.items():
        attach(system, name, bound.entities)


def look_at_state(config: Config) -> None:
    """Is the state's file, where there is one, of a kind that can be used? ConfigError; nothing is written."""
    if config.agent.state.exists():
        with open_state(config, readonly=True):
            pass


@contextmanager
def open_state(config: Config, readonly: bool = False) -> Iterator[Store]:
    """The agent's memory. A writer must hold the `StateLock`. ConfigError: see `Store.open`."""
    with closing(writer(config, readonly)) as state:
        yield state


def writer(config: Config, readonly: bool = False) -> Store:
    """As `open_state`; the caller closes it."""
    fields, refs = layout(config)
    return Store.open(config.agent.state, fields, list(config.systems), refs=refs, readonly=readonly)


@contextmanager
def open_state_if_any(config: Config) -> Iterator[Store]:
    """For those that only read: the agent's memory, or an empty one where no agent has run yet."""
    if config.agent.state.exists():
        with open_state(config, readonly=True) as state:
            yield state
        return
    fields, refs = layout(config)
    with closing(Store.scratch(None, fields, list(config.systems), refs=refs)) as state:
        yield state


def layout(config: Config) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Names of the fields by entity, and of those that are references: what a `Store` needs to know."""
    fields = {name: list(entity.fields) for name, entity in config.entities.items()}
    refs = {name: [f.name for f in entity.fields.values() if f.ref] for name, entity in config.entities.items()}
    return fields, refs


def open_engine(bound: Bound, state: State) -> Engine:
    """The engine, not started; it binds the systems. The caller closes systems and state."""
    gc.set_threshold(*COLLECT)
    return Engine(bound.config.agent.name, bound.entities, bound.systems, state, options=options(bound.config))


def options(config: Config) -> Options:
    """What the configuration says of the engine as a whole."""
    return Options(
        batch=config.agent.batch,
        tolerance=config.agent.tolerance,
        stale_windows={name: system.stale_window for name, system in config.systems.items()},
        rows_per_second=config.sweep.rows_per_second,
        blind=config.sweep.blind,
        max_backlog=config.log.max_backlog,
        sweeps={name: entity.sweep for name, entity in config.entities.items()},
    )
