"""Local times of day, which go back by an hour once a year."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from adapters.convert import EPOCH
from config.records import Stamp

LEAST = EPOCH + timedelta(days=366)  # so that no zone leads out of the calendar
BACK = timedelta(hours=2)  # no zone is set back by more


def lowest(at: Stamp, zone: tzinfo) -> datetime:
    """The lowest local time that a clock of this zone shows at this moment or at any later one.

    Before the clocks go back this is the hour that comes twice: it will be shown again.
    """
    moment = max(LEAST, EPOCH + timedelta(microseconds=at))
    now, soon = moment.astimezone(zone), (moment + BACK).astimezone(zone)
    back = max(timedelta(), (now.utcoffset() or timedelta()) - (soon.utcoffset() or timedelta()))
    return (now - back).replace(fold=0)
