"""The floor of PostgreSQL's change log: no commit falls below it, however late; and it does rise.

The server is played here: transaction numbers, snapshots and a sequence as PostgreSQL has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.postgresql import floor as module
from adapters.postgresql.floor import Floor, Look

LIMIT = 3


@dataclass
class Server:
    next_txn: int = 100
    last_ended: int = 99
    last_id: int = 0
    running: dict[int, list[int]] = field(default_factory=dict)  # transaction -> ids that it has drawn
    visible: set[int] = field(default_factory=set)
    readable: bool = True  # may the agent ask the sequence?

    def begin(self) -> int:
        self.next_txn += 1
        self.running[self.next_txn - 1] = []
        return self.next_txn - 1

    def draw(self, txn: int) -> None:
        self.last_id += 1
        self.running[txn].append(self.last_id)

    def end(self, txn: int, commit: bool) -> None:
        ids = self.running.pop(txn)
        self.last_ended = max(self.last_ended, txn)
        self.visible |= set(ids) if commit else set()

    def look(self) -> Look:
        xmax = self.last_ended + 1  # what is above has not ended, whether it has begun or not
        xmin = min([*self.running, xmax])
        return Look(xmin, "it sound", str(self.last_id) if self.readable else None, "session", 1)


class Agent:
    def __init__(self, server: Server) -> None:
        self.server, self.floor = server, Floor()
        self.taken: list[int] = []  # handed out, and not deleted yet

    def poll(self) -> None:
        for known in (True, False):
            seen = sorted(id for id in self.server.visible if id > self.floor.id)[:LIMIT]
            if self.floor.holds(self.server.look()) or not known:
                break
        self.floor.rise(self.server.look(), seen[0] if seen else None, seen[-1] if seen else 0)
        if self.floor.wants_mark(self.server.look()):
            self.floor.mark(self.server.next_txn)
            self.server.last_ended = max(self.server.last_ended, self.server.next_txn)
            self.server.next_txn += 1
        self.taken = seen

    def acknowledge(self) -> None:
        self.server.visible -= set(self.taken)
        self.taken = []


@pytest.fixture(autouse=True, scope="module")
def at_once() -> object:
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "LAG", 0)
    yield patch
    patch.undo()


WHAT = ["begin", "draw", "draw", "commit", "commit", "undo", "poll", "poll", "take", "take"]
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 4)), min_size=8, max_size=40)


@settings(max_examples=300)
@given(steps=STEPS, readable=st.booleans())
def test_whatever_commits_is_above_it(steps: list[tuple[str, int]], readable: bool) -> None:
    server = Server(readable=readable)
    agent = Agent(server)
    for what, which in steps:
        open = sorted(server.running)
        if what == "begin":
            server.begin()
        elif what == "poll":
            agent.poll()
        elif what == "take":
            agent.poll()
            agent.acknowledge()
        elif open and what == "draw":
            server.draw(open[which % len(open)])
        elif open:
            server.end(open[which % len(open)], what == "commit")
        assert all(id > agent.floor.id for id in server.visible)
        assert all(id > agent.floor.id for ids in server.running.values() for id in ids)
    for txn in sorted(server.running):
        server.end(txn, True)
    for _ in range(2 * server.last_id + 4):
        agent.poll()
        agent.acknowledge()
    assert not server.visible
    if server.readable:
        assert agent.floor.id == server.last_id, "it rises to the end"


def test_a_higher_number_with_a_lower_id() -> None:
    """The one that ended has the lower number: the snapshot's xmax says nothing of the other."""
    server = Server()
    agent = Agent(server)
    early, late = server.begin(), server.begin()
    server.draw(late)
    server.draw(early)
    server.end(early, True)
    for _ in range(3):
        agent.poll()
        agent.acknowledge()
    assert agent.floor.id == 0
    server.end(late, True)
    agent.poll()
    assert agent.taken == [1]


def look(xmin: int = 10, what: str = "it sound", last: str | None = "5", session: str = "s") -> Look:
    return Look(xmin, what, last, session, 1)


def risen() -> Floor:
    floor = Floor()
    floor.holds(look())
    floor.rise(look(), None, 0)
    floor.mark(10)
    assert floor.holds(look())
    floor.rise(look(), None, 0)
    assert floor.id == 5
    return floor


@pytest.mark.parametrize("now", [look(what="another sound"), look(session="another")])
def test_it_ends_with_the_log_and_with_the_session(now: Look) -> None:
    floor = risen()
    assert not floor.holds(now)
    assert floor.id == 0 and floor.holds(now)


def test_sessions_that_take_turns_are_known_after_a_while() -> None:
    floor = risen()
    assert not floor.holds(look(session="another"))
    assert floor.holds(look()) and floor.holds(look(session="another"))
    assert not floor.holds(look(what="restarted sound"))
    assert not floor.holds(look(what="restarted sound", session="another"))


def test_it_is_found_anew_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = risen()
    monkeypatch.setattr(module, "RENEWED", 0.0)
    assert not floor.holds(look())
    assert floor.id == 0


def test_a_sequence_that_hands_out_in_lots_has_none() -> None:
    floor = Floor()
    floor.holds(look(what="it"))
    floor.rise(look(what="it"), None, 0)
    assert not floor.wants_mark(look(what="it"))
