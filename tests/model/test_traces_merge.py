"""Directed traces: which value is agreed (MODEL A7 to A12, A14, the limits of A9 and A11, groups)."""

from __future__ import annotations

import itertools

import pytest

from config.records import Field, Raw

from .build import column
from .conftest import MakeWorld
from .harness import SECOND, START, World, next_step

HOUR = 3600 * SECOND

# --- A7: one decision over all systems -------------------------------------------------------------------------------

BATCHES = [[[0], [1], [2]], [[0, 1], [2]], [[0], [1, 2]], [[0, 1, 2]]]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("batches", BATCHES, ids=str)
def test_the_winner_does_not_depend_on_the_batches(
    world: MakeWorld, order: tuple[int, ...], batches: list[list[int]]
) -> None:
    """Three systems, tolerance 3, edits at 0, 2 and 4, seen in any order and batch: always the same winner.

    2 falls into the step of 0 (a~b: the first listed wins), 4 into the next: 4 wins.
    """
    w = world("n", "abc", engine={"tolerance": 3 * SECOND})
    w.load(n=1)
    w.settle()
    base = next_step(w.now, 3)
    for system in w.systems.values():
        system.down = True
    for key, n, at in [("a1", 2, base), ("b1", 3, base + 2), ("c1", 4, base + 4)]:
        w.edit(key, n=n, at=at)
    for batch in batches:
        for index in batch:
            w.systems["abc"[order[index]]].down = False
        w.round()
        w.now += 60 * SECOND
    w.settle()
    assert w.all() == [4, 4, 4]


@pytest.mark.parametrize("first", ["c", "b"])
def test_an_edit_that_had_seen_another_is_its_successor(world: MakeWorld, first: str) -> None:
    """a:n=2 at 50, R; b (clock 40 slow) saw 2 and sets 3, stamped 20; c was cut off, c:n=4 at 40: 3 wins, always."""
    w = world("n", "abc")
    w.load(n=1)
    w.settle()
    base = (w.now - START) // SECOND
    w.systems["c"].down = True
    w.edit("a1", n=2, at=base + 50)
    w.settle()
    w.edit("c1", n=4, at=base + 40)
    if first == "b":
        w.edit("b1", n=3, at=base + 20)
        w.settle()
        w.systems["c"].down = False
    else:
        w.systems["c"].down = False
        w.round(captured=lambda: w.edit("b1", n=3, at=base + 20))
    w.settle()
    assert w.all() == [3, 3, 3]
    assert w.named(4, "conflict")


def test_the_same_value_from_two_sides_takes_the_later_time(world: MakeWorld) -> None:
    """a:n=2 at 100 and b:n=2 at 50; c, cut off, n=3 at 80: 2 wins."""
    w = world("n", "abc")
    w.load(n=1)
    w.settle()
    base = (w.now - START) // SECOND
    w.systems["c"].down = True
    w.edit("b1", n=2, at=base + 50)
    w.edit("a1", n=2, at=base + 100)
    w.settle()
    w.edit("c1", n=3, at=base + 80)
    w.systems["c"].down = False
    w.settle()
    assert w.all() == [2, 2, 2]
    assert w.named(3, "conflict")


# --- A8: the time of a change ----------------------------------------------------------------------------------------


def test_a_later_edit_of_another_field_lends_no_time(world: MakeWorld) -> None:
    """a:n=2 at 1000, b:n=3 at 1050, a:p=9 at 1100, then one round: 3 is the later n."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2, at=1000)
    w.edit("b1", n=3, at=1050)
    w.edit("a1", p=9, at=1100)
    w.settle()
    assert (w.all("n"), w.all("p")) == ([3, 3], [9, 9])
    assert w.named(2, "conflict")


def test_the_time_is_that_of_the_value_that_was_read(world: MakeWorld) -> None:
    """b:n=5 at 1050; a:n=2 at 1000 captured; a:n=3 at 1100 before the read: 3 is the later."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("b1", n=5, at=1050)
    w.edit("a1", n=2, at=1000)
    w.round(captured=lambda: w.edit("a1", n=3, at=1100))
    w.settle()
    assert w.all() == [3, 3]
    assert w.named(5, "conflict")


