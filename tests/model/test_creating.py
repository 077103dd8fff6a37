"""`create` with a condition: asked over the agreed record at each change, until it holds; then never again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent import creating
from config.expressions import Expression, condition
from config.records import Field

from .build import make_entity
from .conftest import MakeWorld
from .harness import World, short_way

TYPES = {"m": "text", "n": "int", "p": "int"}


def when(text: str, **types: str) -> Expression:
    return condition(text, TYPES | types)


def sold(world: MakeWorld, text: str = "n > 5", systems: str = "ab", **options: object) -> World:
    """A record is made in b only when the condition holds; people of b may make their own."""
    create = dict[str, object](dict.fromkeys(systems, True)) | {systems[-1]: when(text)}
    return world("np", systems, create=create, **options)


def rows(w: World) -> dict[str, list[object]]:
    return {s: list(w.column(s)) for s in w.systems}


@pytest.mark.parametrize("short", [True, False], ids=["short", "long"])
def test_it_is_created_when_the_condition_holds(world: MakeWorld, short: bool) -> None:
    with short_way(short):
        w = sold(world)
        w.settle()
        key = w.create("a", m="x", n=1, p=7)
        w.settle()
        assert rows(w) == {"a": [1], "b": []}
        w.edit(key, p=8)
        w.settle()
        assert rows(w) == {"a": [1], "b": []}
        w.edit(key, n=6)
        w.settle()
        assert rows(w) == {"a": [6], "b": [6]} and w.column("b", "p") == [8]
        w.still()
        w.edit(key, n=7)
        w.settle()
        assert w.column("b") == [7] and len(w.lines("create")) == 1


def test_what_exists_is_not_touched_by_it(world: MakeWorld) -> None:
    """The condition does not hold any more, or never did: the record is kept in agreement all the same."""
    w = sold(world)
    w.load(n=1)
    key = w.create("a", m="x", n=9)
    w.settle()
    assert rows(w) == {"a": [1, 9], "b": [1, 9]}
    w.edit(key, n=2)
    w.edit("b1", n=3)
    w.settle()
    assert rows(w) == {"a": [2, 3], "b": [2, 3]} and not w.kinds()
    w.still()


def test_first_contact_asks_it_too(world: MakeWorld) -> None:
    """Rows that match are linked, those for which it holds are created, the others are known and wait."""
    w = sold(world)
    w.load(n=1)
    w.put("a7", m="yes", n=8)
    w.put("a8", m="no", n=2)
    w.put("b9", m="theirs", n=0)
    w.settle()
    assert rows(w) == {"a": [0, 1, 2, 8], "b": [0, 1, 8]}
    w.edit("a8", n=9)
    w.settle()
    assert w.column("b") == [0, 1, 8, 9]
    w.still()


def test_empty_is_no_yes(world: MakeWorld) -> None:
    w = sold(world)
    w.settle()
    key = w.create("a", m="x", n=None, p=1)
    w.settle()
    assert rows(w) == {"a": [None], "b": []}
    w.edit(key, n=6)
    w.settle()
    assert w.column("b") == [6]


def test_the_agreed_record_is_asked(world: MakeWorld) -> None:
    """Of three systems: what b says of a record that a and b have decides whether c gets it."""
    w = sold(world, systems="abc")
    w.settle()
    w.create("a", m="x", n=1)
    w.settle()
    assert rows(w) == {"a": [1], "b": [1], "c": []}
    key = next(iter(w.systems["b"].rows("thing")))
    w.edit(key, n=6)
    w.settle()
    assert rows(w) == {"a": [6], "b": [6], "c": [6]}
    w.still()


@pytest.mark.parametrize("point", ["captured", "read", "merged", "applying:b", "decided", "applied:b", "recorded"])
def test_a_crash_creates_it_once(world: MakeWorld, point: str) -> None:
    w = sold(world)
    w.settle()
    key = w.create("a", m="x", n=1)
    w.settle()
    w.edit(key, n=6)
    w.round(crash_at=point)
    w.settle()
    assert rows(w) == {"a": [6], "b": [6]}
    w.still()


@pytest.mark.parametrize(("later", "there"), [(7, [7]), (2, [])])
def test_a_system_that_is_down_when_it_holds(world: MakeWorld, later: int, there: list[int]) -> None:
    """It follows when the system is back, if it still holds then."""
    w = sold(world)
    w.settle()
    key = w.create("a", m="x", n=1)
    w.settle()
    w.systems["b"].down = True
    w.edit(key, n=6)
    w.round()
    w.edit(key, n=later)
    w.round()
    w.systems["b"].down = False
    w.settle()
    assert rows(w) == {"a": [later], "b": there}
    assert not w.state.pending()
    w.still()


def test_people_make_it_there_first(world: MakeWorld) -> None:
    """A row that matches is linked, whatever the condition says; only then do edits flow."""
    w = sold(world)
    w.settle()
    w.create("a", m="x", n=1)
    w.settle()
    w.create("b", m="x", n=2)
    w.settle()
    assert rows(w) == {"a": [2], "b": [2]} and len(w.lines("link")) == 1 and not w.lines("create")


def test_a_field_in_review_creates_nothing(world: MakeWorld) -> None:
    """n is asked about: whether c gets the record is left open, even where the agreed value would say yes."""
    fields = [Field("n", "int", conflict="review"), Field("p", "int")]
    create = {"a": True, "b": True, "c": when("n > 5 and p > 0")}
    w = world(fields, "abc", create=create)
    w.settle()
    mine = w.create("a", m="x", n=6, p=0)
    w.settle()
    key = next(iter(w.systems["b"].rows("thing")))
    w.edit(mine, n=7)
    w.edit(key, n=8, p=1)
    w.settle()
    assert w.kinds() == ["conflict"] and w.column("c") == []
    w.edit(key, n=7)
    w.settle()
    assert not w.kinds() and w.column("c") == [7]


def test_a_condition_that_cannot_be_worked_out_is_asked_about(world: MakeWorld) -> None:
    w = sold(world, "10 / n > 1")
    w.settle()
    key = w.create("a", m="x", n=0)
    w.settle()
    assert rows(w) == {"a": [0], "b": []} and w.kinds() == ["refused"]
    assert "divided by zero" in w.reviews()[0].message
    w.edit(key, n=2)
    w.settle()
    assert w.column("b") == [2] and not w.kinds()
    w.still()


def test_a_lost_state_finds_it_again(world: MakeWorld) -> None:
    w = sold(world)
    w.settle()
    key, other = w.create("a", m="x", n=6), w.create("a", m="y", n=1)
    w.settle()
    w.edit(key, n=2)
    w.settle()
    w.lose_state()
    w.settle()
    assert rows(w) == {"a": [1, 2], "b": [2]}
    w.edit(other, n=6)
    w.settle()
    assert rows(w) == {"a": [2, 6], "b": [2, 6]}


def test_a_delete_before_it_holds(world: MakeWorld) -> None:
    w = sold(world)
    w.settle()
    key = w.create("a", m="x", n=1)
    w.settle()
    w.delete(key)
    w.settle()
    assert rows(w) == {"a": [], "b": []} and not w.kinds()
    w.create("a", m="x", n=6)
    w.settle()
    assert rows(w) == {"a": [6], "b": [6]}


# --- what refers to it -----------------------------------------------------------------------------------------------


def orders(world: MakeWorld, **options: object) -> World:
    """Parts refer to things; people make both in a; a thing comes to b when its condition holds."""
    fields = [Field("m", "text"), Field("t", "ref", ref="thing"), Field("k", "int")]
    part = make_entity("part", fields, "ab", match=((0,),), create={"a": False, "b": True})
    return sold(world, more=[part], **options)


def test_children_come_with_their_parent(world: MakeWorld) -> None:
    """As long as it is not there they are not, without anything that waits or is tried again; then all are."""
    w = orders(world)
    w.settle()
    thing = w.create("a", m="x", n=1)
    for k in (1, 2):
        w.create("a", "part", m=f"part{k}", t=thing, k=k)
    w.settle()
    assert w.column("b") == [] == w.column("b", "k", "part")
    assert not w.state.pending() and not w.kinds() and w.state.waiting(w.now) is None
    w.edit(thing, n=6)
    w.settle()
    assert w.column("b") == [6] and w.column("b", "k", "part") == [1, 2]
    made = next(iter(w.systems["b"].rows("thing")))
    assert w.column("b", "t", "part") == [made, made]
    w.still()


def test_a_new_child_of_a_parent_that_is_there(world: MakeWorld) -> None:
    """The parent's condition does not hold any more: its children follow all the same."""
    w = orders(world)
    w.settle()
    thing = w.create("a", m="x", n=6)
    w.settle()
    w.edit(thing, n=1)
    w.create("a", "part", m="part1", t=thing, k=1)
    w.settle()
    assert w.column("b") == [1] and w.column("b", "k", "part") == [1]


