"""The merge of one record: which value is agreed, field by field, and what each system stands for. Pure.

All systems are judged together, against the version as it was when the round began (MODEL A7). A *unit* is a field,
or a group of fields that are merged as one value. Per unit, in this order:

    in review               frozen, unless the systems agree by now or a person has chosen
    sum                     the version plus what every system added
    holds                   the reading is the image's stored form, or what the version becomes there: no change
    stale save              a value that Accord replaced there a while ago: restored once, reported
    owned by another        an override: journaled, restored or tolerated
    contenders              the changed values, and the version unless one of them knew it; several: the conflict rule

What is to be written follows from the result (`wanted`): where the image stands for another value than the version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2s
from typing import NamedTuple

from agent.values import Fit, json_value, show
from config.records import Entity, Field, Gid, Raw, Reading, Stamp, Table, Value
from state.ports import Frozen, Image, Journal, Record, Replaced, Review, Version

NEVER = -1  # Image.stamps: this field was never seen there
Unit = tuple[int, ...]
EASY = True  # a test switches the short way off and compares


class Side(NamedTuple):
    """One system's part in the merge of one record: it was read, and the row is alive."""

    table: Table
    rank: int  # place of the system in the configuration: breaks ties
    reading: Reading
    image: Image | None  # what it was last seen to hold; None at first contact
    changed: Mapping[int, Value]  # fields whose value differs from the image's stored form (no image: all)
    fits: tuple[Fit | None, ...]
    decode: Callable[[int, Raw], Value]  # a stored form to canonical (never asked for a ref)
    stale_window: int = 0  # µs; 0 = off

    @property
    def system(self) -> str:
        return self.table.system

    def based(self, unit: Unit) -> bool:
        """Has this unit been seen there before?"""
        return self.image is not None and all(self.image.stamps[i] != NEVER for i in unit)

    def value(self, unit: Unit) -> tuple[Value, ...]:
        """What the system holds now."""
        image = self.image
        return tuple(self.changed[i] if i in self.changed else image.values[i] if image else None for i in unit)

    def fit(self, unit: Unit, values: Sequence[Value]) -> tuple[Value, ...]:
        """What these agreed values become there."""
        return tuple(v if v is None or (f := self.fits[i]) is None else f(v) for i, v in zip(unit, values, strict=True))

    def has(self, unit: Unit) -> bool:
        columns = self.table.columns
        return columns[unit[0]] is not None or (len(unit) > 1 and any(columns[i] is not None for i in unit))


class Head(NamedTuple):
    """A contender: a changed value, or the version."""

    value: tuple[Value, ...]
    low: Stamp  # changed after this …
    high: Stamp  # … and up to this; equal when the time is known
    rank: int
    origin: str
    side: Side | None = None  # None: the version
    based: bool = True


@dataclass(slots=True)
class Merged:
    """What one merge decided. The record itself is changed by `settle_record` of the round, not here."""

    version: Version
    images: dict[str, Image]
    frozen_units: dict[str, Frozen] = field(default_factory=dict)
    frozen: set[int] = field(default_factory=set)  # fields in review: nothing of them is written
    accepted: set[str] = field(default_factory=set)  # systems of which an edit was accepted
    stale: dict[tuple[str, str], list[Replaced]] = field(default_factory=dict)  # lists that changed
    journal: list[Journal] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


class Rules(NamedTuple):
    """What the merge needs to know beside the record."""

    now: Stamp
    tolerance: int  # µs: edits this close are simultaneous
    ranks: Mapping[str, int]  # system -> place


def review_id(*parts: str) -> str:
    """A short, stable id: the same question asked again is the same item."""
    return blake2s("\x1f".join(parts).encode(), digest_size=4).hexdigest()


def merge(entity: Entity, record: Record, sides: Sequence[Side], rules: Rules, unread: Collection[int] = ()) -> Merged:
    """Merge what the systems hold now into the agreed record. Fields in `unread` are left as they were everywhere."""
    return _Merge(entity, record, sides, rules).run(unread)


def edit_time(side: Side, unit: Unit, based: bool, rules: Rules) -> tuple[Stamp, Stamp]:
    """When the system changed the unit: exact where the change log has it, else only an interval is known."""
    image = side.image
    if image is None or not based:
        return time_of(side.reading, unit, 0, None, rules)
    return time_of(side.reading, unit, image.seen, max(image.stamps[i] for i in unit), rules)


