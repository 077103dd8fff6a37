"""Which transaction may be open in a SQLite file.

One transaction writes at a time, and it holds the lock until it commits. So when a commit has been seen, nothing that
was writing before is open any more: whatever comes later was written by a transaction that took the lock after that
commit, and a stamp that its statements make is not older. Between two commits somebody may be writing all the time;
no file tells. `PRAGMA data_version`, which says whether somebody has committed, is asked before the reading: a commit
between the two is seen twice.

So what is complete moves on with each commit, by proof. A stamp that the application makes before it waits for the
lock is older by that wait: this is what `overlap` is for.
"""

from __future__ import annotations

import sqlite3
import time

from adapters.horizon import Look, Open
from adapters.sqlite.session import Session

WRITER = "a transaction that may be open since the last commit"
FIRST = "a transaction that may be open since before the agent looked first"


class Horizon:
    """`writer`: another session of ours, whose own transactions prove as much as those of others."""

    def __init__(self, session: Session, writer: Session) -> None:
        self._session, self._writing = session, writer
        self._connection: sqlite3.Connection | None = None
        self._version = 0  # as this connection counts
        self._commits = 0  # seen by this object; also a new connection may have missed some
        self._looked = 0  # the clock of the last look
        self._writer = Open(0, FIRST, late=True)

    def look(self, before: Look | None) -> Look:
        clock = time.time_ns() // 1000
        version = int(self._session.query("PRAGMA data_version")[0][0])
        if self._session.connection is not self._connection:
            self._connection, self._version = self._session.connection, version
            self._commits += 1
            if self._writer.since == 0:
                self._writer = Open(clock, FIRST, late=True)
        elif version != self._version:
            self._version = version
            self._commits += 1
            self._writer = Open(self._looked, WRITER)
        alone = max(self._session.alone, self._writing.alone)
        if alone > self._writer.since:
            self._writer = Open(alone, WRITER)
        self._looked = clock
        return Look(clock, {f"writer {self._writer.since}": self._writer}, version=self._commits)
