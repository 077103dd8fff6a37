"""Directed traces: a person's answer holds until it is carried out everywhere, and a counter takes one exactly.

Notation as in `test_traces_landing`; b↓ and b↑: system b is down, or back; ?: a question; take a: its answer.
"""

from __future__ import annotations

from itertools import product

import pytest

from agent import reviewing
from config.records import Field

from .conftest import MakeWorld
from .harness import World
from .test_traces_landing import POINTS


def answer(world: World, take: str) -> None:
    """The only question is answered."""
    (item,) = world.reviews()
    reviewing.resolve(world.state, item.id, take, "a tester", world.now)


def listed(world: World) -> dict[str, list[object]]:
    """What the only question lists, by system."""
    (item,) = world.reviews()
    assert sorted(reviewing.takes(item)) == sorted(item.detail["values"])
    return dict(item.detail["values"])


def asked(world: MakeWorld, systems: str = "ab", **options: object) -> World:
    """a:n=2, b:n=3, R: ?"""
    w = world([Field("n", "int", conflict="review"), "p"], systems, **options)
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.edit("b1", n=3)
    w.settle()
    return w


# --- conflicts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("take", "down"), [*product("ab", "abc")])
def test_an_answer_holds_while_a_system_is_down(world: MakeWorld, take: str, down: str) -> None:
    """? x↓, take, R, x↑: the answer is everywhere, and nobody is asked again."""
    w = asked(world, "abc")
    w.systems[down].down = True
    answer(w, take)
    w.settle()
    assert not w.reviews()
    w.edit("b1" if down != "b" else "a1", p=5)
    w.settle()
    w.systems[down].down = False
    w.settle()
    value = {"a": 2, "b": 3}[take]
    assert (w.all("n"), w.all("p")) == ([value] * 3, [5] * 3)
    assert not w.reviews()
    assert len(w.lines("person")) == 1, "the value that lost is named once"
    w.still()


@pytest.mark.parametrize("down", "bc")
def test_what_changed_while_it_was_down_is_asked_with_all_sides(world: MakeWorld, down: str) -> None:
    """? x↓, take a, R, x:n=9, x↑: 9 has not seen the answer. The question lists both, and its answer holds."""
    w = asked(world, "abc")
    w.systems[down].down = True
    answer(w, "a")
    w.settle()
    w.edit(f"{down}1", n=9)
    w.systems[down].down = False
    w.settle()
    assert listed(w) == {"a": [2], down: [9]}
    w.edit("a1", p=5)
    w.settle()
    assert listed(w) == {"a": [2], down: [9]}, "another look asks the same"
    answer(w, down)
    w.settle()
    assert w.all() == [9] * 3
    assert not w.reviews()
    w.still()


def test_all_sides_are_listed_though_one_is_down(world: MakeWorld) -> None:
    """? take a, R, a↓, b:n=9 before the answer landed there: a, which is down, says 2 still."""
    w = asked(world)
    answer(w, "a")
    w.round(merged=lambda: w.edit("b1", n=9))
    w.systems["a"].down = True
    w.settle()
    assert listed(w) == {"a": [2], "b": [9]}
    answer(w, "a")
    w.settle()
    assert w.all() == [2, 2]
    w.systems["a"].down = False
    w.settle()
    assert w.all() == [2, 2] and not w.reviews()


def test_three_sides_stay_three(world: MakeWorld) -> None:
    """? b:n=9 c:n=8 after a's 2 was taken: further looks list all three."""
    w = asked(world, "abc")
    answer(w, "a")

    def both() -> None:
        w.edit("b1", n=9)
        w.edit("c1", n=8)

    w.round(merged=both)
    w.settle()
    assert listed(w) == {"a": [2], "b": [9], "c": [8]}
    w.edit("a1", p=5)
    w.systems["b"].down = True
    w.settle()
    assert listed(w) == {"a": [2], "b": [9], "c": [8]}
    answer(w, "a")
    w.systems["b"].down = False
    w.settle()
    assert w.all() == [2] * 3


def test_an_edit_of_a_third_since_the_answer_is_asked_about(world: MakeWorld) -> None:
    """? take a, c:n=7 before it is carried out: c was no party, but its 7 is not lost in silence."""
    w = asked(world, "abc")
    answer(w, "a")
    w.edit("c1", n=7)
    w.settle()
    assert listed(w) == {"a": [2], "b": [3], "c": [7]}


def test_an_answer_on_a_first_contact(world: MakeWorld) -> None:
    """Linked by match, a 2, b 3: ? b↓, take a, R, b↑: it is taken there, too."""
    w = world([Field("n", "int", conflict="review"), "p"])
    w.put("a1", m="1", n=2, p=1)
    w.put("b1", m="1", n=3, p=1)
    w.settle()
    w.systems["b"].down = True
    answer(w, "a")
    w.settle()
    w.systems["b"].down = False
    w.settle()
    assert w.all() == [2, 2]
    assert not w.reviews()
    w.still()


