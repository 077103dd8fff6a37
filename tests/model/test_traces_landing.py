"""Directed traces: what lands, when it counts as landed, and what may be written over (MODEL A1, A2, A3, A5, A13, A15).

Notation of the docstrings: `a b c` systems, `n p q` fields, `a:n=2` a person's edit, R a round, R✗b a round in which
the agent died after b's commit.
"""

from __future__ import annotations

from typing import Any

import pytest

from config.errors import Halt, Problem, Unreachable
from config.records import Field, Key, Raw

from .build import column
from .conftest import MakeWorld
from .harness import SECOND, World

POINTS = ["captured", "read", "merged", "applying:a", "applying:b", "decided", "applied:a", "applied:b"]
POINTS += ["recorded", "acknowledged"]


def tens(raws: list[Raw], old: list[Raw] | None, named: set[int]) -> None:
    """A trigger that nobody can foretell: n keeps whole tens."""
    if isinstance(raws[1], int):
        raws[1] = raws[1] // 10 * 10


# --- A1: the decision is durable before the target's COMMIT ----------------------------------------------------------


@pytest.mark.parametrize("systems", ["ab", "ba"])
@pytest.mark.parametrize("rule", ["latest", "prefer:b"])
@pytest.mark.parametrize("point", POINTS)
def test_an_edit_after_a_crash_had_seen_what_landed(world: MakeWorld, systems: str, rule: str, point: str) -> None:
    """a:n=2, R✗b, a:n=3, R: 3 had seen 2, also where b is preferred or listed first (I6)."""
    w = world([Field("n", "int", conflict=rule)], systems)
    w.load(n=1)
    w.settle()
    w.edit("a1", n=2)
    w.round(crash_at=point)
    w.edit("a1", n=3)
    w.settle()
    assert w.all() == [3, 3]
    assert not w.lines("conflict", "override", "stale")
    assert not w.reviews()


@pytest.mark.parametrize("trigger", [True, False], ids=["trigger", "scale"])
@pytest.mark.parametrize("point", POINTS)
def test_our_own_cut_value_is_no_edit_after_a_crash(world: MakeWorld, trigger: bool, point: str) -> None:
    """b keeps tens and is preferred. a:n=23, R✗b (b holds 20), R: 23 survives in a."""
    kind = "int" if trigger else "decimal"
    columns = {} if trigger else {("b", "n"): column("n", "decimal", scale=-1)}
    field = Field("n", kind, conflict="prefer:b", lossy=frozenset("b"))
    w = world([field], columns=columns)
    if trigger:
        w.systems["b"].tables_["thing"].triggers.append(tens)
    w.load(n=10 if trigger else "10")
    w.settle()
    w.edit("a1", n=23 if trigger else "23")
    w.round(crash_at=point)
    w.settle()
    assert [int(str(v)) for v in w.all()] == [23, 20]
    assert not w.lines("conflict", "override")
    w.still()


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_counts_no_delta_twice(world: MakeWorld, point: str) -> None:
    """sum, all 10. a:+2, b:+5, crash anywhere, R: 17."""
    w = world([Field("n", "int", conflict="sum")])
    w.load(n=10)
    w.settle()
    w.edit("a1", n=12)
    w.edit("b1", n=15)
    w.round(crash_at=point)
    w.settle()
    assert w.all() == [17, 17]
    w.still()


@pytest.mark.parametrize("point", POINTS)
def test_a_delta_after_a_crash_is_added_to_what_landed(world: MakeWorld, point: str) -> None:
    """sum, all 10. a:+2, R✗b, b:+1, R: 13."""
    w = world([Field("n", "int", conflict="sum")])
    w.load(n=10)
    w.settle()
    w.edit("a1", n=12)
    w.round(crash_at=point)
    held = w.get("b1")
    assert isinstance(held, int)
    w.edit("b1", n=held + 1)
    w.settle()
    assert w.all() == [13, 13]


