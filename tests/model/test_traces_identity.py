"""Directed traces: who is who, and what a delete means (MODEL A4, A6, A16, A17)."""

from __future__ import annotations

import itertools

import pytest

from config.records import Field

from .build import make_entity
from .conftest import MakeWorld
from .harness import SECOND, World, next_step

# --- A4: matching is mutual, and looks at linked rows too ------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(["a1", "b1", "b2"])), ids=lambda o: "".join(o))
@pytest.mark.parametrize("batch", [1, 100])
def test_an_ambiguous_match_links_nobody(world: MakeWorld, order: tuple[str, ...], batch: int) -> None:
    """a1, b1 and b2 all have m=7, looked at in any order: review, no link, no creation, nothing left behind."""
    w = world(engine={"batch": batch})
    w.settle()
    for key in order:
        w.of(key).insert("thing", key, m="7", n=ord(key[0]), at=w.stamp(None))
    w.settle()
    assert len(w.column("a")) == 1 and len(w.column("b")) == 2
    assert w.column("a") == [ord("a")] and set(w.column("b")) == {ord("b")}, "nothing was copied across"
    assert set(w.kinds()) <= {"ambiguous", "duplicate"} and w.kinds()
    w.edit("b2", m="8")
    w.settle()
    assert not w.reviews(), "a change of a candidate looks at it again"
    assert w.column("a", "m") == w.column("b", "m") == ["7", "8"]


def test_a_second_row_for_a_linked_record_is_a_duplicate(world: MakeWorld) -> None:
    """a1-b1 linked (m=7); a person creates b2 (m=7): no a2, review."""
    w = world()
    w.put("a1", m="7", n=1)
    w.put("b1", m="7", n=1)
    w.settle()
    w.create("b", m="7", n=5)
    w.settle()
    assert w.column("a") == [1] and w.column("b") == [1, 5]
    assert w.kinds() == ["duplicate"]
    w.still()


@pytest.mark.parametrize("point", ["captured", "read", "merged"])
def test_a_row_that_appears_before_our_insert_is_linked(world: MakeWorld, point: str) -> None:
    """a creates m=7; before the insert lands a person creates m=7 in b: linked, one row each."""
    w = world()
    w.settle()
    w.create("a", m="7", n=1)
    w.during(point, lambda: w.create("b", m="7", n=2))
    w.settle()
    assert w.column("a", "m") == w.column("b", "m") == ["7"]
    assert w.column("a") == w.column("b")
    assert not w.reviews()


KEY_CHANGES = [("rekey", point) for point in (None, "captured", "read", "merged", "decided", "recorded")]
KEY_CHANGES += [(how, p) for how in ("twice", "delete and insert", "together") for p in (None, "captured", "read")]


@pytest.mark.parametrize(("how", "point"), KEY_CHANGES)
def test_a_new_primary_key_is_the_same_record(world: MakeWorld, how: str, point: str | None) -> None:
    """a's row gets another primary key (same m), before a round or while one is under way: b keeps it, nothing is lost.

    Where the round cannot know yet, b's row may go and come again; it is never lost, and never there twice.
    """
    w = world()
    w.load(n=1, p=1)
    w.settle()
    a = w.systems["a"]

    def change() -> None:
        if how in ("rekey", "twice"):
            a.rekey("thing", "a1", "a9" if how == "rekey" else "a8")
            if how == "twice":
                a.rekey("thing", "a8", "a9")
        elif how == "delete and insert":
            w.delete("a1")
            a.insert("thing", "a9", m="m1", n=1, p=1)
        else:
            with a.together():
                w.delete("a1")
                a.insert("thing", "a9", m="m1", n=1, p=1)

    if point is None:
        change()
    else:
        w.edit("b1", p=5)  # the round looks at this very record
        w.during(point, change)
    w.settle()
    assert list(a.rows("thing")) == ["a9"] and len(w.column("b")) == 1
    if point is None or how in ("rekey", "twice"):
        assert list(w.systems["b"].rows("thing")) == ["b1"], "the same row, with its key and its history"
    w.edit("a9", n=2)
    w.settle()
    assert w.column("b") == [2]
    w.still()


