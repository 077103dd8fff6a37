"""Inserts: the crosswalk rows are claimed first (I2), rows that match now stop the insert, keys are tied by value."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapters import rows
from adapters.mysql import links
from adapters.mysql.connection import Session
from adapters.mysql.objects import Names
from adapters.mysql.reader import find, rows_of
from adapters.mysql.sql import chunks, literal, quote, values
from adapters.mysql.tables import Bound, raw
from config.records import Column, Crosswalk, Gid, Key, Landing, Outcome, Raw, Value, Write


@dataclass(slots=True)
class Insert:
    """One insert on its way."""

    write: Write
    key: Key | None = None  # of the row that was inserted
    cells: dict[str, str] = field(default_factory=dict)  # column -> literal or expression, as it is written
    claims: list[Crosswalk] = field(default_factory=list)  # rows that it has brought into the crosswalk
    outcome: Outcome | None = None

    def reject(self, message: str, hint: str = "") -> None:
        self.outcome = Outcome(Landing.REJECTED, self.write.key, message=message, hint=hint)

    def land(self, key: Key) -> None:
        self.key, self.outcome = key, Outcome(Landing.LANDED, key)


class Untied(Exception):
    """The stored values do not tell which row is whose."""


class Inserts:
    """The inserts of one call, in one open transaction. Driver's errors come through."""

    def __init__(self, session: Session, names: Names, bound: Bound, system: str) -> None:
        self._session = session
        self._names = names
        self._bound = bound
        self._system = system

    def begin(self, writes: Sequence[Write]) -> list[Insert]:
        """Everything before the rows themselves; those without an outcome are to be inserted."""
        items = [Insert(w) for w in writes]
        self._claim(items)
        self._guard(open_ones(items))
        self._prepare(open_ones(items))
        return items

    # --- the crosswalk -----------------------------------------------------------------------------------------------

    def _claim(self, items: Sequence[Insert]) -> None:
        """A repeat of an insert finds its earlier self here, whatever it knows of the record's keys (I2)."""
        entity = self._bound.table.entity
        everything = [pair for i in items for pair in i.write.links]
        there = links.held(self._session, self._names, entity, everything)
        for item in items:
            fresh = dict.fromkeys(pair for pair in item.write.links if pair not in there)
            item.claims = [Crosswalk(entity, item.write.gid, *pair) for pair in fresh if pair[0] != self._system]
        links.claim(self._session, self._names, [row for i in items for row in i.claims])
        now = links.held(self._session, self._names, entity, everything)
        gids = {i.write.gid for i in items} | set(now.values())
        here = self._rows_here(links.links_of(self._session, self._names, entity, gids))
        for item in items:
            own = item.write.gid
            gid = next((now[pair] for pair in item.write.links if now.get(pair, own) != own), own)
            if gid != own or gid in here:
                item.outcome = Outcome(Landing.ADOPTED, here.get(gid), gid=gid)

    def _rows_here(self, known: Sequence[Crosswalk]) -> dict[Gid, Key]:
        """The row that each record has in this system, if it is still there: a link outlives its row."""
        keys = {row.key: row.gid for row in known if row.system == self._system}
        return {keys[key]: key for key in rows_of(self._session, self._bound, keys)}

    # --- rows that match ---------------------------------------------------------------------------------------------

    def _guard(self, items: Sequence[Insert]) -> None:
        """A row that matches now stops the insert: people may have made it since the merge."""
        rules: dict[tuple[int, ...], list[Insert]] = {}
        for item in items:
            for rule in item.write.guard:
                if all(item.write.values.get(i) is not None for i in rule):
                    rules.setdefault(rule, []).append(item)
        hits: dict[int, list[Key]] = {}
        for rule, asking in rules.items():
            self._matching(rule, asking, hits)
        for item in items:
            if id(item) in hits:
                item.outcome = Outcome(Landing.EXISTS, found=tuple(dict.fromkeys(hits[id(item)])))

    def _matching(self, rule: tuple[int, ...], items: Sequence[Insert], hits: dict[int, list[Key]]) -> None:
        """What the server proposes, compared in canonical form. An archived row counts as gone and stops nobody."""
        wanted = [tuple(i.write.values[f] for f in rule) for i in items]
        candidates = find(self._session, self._bound, rule, wanted)
        stored = rows_of(self._session, self._bound, {key for keys in candidates for key in keys})
        alive = {k: row for k, row in stored.items() if not self._bound.reading(row, 0).archived}
        held = {key: self._bound.canonical(self._bound.raws(row), rule) for key, row in alive.items()}
        for item, given, keys in zip(items, wanted, candidates, strict=True):
            found = [key for key in keys if held.get(key) == given]
            if found:
                hits.setdefault(id(item), []).extend(found)

    # --- what is written ---------------------------------------------------------------------------------------------

    def _prepare(self, items: Sequence[Insert]) -> None:
        """A field's value comes before a constant, a constant before a made key."""
        table = self._bound.table
        given = {**table.restore, **table.stamp, **table.insert}
        constants = {name: self._bound.constant(name, value) for name, value in given.items()}
        for item, made in zip(items, self._made(items), strict=True):
            try:
                own = item.write.key
                texts = made() if own is None else self._bound.key_cells(own)
                item.cells = texts | constants | self._values(item.write)
            except ValueError as error:
                item.reject(str(error), "correct the value, or widen the column")

    def _made(self, items: Sequence[Insert]) -> list[Callable[[], dict[str, str]]]:
        """For each insert what gives its made key columns; none where the database makes the key, or fields do."""
        rule = self._bound.table.new_key
        mapped = {c.name for c in self._bound.table.columns if c is not None}
        columns = [c for c in self._bound.table.key if c.name not in mapped]
        if rule is None or not columns:
            return [dict for _ in items]
        made = rows.expression(rule)
        if made is not None:
            texts = self._evaluated(made, len(items))
            return [lambda text=text: {c.name: literal(text) for c in columns} for text in texts]  # type: ignore[misc]
        if rule == "uuid":
            return [lambda: {c.name: literal(_uuid(c)) for c in columns} for _ in items]
        return [lambda item=item: self._copied(item) for item in items]  # type: ignore[misc]

    def _evaluated(self, expression: str, count: int) -> list[Raw]:
        """The expression once for each row, in one statement."""
        numbers = [f"({n})" for n in range(count)]
        found: list[Raw] = []
        for start, stop in chunks(numbers, self._session.packet):
            found += [
                value
                for (value,) in self._session.raw(
                    f"SELECT ({expression}) FROM {values(['accord_n'], numbers[start:stop])}"
                )
            ]
        return found

    def _copied(self, item: Insert) -> dict[str, str]:
        source = next((key for system, key in item.write.links if system != self._system), None)
        if source is None:
            raise ValueError("there is no key to copy: the record has no row in another system")
        return self._bound.key_cells(source)

    def _values(self, write: Write) -> dict[str, str]:
        found: dict[str, str] = {}
        for i, value in write.values.items():
            column = self._bound.column(i)
            cell = self._bound.encode(i, value)
            if cell != "NULL" or column.nullable or not column.has_default:
                found[column.name] = cell
        return found

    # --- the rows themselves -----------------------------------------------------------------------------------------

    def insert(self, items: Sequence[Insert]) -> dict[int, Key]:
        """Insert these, or raise the driver's error: id(item) -> key."""
        groups: dict[tuple[tuple[str, ...], tuple[int, ...]], list[Insert]] = {}
        for item in items:
            groups.setdefault((tuple(item.cells), tuple(sorted(item.write.values))), []).append(item)
        keys: dict[int, Key] = {}
        for group in groups.values():
            keys.update(zip(map(id, group), self._together(group), strict=True))
        return keys

    def _together(self, items: Sequence[Insert]) -> list[Key]:
        """Rows that are all written with different values are inserted together and told apart by them; twins, and
        rows of a table that stores something else than what is written, one by one."""
        if self._bound.single:
            return [self._one(item) for item in items]
        seen = Counter(tuple(item.cells.values()) for item in items)
        single = [item for item in items if seen[tuple(item.cells.values())] > 1]
        apart = {id(item) for item in single}
        try:
            with self._session.savepoint():
                keys = self._tied([item for item in items if id(item) not in apart])
        except Untied:
            self._bound.single = True
            return [self._one(item) for item in items]
        keys |= {id(item): self._one(item) for item in single}
        return [keys[id(item)] for item in items]

    def _tied(self, items: Sequence[Insert]) -> dict[int, Key]:
        """Insert together; each row is known again by the values that were written into it, never by its place."""
        if not items:
            return {}
        fields = [i for i in sorted(items[0].write.values) if self._bound.column(i).name in items[0].cells]
        wanted = {tuple(item.write.values[i] for i in fields): item for item in items}
        keys: dict[int, Key] = {}
        for row in self._write(items, fields):
            item = wanted.pop(self._decoded(row[self._bound.width :], fields), None)
            if item is None:
                raise Untied
            keys[id(item)] = self._bound.key(row)
        return keys

    def _decoded(self, raws: Sequence[Raw], fields: Sequence[int]) -> tuple[Value, ...]:
        found: list[Value] = []
        for i, value in zip(fields, raws, strict=True):
            decode = self._bound.decoders[i]
            try:
                found.append(decode(value) if decode else None)
            except ValueError:
                raise Untied from None
        return tuple(found)

    def _one(self, item: Insert) -> Key:
        return self._bound.key(self._write([item], [])[0])

    def _write(self, items: Sequence[Insert], fields: Sequence[int]) -> list[tuple[Raw, ...]]:
        """The statement; gives the key and these fields of each row as it is stored."""
        columns = ", ".join(map(quote, items[0].cells))
        literals = ["(" + ",".join(item.cells.values()) + ")" for item in items]
        asked = ", ".join(raw(c) for c in (*self._bound.table.key, *map(self._bound.column, fields)))
        found: list[tuple[Raw, ...]] = []
        for start, stop in chunks(literals, self._session.packet):
            found += self._session.raw(
                f"INSERT INTO {self._bound.sql} ({columns}) VALUES {','.join(literals[start:stop])} RETURNING {asked}"
            )
        return found

    # --- afterwards --------------------------------------------------------------------------------------------------

    def finish(self, items: Sequence[Insert]) -> None:
        """The new rows' own links; what was claimed for an insert that did not happen is given back."""
        entity, session, names = self._bound.table.entity, self._session, self._names
        landed = {id(i): i for i in items if i.outcome is not None and i.outcome.landing is Landing.LANDED}
        keys = {i.write.gid: i.key or "" for i in landed.values()}
        # What stands there of these records' rows here, or of these keys, speaks of rows that are gone.
        old = [row for row in links.links_of(session, names, entity, keys) if row.system == self._system]
        links.remove(session, names, old)
        links.claim(session, names, [Crosswalk(entity, g, self._system, k) for g, k in keys.items()], take=True)
        links.remove(session, names, [row for i in items if id(i) not in landed for row in i.claims])
        for item in items:  # two inserts of one call were the same record
            if item.outcome is not None and item.outcome.landing is Landing.ADOPTED and item.outcome.key is None:
                item.outcome = item.outcome._replace(key=keys.get(item.outcome.gid or ""))


def open_ones(items: Sequence[Insert]) -> list[Insert]:
    return [i for i in items if i.outcome is None]


def _uuid(column: Column) -> str | bytes:
    """As the column has room for: 16 bytes, 32 digits, or 36 characters."""
    made = uuid.uuid4()
    if column.kind == "bytes":
        return made.bytes
    return made.hex if column.length == 32 else str(made)
