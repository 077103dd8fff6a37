"""Unknown rows become records (step 3 of the round): asking the crosswalks, the match index and the rows themselves.

The deciding is in `identity.py`; here is the asking, set-based, for all unknown rows of one entity together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from adapters.ports import System
from agent import identity
from agent.casework import BURIED, Case, UnknownParent
from agent.identity import Hashes, Index, Row, Verdict
from agent.merge import review_id
from config.records import Crosswalk, Entity, Gid, Key, Op, Reading, Table, Value
from state.ports import Journal, Link, Record, Review

if TYPE_CHECKING:
    from agent.round import Round


def reopen(round: Round) -> None:
    """A change of a row, or of a candidate, looks again at the review items that name it."""
    rows = [(entity, system, key) for (entity, system), keys in round.looks.items() for key in keys]
    if not rows or not round.engine.has_identity_items:
        return
    for item in round.state.reviews_about(rows):
        if item.kind in ("ambiguous", "duplicate") and item.key:
            round.looks[item.entity, item.system].setdefault(item.key, "review")


def identify(round: Round, entity: str) -> None:
    """Find, or make, the record of every unknown row of this entity."""
    finder = round.finders[entity] = Finder(round, round.engine.entities[entity])
    finder.run()


def crosswalk_rows(entity: str, record: Record) -> list[Crosswalk]:
    """Every key of the record that speaks for it."""
    return [Crosswalk(entity, record.gid, s, link.key) for s, link in record.links.items() if link.existence == "live"]


class Finder:
    """The unknown rows of one entity, in one round."""

    def __init__(self, round: Round, entity: Entity) -> None:
        self.round, self.entity = round, entity
        self.cases = round.cases[entity.name]
        self.matched = sorted({i for rule in entity.match for i in rule})
        self.rows: dict[Row, Reading] = {}  # unknown, live
        self.fresh: dict[Row, Hashes] = {}  # rows read in this round, and their match values
        self.owner: dict[Row, Gid | None] = {}  # of fresh rows
        self.gone: set[Row] = set()
        self.found: dict[tuple[int, bytes], list[tuple[Row, Gid | None]]] = {}  # what the state's index says
        self.proposed: dict[Row, Gid | None] = {}  # rows that the systems find, not in the index

    def run(self) -> None:
        self.reborn()
        self.collect()
        if self.rows:
            self.moved()
            self.by_crosswalk()
        self.freshen()
        if self.rows:
            self.by_match()

    # --- which rows are unknown -----------------------------------------------------------------------------------

    def reborn(self) -> None:
        """A key that was deleted and used again is another record: the old one loses it (MODEL A6)."""
        for case, system in self.round.odd.pop(self.entity.name, ()):
            link, reading = case.record.links.get(system), case.readings.get(system)
            if link is None or reading is None or reading.archived:
                continue
            if reading.reborn or (link.existence == "gone" and not link.archived) or self.stranger(case, system):
                self.bury(case, system)

    def stranger(self, case: Case, system: str) -> bool:
        """An insert of a known key, where the source cannot tell transactions apart: do all match fields differ?"""
        key = case.record.links[system].key
        image = case.record.images.get(system)
        reading = case.readings[system]
        if self.round.looks[self.entity.name, system].get(key) != Op.INSERT or image is None or reading is None:
            return False
        fields = {i for rule in self.entity.match for i in rule}
        return bool(fields) and all(reading.raws[i] != image.raws[i] for i in fields)

    def bury(self, case: Case, system: str) -> None:
        """The record's row there is gone; its old key speaks for nobody, or for somebody else."""
        record = case.record
        link = record.links[system]
        self.round.decided.tombs.append((self.entity.name, system, link.key, record.gid))
        self.round.unlink(self.entity.name, Crosswalk(self.entity.name, record.gid, system, link.key))
        settled = link.settled if link.existence == "gone" else False
        record.links[system] = Link(BURIED + record.gid, "gone", settled)
        record.images.pop(system, None)
        record.dirty = True
        self.round.at[self.entity.name, system].pop(link.key, None)
        reading = case.readings[system]
        if reading is not None:
            self.round.strangers[self.entity.name][Row(system, link.key)] = reading
        case.readings[system] = None

    def collect(self) -> None:
        round, name = self.round, self.entity.name
        self.rows = dict(round.strangers.pop(name, {}))
        for row in round.absent.pop(name, ()):
            self.gone.add(row)
            if round.engine.has_identity_items and row.key not in round.at[name, row.system]:
                round.decided.closed.append(self.item_id(row))

    # --- known after all ------------------------------------------------------------------------------------------

    def moved(self) -> None:
        """A row whose primary key was changed says which key it had."""
        for row, reading in list(self.rows.items()):
            if reading.was is None:
                continue
            gid = self.round.state.resolve(self.entity.name, row.system, [reading.was]).get(reading.was)
            case = self.cases.get(gid) if gid else None
            if case is not None and case.readings.get(row.system) is None:
                self.adopt_row(case, row, reading, keep_image=True)

    def by_crosswalk(self) -> None:
        """What the systems' own crosswalks say: first the row's own system, then the others."""
        asked: dict[str, list[Key]] = defaultdict(list)
        for row in self.rows:
            asked[row.system].append(row.key)
        name, engine = self.entity.name, self.round.engine

        def ask(system: System) -> dict[str, dict[Key, Gid]]:
            return {s: system.crosswalk(name, s, keys) for s, keys in asked.items()}

        answers = self.round.ask({u: partial(ask, engine.systems[u]) for u in self.round.up})
        gids: dict[Row, Gid] = {}
        for row in self.rows:
            for u in (row.system, *(u for u in answers if u != row.system)):
                gid = answers.get(u, {}).get(row.system, {}).get(row.key)
                if gid is not None:
                    gids[row] = gid
                    break
        if gids:
            self.relink(gids)

    def relink(self, gids: dict[Row, Gid]) -> None:
        """Rows that a crosswalk knows: their record is in the state, or the state was lost and it is made again."""
        name, round = self.entity.name, self.round
        tombs = {
            Row(s, key): gid
            for s in {r.system for r in gids}
            for key, gid in round.state.tomb(name, s, [r.key for r in gids if r.system == s]).items()
        }
        tombs.update((Row(s, key), gid) for e, s, key, gid in round.decided.tombs if e == name)
        gids = {row: gid for row, gid in gids.items() if tombs.get(row) != gid}
        self.open([g for g in dict.fromkeys(gids.values()) if g not in self.cases])
        for row, gid in gids.items():
            case = self.cases.get(gid)
            if case is None:
                case = self.cases[gid] = Case(Record(gid, name, new=True, dirty=True))
            link = case.record.links.get(row.system)
            if link is None or link.existence == "gone" or case.readings.get(row.system, False) is None:
                self.adopt_row(case, row, self.rows[row])
                case.relink = True
                if len(case.record.links) > 1:
                    self.linked(case, "crosswalk")

    def open(self, gids: Sequence[Gid]) -> None:
        """Take these records into the round, too."""
        asking: dict[str, dict[str, list[Key]]] = defaultdict(lambda: defaultdict(list))
        for record in self.round.state.load(self.entity.name, gids).values():
            self.round.open_case(record, asking)
        if asking:
            self.round.read_keys(asking)

    def adopt_row(self, case: Case, row: Row, reading: Reading, keep_image: bool = False) -> None:
        """From now on this row is that record's in its system."""
        record = case.record
        old = record.links.get(row.system)
        if old is not None and old.key != row.key and not old.key.startswith(BURIED):
            self.round.decided.tombs.append((self.entity.name, row.system, old.key, record.gid))
            self.round.unlink(self.entity.name, Crosswalk(self.entity.name, record.gid, row.system, old.key))
            case.relink = True
        record.links[row.system] = Link(row.key)
        self.round.at[self.entity.name, row.system][row.key] = case
        if not keep_image:
            record.images.pop(row.system, None)
        record.dirty = True
        case.readings[row.system] = reading
        self.rows.pop(row, None)
        self.owner[row] = record.gid
        self.round.decided.closed.append(self.item_id(row))

    # --- by match -------------------------------------------------------------------------------------------------

    def hashes_of(self, row: Row, reading: Reading) -> Hashes:
        """The row's match values. Raises UnknownParent."""
        bound = self.round.engine.bound[self.entity.name][row.system]

        def value(i: int) -> Value:
            try:
                canonical = bound.decode(i, reading.raws[i])
                parent = bound.refs.get(i)
                if parent is None or canonical is None:
                    return canonical
                gid = self.round.find_parent(parent, row.system, str(canonical))
            except ValueError:
                return None
            if gid is None:
                raise UnknownParent(parent, row.system, str(canonical))
            return gid

        return identity.hashes(self.entity.match, value)

    def freshen(self) -> None:
        """The match values of all rows read in this round that may have changed."""
        for row, reading in list(self.rows.items()):
            try:
                self.fresh[row] = self.hashes_of(row, reading)
                self.owner[row] = None
            except UnknownParent as parent:
                self.round.engine.waiting.wait(self.round, (self.entity.name, row.system, row.key), parent)
                del self.rows[row]
        for case in self.cases.values() if self.entity.match else ():
            self.freshen_case(case)

    def freshen_case(self, case: Case) -> None:
        for system, reading in case.readings.items():
            image = case.record.images.get(system)
            if reading is None or reading.archived:
                continue
            if image is not None and not case.relink and all(reading.raws[i] == image.raws[i] for i in self.matched):
                continue
            row = Row(system, reading.key)
            if row in self.fresh:
                continue
            try:
                self.fresh[row] = self.hashes_of(row, reading)
                self.owner[row] = case.record.gid
            except UnknownParent:
                continue

    def by_match(self) -> None:
        """The match rules, for all unknown rows together."""
        if self.entity.match:
            self.look_up(self.rows)
            self.propose()
            hits = {r: g for found in self.found.values() for r, g in found if r not in self.fresh} | self.proposed
            self.read_hits(hits)
            self.look_up([r for r in hits if r in self.fresh])
        index = Index(self.hits, self.fresh.get, self.is_live)
        self.by_hash: dict[tuple[int, bytes], list[Row]] = defaultdict(list)
        for row, values in self.fresh.items():
            for rule, value in enumerate(values):
                if value is not None:
                    self.by_hash[rule, value].append(row)
        verdicts = {row: identity.resolve(row, index) for row in self.rows}
        for row, verdict in verdicts.items():
            if row in self.rows:
                self.carry_out(row, verdict)

    def look_up(self, rows: Iterable[Row]) -> None:
        for rule in range(len(self.entity.match)):
            values = {h for row in rows if (h := self.fresh[row][rule]) is not None and (rule, h) not in self.found}
            self.found.update(((rule, v), []) for v in values)
            for value, hits in self.round.state.matches(self.entity.name, rule, values).items():
                self.found[rule, value] = [(Row(h.system, h.key), h.gid) for h in hits]

    def propose(self) -> None:
        """Rows that match and were not captured yet are in no index: the systems are asked, by their own equality.

        Not at first contact, where the index is complete. The rows found are read and compared in canonical form.
        """
        name, round = self.entity.name, self.round
        if round.engine.phases[name] != "live":
            return
        known = {r for found in self.found.values() for r, _ in found}
        for rule, fields in enumerate(self.entity.match):
            asked = self.asked_values(rule, fields)
            if not asked:
                continue
            jobs = {
                s: partial(round.engine.systems[s].find, name, fields, spelled)
                for s, table in self.entity.tables.items()
                if s in round.up
                and all(table.columns[i] is not None for i in fields)
                and (spelled := as_stored(table, fields, asked))
            }
            for system, answers in round.ask(jobs).items():
                keys = {k for keys in answers for k in keys if Row(system, k) not in known}
                gids = round.state.resolve(name, system, keys) if keys else {}
                self.proposed.update({Row(system, k): gids.get(k) for k in keys if Row(system, k) not in self.fresh})

    def asked_values(self, rule: int, fields: tuple[int, ...]) -> list[list[Value]]:
        """The match values of the unknown rows; a reference is another key in each system, so it is not asked for."""
        bounds = self.round.engine.bound[self.entity.name]
        if any(self.entity.fields[i].ref for i in fields):
            return []
        out = []
        for row, reading in self.rows.items():
            if self.fresh[row][rule] is not None:
                out.append([bounds[row.system].decode(i, reading.raws[i]) for i in fields])
        return out

    def read_hits(self, hits: dict[Row, Gid | None]) -> None:
        """A hit is read again before it is believed; a linked one with its whole record."""
        asking: dict[str, dict[str, list[Key]]] = defaultdict(lambda: defaultdict(list))
        records = self.round.state.load(self.entity.name, {g for g in hits.values() if g and g not in self.cases})
        for record in records.values():
            self.round.open_case(record, asking)
        for row, gid in hits.items():
            if gid is None and row.system in self.round.up:
                asking[row.system][self.entity.name].append(row.key)
        self.round.read_keys(asking)
        for gid in records:
            self.freshen_case(self.cases[gid])
        for row, gid in hits.items():
            reading = self.round.readings[self.entity.name, row.system].get(row.key)
            if reading is None or reading.archived:
                self.gone.add(row)
                continue
            if row not in self.fresh:
                try:
                    self.fresh[row] = self.hashes_of(row, reading)
                    self.owner[row] = gid
                except UnknownParent:
                    self.fresh[row] = (None,) * len(self.entity.match)

    def hits(self, rule: int, value: bytes) -> list[tuple[Row, Gid | None]]:
        stored = [(r, g) for r, g in self.found.get((rule, value), []) if r not in self.fresh and r not in self.gone]
        return stored + [(r, self.owner[r]) for r in self.by_hash.get((rule, value), ()) if r not in self.gone]

    def is_live(self, gid: Gid, system: str) -> bool:
        case = self.cases.get(gid)
        link = case.record.links.get(system) if case else None
        if case is None or link is None:
            return False
        if system in case.readings:
            reading = case.readings[system]
            return reading is not None and not reading.archived
        return link.existence == "live"

    # --- what follows ---------------------------------------------------------------------------------------------

    def carry_out(self, row: Row, verdict: Verdict) -> None:
        names = [f.name for f in self.entity.fields]
        rule = identity.rule_name(self.entity.match, verdict.rule, names)
        if verdict.kind == "create":
            self.create(row)
        elif verdict.kind == "link" and verdict.gid in self.cases:
            self.adopt_row(self.cases[verdict.gid], row, self.rows[row])
            self.linked(self.cases[verdict.gid], rule)
        elif verdict.kind == "join":
            group = sorted({row, *verdict.rows})
            readings = {r: self.round.readings[self.entity.name, r.system].get(r.key) for r in group}
            case = self.mint(row)
            for r in group:
                reading = readings[r]
                if reading is not None:
                    self.adopt_row(case, r, reading)
            self.linked(case, rule)
        else:
            self.ask(row, verdict, rule)

    def create(self, row: Row) -> None:
        """A new record; one that may be created nowhere is indexed, but not kept."""
        name, engine = self.entity.name, self.round.engine
        if not any(s != row.system and engine.may_create(name, s) for s in self.entity.tables):
            return
        self.adopt_row(self.mint(row), row, self.rows[row])

    def mint(self, row: Row) -> Case:
        gid = self.round.engine.mint(self.entity.name, row)
        case = self.cases[gid] = Case(Record(gid, self.entity.name, new=True, dirty=True))
        return case

    def linked(self, case: Case, rule: str) -> None:
        case.relink = True
        self.round.report.linked += 1
        for system in case.record.links:
            self.round.arrive(case.record, system)
        keys = ", ".join(f"{s}:{link.key}" for s, link in case.record.links.items())
        self.round.decided.journal.append(
            Journal(self.entity.name, case.record.gid, "link", "", "", None, None, rule, "", None, keys)
        )

    def ask(self, row: Row, verdict: Verdict, rule: str) -> None:
        """A person decides; a change of the row or of a candidate looks again."""
        shown = ", ".join(f"{r.system}:{r.key}" for r in verdict.rows[:5])
        more = f" and {len(verdict.rows) - 5} more" if len(verdict.rows) > 5 else ""
        if verdict.kind == "duplicate":
            message = f"It looks like a duplicate of a record that is linked already ({rule}): {shown}{more}."
            hint = f"Merge or correct the duplicate in {row.system}; it is looked at again when one of them changes."
        else:
            message = f"Several rows match ({rule}): {shown}{more}."
            hint = "Correct the values that they share, or remove the duplicate; each change looks at it again."
        candidates = [[r.system, r.key] for r in verdict.rows]
        self.round.decided.reviews.append(
            Review(
                self.item_id(row),
                verdict.kind,
                self.entity.name,
                None,
                row.system,
                row.key,
                "",
                message,
                hint,
                {"candidates": candidates, "rule": rule},
                self.round.now,
            )
        )

    def item_id(self, row: Row) -> str:
        return review_id("identity", self.entity.name, row.system, row.key)


def as_stored(table: Table, fields: Sequence[int], asked: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Canonical values as the columns of this table hold them; those that cannot stand there are left out."""
    roads = [table.road(i) for i in fields]
    out = []
    for values in asked:
        try:
            out.append([v if r is None else r.write(v, None) for r, v in zip(roads, values, strict=True)])
        except ValueError:
            continue
    return out


def index_readings(round: Round) -> None:
    """Keep the match index up: rows whose match values may have changed, and rows that are gone."""
    for name, finder in round.finders.items():
        round.decided.matches += [(name, row.system, row.key, values) for row, values in finder.fresh.items()]
        round.decided.unmatched += [(name, row.system, row.key) for row in finder.gone]
