"""`accord review`: what only a person can settle; works while the agent runs."""

from __future__ import annotations

import csv
import getpass
import io
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from agent import address, console, requests, reviewing, session
from agent.console import Output, clock, moment, number, span
from agent.engine import now
from agent.grid import grid
from config.errors import DONE, LOOK, ConfigError, Problem
from config.model import Config
from config.records import Gid, Stamp
from state.lock import StateLock
from state.ports import Record, Review, State

SAMPLES = 20  # questions of one kind that are listed, unless --all
RISKY = tuple("=+-@\t\r")
"""A cell that begins so is a formula to a spreadsheet; an apostrophe before it makes it text."""


class Reviews(click.Group):
    """Knows what was meant by a mistyped command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-") or name in self.commands:
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, self.commands, 1)
        item = (
            f"`accord review show {name}` shows one question." if len(name) == 8 else "`accord review -h` lists them."
        )
        meant = f'Did you mean "{near[0]}"?' if near else item
        raise click.UsageError(f'there is no command "{name}". {meant}', ctx)


@click.group(cls=Reviews, invoke_without_command=True)
@console.common
@click.option("--only", multiple=True, metavar="ENTITY", help="Only this entity; may be given again.")
@click.option("--all", "everything", is_flag=True, help="List all, not only the first of each kind.")
@click.option("--csv", "file", type=click.Path(path_type=Path), help="Write all to this file (- is stdout) instead.")
def command(out: Output, only: tuple[str, ...], everything: bool, file: Path | None) -> int:
    """List the questions that only a person can answer; answer them, or have them looked at again."""
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        return DONE
    config = session.open_config(out)
    session.only_known(config, only)
    if file is not None and out.json:
        raise ConfigError(Problem("usage", "--csv and --json exclude each other."))
    with session.open_state_if_any(config) as state:
        items = [item for item in state.reviews() if not only or item.entity in only]
        names = Names(state, config, items)
        if file is not None:
            return _csv(out, config, items, names, file)
        _tell(out, items, names, None if everything else SAMPLES)
        out.data["items"] = [as_data(item, names) for item in items]
    return LOOK if items else DONE


@command.command("show")
@console.common
@click.argument("id")
def show(out: Output, id: str) -> int:
    """Say all about one question."""
    _named(out, "review show")
    config = session.open_config(out)
    with session.open_state_if_any(config) as state:
        item = reviewing.find(state, id)
        names = Names(state, config, [item])
        out.data["item"] = as_data(item, names)
        _tell_one(out, item, names)
    return LOOK


@command.command("resolve")
@console.common
@click.argument("id")
@click.option("--take", metavar="SYSTEM", required=True, help="The system whose value, or whose delete, holds.")
def resolve(out: Output, id: str, take: str) -> int:
    """Answer a question: what this system holds is right."""
    _named(out, "review resolve")
    config = session.open_config(out)
    by = _operator()
    answer = requests.ask(config.agent.state, {"do": "resolve", "id": id, "take": take, "by": by})
    running = answer is not None
    if answer is None:
        with StateLock(config.agent.state, config.agent.name), _existing(config) as state:
            reviewing.resolve(state, id, take, by, now())
    out.data |= {"id": id, "take": take, "agent_runs": running}
    out.say(f"{id}: {take} is taken. {_then(running, 'carries it out')}")
    out.say("If one of the systems was changed since the question was asked, it is asked again.")
    return DONE


@command.command("retry")
@console.common
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All questions.")
def retry(out: Output, ids: tuple[str, ...], everything: bool) -> int:
    """Have what a question is about looked at again now."""
    _named(out, "review retry")
    if bool(ids) == everything:
        raise click.UsageError("name the questions, or say --all.", click.get_current_context())
    config = session.open_config(out)
    by = _operator()
    asked = None if everything else list(ids)
    answer = requests.ask(config.agent.state, {"do": "retry", "ids": asked, "by": by})
    running = answer is not None
    if answer is None:
        with StateLock(config.agent.state, config.agent.name), _existing(config) as state:
            answer = {"items": [item.id for item in reviewing.retry(state, asked, by, now())]}
    out.data |= {"ids": answer["items"], "agent_runs": running}
    out.say(f"{number(len(answer['items']), 'question')}: {_then(running, 'looks again')}")
    return DONE


def _named(out: Output, name: str) -> None:
    """--config and --json may stand before the second word, too."""
    out.command = name
    parent = click.get_current_context().parent
    out.json |= bool(parent is not None and parent.params.get("json"))


def _existing(config: Config) -> Any:
    """The state, to be written; not made here."""
    if not config.agent.state.exists():
        raise ConfigError(Problem("no-question", f"{config.agent.state} does not exist: there are no questions."))
    return session.open_state(config)


def _then(running: bool, does: str) -> str:
    return f"The agent {does} now." if running else f"No agent runs; the next `accord run` {does}."


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        return "somebody"


# --- telling ---------------------------------------------------------------------------------------------------------


class Names:
    """What the records and rows that are asked about are called."""

    def __init__(self, state: State, config: Config, items: Iterable[Review]) -> None:
        self.systems = {name: list(entity.systems) for name, entity in config.entities.items()}
        wanted: dict[str, set[Gid]] = {}
        for item in items:
            if item.gid:
                wanted.setdefault(item.entity, set()).add(item.gid)
        self.records: dict[Gid, Record] = {}
        for entity, gids in wanted.items():
            self.records.update(state.load(entity, gids))

    def __call__(self, item: Review) -> str:
        record = self.records.get(item.gid or "")
        if record is not None:
            keys = address.keys_of(record, self.systems[item.entity], gone=True)
            return address.name(keys) or record.gid
        return address.shown(item.system, item.key) if item.key else item.gid or ""

    def changed(self, item: Review) -> Mapping[str, Stamp]:
        """When each system's value was changed, where that is kept."""
        record = self.records.get(item.gid or "")
        frozen = record.frozen.get(item.field) if record else None
        return frozen.stamps if frozen is not None and item.kind == reviewing.CONFLICT else {}

    def choice(self, item: Review) -> str | None:
        """What a person has chosen and no round has carried out yet."""
        record = self.records.get(item.gid or "")
        frozen = record.frozen.get(item.field if item.kind == reviewing.CONFLICT else "") if record else None
        return frozen.choice if frozen is not None and frozen.review == item.id else None


