"""Tryton 8.2, a real ERP, on PostgreSQL: installed, initialised, and used as its users use it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.apps.application import HERE, Application, environment, kept, run
from tests.servers import PostgresServer

DATABASE, ROLE = "tryton", "tryton"
MODULES = ("country", "party", "product", "sale", "account_invoice", "stock", "account_invoice_stock")


class Tryton(Application):
    """An installed Tryton that is open. A party is Tryton's word for a customer."""

    def __init__(self, server: PostgresServer) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="accord-tryton-")
        super().__init__(
            [python(), HERE / "tryton_server.py", configuration(Path(self._folder.name), server), DATABASE]
        )

    def party(self, name: str) -> dict[str, Any]:
        """A new party: its id and code."""
        return dict(self.act("party", name=name))

    def many(self, names: list[str]) -> list[int]:
        """New parties, all in one transaction with one timestamp; their ids."""
        return list(self.act("many", names=names))

    def rename(self, id: int, name: str) -> None:
        self.act("rename", id=id, name=name)

    def deactivate(self, id: int) -> None:
        """Tryton's way to do away with a party that has documents."""
        self.act("set_active", id=id, active=False)

    def reactivate(self, id: int) -> None:
        self.act("set_active", id=id, active=True)

    def delete(self, id: int) -> None:
        """The row goes for good."""
        self.act("delete", id=id)

    def find(self, text: str) -> list[int]:
        """Ids of the parties that a user finds by typing this."""
        return list(self.act("find", text=text))

    def dump(self, everything: bool = False) -> dict[int, dict[str, Any]]:
        """By id, as Tryton itself sees them: those that a user is shown, or everything."""
        return {row["id"]: row for row in self.act("dump", everything=everything)}

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def python() -> Path:
    return environment("tryton", HERE / "tryton.txt")


def initialised(version: str) -> Path:
    """A data folder of PostgreSQL with a Tryton database: modules, currency, company."""
    scripts = [HERE / "tryton.txt", HERE / "tryton_setup.py", Path(__file__)]
    return kept("tryton-data", [*scripts, version], build) / "data"


def build(folder: Path) -> None:
    with PostgresServer() as server, tempfile.TemporaryDirectory(prefix="accord-tryton-") as scratch:
        server.create_user(ROLE, ROLE)
        server.create_database(DATABASE)
        with server.connect("postgres") as connection:
            connection.execute(f"ALTER DATABASE {DATABASE} OWNER TO {ROLE}")
        conf = configuration(Path(scratch), server)
        password = Path(scratch) / "password"
        password.write_text("admin\n")
        admin: list[str | Path] = [python(), python().parent / "trytond-admin", "-c", conf, "-d", DATABASE]
        run([*admin, "--all", "--email", "admin@example.com", "-p"], TRYTONPASSFILE=str(password))
        run([*admin, "-u", *MODULES, "--activate-dependencies"])
        run([python(), HERE / "tryton_setup.py", conf, DATABASE])
        server.keep(folder / "data")


def configuration(folder: Path, server: PostgresServer) -> Path:
    """Tryton's configuration file for this server."""
    file = folder / "trytond.conf"
    file.write_text(f"[database]\nuri = postgresql://{ROLE}:{ROLE}@{server.host}:{server.port}/\n")
    return file
