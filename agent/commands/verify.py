"""`accord verify`: compares all systems, entity by entity."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from agent import address, console, contact, session
from agent.comparing import Comparison, Report
from agent.console import Meter, Output, number
from agent.places import Held, Titles, Unknown, Unreadable
from agent.reasons import Finding
from agent.values import json_value, show
from config.errors import DONE, LOOK
from config.records import Entity
from state.lock import holder

SAMPLES = 5  # of each kind, unless --all
PAUSE = 1.0  # seconds between two looks at what differs, while an agent runs


@click.command()
@console.common
@click.option("--only", multiple=True, metavar="ENTITY", help="Only this entity; may be given again.")
@click.option("--all", "everything", is_flag=True, help="List all that differs, not only the first of each kind.")
def command(out: Output, only: tuple[str, ...], everything: bool) -> int:
    """Compare all systems, record by record, and list what differs; nothing is written anywhere."""
    config = session.open_config(out)
    session.only_known(config, only)

    def pause() -> bool:
        running = holder(config.agent.state) is not None
        if running:
            time.sleep(PAUSE)
        return running

    agree = True
    with session.open_bound(config, only) as bound, session.open_state_if_any(config) as state:
        for name, entity in bound.entities.items():
            if only and name not in only:
                continue
            comparison = Comparison(entity, bound.systems, state, None if everything else SAMPLES)
            meter = Meter(f"comparing {name}", comparison.count())
            report = comparison.run(meter.add, pause)
            meter.close()
            teller = Teller(out, entity, Titles(state, entity.tables))
            teller.tell(report)
            out.data.setdefault("entities", {})[name] = teller.data(report)
            agree &= report.agrees
    out.data["agree"] = agree
    known = any(entity["known"] for entity in out.data["entities"].values())
    if agree:
        out.say("But for that, all agree." if known else "All agree.")
    else:
        out.say("They do not agree. `accord explain ENTITY SYSTEM:KEY` says more about a record.")
    return DONE if agree else LOOK


class Teller:
    """One entity's report, for people and for programs."""

    def __init__(self, out: Output, entity: Entity, titles: Titles) -> None:
        self.out, self.entity, self.titles = out, entity, titles
        self.refs = {f.name: f.ref for f in entity.fields if f.ref}

    def tell(self, report: Report) -> None:
        say = self.out.say
        rows = ", ".join(f"{s} has {number(n, 'row')}" for s, n in report.rows.items())
        say(f"{report.name}: {rows}")
        if report.phase == contact.HELD:
            say("  not compared: first contact is held (`accord plan`, then `accord plan --accept`)")
        else:
            say(f"  {report.agree:>9,}  the same everywhere")
        if report.differ:
            fields = " · ".join(f"{name} {count:,}" for name, count in report.fields.most_common())
            say(f"  {report.differ:>9,}  differ: {fields}")
            self.samples(report.samples["differs"], report.differ)
        for systems, count in report.only.items():
            say(f"  {count:>9,}  only in {systems}")
        self.samples(report.samples["only"], report.only.total())
        for reason, count in report.known.most_common():
            say(f"  {count:>9,}  known: {reason}")
            self.samples(report.samples[reason], count)
        say()

    def samples(self, findings: Sequence[Finding], count: int) -> None:
        for finding in findings:
            parts = [f"{name}: {self.values(name, values)}" for name, values in finding.fields.items()]
            note = f"({finding.note})" if finding.note else ""
            self.out.say(" ".join(filter(None, (" " * 12, finding.record, "; ".join(parts), note))))
        if len(findings) < count:
            self.out.say(f"{' ' * 13}… and {count - len(findings):,} more (--all)")

    def values(self, name: str, values: Any) -> str:
        return ", ".join(f"{system} {show(self.plain(name, value), 40)}" for system, value in values.items())

    def plain(self, name: str, value: Held) -> Any:
        """For people: a parent by its key, a value that is none by what is wrong with it."""
        if isinstance(value, Unreadable):
            return f"unreadable ({value.why})"
        if isinstance(value, Unknown):
            return address.shown(value.system, value.key)
        if name in self.refs and isinstance(value, str):
            found = self.titles.key_of(str(self.refs[name]), value)
            return address.shown(*found) if found else value
        return value

    def data(self, report: Report) -> dict[str, Any]:
        return {
            "first_contact": report.phase,
            "rows": report.rows,
            "agree": report.agree,
            "differ": report.differ,
            "fields": dict(report.fields),
            "only": dict(report.only),
            "known": dict(report.known),
            "samples": {kind: [self.finding(f) for f in found] for kind, found in report.samples.items() if found},
        }

    def finding(self, finding: Finding) -> dict[str, Any]:
        fields = {
            name: {s: json_value(self.plain(name, v)) for s, v in values.items()}
            for name, values in finding.fields.items()
        }
        return {
            "record": finding.record,
            "gid": finding.gid,
            "present": finding.present,
            "fields": fields,
            "note": finding.note,
        }
