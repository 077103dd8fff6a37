"""A system that was restored from a backup: the agreed values are written there again, and nothing else (MODEL A2)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agent.restoring import RULE, Restoring
from config.errors import Halt
from config.records import Field

from .conftest import MakeWorld
from .harness import Crash, World


def backup(w: World, system: str = "b") -> Callable[[], None]:
    """All that the database holds; called, it holds it again."""
    s = w.systems[system]
    kept = copy.deepcopy(({n: (t.rows, t.counter) for n, t in s.tables_.items()}, s.log, s.accord, s.cross))

    def restore() -> None:
        w.stop()
        tables, s.log, s.accord, s.cross = copy.deepcopy(kept)
        for name, (rows, counter) in tables.items():
            s.tables_[name].rows, s.tables_[name].counter = rows, counter

    return restore


def halted(w: World) -> None:
    """Nothing is concluded before a person has said so."""
    before = [dict(s.rows("thing")) for s in w.systems.values()]
    with pytest.raises(Halt, match=r"b (was restored from a backup|is another database)"):
        w.start()
    assert before == [dict(s.rows("thing")) for s in w.systems.values()]
    w.stop()


def restored(w: World, system: str = "b", moved: bool = False) -> Restoring:
    """`accord restored`."""
    w.stop()
    w.build()
    restoring = Restoring(w.engine, w.state.inner, system, moved)
    restoring.run()
    w.stop()
    return restoring


def history(w: World) -> None:
    """What was done after the backup: edits on both sides, rows made and deleted on both sides."""
    w.edit("a1", n=2)
    w.settle()
    w.edit("b2", n=3)
    w.delete("a3")
    w.delete("b4")
    w.create("a", m="x", n=7, p=7)
    w.create("b", m="y", n=8, p=8)
    w.settle()


def contents(w: World, system: str) -> list[Any]:
    return sorted(row.raws for row in w.systems[system].rows("thing").values())


@pytest.fixture
def w(world: MakeWorld) -> World:
    w = world(engine={"batch": 2})
    for n in range(6):
        w.load(n=100 + n, p=1)
    w.settle()
    return w


def test_what_was_agreed_is_written_again(w: World) -> None:
    restore = backup(w)
    history(w)
    agreed, rounds = contents(w, "a"), w.state.last_round()
    assert agreed == contents(w, "b")
    restore()
    halted(w)
    done = restored(w)
    assert done.is_behind
    assert done.counts == {"update": 2, "create": 2, "delete": 2}
    w.settle()
    assert contents(w, "a") == agreed == contents(w, "b")
    w.still()
    w.edit("b1", n=9)
    w.settle()
    assert w.get("a1") == 9, "and it goes on"
    fence = w.systems["b"].accord
    assert fence is not None and rounds < fence.round <= w.state.last_round()


def test_what_is_written_over_stands_in_the_journal(w: World) -> None:
    restore = backup(w)
    history(w)
    restore()
    w.systems["b"].update("thing", "b5", p=55)  # somebody edits what was restored
    restored(w)
    w.settle()
    lines = [e.line[3:7] for e in w.state.inner.journal("thing") if e.line.rule == RULE]
    assert sorted(lines) == [("b", "n", 100, 2), ("b", "n", 101, 3), ("b", "p", 55, 1)]
    assert w.get("b5", "p") == 1


def test_deletes_are_asked_about_where_the_mapping_says_so(world: MakeWorld) -> None:
    """`delete = review`: a row that is there again stays until a person has said what is to happen."""
    w = world(delete="review")
    for n in range(3):
        w.load(n=n, p=1)
    w.settle()
    restore = backup(w)
    w.delete("b2")
    w.delete("a2")
    w.settle()
    restore()
    restored(w)
    w.settle()
    assert w.kinds() == ["delete"]
    assert w.row("b2") is not None and w.row("a2") is None


def test_numbers_that_were_given_twice(w: World) -> None:
    """The sequence went back, too: a row that people have entered since has the key of one that came after the backup.
    Neither is taken for the other."""
    restore = backup(w)
    w.create("a", m="x", n=7, p=7)
    w.settle()
    assert w.get("b7") == 7
    restore()
    assert w.systems["b"].insert("thing", m="z", n=9, p=9) == "b7"
    restored(w)
    w.settle()
    assert contents(w, "a") == contents(w, "b")
    assert [raws for raws in contents(w, "a") if raws[0] in ("x", "z")] == [("x", 7, 7), ("z", 9, 9)]
    assert not w.reviews()
    w.still()


def test_a_key_of_a_lost_row_is_given_again_later(w: World) -> None:
    """No crosswalk says any more that it was another record's."""
    w.systems["b"].tables_["thing"].counter = 20
    restore = backup(w)
    assert w.create("b", m="x", n=7, p=7) == "b21"
    w.settle()
    assert ("thing", "b", "b21") in w.systems["a"].cross
    restore()
    w.systems["b"].tables_["thing"].counter = 30  # the row comes back as b31
    restored(w)
    w.settle()
    assert w.get("b31") == 7
    assert ("thing", "b", "b21") not in w.systems["a"].cross
    w.systems["b"].insert("thing", "b21", m="z", n=9, p=9)
    w.settle()
    assert contents(w, "a") == contents(w, "b")
    assert len(contents(w, "a")) == 8


