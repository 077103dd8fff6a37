"""A SQLite file is watched by its folder: whoever writes touches the file, its journal or its WAL.

That happens a moment before the commit can be seen, and before a rollback too. `PRAGMA data_version` tells within a few
microseconds whether another connection has committed; so it is asked a few times after each event.
"""

from __future__ import annotations

import os
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from adapters.sqlite.objects import Names
from adapters.sqlite.session import Session
from adapters.waking import Bell, Wait
from config.errors import Problem, Transient

QUIET = 30.0  # seconds without an event
LOOKS = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)  # seconds before each look after an event
READING = ("opened", "closed_no_write")  # events that no writer makes


class FileWatch:
    """See `adapters.waking.Watch`."""

    def __init__(self, system: str, path: Path, names: Names) -> None:
        self._session = Session(system, path, lock_timeout=0)
        self._path, self._changes = path.resolve(), names.changes
        self._touched = Bell()
        self._observer: BaseObserver | None = None
        self._empty_at: int | None = None  # the version of the file at which the log was seen empty

    def look(self, wait: Wait) -> bool:
        if self._observer is None:
            self._observer = self._observe()
        if self._entries():
            return True
        wait(QUIET, self._touched.fileno())
        return self._touched.clear() and self._committed(wait)

    def _committed(self, wait: Wait) -> bool:
        for seconds in LOOKS:
            wait(seconds)
            if self._entries():
                return True
        return False

    def _entries(self) -> bool:
        version = self._session.query("PRAGMA data_version")[0][0]
        if version == self._empty_at:
            return False
        found = bool(self._session.query(f"SELECT 1 FROM {self._changes} WHERE tbl <> '' LIMIT 1"))
        self._empty_at = None if found else version
        return found

    def _observe(self) -> BaseObserver:
        observer = Observer()
        try:
            observer.schedule(_Handler(self._path, self._touched), str(self._path.parent))
            observer.start()
        except OSError as error:
            message = f"the folder {self._path.parent} cannot be watched: {error}."
            raise Transient(Problem("transient", message, system=self._session.system)) from error
        return observer

    def close(self) -> None:
        observer, self._observer, self._empty_at = self._observer, None, None
        if observer is not None:
            observer.stop()
            observer.join()
        self._session.close()


class _Handler(FileSystemEventHandler):
    def __init__(self, path: Path, touched: Bell) -> None:
        self._start, self._touched = os.fspath(path), touched

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in READING and os.fsdecode(event.src_path).startswith(self._start):
            self._touched.ring()
