"""The rules of watermark capture, on a database in memory: nothing is missed, little is handed out twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters import horizon, remembered, watermark
from adapters.horizon import SECOND, SLACK, Look, Open
from adapters.polled import Tables
from adapters.remembered import Remembered
from adapters.watermark import Mark, Places, Position, tick
from config.records import Raw, Stamp

ROOT = Path(__file__).parents[2]


class Database:
    """One table of (stamp, key, version), and transactions that stamp rows when they like and show them at commit."""

    exact = True
    assumed = ""

    def __init__(self) -> None:
        self.now = 1000 * SECOND
        self.rows: dict[str, Mark] = {}
        self.open: dict[str, tuple[int, list[Mark]]] = {}
        self.reads: list[int] = []  # how many rows each statement gave
        self.count = 0
        self.meanwhile: Callable[[], None] | None = None  # what people do between the next two statements of a poll

    # --- people ------------------------------------------------------------------------------------------------------

    def put(self, key: str, at: int | None = None) -> None:
        self.count += 1
        self.rows[key] = Mark(self.now if at is None else at, key, self.count)

    def begin(self, name: str) -> None:
        self.open[name] = (self.now, [])

    def write(self, name: str, key: str, at: int | None = None) -> None:
        """Stamped with the start of the transaction, unless something else is said."""
        begun, rows = self.open[name]
        self.count += 1
        rows.append(Mark(begun if at is None else at, key, self.count))

    def commit(self, name: str) -> None:
        for mark in self.open.pop(name)[1]:
            self.rows[mark.key] = mark

    # --- the port ----------------------------------------------------------------------------------------------------

    def look(self, before: Look | None = None) -> Look:
        found = Look(self.now, {name: Open(begun, name) for name, (begun, _) in self.open.items()})
        self._pass()
        return found

    def _pass(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()

    def _sorted(self) -> list[Mark]:
        return sorted(self.rows.values(), key=lambda m: m[:2])

    def _given(self, rows: list[Mark]) -> list[Mark]:
        self.reads.append(len(rows))
        self._pass()
        return rows

    def newest(self) -> Mark | None:
        return next(reversed(self._sorted()), None)

    def after(self, mark: Mark | None, limit: int) -> list[Mark]:
        return self._given([m for m in self._sorted() if mark is None or m[:2] > mark[:2]][:limit])

    def between(self, low: Raw, behind: Mark | None, top: Mark, limit: int) -> list[Mark]:
        wanted = [m for m in self._sorted() if m[:2] <= top[:2] and (behind is None or m[:2] > behind[:2])]
        return self._given([m for m in wanted if behind is not None or m.at >= low][:limit])

    def spell(self, at: Stamp, like: Raw) -> Raw:
        return at

    def moment(self, at: Raw) -> Stamp | None:
        assert isinstance(at, int)
        return at


class Poll:
    """Asks again and again."""

    def __init__(self, database: Database, overlap: int = 0, look: Callable[[Look | None], Look] | None = None) -> None:
        self.database, self.overlap, self.look = database, overlap, look or database.look
        self.marks: dict[str, Position] = {}
        self.restart()
        self()

    def restart(self) -> None:
        self.tables = Tables({"t": self.database}, self.overlap)

    def __call__(self, limit: int = 100) -> list[str]:
        found: list[str] = []
        more = True
        while more:
            polled = self.tables.changes(self.marks, self.look, limit, 0)
            assert len(polled.changes) <= limit
            found += [change.key for change in polled.changes]
            self.marks, more, self.complete = polled.marks, polled.more, polled.complete
        return found


@pytest.fixture
def database() -> Database:
    return Database()


def test_what_stands_there_at_the_start_is_not_new(database: Database) -> None:
    database.put("a")
    database.put("b")
    assert Poll(database)() == []


def test_ties_are_handed_out_across_pages_once(database: Database) -> None:
    database.put("z")
    poll = Poll(database)
    database.now += 10 * SECOND
    for n in range(7):
        database.put(f"k{n}")
    assert poll(limit=3) == [f"k{n}" for n in range(7)]
    assert poll(limit=3) == []


def test_a_late_commit_is_found_without_any_overlap(database: Database) -> None:
    """Others have committed meanwhile, and have been taken at once; it may even have written nothing at the look."""
    poll = Poll(database)
    database.begin("late")
    for n in range(50):
        database.now += 60 * SECOND
        database.put(f"k{n}")
        assert poll() == [f"k{n}"]
    database.write("late", "l")
    database.commit("late")
    assert poll() == ["l"]
    assert poll() == []


def test_an_open_transaction_delays_nothing_and_costs_nothing_until_it_ends(database: Database) -> None:
    poll = Poll(database)
    database.begin("dump")
    for n in range(500):
        database.now += 60 * SECOND
        database.put(f"k{n:03}")
        assert poll() == [f"k{n:03}"]
    assert poll.complete["t"].at == 1000 * SECOND - SLACK
    assert poll.complete["t"].held_by == "dump, open for 8 h"
    assert max(database.reads) <= 2
    database.commit("dump")
    assert poll() == []  # read again, all of it, and handed out once
    assert max(database.reads) >= 499
    assert poll.complete["t"].at == database.now - SLACK and poll.complete["t"].held_by == ""


def test_a_process_that_starts_from_a_position_misses_nothing(database: Database) -> None:
    poll = Poll(database)
    database.begin("late")
    database.write("late", "l")
    for n in range(10):
        database.now += 60 * SECOND
        database.put(f"k{n}")
        poll()
    database.commit("late")
    poll.restart()
    assert poll() == ["l"]


def test_a_position_that_is_asked_for_again_gives_the_same(database: Database) -> None:
    poll = Poll(database)
    for n in range(5):
        database.put(f"k{n}")
    first, again = (poll.tables.changes(poll.marks, database.look, 3, 0) for _ in range(2))
    assert [c.key for c in first.changes] == [c.key for c in again.changes] == ["k0", "k1", "k2"]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_look_comes_before_the_reading(database: Database, restarted: bool) -> None:
    """A transaction that ends after the first of the two is either listed as open or read. The other way round it
    would be neither: a reading that came first did not see it, a look that came then did not list it."""
    database.put("a")
    poll = Poll(database)
    database.begin("late")
    database.write("late", "l")
    for n in range(10):
        database.now += 60 * SECOND
        database.put(f"k{n}")
        poll()
    database.now += 60 * SECOND
    database.put("z")
    database.meanwhile = lambda: database.commit("late")
    if restarted:
        poll.restart()
    found = poll()
    database.now += 60 * SECOND
    assert database.open == {} and "l" in found + poll()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_is_set_back_hides_nothing(database: Database, restarted: bool) -> None:
    """What is stamped then lies far below what was seen; also what was stamped while nobody looked."""
    poll = Poll(database)
    database.put("a")
    assert poll() == ["a"]
    database.now += 3600 * SECOND
    database.put("b")
    assert poll() == ["b"]
    database.now -= 600 * SECOND
    for n in range(3):
        database.now += 60 * SECOND
        database.put(f"k{n}")
    if restarted:
        poll.restart()
    assert poll() == ["k0", "k1", "k2"]
    database.now += SECOND
    database.put("l")
    assert poll() == ["l"]
    assert poll.complete["t"].at == database.now - SLACK


def test_little_is_remembered(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a transaction open for ever: what is forgotten is handed out once more, when it ends."""
    monkeypatch.setattr(remembered, "KEPT", 50)
    monkeypatch.setattr(remembered, "STORED", 20)
    monkeypatch.setattr(remembered, "BLOCK", 1)
    monkeypatch.setattr(watermark, "PAGE", 10)
    poll = Poll(database)
    database.begin("dump")
    for n in range(200):
        database.now += SECOND
        database.put(f"k{n:03}")
        poll()
    _, known = poll.tables._known["t"]
    assert len(known.seen) <= 51 and len(poll.marks["t"].seen) == 20 * remembered.HASH
    database.commit("dump")
    assert poll(limit=7) == [f"k{n:03}" for n in range(150)]
    assert poll(limit=7) == []


