"""`accord prepare`: makes what Accord needs in each system, or prints the SQL for whoever administers it."""

from __future__ import annotations

from typing import Any

import click

from agent import console, session
from agent.console import Output
from config.errors import DONE


@click.command()
@console.common
@click.option("--print", "show", is_flag=True, help="Print the SQL, change nothing.")
def command(out: Output, show: bool) -> int:
    """Make what Accord needs in each system: its tables, and triggers that note changes. May be repeated."""
    config = session.open_config(out)
    with session.open_bound(config) as bound:
        told: dict[str, Any] = {}
        out.data["systems"] = told
        for name, system in bound.systems.items():
            if show:
                told[name] = {"sql": system.prepare_sql()}
                console.script(out, name, told[name]["sql"])
                continue
            before = system.prepared()
            system.prepare()
            told[name] = {"changed": bool(before)}
            out.say(f"{name}: {'prepared' if before else 'was prepared already'}.")
    return DONE