@pytest.mark.parametrize("point", POINTS)
def test_the_loser_of_a_conflict_is_journaled_before_it_is_overwritten(world: MakeWorld, point: str) -> None:
    """b:n=3, a:n=2 (2 wins and is written to b), crash before Record, R: a journal line names 3 (I5)."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("b1", n=3)
    w.edit("a1", n=2)
    w.round(crash_at=point)
    w.settle()
    assert w.all() == [2, 2]
    assert w.named(3, "conflict")


@pytest.mark.parametrize("match", [(), ((0,),)], ids=["no match value", "matched"])
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_creates_nothing_twice(world: MakeWorld, match: tuple[tuple[int, ...], ...], point: str) -> None:
    """a creates, R✗b, R: one row in each system (I2)."""
    w = world(match=match)
    w.settle()
    w.create("a", m="x", n=5)
    w.round(crash_at=point)
    w.settle()
    assert w.column("a") == w.column("b") == [5]
    w.still()


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_commit_of_unknown_outcome_is_answered_by_the_fence(world: MakeWorld, fate: str) -> None:
    """a:+2 and a creation without a match value, while the connection breaks during b's COMMIT: 12, and one row."""
    w = world([Field("n", "int", conflict="sum")])
    w.load(n=10)
    w.settle()
    w.edit("a1", n=12)
    w.create("a", m=None, n=5)
    w.systems["b"].lose_commit = fate
    w.settle()
    assert w.systems["b"].lose_commit is None, "there was a commit to lose"
    assert w.column("a") == w.column("b") == [12, 5]
    w.still()


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_new_edit_meets_a_commit_of_unknown_outcome(world: MakeWorld, fate: str) -> None:
    """a:n=2, b's COMMIT breaks, b:n=9: 9 is the later edit; where 2 had not landed, a line names it."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.systems["b"].lose_commit = fate
    w.round()
    assert w.get("b1") == (2 if fate == "landed" else 1)
    w.edit("b1", n=9)
    w.settle()
    assert w.all() == [9, 9]
    assert w.named(2, "conflict") is (fate == "lost")


# --- A2: a restored backup is not a mass edit ------------------------------------------------------------------------


def test_a_restored_backup_halts(world: MakeWorld) -> None:
    """a:n=2, R, b restored to yesterday: the rollback goes nowhere; the agent halts for b (I11)."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    b = w.systems["b"]
    backup = (dict(b.tables_["thing"].rows), b.accord, dict(b.cross))
    w.edit("a1", n=2)
    w.settle()
    b.tables_["thing"].rows, b.accord, b.cross = dict(backup[0]), backup[1], dict(backup[2])
    b.sweep()
    w.stop()
    with pytest.raises(Halt, match="restored"):
        w.start()
        w.settle()
    assert w.get("a1") == 2


# --- A3: whose row was it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [None, *POINTS])
def test_a_lost_state_creates_nothing_twice(world: MakeWorld, point: str | None) -> None:
    """a creates (no match value), R or a crash in it, the state is lost, a sweep: nothing is doubled (I10)."""
    w = world(match=())
    w.settle()
    w.create("a", m="x", n=5)
    w.round(crash_at=point)
    w.lose_state()
    for system in w.systems.values():
        system.sweep()
    w.settle()
    assert w.column("a") == w.column("b") == [5]
    w.still()


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_new_state_counts_on_from_the_fence(world: MakeWorld, fate: str) -> None:
    """The state is lost, then a COMMIT is cut off: the old rounds in the fence do not speak for new ones."""
    w = world()
    w.load(n=1, p=1)
    for n in range(2, 8):
        w.edit("a1", n=n)
        w.round()
    w.settle()
    w.lose_state()
    w.edit("a1", n=9)
    w.systems["b"].lose_commit = fate
    w.settle()
    assert w.systems["b"].lose_commit is None
    assert w.all() == [9, 9]
    w.still()


def test_links_by_match_stand_in_a_system(world: MakeWorld) -> None:
    """Linked by match, then the match value differs and the state is lost: still one record (I10)."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", m="renamed")
    w.settle()
    w.lose_state()
    w.settle()
    assert w.column("a", "m") == w.column("b", "m") == ["renamed"]
    assert any(w.systems[s].cross for s in "ab")


# --- A5: the read-back touches only what was written -----------------------------------------------------------------


@pytest.mark.parametrize("point", ["captured", "read", "merged", "applying:b", "decided", "applied:b", "recorded"])
def test_an_edit_beside_our_write_is_seen(world: MakeWorld, point: str) -> None:
    """a:n=2; somewhere in the round b:p=9: both sides end with n=2, p=9."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.during(point, lambda: w.edit("b1", p=9))
    w.settle()
    assert (w.all("n"), w.all("p")) == ([2, 2], [9, 9])


@pytest.mark.parametrize("point", ["read", "merged", "applying:b", "decided", "applied:b"])
def test_an_edit_of_the_written_field_is_not_overwritten_unseen(world: MakeWorld, point: str) -> None:
    """a:n=2; somewhere in the round the later b:n=9: 9 wins or had seen 2, and nothing is lost without a line (I3)."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.during(point, lambda: w.edit("b1", n=9))
    w.settle()
    assert w.all() == [9, 9]


def test_triggers_that_answer_each_other_come_to_rest(world: MakeWorld) -> None:
    """b: n written -> p+1; a: p written -> n+1; one edit: quiet, and no trigger's effect is sent on (I7)."""

    def bump(source: int, target: int):  # type: ignore[no-untyped-def]
        def trigger(raws: list[Raw], old: list[Raw] | None, named: set[int]) -> None:
            value = raws[target]
            if source in named and old is not None and isinstance(value, int):
                raws[target] = value + 1

        return trigger

    w = world()
    w.load(n=1, p=100)
    w.settle()
    w.systems["b"].tables_["thing"].triggers.append(bump(1, 2))
    w.systems["a"].tables_["thing"].triggers.append(bump(2, 1))
    w.edit("a1", n=5)
    w.settle()
    assert w.all("n") == [5, 5]
    assert w.all("p") == [100, 101]
    w.still()


