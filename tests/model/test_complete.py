"""Up to when each system has been seen whole (`agent.complete`): no later than it is so, at no cost when idle (I11)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.complete import GAP, MORE, SAVED, Seen, stored
from agent.watch import EVERY

from .conftest import MakeWorld
from .harness import SECOND, World


def loaded(world: MakeWorld, **engine: Any) -> World:
    w = world(engine={"batch": 3, **engine})
    for n in range(12):
        w.load(n=n, p=1)
    w.settle()
    return w


def later(w: World, by: int = 2 * EVERY) -> int:
    w.now += by
    return w.now


def seen(w: World, system: str = "b") -> Seen:
    found: Seen = w.engine.seen()["thing"][system]
    return found


def written(w: World) -> Seen:
    return stored({"complete": w.state.get("complete") or "{}"})["thing"]["b"]


def test_an_idle_agent_knows_more_with_each_round_and_writes_nothing(
    world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = loaded(world)
    w.settle_now()
    monkeypatch.setattr(w.state.inner, "put", None)  # neither is called
    monkeypatch.setattr(w.state.inner, "commit", None)
    for _ in range(3):
        now = later(w)
        assert not w.round()
        assert seen(w) == Seen(now, "", "", now)


def test_what_waits_to_be_read_holds_it(world: MakeWorld) -> None:
    """Five edits and batches of three: the second round has all, but not before."""
    w = loaded(world)
    before = later(w)
    w.round()
    for n in range(1, 6):
        w.edit(f"b{n}", p=7)
    after = later(w)
    w.round()
    assert (seen(w).at, seen(w).held_by) == (before, MORE)
    w.round()
    assert (seen(w).at, seen(w).held_by) == (after, "")


def test_no_later_than_its_triggers_were_seen_in_their_place(world: MakeWorld) -> None:
    w = loaded(world)
    looked = later(w)
    w.round()
    w.now += EVERY - SECOND
    w.round()
    assert seen(w).at == looked and seen(w).as_of == w.now


def test_triggers_that_are_gone(world: MakeWorld) -> None:
    """Nothing is claimed until a sweep has found what was missed; then what holds it back is said."""
    w = loaded(world)
    w.systems["b"].broken, w.systems["b"].generation = "are missing", ""
    later(w)
    w.round()
    assert (seen(w).at, seen(w).held_by) == (None, GAP)
    assert seen(w, "a").held_by == ""
    w.systems["b"].broken, w.systems["b"].generation = "", "2"
    now = later(w)
    w.settle_now()
    w.round()
    assert seen(w) == Seen(now, "", "", now)


def test_a_system_that_does_not_answer_stays_where_it_was(world: MakeWorld) -> None:
    w = loaded(world)
    at = later(w)
    w.round()
    w.systems["b"].down = True
    later(w)
    w.round()
    assert (seen(w).at, seen(w).held_by) == (at, "b, which does not answer")
    assert seen(w, "a").at == w.now
    w.systems["b"].down = False
    later(w, 600 * SECOND)
    w.settle_now()
    now = later(w)
    w.round()
    assert seen(w) == Seen(now, "", "", now)


def test_it_is_written_down_with_a_round_that_writes_anyway_and_at_the_end(world: MakeWorld) -> None:
    w = loaded(world)
    now = later(w, SAVED)
    w.edit("b1", p=7)
    w.round()
    assert now <= (written(w).at or 0) <= w.now
    w.settle_now()
    end = later(w)
    w.round()
    w.engine.complete.save()
    assert written(w) == Seen(end, "", "", end)


def test_a_round_that_is_lost_has_seen_nothing(world: MakeWorld) -> None:
    """What was captured and not decided is asked for again: what is written down does not count it in."""
    w = loaded(world)
    w.round()
    w.engine.complete.save()
    before = written(w)
    later(w)
    w.edit("b1", p=7)
    w.now += SAVED
    w.round(crash_at="merged")
    w.start()
    assert written(w) == before


def test_before_the_first_contact_is_over_nothing_is_said(world: MakeWorld) -> None:
    w = world(first_contact="plan")
    w.load(n=1, p=1)
    w.round()
    assert w.engine.seen() == {}


def test_a_gap_during_a_sweep_by_the_clock_is_told_without_an_agent_too(world: MakeWorld) -> None:
    """What stands in the state when the agent dies is not taken for complete."""
    w = loaded(world)
    later(w)
    w.edit("a1", p=3)
    w.settle_now()
    w.engine.sweeper.request("thing", "b", "by the clock")
    w.round()
    w.engine.sweeper.request("thing", "b", "a test", gap=True)
    names = ("complete", "sweep:thing:b", "again:thing:b")
    meta = {name: text for name in names if (text := w.state.get(name)) is not None}
    assert "complete" in meta
    assert (stored(meta)["thing"]["b"].at, stored(meta)["thing"]["b"].held_by) == (None, GAP)
    assert (seen(w).at, seen(w).held_by) == (None, GAP)
    w.settle()
    later(w)
    w.round()
    assert seen(w).at is not None
