"""`accord plan`: what a run would do; and the acceptance of a first contact."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from agent import console, contact, requests, session
from agent.console import Meter, Output, number
from agent.planning import WRITES, EntityPlan, Planner
from config.errors import DONE, LOOK
from state.lock import StateLock

MOST_REASONS = 4  # why records are not created: so many are told apart
LOSSES = {"conflict": "conflicts", "override": "overrides", "stale": "stale saves"}


@click.command()
@console.common
@click.option("--only", multiple=True, metavar="ENTITY", help="Only this entity and what it refers to.")
@click.option("--accept", is_flag=True, help="Accept the first contact of these entities: `accord run` may go on.")
def command(out: Output, only: tuple[str, ...], accept: bool) -> int:
    """Show what a run would link, create, update and delete; nothing is written anywhere."""
    config = session.open_config(out)
    session.only_known(config, only)
    with session.open_systems(config) as systems, session.open_state_if_any(config) as state:
        bound = session.bound_to(config, systems, only)
        planner = Planner(config.agent.name, bound.entities, systems, state.copy(), session.options(config))
        meter = Meter("planning")
        looked = 0

        def progress(entity: str, now: int) -> None:
            nonlocal looked
            meter.add(now - looked)
            looked = now

        plans = planner.plan(progress)
        meter.close()
        planner.close()
    chosen = [plans[n] for n in plans if not only or n in only]
    for plan in chosen:
        tell(out, plan)
        out.data.setdefault("entities", {})[plan.name] = as_data(plan)
    if accept:
        return _accept(out, config, [p.name for p in chosen if p.phase == contact.HELD])
    held = [p.name for p in chosen if p.phase == contact.HELD]
    if held:
        out.say(f"First contact of {', '.join(held)} is held. When this is what you want: accord plan --accept")
    if any(p.changes for p in chosen):
        return LOOK
    if not held:
        out.say("Nothing would change.")
    return LOOK if held else DONE


def _accept(out: Output, config: Any, held: list[str]) -> int:
    """Write the acceptance, by the agent if it runs, and nothing else."""
    if held:
        state = config.agent.state
        if requests.ask(state, {"do": "accept", "entities": held}) is None:
            with StateLock(state, config.agent.name), session.open_state(config) as store:
                for name in held:
                    contact.accept(store, name)
    out.data["accepted"] = held
    names = ", ".join(held) or "nothing: no first contact is held"
    out.say(f"Accepted: {names}. Nothing else was written; `accord run` goes on from here.")
    return DONE


# --- telling ---------------------------------------------------------------------------------------------------------


def tell(out: Output, plan: EntityPlan) -> None:
    """One entity for people."""
    rows = ", ".join(f"{s} has {number(n, 'row')}" for s, n in plan.rows.items())
    first = "" if plan.phase == contact.LIVE else "first contact; "
    out.say(f"{plan.name}: {first}{rows}")
    if plan.links:
        rules = " · ".join(f"{rule} {count:,}" for rule, count in plan.links.most_common())
        _row(out, "link", sum(plan.links.values()), rules)
        _samples(out, plan, "link")
    for action in WRITES:
        for system, count in sorted(plan.writes.get(action, {}).items()):
            fields = ""
            if action == "update":
                parts = [f"{f} {c:,}" for (s, f), c in plan.fields.most_common() if s == system]
                fields = ": " + " · ".join(parts)
            _row(out, action, count, f"in {system}{fields}")
        _samples(out, plan, action)
    for action, words in LOSSES.items():
        if plan.samples.get(action):
            _row(out, words, plan.lost[action], "decided by rule; the losing values go to the journal")
            _samples(out, plan, action)
    for system in plan.rows:
        reasons = Counter(why for (_, s), why in plan.withheld.items() if s == system)
        if reasons:
            said = " · ".join(f"{why} {count:,}" for why, count in reasons.most_common(MOST_REASONS))
            _row(out, "withhold", sum(reasons.values()), f"not created in {system} by their condition: {said}")
    if plan.reviews:
        kinds = " · ".join(f"{kind} {count:,}" for kind, count in plan.reviews.most_common())
        _row(out, "review", sum(plan.reviews.values()), f"{kinds}; a person decides, nothing is written for them")
        _samples(out, plan, "review")
    if not (plan.changes or plan.reviews):
        out.say("  nothing would change")
    out.say()


def _row(out: Output, verb: str, count: int, text: str) -> None:
    out.say(f"  {verb:<11}{count:>9,}  {text}")


def _samples(out: Output, plan: EntityPlan, action: str) -> None:
    for sample in plan.samples.get(action, ()):
        note = f"  ({sample.note})" if sample.note and action not in ("link", "review") else ""
        out.say(f"  {'':<20}  e.g. {sample.record}  {sample.text}{note}".rstrip())


def as_data(plan: EntityPlan) -> dict[str, Any]:
    """One entity for programs."""
    return {
        "first_contact": plan.phase,
        "rows": plan.rows,
        "link": dict(plan.links),
        **{action: dict(plan.writes.get(action, {})) for action in WRITES},
        "fields": [{"system": s, "field": f, "count": c} for (s, f), c in plan.fields.most_common()],
        "lost": dict(plan.lost),
        "review": dict(plan.reviews),
        "withheld": dict(Counter(system for _, system in plan.withheld)),
        "samples": {a: [s._asdict() for s in samples] for a, samples in plan.samples.items() if samples},
    }
