"""`accord restored`: a system that was restored from a backup, or moved, takes part again when a person has said so."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from agent import console, session
from agent.commands import plan as planning
from agent.commands import run as running
from agent.console import Meter, Output, number
from agent.planning import Planner
from agent.restoring import Restoring
from agent.service import Stop
from config.errors import LOOK, ConfigError, Problem, Taken
from config.model import Config
from state.lock import StateLock, holder
from state.store import Store


@click.command()
@console.common
@click.argument("system")
@click.option("--moved", is_flag=True, help="It did not go back: what differs there was edited by people.")
@click.option("--yes", is_flag=True, help="Do it; else it is only shown.")
def command(out: Output, system: str, moved: bool, yes: bool) -> int:
    """Write the agreed values into a SYSTEM that was restored from a backup; without --yes, show what would be done."""
    config = session.open_config(out)
    if system not in config.systems:
        raise ConfigError(Problem("no-system", f'there is no system "{system}".', f"There are: {_names(config)}."))
    if not config.agent.state.exists():
        raise ConfigError(Problem("no-state", "there is no state: no agent has run yet.", "Run `accord run`."))
    if yes:
        return _do(out, config, system, moved)
    return _show(out, config, system, moved)


def _names(config: Config) -> str:
    return ", ".join(config.systems)


# --- showing ---------------------------------------------------------------------------------------------------------


def _show(out: Output, config: Config, system: str, moved: bool) -> int:
    with session.open_systems(config) as systems, session.open_state(config, readonly=True) as state:
        bound = session.bound_to(config, systems)
        copy = state.copy()
        engine = session.open_engine(bound, copy)
        _begin(out, engine, copy, system, moved, dry=True)
        planner = AllOfIt(config.agent.name, bound.entities, systems, copy, session.options(config))
        plans = planner.plan()
        planner.close()
        engine.close()
    for found in plans.values():
        planning.tell(out, found)
        out.data.setdefault("entities", {})[found.name] = planning.as_data(found)
    out.say(f"Nothing was written. To do it: accord restored {system}{' --moved' if moved else ''} --yes")
    return LOOK


class AllOfIt(Planner):
    """A plan that lists every row that would be created or deleted."""

    most = 10_000


def _begin(out: Output, engine: Any, state: Store, system: str, moved: bool, dry: bool = False) -> None:
    """Compare what is there with what was agreed, and say what was found."""
    restoring = Restoring(engine, state, system, moved, dry)
    meter = Meter("comparing")
    restoring.run(meter.add)
    meter.close()
    if restoring.is_behind:
        text = f"{system} is back at round {restoring.at}; round {restoring.known} had landed there."
    else:
        text = f"{system} is at round {restoring.at}, where the state left it: nothing that Accord wrote has gone back."
    out.say(text)
    if moved:
        out.say("What differs there is taken for edits.")
    else:
        hint = "" if restoring.is_behind else " If it was only moved, say --moved: then they are edits."
        out.say(f"What differs there is no edit: the agreed values are written over it.{hint}")
    counts = {word: restoring.counts[word] for word in ("update", "create", "delete", "restore")}
    words = {"update": "to be written over", "create": "to be created again", "delete": "to be deleted again"}
    words["restore"] = "to be taken out of the archive"
    for word, count in counts.items():
        if count:
            out.say(f"  {number(count, 'record')} {words[word]}")
    out.data |= {"system": system, "round": restoring.at, "landed": restoring.known, "moved": moved, "records": counts}


# --- doing -----------------------------------------------------------------------------------------------------------


def _do(out: Output, config: Config, system: str, moved: bool) -> int:
    agent = holder(config.agent.state)
    if agent is not None:
        message = f'the agent "{agent[1]}" runs (process {agent[0]}).'
        raise Taken(Problem("state-taken", message, f"Stop it first (kill {agent[0]}), then repeat."))
    lock = StateLock(config.agent.state, config.agent.name)
    with closing(Stop()) as stop, lock, session.open_systems(config) as systems:
        bound = session.bound_to(config, systems)
        with session.open_state(config) as state:
            with closing(session.open_engine(bound, state)) as engine:
                _begin(out, engine, state, system, moved)
            return running.settle(out, bound, state, stop)
