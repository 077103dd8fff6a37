"""SQLite, by the standard library's driver: `sqlite:PATH`."""

from __future__ import annotations

from typing import Any

from adapters.ports import System
from adapters.sqlite.system import SqliteSystem


def open_system(config: Any, prefix: str = "accord") -> System:
    """The database file of `config.target["path"]`; it is opened at the first call."""
    return SqliteSystem(config, prefix)
