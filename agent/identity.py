"""Who is who: which record an unknown row belongs to. Pure.

The crosswalk has been asked before; here the match rules decide, for all unknown rows of a round together. Rules are
tried in order; the first that hits any row decides. Hits are counted over linked and unlinked rows, by record
(MODEL A4): *link* only if exactly one record is hit, it has no live row in the asking system, and the hit, matched
back, sees only the asking row. No hit: *create*. Else a person decides. A rule with a blank in it does not match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

from config.records import Gid, Key, Value

Hashes = tuple[bytes | None, ...]
"""One per match rule of the entity; None where a field of the rule is blank."""


class Row(NamedTuple):
    """One row of one system."""

    system: str
    key: Key


class Verdict(NamedTuple):
    """What becomes of an unknown row."""

    kind: str  # "link" (to `gid`), "join" (with the unlinked `rows`), "create", "ambiguous", "duplicate"
    gid: Gid | None = None
    rows: tuple[Row, ...] = ()  # join: the other rows; ambiguous, duplicate: the candidates
    rule: int = -1


CREATE = Verdict("create")


def match_hash(values: Sequence[Value]) -> bytes | None:
    """A match value as the index stores it; None if a part of it is blank."""
    if any(v is None for v in values):
        return None
    return blake2b("\x1f".join(_text(v) for v in values).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def hashes(rules: Iterable[tuple[int, ...]], value: Callable[[int], Value]) -> Hashes:
    """The match values of one row, by rule."""
    return tuple(match_hash([value(i) for i in rule]) for rule in rules)


def _text(value: Value) -> str:
    if isinstance(value, Decimal):
        return "n" + format(value.normalize(), "f")
    if isinstance(value, bool):
        return f"b{value:d}"
    if isinstance(value, int):
        return f"n{value}"
    if isinstance(value, (date, datetime)):
        return "d" + value.isoformat()
    return "x" + value.hex() if isinstance(value, bytes) else "t" + str(value)


class Index(NamedTuple):
    """The match index as of this round: what the state holds, with this round's readings in its place."""

    hits: Callable[[int, bytes], Sequence[tuple[Row, Gid | None]]]  # rows with this value, gone rows left out
    hashes: Callable[[Row], Hashes | None]  # a row's own match values; None if it was not read in this round
    live: Callable[[Gid, str], bool]  # has the record a live row in that system (one that is not gone now)?


def resolve(row: Row, index: Index) -> Verdict:
    """What one unknown row is. Every answer depends on the index alone, not on the order of asking."""
    own = index.hashes(row) or ()
    for rule, value in enumerate(own):
        if value is None:
            continue
        others = [(r, gid) for r, gid in index.hits(rule, value) if r != row]
        if others:
            return _judge(row, rule, others, index)
    return CREATE


def _judge(row: Row, rule: int, others: list[tuple[Row, Gid | None]], index: Index) -> Verdict:
    candidates = tuple(sorted(r for r, _ in others))
    gids = {gid for _, gid in others if gid is not None}
    if any(gid is not None and index.live(gid, row.system) for gid in gids):
        return Verdict("duplicate", rows=candidates, rule=rule)
    loose = [r for r, gid in others if gid is None]
    if any(r.system == row.system for r in loose) or len(gids) > 1 or (gids and loose):
        return Verdict("ambiguous", rows=candidates, rule=rule)
    if len({r.system for r in loose}) < len(loose):
        return Verdict("ambiguous", rows=candidates, rule=rule)
    if not all(_sees_only(r, row, {*loose, row}, gids, index) for r, _ in others):
        return Verdict("ambiguous", rows=candidates, rule=rule)
    if gids:
        return Verdict("link", gid=next(iter(gids)), rows=candidates, rule=rule)
    return Verdict("join", rows=candidates, rule=rule)


def _sees_only(hit: Row, asking: Row, group: set[Row], gids: set[Gid], index: Index) -> bool:
    """Matched back by its own first rule that hits the asking system, does it see the asking row alone there?"""
    for rule, value in enumerate(index.hashes(hit) or ()):
        if value is None:
            continue
        back = [(r, g) for r, g in index.hits(rule, value) if r != hit and (g is None or g not in gids)]
        if any(r.system == asking.system for r, _ in back):
            return {r for r, _ in back if r.system == asking.system} == {asking} and all(r in group for r, _ in back)
    return False


def rule_name(rules: Sequence[tuple[int, ...]], rule: int, names: Sequence[str]) -> str:
    """For people: `match email`, `match name+country`."""
    return "match " + "+".join(names[i] for i in rules[rule]) if rule >= 0 else "crosswalk"


def tie_break(gids: Mapping[Gid, object]) -> Gid:
    """Of several identities for one record the lower stays."""
    return min(gids)
