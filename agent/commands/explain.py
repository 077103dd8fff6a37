"""`accord explain`: one record, field by field: what is agreed, why, and what each system holds now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from agent import address, console, explaining, session
from agent.bind import nearest
from agent.console import Output, clock, moment, number
from agent.engine import now
from agent.explaining import Cell, Explained, Explainer
from agent.grid import grid
from agent.values import json_value, show
from config.errors import DONE, LOOK, ConfigError, Problem
from config.model import Config
from config.records import Stamp
from state.lock import holder
from state.ports import Pending


@click.command()
@console.common
@click.argument("entity")
@click.argument("record", metavar="SYSTEM:KEY|GID")
def command(out: Output, entity: str, record: str) -> int:
    """Explain one record: each field's agreed value, where it came from, what each system holds, what waits."""
    config = session.open_config(out)
    if entity not in config.entities:
        hint = nearest(entity, config.entities) or f"There are: {', '.join(config.entities)}."
        raise ConfigError(Problem("no-entity", f'there is no entity "{entity}".', hint))
    with session.open_systems(config) as systems, session.open_state_if_any(config) as state:
        explainer = Explainer(config, entity, systems, state)
        asked = address.parse(record, entity, _widths(config, entity, explainer))
        told = explainer.explain(asked)
        running = holder(config.agent.state) is not None
        Teller(out, explainer, running).tell(told)
        out.data |= as_data(told, explainer, running)
    return DONE if told.settled else LOOK


def _widths(config: Config, entity: str, explainer: Explainer) -> dict[str, int]:
    """Key columns by system; of one that does not answer, as far as the configuration says."""
    out = {}
    for system, table in config.entities[entity].systems.items():
        if explainer.entity is not None and system in explainer.entity.tables:
            out[system] = len(explainer.entity.tables[system].key)
        else:
            out[system] = max(len(table.key or config.systems[system].defaults.key or ()), 1)
    return out


class Teller:
    """For people."""

    def __init__(self, out: Output, explainer: Explainer, running: bool) -> None:
        self.out, self.explainer, self.running = out, explainer, running

    def tell(self, told: Explained) -> None:
        say = self.out.say
        say(self.header(told))
        for line in self.table(told):
            say(line)
        for system, message in told.down.items():
            seen = f"; shown as last seen {clock(told.seen[system])} UTC" if system in told.seen else ""
            say(f"{system} does not answer{seen}: {message}")
        for note in told.notes:
            say(note)
        for text in self.waiting(told):
            say(text)
        for item in told.reviews:
            say(f"in review: {item.id}, {item.kind}. {item.message} What to do: {item.hint}")
        if not self.running and told.unfinished:
            say("No agent runs: what waits, and what was not seen yet, is done by `accord run`.")

    def header(self, told: Explained) -> str:
        if told.record is None:
            return f"{told.entity} {told.name}: not linked"
        differ, waits = number(told.differ, "field differs", "fields differ"), "waits" if told.waits == 1 else "wait"
        state = "the same everywhere" if told.settled else f"{differ}, {told.waits} {waits}"
        return f"{told.entity} {told.name}   (gid {told.record.gid})   {state}"

    def table(self, told: Explained) -> list[str]:
        if told.record is None:
            rows = [[f.name, *(self.value(f.name, cell) for cell in f.cells.values())] for f in told.fields]
            places = list(told.fields[0].cells) if told.fields else []
            head = [["field", *places]] if len(places) > 1 else []
            return grid([*head, *rows], flexible=range(1, len(places) + 1))
        systems = list(self.explainer.config.systems)
        rows = [["field", "agreed", "from", "changed (UTC)", "rule", *systems]]
        for f in told.fields:
            rule = "; ".join([f.rule, *self.explainer.losses(f)] if f.rule else self.explainer.losses(f))
            agreed = show(self.explainer.plain(f.name, f.agreed)) if f.origin else ""
            changed = clock(f.changed) if f.changed > 0 else ""
            rows.append([f.name, agreed, f.origin, changed, rule, *(self.cell(f.name, f.cells[s]) for s in systems)])
        return grid(rows, flexible=(1, 4, *range(5, 5 + len(systems))))

    def cell(self, name: str, cell: Cell) -> str:
        """`same`, or the system's own value and what there is to say of it."""
        if cell.state == explaining.SAME:
            return "same"
        value = self.value(name, cell)
        if cell.state == explaining.WAITS:
            return f"waits ({value})"
        if cell.state in explaining.QUIET:
            return {explaining.NOWHERE: "·"}.get(cell.state, cell.state)
        return f"{value} ({cell.state})"

    def value(self, name: str, cell: Cell) -> str:
        return show(self.explainer.plain(name, cell.value))

    def waiting(self, told: Explained) -> list[str]:
        """What is to be written, since when, and when it is tried next."""
        lines = []
        fields = {
            s: [f.name for f in told.fields if f.cells.get(s) and f.cells[s].state == explaining.WAITS]
            for s in self.explainer.config.systems
        }
        for p in told.pending:
            lines.append(f"waits: {self.pending(p, fields.pop(p.system, []))}")
        for system, names in fields.items():
            if names:
                lines.append(f"waits: {', '.join(names)} to {system}; the next round writes it")
        return lines

    def pending(self, p: Pending, names: Sequence[str]) -> str:
        what = ", ".join(names) or "the record"
        return f"{what} to {p.system} since {_at(p.since)}, {p.message.rstrip('.')}, next try {_at(p.due)} UTC"


def _at(stamp: Stamp) -> str:
    """The time of day, and the date where it is not today's."""
    text = clock(stamp)
    return text[11:] if text[:10] == clock(now())[:10] else text


def as_data(told: Explained, explainer: Explainer, running: bool) -> dict[str, Any]:
    """For programs."""
    record = told.record

    def plain(name: str, value: Any) -> Any:
        return json_value(explainer.plain(name, value))

    return {
        "entity": told.entity,
        "record": told.name,
        "gid": record.gid if record else None,
        "keys": address.keys_of(record, explainer.config.systems) if record else {},
        "existence": {s: link.existence for s, link in record.links.items()} if record else {},
        "differ": told.differ,
        "waits": told.waits,
        "fields": [
            {
                "name": f.name,
                "agreed": plain(f.name, f.agreed),
                "from": f.origin,
                "changed": moment(f.changed) if f.changed > 0 else None,
                "rule": f.rule,
                "lost": [
                    {"system": x.system, "value": plain(f.name, x.before), "action": x.action, "rule": x.rule}
                    for x in f.lost
                ],
                "systems": {s: {"state": c.state, "value": plain(f.name, c.value)} for s, c in f.cells.items()},
            }
            for f in told.fields
        ],
        "pending": [
            {
                "system": p.system,
                "reason": p.reason,
                "message": p.message,
                "since": moment(p.since),
                "next": moment(p.due),
                "attempts": p.attempts,
            }
            for p in told.pending
        ],
        "reviews": [
            {"id": r.id, "kind": r.kind, "field": r.field, "message": r.message, "hint": r.hint, "detail": r.detail}
            for r in told.reviews
        ],
        "notes": told.notes,
        "down": told.down,
        "agent_runs": running,
    }