def time_of(reading: Reading, unit: Unit, seen: Stamp, floor: Stamp | None, rules: Rules) -> tuple[Stamp, Stamp]:
    """The same, from when the row was `seen` before, and the stamp of what it stood for then (None: nothing)."""
    times = [reading.times[i] for i in unit if i in reading.times] if reading.times else None
    if times:
        low = high = max(times)
    else:
        modified = reading.modified
        high = modified if modified is not None and modified > seen else rules.now
        low = min(seen, high)
    if floor is not None:  # an edit follows what it had seen, whatever the clocks say (I6)
        low, high = max(low, floor + rules.tolerance), max(high, floor + rules.tolerance)
    return low, high


def one_edit(entity: Entity, record: Record, sides: Sequence[Side], rules: Rules) -> Merged | None:
    """By far the most frequent merge: all held the agreed record, and one system has changed some fields of it.

    None when it is anything else; then `merge` decides. Both give the same result (a test compares them).
    """
    version = record.version
    if version is None or record.frozen or len(entity.units) != len(entity.fields) or not EASY:
        return None
    editor: Side | None = None
    for side in sides:
        image = side.image
        if image is None or image.stamps != version.stamps or image.values != version.values:
            return None
        if side.changed:
            if editor is not None:
                return None
            editor = side
        elif side.reading.raws != image.raws:
            return None
    if editor is None or editor.stale_window:
        return None
    for i, value in editor.changed.items():
        spec = entity.fields[i]
        if spec.conflict == "sum" or value == version.values[i] or not version.origins[i]:
            return None
        if spec.owner is not None and spec.owner != editor.system:
            return None
        if any(s.fits[i] is not None for s in sides):
            return None
    return _one_edit(entity, record, version, editor, sides, rules)


def _one_edit(
    entity: Entity, record: Record, version: Version, editor: Side, sides: Sequence[Side], rules: Rules
) -> Merged:
    values, stamps = list(version.values), list(version.stamps)
    origins, named = list(version.origins), list(version.rules)
    system = editor.system
    link = record.links.get(system)
    for i, value in editor.changed.items():
        values[i], origins[i] = value, system
        stamps[i] = edit_time(editor, (i,), True, rules)[1]
        owns = entity.fields[i].owner == system and link is not None and link.existence == "live"
        named[i] = f"owner {system}" if owns else "only change"
    new = Version(tuple(values), tuple(stamps), tuple(origins), tuple(named))
    images = {s.system: s.image for s in sides if s.image is not None}
    images[system] = Image(editor.reading.raws, new.values, new.stamps, rules.now)
    return Merged(new, images, accepted={system})


def wanted(entity: Entity, record: Record, image: Image, table: Table, frozen: set[int]) -> dict[int, Value]:
    """The fields that are to be written there: the image stands for another value than the agreed one (I4, I7).

    A group is one value: it is written, and compared, whole.
    """
    version = record.version
    if version is None or image.values == version.values:
        return {}
    out = {
        i: value
        for i, value in enumerate(version.values)
        if image.values[i] != value and table.columns[i] is not None and i not in frozen and version.origins[i]
    }
    if out and len(entity.units) < len(entity.fields):
        for unit in entity.units:
            if len(unit) > 1 and not out.keys().isdisjoint(unit):
                out |= {i: version.values[i] for i in unit if table.columns[i] is not None}
    return out


