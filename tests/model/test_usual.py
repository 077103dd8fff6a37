"""The short way of the usual edit (agent/usual.py): it is taken, it decides as the long way does, and it gives way."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import applying, usual
from config.errors import Problem, Unreachable
from config.records import Field, Landing, Outcome, Write, WriteKind

from .conftest import MakeWorld
from .harness import World, quick_folder, short_way
from .people import Mode, Step, Story
from .system import MemorySystem
from .test_traces_identity import family

FIELDS = [Field("n", "int"), Field("p", "int")]


class Seen:
    """How often each end of the short way was reached."""

    def __init__(self) -> None:
        self.remembered = 0
        self.at_length = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    seen, remember, at_length = Seen(), usual.remember, usual.at_length

    def counted(*args: Any) -> Any:
        seen.remembered += 1
        return remember(*args)

    def longer(*args: Any) -> None:
        seen.at_length += 1
        at_length(*args)

    monkeypatch.setattr(usual, "remember", counted)
    monkeypatch.setattr(usual, "at_length", longer)
    yield seen


def loaded(world: MakeWorld, systems: str = "ab", fields: list[Field] | None = None) -> World:
    w = world(fields or FIELDS, systems)
    w.load(n=1, p=1)
    w.settle()
    return w


# --- it is taken ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("systems", ["ab", "abc"])
def test_an_edit_goes_the_short_way_and_is_in_the_journal(world: MakeWorld, seen: Seen, systems: str) -> None:
    w = loaded(world, systems)
    w.edit("a1", n=2)
    w.settle()
    assert w.all() == [2] * len(systems) and (seen.remembered, seen.at_length) == (1, 0)
    assert [j[2:7] for j in w.lines("update")] == [("update", s, "n", 1, 2) for s in systems[1:]]
    w.edit("b1", n=3, p=4)
    w.settle()
    assert w.all() == [3] * len(systems) and w.all("p") == [4] * len(systems) and seen.remembered == 2
    w.still()


def test_the_other_system_is_not_read(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    w = loaded(world)
    asked: list[object] = []
    monkeypatch.setattr(w.systems["b"], "read", lambda keys: asked.append(keys) or {})
    w.edit("a1", n=2)
    w.round()
    assert w.get("b1") == 2 and asked == []


def test_a_captured_change_that_changes_nothing_writes_nothing(world: MakeWorld, seen: Seen) -> None:
    w = loaded(world)
    before = w.written()
    w.edit("a1", n=1)
    w.settle()
    assert w.written() == before and (seen.remembered, seen.at_length) == (0, 0)


# --- it gives way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "edit"),
    [
        ([Field("n", "int", conflict="sum"), Field("p", "int")], {"n": 2}),
        ([Field("n", "int", owner="b"), Field("p", "int")], {"n": 2}),
        ([Field("n", "int", group="g"), Field("p", "int", group="g")], {"n": 2}),
    ],
    ids=["sum", "owned by another", "group"],
)
def test_fields_with_a_rule_of_their_own_go_the_long_way(
    world: MakeWorld, seen: Seen, fields: list[Field], edit: dict[str, int]
) -> None:
    w = loaded(world, fields=fields)
    w.edit("a1", **edit)
    w.settle()
    assert (seen.remembered, seen.at_length) == (0, 0)
    assert w.all() == ([1, 1] if fields[0].owner else [2, 2])


def test_two_that_were_edited_at_once_go_the_long_way(world: MakeWorld, seen: Seen) -> None:
    w = loaded(world)
    w.edit("a1", n=2)
    w.edit("b1", n=3)
    w.settle()
    assert w.all() == [3, 3] and seen.remembered == 0
    assert w.named(2, "conflict")


@pytest.mark.parametrize("point", ["captured", "read", "merged"])
def test_an_edit_of_the_same_field_that_nobody_had_captured(world: MakeWorld, seen: Seen, point: str) -> None:
    """a:n=2; before it is written, b:n=3: nothing is written over, and the later one wins by the rule."""
    w = loaded(world)
    w.edit("a1", n=2)
    w.during(point, lambda: w.edit("b1", n=3))
    assert w.get("b1") == 3
    w.settle()
    assert w.all() == [3, 3] and w.named(2, "conflict")
    assert seen.at_length == 1


@pytest.mark.parametrize("point", ["captured", "read", "merged"])
def test_an_edit_of_another_field_that_nobody_had_captured(world: MakeWorld, seen: Seen, point: str) -> None:
    """a:n=2; before it is written, b:p=9: both survive everywhere (MODEL A5)."""
    w = loaded(world)
    w.edit("a1", n=2)
    w.during(point, lambda: w.edit("b1", p=9))
    w.settle()
    assert w.all() == [2, 2] and w.all("p") == [9, 9]
    assert not w.lines("conflict") and seen.at_length == 1


@pytest.mark.parametrize("act", ["delete", "archive"])
def test_a_row_that_is_gone_by_now(world: MakeWorld, seen: Seen, act: str) -> None:
    w = world(FIELDS, tables={"b": {"archive": {"gone": 1}, "restore": {"gone": 0}}})
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    b = w.systems["b"]
    w.during("merged", lambda: w.delete("b1") if act == "delete" else b.archive("thing", "b1"))
    assert seen.at_length == 1
    assert w.row("b1") is None if act == "delete" else w.get("b1") == 1
    w.settle()
    w.still()


def test_a_trigger_that_changes_more_than_was_written(world: MakeWorld, seen: Seen) -> None:
    """b: n written -> p + 1; that is a side effect and not sent back (MODEL A5)."""
    w = loaded(world)
    w.systems["b"].tables_["thing"].triggers.append(
        lambda raws, old, named: raws.__setitem__(2, raws[2] + 1) if 1 in named else None
    )
    w.edit("a1", n=2)
    w.settle()
    assert w.all() == [2, 2] and w.all("p") == [1, 2] and seen.at_length == 1
    w.still()


def test_one_of_two_targets_is_cut_off(world: MakeWorld, seen: Seen) -> None:
    """a:n=2, c goes down before it is written: b has it, c gets it when it is back (I5)."""
    w = loaded(world, "abc")
    w.edit("a1", n=2)
    w.during("merged", lambda: setattr(w.systems["c"], "down", True))
    assert w.all() == [2, 2, 1] and seen.at_length == 1
    w.settle()
    w.systems["c"].down = False
    w.settle()
    assert w.all() == [2, 2, 2]


def test_a_record_that_is_looked_at_for_another_reason_too(world: MakeWorld, seen: Seen) -> None:
    """a1 is deleted, so its parts are looked at as well; one of them was edited in the same round: once, not twice."""
    w = family(world, "restrict", delete={"a": "propagate", "b": "propagate"}, delete_conflict="update_wins")
    part = next(iter(w.systems["a"].rows("part")))
    w.edit(part, n=2, entity="part")
    with w.systems["a"].mutex:
        w.systems["a"].tables_["part"].cascade = {}
    w.delete("a1")
    w.settle()
    lines = [j for j in w.lines("update", entity="part") if j.after == 2]
    assert len(lines) == 1 and (seen.remembered, seen.at_length) == (0, 0)


def test_a_match_value_that_changed_is_found_under_the_new_one(world: MakeWorld, seen: Seen) -> None:
    """a:n=2, where n is what records are matched by: a row with n=2 in b is a duplicate, one with n=1 is not."""
    w = world(FIELDS, match=((1,),))
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", n=2)
    w.settle()
    assert w.all() == [2, 2] and seen.remembered == 0
    w.create("b", n=2, p=5)
    w.settle()
    assert w.kinds() == ["duplicate"] and w.column("a") == [2]
    w.create("b", n=1, p=6)
    w.settle()
    assert w.column("a") == [1, 2]


def test_what_a_lost_transaction_had_taken_is_wanted_still(world: MakeWorld) -> None:
    """a:n=2 on a thing and on a part; b takes the first and is cut off at the second: nothing landed there."""
    w = family(world, "restrict")
    part = next(iter(w.systems["a"].rows("part")))
    w.edit("a1", n=2)
    w.edit(part, n=2, entity="part")
    b = w.systems["b"]
    begin = b.begin

    def cut(fence: Any) -> Any:
        transaction = begin(fence)
        apply = transaction.apply

        def once(entity: str, writes: Any) -> Any:
            if entity == "part":
                raise Unreachable(Problem("unreachable", "cut off", system="b"))
            return apply(entity, writes)

        transaction.apply = once
        return transaction

    b.begin = cut  # type: ignore[method-assign]
    w.round()
    b.begin = begin  # type: ignore[method-assign]
    assert w.get("b1") == 1
    w.settle()
    assert (w.column("b"), w.column("b", "n", "part")) == ([2], [2])


def test_a_part_that_had_landed_before_the_transaction_was_lost(world: MakeWorld, seen: Seen) -> None:
    """Three records, two of them in the first part; b is cut off at the second part: none of them landed there."""
    w = world(FIELDS)
    for _ in range(3):
        w.load(n=1, p=1)
    w.settle()
    for key in ("a1", "a2", "a3"):
        w.edit(key, n=2)
    b = w.systems["b"]
    begin, calls = b.begin, []

    def cut(fence: Any) -> Any:
        transaction = begin(fence)
        apply = transaction.apply

        def once(entity: str, writes: Any) -> Any:
            calls.append(len(writes))
            if len(calls) == 2:
                raise Unreachable(Problem("unreachable", "cut off", system="b"))
            return apply(entity, writes)

        transaction.apply = once
        return transaction

    b.begin = cut  # type: ignore[method-assign]
    w.round()
    b.begin = begin  # type: ignore[method-assign]
    assert calls == [2, 1] and w.column("b") == [1, 1, 1]
    assert seen.at_length == 3 and not w.lines("update")
    w.settle()
    assert w.column("b") == [2, 2, 2]
    w.still()


class Late:
    """A transaction that takes a write when all that stand in its way are written."""

    def __init__(self, blocked: str, by: str) -> None:
        self.blocked, self.by = blocked, by
        self.calls: list[list[str]] = []

    def apply(self, entity: str, writes: list[Write]) -> list[Outcome]:
        done = {key for call in self.calls for key in call}
        self.calls.append([write.key or "" for write in writes])
        return [
            Outcome(Landing.REJECTED if w.key == self.blocked and self.by not in done else Landing.LANDED, w.key)
            for w in writes
        ]


def test_what_a_later_part_stood_in_the_way_of_is_tried_once_more() -> None:
    """1 takes the unique value that 2 lets go of, in another part."""
    system, taken, arrived = MemorySystem("b", lambda: 0), [{}, {}], SimpleQueue()  # type: ignore[var-annotated]
    errands = [
        applying.Errand([Write(WriteKind.UPDATE, "", key, {}, ())], [taker], part)  # type: ignore[arg-type]
        for key, taker, part in zip("12", taken, ("one", "two"), strict=True)
    ]
    late = Late("1", "2")
    applying._run(applying.Target(system), late, "thing", errands, arrived)  # type: ignore[arg-type]
    assert late.calls == [["1"], ["2"], ["1"]]
    assert [taker["b"].landing for taker in taken] == [Landing.LANDED, Landing.LANDED]
    assert [arrived.get_nowait() for _ in range(2)] == ["one", "two"]


@pytest.mark.parametrize("point", ["decided", "applied:b", "recorded"])
def test_a_crash_before_and_after_the_commit(world: MakeWorld, point: str) -> None:
    """What had landed is known, what had not is written again; a person's edit meanwhile is seen (MODEL A1)."""
    w = loaded(world)
    w.edit("a1", n=2)
    w.round(crash_at=point)
    w.edit("b1", p=7)
    w.settle()
    assert w.all() == [2, 2] and w.all("p") == [7, 7] and not w.lines("conflict")


# --- both ways decide alike -------------------------------------------------------------------------------------------

CALM = Mode("abc", ("edit", "both", "edit", "round", "round", "create", "delete"))
number = st.integers(0, 11)


def outcome(steps: list[Step], on: bool) -> tuple[Any, ...]:
    with quick_folder() as folder, short_way(on):
        story = Story(CALM, folder)
        try:
            story.tell(steps)
            story.finish()
            w = story.world
            rows = {s: sorted(r.raws for r in w.systems[s].rows("thing").values()) for s in w.systems}
            return rows, [(j.action, j.system, j.field, j.before, j.after, j.rule, j.changed_at) for j in w.journal]
        finally:
            story.world.stop()


@given(st.lists(st.tuples(number, number, number, number), max_size=20))
@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_ways_decide_alike(steps: list[Step]) -> None:
    """The same rows, and the same lines in the journal."""
    (rows, lines), (others, theirs) = outcome(steps, True), outcome(steps, False)
    assert rows == others
    assert sorted(lines, key=repr) == sorted(theirs, key=repr)