def test_children_of_a_parent_that_people_made_there(world: MakeWorld) -> None:
    w = orders(world)
    w.settle()
    thing = w.create("a", m="x", n=1)
    w.create("a", "part", m="part1", t=thing, k=1)
    w.settle()
    w.create("b", m="x", n=1)
    w.settle()
    assert w.column("b", "k", "part") == [1]


def test_a_child_and_its_parent_change_in_one_round(world: MakeWorld) -> None:
    """New parents and children together, also where a record refers to one of its own kind that comes later."""
    fields = [Field("n", "int"), Field("t", "ref", ref="thing")]
    create = {"a": True, "b": condition("n > 5", {"m": "text", "n": "int", "t": "ref"})}
    w = world(fields, create=create)
    w.settle()
    parent = w.create("a", m="parent", n=1)
    child = w.create("a", m="child", n=7, t=parent)
    w.settle()
    assert w.column("b") == []
    w.edit(child, n=8)
    w.edit(parent, n=6)
    w.settle()
    assert w.column("b") == [6, 8]
    w.still()


@pytest.mark.parametrize("point", ["decided", "applied:b", "recorded"])
def test_a_crash_when_the_parent_arrives(world: MakeWorld, point: str) -> None:
    w = orders(world)
    w.settle()
    thing = w.create("a", m="x", n=1)
    w.create("a", "part", m="part1", t=thing, k=1)
    w.settle()
    w.edit(thing, n=6)
    w.round(crash_at=point)
    w.settle()
    assert w.column("b") == [6] and w.column("b", "k", "part") == [1]