@pytest.mark.parametrize("point", POINTS)
def test_an_answer_survives_a_crash(world: MakeWorld, point: str) -> None:
    """? take a, R✗: 2, and nobody is asked again."""
    w = asked(world)
    answer(w, "a")
    w.round(crash_at=point)
    w.settle()
    assert w.all() == [2, 2]
    assert not w.reviews()


# --- deletes ---------------------------------------------------------------------------------------------------------


def deleted(world: MakeWorld, systems: str = "ab", **options: object) -> World:
    """a deletes, R: ?"""
    w = world("np", systems, **{"delete": "review", **options})
    w.load(n=1, p=1)
    w.settle()
    w.delete("a1")
    w.settle()
    assert w.kinds() == ["delete"]
    return w


@pytest.mark.parametrize("systems", ["ab", "abc"])
@pytest.mark.parametrize("take", "ab")
@pytest.mark.parametrize("down", "ab")
def test_an_answer_to_a_delete_holds(world: MakeWorld, systems: str, take: str, down: str) -> None:
    """? x↓, take, R, x↑: gone everywhere, or there everywhere, and nobody is asked again."""
    w = deleted(world, systems)
    w.systems[down].down = True
    answer(w, take)
    for _ in range(3):
        w.settle()
        assert not w.reviews()
    w.systems[down].down = False
    w.settle()
    assert [w.column(s) for s in systems] == [[] if take == "a" else [1]] * len(systems)
    assert not w.reviews()
    assert len(w.lines("person")) == 1
    w.still()


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("take", "ab")
def test_an_answer_to_a_delete_survives_a_crash(world: MakeWorld, take: str, point: str) -> None:
    """? take, R✗."""
    w = deleted(world)
    answer(w, take)
    w.round(crash_at=point)
    w.settle()
    assert w.column("a") == w.column("b") == ([] if take == "a" else [1])
    assert not w.reviews()


@pytest.mark.parametrize("when", ["before", "while down"])
def test_an_edit_since_the_answer_is_asked_about(world: MakeWorld, when: str) -> None:
    """? take a (the delete), b:n=5 before it is carried out: it is asked again, and 5 is still there."""
    w = deleted(world)
    b = w.systems["b"]
    b.down = when != "before"
    answer(w, "a")
    if b.down:
        w.settle()
    w.edit("b1", n=5)
    b.down = False
    w.settle()
    assert w.column("b") == [5]
    assert w.kinds() == ["delete"]
    answer(w, "b")
    w.settle()
    assert w.column("a") == [5]
    assert not w.reviews()


def test_the_system_that_was_taken_loses_its_row(world: MakeWorld) -> None:
    """? take b (keep it), b deletes before that is carried out: c still has it, and is not deleted unasked."""
    w = deleted(world, "abc")
    answer(w, "b")
    w.delete("b1")
    w.settle()
    assert w.column("c") == [1]
    assert w.kinds() == ["delete"]
    answer(w, "c")
    w.settle()
    assert [w.column(s) for s in "abc"] == [[1]] * 3


def test_what_is_kept_is_restored_when_its_system_is_back(world: MakeWorld) -> None:
    """a archives, ?, a↓, take b, R, a↑: un-archived; a later delete in a is a new question."""
    archive = {"archive": {"gone": 1}, "restore": {"gone": 0}}
    w = world("np", tables={"a": archive}, delete="review")
    w.load(n=1, p=1)
    w.settle()
    a = w.systems["a"]
    a.archive("thing", "a1")
    w.settle()
    a.down = True
    answer(w, "b")
    for _ in range(3):
        w.settle()
        assert not w.reviews()
    a.down = False
    w.settle()
    assert not a.rows("thing")["a1"].archived
    w.still()
    a.archive("thing", "a1")
    w.settle()
    assert a.rows("thing")["a1"].archived
    assert w.kinds() == ["delete"]


def test_fields_in_review_go_with_a_record_that_a_person_deletes(world: MakeWorld) -> None:
    """n in review between a and b, c deletes: ? take c: all gone, both values named, no question is left."""
    w = asked(world, "abc", delete="review", delete_conflict="review")
    w.delete("c1")
    w.settle()
    item = next(r for r in w.reviews() if r.kind == "delete")
    reviewing.resolve(w.state, item.id, "c", "a tester", w.now)
    w.settle()
    assert [w.column(s) for s in "abc"] == [[], [], []]
    assert w.named(2) and w.named(3)
    assert not w.reviews()


# --- counters --------------------------------------------------------------------------------------------------------


def counted(world: MakeWorld) -> World:
    """Linked by match, a 7, b 9: ?"""
    w = world([Field("s", "int", conflict="sum"), "p"])
    w.put("a1", m="1", s=7, p=1)
    w.put("b1", m="1", s=9, p=1)
    w.settle()
    assert listed(w) == {"a": [7], "b": [9]}
    return w


def goes_on(world: World, value: int) -> None:
    """It is agreed, and counts from there."""
    systems = "".join(world.systems)
    assert world.all("s") == [value] * len(systems)
    assert not world.reviews()
    world.still()
    for s in systems:
        world.edit(f"{s}1", s=value + 1)
    world.settle()
    assert world.all("s") == [value + len(systems)] * len(systems)


