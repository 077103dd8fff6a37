"""What becomes of an open transaction's rows once it is known whether it landed (MODEL A1)."""

from __future__ import annotations

from state.codec import unpack_undo
from state.database import Database
from state.reading import SLOT, Reading

NO_IMAGE = (None, None, None, None)  # layout, seen, raws, stands
UPSERT_SIDE = (
    "INSERT INTO side (id, entity, system, key, existence, settled, archived, speaks) "
    "{} ON CONFLICT (id) DO UPDATE SET key = excluded.key, existence = excluded.existence, "
    "settled = excluded.settled, archived = excluded.archived, speaks = excluded.speaks"
)
WITH_IMAGE = "UPDATE record SET images = with_image(images, record.layout, agreed, ?, ?, ?, ?, ?) WHERE id = ?"


def settle(database: Database, reading: Reading, system: int, landed: bool, again: bool) -> None:
    """Prepared becomes link and image, or is dropped, and the images that were written at once are as they were
    before; `again`: the records are looked at once more."""
    blob = database.value("SELECT images FROM undo WHERE system = ?", (system,))
    before = unpack_undo(blob) if blob is not None and (again or not landed) else []
    slots = [id for (id,) in database.rows("SELECT id FROM prepared WHERE system = ?", (system,))] if again else []
    if landed:
        _land(database, system)
    else:
        rows = ((system, *(entry[1:] if entry else NO_IMAGE), slot // SLOT) for slot, entry in before)
        database.many(WITH_IMAGE, rows)
    for table in ("prepared", "undo", "unsettled"):
        database.rows(f"DELETE FROM {table} WHERE system = ?", (system,))
    if again:
        slots += [slot for slot, _ in before]
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
            "AND o.key = p.key AND o.id <> p.id) FROM prepared p WHERE system = ?"
        ),
        (system,),
    )
    database.rows(
        "UPDATE record SET images = with_image(images, record.layout, agreed, p.system, p.layout, p.seen, p.raws, "
        f"p.stands) FROM prepared p WHERE p.system = ? AND record.id = p.id / {SLOT}",
        (system,),
    )
