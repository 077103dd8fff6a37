"""Do the systems hold the same? Rows are paired by the links that the state knows and compared, without the merge.

Every table is scanned in pages; whatever does not agree at once is *suspect*, and is read again at the end, when the
scan is through: what people changed meanwhile is compared as it is then. What still differs is reported, with the
reason where it is known (`agent.reasons`). Nothing is written anywhere. What has to be remembered of each row lies in
a file without a name, so memory stays flat.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from adapters.ports import System
from agent import contact
from agent.places import Held, Rows, alike, places
from agent.reasons import Finding, Reasons, Sight
from config.records import Entity, Gid, Key, Reading
from state.ports import State

PAGE = 1000  # rows read at a time
LOOKS = 3  # while an agent runs: so often what differs is looked at, until it is reported


@dataclass(slots=True)
class Report:
    """One entity compared."""

    name: str
    phase: str  # of its first contact; held: nothing was compared
    rows: dict[str, int]  # by system; archived ones left out
    agree: int = 0  # records that are the same in all systems
    differ: int = 0  # records with a field that differs, without a known reason
    fields: Counter[str] = field(default_factory=Counter)  # of those
    only: Counter[str] = field(default_factory=Counter)  # by the systems that have it: missing elsewhere, unexplained
    known: Counter[str] = field(default_factory=Counter)  # by reason: does not agree, and that is known
    samples: dict[str, list[Finding]] = field(default_factory=lambda: defaultdict(list))  # "differs", "only", reasons

    @property
    def agrees(self) -> bool:
        """But for what is known."""
        return not self.differ and not self.only and self.phase != contact.HELD


class Comparison:
    """Compares one entity. `samples`: how many findings of a kind are kept; None = all."""

    def __init__(self, entity: Entity, systems: Mapping[str, System], state: State, samples: int | None) -> None:
        self.entity, self.systems, self.state, self.most = entity, systems, state, samples
        self.places = places(entity, systems)
        self.rows = Rows(self.places, state)
        default = contact.INDEX if entity.first_contact == "auto" else contact.HELD
        self.report = Report(entity.name, state.get(f"phase:{entity.name}") or default, dict.fromkeys(entity.tables, 0))

    def count(self) -> int:
        """How many rows there are to scan."""
        return sum(self.systems[s].count(self.entity.name) for s in self.entity.tables)

    def run(self, scanned: Callable[[int], None], pause: Callable[[], bool]) -> Report:
        """`scanned` hears how many rows were read. `pause` waits a moment while an agent runs; False: none does."""
        if self.report.phase == contact.HELD:
            self.report.rows = {s: self.systems[s].count(self.entity.name) for s in self.entity.tables}
            return self.report
        with closing(Pile()) as pile:
            for system in self.entity.tables:
                for page in self.pages(system):
                    scanned(len(page))
                    self.compare(system, page, pile)
                self.missing(system, pile)
            for _ in range(LOOKS - 1):
                if pile.empty() or not pause():
                    break
                self.weed(pile)
            self.judge(pile)
        return self.report

    # --- the scan ---------------------------------------------------------------------------------------------------

    def pages(self, system: str) -> Iterator[list[Reading]]:
        after: Key | None = None
        while rows := self.systems[system].scan(self.entity.name, after, PAGE):
            yield rows
            after = rows[-1].key

    def compare(self, system: str, page: list[Reading], pile: Pile) -> None:
        """The rows of a page with their records' other rows; a record is compared where it is met first."""
        live = {row.key: row for row in page if not row.archived}
        self.report.rows[system] += len(live)
        pile.see(system, live)
        gids = self.state.resolve(self.entity.name, system, live)
        pile.suspect_rows(system, live.keys() - gids.keys())
        order = list(self.entity.tables)
        keys = {s: self.state.keys(self.entity.name, s, gids.values()) for s in order if s != system}
        earlier = [keys[s] for s in order[: order.index(system)]]
        mine = {gid: key for key, gid in gids.items() if not any(gid in met for met in earlier)}
        sights = {gid: Sight({system: live[key]}) for gid, key in mine.items()}
        self.look(sights, {s: {gid: k for gid, k in found.items() if gid in mine} for s, found in keys.items()})
        suspects = [gid for gid, sight in sights.items() if not self.agrees(sight)]
        self.report.agree += len(sights) - len(suspects)
        pile.suspect(suspects)

    def look(self, sights: Mapping[Gid, Sight], keys: Mapping[str, Mapping[Gid, Key]]) -> None:
        """Read these keys, and decode all rows."""
        for system, wanted in keys.items():
            found = self.systems[system].read({self.entity.name: list(wanted.values())}) if wanted else {}
            rows = found.get(self.entity.name, {})
            for gid, key in wanted.items():
                row = rows.get(key)
                if row is not None and not row.archived:
                    sights[gid].rows[system] = row
        by_system: dict[str, list[Reading]] = defaultdict(list)
        for sight in sights.values():
            for system, row in sight.rows.items():
                by_system[system].append(row)
        held = self.rows.held(by_system)
        for sight in sights.values():
            sight.held = {system: held[system, row.key] for system, row in sight.rows.items()}

    def agrees(self, sight: Sight) -> bool:
        return len(sight.rows) == len(self.entity.tables) and not self.differing(sight)

    def differing(self, sight: Sight) -> list[int]:
        """The fields that are not the same in all systems that have the record and a place for them."""
        out = []
        for i in range(len(self.entity.fields)):
            found = [(self.places[s], held[i]) for s, held in sight.held.items() if self.places[s].has(i)]
            if any(not alike(i, *found[n], *other) for n in range(len(found)) for other in found[n + 1 :]):
                out.append(i)
        return out

    def missing(self, system: str, pile: Pile) -> None:
        """Records whose row should be there, and was not scanned."""
        after: Key | None = None
        while links := self.state.links(self.entity.name, system, after, PAGE):
            unseen = pile.unseen(system, [key for key, _ in links])
            pile.suspect(gid for key, gid in links if key in unseen)
            after = links[-1][0]

    # --- the second look --------------------------------------------------------------------------------------------

    def weed(self, pile: Pile) -> None:
        """What agrees by now is no suspect any more."""
        for gids, rows in pile.pages():
            sights = self.sights(gids, rows, pile)
            cleared = [gid for gid, sight in sights.items() if self.agrees(sight)]
            self.report.agree += len(cleared)
            pile.clear([*cleared, *(gid for gid, sight in sights.items() if not sight.rows)])

    def sights(self, gids: list[Gid], rows: list[tuple[str, Key]], pile: Pile) -> dict[Gid, Sight]:
        """These records as they are now; rows that have become records meanwhile are taken along."""
        name = self.entity.name
        wanted = dict.fromkeys(gids)
        for system, key in rows:
            gid = self.state.resolve(name, system, [key]).get(key)
            if gid is not None:
                pile.clear_row(system, key)
                if not pile.is_suspect(gid):
                    pile.suspect([gid])
                    wanted[gid] = None
        sights = {gid: Sight({}) for gid in wanted}
        self.look(sights, self.keys(wanted))
        return sights

    def keys(self, gids: Iterable[Gid]) -> dict[str, dict[Gid, Key]]:
        """Where these records may have a row: also where it was archived or deleted, unless the key is another's."""
        found: dict[str, dict[Gid, Key]] = {s: {} for s in self.entity.tables}
        for gid, record in self.state.load(self.entity.name, gids).items():
            for system, link in record.links.items():
                if system in found:
                    found[system][gid] = link.key
        for system, keys in found.items():
            speaks = self.state.resolve(self.entity.name, system, keys.values())
            found[system] = {gid: key for gid, key in keys.items() if speaks.get(key) == gid}
        return found

    def judge(self, pile: Pile) -> None:
        """Report what does not agree."""
        reasons = Reasons(self.entity, self.places, self.state, self.report.phase)
        for gids, rows in pile.pages():
            sights = self.sights(gids, rows, pile)
            records = self.state.load(self.entity.name, sights)
            for gid, sight in sights.items():
                if self.agrees(sight):
                    self.report.agree += 1
                elif sight.rows and gid in records:
                    self.add(reasons.record(records[gid], sight, self.differing(sight)))
            self.judge_rows([row for row in rows if pile.is_suspect_row(*row)], reasons)

    def judge_rows(self, rows: Iterable[tuple[str, Key]], reasons: Reasons) -> None:
        """Rows that belong to no record."""
        asked: dict[str, list[Key]] = defaultdict(list)
        for system, key in rows:
            asked[system].append(key)
        for system, keys in asked.items():
            found = self.systems[system].read({self.entity.name: keys}).get(self.entity.name, {})
            live = [row for row in found.values() if not row.archived]
            held: dict[tuple[str, Key], tuple[Held, ...]] = self.rows.held({system: live})
            for finding in reasons.rows(system, {row.key: held[system, row.key] for row in live}):
                self.add(finding)

    def add(self, finding: Finding) -> None:
        report = self.report
        if finding.reason:
            report.known[finding.reason] += 1
        elif finding.fields:
            report.differ += 1
            report.fields.update(finding.fields.keys())
        else:
            report.only[" and ".join(finding.present)] += 1
        kept = report.samples[finding.kind]
        if self.most is None or len(kept) < self.most:
            kept.append(finding)


