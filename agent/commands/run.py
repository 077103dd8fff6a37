"""`accord run`: keeps the systems in agreement, until it is asked to stop or, with --once, until all is settled."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

import click

from adapters.ports import System, Waker
from agent import __version__, commands, console, contact, session
from agent.console import Output, number
from agent.engine import now
from agent.requests import Listener
from agent.round import Report
from agent.service import Service, Stop, counted, held_sentence
from agent.session import Bound
from agent.starting import Starting
from config.errors import DONE, LOOK, UNREACHABLE, Halt, Problem
from config.model import Config
from state.lock import StateLock
from state.store import Store


@click.command()
@console.common
@click.option("--once", is_flag=True, help="Settle what is there now, then end.")
def command(out: Output, once: bool) -> int:
    """Keep the systems in agreement (one agent; SIGTERM or Ctrl-C ends it after the round that is under way)."""
    out.stream = True
    config = session.open_config(out)
    _load_handlers()
    with closing(Stop()) as stop, StateLock(config.agent.state, config.agent.name):
        session.look_at_state(config)
        with closing(Listener(config.agent.state)) as listener, session.open_systems(config) as systems:
            bound = _bind(out, config, systems, listener, stop, once)
            if bound is None:
                return DONE
            with session.open_state(config) as state:
                return _run(out, bound, state, listener, stop, once)


def _load_handlers() -> None:
    """Each command's module registers what the running agent answers for it."""
    from agent.cli import names

    for name in names():
        importlib.import_module(f"{commands.__name__}.{name}")


def _log(out: Output, text: str) -> None:
    out.note(f"{datetime.now(UTC):%H:%M:%S} {text}")


# --- before the first round ------------------------------------------------------------------------------------------


def _bind(
    out: Output, config: Config, systems: Mapping[str, System], listener: Listener, stop: Stop, once: bool
) -> Bound | None:
    """Waits for systems that are down, and says so; with --once the error is raised. None: asked to stop meanwhile."""

    def bind() -> Bound:
        return session.bound_to(config, systems)

    with closing(Starting(config, listener, stop, lambda text: _log(out, text))) as starting:
        bound = bind() if once else starting.until_it_answers(bind)
        if bound is None:
            return None
        for warning in bound.warnings:
            out.note(str(warning))
        session.take_part(bound)
        prepared = partial(_must_be_prepared, bound)
        return prepared() if once else starting.until_it_answers(prepared)


def _must_be_prepared(bound: Bound) -> Bound:
    """Triggers that are gone from a system that has run stop nobody: the engine says so, and sweeps their tables."""
    missing: list[Problem] = []
    with session.open_state_if_any(bound.config) as state:
        known = [name for name in bound.systems if state.get(f"origin:{name}")]
    for name, system in bound.systems.items():
        found = [p for p in system.prepared() if p.code != "no-trigger" or name not in known]
        if found:
            more = f", and {number(len(found) - 1, 'other thing')}" if len(found) > 1 else ""
            message = f"{found[0].message.rstrip('.')}{more}."
            hint = "Run `accord prepare` (or give `accord prepare --print` to whoever administers the database)."
            missing.append(Problem(found[0].code, message, hint, system=name))
    if missing:
        raise Halt(missing)
    return bound


# --- the rounds ------------------------------------------------------------------------------------------------------


def _run(out: Output, bound: Bound, state: Store, listener: Listener, stop: Stop, once: bool, said: Any = None) -> int:
    engine = session.open_engine(bound, state)
    config = bound.config
    try:
        poll = min(system.poll for system in config.systems.values())
        service = Service(engine, listener, stop, lambda text: _log(out, text), said or _said(out), poll)
        _hello(out, config, bound)
        if once:
            service.once()
            return _settled(out, service, state)
        with _wakers(bound.systems) as service.wakers:
            service.forever()
        _log(out, "stopped.")
        return DONE
    finally:
        engine.close()


def settle(out: Output, bound: Bound, state: Store, stop: Stop) -> int:
    """As `run --once`, for commands that have prepared the state for it and hold its lock."""
    _load_handlers()
    with closing(Listener(bound.config.agent.state)) as listener:
        return _run(out, bound, state, listener, stop, once=True, said=lambda report: None)


@contextmanager
def _wakers(systems: Mapping[str, System]) -> Iterator[dict[str, Waker]]:
    """What ends the service's waiting, by system; closed at the end."""
    made = {name: waker for name, system in systems.items() if (waker := system.waker()) is not None}
    try:
        yield made
    finally:
        for waker in made.values():
            waker.close()


def _hello(out: Output, config: Config, bound: Bound) -> None:
    parts = f"{', '.join(bound.systems)}; {', '.join(bound.entities)}; state {config.agent.state}"
    _log(out, f'accord {__version__} runs as "{config.agent.name}": {parts}; times are UTC.')


def _said(out: Output) -> Any:
    def said(report: Report) -> None:
        if out.json:
            out.line({**asdict(report), "at": console.moment(now())})

    return said


def _settled(out: Output, service: Service, state: Store) -> int:
    """The report of `--once`, and its exit code."""
    engine, totals = service.engine, service.totals
    out.say(f"{number(totals.rounds, 'round')} in {console.span((engine.clock() - service.begun) / 1e6)}.")
    width = max(len(name) for name in engine.systems)
    for system in engine.systems:
        out.say(f"  {system:{width}}  {counted(totals.written.get(system, {})) or 'nothing to write'}")
    status = state.status()
    records = number(sum(status.records.values()), "record")
    out.say(f"{records} known; {totals.linked:,} linked and {number(totals.conflicts, 'conflict')} decided now.")
    held = [name for name, phase in engine.phases.items() if phase == contact.HELD]
    reviews, pending = sum(status.reviews.values()), max(sum(status.pending.values()), status.looks)
    if held:
        out.say(held_sentence(held))
    if reviews:
        out.say(f"{number(reviews, 'question')} for a person: `accord review`.")
    if pending:
        out.say(f"{number(pending, 'record')} could not be settled yet: `accord status`.")
    out.data["settled"] = {
        "rounds": totals.rounds,
        "written": totals.written,
        "linked": totals.linked,
        "conflicts": totals.conflicts,
        "held": held,
        "reviews": reviews,
        "pending": pending,
    }
    out.problems += [engine.down_problem(system) for system in engine.down]
    halted = any(engine.is_halted(system) for system in engine.down)
    return UNREACHABLE if engine.down and not halted else LOOK if halted or held or reviews or pending else DONE
