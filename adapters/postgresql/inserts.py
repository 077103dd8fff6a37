"""New rows: the crosswalk rows are claimed first (I2), rows that match now stop the insert, keys are tied by value.

Keys that the database makes are asked for beforehand, by the column's own default, and written with the row: so each
row that RETURNING shows is known by its key. Where that cannot be (a trigger makes the key), rows go one by one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.convert import POSTGRESQL, Encoder
from adapters.keys import params
from adapters.postgresql.bound import Bound, Raws
from adapters.postgresql.errors import Refused
from adapters.postgresql.links import Links
from adapters.postgresql.reading import encoded, encoders, matches, stored_now
from adapters.postgresql.session import Session
from adapters.postgresql.sql import array, cast, quote, unnest
from adapters.rows import expression
from config.records import Column, Crosswalk, Gid, Key, Landing, Outcome, Reading, Value, Write

NO_ROW = "the database took the statement, but a trigger or rule of its own stored no row"


@dataclass(slots=True)
class New:
    """One row on its way."""

    index: int
    write: Write
    cells: dict[str, str | None] = field(default_factory=dict)  # column -> text
    outcome: Outcome | None = None


class Inserts:
    """The inserts of one call; `run` may be called for any part of them. Driver's errors, and `Refused`."""

    def __init__(
        self, session: Session, links: Links, bound: Bound, system: str, writes: Sequence[Write], noisy: bool
    ) -> None:
        self._session = session
        self._links = links
        self._bound = bound
        self._system = system
        self._writes = writes
        self._noisy = noisy
        self._claimed: set[Crosswalk] = set()
        self._linked: set[Gid] = set()
        constants = {**bound.table.restore, **bound.table.stamp, **bound.table.insert}
        self._constants = bound.constants(constants) if any(w.expected is None for w in writes) else {}

    def run(self, some: Sequence[int]) -> list[Outcome]:
        items = [New(i, self._writes[i]) for i in some]
        if not items:
            return []
        self._claim(items)
        self._guard(_open(items))
        self._fill(_open(items))
        self._insert(_open(items))
        return [item.outcome for item in items if item.outcome is not None]

    # --- may it be inserted? -----------------------------------------------------------------------------------------

    def _claim(self, items: Sequence[New]) -> None:
        """A repeat of an insert finds its earlier self here, whatever it knows of the record's keys (I2)."""
        entity = self._bound.entity
        rows = {i.index: [Crosswalk(entity, i.write.gid, *pair) for pair in i.write.links] for i in items}
        self._claimed = self._links.claim([row for some in rows.values() for row in some])
        held = self._links.held(entity, (pair for i in items for pair in i.write.links))
        others = {i.index: next((g for p in i.write.links if (g := held[p]) != i.write.gid), None) for i in items}
        here = self._alive({others[i.index] or i.write.gid for i in items})
        for item in items:
            other = others[item.index]
            gid = other or item.write.gid
            if other is not None or gid in here:
                item.outcome = Outcome(Landing.ADOPTED, here.get(gid), gid=gid)
        self._withdraw(items)

    def _alive(self, gids: set[Gid]) -> dict[Gid, Key]:
        """The row that each record has in this system, if it is still there: a link outlives its row."""
        linked = self._links.of(self._bound.entity, self._system, gids)
        self._linked = {gid for gid, _ in linked}
        rows = [r for r in linked if self._bound.possible(r[1])]
        there = stored_now(self._session, self._bound, [key for _, key in rows]) if rows else {}
        return {gid: key for gid, key in rows if key in there}

    def _withdraw(self, items: Sequence[New]) -> None:
        """Who does not insert claims nothing."""
        rows = {
            row
            for item in items
            if item.outcome is not None
            for pair in item.write.links
            if (row := Crosswalk(self._bound.entity, item.write.gid, *pair)) in self._claimed
        }
        if rows:
            self._links.remove(rows)

    def _guard(self, items: Sequence[New]) -> None:
        """A row that matches now stops the insert: people may have made it since the merge. An archived one counts as
        gone and stops nobody."""
        hits: dict[int, dict[Key, None]] = {}
        for rule in dict.fromkeys(rule for item in items for rule in item.write.guard):
            asking = [(i, tuple(i.write.values.get(f) for f in rule)) for i in items if rule in i.write.guard]
            asking = [(i, wanted) for i, wanted in asking if None not in wanted]
            found = matches(self._session, self._bound, rule, [wanted for _, wanted in asking])
            for (item, wanted), rows in zip(asking, found, strict=True):
                same = [k for k, r in rows if not r.archived and self._values(rule, r) == wanted]
                hits.setdefault(item.index, {}).update(dict.fromkeys(same))
        stopped = [item for item in items if hits.get(item.index)]
        for item in stopped:
            item.outcome = Outcome(Landing.EXISTS, found=tuple(hits[item.index]))
        self._withdraw(stopped)

    def _values(self, rule: Sequence[int], reading: Reading) -> tuple[Value, ...]:
        values: list[Value] = []
        for i in rule:
            decode = self._bound.decoders[i]
            try:
                values.append(decode(reading.raws[i]) if decode else None)
            except ValueError:
                values.append(None)  # what does not convert is equal to nothing
        return tuple(values)

    # --- what is written ---------------------------------------------------------------------------------------------

    def _fill(self, items: Sequence[New]) -> None:
        """A field's value comes before a constant, a constant before a made key."""
        encoding: dict[tuple[int, ...], tuple[list[Encoder], list[Column]]] = {}
        for item in items:
            fields = tuple(sorted(item.write.values))
            if fields not in encoding:
                encoding[fields] = encoders(self._session, self._bound, fields), [self._bound.column(i) for i in fields]
            encode, columns = encoding[fields]
            for column, text in zip(columns, encoded(encode, item.write, fields), strict=True):
                if text is not None or column.nullable or not column.has_default:
                    item.cells[column.name] = text
        self._keys(items)

    def _keys(self, items: Sequence[New]) -> None:
        columns, rule = self._bound.table.key, self._bound.table.new_key
        for item in items:
            key = item.write.key
            if key is None and rule == "copy":
                key = next((k for system, k in item.write.links if system != self._system), None)
                if key is None:
                    raise Refused("there is no key to copy: the record has no row in another system")
            if key is not None:
                item.cells |= dict(zip([c.name for c in columns], self._params(key), strict=True))
        for column in columns:
            missing = [i for i in items if i.cells.get(column.name) is None]
            if not missing:
                continue
            if rule == "uuid" and column.name not in self._constants:
                made: list[str | None] = [_uuid(column) for _ in missing]
            else:
                made = self._made(column, len(missing))
            for item, text in zip(missing, made, strict=False):
                item.cells[column.name] = text

    def _params(self, key: Key) -> tuple[str, ...]:
        try:
            return params(self._bound.table.key, key, POSTGRESQL)
        except ValueError as error:
            raise Refused(str(error), "correct new_key in the mapping") from None

    def _made(self, column: Column, count: int) -> list[str | None]:
        """So many new values for a key column, asked of the database at once. [] where only the row itself tells."""
        text = self._constants.get(column.name) or expression(self._bound.table.new_key)
        text = text or self._bound.key_default(column.name, self._session)
        if text is None:
            return []
        # Not in a subquery of its own: that would be evaluated once for all.
        rows = self._session.raw(f"SELECT ({text})::text FROM generate_series(1, {count})")
        if any(row[0] is None for row in rows):
            raise Refused("the new key is empty", "correct new_key in the mapping")
        return [row[0] for row in rows]

    # --- the rows themselves -----------------------------------------------------------------------------------------

    def _insert(self, items: Sequence[New]) -> None:
        groups: dict[tuple[str, ...], list[New]] = {}
        for item in items:
            groups.setdefault(tuple(sorted(item.cells)), []).append(item)
        for columns, members in groups.items():
            if all(c.name in columns for c in self._bound.table.key):
                self._together(columns, members)
            else:
                for item in members:
                    self._together(columns, [item])
        entity = self._bound.entity
        keys = {i.index: i.outcome.key for i in items if i.outcome is not None}
        gone = {i.write.gid for i in items} & self._linked
        if gone:  # links to rows that these records had here before
            self._links.cut(entity, self._system, gone)
        self._links.take([Crosswalk(entity, i.write.gid, self._system, keys[i.index] or "") for i in items])

    def _together(self, columns: Sequence[str], items: Sequence[New]) -> None:
        stored = self._stored(columns, items)
        if len(stored) < len(items):
            raise Refused(NO_ROW, "look at the triggers of the table")
        if len(items) == 1:
            tied = {items[0].index: next(iter(stored))}
        else:
            tied = {i.index: self._bound.key([i.cells[c.name] for c in self._bound.table.key]) for i in items}
        if any(key not in stored for key in tied.values()):
            raise Refused("the table's own triggers change the keys of new rows")  # bisected: one by one it is clear
        if self._noisy:
            stored |= stored_now(self._session, self._bound, list(stored))
        for item in items:
            key = tied[item.index]
            item.outcome = Outcome(Landing.LANDED, key, after=stored[key])

    def _stored(self, columns: Sequence[str], items: Sequence[New]) -> dict[Key, Raws]:
        bound = self._bound
        constants = {n: v for n, v in self._constants.items() if n not in columns}
        names = [f"accord_c{n}" for n in range(len(columns))]
        given = [cast(f"s.{n}", bound.table.info.columns[c]) for n, c in zip(names, columns, strict=True)]
        into = ", ".join(quote(n) for n in (*columns, *constants))
        # Without a single array there would be no row: the ordinal's array always counts them.
        source = unnest(["accord_r", *names])
        overriding = " OVERRIDING SYSTEM VALUE" if bound.identity_always(self._session) else ""
        values = ", ".join([*given, *constants.values()])
        text = f"({into}){overriding} SELECT {values} FROM {source}" if into else "DEFAULT VALUES"
        arrays = [array([""] * len(items)), *(array([i.cells[c] for i in items]) for c in columns)]
        rows = self._session.raw(
            f"INSERT INTO {bound.name} AS t {text} RETURNING {bound.keys}, {bound.raws}", arrays if into else []
        )
        return {bound.key(row): bound.spread(row[bound.width :]) for row in rows}


def _open(items: Sequence[New]) -> list[New]:
    return [item for item in items if item.outcome is None]


def _uuid(column: Column) -> str:
    """As the column has room for: 16 bytes, 32 digits, or 36 characters."""
    made = uuid.uuid4()
    if column.kind == "bytes":
        return "\\x" + made.hex
    return made.hex if column.length == 32 else str(made)
