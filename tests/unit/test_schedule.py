"""Schedules: the next time behind a moment, whether it is still to come or was missed."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agent.schedule import following
from config.values import read_schedule

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("schedule", "after", "found"),
    [
        ("daily 03:00", "2026-11-24T02:59:59", "2026-11-24T03:00:00"),
        ("daily 03:00", "2026-11-24T03:00:00", "2026-11-25T03:00:00"),
        ("daily 23:30", "2026-12-31T23:31:00", "2027-01-01T23:30:00"),
        ("weekly sunday 03:00", "2026-11-24T12:00:00", "2026-11-29T03:00:00"),
        ("weekly tuesday 00:05", "2026-11-24T00:05:00", "2026-12-01T00:05:00"),
        ("hourly", "2026-11-24T12:00:01", "2026-11-24T13:00:00"),
        ("daily 02:30", "2026-03-28T12:00:00", "2026-03-29T03:30:00"),  # the clock has no 02:30 on that day
    ],
)
def test_the_first_time_behind_a_moment(schedule: str, after: str, found: str) -> None:
    assert following(read_schedule(schedule), at(after), BERLIN) == at(found)


def test_off_is_never() -> None:
    assert following("off", at("2026-11-24T12:00:00"), BERLIN) is None


@pytest.mark.parametrize(
    "value", ["daily", "daily 3:00", "daily 24:00", "weekly 03:00", "weekly sun 03:00", "", 3, None]
)
def test_what_is_no_schedule(value: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_schedule(value)
