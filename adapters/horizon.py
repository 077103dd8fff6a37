"""What was open in a database when we looked: the proof that a watermark may move on, without any SQL.

A row is stamped by its transaction and seen when that commits, so what commits late is stamped before what was seen
long ago. But it is stamped no earlier than its transaction began. Every poll therefore first *looks* at what is open
and only then reads. A row that the reading does not see belongs to a transaction that was open at the look, and is
listed there with its start, or to one that began after it: its stamp lies at or above the smaller of the look's
clock and of the starts listed (`bound`). The order matters: what commits between a reading and a later look would be
neither seen nor listed.

The same argument says where the next poll has to read again (`since`): what comes into sight between two polls was
committed by a transaction that was open at the first look and is not any more at the second, or that began between
them. One that stays open has committed nothing: a dump that runs all night costs nothing until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from config.records import Complete, Stamp

SECOND = 1_000_000
HOUR = 3600 * SECOND
SLACK = 2 * SECOND
"""Comes off in any case: a stamp may be cut to the second, and a session reads its clock some moments before others
can see that its transaction has begun."""


class Open(NamedTuple):
    """A transaction that was open at a look."""

    since: Stamp  # its start, on the server's clock
    name: str  # in words: `session 4711 of shop`
    late: bool = False  # `since` is when it was first noticed: it began after the look before, or was open then
    shown: Stamp | None = None  # its start for people, where `since` is only what it cannot be earlier than


class Look(NamedTuple):
    """What was open, and when we looked: a moment before, on the server's clock (microseconds)."""

    clock: Stamp
    open: Mapping[str, Open] = {}  # by what names this very transaction for as long as it lasts
    assumed: str = ""  # why others could not be seen, and what to do about it; empty: all were seen
    version: int | None = None  # of the database's content: equal = nothing was committed between two looks
    unseen: Stamp | None = None  # since when not all could be seen; None: all can
    held: str = ""  # why there is no newer look


def follow(before: Look | None, floor: Stamp | None, now: Look) -> Look:
    """`now`, with the starts of what is `late` corrected by what was known before.

    It began after the look before; or it was listed there, perhaps as another thing (a session that has now prepared
    its transaction, a statement that has now opened one). `floor`: where there is no look before, what is open began
    no earlier than this; where that is not known either, it is taken to have begun an hour before it was noticed.
    """
    if now.assumed:
        began = now.clock - HOUR if before is None else before.clock
        now = now._replace(unseen=began if before is None or before.unseen is None else before.unseen)
    if before is None:
        first = {k: _not_after(o, o.since - HOUR if floor is None else floor) for k, o in now.open.items()}
        return now._replace(open=first)
    ended = [o.since for k, o in before.open.items() if k not in now.open and not o.late]
    corrected = {}
    for key, transaction in now.open.items():
        known = before.open.get(key)
        if known is not None:
            corrected[key] = _shown(transaction, min(transaction.since, known.since))
        else:
            corrected[key] = _not_after(transaction, min([before.clock, *ended]))
    return now._replace(open=corrected)


def _not_after(transaction: Open, since: Stamp) -> Open:
    return _shown(transaction, min(transaction.since, since)) if transaction.late else transaction


def _shown(transaction: Open, since: Stamp) -> Open:
    return transaction if since == transaction.since else transaction._replace(since=since, shown=transaction.since)


def oldest(look: Look) -> Open | None:
    """The open transaction that began first, if it holds anything back."""
    found = min(look.open.values(), default=None)
    return found if found is not None and found.since < look.clock else None


def bound(look: Look, overlap: int) -> Stamp:
    """No row that a reading after this look does not see is stamped below it. (Server's clock.)"""
    found = oldest(look)
    return (look.clock if found is None else found.since) - overlap - SLACK


def since(before: Look, now: Look, overlap: int) -> Stamp:
    """No row that has come into sight between these two looks is stamped below it. (Server's clock.)

    When all can be seen again, what was committed unseen is read, too. So is the last hour of a clock that was set
    back: what was stamped since lies below what the clock showed before.
    """
    ended = [o.since for key, o in before.open.items() if key not in now.open]
    if before.unseen is not None and now.unseen is None:
        ended.append(before.unseen)
    if now.clock < before.clock - SECOND:
        ended.append(now.clock - HOUR)
    return min([before.clock, *ended]) - overlap - SLACK


def resumed(low: Stamp, now: Look) -> Stamp:
    """From where another process reads on that has found `low`: as `since`, for a clock that was set back meanwhile."""
    return low if now.clock >= low else now.clock - HOUR


def complete(look: Look, overlap: int, offset: Stamp, more_assumed: str = "") -> Complete:
    """For people; `offset`: the server's clock minus the agent's."""
    holder = oldest(look)
    begun = None if holder is None else holder.since if holder.shown is None else holder.shown
    held = "" if holder is None or begun is None else f"{holder.name}, open for {span(look.clock - begun)}"
    held = "; ".join(filter(None, (look.held, held)))
    assumed = "; ".join(filter(None, (look.assumed, more_assumed)))
    return Complete(bound(look, overlap) - offset, assumed, held)


def span(micros: int) -> str:
    """`42 s`, `5 min`, `3 h`, `2 days`."""
    seconds = max(0, micros // SECOND)
    for size, word in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {word}"
    return f"{seconds} s"
