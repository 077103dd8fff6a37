"""What the server carries on by itself: foreign keys that cascade.

Rows that a cascade deletes or changes are in neither the log nor do they fire a trigger (InnoDB does it below both).
Only the change of the parent is seen, whether that table is mapped or not; so it is known here which tables it may
reach, over several levels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from adapters.mysql.binlog.events import Parent
from adapters.mysql.connection import Session
from adapters.mysql.sql import literal
from adapters.mysql.tables import Bound

SILENT = ("CASCADE", "SET NULL", "SET DEFAULT")
Place = tuple[str, str]


class Edge(NamedTuple):
    """Rows of `child` follow those of `parent`, by these columns of the parent."""

    parent: Place
    child: Place
    columns: frozenset[str]


def parents(session: Session, bounds: Sequence[Bound]) -> dict[Place, Parent]:
    """All tables whose changes may reach a captured one without a word."""
    schemas = sorted({b.database for b in bounds})
    return reach(edges(session, schemas), {(b.database, b.table.name): b.tag for b in bounds})


def edges(session: Session, schemas: Iterable[str]) -> list[Edge]:
    """The foreign keys that cascade, as far as the account may see their tables."""
    rows = session.query(
        "SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME,"
        " k.REFERENCED_COLUMN_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS r"
        " JOIN information_schema.KEY_COLUMN_USAGE k ON k.CONSTRAINT_SCHEMA = r.CONSTRAINT_SCHEMA"
        " AND k.TABLE_NAME = r.TABLE_NAME AND k.CONSTRAINT_NAME = r.CONSTRAINT_NAME"
        f" WHERE r.CONSTRAINT_SCHEMA IN ({', '.join(map(literal, schemas))}) AND k.REFERENCED_TABLE_NAME IS NOT NULL"
        f" AND (r.DELETE_RULE IN ({', '.join(map(literal, SILENT))})"
        f" OR r.UPDATE_RULE IN ({', '.join(map(literal, SILENT))}))"
    )
    found: dict[tuple[str, str, str], tuple[Place, Place, set[str]]] = {}
    for schema, table, name, to_schema, to_table, column in rows:
        made = found.setdefault((schema, table, name), ((to_schema, to_table), (schema, table), set()))
        made[2].add(column)
    return [Edge(parent, child, frozenset(columns)) for parent, child, columns in found.values()]


def reach(edges: Sequence[Edge], tags: Mapping[Place, str]) -> dict[Place, Parent]:
    """Which captured tables a change of each table may reach, over any number of levels."""
    children: dict[Place, set[Place]] = defaultdict(set)
    columns: dict[Place, set[str]] = defaultdict(set)
    for edge in edges:
        children[edge.parent].add(edge.child)
        columns[edge.parent] |= edge.columns
    found: dict[Place, Parent] = {}
    for parent in children:
        seen: set[Place] = set()
        waiting = [parent]
        while waiting:
            for child in children.get(waiting.pop(), set()) - seen:
                seen.add(child)
                waiting.append(child)
        reached = tuple(sorted({tags[place] for place in seen if place in tags}))
        if reached:
            found[parent] = Parent(frozenset(columns[parent]), reached)
    return found
