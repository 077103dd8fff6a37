"""Directed traces: what halts one system stops that system only, and nothing is lost meanwhile.

Notation as in `test_traces_landing`; b!x: system b halts at step x of the round.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from config.errors import AccordError, Halt, Problem, Taken, Transient
from config.records import Fence, Field

from .conftest import MakeWorld
from .harness import SECOND, World

STEPS = ["changes", "read", "begin", "apply", "commit", "acknowledge"]


@contextmanager
def halting(world: World, name: str, step: str) -> Iterator[Callable[[], int]]:
    """This step of the round halts there, each time; gives how often it did."""
    system: Any = world.systems[name]
    count = 0

    def fail(*_: object) -> None:
        nonlocal count
        count += 1
        raise Halt(Problem("database", f"{step} must not go on.", "repair it", system=name))

    begin = system.begin

    def begun(fence: Fence) -> Any:
        transaction = begin(fence)
        setattr(transaction, step, fail)
        return transaction

    inside = step in ("apply", "commit")
    setattr(system, "begin" if inside else step, begun if inside else fail)
    try:
        yield lambda: count
    finally:
        delattr(system, "begin" if inside else step)


def loaded(world: MakeWorld, systems: str = "abc") -> World:
    w = world([Field("n", "int"), Field("p", "int"), Field("s", "int", conflict="sum")], systems)
    w.load(n=1, p=1, s=10)
    w.load(n=1, p=1, s=10)
    w.settle()
    return w


def reasons(world: World) -> set[tuple[str, str]]:
    return {(p.system, p.reason) for p in world.state.pending()}


@pytest.mark.parametrize("step", STEPS)
def test_the_others_go_on(world: MakeWorld, step: str) -> None:
    """b!step; a:n=2 c:p=3 s+1 b:s+5 and a creation: a and c agree; b repaired: all agree, each delta counted once."""
    w = loaded(world)
    with halting(w, "b", step):
        w.edit("a1", n=2)
        w.create("a", m="new", n=7, p=7, s=7)
        w.edit("c1", p=3, s=11)
        w.edit("b2", s=15)
        for _ in range(6):
            w.round()
        assert (w.all("n")[::2], w.all("p")[::2]) == ([2, 2], [3, 3])
        assert w.column("a") == w.column("c") == [1, 2, 7]
        if step != "acknowledge":
            assert w.engine.is_halted("b")
            assert (w.get("b1"), w.column("b")) == (1, [1, 1])
            assert ("b", "halted") in reasons(w) or "b" in w.state.unsettled(), "what is wanted there waits"
    w.engine.try_again()
    w.settle()
    assert w.column("a") == w.column("b") == w.column("c") == [1, 2, 7]
    assert (w.all("p"), w.all("s"), w.all("s", 2)) == ([3, 3, 3], [11, 11, 11], [15, 15, 15])
    assert not w.state.pending()
    w.still()


def test_it_is_not_tried_again_by_itself_but_seldom(world: MakeWorld) -> None:
    """b!read: further rounds leave it alone; it stays halted since the first time, and is looked at after a while."""
    w = loaded(world)
    with halting(w, "b", "read") as count:
        w.edit("a1", s=11)  # a sum goes the long way, which reads b
        w.round()
        since = w.engine.down["b"].since
        for n in range(3, 13):
            w.now += 10 * SECOND
            w.edit("a1", n=n)
            w.round()
        assert count() == 1
        w.now += 300 * SECOND
        w.round()
        w.round()
        assert w.engine.down["b"].since == since
    w.now += 300 * SECOND
    w.settle()
    assert w.all() == [12, 12, 12]


def test_no_system_is_left(world: MakeWorld) -> None:
    """a!changes b!changes c!changes: there is nothing to wait for, it ends and says why."""
    w = loaded(world)
    with halting(w, "a", "changes"), halting(w, "b", "changes"), halting(w, "c", "changes"):
        w.round()
        with pytest.raises(Halt, match="must not go on"):
            w.round()


def test_a_restored_backup_stops_that_system_only(world: MakeWorld) -> None:
    """a:n=2, R, b restored to yesterday, start: a and c go on, b's rollback goes nowhere."""
    w = loaded(world)
    b = w.systems["b"]
    backup = (dict(b.tables_["thing"].rows), b.accord, dict(b.cross))
    w.edit("a1", n=2)
    w.settle()
    b.tables_["thing"].rows, b.accord, b.cross = backup
    b.sweep()
    w.stop()
    w.start()
    assert w.engine.is_halted("b")
    w.edit("c1", n=3)
    w.settle()
    assert w.all() == [3, 1, 3]
    assert ("b", "halted") in reasons(w)


