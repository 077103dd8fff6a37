"""What was open at a look: how far a watermark may go, and from where it has to read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from adapters import horizon
from adapters.horizon import HOUR, SECOND, SLACK, Look, Open
from adapters.local import lowest


def look(clock: int, late: bool = False, **starts: int) -> Look:
    return Look(clock, {name: Open(since, name, late) for name, since in starts.items()})


def test_the_oldest_open_transaction_holds_the_watermark() -> None:
    assert horizon.bound(look(100 * SECOND), 0) == 100 * SECOND - SLACK
    assert horizon.bound(look(100 * SECOND, a=90 * SECOND, b=40 * SECOND), 5 * SECOND) == 35 * SECOND - SLACK


def test_what_stays_open_has_committed_nothing() -> None:
    before = look(100 * SECOND, long=10 * SECOND, short=98 * SECOND)
    assert horizon.since(before, look(101 * SECOND, long=10 * SECOND), 0) == 98 * SECOND - SLACK
    assert horizon.since(before, look(101 * SECOND, **{k: o.since for k, o in before.open.items()}), 0) == (
        100 * SECOND - SLACK
    )
    assert horizon.since(before, look(101 * SECOND), 0) == 10 * SECOND - SLACK


def test_a_transaction_noticed_late_began_no_earlier_than_the_look_before() -> None:
    found = horizon.follow(look(100), None, look(200, late=True, new=190))
    assert found.open["new"].since == 100
    again = horizon.follow(found, None, look(300, late=True, new=190))
    assert again.open["new"].since == 100  # and stays so


def test_a_session_that_has_prepared_its_transaction_is_still_that_transaction() -> None:
    found = horizon.follow(look(100, session=50), None, look(200, late=True, prepared=190))
    assert found.open["prepared"].since == 50


def test_one_prepared_transaction_after_the_other_holds_nothing_for_ever() -> None:
    now = horizon.follow(look(100, session=50), None, look(200, late=True, first=190))
    now = horizon.follow(now, None, look(300, late=True, second=290))
    assert now.open["second"].since == 200


def test_what_is_open_at_the_first_look() -> None:
    """It began no earlier than what an earlier process knew; else it is taken to have begun an hour before."""
    now = look(2 * HOUR, late=True, old=2 * HOUR - 1)
    assert horizon.follow(None, 77, now).open["old"].since == 77
    assert horizon.follow(None, None, now).open["old"].since == HOUR - 1
    assert horizon.follow(None, 77, look(100, exact=90)).open["exact"].since == 90


def test_when_all_can_be_seen_again_what_was_committed_unseen_is_read() -> None:
    blind = look(0)._replace(assumed="unseen")
    first = horizon.follow(None, None, blind._replace(clock=2 * HOUR))
    assert horizon.bound(first, 0) == 2 * HOUR - SLACK  # the position goes on
    second = horizon.follow(first, None, blind._replace(clock=3 * HOUR))
    assert horizon.since(first, second, 0) == 2 * HOUR - SLACK
    third = horizon.follow(second, None, look(4 * HOUR))
    assert horizon.since(second, third, 0) == HOUR - SLACK
    again = horizon.follow(third, None, blind._replace(clock=5 * HOUR))
    assert horizon.since(again, horizon.follow(again, None, look(6 * HOUR)), 0) == 4 * HOUR - SLACK


def test_people_read_when_it_began_not_since_when_it_is_looked_for() -> None:
    """MariaDB tells a transaction's start to the second, and when it was noticed; what was known before is safe."""
    first = horizon.follow(None, 10 * SECOND, look(100 * SECOND, late=True, a=58 * SECOND))
    then = horizon.follow(first, None, look(110 * SECOND, late=True, a=58 * SECOND))
    for found, span in ((first, "42 s"), (then, "52 s")):
        assert horizon.complete(found, 0, 0) == (10 * SECOND - SLACK, "", f"a, open for {span}")


def test_what_people_read() -> None:
    found = horizon.complete(look(100 * SECOND, a=58 * SECOND), 5 * SECOND, 3 * SECOND)
    assert found == (48 * SECOND, "", "a, open for 42 s")
    assert horizon.complete(Look(100 * SECOND, {}, "unseen"), 0, 0, "late") == (98 * SECOND, "unseen; late", "")
    assert [horizon.span(s * SECOND) for s in (0, 119, 120, 7200, 172_800)] == [
        "0 s",
        "119 s",
        "2 min",
        "2 h",
        "2 days",
    ]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kolkata"])
def test_no_later_moment_shows_a_lower_local_time(zone: str) -> None:
    """Through a whole year, so through the hour that comes twice."""
    info = ZoneInfo(zone)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    steps = [begin + timedelta(minutes=10 * n) for n in range(6 * 24 * 366)]
    shown = [moment.astimezone(info).replace(tzinfo=None) for moment in steps]
    least = shown[-1]
    for moment, local in zip(reversed(steps), reversed(shown), strict=True):
        least = min(least, local)
        found = lowest(int(moment.timestamp()) * SECOND, info).replace(tzinfo=None)
        assert found <= least and local - found <= timedelta(hours=1)