def test_a_counter_in_review_leaves_by_itself(world: MakeWorld) -> None:
    """a 7, b 9: ? b:s=7: closed, and it counts on."""
    w = counted(world)
    w.edit("b1", s=7)
    w.settle()
    goes_on(w, 7)


def test_a_counter_that_agrees_while_one_is_down_waits_for_it(world: MakeWorld) -> None:
    """a 7, b 9: ? b↓, a:s=8, p: b is not forgotten, and a's 8 is not agreed without it."""
    w = counted(world)
    w.systems["b"].down = True
    w.edit("a1", s=8, p=5)
    w.settle()
    assert listed(w) == {"a": [8], "b": [9]}
    w.systems["b"].down = False
    w.edit("b1", s=8)
    w.settle()
    goes_on(w, 8)


@pytest.mark.parametrize("take", "ab")
@pytest.mark.parametrize("point", [None, *POINTS])
def test_a_counter_takes_an_answer(world: MakeWorld, take: str, point: str | None) -> None:
    """a 7, b 9: ? take, R or R✗: it is the base of all, and the other value is named."""
    w = counted(world)
    answer(w, take)
    w.round(crash_at=point)
    w.settle()
    assert w.named(9 if take == "a" else 7, "person")
    goes_on(w, 7 if take == "a" else 9)


def test_a_counter_that_was_changed_since_the_answer_is_asked_again(world: MakeWorld) -> None:
    """a 7, b 9: ? take a, b:s=8 before it is carried out: a correction or a sale? It is asked."""
    w = counted(world)
    answer(w, "a")
    w.edit("b1", s=8)
    w.settle()
    assert listed(w) == {"a": [7], "b": [8]}
    answer(w, "a")
    w.settle()
    goes_on(w, 7)


@pytest.mark.parametrize(("take", "down"), [*product("ab", "ab")])
def test_a_counter_takes_an_answer_while_one_is_down(world: MakeWorld, take: str, down: str) -> None:
    """a 7, b 9: ? x↓, take, R, x+4 there, R, x↑: what was added since the question is added, once."""
    w = counted(world)
    w.systems[down].down = True
    answer(w, take)
    w.settle()
    up = "b" if down == "a" else "a"
    value = {"a": 7, "b": 9}
    assert w.get(f"{up}1", "s") == value[take]
    w.edit(f"{down}1", s=value[down] + 4)
    w.edit(f"{up}1", s=value[take] + 2)
    w.settle()
    w.systems[down].down = False
    w.settle()
    goes_on(w, value[take] + 6)


def joined(world: MakeWorld) -> World:
    """a and b count and stand at 10; c's row, linked by match, says 3; a+2 b+5 in review: ? 17 or 3."""
    w = world([Field("s", "int", conflict="sum"), "p"], "abc", create=False)
    w.put("a1", m="m1", s=10, p=1)
    w.put("b1", m="m1", s=10, p=1)
    w.settle()
    w.systems["c"].insert("thing", "c1", m="m1", s=3, p=1)
    w.settle()
    w.edit("a1", s=12)
    w.edit("b1", s=15)
    w.settle()
    assert listed(w) == {"a": [17], "c": [3]}
    assert not w.lines("sum"), "nothing is counted before it is decided, and not again at each look"
    return w


@pytest.mark.parametrize("take", "ac")
@pytest.mark.parametrize("down", ["", *"abc"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "not seen"])
def test_what_is_added_to_a_counter_in_review_is_counted_once(
    world: MakeWorld, take: str, down: str, seen: bool
) -> None:
    """? x↓, a+1 b+1 (and a look, or none), take, R, x+100, x↑."""
    w = joined(world)
    if down:
        w.systems[down].down = True
    w.edit("a1", s=13)
    w.edit("b1", s=16)
    if seen:
        w.settle()
    unseen = {"a": 1, "b": 1} if not seen else {down: 1} if down in "ab" and down else {}
    answer(w, take if take in listed(w) else "b")  # who says what has been counted
    w.settle()
    value = 19 if take == "a" else 3 + sum(unseen.values())
    if down:
        w.edit(f"{down}1", s=w.get(f"{down}1", "s") + 100)
        w.systems[down].down = False
        value += 100
        w.settle()
    goes_on(w, value)
    assert len(w.lines("person")) >= 1


def test_one_that_joins_with_what_was_agreed_adds_nothing(world: MakeWorld) -> None:
    """a and b stand at 10; a+2, and c joins with 10, in one look: 12 in all."""
    w = world([Field("s", "int", conflict="sum"), "p"], "abc", create=False)
    w.put("a1", m="m1", s=10, p=1)
    w.put("b1", m="m1", s=10, p=1)
    w.settle()
    w.edit("a1", s=12)
    w.systems["c"].insert("thing", "c1", m="m1", s=10, p=1)
    w.settle()
    goes_on(w, 12)