def test_a_new_primary_key_without_a_match_rule(world: MakeWorld) -> None:
    """The same where only the log can tell: the key changes between capture and read."""
    w = world(match=())
    w.settle()
    w.create("a", m="x", n=1)
    w.settle()
    b = next(iter(w.systems["b"].rows("thing")))
    w.edit(b, p=5)
    w.round(captured=lambda: w.systems["a"].rekey("thing", "a1", "a9"))
    w.settle()
    assert list(w.systems["a"].rows("thing")) == ["a9"] and w.column("b", "p") == [5] and w.get("a9", "p") == 5
    w.still()


def test_an_insert_meets_the_row_of_another_record(world: MakeWorld) -> None:
    """b1 is deleted, b2 is given its match value, a1 is edited and wins: no second row, no endless retry, review."""
    w = world(delete_conflict="update_wins")
    w.load(n=1, p=1)
    w.load(n=2, p=2)
    w.settle()
    w.delete("b1")
    w.edit("b2", m="m1")
    w.edit("a1", n=5)
    w.settle()
    assert w.get("a1") == 5 and w.column("b") == [2]
    assert w.reviews(), "a person hears that a1 is not in b"
    w.still()
    w.edit("b2", m="m2")
    w.settle()
    assert w.column("b") == [2, 5] and not w.reviews()


def test_blank_match_values_match_nobody(world: MakeWorld) -> None:
    """Two rows without m are two records."""
    w = world()
    w.settle()
    w.create("a", m=None, n=1)
    w.create("b", m="  ", n=2)
    w.settle()
    assert w.column("a") == w.column("b") == [1, 2]


def test_match_values_compare_in_canonical_form(world: MakeWorld) -> None:
    """'7' and '7  ' are the same match value, though no database finds them equal."""
    w = world()
    w.put("a1", m="7", n=1)
    w.put("b1", m="7  ", n=1)
    w.settle()
    assert len(w.column("a")) == len(w.column("b")) == 1


def test_three_systems_meet_at_first_contact(world: MakeWorld) -> None:
    """The same m stands in a, b and c, and another only in c: two records everywhere, one row each."""
    w = world(systems="abc")
    w.load(n=1, p=1)
    w.put("c2", m="m2", n=2)
    w.settle()
    for system in "abc":
        assert w.column(system, "m") == ["m1", "m2"]
    w.still()


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_three_systems_create_the_same_at_once(world: MakeWorld, batch: int) -> None:
    """a, b and c each enter m=7 before a round: one record."""
    w = world(systems="abc", engine={"batch": batch})
    w.settle()
    for n, system in enumerate("abc"):
        w.create(system, m="7", n=n)
    w.settle()
    for system in "abc":
        assert w.column(system) == [2], "the latest of three first values"
    assert not w.reviews()


# --- A16, A17 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owner", [None, "b"])
def test_a_blank_never_beats_a_value_at_first_contact(world: MakeWorld, owner: str | None) -> None:
    """a n=5, b n empty in the newer row, also where b owns n: 5."""
    w = world([Field("n", "int", owner=owner)], modified="ab")
    w.put("a1", m="7", n=5)
    w.put("b1", m="7", n=None)
    w.settle()
    assert w.all() == [5, 5]


@pytest.mark.parametrize("down", ["b", "c", "bc"])
def test_a_system_that_is_down_is_absent(world: MakeWorld, down: str) -> None:
    """Edits, a creation and a delete while systems are down: nothing is lost there, all follows when they are back."""
    w = world(systems="abc")
    w.load(n=1, p=1)
    w.load(n=1, p=1)
    w.settle()
    for name in down:
        w.systems[name].down = True
    w.edit("a1", n=2)
    w.delete("a2")
    w.create("a", m="new", n=7)
    w.settle()
    for name in down:
        assert [w.get(f"{name}1"), w.get(f"{name}2")] == [1, 1]
        w.edit(f"{name}1", p=ord(name))
        w.systems[name].down = False
    w.settle()
    assert w.all("n") == [2, 2, 2] and w.all("n", 2) == ["gone"] * 3
    assert len(set(w.all("p"))) == 1
    for system in "abc":
        assert w.column(system) == [2, 7]
    w.still()


def test_an_edit_and_a_delete_while_the_agent_was_away(world: MakeWorld) -> None:
    """The agent is stopped; people edit; it starts: nothing is missed, nothing is deleted by mistake."""
    w = world()
    w.load(n=1, p=1)
    w.load(n=1, p=1)
    w.settle()
    w.stop()
    w.edit("a1", n=2)
    w.edit("b1", p=3)
    w.delete("b2")
    w.settle()
    assert (w.all("n"), w.all("p")) == ([2, 2], [3, 3])
    assert w.all("n", 2) == ["gone", "gone"]


