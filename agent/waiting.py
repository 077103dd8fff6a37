"""Records that wait for their parent: looked at again later each time, and at once when the parent is there.

In memory only. A look that the state keeps is the safety net: after a restart the pauses begin anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.casework import UnknownParent
from config.records import Gid, Key
from state.ports import Decided, Pending, Review

if TYPE_CHECKING:
    from agent.engine import Engine
    from agent.round import Round

Place = tuple[str, str, Key]  # entity, system, key
LONGEST = 300_000_000  # microseconds between two looks at a record whose parent does not come: five minutes


class Waiting:
    """Who waits for whom, and what was asked already. One per engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.parents: dict[Place, dict[Place, int]] = {}  # parent's row -> rows that wait for it -> looks so far
        self.stuck = {(p.gid, p.system) for p in engine.pending.values() if p.reason == "parent"}
        self.asked = {item.id: _content(item) for item in engine.state.reviews()}

    def wait(self, round: Round, child: Place, parent: UnknownParent) -> None:
        """Nothing of it is decided; it is looked at again after a pause that grows (I8)."""
        waits = self.parents.setdefault((parent.entity, parent.system, parent.key), {})
        waits[child] = tries = waits.get(child, 0) + 1
        pause = min(self.engine.options.parent_retry << min(tries - 1, 20), LONGEST)
        round.look_again(*child, f"parent {parent.entity}", pause)

    def wake(self, round: Round) -> None:
        """Children of what this round has linked or created are looked at in the next."""
        if self.parents:
            for record in round.decided.records:
                for system, link in record.links.items():
                    for child in self.parents.pop((record.entity, system, link.key), ()):
                        round.look_again(*child, "parent")
        if self.stuck:
            self._wake_stuck(round)
        if round.arrived:
            self._wake_withheld(round)

    def _wake_withheld(self, round: Round) -> None:
        """Records that were not created because what they refer to was not there, by its `create`."""
        gids = {gid for gid, _ in round.arrived}
        found = {(gid, child) for gid, children in round.state.children(gids).items() for child in children}
        for name, cases in round.cases.items():  # which the state does not know yet
            refs = self.engine.entities[name].refs
            for case in cases.values() if refs else ():
                values = case.record.version.values if case.record.version is not None else ()
                found |= {(str(values[i]), (name, case.record.gid)) for i in refs if values and values[i] in gids}
        coming = {(p.gid, p.system) for p in round.decided.prepared}
        for parent, (name, child) in sorted(found):
            systems = {s for gid, s in round.arrived if gid == parent and s in self.engine.entities[name].tables}
            record = round.known(name, child)
            if record is None or all(s in record.links or (child, s) in coming for s in systems):
                continue
            place = next(((s, link.key) for s, link in record.links.items() if link.existence == "live"), None)
            if place is not None:
                round.look_again(name, *place, "parent")

    def _wake_stuck(self, round: Round) -> None:
        """Records whose insert had to wait because their parent was not in that system yet."""
        here = {(p.gid, p.system) for p in round.decided.prepared if p.link.existence == "live"}
        here |= {(r.gid, s) for r in round.decided.records for s, k in r.links.items() if k.existence == "live"}
        said = {(p.gid, p.system) for p in round.decided.pending}
        found: dict[tuple[Gid, str], Pending] = {}
        for parent, children in round.state.children({gid for gid, _ in here}).items():
            for place in ((gid, s) for _, gid in children for g, s in here if g == parent):
                if place in self.stuck and place not in said and place in self.engine.pending:
                    found[place] = self.engine.pending[place]._replace(due=round.now, attempts=1)
        round.decided.pending += found.values()

    def new_questions(self, decided: Decided) -> list[Review]:
        """Those that were not asked in these words before."""
        return [r for r in decided.reviews if self.asked.get(r.id) != _content(r)]

    def still_asked(self, decided: Decided) -> list[Review]:
        """What the state has to take: questions that are new or changed, or that were closed in the same round."""
        closed = set(decided.closed)
        return [r for r in decided.reviews if r.id in closed or self.asked.get(r.id) != _content(r)]

    def remember(self, decided: Decided) -> None:
        """It has become durable."""
        for id in decided.closed:
            self.asked.pop(id, None)
        for item in decided.reviews:
            self.asked[item.id] = _content(item)
        self.stuck.difference_update(decided.unpended)
        for p in decided.pending:
            (self.stuck.add if p.reason == "parent" else self.stuck.discard)((p.gid, p.system))


def _content(item: Review) -> int:
    """All but the time."""
    return hash(repr(item[:-1]))