# --- it is changed ----------------------------------------------------------------------------------------------------


def restart(w: World, create: dict[str, bool | Expression]) -> None:
    w.stop()
    w.entities["thing"] = replace(w.entities["thing"], create=create)


@pytest.mark.parametrize("before", [when("n > 5"), False], ids=["condition", "false"])
@pytest.mark.parametrize("after", [when("n > 1"), True], ids=["condition", "true"])
def test_create_says_something_else(world: MakeWorld, before: Expression | bool, after: Expression | bool) -> None:
    """What may be created now is, without an edit; what still may not is not; and only once."""
    w = world("np", create={"a": True, "b": before})
    w.settle()
    w.create("a", m="x", n=3)
    w.create("a", m="y", n=0)
    w.settle()
    assert w.column("b") == []
    restart(w, {"a": True, "b": after})
    w.settle()
    if before is False:  # rows that may be created nowhere are no records: any sweep finds them
        for system in w.systems.values():
            system.sweep()
        w.settle()
    assert w.column("b") == ([0, 3] if after is True else [3])
    w.still()


def test_it_is_changed_and_the_agent_dies_at_once(world: MakeWorld) -> None:
    w = sold(world)
    w.settle()
    w.create("a", m="x", n=3)
    w.settle()
    restart(w, {"a": True, "b": True})
    w.start()
    w.stop()
    w.settle()
    assert w.column("b") == [3]


def test_the_same_words_ask_for_no_sweep(world: MakeWorld) -> None:
    w = sold(world)
    w.settle()
    w.stop()
    w.start()
    assert not w.engine.sweeper.waiting


# --- the words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "turned"),
    [
        (True, True, []),
        (True, False, []),
        (False, True, ["b"]),
        (False, "n > 5", ["b"]),
        ("n > 5", "n  >  5", []),
        ("n > 5", "n > 4", ["b"]),
        ("n > 5", True, ["b"]),
    ],
)
def test_what_counts_as_something_else(
    world: MakeWorld, before: bool | str, now: bool | str, turned: list[str]
) -> None:
    entity = world("np").entities["thing"]
    old, new = (
        replace(entity, create={"a": True, "b": when(said) if isinstance(said, str) else said})
        for said in (before, now)
    )
    assert creating.turned(new, creating.written(old)) == turned