def test_what_a_trigger_makes_of_a_field_that_its_system_owns_is_its_edit(world: MakeWorld) -> None:
    """b owns p; b: n written -> p+1; a:n=2: the new p goes to a."""

    def trigger(raws: list[Raw], old: list[Raw] | None, named: set[int]) -> None:
        if 1 in named and old is not None and isinstance(raws[2], int):
            raws[2] += 1

    w = world([Field("n", "int"), Field("p", "int", owner="b")])
    w.load(n=1, p=100)
    w.settle()
    w.systems["b"].tables_["thing"].triggers.append(trigger)
    w.edit("a1", n=2)
    w.settle()
    assert (w.all("n"), w.all("p")) == ([2, 2], [101, 101])
    w.still()


# --- A13: compare-and-set compares what is stored --------------------------------------------------------------------


def test_trailing_blanks_do_not_stop_a_write(world: MakeWorld) -> None:
    """b holds 'x ' (canonical 'x'); a:t='y': it lands at once and the world is quiet."""
    w = world([Field("t", "text")])
    w.put("a1", m="m1", t="x")
    w.put("b1", m="m1", t="x ")
    w.settle()
    assert w.all("t") == ["x", "x "], "equal in canonical form: nothing to write"
    w.edit("a1", t="y")
    w.round()
    assert w.all("t") == ["y", "y"]
    w.still()


def test_a_change_of_case_is_an_edit(world: MakeWorld) -> None:
    """b:t='ABC' between read and apply of a:t='new' over 'abc': it is seen, and wins as the later one."""
    w = world([Field("t", "text")])
    w.load(t="abc")
    w.settle()
    w.edit("a1", t="new")
    w.round(read=lambda: w.edit("b1", t="ABC"))
    w.settle()
    assert w.all("t") == ["ABC", "ABC"]
    assert w.named("new")


def test_the_expectation_is_the_reading_that_was_merged(world: MakeWorld) -> None:
    """Owner a. b:n=7 is an override; while it is written back, b:n=8: 8 is overridden by a line of its own."""
    w = world([Field("n", "int", owner="a")])
    w.load(n=1)
    w.settle()
    w.edit("b1", n=7)
    w.round(read=lambda: w.edit("b1", n=8))
    w.settle()
    assert w.all() == [1, 1]
    assert w.named(7, "override") and w.named(8, "override")


# --- A15: unique columns ---------------------------------------------------------------------------------------------


def unique_world(world: MakeWorld) -> World:
    """b.n is unique; two records, n = 1 and 2."""
    w = world()
    w.systems["b"].tables_["thing"].unique = (1,)
    w.load(n=1, p=1)
    w.load(n=2, p=1)
    w.settle()
    return w


def test_a_chain_over_a_unique_column_lands(world: MakeWorld) -> None:
    """a: k2 2->3, k1 1->2, in this order and the other."""
    w = unique_world(world)
    w.edit("a2", n=3)
    w.edit("a1", n=2)
    w.settle()
    assert (w.get("b1"), w.get("b2")) == (2, 3)
    assert not w.reviews()


def test_a_value_in_use_holds_only_its_record_until_it_is_free(world: MakeWorld) -> None:
    """b alone has a row with n=3; a:n=3 is refused, p goes on (I8); b frees 3: it lands by itself."""
    w = world(create={"a": False, "b": True})
    w.systems["b"].tables_["thing"].unique = (1,)
    w.load(n=1, p=1)
    w.load(n=2, p=1)
    w.put("b3", m="only b", n=3, p=1)
    w.settle()
    w.edit("a1", n=3)
    w.edit("a2", n=7)
    w.settle()
    assert (w.get("b1"), w.get("b2")) == (1, 7), "the refused record is held, the other lands"
    assert w.reviews(), "a person hears of it"
    w.edit("a1", p=5)
    w.edit("b3", n=4)
    w.settle()
    assert w.row("b1") == {"m": "m1", "n": 3, "p": 5}
    assert not w.reviews()


