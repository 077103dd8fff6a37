"""Opens the system that a configuration names: the one place that knows which adapters there are."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from adapters.ports import System
from config.errors import ConfigError, Problem

ADAPTERS = {"sqlite": "adapters.sqlite", "postgresql": "adapters.postgresql", "mysql": "adapters.mysql"}
"""Dialect -> package; each has `open_system(config, prefix) -> System`. Drivers are loaded only when needed."""


def open_system(config: Any, prefix: str = "accord") -> System:
    """The system of `config` (`config.model.SystemConfig`); it connects at the first call. ConfigError if unknown."""
    package = ADAPTERS.get(config.dialect)
    if package is None:
        known = ", ".join(ADAPTERS)
        problem = Problem("unknown-dialect", f"there is no adapter for {config.dialect!r}", f"use one of {known}")
        raise ConfigError(problem)
    system: System = import_module(package).open_system(config, prefix)
    return system
