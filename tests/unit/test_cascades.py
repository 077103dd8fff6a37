"""Where a change of a table leads to by foreign keys, as far as that is told without a server."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.mysql.cascades import Edge, Path, Web


def edge(parent: str, child: str, rule: str = "CASCADE", column: str = "up") -> Edge:
    return Edge(f"{child}_{parent}", ("d", parent), ("d", child), (column,), ("id",), rule, rule)


def told(paths: Sequence[Path]) -> set[str]:
    """Each way in short: `D` deleted, `U` changed, `*` with its tree, `!` in a circle."""
    return {
        " ".join(f"{s.edge.child[1]}{'D' if s.deleted else 'U'}{'*' * s.tree}" for s in path.steps) + "!" * path.round
        for path in paths
    }


def web(*edges: Edge, **seen: set[str]) -> Web:
    return Web(edges, {("d", table): frozenset(names) for table, names in seen.items()})


def test_over_several_levels() -> None:
    found = web(edge("a", "b"), edge("b", "c"), edge("x", "y"), b={"id"}, c={"id"})
    assert told(found.deletes(("d", "a"))) == {"bD", "bD cD"}
    assert told(found.deletes(("d", "b"))) == {"cD"} and not found.deletes(("d", "c")) and not found.deletes(("d", "x"))


def test_what_is_not_looked_at_is_no_change() -> None:
    found = web(edge("a", "b", "SET NULL"), edge("a", "c", "SET NULL"), b={"id"}, c={"id", "up"})
    assert told(found.deletes(("d", "a"))) == {"cU"} == told(found.updates(("d", "a")))


def test_only_what_changes_is_carried_on() -> None:
    """The key of `b` is its own: a change of `a` reaches `b`, and not what refers to `b`."""
    found = web(edge("a", "b"), edge("b", "c"), b={"up"}, c={"up"})
    assert told(found.updates(("d", "a"))) == {"bU"}
    whole = web(edge("a", "b", column="id"), edge("b", "c"), b={"id"}, c={"up"})
    assert told(whole.updates(("d", "a"))) == {"bU", "bU cU"}


def test_a_table_that_refers_to_itself() -> None:
    found = web(edge("a", "b"), edge("b", "b"), edge("b", "c"), b={"id"}, c={"id"})
    assert told(found.deletes(("d", "a"))) == {"bD", "bD*", "bD cD", "bD* cD"}
    trees = [path.tree for path in found.deletes(("d", "b"))]
    assert told(found.deletes(("d", "b"))) == {"", "cD"} and sorted(trees) == [False, True, True]


def test_a_circle_ends() -> None:
    found = web(edge("a", "b"), edge("b", "c"), edge("c", "b"), b={"id"}, c={"id"})
    assert told(found.deletes(("d", "a"))) == {"bD", "bD cD", "bD cD!"}
    assert found.reached(("d", "c")) == {("d", "b"), ("d", "c")}


def test_other_rules_stop_it() -> None:
    found = web(edge("a", "b", "RESTRICT"), edge("b", "c"), c={"id"})
    assert not found.deletes(("d", "a")) and not found.updates(("d", "a"))
