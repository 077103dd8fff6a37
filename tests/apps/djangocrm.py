"""Django-CRM 2.1.0, a real CRM, on MariaDB: installed, initialised, and used through its own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.apps.application import HERE, Application, environment, kept, run
from tests.servers import MariaServer

DATABASE, ACCOUNT = "dcrm", "crm"


class DjangoCrm(Application):
    """An installed Django-CRM that is open. A company is its word for a customer."""

    def __init__(self, server: MariaServer) -> None:
        super().__init__([python(), HERE / "djangocrm_server.py"], **place(server))

    def company(self, name: str, email: str = "office@example.com", country: str | None = None, **values: str) -> int:
        """A new company; its id. Django-CRM refuses to save one without an e-mail address."""
        return int(self.act("company", name=name, email=email, country=country, **values))

    def many(self, names: list[str]) -> list[int]:
        """New companies, all in one transaction; their ids."""
        return list(self.act("many", names=names))

    def set(self, id: int, **values: Any) -> None:
        """A form is saved in which these fields were changed."""
        self.act("set", id=id, values=values)

    def rename(self, id: int, name: str) -> None:
        self.set(id, full_name=name)

    def delete(self, id: int) -> None:
        """The row goes for good, and what belongs to it goes with it."""
        self.act("delete", id=id)

    def dump(self) -> dict[int, dict[str, Any]]:
        """By id, as Django-CRM itself sees them."""
        return {row["id"]: row for row in self.act("dump")}


def python() -> Path:
    return environment("djangocrm", HERE / "djangocrm.txt", ["django-crm-admin==2.1.0"])


def initialised(version: str) -> Path:
    """A data folder of MariaDB with a Django-CRM database: tables, countries, currencies, users."""
    scripts = [HERE / "djangocrm.txt", HERE / "djangocrm_settings.py", Path(__file__)]
    return kept("djangocrm-data", [*scripts, version], build) / "data"


def build(folder: Path) -> None:
    with MariaServer() as server:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
            cursor.execute(f"CREATE USER {ACCOUNT}@'%' IDENTIFIED BY '{ACCOUNT}'")
            cursor.execute(f"GRANT ALL ON {DATABASE}.* TO {ACCOUNT}@'%'")
        manage: list[str | Path] = [python(), "-m", "django"]
        run([*manage, "migrate", "--no-input"], **place(server))
        run([*manage, "setupdata"], **place(server))
        server.keep(folder / "data")


def place(server: MariaServer) -> dict[str, str]:
    """The environment in which Django-CRM finds its settings and its database."""
    return {
        "DJANGO_SETTINGS_MODULE": "djangocrm_settings",
        "PYTHONPATH": str(HERE),
        "CRM_DATABASE": DATABASE,
        "CRM_PORT": str(server.port),
    }
