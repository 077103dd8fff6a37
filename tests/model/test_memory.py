"""The systems in memory do what the port says: a model test is worth no more than the database it runs on."""

from __future__ import annotations

import pytest

from config.errors import Taken, Transient, Unreachable
from config.records import Crosswalk, Field, Landing, Op, Raw, Write, WriteKind

from .build import column, fields_of, make_entity
from .system import MemorySystem, MemoryTransaction

START = 1_700_000_000_000_000


@pytest.fixture
def system() -> MemorySystem:
    parts = make_entity("part", [Field("m", "text"), Field("t", "ref", ref="thing")], "b")
    thing = make_entity("thing", fields_of("np"), "b", columns={("b", "m"): column("m", "text", length=4)})
    made = MemorySystem("b", lambda: START)
    made.bind([thing.tables["b"], parts.tables["b"]])
    made.load("thing", "b1", m="m1", n=1, p=1)
    return made


def begin(system: MemorySystem, round: int = 1) -> MemoryTransaction:
    return system.begin(system.take_fence("acme")._replace(round=round))


def update(values: dict[int, Raw], *expected: Raw) -> Write:
    return Write(WriteKind.UPDATE, "g1", "b1", values, expected)  # type: ignore[arg-type]


def test_only_what_was_merged_is_written_over(system: MemorySystem) -> None:
    """Byte for byte and by type; only the fields that are written are compared (I3)."""
    t = begin(system)
    lands = [update({1: 5}, "m1", 1, 99), update({1: 6}, "m1", 1, 1), update({1: 6}, "m1", 5.0, 1)]
    assert [t.apply("thing", [w])[0].landing for w in lands] == [Landing.LANDED, Landing.CHANGED, Landing.CHANGED]
    missing = Write(WriteKind.UPDATE, "g1", "b7", {1: 1}, ("m1", 1, 1))
    assert t.apply("thing", [missing])[0].landing is Landing.MISSING
    gone = Write(WriteKind.DELETE, "g1", "b1", {}, ("m1", 5, 99))
    assert t.apply("thing", [gone])[0].landing is Landing.CHANGED, "a delete compares all fields"


@pytest.mark.parametrize("kind", [WriteKind.UPDATE, WriteKind.DELETE, WriteKind.ARCHIVE, WriteKind.RESTORE])
def test_only_a_restore_lands_on_a_row_that_was_archived_meanwhile(system: MemorySystem, kind: WriteKind) -> None:
    system.archive("thing", "b1")
    write = Write(kind, "g1", "b1", {1: 5}, ("m1", 1, 1))
    landing = begin(system).apply("thing", [write])[0].landing
    assert landing is (Landing.LANDED if kind is WriteKind.RESTORE else Landing.CHANGED)


def test_nobody_sees_an_open_transaction_and_its_rows_are_locked(system: MemorySystem) -> None:
    """A person's write waits for the lock and lands behind ours; rolled back, nothing of ours is left."""
    t = begin(system)
    t.apply("thing", [update({1: 5}, "m1", 1, 1)])
    system.update("thing", "b1", p=9)
    assert system.get("thing", "b1") == {"m": "m1", "n": 1, "p": 1}
    t.commit()
    assert system.get("thing", "b1") == {"m": "m1", "n": 5, "p": 9}
    t = begin(system, 2)
    t.apply("thing", [update({1: 6}, "m1", 5, 9)])
    t.rollback()
    assert system.get("thing", "b1") == {"m": "m1", "n": 5, "p": 9}
    fence = system.fence()
    assert fence is not None and fence.round == 1
    with pytest.raises(Transient):
        t.commit()