def _tell(out: Output, items: Sequence[Review], names: Names, most: int | None) -> None:
    groups: dict[tuple[str, str], list[Review]] = {}
    for item in items:
        groups.setdefault((item.kind, item.entity), []).append(item)
    for (kind, entity), group in sorted(groups.items()):
        out.say(f"{kind}, {entity}: {number(len(group), 'question')}")
        shown = group[:most]
        rows = [[item.id, names(item), _age(item), item.message] for item in shown]
        for line in grid(rows, flexible=(1, 3), indent=2):
            out.say(line)
        if len(group) > len(shown):
            out.say(f"  … and {len(group) - len(shown):,} more (--all)")
        out.say()
    if items:
        out.say(f"{number(len(items), 'question')} for a person.")
        out.say("`accord review show ID` says what to do; `accord review resolve ID --take SYSTEM` answers.")
    else:
        out.say("Nothing waits for a person.")


def _age(item: Review) -> str:
    return span((now() - item.since) / 1e6)


def _tell_one(out: Output, item: Review, names: Names) -> None:
    say = out.say
    say(f"{item.id}  {item.kind}  {item.entity} {names(item)}{'  ' + item.field if item.field else ''}")
    say(f"asked {clock(item.since)} UTC, {_age(item)} ago")
    say()
    say(item.message)
    for line in grid(_values(item, names.changed(item)), flexible=(1,), indent=2):
        say(line)
    for system, key in item.detail.get("candidates", ()):
        say(f"  {address.shown(system, key)}")
    if item.detail.get("record"):
        say(f"  the record: {item.detail['record']}; fields: {', '.join(item.detail.get('fields', ()))}")
    say()
    choice = names.choice(item)
    say(f"What to do: {item.hint}" if choice is None else f"{choice} was taken; the agent carries it out.")
    where = names(item).split(" = ")[0]
    if where:
        say(f"`accord explain {item.entity} {where}` shows what each system holds.")


def _values(item: Review, changed: Mapping[str, Stamp]) -> list[list[str]]:
    """Each system's value, and the agreed one, of a conflict."""
    values = item.detail.get("values")
    if not values:
        return []
    names = item.detail.get("fields") or [item.field]
    rows = [["agreed", _shown(item.detail.get("agreed") or [None] * len(names), names), ""]]
    for system, held in values.items():
        at = changed.get(system)
        rows.append([system, _shown(held, names), f"changed {clock(at)} UTC" if at else ""])
    return rows


def _shown(values: Sequence[Any], names: Sequence[str]) -> str:
    if len(names) == 1:
        return _text(values[0])
    return ", ".join(f"{name} {_text(value)}" for name, value in zip(names, values, strict=True))


def _text(value: Any) -> str:
    return "–" if value is None else str(value)


def as_data(item: Review, names: Names) -> dict[str, Any]:
    """One question for programs."""
    return {
        "id": item.id,
        "kind": item.kind,
        "entity": item.entity,
        "record": names(item),
        "gid": item.gid,
        "system": item.system,
        "key": item.key,
        "field": item.field,
        "message": item.message,
        "hint": item.hint,
        "since": moment(item.since),
        "take": reviewing.takes(item),
        "chosen": names.choice(item),
        "detail": item.detail,
    }


# --- for a spreadsheet -----------------------------------------------------------------------------------------------


def _csv(out: Output, config: Config, items: Sequence[Review], names: Names, file: Path) -> int:
    """All questions, one a line; each system's value in a column of its own."""
    text = io.StringIO()
    writer = csv.writer(text)
    systems = list(config.systems)
    writer.writerow(["id", "kind", "entity", "record", "field", "since (UTC)", "message", "what to do", *systems])
    for item in items:
        values = item.detail.get("values", {})
        shown = [_shown(values[s], item.detail.get("fields") or [item.field]) if s in values else "" for s in systems]
        row = [item.id, item.kind, item.entity, names(item), item.field, clock(item.since), item.message, item.hint]
        writer.writerow([safe(cell) for cell in [*row, *shown]])
    if str(file) == "-":
        click.echo(text.getvalue(), nl=False)
        return LOOK if items else DONE
    try:
        file.write_text(text.getvalue(), encoding="utf-8-sig", newline="")  # the mark tells spreadsheets the encoding
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}."
        raise ConfigError(Problem("file", message, "Name another file, or - for stdout.")) from error
    out.say(f"{number(len(items), 'question')} written to {file}.")
    return LOOK if items else DONE


def safe(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(RISKY) else cell
