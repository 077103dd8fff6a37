"""One parameter per adapter: `-k sqlite`, `-k postgresql`, `-k mariadb`; found by the modules in `factories/`."""

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        more = [BY_STATEMENT] if metafunc.module.__name__.rpartition(".")[2] in TRIGGERS else []
        metafunc.parametrize("backend", [*NAMES, *more], indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    name = request.param.removesuffix("_statement")
    made: Backend = import_module(f"{factories.__name__}.{name}").make(request)
    if name != request.param:
        made.options = {"triggers": "statement"}
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Database]:
    with closing(backend.create()) as database:
        yield database
