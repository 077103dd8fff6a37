"""What a row says beside its fields: is it archived, and when was it modified. Shared by all adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from adapters.convert import EPOCH, to_bool, to_datetime, to_decimal, to_int, to_text
from config.errors import Problem
from config.records import Column, Raw, Stamp, Table, Value

SQL = "sql:"

ENTRY = 200
"""Bytes that an entry of a change log takes with its indexes, about."""

MODIFIED = Column("modified", "datetime", "", fraction=6)
"""Stands for the column of a `modified` that is an expression."""


def expression(value: Value) -> str | None:
    """The SQL of a constant that is written `sql:…`; None if it is a plain constant."""
    return value[len(SQL) :].strip() if isinstance(value, str) and value.startswith(SQL) else None


def archive_columns(table: Table) -> tuple[Column, ...]:
    """The columns that tell whether a row of the table is archived, in the order that `archived` takes them."""
    return tuple(table.info.columns[name] for name in (table.restore or table.archive))


def archived(table: Table) -> Callable[[Sequence[Raw]], bool]:
    """Says from the raws of `archive_columns` whether the row counts as gone.

    Where the table has `restore`, a row is alive only if all of it holds (NULL in `deleted` is not 0); else it is
    archived if all of `archive` holds.
    """
    constants = table.restore or table.archive
    tests = [_holds(column, value) for column, value in zip(archive_columns(table), constants.values(), strict=True)]
    gone_if = not table.restore

    def test(raws: Sequence[Raw]) -> bool:
        return bool(tests) and all(holds(raw) for holds, raw in zip(tests, raws, strict=True)) is gone_if

    return test


def _holds(column: Column, value: Value) -> Callable[[Raw], bool]:
    if expression(value) is not None:  # e.g. archive = { deleted_at = "sql:now()" }: whatever stands there
        return lambda raw: raw is not None
    if value is None:
        return lambda raw: raw is None or raw in ("", b"")
    convert: Callable[[Raw], Value] = to_text
    if isinstance(value, bool) or column.kind == "bool":
        convert, value = to_bool, bool(value) if isinstance(value, (bool, int)) else to_bool(str(value))
    elif isinstance(value, int) or column.kind == "int":
        convert = to_int
    elif column.kind in ("decimal", "float"):
        convert = to_decimal
    elif column.padded:
        convert = lambda raw: to_text(raw).rstrip(" ")  # noqa: E731

    def holds(raw: Raw) -> bool:
        try:
            return raw is not None and convert(raw) == value
        except ValueError:
            return False

    return holds


def modified_column(table: Table) -> Column | None:
    """The column of `modified`; a stand-in when it is an expression; None when there is none."""
    if table.modified is None:
        return None
    return MODIFIED if expression(table.modified) is not None else table.info.columns[table.modified]


def modified_stamp(table: Table) -> Callable[[Raw], Stamp | None]:
    """Raw `modified` -> stamp; None for NULL and for what is no time."""
    column = modified_column(table)
    zone = UTC if column is not None and column.zoned else ZoneInfo(table.timezone)

    def stamp(raw: Raw) -> Stamp | None:
        try:
            return None if raw is None else to_stamp(to_datetime(raw, zone))
        except ValueError:
            return None

    return stamp


def to_stamp(moment: datetime) -> Stamp:
    """Microseconds since 1970 of an aware date-time."""
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def unstamped(table: Table, count: int) -> Problem:
    """Rows that watermark capture does not see."""
    what = "1 row" if count == 1 else f"{count:,} rows"
    message = (
        f"{what} of {table.name} {'has' if count == 1 else 'have'} no `modified`: edits are seen by the sweep only"
    )
    hint = 'let `modified` fall back on another column, as in "sql:coalesce(changed, created)"'
    return Problem("no-stamp", message, hint, system=table.system, entity=table.entity)


def unproven(system: str, grant: str) -> Problem:
    """The account may not see what others do."""
    message = "the account may not see the transactions of others: what commits later than `overlap` may be missed"
    return Problem("sessions-hidden", message, f"run as an administrator: {grant}", system=system)