# --- A6: deletes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["update_wins", "delete_wins", "review"])
@pytest.mark.parametrize("point", [None, "captured", "read", "merged"])
def test_an_edit_against_a_delete(world: MakeWorld, rule: str, point: str | None) -> None:
    """a deletes; before it lands b:p=9: never lost without a line, whatever the rule."""
    w = world(delete_conflict=rule)
    w.load(n=1, p=1)
    w.settle()
    w.delete("a1")
    if point is None:
        w.edit("b1", p=9)
        w.round()
    else:
        w.during(point, lambda: w.edit("b1", p=9))
    w.settle()
    if rule == "update_wins":
        assert w.column("a", "p") == w.column("b", "p") == [9]
        assert not w.reviews()
    elif rule == "delete_wins":
        assert w.column("a") == w.column("b") == []
        assert w.named(9)
    else:
        assert w.get("b1", "p") == 9 and w.column("a") == []
        assert w.reviews()
    w.still()


@pytest.mark.parametrize("rule", ["update_wins", "delete_wins", "review"])
@pytest.mark.parametrize("how", ["read", "merged", "down"])
def test_a_delete_that_had_not_seen_an_edit(world: MakeWorld, rule: str, how: str) -> None:
    """a:p=9 is agreed, but had not reached b when b's row was deleted: the edit is no less an edit for being older."""
    w = world(delete_conflict=rule)
    w.load(n=1, p=1)
    w.settle()
    w.edit("a1", p=9)
    if how == "down":
        w.systems["b"].down = True
        w.settle()
        w.delete("b1")
        w.systems["b"].down = False
    else:
        w.during(how, lambda: w.delete("b1"))
    w.settle()
    if rule == "update_wins":
        assert w.column("a", "p") == w.column("b", "p") == [9]
    elif rule == "delete_wins":
        assert w.column("a") == w.column("b") == []
        assert w.named(9)
    else:
        assert w.get("a1", "p") == 9 and w.column("b") == []
        assert w.reviews()
    w.still()


@pytest.mark.parametrize("policy", ["ignore", "review", "archive"])
def test_an_edit_after_a_settled_delete_creates_nothing(world: MakeWorld, policy: str) -> None:
    """a deletes, R (b keeps its row, or archives it); b:p=9, R: nothing is created again in a."""
    w = world(delete={"a": "propagate", "b": policy}, tables={"b": {"archive": {"gone": 1}, "restore": {"gone": 0}}})
    w.load(n=1, p=1)
    w.settle()
    w.delete("a1")
    w.settle()
    assert "b1" in w.systems["b"].rows("thing")
    assert w.systems["b"].rows("thing")["b1"].archived is (policy == "archive")
    w.edit("b1", p=9)
    w.settle()
    if policy != "ignore":
        assert w.get("b1", "p") == 9
    assert w.column("a") == []
    w.still()


def test_an_archived_row_that_comes_back_is_the_same_record(world: MakeWorld) -> None:
    """b archives its row: gone in a; b takes it back: the same record lives again, once."""
    w = world(tables={"b": {"archive": {"gone": 1}, "restore": {"gone": 0}}}, delete={"a": "propagate", "b": "archive"})
    w.load(n=1, p=1)
    w.settle()
    w.systems["b"].archive("thing", "b1")
    w.settle()
    assert w.column("a") == []
    w.systems["b"].archive("thing", "b1", archived=False)
    w.settle()
    assert w.column("a") == [1] and list(w.systems["b"].rows("thing")) == ["b1"]
    w.still()


