"""PostgreSQL 13 or later, by psycopg 3."""

from __future__ import annotations

from typing import Any

from adapters.postgresql.system import PostgresSystem


def open_system(config: Any, prefix: str = "accord") -> PostgresSystem:
    """The system of `config` (`config.model.SystemConfig`); it connects at the first call."""
    return PostgresSystem(config, prefix)
