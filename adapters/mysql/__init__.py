"""MariaDB 10.6 or later, by PyMySQL. MySQL has not been tried and is refused."""

from __future__ import annotations

from typing import Any

from adapters.mysql.system import MariaSystem


def open_system(config: Any, prefix: str = "accord") -> MariaSystem:
    """The system of `config` (`config.model.SystemConfig`); it connects at the first call."""
    return MariaSystem(config, prefix)