@pytest.mark.parametrize("rule", ["update_wins", "delete_wins", "review"])
def test_an_edit_after_the_delete_was_agreed_and_before_it_landed(world: MakeWorld, rule: str) -> None:
    """a deletes while b is down; b:p=9; b is back: the same case as if both were seen at once."""
    w = world(systems="abc", delete_conflict=rule)
    w.load(n=1, p=1)
    w.settle()
    w.systems["b"].down = True
    w.delete("a1")
    w.settle()
    w.edit("b1", p=9)
    w.systems["b"].down = False
    w.settle()
    if rule == "update_wins":
        assert [w.column(s, "p") for s in "abc"] == [[9], [9], [9]]
    elif rule == "delete_wins":
        assert [w.column(s) for s in "abc"] == [[], [], []]
        assert w.named(9)
    else:
        assert w.get("b1", "p") == 9 and w.reviews()
    w.still()


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_delete_while_an_insert_elsewhere_is_in_doubt(world: MakeWorld, fate: str) -> None:
    """b creates; c's COMMIT is cut off and c goes down; b deletes; c is back: the row that landed there goes, too."""
    w = world(systems="abc")
    w.settle()
    key = w.create("b", m="x", n=5)
    c = w.systems["c"]
    c.lose_commit = fate
    w.round(recorded=lambda: setattr(c, "down", True))
    assert c.lose_commit is None and len(w.column("c")) == (1 if fate == "landed" else 0)
    w.delete(key)
    w.settle()
    c.down = False
    w.settle()
    assert [w.column(s) for s in "abc"] == [[], [], []]
    w.still()


def family(world: MakeWorld, rule: str, silent: bool = False, **options: object) -> World:
    """Things and their parts; a part's `t` refers to a thing."""
    parts = [Field("m", "text"), Field("t", "ref", ref="thing"), Field("n", "int")]
    part = make_entity("part", parts, "ab", match=((0,),))
    w = world(more=[part], world_options={"silent_cascade": silent}, **options)
    for system in w.systems.values():
        system.tables_["part"].cascade = {1: ("thing", rule)}
    w.load(n=1, p=1)
    for name in "ab":
        w.systems[name].load("part", f"{name}1", m="part1", t=f"{name}1", n=1)
    w.settle()
    return w


@pytest.mark.parametrize("rule", ["cascade", "set null", "restrict"])
@pytest.mark.parametrize("point", ["captured", "read", "merged"])
def test_a_new_child_is_not_swept_away_with_its_parent(world: MakeWorld, rule: str, point: str) -> None:
    """a deletes the parent (with its part); meanwhile a person adds a part to it in b: that part survives."""
    w = family(world, rule)

    def add() -> None:
        w.create("b", "part", m="part2", t="b1", n=2)

    w.delete("a1", "part")
    w.delete("a1")
    w.during(point, add)
    w.settle()
    assert 2 in w.column("b", "n", "part"), "a child that nobody deleted"
    links = [r["t"] for k in w.systems["b"].rows("part") if (r := w.row(k, "part"))]
    assert all(t is None or t in w.systems["b"].rows("thing") for t in links), "no dangling link"
    w.still()


@pytest.mark.parametrize("silent", [True, False], ids=["no trace", "logged"])
def test_children_that_went_by_cascade_go_everywhere(world: MakeWorld, silent: bool) -> None:
    """a deletes the parent; its database deletes the part by cascade, with or without a trace in the log."""
    w = family(world, "cascade", silent)
    w.delete("a1")
    w.settle()
    for system in "ab":
        assert w.column(system) == [] and w.column(system, "n", "part") == []
    w.still()


@pytest.mark.parametrize("match", [(), ((0,),)], ids=["no match rule", "matched"])
def test_a_key_that_is_used_again_is_another_record(world: MakeWorld, match: tuple[tuple[int, ...], ...]) -> None:
    """a1 (m=7) deleted, key a1 used again (m=8), one look: the new person does not overwrite the old one in b."""
    w = world(match=match)
    w.settle()
    key = w.create("a", m="7", n=1)
    w.settle()
    old = list(w.systems["b"].rows("thing"))
    assert len(old) == 1
    w.delete(key)
    w.systems["a"].insert("thing", key, m="8", n=8, at=w.stamp(None))
    w.settle()
    assert w.column("a", "m") == w.column("b", "m") == ["8"]
    assert old[0] not in w.systems["b"].rows("thing"), "the old record went, the new one is another row"
    w.still()