class Pile:
    """Which rows were seen, and what is suspect; in a file without a name that vanishes when it is closed."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE seen (system TEXT, key TEXT, PRIMARY KEY (system, key)) WITHOUT ROWID")
        self._db.execute("CREATE TABLE suspect (system TEXT, key TEXT, PRIMARY KEY (system, key)) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def close(self) -> None:
        self._db.close()

    def see(self, system: str, keys: Iterable[Key]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", ((system, key) for key in keys))

    def unseen(self, system: str, keys: list[Key]) -> set[Key]:
        seen = "SELECT 1 FROM seen WHERE system = ? AND key = ?"
        return {key for key in keys if self._db.execute(seen, (system, key)).fetchone() is None}

    def suspect(self, gids: Iterable[Gid]) -> None:
        self.suspect_rows("", gids)

    def suspect_rows(self, system: str, keys: Iterable[Key]) -> None:
        """Rows that are no record. A record is kept as if it were a row of no system, by its gid."""
        self._db.executemany("INSERT OR IGNORE INTO suspect VALUES (?, ?)", ((system, key) for key in keys))

    def is_suspect(self, gid: Gid) -> bool:
        return self.is_suspect_row("", gid)

    def is_suspect_row(self, system: str, key: Key) -> bool:
        found = self._db.execute("SELECT 1 FROM suspect WHERE system = ? AND key = ?", (system, key))
        return found.fetchone() is not None

    def clear(self, gids: Iterable[Gid]) -> None:
        for gid in gids:
            self.clear_row("", gid)

    def clear_row(self, system: str, key: Key) -> None:
        self._db.execute("DELETE FROM suspect WHERE system = ? AND key = ?", (system, key))

    def empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM suspect").fetchone() is None

    def pages(self) -> Iterator[tuple[list[Gid], list[tuple[str, Key]]]]:
        """Suspect records, and suspect rows; records first."""
        last = ("", "")
        text = "SELECT system, key FROM suspect WHERE (system, key) > (?, ?) ORDER BY system, key LIMIT ?"
        while found := self._db.execute(text, (*last, PAGE)).fetchall():
            yield [key for system, key in found if not system], [row for row in found if row[0]]
            last = found[-1]
