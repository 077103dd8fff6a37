"""Named points of the round, where the crash tests end the process.

`ACCORD_CRASH_AT=point[:nth]` sends this process SIGKILL at the nth passage (default 1) of that point. A test may
set `hook` instead, which is called with the point's name. The points are listed in `docs/design.md`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

POINTS = ("captured", "read", "merged", "applying", "decided", "applied", "recorded", "acknowledged")

hook: Callable[[str], None] | None = None

_at, _, _nth = os.environ.get("ACCORD_CRASH_AT", "").rpartition(":")
if not _nth.isdigit():
    _at, _nth = os.environ.get("ACCORD_CRASH_AT", ""), "1"
_left = int(_nth)


def point(name: str) -> None:
    """The round passes here. `applying` and `applied` carry their system: `applied:erp`."""
    global _left
    if hook is not None:
        hook(name)
    if _at and name == _at:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
