"""Sweeps as they stand in the state: those that were asked for, and the last one of each entity and system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from agent.schedule import following
from config.records import Key, Stamp

T = TypeVar("T")

ROWS, LINKS = "rows", "links"


@dataclass(frozen=True, slots=True)
class Sweep:
    """One entity in one system that is to be looked at whole, and how far this has come."""

    entity: str
    system: str
    reason: str  # in plain words
    asked: Stamp
    gap: bool = False  # capture may have missed something: until the end it is not complete
    begun: Stamp | None = None
    total: int = 0  # rows in the table when it began
    part: str = ROWS
    after: Key | None = None  # the last key of that part that is done
    rows: int = 0  # compared so far
    found: int = 0  # of those looked at: changed, unknown or gone
    missing: Sequence[str] = ()  # systems: rows whose record is not there are looked at, too


@dataclass(frozen=True, slots=True)
class Swept:
    """The last sweep of one entity in one system that came to its end."""

    at: Stamp
    reason: str
    begun: Stamp
    rows: int
    found: int


def name(sweep: Sweep) -> str:
    """The named text that holds it."""
    return f"sweep:{sweep.entity}:{sweep.system}"


def dump(sweep: Sweep | Swept) -> str:
    return json.dumps(asdict(sweep), ensure_ascii=False)


def load(text: str | None, kind: type[T]) -> T | None:
    return kind(**json.loads(text)) if text else None


def told(meta: Mapping[str, str], entity: str, system: str, schedule: str, now: Stamp) -> dict[str, Any]:
    """For `accord status`: what runs, what was the last one, when is the next. `meta`: all named texts."""
    sweep = load(meta.get(f"sweep:{entity}:{system}"), Sweep)
    swept = load(meta.get(f"swept:{entity}:{system}"), Swept)
    since = swept.at if swept is not None else int(meta.get(f"unswept:{entity}:{system}", now))
    return {
        "running": None if sweep is None else _running(sweep, now, f"again:{entity}:{system}" in meta),
        "last": None if swept is None else _last(swept),
        "next": following(schedule, since),
    }


def _running(sweep: Sweep, now: Stamp, again: bool) -> dict[str, Any]:
    seconds = max(1.0, (now - sweep.begun) / 1e6) if sweep.begun else 1.0
    return {
        "reason": sweep.reason,
        "begun": sweep.begun,
        "rows": sweep.rows,
        "total": sweep.total,
        "found": sweep.found,
        "per_second": round(sweep.rows / seconds),
        "gap": sweep.gap or again,
    }


def _last(swept: Swept) -> dict[str, Any]:
    return {
        "at": swept.at,
        "reason": swept.reason,
        "rows": swept.rows,
        "found": swept.found,
        "seconds": round((swept.at - swept.begun) / 1e6, 1),
    }
