"""Triggers on the parents of captured tables: they note the rows that a foreign key is about to take along.

MariaDB runs no trigger for what a cascade does. So a trigger on the table that it starts from writes the keys of the
rows that follow into the change log, in the application's transaction and with the locks that the cascade takes a
moment later; over several levels, whether the tables between are mapped or not.

Nothing in it can make the application's statement fail (I12): whatever goes wrong in it (a table between was dropped,
an index renamed, or the statement uses the children itself, so that they may not be locked) ends in its handler, which
notes that rows of the child may have changed; a sweep follows (`UNKNOWN`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from adapters.mysql import objects
from adapters.mysql.cascades import Path, Place, Web
from adapters.mysql.objects import UNKNOWN, Names, Trigger
from adapters.mysql.sql import NOW, literal, qualified, quote
from adapters.mysql.tables import Bound, pack_columns

Key = Mapping[str, str]
"""Column of a key -> the expression that it is taken from."""
Body = Callable[[Path], list[str]]


def wanted(names: Names, bounds: Sequence[Bound], web: Web) -> list[Trigger]:
    """All triggers that capture takes."""
    return [*objects.triggers(names, bounds), *triggers(names, [b for b in bounds if b.captured], web)]


def triggers(names: Names, bounds: Sequence[Bound], web: Web) -> list[Trigger]:
    """Up to three for each table from which a cascade leads to a captured one."""
    return [trigger for place in web.parents for trigger in _Parent(names, _groups(bounds, web), web, place).triggers()]


def _groups(bounds: Sequence[Bound], web: Web) -> dict[Place, list[Bound]]:
    """The captured tables, spelled as the server does."""
    spelled = {(schema.lower(), table.lower()): (schema, table) for schema, table in web.seen}
    found: dict[Place, list[Bound]] = {}
    for bound in bounds:
        place = bound.database, bound.table.name
        place = place if place in web.seen else spelled[place[0].lower(), place[1].lower()]
        found.setdefault(place, []).append(bound)
    return found


class _Parent:
    def __init__(self, names: Names, groups: Mapping[Place, list[Bound]], web: Web, place: Place) -> None:
        self._names, self._groups, self._web, self._place = names, groups, web, place

    def triggers(self) -> Iterator[Trigger]:
        deletes, updates = self._web.deletes(self._place), self._web.updates(self._place)
        moved = [path for path in updates if _all_cascade(path)]
        cut = [path for path in updates if not _all_cascade(path)]
        yield from self._trigger("cascade_delete", "BEFORE", "DELETE", deletes, self._before)
        yield from self._trigger("cascade_null", "BEFORE", "UPDATE", cut, self._before)
        yield from self._trigger("cascade_update", "AFTER", "UPDATE", moved, self._after)

    def _trigger(self, word: str, timing: str, event: str, paths: Sequence[Path], body: Body) -> Iterator[Trigger]:
        statements = [text for path in dict.fromkeys(paths) for text in self._guarded(path, event, body(path))]
        if not statements:
            return
        reached = {place for path in paths for place in self._reached(path)}
        handler = self._unknown(reached, "", "")
        text = "\n  ".join(
            ["BEGIN", f"DECLARE CONTINUE HANDLER FOR SQLEXCEPTION {handler};", *(f"{s};" for s in statements)]
        )
        entities = tuple(b.table.entity for place in sorted(reached) for b in self._groups[place])
        yield Trigger(self._names.named(*self._place, word), self._place, event, text + "\nEND", timing, entities, True)

    def _reached(self, path: Path) -> set[Place]:
        return self._web.reached(path.place) if path.round else {path.place}

    def _guarded(self, path: Path, event: str, statements: Sequence[str]) -> list[str]:
        """An UPDATE leads on only if it changes what the first foreign key refers to."""
        if event == "DELETE" or not statements:
            return list(statements)
        names = [f"{{}}.{quote(name)}" for name in path.steps[0].edge.to]
        differs = " OR ".join(f"NOT (BINARY {n.format('OLD')} <=> BINARY {n.format('NEW')})" for n in names)
        return [f"IF {differs} THEN\n    " + "\n    ".join(f"{s};" for s in statements) + "\n  END IF"]

    # --- what a path notes -------------------------------------------------------------------------------------------

    def _before(self, path: Path) -> list[str]:
        """Before it happens all rows are found by the old values."""
        if path.round:
            return [self._unknown(self._reached(path), *self._rows(path, "OLD", False))]
        bound = self._groups[path.place][0]
        gone = path.deleted or path.columns & {c.name for c in bound.table.key}
        note = ("NULL", "'D'", "NULL") if gone else ("NULL", "'U'", _columns(path))
        if not path.plain:
            return [self._looped(bound, path, *note)]
        alias = f"c{len(path.steps)}"
        key = {c.name: f"{alias}.{quote(c.name)}" for c in bound.table.key}
        return [self._noted(bound, key, *note, *self._rows(path, "OLD", True))]

    def _after(self, path: Path) -> list[str]:
        """What the cascade has changed is found by the new values, and what it was before follows from the old ones."""
        if path.round:
            return [self._unknown(self._reached(path), *self._rows(path, "NEW", False))]
        bound, alias = self._groups[path.place][0], f"c{len(path.steps)}"
        key = {c.name: f"{alias}.{quote(c.name)}" for c in bound.table.key}
        former = {name: text for name, text in _former(path).items() if name in key}
        rows = self._rows(path, "NEW", False)
        if not former:
            return [self._noted(bound, key, "NULL", "'U'", _columns(path), *rows)]
        old = {**key, **former}
        return [
            self._noted(bound, old, "NULL", "'D'", "NULL", *rows),
            self._noted(bound, key, pack_columns(bound.table.key, old), "'I'", "NULL", *rows),
        ]

    def _rows(self, path: Path, root: str, lock: bool) -> tuple[str, str]:
        """The rows at the end of a path, as tables and conditions of a SELECT."""
        tables, where = [], []
        for n, step in enumerate(path.steps, 1):
            above = root if n == 1 else f"c{n - 1}"
            on = _join(f"c{n}", step.edge.columns, above, step.edge.to)
            index = f" FORCE INDEX ({quote(step.edge.by_index)})" if step.edge.by_index else ""
            tables.append(f"{qualified(*step.edge.child)} c{n}{index}")
            where.append(on)
        rest = " FOR UPDATE" if lock and tables else ""
        return " STRAIGHT_JOIN ".join(tables) or "DUAL", " AND ".join(where) + rest

    def _noted(self, bound: Bound, key: Key, was: str, op: str, cols: str, tables: str, where: str) -> str:
        present = [f"{key[c.name]} IS NOT NULL AND " for c in bound.table.key if c.nullable]
        row = f"{literal(bound.tag)}, {pack_columns(bound.table.key, key)}, {was}, {op}, {cols}, {NOW}, {self._own}"
        return f"{self._into} SELECT {row} FROM {tables} WHERE {''.join(present)}{where}"

    def _looped(self, bound: Bound, path: Path, was: str, op: str, cols: str) -> str:
        """Where the table itself is on the way, or a tree of rows: read as the transaction sees it, without a lock."""
        last = f"l{len(path.steps)}"
        key = {c.name: f"{last}.{quote(c.name)}" for c in bound.table.key}
        present = " AND ".join(f"{key[c.name]} IS NOT NULL" for c in bound.table.key)
        levels = ", ".join(self._level(path, n) for n in range(len(path.steps) + 1))
        select = f"SELECT {pack_columns(bound.table.key, key)} AS accord_key FROM {last} WHERE {present}"
        row = f"{literal(bound.tag)}, accord_row.accord_key, {was}, {op}, {cols}, {NOW}, {self._own}"
        return f"FOR accord_row IN (WITH RECURSIVE {levels} {select}) DO\n    {self._into} VALUES ({row});\n  END FOR"

    def _level(self, path: Path, n: int) -> str:
        """The rows of one table on the way, as a common table expression."""
        place = path.steps[n - 1].edge.child if n else path.root
        tree = path.steps[n - 1].tree if n else path.tree
        own = [e for e in self._web.below(place) if e.itself and e.on_delete == "CASCADE"] if tree else []
        names = {name for edge in own for name in edge.to}
        names |= set(path.steps[n].edge.to) if n < len(path.steps) else set()
        if n == len(path.steps):
            names |= {c.name for c in self._groups[place][0].table.key}
        listed = sorted(names)
        if n:
            edge = path.steps[n - 1].edge
            first = f"FROM {qualified(*place)} m JOIN l{n - 1} a ON {_join('m', edge.columns, 'a', edge.to)}"
            first = f"SELECT {', '.join('m.' + quote(name) for name in listed)} {first}"
        else:
            first = "SELECT " + ", ".join(f"OLD.{quote(name)}" for name in listed)
        more = [
            f" UNION SELECT {', '.join('m.' + quote(name) for name in listed)} FROM {qualified(*place)} m"
            f" JOIN l{n} a ON {_join('m', edge.columns, 'a', edge.to)}"
            for edge in own
        ]
        return f"l{n} ({', '.join(map(quote, listed))}) AS ({first}{''.join(more)})"

    # --- entries of the change log -----------------------------------------------------------------------------------

    @property
    def _into(self) -> str:
        return f"INSERT INTO {self._names.changes} (tbl, `key`, was, op, cols, changed_at, own)"

    @property
    def _own(self) -> str:
        return f"@{quote(self._names.mark)} IS NOT NULL"

    def _unknown(self, places: set[Place], tables: str, where: str) -> str:
        """That rows of these tables may have changed; with `tables`: if there is a row."""
        tags = sorted({self._groups[place][0].tag for place in places})
        rows = [f"SELECT {literal(tag)}, '', NULL, '{UNKNOWN}', NULL, {NOW}, 0 FROM " for tag in tags]
        if tables and tables != "DUAL":
            found = [f"{row}DUAL WHERE EXISTS (SELECT 1 FROM {tables} WHERE {where})" for row in rows]
        else:
            found = [f"{row}DUAL" for row in rows]
        return f"{self._into} " + " UNION ALL ".join(found)


def _all_cascade(path: Path) -> bool:
    """Are the rows found again by the new values?"""
    return all(step.edge.on_update == "CASCADE" for step in path.steps)


def _columns(path: Path) -> str:
    return literal(json.dumps(sorted(path.columns), ensure_ascii=False))


def _join(one: str, columns: Sequence[str], other: str, to: Sequence[str]) -> str:
    pairs = zip(columns, to, strict=True)
    return " AND ".join(f"{one}.{quote(column)} = {other}.{quote(name)}" for column, name in pairs)


def _former(path: Path) -> dict[str, str]:
    """Column of the last table -> what it held before: what the first table held, handed down."""
    held: dict[str, str] | None = None
    for step in path.steps:
        pairs = list(zip(step.edge.columns, step.edge.to, strict=True))
        if held is None:
            held = {column: f"OLD.{quote(to)}" for column, to in pairs}
        else:
            held = {column: held[to] for column, to in pairs if to in held}
    return held or {}
