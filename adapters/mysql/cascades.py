"""What the server carries on by itself: foreign keys that cascade.

Rows that a cascade deletes or changes are in neither the log nor do they fire a trigger (InnoDB does it below both).
Only the change of the parent is seen, whether that table is mapped or not; so it is known here which tables it may
reach, over several levels and databases.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from adapters.mysql.connection import Session
from adapters.mysql.sql import literal, qualified
from adapters.mysql.tables import Bound

SILENT = ("CASCADE", "SET NULL", "SET DEFAULT")
Place = tuple[str, str]
"""(database, table)"""


class Edge(NamedTuple):
    """Rows of `child` follow those of `parent`."""

    name: str
    parent: Place
    child: Place
    columns: tuple[str, ...]  # of the child
    to: tuple[str, ...]  # of the parent, in the same order
    on_delete: str = ""
    on_update: str = ""
    by_index: str = ""  # of the child, that begins with `columns`

    @property
    def itself(self) -> bool:
        return self.parent == self.child


class Step(NamedTuple):
    """What becomes of the child's rows."""

    edge: Edge
    deleted: bool
    columns: frozenset[str]  # that change, where they are not deleted
    tree: bool = False  # with all that hangs on these rows by foreign keys of the table to itself


@dataclass(frozen=True)
class Path:
    """How a change of one table reaches another."""

    root: Place
    steps: tuple[Step, ...]  # none: only rows of the same table, by a foreign key of it to itself
    tree: bool = False  # as in `Step`, for the rows of the root that are deleted
    round: bool = False  # it goes on in a circle, and is not followed any further

    @property
    def place(self) -> Place:
        return self.steps[-1].edge.child if self.steps else self.root

    @property
    def deleted(self) -> bool:
        return not self.steps or self.steps[-1].deleted

    @property
    def columns(self) -> frozenset[str]:
        return self.steps[-1].columns if self.steps else frozenset()

    @property
    def plain(self) -> bool:
        """Are all its tables others than the root's, and each there once?"""
        places = [self.root, *(step.edge.child for step in self.steps)]
        return not self.tree and not any(s.tree for s in self.steps) and len(set(places)) == len(places)


class Web:
    """The foreign keys that matter to these tables, and what of a table's columns is looked at."""

    def __init__(self, edges: Sequence[Edge], seen: Mapping[Place, frozenset[str]]) -> None:
        """`seen`: captured table -> columns of the key and of the mapping."""
        self.seen = seen
        self._below: dict[Place, list[Edge]] = {}
        for edge in edges:
            self._below.setdefault(edge.parent, []).append(edge)

    @property
    def parents(self) -> list[Place]:
        return sorted(self._below)

    @property
    def places(self) -> set[Place]:
        """All tables that play a part."""
        return {place for edges in self._below.values() for e in edges for place in (e.parent, e.child)}

    @property
    def children(self) -> set[Place]:
        return {edge.child for edges in self._below.values() for edge in edges}

    def below(self, place: Place) -> Sequence[Edge]:
        """The foreign keys that refer to it."""
        return self._below.get(place, ())

    def deletes(self, root: Place) -> list[Path]:
        """Where a delete of rows of this table leads to: each way there, once for every table where it can be seen."""
        found = []
        for tree in {False, self._is_tree(root)}:
            if tree and root in self.seen:
                found.append(Path(root, (), True))
            found += self._follow(Path(root, (), tree), Step(Edge("", root, root, (), ()), True, frozenset()))
        return [path for path in found if path.round or self._shows(path)]

    def updates(self, root: Place) -> list[Path]:
        """The same for a change of columns that foreign keys refer to."""
        everything = frozenset(name for edge in self.below(root) for name in edge.to)
        first = Step(Edge("", root, root, (), ()), False, everything)
        return [path for path in self._follow(Path(root, ()), first) if path.round or self._shows(path)]

    def reached(self, place: Place) -> set[Place]:
        """The captured tables that hang on it, over any number of levels; itself, where it is one."""
        found, waiting = {place}, [place]
        while waiting:
            new = {edge.child for edge in self.below(waiting.pop())} - found
            found |= new
            waiting += new
        return found & self.seen.keys()

    def _is_tree(self, place: Place) -> bool:
        return any(edge.itself and edge.on_delete == "CASCADE" for edge in self.below(place))

    def _shows(self, path: Path) -> bool:
        """Does it change anything that is looked at?"""
        seen = self.seen.get(path.place)
        return seen is not None and (path.deleted or bool(path.columns & seen))

    def _follow(self, path: Path, last: Step) -> Iterator[Path]:
        been = {path.root, *(step.edge.child for step in path.steps)}
        for edge in self.below(path.place):
            step = _step(edge, last)
            if step is None or (edge.itself and (step.deleted or not last.deleted)):
                continue  # the first are in `tree`, and a changed key is not carried on within one table
            for tree in {False, step.deleted and self._is_tree(edge.child)}:
                further = Path(path.root, (*path.steps, step._replace(tree=tree)), path.tree)
                if edge.child in been and not edge.itself:
                    yield Path(path.root, path.steps, path.tree, round=True)
                    continue
                yield further
                if not edge.itself:
                    yield from self._follow(further, further.steps[-1])


