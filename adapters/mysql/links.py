"""Rows of the crosswalk. Driver's errors come through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.mysql.connection import Session
from adapters.mysql.objects import Names
from adapters.mysql.sql import chunks, literal, values
from config.records import Crosswalk, Gid, Key

BINARY = "CONVERT(s.{} USING utf8mb4) COLLATE utf8mb4_nopad_bin"


def held(session: Session, names: Names, entity: str, pairs: Iterable[tuple[str, Key]]) -> dict[tuple[str, Key], Gid]:
    """Who holds these (system, key)."""
    literals = [f"({literal(system)},{literal(key)})" for system, key in dict.fromkeys(pairs)]
    on = f"x.`system` = {BINARY.format('accord_s')} AND x.`key` = {BINARY.format('accord_k')}"
    found: dict[tuple[str, Key], Gid] = {}
    for start, stop in chunks(literals, session.packet):
        rows = session.raw(
            f"SELECT x.`system`, x.`key`, x.gid FROM {values(['accord_s', 'accord_k'], literals[start:stop])}"
            f" STRAIGHT_JOIN {names.crosswalk} x ON x.entity = {literal(entity)} AND {on}"
        )
        found.update({(system, key): gid for system, key, gid in rows})
    return found


def links_of(session: Session, names: Names, entity: str, gids: Iterable[Gid]) -> list[Crosswalk]:
    """All rows of these records."""
    literals = [literal(gid) for gid in dict.fromkeys(gids)]
    found: list[Crosswalk] = []
    for start, stop in chunks(literals, session.packet):
        rows = session.raw(
            f"SELECT entity, gid, `system`, `key` FROM {names.crosswalk}"
            f" WHERE entity = {literal(entity)} AND gid IN ({','.join(literals[start:stop])})"
        )
        found += [Crosswalk(*row) for row in rows]
    return found


def claim(session: Session, names: Names, rows: Sequence[Crosswalk], take: bool = False) -> None:
    """Write these rows; one that is there already stays as it is, or with `take` becomes ours."""
    literals = [
        f"({literal(r.entity)},{literal(r.gid)},{literal(r.system)},{literal(r.key)},UTC_TIMESTAMP(6))" for r in rows
    ]
    then = "gid = VALUES(gid), since = VALUES(since)" if take else "gid = gid"
    for start, stop in chunks(literals, session.packet):
        session.raw(
            f"INSERT INTO {names.crosswalk} (entity, gid, `system`, `key`, since)"
            f" VALUES {','.join(literals[start:stop])}"
            f" ON DUPLICATE KEY UPDATE {then}"
        )


def remove(session: Session, names: Names, rows: Sequence[Crosswalk]) -> None:
    """Remove these rows; one that is not there, or is another record's, is no error."""
    literals = [f"({literal(r.entity)},{literal(r.gid)},{literal(r.system)},{literal(r.key)})" for r in rows]
    on = " AND ".join(
        f"x.`{column}` = {BINARY.format('accord_' + column[0])}" for column in ("entity", "system", "key")
    )
    for start, stop in chunks(literals, session.packet):
        source = values(["accord_e", "accord_g", "accord_s", "accord_k"], literals[start:stop])
        session.raw(f"DELETE x FROM {source} STRAIGHT_JOIN {names.crosswalk} x ON {on} AND x.gid = s.accord_g")
