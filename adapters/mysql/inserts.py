"""Inserts: the crosswalk rows are claimed first (I2), rows that match now stop the insert, keys are tied by value."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters import rows
from adapters.bisect import Refusal, settle
from adapters.mysql import links
from adapters.mysql.connection import Session
from adapters.mysql.errors import refusal
from adapters.mysql.objects import KEY_LENGTH, Names
from adapters.mysql.reader import find, rows_of
from adapters.mysql.sql import chunks, quote
from adapters.mysql.tables import Bound, raw
from config.records import Crosswalk, Gid, Key, Landing, Outcome, Value, Write


@dataclass(slots=True)
class Insert:
    """One insert on its way."""

    write: Write
    key: Key | None = None
    cells: dict[str, str] = field(default_factory=dict)  # column -> literal or expression
    claims: list[Crosswalk] = field(default_factory=list)  # rows that it has brought into the crosswalk
    outcome: Outcome | None = None

    def reject(self, message: str, hint: str = "") -> None:
        self.outcome = Outcome(Landing.REJECTED, self.key, message=message, hint=hint)


class Untied(Exception):
    """The stored values do not tell which row is whose."""


class Inserts:
    """The inserts of one call, in one open transaction. Driver's errors come through."""

    def __init__(self, session: Session, names: Names, bound: Bound, system: str) -> None:
        self._session = session
        self._names = names
        self._bound = bound
        self._system = system

    def run(self, writes: Sequence[Write]) -> list[Outcome]:
        items = [Insert(w, w.key) for w in writes]
        self._keys(items)
        self._encode(items)
        self._claim(open_ones(items))
        self._guard(open_ones(items))
        self._insert(open_ones(items))
        self._record(items)
        return [i.outcome for i in items if i.outcome is not None]

    # --- keys --------------------------------------------------------------------------------------------------------

    def _keys(self, items: Sequence[Insert]) -> None:
        """Keys that Accord makes. Others come from the database, with the row."""
        rule = self._bound.table.new_key
        missing = [i for i in items if i.key is None]
        if rule is None or not missing:
            return
        made = rows.expression(rule)
        if made is not None:
            self._evaluate(made, missing)
        elif rule == "uuid":
            for item in missing:
                item.key = self._uuid()
        else:
            self._copy(missing)

    def _evaluate(self, expression: str, items: Sequence[Insert]) -> None:
        numbers = [f"({n})" for n in range(len(items))]
        for start, stop in chunks(numbers, self._session.packet):
            made = self._session.raw(
                f"SELECT ({expression}) FROM (WITH v(n) AS (VALUES {','.join(numbers[start:stop])}) SELECT * FROM v) s"
            )
            for item, (value,) in zip(items[start:stop], made, strict=True):
                if value is None:
                    item.reject("new_key gave no key", "correct the expression")
                else:
                    item.key = self._bound.key([value])

    def _uuid(self) -> Key:
        column = self._bound.table.key[0]
        short = column.kind == "bytes" or (column.length is not None and column.length < 36)
        return uuid.uuid4().hex if short else str(uuid.uuid4())

    def _copy(self, items: Sequence[Insert]) -> None:
        for item in items:
            item.key = next((key for system, key in item.write.links if system != self._system), None)
            if item.key is None:
                item.reject("there is no key to copy: the record has none in another system yet")

    # --- what is written ---------------------------------------------------------------------------------------------

    def _encode(self, items: Sequence[Insert]) -> None:
        table = self._bound.table
        constants = {n: self._bound.constant(n, v) for n, v in (*table.insert.items(), *table.stamp.items())}
        for item in open_ones(items):
            try:
                item.cells = constants | ({} if item.key is None else self._bound.key_cells(item.key))
                item.cells |= {self._column(i): self._bound.encode(i, v) for i, v in item.write.values.items()}
            except ValueError as error:
                item.reject(str(error), "correct the value, or widen the column")
            if item.key is not None and len(item.key) > KEY_LENGTH:
                item.reject(f"its key is longer than {KEY_LENGTH} characters")

    def _column(self, index: int) -> str:
        column = self._bound.table.columns[index]
        if column is None:
            raise ValueError("the field has no column here")
        return column.name

    # --- the crosswalk -----------------------------------------------------------------------------------------------

    def _claim(self, items: Sequence[Insert]) -> None:
        """A repeat of an insert finds its earlier self here, whatever it knows of the record's keys (I2)."""
        entity = self._bound.table.entity
        pairs = {id(i): self._pairs(i) for i in items}
        everything = [pair for i in items for pair in pairs[id(i)]]
        there = links.held(self._session, self._names, entity, everything)
        for item in items:
            fresh = [pair for pair in pairs[id(item)] if pair not in there]
            item.claims = [Crosswalk(entity, item.write.gid, *pair) for pair in fresh]
        links.claim(self._session, self._names, [row for i in items for row in i.claims])
        now = links.held(self._session, self._names, entity, everything)
        holders: dict[int, Gid] = {}
        for item in items:
            gids = [now[pair] for pair in pairs[id(item)] if pair in now]
            holders[id(item)] = next((g for g in gids if g != item.write.gid), item.write.gid)
        self._adopt(items, holders)

    def _pairs(self, item: Insert) -> list[tuple[str, Key]]:
        own = [] if item.key is None else [(self._system, item.key)]
        return list(dict.fromkeys([*item.write.links, *own]))

    def _adopt(self, items: Sequence[Insert], holders: dict[int, Gid]) -> None:
        """Those whose record is known here already, as somebody else or as itself with a row that is still there."""
        entity = self._bound.table.entity
        known = links.links_of(self._session, self._names, entity, holders.values())
        keys = {row.gid: row.key for row in known if row.system == self._system}
        claimed = {(row.gid, row.key) for i in items for row in i.claims if row.system == self._system}
        itself = [keys[i.write.gid] for i in items if holders[id(i)] == i.write.gid and i.write.gid in keys]
        alive = rows_of(self._session, self._bound, itself)
        for item in items:
            gid = holders[id(item)]
            key = keys.get(gid)
            if gid == item.write.gid and (key is None or key not in alive or (gid, key) in claimed):
                continue
            item.outcome = Outcome(Landing.ADOPTED, key, gid=gid)

    # --- rows that match ---------------------------------------------------------------------------------------------

    def _guard(self, items: Sequence[Insert]) -> None:
        """A row that matches now stops the insert: people may have made it since the merge."""
        rules: dict[tuple[int, ...], list[Insert]] = {}
        for item in items:
            for rule in item.write.guard:
                if all(item.write.values.get(i) is not None for i in rule):
                    rules.setdefault(rule, []).append(item)
        for rule, asking in rules.items():
            self._matching(rule, [i for i in asking if i.outcome is None])

    def _matching(self, rule: tuple[int, ...], items: Sequence[Insert]) -> None:
        wanted = [tuple(i.write.values[f] for f in rule) for i in items]
        candidates = find(self._session, self._bound, rule, wanted) if items else []
        stored = rows_of(self._session, self._bound, {key for keys in candidates for key in keys})
        values = {key: self._canonical(row, rule) for key, row in stored.items()}
        for item, given, keys in zip(items, wanted, candidates, strict=True):
            found = tuple(key for key in keys if values.get(key) == given)
            if found:
                item.outcome = Outcome(Landing.EXISTS, None, found=found)

    def _canonical(self, row: Sequence[str | bytes | int | float | None], fields: Sequence[int]) -> tuple[Value, ...]:
        raws = self._bound.raws(row)
        found: list[Value] = []
        for i in fields:
            decode = self._bound.decoders[i]
            try:
                found.append(decode(raws[i]) if decode else None)
            except ValueError:
                found.append(None)  # what does not convert is equal to nothing
        return tuple(found)

    # --- the rows themselves -----------------------------------------------------------------------------------------

    def _insert(self, items: Sequence[Insert]) -> None:
        groups: dict[tuple[bool, tuple[str, ...]], list[Insert]] = {}
        for item in items:
            groups.setdefault((item.key is not None, tuple(item.cells)), []).append(item)
        for (known, columns), members in groups.items():
            done = settle(
                members,
                lambda some, known=known, columns=columns: self._attempt(some, known, columns),  # type: ignore[misc]
                self._session.savepoint,
                refusal,
            )
            for item, key in zip(members, done, strict=True):
                if isinstance(key, Refusal):
                    item.reject(key.message, key.hint)
                else:
                    item.key, item.outcome = key, Outcome(Landing.LANDED, key)

    def _attempt(self, items: Sequence[Insert], known: bool, columns: tuple[str, ...]) -> list[Key]:
        if known:
            self._write(items, columns)
            return [i.key or "" for i in items]
        twins = self._twins(items)
        if not self._bound.single:
            try:
                with self._session.savepoint():
                    keys = self._tied([i for i in items if id(i) not in twins], columns)
            except Untied:
                self._bound.single = True
        if self._bound.single:
            twins, keys = {id(i) for i in items}, {}
        for item in items:
            if id(item) in twins:
                keys[id(item)] = self._one(item, columns)
        return [keys[id(i)] for i in items]

    def _twins(self, items: Sequence[Insert]) -> set[int]:
        """Rows that are written with the same values: nothing could tell them apart."""
        seen: dict[tuple[Value, ...], list[int]] = {}
        for item in items:
            seen.setdefault(self._given(item), []).append(id(item))
        return {n for same in seen.values() if len(same) > 1 for n in same}

    def _given(self, item: Insert) -> tuple[Value, ...]:
        return tuple(item.write.values[i] for i in sorted(item.write.values))

    def _tied(self, items: Sequence[Insert], columns: tuple[str, ...]) -> dict[int, Key]:
        """Insert together; each row is known again by the values that were written into it, never by its place."""
        if not items:
            return {}
        wanted = {self._given(i): i for i in items}
        fields = sorted(items[0].write.values)
        keys: dict[int, Key] = {}
        for row in self._write(items, columns, fields):
            item = wanted.pop(self._decoded(row[self._bound.width :], fields), None)
            if item is None:
                raise Untied
            keys[id(item)] = self._bound.key(row)
        return keys

    def _decoded(self, raws: Sequence[str | bytes | int | float | None], fields: Sequence[int]) -> tuple[Value, ...]:
        found: list[Value] = []
        for i, value in zip(fields, raws, strict=True):
            decode = self._bound.decoders[i]
            try:
                found.append(decode(value) if decode else None)
            except ValueError:
                raise Untied from None
        return tuple(found)

    def _one(self, item: Insert, columns: tuple[str, ...]) -> Key:
        return self._bound.key(self._write([item], columns, [])[0])

    def _write(
        self, items: Sequence[Insert], columns: tuple[str, ...], fields: Sequence[int] | None = None
    ) -> list[tuple[str | bytes | None, ...]]:
        """The statement. With `fields`: gives the key and these fields of each row as it is stored."""
        literals = ["(" + ",".join(i.cells[c] for c in columns) + ")" for i in items]
        returning = ""
        if fields is not None:
            placed = [c for i in fields if (c := self._bound.table.columns[i]) is not None]
            returning = " RETURNING " + ", ".join(raw(c) for c in (*self._bound.table.key, *placed))
        found: list[tuple[str | bytes | None, ...]] = []
        for start, stop in chunks(literals, self._session.packet):
            found += self._session.raw(
                f"INSERT INTO {self._bound.sql} ({', '.join(map(quote, columns))})"
                f" VALUES {','.join(literals[start:stop])}{returning}"
            )
        return found

    # --- afterwards --------------------------------------------------------------------------------------------------

    def _record(self, items: Sequence[Insert]) -> None:
        """The new rows' own links; what was claimed for an insert that did not happen is given back."""
        entity = self._bound.table.entity
        landed = [i for i in items if i.outcome is not None and i.outcome.landing is Landing.LANDED]
        made = [Crosswalk(entity, i.write.gid, self._system, i.key or "") for i in landed]
        # A key that the database has just made was free: a link that still names it speaks of a row that is gone.
        links.claim(self._session, self._names, made, take=True)
        done = {id(i) for i in landed}
        lost = [row for i in items if id(i) not in done for row in i.claims]
        links.remove(self._session, self._names, lost)


def open_ones(items: Sequence[Insert]) -> list[Insert]:
    return [i for i in items if i.outcome is None]
