"""Write a state file of the present schema, to be kept here for ever: `python -m tests.upgrade.make_state`.

Run once for each schema that is released. A kept file is never written again.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from config.records import Value
from state import database
from state.ports import (
    Decided,
    Frozen,
    Image,
    Journal,
    Link,
    Look,
    Pending,
    Prepared,
    Record,
    Replaced,
    Review,
    Version,
)
from state.store import Store

ENTITIES = {
    "customer": ["name", "vat", "credit", "since", "seen", "active", "photo", "parent"],
    "order": ["customer", "number"],
}
REFS = {"customer": ["parent"], "order": ["customer"]}
SYSTEMS = ["crm", "erp"]
ACME, BELL, GONE, ORDER = (letter * 32 for letter in "abcd")

VALUES: tuple[Value, ...] = (
    "Acme GmbH", None, Decimal("5000.00"), date(2020, 2, 29), datetime(2026, 11, 24, 9, 13, 58, 123456, UTC), True,
    b"\x00\xff", None,
)  # fmt: skip
RAWS = ("Acme GmbH", None, "5000.00", "2020-02-29", 2**70, 1, b"\x00\xff", None)
STAMPS = (1, 2, 3, 3, 2, 1, 1, 1)


def records() -> list[Record]:
    origins = ("crm", "erp", "crm", "crm", "person", "crm", "", "")
    version = Version(VALUES, STAMPS, origins, ("only change",) * 8)
    acme = Record(ACME, "customer", {"crm": Link("4711"), "erp": Link('["12","3"]', "held")}, version)
    acme.images["crm"] = Image(RAWS, VALUES, STAMPS, 9)
    acme.frozen["name"] = Frozen(
        {"crm": ("A",), "erp": (None,)}, {"crm": ("A",), "erp": (None,)}, {"crm": 5}, "c-1", "crm"
    )
    acme.stale[("crm", "name")] = [Replaced("Acme", 4), Replaced("ACME", 5, True)]
    acme.revived = 6
    bell = Record(BELL, "customer", {"crm": Link("4712")}, version._replace(values=(*VALUES[:7], ACME)))
    gone = Record(GONE, "customer", {"crm": Link("4713", "gone", False, True)})
    order = Record(
        ORDER, "order", {"erp": Link("88")}, Version((BELL, "N1"), (1, 1), ("erp", "erp"), ("latest", "latest"))
    )
    return [acme, bell, gone, order]


def line(action: str) -> Journal:
    return Journal(
        "customer", ACME, action, "erp", "credit", Decimal("1.50"), date(2020, 2, 29), "latest", "crm", 4, "n"
    )


REVIEWS = [
    Review(
        "c-1", "conflict", "customer", ACME, "erp", '["12","3"]', "name", "m", "h", {"candidates": [["crm", "9"]]}, 3
    ),
    Review("c-2", "ambiguous", "customer", None, "crm", "9", "", "m", "h", {}, 3),
]
PENDING = Pending(BELL, "customer", "erp", "down", "erp does not answer", 1, 50, 2)


def write(path: Path) -> None:
    with closing(Store.open(path, ENTITIES, SYSTEMS, refs=REFS)) as store:
        store.commit(
            Decided(
                1,
                10,
                records=records(),
                journal=[line("create"), line("conflict")],
                reviews=REVIEWS,
                pending=[PENDING],
                looks=[Look("customer", "crm", "4712", 40, "sweep")],
                matches=[("customer", "crm", "4711", (b"vat", None)), ("customer", "erp", "77", (b"vat", b"mail"))],
                tombs=[("customer", "crm", "4000", ACME)],
                positions={"crm": b"\x00p"},
                meta={"phase": "done"},
            )
        )
        acme = store.load("customer", [ACME])[ACME]
        prepared = Prepared("erp", ACME, acme.images["crm"], Link("90"))
        store.commit(Decided(2, 20, closed=["c-2"], prepared=[prepared], writing=("erp",)))


def main() -> None:
    target = Path(__file__).parent / f"state-{database.version()}.db"
    if target.exists():
        raise SystemExit(f"{target} is kept as it was written.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        with closing(sqlite3.connect(path)) as connection:  # small pages: the file is stored with the source
            connection.execute("PRAGMA page_size = 512")
            connection.execute("VACUUM")
        write(path)
        shutil.copy(path, target)


if __name__ == "__main__":
    main()
