"""A CRM and an ERP in SQLite files, a mapping between them, and `accord` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

T = TypeVar("T")

PATIENCE = 60.0  # seconds: no test waits for less, none needs them

AGENT = """\
[agent]
name = "acme"
state = "state.db"
poll = "50ms"

[systems.crm]
url = "sqlite:crm.db"

[systems.erp]
url = "sqlite:erp.db"
"""

CUSTOMER = """\
[customer]
match = [["email"]]
first_contact = "auto"
delete = { crm = "propagate", erp = "propagate" }

[customer.crm]
table = "accounts"
new_key = "uuid"

[customer.erp]
table = "party"

[customer.fields]
name = { crm = "name", erp = "pname", owner = "crm" }
email = { crm = "email", erp = "mail" }
phone = { crm = "phone", erp = "tel" }
"""

CRM = """
CREATE TABLE accounts (id TEXT PRIMARY KEY, name TEXT, email TEXT, phone TEXT, born DATE);
INSERT INTO accounts VALUES ('a1', 'Acme', 'i@acme', '1', NULL), ('a2', 'Bolt', 'i@bolt', '2', NULL);
"""
ERP = """
CREATE TABLE party (id INTEGER PRIMARY KEY, pname TEXT, mail TEXT, tel TEXT, place BLOB);
INSERT INTO party (pname, mail, tel) VALUES ('Acme', 'i@acme', '1'), ('Dog', 'i@dog', '9');
"""


class Done(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Pair:
    """Everything in one folder. `crm` and `erp` are SQL of the test's own, through connections of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "entities").mkdir()
        self.write("accord.toml", AGENT)
        self.write("entities/customer.toml", CUSTOMER)
        self.crm(CRM)
        self.erp(ERP)
        self.running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.kill()
            self.running.wait()

    # --- files --------------------------------------------------------------------------------------------------------

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that must be there, once."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, (old, text)
        self.write(name, text.replace(old, new))

    def line(self, name: str, part: str) -> int:
        """The number of the line that contains this."""
        lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
        return next(number for number, line in enumerate(lines, 1) if part in line)

    # --- databases ----------------------------------------------------------------------------------------------------

    def sql(self, name: str, text: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(self.folder / name, timeout=30)) as db, db:
            if parameters or text.lstrip().upper().startswith(("SELECT", "PRAGMA")):
                return db.execute(text, parameters).fetchall()
            db.executescript(text)
            return []

    def crm(self, text: str, *parameters: Any) -> list[Any]:
        return self.sql("crm.db", text, *parameters)

    def erp(self, text: str, *parameters: Any) -> list[Any]:
        return self.sql("erp.db", text, *parameters)

    def dump(self) -> list[str]:
        """All that both databases hold: definitions and rows."""
        lines: list[str] = []
        for name in ("crm.db", "erp.db"):
            with closing(sqlite3.connect(self.folder / name)) as db:
                lines += [name, *db.iterdump()]
        return lines

    # --- accord -------------------------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "agent", *words]

    def place(self) -> dict[str, Any]:
        root = Path(__file__).resolve().parents[2]
        return {"cwd": self.folder, "env": {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "error"}}

    def accord(self, *words: str, input: str = "", exits: int | None = None) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            self.command(*words), input=input, capture_output=True, text=True, timeout=PATIENCE, **self.place()
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        assert exits in (None, done.returncode), f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`accord run` in the background; its log goes to run.log, its lines to run.out."""
        with (self.folder / "run.log").open("a") as log, (self.folder / "run.out").open("a") as lines:
            self.running = subprocess.Popen(
                self.command("run", *words), stdout=lines, stderr=log, text=True, **self.place()
            )
        return self.running

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask the agent to end; its exit code."""
        assert self.running is not None
        self.running.send_signal(number)
        return self.running.wait(PATIENCE)

    def log(self) -> str:
        return (self.folder / "run.log").read_text(encoding="utf-8")

    def until(self, what: str, found: Callable[[], T | None]) -> T:
        """Wait until it is so."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = found()
            if value:
                return value
            assert self.running is None or self.running.poll() is None, f"the agent ended: {self.log()}"
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {PATIENCE:g} s\n{self.log()}")
