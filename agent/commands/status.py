"""`accord status`: how things stand, from what the agent remembers; no system is asked."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from adapters.origin import WAITED_FOR
from agent import complete, console, contact, service, session, sweeping
from agent.complete import Seen, Told
from agent.console import Output, moment, number, span
from agent.engine import now
from config.errors import DONE, LOOK, Transient
from config.model import Config
from state.lock import holder
from state.ports import Pending
from state.reports import Status

ANSWER = 2.0  # seconds that a running agent has to say how it stands; it may be in the middle of a round
OLD = 60_000_000  # µs: what is said to be known is worth a word about when it was
PHASES = {
    contact.HELD: "first contact held: `accord plan`, then `accord plan --accept`",
    contact.INDEX: "first contact: reading all rows",
    contact.LINK: "first contact: linking row by row",
    contact.LIVE: "kept in agreement",
}


@click.command()
@console.common
@click.option("--only", multiple=True, metavar="ENTITY", help="Only this entity; may be given again.")
def command(out: Output, only: tuple[str, ...]) -> int:
    """Say how things stand: is the agent running, what waits, what is left to a person."""
    config = session.open_config(out)
    session.only_known(config, only)
    agent, seen = _agent(config)
    with session.open_state_if_any(config) as state:
        status, pending = state.status(), state.pending()
    if not agent["running"]:  # nobody tries anything
        status.next, pending = None, [p._replace(due=0) for p in pending]
    if seen is None:
        seen = complete.stored(status.meta)
    names = list(only) or list(config.entities)
    entities = {name: _entity(config, status, pending, name, agent["running"], seen) for name in names}
    out.data |= {"agent": agent, "state": str(config.agent.state), **_whole(status), "entities": entities}
    _tell(out, config)
    return _exit(agent, entities)


def _agent(config: Config) -> tuple[dict[str, Any], Told | None]:
    """Does it run, and what does it say of systems that are down, and of what it has seen? (None: nothing.)"""
    held_by = holder(config.agent.state)
    if held_by is None:
        return {"running": False}, None
    known = {"running": True, "pid": held_by[0], "name": held_by[1]}
    try:
        answer = service.request(config.agent.state, {"do": "status"}, ANSWER)
    except Transient:
        return known | {"busy": True}, None  # in the middle of a long round
    told = answer or {}
    down = {system: _absent(d) for system, d in told.get("down", {}).items()}
    halted = {system: _absent(d) | {"hint": d["hint"]} for system, d in told.get("halted", {}).items()}
    seen = {e: {s: Seen(*found) for s, found in places.items()} for e, places in (told.get("complete") or {}).items()}
    starting = told.get("starting", False)
    state = {"busy": answer is None, "starting": starting, "down": down, "halted": halted}
    return known | state, None if told.get("complete") is None else seen


def _absent(told: dict[str, Any]) -> dict[str, Any]:
    return {"since": moment(told["since"]), "next": moment(told["due"]), "message": told["message"]}


def _whole(status: Status) -> dict[str, Any]:
    return {
        "round": status.round,
        "at": moment(status.at),
        "looks": status.looks,
        "next": moment(status.next),
        "positions": list(status.positions),
        "unsettled": status.unsettled,
    }


def _entity(
    config: Config, status: Status, pending: list[Pending], name: str, running: bool, seen: Told
) -> dict[str, Any]:
    start = contact.INDEX if config.entities[name].first_contact == "auto" else contact.HELD
    systems = config.entities[name].systems
    absent = {f"{s} {how}": n for (e, s, how), n in status.absent.items() if e == name}
    return {
        "phase": status.meta.get(f"phase:{name}", start),
        "records": status.records.get(name, 0),
        "links": {s: status.links.get((name, s), 0) for s in systems},
        "unlinked": {s: status.unlinked.get((name, s), 0) for s in systems},
        "absent": absent,
        "pending": _pending([p for p in pending if p.entity == name]),
        "reviews": {kind: n for (e, kind), n in status.reviews.items() if e == name},
        "blind": {s: found for s in systems if (found := _blind(status, name, s))},
        "complete": {s: _complete(found) for s, found in seen.get(name, {}).items() if s in systems},
        "sweeps": {s: _sweep(status, name, s, config.entities[name].sweep, running) for s in systems},
    }


def _complete(seen: Seen) -> dict[str, Any]:
    at, as_of = moment(seen.at), moment(seen.as_of)
    return {"at": at, "as_of": as_of, "held_by": seen.held_by or None, "assumed": seen.assumed or None}


def _blind(status: Status, entity: str, system: str) -> dict[str, Any] | None:
    """Why changes there are not captured, and since when."""
    found = json.loads(status.meta.get(f"blind:{system}", "{}")).get(entity)
    return None if found is None else {"since": moment(int(found[0])), "why": found[1]}


def _sweep(status: Status, entity: str, system: str, schedule: str, running: bool) -> dict[str, Any]:
    found = sweeping.told(status.meta, entity, system, schedule, now())
    if not running:
        found["next"] = None
    for place, key in ((found, "next"), (found["running"], "begun"), (found["last"], "at")):
        if place is not None:
            place[key] = moment(place[key])
    return found


def _pending(pending: list[Pending]) -> list[dict[str, Any]]:
    """By system and reason."""
    groups: dict[tuple[str, str], list[Pending]] = {}
    for p in pending:
        groups.setdefault((p.system, p.reason), []).append(p)
    return [
        {
            "system": system,
            "reason": reason,
            "records": len(group),
            "oldest": moment(min(p.since for p in group)),
            "next": moment(min(p.due for p in group) or None),
            "message": min(group, key=lambda p: p.since).message,
        }
        for (system, reason), group in groups.items()
    ]


def _exit(agent: dict[str, Any], entities: dict[str, dict[str, Any]]) -> int:
    waits = any(e["reviews"] or e["blind"] or e["phase"] == contact.HELD for e in entities.values())
    return LOOK if waits or agent.get("down") or agent.get("halted") else DONE


# --- for people ------------------------------------------------------------------------------------------------------


def _tell(out: Output, config: Config) -> None:
    data, agent = out.data, out.data["agent"]
    if agent["running"]:
        busy = ", in the middle of a round" if agent.get("busy") else ""
        out.say(f'The agent "{agent["name"]}" runs (process {agent["pid"]}{busy}).')
        if agent.get("starting"):
            out.say(
                f"It waits for {', '.join(agent['down'])} before it can begin; nothing is read or written meanwhile."
            )
    else:
        missing = "" if Path(data["state"]).exists() else ", a file that does not exist yet"
        out.say(f"No agent runs on {data['state']}{missing}.")
    if data["at"] is None:
        out.say("There was no round yet.")
    else:
        ago = span((now() - int(data["at"].timestamp() * 1_000_000)) / 1e6)
        out.say(f"The last round that did something was number {data['round']}, {ago} ago.")
    for system, down in agent.get("down", {}).items():
        out.say(f"{system} does not answer since {down['since']:%H:%M:%S} UTC: {down['message']}")
    for system, halted in agent.get("halted", {}).items():
        when = f"since {halted['since']:%Y-%m-%d %H:%M:%S}, looked at again {halted['next']:%H:%M:%S} UTC"
        hint = f" What to do: {halted['hint'].rstrip('.')}." if halted["hint"] else ""
        out.say(f"{system} is halted {when}: {halted['message']}{hint} The others go on; what is wanted there waits.")
    for system, round in data["unsettled"].items():
        out.say(f"{system}: whether round {round} landed is looked up when it answers.")
    for name, entity in data["entities"].items():
        _tell_entity(out, config, name, entity)


def _tell_entity(out: Output, config: Config, name: str, entity: dict[str, Any]) -> None:
    out.say()
    out.say(f"{name}: {PHASES[entity['phase']]}")
    links = ", ".join(f"{n:,} in {s}" for s, n in entity["links"].items())
    out.say(f"  {number(entity['records'], 'record')}: {links}")
    for system, count in entity["unlinked"].items():
        if count:
            out.say(f"  {number(count, 'row')} in {system} {'belongs' if count == 1 else 'belong'} to no record yet")
    for how, count in entity["absent"].items():
        out.say(f"  {number(count, 'record')}: {how}")
    for p in entity["pending"]:
        when = f"since {p['oldest']:%Y-%m-%d %H:%M:%S} UTC, {_next_try(p['next'])}"
        out.say(f"  waits for {p['system']} ({p['reason']}): {number(p['records'], 'record')}, {when}: {p['message']}")
    for system, blind in entity["blind"].items():
        since = f"since {blind['since']:%Y-%m-%d %H:%M:%S} UTC"
        todo = "" if blind["why"].endswith(WAITED_FOR) else " What to do: run `accord prepare`."
        out.say(f"  changes in {system} are not captured {since}: {blind['why']}.{todo}")
    running = out.data["agent"]["running"]
    for system, seen in entity["complete"].items():
        _tell_complete(out, system, seen, span(config.systems[system].overlap / 1e6), running)
    for system, sweep in entity["sweeps"].items():
        _tell_sweep(out, system, sweep, running)
    for kind, count in entity["reviews"].items():
        out.say(f"  in review, {kind}: {number(count, 'question')} (`accord review --only {name}`)")


def _next_try(at: datetime | None) -> str:
    if at is None:
        return "tried again when an agent runs"
    return "next try now" if at.timestamp() * 1e6 <= now() else f"next try {at:%H:%M:%S} UTC"


def _tell_complete(out: Output, system: str, seen: dict[str, Any], overlap: str, running: bool) -> None:
    """`complete in crm up to …, held back by session 4711 of shop, open for 42 s`."""
    text = (
        f"complete in {system} up to {seen['at']:%Y-%m-%d %H:%M:%S} UTC" if seen["at"] else f"not complete in {system}"
    )
    if seen["assumed"]:
        text += f", unless a change came more than {overlap} late"
    if seen["held_by"]:
        text += f", held back by {seen['held_by']}"
    as_of = seen["as_of"]
    if not running or now() - as_of.timestamp() * 1e6 > OLD:
        text += f" (as of {as_of:%Y-%m-%d %H:%M:%S} UTC)"
    out.say(f"  {text}" + (f": {seen['assumed']}" if seen["assumed"] else ""))


def _tell_sweep(out: Output, system: str, sweep: dict[str, Any], agent_runs: bool) -> None:
    running, last = sweep["running"], sweep["last"]
    if running is not None and running["begun"] is None:
        out.say(f"  sweep of {system} waits to begin: {running['reason']}")
    elif running is not None:
        done = f"{running['rows']:,} of about {running['total']:,} rows"
        how = f"runs: {done}, {running['per_second']:,} a second" if agent_runs else f"goes on with the agent: {done}"
        out.say(f"  sweep of {system} {how}: {running['reason']}")
    elif last is not None:
        found = f", {last['found']:,} had changed unseen" if last["found"] else ""
        following = f"; next {sweep['next']:%Y-%m-%d %H:%M} UTC" if sweep["next"] else ""
        out.say(
            f"  last sweep of {system}: {last['at']:%Y-%m-%d %H:%M:%S} UTC, {last['rows']:,} rows{found}{following}"
        )
