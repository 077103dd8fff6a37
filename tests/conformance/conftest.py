"""One parameter per adapter: `-k sqlite`, `-k postgresql`, `-k mariadb`; found by the modules in `factories/`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.conformance import factories
from tests.conformance.backend import Backend, Database, closing

NAMES = sorted(module.name for module in pkgutil.iter_modules(factories.__path__))


@pytest.fixture(scope="session", params=NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = import_module(f"{factories.__name__}.{request.param}").make(request)
    return made


@pytest.fixture
def db(backend: Backend) -> Iterator[Database]:
    with closing(backend.create()) as database:
        yield database
