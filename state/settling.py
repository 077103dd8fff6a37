"""What becomes of an open transaction's rows once it is known whether it landed (MODEL A1)."""

from __future__ import annotations

from state.database import Database
from state.reading import SLOT, Reading

UPSERT_SIDE = (
    "INSERT INTO side (id, entity, system, key, existence, settled, archived, speaks, layout, seen, raws, stands) "
    "{} ON CONFLICT (id) DO UPDATE SET key = excluded.key, existence = excluded.existence, "
    "settled = excluded.settled, archived = excluded.archived, speaks = excluded.speaks, layout = excluded.layout, "
    "seen = excluded.seen, raws = excluded.raws, stands = excluded.stands"
)


def settle(database: Database, reading: Reading, system: int, landed: bool, again: bool) -> None:
    """Prepared becomes link and image, or is dropped; `again`: its records are looked at once more."""
    slots = [id for (id,) in database.rows("SELECT id FROM prepared WHERE system = ?", (system,))] if again else []
    if landed:
        _land(database, system)
    database.rows("DELETE FROM prepared WHERE system = ?", (system,))
    database.rows("DELETE FROM unsettled WHERE system = ?", (system,))
    database.many(
        "INSERT INTO look (entity, system, key, due, reason) VALUES (?, ?, ?, 0, 'unknown outcome') "
        "ON CONFLICT DO UPDATE SET due = 0",
        reading.keys_of(slots).values(),
    )


def _land(database: Database, system: int) -> None:
    database.rows(
        "INSERT OR REPLACE INTO tomb (entity, system, key, record, at) "
        f"SELECT s.entity, s.system, s.key, s.id / {SLOT}, r.at FROM prepared p JOIN side s ON s.id = p.id "
        "CROSS JOIN round r WHERE p.system = ? AND s.key <> p.key",
        (system,),
    )
    # Keys may be swapped among these rows, and a key may have been another's that is gone: all let go first.
    database.rows(
        "UPDATE side SET speaks = 0 WHERE id IN (SELECT s.id FROM prepared p CROSS JOIN side s "
        "ON s.entity = p.entity AND s.system = p.system AND s.key = p.key AND s.speaks = 1 "
        "WHERE p.system = ? AND s.id <> p.id)",
        (system,),
    )
    database.rows(
        UPSERT_SIDE.format(
            "SELECT id, entity, system, key, existence, settled, archived, existence <> 'gone' OR archived "
            "OR NOT EXISTS (SELECT 1 FROM prepared o WHERE o.system = p.system AND o.entity = p.entity "
            "AND o.key = p.key AND o.id <> p.id), layout, seen, raws, stands FROM prepared p WHERE system = ?"
        ),
        (system,),
    )