def _step(edge: Edge, last: Step) -> Step | None:
    """What becomes of the rows that refer to those of `last`; None: nothing."""
    if last.deleted:
        if edge.on_delete == "CASCADE":
            return Step(edge, True, frozenset())
        return Step(edge, False, frozenset(edge.columns)) if edge.on_delete in SILENT else None
    changed = frozenset(name for name, to in zip(edge.columns, edge.to, strict=True) if to in last.columns)
    if not changed or edge.on_update not in SILENT:
        return None
    return Step(edge, False, changed if edge.on_update == "CASCADE" else frozenset(edge.columns))


# --- asking the server -----------------------------------------------------------------------------------------------


def web(session: Session, bounds: Sequence[Bound]) -> Web:
    """As far as the account may see the tables. It opens every table of a database: not to be asked all the time."""
    lower = session.query("SELECT @@lower_case_table_names")[0][0] != "0"
    seen: dict[Place, frozenset[str]] = {}
    for bound in bounds:
        place = bound.database, bound.table.name
        place = (place[0].lower(), place[1].lower()) if lower else place
        names = {column.name for column in (*bound.table.key, *bound.watched)}
        seen[place] = seen.get(place, frozenset()) | names
    found: list[Edge] = []
    asked: set[str] = set()
    while schemas := ({schema for schema, _ in seen} | {edge.parent[0] for edge in found}) - asked:
        asked |= schemas
        found += _keys(session, sorted(schemas))
    above = _above(found, set(seen))
    rules = {place: _rules(session, place) for place in {edge.child for edge in above}}
    indexes = _indexes(session, set(rules))
    told = [_told(edge, rules, indexes) for edge in above]
    return Web([edge for edge in told if edge.on_delete in SILENT or edge.on_update in SILENT], seen)


def _above(edges: Sequence[Edge], places: set[Place]) -> list[Edge]:
    """Those that lead to one of these tables."""
    while new := {edge.parent for edge in edges if edge.child in places} - places:
        places |= new
    return [edge for edge in edges if edge.child in places]


def _keys(session: Session, schemas: Sequence[str]) -> list[Edge]:
    """The foreign keys of these databases' tables, without their rules: REFERENTIAL_CONSTRAINTS shows those to
    administrators only (seen: it is empty for an account that has all rights on both tables)."""
    rows = session.query(
        "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME,"
        " COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
        f" WHERE TABLE_SCHEMA IN ({', '.join(map(literal, schemas))}) AND REFERENCED_TABLE_NAME IS NOT NULL"
        " ORDER BY ORDINAL_POSITION"
    )
    found: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for *name, column, to in rows:
        found[tuple(name)].append((column, to))
    return [
        Edge(key[2], (key[3], key[4]), (key[0], key[1]), tuple(c for c, _ in pairs), tuple(to for _, to in pairs))
        for key, pairs in found.items()
    ]


_RULE = "CASCADE|SET NULL|SET DEFAULT|NO ACTION|RESTRICT"
_CONSTRAINT = re.compile(
    rf"^ +CONSTRAINT `((?:[^`]|``)+)` FOREIGN KEY .*?(?: ON DELETE ({_RULE}))?(?: ON UPDATE ({_RULE}))?,?$", re.M
)


def _rules(session: Session, place: Place) -> dict[str, tuple[str, str]]:
    """Of each foreign key of a table: what a delete leads to, and a change."""
    text = session.query(f"SET STATEMENT sql_quote_show_create = 1 FOR SHOW CREATE TABLE {qualified(*place)}")[0][1]
    return {
        name.replace("``", "`"): (deleted or "RESTRICT", changed or "RESTRICT")
        for name, deleted, changed in _CONSTRAINT.findall(text)
    }


def _told(
    edge: Edge, rules: Mapping[Place, Mapping[str, tuple[str, str]]], indexes: Mapping[Place, Mapping[str, list[str]]]
) -> Edge:
    on_delete, on_update = rules[edge.child].get(edge.name, ("RESTRICT", "RESTRICT"))
    width = len(edge.columns)
    there = indexes.get(edge.child, {})
    index = next((name for name, columns in there.items() if tuple(columns[:width]) == edge.columns), "")
    return edge._replace(on_delete=on_delete, on_update=on_update, by_index=index)


def _indexes(session: Session, places: set[Place]) -> dict[Place, dict[str, list[str]]]:
    """Of each table: index -> its columns, in order."""
    found: dict[Place, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for schema in sorted({schema for schema, _ in places}):
        listed = ", ".join(literal(table) for there, table in sorted(places) if there == schema)
        for table, name, column in session.query(
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS"
            f" WHERE TABLE_SCHEMA = {literal(schema)} AND TABLE_NAME IN ({listed})"
            " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        ):
            found[schema, table][name].append(column)
    return found
