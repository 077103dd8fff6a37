"""One parameter per adapter and way of capture: `-k sqlite`, `-k postgresql`, `-k postgresql-log`, `-k mariadb`; found
by the modules in `factories/`. What is said in general is run with triggers and with the database's own log; a test
that is about the change log itself is marked `change_log`, one that is about what `prepare` makes for capture `made`:
for MariaDB's log it makes nothing."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.conformance import factories
from tests.conformance.backend import Backend, Database, closing

NAMES = sorted(module.name for module in pkgutil.iter_modules(factories.__path__))
BY_STATEMENT = "postgresql_statement"
"""PostgreSQL once more, with triggers that fire once for each statement: for the tests that triggers matter to."""
TRIGGERS = (
    "test_apply",
    "test_capture_transactions",
    "test_capture_trigger",
    "test_origin",
    "test_prepare",
    "test_wake",
)
LOGGED = ("postgresql", "mariadb")
"""Those whose own log can be read."""
MAKES_NOTHING = ("mariadb",)
"""Those for whose log `prepare` makes nothing."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        modes = [(name, "trigger") for name in NAMES]
        if metafunc.module.__name__.rpartition(".")[2] in TRIGGERS:
            modes.append((BY_STATEMENT, "trigger"))
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        if "change_log" not in marks:
            modes += [(name, "log") for name in LOGGED if name not in MAKES_NOTHING or "made" not in marks]
        ids = [name if mode == "trigger" else f"{name}-{mode}" for name, mode in modes]
        metafunc.parametrize("backend", modes, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    full, mode = request.param
    name = full.removesuffix("_statement")
    made: Backend = import_module(f"{factories.__name__}.{name}").make(request)
    if name != full:
        made.options = {"triggers": "statement"}
    if mode == "log":
        made.mode, made.options = mode, {"capture": "log"}
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Database]:
    with closing(backend.create()) as database:
        yield database
