"""One round, top to bottom: capture, read, identify, merge, apply, decide, commit, record, acknowledge.

The order of the last five is the heart (section 5 of the design, MODEL A1): the targets are written and left open;
the state decides, durably; then the targets commit; then the sources are told. Whatever breaks in between, the
fence row in each target says afterwards whether it landed, and the records are simply looked at again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from agent import applying, contact, crash, creating, existence, outcome, usual, who
from agent.applying import Encoder, Intent, Target
from agent.casework import BURIED, Bad, Case, UnknownParent, is_quiet, ref_keys, side_of
from agent.identity import Row
from agent.lookups import RELOOK
from agent.merge import Rules, merge, one_edit, review_id, wanted
from config.errors import Halt, Taken, Transient
from config.expressions import ExpressionError
from config.records import Batch, Crosswalk, Fence, Gid, Key, Op, Reading, WriteKind
from state.ports import Decided, Look, Pending, Record, Review

if TYPE_CHECKING:
    from agent.engine import Engine, Stopped

T = TypeVar("T")

UNKNOWN_OUTCOME = "unknown outcome"  # why the state asks for a look after a commit that was cut off
EMPTY_FROM = 10  # rows that vanish at once from a table that is empty then are no mass delete
MANY_PARENTS = 10  # levels of unknown parents fetched in one round; deeper ones follow in the next


class Abandoned(Exception):
    """A system stopped taking part when its writes were done and their outcomes half taken in: nothing of the round is
    decided or acknowledged, and all that it was to look at comes again."""

    def __init__(self, system: str, error: Stopped) -> None:
        super().__init__(system)
        self.system, self.error = system, error


@dataclass(slots=True)
class Report:
    """What one round did, for the loop and for `run --json`."""

    round: int = 0
    worked: bool = False  # something was looked at: there may be more
    more: bool = False  # a source has further changes waiting that were there before this round
    looked: int = 0
    written: dict[str, dict[str, int]] = field(default_factory=dict)  # system -> "create", "update", … -> rows
    linked: int = 0
    conflicts: int = 0
    reviews: int = 0
    retries: int = 0  # compare-and-set failed: looked at again
    down: list[str] = field(default_factory=list)  # systems that left this round: no answer, or a halt
    held: list[str] = field(default_factory=list)  # entities whose first contact waits for acceptance


class Round:
    """The working memory of one round."""

    def __init__(self, engine: Engine, looks: Iterable[Look] = (), called: Collection[str] = ()) -> None:
        """`called`: the systems that are asked for changes; none: all."""
        self.engine = engine
        self.state = engine.state
        self.number = max(engine.state.last_round(), engine.floor) + 1
        self.now = engine.clock()
        self.report = Report(self.number)
        self.decided = Decided(self.number, self.now)
        self.up: list[str] = [s for s in engine.systems if s not in engine.down]
        self.heard: list[str] = [s for s in self.up if not called or s in called]  # who is asked for changes
        self.batches: dict[str, Batch] = {}
        self.looks: dict[tuple[str, str], dict[Key, str]] = defaultdict(dict)  # (entity, system) -> key -> reason
        for look in looks:
            self.looks[look.entity, look.system][look.key] = look.reason
        self.readings: dict[tuple[str, str], dict[Key, Reading | None]] = defaultdict(dict)  # None = gone
        self.cases: dict[str, dict[Gid, Case]] = {name: {} for name in engine.order}
        self.at: dict[tuple[str, str], dict[Key, Case]] = defaultdict(dict)  # (entity, system) -> key -> its record
        self.strangers: dict[str, dict[Row, Reading]] = defaultdict(dict)  # entity -> rows that no record is known of
        self.absent: dict[str, list[Row]] = defaultdict(list)  # entity -> keys that were read and are gone or archived
        self.odd: dict[str, list[tuple[Case, str]]] = defaultdict(list)  # entity -> is this row still that record?
        self.parents: dict[tuple[str, str], dict[Key, Gid]] = defaultdict(dict)  # (entity, system) -> key -> gid
        self.edits: dict[str, dict[Gid, usual.Edit]] = {}  # entity -> records that go the short way
        self.parts: list[usual.Part] = []  # the same, on their way
        self.done: dict[tuple[str, str], set[Key]] = defaultdict(set)  # keys that went the short way
        self.targets: dict[str, Target] = {}
        self.gone: list[tuple[Case, str]] = []  # live records and the system in which their row is not there any more
        self.traced: set[tuple[str, str, Key]] = set()  # keys that are gone and were asked for where they went
        self.bereft: set[Gid] = set()  # records whose row is gone somewhere and whose children are looked at, too
        self.finders: dict[str, who.Finder] = {}
        self.arrived: set[tuple[Gid, str]] = set()  # (record, system) that `create` may have kept out until now
        self.index_only: dict[str, dict[str, list[Key]]] = {}  # system -> entity -> keys changed in a first contact

    def run(self) -> Report:
        """One round; whatever becomes of it, its working memory is let go at once. `Abandoned`: nothing of it holds."""
        try:
            return self.path()
        finally:
            for memory in (
                self.edits,
                self.parts,
                self.finders,
                self.targets,
                self.cases,
                self.readings,
                self.at,
                self.strangers,
            ):
                memory.clear()  # they refer to each other in circles, which the collector would find late

    def path(self) -> Report:
        """The data path."""
        self.capture()
        crash.point("captured")
        self.read()
        crash.point("read")
        self.identify()
        self.merge()
        crash.point("merged")
        self.apply()
        self.decide()
        crash.point("decided")
        self.commit()
        crash.point("recorded")
        self.acknowledge()
        crash.point("acknowledged")
        return self.report

    # --- 1. capture ---------------------------------------------------------------------------------------------

    def capture(self) -> None:
        """What changed in each system, and what is due by itself."""
        limit = self.engine.options.batch
        positions = {s: self.state.position(s) for s in self.heard}
        jobs = {s: partial(self.engine.systems[s].changes, positions[s], limit) for s in self.heard}
        self.batches = self.ask(jobs)
        phases = contact.phases(self)
        for s, batch in self.batches.items():
            for entity in batch.emptied:  # durable before the source lets go of it
                if not self.engine.library.changed(s, entity):
                    self.engine.sweeper.request(entity, s, "its table was emptied by TRUNCATE", gap=True)
            for entity, why in batch.gaps.items():
                if not self.engine.library.changed(s, entity):
                    self.engine.sweeper.request(entity, s, why, gap=True)
            for change in batch.changes:
                if self.engine.library.changed(s, change.entity):
                    self.report.worked = True
                elif phases[change.entity] in (contact.LIVE, contact.LINK):
                    self.looks[change.entity, s][change.key] = change.op.value
                elif phases[change.entity] == contact.INDEX:
                    contact.index_change(self, change.entity, s, change.key)
            if batch.position is not None and batch.position != positions[s]:
                self.decided.positions[s] = batch.position
            self.report.more |= batch.more
            self.report.worked |= batch.more
        for look in self.state.due(self.now, limit, list(self.engine.down)):
            self.decided.looked.append((look.entity, look.system, look.key))
            if phases.get(look.entity) in (contact.LIVE, contact.LINK):
                self.looks[look.entity, look.system][look.key] = look.reason
        self.engine.library.refresh(self)
        contact.step(self, phases)

    # --- 2. read ------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Every touched record as it is now in every system; unknown rows in their own; unknown parents too."""
        who.reopen(self)
        contact.index_changes(self)
        usual.find(self)
        self.load({place: [k for k in keys if k not in self.done[place]] for place, keys in self.looks.items()})
        for _ in range(MANY_PARENTS):
            missing = merged_keys(self.unknown_parents(), self.orphaned_children(), self.moved_rows())
            if not missing:
                break
            self.load(missing)
        self.doubt_empty_tables()

    def doubt_empty_tables(self) -> None:
        """A table that is empty all at once, with no delete captured, is no mass delete: nothing is concluded."""
        gone: dict[tuple[str, str], int] = defaultdict(int)
        for case, system in self.gone:
            entity = case.record.entity
            if self.looks[entity, system].get(case.record.links[system].key) != Op.DELETE:
                gone[entity, system] += 1
        for entity, system in sorted(place for place, count in gone.items() if self.many(*place, count)):
            rows = self.ask({system: partial(self.engine.systems[system].count, entity)}).get(system)
            if rows == 0:
                self.ignore_absence(entity, system)
        for (entity, system), readings in self.readings.items():
            if (entity, system) in self.engine.empty and any(readings.values()):
                self.engine.empty.discard((entity, system))
                self.decided.closed.append(review_id("empty", entity, system))

    def many(self, entity: str, system: str, count: int) -> bool:
        """Did so many rows vanish that it may be all of a table? A sweep may see the last few of them in a round."""
        return count >= EMPTY_FROM or len(self.state.links(entity, system, None, EMPTY_FROM)) >= EMPTY_FROM

    def ignore_absence(self, entity: str, system: str) -> None:
        for case in self.cases[entity].values():
            if case.readings.get(system, case) is None:
                del case.readings[system]
        self.engine.empty.add((entity, system))
        table = self.engine.entities[entity].tables[system].name
        message = f"{table} in {system} is empty, and nobody was seen deleting its rows: nothing is deleted elsewhere."
        hint = "Was the table emptied or replaced by mistake? Bring the rows back; it is looked at again then."
        id = review_id("empty", entity, system)
        self.decided.reviews.append(Review(id, "empty", entity, None, system, "", "", message, hint, {}, self.now))

    def load(self, keys: dict[tuple[str, str], list[Key]]) -> None:
        """Records and readings of these keys: known ones with all their other keys, unknown ones as rows."""
        asking: dict[str, dict[str, list[Key]]] = defaultdict(lambda: defaultdict(list))  # system -> entity -> keys
        for (entity, system), wanted_keys in keys.items():
            known = self.state.resolve(entity, system, wanted_keys)
            fresh = [gid for gid in dict.fromkeys(known.values()) if gid not in self.cases[entity]]
            for record in self.state.load(entity, fresh).values():
                self.open_case(record, asking)
            for key in wanted_keys:
                if key not in known:
                    asking[system][entity].append(key)
                elif self.looks[entity, system].get(key) == UNKNOWN_OUTCOME:
                    self.cases[entity][known[key]].relink = True
                elif self.looks[entity, system].get(key) == RELOOK:
                    self.cases[entity][known[key]].relook = True
        self.read_keys(asking)

    def open_case(self, record: Record, asking: dict[str, dict[str, list[Key]]]) -> Case:
        case = self.cases[record.entity][record.gid] = Case(record)
        if record.entity in self.edits and (edit := self.edits[record.entity].pop(record.gid, None)) is not None:
            self.readings[record.entity, edit.source][edit.reading.key] = edit.reading
        for system, link in record.links.items():
            if link.key.startswith(BURIED):
                case.readings[system] = None
                continue
            self.at[record.entity, system][link.key] = case
            readings = self.readings[record.entity, system]
            if link.key in readings:
                self.give(case, system, readings[link.key])
            elif system in self.up:
                asking[system][record.entity].append(link.key)
        return case

    def give(self, case: Case, system: str, reading: Reading | None) -> None:
        """The record's reading there; what is odd about it is noted for a closer look."""
        case.readings[system] = reading
        link = case.record.links[system]
        if reading is None:
            if link.existence == "live":
                self.gone.append((case, system))
        elif (
            reading.reborn
            or link.existence == "gone"
            or self.looks[case.record.entity, system].get(link.key) == Op.INSERT
        ):
            self.odd[case.record.entity].append((case, system))

    def read_keys(self, asking: dict[str, dict[str, list[Key]]]) -> None:
        """One snapshot per system, the systems side by side; a system that fails is absent from this round."""
        asked: dict[str, dict[str, list[Key]]] = {}
        for system, by_entity in asking.items():
            missing = {
                e: [k for k in dict.fromkeys(keys) if k not in self.readings[e, system]]
                for e, keys in by_entity.items()
            }
            missing = {e: keys for e, keys in missing.items() if keys}
            if missing and system in self.up:
                asked[system] = missing
        for system, found in self.ask({s: partial(self.engine.systems[s].read, m) for s, m in asked.items()}).items():
            for entity, keys in asked[system].items():
                self.receive(entity, system, keys, found.get(entity, {}))

    def receive(self, entity: str, system: str, keys: list[Key], found: Mapping[Key, Reading]) -> None:
        """Readings go to the records that the keys speak for; the others are rows that nobody knows."""
        readings, at = self.readings[entity, system], self.at[entity, system]
        for key in keys:
            reading = readings[key] = found.get(key)
            if reading is None or reading.archived:
                self.absent[entity].append(Row(system, key))
            case = at.get(key)
            if case is not None:
                self.give(case, system, reading)
            elif reading is not None and not reading.archived:
                self.strangers[entity][Row(system, key)] = reading

    def moved_rows(self) -> dict[tuple[str, str], list[Key]]:
        """Rows that are gone under the key we know may live on under another: the change log tells, captured or not."""
        gone: dict[tuple[str, str], list[Key]] = defaultdict(list)
        for case, system in self.gone:
            place = (case.record.entity, system, case.record.links[system].key)
            if place not in self.traced:
                self.traced.add(place)
                gone[place[:2]].append(place[2])
        missing: dict[tuple[str, str], list[Key]] = {}
        for (entity, system), keys in gone.items():
            moved = self.ask({system: partial(self.engine.systems[system].moved, entity, keys)}).get(system, {})
            left = [new for new in moved.values() if new not in self.readings[entity, system]]
            if left:
                missing[entity, system] = left
        return missing

    def orphaned_children(self) -> dict[tuple[str, str], list[Key]]:
        """Children of records that are gone somewhere: a cascade may have taken them along without a trace."""
        gone = {case.record.gid for case, _ in self.gone} - self.bereft
        self.bereft |= gone
        missing: dict[tuple[str, str], list[Key]] = defaultdict(list)
        for children in self.state.children(gone).values() if gone else ():
            for entity, gid in children:
                for record in self.state.load(entity, [gid]).values():
                    for system, link in record.links.items():
                        if gid not in self.cases[entity] and link.existence == "live":
                            missing[entity, system].append(link.key)
        return dict(missing)

    def unknown_parents(self) -> dict[tuple[str, str], list[Key]]:
        """Parents that readings refer to and nobody knows: they are looked at, too."""
        asked: dict[tuple[str, str], set[Key]] = defaultdict(set)
        for (entity, system), readings in list(self.readings.items()):
            bound, at = self.engine.bound[entity][system], self.at[entity, system]
            for key, reading in readings.items() if bound.refs else ():
                case = at.get(key)
                image = case.record.images.get(system) if case else None
                if reading is not None and (image is None or reading.raws != image.raws):
                    for parent, parent_key in ref_keys(bound, reading, image):
                        asked[parent, system].add(parent_key)
        missing: dict[tuple[str, str], list[Key]] = {}
        for (parent, system), keys in asked.items():
            known = self.parents[parent, system]
            known.update(self.state.resolve(parent, system, keys - known.keys()))
            read = self.readings[parent, system]
            left = [k for k in keys if k not in known and k not in read]
            if left and self.engine.phases[parent] in (contact.LIVE, contact.LINK):
                missing[parent, system] = left
        return missing

    # --- 3. identify --------------------------------------------------------------------------------------------

    def identify(self) -> None:
        """Unknown rows become records: by crosswalk, by match rule, as new ones; or a person is asked."""
        for entity in self.engine.order:
            who.identify(self, entity)

    def find_parent(self, entity: str, system: str, key: Key) -> Gid | None:
        """The gid that a reference stands for. ValueError: the row that it refers to does not exist."""
        known = self.parents[entity, system]
        if key in known:
            return known[key]
        if (case := self.at[entity, system].get(key)) is not None:
            return case.record.gid
        found = self.state.resolve(entity, system, [key]).get(key)
        if found is not None:
            known[key] = found
        elif self.readings[entity, system].get(key, False) is None:
            raise ValueError(f"refers to {entity} {system}:{key}, which does not exist")
        return found

    # --- 4. and 5. decode, merge --------------------------------------------------------------------------------

    def merge(self) -> None:
        """What is agreed, and what each system is to be written. Pure but for the references that are looked up."""
        engine = self.engine
        for name in engine.order:
            rules = self.rules(name)
            creatable = [s for s in engine.entities[name].tables if engine.may_create(name, s)]
            usual.merge(self, name)
            for case in self.cases[name].values():
                self.report.looked += 1
                if not is_quiet(case, creatable):
                    self.merge_case(name, case, rules)
                if engine.pending:
                    self.unpend(case)

    def rules(self, name: str) -> Rules:
        """What a merge of this entity goes by."""
        engine, tolerance = self.engine, self.engine.entities[name].tolerance
        return Rules(self.now, engine.options.tolerance if tolerance is None else tolerance, engine.ranks)

    def merge_case(self, name: str, case: Case, rules: Rules) -> None:
        entity, record = self.engine.entities[name], case.record
        case.turned = existence.observe(record, case.readings)
        if case.turned:
            record.dirty = True
        case.relink |= record.version is None and len(record.links) > 1
        try:
            for system, reading in case.readings.items():
                if reading is not None and not reading.archived:
                    case.sides[system] = side_of(self.engine.bound[name][system], case, reading, self.find_parent)
        except UnknownParent as parent:
            self.wait_for_parent(name, case, parent)
            return
        self.report_bad(case)
        if case.sides:
            sides = list(case.sides.values())
            unread = {bad.field for bad in case.bad}
            case.merged = (None if unread else one_edit(entity, record, sides, rules)) or merge(
                entity, record, sides, rules, unread
            )
            self.take_over(case)
        fate = existence.ALIVE
        if existence.UNIT in record.frozen or any(k.existence != "live" for k in record.links.values()):
            fate = self.decide_fate(name, case)
        self.want(name, case, fate)

    def decide_fate(self, name: str, case: Case) -> existence.Fate:
        """The record is gone somewhere: what that means for the other systems."""
        entity, record, systems = self.engine.entities[name], case.record, list(self.engine.systems)
        accepted = case.merged.accepted if case.merged else ()
        turned, asked = self.turned(name, case), record.frozen.get(existence.UNIT)
        fate = existence.fate(entity, record, turned, accepted, self.young(record), systems, self.now)
        self.decided.journal += fate.journal
        self.decided.reviews += fate.reviews
        if fate.closed:  # also items that this very merge has raised again
            self.decided.closed += fate.closed
            self.decided.reviews = [r for r in self.decided.reviews if r.id not in fate.closed]
        for system, key in fate.tombs.items():
            self.decided.tombs.append((name, system, key, record.gid))
        case.stopped = fate.stopped
        record.dirty |= bool(fate.journal or fate.reviews or fate.closed or fate.tombs or fate.settled)
        record.dirty |= record.frozen.get(existence.UNIT) != asked
        return fate

    def turned(self, name: str, case: Case) -> list[str]:
        """Where people deleted or brought back; and rows of our own that landed after the record was given up."""
        record, policies = case.record, self.engine.entities[name].delete
        dead = [s for s, link in record.links.items() if link.existence == "gone"]
        late = [s for s, k in record.links.items() if k.existence == "live" and policies.get(s) != "ignore"]
        if case.relink and dead and late and not case.turned:
            for s in dead:
                record.links[s] = record.links[s]._replace(settled=False)
            record.dirty = True
        return case.turned

    def take_over(self, case: Case) -> None:
        """The merge's result becomes the record's."""
        record, merged = case.record, case.merged
        assert merged is not None
        for system, image in merged.images.items():
            old = record.images.get(system)
            if old is not image and (old is None or old[:3] != image[:3]):
                record.images[system] = image
                record.dirty = True
        frozen = merged.frozen_units
        if record.frozen:
            frozen = {k: v for k, v in record.frozen.items() if k == existence.UNIT} | frozen
        if merged.version != record.version or frozen != record.frozen or merged.stale:
            record.version, record.frozen = merged.version, frozen
            record.stale.update(merged.stale)
            record.dirty = True
        self.decided.journal += merged.journal
        self.decided.reviews += merged.reviews
        self.decided.closed += merged.closed
        self.report.conflicts += sum(line.action in ("conflict", "override", "stale") for line in merged.journal)

    def young(self, record: Record) -> list[str]:
        """Systems with a live child that the others have not seen: a delete of the parent would take it along."""
        if not any(link.existence == "gone" and not link.settled for link in record.links.values()):
            return []
        out: set[str] = set()
        for child_entity, gid in self.state.children([record.gid]).get(record.gid, []):
            child = self.cases[child_entity].get(gid)
            known = child.record if child else self.state.load(child_entity, [gid]).get(gid)
            if known is not None:
                live = [s for s, link in known.links.items() if link.existence == "live"]
                out.update(s for s in live if any(t not in known.links for t in record.links))
        return sorted(out)

    def want(self, name: str, case: Case, fate: existence.Fate) -> None:
        """Turn what differs into intents, by system."""
        engine, record = self.engine, case.record
        frozen = case.merged.frozen if case.merged else set()
        for system, table in engine.entities[name].tables.items():
            link = record.links.get(system)
            kind = fate.writes.get(system)
            if kind is not None:
                values = {}
                image = record.images.get(system)
                if kind is WriteKind.RESTORE and image is not None:
                    values = wanted(engine.entities[name], record, image, table, frozen)
                self.intend(name, system, Intent(case, kind, values))
            elif link is None:
                version = record.version
                if not case.stopped and version is not None and self.may_create(name, case, system):
                    placed = engine.bound[name][system].places
                    values = {i: version.values[i] for i in placed if version.origins[i] and i not in frozen}
                    given = engine.bound[name][system].given
                    values = {i: v for i, v in values.items() if v is not None or i not in given}
                    self.intend(name, system, Intent(case, WriteKind.INSERT, values))
            elif link.existence == "live" and table.write and system in record.images:
                values = wanted(engine.entities[name], record, record.images[system], table, frozen)
                if values:
                    self.intend(name, system, Intent(case, WriteKind.UPDATE, values))
        if case.relink:
            self.relink(name, record)

    def may_create(self, name: str, case: Case, system: str) -> bool:
        """What `create` says of this record, as it is agreed now, and of what it refers to."""
        if (name, system) not in self.engine.depending:
            return self.engine.may_create(name, system)
        try:
            why = self.hindrance(name, case.record, system, set())
        except ExpressionError as error:
            said = f"Nobody can say whether to create it in {system} (create): {error}"
            outcome.refuse(self, Intent(case, WriteKind.INSERT, {}), system, str(error), "Correct it.", said)
            return False
        if why:
            self.engine.held_back(name, case.record.gid, system, why)
        return not why

    def hindrance(self, name: str, record: Record, system: str, seen: set[Gid]) -> str:
        """Why it is not to be created there: its condition, or that of a record that it refers to and that is not
        there; then it is created when that one is. Raises `ExpressionError`."""
        entity = self.engine.entities[name]
        if creating.conditional(entity, system):
            case = self.cases[name].get(record.gid)
            if why := creating.hindrance(entity, record, system, [bad.field for bad in case.bad] if case else ()):
                return why
        seen.add(record.gid)
        for i, parent in self.engine.bound[name][system].refs.items():
            gid = record.version.values[i] if record.version is not None else None
            if gid is None or gid in seen or (parent, system) not in self.engine.depending:
                continue
            found = self.known(parent, str(gid))
            if found is not None and system not in found.links and self.withheld(parent, found, system, seen):
                return f"{entity.fields[i].name} is not there"
        return ""

    def known(self, name: str, gid: Gid) -> Record | None:
        """A record as this round has it, or the state."""
        case = self.cases[name].get(gid)
        return case.record if case is not None else self.state.load(name, [gid]).get(gid)

    def withheld(self, name: str, record: Record, system: str, seen: set[Gid]) -> bool:
        try:
            return bool(self.hindrance(name, record, system, seen))
        except ExpressionError:
            return True  # which is asked about when that record is looked at

    def intend(self, name: str, system: str, intent: Intent) -> None:
        """One row is to be written: now, or when the system is back."""
        case = intent.case
        if system not in self.up or (intent.kind is not WriteKind.INSERT and system not in case.readings):
            self.pend(case, system, "down", f"{system} does not answer")
            return
        refusal = applying.unfit(self.engine.bound[name][system], intent.values)
        if refusal is not None:
            outcome.refuse(self, intent, system, refusal[1], "Shorten the value, widen the column, or say `lossy`.")
            return
        target = self.targets.setdefault(system, Target(self.engine.systems[system]))
        removal = intent.kind in (WriteKind.DELETE, WriteKind.ARCHIVE)
        (target.removals if removal else target.intents).setdefault(name, []).append(intent)

    def relink(self, name: str, record: Record) -> None:
        """A link made by match stands in the systems, too, before the state records it (I10)."""
        rows = who.crosswalk_rows(name, record)
        for system, table in self.engine.entities[name].tables.items():
            if table.write and system in self.up:
                self.targets.setdefault(system, Target(self.engine.systems[system])).links += rows

    def unlink_in(self, system: str, row: Crosswalk) -> None:
        """A crosswalk row leaves one system."""
        self.targets.setdefault(system, Target(self.engine.systems[system])).unlinks.append(row)

    def unlink(self, name: str, row: Crosswalk) -> None:
        """A key that speaks for nobody any more leaves the crosswalks, so that it may be used again."""
        for system, table in self.engine.entities[name].tables.items():
            if table.write and system in self.up:
                self.unlink_in(system, row)

    # --- 7. apply -----------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Write each target in one transaction of its own, side by side, and leave it open."""
        jobs: dict[str, Callable[[], None]] = {}
        arrived: SimpleQueue[usual.Part | None] = SimpleQueue()
        for system, target in self.targets.items():
            if target.empty:
                continue
            fence = Fence(self.engine.name, self.engine.epochs[system], self.number)
            encoders = self.encoders(system, target)
            jobs[system] = partial(applying.apply, target, fence, self.engine.order, *encoders, arrived, crash.point)
        try:
            # Of one part nothing can be done before it is written everywhere.
            done = self.ask(jobs, partial(usual.follow, self, arrived, len(jobs)) if len(self.parts) > 1 else None)
        except BaseException:
            self.rollback()
            raise
        try:
            for system, target in self.targets.items():
                if system in done:
                    outcome.take(self, system, target)
                else:
                    outcome.failed(self, system, target)
        except BaseException:  # the state, or a system that is asked once more
            self.rollback()
            raise

    def encoders(self, system: str, target: Target) -> tuple[dict[str, Encoder], dict[tuple[str, Gid], Key]]:
        """Keys of all parents that the intents refer to; rows made in this transaction come on top."""
        made: dict[tuple[str, Gid], Key] = {}
        asked: dict[str, set[Gid]] = defaultdict(set)
        for name, intents in target.intents.items():
            refs = self.engine.bound[name][system].refs
            for intent in intents if refs else ():
                for i, parent in refs.items():
                    value = intent.values.get(i)
                    if value is not None:
                        asked[parent].add(str(value))
        for parent, gids in asked.items():
            for gid, key in self.state.keys(parent, system, gids).items():
                made[parent, gid] = key
            for gid in gids:
                case = self.cases[parent].get(gid)
                link = case.record.links.get(system) if case else None
                if link is not None and link.existence == "live":
                    made[parent, gid] = link.key
        encoders = {
            name: Encoder(self.engine.entities[name], self.engine.bound[name][system], lambda e, g: made.get((e, g)))
            for name in {*target.intents, *target.removals}
        }
        return encoders, made

    def rollback(self) -> None:
        for target in self.targets.values():
            if target.transaction is not None:
                target.transaction.rollback()
                target.transaction = None

    # --- 8. decide ----------------------------------------------------------------------------------------------

    def decide(self) -> None:
        """Everything that this round decided becomes durable, before any target is."""
        decided = self.decided
        usual.settle(self)
        decided.records = [c.record for cases in self.cases.values() for c in cases.values() if c.record.dirty]
        decided.writing = tuple(s for s, t in self.targets.items() if t.transaction is not None)
        who.index_readings(self)
        self.close_answered()
        self.report.reviews = len(self.engine.waiting.new_questions(decided))
        decided.reviews = self.engine.waiting.still_asked(decided)
        self.engine.waiting.wake(self)
        self.report.worked |= bool(self.report.looked)
        if not self.has_news():
            return
        decided.meta.update(self.engine.complete.meta(self))
        try:
            self.state.commit(decided)
        except BaseException:
            self.rollback()
            raise
        self.engine.remember(decided)

    def has_news(self) -> bool:
        d = self.decided
        return bool(
            d.records
            or d.edited
            or d.writing
            or d.journal
            or d.reviews
            or d.closed
            or d.pending
            or d.unpended
            or d.looks
            or d.looked
            or d.matches
            or d.unmatched
            or d.tombs
            or d.positions
            or d.meta
        )

    # --- 9. commit, record; 10. acknowledge ---------------------------------------------------------------------

    def commit(self) -> None:
        """The targets commit; what was prepared becomes the image."""
        for system, target in self.targets.items():
            if target.transaction is None:
                continue
            try:
                self.engine.call(system, target.transaction.commit)
            except (Transient, Halt, Taken) as error:
                self.engine.doubt(system, error)  # the fence will tell
                continue
            crash.point(f"applied:{system}")
            self.state.settle(system, landed=True)

    def acknowledge(self) -> None:
        """The sources may let go of what this round has seen (I1)."""
        jobs = {
            s: partial(self.engine.systems[s].acknowledge, b.position)
            for s, b in self.batches.items()
            # Entries of a table that takes no part (any more) give no change, and must go all the same.
            if b.position is not None and (b.changes or b.emptied or b.gaps or s in self.decided.positions)
        }
        self.ask(jobs)

    # --- what several stages need -------------------------------------------------------------------------------

    def insist(self, system: str, job: Callable[[], T]) -> T:
        """One more call to a system whose outcomes are being taken in. `Abandoned`: it cannot go on."""
        try:
            return self.engine.call(system, job)
        except (Transient, Halt, Taken) as error:
            raise Abandoned(system, error) from error

    def ask(self, jobs: Mapping[str, Callable[[], T]], meanwhile: Callable[[], None] | None = None) -> dict[str, T]:
        """Run one job per system, side by side. One that cannot go on now is absent from the rest of the round."""
        answers, failed = self.engine.side_by_side(jobs, meanwhile)
        for system, error in failed.items():
            self.drop(system, error)
        return answers

    def asking(self, system: str, job: Callable[[], T], at_once: bool = False) -> Callable[[], T | None]:
        """The same without waiting yet: to be called for what the job gives; None: the system is absent by now.
        `at_once`: it is called next, so the job may as well be done then."""
        result = partial(self.engine.call, system, job) if at_once else self.engine.begin(system, job)

        def answer() -> T | None:
            try:
                found = result()
            except (Transient, Halt, Taken) as error:
                if system in self.up:
                    self.drop(system, error)
                return None
            return found if system in self.up else None

        return answer

    def drop(self, system: str, error: Stopped) -> None:
        """The system takes no part any more: what it said is neither used up nor acknowledged."""
        self.engine.went_down(system, error)
        self.up = [s for s in self.up if s != system]
        self.report.down.append(system)
        batch = self.batches.pop(system, None)
        self.decided.positions.pop(system, None)
        for change in batch.changes if batch is not None else ():
            self.decided.looks.append(Look(change.entity, system, change.key, self.now, "down"))
        for (entity, where), keys in self.looks.items():
            if where == system:  # what the state or a sweep wanted to be looked at still is
                self.decided.looks += [Look(entity, system, key, self.now, reason) for key, reason in keys.items()]

    def look_again(self, entity: str, system: str, key: Key, reason: str, after: int = 0) -> None:
        self.decided.looks.append(Look(entity, system, key, self.now + after, reason))

    def arrive(self, record: Record, system: str) -> None:
        """The record is in that system now."""
        if (record.entity, system) in self.engine.depending:
            self.arrived.add((record.gid, system))

    def wait_for_parent(self, name: str, case: Case, parent: UnknownParent) -> None:
        """The record waits for its parent: nothing of it is decided, it is looked at again (I8)."""
        system, link = next(iter(case.record.links.items()))
        self.engine.waiting.wait(self, (name, system, link.key), parent)

    def pend(self, case: Case, system: str, reason: str, message: str) -> None:
        """Something is wanted there and cannot be done now; it is tried again, later each time."""
        if reason == "down" and self.engine.is_halted(system):
            reason, message = "halted", f"{system} is halted: {self.engine.down[system].message}"
        old = self.engine.pending.get((case.record.gid, system))
        attempts = old.attempts + 1 if old and old.reason == reason else 1
        # What waits for a system follows when it is back, however often people edited it meanwhile.
        due = self.now + self.engine.back_off(1 if reason in ("down", "halted") else attempts, system)
        since = old.since if old and old.reason == reason else self.now
        self.decided.pending.append(
            Pending(case.record.gid, case.record.entity, system, reason, message, since, due, attempts)
        )

    def unpend(self, case: Case) -> None:
        """What was pending is settled, unless this round says otherwise (the state takes both in order)."""
        for system in self.engine.systems:
            if (case.record.gid, system) in self.engine.pending:
                self.decided.unpended.append((case.record.gid, system))

    def close_answered(self) -> None:
        """Items about a record's values or refusals that this look did not raise again are answered by the facts."""
        raised = {review.id for review in self.decided.reviews}
        for cases in self.cases.values():
            for gid in cases.keys() & self.engine.open_items.keys():
                self.decided.closed += [id for id in self.engine.open_items[gid] if id not in raised]

    def report_bad(self, case: Case) -> None:
        """Values that do not convert: their field is left alone everywhere, and a person is told."""
        name = case.record.entity
        for bad in case.bad:
            self.decided.reviews.append(self.bad_review(name, case, bad))

    def bad_review(self, name: str, case: Case, bad: Bad) -> Review:
        spec = self.engine.entities[name].fields[bad.field]
        key = case.record.links[bad.system].key
        return Review(
            review_id("value", name, case.record.gid, bad.system, spec.name),
            "value",
            name,
            case.record.gid,
            bad.system,
            key,
            spec.name,
            f"{spec.name}: {bad.message}.",
            f"Correct it in {bad.system}; nothing of this field is exchanged until then.",
            {},
            self.now,
        )


def merged_keys(*parts: Mapping[tuple[str, str], list[Key]]) -> dict[tuple[str, str], list[Key]]:
    """Keys to be read, by (entity, system)."""
    out: dict[tuple[str, str], list[Key]] = {}
    for part in parts:
        for place, keys in part.items():
            out[place] = [*out.get(place, []), *keys]
    return out
