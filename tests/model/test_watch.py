"""Verify before read: triggers that went or were made again, another database (I11)."""

from __future__ import annotations

from typing import Any

import pytest

from agent.watch import EVERY
from config.errors import Halt

from .conftest import MakeWorld
from .harness import HOUR, Crash, World
from .test_sweep import agree, swept, three_kinds


def loaded(world: MakeWorld, systems: str = "ab", **engine: Any) -> World:
    w = world(systems=systems, engine={"batch": 3, **engine})
    for n in range(12):
        w.load(n=n, p=1)
    w.settle()
    return w


def drop(w: World) -> None:
    """An upgrade of the application takes b's triggers along."""
    w.systems["b"].broken, w.systems["b"].generation = "are missing", ""


def prepare(w: World) -> None:
    w.systems["b"].broken, w.systems["b"].generation = "", "2"


def later(w: World) -> None:
    w.now += 2 * EVERY


def test_nothing_is_swept_at_first(world: MakeWorld) -> None:
    w = loaded(world)
    assert swept(w, "a") is None and swept(w, "b") is None


def test_triggers_that_go_while_it_runs(world: MakeWorld) -> None:
    """What people do meanwhile is found, deletes too; what to do is said once; a's changes flow."""
    w = loaded(world)
    drop(w)
    three_kinds(w)
    w.edit("a3", n=55)
    later(w)
    w.settle_now()
    assert w.get("b3", "n") == 55
    agree(w)
    (said,) = [note for note in w.engine.notes if "not captured" in note]
    assert "the triggers are missing" in said and "accord prepare" in said
    assert w.engine.watch.is_blind("thing", "b") and not w.engine.watch.is_blind("thing", "a")


def test_while_they_are_gone_it_is_swept_again_and_again(world: MakeWorld) -> None:
    w = loaded(world, blind=60_000_000)
    drop(w)
    later(w)
    w.settle_now()
    w.edit("b1", p=71)
    later(w)
    w.settle_now()
    assert w.get("a1", "p") == 1
    w.now += 60_000_000
    w.settle_now()
    assert w.get("a1", "p") == 71


def test_when_they_are_made_again_it_is_swept_once_more(world: MakeWorld) -> None:
    """Edits after the last sweep and before `accord prepare`."""
    w = loaded(world)
    drop(w)
    later(w)
    w.settle_now()
    three_kinds(w)
    prepare(w)
    later(w)
    w.settle_now()
    agree(w)
    assert w.engine.watch.blind == {"a": {}, "b": {}}
    assert any("captured again" in note for note in w.engine.notes)
    w.edit("b3", n=88)
    w.settle_now()
    assert w.get("a3", "n") == 88


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_made_again_between_two_looks(world: MakeWorld, running: bool) -> None:
    """Dropped, edited, prepared: nothing is missing any more, and all the same something was missed."""
    w = loaded(world)
    if not running:
        w.stop()
    drop(w)
    three_kinds(w)
    prepare(w)
    later(w)
    w.settle_now()
    agree(w)
    w.still()


@pytest.mark.parametrize("name", ["sweep:thing:b", "origin:b"])
def test_the_agent_dies_when_it_has_just_seen_it(world: MakeWorld, name: str) -> None:
    """Nothing of the gap is remembered before its sweep is."""
    w = loaded(world)
    drop(w)
    three_kinds(w)
    prepare(w)
    later(w)
    put = w.state.inner.put

    def die(at: str, value: str | None) -> None:
        if at == name:
            raise Crash(at)
        put(at, value)

    w.state.put = die
    w.round()
    assert w.engine is None
    w.settle_now()
    agree(w)


def test_a_system_that_comes_back_without_its_triggers(world: MakeWorld) -> None:
    w = loaded(world)
    w.systems["b"].down = True
    w.settle_now()
    drop(w)
    three_kinds(w)
    w.systems["b"].down = False
    w.now += HOUR
    w.settle_now()
    agree(w)


def test_another_database_at_the_start(world: MakeWorld) -> None:
    """b's url leads elsewhere: both names are said, and nothing is written, not even a fence is taken."""
    w = loaded(world, "abc")
    w.edit("a1", p=5)
    w.stop()
    b = w.systems["b"]
    b.database = "test"
    before, epoch = dict(b.rows("thing")), b.accord
    w.settle_now()
    assert w.engine.is_halted("b")
    problem = w.engine.down_problem("b")
    assert (problem.code, problem.system) == ("another-database", "b")
    assert "the database b1" in problem.message and "the database test" in problem.message
    assert (b.rows("thing"), b.accord) == (before, epoch)
    assert w.get("c1", "p") == 5, "the others go on"
    b.database = "b1"
    w.settle()
    assert w.get("b1", "p") == 5


def test_another_database_while_it_runs(world: MakeWorld) -> None:
    """A name that suddenly leads to another server."""
    w = loaded(world, "abc")
    b = w.systems["b"]
    b.database = "test"
    later(w)
    before, round = dict(b.rows("thing")), b.accord
    w.edit("a1", p=5)
    w.round()
    w.settle_now()
    assert w.engine.is_halted("b")
    assert (b.rows("thing"), b.accord) == (before, round)
    assert w.get("c1", "p") == 5


def test_two_systems_and_one_is_another(world: MakeWorld) -> None:
    w = loaded(world)
    w.stop()
    w.systems["b"].database = "test"
    with pytest.raises(Halt, match="b is another database than before: it was the database b1, it is the database t"):
        w.start()


def test_when_a_system_has_called_nothing_comes_before_what_it_has(world: MakeWorld) -> None:
    """Only that system is asked for changes, nothing is verified and nothing swept; the next round does it all."""
    w = loaded(world)
    w.edit("a3", n=55)
    w.edit("b4", n=66)
    drop(w)
    later(w)
    w.engine.round(called=["a"])
    assert w.get("b3", "n") == 55 and w.get("a4", "n") == 3
    assert not w.engine.watch.is_blind("thing", "b") and not w.engine.sweeper.waiting
    w.engine.round()
    assert w.engine.watch.is_blind("thing", "b") and w.engine.sweeper.waiting
    w.settle_now()
    assert w.get("a4", "n") == 66