def test_what_the_log_held_is_of_the_time_before(world: MakeWorld) -> None:
    """A key that was given again, in the backup's change log: it was dealt with long ago."""
    w = world(match=())
    for n in range(6):
        w.load(n=n, p=1, only="a")
    w.settle()
    b = w.systems["b"]
    b.delete("thing", "b2")
    b.insert("thing", "b2", m="new", n=5, p=5)
    restore = backup(w)
    w.settle()
    w.edit("a1", n=2)
    w.settle()
    agreed = contents(w, "a")
    restore()
    restored(w)
    w.settle()
    assert contents(w, "a") == agreed == contents(w, "b")
    assert not w.reviews()


def test_a_key_that_was_changed_after_the_backup(world: MakeWorld) -> None:
    """The row is there under its old key; it is not created a second time."""
    w = world(match=())
    for n in range(6):
        w.load(n=n, p=1, only="a")
    w.settle()
    w.create("a", m="x", n=7, p=7)  # Accord makes b7: the crosswalk there knows it
    w.settle()
    restore = backup(w)
    w.systems["b"].rekey("thing", "b7", "b77")
    w.settle()
    w.edit("a7", n=8)
    w.settle()
    restore()
    restored(w)
    w.settle()
    assert contents(w, "a") == contents(w, "b")
    assert w.get("b7") == 8 and w.row("b77") is None


def test_a_row_that_was_taken_out_of_the_archive(world: MakeWorld) -> None:
    tables = {"b": {"archive": {"gone": 1}, "restore": {"gone": 0}}}
    w = world(delete="archive", tables=tables)
    w.load(n=1, p=1)
    w.load(n=2, p=2)
    w.settle()
    w.systems["b"].archive("thing", "b1")
    restore = backup(w)
    w.systems["b"].archive("thing", "b1", False)
    w.edit("a2", n=5)
    w.settle()
    restore()
    restored(w)
    w.settle()
    assert not w.systems["b"].rows("thing")["b1"].archived
    assert not w.systems["a"].rows("thing")["a1"].archived
    w.still()


def test_a_counter_is_not_counted_twice(world: MakeWorld) -> None:
    """a:n=17 of 10, b back at 10: 17 in both, not 10 and not 24."""
    w = world([Field("n", "int", conflict="sum")])
    w.load(n=10)
    w.settle()
    restore = backup(w)
    w.edit("a1", n=17)
    w.settle()
    restore()
    restored(w)
    w.settle()
    assert w.all() == [17, 17]
    w.edit("b1", n=18)
    w.settle()
    assert w.all() == [18, 18]


def test_the_owner_itself_was_restored(world: MakeWorld) -> None:
    w = world([Field("n", "int", owner="b"), "p"])
    w.load(n=1, p=1)
    w.settle()
    restore = backup(w)
    w.edit("b1", n=2)
    w.settle()
    w.edit("a1", p=3)
    w.settle()
    restore()
    restored(w)
    w.settle()
    assert (w.all(), w.all("p")) == ([2, 2], [3, 3])


@pytest.mark.parametrize("nth", range(1, 12))
def test_it_may_be_broken_off_anywhere(w: World, nth: int) -> None:
    """The command dies at any of its writes: the system stays halted, and the command may be given again."""
    restore = backup(w)
    history(w)
    agreed = contents(w, "a")
    restore()
    w.build()
    done = 0

    def counted(write: Callable[..., None]) -> Callable[..., None]:
        def once_more(*args: Any) -> None:
            nonlocal done
            done += 1
            if done == nth:
                raise Crash("here")
            write(*args)

        return once_more

    inner = w.state.inner
    inner.commit, inner.put = counted(inner.commit), counted(inner.put)
    try:
        Restoring(w.engine, inner, "b", False).run()
    except Crash:
        w.stop()
        halted(w)
        restored(w)
    w.stop()
    w.settle()
    assert contents(w, "a") == agreed == contents(w, "b")
    w.still()


def test_edits_go_on_elsewhere_meanwhile(w: World) -> None:
    """What a person enters in a between the restore and the command is no rollback."""
    restore = backup(w)
    history(w)
    restore()
    w.edit("a1", n=77)
    w.edit("a5", p=66)
    restored(w)
    w.settle()
    assert w.all() == [77, 77] and w.all("p", 5) == [66, 66]
    assert contents(w, "a") == contents(w, "b")


def test_a_database_that_was_moved(w: World) -> None:
    """Same contents on another server: nothing went back, and what people did meanwhile are edits."""
    w.edit("a1", n=2)
    w.settle()
    w.stop()
    w.systems["b"].database = "elsewhere"
    w.systems["b"].log.clear()
    w.edit("b2", n=5)
    w.systems["b"].log.clear()
    w.delete("b3")
    w.systems["b"].log.clear()
    halted(w)
    done = restored(w, moved=True)
    assert not done.is_behind
    w.settle()
    assert w.all("n", 2) == [5, 5]
    assert w.all("n", 3) == ["gone", "gone"]
    w.still()


def test_objects_that_were_made_again_by_somebody_else(w: World) -> None:
    """The fence begins anew: it looks like a backup, and a person says that it is none."""
    w.edit("a1", n=2)
    w.settle()
    w.stop()
    b = w.systems["b"]
    b.unprepare()
    w.edit("b2", n=5)
    b.log.clear()
    halted(w)
    restored(w, moved=True)
    w.settle()
    assert w.all("n", 2) == [5, 5] and w.all() == [2, 2]
    w.still()
