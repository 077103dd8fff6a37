"""The store keeps what a round decided, whole or not at all. The oracle is SQL of the test's own, beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.records import Value
from state.ports import (
    Decided,
    Edited,
    Frozen,
    Image,
    Journal,
    Link,
    Look,
    MatchRow,
    Pending,
    Prepared,
    Record,
    Replaced,
    Review,
    State,
    Stored,
    Version,
)
from state.store import Store

ENTITIES = {"customer": ["name", "parent"], "order": ["customer", "number"]}
REFS = {"customer": ["parent"], "order": ["customer"]}
SYSTEMS = ["crm", "erp"]
A, B, C, D = (letter * 32 for letter in "abcd")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store.open(path, ENTITIES, SYSTEMS, refs=REFS)) as store:
        yield store


def sql(path: Path, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Through a connection of the test's own."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement, parameters).fetchall()


def links(path: Path) -> set[tuple[str, str, str]]:
    return set(
        sql(
            path,
            "SELECT r.gid, y.name, s.key FROM side s JOIN record r ON r.id = s.id / 64 "
            "JOIN system y ON y.id = s.id % 64 WHERE s.speaks",
        )
    )


def images(path: Path) -> dict[int, Any]:
    """By system: the image as the file has it (of the only record that has some)."""
    rows = sql(path, "SELECT images FROM record WHERE images IS NOT NULL")
    return {entry[0]: entry for (blob,) in rows for entry in msgspec.msgpack.decode(blob)}


def tombs(path: Path) -> set[tuple[str, str, str]]:
    statement = (
        "SELECT r.gid, y.name, t.key FROM tomb t JOIN record r ON r.id = t.record JOIN system y ON y.id = t.system"
    )
    return set(sql(path, statement))


def version(*values: Value, stamp: int = 5) -> Version:
    n = len(values)
    return Version(values, (stamp,) * n, ("crm",) * n, ("only change",) * n)


def image(*values: Any, stamp: int = 5) -> Image:
    return Image(values, values, (stamp,) * len(values), stamp)


def customer(gid: str, name: str, parent: str | None = None, **keys: str) -> Record:
    return Record(
        gid,
        "customer",
        {system: Link(key) for system, key in keys.items()},
        version(name, parent),
        {system: image(name, parent) for system in keys},
        new=True,
        dirty=True,
    )


def load(store: State, gid: str, entity: str = "customer") -> Record:
    return store.load(entity, [gid])[gid]


def restored(record: Record) -> Record:
    record.new = record.dirty = False
    return record


def line(gid: str, action: str = "update", **changes: Any) -> Journal:
    return Journal("customer", gid, action, "erp", "name", "A", "B", "latest", "crm", 4)._replace(**changes)


def review(id: str, **changes: Any) -> Review:
    return Review(id, "ambiguous", "customer", None, "erp", "E7", "", "m", "h", {}, 7)._replace(**changes)


def pending(gid: str, system: str = "erp", due: int = 2) -> Pending:
    return Pending(gid, "customer", system, "down", "erp does not answer", 1, due, 3)


# --- records ---------------------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_committed(store: Store, path: Path) -> None:
    record = customer(A, "Acme", crm="1", erp="E1")
    record.links["erp"] = Link("E1", "gone", False, True)
    record.images["erp"] = Image(("ACME", None), ("Acme", None), (4, 5), 6)
    record.frozen = {"name": Frozen({"crm": ("x",)}, {"crm": ("x",)}, {"crm": 3}, "r1")}
    record.stale = {("crm", "name"): [Replaced("old", 2)]}
    record.revived = 9
    store.commit(Decided(1, 10, records=[record]))
    with closing(Store.open(path, ENTITIES, SYSTEMS, refs=REFS, readonly=True)) as reader:
        assert load(reader, A) == restored(record)
        assert reader.load("customer", [B]) == {}
        assert reader.load("order", [A]) == {}


def test_what_a_row_was_last_seen_to_hold(store: Store, path: Path) -> None:
    record = customer(A, "Acme", crm="1", erp="E1")
    record.links["erp"] = Link("E1", "gone", False, True)
    record.images = {"crm": Image(("ACME", None), ("Acme", None), (4, 5), 6)}
    store.commit(Decided(1, 10, records=[record]))
    assert store.stored("customer", "crm", ["1", "2", "E1"]) == {"1": Stored("live", True, False, ("ACME", None))}
    assert store.stored("customer", "erp", ["E1"]) == {"E1": Stored("gone", False, True, None)}
    assert store.stored("order", "crm", ["1"]) == {}
    store.close()
    changed = ENTITIES | {"customer": ["name", "parent", "phone"]}
    with closing(Store.open(path, changed, SYSTEMS, refs=REFS)) as again:  # of an older mapping nothing is said
        assert again.stored("customer", "crm", ["1"]) == {"1": Stored("live", True, False, None)}


def test_only_what_a_round_changed_is_written_and_all_of_that(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1")]))
    before = images(path)
    record = load(store, A)
    record.images["crm"] = image("Acme Ltd", None, stamp=6)
    store.commit(Decided(2, 11, records=[record]))
    after = images(path)
    assert after[2] == before[2] and after[1] != before[1]
    record = load(store, A)
    record.version = version("Acme Ltd", None, stamp=6)
    record.images["erp"] = image("Acme Ltd", None, stamp=7)
    record.frozen["name"] = Frozen({}, {}, {}, "r1")
    store.commit(Decided(3, 12, records=[record]))
    assert load(store, A) == restored(record)
    record = load(store, A)
    del record.images["erp"]
    record.frozen.clear()
    store.commit(Decided(4, 13, records=[record]))
    assert load(store, A) == restored(record)
    assert links(path) == {(A, "crm", "1"), (A, "erp", "E1")}


def test_equal_values_of_another_type_are_not_taken_for_the_same(store: Store) -> None:
    record = customer(A, "x", crm="1")
    record.version = version(1, True)
    record.images["crm"] = Image((1, 1), (True, 1), (5, 5), 5)
    store.commit(Decided(1, 10, records=[record]))
    back = load(store, A)
    assert back.version is not None
    assert [type(v) for v in back.version.values] == [int, bool]
    assert [type(v) for v in back.images["crm"].values] == [bool, int]


def test_a_record_that_was_not_loaded_is_written_whole(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1")]))
    store.load("customer", [A])
    record = customer(A, "Other", crm="2")
    store.commit(Decided(2, 11))  # what was loaded is forgotten here
    store.commit(Decided(3, 12, records=[record]))
    assert load(store, A) == restored(record)
    assert links(path) == {(A, "crm", "2")}
    assert tombs(path) == {(A, "crm", "1"), (A, "erp", "E1")}


def test_a_record_that_was_not_loaded_loses_the_image_that_it_has_not(store: Store) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")]))
    record = customer(A, "Acme", crm="1")
    record.images.clear()
    store.commit(Decided(2, 11, records=[record]))
    assert load(store, A) == restored(record)


def test_what_was_loaded_before_a_commit_is_not_believed_after_it(store: Store) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")]))
    record = load(store, A)
    first, record.version = record.version, version("Other", None, stamp=6)
    store.commit(Decided(2, 11, records=[record]))
    record.version = first
    store.commit(Decided(3, 12, records=[record]))
    assert load(store, A).version == first


def test_a_round_that_cannot_be_written_leaves_nothing(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")], positions={"crm": b"one"}))
    record = load(store, A)
    record.links["crm"] = Link("2")
    with pytest.raises(ValueError, match=f"the journal speaks of record {D}"):
        store.commit(Decided(2, 11, records=[record], journal=[line(D)], positions={"crm": b"two"}))
    assert links(path) == {(A, "crm", "1")}
    assert sql(path, "SELECT value FROM position") == [(b"one",)]
    assert store.last_round() == 1


@pytest.mark.parametrize("key", ["", "a\0b", "\0", "é😀", '["1","2"]', "' OR 1 --", "\x1f", "A" * 5000])
def test_a_key_may_hold_any_character(store: Store, path: Path, key: str) -> None:
    store.commit(
        Decided(
            1,
            10,
            records=[customer(A, "Acme", crm=key), customer(B, "B", crm="a")],
            matches=[("customer", "erp", key, (b"h",))],
            reviews=[review("r1", key=key or "x")],
        )
    )
    assert sql(path, "SELECT count(*) FROM side WHERE key = ?", key) == [(1,)]
    assert store.resolve("customer", "crm", [key, "a", "unknown"]) == {key: A, "a": B}
    assert store.unlinked("customer", None, 9) == [("erp", key)]
    assert [item.id for item in store.reviews_about([("customer", "erp", key or "x")])] == ["r1"]
    store.commit(Decided(2, 11, unmatched=[("customer", "erp", key)], tombs=[("customer", "crm", key, A)]))
    assert store.unlinked("customer", None, 9) == []
    assert store.tomb("customer", "crm", [key]) == {key: A}


# --- links and tombs -------------------------------------------------------------------------------------------------


def test_a_key_that_moved_is_a_tombstone(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")]))
    record = load(store, A)
    record.links["crm"] = Link("2")
    store.commit(Decided(2, 11, records=[record]))
    assert links(path) == {(A, "crm", "2")}
    assert tombs(path) == {(A, "crm", "1")}
    assert store.resolve("customer", "crm", ["1", "2"]) == {"2": A}
    assert store.tomb("customer", "crm", ["1", "2"]) == {"1": A}


def test_two_records_may_swap_their_keys_in_one_round(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1"), customer(B, "B", crm="2")]))
    found = store.load("customer", [A, B])
    found[A].links["crm"], found[B].links["crm"] = found[B].links["crm"], found[A].links["crm"]
    store.commit(Decided(2, 11, records=list(found.values())))
    assert links(path) == {(A, "crm", "2"), (B, "crm", "1")}


def test_a_record_that_is_gone_gives_its_key_to_a_new_one(store: Store, path: Path) -> None:
    first = customer(A, "A", crm="1")
    first.links["crm"] = Link("1", "gone")
    store.commit(Decided(1, 10, records=[first]))
    store.commit(Decided(2, 11, records=[customer(B, "B", crm="1")]))
    assert links(path) == {(B, "crm", "1")}
    again = load(store, A)
    assert again.links["crm"] == Link("1", "gone")
    again.links["crm"] = Link("1", "gone", False)
    store.commit(Decided(3, 12, records=[again]))
    assert links(path) == {(B, "crm", "1")}


def test_a_key_of_two_live_records_is_refused(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1")]))
    with pytest.raises(ValueError, match="customer crm:1 cannot be the key of two records"):
        store.commit(Decided(2, 11, records=[customer(B, "B", crm="1")]))
    with pytest.raises(ValueError, match="customer crm:5 cannot be the key of two records"):
        store.commit(Decided(2, 11, records=[customer(B, "B", crm="5"), customer(C, "C", crm="5")]))
    assert links(path) == {(A, "crm", "1")}


def test_a_tomb_ends_the_link_and_its_key_may_speak_for_another_at_once(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1", erp="E1")]))
    record = load(store, A)
    del record.links["crm"], record.images["crm"]
    store.commit(Decided(2, 11, records=[record, customer(B, "B", crm="1")], tombs=[("customer", "crm", "1", A)]))
    assert links(path) == {(A, "erp", "E1"), (B, "crm", "1")}
    assert tombs(path) == {(A, "crm", "1")}
    assert "crm" not in load(store, A).links
    store.commit(Decided(3, 12, tombs=[("customer", "erp", "E1", A)]))  # the record itself is not in the round
    assert links(path) == {(B, "crm", "1")}
    record = load(store, B)
    store.commit(Decided(4, 13, records=[record], tombs=[("customer", "crm", "1", B)]))  # the record knows better
    assert links(path) == {(B, "crm", "1")}


def test_keys_and_links_are_of_rows_that_are_there(store: Store) -> None:
    records = [customer(gid, gid, crm=key) for gid, key in ((A, "1"), (B, "2"), (C, "3"), (D, "4"))]
    records[1].links["crm"] = Link("2", "gone")
    records[2].links["crm"] = Link("3", "held")
    store.commit(Decided(1, 10, records=records))
    assert store.keys("customer", "crm", [A, B, C]) == {A: "1", C: "3"}
    assert store.links("customer", "crm", None, 2) == [("1", A), ("3", C)]
    assert store.links("customer", "crm", "3", 2) == [("4", D)]
    assert store.walk("customer", None, 3) == [A, B, C]
    assert store.walk("customer", C, 3) == [D]


def test_records_that_are_one_after_all(store: Store, path: Path) -> None:
    store.commit(
        Decided(
            1,
            10,
            records=[
                customer(A, "A", crm="1"),
                customer(B, "B", crm="2", erp="E2"),
                customer(C, "C", B, crm="3"),
                customer(D, "D", crm="4"),
            ],
            journal=[line(B)],
            reviews=[review("r1", gid=B)],
            pending=[pending(B)],
            tombs=[("customer", "crm", "0", B)],
        )
    )
    store.commit(Decided(2, 11, merged=[(B, A)]))
    assert links(path) == {(A, "crm", "1"), (A, "erp", "E2"), (C, "crm", "3"), (D, "crm", "4")}
    assert tombs(path) == {(A, "crm", "2"), (A, "crm", "0")}
    assert store.load("customer", [B]) == {}
    assert store.survivor(B) == A and store.survivor(A) is None
    assert load(store, A).images["erp"] == image("B", None)
    assert [entry.line.gid for entry in store.journal("customer", A)] == [A]
    assert store.journal("customer", B) == store.journal("customer", A)
    assert [item.gid for item in store.reviews()] == [A]
    assert [item.gid for item in store.pending()] == [A]
    assert store.children([A, B]) == {A: [("customer", C)], B: [("customer", C)]}
    store.commit(Decided(3, 12, merged=[(A, D)]))  # and once more: the first loser leads to the last survivor
    assert store.survivor(B) == D
    assert links(path) == {(C, "crm", "3"), (D, "crm", "4"), (D, "erp", "E2")}


def test_the_survivor_of_this_round_says_which_keys_it_keeps(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1"), customer(B, "B", crm="2", erp="E2")]))
    found = store.load("customer", [A, B])
    found[A].links = {"crm": Link("2"), "erp": Link("E2")}
    store.commit(Decided(2, 11, records=list(found.values()), merged=[(B, A)]))
    assert links(path) == {(A, "crm", "2"), (A, "erp", "E2")}
    assert tombs(path) == {(A, "crm", "1"), (A, "crm", "2")}
    store.commit(Decided(3, 12, records=[customer(C, "C", crm="3", erp="E3"), customer(D, "D", crm="4")]))
    found = store.load("customer", [D])
    store.commit(Decided(4, 13, records=[found[D]], merged=[(C, D)]))  # D has learnt nothing of erp:E3
    assert {link for link in links(path) if link[0] == D} == {(D, "crm", "4")}
    assert {tomb for tomb in tombs(path) if tomb[0] == D} == {(D, "crm", "3"), (D, "erp", "E3")}
    found = store.load("customer", [A])
    with pytest.raises(ValueError, match="joined"):
        store.commit(Decided(5, 14, records=[customer(B, "B", crm="2")]))


def test_children_follow_the_agreed_reference(store: Store, path: Path) -> None:
    order = Record(C, "order", {"crm": Link("9")}, version(A, "N1"))
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1"), customer(B, "B", A, crm="2"), order]))
    assert store.children([A]) == {A: [("customer", B), ("order", C)]}
    with closing(Store.open(path, ENTITIES, SYSTEMS)) as unsaid:  # refs stay what they were
        assert unsaid.children([A]) == {A: [("customer", B), ("order", C)]}
    record = load(store, C, "order")
    record.version = version(B, "N1")
    other = load(store, B)
    other.version = version("B", None)
    store.commit(Decided(2, 11, records=[record, other]))
    assert store.children([A, B]) == {B: [("order", C)]}
    assert sql(path, "SELECT count(*) FROM ref") == [(1,)]
    record = load(store, C, "order")
    record.version = version(D, "N1")
    with pytest.raises(ValueError, match=r"order\.customer speaks of record d"):
        store.commit(Decided(3, 12, records=[record]))


# --- plain records ---------------------------------------------------------------------------------------------------


def test_a_plain_record_is_told_and_written_in_short(store: Store) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1"), customer(B, "B", crm="2")]))
    found = store.plain("customer", "crm", ["1", "2", "3"], ["erp"])
    assert list(found) == ["1"]
    assert found["1"][:-1] == (
        A,
        {"crm": "1", "erp": "E1"},
        version("Acme", None),
        {"crm": ("Acme", None), "erp": ("Acme", None)},
        {"crm": 5, "erp": 5},
    )
    new = version("ACME", None, stamp=9)
    edited = Edited("customer", found["1"], new, {"crm": ("acme", None), "erp": ("ACME", None)}, {"erp": (0, 1)})
    store.commit(Decided(2, 11, edited=[store.pack([edited], 11)], writing=("erp",), journal=[line(A)]))
    record = load(store, A)
    stands = new.values, new.stamps, 11
    assert record.version == new
    assert record.images == {"crm": Image(("acme", None), *stands), "erp": Image(("ACME", None), *stands)}
    store.settle("erp", landed=False)
    assert load(store, A).images == {"crm": Image(("acme", None), *stands), "erp": image("Acme", None)}
    assert store.plain("customer", "crm", ["1"], ["erp"]) == {}, "erp stands for what was agreed before"


def test_what_two_systems_store_is_kept_apart_though_it_is_equal(store: Store) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1")]))
    found = store.plain("customer", "crm", ["1"], ["erp"])["1"]
    raws = {"crm": (Decimal("1.5"), True), "erp": (Decimal("1.50"), 1)}
    edited = Edited("customer", found, version("1.5", None, stamp=9), raws, {"erp": (0, 1)})
    store.commit(Decided(2, 11, edited=[store.pack([edited], 11)], writing=("erp",)))
    assert {s: repr(image.raws) for s, image in load(store, A).images.items()} == {s: repr(r) for s, r in raws.items()}


@pytest.mark.parametrize(("rules", "rows"), [(("only change", "only change"), 1), (("only change", "owner crm"), 2)])
def test_fields_that_were_agreed_alike_share_a_row_of_the_journal(
    store: Store, rules: tuple[str, ...], rows: int
) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1")]))
    found = store.plain("customer", "crm", ["1"], ["erp"])["1"]
    old, new = found.version, version("ACME", "Porto", stamp=9)._replace(rules=rules)
    edited = Edited("customer", found, new, {"crm": new.values, "erp": new.values}, {"erp": (0, 1)})
    store.commit(Decided(2, 11, edited=[store.pack([edited], 11)], writing=("erp",), journal=[line(A, "link")]))
    lines = [
        Journal("customer", A, "update", "erp", name, old.values[i], new.values[i], rules[i], new.origins[i], 9)
        for i, name in enumerate(("name", "parent"))
    ]
    entries = store.journal("customer", A)
    assert [(e.round, e.at, e.line) for e in entries[:2]] == [(2, 11, lines[1]), (2, 11, lines[0])]
    assert store.database.value("SELECT count(*) FROM journal WHERE action = 'update'") == rows
    assert [e.line for e in store.journal("customer", A, 1, actions=["update"])] == [lines[1]]
    assert {name: e.line for name, e in store.last_lines(A).items()} == {"name": lines[0], "parent": lines[1]}
    assert sum(c.lines for c in store.summary() if c.action == "update") == 2


@pytest.mark.parametrize("what", ["frozen", "stale", "gone", "held", "other version", "no image", "nothing agreed"])
def test_what_is_no_plain_record(store: Store, what: str) -> None:
    record = customer(A, "Acme", crm="1", erp="E1")
    if what == "frozen":
        record.frozen["name"] = Frozen({}, {}, {}, "r1")
    elif what == "stale":
        record.stale["crm", "name"] = [Replaced("Acme", 1)]
    elif what in ("gone", "held"):
        record.links["erp"] = Link("E1", what)
    elif what == "other version":
        record.images["erp"] = image("Acme", None, stamp=4)
    elif what == "no image":
        del record.images["erp"]
    else:
        record.version = None
    store.commit(Decided(1, 10, records=[record, customer(B, "B", crm="2", erp="E2")]))
    assert list(store.plain("customer", "crm", ["1", "2"], ["erp"])) == ["2"]


# --- open transactions -----------------------------------------------------------------------------------------------


def test_prepared_becomes_link_and_image_when_it_landed(store: Store, path: Path) -> None:
    record = customer(A, "Acme", crm="1")
    prepared = Prepared("erp", A, image("ACME", None), Link("E1"))
    store.commit(Decided(7, 10, records=[record], prepared=[prepared], writing=("erp",)))
    assert store.unsettled() == {"erp": 7}
    assert links(path) == {(A, "crm", "1")}
    assert load(store, A) == restored(record)
    store.settle("erp", landed=True)
    assert links(path) == {(A, "crm", "1"), (A, "erp", "E1")}  # seen by others at once
    assert load(store, A).images["erp"] == prepared.image
    assert store.unsettled() == {}
    assert sql(path, "SELECT count(*) FROM prepared") == [(0,)]
    assert store.due(99, 9) == []


def test_prepared_is_dropped_when_it_did_not_land(store: Store, path: Path) -> None:
    prepared = Prepared("erp", A, image("ACME", None), Link("E1"))
    store.commit(Decided(7, 10, records=[customer(A, "A", crm="1")], prepared=[prepared], writing=("erp", "crm")))
    store.settle("erp", landed=False, again=True)
    assert links(path) == {(A, "crm", "1")}
    assert store.unsettled() == {"crm": 7}
    assert [look[:3] for look in store.due(0, 9)] == [("customer", "crm", "1")]


def updated(store: Store, value: str = "ACME") -> Record:
    """A record in both systems; a transaction in erp that writes it is left open."""
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1")]))
    record = load(store, A)
    record.version = version(value, None, stamp=9)
    record.images["crm"] = image(value, None, stamp=9)
    store.commit(
        Decided(2, 11, records=[record], writing=("erp",), prepared=[Prepared("erp", A, image("x", None), Link("E1"))])
    )
    return record


def test_an_update_that_landed_is_the_image(store: Store, path: Path) -> None:
    record = updated(store)
    store.settle("erp", landed=True)
    after = load(store, A)
    assert (after.version, after.images) == (record.version, {"crm": record.images["crm"], "erp": image("x", None)})
    assert sql(path, "SELECT count(*) FROM undo") == sql(path, "SELECT count(*) FROM prepared") == [(0,)]
    assert (store.due(99, 9), store.unsettled(), store.get("landed:erp")) == ([], {}, "2")


@pytest.mark.parametrize("reopened", [False, True])
def test_an_update_that_did_not_land_gives_its_image_back(store: Store, path: Path, reopened: bool) -> None:
    record = updated(store)
    if reopened:  # with another field in the mapping, too: the image before keeps its own layout
        store.close()
        fields = {"customer": ["vat", *ENTITIES["customer"]], "order": ENTITIES["order"]}
        store = Store.open(path, fields, SYSTEMS, refs=REFS)
    store.settle("erp", landed=False, again=True)
    after = load(store, A)
    before = image("Acme", None)
    if reopened:
        before = Image((None, "Acme", None), (None, "Acme", None), (-1, 5, 5), 5)
        assert after.version is not None and after.version.values == (None, "ACME", None)
    else:
        assert (after.version, after.images["crm"]) == (record.version, record.images["crm"])
    assert after.images["erp"] == before and after.links == record.links
    assert [look[:3] for look in store.due(0, 9)] == [("customer", "crm", "1")]
    assert store.unsettled() == {} and store.get("landed:erp") is None
    store.close()


def test_what_later_rounds_found_stays_when_an_update_did_not_land(store: Store) -> None:
    updated(store)
    record = load(store, A)
    record.version = version("Acme Ltd", None, stamp=12)
    record.images["crm"] = image("Acme Ltd", None, stamp=12)
    store.commit(Decided(3, 12, records=[record]))
    store.settle("erp", landed=False)
    after = load(store, A)
    assert after.version == record.version
    assert after.images == {"crm": record.images["crm"], "erp": image("Acme", None)}


def test_a_first_image_that_did_not_land_is_none(store: Store) -> None:
    record = customer(A, "Acme", crm="1", erp="E1")
    del record.images["erp"]
    prepared = Prepared("erp", A, image("Acme", None), Link("E1"))
    store.commit(Decided(1, 10, records=[record], writing=("erp",), prepared=[prepared]))
    assert load(store, A).images["erp"] == prepared.image
    store.settle("erp", landed=False)
    assert load(store, A) == restored(record)


def test_after_an_unknown_outcome_what_landed_is_looked_at_again(store: Store) -> None:
    prepared = Prepared("erp", A, image("ACME", None), Link("E1"))
    store.commit(Decided(7, 10, records=[customer(A, "A", crm="1")], prepared=[prepared], writing=("erp",)))
    store.settle("erp", landed=True, again=True)
    assert [look[:3] for look in store.due(0, 9)] == [("customer", "crm", "1")]


def test_keys_change_hands_when_a_transaction_lands(store: Store, path: Path) -> None:
    gone = customer(C, "C", erp="E3")
    gone.links["erp"] = Link("E3", "gone")
    store.commit(Decided(1, 10, records=[customer(A, "A", erp="E1"), customer(B, "B", erp="E2"), gone]))
    prepared = [
        Prepared("erp", A, image("A", None), Link("E2")),
        Prepared("erp", B, image("B", None), Link("E3")),
    ]
    store.commit(Decided(2, 11, prepared=prepared, writing=("erp",)))
    store.settle("erp", landed=True)
    assert links(path) == {(A, "erp", "E2"), (B, "erp", "E3")}
    assert tombs(path) == {(A, "erp", "E1"), (B, "erp", "E2")}


def test_a_deleted_row_has_no_image_and_its_link_is_gone(store: Store) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1", erp="E1")]))
    store.commit(Decided(2, 11, prepared=[Prepared("erp", A, None, Link("E1", "gone"))], writing=("erp",)))
    store.settle("erp", landed=True)
    record = load(store, A)
    assert record.links["erp"] == Link("E1", "gone") and "erp" not in record.images


def test_a_second_transaction_before_the_first_is_settled_is_refused(store: Store) -> None:
    store.commit(Decided(1, 10, writing=("erp",)))
    with pytest.raises(ValueError, match="must be settled"):
        store.commit(Decided(2, 11, writing=("erp",)))
    with pytest.raises(ValueError, match="no transaction in this round"):
        store.commit(
            Decided(2, 11, records=[customer(A, "A", crm="1")], prepared=[Prepared("crm", A, None, Link("1"))])
        )


# --- match index -----------------------------------------------------------------------------------------------------


def test_matches_of_linked_and_unlinked_rows(store: Store, path: Path) -> None:
    rows: list[tuple[str, str, str, tuple[bytes | None, ...]]] = [
        ("customer", "crm", "1", (b"v", b"\x00m")),
        ("customer", "erp", "E7", (b"v", None)),
        ("order", "erp", "E7", (b"v", None)),
    ]
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1")], matches=rows))
    assert store.matches("customer", 0, [b"v", b"w"]) == {b"v": [MatchRow("crm", "1", A), MatchRow("erp", "E7", None)]}
    assert store.matches("customer", 1, [b"\x00m", b"v"]) == {b"\x00m": [MatchRow("crm", "1", A)]}
    store.commit(Decided(2, 11, matches=[("customer", "erp", "E7", (None, b"\x00m"))]))
    assert store.matches("customer", 0, [b"v"]) == {b"v": [MatchRow("crm", "1", A)]}
    assert [row.key for row in store.matches("customer", 1, [b"\x00m"])[b"\x00m"]] == ["1", "E7"]
    store.commit(Decided(3, 12, unmatched=[("customer", "erp", "E7"), ("customer", "erp", "never")]))
    assert [row.key for row in store.matches("customer", 1, [b"\x00m"])[b"\x00m"]] == ["1"]
    assert sql(path, "SELECT count(*) FROM match") == [(3,)]


def test_unlinked_rows_are_walked_in_order(store: Store) -> None:
    keys = [("crm", "1"), ("crm", "2"), ("erp", "1"), ("erp", "10"), ("erp", "9")]
    matches: list[tuple[str, str, str, tuple[bytes | None, ...]]] = [("customer", s, k, (None,)) for s, k in keys]
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="1")], matches=matches))
    assert store.unlinked("customer", None, 2) == [("crm", "2"), ("erp", "1")]
    assert store.unlinked("customer", ("crm", "2"), 2) == [("erp", "1"), ("erp", "10")]
    assert store.unlinked("customer", ("erp", "10"), 2) == [("erp", "9")]
    assert store.unlinked("customer", ("erp", "9"), 2) == []
    assert store.unlinked("order", None, 2) == []


# --- what is to be done ----------------------------------------------------------------------------------------------


def test_looks_are_due_in_order_and_done_once(store: Store) -> None:
    looks = [Look("customer", "crm", "1", 30, "a"), Look("customer", "erp", "2", 20), Look("customer", "crm", "3", 40)]
    store.commit(Decided(1, 10, looks=looks))
    assert [look.key for look in store.due(35, 9)] == ["2", "1"]
    assert [look.key for look in store.due(35, 1)] == ["2"]
    assert [look.key for look in store.due(35, 9, ["erp"])] == ["1"]
    assert store.waiting(10) == 20 and store.waiting(35) == 40 and store.waiting(40) is None
    done = [("customer", "crm", "1"), ("customer", "erp", "2")]
    store.commit(Decided(2, 11, looked=done, looks=[Look("customer", "crm", "1", 99, "again")]))
    assert [(look.key, look.reason) for look in store.due(100, 9)] == [("3", ""), ("1", "again")]
    store.commit(Decided(3, 12, looks=[Look("customer", "crm", "1", 50, "sooner"), Look("customer", "crm", "3", 90)]))
    assert [(look.key, look.due) for look in store.due(100, 9)] == [("3", 40), ("1", 50)]


def test_a_pending_record_is_due_by_a_key_that_can_be_read(store: Store) -> None:
    records = [customer(A, "A", crm="1", erp="E1"), customer(B, "B", erp="E2")]
    store.commit(Decided(1, 10, records=records, pending=[pending(A, due=50), pending(B, due=60)]))
    assert store.due(49, 9) == []
    assert [(look.system, look.key) for look in store.due(60, 9)] == [("crm", "1"), ("erp", "E2")]
    assert store.due(60, 9, ["erp"]) == []  # both want something of erp
    assert [look.key for look in store.due(60, 9, ["crm"])] == ["E1", "E2"]
    assert store.waiting(50) == 60
    assert store.pending() == [pending(A, due=50), pending(B, due=60)]
    assert store.pending("customer", B) == [pending(B, due=60)] and store.pending("order") == []
    store.commit(Decided(2, 11, unpended=[(A, "erp"), (D, "erp")], pending=[pending(B, due=70)]))
    assert store.pending() == [pending(B, due=70)]


def test_positions_and_named_texts(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, positions={"crm": b"\x00\xff"}, meta={"phase": "held"}))
    assert store.position("crm") == b"\x00\xff" and store.position("erp") is None
    assert store.get("phase") == "held" and store.get("nothing") is None
    store.put("phase", None)
    store.put("epoch", "3")
    assert sql(path, "SELECT name, value FROM meta") == [("epoch", "3")]


# --- what people read ------------------------------------------------------------------------------------------------


def test_a_question_asked_again_is_the_same_item(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, reviews=[review("r1", detail={"candidates": [["crm", "1"]]}), review("r2", key="E8")]))
    store.commit(Decided(2, 11, reviews=[review("r1", message="again", since=99, detail={"candidates": []})]))
    assert store.review("r1") == review("r1", message="again", detail={"candidates": []})
    assert [item.id for item in store.reviews_about([("customer", "erp", "E7"), ("customer", "erp", "E8")])] == [
        "r1",
        "r2",
    ]
    assert store.reviews_about([("customer", "crm", "1"), ("order", "erp", "E7")]) == []
    store.commit(Decided(3, 12, closed=["r1"]))
    assert store.review("r1") is None and [item.id for item in store.reviews()] == ["r2"]
    assert store.reviews_about([("customer", "erp", "E7")]) == []
    assert sql(path, "SELECT closed FROM review WHERE id = 'r1'") == [(12,)]
    store.commit(Decided(4, 13, reviews=[review("r1", since=50)], closed=["r1", "r2"]))
    assert store.reviews() == [review("r1", since=50)]


def test_reviews_by_record_and_by_candidate(store: Store) -> None:
    named = {"candidates": [["crm", "1"], {"system": "crm", "key": "2"}]}
    store.commit(Decided(1, 10, records=[customer(A, "A", crm="5")], reviews=[review("r1", gid=A, detail=named)]))
    assert [item.id for item in store.reviews("customer", A)] == ["r1"]
    assert store.reviews("order") == [] and store.reviews(gid=B) == []
    for key in ("1", "2"):
        assert [item.id for item in store.reviews_about([("customer", "crm", key)])] == ["r1"]


def test_the_journal_tells_what_happened(store: Store) -> None:
    records = [customer(A, "A", crm="1"), customer(B, "B", crm="2")]
    store.commit(Decided(1, 10, records=records, journal=[line(A, "create"), line(B), line(A, field="", before=None)]))
    store.commit(Decided(2, 20, journal=[line(A, "conflict", after=7), line("", "halt")]))
    entries = store.journal("customer", A)
    assert [(e.round, e.at, e.line) for e in entries] == [
        (2, 20, line(A, "conflict", after=7)),
        (1, 10, line(A, field="", before=None)),
        (1, 10, line(A, "create")),
    ]
    assert store.journal("customer", A, 1) == entries[:1]
    assert [e.line.action for e in store.journal(since=1)] == ["halt", "conflict"]
    assert [e.line.gid for e in store.journal(actions=["create", "halt"])] == ["", A]
    assert store.journal("customer", D) == [] and store.journal("order") == []
    assert {name: e.line.action for name, e in store.last_lines(A).items()} == {"": "update", "name": "conflict"}
    assert [(c.action, c.lines) for c in store.summary()] == [
        ("conflict", 1),
        ("create", 1),
        ("halt", 1),
        ("update", 2),
    ]
    assert [(c.action, c.lines) for c in store.summary(since=1)] == [("conflict", 1), ("halt", 1)]


def test_status_counts_how_things_stand(store: Store) -> None:
    empty = store.status()
    assert (empty.round, empty.at, empty.records, empty.next) == (0, None, {}, None)
    held = customer(B, "B", crm="2", erp="E2")
    held.links["crm"] = Link("2", "held")
    held.links["erp"] = Link("E2", "gone")
    store.commit(
        Decided(
            3,
            30,
            records=[customer(A, "A", crm="1"), held, Record(C, "order", {"erp": Link("9")})],
            matches=[("customer", "crm", "1", (None,)), ("customer", "erp", "E9", (b"x",))],
            reviews=[review("r1"), review("r2", kind="lossy")],
            closed=["r2"],
            pending=[pending(A, due=70)],
            looks=[Look("customer", "erp", "E9", 60)],
            positions={"erp": b"p"},
            writing=("erp",),
            meta={"phase": "done"},
        )
    )
    status = store.status()
    assert (status.round, status.at) == (3, 30)
    assert status.records == {"customer": 2, "order": 1}
    assert status.links == {("customer", "crm"): 2, ("customer", "erp"): 1, ("order", "erp"): 1}
    assert status.absent == {("customer", "crm", "held"): 1, ("customer", "erp", "gone"): 1}
    assert status.unlinked == {("customer", "erp"): 1}
    assert status.pending == {("customer", "erp", "down"): 1}
    assert status.reviews == {("customer", "ambiguous"): 1, ("customer", "lossy"): 1}
    assert (status.looks, status.next, status.positions) == (1, 60, ("erp",))
    assert (status.unsettled, status.meta) == ({"erp": 3}, {"phase": "done"})


# --- a mapping that changes ------------------------------------------------------------------------------------------


def test_a_changed_mapping_finds_the_old_values_under_their_names(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", B, crm="1"), customer(B, "B", crm="2")]))
    store.close()
    with closing(Store.open(path, {"customer": ["email", "name"]}, SYSTEMS)) as changed:
        record = load(changed, A)
        assert record.version == Version((None, "Acme"), (0, 5), ("", "crm"), ("", "only change"))
        assert record.images["crm"] == Image((None, "Acme"), (None, "Acme"), (-1, 5), 5)
        record.images["crm"] = image("a@acme.example", "Acme", stamp=6)
        changed.commit(Decided(2, 11, records=[record]))
        assert load(changed, A) == record  # the image has the new layout, the version still the old one
        assert changed.children([B]) == {}
    with closing(Store.open(path, {"customer": ["name", "email"]}, SYSTEMS)) as unsaid:
        assert load(unsaid, A).images["crm"] == image("Acme", "a@acme.example", stamp=6)
    with closing(Store.open(path, ENTITIES, SYSTEMS, refs=REFS)) as back:
        assert back.children([B]) == {B: [("customer", A)]}
        version_now = load(back, A).version
        assert version_now is not None and version_now.values == ("Acme", B)
        assert load(back, A).images["crm"] == Image(("Acme", None), ("Acme", None), (6, -1), 6)


def test_an_image_taken_after_the_mapping_changed_stands_for_the_version_before_it(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")]))
    store.close()
    with closing(Store.open(path, {"customer": ["email", "name"]}, SYSTEMS)) as changed:
        record = load(changed, A)
        assert record.version is not None
        record.images["crm"] = Image((None, "Acme"), record.version.values, record.version.stamps, 8)
        changed.commit(Decided(2, 11, records=[record]))
        record = load(changed, A)
        record.version = version("e", "Acme Ltd", stamp=9)
        changed.commit(Decided(3, 12, records=[record]))
        assert load(changed, A).images["crm"] == Image((None, "Acme"), (None, "Acme"), (0, 5), 8)


def test_bytes_that_are_equal_under_two_mappings_are_not_the_same_values(path: Path) -> None:
    record = customer(A, "x", crm="1")
    record.version = version(None, "x")
    with closing(Store.open(path, {"customer": ["name", "code"]}, SYSTEMS)) as store:
        store.commit(Decided(1, 10, records=[record]))
    with closing(Store.open(path, {"customer": ["email", "name"]}, SYSTEMS)) as changed:
        record = load(changed, A)
        record.images["crm"] = image(None, "x", stamp=5)
        changed.commit(Decided(2, 11, records=[record]))
        back = load(changed, A)
        assert back.version is not None and back.version.values == (None, None)
        assert back.images["crm"].values == (None, "x")


def test_a_system_that_does_not_take_part_any_more_is_left_alone(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1", erp="E1")]))
    store.close()
    with closing(Store.open(path, ENTITIES, ["shop", "crm"], refs=REFS)) as changed:
        record = load(changed, A)
        assert set(record.links) == set(record.images) == {"crm"}
        record.links["shop"] = Link("S1")
        changed.commit(Decided(2, 11, records=[record]))
    assert links(path) == {(A, "crm", "1"), (A, "erp", "E1"), (A, "shop", "S1")}


# --- dry runs --------------------------------------------------------------------------------------------------------


def test_a_copy_is_written_freely_and_thrown_away(store: Store, path: Path) -> None:
    store.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")]))
    before = sql(path, "SELECT * FROM side")
    with closing(store.copy()) as copy, closing(Store.scratch(path, ENTITIES, SYSTEMS, refs=REFS)) as scratch:
        for dry in (copy, scratch):
            record = load(dry, A)
            record.links["erp"] = Link("E1")
            dry.commit(Decided(2, 11, records=[record], prepared=[], writing=("erp",)))
            dry.settle("erp", True)
            assert dry.resolve("customer", "erp", ["E1"]) == {"E1": A}
    assert sql(path, "SELECT * FROM side") == before and store.last_round() == 1


def test_a_dry_run_without_a_file_starts_empty_and_makes_none(path: Path) -> None:
    with closing(Store.scratch(path, ENTITIES, SYSTEMS)) as dry:
        dry.commit(Decided(1, 10, records=[customer(A, "Acme", crm="1")]))
        assert load(dry, A).links == {"crm": Link("1")}
    assert list(path.parent.iterdir()) == []
