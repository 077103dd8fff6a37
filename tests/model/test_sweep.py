"""The sweep finds what no capture has seen, wherever it is interrupted, and nothing else (I11, I7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.sweep import LINKS, SAVED
from agent.sweeping import Swept, load

from .conftest import MakeWorld
from .harness import HOUR, SECOND, START, World

POINTS = ["captured", "read", "merged", "applying:a", "decided", "applied:a", "recorded", "acknowledged"]


def unseen(w: World, act: Callable[[], object], system: str = "b") -> None:
    """Somebody acts while no trigger stands there: nothing of it is in the change log."""
    entries = list(w.systems[system].log)
    act()
    w.systems[system].log[:] = entries


def loaded(world: MakeWorld, rows: int = 12, **engine: Any) -> World:
    w = world(engine={"batch": 3, **engine})
    for n in range(rows):
        w.load(n=n, p=1)
    w.settle()
    return w


def three_kinds(w: World) -> None:
    """An insert, updates and deletes in b, at its beginning, in its middle and at its end."""
    for n in (1, 5, 12):
        w.edit(f"b{n}", p=70 + n)
    for n in (2, 7, 11):
        w.delete(f"b{n}")
    for label in ("x", "y"):
        w.create("b", m=label, n=90, p=9)


def agree(w: World) -> None:
    """All rows of both systems, but for their keys, and what the three kinds must have left."""
    a, b = (sorted(row.raws for row in w.systems[s].rows("thing").values()) for s in "ab")
    assert a == b
    values = {raws[0]: raws[2] for raws in a}
    assert {m: values.get(f"m{m}") for m in (1, 2, 5, 7, 11, 12)} == {1: 71, 2: None, 5: 75, 7: None, 11: None, 12: 82}
    assert values["x"] == values["y"] == 9
    assert len(values) == 11


def gap(w: World, system: str = "b") -> None:
    w.engine.sweeper.request("thing", system, "a test", gap=True)


def swept(w: World, system: str = "b") -> Swept | None:
    return load(w.state.get(f"swept:thing:{system}"), Swept)


def test_a_capture_that_begins_comes_before_the_first_chunk(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that was switched to a watermark: it begins with now, and only the sweep finds what was changed before,
    up to that very moment."""
    w = loaded(world)
    w.stop()
    b = w.systems["b"]
    logged, begun = b.changes, []

    def changes(position: bytes | None, limit: int) -> Any:
        if not begun:
            begun.append(unseen(w, lambda: w.edit("b1", p=77)))
        return logged(position, limit)

    monkeypatch.setattr(b, "changes", changes)
    w.start()
    w.engine.sweeper.request("thing", "b", "a watermark shows no deletes")
    w.settle()
    assert begun and w.get("a1", "p") == 77


def test_inserts_updates_and_deletes_are_found(world: MakeWorld) -> None:
    w = loaded(world)
    unseen(w, lambda: three_kinds(w))
    w.settle()
    assert w.get("a1", "p") == 1, "nobody has seen it"
    gap(w)
    w.settle()
    agree(w)
    done = swept(w)
    assert done is not None and (done.rows, done.found) == (11, 8)
    w.still()


def test_what_has_not_changed_is_neither_looked_at_nor_written(world: MakeWorld) -> None:
    """A sweep of rows that are as they were decides nothing, not even in the state."""
    w = world(engine={"batch": 10})
    for n in range(40):
        w.load(n=n, p=1)
    w.put("a41", m="old", n=1, p=1)
    w.systems["a"].archive("thing", "a41")  # archived before Accord came
    w.settle()
    w.systems["a"].archive("thing", "a1")
    w.settle()
    for system in "ab":
        gap(w, system)
    before, round = w.written(), w.state.last_round()
    for _ in range(60):
        report = w.engine.round()
        assert report.looked == 0
    assert (w.written(), w.state.last_round()) == (before, round)
    assert all(swept(w, s) is not None for s in "ab")
    assert w.engine.notes[-1].endswith("as they were.")


@pytest.mark.parametrize("after", range(1, 9))
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point(world: MakeWorld, point: str, after: int) -> None:
    """The agent dies in the n-th round of a sweep; the next one goes on, and nothing is lost or doubled."""
    w = loaded(world)
    unseen(w, lambda: three_kinds(w))
    gap(w)
    for _ in range(after - 1):
        w.round()
    w.round(crash_at=point)
    w.settle()
    agree(w)
    assert swept(w) is not None
    w.still()