def test_where_times_overlap_the_journal_says_so(world: MakeWorld) -> None:
    """Both systems go by watermark: only intervals are known; the tie goes to the first listed, as uncertain."""
    w = world(world_options={"watermark": "ab"}, watermark="ab")
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.edit("b1", n=3)
    w.settle()
    assert w.all() == [2, 2]
    assert [j.rule for j in w.lines("conflict")] == ["latest, time uncertain"]


def test_a_clock_that_is_off_is_corrected(world: MakeWorld) -> None:
    """b's clock is an hour ahead; b:n=2, then a:n=3: 3 is the later one."""
    w = world()
    w.systems["b"].offset = HOUR
    w.load(n=1, p=1)
    w.settle()
    w.edit("b1", n=2)
    w.edit("a1", n=3)
    w.settle()
    assert w.all() == [3, 3]


# --- A9: sums --------------------------------------------------------------------------------------------------------


def test_equal_deltas_add_up(world: MakeWorld) -> None:
    """Both +5 on 10: 20."""
    w = world([Field("n", "int", conflict="sum")], engine={"stale": HOUR})
    w.load(n=10)
    w.settle()
    w.edit("a1", n=15)
    w.edit("b1", n=15)
    w.settle()
    assert w.all() == [20, 20]


def test_a_sale_that_brings_the_stock_back_is_no_stale_save(world: MakeWorld) -> None:
    """a:+5, R, b:-5 within the stale window: 10."""
    w = world([Field("n", "int", conflict="sum")], engine={"stale": HOUR})
    w.load(n=10)
    w.settle()
    w.edit("a1", n=15)
    w.settle()
    w.edit("b1", n=10)
    w.settle()
    assert w.all() == [10, 10]


def test_a_sum_of_three_systems_with_one_down(world: MakeWorld) -> None:
    """a:+1, b:+2, c:+4 while c is down, back: 17."""
    w = world([Field("n", "int", conflict="sum")], "abc")
    w.load(n=10)
    w.settle()
    w.systems["c"].down = True
    w.edit("a1", n=11)
    w.edit("b1", n=12)
    w.edit("c1", n=14)
    w.settle()
    w.systems["c"].down = False
    w.settle()
    assert w.all() == [17, 17, 17]


def test_a_sum_without_a_base_adds_nothing(world: MakeWorld) -> None:
    """First contact: equal = agreed; unequal = review, nothing is written."""
    w = world([Field("n", "int", conflict="sum")])
    w.put("a1", m="1", n=7)
    w.put("b1", m="1", n=7)
    w.put("a2", m="2", n=7)
    w.put("b2", m="2", n=9)
    w.settle()
    assert w.all() == [7, 7] and w.all(number=2) == [7, 9]
    assert w.kinds() == ["conflict"]
    w.still()


# --- A10: review of a field ------------------------------------------------------------------------------------------


def reviewed(world: MakeWorld, systems: str = "ab", **options: object) -> World:
    """a:n=2, b:n=3, R, and the rule is review."""
    w = world([Field("n", "int", conflict="review"), "p"], systems, **options)
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.edit("b1", n=3)
    w.settle()
    return w


def test_a_field_in_review_is_frozen(world: MakeWorld) -> None:
    """Nothing of it is written, the other fields go on."""
    w = reviewed(world, "abc")
    assert w.all() == [2, 3, 1]
    assert w.kinds() == ["conflict"]
    w.edit("a1", p=5)
    w.settle()
    assert (w.all("n"), w.all("p")) == ([2, 3, 1], [5, 5, 5])
    w.still()


@pytest.mark.parametrize("agree", [3, 1], ids=["the other's", "back"])
def test_a_review_leaves_by_itself(world: MakeWorld, agree: int) -> None:
    """The systems agree, or only one still differs from what was agreed."""
    w = reviewed(world)
    w.edit("a1", n=agree)
    w.settle()
    assert w.all() == [3, 3]
    assert not w.reviews()