def test_a_long_look_for_late_rows_goes_on_where_it_was(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, over several calls, and another process may take over in the middle; fresh rows come first."""
    monkeypatch.setattr(watermark, "PAGE", 10)
    monkeypatch.setattr(watermark, "PAGES", 2)
    poll = Poll(database)
    database.begin("late")
    for n in range(100):
        database.now += SECOND
        database.put(f"k{n:03}")
        poll()
    database.write("late", "l")
    database.write("late", "m", database.now - 5 * SECOND)
    database.commit("late")
    first = poll.tables.changes(poll.marks, database.look, 50, 0)
    assert [c.key for c in first.changes] == ["l"] and first.more and first.complete == {}
    database.put("z")
    second = poll.tables.changes(first.marks, database.look, 50, 0)
    assert [c.key for c in second.changes] == ["z"] and second.more
    poll.marks = second.marks
    poll.restart()
    assert "m" in poll()
    assert poll() == []


def test_nothing_new_is_no_new_position(database: Database) -> None:
    database.put("a")
    poll = Poll(database)
    before = poll.marks
    database.now += 60 * SECOND
    poll()
    assert poll.marks["t"] is before["t"]


def test_nothing_is_read_when_nothing_was_committed(database: Database) -> None:
    database.put("a")
    poll = Poll(database, look=lambda _: database.look()._replace(version=database.count))
    poll()
    database.reads.clear()
    assert poll() == [] and database.reads == []
    database.put("b")
    assert poll() == ["b"]


def test_those_that_had_no_turn_come_first(database: Database) -> None:
    other = Database()
    tables = Tables({"t": database, "u": other}, 0)
    marks = tables.changes({}, database.look, 2, 0).marks
    found: list[str] = []
    for n in range(4):
        for m in range(5):
            database.put(f"t{n}{m}", database.now + 10 * n + m)
        other.put(f"u{n}")
        polled = tables.changes(marks, database.look, 2, 0)
        found += [c.key for c in polled.changes]
        marks = polled.marks
    assert "u0" in found


def test_the_finest_step_of_a_stamp() -> None:
    assert tick("2026-11-24") == 86_400 * SECOND
    assert tick("2026-11-24 10:00:00") == tick("2026-11-24 10:00:00+00") == tick(1_795_514_400) == SECOND
    assert tick("2026-11-24 10:00:00.123") == 1000 and tick("2026-11-24T10:00:00.123456Z") == tick(1.5) == 1


def test_a_row_within_its_tick_is_handed_out_twice() -> None:
    seen = Remembered()
    seen.block(1)
    assert seen.wants(b"a", False)
    seen.add(b"a", False)
    assert not seen.wants(b"a", False) and seen.unsettled and seen.stored() == b""
    assert seen.wants(b"a", True)
    seen.add(b"a", True)
    assert not seen.wants(b"a", True) and not seen.unsettled and seen.stored() == b"a"


def test_a_position_survives_its_bytes() -> None:
    position = Position(("2026-11-24 10:00:00", "7"), 15, (1.5, "k"), 3, b"12345678")
    places = Places(b"log", {"customer": position})
    assert watermark.unpack(watermark.pack(places)) == places
    assert watermark.unpack(None) == watermark.unpack(b'{"ids": []}') == Places()


STEPS = st.tuples(
    st.sampled_from(["begin", "write", "update", "commit", "poll", "page", "restart", "put", "take over"]),
    st.integers(0, 3),
    st.integers(0, 5 * SECOND),
)


@given(st.lists(STEPS, max_size=60))
@example([("begin", 0, 0), ("put", 9, SECOND), ("put", 8, SECOND), ("take over", 0, SECOND), ("commit", 0, 0)])
def test_every_row_is_handed_out_whatever_the_order_of_commits(steps: list[tuple[str, int, int]]) -> None:
    """Transactions that begin, stamp rows anywhere between their start and now, and commit when they like; polls,
    pages and restarts in between; no overlap and no slack at all. What stands in a row in the end was handed out after
    it did."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(horizon, "SLACK", 0)
        seen, rows = _played(steps)
    assert seen == rows


def _played(steps: list[tuple[str, int, int]]) -> tuple[dict[str, Mark], dict[str, Mark]]:
    database = Database()
    poll = Poll(database)
    seen: dict[str, Mark] = {}

    def note(keys: list[str]) -> None:
        seen.update((key, database.rows[key]) for key in keys)

    for step, n, pause in steps:
        database.now += pause
        name = f"x{n}"
        match step:
            case "begin" if name not in database.open:
                database.begin(name)
            case "write" if name in database.open:
                database.write(name, f"k{database.count}", max(database.open[name][0], database.now - pause))
            case "update" if name in database.open:
                database.write(name, f"k{n}")
            case "commit" if name in database.open:
                database.commit(name)
            case "put":  # a transaction of one statement
                database.put(f"p{database.count}")
            case "poll":
                note(poll())
            case "page":
                polled = poll.tables.changes(poll.marks, database.look, 1, 0)
                poll.marks = polled.marks
                note([c.key for c in polled.changes])
            case "restart":
                poll.restart()
            case "take over":  # all is taken, and another process goes on
                note(poll())
                poll.restart()
    for name in list(database.open):
        database.write(name, f"e{name}")  # stamped when it began
        database.commit(name)
    note(poll(limit=2))
    return seen, database.rows


THREADS = """
import importlib, sys, threading
from adapters import watermark
sys.setswitchinterval(1e-6)
for _ in range(300):
    importlib.reload(watermark)
    position = watermark.pack(watermark.Places(b"1", {"customer": watermark.Position(("2", "3"), 4)}))
    start = threading.Barrier(4)
    threads = [threading.Thread(target=lambda: (start.wait(), watermark.unpack(position))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_several_threads_may_read_their_first_position_at_once() -> None:
    """Each system has a thread of its own, and all begin at the same moment; a crash takes the process along."""
    subprocess.run([sys.executable, "-c", THREADS], check=True, cwd=ROOT, timeout=60)
