"""Tryton, kept open: actions of its users through its own client library, each in a transaction of its own.

Runs in Tryton's environment. Arguments: the configuration file and the name of the database.
"""

from __future__ import annotations

import sys
from typing import Any

from proteus import Model, config  # type: ignore[import-not-found]
from stdin_actions import serve  # type: ignore[import-not-found]

EVERYTHING = [("active", "in", [True, False, None])]
SHOWN = ["code", "name", "active", "create_date", "write_date", "create_uid.login"]


def party(name: str) -> dict[str, Any]:
    record = Model.get("party.party")(name=name)
    record.save()
    return {"id": record.id, "code": record.code}


def many(names: list[str]) -> list[int]:
    """All in one call of the application: one transaction, one timestamp."""
    client = config.get_config()
    ids: list[int] = client.get_proxy("party.party").create([{"name": name} for name in names], client.context)
    return ids


def rename(id: int, name: str) -> None:
    record = Model.get("party.party")(id)
    record.name = name
    record.save()


def set_active(id: int, active: bool) -> None:
    record = Model.get("party.party")(id)
    record.active = active
    record.save()


def delete(id: int) -> None:
    Model.get("party.party")(id).delete()


def find(text: str) -> list[int]:
    """What a user finds who types `text` into the search box: active parties only."""
    client = config.get_config()
    ids: list[int] = client.get_proxy("party.party").search([("rec_name", "ilike", f"%{text}%")], client.context)
    return ids


def dump(everything: bool) -> list[dict[str, Any]]:
    """The parties as Tryton itself sees them; without `everything` only those that a user is shown."""
    client = config.get_config()
    rows = client.get_proxy("party.party").search_read(
        EVERYTHING if everything else [], 0, None, [("id", "ASC")], SHOWN, client.context
    )
    return [shown(row) for row in rows]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name] and row[name].isoformat() for name in ("create_date", "write_date")}
    creator = row["create_uid."]["login"] if row.get("create_uid.") else None
    return {"id": row["id"], "code": row["code"], "name": row["name"], "active": row["active"], **times, "by": creator}


if __name__ == "__main__":
    config.set_trytond(sys.argv[2], user="admin", config_file=sys.argv[1])
    config.get_config().set_context(Model.get("res.user").get_preferences(True, {}))
    serve(
        {
            "party": party,
            "many": many,
            "rename": rename,
            "set_active": set_active,
            "delete": delete,
            "find": find,
            "dump": dump,
        }
    )
