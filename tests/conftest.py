"""Servers for the tests: started when the first test asks, one of each per worker, stopped at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import MariaServer, PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this run's own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaServer]:
    """A MariaDB server of this run's own."""
    with MariaServer() as server:
        yield server
