"""An office: one application, its database, the people who use it, and the ledger of what they did.

Plain SQL, as an application would send it; nothing here knows of Accord.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Key = str | int
STAMPS = {"crm": ("date_modified", "date_entered"), "erp": ("write_date", "create_date")}
BUSY = 30  # seconds that an application waits for another's lock before it gives up


class Ledger:
    """What people did, one JSON object a line: at, who, system, op, table, key, column, before, after.

    `op` is "update" (one line per column), "insert" (column "", after = the row) or "delete" (column "", before = the
    row).
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", encoding="utf-8")

    def add(self, lines: list[dict[str, Any]]) -> None:
        """Write lines so that they survive this process."""
        for line in lines:
            self.file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.file.flush()


class Office:
    """One application and the people who use it. Each change is a transaction, unless `saving` holds several."""

    def __init__(self, system: str, path: Path, ledger: Ledger) -> None:
        self.system, self.ledger = system, ledger
        self.db = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA foreign_keys = ON")
        self.lines: list[dict[str, Any]] = []
        self.open = False

    @contextmanager
    def saving(self) -> Iterator[None]:
        """A save: from the lock to the commit; what was done is in the ledger afterwards."""
        if self.open:
            yield
            return
        self.db.execute("BEGIN IMMEDIATE")
        self.open = True
        try:
            yield
            self.db.execute("COMMIT")
            self.ledger.add(self.lines)
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        finally:
            self.open, self.lines = False, []

    def row(self, table: str, key: Key) -> dict[str, Any] | None:
        """The row as it is now."""
        found = self.db.execute(f"SELECT * FROM {table} WHERE id = ?", (key,)).fetchone()
        return dict(found) if found else None

    def change(self, who: str, table: str, key: Key, **columns: Any) -> bool:
        """Change columns of a row, having looked at it; False if it is not there any more."""
        with self.saving():
            row = self.row(table, key)
            if row is None:
                return False
            sets = ", ".join(f"{column} = ?" for column in (*columns, STAMPS[self.system][0]))
            self.db.execute(f"UPDATE {table} SET {sets} WHERE id = ?", (*columns.values(), self.now(), key))
            for column, value in columns.items():
                if value != row[column]:  # saving what is there already is no edit
                    self.note("update", who, table, key, column, row[column], value)
        return True

    def enter(self, who: str, table: str, row: Mapping[str, Any]) -> Key:
        """Enter a new row; returns its key."""
        with self.saving():
            full = {**row, STAMPS[self.system][1]: self.now()}
            if self.system == "crm":
                full["date_modified"] = self.now()
            marks = ", ".join("?" * len(full))
            key = self.db.execute(
                f"INSERT INTO {table} ({', '.join(full)}) VALUES ({marks}) RETURNING id", tuple(full.values())
            ).fetchone()[0]
            self.note("insert", who, table, key, "", None, dict(row))
        return key  # type: ignore[no-any-return]

    def remove(self, who: str, table: str, key: Key) -> bool:
        """Delete a row for good; False if it is not there any more."""
        with self.saving():
            row = self.row(table, key)
            if row is None:
                return False
            self.db.execute(f"DELETE FROM {table} WHERE id = ?", (key,))
            self.note("delete", who, table, key, "", row, None)
        return True

    def note(self, op: str, who: str, table: str, key: Key, column: str, before: Any, after: Any) -> None:
        self.lines.append(
            {
                "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "who": who,
                "system": self.system,
                "op": op,
                "table": table,
                "key": str(key),
                "column": column,
                "before": before,
                "after": after,
            }
        )

    def now(self) -> str:
        """The time as this application writes it: UTC, whole seconds in the CRM, milliseconds in the ERP."""
        return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[: 19 if self.system == "crm" else 23]