def test_it_goes_on_where_it_was(world: MakeWorld) -> None:
    """After a stop in mid-sweep the rows that were compared are not read again."""
    w = loaded(world, 30)
    unseen(w, lambda: w.edit("b14", p=5))
    gap(w)
    scanned: list[Any] = []
    b: Any = w.systems["b"]
    scan = b.scan
    b.scan = lambda entity, after, limit: scanned.append(after) or scan(entity, after, limit)
    for _ in range(5):
        w.round()
    assert scanned == [None, "b3", "b6", "b9", "b12"]
    w.stop()
    scanned.clear()
    w.settle()
    assert scanned[0] == "b15"
    assert w.get("a14", "p") == 5


def test_its_place_is_written_down_now_and_then(world: MakeWorld) -> None:
    """A sweep that finds nothing is written down every few seconds, not with each chunk."""
    w = loaded(world, 30)
    gap(w)
    puts: list[str] = []
    put = w.state.inner.put
    w.state.put = lambda name, value: puts.append(name) or put(name, value)
    for _ in range(4):
        w.round()
    assert puts == []
    w.now += SAVED
    w.round()
    assert puts == ["sweep:thing:b"]


@pytest.mark.parametrize("point", ["captured", "read", "merged", "applying:a", "applied:a"])
def test_edits_meanwhile(world: MakeWorld, point: str) -> None:
    """People go on editing, behind the sweep and before it, in both systems, also the very rows that it found."""
    w = loaded(world)
    unseen(w, lambda: three_kinds(w))
    gap(w)
    for n in range(9):
        w.during(point, lambda n=n: (w.edit(f"b{12 - n}", n=500 + n), w.edit(f"a{n + 1}", p=600 + n)))  # type: ignore[misc]
    w.settle()
    for key in ("b1", "b3", "b12"):
        row, twin = w.row(key), w.row(f"a{key[1:]}")
        assert row == twin
    assert w.get("b4", "p") == 603
    assert w.get("a8", "n") == 504
    assert not w.lines("delete") or all(line.system == "a" for line in w.lines("delete"))
    rows = [sorted(row.raws for row in w.systems[s].rows("thing").values()) for s in "ab"]
    assert rows[0] == rows[1] or w.reviews()
    w.still()


def test_an_edit_of_a_row_that_was_deleted_unseen_is_a_conflict(world: MakeWorld) -> None:
    """a edits what b has deleted unseen: nobody's doing is dropped, a person is asked."""
    w = loaded(world)
    w.systems["b"].down = True
    w.edit("a5", p=50)
    w.settle()
    w.systems["b"].down = False
    unseen(w, lambda: w.delete("b5"))
    gap(w)
    w.now += 3600 * SECOND
    w.settle()
    assert w.get("a5", "p") == 50
    assert w.kinds() == ["delete"]


@pytest.mark.parametrize("rows", [12, 10, 16])
def test_a_table_that_lost_all_its_rows_deletes_nothing(world: MakeWorld, rows: int) -> None:
    """Chunks of three: no round sees ten rows vanish, but all of them have."""
    w = loaded(world, rows)
    w.systems["b"].rows("thing").clear()
    gap(w)
    w.settle()
    assert len(w.systems["a"].rows("thing")) == rows
    assert w.kinds() == ["empty"]


def test_a_small_table_may_lose_all_its_rows(world: MakeWorld) -> None:
    w = loaded(world, 3)
    w.systems["b"].rows("thing").clear()
    gap(w)
    w.settle()
    assert not w.systems["a"].rows("thing")


@pytest.mark.parametrize("point", ["captured", "read"])
def test_a_system_that_stops_answering(world: MakeWorld, point: str) -> None:
    """b goes down while it is swept: nothing is concluded from its silence, and what was to be looked at still is."""
    w = loaded(world)
    unseen(w, lambda: three_kinds(w))
    gap(w)
    w.round()

    def cut() -> None:
        w.systems["b"].down = True

    w.during(point, cut)
    for _ in range(5):
        w.round()
    assert len(w.systems["a"].rows("thing")) == 12
    w.systems["b"].down = False
    w.now += 3600 * SECOND
    w.settle()
    agree(w)