def test_a_review_does_not_settle_itself_while_a_system_is_down(world: MakeWorld) -> None:
    """b is down: it takes part with the value kept in the item."""
    w = reviewed(world, "abc")
    w.systems["b"].down = True
    w.edit("a1", n=4)
    w.settle()
    assert w.all() == [4, 3, 1]
    assert w.kinds() == ["conflict"]
    w.systems["b"].down = False
    w.settle()
    assert w.all() == [4, 3, 1]
    w.edit("b1", n=4)
    w.settle()
    assert w.all() == [4, 4, 4] and not w.reviews()


@pytest.mark.parametrize("rule", ["update_wins", "delete_wins", "review"])
def test_a_delete_meets_a_field_in_review(world: MakeWorld, rule: str) -> None:
    """c deletes, n is in review between a and b: it counts as an update, and there is an end to it."""
    w = reviewed(world, "abc", delete_conflict=rule)
    w.delete("c1")
    w.settle()
    if rule == "delete_wins":
        assert [w.column(s) for s in "abc"] == [[], [], []]
        assert w.named(2) and w.named(3)
        assert not w.reviews()
    else:
        assert (w.get("a1"), w.get("b1")) == (2, 3)
        assert len(w.column("c")) == (1 if rule == "update_wins" else 0)
        assert w.reviews()
    w.still()


def test_a_delete_that_has_not_landed_meets_a_field_in_review(world: MakeWorld) -> None:
    """c deletes, a's delete has not landed yet, a:p=1 b:p=2 go to review: rounds come to an end."""
    w = world(["n", Field("p", "int", conflict="review")], "abc", delete_conflict="update_wins")
    w.load(n=1, p=0)
    w.settle()
    w.delete("c1")

    def both() -> None:
        w.edit("a1", p=1)
        w.edit("b1", p=2)

    w.round(merged=both)
    w.settle()
    assert {1, 2} <= {*w.column("a", "p"), *w.column("b", "p")}
    w.still()


def test_a_rejected_record_folds_later_edits_in(world: MakeWorld) -> None:
    """n=2 is refused by b, a:p=5, a:n=3: both land, nothing is left in review."""
    w = world()
    w.systems["b"].tables_["thing"].unique = (1,)
    w.load(n=1, p=1)
    w.load(n=9, p=1)
    w.settle()
    w.systems["a"].tables_["thing"].unique = ()
    w.edit("a1", n=9)
    w.settle()
    assert w.get("b1") == 1 and w.reviews()
    w.edit("a1", p=5)
    w.edit("a1", n=3)
    w.settle()
    assert w.row("b1") == {"m": "m1", "n": 3, "p": 5}
    assert not w.reviews()


# --- A11: stale saves ------------------------------------------------------------------------------------------------


def test_a_form_that_was_open_for_long(world: MakeWorld) -> None:
    """b opens a form (n=1); a:n=2 R; a:n=3 R; b saves with p=7: n stays 3, p becomes 7, reported."""
    w = world(engine={"stale": HOUR})
    w.load(n=1, p=1)
    w.settle()
    form = w.systems["b"].open_form("thing", "b1")
    assert form is not None
    w.edit("a1", n=2)
    w.round()
    w.edit("a1", n=3)
    w.round()
    w.systems["b"].save("thing", "b1", form, p=7, at=w.stamp(None))
    w.round()
    w.round()
    assert (w.all("n"), w.all("p")) == ([3, 3], [7, 7])
    assert w.named(1, "stale")


def test_a_stale_save_while_its_system_was_cut_off(world: MakeWorld) -> None:
    """a:n=2 R; b cut off; a:n=3 R; b saves the form (n=1); b back: the stale 1 does not win as the latest."""
    w = world(engine={"stale": HOUR})
    w.load(n=1, p=1)
    w.settle()
    form = w.systems["b"].open_form("thing", "b1")
    assert form is not None
    w.edit("a1", n=2)
    w.round()
    w.systems["b"].down = True
    w.edit("a1", n=3)
    w.round()
    w.systems["b"].save("thing", "b1", form, p=7, at=w.stamp(None))
    w.systems["b"].down = False
    for _ in range(8):
        w.now += 60 * SECOND
        w.round()
    assert (w.all("n"), w.all("p")) == ([3, 3], [7, 7])