def test_another_agent_took_one_system(world: MakeWorld) -> None:
    """Another agent holds b only: it stops there, its fence is left alone, a and c go on."""
    w = loaded(world)
    b = w.systems["b"]
    b.take_fence("acme")
    theirs = b.accord
    w.edit("a1", n=2)
    w.settle()
    assert w.all() == [2, 1, 2]
    assert w.engine.is_halted("b")
    assert b.accord == theirs


def test_an_agent_that_has_no_business_there_reads_no_log(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """b is held by another agent, or is older than the state: its log is asked for neither way, for that would cut off
    who reads it now, and have the server keep it."""
    w = loaded(world)
    w.stop()
    b = w.systems["b"]
    asked: list[str] = []
    for name, system in w.systems.items():
        monkeypatch.setattr(system, "attend", lambda _, name=name: asked.append(name))
    ours, b.accord = b.accord, Fence("other", 1, 0)
    w.start()
    assert w.engine.is_halted("b") and asked == ["a", "c"]
    w.stop()
    b.accord = ours._replace(round=0)
    w.start()
    assert w.engine.is_halted("b") and asked == ["a", "c"] * 2
    w.stop()
    b.accord = ours
    w.start()
    assert not w.engine.is_halted("b") and asked[4:] == ["a", "b", "c"]


@pytest.mark.parametrize("systems", ["ab", "abc"])
def test_another_agent_took_all_systems(world: MakeWorld, systems: str) -> None:
    """A newer agent holds them all; only b is to be written, and the agent ends all the same."""
    w = loaded(world, systems)
    for system in w.systems.values():
        system.take_fence("acme")
    w.edit("a1", n=2)
    with pytest.raises(Taken):
        w.settle()
    assert w.all() == [2, *[1] * (len(systems) - 1)]


def test_an_old_state_ends_it_however_far_it_has_counted(world: MakeWorld) -> None:
    """a:n=2 lands in b; an older state comes back while b is down, and counts on: nothing of b is believed."""
    w = world("np", "abc", places={"b": ["m", "n"], "c": ["m", "p"]})
    w.load(n=1, p=1)
    w.settle()
    w.stop()
    shutil.copy(w.folder / "state0.db", w.folder / "old.db")
    w.edit("a1", n=2)
    w.settle()
    w.stop()
    for tail in ("-wal", "-shm"):
        (w.folder / f"state0.db{tail}").unlink(missing_ok=True)
    shutil.copy(w.folder / "old.db", w.folder / "state0.db")
    w.systems["b"].down = True
    for p in range(2, 9):
        w.edit("a1", p=p)
        w.round()
    w.systems["b"].down = False
    w.now += 600 * SECOND
    with pytest.raises(AccordError, match="older than b"):
        w.settle()


def test_the_fence_is_asked_after_a_commit_that_is_still_under_way(world: MakeWorld) -> None:
    """s+2; b's COMMIT is cut off and lands only later, before anybody else gets its lock: it is counted once."""
    w = loaded(world, "ab")
    b: Any = w.systems["b"]
    begin, under_way = b.begin, []

    def begun(fence: Fence) -> Any:
        if under_way:
            under_way.pop().land()
        transaction = begin(fence)

        def cut() -> None:
            under_way.append(transaction)
            b.transaction = None
            del b.begin  # the only one: from here on all is well
            b.begin = lambda other: (under_way.pop().land() if under_way else None, begin(other))[1]
            raise Transient(Problem("cut", "The connection was cut during COMMIT.", system="b"))

        transaction.commit = cut
        return transaction

    b.begin = begun
    w.edit("a1", s=12)
    w.round()
    w.settle()
    assert w.all("s") == [12, 12]
    w.still()