def test_the_other_system_does_not_answer(world: MakeWorld) -> None:
    w = loaded(world)
    unseen(w, lambda: three_kinds(w))
    gap(w)
    w.systems["a"].down = True
    for _ in range(20):
        w.round()
    assert swept(w) is not None
    w.systems["a"].down = False
    w.now += 3600 * SECOND
    w.settle()
    agree(w)


def test_after_a_gap_a_second_one_follows(world: MakeWorld) -> None:
    """What a sweep has passed may have changed in a gap that comes after it."""
    w = loaded(world)
    gap(w)
    for _ in range(6):
        w.round()
    assert w.engine.sweeper.waiting["thing", "b"].part == LINKS
    unseen(w, lambda: three_kinds(w))
    w.engine.sweeper.request("thing", "b", "by the clock")
    assert w.engine.sweeper.waiting["thing", "b"].part == LINKS, "one that is under way goes on"
    gap(w)
    w.settle()
    agree(w)


@pytest.mark.parametrize("crash", [None, "decided", "recorded"])
def test_a_gap_that_is_seen_while_a_chunk_is_under_way(world: MakeWorld, crash: str | None) -> None:
    """A round that takes a chunk along hears of a gap (a TRUNCATE, a cascade): what the sweep has passed is swept
    again, also when the agent dies in that very round."""
    w = loaded(world)
    gap(w)
    for _ in range(6):
        w.round()
    assert w.engine.sweeper.waiting["thing", "b"].part == LINKS

    def heard() -> None:
        unseen(w, lambda: three_kinds(w))
        gap(w)

    w.acts.setdefault("captured", []).append(heard)
    w.round(crash_at=crash)
    w.settle()
    agree(w)


def test_gap_after_gap_comes_to_an_end(world: MakeWorld) -> None:
    """Each round hears of another gap: every sweep comes to its end all the same, and one more follows the last."""
    w = loaded(world)
    ended: list[str] = []
    for _ in range(60):
        gap(w)
        w.round()
        ended += [note for note in w.engine.notes if "is done" in note]
        w.engine.notes.clear()
    assert len(ended) > 2
    w.settle()
    assert w.engine.sweeper.waiting == {} and w.engine.sweeper.again == {}


def test_not_more_rows_than_allowed(world: MakeWorld) -> None:
    """Four rows a second: three at first, the next three after three quarters of a second; live changes do not wait."""
    w = loaded(world, rows_per_second=4)
    gap(w)
    begun = w.now
    seen: list[int] = []
    for quarter in range(8):
        w.now = begun + quarter * SECOND // 4
        w.round()
        seen.append(w.engine.sweeper.waiting["thing", "b"].rows)
    assert seen == [3, 3, 3, 6, 6, 6, 9, 9]
    w.edit("b1", p=33)
    w.round()
    assert w.get("a1", "p") == 33
    assert w.engine.sweeper.next_due() > w.now - 10 * SECOND


def test_by_the_clock_and_made_up_after_a_stop(world: MakeWorld) -> None:
    """Hourly: nothing before the hour; an agent that was away for a day sweeps once when it is back."""
    w = world(engine={"sweeps": {"thing": "hourly"}})
    for n in range(3):
        w.load(n=n, p=1)
    w.now = (START // HOUR + 1) * HOUR + 800 * SECOND  # past the hour
    w.settle_now()
    hour = (w.now // HOUR + 1) * HOUR
    unseen(w, lambda: w.edit("b1", p=41))
    w.now = hour - SECOND
    w.settle_now()
    assert swept(w) is None and w.get("a1", "p") == 1
    w.now = hour + SECOND
    w.settle_now()
    first = swept(w)
    assert first is not None and w.get("a1", "p") == 41
    w.stop()
    w.now += 24 * HOUR
    unseen(w, lambda: w.edit("b2", p=42))
    w.settle_now()
    again = swept(w)
    assert again is not None and again.at > first.at and w.get("a2", "p") == 42
    w.now += HOUR // 2
    w.settle_now()
    assert swept(w) == again


def test_no_first_contact_no_sweep(world: MakeWorld) -> None:
    """Before an entity is accepted nothing of it is read, after a gap neither."""
    w = world(first_contact="plan")
    w.load(n=1)
    w.round()
    gap(w)
    assert not w.engine.sweeper.waiting