def test_an_insert_claims_its_crosswalk_first(system: MemorySystem) -> None:
    """A repeat finds its earlier self; a row that matches stops it; every key known is written (I2)."""
    insert = Write(WriteKind.INSERT, "g2", None, {0: "m2", 1: 2}, None, (("a", "a2"),), ((0,),))
    t = begin(system)
    made = t.apply("thing", [insert])[0]
    assert (made.landing, made.key, made.after) == (Landing.LANDED, "b2", ("m2", 2, None))
    t.commit()
    assert sorted(system.links("thing", ["g2"])) == [
        Crosswalk("thing", "g2", "a", "a2"),
        Crosswalk("thing", "g2", "b", "b2"),
    ]
    t = begin(system, 2)
    again = t.apply("thing", [insert._replace(gid="g3")])[0]
    assert (again.landing, again.gid, again.key) == (Landing.ADOPTED, "g2", "b2")
    other = t.apply("thing", [insert._replace(gid="g3", links=(("a", "a3"),))])[0]
    assert (other.landing, other.found) == (Landing.EXISTS, ("b2",))


def test_a_parent_is_not_deleted_before_its_children(system: MemorySystem) -> None:
    """Children go by their own key, never by cascade."""
    system.tables_["part"].cascade = {1: ("thing", "cascade")}
    system.load("part", "b1", m="x", t="b1")
    parent = Write(WriteKind.DELETE, "g1", "b1", {}, ("m1", 1, 1))
    t = begin(system)
    refused = t.apply("thing", [parent])[0]
    assert refused.landing is Landing.REJECTED and "part b1" in refused.message
    child = Write(WriteKind.DELETE, "g2", "b1", {}, ("x", "b1"))
    assert t.apply("part", [child])[0].landing is Landing.LANDED
    assert t.apply("thing", [parent])[0].landing is Landing.LANDED


def test_the_older_agent_is_stopped(system: MemorySystem) -> None:
    """By the epoch, and by the name (I9)."""
    old = system.take_fence("acme")
    system.take_fence("acme")
    with pytest.raises(Taken):
        system.begin(old)
    with pytest.raises(Taken):
        system.take_fence("other")


def test_the_log_gives_each_change_until_it_is_acknowledged(system: MemorySystem) -> None:
    """With the columns' own times; a key that was used again, or changed, says so."""
    system.update("thing", "b1", n=2, at=START + 5)
    system.update("thing", "b1", p=2, at=START + 9)
    batch = system.changes(None, 10)
    assert [(c.key, c.op) for c in batch.changes] == [("b1", Op.UPDATE)]
    assert system.read({"thing": ["b1", "b7"]})["thing"]["b1"].times == {1: START + 5, 2: START + 9}
    system.rekey("thing", "b1", "b9")
    assert {c.key for c in system.changes(batch.position, 10).changes} == {"b1", "b9"}
    system.acknowledge(batch.position)
    system.acknowledge(batch.position)
    assert len(system.changes(None, 10).changes) == 2
    assert system.read({"thing": ["b9"]})["thing"]["b9"].was == "b1"
    system.delete("thing", "b9")
    system.insert("thing", "b9", m="new")
    assert system.read({"thing": ["b9"]})["thing"]["b9"].reborn


def test_a_system_that_is_down_answers_nothing(system: MemorySystem) -> None:
    t = begin(system)
    t.apply("thing", [update({1: 5}, "m1", 1, 1)])
    system.down = True
    with pytest.raises(Unreachable):
        system.read({"thing": ["b1"]})
    with pytest.raises(Unreachable):
        t.commit()


@pytest.mark.parametrize("fate", ["landed", "lost"])
def test_a_commit_may_be_cut_off(system: MemorySystem, fate: str) -> None:
    t = begin(system)
    t.apply("thing", [update({1: 5}, "m1", 1, 1)])
    system.lose_commit = fate
    with pytest.raises(Transient):
        t.commit()
    row, fence = system.get("thing", "b1"), system.fence()
    assert row is not None and fence is not None
    assert (row["n"], fence.round) == ((5, 1) if fate == "landed" else (1, 0))


def test_columns_keep_what_they_can(system: MemorySystem) -> None:
    t = begin(system)
    landed = t.apply("thing", [update({0: "abcdef"}, "m1", 1, 1)])[0]
    assert landed.after == ("abcd", 1, 1)
