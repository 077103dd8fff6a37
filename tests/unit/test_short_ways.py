"""The short ways of the merge decide as the long one does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import merge as m
from config.records import Column, Entity, Field, Reading, Table, TableInfo
from state.ports import Image, Link, Record, Version

SYSTEMS = ("a", "b", "c")
COLUMNS = tuple(Column(f"f{i}", "int", "integer") for i in range(3))
INFO = TableInfo(None, "thing", {c.name: c for c in COLUMNS}, ("f0",))


def table(system: str) -> Table:
    return Table("thing", system, None, "thing", (COLUMNS[0],), COLUMNS, ("int",) * 3, INFO)


def entity(owner: str | None, override: str, conflict: str) -> Entity:
    fields = (
        Field("f0", "int"),
        Field("f1", "int", owner=owner, override=override),
        Field("f2", "int", conflict=conflict),
    )
    return Entity("thing", fields, {s: table(s) for s in SYSTEMS}, units=((0,), (1,), (2,)))


small = st.integers(0, 2)
stamp = st.integers(1, 4).map(lambda n: n * 1_000_000)
three = st.tuples(small, small, small)
row = st.fixed_dictionaries(
    {
        "reading": three,
        "image": st.none() | three,
        "stands": st.sampled_from(["version", "image"]),
        "times": st.dictionaries(small, stamp, max_size=3),
        "modified": st.none() | stamp,
    }
)


def side(system: str, rank: int, r: dict[str, Any], version: Version | None) -> m.Side:
    image = None
    if r["image"] is not None and version is not None:
        agreed = r["stands"] == "version"
        values = version.values if agreed else r["image"]
        stamps = version.stamps if agreed else (1_000_000,) * 3
        image = Image(r["image"], values, stamps, 500_000)
    changed = {i: v for i, v in enumerate(r["reading"]) if image is None or v != image.raws[i]}
    reading = Reading("k", r["reading"], modified=r["modified"], times=r["times"])
    return m.Side(table(system), rank, reading, image, changed, (None,) * 3, lambda i, raw: raw)


def result(out: m.Merged) -> Any:
    images = {s: i[:3] for s, i in out.images.items()}
    return out.version, images, out.accepted, out.frozen, out.journal, [r.id for r in out.reviews], out.frozen_units


@pytest.fixture(autouse=True)
def long_way_back() -> Iterator[None]:
    yield
    m.EASY = True


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(row, min_size=1, max_size=3),
    known=st.none() | st.tuples(three, stamp),
    owner=st.sampled_from([None, "a", "b"]),
    override=st.sampled_from(["restore", "tolerate"]),
    conflict=st.sampled_from(["latest", "prefer:b", "review", "sum"]),
)
def test_the_short_ways_decide_as_the_long_one(
    rows: list[dict[str, Any]], known: Any, owner: str | None, override: str, conflict: str
) -> None:
    """Random records of one to three systems: the same version, images, journal and reviews either way."""
    spec = entity(owner, override, conflict)
    version = None
    if known is not None:
        version = Version(known[0], (known[1],) * 3, ("a", "b", "a"), ("only change",) * 3)
    sides = [side(s, n, r, version) for n, (s, r) in enumerate(zip(SYSTEMS, rows, strict=False))]
    rules = m.Rules(9_000_000, 1_000_000, {s: n for n, s in enumerate(SYSTEMS)})

    def record() -> Record:
        return Record("0" * 32, "thing", {s.system: Link("k") for s in sides}, version)

    m.EASY = True
    short = m.one_edit(spec, record(), sides, rules) or m.merge(spec, record(), sides, rules)
    m.EASY = False
    assert result(short) == result(m.merge(spec, record(), sides, rules))
