"""Directed traces: a record whose parent does not come waits quietly, and is there as soon as the parent is."""

from __future__ import annotations

from typing import Any

from config.records import Field

from .build import make_entity
from .conftest import MakeWorld
from .harness import SECOND, World


def family(world: MakeWorld, **options: Any) -> World:
    """Things and their parts; a part's `t` refers to a thing."""
    parts = [Field("m", "text"), Field("t", "ref", ref="thing"), Field("n", "int")]
    w = world(more=[make_entity("part", parts, "ab", match=((0,),))], **options)
    w.load(n=1, p=1)
    w.settle()
    return w


def reports(world: World, seconds: int) -> list[Any]:
    """A round each second."""
    found = []
    for _ in range(seconds):
        world.now += SECOND
        found.append(world.engine.round())
    return found


def test_a_child_of_a_parent_in_review_is_left_alone(world: MakeWorld) -> None:
    """Two things match one of b: ?; a part of one of them: it is looked at ever more seldom, asked about once."""
    w = family(world)
    w.create("b", m="twin", n=1, p=1)
    w.settle()
    first = w.create("a", m="other", n=2, p=2)
    w.settle()
    second = w.create("a", m="twin", n=3, p=3)
    w.settle()
    assert w.kinds() == ["duplicate"]
    w.create("a", "part", m="part", t=second, n=5)
    w.round()
    rounds = reports(w, 600)
    assert sum(r.looked > 0 or r.worked for r in rounds) < 12
    assert sum(r.reviews for r in rounds) == 0, "the question was asked already"
    assert w.column("b", "m", "part") == []
    w.edit(second, m="alone")
    w.engine.round()
    w.engine.round()
    assert w.column("b", "m", "part") == ["part"], "it follows as soon as its parent is known"
    assert first and not w.reviews()


def test_a_child_follows_a_parent_that_is_created_late(world: MakeWorld) -> None:
    """b refuses a thing, its part waits and waits; what was in the way goes: the part follows at once."""
    w = family(world)
    b = w.systems["b"].tables_["thing"]
    b.unique = (1,)
    thing = w.create("a", m="late", n=1, p=2)
    w.create("a", "part", m="part", t=thing, n=5)
    w.round()
    reports(w, 400)
    assert [p.reason for p in w.state.pending()] == ["refused", "parent"]
    w.edit(thing, n=2)
    w.engine.round()
    w.engine.round()
    assert w.column("b", "m", "part") == ["part"]
    assert not w.state.pending() and not w.reviews()
