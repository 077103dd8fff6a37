"""What became of the writes of one target, and what the state is to remember of it (steps 7 and 8 of the round).

The read-back touches only what was written (MODEL A5): a written field's stored form stands for the agreed value;
another field that our statement changed stands for what it stood for, unless that system owns it; a field that
differed before our write is an edit: it is left alone and looked at again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent import identity
from agent.applying import Intent, Target
from agent.merge import NEVER, review_id
from agent.who import crosswalk_rows
from config.records import Crosswalk, Landing, Outcome, Raw, Stamp, Value, WriteKind
from state.ports import Image, Journal, Link, Prepared, Replaced, Review

if TYPE_CHECKING:
    from agent.round import Round

ACTION = {
    WriteKind.INSERT: "create",
    WriteKind.UPDATE: "update",
    WriteKind.DELETE: "delete",
    WriteKind.ARCHIVE: "archive",
    WriteKind.RESTORE: "restore",
}


def take(round: Round, system: str, target: Target) -> None:
    """All outcomes of one target that has an open transaction."""
    round.report.written.setdefault(system, {})
    for intent, outcome in target.outcomes:
        if outcome.landing is Landing.LANDED:
            landed(round, system, intent, outcome)
            count(round, system, intent)
        else:
            missed(round, system, intent, outcome)
    for intent in target.orphans:
        round.pend(intent.case, system, "parent", f"its parent is not in {system} yet")
    for clash in target.clashes:
        clashed(round, system, clash)


def count(round: Round, system: str, intent: Intent) -> None:
    """For the report."""
    counts, action = round.report.written.setdefault(system, {}), ACTION[intent.kind]
    counts[action] = counts.get(action, 0) + 1


def failed(round: Round, system: str, target: Target) -> None:
    """The system gave up in the middle: nothing landed there; what was wanted follows when it is back."""
    if target.transaction is not None:
        target.transaction.rollback()
        target.transaction = None
    for errand in (errand for errands in target.errands.values() for errand in errands):
        errand.part.packed = None
        for taker in errand.takers:
            taker.pop(system, None)
    for by_entity in (target.intents, target.removals):
        for intents in by_entity.values():
            for intent in intents:
                round.pend(intent.case, system, "down", f"{system} did not take it")


def landed(round: Round, system: str, intent: Intent, outcome: Outcome) -> None:
    """The row is written, in a transaction that is still open: image and link hold if it lands."""
    record = intent.case.record
    if intent.kind in (WriteKind.DELETE, WriteKind.ARCHIVE):
        archived = intent.kind is WriteKind.ARCHIVE
        image = record.images.get(system) if archived else None
        link = Link(record.links[system].key, "gone", settled=False, archived=archived)
        round.look_again(record.entity, system, link.key, "settle")
        journal_row(round, system, intent, link.key)
    else:
        key = outcome.key or record.links[system].key
        image = stored(round, system, intent, outcome)
        link = Link(key)
        if intent.kind is WriteKind.INSERT:
            round.arrive(record, system)
        if intent.kind is WriteKind.RESTORE:
            round.look_again(record.entity, system, key, "settle")
        if intent.kind is WriteKind.UPDATE:
            journal_fields(round, system, intent)
        else:
            journal_row(round, system, intent, key)
        index_row(round, system, intent, outcome, key)
    round.decided.prepared.append(Prepared(system, record.gid, image, link))
    record.dirty = True


def stored(round: Round, system: str, intent: Intent, outcome: Outcome) -> Image:
    """The image after our write, field by field."""
    record, version = intent.case.record, intent.case.record.version
    assert version is not None and outcome.after is not None
    old = record.images.get(system)
    table = round.engine.entities[record.entity].tables[system]
    reading = intent.case.readings.get(system)
    whole = as_expected(round, system, intent, outcome, old)
    if whole is not None:
        return whole
    n = len(version.values)
    raws: list[Raw] = list(old.raws) if old else [None] * n
    values: list[Value] = list(old.values) if old else [None] * n
    stamps: list[Stamp] = list(old.stamps) if old else [NEVER] * n
    again = False
    for i in range(n):
        if table.columns[i] is None:
            values[i], stamps[i] = version.values[i], version.stamps[i]
        elif i in intent.values:
            remember_replaced(round, system, intent, i, outcome)
            raws[i], values[i], stamps[i] = outcome.after[i], intent.values[i], version.stamps[i]
        elif reading is None:  # an insert: what the database put there by itself
            raws[i] = outcome.after[i]
            if not version.origins[i] and raws[i] is None:
                values[i], stamps[i] = None, 0
            again |= raws[i] is not None
            if raws[i] is not None:
                raws[i], stamps[i] = None, NEVER
        elif outcome.after[i] != reading.raws[i]:
            mine = outcome.before is None or outcome.before[i] == reading.raws[i]
            owns = round.engine.entities[record.entity].fields[i].owner == system
            if mine and not owns and raws[i] == reading.raws[i]:
                raws[i] = outcome.after[i]  # a side effect of our statement stands for what stood there
            else:
                again = True  # somebody's edit, or the owner's: left for the next look
    if again:
        round.look_again(record.entity, system, outcome.key or record.links[system].key, "read-back")
    return Image(tuple(raws), tuple(values), tuple(stamps), round.now)


def as_expected(round: Round, system: str, intent: Intent, outcome: Outcome, old: Image | None) -> Image | None:
    """The most frequent case: the row differs from the reading in what was written, and now stands for the version."""
    reading, version, after = intent.case.readings.get(system), intent.case.record.version, outcome.after
    merged = intent.case.merged
    if old is None or reading is None or version is None or after is None or merged is None or merged.frozen:
        return None
    if round.engine.bound[intent.case.record.entity][system].stale_window or reading.raws != old.raws:
        return None
    for i, raw in enumerate(after):
        if i not in intent.values and (raw != reading.raws[i] or old.values[i] != version.values[i]):
            return None
        if i in intent.values and intent.values[i] != version.values[i]:
            return None
    return Image(after, version.values, version.stamps, round.now)


def remember_replaced(round: Round, system: str, intent: Intent, i: int, outcome: Outcome) -> None:
    """A stored value that Accord replaces: a stale save is recognised by it (MODEL A11)."""
    window = round.engine.bound[intent.case.record.entity][system].stale_window
    if not window or outcome.before is None or outcome.after is None or outcome.before[i] == outcome.after[i]:
        return
    record = intent.case.record
    place = (system, round.engine.entities[record.entity].fields[i].name)
    if intent.case.merged is not None and intent.case.merged.stale.get(place):
        return  # a restore adds nothing
    kept = [r for r in record.stale.get(place, []) if r.at >= round.now - window and r.raw != outcome.before[i]]
    record.stale[place] = [*kept, Replaced(outcome.before[i], round.now)]


def missed(round: Round, system: str, intent: Intent, outcome: Outcome) -> None:
    """It did not land; what has to happen next depends on why."""
    record = intent.case.record
    key = record.links[system].key if system in record.links else ""
    if outcome.landing in (Landing.CHANGED, Landing.MISSING):
        round.report.retries += 1
        round.look_again(record.entity, system, key, "compare-and-set")
    elif outcome.landing is Landing.EXISTS:
        for found in outcome.found:
            round.look_again(record.entity, system, found, "match")
        shown = ", ".join(f"{system}:{k}" for k in outcome.found)
        if len(round.state.resolve(record.entity, system, outcome.found)) == len(outcome.found):
            hint = "Is it a duplicate? Correct the values that they share, or remove one of them."
            refuse(round, intent, system, f"it would be a second row like {shown}, which is another record", hint)
            return
        round.pend(intent.case, system, "match", f"a row there matches already: {shown}")
    elif outcome.landing is Landing.ADOPTED and outcome.key is not None:
        adopted(round, system, intent, outcome)
    else:
        refuse(round, intent, system, outcome.message, outcome.hint)


def adopted(round: Round, system: str, intent: Intent, outcome: Outcome) -> None:
    """The crosswalk there knows one of our keys already, as another record: it finds its earlier self (I2)."""
    record = intent.case.record
    assert outcome.gid is not None and outcome.key is not None
    if outcome.gid == record.gid or not round.state.load(record.entity, [outcome.gid]):
        ours = [*crosswalk_rows(record.entity, record), Crosswalk(record.entity, record.gid, system, outcome.key)]
        transaction = round.targets[system].transaction
        if outcome.gid != record.gid and transaction is not None:
            theirs = [row._replace(gid=outcome.gid) for row in ours]
            round.insist(system, partial(transaction.unlink, theirs))
            round.insist(system, partial(transaction.link, ours))
        record.links[system] = Link(outcome.key)
        record.dirty = True
        round.arrive(record, system)
        round.look_again(record.entity, system, outcome.key, "adopted")
        return
    shown = f"{system}:{outcome.key}"
    refuse(
        round,
        intent,
        system,
        f"the crosswalk in {system} ties it to another record ({shown})",
        f"Compare it with {shown}; they may be the same.",
    )


def refuse(round: Round, intent: Intent, system: str, message: str, hint: str, said: str = "") -> None:
    """Only this record is parked, with the database's words and what to do; it is tried again by itself.

    `said`: the sentence for a person, where it is not the database that refuses.
    """
    record = intent.case.record
    key = record.links[system].key if system in record.links else ""
    at, link = next(((s, k) for s, k in record.links.items() if k.existence == "live"), (system, Link(key)))
    round.decided.reviews.append(
        Review(
            review_id("refused", record.entity, record.gid, system),
            "refused",
            record.entity,
            record.gid,
            system,
            key,
            "",
            said or f"{system} refused to {ACTION[intent.kind]} it: {message.rstrip('.')}.",
            hint or "Correct the record; it is tried again at each change and from time to time.",
            {"record": f"{at}:{link.key}", "fields": sorted(_names(round, intent))},
            round.now,
        )
    )
    round.pend(intent.case, system, "refused", message)


def clashed(round: Round, system: str, clash: Crosswalk) -> None:
    """A crosswalk row of another record stands where a link made by match should stand."""
    round.decided.reviews.append(
        Review(
            review_id("crosswalk", clash.entity, clash.system, clash.key),
            "crosswalk",
            clash.entity,
            None,
            clash.system,
            clash.key,
            "",
            f"The crosswalk in {system} ties {clash.system}:{clash.key} to another record ({clash.gid}).",
            "Was it linked by an earlier installation? Remove that row of accord_crosswalk if the link is wrong.",
            {"gid": clash.gid},
            round.now,
        )
    )


def index_row(round: Round, system: str, intent: Intent, outcome: Outcome, key: str) -> None:
    """Our own write is not read again, so the match index learns of it here."""
    entity = round.engine.entities[intent.case.record.entity]
    fields = {i for rule in entity.match for i in rule}
    if not fields or (intent.kind is WriteKind.UPDATE and fields.isdisjoint(intent.values)):
        return
    bound = round.engine.bound[entity.name][system]
    version, after = intent.case.record.version, outcome.after
    assert version is not None and after is not None

    def value(i: int) -> Value:
        if i in bound.refs:
            return version.values[i]
        try:
            return bound.decode(i, after[i])
        except ValueError:
            return None

    round.decided.matches.append((entity.name, system, key, identity.hashes(entity.match, value)))


def journal_fields(round: Round, system: str, intent: Intent) -> None:
    record, side = intent.case.record, intent.case.sides.get(system)
    entity, version = round.engine.entities[record.entity], record.version
    assert version is not None
    for i, after in intent.values.items():
        before = side.value((i,))[0] if side is not None else None
        round.decided.journal.append(
            Journal(
                entity.name,
                record.gid,
                "update",
                system,
                entity.fields[i].name,
                before,
                after,
                version.rules[i],
                version.origins[i],
                version.stamps[i],
            )
        )


def journal_row(round: Round, system: str, intent: Intent, key: str) -> None:
    record = intent.case.record
    origin = next((s for s in record.links if s != system), "")
    round.decided.journal.append(
        Journal(
            record.entity, record.gid, ACTION[intent.kind], system, "", None, None, "", origin, None, f"{system}:{key}"
        )
    )


def _names(round: Round, intent: Intent) -> list[str]:
    entity = round.engine.entities[intent.case.record.entity]
    return [entity.fields[i].name for i in intent.values]
