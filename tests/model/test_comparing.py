"""What `accord verify` is made of, against a world in memory: the oracle is what the test itself did to the rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from agent import comparing
from agent.comparing import Comparison, Report
from state.ports import Decided, Link

from .conftest import MakeWorld
from .harness import World


def compare(w: World, scanned: Callable[[int], None] | None = None, pause: Callable[[], bool] | None = None) -> Report:
    comparison = Comparison(w.entities[w.main], w.systems, w.state, None)
    return comparison.run(scanned or (lambda rows: None), pause or (lambda: False))


def test_every_difference_is_found_and_nothing_else(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "PAGE", 7)
    w = world("n")
    for number in range(1, 301):
        w.load(m=f"m{number}", n=number)
    w.settle()
    expected: dict[str, set[str]] = {"agree": set(), "differs": set(), "a": set(), "b": set(), "": set()}
    chance = random.Random(7)
    for number in range(1, 301):
        act = chance.choice(["", "", "", "edit a", "edit b", "edit both", "delete a", "delete b", "delete both"])
        for s in ("a", "b"):
            if act in (f"edit {s}", "edit both"):
                w.edit(f"{s}{number}", n=-number)
            if act in (f"delete {s}", "delete both"):
                w.delete(f"{s}{number}")
        kind = {"edit a": "differs", "edit b": "differs", "delete a": "b", "delete b": "a", "delete both": ""}
        expected[kind.get(act, "agree")].add(f"a{number} b{number}")
    created = {w.create(s, m=f"new {s}{i}", n=0) for s in "ab" for i in range(10)}
    found = compare(w)
    assert (found.agree, found.differ) == (len(expected["agree"]), len(expected["differs"]))
    assert found.only == Counter(a=len(expected["a"]) + 10, b=len(expected["b"]) + 10)
    differing = {s.record for s in found.samples["differs"]}
    assert differing == {f"a:{r.split()[0]} = b:{r.split()[1]}" for r in expected["differs"]}
    only = {s.record for s in found.samples["only"]}
    assert only == {
        *(f"a:{r.split()[0]}" for r in expected["a"]),
        *(f"b:{r.split()[1]}" for r in expected["b"]),
        *(f"{key[0]}:{key}" for key in created),
    }
    w.settle()
    after = compare(w)
    assert (after.agrees, after.differ, after.only.total(), after.known.total()) == (True, 0, 0, 0)


def test_what_changes_during_the_scan_is_read_again(world: MakeWorld) -> None:
    w = world("n")
    w.load(m="x", n=1)
    w.load(m="y", n=2)
    w.settle()

    def people(rows: int) -> None:
        """After the page was read and before it is compared; Accord carries it over at once."""
        w.edit("a1", n=9)
        w.delete("b2")
        w.create("b", m="z", n=3)
        w.settle()

    acts = iter([people])
    found = compare(w, lambda rows: next(acts, lambda _: None)(rows))
    assert w.get("b1") == 9
    assert (found.agree, found.differ, found.only) == (2, 0, Counter())


@pytest.mark.parametrize("slow", [1, 2])
def test_what_is_on_its_way_is_waited_for_while_an_agent_runs(world: MakeWorld, slow: int) -> None:
    """Each pause is followed by another look, until nothing is suspect any more."""
    w = world("n")
    w.load(m="x", n=1)
    w.settle()
    w.edit("a1", n=9)
    waited: list[bool] = []

    def pause() -> bool:
        waited.append(True)
        if len(waited) == slow:
            w.settle()
        return True

    assert compare(w).differ == 1
    found = compare(w, pause=pause)
    assert (found.agree, found.differ) == (1, 0)
    assert len(waited) == slow


def test_three_systems(world: MakeWorld) -> None:
    w = world("n", "abc")
    for number in range(1, 5):
        w.load(m=f"m{number}", n=number)
    w.settle()
    w.edit("c1", n=9)
    w.delete("a2")
    w.delete("b3")
    found = compare(w)
    assert (found.agree, found.differ) == (1, 1)
    assert found.only == Counter({"b and c": 1, "a and c": 1})
    (sample,) = found.samples["differs"]
    assert sample.fields == {"n": {"a": 1, "b": 1, "c": 9}}


def test_a_key_that_speaks_for_another_record_is_not_read_for_the_old_one(world: MakeWorld) -> None:
    """Deletes are ignored: the old record lives on in b, and its key in a was used again."""
    w = world("n", delete="ignore")
    w.load(m="x", n=1)
    w.load(m="y", n=2)
    w.settle()
    w.delete("a1")
    w.settle()
    gids = [w.state.resolve("thing", s, [key])[key] for s, key in (("b", "b1"), ("a", "a2"))]
    old, new = w.state.load("thing", gids).values()
    old.links["a"] = Link("a2", "gone")
    old.dirty = True
    w.state.commit(Decided(w.state.last_round() + 1, w.now, records=[old]))
    assert w.state.resolve("thing", "a", ["a2"]) == {"a2": new.gid}
    found = compare(w)
    assert (found.agree, found.differ, found.known) == (1, 0, Counter({"kept in one system only": 1}))
