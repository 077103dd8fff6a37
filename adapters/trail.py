"""Up to when a log that is read in its own order has been handed out whole: for `Batch.complete`.

Whenever the server is asked how far its log goes, that is put down with the moment before the question: all that was
committed by then stands in the log before that place. As soon as all before the place has been handed out, everything
up to that moment has. Before the first such place is passed, the commits themselves tell the time; they stand in the
log in order but for some moments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from adapters.horizon import SLACK
from config.records import Complete, Stamp

P = TypeVar("P")
KEPT = 200  # moments; where more wait, every other one is let go of
UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Trail(Generic[P]):
    """Of one log. `P`: a place in it."""

    def __init__(self) -> None:
        self._marks: deque[tuple[Stamp, P]] = deque()
        self._at: Stamp | None = None

    def mark(self, at: Stamp, end: P) -> None:
        """All that was committed by `at` (the agent's clock) stands before `end`."""
        self._marks.append((at, end))
        if len(self._marks) > KEPT:
            self._marks = deque(mark for i, mark in enumerate(self._marks) if i % 2 or i == len(self._marks) - 1)

    def complete(self, is_passed: Callable[[P], bool], committed: Stamp | None, held_by: str) -> Complete:
        """`is_passed`: has all before this place been handed out? `committed`: when the last that was handed out was
        committed, if that is known; `held_by` counts only where something is missing."""
        while self._marks and is_passed(self._marks[0][1]):
            self._at = self._marks.popleft()[0]
        at = self._at
        if at is None and committed is not None:
            at = committed - SLACK
        return Complete(at, held_by=held_by if self._marks else "")


def size(count: int) -> str:
    """Bytes for people: `1.5 GB`."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g} {UNITS[unit]}"
