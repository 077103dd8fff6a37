"""Small pieces of SQL."""

from __future__ import annotations

from typing import Any


def quote(name: str) -> str:
    """A name of the database, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """A value as it stands in a script."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, (int, float)):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


NOW = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000"
"""Microseconds since 1970, UTC. (Without strftime, which doubles what a trigger costs.)"""
