"""A CRM, an ERP and an agent between them: servers, applications, accounts, configuration and the agent's process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from tests.apps import djangocrm, tryton
from tests.servers import PASSWORD, MariaServer, PostgresServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0

# What a DBA grants: the mapped table, what the constants of the mapping read, and a place for Accord's own objects.
ERP_GRANTS = (
    "GRANT CREATE ON DATABASE tryton TO accord",
    "GRANT SELECT, INSERT, UPDATE, TRIGGER ON party_party TO accord",
    "GRANT USAGE ON SEQUENCE party_party_id_seq, ir_sequence_1 TO accord",
    "GRANT SELECT (id, login) ON res_user TO accord",
)
CRM_GRANTS = (
    "GRANT CREATE, DROP, INDEX, SELECT, INSERT, UPDATE, DELETE ON dcrm.* TO accord@'%'",
    "GRANT TRIGGER ON dcrm.crm_company TO accord@'%'",
)


class World:
    """Use as a context. The agent does not run until `start`."""

    def __init__(self, mapping: Path, folder: Path) -> None:
        self.folder = folder
        self._agent: subprocess.Popen[str] | None = None
        self._maria, self._postgres = MariaServer(), PostgresServer()
        try:
            with ThreadPoolExecutor(2) as both:
                crm, erp = both.submit(self._open_crm), both.submit(self._open_erp)
                self.crm, self.erp = crm.result(), erp.result()
            self._configure(mapping)
        except BaseException:
            self._remove_servers()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._agent is not None:
            self._agent.kill()
            self._agent.wait()
        self.crm.close()
        self.erp.close()
        self._remove_servers()

    # --- the agent ---------------------------------------------------------------------------------------------------

    def accord(self, *words: str, exits: int = 0) -> str:
        """Run a command to its end; what it printed. Its exit code must be `exits`."""
        done = subprocess.run(self._command(*words), capture_output=True, text=True, timeout=180, **self._place())
        assert done.returncode == exits, f"accord {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return str(done.stdout)

    def accord_json(self, *words: str, exits: int = 0) -> Any:
        return json.loads(self.accord(*words, "--json", exits=exits))["data"]

    def start(self) -> None:
        """`accord run`, in the background."""
        with self._log.open("a") as log:
            self._agent = subprocess.Popen(self._command("run"), stdout=log, stderr=log, text=True, **self._place())

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGTERM)
        code = self._agent.wait(PATIENCE)
        self._agent = None
        return code

    def pause(self) -> None:
        """The agent's process sees and does nothing until `resume`."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._agent is not None
        self._agent.send_signal(signal.SIGCONT)

    # --- waiting -----------------------------------------------------------------------------------------------------

    def eventually(self, what: str, holds: Callable[[], object]) -> Any:
        """Wait until `holds` returns something true, and return that. The agent must go on running."""
        end = time.monotonic() + PATIENCE
        while True:
            found = holds()
            if found:
                return found
            running = self._agent is not None and self._agent.poll() is None
            assert running, f"the agent has ended:\n{self.said()}"
            assert time.monotonic() < end, f"not seen: {what}\n{self.said()}"
            time.sleep(0.1)

    def becomes_quiet(self) -> None:
        """Nobody writes to either database any more, the agent included, which looks several times meanwhile."""

        def unchanged() -> bool:
            before = self.marks()
            time.sleep(1.5)
            return self.marks() == before

        self.eventually("both databases left alone", unchanged)

    def marks(self) -> tuple[Any, ...]:
        """Differs whenever anybody wrote anything between two calls: in MariaDB anywhere, in PostgreSQL to the parties
        or to Accord's own tables."""
        with self.sql_crm() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW MASTER STATUS")
            binlog = cursor.fetchone()
        return (binlog, *self._row_versions())

    def said(self) -> str:
        """The end of what the agent said."""
        return self._log.read_text()[-6000:] if self._log.exists() else ""

    # --- connections of the test's own -------------------------------------------------------------------------------

    def sql_crm(self) -> Any:
        return self._maria.connect(djangocrm.DATABASE)

    def sql_erp(self) -> Any:
        return self._postgres.connect(tryton.DATABASE)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _row_versions(self) -> list[Any]:
        with self.sql_erp() as connection:
            tables = connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
                " AND (relnamespace = to_regnamespace('accord') OR oid = 'party_party'::regclass) ORDER BY 1"
            ).fetchall()
            # a row that is written, even with the same values, gets another place (ctid) and another xmin
            return [
                connection.execute(f"SELECT '{t}', array_agg((xmin, ctid)::text ORDER BY ctid) FROM {t}").fetchone()
                for (t,) in tables
            ]

    def _open_crm(self) -> djangocrm.DjangoCrm:
        self._maria.template = djangocrm.initialised(self._maria.version())
        self._maria.start()
        self._maria.create_user("accord")
        with self.sql_crm() as connection, connection.cursor() as cursor:
            for grant in CRM_GRANTS:
                cursor.execute(grant)
        return djangocrm.DjangoCrm(self._maria)

    def _open_erp(self) -> tryton.Tryton:
        self._postgres.template = tryton.initialised(self._postgres.version())
        self._postgres.start()
        self._postgres.create_user("accord")
        with self.sql_erp() as connection:
            for grant in ERP_GRANTS:
                connection.execute(grant)
        return tryton.Tryton(self._postgres)

    def _configure(self, mapping: Path) -> None:
        shutil.copytree(mapping, self.folder, dirs_exist_ok=True)
        file = self.folder / "accord.toml"
        text = file.read_text().replace("CRM_PORT", str(self._maria.port)).replace("ERP_PORT", str(self._postgres.port))
        file.write_text(text)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "agent", *words]

    def _place(self) -> dict[str, Any]:
        mine = {"PYTHONPATH": str(ROOT), "CRM_PASSWORD": PASSWORD, "ERP_PASSWORD": PASSWORD}
        return {"cwd": self.folder, "env": os.environ | mine | {"COLUMNS": "200"}}

    @property
    def _log(self) -> Path:
        return self.folder / "agent.log"

    def _remove_servers(self) -> None:
        self._maria.remove()
        self._postgres.remove()
