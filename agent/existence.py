"""A record's life and death, kept per system (section 6 of the design, MODEL A6). Pure.

Only the current key speaks for a record. A link is `live`, or `gone` because people deleted or archived the row
there. A gone link is *settled* when the other systems have done what their `delete` says. An update that had not
seen the delete is a conflict, decided by `delete_conflict`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent.merge import review_id
from config.records import Entity, Key, Reading, Stamp, WriteKind
from state.ports import Frozen, Journal, Link, Record, Review

UNIT = ""  # the name under which a record's own existence is kept in `Record.frozen`


@dataclass(slots=True)
class Fate:
    """What is to happen to the record in each system."""

    writes: dict[str, WriteKind] = field(default_factory=dict)  # delete, archive or restore, by system
    journal: list[Journal] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    tombs: dict[str, Key] = field(default_factory=dict)  # system -> key that speaks for nobody any more
    settled: bool = False  # a delete has been followed everywhere
    stopped: bool = False  # the record is dead or waits for a person: nothing is inserted anywhere


ALIVE = Fate()
"""Of a record that lives in every system that holds it: nothing happens to it."""


def observe(record: Record, readings: Mapping[str, Reading | None]) -> list[str]:
    """Take over what was read: rows that went, rows that came back. Returns the systems where people changed it."""
    turned = []
    for system, link in list(record.links.items()):
        if system not in readings:
            continue
        reading = readings[system]
        alive = reading is not None and not reading.archived
        if alive == (link.existence == "live"):
            if link.archived != (reading is not None and reading.archived):
                record.links[system] = link._replace(archived=reading is not None and reading.archived)
            continue
        turned.append(system)
        if alive:
            record.links[system] = Link(link.key)
        else:
            record.links[system] = Link(link.key, "gone", settled=False, archived=reading is not None)
    return turned


def fate(
    entity: Entity,
    record: Record,
    turned: Collection[str],
    accepted: Collection[str],
    young: Collection[str],
    rank: Sequence[str],
    now: Stamp,
) -> Fate:
    """Decide over a record that is gone somewhere.

    `turned`: what `observe` said; `accepted`: systems whose edit was accepted in this round; `young`: systems with a
    live child that the others have not seen. `rank`: the systems in order.
    """
    out = Fate()
    live = [s for s in rank if s in record.links and record.links[s].existence == "live"]
    dead = [s for s in rank if s in record.links and record.links[s].existence == "gone"]
    fresh = [s for s in dead if not record.links[s].settled]
    if not fresh:
        _come_back(entity, record, turned, live, dead, out, now)
        return out
    if not live:
        for s in fresh:
            record.links[s] = record.links[s]._replace(settled=True)
        _close(record, out)
        out.stopped = out.settled = True
        return out
    frozen = record.frozen.get(UNIT)
    choice = frozen.choice if frozen else None
    since = _since_asked(choice, fresh, live, turned, accepted) if choice is not None else ""
    if since:  # the answer was about something else
        del record.frozen[UNIT]
    if since and (choice not in live or (frozen is not None and frozen.review)):
        _ask(entity, record, fresh, live, f"{since} since you were asked", out, now)
    elif choice is not None and not since:
        _obey(entity, record, choice, fresh, live, out, now)
    elif updates := _updates(entity, record, fresh, live, {*accepted, *young}):
        _conflict(entity, record, fresh, live, updates, out, now)
    elif frozen is not None and not since:
        out.stopped = True  # a person has been asked
    else:
        _follow(entity, record, fresh, live, out, now)
    return out


def _since_asked(
    choice: str, fresh: list[str], live: list[str], turned: Collection[str], accepted: Collection[str]
) -> str:
    """What people did to the record since they said whose doing holds; empty: nothing that matters for it."""
    deleted = [s for s in fresh if s in turned]
    edited = [s for s in live if s in accepted]
    if choice in turned or (choice in live and deleted):
        return f"was deleted in {' and '.join(deleted)}" if deleted else f"came back in {choice}"
    return f"was changed in {' and '.join(edited)}" if edited and choice not in live else ""


def _updates(entity: Entity, record: Record, fresh: list[str], live: list[str], edited: Collection[str]) -> list[str]:
    """Live systems with a change that those who deleted had not seen; a field in review counts as one."""
    version = record.version
    unseen: set[str] = set()
    for s in fresh:
        image = record.images.get(s)
        if image is None or version is None:
            continue
        for i, column in enumerate(entity.tables[s].columns):
            # A value of its own that lost by the order of the systems may bear the later stamp: it had not seen the
            # winner all the same. Where another system owns the field it may be an override, which does not count.
            later = version.stamps[i] > image.stamps[i] or entity.fields[i].owner is None
            behind = later and image.values[i] != version.values[i]
            if column is not None and behind and version.origins[i] != s:
                unseen.add(version.origins[i] if version.origins[i] in live else live[0])
    waiting = any(name != UNIT for name in record.frozen)
    return [s for s in live if s in edited or s in unseen or waiting]


def _conflict(
    entity: Entity, record: Record, fresh: list[str], live: list[str], updates: list[str], out: Fate, now: Stamp
) -> None:
    """Deleted here, updated there, and neither had seen the other's doing."""
    rule = entity.delete_conflict
    if rule == "review":
        _ask(entity, record, fresh, live, f"was changed in {' and '.join(updates)} meanwhile", out, now)
    elif rule == "update_wins":
        _line(out, entity, record, "conflict", fresh[0], "update_wins", updates[0], "the delete lost")
        _revive(entity, record, fresh, out, now)
    else:
        for s in updates:
            _lost_fields(out, entity, record, s, fresh[0], "delete_wins")
        _lost_items(out, entity, record, fresh[0], "delete_wins")
        _follow(entity, record, fresh, live, out, now, decided=True)