def test_a_value_that_is_entered_again_is_meant(world: MakeWorld) -> None:
    """a:n=2 R; b:n=1 R (restored); b:n=1 R: accepted, and the journal says what it displaced."""
    w = world(engine={"stale": HOUR})
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.round()
    w.edit("b1", n=1, p=5)
    w.round()
    w.round()
    assert w.all() == [2, 2]
    w.edit("b1", n=1)
    w.round()
    w.round()
    assert w.all() == [1, 1]
    assert w.named(2, "entered again")


def test_a_value_that_was_entered_again_and_lost_is_stale_again(world: MakeWorld) -> None:
    """b:n=1 is restored, entered again, and loses to a:n=3; a form saves 1 once more: 3 is not displaced in silence."""
    w = world(engine={"stale": HOUR})
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.round()
    w.edit("b1", n=1, p=5)
    w.round()
    w.round()
    w.edit("b1", n=1)
    w.edit("a1", n=3)
    w.round()
    w.round()
    assert w.all() == [3, 3]
    w.edit("b1", n=1, p=6)
    w.round()
    w.round()
    assert w.all() == [3, 3] and w.all("p") == [6, 6]


def test_a_flag_that_steps_back_alone_is_an_undo(world: MakeWorld) -> None:
    """a sets a flag 0->1; b sets it back on purpose: accepted at once."""
    w = world([Field("n", "bool"), "p"], engine={"stale": HOUR})
    w.load(n=0, p=1)
    w.settle()
    w.edit("a1", n=1)
    w.round()
    w.edit("b1", n=0)
    w.round()
    w.round()
    assert w.all() == [0, 0]
    assert not w.lines("stale")


def test_without_a_window_a_step_back_is_an_edit(world: MakeWorld) -> None:
    """stale_window is off by default: b:n=1 after a:n=2 is accepted."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.settle()
    w.edit("b1", n=1)
    w.settle()
    assert w.all() == [1, 1]


# --- A12: lossy columns ----------------------------------------------------------------------------------------------


def lossy(world: MakeWorld, systems: str = "ab", **options: object) -> World:
    """b keeps tens."""
    field = Field("n", "decimal", lossy=frozenset("b"), **options)  # type: ignore[arg-type]
    return world([field, "p"], systems, columns={("b", "n"): column("n", "decimal", scale=-1)}, modified="ab")


def test_a_lossy_value_is_a_pair(world: MakeWorld) -> None:
    """a 23, b 20: untouched or saved again, nothing changes; edited in b it is an ordinary edit, journaled."""
    w = lossy(world)
    w.load(n="10", p=1)
    w.settle()
    w.edit("a1", n="23")
    w.settle()
    assert w.all() == ["23", "20"]
    w.still()
    w.edit("b1", p=5)
    w.settle()
    assert w.all() == ["23", "20"]
    w.edit("b1", n="40")
    w.settle()
    assert w.all() == ["40", "40"]
    assert any(str(j.before) == "23" for j in w.lines("narrowed"))
    w.still()


@pytest.mark.parametrize("owner", [None, "b"])
def test_the_fuller_value_is_agreed_at_first_contact(world: MakeWorld, owner: str | None) -> None:
    """a 23 (old row), b (tens) 20 (newer): 23 stays, nothing is written."""
    w = lossy(world, owner=owner)
    w.put("a1", m="m1", n="23", p=1)
    w.put("b1", m="m1", n="20", p=1)
    w.settle()
    assert w.all() == ["23", "20"]
    assert w.written() == 0
    w.still()


@pytest.mark.parametrize("rule", ["latest", "prefer:b"])
def test_a_lost_state_does_not_truncate(world: MakeWorld, rule: str) -> None:
    """a 23, b 20, the state is lost, b's row touched last: 23 stays."""
    w = lossy(world, conflict=rule)
    w.load(n="10", p=1)
    w.settle()
    w.edit("a1", n="23")
    w.settle()
    w.lose_state()
    w.edit("b1", p=5)
    w.settle()
    assert w.all() == ["23", "20"]


