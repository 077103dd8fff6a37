"""When something is to be done by the clock of this machine: "daily 03:00"."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

from apscheduler.triggers.cron import CronTrigger

from config.records import Stamp


@lru_cache(maxsize=64)
def _trigger(schedule: str, zone: tzinfo | None) -> Any:
    word, _, rest = schedule.partition(" ")
    day, _, time = rest.rpartition(" ")
    hour, _, minute = time.partition(":")
    if word == "hourly":
        return CronTrigger(minute=0, timezone=zone)
    return CronTrigger(day_of_week=day[:3] or None, hour=int(hour), minute=int(minute), timezone=zone)


def following(schedule: str, after: Stamp, zone: tzinfo | None = None) -> Stamp | None:
    """The first moment behind `after` that the schedule names, which may be past: then it was missed. None: "off".

    `zone`: of the times of day; None = this machine's.
    """
    if schedule == "off":
        return None
    begin = datetime.fromtimestamp(after // 1_000_000 + 1, UTC)
    found = _trigger(schedule, zone).get_next_fire_time(None, begin)
    return None if found is None else int(found.timestamp()) * 1_000_000
