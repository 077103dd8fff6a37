"""An empty table is never a mass delete (design, section 5, step 6; MODEL A17)."""

from __future__ import annotations

from .conftest import MakeWorld


def test_a_table_that_lost_all_its_rows_deletes_nothing(world: MakeWorld) -> None:
    """b's table is emptied without a trace; a sweep looks at everything: a keeps its rows, a person is told."""
    w = world()
    for n in range(12):
        w.load(n=n, p=1)
    w.settle()
    rows = w.systems["b"].tables_["thing"].rows
    kept = dict(rows)
    rows.clear()
    w.systems["a"].sweep()
    w.settle()
    assert sorted(w.column("a")) == list(range(12))  # type: ignore[type-var]
    assert w.kinds() == ["empty"]
    rows.update(kept)
    w.systems["a"].sweep()
    w.settle()
    assert not w.reviews()
    w.still()


def test_rows_that_were_seen_deleted_one_by_one_are_deleted(world: MakeWorld) -> None:
    """All rows of b are deleted by people, and the log says so: that is what they want."""
    w = world()
    for n in range(12):
        w.load(n=n, p=1)
    w.settle()
    for n in range(1, 13):
        w.delete(f"b{n}")
    w.settle()
    assert w.column("a") == w.column("b") == []
