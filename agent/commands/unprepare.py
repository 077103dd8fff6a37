"""`accord unprepare`: removes every trace of Accord from each system, the links between records last."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

import click

from adapters.ports import System
from agent import console, session
from agent.console import Output, number
from config.errors import DONE, ConfigError, Problem, Taken
from config.model import Config
from state.lock import StateLock, holder


@click.command()
@console.common
@click.option("--print", "show", is_flag=True, help="Print the SQL, change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(out: Output, show: bool, yes: bool) -> int:
    """Remove every trace of Accord from each system, after saying how many links between records go with it."""
    config = session.open_config(out)
    with session.open_systems(config) as systems:
        told: dict[str, Any] = {}
        out.data["systems"] = told
        counts = {name: system.link_count() for name, system in systems.items()}
        for name, count in counts.items():
            told[name] = {"links": count}
            if not show:
                out.say(f"{name}: {number(count, 'link')} between records will be removed.")
        if show:
            for name, system in systems.items():
                told[name]["sql"] = system.unprepare_sql()
                console.script(out, name, told[name]["sql"])
            return DONE
        _must_not_run(config)
        _agreed(out, yes, sum(counts.values()))
        with StateLock(config.agent.state, config.agent.name) if config.agent.state.exists() else nullcontext():
            _remove(out, config, systems)
    return DONE


def _agreed(out: Output, yes: bool, links: int) -> None:
    if yes:
        return
    if out.json or not sys.stdin.isatty():
        raise ConfigError(Problem("not-agreed", "nothing was removed.", "Say --yes, or answer at a terminal."))
    question = f"Remove Accord's tables and triggers, and {number(links, 'link')} with them?"
    if not click.confirm(question, default=False, err=True):
        raise ConfigError(Problem("not-agreed", "nothing was removed."))


def _remove(out: Output, config: Config, systems: dict[str, System]) -> None:
    for name, system in systems.items():
        _forget(config, name)
        system.unprepare()
        out.data["systems"][name]["removed"] = True
        out.say(f"{name}: removed.")
    if config.agent.state.exists():
        out.say(f"{config.agent.state} stays: it remembers what was agreed. Remove it if you do not come back.")


def _forget(config: Config, system: str) -> None:
    """The state knows that it was we who removed them: what is made again later was not restored from a backup, but
    changes will have been missed. Said first: a state that knows too early only has its rows compared once more."""
    if config.agent.state.exists():
        with session.open_state(config) as state:
            state.put(f"unprepared:{system}", "1")
            state.put(f"origin:{system}", None)
            state.put(f"landed:{system}", None)


def _must_not_run(config: Config) -> None:
    """An agent that runs would find its fence gone in the middle of its work."""
    agent = holder(config.agent.state)
    if agent is not None:
        message = f'the agent "{agent[1]}" runs (process {agent[0]}).'
        raise Taken(Problem("state-taken", message, f"Stop it first (kill {agent[0]}), then repeat."))