def test_a_row_that_is_saved_by_delete_and_insert_is_the_same_record(world: MakeWorld) -> None:
    """The same key, deleted and inserted in one transaction (REPLACE): an update."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    with w.systems["a"].together():
        w.delete("a1")
        w.systems["a"].insert("thing", "a1", m="m1", n=5, p=1, at=w.stamp(None))
    w.settle()
    assert w.row("b1") == {"m": "m1", "n": 5, "p": 1}
    assert list(w.systems["b"].rows("thing")) == ["b1"]


def test_a_late_event_of_an_old_key_deletes_nothing(world: MakeWorld) -> None:
    """Update wins against a's delete, the record is inserted in a again; a late delete event of a1: it lives."""
    w = world(delete_conflict="update_wins")
    w.load(n=1, p=1)
    w.settle()
    w.delete("a1")
    w.edit("b1", p=9)
    w.settle()
    assert w.column("a", "p") == [9] and "a1" not in w.systems["a"].rows("thing")
    w.systems["a"].repeat(100)
    w.systems["b"].repeat(100)
    w.settle()
    assert w.column("a", "p") == w.column("b", "p") == [9]
    w.still()


@pytest.mark.parametrize("rule", ["update_wins", "delete_wins"])
def test_a_delete_that_a_watermark_does_not_see(world: MakeWorld, rule: str) -> None:
    """b goes by watermark; b's delete is unseen, a:n=2: the read sees it at once, edit against delete."""
    w = world(delete_conflict=rule, world_options={"watermark": "b"}, watermark="b")
    w.load(n=1, p=1)
    w.settle()
    w.delete("b1")
    w.edit("a1", n=2)
    w.settle()
    assert w.column("a") == w.column("b") == ([2] if rule == "update_wins" else [])
    assert rule == "update_wins" or w.named(2)
    w.still()


def test_overrides_and_echoes_do_not_count_against_a_delete(world: MakeWorld) -> None:
    """a deletes; b:n=9, but a owns n: no update, the delete goes through; the override is journaled."""
    w = world([Field("n", "int", owner="a"), "p"], delete_conflict="update_wins")
    w.load(n=1, p=1)
    w.settle()
    w.edit("b1", n=9)
    w.settle()
    assert w.all() == [1, 1]
    w.delete("a1")
    w.systems["b"].repeat(5)
    w.settle()
    assert w.column("a") == w.column("b") == []


@pytest.mark.parametrize("point", ["captured", "read", "merged", "applying:b", "decided", "applied:b", "recorded"])
def test_a_crash_in_a_delete(world: MakeWorld, point: str) -> None:
    """a deletes, crash anywhere: gone everywhere in the end, and not created again."""
    w = world()
    w.load(n=1, p=1)
    w.settle()
    w.delete("a1")
    w.round(crash_at=point)
    w.settle()
    assert w.column("a") == w.column("b") == []
    w.still()


# --- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 100])
def test_a_child_waits_for_its_parent(world: MakeWorld, batch: int) -> None:
    """A part is captured before its thing, which the capture keeps back: the parent is fetched by itself."""
    w = family(world, "restrict", engine={"batch": batch})
    thing = w.create("a", m="late", n=7)
    w.systems["a"].hold()
    w.create("a", "part", m="early", t=thing, n=8)
    w.settle()
    part = next(r for k in w.systems["b"].rows("part") if (r := w.row(k, "part")) and r["m"] == "early")
    assert isinstance(part["t"], str) and w.get(part["t"], "m") == "late"
    w.systems["a"].release()
    w.still()


def test_a_reference_follows_its_record(world: MakeWorld) -> None:
    """a moves a part to another thing, and back to none: b follows with its own keys."""
    w = family(world, "restrict")
    other = w.create("a", m="other", n=2, p=2)
    w.edit("a1", "part", t=other)
    w.settle()
    there = w.get("b1", "t", "part")
    assert isinstance(there, str) and w.get(there, "m") == "other"
    w.edit("b1", "part", t=None)
    w.settle()
    assert w.get("a1", "t", "part") is None
    w.still()


def test_a_delete_that_had_not_seen_the_winner_of_a_tie(world: MakeWorld) -> None:
    """a:n=2, then b:n=3 within the tolerance: a wins by rank, later stamp or not; b deletes before it hears of it."""
    w = world(delete_conflict="update_wins", engine={"tolerance": 3 * SECOND})
    w.load(n=1, p=1)
    w.settle()
    base = next_step(w.now, 3)
    w.edit("a1", at=base, n=2)
    w.edit("b1", at=base + 2, n=3)
    w.round(decided=lambda: setattr(w.systems["b"], "lose_commit", "lost"))
    w.delete("b1")
    w.settle()
    assert w.column("a") == w.column("b") == [2]
