"""What a position belongs to: which database this is, and the parts that capture relies on.

An adapter says what it sees (`Capture.origin`); what follows from a difference is decided in `agent/origins.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from config.urls import Target

# What may have become of a part whose id is another one now.
TABLE = "was made again, emptied or altered"
TRIGGER = "was made again, or switched off for a while"
LOG = "was made again or emptied"
WAITED_FOR = ", which is waited for"
"""What `Part.broken` ends with where nobody has to do anything about it."""

LOCAL = (None, "", "localhost", "127.0.0.1", "::1")


class Part(NamedTuple):
    """One thing that capture relies on."""

    name: str  # in words, the same at each look: "the trigger accord_party_insert on party"
    id: str  # another one than before: changes may have been missed meanwhile; "" = it is not there
    entities: tuple[str, ...]  # whose changes are seen by it
    broken: str = ""  # why nothing is seen by it now: "is missing", "is switched off"
    changed: str = "was made again"  # what may have become of it when the id is another one


class Origin(NamedTuple):
    """Which database this is, and the state of all that capture relies on. Read in a few short statements."""

    database: str  # the database itself: another one in every copy that is not physical
    instance: str  # the server process or the file that holds it: another one in a physical copy, and after a restart
    place: str  # where the url leads
    told: str  # which database it is, for people
    parts: tuple[Part, ...] = ()


def host_of(target: Target) -> str:
    """Host and port, or the socket, in one spelling."""
    if target.get("socket"):
        return str(target.get("socket"))
    host = target.get("host")
    return f"{'localhost' if host in LOCAL else host}:{target.get('port')}"