class _Merge:
    def __init__(self, entity: Entity, record: Record, sides: Sequence[Side], rules: Rules) -> None:
        n = len(entity.fields)
        old = record.version
        self.entity, self.record, self.sides, self.rules = entity, record, sides, rules
        self.values: list[Value] = list(old.values) if old else [None] * n
        self.stamps: list[Stamp] = list(old.stamps) if old else [0] * n
        self.origins: list[str] = list(old.origins) if old else [""] * n
        self.rule: list[str] = list(old.rules) if old else [""] * n
        self.stands: dict[str, list[Value]] = {s.system: list(s.image.values) if s.image else [None] * n for s in sides}
        self.stand_stamps = {s.system: list(s.image.stamps) if s.image else [NEVER] * n for s in sides}
        self.raws: dict[str, list[Raw]] = {s.system: list(s.reading.raws) for s in sides}
        self.spoken: set[tuple[str, int]] = set()  # (system, unit's first field): decided what the changed value is
        self.out = Merged(old or Version((), (), (), ()), {})

    def run(self, unread: Collection[int]) -> Merged:
        touched = {i for side in self.sides for i in side.changed}
        stale = any(s.image is not None and list(s.image.stamps) != self.stamps for s in self.sides)
        for unit in self.entity.units:
            if unread and not set(unit).isdisjoint(unread):
                self.keep_images(unit)
                if self.name(unit) in self.record.frozen:
                    self.out.frozen_units[self.name(unit)] = self.record.frozen[self.name(unit)]
            elif not touched.isdisjoint(unit) or self.name(unit) in self.record.frozen:
                self.unit(unit)
            elif stale:
                self.refresh(unit)
        self.out.version = Version(tuple(self.values), tuple(self.stamps), tuple(self.origins), tuple(self.rule))
        for side in self.sides:
            s = side.system
            for i, column in enumerate(side.table.columns):
                if column is None:  # no place there: nothing to hold, nothing to want
                    self.stands[s][i], self.stand_stamps[s][i] = self.values[i], self.stamps[i]
            self.out.images[s] = Image(
                tuple(self.raws[s]), tuple(self.stands[s]), tuple(self.stand_stamps[s]), self.rules.now
            )
        return self.out

    # --- one unit, in the order of the table above ----------------------------------------------------------------

    def unit(self, unit: Unit) -> None:
        spec = self.entity.fields[unit[0]]
        if len(unit) == 1 and EASY and self.easy(unit, spec):
            return
        if spec.conflict == "sum" and not spec.owner:
            self.sum(unit)
            return
        edits = self.edits(unit)
        if self.name(unit) in self.record.frozen and not self.thaw(unit, edits):
            return
        heads = self.contenders(unit, edits)
        owner = self.owner(unit)
        if owner is not None:
            heads = self.owned(unit, heads, owner)
        if not heads:
            self.pair(unit)
            return
        if len({h.value for h in heads}) > 1:
            winner, rule = self.conflict(unit, heads)
            if winner is None:
                self.freeze(unit, heads)
                return
            self.lost(unit, [h for h in heads if h.value != winner.value], winner, rule)
        else:
            winner = max(heads, key=lambda h: (h.high, -h.rank))
            rule = self.peaceful_rule(heads, owner)
        self.accept(unit, winner, rule, max(h.high for h in heads if h.value == winner.value))

    def easy(self, unit: Unit, spec: Field) -> bool:
        """The two most frequent cases, decided as the rules below would, without making contenders.

        One system changed a field whose agreed value it knew; or all that are seen for the first time say the same.
        """
        i = unit[0]
        if spec.conflict == "sum" or spec.name in self.record.frozen:
            return False
        changed = [s for s in self.sides if i in s.changed]
        side = changed[0]
        if not self.known(unit):
            value = side.changed[i]
            if any(s.changed[i] != value or s.based(unit) for s in changed):
                return False
            owner = self.owner(unit)
            says = [s for s in changed if s.system == owner] or changed
            heads = [self.head(unit, s) for s in says]
            first = max(heads, key=lambda h: (h.high, -h.rank))
            self.agree(i, value, first.high, first.origin, f"owner {owner}" if says is not changed else "first contact")
            stamp = first.high
            for s in changed:
                self.stands[s.system][i], self.stand_stamps[s.system][i] = value, stamp
            return True
        image = side.image
        if len(changed) > 1 or image is None or side.stale_window or any(s.fits[i] is not None for s in self.sides):
            return False
        if image.values[i] != self.values[i] or image.stamps[i] != self.stamps[i]:
            return False
        owner = self.owner(unit)
        if (owner is not None and owner != side.system) or side.changed[i] == self.values[i]:
            return False
        stamp = self.head(unit, side).high
        self.out.accepted.add(side.system)
        self.agree(i, side.changed[i], stamp, side.system, f"owner {owner}" if owner else "only change")
        self.stands[side.system][i], self.stand_stamps[side.system][i] = side.changed[i], stamp
        return True

    def agree(self, i: int, value: Value, stamp: Stamp, origin: str, rule: str) -> None:
        self.values[i], self.stamps[i], self.origins[i], self.rule[i] = value, stamp, origin, rule

    def edits(self, unit: Unit) -> list[Head]:
        """The systems whose value has changed and is not what the agreed one becomes there."""
        return [
            self.head(unit, side)
            for side in self.sides
            if not side.changed.keys().isdisjoint(unit) and side.has(unit) and not self.holds(unit, side)
        ]

    def head(self, unit: Unit, side: Side) -> Head:
        """The edit as a contender."""
        based = side.based(unit)
        low, high = edit_time(side, unit, based, self.rules)
        return Head(side.value(unit), low, high, side.rank, side.system, side, based)

    def holds(self, unit: Unit, side: Side) -> bool:
        return self.known(unit) and side.value(unit) == side.fit(unit, [self.values[i] for i in unit])

    def contenders(self, unit: Unit, edits: list[Head]) -> list[Head]:
        """The edits that count, and the version unless one of them knew it."""
        heads = [h for h in edits if not self.is_stale(unit, h)]
        if not heads:
            return []
        agreed = tuple(self.values[i] for i in unit)
        if self.known(unit) and not any(self.knew(unit, h) for h in heads):
            heads.append(self.version_head(unit))
        if any(not h.based for h in heads):  # without a base, empty loses to filled (MODEL A16), also the owner's
            filled = any(not _blank(h) for h in heads)
            heads = [h for h in heads if not _blank(h) or not filled or (h.based and h.side is not None)]
        fuller = [h for h in heads if not self.is_cut_form(unit, h, heads)]
        return [] if all(h.side is None and h.value == agreed for h in fuller) else fuller

    def is_cut_form(self, unit: Unit, head: Head, heads: list[Head]) -> bool:
        """Is this value, first seen now, only what another contender's becomes there (MODEL A12)?"""
        side = head.side
        if side is None or head.based:
            return False
        return any(o.value != head.value and side.fit(unit, o.value) == head.value for o in heads)

    def is_stale(self, unit: Unit, head: Head) -> bool:
        """A value that Accord replaced there within the window: no contender, once (MODEL A11)."""
        side = head.side
        if side is None or not side.stale_window or not head.based or len(unit) > 1:
            return False
        i = unit[0]
        spec = self.entity.fields[i]
        if spec.type == "bool" and len(side.changed) < 2:
            return False  # a lone step back of a flag is an undo
        place = (side.system, spec.name)
        listed = [r for r in self.record.stale.get(place, ()) if r.at >= self.rules.now - side.stale_window]
        hit = next((r for r in listed if r.raw == side.reading.raws[i]), None)
        if hit is None:
            return False
        if hit.restored:
            self.out.stale[place] = []
            self.note("entered again", unit, head, self.values[i], head.value[0], "entered again")
            return False
        self.out.stale[place] = [r._replace(restored=True) if r is hit else r for r in listed]
        self.note("stale", unit, head, head.value[0], self.values[i], "stale save")
        self.spoken.add((side.system, i))
        self.stand_for_itself(unit, side, head.high)
        return True

    def owned(self, unit: Unit, heads: list[Head], owner: str) -> list[Head]:
        """The owner's value stands; what others changed are overrides."""
        mine = [h for h in heads if h.origin == owner and h.side is not None]
        others = [h for h in heads if h.origin != owner and h.side is not None]
        if not mine and (not self.known(unit) or not any(h.based for h in others)):
            if any(h.side is None and h.origin for h in heads) and others:
                mine = [h for h in heads if h.side is None]  # joining: the version stands for the owner
            else:
                return heads
        agreed = mine[0].value if mine else tuple(self.values[i] for i in unit)
        for h in others:
            assert h.side is not None
            if h.value == agreed:
                continue
            for i, was, now in zip(unit, h.value, agreed, strict=True):
                self.line("override", h.origin, i, was, now, f"owner {owner}", owner, h.high)
            if self.entity.fields[unit[0]].override == "tolerate" and h.based:
                self.stand(unit, h.side, [self.values[i] for i in unit], [self.stamps[i] for i in unit])
            else:
                self.stand_for_itself(unit, h.side, h.high)
            self.spoken.add((h.origin, unit[0]))
        return [h for h in mine if h.side is not None]

    def conflict(self, unit: Unit, heads: list[Head]) -> tuple[Head | None, str]:
        """Several values, none of whose authors had seen another's: by the rule, or None = a person decides."""
        rule = self.entity.fields[unit[0]].conflict
        if rule == "review":
            return None, rule
        if rule.startswith("prefer:"):
            preferred = [h for h in heads if h.origin == rule[7:]]
            if preferred:
                return preferred[0], rule
        return self.latest(heads)

    def latest(self, heads: list[Head]) -> tuple[Head, str]:
        """A total order: (time in steps of the tolerance, then the order of the systems)."""
        step = max(self.rules.tolerance, 1)
        best = max(heads, key=lambda h: (h.high // step, -h.rank))
        tied = [h for h in heads if h.high // step >= best.low // step]
        winner = min(tied, key=lambda h: (h.rank, -h.high))
        exact = all(h.low == h.high for h in tied)
        return winner, "latest" if exact else "latest, time uncertain" if len(tied) > 1 else "latest"

    # --- what follows from a decision -----------------------------------------------------------------------------

    def accept(self, unit: Unit, winner: Head, rule: str, stamp: Stamp) -> None:
        """The winner's value is the agreed one from now on."""
        if winner.side is not None:
            before = tuple(self.values[i] for i in unit)
            if winner.based:
                self.out.accepted.add(winner.origin)
            if self.known(unit) and winner.side.fit(unit, before) != before and winner.based:
                self.note("narrowed", unit, winner, before[0], winner.value[0], rule)
            for i, value in zip(unit, winner.value, strict=True):
                self.agree(i, value, stamp, winner.origin, rule)
        self.pair(unit)

    def pair(self, unit: Unit) -> None:
        """Say for each system that was read what its stored form stands for now."""
        agreed = [self.values[i] for i in unit]
        stamps = [self.stamps[i] for i in unit]
        for side in self.sides:
            if not side.has(unit):
                continue
            changed = not side.changed.keys().isdisjoint(unit)
            if changed:
                if side.value(unit) == side.fit(unit, agreed):
                    self.stand(unit, side, agreed, stamps)
                elif (side.system, unit[0]) not in self.spoken:
                    self.stand_for_itself(unit, side, self.head(unit, side).high)
            elif side.image is not None and [side.image.values[i] for i in unit] != agreed:
                if self.same_form(unit, side, agreed):
                    self.stand(unit, side, agreed, stamps)
            elif side.based(unit):
                self.stand(unit, side, agreed, stamps)

    def same_form(self, unit: Unit, side: Side, agreed: list[Value]) -> bool:
        """Does the stored form stay as it is under the new value (a lossy column)? Then there is nothing to write."""
        if not side.based(unit) or any(self.entity.fields[i].ref for i in unit):
            return False
        if all(side.fits[i] is None for i in unit):
            return False
        try:
            held = tuple(side.decode(i, side.reading.raws[i]) for i in unit)
        except ValueError:
            return False
        return held == side.fit(unit, agreed)

    def refresh(self, unit: Unit) -> None:
        """Nothing changed: a system that holds the agreed value has seen its newest stamp."""
        for side in self.sides:
            stands, stamps = self.stands[side.system], self.stand_stamps[side.system]
            for i in unit:
                if stamps[i] != self.stamps[i] and stamps[i] != NEVER and stands[i] == self.values[i]:
                    stamps[i] = self.stamps[i]

    def stand(self, unit: Unit, side: Side, values: Sequence[Value], stamps: Sequence[Stamp]) -> None:
        for i, value, stamp in zip(unit, values, stamps, strict=True):
            self.stands[side.system][i] = value
            self.stand_stamps[side.system][i] = stamp

    def stand_for_itself(self, unit: Unit, side: Side, at: Stamp) -> None:
        """The system holds a value that was not agreed: it differs from the version and will be written."""
        self.stand(unit, side, side.value(unit), [at] * len(unit))

    # --- sums -----------------------------------------------------------------------------------------------------

    def sum(self, unit: Unit) -> None:
        """The version plus, over all systems, reading minus the image's stored form (MODEL A9)."""
        i = unit[0]
        based = {side.system: self.added(i, side) for side in self.sides if side.has(unit) and side.based(unit)}
        first = [self.head(unit, s) for s in self.sides if i in s.changed and s.has(unit) and not s.based(unit)]
        total: Value = self.values[i]
        if any(based.values()):
            total = self.plus(i, total, *based.values())
        elif first and not self.known(unit):
            total = first[0].value[0]
        frozen = self.record.frozen.get(self.name(unit))
        if frozen is not None and frozen.choice is not None and self.may_choose(unit, frozen, first):
            self.choose_sum(unit, frozen, total)
            return
        # One seen there for the first time has added nothing: it may hold the sum, or what that was before.
        apart = [h for h in first if h.value[0] not in ((total, self.values[i]) if self.known(unit) else (total,))]
        if apart or (frozen is not None and self.unseen(unit, frozen)):
            self.freeze_sum(unit, first, total)
            return
        if frozen is not None:
            self.out.closed.append(frozen.review)
        self.count_in(i, based)
        if any(based.values()) or first:
            rule = "sum" if any(based.values()) else "first contact"
            self.agree(i, total, self.rules.now, "sum" if rule == "sum" else first[0].origin, rule)
        self.pair(unit)

    def added(self, i: int, side: Side, since: Raw | None = None) -> Decimal:
        """What was added there since the image (or another stored form) was read."""
        assert side.image is not None
        if i not in side.changed and since is None:
            return Decimal(0)
        before = side.image.raws[i] if since is None else since
        return _number(side.decode(i, side.reading.raws[i])) - _number(side.decode(i, before))

    def plus(self, i: int, base: Value, *deltas: Decimal) -> Value:
        total = sum(deltas, _number(base))
        return int(total) if self.entity.fields[i].type == "int" else total

    def count_in(self, i: int, based: Mapping[str, Decimal]) -> None:
        """What each system added stands in the journal, and is a change that was accepted."""
        for side in self.sides:
            if based.get(side.system):
                assert side.image is not None
                before, at = side.decode(i, side.image.raws[i]), self.head((i,), side).high
                self.out.accepted.add(side.system)
                self.line("sum", side.system, i, before, side.changed[i], "sum", side.system, at)

    def unseen(self, unit: Unit, frozen: Frozen) -> list[str]:
        """Systems without a base that the question is about and that cannot be read now."""
        read, images = {s.system for s in self.sides}, self.record.images
        absent = [s for s in frozen.values if s not in read and s in self.record.links]
        return [s for s in absent if s not in images or images[s].stamps[unit[0]] == NEVER]

    def may_choose(self, unit: Unit, frozen: Frozen, first: list[Head]) -> bool:
        """Are the systems without a base those that the person saw, and do they hold the same?"""
        now = {h.origin: (h.side.reading.raws[unit[0]],) for h in first if h.side is not None}
        return frozen.choice in frozen.values and all(frozen.raws.get(s) == raws for s, raws in now.items())

    def choose_sum(self, unit: Unit, frozen: Frozen, total: Value) -> None:
        """A person has chosen what the counter stood at when it was asked; what was added since comes on top."""
        i, choice = unit[0], frozen.choice
        assert choice is not None
        held = self.record.images.get(choice)
        new, rule = total, f"person took {choice}"
        based = [s for s in self.sides if s.has(unit) and s.based(unit)]
        afresh = held is None or held.stamps[i] == NEVER  # else the person took what has been counted: all of it
        if afresh:
            asked = {s: raws[0] for s, raws in frozen.raws.items()}
            new = self.plus(i, frozen.values[choice][0], *(self.added(i, s, asked.get(s.system)) for s in based))
        else:
            self.count_in(i, {s.system: self.added(i, s) for s in based})
        for s, values in frozen.values.items():
            if values[0] != new:
                self.line("person", s, i, values[0], new, rule, choice, frozen.stamps[s])
        self.agree(i, new, self.rules.now, "person", rule)
        self.out.closed.append(frozen.review)
        waiting = self.unseen(unit, frozen)
        for s in frozen.values:
            if s in waiting or (afresh and s not in self.raws and s in self.record.links):
                self.remember(unit, s, frozen)
        self.pair(unit)

    def freeze_sum(self, unit: Unit, first: list[Head], total: Value) -> None:
        """Systems that say different things of a counter, and nothing tells what each has added: a person decides."""
        i, name = unit[0], self.name(unit)
        kept = self.record.frozen.get(name)
        absent = [s for s in kept.raws if s not in self.raws and s in self.record.links] if kept else []
        frozen = Frozen({}, {}, {}, review_id("conflict", self.entity.name, self.record.gid, name))
        for s in absent:
            assert kept is not None
            frozen.raws[s], frozen.values[s], frozen.stamps[s] = kept.raws[s], kept.values[s], kept.stamps[s]
        based = [s for s in self.sides if s.has(unit) and s.based(unit)]
        for side in [*based, *(h.side for h in first if h.side is not None)]:
            raw = side.reading.raws[i]
            frozen.raws[side.system], frozen.values[side.system] = (raw,), (side.decode(i, raw),)
            frozen.stamps[side.system] = self.head(unit, side).high
        shown = {h.origin: h.value for h in first}
        if kept is not None:
            shown |= {s: kept.values[s] for s in self.unseen(unit, kept)}
        if based and self.known(unit):
            origin = self.origins[i]
            shown[origin if origin in {s.system for s in based} else based[0].system] = (total,)
        self.out.closed = [other for other in self.out.closed if other != frozen.review]
        self.ask(unit, frozen, shown)

    # --- review ---------------------------------------------------------------------------------------------------

    def freeze(self, unit: Unit, heads: list[Head]) -> None:
        """A person decides: version and images of the unit stay as they were in all systems, nothing is written."""
        name = self.name(unit)
        sides = [h for h in heads if h.side is not None]
        id = review_id("conflict", self.entity.name, self.record.gid, name)
        kept = self.record.frozen.get(name)
        raws = dict(kept.raws) if kept else {}
        values = dict(kept.values) if kept else {}
        stamps = dict(kept.stamps) if kept else {}
        for h in sides:
            assert h.side is not None
            raws[h.origin] = tuple(h.side.reading.raws[i] for i in unit)
            values[h.origin], stamps[h.origin] = h.value, h.high
        agreed = next((h for h in heads if h.side is None), None)
        holder = self.holder(unit, [h.origin for h in sides], kept) if agreed is not None else None
        if agreed is not None and holder is not None:  # a party to the conflict: a system that holds it says it
            raws[holder] = self.held(unit, holder, kept)
            values[holder], stamps[holder] = agreed.value, agreed.high
        for side in self.sides:  # one that holds the agreed value again is no party any more
            if side.system in raws and side.system not in {holder, *(h.origin for h in sides)}:
                del raws[side.system], values[side.system], stamps[side.system]
        self.out.closed = [other for other in self.out.closed if other != id]
        self.ask(unit, Frozen(raws, values, stamps, id), values)

    def holder(self, unit: Unit, parties: Collection[str], kept: Frozen | None) -> str | None:
        """A system that holds the agreed value: where it came from, else the first; best one that was read."""
        agreed = tuple(self.values[i] for i in unit)
        here = [s.system for s in self.sides if s.has(unit) and s.value(unit) == s.fit(unit, agreed)]
        absent = [s for s in self.record.images if s not in self.raws and s in self.record.links]
        there = [s for s in absent if self.last_value(unit, s, kept) == agreed]
        found = [s for s in (*here, *sorted(there, key=self.rank)) if s not in parties]
        origin = self.origins[unit[0]]
        return origin if origin in found else next(iter(found), None)

    def last_value(self, unit: Unit, system: str, kept: Frozen | None) -> tuple[Value, ...] | None:
        """What a system that cannot be read stood for when it was last seen."""
        if kept is not None and system in kept.values:
            return kept.values[system]
        image = self.record.images[system]
        return None if NEVER in (image.stamps[i] for i in unit) else tuple(image.values[i] for i in unit)

    def held(self, unit: Unit, system: str, kept: Frozen | None) -> tuple[Raw, ...]:
        """The stored form there, as it is or as it was last seen."""
        if system not in self.raws and kept is not None and system in kept.raws:
            return kept.raws[system]
        raws = self.raws[system] if system in self.raws else self.record.images[system].raws
        return tuple(raws[i] for i in unit)

    def ask(self, unit: Unit, frozen: Frozen, values: Mapping[str, tuple[Value, ...]]) -> None:
        """Freeze the unit everywhere, and ask. `values`: what a person may take, by system."""
        name, id = self.name(unit), frozen.review
        self.out.frozen_units[name] = frozen
        self.keep_images(unit)
        shown = {s: [json_value(v) for v in vs] for s, vs in values.items()}
        agreed = [json_value(self.values[i]) for i in unit]
        said = ", ".join(f"{s} says {show(values[s][0])}" for s in sorted(values, key=self.rank))
        sums = self.entity.fields[unit[0]].conflict == "sum"
        what = "is counted differently, and nothing tells what was added" if sums else "was changed to different values"
        self.out.reviews.append(
            Review(
                id,
                "conflict",
                self.entity.name,
                self.record.gid,
                "",
                "",
                name,
                f"{name} {what}: {said}.",
                f"Choose with `accord review resolve {id} --take {'|'.join(sorted(values, key=self.rank))}`.",
                {"values": shown, "agreed": agreed, "fields": [self.entity.fields[i].name for i in unit]},
                self.rules.now,
            )
        )

    def thaw(self, unit: Unit, edits: list[Head]) -> bool:
        """A unit in review: may it be merged again? True when it left review; then it is merged as any other."""
        name = self.name(unit)
        frozen = self.record.frozen[name]
        read = {s.system for s in self.sides}
        absent = {s: v for s, v in frozen.values.items() if s not in read and s in self.record.links}
        if frozen.choice is not None and self.unchanged_since(unit, frozen, edits):
            self.choose(unit, frozen)
            return False
        values = {h.value for h in edits} | set(absent.values())
        if len(values) <= 1 and not absent:
            self.out.closed.append(frozen.review)
            return True
        unaware = not any(self.knew(unit, h) for h in edits) and not any(self.stood(unit, s) for s in absent)
        self.freeze(unit, [*edits, self.version_head(unit)] if unaware and self.known(unit) else edits)
        return False

    def stood(self, unit: Unit, system: str) -> bool:
        """Had a system that cannot be read been brought to the agreed value?"""
        image = self.record.images.get(system)
        return image is not None and all(
            image.values[i] == self.values[i] and image.stamps[i] == self.stamps[i] for i in unit
        )

    def unchanged_since(self, unit: Unit, frozen: Frozen, edits: list[Head]) -> bool:
        """Do the systems still hold what the person saw when choosing, and has no other been edited?"""
        if any(h.origin not in frozen.raws for h in edits):
            return False
        now = {s.system: tuple(s.reading.raws[i] for i in unit) for s in self.sides}
        return all(now.get(s, raws) == raws for s, raws in frozen.raws.items()) and frozen.choice in frozen.values

    def choose(self, unit: Unit, frozen: Frozen) -> None:
        """A person has chosen: the version comes from `person`, all images are what was read."""
        assert frozen.choice is not None
        chosen = frozen.values[frozen.choice]
        for s, value in frozen.values.items():
            for i, was, now in zip(unit, value, chosen, strict=True):
                if was != now:
                    self.line("person", s, i, was, now, f"person took {frozen.choice}", frozen.choice, frozen.stamps[s])
        for i, taken in zip(unit, chosen, strict=True):
            self.agree(i, taken, self.rules.now, "person", f"person took {frozen.choice}")
        self.out.closed.append(frozen.review)
        for side in self.sides:
            if side.has(unit) and not side.changed.keys().isdisjoint(unit):
                self.stand_for_itself(unit, side, self.rules.now - 1)
        for s in frozen.values:
            if s not in self.raws and s in self.record.links:
                self.remember(unit, s, frozen)
        self.pair(unit)

    def remember(self, unit: Unit, system: str, frozen: Frozen) -> None:
        """Of a system that cannot be read: what the person saw there is its image, so that the answer reaches it, too.

        If it is the same still when it is read again, it is written; if not, that is an edit made after the answer.
        """
        n = len(self.entity.fields)
        image = self.out.images.get(system) or self.record.images.get(system)
        image = image or Image((None,) * n, (None,) * n, (NEVER,) * n, 0)
        raws, values, stamps = list(image.raws), list(image.values), list(image.stamps)
        for i, raw, value in zip(unit, frozen.raws[system], frozen.values[system], strict=True):
            same = value == self.values[i]
            raws[i], values[i], stamps[i] = raw, value, self.stamps[i] if same else self.rules.now - 1
        self.out.images[system] = Image(tuple(raws), tuple(values), tuple(stamps), image.seen)

    def keep_images(self, unit: Unit) -> None:
        """The images of a frozen unit stay, so that each look compares the same edits again (MODEL A10)."""
        self.out.frozen.update(unit)
        for side in self.sides:
            for i in unit:
                s, image = side.system, side.image
                self.raws[s][i] = image.raws[i] if image else None
                self.stands[s][i] = image.values[i] if image else None
                self.stand_stamps[s][i] = image.stamps[i] if image else NEVER

    # --- small things ---------------------------------------------------------------------------------------------

    def name(self, unit: Unit) -> str:
        return self.entity.fields[unit[0]].name

    def rank(self, system: str) -> int:
        return self.rules.ranks.get(system, -1)

    def known(self, unit: Unit) -> bool:
        """Has a value been agreed?"""
        return self.record.version is not None and bool(self.record.version.origins[unit[0]])

    def knew(self, unit: Unit, head: Head) -> bool:
        """Had its author seen the agreed value? Its image stood for it (I6)."""
        image = head.side.image if head.side else None
        if image is None or not head.based:
            return False
        return all(image.values[i] == self.values[i] and image.stamps[i] == self.stamps[i] for i in unit)

    def version_head(self, unit: Unit) -> Head:
        stamp = max(self.stamps[i] for i in unit)
        origin = self.origins[unit[0]]
        return Head(tuple(self.values[i] for i in unit), stamp, stamp, self.rank(origin), origin)

    def owner(self, unit: Unit) -> str | None:
        """The system that owns the unit: it counts only while it holds the record."""
        owner = self.entity.fields[unit[0]].owner
        link = self.record.links.get(owner) if owner else None
        return owner if link is not None and link.existence == "live" else None

    def peaceful_rule(self, heads: list[Head], owner: str | None) -> str:
        if owner is not None and all(h.origin == owner for h in heads):
            return f"owner {owner}"
        if not any(h.based for h in heads if h.side is not None):
            return "first contact"
        return "only change" if len([h for h in heads if h.side]) == 1 else "same change"

    def lost(self, unit: Unit, losers: list[Head], winner: Head, rule: str) -> None:
        """Every value that people entered and that loses stands in the journal with the rule (I5)."""
        for h in losers:
            for i, was, now in zip(unit, h.value, winner.value, strict=True):
                if was != now:
                    self.line("conflict", h.origin, i, was, now, rule, winner.origin, h.high)

    def note(self, action: str, unit: Unit, head: Head, before: Value, after: Value, rule: str) -> None:
        self.line(action, head.origin, unit[0], before, after, rule, head.origin, head.high)

    def line(
        self, action: str, system: str, i: int, before: Value, after: Value, rule: str, origin: str, at: Stamp
    ) -> None:
        name = self.entity.fields[i].name
        gid: Gid = self.record.gid
        self.out.journal.append(Journal(self.entity.name, gid, action, system, name, before, after, rule, origin, at))


def _blank(head: Head) -> bool:
    return all(v is None for v in head.value)


def _number(value: Value) -> Decimal:
    return Decimal(0) if value is None else value if isinstance(value, Decimal) else Decimal(str(value))
