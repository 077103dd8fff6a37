"""What a server must be told for its log to be read, and what the account must be granted. Reads only."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.mysql.binlog.events import METADATA, ROW_FORMAT, ROW_IMAGE, UNCOMPRESSED
from adapters.mysql.connection import Session
from config.errors import Problem

WRONG = {
    "binlog_format": ("ROW", ROW_FORMAT),
    "binlog_row_image": ("FULL", ROW_IMAGE),
    "binlog_row_metadata": ("FULL", METADATA),
    "log_bin_compress": ("0", UNCOMPRESSED),
}
STAYS = "and set it in the server's configuration file, so that it stays"


def wrong(session: Session, system: str) -> Iterator[Problem]:
    """Settings that hide something."""
    names = ["log_bin", *WRONG]
    values = session.query("SELECT " + ", ".join(f"@@global.{name}" for name in names))[0]
    found = dict(zip(names, map(str, values), strict=True))
    if found["log_bin"] != "1":
        hint = "start the server with log_bin, server_id, binlog_format = ROW and binlog_row_metadata = FULL"
        yield Problem("binlog-off", "the server writes no binary log.", hint, system=system)
        return
    for name, (wanted, statement) in WRONG.items():
        if found[name].upper() != wanted:
            text = f"{name} is {found[name]}: its binary log does not tell all that changes."
            yield Problem("binlog-setting", text, f"run as an administrator: {statement}; {STAYS}", system=system)
