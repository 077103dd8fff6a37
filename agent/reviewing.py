"""What a person answers: a question is resolved, or looked at again. Writes the state; no system is asked.

An answer is carried out by the next round: the record is looked at, the merge finds the choice, and takes it if the
systems still hold what the person saw; otherwise the question opens again (MODEL A10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.bind import nearest
from agent.casework import BURIED
from config.errors import ConfigError, Problem
from config.records import Key, Stamp, Value
from state.ports import Decided, Frozen, Journal, Look, Record, Review, State

CONFLICT, DELETE = "conflict", "delete"
REASON = "review"  # of the looks


def resolve(state: State, id: str, take: str, by: str, now: Stamp) -> Review:
    """A person chose the system whose value (or whose delete) holds.

    Returns the item. ConfigError: there is no such question, it has no such answer, or is answered in another way.
    """
    item = find(state, id)
    if item.kind not in (CONFLICT, DELETE):
        raise _unanswerable(item)
    if take not in takes(item):
        hint = f"Take one of: {', '.join(takes(item))}."
        raise ConfigError(Problem("no-choice", f"{id}: {take} is no party to it.", hint, entity=item.entity))
    unit = item.field if item.kind == CONFLICT else ""
    record = state.load(item.entity, [item.gid]).get(item.gid) if item.gid else None
    frozen = record.frozen.get(unit) if record else None
    if record is None or frozen is None or frozen.review != id:
        raise _unknown(state, id)
    record.frozen[unit] = frozen._replace(choice=take)
    record.dirty = True
    rule = f"person took {take}"
    line = _line(item, take, unit, _chosen(frozen, take), rule, by)
    decided = Decided(state.last_round() + 1, now, records=[record], journal=[line], looks=looks(item, record))
    state.commit(decided)
    return item


def retry(state: State, ids: Sequence[str] | None, by: str, now: Stamp) -> list[Review]:
    """Look again at what these questions are about; None: at all. Returns the items. ConfigError: no such question."""
    items = state.reviews() if ids is None else [find(state, id) for id in dict.fromkeys(ids)]
    if not items:
        return []
    records: dict[str, Record] = {}
    for entity in {item.entity for item in items}:
        records.update(state.load(entity, {i.gid for i in items if i.gid and i.entity == entity}))
    asked = [look for item in items for look in looks(item, records.get(item.gid or ""))]
    if ids is None:
        counts = Counter(item.entity for item in items)
        lines = [_whole(entity, f"all {count} questions", by) for entity, count in counts.items()]
    else:
        lines = [_line(item, "", item.field, None, "looked at again", by) for item in items]
    state.commit(Decided(state.last_round() + 1, now, journal=lines, looks=asked))
    return items


def find(state: State, id: str) -> Review:
    """An open question. ConfigError with the nearest."""
    item = state.review(id)
    if item is None:
        raise _unknown(state, id)
    return item


def takes(item: Review) -> list[str]:
    """The systems that `--take` may name; none where a choice is no answer."""
    if item.kind == CONFLICT:
        return list(item.detail.get("values", ()))
    return [*item.detail.get("gone", ()), *item.detail.get("live", ())] if item.kind == DELETE else []


def looks(item: Review, record: Record | None) -> list[Look]:
    """The rows by which the agent comes back to it; all of them: a system may be down."""
    rows: list[tuple[str, Key]] = [(item.system, item.key)] if item.key and record is None else []
    if record is not None:
        rows += [(system, link.key) for system, link in record.links.items() if not link.key.startswith(BURIED)]
    return [Look(item.entity, system, key, 0, REASON) for system, key in rows]


def _chosen(frozen: Frozen, take: str) -> Value:
    return frozen.values[take][0] if take in frozen.values else None


def _line(item: Review, take: str, unit: str, value: Value, rule: str, by: str) -> Journal:
    note = f"{item.kind} {item.id}, by {by}"
    return Journal(item.entity, item.gid or "", "review", take, unit, None, value, rule, take, None, note)


def _whole(entity: str, what: str, by: str) -> Journal:
    return Journal(entity, "", "review", "", "", None, None, "looked at again", "", None, f"{what}, by {by}")


def _unknown(state: State, id: str) -> ConfigError:
    near = nearest(id, [item.id for item in state.reviews()])
    hint = f"{near} It may have been answered meanwhile; `accord review` lists what is open.".lstrip()
    return ConfigError(Problem("no-question", f'there is no open question "{id}".', hint))


def _unanswerable(item: Review) -> ConfigError:
    message = f"{item.id} ({item.kind}) has no side to take."
    return ConfigError(Problem("no-choice", message, item.hint, entity=item.entity, field=item.field or None))