def _follow(
    entity: Entity,
    record: Record,
    fresh: list[str],
    live: list[str],
    out: Fate,
    now: Stamp,
    decided: bool = False,
) -> None:
    """Do in each other system what its `delete` says; `decided`: nobody is asked any more."""
    open_, asked = False, []
    for s in live:
        policy = entity.delete.get(s, "review")
        if policy == "review" and decided:
            policy = _way_to_go(entity, s)
        if policy == "review":
            asked.append(s)
        elif policy != "ignore" and entity.tables[s].write:
            out.writes[s] = WriteKind.ARCHIVE if policy == "archive" else WriteKind.DELETE
            open_ = True
    if asked:
        _ask(entity, record, fresh, asked, f"is still in {' and '.join(asked)}", out, now)
    elif not open_:
        for s in fresh:
            record.links[s] = record.links[s]._replace(settled=True)
        out.settled = True
        _close(record, out)
    out.stopped = True


def _obey(
    entity: Entity, record: Record, choice: str, fresh: list[str], live: list[str], out: Fate, now: Stamp
) -> None:
    """A person has chosen a system: what it has, or has not, holds everywhere.

    The question is closed at once; the answer stays with the record until it has been followed in every system.
    """
    first, rule = bool(record.frozen[UNIT].review), f"person took {choice}"
    if first:
        _line(out, entity, record, "person", choice, rule, choice, "")
    _close(record, out)
    if choice in live:
        _revive(entity, record, fresh, out, now)
        if out.writes:  # restored under its key
            record.frozen[UNIT] = Frozen({}, {}, {}, "", choice)
        return
    record.frozen[UNIT] = Frozen({}, {}, {}, "", choice)
    for s in _updates(entity, record, fresh, live, ()) if first else ():
        _lost_fields(out, entity, record, s, choice, rule)
    _lost_items(out, entity, record, choice, rule)
    for s in live:
        if entity.tables[s].write:
            out.writes[s] = WriteKind.ARCHIVE if _way_to_go(entity, s) == "archive" else WriteKind.DELETE
    out.stopped = True


def _revive(entity: Entity, record: Record, fresh: list[str], out: Fate, now: Stamp) -> None:
    """The record lives: where it is gone it is inserted again, or restored."""
    record.revived = now
    _close(record, out)
    for s in fresh:
        link = record.links[s]
        if link.archived and entity.tables[s].restore:
            out.writes[s] = WriteKind.RESTORE
            continue
        out.tombs[s] = link.key
        del record.links[s]
        record.images.pop(s, None)


def _come_back(
    entity: Entity,
    record: Record,
    turned: Collection[str],
    live: list[str],
    dead: list[str],
    out: Fate,
    now: Stamp,
) -> None:
    """All deletes are settled. A row that came back under its key, when all were gone, brings the others back."""
    _close(record, out)
    if dead and live and set(live) <= set(turned):
        _revive(entity, record, dead, out, now)
    elif dead and not live:
        out.stopped = True


def _ask(
    entity: Entity, record: Record, fresh: list[str], others: list[str], because: str, out: Fate, now: Stamp
) -> None:
    id = review_id("delete", entity.name, record.gid)
    choice = record.frozen[UNIT].choice if UNIT in record.frozen else None
    record.frozen[UNIT] = Frozen({}, {}, {}, id, choice)
    gone = " and ".join(fresh)
    out.reviews.append(
        Review(
            id,
            "delete",
            entity.name,
            record.gid,
            fresh[0],
            record.links[fresh[0]].key,
            "",
            f"It was deleted in {gone} and {because}.",
            f"`accord review resolve {id} --take {fresh[0]}` deletes it everywhere, `--take {others[0]}` keeps it.",
            {"gone": fresh, "live": others},
            now,
        )
    )
    out.stopped = True


def _close(record: Record, out: Fate) -> None:
    kept = record.frozen.pop(UNIT, None)
    if kept is not None and kept.review:
        out.closed.append(kept.review)


def _way_to_go(entity: Entity, system: str) -> str:
    policy = entity.delete.get(system, "review")
    if policy in ("archive", "propagate"):
        return policy
    return "archive" if entity.tables[system].archive else "propagate"


def _lost_fields(out: Fate, entity: Entity, record: Record, system: str, deleted_in: str, rule: str) -> None:
    """The fields that were edited after the delete are lost by rule: they stand in the journal (I5)."""
    version = record.version
    if version is None:
        return
    for i, spec in enumerate(entity.fields):
        if version.origins[i] == system:
            out.journal.append(
                Journal(
                    entity.name,
                    record.gid,
                    "conflict",
                    system,
                    spec.name,
                    version.values[i],
                    None,
                    rule,
                    deleted_in,
                    version.stamps[i],
                )
            )


def _lost_items(out: Fate, entity: Entity, record: Record, deleted_in: str, rule: str) -> None:
    """Fields in review are lost by the same rule: each system's value stands in the journal, the items are closed."""
    for name, frozen in list(record.frozen.items()):
        if name == UNIT:
            continue
        unit = next(u for u in entity.units if entity.fields[u[0]].name == name)
        for s, values in frozen.values.items():
            for i, value in zip(unit, values, strict=True):
                spec, at = entity.fields[i].name, frozen.stamps[s]
                line = Journal(entity.name, record.gid, "conflict", s, spec, value, None, rule, deleted_in, at)
                out.journal.append(line)
        out.closed.append(frozen.review)
        del record.frozen[name]


def _line(
    out: Fate, entity: Entity, record: Record, action: str, system: str, rule: str, origin: str, note: str
) -> None:
    out.journal.append(Journal(entity.name, record.gid, action, system, "", None, None, rule, origin, None, note))