def test_a_swap_over_a_unique_column_lands_or_is_asked(world: MakeWorld) -> None:
    """a swaps two values: it lands, or both stand in review with nothing lost, and a third value frees them."""
    w = unique_world(world)
    with w.systems["a"].together():
        w.edit("a1", n=2)
        w.edit("a2", n=1)
    w.settle()
    if (w.get("b1"), w.get("b2")) != (2, 1):
        assert (w.get("b1"), w.get("b2")) == (1, 2)
        assert w.reviews()
    w.edit("a2", n=9)
    w.settle()
    assert (w.get("b1"), w.get("b2")) == (2, 9)
    assert not w.reviews()


def test_a_refused_record_is_tried_again_by_itself(world: MakeWorld) -> None:
    """b refuses a1's value; what stood in the way goes, and nobody touches a1 again: it lands all the same (I8)."""
    w = world(create={"a": False, "b": True})
    w.systems["b"].tables_["thing"].unique = (1,)
    w.load(n=1, p=1)
    w.put("b2", m="only b", n=3, p=1)
    w.settle()
    w.edit("a1", n=3)
    w.settle()
    assert w.get("b1") == 1 and w.reviews()
    w.edit("b2", n=4)
    w.settle()
    w.now += 3600 * SECOND
    w.settle()
    assert w.get("b1") == 3 and not w.reviews()


def test_what_waits_for_a_system_goes_on_waiting_when_others_have_no_news(world: MakeWorld) -> None:
    """b is down, a1's edit waits for it; a1's event comes once more and tells nothing new: the edit waits on (I5)."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.systems["b"].down = True
    w.edit("a1", n=5)
    w.round()
    w.systems["a"].repeat(9)
    w.round()
    w.systems["b"].down = False
    w.now += 60 * SECOND
    w.settle()
    assert w.all() == [5, 5]


def test_a_delete_that_waits_for_a_system_outlasts_the_other_ones_absence(world: MakeWorld) -> None:
    """b1 is deleted while a is down, so the delete waits for a; when a is back, b is down: nothing is new in a, and the
    delete goes on waiting or is carried out, but is not forgotten (I5)."""
    w = world(delete={"a": "propagate", "b": "propagate"})
    w.load(n=1, p=1)
    w.settle()
    a, b = w.systems["a"], w.systems["b"]
    a.down = True
    w.delete("b1")
    w.round()
    a.down, b.down = False, True
    w.now += 60 * SECOND
    w.round()
    w.settle()
    b.down = False
    w.now += 600 * SECOND
    w.settle()
    assert w.row("a1") is None and w.row("b1") is None
    w.still()


def race(w: World, key: Key = "a1") -> None:
    """Another agent has just created b9 in b for this row of a, under an identity of its own."""
    b = w.systems["b"]
    b.load("thing", "b9", n=5, p=1)
    b.cross |= {("thing", "a", key): "f" * 32, ("thing", "b", "b9"): "f" * 32}


def test_a_row_that_somebody_else_has_created_is_adopted(world: MakeWorld) -> None:
    """a1 is new; b9 is there for it when b is written: no second row, and the links are ours from then on (I2)."""
    w = world(systems="abc")
    w.settle()
    w.create("a", n=5, p=1)
    w.during("merged", lambda: race(w))
    w.settle()
    assert w.column("b") == [5] and w.column("c") == [5]
    rows = (("a", "a1"), ("b", "b9"))
    gids = {gid for (_, system, key), gid in w.systems["b"].cross.items() if (system, key) in rows}
    assert gids == {next(iter(w.state.resolve("thing", "a", ["a1"]).values()))}


def test_a_system_is_cut_off_while_its_row_is_adopted(world: MakeWorld) -> None:
    """The round is given up whole, c's open transaction and what a sweep had found included; all comes again, once."""
    w = world(systems="abc")
    w.load(n=1, p=1)
    w.settle()
    c = w.systems["c"]
    w.edit("c1", p=7)
    c.log.clear()  # nobody saw that
    w.engine.sweeper.request("thing", "c", "a test", gap=True)
    key = w.create("a", n=5, p=1)
    b = w.systems["b"]
    begin = b.begin

    def cut(fence: Any) -> Any:
        transaction = begin(fence)

        def dies(rows: Any) -> None:
            transaction.rollback()
            raise Unreachable(Problem("unreachable", "cut off", system="b"))

        transaction.unlink = dies
        return transaction

    b.begin = cut  # type: ignore[method-assign]
    w.during("merged", lambda: race(w, key))
    b.begin = begin  # type: ignore[method-assign]
    assert list(w.engine.down) == ["b"] and len(c.rows("thing")) == 1
    w.edit(key, n=6)
    w.settle()
    assert [sorted(w.column(s)) for s in "abc"] == [[1, 6]] * 3
    assert w.all("p") == [7, 7, 7]
    w.still()