def test_a_column_that_is_not_declared_lossy_asks(world: MakeWorld) -> None:
    """b keeps three characters and nobody said so: 'abcd' is not cut there, a person is asked."""
    w = world([Field("t", "text"), "p"], columns={("b", "t"): column("t", "text", length=3)})
    w.load(t="abc", p=1)
    w.settle()
    w.edit("a1", t="abcd", p=5)
    w.settle()
    assert w.get("a1", "t") == "abcd"
    assert w.get("b1", "t") == "abc"
    assert w.reviews()
    w.edit("a1", t="xyz")
    w.settle()
    assert w.all("t") == ["xyz", "xyz"] and w.all("p") == [5, 5]
    assert not w.reviews()


# --- A14: ownership --------------------------------------------------------------------------------------------------


def test_an_override_is_restored(world: MakeWorld) -> None:
    """Owner a. b:n=9: journaled, 1 is written back."""
    w = world([Field("n", "int", owner="a"), "p"])
    w.load(n=1, p=1)
    w.settle()
    w.edit("b1", n=9)
    w.settle()
    assert w.all() == [1, 1]
    assert w.named(9, "override")
    w.still()


def test_a_tolerated_override_stays_until_the_owner_speaks(world: MakeWorld) -> None:
    """Owner a, tolerate. b:n=9 stays; b:p=5 does not disturb it; a:n=2 ends it."""
    w = world([Field("n", "int", owner="a", override="tolerate"), "p"])
    w.load(n=1, p=1)
    w.settle()
    w.edit("b1", n=9)
    w.settle()
    assert w.all() == [1, 9]
    w.still()
    w.edit("b1", p=5)
    w.settle()
    assert w.all() == [1, 9]
    w.edit("a1", n=2)
    w.settle()
    assert w.all() == [2, 2]
    assert w.named(9)


def test_an_owner_that_does_not_hold_the_record_does_not_count(world: MakeWorld) -> None:
    """b may not be created in; a creates, and owner b has no row: a's edits are accepted."""
    w = world([Field("n", "int", owner="b")], "abc", create={"a": True, "b": False, "c": True})
    w.settle()
    key = w.create("a", m="x", n=5)
    w.settle()
    assert (w.column("a"), w.column("b"), w.column("c")) == ([5], [], [5])
    w.edit(key, n=6)
    w.settle()
    assert w.column("c") == [6]


# --- groups ----------------------------------------------------------------------------------------------------------


def test_a_group_is_one_value(world: MakeWorld) -> None:
    """a: amount, b: currency at once: never a pair that nobody entered."""
    w = world([Field("n", "int", group="price"), Field("c", "text", group="price")])
    w.load(n=10, c="EUR")
    w.settle()
    w.edit("b1", c="USD")
    w.edit("a1", n=12)
    w.settle()
    pairs = list(zip(w.all("n"), w.all("c"), strict=True))
    assert pairs == [(12, "EUR")] * 2
    assert w.named("USD", "conflict")


def test_a_group_that_changes_between_read_and_apply(world: MakeWorld) -> None:
    """a: amount; between read and apply b: currency: the group is compared whole."""
    w = world([Field("n", "int", group="price"), Field("c", "text", group="price")])
    w.load(n=10, c="EUR")
    w.settle()
    w.edit("a1", n=12)
    w.round(read=lambda: w.edit("b1", c="USD"))
    w.settle()
    pairs: list[tuple[Raw, Raw]] = list(zip(w.all("n"), w.all("c"), strict=True))
    assert len(set(pairs)) == 1 and pairs[0] in {(12, "EUR"), (10, "USD")}
    assert w.named(12, "conflict") or w.named("USD", "conflict")
